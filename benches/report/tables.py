"""The tables of ratios, waits and bars, as lines of text; and all of it as data."""

import re

from bars import BARS, GLIBC
from samples import MORE_IS_BETTER, OURS, meets

SHORT_NAMES = {
    "glibc recursive": "glibc",
    "glibc adaptive": "adaptive",
    "glibc robust": "robust",
    "std::recursive_mutex": "std::rec",
    "absl::Mutex": "absl",
    "parking_lot reentrant": "pl reent",
    "parking_lot Mutex": "pl Mutex",
    "Rust std Mutex": "Rust std",
    "empty calls": "calls",
    "hostcrst CRITICAL_SECTION": "hostcrst CS",
    "parking_lot RwLock": "pl RwLock",
    "Rust std RwLock": "Rust std",
    "parking_lot_core": "pl core",
}
# What a reader sees first: five rows of four locks, each (title, row, metric).
OVERVIEW = [
    ("enter and leave, nobody waits", "pair", "ns"),
    ("short section, 2 threads", "short, 2 threads", "throughput"),
    ("short section, 16 threads", "short, 16 threads", "throughput"),
    ("500 ns inside, 16 threads", "500 ns, 16 threads", "throughput"),
    ("500 ns inside, longest wait", "500 ns, 16 threads", "longest"),
]
OVERVIEW_SUBJECTS = (OURS, GLIBC, "parking_lot reentrant", "nsync")
# A .NET program, by what is loaded as its profiler.
NO_PROFILER = "no profiler"
DOTNET_SUBJECTS = ((NO_PROFILER, NO_PROFILER), ("empty profiler", "empty profiler"), (OURS, "hostcrst"),
                   ("hostcrst, transitions", "`transitions`"), ("hostcrst, locks", "`locks`"))
# The rows of Windows' other locks, and what they are compared with.
WINDOWS = ("SRW lock", "address")
RWLOCK = "pthread rwlock"
FUTEX = "futex"
WAITS = ("fairness", "p99.9", "longest", "weighted median")
COSTS = ("CPU for a million", "of it in user mode")


def short_name(subject):
    return SHORT_NAMES.get(subject, subject)


def number(value):
    """Three digits that count."""
    if value is None:
        return "."
    if value >= 100:
        return "%.0f" % value
    return "%.1f" % value if value >= 10 else "%.2f" % value


def with_unit(value, metric):
    """A value as a reader wants it."""
    if metric == "throughput":
        return number(value) + " M/s" if value >= 0.1 else number(value * 1e3) + " k/s"
    if metric == "bytes":
        return number(value) + " B"
    if metric == "fairness":
        return number(value)
    for limit, unit in ((1e3, "ns"), (1e6, "us"), (1e9, "ms")):
        if value < limit:
            return "%s %s" % (number(value * 1e3 / limit), unit)
    return number(value / 1e9) + " s"


def better(metric):
    return "more" if metric in MORE_IS_BETTER else "less"


def overview(samples):
    """(heads, lines) of the table that a reader sees first; the best of a line is bold."""
    heads = ["median of a run"] + list(OVERVIEW_SUBJECTS)
    lines = []
    for title, row, metric in OVERVIEW:
        values = [samples.median(row, metric, subject) for subject in OVERVIEW_SUBJECTS]
        best = (max if metric in MORE_IS_BETTER else min)(value for value in values if value is not None)
        cells = ["." if value is None else with_unit(value, metric) for value in values]
        cells = ["**%s**" % cell if value == best else cell for cell, value in zip(cells, values)]
        lines.append(["%s (%s is better)" % (title, better(metric))] + cells)
    return heads, lines


def table(heads, lines):
    """Lines of text: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in [heads] + lines) for column in range(len(heads))]
    for line in [heads] + lines:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        yield "  ".join(cells).rstrip()


def union_of_subjects(samples, rows):
    subjects = []
    for row in rows:
        subjects += [subject for subject in samples.subjects(row) if subject not in subjects]
    return [subject for subject in subjects if subject != "no lock"]


def ratio_lines(samples, rows, base):
    """One line a row: what the library and the base take or do, and all ratios to the base in the same rounds."""
    others = [name for name in union_of_subjects(samples, rows) if name != base]
    heads = ["row", "here", short_name(base)] + ["x " + short_name(name) for name in others]
    lines = []
    for row in rows:
        metric = samples.metrics(row)[0]
        line = [row]
        for subject in (OURS, base):
            value = samples.median(row, metric, subject)
            line.append("." if value is None else with_unit(value, metric))
        line += [number(samples.ratio(row, metric, name, base)) for name in others]
        lines.append(line)
    return table(heads, lines)


def value_lines(samples, rows, wanted, head):
    """One line for each of the `wanted` that was measured in a row: the value of every lock."""
    lines = []
    for row in rows:
        for metric in wanted:
            if metric not in samples.metrics(row):
                continue
            values = [samples.median(row, metric, name) for name in union_of_subjects(samples, rows)]
            cells = ["." if value is None else with_unit(value, metric) for value in values]
            lines.append(["%s: %s" % (row, metric)] + cells)
    heads = [head] + [short_name(name) for name in union_of_subjects(samples, rows)]
    return table(heads, lines)


def judged(samples):
    """The bars whose rows were measured: (bar, measured, floor, met, moonshot met). None where nothing is asked for,
    where there is no floor, and where there is nothing to compare with, as no peer was fair."""
    for bar in BARS:
        if not samples.rounds(bar.row, bar.metric, OURS):
            continue
        measured = samples.measured(bar)
        limits = (bar.conservative, bar.moonshot)
        met = [None if None in (limit, measured) else meets(bar, measured, limit) for limit in limits]
        yield bar, measured, samples.floor(bar), met[0], met[1]


def quantity(bar):
    worst = ", worst round" if bar.take == "worst" else ""
    return "%s: %s%s%s" % (bar.row, bar.metric, worst, " / " + bar.against if bar.against else "")


def bar_lines(judgements):
    def shown(bar, value):
        if value is None:
            return "no such peer"
        return number(value) + "x" if bar.against else with_unit(value, bar.metric)

    def verdict(bar, limit, met):
        if limit is None:
            return "."
        judgement = {True: "met", False: "NOT MET", None: "open"}[met]
        return "%s %s %s" % (bar.relation, shown(bar, limit), judgement)

    lines = [
        [quantity(bar), shown(bar, measured), "." if floor is None else shown(bar, floor),
         verdict(bar, bar.conservative, met), verdict(bar, bar.moonshot, moonshot)]
        for bar, measured, floor, met, moonshot in judgements
    ]
    return table(["bar", "measured", "two empty calls", "conservative", "moonshot"], lines)


def summary(samples):
    """All that was measured, for programs."""
    rows = {}
    for row in samples.rows():
        for metric in samples.metrics(row):
            for subject in samples.subjects(row):
                values = samples.rounds(row, metric, subject)
                if values:
                    rows.setdefault(row, {}).setdefault(metric, {})[subject] = {
                        "median": samples.median(row, metric, subject),
                        "ratio_to_glibc": samples.ratio(row, metric, subject, GLIBC),
                        "rounds": list(values.values()),
                    }
    bars = [dict(bar._asdict(), measured=measured, floor=floor, met=met, moonshot_met=moonshot)
            for bar, measured, floor, met, moonshot in judged(samples)]
    return {"rows": rows, "bars": bars}


def scaled_rows(samples):
    """Rows that differ in a count alone, as in "10^3 tasks: transition": (title, [(count, row)])."""
    families = {}
    for row in samples.rows():
        scaled = re.fullmatch(r"10\^(\d) (.*)", row)
        if scaled:
            families.setdefault(scaled.group(2), []).append((10 ** int(scaled.group(1)), row))
    return list(families.items())


def scale_lines(samples):
    """One line a family: what it takes at each count; glibc beside it where it was measured."""
    families = scaled_rows(samples)
    counts = sorted({count for _, rows in families for count, _ in rows})
    lines = []
    for title, rows in families:
        row_of = dict(rows)
        for subject in samples.subjects(rows[-1][1]):
            line = [title if subject == OURS else "  " + short_name(subject)]
            for count in counts:
                row = row_of.get(count)
                metric = samples.metrics(row)[0] if row else None
                value = samples.median(row, metric, subject) if row else None
                line.append("." if value is None else with_unit(value, metric))
            lines.append(line)
    return table(["count"] + ["{:,}".format(count).replace(",", " ") for count in counts], lines)


def memory_lines(samples):
    rows = [row for row in samples.rows() if samples.metrics(row)[0] == "bytes"]
    for row in rows:
        for subject in samples.subjects(row):
            yield "%s, %s: %s" % (row, subject, with_unit(samples.median(row, "bytes", subject), "bytes"))


def dotnet(samples):
    """(heads, lines) of what a profiler costs a .NET program, with ratios to none; no lines if that was not measured."""
    lines = []
    for row in samples.rows():
        if NO_PROFILER not in samples.subjects(row):
            continue
        line = [row]
        for subject, _ in DOTNET_SUBJECTS:
            value, ratio = samples.median(row, "ns", subject), samples.ratio(row, "ns", subject, NO_PROFILER)
            line.append("." if value is None else with_unit(value, "ns") +
                        (" (x %s)" % number(ratio) if subject != NO_PROFILER else ""))
        lines.append(line)
    return ["less is better"] + [head for _, head in DOTNET_SUBJECTS], lines


def sections_of_windows(samples, rows):
    """Of SRW locks, and of waits on addresses."""
    def those(beginning, more_is_better):
        return [row for row in rows if row.startswith(beginning)
                and (samples.metrics(row)[0] in MORE_IS_BETTER) == more_is_better]

    for heading, beginning, base, more_is_better in (
            ("SRW locks: time of a pair, and ratios to pthread_rwlock_t (less is better)", "SRW", RWLOCK, False),
            ("SRW locks, contended: entries a second, and ratios to pthread_rwlock_t (more is better)", "SRW", RWLOCK, True),
            ("Waits on addresses: time, and ratios to futex(2) (less is better)", "address", FUTEX, False)):
        if those(beginning, more_is_better):
            yield heading, list(ratio_lines(samples, those(beginning, more_is_better), base))
    if those("SRW", True):
        yield "SRW locks, contended: the busiest thread's share to the laziest's, and how long entries waited", \
            list(value_lines(samples, those("SRW", True), WAITS, "waits"))


def windows_rows(samples):
    return [row for row in samples.rows() if row.startswith(WINDOWS)]


def windows_sections(samples):
    """As sections, of what is Windows'."""
    rows = windows_rows(samples)
    if rows:
        yield from sections_of_windows(samples, rows)
        yield "Bars", list(bar_lines(one for one in judged(samples) if one[0].row in rows))


def sections(samples):
    """The tables with their headings: (heading, lines) of each that has something to show."""
    scaled = [row for _, rows in scaled_rows(samples) for _, row in rows]
    single = [row for row in samples.rows() if samples.metrics(row)[0] == "ns" and row not in scaled]
    transitions = [row for row in single if "CPython" in samples.subjects(row)]
    windows = windows_rows(samples)
    locks = [row for row in single if row not in transitions + windows and NO_PROFILER not in samples.subjects(row)]
    contended = [row for row in samples.rows() if samples.metrics(row)[0] in MORE_IS_BETTER and row not in windows]
    if locks:
        yield "One thread: time of a pair, and ratios to glibc's recursive mutex (less is better)", \
            list(ratio_lines(samples, locks, GLIBC))
    if transitions:
        yield "Transitions: time there and back, and ratios to CPython's (less is better)", \
            list(ratio_lines(samples, transitions, "CPython"))
    if contended:
        yield "Contended: entries a second, and ratios to glibc's recursive mutex (more is better)", \
            list(ratio_lines(samples, contended, GLIBC))
        yield "Contended: the busiest thread's share to the laziest's, and how long entries waited (less is better)", \
            list(value_lines(samples, contended, WAITS, "waits"))
        yield "Contended: time of processors for a million entries (less is better)", \
            list(value_lines(samples, contended, COSTS, "CPU"))
    yield from sections_of_windows(samples, windows)
    if scaled:
        yield "Cost against scale", list(scale_lines(samples))
    memory = list(memory_lines(samples))
    if memory:
        yield "Memory", memory
    judgements = list(judged(samples))
    if judgements:
        yield "Bars: conservative, and moonshot", list(bar_lines(judgements))
