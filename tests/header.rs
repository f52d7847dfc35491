//! The checked-in header is the one that `src/ffi` gives, its constants are the library's own, and every exported
//! function stands in it.

use hostcrst::constants::WAIT_OPTIONS;
use hostcrst::error::{Error, SUCCESSES};
use std::{collections::BTreeSet, fs};

const CHECKED_IN: &str = include_str!("../include/hostcrst.h");
const CDEF: &str = include_str!("../share/hostcrst/hostcrst.cdef");
const WIN32: &str = include_str!("../include/hostcrst/win32.h");

/// Exported for the CLR, which brings declarations of its own: they stand in no header of this library.
const WITHOUT_DECLARATION: &[&str] = &["DllCanUnloadNow", "DllGetClassObject", "hostcrst_registry_v1"];

#[test]
fn checked_in_header_is_fresh() {
    assert_fresh("include/hostcrst.h", CHECKED_IN, env!("GENERATED_HEADER"));
    assert_fresh("share/hostcrst/hostcrst.cdef", CDEF, env!("GENERATED_CDEF"));
}

fn assert_fresh(name: &str, checked_in: &str, generated: &str) {
    let generated = fs::read_to_string(generated).unwrap();
    let difference = checked_in.lines().zip(generated.lines()).enumerate().find(|(_, (old, new))| old != new);
    assert!(
        checked_in == generated,
        "{name} is not what src/ffi gives (first difference: {difference:?}). To fix it, run\n\n    ./dev header\n\n\
         and commit the result."
    );
}

/// Nothing is left of what only a preprocessor understands, and nothing that a program can call is lost.
#[test]
fn the_declarations_without_preprocessor_are_those_of_the_header() {
    let (_, code) = CDEF.split_once("*/\n").unwrap();
    for line in code.lines().filter(|line| !line.is_empty()) {
        assert!(line.ends_with([';', '{']), "{line}");
        assert!(
            !line.contains(['#', '/']) && !line.contains("__") && !line.contains("HOSTCRST_NO"),
            "{line}"
        );
    }
    let functions = code.lines().filter(|line| line.contains('(') && !line.starts_with("typedef"));
    assert!(functions.filter_map(declared_name).eq(CHECKED_IN.lines().filter_map(function)));
}

/// What they are worth is for `ctests/header/constants.inc`, which has Microsoft's values.
#[test]
fn codes_and_options_are_those_of_the_library_and_may_be_defined_before() {
    let successes = SUCCESSES.iter().map(|&(code, name, _)| (name, code));
    let failures = Error::ALL.iter().map(|&(error, name)| (name, error.hresult()));
    let options = WAIT_OPTIONS.iter().map(|&(name, bit, _)| (name, bit as i32));
    let expected: Vec<(&str, i32)> = successes.chain(failures).chain(options).collect();
    let declared: Vec<(&str, i32)> = CHECKED_IN.lines().filter_map(constant).collect();
    assert_eq!(declared, expected);
    for (name, _) in expected {
        assert!(CHECKED_IN.contains(&format!("#ifndef {name}\n")), "{name} has no #ifndef of its own");
    }
}

#[test]
fn version_macros_are_the_version_of_the_crate() {
    for (name, value) in [
        ("MAJOR", env!("CARGO_PKG_VERSION_MAJOR").to_owned()),
        ("MINOR", env!("CARGO_PKG_VERSION_MINOR").to_owned()),
        ("PATCH", env!("CARGO_PKG_VERSION_PATCH").to_owned()),
        ("STRING", format!("{:?}", env!("CARGO_PKG_VERSION"))),
    ] {
        let line = format!("\n#define HOSTCRST_VERSION_{name} {value}\n");
        assert!(CHECKED_IN.contains(&line), "not in the header: {line}");
    }
}

#[test]
fn header_declares_exactly_the_exported_functions() {
    let exported: BTreeSet<&str> = include_str!("../ctests/exports.txt")
        .lines()
        .filter(|name| !WITHOUT_DECLARATION.contains(name))
        .collect();
    let declared = CHECKED_IN.lines().filter_map(function).chain(WIN32.lines().filter_map(windows_function));
    assert_eq!(declared.collect::<BTreeSet<&str>>(), exported);
}

/// `HOSTCRST_CONSTANT_(NAME, 4);`
fn constant(line: &str) -> Option<(&str, i32)> {
    let arguments = line.strip_prefix("HOSTCRST_CONSTANT_(")?.strip_suffix(");")?;
    let (name, value) = arguments.split_once(", ")?;
    Some((name, value.parse().unwrap()))
}

/// `… HOSTCRST_WIN32_IS_(hostcrst_cs_enter);` at the end of a declaration in win32.h.
fn windows_function(line: &str) -> Option<&str> {
    line.split_once("HOSTCRST_WIN32_IS_(hostcrst_")?;
    line.rsplit_once('(')?.1.strip_suffix(");")
}

/// `HOSTCRST_API int32_t hostcrst_leave(hostcrst_t crst);`, or its first line.
fn function(line: &str) -> Option<&str> {
    line.trim_start_matches("HOSTCRST_NODISCARD ").strip_prefix("HOSTCRST_API ").and_then(declared_name)
}

fn declared_name(declaration: &str) -> Option<&str> {
    declaration.split_once('(')?.0.rsplit([' ', '*']).next()
}
