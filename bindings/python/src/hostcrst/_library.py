"""The C functions, and what a failure of one is in Python. Knows neither sections nor threads."""

import ctypes
import os
from ctypes import POINTER, c_char, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, py_object

_NAME = "libhostcrst.so.0"


def _load():
    """The library that the process uses already, else the wheel's own, else the system's."""
    beside = os.path.join(os.path.dirname(__file__), _NAME)
    try:
        ctypes.CDLL(_NAME, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        return _NAME
    except OSError:
        return beside if os.path.exists(beside) else _NAME


_PATH = _load()
# Lets go of the GIL for the time of the call: whatever can wait is called through this one.
_waiting = ctypes.CDLL(_PATH)
# Keeps the GIL: a leave that let go of it would wait to get it back.
_quick = ctypes.PyDLL(_PATH)

INFINITE = 0xFFFFFFFF
NAME_SIZE = 57
MOST_SPINS = 0xFFFFFFFF
WAIT_ALERTABLE, WAIT_NOTINDEADLOCK = 2, 4
FREE, OWNED, ABANDONED = "free", "owned", "abandoned"
STATES = (FREE, OWNED, ABANDONED)
POLICIES = ("error", "report", "abort")
FORMATS = ("text", "json", "dot", "html")


class SectionInfo(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32), ("state", c_uint32), ("owner", c_uint64), ("recursion", c_uint32), ("waiters", c_uint32),
        ("spin_count", c_uint32), ("reserved", c_uint32), ("contended", c_uint64),
    ]  # fmt: skip


class TaskInfo(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32), ("mode", c_uint32), ("thread_id", c_uint32), ("owned", c_uint32), ("depth", c_uint64),
        ("waiting_for", c_uint64),
    ]  # fmt: skip


class WaitNode(ctypes.Structure):
    _fields_ = [
        ("size", c_uint32), ("kind", c_uint32), ("handle", c_uint64), ("thread_id", c_uint32), ("flags", c_uint32),
        ("name", c_char * 64),
    ]  # fmt: skip


def _function(library, name, *arguments, result=c_int32):
    function = library[name]
    function.argtypes, function.restype = arguments, result
    return function


# Binds to an object as functions of Python do, what it is given: without a frame of Python's.
_bound = ctypes.PYFUNCTYPE(py_object, py_object)(("PyInstanceMethod_New", ctypes.pythonapi))


def _raising(library, name, *arguments, about=False):
    """The C function, which raises its failures.

    Python runs the handlers of signals when a function of Python begins, and one that raises would end it there, before
    it has done anything. This one has done its work when a handler can run.
    """

    def raise_failure(result, _function, given):
        check(result, given[0] if about else "")

    function = _function(library, name, *arguments)
    function.errcheck = raise_failure
    return function


def _method(name, *arguments, about=False, doc=None):
    """A method that is the C function, which ignores the arguments that it does not know."""
    function = _raising(_quick, name, *arguments, about=about)
    function.__doc__ = doc
    return _bound(function)


result_message = _function(_quick, "host_result_message", c_int32, result=c_char_p)
version = _function(_quick, "hostcrst_version", result=c_char_p)
runtime_start = _function(_waiting, "host_runtime_start")

create = _function(_waiting, "hostcrst_create", POINTER(c_uint64))
create_with_spin_count = _function(_waiting, "hostcrst_create_with_spin_count", c_uint32, POINTER(c_uint64))
enter_at = _function(_waiting, "hostcrst_enter_at", c_uint64, c_uint32, c_uint32, c_char_p)
leave = _function(_quick, "hostcrst_leave", c_uint64)
recover = _function(_waiting, "hostcrst_recover", c_uint64)
destroy = _function(_waiting, "hostcrst_destroy", c_uint64)
set_name = _function(_waiting, "hostcrst_set_name", c_uint64, c_char_p)
get_name = _function(_quick, "hostcrst_name", c_uint64, c_char_p, c_size_t, POINTER(c_size_t))
info = _function(_quick, "hostcrst_info", c_uint64, POINTER(SectionInfo))
allow_order = _function(_waiting, "hostcrst_allow_order", c_uint64, c_uint64)

task_current = _function(_quick, "host_task_current", POINTER(c_uint64))
task_set_name = _function(_waiting, "host_task_set_name", c_uint64, c_char_p)
task_list = _function(_quick, "host_task_list", POINTER(c_uint64), c_size_t, POINTER(c_size_t))
task_info = _function(_quick, "host_task_info", c_uint64, POINTER(TaskInfo))
task_alert = _function(_waiting, "host_task_alert", c_uint64)

resource_create = _function(_waiting, "host_resource_create", POINTER(c_uint64))
resource_set_name = _function(_waiting, "host_resource_set_name", c_uint64, c_char_p)
resource_destroy = _function(_waiting, "host_resource_destroy", c_uint64)
resource_wait_at = _function(_waiting, "host_resource_wait_at", c_uint64, c_uint32, c_char_p)
resource_wait_end = _function(_waiting, "host_resource_wait_end", c_uint64)
resource_acquired_at = _function(_waiting, "host_resource_acquired_at", c_uint64, c_char_p)
resource_released = _function(_quick, "host_resource_released", c_uint64)

leave_runtime = _function(_quick, "host_leave_runtime", c_size_t)
enter_runtime = _function(_quick, "host_enter_runtime")
reverse_enter_runtime = _function(_quick, "host_reverse_enter_runtime")
reverse_leave_runtime = _function(_quick, "host_reverse_leave_runtime")

set_deadlock_policy = _function(_waiting, "host_set_deadlock_policy", c_uint32)
set_hold_tracking = _function(_waiting, "host_set_hold_tracking", c_int32)
set_order_checks = _function(_waiting, "host_set_order_checks", c_int32)
set_statistics = _function(_waiting, "host_set_statistics", c_int32)
report = _function(_waiting, "host_report", c_int32, c_uint32)
wait_chain = _function(_waiting, "host_wait_chain", c_uint64, POINTER(WaitNode), c_size_t, POINTER(c_size_t))


def _code(unsigned):
    return unsigned - (1 << 32)


class Error(Exception):
    """A call failed; `hresult` says why. Nothing has changed."""

    hresult = 0

    def __init__(self, text="", hresult=None):
        super().__init__(text)
        if hresult is not None:
            self.hresult = hresult


class Deadlock(Error):
    """The wait closed a circle of waits and was refused. Leave what this thread owns, then try again."""

    hresult = _code(0x80131020)


class Interrupted(Error):
    """The thread was alerted while it waited alertably."""

    hresult = _code(0x80131021)


class InvalidOperation(Error):
    """The call does not fit the state of the section, lock or thread."""

    hresult = _code(0x80131022)


class NotAvailable(Error):
    """The runtime was stopped, or has failed."""

    hresult = _code(0x80131023)


class Timeout(Error, TimeoutError):
    """The time limit has passed."""

    hresult = _code(0x80131024)


class NotOwner(Error):
    """Another thread owns the section or lock, or nobody does."""

    hresult = _code(0x80131025)


class Abandoned(Error):
    """The owner's thread has ended without leaving: see CriticalSection.recover. Or the section was closed."""

    hresult = _code(0x80131026)


class Closed(Error, ValueError):
    """The section or lock was closed."""

    hresult = _code(0x80070006)


class OutOfMemory(Error, MemoryError):
    """No memory, or too many sections, tasks or locks."""

    hresult = _code(0x8007000E)


_BY_CODE = {error.hresult: error for error in Error.__subclasses__()}


def check(hresult, about=""):
    """Raises the exception for a failure; `about` says of what."""
    if hresult >= 0:
        return
    sentence = result_message(hresult).decode()
    raise _BY_CODE.get(hresult, Error)(f"{about}: {sentence}" if about else sentence, hresult)


# These take an object with a handle as _as_parameter_.
enter_or_raise = _raising(_waiting, "hostcrst_enter_at", c_uint64, c_uint32, c_uint32, c_char_p, about=True)
leave_method = _method(
    "hostcrst_leave",
    c_uint64,
    about=True,
    doc="Undoes one enter. Raises NotOwner if the calling thread does not own the section.",
)
leave_at_exit = _method("hostcrst_leave", c_uint64, py_object, py_object, py_object, about=True)
enter_runtime_at_exit = _method("host_enter_runtime", *[py_object] * 4)
reverse_leave_runtime_at_exit = _method("host_reverse_leave_runtime", *[py_object] * 4)


def created(function, *arguments):
    """The handle that a function creates, in a runtime that runs."""
    check(runtime_start())
    handle = c_uint64()
    check(function(*arguments, handle))
    return handle.value


def listed(function, element, *arguments):
    """What a function writes to an array, as long as that has to be."""
    room = 16
    while True:
        array, count = (element * room)(), c_size_t()
        if element is WaitNode:
            array[0].size = ctypes.sizeof(WaitNode)
        check(function(*arguments, array, room, count))
        if count.value <= room:
            return array[: count.value]
        room = count.value + 16


def sized(function, handle, structure):
    filled = structure(size=ctypes.sizeof(structure))
    check(function(handle, filled))
    return filled
