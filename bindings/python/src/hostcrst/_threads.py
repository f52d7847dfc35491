"""What the library is told of the calling thread: its name, and the line of Python from which it calls."""

import os
import sys
import threading
from ctypes import c_uint64

from . import _library as lib

# Calls from these stand for who has called them.
_PASSED_OVER = (__package__, __name__, "threading", "contextlib")

_known = threading.local()
_places = {}


def here():
    """The place of the nearest caller outside of this package, as the library wants it: sell (shop.py:12)."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _PASSED_OVER:
        frame = frame.f_back
    code = frame.f_code
    key = code.co_filename, code.co_name, frame.f_lineno
    place = _places.get(key)
    if place is None:
        text = f"{code.co_name} ({os.path.basename(code.co_filename)}:{frame.f_lineno})"
        place = _places[key] = encoded(text)
    return place


def encoded(text):
    """For the library. A zero would end it."""
    return text.replace("\0", "?").encode("utf-8", "replace")


def current():
    """The task of the calling thread."""
    task = c_uint64()
    lib.check(lib.task_current(task))
    return task.value


def introduce():
    """Names the calling thread's task after it, once, and again if its name has changed."""
    thread = threading.current_thread()
    if getattr(_known, "name", None) == thread.name:
        return
    # A thread that Python has not started keeps the name that the system knows.
    if not isinstance(thread, threading._DummyThread):
        lib.check(lib.task_set_name(current(), encoded(thread.name)))
    _known.name = thread.name


def task_of(thread):
    """The task of a threading.Thread, of a native thread id, or with None of the calling thread."""
    if thread is None:
        introduce()
        return current()
    wanted = getattr(thread, "native_id", thread)
    if not isinstance(wanted, (int, type(None))):
        raise TypeError(f"thread must be a threading.Thread, a native thread id or None, not {type(thread).__name__}")
    for task in lib.listed(lib.task_list, c_uint64):
        try:
            if lib.sized(lib.task_info, task, lib.TaskInfo).thread_id == wanted:
                return task
        except lib.Closed:
            continue  # It has ended meanwhile.
    raise LookupError(f"{thread} has not called hostcrst, or has ended")
