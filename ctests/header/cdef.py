#!/usr/bin/python3
"""cdef.py CDEF INCLUDE LIBRARY: cffi reads the declarations, they say what the header says, and the library can be called
by them. Debian's Python, which has python3-cffi."""
import re
import subprocess
import sys

import cffi

cdef, include, library = sys.argv[1:]
with open(cdef, encoding="utf-8") as file:
    declarations = file.read()
ffi = cffi.FFI()
ffi.cdef(declarations)
host = ffi.dlopen(library)


def assertions():
    """Of each constant its value, of each struct its layout, as cffi sees them."""
    for name in re.findall(r"^enum { (\w+) =", declarations, re.MULTILINE):
        yield f"{name} == {getattr(host, name)}"
    for name in ffi.list_types()[0]:
        kind = ffi.typeof(name)
        yield f"sizeof({name}) == {ffi.sizeof(kind)}"
        for field, its in kind.fields if kind.kind == "struct" else ():
            yield f"offsetof({name}, {field}) == {its.offset}"


def compiles(conditions):
    source = "#include <hostcrst.h>\n" + "".join(f'_Static_assert({it}, "");\n' for it in conditions)
    command = ["gcc", "-std=c11", "-fsyntax-only", "-I", include, "-x", "c", "-"]
    return subprocess.run(command, input=source, text=True, check=False).returncode == 0


conditions = list(assertions())
assert len(conditions) > 60, conditions
assert compiles(conditions), "cffi and the compiler understand something else"

# Each of these has to be there to be called.
for function in re.findall(r"(\w+)\([^)]*\);$", declarations, re.MULTILINE):
    assert function == "host_deadlock_callback_t" or getattr(host, function), function

section, entered = ffi.new("hostcrst_t *"), ffi.new("int32_t *")
assert host.hostcrst_create(section) == host.HOST_E_CLRNOTAVAILABLE
assert host.host_runtime_start() == host.S_OK
assert host.hostcrst_create(section) == host.S_OK
assert host.hostcrst_enter_timeout(section[0], host.WAIT_ALERTABLE, host.HOSTCRST_INFINITE) == host.S_OK
assert host.hostcrst_try_enter(section[0], 0, entered) == host.S_OK and entered[0] == 1
info = ffi.new("hostcrst_info_t *", {"size": ffi.sizeof("hostcrst_info_t")})
assert host.hostcrst_info(section[0], info) == host.S_OK
assert (info.state, info.recursion) == (host.HOSTCRST_OWNED, 2)
assert host.hostcrst_leave(section[0]) == host.hostcrst_leave(section[0]) == host.S_OK
assert host.hostcrst_leave(section[0]) == host.HOST_E_NOT_OWNER
assert ffi.string(host.host_result_message(host.HOST_E_NOT_OWNER)).startswith(b"not the owner")
