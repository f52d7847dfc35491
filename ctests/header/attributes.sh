#!/bin/sh
# attributes.sh <include directory>: what the header tells compilers of its functions. A result without which the caller
# cannot go on is not to be dropped, in C and C++, unless the program says otherwise; C++ is told what does not throw.
set -eu
. "$(dirname "$0")/../need.sh"
include=$1

fail() {
    echo "attributes.sh: $*" >&2
    exit 1
}

need gcc gcc
need g++ g++
need clang clang
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# GCC tells of an attribute of its own only when it makes code.
compiles() { # compiles <compiler> <standard> <file> <option>...
    compiler=$1 standard=$2 file=$3
    shift 3
    "$compiler" -std="$standard" -Wall -Wextra -Wpedantic -Werror -S -o /dev/null "-I$include" "$@" "$file" 2>"$work/said"
}

for call in 'hostcrst_create(0)' 'hostcrst_create_with_spin_count(0, 0)' 'hostcrst_enter(1, 0)' \
    'hostcrst_enter_timeout(1, 0, 0)' 'hostcrst_enter_at(1, 0, 0, 0)' 'hostcrst_try_enter(1, 0, 0)' 'hostcrst_recover(1)' \
    'host_resource_create(0)' 'host_resource_wait(1, 0)' 'host_resource_wait_at(1, 0, 0)'; do
    printf '#include <hostcrst.h>\nvoid drop(void);\nvoid drop(void) { %s; }\n' "$call" | tee "$work/drop.c" >"$work/drop.cpp"
    for way in "gcc c99 c" "gcc c2x c" "clang c11 c" "clang c2x c" "g++ c++11 cpp" "g++ c++17 cpp" "clang++ c++20 cpp"; do
        # shellcheck disable=SC2086 # three words
        set -- $way
        ! compiles "$1" "$2" "$work/drop.$3" || fail "the result of $call may be dropped ($way)"
        grep -q "unused-result\|unused-value" "$work/said" || fail "$call ($way): $(cat "$work/said")"
        compiles "$1" "$2" "$work/drop.$3" -DHOSTCRST_NODISCARD= || fail "$call ($way): $(cat "$work/said")"
    done
done

# What ends a program's own work may be dropped.
printf '#include <hostcrst.h>\nvoid end(void);\nvoid end(void) { hostcrst_leave(1); hostcrst_destroy(1); host_report(2, 0); }\n' \
    >"$work/end.c"
compiles gcc c99 "$work/end.c" || fail "$(cat "$work/said")"

cat >"$work/throwing.cpp" <<'CPP'
#include <hostcrst.h>
static_assert(noexcept(hostcrst_leave(1)), "");
static_assert(noexcept(host_runtime_start()), "");
static_assert(noexcept(host_task_layers(0, nullptr, 0, nullptr)), "");
static_assert(!noexcept(hostcrst_enter(1, 0)), "it calls the program's callback");
static_assert(!noexcept(hostcrst_enter_timeout(1, 0, 0)), "it calls the program's callback");
static_assert(!noexcept(hostcrst_enter_at(1, 0, 0, nullptr)), "it calls the program's callback");
static_assert(!noexcept(host_resource_wait(1, 0)), "it calls the program's callback");
static_assert(!noexcept(host_resource_wait_at(1, 0, nullptr)), "it calls the program's callback");
CPP
for compiler in g++ clang++; do
    compiles $compiler c++11 "$work/throwing.cpp" || fail "$(cat "$work/said")"
done
