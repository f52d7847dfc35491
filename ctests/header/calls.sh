#!/bin/sh
# calls.sh <include directory> <libhostcrst.so> <libhostcrst.a>: a program that GCC compiles calls the library without
# a stub of the procedure linkage table. With the shared library its calls read addresses that were bound at load
# (GLOB_DAT), unless it defines HOSTCRST_API as nothing (JUMP_SLOT); with the static one they are direct.
set -eu
. "$(dirname "$0")/../need.sh"
include=$1
shared=$2
static=$3

fail() {
    echo "calls.sh: $*" >&2
    exit 1
}

need gcc gcc
need g++ g++
need readelf binutils
need objdump binutils
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/section.c" <<'C'
#include <hostcrst.h>
#include <stdio.h>

int main(void)
{
    hostcrst_t section;
    if (host_runtime_start() < 0 || hostcrst_create(&section) < 0 || hostcrst_enter(section, 0) < 0) {
        return 1;
    }
    puts(hostcrst_version());
    return hostcrst_leave(section) < 0;
}
C
cat >"$work/windows.c" <<'C'
#include <hostcrst/win32.h>

int main(void)
{
    static CRITICAL_SECTION section;
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    return section.RecursionCount != 0;
}
C
echo 'const char *hostcrst_version(void); const char *hostcrst_version(void) { return "preloaded"; }' >"$work/preload.c"
printf '#if !__has_attribute(noplt)\n#error\n#endif\n' >"$work/noplt.c"

if ! gcc -fsyntax-only "$work/noplt.c" 2>/dev/null; then
    echo "This gcc has no attribute noplt: the header has nothing to declare with it."
    exit 77
fi

on_x86_64() {
    [ "$(uname -m)" = x86_64 ]
}

build() { # build <gcc|g++> <program> <option or library>...
    compiler=$1 program=$2
    shift 2
    language=c
    [ "$compiler" = gcc ] || language=c++
    "$compiler" -O2 -fplt "-I$include" -x "$language" "$work/$program.c" -x none -o "$work/$program" "$@"
}

run() { # run <program>
    LD_LIBRARY_PATH=$(dirname "$shared") "$work/$1" >"$work/output" || fail "$1 ended with $?"
}

bound_by() { # bound_by <GLOB_DAT|JUMP_SLOT> <gcc|g++> <option>...: so are all of our functions in each program
    expected=$1 compiler=$2
    shift 2
    for program in section windows; do
        build "$compiler" $program "$@" "$shared"
        kinds=$(readelf -rW "$work/$program" | sed -n 's/^.*_\(GLOB_DAT\|JUMP_SLOT\) .* host[a-z_]*@HOSTCRST_1.0 .*/\1/p' | sort -u)
        [ "$kinds" = "$expected" ] || fail "$compiler $program ($*) is bound by '$kinds', not $expected"
        run $program
    done
}

indirect_calls() { # indirect_calls <program>
    objdump --disassemble=main "$work/$1" | grep -E '(call|jmp).*\*'
}

called_directly() { # called_directly <option>...: so is the static library from each program
    for program in section windows; do
        build gcc $program "$@" "$static"
        ! on_x86_64 || ! indirect_calls $program || fail "$program ($*) does not call directly"
        run $program
    done
}

for compiler in gcc g++; do
    bound_by GLOB_DAT $compiler -fPIE -pie
    ! on_x86_64 || bound_by GLOB_DAT $compiler -fno-pie -no-pie # elsewhere only PIC heeds the attribute
    bound_by JUMP_SLOT $compiler -DHOSTCRST_API= -Wl,-z,lazy
done

called_directly -fPIE -pie
called_directly -fno-pie -no-pie
called_directly -static
called_directly -static-pie

build gcc section "$shared"
! on_x86_64 || indirect_calls section >/dev/null || fail "objdump shows no indirect calls"
gcc -shared -fPIC "$work/preload.c" -o "$work/preload.so"
LD_PRELOAD=$work/preload.so run section
[ "$(cat "$work/output")" = preloaded ] || fail "a preloaded library does not come before libhostcrst"
