//! Makes the C header from `src/ffi/`, or looks whether it is there, and gives the shared library its SONAME.
//!
//! With the feature `header` the header is written to `OUT_DIR` on each build; `tests/header.rs` holds the checked-in
//! copy against it. `HOSTCRST_UPDATE_HEADER=1` (what `./dev header` sets) also writes the checked-in copy.

use std::env;

/// Names the binary interface, not the release: it rises when a program built against an older library would break.
const SOVERSION: u32 = 0;

const CHECKED_IN: &str = "include/hostcrst.h";

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
    use super::{CHECKED_IN, variable};
    use std::{env, fs, path::Path};

    /// The files whose functions make up the header, in the order a reader meets them. The module documentation
    /// (`//!`) of each stands before its first function: its first line is the title of the section.
    const SECTIONS: &[&str] = &[
        "src/ffi/runtime.rs",
        "src/ffi/crst.rs",
        "src/ffi/task.rs",
        "src/ffi/deadlock.rs",
        "src/ffi/report.rs",
    ];

    /// Where a type of theirs stands that the rooms below them know too.
    const TYPES: &[&str] = &["src/state/deadlocks.rs"];

    pub fn make() {
        let header = place_sections(&cbindgen_header());
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
        SECTIONS.iter().chain(TYPES).copied()
    }

    fn cbindgen_header() -> String {
        let mut config = cbindgen::Config::from_file("cbindgen.toml").expect("cbindgen.toml");
        let constants = config.after_includes.take().unwrap_or_default();
        config.after_includes = Some(format!("{}\n{}", version_macros(), constants.trim_end()));
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

    /// Puts the module documentation of each file of `SECTIONS` before the first function that the file declares.
    fn place_sections(header: &str) -> String {
        let mut lines: Vec<String> = header.lines().map(str::to_owned).collect();
        let declarations = lines.iter().position(|line| line == "extern \"C\" {").expect("cpp_compat is on");
        for file in SECTIONS {
            let source = fs::read_to_string(file).expect(file);
            let title: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("//!")).collect();
            let Some(function) = source.lines().find_map(exported_name) else { continue };
            let declaration = lines
                .iter()
                .skip(declarations)
                .position(|line| !line.starts_with(' ') && line.contains(&format!("{function}(")))
                .map(|after| declarations + after)
                .unwrap_or_else(|| panic!("{file}: {function} is not in the header"));
            let start = (0..declaration).rev().find(|&at| lines[at].is_empty()).map_or(0, |blank| blank + 1);
            lines.splice(start..start, section_comment(&title));
        }
        lines.join("\n") + "\n"
    }

    fn exported_name(line: &str) -> Option<&str> {
        let (_, signature) = line.strip_prefix("pub ")?.split_once("extern \"C\" fn ")?;
        signature.split_once('(').map(|(name, _)| name)
    }

    fn section_comment(title: &[&str]) -> Vec<String> {
        let rule = "=".repeat(100);
        let text = title.iter().map(|line| format!(" *{line}").trim_end().to_owned());
        [format!("/* {rule}")]
            .into_iter()
            .chain(text)
            .chain([format!(" * {rule} */"), String::new()])
            .collect()
    }

    fn write_if_changed(path: &Path, text: &str) {
        if fs::read_to_string(path).is_ok_and(|present| present == text) {
            return;
        }
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
