#!/usr/bin/env python3
"""promises.py SOURCE BUILD CTEST: every row of docs/promises.md names tests, and each of them exists; so does each file
that a page names."""
import os
import re
import subprocess
import sys

source, build, ctest = sys.argv[1:]


def read(*path):
    with open(os.path.join(source, *path), encoding="utf-8") as file:
        return file.read()


def files_below(*path):
    for folder, _, names in os.walk(os.path.join(source, *path)):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), source)


def tests_of_ctest():
    listed = subprocess.run([ctest, "--test-dir", build, "-N"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^ *Test +#\d+: (\S+)$", listed, re.MULTILINE))


def functions_of_c():
    """`crst.c::only_the_owner_leaves` of each program that is a test."""
    lists = "".join(read(path) for path in files_below("ctests") if path.endswith("CMakeLists.txt"))
    stems = set(re.findall(r"hostcrst_stem\((?:\w+/)?(\w+)", lists)) | set(re.findall(r"add_test\(NAME (\w+)\.c ", lists))
    found = set()
    for path in files_below("ctests"):
        stem, suffix = os.path.splitext(os.path.basename(path))
        if suffix in (".c", ".cpp") and stem in stems:
            found |= {f"{stem}{suffix}::{name}" for name in re.findall(r"CHECK_TEST\((\w+)\)", read(path))}
    return found


def functions_of_rust(path):
    """Of one file: the names of its tests."""
    return re.findall(r"#\[test\]\n(?:\s*#\[.*\]\n)*\s*fn (\w+)", read(path))


def tests_of_rust():
    found = set()
    for crate in ("lib", "elf-names", "foreign-locks"):
        sources = "src/" if crate == "lib" else f"crates/{crate}/src/"
        for path in files_below(sources):
            module = path.removeprefix(sources).removesuffix(".rs").removesuffix("/mod").replace("/", "::")
            for name in functions_of_rust(path):
                found.add(f"{module}::{name}" if module.startswith("models::") else f"{crate} {module}::tests::{name}")
    for folder in ("tests", os.path.join("tools", "hostcrst-dump", "tests")):
        for path in files_below(folder):
            if path.endswith(".rs"):
                module = os.path.basename(path).removesuffix(".rs")
                found |= {f"{module}::{name}" for name in functions_of_rust(path)}
    return found


def rows(text):
    """What stands in the second column, of each row of each table but the first one, which explains names."""
    for line in text[text.index("\n## "):].splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and not set(cells[0]) <= {"-", " "} and cells[0] != "promise":
            yield cells


def mistakes_in(text, known):
    for cells in rows(text):
        names = re.findall(r"`([^`]+)`", cells[1]) if len(cells) == 2 else []
        if not names:
            yield f"no test for: {' | '.join(cells)}"
        for name in names:
            if name not in known:
                yield f"there is no test `{name}`"


def files_missing_in(text, folder):
    """Of a page in that folder: links, and paths that begin with a folder of the source tree."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in link and not os.path.exists(os.path.join(source, folder, link)):
            yield f"there is no file {link}"
    for path in re.findall(r"`((?:benches|cmake|crates|ctests|docs|examples|include|scripts|src|tests|tools)/[\w./-]*)`", text):
        if not os.path.exists(os.path.join(source, path)):
            yield f"there is no file {path}"


def pages():
    names = [name for name in os.listdir(source) if name.endswith(".md")]
    return names + [path for path in files_below("docs") if path.endswith(".md")]


def check_the_check(known):
    """It says no to a test or a file that is not there, to a row without one, and to the kinds of names mixed up."""
    for text in ("[a](nothing.md#b)", "`src/nothing.rs`"):
        if not list(files_missing_in(text, "docs")):
            sys.exit(f"promises.py takes '{text}'")
    wrong = ["`crst.c::no_such_function`", "`nothing.c::only_the_owner_leaves`", "`lib handle::tests::nothing`",
             "`models::bias::nothing`", "`outside::nothing`", "`ctest nothing.shared`", "`exports.shared`", "", "by hand"]
    for cell in wrong:
        if not list(mistakes_in(f"\n## A\n\n| promise | x |\n| --- | --- |\n| a | {cell} |\n", known)):
            sys.exit(f"promises.py takes '{cell}'")
    if list(mistakes_in("\n## A\n| a | `crst.c::only_the_owner_leaves` |\n", known)):
        sys.exit("promises.py refuses a test that is there")


known = {f"ctest {name}" for name in tests_of_ctest()} | functions_of_c() | tests_of_rust()
check_the_check(known)
text = read("docs", "promises.md")
mistakes = list(mistakes_in(text, known))
for page in pages():
    mistakes += [f"{page}: {missing}" for missing in files_missing_in(read(page), os.path.dirname(page))]
print("\n".join(mistakes))
print(f"{len(list(rows(text)))} promises, {len(mistakes)} mistakes")
sys.exit(1 if mistakes or len(list(rows(text))) < 100 else 0)
