"""compare.py [--update] <program> <counts>: the instructions of each fast path, held against those in the file.

The program is paths.c, linked with the shared library. Counted is what runs inside the library: neither the program
nor the dynamic linker. The counts of another compiler may differ: the file says which it was.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARY = "libhostcrst.so"
HEAD = "# Instructions of each fast path inside the library; %s. Written by compare.py --update.\n"


def cost_in_library(dump):
    """The instructions that ran in the library, of one dump of callgrind."""
    total, inside, call = 0, False, False
    for line in dump.splitlines():
        if line.startswith("ob="):
            inside = LIBRARY in line
        elif line.startswith("calls="):
            call = True  # the next line is what the callee cost, which is counted where it ran
        elif re.match(r"[0-9+*-]", line):
            if inside and not call:
                total += int(line.split()[1])
            call = False
    return total


def measure(program):
    """The count of each path, in the order in which the program walks them."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["valgrind", "--quiet", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no",
             "--callgrind-out-file=" + os.path.join(folder, "dump"), program], check=True)
        counts = {}
        for path in sorted(Path(folder).iterdir(), key=lambda path: int(path.suffix[1:] or 0)):
            dump = path.read_text()
            trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", dump, re.M)
            if trigger:
                counts[trigger.group(1)] = cost_in_library(dump)
        return counts


# How much more a path may cost, as a part of its count, where the file was written with another compiler.
OTHER_COMPILER = 0.25


def compiler():
    return subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    update = sys.argv[1] == "--update"
    program, file = sys.argv[-2], Path(sys.argv[-1])
    counts = measure(program)
    text = HEAD % compiler() + "".join("%4d  %s\n" % (count, path) for path, count in counts.items())
    if update:
        file.write_text(text)
        return
    kept = file.read_text().splitlines()
    if text.splitlines()[1:] == kept[1:]:
        return
    recorded = {path: int(count) for count, path in (line.strip().split("  ", 1) for line in kept[1:])}
    # Another compiler chooses other instructions: then only a clear change for the worse counts.
    slack = 0 if kept[0] + "\n" == HEAD % compiler() else OTHER_COMPILER
    changed = [path for path in {**recorded, **counts}
               if path not in recorded or path not in counts
               or (counts[path] != recorded[path] if slack == 0 else counts[path] > recorded[path] * (1 + slack))]
    if not changed:
        return
    for path in changed:
        print("%s: %s instructions, %s in the file" % (path, counts.get(path), recorded.get(path)))
    print("\n%s%s\nIf it is meant to be so: python3 %s --update %s %s"
          % (kept[0] + "\n", "# Now: " + compiler(), os.path.relpath(__file__), os.path.relpath(program),
             os.path.relpath(file)))
    sys.exit(1)


main()
