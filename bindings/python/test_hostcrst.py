"""Tests of the package, by the standard library alone; $CDEF is the path of hostcrst.cdef."""

import contextlib
import gc
import json
import math
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import unittest
from ctypes import sizeof
from itertools import starmap

import hostcrst
from hostcrst import CriticalSection, WatchedLock
from hostcrst import _library as lib

PATIENCE = 120


def soon(condition):
    """Until it is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it has not come true")
        time.sleep(0)


def line():
    """The number of the line that calls."""
    return sys._getframe(1).f_lineno


class Thread(threading.Thread):
    """Keeps what its function returns or raises."""

    def __init__(self, function, *arguments, name=None):
        super().__init__(name=name, daemon=True)
        self.function, self.arguments, self.result, self.error = function, arguments, None, None
        self.start()

    def run(self):
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:
            self.error = error

    def outcome(self):
        self.join(PATIENCE)
        assert not self.is_alive(), "it has not ended"
        if self.error is not None:
            raise self.error
        return self.result


def in_thread(function, *arguments):
    return Thread(function, *arguments).outcome()


class Owner:
    """A thread that owns something until let_go."""

    def __init__(self, lock, name=None):
        self.owns, self.end = threading.Event(), threading.Event()
        self.thread = Thread(self.own, lock, name=name)
        assert self.owns.wait(PATIENCE)

    def own(self, lock):
        with lock:
            self.owns.set()
            assert self.end.wait(PATIENCE)

    def let_go(self):
        self.end.set()
        self.thread.outcome()


def abandoned():
    section = CriticalSection("orders")
    in_thread(section.enter)
    # Python's join does not wait for the end of the thread itself.
    soon(lambda: section.info().state == hostcrst.ABANDONED)
    return section


class Sections(unittest.TestCase):
    def test_the_owner_enters_again_and_only_the_owner_leaves(self):
        section = CriticalSection("orders")
        with section, section:
            self.assertEqual(section.info()[:3], (hostcrst.OWNED, threading.get_native_id(), 2))
            self.assertFalse(in_thread(section.try_enter))
            with self.assertRaises(hostcrst.NotOwner) as caught:
                in_thread(section.leave)
            self.assertEqual(caught.exception.hresult, -2146234331)
            self.assertRegex(str(caught.exception), "^orders: not the owner")
        self.assertEqual(section.info()[:3], (hostcrst.FREE, None, 0))
        self.assertTrue(in_thread(lambda: section.try_enter() and section.leave() is None))

    def test_a_deadlock_is_refused_and_both_go_on(self):
        orders, stock = CriticalSection("orders"), CriticalSection("stock")

        def restock():
            with stock:
                stock_is_owned.set()
                with orders:
                    return "went on"

        stock_is_owned = threading.Event()
        with orders:
            thread = Thread(restock)
            self.assertTrue(stock_is_owned.wait(PATIENCE))
            soon(lambda: orders.info().waiters == 1)
            with self.assertRaises(hostcrst.Deadlock):
                with stock:
                    self.fail("entered")
            self.assertEqual(orders.info().recursion, 1)
        self.assertEqual(thread.outcome(), "went on")

    def test_an_unbreakable_wait_leaves_the_deadlock_to_the_other(self):
        orders, stock = CriticalSection(), CriticalSection()

        def restock():
            with stock:
                stock_is_owned.set()
                with orders:
                    pass

        stock_is_owned = threading.Event()
        with orders:
            thread = Thread(restock)
            self.assertTrue(stock_is_owned.wait(PATIENCE))
            soon(lambda: orders.info().waiters == 1)
            stock.enter(breakable=False)
            stock.leave()
        self.assertRaises(hostcrst.Deadlock, thread.outcome)

    def test_time_limits_are_seconds(self):
        section = CriticalSection()
        owner = Owner(section)
        begun = time.monotonic()
        with self.assertRaises(TimeoutError) as caught:
            section.enter(timeout=0.05)
        self.assertGreaterEqual(time.monotonic() - begun, 0.05)
        self.assertIsInstance(caught.exception, hostcrst.Timeout)
        self.assertRaises(hostcrst.Timeout, section.enter, timeout=0)
        for refused in (-1, -0.5, math.nan):
            self.assertRaises(ValueError, section.enter, timeout=refused)
        owner.let_go()
        section.enter(timeout=1e30)
        section.leave()
        self.assertEqual(hostcrst._milliseconds(0.0001), 1)
        self.assertEqual(hostcrst._milliseconds(math.inf), 0xFFFFFFFE)

    def test_the_gil_is_let_go_while_one_waits(self):
        section, steps = CriticalSection(), []
        owner = Owner(section)
        waiter = Thread(lambda: section.enter() or steps.append("entered") or section.leave())
        soon(lambda: section.info().waiters == 1)
        steps.append("python ran")
        owner.let_go()
        waiter.outcome()
        self.assertEqual(steps, ["python ran", "entered"])

    def test_an_abandoned_section_is_recovered(self):
        section = abandoned()
        self.assertRaises(hostcrst.Abandoned, section.enter)
        section.recover()
        section.leave()
        self.assertRaises(hostcrst.InvalidOperation, section.recover)

    def test_an_alert_ends_an_alertable_wait(self):
        section = CriticalSection()
        owner = Owner(section)
        waiter = Thread(lambda: section.enter(alertable=True))
        soon(lambda: section.info().waiters == 1)
        hostcrst.alert(waiter)
        self.assertRaises(hostcrst.Interrupted, waiter.outcome)
        owner.let_go()
        soon(lambda: self.is_no_task(waiter))

    @staticmethod
    def is_no_task(thread):
        try:
            hostcrst.wait_chain(thread)
        except LookupError:
            return True
        return False

    def test_a_section_that_is_closed_ends_waits_and_is_known_no_more(self):
        section = CriticalSection()
        section.enter()
        waiter = Thread(section.enter)
        soon(lambda: section.info().waiters == 1)
        section.close()
        self.assertRaises(hostcrst.Abandoned, waiter.outcome)
        for call in (section.enter, section.leave, section.close, section.info):
            self.assertRaises(hostcrst.Closed, call)
        self.assertIn("closed", repr(section))

    def test_a_section_is_closed_when_nothing_refers_to_it(self):
        section = CriticalSection()
        handle = section._handle
        lib.sized(lib.info, handle, lib.SectionInfo)
        del section
        gc.collect()
        self.assertRaises(hostcrst.Closed, lib.sized, lib.info, handle, lib.SectionInfo)

    def test_names(self):
        section = CriticalSection("orders")
        self.assertEqual((section.name, str(section)), ("orders", "orders"))
        section.name = "é" * 40
        self.assertEqual(section.name, "é" * 28)
        section.name = "a\0b\udc80"
        self.assertEqual(section.name, "a?b?")
        self.assertEqual(CriticalSection(spin_count=9).name, "")


class LikeAnRLock(unittest.TestCase):
    def test_acquire_and_release(self):
        section = CriticalSection()
        self.assertTrue(section.acquire() and section.acquire(False) and section.acquire(timeout=1))
        self.assertTrue(section.locked())
        self.assertFalse(in_thread(section.acquire, False))
        self.assertFalse(in_thread(section.acquire, True, 0.01))
        self.assertRaises(ValueError, section.acquire, False, 1)
        for _ in range(3):
            section.release()
        self.assertFalse(section.locked())
        self.assertRaises(hostcrst.NotOwner, section.release)

    def test_a_condition_takes_it_entered_twice(self):
        section = CriticalSection()
        condition, arrived = threading.Condition(section), []

        def wait():
            with section, condition:
                arrived.append(True)
                self.assertTrue(condition.wait(PATIENCE))
                return section.info().recursion

        waiter = Thread(wait)
        soon(lambda: arrived)
        with condition:
            condition.notify()
        self.assertEqual(waiter.outcome(), 2)
        self.assertRaises(RuntimeError, condition.notify)

    def test_a_condition_tells_that_its_section_was_closed(self):
        section = CriticalSection("stock")
        condition, arrived = threading.Condition(section), []

        def wait():
            section.enter()
            section.enter()
            arrived.append(True)
            self.assertRaises(hostcrst.Closed, condition.wait)

        waiter = Thread(wait)
        soon(lambda: arrived)
        section.enter()
        condition.notify()
        section.close()
        waiter.outcome()


class WatchedLocks(unittest.TestCase):
    def test_a_deadlock_through_a_lock_is_refused(self):
        cache, stock = WatchedLock(threading.Lock(), "cache"), CriticalSection("stock")
        owns = threading.Event()

        def restock():
            with stock:
                owns.set()
                with cache:
                    return "went on"

        with cache:
            thread = Thread(restock, name="restock")
            self.assertTrue(owns.wait(PATIENCE))
            soon(lambda: len(hostcrst.wait_chain(thread)) > 1)
            self.assertEqual([node.kind for node in hostcrst.wait_chain(thread)], ["task", "resource", "task"])
            self.assertEqual([node.name for node in hostcrst.wait_chain(thread)], ["restock", "cache", "MainThread"])
            self.assertRaises(hostcrst.Deadlock, stock.enter)
        self.assertEqual(thread.outcome(), "went on")

    def test_the_one_that_would_wait_for_the_lock_is_refused(self):
        cache, stock = WatchedLock(name="cache"), CriticalSection("stock")
        owner = WatchedLock(name="unrelated")
        with owner, cache:
            owns = threading.Event()

            def restock():
                with stock:
                    owns.set()
                    with cache:
                        pass

            thread = Thread(restock)
            self.assertTrue(owns.wait(PATIENCE))
            soon(lambda: len(hostcrst.wait_chain(thread)) > 1)
            self.assertRaises(hostcrst.Deadlock, stock.enter)
        thread.outcome()
        with stock:
            blocked = Thread(self.own_and_enter, cache, stock)
            soon(lambda: stock.info().waiters == 1)
            self.assertRaises(hostcrst.Deadlock, cache.acquire)
        blocked.outcome()

    def test_limits_are_those_of_an_rlock(self):
        for lock in (threading.RLock(), WatchedLock(), CriticalSection()):
            for error, *arguments in (
                (ValueError, False, 5),
                (ValueError, False, 0),
                (ValueError, True, -2),
                (ValueError, True, math.nan),
                (TypeError, True, "x"),
                (TypeError, True, None),
            ):
                self.assertRaises(error, lock.acquire, *arguments)
            self.assertTrue(lock.acquire(True, 0))
            lock.release()
        self.assertRaises(OverflowError, WatchedLock().acquire, True, 2.0**80)

    @staticmethod
    def own_and_enter(cache, stock):
        with cache, stock:
            pass

    def test_acquire_and_release(self):
        cache = WatchedLock(threading.RLock(), "cache")
        self.assertTrue(cache.acquire() and cache.acquire(False))
        self.assertFalse(in_thread(cache.acquire, False))
        self.assertFalse(in_thread(cache.acquire, True, 0.01))
        self.assertRaises(hostcrst.NotOwner, in_thread, cache.release)
        cache.release()
        cache.release()
        self.assertTrue(in_thread(lambda: cache.acquire() and cache.release() is None))
        self.assertIn("cache", repr(cache))


class Ring(BaseException):
    """What the handler of a signal raises."""


@unittest.skipIf(sys.version_info < (3, 11), "handlers run in more places")
class Signals(unittest.TestCase):
    def is_never_left_over(self, block, is_left_over, undo, rounds=20_000):
        """A signal's handler raises at another instant of each of many `block`s. Nothing that it began may be left."""

        def ring(*_):
            rung.append(True)
            raise Ring

        def turn(instant):
            signal.setitimer(signal.ITIMER_REAL, instant * 1e-6)
            block()
            while not rung:
                # Takes the GIL anew: Python can overlook a signal that comes while it does so, until the next time.
                time.sleep(0)

        rung, found, before = [], 0, signal.signal(signal.SIGALRM, ring)
        try:
            for at in range(rounds):
                try:
                    turn(1 + at % 40)
                except Ring:
                    pass
                rung.clear()
                if is_left_over():
                    found += 1
                    undo()
        finally:
            signal.signal(signal.SIGALRM, before)
        self.assertEqual(found, 0)

    def test_a_section_is_left_whenever_a_handler_raises(self):
        section = CriticalSection()

        def enter_and_leave():
            with section:
                pass

        self.is_never_left_over(enter_and_leave, section._is_owned, section.leave)

    def is_all_or_nothing(self, function, has_worked, undo):
        """A call that returns has worked, and one that a handler ends has not."""
        returned = []

        def call():
            # That it has returned is stored in the same call.
            returned.extend(starmap(function, ((),)))

        def is_left_over():
            worked = has_worked()
            if returned and worked:
                undo()
                worked = False
            returned.clear()
            return worked

        self.is_never_left_over(call, is_left_over, undo, 10_000)

    def test_an_enter_that_a_handler_ends_has_not_entered(self):
        section, cache = CriticalSection(), WatchedLock(threading.RLock())
        self.is_all_or_nothing(section.enter, section._is_owned, section.leave)
        self.is_all_or_nothing(cache.acquire, cache._lock._is_owned, cache.release)

    def test_a_condition_still_owns_the_section_if_a_handler_ends_its_wait(self):
        section = CriticalSection()
        section.enter()
        self.is_all_or_nothing(section._release_save, lambda: not section._is_owned(), section.enter)

        section.enter()

        def wait():
            # As threading.Condition does, but for what it waits for.
            state = section._release_save()
            try:
                pass
            finally:
                section._acquire_restore(state)

        def is_left_over():
            return not section._is_owned() or section.info().recursion != 2

        def enter_again():
            while is_left_over():
                section.enter()

        self.is_never_left_over(wait, is_left_over, enter_again)

    def test_transitions_come_in_pairs(self):
        def call_and_return():
            with hostcrst.native_call(0x1234), hostcrst.managed_call():
                pass

        def depth():
            return lib.sized(lib.task_info, hostcrst.current(), lib.TaskInfo).depth

        call_and_return()
        least = depth()
        self.is_never_left_over(call_and_return, lambda: depth() != least, lambda: self.fail("not in pairs"))


class Arguments(unittest.TestCase):
    def test_a_wrong_one_is_named_with_what_is_allowed(self):
        section = CriticalSection()

        def rename(name):
            section.name = name

        def call(target):
            with hostcrst.native_call(target):
                self.fail("called")

        most = lib.MOST_SPINS
        formats = "format must be one of 'text', 'json', 'dot', 'html', not "
        policies = "policy must be one of 'error', 'report', 'abort', not "
        locks = "must be a CriticalSection or WatchedLock, not "
        for error, sentence, function, *arguments in (
            (TypeError, "name must be a str, not int", CriticalSection, 5),
            (TypeError, "name must be a str, not NoneType", CriticalSection, None),
            (TypeError, "name must be a str, not bytes", rename, b"orders"),
            (TypeError, "name must be a str, not NoneType", lambda: WatchedLock(name=None)),
            (TypeError, "lock must be a lock with acquire and release, not str", WatchedLock, "cache"),
            (ValueError, f"spin_count must be from 0 to {most}, not -1", lambda: CriticalSection(spin_count=-1)),
            (ValueError, f"spin_count must be from 0 to {most}, not {2**40}", lambda: CriticalSection(spin_count=2**40)),
            (TypeError, "spin_count must be an int, not float", lambda: CriticalSection(spin_count=1.5)),
            (ValueError, formats + "'xml'", hostcrst.report, "xml"),
            (ValueError, formats + "1", hostcrst.report, 1),
            (ValueError, policies + "'panic'", hostcrst.set_deadlock_policy, "panic"),
            (ValueError, policies + "[]", hostcrst.set_deadlock_policy, []),
            (TypeError, "timeout must be a number of seconds, not str", section.enter, "soon"),
            (ValueError, "timeout must not be negative: -2", section.enter, -2),
            (ValueError, "timeout must not be negative: nan", section.enter, math.nan),
            (TypeError, "timeout must be a number of seconds, not str", section.acquire, True, "soon"),
            (TypeError, "first " + locks + "int", hostcrst.allow_order, 5, section),
            (TypeError, "second " + locks + "object", hostcrst.allow_order, section, object()),
            (ValueError, f"target must be from 0 to {2**64 - 1}, not -1", call, -1),
            (TypeError, "target must be an int, not str", call, "puts"),
            (TypeError, "thread must be a threading.Thread, a native thread id or None, not str", hostcrst.alert, "sell"),
            (TypeError, "thread must be a threading.Thread, a native thread id or None, not str", hostcrst.wait_chain, "sell"),
        ):  # fmt: skip
            with self.assertRaises(error) as caught:
                function(*arguments)
            self.assertEqual(str(caught.exception), sentence)
        self.assertEqual(section.info().state, hostcrst.FREE)

    def test_the_least_and_the_most_are_taken(self):
        for count in (0, 1, lib.MOST_SPINS, True):
            self.assertEqual(CriticalSection(spin_count=count).info().waiters, 0)
        with hostcrst.native_call(2**64 - 1):
            pass


class Reports(unittest.TestCase):
    def waiting(self, name, wait):
        """The task of that name in the report, while `wait` waits for a section in a thread."""
        section = CriticalSection("orders")
        owner = Owner(section, "manager")
        thread = Thread(wait, section, name=name)
        soon(lambda: section.info().waiters == 1)
        report = json.loads(hostcrst.report("json"))
        text = hostcrst.report()
        owner.let_go()
        thread.outcome()
        self.assertIn("manager", {task["name"] for task in report["tasks"]})
        task = next(task for task in report["tasks"] if task["name"] == name)
        return task["waiting"]["at"], text

    def test_a_wait_has_the_line_of_python_and_the_thread_its_name(self):
        def sell(section):
            with section:
                return

        at = f"sell (test_hostcrst.py:{sell.__code__.co_firstlineno + 1})"
        found, text = self.waiting("seller", sell)
        self.assertEqual(found, at)
        self.assertIn(f'"orders" at {at}\n', text)
        self.assertNotIn("libffi", text.split("Threads")[0])

    def test_so_has_each_way_to_enter(self):
        def by_stack(section):
            with contextlib.ExitStack() as stack:
                stack.enter_context(section)

        def by_enter(section):
            _ = section.enter(timeout=PATIENCE), section.leave()

        def by_acquire(section):
            _ = section.acquire(), section.release()

        def by_acquire_with_a_limit(section):
            _ = section.acquire(timeout=PATIENCE), section.release()

        for way, offset in ((by_stack, 2), (by_enter, 1), (by_acquire, 1), (by_acquire_with_a_limit, 1)):
            expected = f"{way.__name__} (test_hostcrst.py:{way.__code__.co_firstlineno + offset})"
            self.assertEqual(self.waiting(way.__name__, way)[0], expected)

    def test_so_has_a_wait_for_a_watched_lock(self):
        cache = WatchedLock(name="cache")

        def restock():
            with cache:
                return

        with cache:
            thread = Thread(restock, name="restock")
            soon(lambda: len(hostcrst.wait_chain(thread)) > 1)
            text = hostcrst.report()
        thread.outcome()
        at = f"restock (test_hostcrst.py:{restock.__code__.co_firstlineno + 1})"
        self.assertIn(f'"cache" at {at}\n', text)
        self.assertNotIn("libffi", text.split("Threads")[0])

    def test_a_thread_that_is_renamed_shows_its_new_name(self):
        def rename_and_wait(section):
            threading.current_thread().name = "as it was"
            with CriticalSection():
                threading.current_thread().name = "renamed"
            with section:
                pass

        self.waiting("renamed", rename_and_wait)

    def test_an_odd_place_is_shown_as_far_as_it_can_be(self):
        scope = {}
        exec(compile("def wait(section):\n with section: pass", "/tmp/\udc80\n" + "x" * 300, "exec"), scope)
        self.assertRegex(self.waiting("odd", scope["wait"])[0], r"^wait \(\?\?x+$")

    def test_a_hold_has_its_line(self):
        section = CriticalSection("held")
        hostcrst.track_holds()
        try:
            section.enter()
            here = line() - 1
            report = hostcrst.report()
            section.leave()
        finally:
            hostcrst.track_holds(False)
        self.assertRegex(report, rf"entered at test_a_hold_has_its_line \(test_hostcrst\.py:{here}\)")

    def test_the_other_formats(self):
        self.assertTrue(hostcrst.report("dot").startswith("digraph"))
        self.assertIn("</html>", hostcrst.report("html"))
        self.assertRaises(ValueError, hostcrst.report, "xml")

    def test_native_calls_are_layers(self):
        with hostcrst.native_call(0x1234), hostcrst.managed_call():
            report = hostcrst.report()
        self.assertIn("0x1234", report)
        self.assertNotIn("0x1234", hostcrst.report())

    def test_switches(self):
        hostcrst.keep_statistics()
        hostcrst.keep_statistics(False)
        hostcrst.check_orders()
        first, second = CriticalSection("first"), CriticalSection("second")
        hostcrst.allow_order(first, second)
        hostcrst.check_orders(False)
        hostcrst.set_deadlock_policy("error")
        self.assertRaises(ValueError, hostcrst.set_deadlock_policy, "panic")

    def test_a_chain_of_a_thread_that_waits_for_nothing(self):
        self.assertEqual([node.kind for node in hostcrst.wait_chain()], ["task"])


def use_a_section(queue):
    with CriticalSection("child's") as section:
        queue.put(section.info().recursion)


class Processes(unittest.TestCase):
    def test_a_forked_child_has_what_its_thread_owns_and_finds_the_rest_abandoned(self):
        mine, theirs, free = CriticalSection("mine"), CriticalSection("theirs"), CriticalSection("free")
        owner = Owner(theirs)
        with mine:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    mine.leave()
                    with free:
                        pass
                    try:
                        theirs.enter()
                    except hostcrst.Abandoned:
                        theirs.recover()
                        code = 0 if "MainThread" in hostcrst.report() else 2
                finally:
                    os._exit(code)
            self.assertEqual(os.waitpid(child, 0)[1], 0)
        owner.let_go()

    def test_processes_of_multiprocessing(self):
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            queue = context.SimpleQueue()
            process = context.Process(target=use_a_section, args=(queue,))
            process.start()
            process.join(PATIENCE)
            self.assertEqual(process.exitcode, 0, method)
            self.assertEqual(queue.get(), 1)

    def test_nothing_of_it_can_be_sent_to_another_process(self):
        for lock in (CriticalSection(), WatchedLock()):
            self.assertRaises(TypeError, pickle.dumps, lock)

    def test_the_interpreter_exits_while_threads_wait_and_own(self):
        program = """if True:
            import threading, hostcrst
            orders, stock, owned = hostcrst.CriticalSection(), hostcrst.CriticalSection(), threading.Event()
            def restock():
                with stock:
                    owned.set()
                    with orders:
                        pass
            orders.enter()
            threading.Thread(target=restock, daemon=True).start()
            owned.wait()
            while orders.info().waiters == 0:
                pass
            print("the end")
        """
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "the end\n", ""))


class AsInTheHeader(unittest.TestCase):
    def test_numbers_and_structures_are_those_of_the_header(self):
        with open(os.environ["CDEF"], encoding="utf-8") as file:
            cdef = file.read()
        numbers = {name: int(value) for name, value in re.findall(r"enum \{ (\w+) = (-?\d+) \};", cdef)}
        errors = {error.__name__: error.hresult for error in hostcrst.Error.__subclasses__()}
        codes = {
            "Deadlock": "HOST_E_DEADLOCK", "Interrupted": "HOST_E_INTERRUPTED", "NotOwner": "HOST_E_NOT_OWNER",
            "InvalidOperation": "HOST_E_INVALIDOPERATION", "NotAvailable": "HOST_E_CLRNOTAVAILABLE",
            "Timeout": "HOST_E_TIMEOUT", "Abandoned": "HOST_E_ABANDONED", "Closed": "E_HANDLE",
            "OutOfMemory": "E_OUTOFMEMORY",
        }  # fmt: skip
        self.assertEqual(errors, {name: numbers[code] for name, code in codes.items()})
        self.assertEqual(
            (lib.INFINITE, lib.NAME_SIZE, lib.WAIT_ALERTABLE, lib.WAIT_NOTINDEADLOCK),
            tuple(numbers[name] for name in ("HOSTCRST_INFINITE", "HOSTCRST_NAME_SIZE", "WAIT_ALERTABLE", "WAIT_NOTINDEADLOCK")),
        )
        for index, state in enumerate(lib.STATES):
            self.assertEqual(numbers[f"HOSTCRST_{state.upper()}"], index)
        for index, policy in enumerate(lib.POLICIES):
            self.assertEqual(numbers[f"HOST_DEADLOCK_{policy.upper()}"], index)
        for index, form in enumerate(lib.FORMATS):
            self.assertEqual(numbers[f"HOST_REPORT_{form.upper()}"], index)
        kinds = {name: value for name, value in numbers.items() if name.startswith("HOST_WAIT_NODE_")}
        called = {f"HOST_WAIT_NODE_{kind.upper().replace(' ', '_')}": at for at, kind in enumerate(hostcrst._NODE_KINDS) if kind}
        self.assertEqual(called, kinds)
        for name, structure in {
            "hostcrst_info_t": lib.SectionInfo, "host_task_info_t": lib.TaskInfo, "host_wait_node_t": lib.WaitNode,
        }.items():  # fmt: skip
            body = re.search(r"typedef struct \{([^}]*)\} " + name, cdef)[1]
            # A later version may have more fields behind these.
            fields = re.findall(r"(\w+)(?:\[\d+\])?;", body)
            self.assertEqual([field for field, _ in structure._fields_], fields[: len(structure._fields_)])
            self.assertGreater(sizeof(structure), 0)

    def test_everything_is_exported_that_is_there(self):
        for name in hostcrst.__all__:
            self.assertTrue(hasattr(hostcrst, name), name)


if __name__ == "__main__":
    unittest.main()
