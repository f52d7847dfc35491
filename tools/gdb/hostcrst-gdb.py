"""info hostcrst: the tasks of the hostcrst library, what they own and wait for, and whether a deadlock stands.

Reads memory only, of a process or of a core: nothing is called in the program. gdb loads this file by itself where it
was installed beside the library and gdb trusts the place (show auto-load safe-path); otherwise: source hostcrst-gdb.py
"""

import time

import gdb

MAGIC = b"hostcrst"
# What the fields are for. Their offsets, how ids and handles are made, and what states are called come from the library's
# own table.
LAYOUT_VERSION = 3
ENTRY_NAME_BYTES = 24
ENTRY_BYTES = 32

LAYERS_SHOWN = 64
# Damaged memory can claim any number of slots.
MOST_SLOTS = 1 << 24
MOST_PROBES = 1 << 10
READ_BYTES = 1 << 20


def plural(count, noun):
    return "%d %s%s" % (count, noun, "" if count == 1 else "s")


def printable(text):
    """Text that may be damaged."""
    text = text.decode("utf-8", "replace")
    return "".join(character if character.isprintable() and character != '"' else "?" for character in text)


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def number(data, offset, size):
    return int.from_bytes(data[offset : offset + size], "little")


def read_number(address, size):
    return number(read(address, size), 0, size)


class Task:
    def __init__(self, registry, data):
        layout = registry.layout
        wait = layout["task.wait"]
        self.id = number(data, layout["task.id"], 8)
        self.thread_id = number(data, layout["task.thread_id"], 4)
        self.name = registry.name(data, layout["task.name"])
        self.awaited = number(data, wait + layout["wait.awaited"], 8)
        self.since = number(data, wait + layout["wait.since"], 8)
        self.site = number(data, wait + layout["wait.site"], 8)
        self.is_limited = number(data, wait + layout["wait.deadline"], 8) != layout["wait.no_deadline"]
        self.waits_for_itself = number(data, wait + layout["wait.option"], 4) & layout["wait.for_itself"] != 0
        self.mode, self.depth, self.layers = registry.layers(data, layout["task.layers"])

    def __str__(self):
        name = self.name or thread_name(self.thread_id)
        return ('"%s" ' % name if name else "") + "tid=%d" % self.thread_id


class Section:
    def __init__(self, registry, index, data):
        layout = registry.layout
        word = number(data, layout["section.word"], 8)
        generation = word >> registry.shift("handle.generation_shift")
        self.handle = registry.section_handle(index, generation)
        if number(data, layout["section.mirror"], 8):
            self.handle ^= layout["handle.win32"]
        self.owner = word ^ self.handle
        self.entries = number(data, layout["section.entries"], 4)
        bias = layout["id.biased"] | layout["id.revoking"]
        if self.owner & bias:
            # Biased to a task, which owns it only while it is entered.
            self.entries = max(number(data, layout["section.bias_counter"], 4) - layout["section.not_entered"], 0)
            self.owner = self.owner & ~bias if self.entries else 0
        self.exists = generation != 0 and self.owner != layout["id.destroyed"]
        self.is_abandoned = self.owner == layout["id.abandoned"]
        self.is_owned = self.owner != 0 and not self.is_abandoned
        self.name_slot = number(data, layout["section.name"], 4)
        self.name = registry.section_name(self.name_slot) if self.exists else ""

    def __str__(self):
        return "0x%x%s" % (self.handle, ' "%s"' % self.name if self.name else "")


class Resource:
    """A lock of the program's own, as far as it has told."""

    def __init__(self, registry, data):
        layout = registry.layout
        self.handle = number(data, layout["resource.handle"], 8)
        self.owner = number(data, layout["resource.owner"], 8) ^ self.handle
        self.exists = self.handle not in (0, layout["resource.vacant"])
        self.is_abandoned = self.owner == layout["id.abandoned"]
        # A mark of an earlier resource in the slot names another generation.
        is_task = self.owner >> registry.shift("handle.generation_shift") == 0
        self.is_owned = self.owner != 0 and not self.is_abandoned and is_task
        self.entries = number(data, layout["resource.entries"], 4)
        self.name = registry.section_name(number(data, layout["resource.name"], 4)) if self.exists else ""

    def __str__(self):
        return "resource 0x%x%s" % (self.handle, ' "%s"' % self.name if self.name else "")


class SrwLock:
    """An SRW lock that a task waits for. It stands in memory of the program's."""

    is_abandoned = False

    def __init__(self, registry, awaited):
        self.address = awaited & ~registry.layout["handle.srw_lock"]
        bits = registry.shift("handle.generation_shift")
        try:
            self.owner = read_number(self.address, 8) & ((1 << bits) - 1)
        except gdb.MemoryError:
            self.owner = 0
        self.is_owned = self.owner != 0

    def __str__(self):
        return "SRWLOCK 0x%x" % self.address


class Registry:
    """The registry at an address, read as far as it is asked for."""

    def __init__(self, address):
        self.address = address
        magic = read(address, 8)
        version, size = read_number(address + 8, 4), read_number(address + 12, 4)
        if magic != MAGIC:
            raise gdb.GdbError("hostcrst_registry_v1 does not point to a registry: it is damaged, or not yet relocated")
        if version != LAYOUT_VERSION:
            raise gdb.GdbError(
                "the library has layout %d, this script knows layout %d: source the hostcrst-gdb.py of that library"
                % (version, LAYOUT_VERSION)
            )
        self.layout = dict(self.entries(address + 16, (size - 16) // ENTRY_BYTES))
        runtime = address + self.layout["registry.runtime"]
        self.runtime = read_number(runtime, 8)
        self.copy = read_number(address + self.layout["registry.copy"], 4) << self.shift("handle.copy_shift")

    def shift(self, name):
        """A shift or number of bits, also of a damaged layout."""
        return self.layout[name] & 63

    def word_of(self, kind, value):
        """What reports call the state of that kind that stands in memory as this number."""
        words = (name for name, number in self.layout.items() if number == value and name.startswith(kind + ":"))
        return next(words, ":?").split(":")[1]

    def section_handle(self, index, generation):
        upper = generation << self.shift("handle.generation_shift")
        return upper | index << self.shift("handle.slot_shift") | self.copy | self.layout["handle.section_tag"]

    def task_handle(self, task_id):
        low = (1 << self.shift("id.low_bits")) - 1
        upper = (task_id & low) << self.shift("handle.generation_shift")
        return upper | task_id & ~low | self.copy | self.layout["handle.task_tag"]

    def depth(self, position):
        return position >> self.shift("position.depth_shift") & (1 << self.shift("position.depth_bits")) - 1

    def run(self, runtime):
        return runtime >> self.shift("runtime.run_shift")

    @staticmethod
    def entries(address, most):
        for _ in range(most):
            entry = read(address, ENTRY_BYTES)
            name = entry[:ENTRY_NAME_BYTES].rstrip(b"\0").decode("ascii", "replace")
            if not name:
                return
            yield name, number(entry, ENTRY_NAME_BYTES, 8)
            address += ENTRY_BYTES

    def arena(self, name):
        address = self.address + self.layout["registry." + name]
        base = read_number(address + self.layout["arena.base"], 8)
        used = read_number(address + self.layout["arena.used"], 4)
        capacity = read_number(address + self.layout["arena.capacity"], 4)
        return base, min(used, capacity, MOST_SLOTS)

    def slot(self, name, index, size):
        """The bytes of one slot; None if it was never used."""
        base, used = self.arena(name)
        return read(base + index * size, size) if 0 < index < used else None

    def slots(self, name, size):
        """The numbers and bytes of all slots, up to the first that cannot be read."""
        base, used = self.arena(name)
        per_read = READ_BYTES // size
        for start in range(0, used, per_read):
            count = min(per_read, used - start)
            try:
                data = read(base + start * size, count * size)
            except gdb.MemoryError:
                # Slots that no task has had yet are missing in a core.
                return
            for index in range(count):
                if start + index != 0:
                    yield start + index, data[index * size : (index + 1) * size]

    def tasks(self):
        drawn = (Task(self, data) for _, data in self.slots("tasks", self.layout["task.bytes"]))
        return {task.id: task for task in drawn if task.id != 0}

    def sections(self):
        slots = self.slots("sections", self.layout["section.bytes"])
        drawn = (Section(self, index, data) for index, data in slots)
        return {section.handle: section for section in drawn if section.exists}

    def resources(self):
        drawn = (Resource(self, data) for _, data in self.slots("resources", self.layout["resource.bytes"]))
        return {resource.handle: resource for resource in drawn if resource.exists}

    def is_srw_lock(self, awaited):
        return awaited & self.layout["handle.srw_lock"] != 0

    def is_resource(self, handle):
        return handle & self.layout["handle.tag_bits"] == 0 and not self.is_srw_lock(handle)

    def name(self, data, at):
        """A name; none if it was just being changed."""
        if number(data, at + self.layout["name.sequence"], 4) & 1:
            return ""
        length = min(number(data, at + self.layout["name.length"], 4), self.layout["name.bytes"])
        return printable(data[at + self.layout["name.text"] :][:length])

    def place(self, site):
        """What is called from: the text that the caller has given for it, or what stands at its address."""
        return self.place_text(site) or place(site)

    def place_text(self, site):
        layout = self.layout
        table = read_number(self.address + layout["registry.targets"] + layout["targets.entries"], 8)
        size = layout["target.bytes"]
        hashed = ((site ^ layout["place.kind"]) * layout["hash.factor"] & (1 << 64) - 1) >> 32
        for probe in range(min(layout["targets.probes"], MOST_PROBES)):
            slot = hashed + probe & layout["targets.capacity"] - 1
            try:
                entry = read(table + slot * size, size)
            except gdb.MemoryError:
                # Nothing was ever written there, so it is not in a core.
                return ""
            state = number(entry, layout["entry.state"], 4)
            if state == 0:
                return ""
            if state == layout["place.state"] and number(entry, layout["entry.number"], 8) == site:
                length = number(entry, layout["entry.detail"], 4)
                return printable(entry[layout["entry.value"] :][:length])
        return ""

    def section_name(self, slot):
        data = self.slot("names", slot, self.layout["named.bytes"])
        return self.name(data, self.layout["named.name"]) if data else ""

    def layers(self, data, at):
        """Mode, depth, and the newest layers as pairs of the mode above it and its target, newest first."""
        layout = self.layout
        position = number(data, at + layout["layers.position"], 8)
        if self.run(number(data, at + layout["layers.runtime"], 8)) != self.run(self.runtime):
            return 0, 0, []
        depth, mode_mask = self.depth(position), layout["position.mode_mask"]
        oldest = max(0, depth - LAYERS_SHOWN)
        start, count = 0, layout["layers.first.count"]
        part = data[at + layout["layers.first"] :][: count * layout["layer.bytes"]]
        chunk = number(data, at + layout["layers.chunks"], 8)
        found, passed = [], set()
        while True:
            for index in range(max(oldest, start), min(depth, start + count)):
                layer = part[(index - start) * layout["layer.bytes"] :]
                mode = number(layer, layout["layer.stamp"], 8) & mode_mask
                found.append((mode, number(layer, layout["layer.target"], 8)))
            start, count = start + count, layout["chunk.layers.count"]
            if start >= depth or chunk == 0 or chunk in passed:
                return position & mode_mask, depth, found[::-1]
            passed.add(chunk)
            part = read(chunk + layout["chunk.layers"], count * layout["layer.bytes"])
            chunk = read_number(chunk + layout["chunk.next"], 8)


def thread_name(thread_id):
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == thread_id and thread.name:
            return thread.name
    return ""


def place(address):
    """<function+offset> and source line, as gdb shows them."""
    symbol = gdb.execute("info symbol 0x%x" % address, to_string=True).split(" in section ")[0].strip()
    text = "0x%x" % address if symbol.startswith("No symbol") else symbol.replace(" + ", "+")
    # Inside a function it is where a call returns to: the call is before it.
    line = gdb.find_pc_line(address - 1 if "+" in text else address)
    return "%s (%s:%d)" % (text, line.symtab.filename.split("/")[-1], line.line) if line.symtab else text


def now():
    """The program's clock in nanoseconds, if it runs on this machine."""
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is None or connection.type != "native":
        return None
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def find_registry():
    try:
        address = int(gdb.parse_and_eval("(unsigned long)&hostcrst_registry_v1"))
    except gdb.error:
        raise gdb.GdbError(
            "no symbol hostcrst_registry_v1: the program has not loaded hostcrst, or was stripped; in that case use "
            "hostcrst-dump, which needs no symbols"
        )
    return Registry(read_number(address, 8))


class Report:
    def __init__(self, registry):
        self.registry = registry
        self.tasks = registry.tasks()
        self.sections = registry.sections()
        self.resources = registry.resources()
        # Their handles differ by kind.
        self.locks = {**self.sections, **self.resources}
        self.now = now()

    def awaited(self, task):
        """What it waits for, if that is known."""
        if task.awaited and self.registry.is_srw_lock(task.awaited):
            return SrwLock(self.registry, task.awaited)
        return self.locks.get(task.awaited)

    def blocked_by(self, task):
        """The task that must go on before this one can."""
        lock = self.awaited(task)
        if task.awaited == 0 or task.is_limited or lock is None or not lock.is_owned:
            return None
        owner = self.tasks.get(lock.owner)
        return owner if owner is not task or task.waits_for_itself else None

    def deadlocks(self):
        """Each cycle of waits, once."""
        seen = set()
        for start in self.tasks.values():
            chain = []
            task = start
            while task is not None and task.id not in seen:
                seen.add(task.id)
                chain.append(task)
                task = self.blocked_by(task)
            if task in chain:
                yield chain[chain.index(task) :]

    def write(self):
        runtime = self.registry.word_of("runtime", self.registry.runtime & self.registry.layout["runtime.state_mask"])
        waiting = sum(task.awaited != 0 for task in self.tasks.values())
        print(
            "hostcrst: runtime %s, %s (%d waiting), %s"
            % (runtime, plural(len(self.tasks), "task"), waiting, plural(len(self.sections), "section"))
        )
        for task in self.tasks.values():
            self.write_task(task)
        deadlocks = list(self.deadlocks())
        for cycle in deadlocks:
            print("\nFound a deadlock:")
            for task in cycle:
                lock = self.awaited(task)
                print("  %s waits for %s, owned by %s" % (task, lock, self.owner(lock)))
        if deadlocks:
            print("\nFound %s." % plural(len(deadlocks), "deadlock"))
        else:
            sections = plural(len(self.sections), "section")
            if self.resources:
                sections += " and " + plural(len(self.resources), "resource")
            print("\nNo deadlock among %s; other locks and joins are not examined." % sections)

    def owner(self, lock):
        return self.tasks.get(lock.owner, "a task that has ended")

    def write_task(self, task):
        mode = self.registry.word_of("mode", task.mode)
        print("\n%s task=0x%x [%s]" % (task, self.registry.task_handle(task.id), mode))
        if task.awaited:
            self.write_wait(task)
        for lock in self.locks.values():
            if lock.is_owned and lock.owner == task.id:
                print("   owns %s recursion=%d" % (lock, lock.entries))
        for index, (mode, target) in enumerate(task.layers):
            way = self.registry.word_of("layer", mode)
            print("   [%d] %-8s %s" % (task.depth - 1 - index, way, place(target) if target else ""))
        if task.depth > len(task.layers):
            print("   ... and %d older layers" % (task.depth - len(task.layers)))

    def write_wait(self, task):
        lock = self.awaited(task)
        how = "for" if self.registry.is_resource(task.awaited) else "to enter"
        if self.registry.is_srw_lock(task.awaited):
            how = "to acquire"
        text = "   waiting %s %s" % (how, lock or "0x%x" % task.awaited)
        if self.now is not None:
            text += " for %.3fs" % (max(self.now - task.since, 0) / 1e9)
        if task.is_limited:
            text += " (with a time limit)"
        if task.site:
            text += " at " + self.registry.place(task.site)
        print(text)
        if lock and lock.is_owned:
            print("      which is owned by %s" % self.owner(lock))
        elif lock and lock.is_abandoned:
            print("      which is abandoned")


class InfoHostcrst(gdb.Command):
    """Shows the tasks of the hostcrst library, what they own and wait for, and whether a deadlock stands.
Reads memory only: nothing is called in the program."""

    def __init__(self):
        super().__init__("info hostcrst", gdb.COMMAND_STATUS)

    def invoke(self, _arguments, _from_tty):
        try:
            Report(find_registry()).write()
        except gdb.MemoryError as error:
            raise gdb.GdbError("the library's memory cannot be read: %s" % error)
        except (KeyError, ArithmeticError, ValueError) as error:
            raise gdb.GdbError("the library's registry is damaged: %r" % error)


InfoHostcrst()
