"""What the library has to reach: each bar is a quantity of the table with two limits."""

from collections import namedtuple

GLIBC = "glibc recursive"
BEST = "the best peer"
BEST_FAIR = "the best fair peer"  # fairness up to 2.5

# `against`: the quantity is a ratio to what this subject did in the same round; None: the value itself.
# `take`: "median" or "worst" of the rounds. `relation`: "<=" or ">=". A limit may be None: not asked for.
Bar = namedtuple("Bar", "row metric against take relation conservative moonshot")


def _ratio(row, metric, against, relation, conservative, moonshot):
    return Bar(row, metric, against, "median", relation, conservative, moonshot)


def _value(row, metric, conservative, moonshot, take="median"):
    return Bar(row, metric, None, take, "<=", conservative, moonshot)


BARS = [
    _ratio("pair", "ns", GLIBC, "<=", 0.60, 0.28),
    _ratio("pair, no membarrier", "ns", GLIBC, "<=", 1.00, 0.92),
    _ratio("re-enter", "ns", GLIBC, "<=", 0.85, 0.72),
    _ratio("short, 2 threads", "throughput", BEST, ">=", 1.10, 1.60),
    _ratio("short, 2 threads", "throughput", GLIBC, ">=", 1.20, 2.40),
    _ratio("short, 4 threads", "throughput", BEST, ">=", 0.80, None),
    _ratio("short, 4 threads", "throughput", "nsync", ">=", None, 1.00),
    _ratio("short, 16 threads", "throughput", BEST, ">=", 0.75, None),
    _ratio("short, 16 threads", "throughput", BEST_FAIR, ">=", 1.25, None),
    _ratio("short, 16 threads", "throughput", "nsync", ">=", None, 0.95),
    _ratio("500 ns, 2 threads", "throughput", BEST, ">=", 1.10, 1.25),
    _ratio("500 ns, 4 threads", "throughput", BEST, ">=", 0.85, 1.00),
    _ratio("500 ns, 16 threads", "throughput", BEST, ">=", 0.85, 1.00),
    _ratio("bursts, 16 threads", "throughput", BEST, ">=", 0.75, 1.00),
    _ratio("blocks inside, 4 threads", "throughput", GLIBC, ">=", 0.91, 1.00),
    _ratio("blocks inside, 4 threads", "of it in user mode", GLIBC, "<=", 1.50, 1.00),
    _ratio("hand-shake inside, 8 threads", "throughput", GLIBC, ">=", 0.91, 1.00),
    _ratio("hand-shake inside, 8 threads", "of it in user mode", GLIBC, "<=", 1.50, 1.00),
    _value("short, 16 threads", "fairness", 2.0, 1.3),
    _value("short, 16 threads", "fairness", 2.5, None, take="worst"),
    _value("500 ns, 16 threads", "fairness", 2.0, 1.3),
    _value("500 ns, 16 threads", "fairness", 2.5, None, take="worst"),
    _value("short, 16 threads", "p99.9", 400e3, 10e3),
    _ratio("500 ns, 16 threads", "p99.9", GLIBC, "<=", 1.20, 0.40),
    _ratio("500 ns, 2 threads", "p99.9", GLIBC, "<=", 0.60, 0.35),
    _ratio("short, 16 threads", "longest", GLIBC, "<=", 0.50, None),
    _value("short, 16 threads", "longest", None, 5e6),
    _ratio("500 ns, 16 threads", "longest", GLIBC, "<=", 0.50, None),
    _value("500 ns, 16 threads", "longest", None, 5e6),
    _ratio("short, 16 threads", "weighted median", "nsync", "<=", 0.25, 0.07),
    _ratio("transition", "ns", GLIBC, "<=", 0.45, 0.22),
    _ratio("transition", "ns", "CPython", "<=", 0.25, 0.12),
    _ratio("SRW lock: own", "ns", BEST, "<=", 1.00, None),
    _ratio("SRW lock: share", "ns", BEST, "<=", 1.00, None),
    _ratio("SRW lock: own, 2 threads", "throughput", BEST_FAIR, ">=", 1.00, None),
    _ratio("SRW lock: own, 16 threads", "throughput", BEST_FAIR, ">=", 1.00, None),
    _ratio("SRW lock: share, 4 threads", "throughput", BEST_FAIR, ">=", 1.00, None),
    _ratio("SRW lock: own 1 of 16, 4 threads", "throughput", BEST_FAIR, ">=", 1.00, None),
    _ratio("address: a change and back", "ns", BEST, "<=", 1.00, None),
    _ratio("address: wake, nobody waits", "ns", BEST, "<=", 1.00, None),
    _value("10^4 tasks, report as text", "ns", 200e6, 100e6),
    _value("10^4 tasks, report as JSON", "ns", 200e6, 100e6),
    _value("10^4 tasks, report as a page", "ns", 400e6, 100e6),
    _value("memory of a section", "bytes", 64, 64),
]

# What should have a bar too, and why it has none.
NOT_MEASURED = [
    ("Suspending all tasks",
     "the library has no such function; the check that it would need, a read of the runtime's word in each transition, "
     "is already part of the cost of a transition above"),
    ("A handle instead of a raw pointer",
     "no function takes a raw pointer, so there is nothing to compare with (a `CRITICAL_SECTION` is passed by address, "
     "but contains a handle, and its other fields are kept up to date as well); on x86-64, four instructions of an "
     "enter and four of a leave turn the handle into the address of the section"),
]
