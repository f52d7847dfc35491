"""Critical sections that refuse deadlocks, and reports of who waits for whom.

    orders = hostcrst.CriticalSection("orders")
    with orders:
        ...

A wait that would close a circle of waits raises Deadlock in one of its threads; the others go on. Sections are recursive,
and are owned by threads: who leaves must be the thread that has entered.
"""

import contextlib
import math
import os
import threading
import weakref
from collections import namedtuple
from ctypes import c_size_t, create_string_buffer, sizeof
from itertools import chain, filterfalse, starmap

from . import _arguments as argument
from . import _library as lib
from ._library import (
    ABANDONED,
    FREE,
    OWNED,
    Abandoned,
    Closed,
    Deadlock,
    Error,
    Interrupted,
    InvalidOperation,
    NotAvailable,
    NotOwner,
    OutOfMemory,
    Timeout,
)
from ._threads import current, encoded, here, introduce, task_of

__all__ = [
    "ABANDONED", "Abandoned", "Closed", "CriticalSection", "Deadlock", "Error", "FREE", "Interrupted", "InvalidOperation",
    "NotAvailable", "NotOwner", "OWNED", "OutOfMemory", "SectionInfo", "Timeout", "WaitNode", "WatchedLock", "alert",
    "allow_order", "check_orders", "keep_statistics", "managed_call", "native_call", "report", "set_deadlock_policy",
    "track_holds", "wait_chain",
]  # fmt: skip
__version__ = lib.version().decode()

SectionInfo = namedtuple("SectionInfo", "state owner recursion waiters spin_count contended")
SectionInfo.__doc__ = """The state of a section: `owner` is the native id of a thread, or None."""

WaitNode = namedtuple("WaitNode", "kind name handle thread_id certain last_of_cycle limited")
WaitNode.__doc__ = """A thread in a wait chain, or what the thread before it waits for; `handle` is an address if it is no
section or lock of the library's."""

_NODE_KINDS = (
    "", "task", "section", "win32 section", "srw lock", "condition variable", "resource", "managed lock", "mutex", "rwlock",
    "join", "other", "address", "init once",
)  # fmt: skip


# A signal's handler may raise wherever Python runs handlers: when a function begins, at a jump back, and when a call of C
# has returned; before 3.11 in more places. So what a call has done is not known from its value, which may never be stored.
# `done.extend(starmap(f, calls))` is one call that makes others and stores their results, without a gap; and in the `except`
# after it, nothing comes before the first call at which a handler can run.


class CriticalSection:
    """A recursive lock that refuses deadlocks; in a `with`, and wherever a threading.RLock is taken.

    It is this process's: a child of a fork has a copy. It is closed when nothing refers to it any more.
    """

    def __init__(self, name="", *, spin_count=None):
        argument.text("name", name)
        if spin_count is None:
            self._handle = lib.created(lib.create)
        else:
            spin_count = argument.integer("spin_count", spin_count, lib.MOST_SPINS)
            self._handle = lib.created(lib.create_with_spin_count, spin_count)
        self._as_parameter_ = self._handle
        # Not at exit: other threads may still wait for it.
        self._end = weakref.finalize(self, lib.destroy, self._handle)
        self._end.atexit = False
        if name:
            self.name = name

    def __repr__(self):
        return f"<hostcrst.CriticalSection {self}>"

    def __reduce__(self):
        raise TypeError("a CriticalSection belongs to its process and cannot be pickled")

    def __str__(self):
        try:
            return self.name or hex(self._handle)
        except Error:
            return f"{self._handle:#x} (closed)"

    @property
    def name(self):
        """What reports call it; cut to 56 bytes."""
        text, length = create_string_buffer(lib.NAME_SIZE), c_size_t()
        lib.check(lib.get_name(self._handle, text, lib.NAME_SIZE, length))
        return text.value.decode("utf-8", "replace")

    @name.setter
    def name(self, name):
        lib.check(lib.set_name(self._handle, encoded(argument.text("name", name))))

    def enter(self, timeout=None, *, alertable=False, breakable=True):
        """Waits until the calling thread owns the section; `timeout` is in seconds.

        Raises Deadlock, unless `breakable` is false or there is a timeout; Timeout; Abandoned; Interrupted, if
        `alertable`. As with every call into C, a signal's handler in Python runs when the wait is over.
        """
        option = (lib.WAIT_ALERTABLE if alertable else 0) | (0 if breakable else lib.WAIT_NOTINDEADLOCK)
        self._enter(_milliseconds(timeout), option)

    def try_enter(self):
        """Enters if that needs no waiting; says whether."""
        return self._enters(0)

    leave = lib.leave_method

    def recover(self):
        """Takes over an abandoned section: the thread that owned it has ended. What it protects may be half done."""
        introduce()
        lib.check(lib.recover(self._handle), self)

    def close(self):
        """Ends the section, if no other thread owns it: waits for it end with Abandoned."""
        lib.check(lib.destroy(self._handle), self)
        self._end.detach()

    def info(self):
        """A SectionInfo."""
        info = lib.sized(lib.info, self._handle, lib.SectionInfo)
        owner = None
        if info.owner:
            with contextlib.suppress(Closed):  # It has ended meanwhile.
                owner = lib.sized(lib.task_info, info.owner, lib.TaskInfo).thread_id
        return SectionInfo(
            lib.STATES[info.state], owner, info.recursion, info.waiters, info.spin_count, info.contended
        )

    def _enter(self, milliseconds=lib.INFINITE, option=0):
        done = []
        try:
            introduce()
            done.extend(starmap(lib.enter_at, ((self._handle, option, milliseconds, here()),)))
            if done[0] < 0:
                lib.check(done[0], self)
            return self
        except BaseException:
            if done and done[0] >= 0:
                lib.leave(self._handle)
            raise

    # Itself, not a function that calls it: from there the section would have to be left, too.
    __enter__ = _enter
    __exit__ = lib.leave_at_exit

    def _enters(self, milliseconds):
        try:
            self._enter(milliseconds)
        except Timeout:
            return False
        return True

    # As threading.RLock has it.

    def acquire(self, blocking=True, timeout=-1):
        """As threading.RLock.acquire, but raises what enter does."""
        if not _is_with_limit(blocking, timeout):
            if not blocking:
                return self._enters(0)
            self._enter()
            return True
        return self._enters(_milliseconds(timeout))

    release = leave

    def locked(self):
        """Whether a thread owns it."""
        return lib.sized(lib.info, self._handle, lib.SectionInfo).state == lib.STATES.index(OWNED)

    # What threading.Condition wants of a recursive lock. After its wait there is no way to refuse one: the deadlock is
    # another thread's.

    def _is_owned(self):
        return lib.sized(lib.info, self._handle, lib.SectionInfo).owner == current()

    def _release_save(self):
        """Leaves, and returns an iterator that enters as often when it is read."""
        introduce()
        entries, left = self.info().recursion, []
        one = self, lib.WAIT_NOTINDEADLOCK, lib.INFINITE, here()
        # Only the last may raise: the others would be left out.
        enters = chain(starmap(lib.enter_at, [one] * (entries - 1)), starmap(lib.enter_or_raise, [one]))
        # As often as it was left: it goes on as the owner that it was.
        undo = zip(filterfalse(None, left), enters)
        try:
            left.extend(starmap(lib.leave, [(self._handle,)] * entries))
            lib.check(min(left), self)
            return enters
        except BaseException:
            list(undo)
            raise

    # One call of C, which begins when that of threading.Condition does: no handler can run before the section is owned.
    _acquire_restore = list


class WatchedLock:
    """Another lock, such as a threading.Lock, that takes part: deadlocks through it and sections are refused, and reports
    show it. Whoever releases it must be the thread that has acquired it."""

    def __init__(self, lock=None, name=""):
        argument.text("name", name)
        if lock is None:
            lock = threading.Lock()
        self._lock = argument.having("lock", lock, "a lock with acquire and release", "acquire", "release")
        self._handle = lib.created(lib.resource_create)
        self._name = name
        self._end = weakref.finalize(self, lib.resource_destroy, self._handle)
        self._end.atexit = False
        lib.check(lib.resource_set_name(self._handle, encoded(name)))

    def __repr__(self):
        return f"<hostcrst.WatchedLock {self}>"

    def __str__(self):
        return self._name or hex(self._handle)

    def __reduce__(self):
        raise TypeError("a WatchedLock belongs to its process and cannot be pickled")

    def acquire(self, blocking=True, timeout=-1):
        """As threading.RLock.acquire; raises Deadlock if a wait without a timeout would close a circle of waits."""
        limited = _is_with_limit(blocking, timeout)
        if limited and timeout > threading.TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")
        return self._acquire(blocking, timeout if limited else None) is self

    def _acquire(self, blocking=True, timeout=None):
        done, told = [], []
        try:
            introduce()
            place = here()
            done.extend(starmap(self._lock.acquire, ((False,),)))
            if not done[0] and blocking:
                if timeout is None:
                    self._wait(done, place)
                else:
                    done.extend(starmap(self._lock.acquire, ((True, timeout),)))
            if done[-1]:
                told.extend(starmap(lib.resource_acquired_at, ((self._handle, place),)))
                lib.check(told[0], self)
            return self if done[-1] else None
        except BaseException:
            try:
                if told and told[0] >= 0:
                    lib.resource_released(self._handle)
            finally:
                if done and done[-1]:
                    self._lock.release()
            raise

    def _wait(self, done, place):
        begun = []
        try:
            begun.extend(starmap(lib.resource_wait_at, ((self._handle, 0, place),)))
            lib.check(begun[0], self)
            done.extend(starmap(self._lock.acquire, ((),)))
        except BaseException:
            if begun and begun[0] >= 0:
                lib.resource_wait_end(self._handle)
            raise

    def release(self):
        result = []
        try:
            result.extend(starmap(lib.resource_released, ((self._handle,),)))
        finally:
            if result and result[0] >= 0:
                self._lock.release()
        lib.check(result[0], self)

    # As CriticalSection's. The end is a function of Python, as threading.Condition's is.
    __enter__ = _acquire

    def __exit__(self, *_):
        self.release()


def _is_with_limit(blocking, timeout):
    """Whether an acquire is to have a limit, by arguments that are as threading.RLock takes them."""
    if timeout == -1:
        return False
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    argument.seconds("timeout", timeout)
    return True


def _milliseconds(seconds):
    if seconds is None:
        return lib.INFINITE
    argument.seconds("timeout", seconds)
    return min(math.ceil(min(seconds, lib.INFINITE) * 1000), lib.INFINITE - 1)


def report(format="text"):
    """A report on every thread, section, wait and deadlock: "text", "json", "dot" (Graphviz) or "html"."""
    number = argument.choice("format", format, lib.FORMATS)
    with open(os.memfd_create("hostcrst-report"), "r+b") as file:
        lib.check(lib.report(file.fileno(), number))
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def wait_chain(thread=None):
    """Whom a thread waits for, and whom that one waits for: a list of WaitNode. `thread` is a threading.Thread or a native
    thread id, None the calling one."""
    nodes = lib.listed(lib.wait_chain, lib.WaitNode, task_of(thread))
    return [
        WaitNode(
            _NODE_KINDS[node.kind] if node.kind < len(_NODE_KINDS) else "other",
            node.name.decode("utf-8", "replace"),
            node.handle,
            node.thread_id or None,
            bool(node.flags & 1),
            bool(node.flags & 4),
            bool(node.flags & 8),
        )
        for node in nodes
    ]


def alert(thread):
    """Ends the alertable wait of a thread, or its next one, with Interrupted."""
    lib.check(lib.task_alert(task_of(thread)))


def set_deadlock_policy(policy):
    """What is done about a deadlock: "error", one wait raises Deadlock (the default); "report"; "abort"."""
    number = argument.choice("policy", policy, lib.POLICIES)
    lib.check(lib.runtime_start())
    lib.check(lib.set_deadlock_policy(number))


def track_holds(on=True):
    """Reports show since when and from where sections are owned. Costs a little of every enter."""
    _switch(lib.set_hold_tracking, on)


def check_orders(on=True):
    """Two sections that are entered in both orders are told on stderr, though no deadlock has come of it yet."""
    _switch(lib.set_order_checks, on)


def allow_order(first, second):
    """The second section may be entered while the first is owned, whatever other orders there are."""
    for name, lock in (("first", first), ("second", second)):
        argument.having(name, lock, "a CriticalSection or WatchedLock", "_handle")
    lib.check(lib.allow_order(first._handle, second._handle))


def keep_statistics(on=True):
    """Reports show how many waits there were, and how long they took."""
    _switch(lib.set_statistics, on)


def _switch(function, on):
    lib.check(lib.runtime_start())
    lib.check(function(bool(on)))


class _Call(contextlib.ContextDecorator):
    """A call that is one layer for the time of a `with`: `_begin` and its arguments, and `_undo`."""

    _arguments = ()

    def _prepare(self):
        """What comes before it."""

    def __enter__(self):
        done = []
        try:
            self._prepare()
            done.extend(starmap(self._begin, (self._arguments,)))
            lib.check(done[0])
        except BaseException:
            if done and done[0] >= 0:
                self._undo()
            raise


class native_call(_Call):
    """For the time of a `with`, reports show that the thread is in native code: in the function at the address `target`."""

    _begin, _undo = lib.leave_runtime, lib.enter_runtime

    def __init__(self, target=0):
        self._arguments = (argument.integer("target", target, 256 ** sizeof(c_size_t) - 1),)

    def _prepare(self):
        lib.check(lib.runtime_start())
        introduce()

    __exit__ = lib.enter_runtime_at_exit


class managed_call(_Call):
    """Within native_call: native code has called Python back."""

    _begin, _undo = lib.reverse_enter_runtime, lib.reverse_leave_runtime

    __exit__ = lib.reverse_leave_runtime_at_exit
