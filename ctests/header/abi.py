#!/usr/bin/env python3
"""abi.py [--update] <include directory> <hostcrst.cdef> <baseline>: a program built against the headers of the last release
runs with a library of these.

What the headers say becomes a library of functions that do nothing; libabigail reads names, parameters and structures
from it and compares them with the baseline. A name that is new is no difference. --update writes the baseline anew.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BODY = " { abort(); }\n"


def definitions(include, cdef):
    """Of each function that the headers declare."""
    # The name that the function has in the library is given by the header's declaration.
    windows = subprocess.run(["gcc", "-E", "-P", "-I", include, f"{include}/hostcrst/win32.h"],
                             stdout=subprocess.PIPE, text=True, check=True).stdout
    declared = re.findall(r"^(\w[\w ]*?\w\([^;]*?\)) __asm__\(\"hostcrst_", re.sub(r"\n\s+", " ", windows), re.M)
    functions = re.findall(r"^(\w[\w \*]*?\w+\([^;{]*\));", re.sub(r"\n\s+", " ", Path(cdef).read_text()), re.M)
    functions = [function for function in functions if not function.startswith("typedef")]
    if len(declared) < 25 or len(functions) < 45:
        sys.exit(f"abi.py: only {len(declared)} and {len(functions)} functions are found in the headers")
    return "".join(function + BODY for function in functions + declared)


def describe(include, cdef, folder, out):
    # Relative to the folder, so that the description does not name it.
    source, library = "abi.c", folder / "libhostcrst.so"
    Path(folder, source).write_text("#include <hostcrst.h>\n#include <hostcrst/win32.h>\n#include <stdlib.h>\n" + definitions(include, cdef))
    subprocess.run(["gcc", "-g", "-shared", "-fPIC", "-w", "-I", Path(include).resolve(), source, "-o", library,
                    "-Wl,-soname,libhostcrst.so"], cwd=folder, check=True)
    subprocess.run(["abidw", "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path", "--no-elf-needed",
                    "--out-file", out, library], check=True)


def main():
    if not shutil.which("abidiff"):
        print("not run: abidiff is missing: apt-get install abigail-tools")
        sys.exit(77)
    update = sys.argv[1] == "--update"
    include, cdef, baseline = sys.argv[2 if update else 1:]
    with tempfile.TemporaryDirectory() as folder:
        now = Path(folder, "now.abi")
        describe(include, cdef, Path(folder), now)
        if update:
            Path(baseline).write_bytes(now.read_bytes())
            return
        told = subprocess.run(["abidiff", "--no-added-syms", baseline, now], stdout=subprocess.PIPE, text=True)
    if told.returncode:
        sys.exit(f"{told.stdout}\nDoes this break programs? docs/release.md says what follows from it. If it is meant to be so:\n"
                 f"python3 ctests/header/abi.py --update include share/hostcrst/hostcrst.cdef ctests/header/hostcrst.abi")


main()
