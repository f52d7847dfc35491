#!/usr/bin/env python3
"""Shows one hang to tools that look at processes from outside, and says what each of them sees.

usage: benches/outside/compare.py DUMP PROGRAM [--gdb-script FILE COMMAND]... [--py-spy FILE] [--bcc FILE]

DUMP is hostcrst-dump, PROGRAM one built from ctests/dump/mixed.c, FILE of --gdb-script a script for gdb that has COMMAND. Writes a table:
the edges (who waits for whom) that a tool shows of the six there are, how many of these are true, how long the process stood
still for it (the median of RUNS), and the edges that it shows of a core. A tool that cannot run here is in the table with
what it said.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 5
SECONDS = 120
# By names of threads; "" is the first one.
TRUTH = [("", "one"), ("one", "two"), ("two", "three"), ("three", "one"), ("four", "one"), ("five", "four")]
IN_GDB = [
    re.compile(r"LWP (\d+)\) is waiting on .* held by .*LWP (\d+)\)"),
    re.compile(r"Thread: (\d+) waits for thread: (\d+)"),
]


class Hang:
    """The program, hung."""

    def __init__(self, program):
        environment = dict(os.environ, HOSTCRST_ON_DEADLOCK="report")
        self.process = subprocess.Popen([program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout.readline() == b"ready\n"
        self.id = self.process.pid
        tasks = pathlib.Path(f"/proc/{self.id}/task")
        names = {int(task.name): (task / "comm").read_text().strip() for task in tasks.iterdir()}
        ids = {name: id for id, name in names.items()} | {"": self.id}
        self.edges = {(ids[waiter], ids[owner]) for waiter, owner in TRUTH}

    def stands_still(self):
        try:
            text = pathlib.Path(f"/proc/{self.id}/stat").read_text()
        except OSError:
            return False
        return text.rpartition(")")[2].split()[0] in "tT"

    def end(self):
        self.process.kill()
        self.process.wait()


def run(command, hang=None):
    """What the command wrote, its exit code, and how long the process stood still meanwhile."""
    still, last = 0.0, None
    with tempfile.TemporaryFile() as out:
        try:
            tool = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        except OSError as error:
            return str(error), 127, 0.0
        end = time.monotonic() + SECONDS
        while tool.poll() is None and time.monotonic() < end:
            now = time.monotonic()
            if hang and hang.stands_still():
                still += now - last if last else 0.0
                last = now
            else:
                last = None
        if tool.poll() is None:
            tool.kill()
        tool.wait()
        out.seek(0)
        return out.read().decode(errors="replace"), tool.returncode, still


def of_gdb(text):
    return {(int(a), int(b)) for pattern in IN_GDB for a, b in pattern.findall(text)}


def of_ours(text):
    try:
        threads = json.loads(text.splitlines()[0])["threads"]
    except (ValueError, KeyError, IndexError):
        return set()
    waits = ((thread["tid"], thread.get("waits_for", {}).get("owner_tid")) for thread in threads)
    return {(waiter, owner) for waiter, owner in waits if owner}


def none(_):
    return set()


def tools(arguments):
    """Name, command for a process, command for a core, and how edges are found in what it writes."""
    program, dump = arguments.program, arguments.dump
    gdb = ["gdb", "-nx", "-batch"]
    stacks = ["-ex", "thread apply all bt"]
    yield "gdb, `thread apply all bt`", lambda id: gdb + ["-p", id] + stacks, lambda core: gdb + [program, core] + stacks, of_gdb
    for file, command in arguments.gdb_script or []:
        more = ["-x", file, "-ex", command]
        yield (
            f"gdb with {pathlib.Path(file).name}",
            lambda id, more=more: gdb + ["-p", id] + more,
            lambda core, more=more: gdb + [program, core] + more,
            of_gdb,
        )
    yield "py-spy", lambda id: [arguments.py_spy, "dump", "--native", "--pid", id], None, none
    yield "bcc, `deadlock`", lambda id: ["timeout", "20", arguments.bcc, id], None, none
    yield "hostcrst-dump", lambda id: [dump, "--json", id], lambda core: [dump, "--json", core], of_ours
    yield "hostcrst-dump --stacks", lambda id: [dump, "--json", "--stacks", id], lambda core: [dump, "--json", "--stacks", core], of_ours


def said(text):
    """The line of what a tool wrote that says the most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search("deadlock detected|Found deadlock|Error|Exception", line)]
    return (telling + lines[-1:] + [""])[0].replace("|", "/")[:100]


def row(tool, hang, core):
    name, on_process, on_core, edges_in = tool
    runs = [run(on_process(str(hang.id)), hang) for _ in range(RUNS)]
    text, code, _ = runs[0]
    still = statistics.median(still for _, _, still in runs) * 1000
    shown = edges_in(text)
    in_core = "no"
    if on_core:
        in_core = f"{len(edges_in(run(on_core(core))[0]) & hang.edges)} of {len(hang.edges)}"
    remark = f"exit code {code}" if edges_in is of_ours else f"exit code {code}: {said(text)}"
    print(f"| {name} | {len(shown)} | {len(shown & hang.edges)} of {len(hang.edges)} | {still:.0f} ms | {in_core} | {remark} |", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("dump")
    parser.add_argument("program")
    parser.add_argument("--gdb-script", nargs=2, action="append")
    parser.add_argument("--py-spy", default="py-spy")
    parser.add_argument("--bcc", default="deadlock-bpfcc")
    arguments = parser.parse_args()
    hang = Hang(arguments.program)
    try:
        with tempfile.TemporaryDirectory() as folder:
            text, code, _ = run(["gcore", "-o", f"{folder}/core", str(hang.id)])
            if code != 0:
                sys.exit(f"gcore: {text}")
            print("| tool | edges shown | true | process stood still | edges from a core | how it ended |")
            print("| --- | --- | --- | --- | --- | --- |")
            for tool in tools(arguments):
                row(tool, hang, f"{folder}/core.{hang.id}")
    finally:
        hang.end()


if __name__ == "__main__":
    main()
