#!/bin/sh
# compile.sh <gcc|clang|mingw|gcc32> <place> <include directory>: compiles hostcrst/win32.h and a use of all
# of it, as every standard, with warnings as errors, and looks whose functions are called.
#
# place: claims_windows (_WIN32 is defined here, which is an error), alone, twice, winpr_on_path (which nobody includes), before_winpr,
# after_winpr, before_directx, after_directx, before_windows, after_windows; after_own: after types and a GetLastError of the
# program's, as the header's comment says. gcc32 compiles for 32 bits: there the header's assertions hold the other layout of
# Windows.
set -eu
. "$(dirname "$0")/../need.sh"
compiler=$1
place=$2
include=$3

ours='#include <hostcrst/win32.h>'
theirs=
options=
standards="c99 c11 c17 c++11 c++17 c++20"
called=hostcrst_cs_enter
case $compiler in
gcc) need gcc gcc && need g++ g++ && c=gcc cxx=g++ ;;
gcc32) need_file /usr/include/x86_64-linux-gnu/gnu/stubs-32.h libc6-dev-i386 && c="gcc -m32" cxx="g++ -m32" \
    standards="c99 c11 c17 c++11 c++20" ;;
clang) need clang clang && c=clang cxx=clang++ ;;
mingw) need clang clang && c="clang --target=x86_64-w64-mingw32" cxx="clang++ --target=x86_64-w64-mingw32" ;;
*) echo "no compiler $compiler" >&2 && exit 2 ;;
esac
case $place in
alone | twice | claims_windows) ;;
winpr_on_path)
    need_winpr
    theirs='#ifdef WINPR_SYNCH_H
#error "nobody asked for it"
#endif'
    options="-isystem $winpr"
    ;;
after_own)
    theirs='#include <stdint.h>
#define VOID void
typedef unsigned int BOOL;
typedef uint16_t WORD;
typedef uint32_t DWORD;
typedef int32_t LONG;
typedef uint32_t ULONG;
typedef uintptr_t ULONG_PTR;
typedef void *PVOID, *LPVOID, *HANDLE;
static DWORD own_error;
static inline DWORD GetLastError(void) { return own_error; }
static inline void SetLastError(DWORD error) { own_error = error; }
#define HOSTCRST_WIN32_NO_TYPES
#define HOSTCRST_WIN32_NO_LAST_ERROR'
    ;;
*_winpr)
    need_winpr
    theirs='#include <winpr/windows.h>
#include <winpr/error.h>
#include <winpr/synch.h>'
    options="-isystem $winpr"
    ;;
*_directx)
    need_file /usr/include/wsl/winadapter.h directx-headers-dev
    theirs='#include <wsl/winadapter.h>
#include <directx/d3d12.h>'
    options="-isystem /usr/include/wsl/stubs -Wno-unknown-pragmas"
    standards="c++11 c++17 c++20"
    ;;
*_windows)
    need_file /usr/x86_64-w64-mingw32/include/windows.h mingw-w64-x86-64-dev
    theirs='#include <windows.h>'
    options="-nostdlibinc -isystem /usr/x86_64-w64-mingw32/include -D_WIN32_WINNT=0x0600"
    called=__imp_EnterCriticalSection
    ;;
*) echo "no place $place" >&2 && exit 2 ;;
esac
[ "$place" != before_winpr ] || options="$options -DHOSTCRST_WIN32_WINPR"
case $place in
twice) text="$ours
$ours" ;;
before_* | winpr_on_path) text="$ours
$theirs" ;;
*) text="$theirs
$ours" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    echo "$text"
    cat "$(dirname "$0")/use.inc"
} >"$work/use.c"
cp "$work/use.c" "$work/use.cpp"

if [ "$place" = claims_windows ]; then
    $c -D_WIN32 -c "-I$include" "$work/use.c" -o "$work/use.o" 2>"$work/said" && exit 1
    grep -q 'error: .*this compiler builds for Linux' "$work/said" || { cat "$work/said" >&2; exit 1; }
    exit 0
fi

for standard in $standards; do
    strict="-Wall -Wextra -Wpedantic -Wconversion -Wundef -Werror"
    case $standard in
    c++*)
        # The header alone: what uses it here is C.
        [ "$place" != alone ] || $cxx -std="$standard" -Werror -Wold-style-cast "-I$include" -fsyntax-only -x c++ - <<CPP
$text
CPP
        command="$cxx $strict" file=use.cpp
        ;;
    *) command="$c $strict -Wstrict-prototypes" file=use.c ;;
    esac
    # shellcheck disable=SC2086 # options, to be split
    $command -std="$standard" -c "-I$include" $options "$work/$file" -o "$work/use.o" ||
        { echo "as $standard with $compiler, $place" >&2; exit 1; }
    nm --undefined-only "$work/use.o" >"$work/called"
    grep -q " $called\$" "$work/called" ||
        { echo "$called is not called: as $standard with $compiler, $place" >&2; exit 1; }
    case $called in
    hostcrst*) ! grep 'U [A-Z][A-Za-z]*\(CriticalSection\|ConditionVariable\|SRW\|Address\)' "$work/called" || exit 1 ;;
    esac
done
