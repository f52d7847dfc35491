"""info hostcrst: the tasks of the hostcrst library, what they own and wait for, and whether a deadlock stands.

Reads memory only, of a process or of a core: nothing is called in the program. gdb loads this file by itself where it
was installed beside the library and gdb trusts the place (show auto-load safe-path); otherwise: source hostcrst-gdb.py
"""

import time

import gdb

MAGIC = b"hostcrst"
LAYOUT_VERSION = 2
ENTRY_NAME_BYTES = 24
ENTRY_BYTES = 32

# The meaning of the fields in layout version 2. Their offsets come from the library's own table.
SECTION_SHIFT = 6
SECTION_TAG = 1
COPY_SHIFT = 2
# What the handle of a section that a CRITICAL_SECTION shows has beside that.
WIN32 = 2 | 3 << 6
SECTION_GENERATION_SHIFT = 40
LOW_BITS = 63
LENT = 3 << 6
ABANDONED = 1 << 8
DESTROYED = 2 << 8
TASK_TAG = 2
NO_DEADLINE = (1 << 64) - 1
RUNTIME_STATES = ("not loaded", "running", "stopped", "failed")
MODES = ("no transitions yet", "managed", "unmanaged")
UNMANAGED = 2
LAYERS_SHOWN = 64
# Damaged memory can claim any number of slots.
MOST_SLOTS = 1 << 24
READ_BYTES = 1 << 20


def plural(count, noun):
    return "%d %s%s" % (count, noun, "" if count == 1 else "s")


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def number(data, offset, size):
    return int.from_bytes(data[offset : offset + size], "little")


def read_number(address, size):
    return number(read(address, size), 0, size)


class Task:
    def __init__(self, registry, data):
        offsets = registry.offsets
        wait = offsets["task.wait"]
        self.id = number(data, offsets["task.id"], 8)
        self.thread_id = number(data, offsets["task.thread_id"], 4)
        self.name = registry.name(data, offsets["task.name"])
        self.section = number(data, wait + offsets["wait.section"], 8)
        self.since = number(data, wait + offsets["wait.since"], 8)
        self.site = number(data, wait + offsets["wait.site"], 8)
        self.is_limited = number(data, wait + offsets["wait.deadline"], 8) != NO_DEADLINE
        self.mode, self.depth, self.layers = registry.layers(data, offsets["task.layers"])

    def __str__(self):
        return '"%s" tid=%d' % (self.name or thread_name(self.thread_id), self.thread_id)


class Section:
    def __init__(self, registry, index, data):
        offsets = registry.offsets
        word = number(data, offsets["section.word"], 8)
        generation = word >> SECTION_GENERATION_SHIFT
        self.handle = generation << SECTION_GENERATION_SHIFT | index << SECTION_SHIFT | registry.copy | SECTION_TAG
        if number(data, offsets["section.mirror"], 8):
            self.handle ^= WIN32
        self.owner = word ^ self.handle
        self.entries = number(data, offsets["section.entries"], 4)
        if self.owner & LENT:
            # Lent to a task, which owns it only while it is entered.
            self.entries = max(number(data, offsets["section.bias_counter"], 4) - 1, 0)
            self.owner = self.owner & ~LENT if self.entries else 0
        self.exists = generation != 0 and self.owner != DESTROYED
        self.is_abandoned = self.owner == ABANDONED
        self.is_owned = self.owner not in (0, ABANDONED)
        self.name_slot = number(data, offsets["section.name"], 4)
        self.name = registry.section_name(self.name_slot) if self.exists else ""

    def __str__(self):
        return "0x%x%s" % (self.handle, ' "%s"' % self.name if self.name else "")


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
        self.offsets = dict(self.entries(address + 16, (size - 16) // ENTRY_BYTES))
        runtime = address + self.offsets["registry.runtime"]
        self.runtime = read_number(runtime, 8)
        self.copy = read_number(address + self.offsets["registry.copy"], 4) << COPY_SHIFT

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
        address = self.address + self.offsets["registry." + name]
        base = read_number(address + self.offsets["arena.base"], 8)
        used = read_number(address + self.offsets["arena.used"], 4)
        capacity = read_number(address + self.offsets["arena.capacity"], 4)
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
        drawn = (Task(self, data) for _, data in self.slots("tasks", self.offsets["task.bytes"]))
        return {task.id: task for task in drawn if task.id != 0}

    def sections(self):
        slots = self.slots("sections", self.offsets["section.bytes"])
        drawn = (Section(self, index, data) for index, data in slots)
        return {section.handle: section for section in drawn if section.exists}

    def name(self, data, at):
        """A name; none if it was just being changed."""
        if number(data, at + self.offsets["name.sequence"], 4) & 1:
            return ""
        length = min(number(data, at + self.offsets["name.length"], 4), self.offsets["name.bytes"])
        text = data[at + self.offsets["name.text"] :][:length].decode("utf-8", "replace")
        return "".join(character if character.isprintable() and character != '"' else "?" for character in text)

    def section_name(self, slot):
        data = self.slot("names", slot, self.offsets["named.bytes"])
        return self.name(data, self.offsets["named.name"]) if data else ""

    def layers(self, data, at):
        """Mode, depth, and the newest layers as pairs of the mode above it and its target, newest first."""
        offsets = self.offsets
        position = number(data, at + offsets["layers.position"], 8)
        if number(data, at + offsets["layers.runtime"], 8) >> 8 != self.runtime >> 8:
            return 0, 0, []
        depth = position >> 2 & (1 << 29) - 1
        oldest = max(0, depth - LAYERS_SHOWN)
        start, count = 0, offsets["layers.first.count"]
        part = data[at + offsets["layers.first"] :][: count * offsets["layer.bytes"]]
        chunk = number(data, at + offsets["layers.chunks"], 8)
        found, passed = [], set()
        while True:
            for index in range(max(oldest, start), min(depth, start + count)):
                layer = part[(index - start) * offsets["layer.bytes"] :]
                mode = number(layer, offsets["layer.stamp"], 1) & 3
                found.append((mode, number(layer, offsets["layer.target"], 8)))
            start, count = start + count, offsets["chunk.layers.count"]
            if start >= depth or chunk == 0 or chunk in passed:
                return position & 3, depth, found[::-1]
            passed.add(chunk)
            part = read(chunk + offsets["chunk.layers"], count * offsets["layer.bytes"])
            chunk = read_number(chunk + offsets["chunk.next"], 8)


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
        self.runtime = RUNTIME_STATES[registry.runtime & 3]
        self.copy = registry.copy
        self.tasks = registry.tasks()
        self.sections = registry.sections()
        self.now = now()

    def blocked_by(self, task):
        """The task that must go on before this one can."""
        section = self.sections.get(task.section)
        if task.section == 0 or task.is_limited or section is None or not section.is_owned:
            return None
        owner = self.tasks.get(section.owner)
        return owner if owner is not task else None

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
        waiting = sum(task.section != 0 for task in self.tasks.values())
        print(
            "hostcrst: runtime %s, %s (%d waiting), %s"
            % (self.runtime, plural(len(self.tasks), "task"), waiting, plural(len(self.sections), "section"))
        )
        for task in self.tasks.values():
            self.write_task(task)
        deadlocks = list(self.deadlocks())
        for cycle in deadlocks:
            print("\nFound a deadlock:")
            for task in cycle:
                section = self.sections[task.section]
                print("  %s waits for %s, owned by %s" % (task, section, self.owner(section)))
        print("\nFound %s." % plural(len(deadlocks), "deadlock") if deadlocks else "\nNo deadlock.")

    def owner(self, section):
        return self.tasks.get(section.owner, "a task that has ended")

    def write_task(self, task):
        handle = (task.id & LOW_BITS) << SECTION_GENERATION_SHIFT | task.id & ~LOW_BITS | self.copy | TASK_TAG
        print("\n%s task=0x%x [%s]" % (task, handle, MODES[task.mode if task.mode < 3 else 0]))
        if task.section:
            self.write_wait(task)
        for section in self.sections.values():
            if section.is_owned and section.owner == task.id:
                print("   owns %s recursion=%d" % (section, section.entries))
        for index, (mode, target) in enumerate(task.layers):
            way = "native  " if mode == UNMANAGED else "managed "
            print("   [%d] %s %s" % (task.depth - 1 - index, way, place(target) if target else ""))
        if task.depth > len(task.layers):
            print("   ... and %d older layers" % (task.depth - len(task.layers)))

    def write_wait(self, task):
        section = self.sections.get(task.section)
        text = "   waiting to enter %s" % (section or "0x%x" % task.section)
        if self.now is not None:
            text += " for %.3fs" % (max(self.now - task.since, 0) / 1e9)
        if task.is_limited:
            text += " (with a time limit)"
        if task.site:
            text += " at " + place(task.site)
        print(text)
        if section and section.is_owned:
            print("      which is owned by %s" % self.owner(section))
        elif section and section.is_abandoned:
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
