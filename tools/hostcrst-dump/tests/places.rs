//! Names of places in a process, and in its core: those that the library's own reports have.

mod common;

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::Subject;
use elf_names::{Files, ReadAt, Resolver};
use hostcrst_dump::core_file::Core;
use hostcrst_dump::process::Process;
use hostcrst_dump::symbols::Symbols;
use hostcrst_dump::target::Target;
use hostcrst_dump::time_limit::TimeLimit;

/// Where the library's own reports find names.
struct OfProcess(u32);

struct Opened(File);

impl ReadAt for Opened {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        self.0.read_at(buffer, offset).ok()
    }
}

impl Files for OfProcess {
    type File = Opened;

    fn maps(&self) -> Option<Opened> {
        File::open(format!("/proc/{}/maps", self.0)).ok().map(Opened)
    }

    fn open(&self, path: &CStr) -> Option<Opened> {
        File::open(path.to_str().ok()?).ok().map(Opened)
    }
}

/// The name that the library's own report has, if any.
fn own(process: u32, address: u64, is_data: bool) -> Option<String> {
    let mut resolver = Box::new(Resolver::new());
    let files = OfProcess(process);
    let symbol =
        if is_data { resolver.resolve_data(&files, address) } else { resolver.resolve(&files, address) }?;
    let name = symbol.name().map(|name| format!("!{}", String::from_utf8_lossy(name)));
    let library = String::from_utf8_lossy(symbol.library());
    Some(format!("{library}{}+0x{:x}", name.unwrap_or_default(), symbol.offset()))
}

/// The name that the tool has.
fn seen(target: &dyn Target, address: u64, is_data: bool) -> Option<String> {
    let mut symbols = Symbols::new(target, TimeLimit::of(Duration::from_secs(60)));
    let mut text = String::new();
    if !is_data {
        return symbols.write_address(&mut text, address).unwrap().then(|| without_line(&text));
    }
    symbols.write_variable(&mut text, address).unwrap();
    let name = text.strip_prefix(&format!("0x{address:x}")).unwrap().strip_prefix(' ');
    name.map(str::to_owned)
}

fn without_line(text: &str) -> String {
    text.split(" (").next().unwrap().to_owned()
}

/// A process with places of each kind, by their names.
struct Places {
    subject: Subject,
    places: Vec<(String, u64)>,
    folder: tempfile::TempDir,
}

impl Places {
    fn start() -> Places {
        let folder = tempfile::tempdir().unwrap();
        let library = library_with_hidden_places(&folder);
        let (subject, line) = Subject::run_until_line(Command::new(common::example("places")).arg(library));
        let places = line.split_ascii_whitespace().map(|place| {
            let (name, address) = place.split_once('=').unwrap();
            (name.to_owned(), u64::from_str_radix(address, 16).unwrap())
        });
        Places { subject, places: places.collect(), folder }
    }

    fn at(&self, name: &str) -> u64 {
        self.places.iter().find(|(other, _)| other == name).unwrap().1
    }

    fn process(&self) -> Process {
        Process::attach(self.subject.id()).unwrap()
    }

    fn core(&self) -> Core<File> {
        Core::open(&self.subject.take_core(self.folder.path())).unwrap()
    }
}

/// Its code and its data lie elsewhere in memory than in the file, and have no names.
fn library_with_hidden_places(folder: &tempfile::TempDir) -> PathBuf {
    let (source, library) = (folder.path().join("hidden.c"), folder.path().join("hidden.so"));
    fs::write(
        &source,
        "static int twice(int number) { return 2 * number; }\nstatic int seven[8] = { 7 };\n\
         const void *const places[] = { (const void *)twice, seven };\n",
    )
    .unwrap();
    let options = ["-shared", "-fPIC", "-s", "-Wl,-Ttext=0x201000", "-o"];
    assert!(Command::new("cc").args(options).args([&library, &source]).status().unwrap().success());
    library
}

#[test]
fn an_address_is_a_librarys_where_that_is_loaded_and_nowhere_else() {
    let places = Places::start();
    let (process, core) = (places.process(), places.core());
    for target in [&process as &dyn Target, &core] {
        let at = |name: &str| seen(target, places.at(name), true);
        assert_eq!(at("small_table").unwrap(), "places!small_table+0x3");
        assert_eq!(at("large_table").unwrap(), "places!large_table+0x3000");
        assert_eq!(at("end_of_large_table").unwrap(), "places!large_table+0x3ffffff");
        assert_eq!(at("copy").unwrap(), "places+0x1234", "a program that is mapped to be read");
        for elsewhere in ["behind_copy", "nothing"] {
            assert_eq!(at(elsewhere), None, "{elsewhere} of {}", target.description());
        }
    }
    assert!(seen(&process, places.at("heap"), true).unwrap().starts_with("[heap]+0x"));
}

#[test]
fn a_place_has_the_name_that_the_librarys_own_report_has() {
    let places = Places::start();
    let (process, core) = (places.process(), places.core());
    for (name, address) in &places.places {
        for is_data in [true, false] {
            let own = own(places.subject.id(), *address, is_data);
            // The names of functions of Rust are mangled there.
            if name == "code" && !is_data {
                continue;
            }
            assert_eq!(seen(&process, *address, is_data), own, "{name} {is_data}");
            let without_labels = own.filter(|name| !name.starts_with('['));
            assert_eq!(seen(&core, *address, is_data), without_labels, "{name} {is_data} of a core");
        }
    }
}
