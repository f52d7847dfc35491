//! Makes the C header from `src/ffi/`, `src/constants.rs` and `src/error.rs`, or looks whether it is there. From the
//! header it makes `hostcrst.cdef`, the same declarations for parsers that have no preprocessor. It packs the texts of a
//! report's page, too.
//!
//! With the feature `header` both are written to `OUT_DIR` on each build; `tests/header.rs` holds the checked-in copies
//! against them. `HOSTCRST_UPDATE_HEADER=1` (what `./dev header` sets) also writes the checked-in copies.

use std::path::Path;
use std::{env, fs};

const CHECKED_IN: &str = "include/hostcrst.h";
#[cfg(feature = "header")]
const CHECKED_IN_CDEF: &str = "share/hostcrst/hostcrst.cdef";

#[cfg(feature = "header")]
#[allow(dead_code)]
#[path = "src/constants.rs"]
mod constants;
#[cfg(feature = "header")]
#[allow(dead_code)]
#[path = "src/error.rs"]
mod error;
#[path = "src/report/page/pack.rs"]
mod pack;

fn main() {
    page();
    #[cfg(feature = "header")]
    header::make();
    #[cfg(not(feature = "header"))]
    header_is_there();

    for input in ["build.rs", CHECKED_IN] {
        println!("cargo:rerun-if-changed={input}");
    }
    // A shared library that cargo links, as `cargo cinstall` has it do: scripts/c-library links its own.
    if env::var_os("CARGO_FEATURE_CAPI").is_some() {
        // Threads call into the library when they end, after a dlclose too.
        println!("cargo:rustc-link-arg=-Wl,-z,nodelete");
    }
}

/// Writes the texts of a report's page as `src/report/packed.rs` includes them.
fn page() {
    let texts =
        [("HEAD", "head.html"), ("STYLE", "style.css"), ("SCRIPT", "script.js")].map(|(name, file)| {
            let file = format!("src/report/page/{file}");
            println!("cargo:rerun-if-changed={file}");
            (name, fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")))
        });
    println!("cargo:rerun-if-changed=src/report/page/pack.rs");
    let (pairs, packed) = pack::pack(&texts.each_ref().map(|(_, text)| text.as_str()));
    let mut source = format!("static PAIRS: [[u8; 2]; {}] = {pairs:?};\n", pairs.len());
    for ((name, _), bytes) in texts.iter().zip(packed) {
        source += &format!("pub(super) const {name}: Packed = Packed(&{bytes:?});\n");
    }
    fs::write(Path::new(&variable("OUT_DIR")).join("page.rs"), source).expect("OUT_DIR can be written");
}

/// Whoever builds the library for C needs the header beside it, and the one of this version.
#[cfg(not(feature = "header"))]
fn header_is_there() {
    let wanted = format!("\n#define HOSTCRST_VERSION_STRING {:?}\n", variable("CARGO_PKG_VERSION"));
    let complaint = match fs::read_to_string(CHECKED_IN) {
        Ok(header) if header.contains(&wanted) => return,
        Ok(_) => "is of another version than Cargo.toml".to_owned(),
        Err(error) => format!("cannot be read ({error})"),
    };
    eprintln!(
        "hostcrst: {CHECKED_IN} {complaint}; build with the feature `header` and HOSTCRST_UPDATE_HEADER=1 to make it"
    );
    std::process::exit(1);
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

#[cfg(feature = "header")]
mod header {
    use super::constants::WAIT_OPTIONS;
    use super::error::{Error, SUCCESSES};
    use super::{CHECKED_IN, CHECKED_IN_CDEF, cdef, variable};
    use std::{env, fs, path::Path};

    /// The files whose functions make up the header, in the order a reader meets them. The module documentation
    /// (`//!`) of each stands before its first function: its first line is the title of the section.
    const SECTIONS: &[&str] = &[
        "src/ffi/runtime.rs",
        "src/ffi/crst.rs",
        "src/ffi/task.rs",
        "src/ffi/deadlock.rs",
        "src/ffi/order.rs",
        "src/ffi/statistics.rs",
        "src/ffi/resource.rs",
        "src/ffi/report.rs",
    ];

    /// Where constants and types stand that the rooms below know too.
    const SHARED: &[&str] = &["src/constants.rs", "src/state/deadlocks.rs"];

    /// Where in `after_includes` of cbindgen.toml the codes and options go.
    const CODES_AND_OPTIONS: &str = "@codes and options@\n";

    /// The functions that may call one of the program's, which may end its thread: a C++ compiler that was told that
    /// nothing unwinds through them would end the process.
    const CALLING_BACK: &[&str] = &[
        "hostcrst_enter",
        "hostcrst_enter_timeout",
        "hostcrst_enter_at",
        "host_resource_wait",
        "host_resource_wait_at",
        "host_report_write",
    ];

    const LINE_LENGTH: usize = 120;

    pub fn make() {
        let header = with_section_titles(&cbindgen_header());
        let cdef = cdef::of_header(&header);
        let update = env::var_os("HOSTCRST_UPDATE_HEADER").is_some_and(|value| value == "1");
        for (text, name, checked_in) in [(header, "HEADER", CHECKED_IN), (cdef, "CDEF", CHECKED_IN_CDEF)] {
            let generated = Path::new(&variable("OUT_DIR")).join(name.to_lowercase());
            write_if_changed(&generated, &text);
            if update {
                write_if_changed(Path::new(checked_in), &text);
            }
            println!("cargo:rustc-env=GENERATED_{name}={}", generated.display());
        }

        println!("cargo:rerun-if-env-changed=HOSTCRST_UPDATE_HEADER");
        for input in sources().chain(["cbindgen.toml"]) {
            println!("cargo:rerun-if-changed={input}");
        }
    }

    fn sources() -> impl Iterator<Item = &'static str> {
        SHARED.iter().chain(SECTIONS).copied()
    }

    fn cbindgen_header() -> String {
        let mut config = cbindgen::Config::from_file("cbindgen.toml").expect("cbindgen.toml");
        let macros = config.after_includes.take().unwrap_or_default();
        let (before, after) = macros.split_once(CODES_AND_OPTIONS).expect(CODES_AND_OPTIONS);
        let parts = [&version_macros(), "\n", before, &codes_and_options(), after.trim_end()];
        config.after_includes = Some(parts.concat());
        let builder =
            sources().fold(cbindgen::Builder::new().with_config(config), |b, file| b.with_src(file));
        let mut header = Vec::new();
        builder.generate().expect("src/ffi can be read by cbindgen").write(&mut header);
        let header = String::from_utf8(header).expect("the header is UTF-8");
        for_c_and_cpp(&without_rust_headings(&header))
    }

    /// Of each line what a C or C++ compiler is to make of it.
    fn for_c_and_cpp(header: &str) -> String {
        let header: String = header.lines().map(|line| declaration(line) + "\n").collect();
        let too_long = header.lines().find(|line| line.len() > LINE_LENGTH);
        assert_eq!(too_long, None, "a line of the header has more than {LINE_LENGTH} columns");
        header
    }

    fn declaration(line: &str) -> String {
        if let Some((code, comment)) = line.split_once("// ").filter(|_| line.starts_with(['#', '}'])) {
            return format!("{code}/* {comment} */");
        }
        match (line.strip_suffix(';'), line.strip_prefix("#define ").and_then(|line| line.split_once(' '))) {
            (Some(callback), _) if line.starts_with("typedef void (*") => {
                format!("{callback} HOSTCRST_CALLBACK_;")
            }
            (Some(function), _) if line.starts_with("HOSTCRST_API ") => with_attributes(function),
            // Otherwise it is a long in C99 and an unsigned long in C90.
            (_, Some((_, value))) if value.parse().is_ok_and(|value: i64| value > i32::MAX.into()) => {
                format!("{line}u")
            }
            _ => line.to_owned(),
        }
    }

    /// The attribute in brackets has to come first.
    fn with_attributes(function: &str) -> String {
        const NODISCARD: &str = "HOSTCRST_NODISCARD ";
        let plain = function.replace(NODISCARD, "");
        let nodiscard = if plain == function { "" } else { NODISCARD };
        let name = name_of_declared(&plain).expect(&plain);
        let declaration = match CALLING_BACK.contains(&name) {
            true => format!("{nodiscard}{plain};"),
            false => format!("{nodiscard}{plain} HOSTCRST_NOEXCEPT_;"),
        };
        if declaration.len() <= LINE_LENGTH {
            return declaration;
        }
        match declaration.split_once(" HOSTCRST_NOEXCEPT_") {
            Some((all, end)) => format!("{all}\n    HOSTCRST_NOEXCEPT_{end}"),
            None => broken_between_parameters(&declaration),
        }
    }

    fn broken_between_parameters(declaration: &str) -> String {
        let end = declaration[..LINE_LENGTH].rfind(", ").expect("parameters that fit the line") + 1;
        format!("{}\n   {}", &declaration[..end], &declaration[end..])
    }

    fn name_of_declared(function: &str) -> Option<&str> {
        function.split_once('(')?.0.rsplit([' ', '*']).next()
    }

    /// What clippy wants under a heading and in backticks stands in the C header as its other paragraphs do.
    fn without_rust_headings(header: &str) -> String {
        let mut parts = header.split(" * # Safety\n * ");
        let first = parts.next().expect("split gives a part").to_owned();
        parts.fold(first, |text, part| {
            let (safety, rest) = part.split_once(" */\n").expect("a comment ends");
            format!("{text} * Memory: {} */\n{rest}", safety.replace('`', ""))
        })
    }

    /// The constants whose names Windows' headers may define too.
    fn codes_and_options() -> String {
        let constant = |name: &str, definition: String, meaning: &str| {
            format!("/* {meaning} */\n#ifndef {name}\n{definition};\n#endif\n")
        };
        let small = |name: &str, value: u32| format!("HOSTCRST_CONSTANT_({name}, {value})");
        let successes =
            SUCCESSES.iter().map(|&(code, name, meaning)| constant(name, small(name, code as u32), meaning));
        let failures = Error::ALL.iter().map(|(error, name)| {
            let code = error.hresult();
            let sentence = sentence_behind_colon(Error::message_of(code).to_str().expect("UTF-8"));
            constant(
                name,
                format!("HOSTCRST_CONSTANT_({name}, {code})"),
                &format!("0x{code:08X}: {sentence}"),
            )
        });
        let options =
            WAIT_OPTIONS.iter().map(|&(name, bit, meaning)| constant(name, small(name, bit), meaning));
        successes.chain(failures).chain(options).collect::<Vec<_>>().join("\n")
    }

    fn sentence_behind_colon(message: &str) -> String {
        let (_, behind) = message.split_once(": ").expect(message);
        let (first, rest) = behind.split_at(1);
        format!("{}{rest}.", first.to_uppercase())
    }

    fn version_macros() -> String {
        let part = |name: &str| variable(&format!("CARGO_PKG_VERSION_{name}"));
        let number = |name: &str| part(name).parse::<u32>().expect("cargo has checked it");
        format!(
            "\n/* The version of this header; hostcrst_version() tells that of the library. */\n\
         #define HOSTCRST_VERSION_MAJOR {}\n\
         #define HOSTCRST_VERSION_MINOR {}\n\
         #define HOSTCRST_VERSION_PATCH {}\n\
         /* One number to compare: 1.2.3 is 1002003. */\n\
         #define HOSTCRST_VERSION_NUMBER {}\n\
         #define HOSTCRST_VERSION_STRING \"{}\"\n",
            part("MAJOR"),
            part("MINOR"),
            part("PATCH"),
            number("MAJOR") * 1_000_000 + number("MINOR") * 1_000 + number("PATCH"),
            variable("CARGO_PKG_VERSION")
        )
    }

    /// A file of `SECTIONS`: its module documentation, and the first function that it declares.
    struct Section {
        title: String,
        function: String,
    }

    impl Section {
        fn read(file: &str) -> Self {
            let source = fs::read_to_string(file).expect(file);
            let title: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("//!")).collect();
            let function = source.lines().find_map(exported_name);
            let function = function.unwrap_or_else(|| panic!("{file} exports no function")).to_owned();
            Section { title: comment(&title), function }
        }

        /// Whether this declares the first function, perhaps below a comment.
        fn begins_with(&self, declaration: &str) -> bool {
            let call = format!("{}(", self.function);
            declaration.lines().any(|line| !line.starts_with(' ') && line.contains(&call))
        }
    }

    /// Puts the title of each section before its first function. The functions, each with its comment, are parted by
    /// blank lines.
    fn with_section_titles(header: &str) -> String {
        let (types, functions) = header.split_at(header.find("extern \"C\" {").expect("cpp_compat is on"));
        let mut declarations: Vec<String> = functions.split("\n\n").map(str::to_owned).collect();
        for section in SECTIONS.iter().map(|file| Section::read(file)) {
            let first = declarations.iter_mut().find(|declaration| section.begins_with(declaration));
            let first = first.unwrap_or_else(|| panic!("{} is not in the header", section.function));
            first.insert_str(0, &section.title);
        }
        format!("{types}{}", declarations.join("\n\n"))
    }

    fn exported_name(line: &str) -> Option<&str> {
        let (_, signature) = line.strip_prefix("pub ")?.split_once("extern \"C\" fn ")?;
        signature.split_once('(').map(|(name, _)| name)
    }

    fn comment(lines: &[&str]) -> String {
        let rule = "=".repeat(100);
        let text: String = lines.iter().map(|line| format!("{}\n", format!(" *{line}").trim_end())).collect();
        format!("/* {rule}\n{text} * {rule} */\n\n")
    }

    fn write_if_changed(path: &Path, text: &str) {
        if fs::read_to_string(path).is_ok_and(|present| present == text) {
            return;
        }
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("the folder can be made");
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// The header without preprocessor, attributes and comments: every constant is an enumerator.
#[cfg(feature = "header")]
mod cdef {
    const BEGIN: &str = "/* The declarations of hostcrst.h for C parsers without a preprocessor, such as those of cffi, LuaJIT and PHP. */\n\n";
    const FUNCTIONS_BEGIN: &str = "extern \"C\" {\n";

    pub fn of_header(header: &str) -> String {
        let constants: String = header.lines().filter_map(constant).map(enumerator).collect();
        let code = without_comments(header);
        let (types, functions) = code.split_once(FUNCTIONS_BEGIN).expect(FUNCTIONS_BEGIN);
        let (_, types) =
            types.split_once("#undef HOSTCRST_CONSTANT_\n").expect("the codes and options end so");
        let (types, functions) = (declarations(types), declarations(functions));
        format!("{BEGIN}{constants}\n{types}\n{functions}")
    }

    /// The name and value of a number that the header defines, but not those of its version.
    fn constant(line: &str) -> Option<(&str, &str)> {
        let (name, value) = match line.strip_prefix("HOSTCRST_CONSTANT_(") {
            Some(arguments) => arguments.strip_suffix(");")?.split_once(", ")?,
            None => line.strip_prefix("#define ")?.split_once(' ')?,
        };
        let value = value.trim_end_matches('u');
        (value.parse::<i64>().is_ok() && !name.starts_with("HOSTCRST_VERSION_")).then_some((name, value))
    }

    fn enumerator((name, value): (&str, &str)) -> String {
        format!("enum {{ {name} = {value} }};\n")
    }

    fn without_comments(header: &str) -> String {
        let mut parts = header.split("/*");
        let first = parts.next().expect("split gives a part");
        parts.fold(first.to_owned(), |code, part| code + part.split_once("*/").expect("a comment ends").1)
    }

    fn declarations(code: &str) -> String {
        let code = ["HOSTCRST_NODISCARD ", "HOSTCRST_API ", "HOSTCRST_CALLBACK_", "HOSTCRST_NOEXCEPT_"]
            .iter()
            .fold(code.to_owned(), |code, attribute| code.replace(attribute, ""));
        // What is left of a line that an attribute stood on alone, or behind.
        let code = code.replace("\n    ;", ";").replace(" ;", ";");
        // Declarations that were broken between parameters.
        let code = code.replace(",\n    ", ", ");
        let is_declaration =
            |line: &&str| !line.trim().is_empty() && !line.starts_with('#') && !line.starts_with("}  ");
        code.lines().filter(is_declaration).map(|line| format!("{line}\n")).collect()
    }
}
