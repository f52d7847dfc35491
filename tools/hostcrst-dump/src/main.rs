//! `hostcrst-dump`: the command line.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use hostcrst::inspect::Format;

use hostcrst_dump::core_file::Core;
use hostcrst_dump::failure::{CLEAN, DEADLOCK, Failure};
use hostcrst_dump::foreign::StacksOf;
use hostcrst_dump::process::{self, Process};
use hostcrst_dump::report::{Report, metrics, report};
use hostcrst_dump::target::Target;
use hostcrst_dump::time_limit::TimeLimit;

/// Shows which thread waits for which other, through sections of hostcrst, locks of glibc and joins, in any process or its
/// core.
///
/// The process is read from outside: nothing runs in it, and it is not stopped.
#[derive(Parser)]
#[command(name = "hostcrst-dump", version, after_help = EXIT_CODES)]
struct Arguments {
    /// A process id, or the path of a core file (./1234 if its name is a number)
    #[arg(value_name = "PID | CORE")]
    subject: String,
    /// Writes JSON, as described by docs/report.schema.json, one line for each report
    #[arg(long, conflicts_with = "dot")]
    json: bool,
    /// Writes the wait-for graph for Graphviz
    #[arg(long)]
    dot: bool,
    /// Writes the figures of sections, deadlocks and tasks as OpenMetrics text; the exit code says nothing of deadlocks
    #[arg(long, conflicts_with_all = ["json", "dot", "watch"])]
    metrics: bool,
    /// Shows the native stacks of all threads that are blocked, not only of those in a deadlock
    #[arg(long, conflicts_with_all = ["dot", "metrics"])]
    stacks: bool,
    /// Writes a page for a browser to the file: the wait graph drawn, tables to filter and sort, the text; alone, or with --stacks
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "dot", "metrics", "watch"])]
    html: Option<PathBuf>,
    /// Looks every so many seconds, until interrupted or until the process has ended: on a terminal as a view in which what
    /// changes stands out, elsewhere with a new report each time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    watch: Option<Duration>,
    /// What one report may take in all
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "60")]
    timeout: Duration,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  no deadlock in what was examined
  1  the report could not be written
  2  a deadlock stands
  3  wrong arguments, or no such file
  4  no such process, or it ended or became another while it was read
  5  the process may not be read
  6  there is nothing to show: a core of another kind of machine, without the library, or a
     kernel thread; with --metrics, any process or core without it
  7  the library has a layout that this tool does not know
  8  the core file, or the memory of the process, cannot be read or is damaged, or
     the report was not finished in time (see --timeout)";

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // If the message cannot be written, the exit code still says it.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(Failure::Usage(String::new()).exit_code()),
            };
        }
    };
    let outcome = match arguments.watch {
        Some(pause) => keep_watch(&arguments, pause),
        None => once(&arguments),
    };
    ExitCode::from(match outcome {
        Ok(false) => CLEAN,
        Ok(true) => DEADLOCK,
        Err(failure) => {
            eprintln!("hostcrst-dump: {failure}");
            failure.exit_code()
        }
    })
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    const DAY: f64 = 86400.0;
    let seconds: f64 =
        text.parse().ok().filter(|number: &f64| !number.is_nan()).ok_or("not a number of seconds")?;
    let pause = Duration::from_secs_f64(seconds.clamp(0.0, DAY));
    if pause.is_zero() || seconds > DAY {
        return Err("not above 0, or more than a day".to_owned());
    }
    Ok(pause)
}

/// Writes one report. Returns whether a deadlock stands.
fn once(arguments: &Arguments) -> Result<bool, Failure> {
    let time_limit = TimeLimit::of(arguments.timeout);
    let Report { text, deadlock } = process::look(|| {
        let target = open(&arguments.subject)?;
        if arguments.metrics {
            return metrics(&*target, time_limit);
        }
        let stacks_of = if arguments.stacks { StacksOf::All } else { StacksOf::Cycles };
        report(&*target, format(arguments), stacks_of, time_limit)
    })?;
    match &arguments.html {
        Some(file) => fs::write(file, text).map_err(|error| Failure::Page { file: file.clone(), error })?,
        None => write_out(&text)?,
    }
    deadlock
}

fn write_out(text: &str) -> io::Result<()> {
    if IS_STDOUT_CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether this program was started without a stdout. Before main the standard library opens /dev/null in its place.
static IS_STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look_at_stdout() {
    // SAFETY: fcntl has no preconditions.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    IS_STDOUT_CLOSED.store(flags == -1, Ordering::Relaxed);
}

// SAFETY: what stands there is called before main, on its thread; this needs nothing of the standard library's.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look_at_stdout;

/// Shows reports until interrupted: on a terminal as a view, elsewhere one after the other. The last one counts.
fn keep_watch(arguments: &Arguments, pause: Duration) -> Result<bool, Failure> {
    if !is_process(&arguments.subject) {
        return Err(Failure::Usage("--watch is for a process: a core does not change".to_owned()));
    }
    block_interrupts();
    if let Some(outcome) = show_view(arguments, pause) {
        return outcome;
    }
    loop {
        let outcome = once(arguments)?;
        if is_interrupted_within(pause) {
            return Ok(outcome);
        }
        if format(arguments) != Format::Json {
            write_out(&format!("{}\n", "-".repeat(80)))?;
        }
    }
}

/// None where it is no terminal.
#[cfg(feature = "terminal")]
fn show_view(arguments: &Arguments, pause: Duration) -> Option<Result<bool, Failure>> {
    use hostcrst_dump::{report::sight, watch};

    // It has no room for stacks.
    if format(arguments) != Format::Text || arguments.stacks || !watch::can_show() {
        return None;
    }
    let title = format!("hostcrst-dump {}", arguments.subject);
    let look = || {
        let time_limit = TimeLimit::of(arguments.timeout);
        process::look(|| sight(&*open(&arguments.subject)?, StacksOf::Cycles, time_limit))
    };
    Some(watch::run(&title, pause, look, || is_interrupted_within(Duration::ZERO)))
}

#[cfg(not(feature = "terminal"))]
fn show_view(_: &Arguments, _: Duration) -> Option<Result<bool, Failure>> {
    None
}

fn format(arguments: &Arguments) -> Format {
    match arguments {
        Arguments { json: true, .. } => Format::Json,
        Arguments { dot: true, .. } => Format::Dot,
        Arguments { html: Some(_), .. } => Format::Html,
        _ => Format::Text,
    }
}

fn is_process(subject: &str) -> bool {
    !subject.is_empty() && subject.bytes().all(|byte| byte.is_ascii_digit())
}

fn open(subject: &str) -> Result<Box<dyn Target>, Failure> {
    if !is_process(subject) {
        return Ok(Box::new(Core::open(Path::new(subject))?));
    }
    match subject.parse() {
        Ok(0) => Err(Failure::Usage("0 is no process id".to_owned())),
        Ok(id) if id <= i32::MAX as u32 => Ok(Box::new(Process::attach(id)?)),
        _ => Err(Failure::Usage(format!("{subject} is too large for a process id"))),
    }
}

fn interrupts() -> libc::sigset_t {
    // SAFETY: a sigset_t of zeros may be passed to sigemptyset, which initialises it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        set
    }
}

/// From here on an interrupt waits until it is asked for.
fn block_interrupts() {
    // SAFETY: the set is initialised; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &interrupts(), std::ptr::null_mut()) };
}

fn is_interrupted_within(pause: Duration) -> bool {
    let time = libc::timespec {
        tv_sec: pause.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(pause.subsec_nanos() as i32),
    };
    // SAFETY: the set and the time are initialised; what the signal was is not asked for.
    unsafe { libc::sigtimedwait(&interrupts(), std::ptr::null_mut(), &raw const time) > 0 }
}
