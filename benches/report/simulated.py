"""python3 benches/report/simulated.py <samples> <run.json> <folder> <docs folder>: writes the page of the simulated
machine and its charts into a folder.

Reads what `./dev bench --sim` measured, and where the README.md of the docs folder has the same row measured on two
processors, says how near the simulation comes to it.
"""

import json
import re
import sys
from pathlib import Path

from charts import OUR_COLOUR, line_panel, picture
from page import markdown
from samples import OURS, Samples
from tables import number, with_unit

COLOURS = ["#2563eb", "#059669", "#7c3aed", "#be123c", "#0e7490", "#a16207", "#4b5563", "#db2777", "#65a30d"]
WORKS = ("short", "500 ns", "5 us")
ROW = re.compile(r"(?P<work>.*), (?P<threads>\d+) threads, (?P<processors>\d+) processors(?P<sockets>, 2 sockets)?$")
METRICS = (("throughput", "entries a second, in millions (more is better)"),
           ("fairness", "the busiest thread's entries to the laziest's"),
           ("transfers", "cache lines fetched for each change of the owner"),
           ("longest", "the longest wait"),
           ("CPU of an entry", "processor time of an entry"))
# The rows of docs/bench, and what it calls these locks there.
REAL = {"hostcrst": "hostcrst", "glibc adaptive": "adaptive", "parking_lot": "pl reent", "nsync": "nsync"}
NEAR = 0.25

TEXT = """# Many processors, simulated

What the lock does on machines that nobody here has: the library's own code, and textbook locks beside it, on a simulated
machine of two to 256 processors. A simulation is no measurement. It knows what cache lines, futexes and the scheduler cost,
from figures in `src/sys/sim/machine.rs` that each name their source; how a lock uses them is then the lock's own doing. The
[last section](#how-near-it-is) says which measured rows it reproduces, and which not.

![{throughput_title}](simulated-throughput.svg)

![{fairness_title}](simulated-fairness.svg)

{tables}

## How near it is

Two processors: entries a second as a ratio to glibc's mutex, simulated and as [measured](README.md). "yes": within 25 %. How a transfer's time is split
(`src/sys/sim/machine.rs`) was chosen so that short rows come out, so these prove less than the others do.

{near}

{count}

## How it is simulated

Written by `./dev bench --sim --publish`; do not edit. {date}, version {version}.

- Virtual time, deterministic from a seed. The threads are coroutines, of which one runs at a time, in the order of virtual
  time. Each access to an atomic costs what the state of its cache line says: had alone, had by several, or fetched from the
  same socket or another one; requests for one line are served one after the other.
- A futex call, waking, switching, the timer and the heavy barrier cost what `benches/simulation/machine.c` measures. Processors
  have queues of threads, a tick of 4 ms, and take threads from each other when they become idle.
- Work: as in the contended rows of `./dev bench`: 3, 500 or 5000 ns inside, in which a line is written, and 41 ns outside, an
  eighth more or less.
- The other locks are written from their papers (`src/simulation/locks.rs`), each with the call costs of a C library. "glibc" is the
  futex mutex of three states, as the recursive one uses it.
- Not simulated: hyper-threads, changing clock rates, memory that is not in a cache, preference for near processors in a cache's
  queue, stores that overtake loads.
"""


def shape_of(row):
    found = ROW.match(row)
    return found["work"], int(found["threads"]), int(found["processors"]), bool(found["sockets"])


def colour_of(subjects):
    peers = [subject for subject in subjects if subject != OURS]
    return {OURS: OUR_COLOUR, **dict(zip(peers, COLOURS))}


def panels(samples, metric):
    """A panel for each length of a section and each number of sockets, with a line for each lock."""
    for work in WORKS:
        for two in (False, True):
            rows = [(shape_of(row), row) for row in samples.rows()]
            rows = sorted((shape[2], row) for shape, row in rows
                          if shape[0] == work and shape[3] == two and shape[1] == shape[2])
            if len(rows) < 2:
                continue
            colours = colour_of(samples.subjects(rows[0][1]))
            series = [(subject, metric, ink, [(count, samples.median(row, metric, subject)) for count, row in rows])
                      for subject, ink in colours.items()]
            yield line_panel("%s inside%s" % (work, ", two sockets" if two else ""), series)


def table_of(samples, metric):
    subjects = samples.subjects(samples.rows()[0])
    lines = []
    for row in samples.rows():
        values = [samples.median(row, metric, subject) for subject in subjects]
        lines.append([row] + [with_unit(value, metric) if metric in ("throughput", "longest")
                              else number(value) + (" ns" if metric.startswith("CPU") else "") for value in values])
    return markdown([""] + list(subjects), lines)


def measured_ratios(page):
    """row -> subject -> entries a second as a ratio to glibc's, from the page of what was measured."""
    text = page.read_text() if page.exists() else ""
    table = re.search(r"## Contended: entries a second.*?```\n(.*?)```", text, re.S)
    if not table:
        return {}
    heads, *lines = table[1].splitlines()
    heads = [head[2:] for head in re.split(r"\s{2,}", heads) if head.startswith("x ")]
    ratios = {}
    for line in lines:
        row, _, _, *values = re.split(r"\s{2,}", line)
        ratios[row] = {head: float(value) for head, value in zip(heads, values) if value != "."}
    return ratios


def near(samples, ratios):
    """(lines of the table, how many are near, how many there are)."""
    lines, hits = [], 0
    for row in samples.rows():
        work, threads, processors, two = shape_of(row)
        real = ratios.get("%s, %d threads" % (work, threads))
        if processors != 2 or two or not real:
            continue
        base = samples.median(row, "throughput", "glibc")
        for subject, name in REAL.items():
            value = samples.median(row, "throughput", subject)
            if name not in real or value is None:
                continue
            is_near = abs(value / base / real[name] - 1) <= NEAR
            hits += is_near
            lines.append(["%s, %d threads" % (work, threads), subject, number(value / base), number(real[name]),
                          "yes" if is_near else "no"])
    return lines, hits, len(lines)


def main():
    samples_file, run_file, folder, docs = (Path(argument) for argument in sys.argv[1:5])
    run = json.loads(run_file.read_text())
    with open(samples_file) as lines:
        samples = Samples(lines)
    titles = {"throughput": "Entries a second against processors, as many threads, logarithmic (more is better)",
              "fairness": "Busiest to laziest thread against processors, as many threads, logarithmic (less is better)"}
    for metric, title in titles.items():
        (folder / ("simulated-%s.svg" % metric)).write_text(picture(title, list(panels(samples, metric))))
    lines, hits, count = near(samples, measured_ratios(docs / "README.md"))
    tables = "\n\n".join("## %s\n\n%s" % (title[0].upper() + title[1:], table_of(samples, metric))
                         for metric, title in METRICS)
    (folder / "simulated.md").write_text(TEXT.format(
        throughput_title=titles["throughput"], fairness_title=titles["fairness"], tables=tables,
        near=markdown(["row", "lock", "simulated", "measured", "near"], lines),
        count="%d of %d are near." % (hits, count), date=run["date"], version=run["version"]))
    for line in lines:
        print("  ".join(line))
    print("%d of %d rows are near what was measured" % (hits, count))


main()
