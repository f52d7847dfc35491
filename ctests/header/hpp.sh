#!/bin/sh
# hpp.sh <include directory> <libhostcrst.so>: hostcrst.hpp compiles without a warning as each standard, with exceptions
# and without; clang's thread-safety analysis finds what is wrong, and only that.
set -eu
. "$(dirname "$0")/../need.sh"
include=$1
library=$2
tests=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "hpp.sh: $*" >&2
    exit 1
}

need g++ g++
need clang++ clang
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strict="-Wall -Wextra -Wpedantic -Wconversion -Wundef -Wshadow -Wold-style-cast -Wnon-virtual-dtor -Werror"

# shellcheck disable=SC2086 # options, to be split
compile() { # compile <compiler> <standard> <file> <option>...
    compiler=$1 standard=$2 file=$3
    shift 3
    "$compiler" -std="$standard" $strict "-I$include" "$file" "$@" >"$work/said" 2>&1
}

cat >"$work/without.cpp" <<'CPP'
#include <hostcrst.hpp>
#include <hostcrst.hpp>
#include <mutex>
int main()
{
    int32_t result = 0;
    hostcrst::critical_section section("without exceptions", result);
    if (result < 0 || section.enter() < 0 || section.leave() < 0) return 1;
    {
        std::lock_guard<hostcrst::critical_section> lock(section);
        hostcrst::native_call call(&main_is_not_called);
    }
    {
        hostcrst::native_call call(&main_is_not_called, result);
        if (result < 0) return 1;
    }
    hostcrst::check(section.enter(77), "asked for");
    return 0;
}
CPP
sed -i 's/^int main()$/static void main_is_not_called() {}\nint main()/' "$work/without.cpp"

for compiler in g++ clang++; do
    for standard in c++11 c++14 c++17 c++20 c++2b; do
        # The framework of the tests is C.
        compile $compiler $standard "$tests/wrapper.cpp" "-isystem$tests" -fsyntax-only -pthread -Wno-old-style-cast ||
            fail "$compiler $standard: $(cat "$work/said")"
        compile $compiler $standard "$work/without.cpp" -fsyntax-only -fno-exceptions -fno-rtti ||
            fail "$compiler $standard without exceptions: $(cat "$work/said")"
    done
    compile $compiler c++17 "$work/without.cpp" -fno-exceptions -fno-rtti -o "$work/without" "$library" ||
        fail "$(cat "$work/said")"
    ended=0
    (ulimit -c 0 && LD_LIBRARY_PATH=$(dirname "$library") exec "$work/without") >/dev/null 2>"$work/said" || ended=$?
    [ $ended -eq 134 ] || fail "without exceptions it ended with $ended, not by abort: $(cat "$work/said")"
    grep -q "^asked for: invalid argument" "$work/said" || fail "it does not say why it aborts: $(cat "$work/said")"
done

# The place of a wait is the function that waits, not one of the header's, also where nothing is inlined.
cat >"$work/places.cpp" <<'CPP'
#include <hostcrst.hpp>
#include <thread>
#include <unistd.h>
static hostcrst::critical_section section("section");
extern "C" {
void by_lock();
void by_guard();
void by_enter();
void by_limit();
void by_instant();
void by_lock() { section.lock(); }
void by_guard() { hostcrst::guard lock(section); }
void by_enter() { if (section.enter() < 0) std::abort(); }
void by_limit() { if (section.try_lock_for(std::chrono::hours(1))) section.unlock(); }
void by_instant() { if (section.try_lock_until(std::chrono::steady_clock::time_point::max())) section.unlock(); }
}
int main()
{
    section.lock();
    for (void (*waits)() : { by_lock, by_guard, by_enter, by_limit, by_instant }) std::thread(waits).detach();
    while (section.info().waiters < 5) std::this_thread::yield();
    std::fputs(hostcrst::report().c_str(), stdout);
    std::fflush(stdout);
    _exit(0);
}
CPP
for compiler in g++ clang++; do
    for level in -O0 -O2; do
        compile $compiler c++17 "$work/places.cpp" $level -fno-inline -o "$work/places" "$library" -pthread ||
            fail "$(cat "$work/said")"
        LD_LIBRARY_PATH=$(dirname "$library") timeout 60 "$work/places" >"$work/report" || fail "no report of places"
        for function in by_lock by_guard by_enter by_limit by_instant; do
            grep -q "waiting to enter .* at places!$function+" "$work/report" ||
                fail "$compiler $level: $function is no place in: $(grep "waiting to enter" "$work/report")"
        done
    done
done

# What has no name ends at once: told from C++17 on.
printf '#include <hostcrst.hpp>\nvoid f();\nvoid f() { hostcrst::native_call(1); }\n' >"$work/unnamed.cpp"
! compile clang++ c++17 "$work/unnamed.cpp" -fsyntax-only || fail "a scope without a name is accepted"

# Guarded data: touched under the section, and touched without.
analyse() { # analyse <statement>
    cat >"$work/analysed.cpp" <<CPP
#include <hostcrst.hpp>
extern hostcrst::critical_section section;
extern int guarded __attribute__((guarded_by(section)));
void f();
void f() { $1 }
CPP
    compile clang++ c++17 "$work/analysed.cpp" -fsyntax-only -Wthread-safety
}

for good in 'hostcrst::guard lock(section); guarded = 1;' 'section.lock(); guarded = 1; section.unlock();' \
    'if (section.try_lock()) { guarded = 1; section.unlock(); }' \
    'if (section.try_lock_for(std::chrono::seconds(1))) { guarded = 1; section.unlock(); }'; do
    analyse "$good" || fail "clang complains of: $good $(cat "$work/said")"
done
for bad in 'guarded = 1;' 'section.lock(); guarded = 1;' 'section.unlock();' 'section.try_lock(); guarded = 1;' \
    '{ hostcrst::guard lock(section); } guarded = 1;'; do
    ! analyse "$bad" || fail "clang accepts: $bad"
    grep -q "Wthread-safety" "$work/said" || fail "clang says something else of: $bad $(cat "$work/said")"
done
