//! The tool as its users run it, on programs that run, hang, are dumped, or are something else.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::Subject;

const TOOL: &str = env!("CARGO_BIN_EXE_hostcrst-dump");

fn dump(arguments: &[&str]) -> Output {
    Command::new(TOOL).args(arguments).output().unwrap()
}

/// Runs the tool, which must end with `code`. What it wrote to stdout.
fn report(code: i32, arguments: &[&str]) -> String {
    let output = dump(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    assert_eq!(errors, "");
    text
}

/// The first report that shows a stack with this frame: a thread that wakes while its stack is read has none, and one that
/// has begun to wait a moment ago wakes often.
fn with_stack(frame: &str, report: impl Fn() -> String) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let text = report();
        if text.contains(frame) {
            return text;
        }
        assert!(Instant::now() < end, "{frame} is not in\n{text}");
    }
}

/// Runs the tool, which must end with `code` and say why.
fn refusal(code: i32, arguments: &[&str], reason: &str) {
    let output = dump(arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(reason), "{errors}");
    assert!(output.stdout.is_empty());
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

const DEADLOCK: &[&str] = &[
    "2 tasks (2 managed, 0 unmanaged; 2 waiting), 2 sections (2 owned",
    "\"alice\" tid=",
    "\"bob\" tid=",
    "\"accounts\" recursion=1",
    "\"journal\" recursion=1",
    // Inside hostcrst_enter itself where the library is not optimised.
    " \"journal\" at subject!",
    " \"accounts\" at subject!",
    // Deep stacks, of which the newest part lies in chunks.
    "[799] managed",
    "[798] native   subject!subject::create+0x0 (subject.rs:",
    "... and 736 older layers",
    "Found a deadlock:",
];

#[test]
fn a_hung_process_is_explained() {
    let subject = Subject::start("hang");
    let text = report(2, &[&subject.id().to_string()]);
    assert_contains(&text, DEADLOCK);
    assert!(text.ends_with("\n\nFound 1 deadlock.\n"), "{text}");
    assert!(!text.contains("through locks of other kinds"), "it is told twice: {text}");
    assert!(
        text.lines().any(|line| line.starts_with("\"alice\"") && line.contains(", waiting 0.")),
        "{text}"
    );
}

#[test]
fn its_core_tells_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::start("hang");
    let core = subject.take_core(folder.path());
    let id = subject.id();
    drop(subject);
    let text = report(2, &[core.to_str().unwrap()]);
    assert_contains(&text, DEADLOCK);
    assert_contains(&text, &[&format!("pid {id} ")]);
    assert!(text.ends_with("\n\nFound 1 deadlock.\n"), "{text}");
}

#[test]
fn a_thread_without_a_known_name_is_shown_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let core = Subject::start("chain=2").take_core(folder.path());
    let text = report(0, &[core.to_str().unwrap()]);
    assert_contains(&text, &["\ntid=", "which is owned by tid="]);
    assert!(!text.contains("\"\""), "{text}");
}

#[test]
fn a_core_is_called_clean_of_what_was_examined_only() {
    let folder = tempfile::tempdir().unwrap();
    let core = Subject::start("clean").take_core(folder.path());
    let text = report(0, &[core.to_str().unwrap()]);
    let verdict =
        "No deadlock among 2 sections and 0 other locks seen; 1 thread blocked in what has no owner.\n";
    assert!(text.ends_with(verdict), "{text}");
    assert_eq!(not_examined(Command::new(TOOL).arg(&core), 0), serde_json::json!([]));
    // Of a machine whose threads are not known, and without the memory that its thread sleeps on.
    let with_change = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = std::fs::read(&core).unwrap();
        change(&mut bytes);
        let changed = folder.path().join("changed");
        std::fs::write(&changed, bytes).unwrap();
        changed
    };
    let other = with_change(&|bytes| bytes[18] = 183);
    assert_contains(
        &report(0, &[other.to_str().unwrap()]),
        &["No deadlock among 2 sections.\nNot examined: what threads wait for besides sections"],
    );
    assert_eq!(not_examined(Command::new(TOOL).arg(&other), 0), serde_json::json!(["other_waits"]));
    // The first argument of its call, in the note of the kind NT_PRSTATUS.
    const ARGUMENT: usize = 112 + 14 * 8;
    let elsewhere = with_change(&|bytes| {
        let note = bytes.windows(9).position(|bytes| bytes == b"\x01\0\0\0CORE\0").unwrap() + 12;
        bytes[note + ARGUMENT..][..8].copy_from_slice(&8_u64.to_le_bytes());
    });
    assert_contains(
        &report(0, &[elsewhere.to_str().unwrap()]),
        &["Not examined: what threads wait for in memory that the core does not have"],
    );
    assert_eq!(not_examined(Command::new(TOOL).arg(&elsewhere), 0), serde_json::json!(["lost_memory"]));
}

#[test]
fn the_core_of_a_process_without_the_library_is_shown_by_its_threads() {
    let folder = tempfile::tempdir().unwrap();
    let core = common::take_core_of_another(folder.path());
    let text = report(0, &[core.to_str().unwrap()]);
    assert_contains(&text, &["There is no hostcrst in this process", "\"sleep\" tid="]);
}

/// What the verdict on the subject says was not examined, in JSON. The tool must end with `code`.
fn not_examined(tool: &mut Command, code: i32) -> serde_json::Value {
    let output = tool.arg("--json").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect(&errors);
    json["not_examined"].clone()
}

#[test]
fn locks_that_are_not_known_are_not_ruled_out() {
    let folder = tempfile::tempdir().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let library = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let library = library.into_iter().find(|path| path.contains("/libgcc_s.so")).unwrap();
    for (name, word, sentence) in [
        ("libcoreclr.so", "managed_locks", "Not examined: locks of managed code (Monitor, lock).\n"),
        (
            "ld-musl-any.so.1",
            "locks",
            "Not examined: locks of this C library, which this tool does not know.\n",
        ),
    ] {
        let path = folder.path().join(name);
        std::fs::copy(library, &path).unwrap();
        let subject = Subject::run(Command::new(common::program()).arg("clean").env("LD_PRELOAD", &path));
        let id = subject.id().to_string();
        let text = report(0, &[&id]);
        assert!(text.ends_with(sentence), "{text}");
        assert_eq!(not_examined(Command::new(TOOL).arg(&id), 0), serde_json::json!([word]));
    }
}

/// A file that cannot be read takes the place of what shows the thread's system call.
#[test]
fn threads_whose_calls_are_hidden_are_not_ruled_out() {
    let subject = Subject::start("clean");
    let id = subject.id().to_string();
    let mut tool = Command::new("unshare");
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        tool.args(["--user", "--map-root-user"]);
    }
    let script = r#"mount --bind /proc/self/mem "/proc/$1/task/$1/syscall" && exec "$0" "$@""#;
    tool.args(["--mount", "sh", "-c", script, TOOL, &id]);
    assert_eq!(not_examined(&mut tool, 0), serde_json::json!(["system_calls"]));
}

#[test]
fn of_a_process_whose_library_has_another_layout_the_threads_are_shown() {
    use hostcrst_dump::target::Target;
    use std::os::unix::fs::FileExt;
    let subject = Subject::start("clean");
    let id = subject.id().to_string();
    let process = hostcrst_dump::process::Process::attach(subject.id()).unwrap();
    let registry = process.data().into_iter().find_map(|data| {
        let mut bytes = vec![0; (data.end - data.start) as usize];
        let there = process.read(data.start, &mut bytes);
        let at = place_of_header(&bytes[..there])?;
        Some(data.start + at as u64)
    });
    let version = registry.unwrap() + 8;
    let memory = std::fs::File::options().write(true).open(format!("/proc/{id}/mem")).unwrap();
    memory.write_all_at(&(hostcrst::inspect::LAYOUT_VERSION + 1).to_le_bytes(), version).unwrap();
    let output = dump(&[&id]);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{text}{errors}");
    assert!(errors.contains("use the hostcrst-dump that was built together with that library"), "{errors}");
    assert_contains(
        &text,
        &["The hostcrst in this process cannot be read", "\"subject\" tid=", "Not examined: the sections"],
    );
    assert_eq!(not_examined(Command::new(TOOL).arg(&id), 7), serde_json::json!(["sections"]));
}

#[test]
fn locks_of_windows_are_shown_by_their_variables() {
    let subject = Subject::start("windows");
    let id = subject.id().to_string();
    let section = " CRITICAL_SECTION 0x";
    let in_cycle = |text: &str| {
        let (_, cycle) = text.split_once("\nFound a deadlock:\n")?;
        let wait = cycle.lines().find(|line| line.starts_with("   waiting to enter section 0x"))?;
        Some(wait.to_owned())
    };
    let (text, wait) = loop {
        let output = dump(&[&id]);
        let text = String::from_utf8(output.stdout).unwrap();
        match in_cycle(&text) {
            Some(wait) if text.contains("   waiting to acquire SRWLOCK 0x") => break (text, wait),
            _ => std::thread::yield_now(),
        }
    };
    assert!(wait.contains(section) && wait.ends_with(" subject!subject::SHOP+0x0"), "{wait}: {text}");
    let street = text.lines().filter(|line| line.starts_with("   waiting to acquire SRWLOCK 0x"));
    let streets: Vec<_> = street.collect();
    // As a task, and as a thread.
    assert_eq!(streets.len(), 2, "{text}");
    assert!(streets.iter().all(|line| line.contains(" subject!subject::STREET+0x0")), "{text}");
}

#[test]
fn a_process_whose_main_thread_has_ended_is_explained() {
    let subject = Subject::start("headless");
    let id = subject.id();
    let maps = format!("/proc/{id}/maps");
    while !std::fs::read(&maps).unwrap().is_empty() {
        std::thread::yield_now();
    }
    let text = report(2, &[&id.to_string()]);
    assert_contains(&text, DEADLOCK);
    assert_contains(&text, &[&format!("pid {id} ")]);
    // Any of its threads names it.
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
    let other = threads
        .map(|thread| thread.file_name().into_string().unwrap())
        .find(|thread| *thread != id.to_string());
    assert_contains(&report(2, &[&other.unwrap()]), &[&format!("pid {id} ")]);
}

/// A system call; of one that reads a file, at offsets beyond 4 GB: those of memory, and not of the loader's.
type Call = (i64, Option<OffsetBeyond4Gb>);
struct OffsetBeyond4Gb;

/// Runs the tool where these system calls fail with `error`.
fn dump_refused(calls: &[Call], error: i32, arguments: &[&str]) -> Output {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let if_equal = |k, jt, jf| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, k);
    let answer = |k| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, k);
    let refused = libc::SECCOMP_RET_ERRNO | error as u32;
    let mut filter = Vec::new();
    for (number, offset) in calls {
        filter.push(load(0));
        if offset.is_some() {
            // The upper half of the fourth argument.
            filter.extend([
                if_equal(*number as u32, 0, 3),
                load(16 + 3 * 8 + 4),
                if_equal(0, 1, 0),
                answer(refused),
            ]);
        } else {
            filter.extend([if_equal(*number as u32, 0, 1), answer(refused)]);
        }
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let refuse = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: the program is valid for the call.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    let mut command = Command::new(TOOL);
    command.args(arguments);
    // SAFETY: prctl may be called between fork and exec.
    unsafe { command.pre_exec(refuse) };
    command.output().unwrap()
}

#[test]
fn a_sandbox_that_refuses_the_call_for_memory_does_not_matter() {
    let subject = Subject::start("hang");
    let id = subject.id().to_string();
    for error in [libc::ENOSYS, libc::EPERM] {
        let output =
            dump_refused(&[(libc::SYS_process_vm_readv, None), (libc::SYS_openat2, None)], error, &[&id]);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        assert_contains(&String::from_utf8(output.stdout).unwrap(), DEADLOCK);
    }
}

#[test]
fn where_memory_cannot_be_read_at_all_it_says_why() {
    let subject = Subject::start("clean");
    let calls = [(libc::SYS_process_vm_readv, None), (libc::SYS_pread64, Some(OffsetBeyond4Gb))];
    let output = dump_refused(&calls, libc::ENOSYS, &[&subject.id().to_string()]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{errors}");
    assert_contains(&errors, &["process_vm_readv: Function not implemented", "take a core (gcore"]);
}

#[test]
fn a_process_in_a_namespace_of_its_own_is_shown_as_it_sees_itself() {
    let (_unshare, outer) = common::start_in_namespace("hang");
    let text = report(2, &[&outer.to_string()]);
    assert_contains(&text, DEADLOCK);
    assert_contains(&text, &["pid 1 ", &format!("outside of it this is process {outer}.")]);
    for line in text.lines().filter(|line| line.starts_with('"')) {
        let id = line.split("tid=").nth(1).unwrap().split([' ', ':']).next().unwrap();
        assert!(id.parse::<u32>().unwrap() < 10, "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&report(2, &["--json", &outer.to_string()])).unwrap();
    assert_eq!((&json["pid"], &json["outer_pid"]), (&1.into(), &outer.into()));
    // A thread without a name of its own is found by the id that it has inside.
    let (_unshare, outer) = common::start_in_namespace("clean");
    assert_contains(&report(0, &[&outer.to_string()]), &["\"subject\" tid=1 "]);
}

#[test]
fn paths_of_a_process_are_looked_up_below_its_root() {
    use hostcrst_dump::process::{open_below, open_without_links};
    use std::io::Read;
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    for (path, text) in [("library", "outside"), ("root/library", "inside"), ("root/usr/library", "below")] {
        std::fs::create_dir_all(outside.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(outside.path().join(path), text).unwrap();
    }
    for (link, target) in [("up", "../../library"), ("absolute", "/library"), ("usr/folder", "/usr")] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    std::os::unix::fs::symlink(outside.path().join("library"), root.join("out")).unwrap();
    let folder: std::os::fd::OwnedFd = std::fs::File::open(&root).unwrap().into();
    let read = |path: &str| {
        let mut text = String::new();
        open_below(&folder, Path::new(path))
            .map(|mut file| file.read_to_string(&mut text).map(|_| text).unwrap())
    };
    assert_eq!(read("/library").unwrap(), "inside");
    assert_eq!(read("/up").unwrap(), "inside");
    assert_eq!(read("/absolute").unwrap(), "inside");
    assert_eq!(read("/usr/folder/folder/library").unwrap(), "below");
    assert_eq!(read("/out"), None);
    assert_eq!(read("/usr"), None);
    let plain = |path| open_without_links(&folder, Path::new(path)).is_some();
    assert!(plain("/library") && plain("/usr/library"));
    assert!(!plain("/up") && !plain("/usr/folder/library") && !plain("/usr/../library"));
}

#[test]
fn a_core_without_private_memory_is_told_from_one_without_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let subject = Subject::start("hang");
    std::fs::write(format!("/proc/{}/coredump_filter", subject.id()), "0x10").unwrap();
    let core = subject.take_core(folder.path());
    refusal(8, &[core.to_str().unwrap()], "echo 0x33 >/proc/PID/coredump_filter");
    // Threads of another kind of machine are not known, so there is nothing to show.
    let other = common::take_core_of_another(folder.path());
    let mut bytes = std::fs::read(&other).unwrap();
    bytes[18] = 183;
    std::fs::write(&other, bytes).unwrap();
    refusal(6, &[other.to_str().unwrap()], "has not loaded hostcrst");
}

/// Where a registry begins.
fn place_of_header(bytes: &[u8]) -> Option<usize> {
    let version = hostcrst::inspect::LAYOUT_VERSION.to_le_bytes();
    let header =
        [b"hostcrst", &version[..], &hostcrst::inspect::Registry::HEADER.size.to_le_bytes()].concat();
    bytes.windows(header.len()).position(|bytes| bytes == header)
}

#[test]
fn a_library_of_another_layout_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = Subject::start("clean").take_core(folder.path());
    let mut core = std::fs::read(&path).unwrap();
    let at = place_of_header(&core).unwrap();
    core[at + 8] += 1;
    std::fs::write(&path, core).unwrap();
    let output = dump(&[path.to_str().unwrap()]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{text}{errors}");
    assert_contains(&errors, &["use the hostcrst-dump that was built together with that library"]);
    assert_contains(&text, &["The hostcrst in this process cannot be read", "Not examined: the sections"]);
}

#[test]
fn a_compressed_core_is_not_taken_for_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core");
    std::fs::copy(TOOL, &core).unwrap();
    for command in ["gzip -dc", "xz -dc", "zstd -dc", "lz4 -dc"] {
        let packer = command.split(' ').next().unwrap();
        let packed = Command::new(packer).arg("-c").arg(&core).output().expect(packer);
        assert!(packed.status.success());
        let path = folder.path().join(packer);
        std::fs::write(&path, packed.stdout).unwrap();
        refusal(8, &[path.to_str().unwrap()], &format!("`{command} {} >core`", path.display()));
    }
}

#[test]
fn programs_and_graphviz_can_read_it() {
    let subject = Subject::start("hang");
    let id = subject.id().to_string();
    let json: serde_json::Value = serde_json::from_str(&report(2, &["--json", &id])).unwrap();
    assert_eq!(json["pid"], subject.id());
    assert_eq!(json["deadlocks"][0].as_array().unwrap().len(), 2);
    // Whichever thread was a task first.
    for name in ["alice", "bob"] {
        let task = json["tasks"].as_array().unwrap().iter().find(|task| task["name"] == name).unwrap();
        assert!(task["waiting"]["for_ns"].as_u64().is_some());
    }
    let graph = report(2, &[&id, "--dot"]);
    assert_eq!(graph.matches("digraph").count(), 1, "{graph}");
    // Two waits, and the owners of what is waited for.
    assert_eq!(graph.matches("color=red").count(), 4, "{graph}");
}

#[test]
fn names_of_threads_are_escaped_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a\"b\\c\u{7f}d";
    let program = folder.path().join(name);
    std::fs::copy(common::program(), &program).unwrap();
    let subject = Subject::run(Command::new(&program).arg("clean"));
    let json: serde_json::Value =
        serde_json::from_str(&report(0, &["--json", &subject.id().to_string()])).unwrap();
    assert_eq!((&json["threads"][0]["name"], &json["tasks"][0]["name"]), (&name.into(), &name.into()));
}

#[test]
fn a_clean_process_is_clean() {
    let subject = Subject::start("clean");
    let verdict =
        "No deadlock among 2 sections and 0 other locks seen; 1 thread blocked in what has no owner.\n";
    let text = report_until(verdict, &subject.id().to_string());
    assert_contains(&text, &[verdict, "\"accounts\" recursion=1", "\"subject\" tid="]);
    assert!(text.ends_with(verdict), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&report(0, &["--json", &subject.id().to_string()])).unwrap();
    assert_eq!(json["not_examined"], serde_json::json!([]));
}

/// The first report with this in it: a process has to get there first.
fn report_until(shown: &str, id: &str) -> String {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let text = report(0, &[id]);
        if text.contains(shown) {
            return text;
        }
        assert!(std::time::Instant::now() < end, "{shown} is never in\n{text}");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_without_the_library_is_shown_by_its_threads() {
    let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let id = other.id().to_string();
    let shown = format!("\"cat\" tid={id} [blocked in read]\n   read from fd 0 pipe:[");
    let text = report_until(&shown, &id);
    let verdict = "No deadlock among 0 locks seen; 1 thread blocked in what has no owner.\n";
    assert_contains(&text, &["There is no hostcrst in this process", "1 thread of this process:", verdict]);
    assert!(text.ends_with(verdict), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report(0, &["--json", &id])).unwrap();
    assert_eq!((&json["library"], &json["tasks"]), (&false.into(), &serde_json::json!([])));
    let thread = &json["threads"][0];
    assert_eq!(
        (&thread["name"], &thread["state"], &thread["call"]),
        (&"cat".into(), &"blocked".into(), &"read".into())
    );
    assert!(thread["meaning"].as_str().unwrap().starts_with("from fd 0 pipe:["), "{thread}");
    assert!(report(0, &["--dot", &id]).starts_with("digraph hostcrst_threads {"));
    assert_contains(&page(0, &id), &[&format!("<pre id=\"verdict\">{verdict}"), "\"library\":false"]);
    refusal(6, &["--metrics", &id], "has not loaded hostcrst");
    assert_contains(&report(0, &["--help"]), &["with --metrics, any process or core without it"]);
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn each_thread_is_shown_with_what_its_call_waits_for() {
    let (subject, line) = Subject::run_until_line(&mut Command::new(common::example("calls")));
    let [pipe, socket, file, child] = line.split_whitespace().skip(1).collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    let expected = [
        ("read", "read", format!("read from fd {pipe} pipe:[")),
        ("write", "write", "write to fd ".to_owned()),
        ("accept", "accept4", format!("accept4 on fd {socket} TCP 127.0.0.1:")),
        ("flock", "flock", format!("flock for an exclusive lock of fd {file} /")),
        ("wait", "wait4", format!("wait4 for child process {child} sleep\n")),
        ("poll", "p", format!("oll on fd {pipe} pipe:[")),
        ("select", "pselect6", format!("pselect6 on fd {pipe} pipe:[")),
        ("epoll", "epoll_", format!(" on fd {socket} TCP 127.0.0.1:")),
        ("epoll", "epoll_", " listening, for 3600s at most\n".to_owned()),
        ("sleep", "clock_nanosleep", "clock_nanosleep for 3600s\n".to_owned()),
    ];
    let mut text = String::new();
    for (thread, call, meaning) in &expected {
        let is_shown = |text: &str| {
            let blocks = text.split("\n\"").find(|block| block.starts_with(&format!("{thread}\" tid=")));
            blocks.is_some_and(|block| {
                block.contains(&format!(" [blocked in {call}")) && format!("{block}\n").contains(meaning)
            })
        };
        for _ in 0..1000 {
            if is_shown(&text) {
                break;
            }
            text = report(0, &[&subject.id().to_string()]);
        }
        assert!(is_shown(&text), "{thread} {meaning}: {text}");
    }
}

#[test]
fn a_stopped_process_is_said_to_be_stopped() {
    let subject = Subject::start("clean");
    let id = subject.id().to_string();
    let wait_until = |state| report_until(state, &id);
    wait_until(" [blocked in futex]");
    // SAFETY: a process of this one's own.
    assert_eq!(unsafe { libc::kill(subject.id() as i32, libc::SIGSTOP) }, 0);
    wait_until(" [stopped in futex]\n   probably waiting on a futex");
}

#[test]
fn what_is_no_process_any_more_is_said_so() {
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let id = other.id().to_string();
    other.kill().unwrap();
    // It is killed, and stays in the list of processes until it is waited for.
    while !std::fs::read_to_string(format!("/proc/{id}/status")).unwrap().contains("State:\tZ") {
        std::thread::yield_now();
    }
    refusal(4, &[&id], "has ended");
    other.wait().unwrap();
    refusal(4, &[&id], "there is no process");
}

#[test]
fn wrong_arguments_are_not_mistaken_for_a_deadlock() {
    refusal(3, &[], "Usage:");
    refusal(3, &["--json", "--dot", "1"], "cannot be used with");
    refusal(3, &["99999999999"], "too large");
    refusal(3, &["0"], "0 is no process id");
    refusal(3, &["--watch", "0", "1"], "not above 0");
    refusal(3, &["--watch", "1", "core"], "a core does not change");
    for option in ["--timeout", "--watch"] {
        for (seconds, reason) in [
            ("0", "not above 0"),
            ("1e-30", "not above 0"),
            ("-1", "not above 0, or more than a day"),
            ("86401", "or more than a day"),
            ("1e30", "not above 0, or more than a day"),
            ("inf", "not above 0, or more than a day"),
            ("nan", "not a number of seconds"),
            ("x", "not a number of seconds"),
        ] {
            refusal(3, &[&format!("{option}={seconds}"), "1"], reason);
        }
    }
    for other in ["--dot", "--metrics"] {
        refusal(3, &["--stacks", other, "1"], "cannot be used with");
    }
    assert_contains(&report(0, &["--help"]), &["Exit codes:", "2  a deadlock stands"]);
}

#[test]
fn a_report_that_is_not_finished_in_time_is_given_up() {
    let subject = Subject::start("clean");
    refusal(
        8,
        &["--timeout", "0.000000001", &subject.id().to_string()],
        "was not finished within 0.000000001 seconds",
    );
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let subject = Subject::start("clean");
    let full = std::fs::File::create("/dev/full").unwrap();
    let output = Command::new(TOOL).arg(subject.id().to_string()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_contains(&String::from_utf8(output.stderr).unwrap(), &["could not be written"]);
    let id = subject.id().to_string();
    // Nor if nothing is there to write to, or nobody reads any more.
    for (script, end) in [
        ("exec \"$0\" \"$@\" >&-", "Bad file descriptor"),
        ("trap '' PIPE; { \"$0\" --watch 0.1 \"$@\"; echo $? >&2; } | head -n 1 >&2; exit 1", "Broken pipe"),
    ] {
        let output = Command::new("sh").args(["-c", script, TOOL, &id]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("could not be written: ") && errors.contains(end), "{errors}");
        assert!(!errors.contains("panicked"), "{errors}");
    }
    let folder = tempfile::tempdir().unwrap();
    refusal(1, &["--html", folder.path().to_str().unwrap(), &id], "the page could not be written to ");
}

/// What it shows is tested in a browser: ctests/page.
#[test]
fn a_page_has_the_verdict_the_text_and_the_json() {
    let subject = Subject::start("hang");
    let page = page(2, &subject.id().to_string());
    assert_contains(
        &page,
        &["<pre id=\"verdict\">Found 1 deadlock.\n", "Found a deadlock:", "{\"version\":", "\"threads\":["],
    );
    assert!(!page.contains("digraph"));
    refusal(3, &["--html", "page", "--json", "1"], "cannot be used with");
}

fn page(code: i32, id: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    assert_eq!(report(code, &["--html", file.to_str().unwrap(), id]), "");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn what_is_no_core_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    refusal(8, &[fifo.to_str().unwrap()], "is no file");
    refusal(8, &[folder.path().to_str().unwrap()], "is no file");
    refusal(3, &["/nowhere"], "No such file");
    refusal(8, &[TOOL], "is no core file");
    refusal(8, &["/dev/null"], "is no file");
}

/// Root looks as nobody at a process of its own; anyone else looks at the first process, which is root's.
#[test]
fn without_permission_it_says_what_to_do() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return refusal(5, &["1"], "as the same user or as root");
    }
    const NOBODY: u32 = 65534;
    let subject = Subject::start("clean");
    // The tool may lie where nobody but root may look for it.
    let folder = tempfile::Builder::new().prefix("hostcrst").tempdir_in("/tmp").unwrap();
    let tool = folder.path().join("hostcrst-dump");
    std::fs::copy(TOOL, &tool).unwrap();
    allow_all(folder.path());
    let mut command = Command::new(&tool);
    let output = command.arg(subject.id().to_string()).uid(NOBODY).gid(NOBODY).stdin(Stdio::null()).output();
    let output = output.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{errors}");
    assert_contains(&errors, &["as the same user or as root"]);
}

/// Neither the tool nor what it looks at needs to be root's. Only root can become somebody else to see that.
#[test]
fn whoever_may_debug_a_process_may_look_at_it() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return eprintln!("not run: not as root");
    }
    const SOMEBODY: u32 = 54321;
    let folder = tempfile::Builder::new().prefix("hostcrst").tempdir_in("/tmp").unwrap();
    let (tool, program) = (folder.path().join("hostcrst-dump"), folder.path().join("subject"));
    std::fs::copy(TOOL, &tool).unwrap();
    std::fs::copy(common::program(), &program).unwrap();
    allow_all(folder.path());
    let subject = Subject::run(Command::new(&program).arg("hang").uid(SOMEBODY).gid(SOMEBODY));
    let text = with_stack("      at subject!subject::run+0x", || {
        let output = Command::new(&tool).arg(subject.id().to_string()).uid(SOMEBODY).gid(SOMEBODY).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}{errors}");
        text
    });
    assert_contains(&text, DEADLOCK);
}

#[test]
fn a_program_that_only_its_container_has_is_shown_with_names_and_stacks() {
    let (_unshare, outer) = common::start_in_container("hang");
    let text = with_stack("      at inside!subject::run+0x", || report(2, &[&outer.to_string()]));
    assert_contains(&text, &["pid 1 ", "\"alice\" tid=", "Found a deadlock:"]);
}

/// Its locks look otherwise, so that nothing is said of who owns them; and that is said.
#[test]
fn locks_of_musl_are_not_taken_for_those_of_glibc() {
    const PROGRAM: &str = r#"
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t kept;
static void *waits(void *unused) { pthread_mutex_lock(&kept); return unused; }
int main(void)
{
    pthread_mutexattr_t kind;
    pthread_t thread;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&kept, &kind);
    pthread_mutex_lock(&kept);
    pthread_create(&thread, NULL, waits, NULL);
    puts("ready");
    fflush(stdout);
    return pthread_join(thread, NULL);
}
"#;
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
    std::fs::write(&source, PROGRAM).unwrap();
    let compiled = Command::new("musl-gcc").arg(&source).arg("-o").arg(&program).status();
    if compiled.is_err() {
        return eprintln!("not run: musl-gcc, of Debian's package musl-tools, is missing");
    }
    assert!(compiled.unwrap().success());
    let subject = Subject::run(&mut Command::new(&program));
    let id = subject.id().to_string();
    let mut tool = Command::new(TOOL);
    let json = || -> serde_json::Value { serde_json::from_str(&report(0, &["--json", &id])).unwrap() };
    let is_on_futex = |json: &serde_json::Value| {
        let threads = json["threads"].as_array().unwrap();
        threads.len() == 2 && threads.iter().all(|thread| thread["waits_for"]["kind"] == "futex")
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_on_futex(&json()) {
        assert!(std::time::Instant::now() < end, "{:#}", json());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(not_examined(tool.arg(&id), 0), serde_json::json!(["locks"]));
}

fn allow_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
}
