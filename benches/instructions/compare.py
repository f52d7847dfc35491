"""compare.py [--update] <program> <counts>: the instructions of each fast path, held against those in the file.

The program is paths.c, linked with the shared library. Counted is what runs inside the library: neither the program
nor the dynamic linker. The counts of another compiler may differ: the file says which it was.

That a fast path takes no lock is seen from the same run, whatever the file says. To take one needs an instruction that
locks a cache line; a fast path executes none but the compare-exchange that makes the caller the owner of a free section, or
changes an SRW lock, and no code of another library, such as a mutex of libc.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import namedtuple
from functools import lru_cache
from pathlib import Path

LIBRARY = "libhostcrst.so"
HEAD = "# Instructions of each fast path inside the library; %s. Written by compare.py --update.\n"

# The paths that make the caller the owner of a free section that is not biased to it, and those of SRW locks.
EXCHANGES_ONCE = {"hostcrst_enter", "hostcrst_try_enter", "hostcrst_enter_timeout", "AcquireSRWLockExclusive",
                  "ReleaseSRWLockExclusive", "AcquireSRWLockShared", "ReleaseSRWLockShared"}
# No fast path: it takes and leaves a lock of the library's own, which has to be seen.
TAKES_A_LOCK = "hostcrst_set_name"

Cost = namedtuple("Cost", "instructions locking elsewhere")


def executed(dump):
    """The object file, address and count of each instruction in one dump of callgrind."""
    file, call = "", False
    for line in dump.splitlines():
        if line.startswith("ob="):
            file = line[len("ob="):]
        elif line.startswith("calls="):
            call = True  # the next line is what the callee cost, which is counted where it ran
        elif line.startswith("0x"):
            if not call:
                address, _, count = line.split()
                yield file, int(address, 16), int(count)
            call = False


@lru_cache(maxsize=None)
def locking_instructions(library):
    """The addresses of those that lock a cache line: marked so, or an exchange with memory."""
    code = subprocess.run(["objdump", "--disassemble", "--no-show-raw-insn", library], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return {int(address, 16) for address in re.findall(r"^ *([0-9a-f]+):\t(?:lock |xchg .*\()", code, re.M)}


def cost(dump, program):
    instructions = locking = elsewhere = 0
    for file, address, count in executed(dump):
        if LIBRARY in file:
            instructions += count
            locking += count if address in locking_instructions(file) else 0
        elif file != program:
            elsewhere += count
    return Cost(instructions, locking, elsewhere)


def measure(program):
    """The cost of each path, in the order in which the program walks them."""
    program = os.path.realpath(program)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["valgrind", "--quiet", "--tool=callgrind", "--dump-instr=yes", "--compress-strings=no", "--compress-pos=no",
             "--callgrind-out-file=" + os.path.join(folder, "dump"), program], check=True)
        dumps = {}
        for path in sorted(Path(folder).iterdir(), key=lambda path: int(path.suffix[1:] or 0)):
            dump = path.read_text()
            trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", dump, re.M)
            if trigger:
                dumps[trigger.group(1)] = dump
        return {path: cost(dump, program) for path, dump in dumps.items()}


def require_no_lock(costs):
    """Ends with a message if a fast path takes a lock, or if the one that does is not seen to."""
    wrong = ["%s: %d instructions lock a cache line, %d may" % (path, cost.locking, path in EXCHANGES_ONCE)
             for path, cost in costs.items()
             if path != TAKES_A_LOCK and cost.locking != (path in EXCHANGES_ONCE)]
    wrong += ["%s: %d instructions of other libraries" % (path, cost.elsewhere)
              for path, cost in costs.items() if path != TAKES_A_LOCK and cost.elsewhere != 0]
    if costs[TAKES_A_LOCK].locking < 2:
        wrong.append("%s: its lock is not seen" % TAKES_A_LOCK)
    if wrong:
        sys.exit("\n".join(wrong))


# How much more a path may cost, as a part of its count, where the file was written with another compiler.
OTHER_COMPILER = 0.25


def compiler():
    return subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    update = sys.argv[1] == "--update"
    program, file = sys.argv[-2], Path(sys.argv[-1])
    costs = measure(program)
    require_no_lock(costs)
    del costs[TAKES_A_LOCK]
    counts = {path: cost.instructions for path, cost in costs.items()}
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
