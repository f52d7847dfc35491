"""docs/bench/README.md: what it costs in five rows, all charts and tables, and how it is measured."""

from bars import NOT_MEASURED
from charts import OVERVIEW_FILE, charts
from tables import overview, sections

TEXT = """# What it costs

![{overview_title}]({overview_file})

{overview}

Medians of one run on {processors} x {processor}; the best of a row in bold. nsync's lock cannot be entered again by its
owner, the others can. `./dev bench` measures the same on your machine, and [how](#how-it-is-measured) stands below.

## Charts

{charts}

{tables}

## Not measured

{not_measured}

## How it is measured

Written by `./dev bench --publish` from one run; do not edit.

| | |
|---|---|
| run | `{command}`, {date}, version {version} |
| machine | {processors} x {processor}, load {load} at the start |
| system | {system}, {libc} |
| compilers | {compiler}; {rust} |

- The shared library as it is shipped, called from C++ as its header makes GCC call it: without stubs of the procedure
  linkage table. "hostcrst PLT" is the same library called through them, as another compiler does. Rust's locks stand
  behind a C interface of the same shape, called without stubs too; the other locks are called as their headers have it.
- All locks in one process, which has a second thread, in interleaved rounds: a round measures each lock once, and the
  order rotates. A ratio is the median over the rounds of the ratio within a round; "the best peer" is the one with
  the best median, "the best fair peer" the best of those whose busiest thread did at most 2.5 times as much as the
  laziest.
- One thread: the fastest of four batches in a round. Contended: throughput in one run of the threads, waits (the clock
  is read before and after each enter) in another. A short section is 8 dependent additions with 40 multiply-adds
  outside; bursts are 16 sections of 500 ns and a sleep of 100 us; "blocks inside" sleeps for 20 us in the section. In
  "hand-shake inside" items go through a queue whose condition variables are made of a lock and two semaphores, one of
  which is waited for with the lock owned; an entry is an item. "CPU" is what the process used, the program's part of it
  in user mode. "Weighted median": half of all time spent waiting
  was spent in waits up to this length.
- "hostcrst CS" is the CRITICAL_SECTION of `hostcrst/win32.h`.
- "calls" is two calls of empty functions, without stubs: what no lock behind a C interface can beat. A bar below that
  cannot be met on the machine; the bars' table has a column for it.
- "linked statically" is a program with libhostcrst.a, whose calls are direct ones, as are those of the empty functions
  in it; glibc stays a shared library.
- "no membarrier" is a process in which a seccomp filter refuses membarrier(2); "1 processor" one that is bound to a
  single one; "beside Wine" compares Wine's CRITICAL_SECTION, measured in its own process turn by turn.
- "Cost against scale": every row of sections and of tasks in a process that has so many of them. A report of tasks
  shows the native function that each is in. Memory is what the process grew by, for one more.
- The counts of instructions, which no noise touches, are in `benches/instructions/`. The test that compares them also
  sees that no fast path takes a lock.
"""


def markdown(heads, lines):
    """A table, the first column to the left."""
    rule = ["---"] + ["---:"] * (len(heads) - 1)
    return "\n".join("| %s |" % " | ".join(cells) for cells in [heads, rule] + lines)


def page(run, samples):
    drawn = [(name, title) for name, title, _ in charts(samples)]
    pictures = ["![%s](%s)" % (title, name) for name, title in drawn if name != OVERVIEW_FILE]
    tables = ["## %s\n\n```\n%s\n```" % (heading, "\n".join(lines)) for heading, lines in sections(samples)]
    not_measured = ["- %s: %s." % what_and_why for what_and_why in NOT_MEASURED]
    return TEXT.format(overview_title=dict(drawn)[OVERVIEW_FILE], overview_file=OVERVIEW_FILE,
                       overview=markdown(*overview(samples)), charts="\n\n".join(pictures),
                       tables="\n\n".join(tables), not_measured="\n".join(not_measured), **run)
