#!/usr/bin/env python3
"""docs.py SOURCE <C compiler> <C++ compiler>: what README.md and docs/*.md say of code is so.

Each block of C or C++ compiles without a warning, and begins with the #include lines that it needs. A comment
`<!-- before the code: ... -->` above a block, which a reader does not see, is put behind those; braces that it leaves open are
closed behind the block. Each code of failure is in docs/errors.md, each environment variable in
docs/environment.md, each page in docs/README.md; and a link to a heading leads to one.
"""
import os
import re
import subprocess
import sys
import tempfile

source, c_compiler, cpp_compiler = sys.argv[1:]
failures = []


def read(*path):
    with open(os.path.join(source, *path), encoding="utf-8") as file:
        return file.read()


PAGES = ["README.md", *(f"docs/{name}" for name in sorted(os.listdir(os.path.join(source, "docs"))) if name.endswith(".md"))]
BLOCK = re.compile(r"(?:^<!-- before the code:\n(?P<before>.*?)-->\n)?^```(?P<language>c|cpp)\n(?P<code>.*?)^```$", re.M | re.S)
INCLUDES = re.compile(r"(?:#include .*\n|\n)*")


def compile_blocks(page, work):
    for block in BLOCK.finditer(read(page)):
        before, code = block["before"] or "", block["code"]
        if "#include" in before:
            failures.append(f"{page}: a reader does not see this #include:\n{before}")
        includes = INCLUDES.match(code)[0]
        text = includes + before + code[len(includes) :] + "}\n" * (before.count("{") - before.count("}"))
        compiler, standard = (c_compiler, "c99") if block["language"] == "c" else (cpp_compiler, "c++17")
        file = os.path.join(work, f"block.{block['language']}")
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        command = [compiler, f"-std={standard}", *strict, "-I", os.path.join(source, "include"), file]
        compiled = subprocess.run(command, capture_output=True, text=True)
        if compiled.returncode != 0:
            failures.append(f"{page}: this does not compile:\n{text}\n{compiled.stderr}")


def all_of(names, page):
    """Each name begins a row of a table of the page; and no row is about something else."""
    rows = set(re.findall(r"^\| `(\w+)` \|", read(page), re.M))
    failures.extend(f"{page} has no row of {name}" for name in sorted(set(names) - rows))
    failures.extend(f"{page} has a row of {name}, which does not exist" for name in sorted(rows - set(names)))


def anchors_of(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", read(page), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def follow_links(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", read(page)):
        if "://" in target:
            continue
        path = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
        if not os.path.exists(os.path.join(source, path)):
            failures.append(f"{page}: there is no {path}")
        elif anchor and path.endswith(".md") and anchor not in anchors_of(path):
            failures.append(f"{page}: {path} has no heading #{anchor}")


with tempfile.TemporaryDirectory() as work:
    for page in PAGES:
        compile_blocks(page, work)
for page in PAGES:
    follow_links(page)

header, win32 = read("include", "hostcrst.h"), read("include", "hostcrst", "win32.h")
codes = re.findall(r"^HOSTCRST_CONSTANT_\(((?:S|E|HOST_E)_\w+),", header, re.M)
all_of(codes + re.findall(r"^enum \{ (ERROR_\w+) =", win32, re.M), "docs/errors.md")
for value, name in re.findall(r"/\* (0x[0-9A-F]{8}):.*?\*/\n#ifndef (\w+)", header):
    if f"| `{name}` | {value} |" not in read("docs", "errors.md"):
        failures.append(f"docs/errors.md: {value} is not said to be {name}")
variables = read("src", "host", "settings.rs").split("const VARIABLES", 1)[1].split("];", 1)[0]
names = set(re.findall(r'c"(HOSTCRST_\w+)"', variables))
names |= set(re.findall(r'const PLACE: &CStr = c"(HOSTCRST_\w+)"', read("src", "host", "endings.rs")))
all_of(names, "docs/environment.md")
index = read("docs", "README.md")
failures.extend(f"docs/README.md does not lead to {page}" for page in PAGES if page.startswith("docs/") and f"({page[5:]}" not in index and page != "docs/README.md")

for failure in failures:
    print(failure, file=sys.stderr)
sys.exit(1 if failures else 0)
