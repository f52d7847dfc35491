#!/bin/sh
# compile.sh <gcc|clang|mingw> <place> <include directory>: compiles hostcrst.h and a use of every constant, as
# every standard, with warnings as errors.
#
# place: alone, twice, before_winpr, after_winpr, before_windows, after_windows. Beside another header two
# compilations are made: one with all warnings and that header as a system header (its own warnings are not ours),
# one with the compiler's default warnings (for mingw-w64, which is not free of those, only the one that matters) and
# no system header, as a redefinition inside one is never reported.
set -eu
. "$(dirname "$0")/../need.sh"
compiler=$1
place=$2
include=$3

case $compiler in
gcc) need gcc gcc && need g++ g++ && c=gcc cxx=g++ ;;
clang) need clang clang && c=clang cxx=clang++ ;;
mingw) need clang clang && c="clang --target=x86_64-w64-mingw32" cxx="clang++ --target=x86_64-w64-mingw32" ;;
*) echo "no compiler $compiler" >&2 && exit 2 ;;
esac

plain=
ours='#include <hostcrst.h>'
other=
case $place in
alone) text=$ours ;;
twice) text="$ours
$ours" ;;
*_winpr)
    need_winpr
    other=$winpr
    theirs='#include <winpr/windows.h>
#include <winpr/error.h>
#include <winpr/synch.h>'
    ;;
*_windows)
    other=/usr/x86_64-w64-mingw32/include
    need_file $other/windows.h mingw-w64-x86-64-dev
    theirs='#include <windows.h>
#include <corerror.h>'
    plain="-nostdlibinc -Wno-everything -Wmacro-redefined"
    ;;
*) echo "no place $place" >&2 && exit 2 ;;
esac
case $place in
before_*) text="$ours
$theirs" ;;
after_*) text="$theirs
$ours" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    echo "$text"
    cat "$(dirname "$0")/constants.inc"
} >"$work/use.c"
cp "$work/use.c" "$work/use.cpp"

compile() { # compile <standard> <option>...
    standard=$1
    shift
    case $standard in
    c++*) $cxx -std="$standard" -Werror -fsyntax-only "-I$include" "$@" "$work/use.cpp" ;;
    *) $c -std="$standard" -Werror -fsyntax-only "-I$include" "$@" "$work/use.c" ;;
    esac || { echo "as $standard with $compiler, $place" >&2; exit 1; }
}

standards="c99 c11 c17 c2x c++11 c++14 c++17 c++20 c++2b"
[ -n "$other" ] || standards="c90 $standards"
for standard in $standards; do
    strict="-Wall -Wextra -Wpedantic -Wconversion -Wundef"
    case $standard in
    c++*) [ -n "$other" ] || strict="$strict -Wold-style-cast -Wzero-as-null-pointer-constant" ;;
    *) strict="$strict -Wstrict-prototypes" ;;
    esac
    # shellcheck disable=SC2086 # options, to be split
    if [ -n "$other" ]; then
        compile "$standard" $strict -isystem "$other"
        compile "$standard" $plain "-I$other"
    else
        compile "$standard" $strict
    fi
done
if [ "$place" = alone ]; then
    ! old=$(compile c++98 2>&1) || { echo "it compiles as c++98" >&2; exit 1; }
    case $old in
    *"hostcrst.h needs C++11"*) ;;
    *) echo "as c++98 this does not say why: $old" >&2 && exit 1 ;;
    esac
fi
