//! Makes the C header from `src/ffi/`, `src/constants.rs` and `src/error.rs`, or looks whether it is there, and gives
//! the shared library its SONAME.
//!
//! With the feature `header` the header is written to `OUT_DIR` on each build; `tests/header.rs` holds the checked-in
//! copy against it. `HOSTCRST_UPDATE_HEADER=1` (what `./dev header` sets) also writes the checked-in copy.

use std::env;

/// Names the binary interface, not the release: it rises when a program built against an older library would break.
const SOVERSION: u32 = 0;

const CHECKED_IN: &str = "include/hostcrst.h";

#[cfg(feature = "header")]
#[allow(dead_code)]
#[path = "src/constants.rs"]
mod constants;
#[cfg(feature = "header")]
#[allow(dead_code)]
#[path = "src/error.rs"]
mod error;

fn main() {
    #[cfg(feature = "header")]
    header::make();
    #[cfg(not(feature = "header"))]
    header_is_there();

    for input in ["build.rs", CHECKED_IN] {
        println!("cargo:rerun-if-changed={input}");
    }
    // Not rustc-link-arg-cdylib: the manifest declares no cdylib, `cargo rustc --crate-type` asks for one.
    if env::var_os("CARGO_FEATURE_CAPI").is_some() {
        println!("cargo:rustc-link-arg=-Wl,-soname,libhostcrst.so.{SOVERSION}");
        // Threads call into the library when they end, after a dlclose too.
        println!("cargo:rustc-link-arg=-Wl,-z,nodelete");
    }
}

/// Whoever builds the library for C needs the header beside it, and the one of this version.
#[cfg(not(feature = "header"))]
fn header_is_there() {
    let wanted = format!("\n#define HOSTCRST_VERSION_STRING {:?}\n", variable("CARGO_PKG_VERSION"));
    let complaint = match std::fs::read_to_string(CHECKED_IN) {
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
    use super::{CHECKED_IN, variable};
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

    pub fn make() {
        let header = with_section_titles(&cbindgen_header());
        let generated = Path::new(&variable("OUT_DIR")).join("hostcrst.h");
        write_if_changed(&generated, &header);
        if env::var_os("HOSTCRST_UPDATE_HEADER").is_some_and(|value| value == "1") {
            write_if_changed(Path::new(CHECKED_IN), &header);
        }

        println!("cargo:rustc-env=GENERATED_HEADER={}", generated.display());
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
        forbid_exceptions(&String::from_utf8(header).expect("the header is UTF-8"))
    }

    /// Callbacks must return, which C++ can say of a type from C++17 on.
    fn forbid_exceptions(header: &str) -> String {
        let lines = header.lines().map(|line| match line.strip_suffix(';') {
            Some(callback) if line.starts_with("typedef void (*") => {
                format!("{callback} HOSTCRST_NOEXCEPT_;\n")
            }
            _ => format!("{line}\n"),
        });
        lines.collect()
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
            let definition = format!("HOSTCRST_FAILURE_({name}, {code:#010X})").replace("0X", "0x");
            constant(
                name,
                definition,
                &sentence_behind_colon(Error::message_of(code).to_str().expect("UTF-8")),
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
        format!(
            "\n/* The version of this header; hostcrst_version() tells that of the library. */\n\
         #define HOSTCRST_VERSION_MAJOR {}\n\
         #define HOSTCRST_VERSION_MINOR {}\n\
         #define HOSTCRST_VERSION_PATCH {}\n\
         /* One number to compare: 1.2.3 is 1002003. */\n\
         #define HOSTCRST_VERSION_NUMBER \\\n    \
             (HOSTCRST_VERSION_MAJOR * 1000000 + HOSTCRST_VERSION_MINOR * 1000 + HOSTCRST_VERSION_PATCH)\n\
         #define HOSTCRST_VERSION_STRING \"{}\"\n",
            part("MAJOR"),
            part("MINOR"),
            part("PATCH"),
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
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
