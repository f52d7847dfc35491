#!/bin/bash
# Real .NET programs with the library as their profiler; LIBRARY, DUMP, WORK and CACHE come from CMake.
#
# clr.sh build              compiles the programs of examples/dotnet and dotnet/
# clr.sh demo VERSION       Demo.cs on that runtime: it checks itself, and the report at exit shows no anomaly
# clr.sh deadlock VERSION   Deadlock.cs: one thread is refused and it goes on
# clr.sh hang VERSION       Deadlock.cs with HOSTCRST_ON_DEADLOCK=report: hostcrst-dump explains the hung process
# clr.sh hang_core VERSION  and a core of it
# clr.sh names VERSION      with a map for perf: hostcrst-dump names the methods on the stacks of the hung process
# clr.sh calls VERSION      Calls.cs: no call of native code goes unreported, through pointers and in optimised code neither
# clr.sh locks VERSION      Deadlock.cs without transitions: the deadlock is broken and explained all the same
# clr.sh beside VERSION     Demo.cs with a second profiler in the process
# clr.sh endings VERSION    Endings.cs: a report of each ending and on request; the exit code is that of a run without library
set -eu -o pipefail
cd "$(dirname "$0")/../.."
. scripts/common.sh
. ctests/deadlock/expect.sh

run() { # run <file for its output> <program> <argument>...: it must end well, and leave no anomaly behind
    local log=$1
    shift
    HOSTCRST_REPORT=stderr timeout 100 "${hosted[@]}" "$@" >"$log" 2>&1 || fail "exit code $?" "$log"
    expect "$log" " 0 transition anomalies"
}

build() {
    require cc=gcc mono=mono-runtime
    local mcs source=ctests/deadlock/dotnet
    mcs=$(scripts/dotnet-runtime mcs)
    build_examples "$WORK" "$LIBRARY" "$mcs"
    cc -std=c99 -O2 -fPIC -shared -Wall -Wextra -o "$WORK/libgate.so" $source/gate.c -lpthread
    "$mcs" -out:"$WORK/Emit.exe" $source/Emit.cs
    mono "$WORK/Emit.exe" "$WORK"
    "$mcs" -target:library -out:"$WORK/Hook.dll" $source/Hook.cs
    cc -std=c99 -O2 -fPIC -shared -Wall -Wextra -o "$WORK/libempty_profiler.so" benches/dotnet/empty_profiler.c
    build_for_core "$mcs" Calls -r:"$WORK/Pointers.dll"
    build_for_core "$mcs" Endings
}

build_for_core() { # build_for_core <mcs> <program> <argument>...: with what .NET has and Mono has not
    local mcs=$1 program=$2 folder library references=()
    shift 2
    folder=$(dirname "$(runtime 3.1)")/shared/Microsoft.NETCore.App/3.1.23
    for library in mscorlib System.Private.CoreLib System.{Runtime,Console,Threading,Threading.Thread} \
        System.Runtime.InteropServices; do
        references+=(-r:"$folder/$library.dll")
    done
    "$mcs" -nostdlib -noconfig "${references[@]}" "$@" -out:"$WORK/$program.dll" "ctests/deadlock/dotnet/$program.cs"
    cp examples/dotnet/Demo.runtimeconfig.json "$WORK/$program.runtimeconfig.json"
}

demo() {
    started "$1" Demo
    run "$WORK/$name.log" "${program[@]}"
    expect "$WORK/$name.log" "1\. LeaveRuntime " "2\. ReverseEnterRuntime " "3\. LeaveRuntime " "No deadlock among " \
        "4\. EnterRuntime " "5\. ReverseLeaveRuntime " "6\. EnterRuntime " "All as it should be\."
}

deadlock() {
    started "$1" Deadlock
    run "$WORK/$name.log" "${program[@]}"
    expect "$WORK/$name.log" ": refused (deadlock: " ": has both" ": has both" "A deadlock of 2 tasks was broken" \
        "Order that led here:" "\*\*\* DEADLOCK" "Victim: " "One thread was refused, once; both have done their work\."
}

begin_to_hang() { # begin_to_hang <version>: $hung is its process, $shown what hostcrst-dump says of it
    started "$1" Deadlock
    HOSTCRST_ON_DEADLOCK=report HOSTCRST_HOLDS=1 "${hosted[@]}" "${program[@]}" \
        >"$WORK/$name.log" 2>&1 &
    hung=$!
    shown=$WORK/$name.dump
    trap 'kill -9 $hung 2>/dev/null || true' EXIT
    await_deadlock "$DUMP" "$hung" "$shown"
}

expect_explained() { # expect_explained <file>: both threads, their layers, the cycle
    expect "$1" 'Found 1 deadlock\.' '^"seller" tid=' 'waiting to enter 0x[0-9a-f]* "stock" at ' \
        'which is owned by "storekeeper" tid=' 'owns 0x[0-9a-f]* "orders" recursion=1, entered at ' \
        '\[2\] native   hostcrst!hostcrst_enter (HostCrst\.hostcrst_enter)$' '\[1\] managed  C+Comparer\.Invoke$' \
        '\[0\] native   libc!qsort (C\.qsort)$' '\[-\] managed  (the thread began here)$' \
        '^Found a deadlock:' '\*\*\* DEADLOCK' '^Found 1 deadlock\.'
    expect "$1" '^"storekeeper" tid=' 'waiting to enter 0x[0-9a-f]* "orders" at ' 'which is owned by "seller" tid=' \
        'owns 0x[0-9a-f]* "stock" recursion=1, entered at ' \
        '\[0\] native   hostcrst!hostcrst_enter (HostCrst\.hostcrst_enter)$' '^Found a deadlock:' \
        'Order that led here:' 'enters "' 'enters "' 'waits for "' 'waits for "'
}

hang() {
    begin_to_hang "$1"
    expect_explained "$shown"
    # Its own report is written after the deadlock can be seen.
    local deadline=$((SECONDS + 30))
    until grep -q '^Found 1 deadlock\.' "$WORK/$name.log" && grep -q '\*\*\* DEADLOCK' "$WORK/$name.log"; do
        [ $SECONDS -lt $deadline ] || fail "it reports no deadlock" "$WORK/$name.log"
        sleep 0.1
    done
    kill -0 "$hung" || fail "it did not stay hung" "$WORK/$name.log"
    ! grep -q "has both" "$WORK/$name.log" || fail "it went on" "$WORK/$name.log"
}

names() {
    # Runtimes before .NET 6 know only the older prefix.
    export DOTNET_PerfMapEnabled=1 COMPlus_PerfMapEnabled=1
    begin_to_hang "$1"
    rm -f "/tmp/perf-$hung.map" "/tmp/perfinfo-$hung.map"
    expect "$shown" '^"seller" tid=.* \[blocked' 'at Deadlock\.TakeBoth(.*)+0x' 'at libc.*!qsort' 'at Deadlock\.Sell()+0x'
    expect "$shown" '^"storekeeper" tid=.* \[blocked' 'at Deadlock\.TakeBoth(.*)+0x'
}

hang_core() {
    require gcore=gdb
    begin_to_hang "$1"
    local core=$WORK/core.$hung result=0
    gcore -o "$WORK/core" "$hung" >"$WORK/$name.gcore" 2>&1 || fail "no core" "$WORK/$name.gcore"
    "$DUMP" "$core" >"$shown.core" || result=$?
    rm -f "$core"
    [ "$result" -eq 2 ] || fail "exit code $result for the core" "$shown.core"
    expect_explained "$shown.core"
}

calls() {
    local call
    started "$1" Calls
    # Runtimes before .NET 6 know only the older prefix.
    run "$WORK/$name.log" env DOTNET_TieredCompilation=0 COMPlus_TieredCompilation=0 "${program[@]}"
    for call in CdeclApart CdeclAndMore StdCallApart StdCallAndMore Import; do
        grep -q "^\"$call\" tid=.* \[unmanaged\]$" "$WORK/$name.log" || fail "$call is not in native code" "$WORK/$name.log"
    done
}

locks() {
    started "$1" Deadlock
    run "$WORK/$name.log" env HOSTCRST_CLR=locks "${program[@]}"
    expect "$WORK/$name.log" ": refused (deadlock: " ": has both" ": has both" "A deadlock of 2 tasks was broken" \
        "Order that led here:" "\*\*\* DEADLOCK" "Victim: " \
        "One thread was refused, once; both have done their work\."
    expect "$WORK/$name.log" "^Not examined: locks of managed code" "^\"main\" tid=.*\[no transitions yet\]$"
    ! grep -q "layers, newest first" "$WORK/$name.log" || fail "a transition was reported" "$WORK/$name.log"
}

beside() {
    local loaded=$WORK/$name.loaded
    rm -f "$loaded"
    started "$1" Demo
    run "$WORK/$name.log" env EMPTY_PROFILER="$loaded" CORECLR_ENABLE_NOTIFICATION_PROFILERS=1 \
        CORECLR_NOTIFICATION_PROFILERS="$WORK/libempty_profiler.so={0ddba11c-0de5-4c5a-9d3f-6c7273740002};" "${program[@]}"
    expect "$WORK/$name.log" "All as it should be\."
    [ -e "$loaded" ] || fail "the second profiler was not loaded" "$WORK/$name.log"
}

endings() {
    local ending expected heading preloaded
    started "$1" Endings
    # .NET 5 and later end by a signal that they have taken out of this library's hands, unless it was loaded first.
    preloaded=(env LD_PRELOAD="$WORK/libhostcrst.so" HOSTCRST_REPORT=stderr HOSTCRST_REPORT_SIGNAL=USR2)
    for ending in exception exception-in-thread failfast abort term request; do
        case $ending in
        term) heading="report at SIGTERM" ;;
        request) heading="report at SIGUSR2" ;;
        *) heading="report at SIGABRT" ;;
        esac
        # What nobody listens to, ends it.
        expected=5
        [ "$ending" = request ] || { end_by "$ending" "$WORK/$name.$ending.alone" "${program[@]}" && expected=$status; }
        end_by "$ending" "$WORK/$name.$ending" "${hosted[@]}" "${preloaded[@]}" "${program[@]}"
        [ "$status" -eq "$expected" ] || fail "$ending: exit code $status, not $expected" "$WORK/$name.$ending"
        expect "$WORK/$name.$ending" "^hostcrst: $heading" '^"worker" tid=.* \[unmanaged\]$'
    done
    for ending in abort term; do
        end_by "$ending" "$WORK/$name.$ending.late" "${hosted[@]}" HOSTCRST_REPORT=stderr "${program[@]}"
        expect "$WORK/$name.$ending.late" "^hostcrst: report at SIG" '^"worker" tid=.* \[unmanaged\]$'
    done
}

end_by() { # end_by <ending> <file for its output> <command>...: $status is its exit code
    local ending=$1 log=$2
    shift 2
    status=0
    (
        ulimit -c 0
        ENDING=$ending DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 exec timeout -v 100 "$@"
    ) >"$log" 2>&1 || status=$?
    ! grep -q "timeout: sending signal" "$log" || fail "$ending: it does not end" "$log"
}

name=$1${2+-$2}
mkdir -p "$WORK"
[ "$1" = build ] || host_with "$WORK/libhostcrst.so"
"$@"
