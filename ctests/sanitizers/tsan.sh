#!/bin/sh
# tsan.sh <gcc|clang> <include directory> <libhostcrst.so> <libhostcrst.a>: ThreadSanitizer says nothing of a program that
# uses every kind of lock rightly, in C and in C++, with either library, and finds each mistake of locks.c.
set -eu
. "$(dirname "$0")/../need.sh"
compiler=$1 include=$2 shared=$3 static=$4
here=$(cd "$(dirname "$0")" && pwd)

case $compiler in
gcc) cc=gcc cxx=g++ package=gcc ;;
clang) cc=clang cxx=clang++ package='libclang-rt-*-dev' ;;
*) echo "no compiler $compiler" >&2 && exit 2 ;;
esac
need $cc $compiler
need $cxx $compiler
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TSAN_OPTIONS=atexit_sleep_ms=0

fail() {
    echo "tsan.sh $compiler: $*" >&2
    exit 1
}

not_run() {
    echo "not run: $*"
    exit 77
}

strict="-Wall -Wextra -Wpedantic -Wconversion -Wundef -Werror -fsanitize=thread"

# The headers themselves, as the oldest and the newest standard.
cat >"$work/headers.c" <<'C'
#include <hostcrst/win32.h>
#include <hostcrst.h>
#include <hostcrst/win32.h>
void (*enter)(LPCRITICAL_SECTION) = EnterCriticalSection;
C
cp "$work/headers.c" "$work/headers.cpp"
echo '#include <hostcrst.h>' >"$work/old.c"
echo '#include <hostcrst.hpp>' >"$work/sections.cpp"
# shellcheck disable=SC2086 # options, to be split
{
    $cc -std=c90 $strict "-I$include" -fsyntax-only "$work/old.c"
    for standard in c99 c2x; do
        $cc -std=$standard $strict -Wcast-qual "-I$include" -fsyntax-only "$work/headers.c"
    done
    for standard in c++11 c++2b; do
        $cxx -std=$standard $strict -Wold-style-cast -Wcast-qual "-I$include" -fsyntax-only "$work/headers.cpp"
        $cxx -std=$standard $strict -Wold-style-cast -Wzero-as-null-pointer-constant "-I$include" -fsyntax-only \
            "$work/sections.cpp"
    done
    if [ -d /usr/include/winpr2 ] || [ -d /usr/include/winpr3 ]; then
        need_winpr
        $cc -std=c99 $strict "-I$include" -isystem "$winpr" -fsyntax-only "$work/headers.c"
    fi
}

build() { # build <c|c++> <library>
    case $1 in
    c) set -- "$cc" c99 c "$2" ;;
    c++) set -- "$cxx" c++17 c++ "$2" ;;
    esac
    "$1" -std="$2" -x "$3" -O1 -g -fsanitize=thread "-I$include" "$here/locks.c" -x none -o "$work/locks" "$4" \
        "-Wl,-rpath,${4%/*}" -pthread 2>"$work/said" || {
        ! grep -q 'tsan.*No such file\|cannot find.*tsan' "$work/said" ||
            not_run "$compiler has no ThreadSanitizer: apt-get install $package"
        fail "$(cat "$work/said")"
    }
}

silent() { # silent <mistake or right>
    "$work/locks" "$1" 200 >"$work/said" 2>&1 || {
        ! grep -q 'FATAL: ThreadSanitizer: unexpected memory mapping' "$work/said" ||
            not_run "ThreadSanitizer of this $compiler cannot bear so random addresses: sysctl vm.mmap_rnd_bits=28"
        fail "$1: $(cat "$work/said")"
    }
    [ ! -s "$work/said" ] || fail "$1: $(cat "$work/said")"
}

found() { # found <mistake> <what ThreadSanitizer calls it>
    ! "$work/locks" "$1" 200 >"$work/said" 2>&1 || fail "$1: not found"
    grep -q "WARNING: ThreadSanitizer: $2" "$work/said" || fail "$1: not said to be a $2: $(cat "$work/said")"
}

for language in c c++; do
    for library in "$shared" "$static"; do
        build $language "$library"
        silent right
        found no-section "data race"
    done
done
found own-section "data race"
found shared "data race"
found two-orders "lock-order-inversion"
found wrong-leave "unlock of an unlocked mutex"
TSAN_OPTIONS=$TSAN_OPTIONS:detect_deadlocks=0 silent two-orders
