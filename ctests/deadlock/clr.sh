#!/bin/bash
# Real .NET programs with the library as their profiler; LIBRARY, DUMP, WORK and CACHE come from CMake.
#
# clr.sh build              compiles the programs of examples/dotnet and dotnet/
# clr.sh build_musl         what of them is native, and the library, for 10-musl: a .NET 10 program for Alpine
# clr.sh demo VERSION       Demo.cs on that runtime: it checks itself, and the report at exit shows no anomaly
# clr.sh deadlock VERSION   Deadlock.cs: one thread is refused and it goes on
# clr.sh hang VERSION       Deadlock.cs with HOSTCRST_ON_DEADLOCK=report: hostcrst-dump explains the hung process
# clr.sh hang_core VERSION  and a core of it
# clr.sh names VERSION      with a map for perf: hostcrst-dump names the methods on the stacks of the hung process
# clr.sh calls VERSION      Calls.cs: no call of native code goes unreported, through pointers and in optimised code neither
# clr.sh callbacks VERSION  Callbacks.cs: callbacks of native code and its threads have their names
# clr.sh locks VERSION      Deadlock.cs without transitions: the deadlock is broken and explained all the same
# clr.sh beside VERSION     with another profiler in the process: as one that listens, and as the main one
# clr.sh endings VERSION    Endings.cs: a report of each ending and on request; the exit code is that of a run without library
# clr.sh waits VERSION      Hangs.cs: deadlocks of C# locks, with sections and native mutexes too, from inside and outside
# clr.sh waits_core VERSION and cores of them
# clr.sh told VERSION      Hangs.cs: what is told unasked
# clr.sh contend VERSION   Contend.cs: contended C# locks, with a workstation's and a server's collector; CONTEND_WAITS many
# clr.sh collects VERSION   Collects.cs: threads that a collection holds on their way back from waits for C# locks wait for none
# clr.sh states VERSION     Hangs.cs: what is no deadlock, though threads hang: each in its true state
# clr.sh lines VERSION      Hangs.cs compiled by Roslyn: hostcrst-dump shows file and line where the PDB of the program is
set -eu -o pipefail
cd "$(dirname "$0")/../.."
. scripts/common.sh
. ctests/deadlock/expect.sh
. ctests/deadlock/compiler.sh

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
    "$mcs" -target:library -out:"$WORK/Imports.dll" $source/Imports.cs
    build_for_core "$mcs" Calls -r:"$WORK/Pointers.dll" -r:"$WORK/Imports.dll"
    build_for_core "$mcs" Callbacks
    build_for_core "$mcs" Endings
    build_for_core "$mcs" Hangs
    build_for_core "$mcs" Contend
    build_for_core "$mcs" Collects
}

build_musl() {
    rm -rf "$WORK/musl"
    build_musl_library "$WORK/library" || { echo "not run: $missing"; exit 77; }
    local gcc=(musl-gcc -std=c99 -O2 -fPIC -shared -Wall -Wextra)
    CC=musl-gcc build_example_libraries "$WORK/musl" "$WORK/library/libhostcrst.so"
    "${gcc[@]}" -o "$WORK/musl/libgate.so" ctests/deadlock/dotnet/gate.c -lpthread
    "${gcc[@]}" -o "$WORK/musl/libadded.so" ctests/deadlock/dotnet/added.c
    cp "$WORK"/*.dll "$WORK/musl"
}

build_for_core() { # build_for_core <mcs> <program> <argument>...: with what .NET has and Mono has not
    local mcs=$1 program=$2 folder library references=()
    shift 2
    folder=$(dirname "$(runtime 3.1)")/shared/Microsoft.NETCore.App/3.1.23
    for library in mscorlib System.Private.CoreLib System.{Runtime,Runtime.Extensions,Console,Threading,Threading.Thread} \
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
        "Order that led here:" "waits for .* at Deadlock\.TakeBoth(…)+0x" "\*\*\* DEADLOCK" "Victim: " "One thread was refused, once; both have done their work\."
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

expect_explained() { # expect_explained <file> <version>: both threads, their layers, the cycle
    local comparer='Deadlock\..* (C+Comparer\.Invoke)'
    [ "$2" != 3.1 ] || comparer='C+Comparer\.Invoke'
    expect "$1" 'Found 1 deadlock\.' '^"seller" tid=' 'waiting to enter 0x[0-9a-f]* "stock" at Deadlock\.TakeBoth(…)+0x' \
        'which is owned by "storekeeper" tid=' 'owns 0x[0-9a-f]* "orders" recursion=1, entered at Deadlock\.TakeBoth(…)+0x' \
        '\[2\] native   hostcrst!hostcrst_enter (HostCrst\.hostcrst_enter)$' "\[1\] managed  $comparer$" \
        '\[0\] native   libc!qsort (C\.qsort)$' '\[-\] managed  (the thread began here)$' \
        '^Found a deadlock:' '\*\*\* DEADLOCK' '^Found 1 deadlock\.'
    expect "$1" '^"storekeeper" tid=' 'waiting to enter 0x[0-9a-f]* "orders" at Deadlock\.TakeBoth(…)+0x' \
        'which is owned by "seller" tid=' 'owns 0x[0-9a-f]* "stock" recursion=1, entered at Deadlock\.TakeBoth(…)+0x' \
        '\[0\] native   hostcrst!hostcrst_enter (HostCrst\.hostcrst_enter)$' '^Found a deadlock:' \
        'Order that led here:' 'enters "' 'enters "' 'waits for "' 'waits for "'
    # musl has no unwind information: a stack ends where a thread waits.
    [ "$2" != 10-musl ] || return 0
    # Of what waits the library has kept the names, stub by stub of the CLR's between them.
    expect "$1" '^"seller" tid=.* \[\(blocked\|running\)' 'at libhostcrst.*!' 'at Deadlock\.TakeBoth(…)+0x' 'at libc.*!qsort' \
        'at Deadlock\.Sell()+0x'
    expect "$1" '^"storekeeper" tid=.* \[\(blocked\|running\)' 'at Deadlock\.TakeBoth(…)+0x' 'at Deadlock\.Deliver()+0x'
}

hang() {
    begin_to_hang "$1"
    expect_explained "$shown" "$1"
    # Its own report is written after the deadlock can be seen.
    local deadline=$((SECONDS + 60))
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
    expect "$shown" '^"seller" tid=.* \[\(blocked\|running\)' 'at Deadlock\.TakeBoth(.*)+0x' 'at libc.*!qsort' 'at Deadlock\.Sell()+0x'
    expect "$shown" '^"storekeeper" tid=.* \[\(blocked\|running\)' 'at Deadlock\.TakeBoth(.*)+0x'
}

hang_core() {
    require gcore=gdb
    begin_to_hang "$1"
    local core=$WORK/core.$hung result=0
    gcore -o "$WORK/core" "$hung" >"$WORK/$name.gcore" 2>&1 || fail "no core" "$WORK/$name.gcore"
    "$DUMP" "$core" >"$shown.core" || result=$?
    rm -f "$core"
    [ "$result" -eq 2 ] || fail "exit code $result for the core" "$shown.core"
    expect_explained "$shown.core" "$1"
}

expect_native_calls() { # expect_native_calls <file>: each thread of Calls.cs is in native code
    local call
    for call in CdeclApart CdeclAndMore StdCallApart StdCallAndMore Import ImportWrapped ImportsWrapped \
        ForeignImport NestedImport; do
        grep -q "^\"$call\" tid=.* \[unmanaged\]$" "$1" || fail "$call is not in native code" "$1"
    done
}

calls() {
    local call
    started "$1" Calls
    # Runtimes before .NET 6 know only the older prefix.
    run "$WORK/$name.log" env DOTNET_TieredCompilation=0 COMPlus_TieredCompilation=0 "${program[@]}"
    expect_native_calls "$WORK/$name.log"
    expect "$WORK/$name.log" '^"CdeclApart" tid=' '\[0\] native   through a function pointer$'
    # From outside, the stack says where to.
    begin_hang "$1" hang "" Calls
    expect_code 0 "$log.dump" --stacks "$hung"
    expect_native_calls "$log.dump"
    for call in CdeclApart StdCallAndMore; do
        expect "$log.dump" "^\"$call\" tid=" '\[0\] native   libgate\.so!gate (through a function pointer)$'
    done
    end_hang
}

callbacks() {
    local of='(Callbacks+Visit\.Invoke)$' top='\[2\] native   hostcrst!host_report (Callbacks\.host_report)$'
    started "$1" Callbacks
    # A name is looked for if that does not take too much of a thread's time, and the machine may be slow.
    run "$WORK/$name.log" "${program[@]}"
    expect "$WORK/$name.log" '^--- static$' "$top" "\[1\] managed  Callbacks\.Buy $of" '\[0\] native   gate!gate_call (' \
        '^--- instance$' "$top" "\[1\] managed  Callbacks+Till\.Sell $of" '^--- initializer$' "$top" "\[1\] managed  Callbacks\.Initialize $of" \
        '^--- reflection$' "$top" "\[1\] managed  Callbacks\.Reflect $of" \
        '^--- nested$' '\[4\] native   hostcrst!' "\[3\] managed  Callbacks\.Buy $of" '\[2\] native   gate!gate_call (' \
        "\[1\] managed  Callbacks\.Nest $of" \
        '^--- jump$' '\[1\] managed  Callbacks+Visit\.Invoke$' '^--- jump and initializer$' '\[1\] managed  Callbacks+Visit\.Invoke$' \
        '^--- thread$' '^"[^"]* (libgate\.so)" tid=.*\[unmanaged\]$' "\[0\] managed  Callbacks\.Buy $of" \
        '^--- named thread$' '^"painter (libgate\.so)" tid=' "\[0\] managed  Callbacks\.Buy $of" \
        '^--- renamed thread$' '^"clerk" tid='
    ! grep '^"[^"]* (.*)" tid=' "$WORK/$name.log" | grep -v '^"[^"]* (libgate\.so)" tid=' ||
        fail "a thread of the CLR's is taken for a library's" "$WORK/$name.log"
}

locks() {
    started "$1" Deadlock
    run "$WORK/$name.log" env HOSTCRST_CLR=locks "${program[@]}"
    expect "$WORK/$name.log" ": refused (deadlock: " ": has both" ": has both" "A deadlock of 2 tasks was broken" \
        "Order that led here:" "waits for .* at Deadlock\.TakeBoth(…)+0x" "\*\*\* DEADLOCK" "Victim: " \
        "One thread was refused, once; both have done their work\."
    # Before .NET 5 the CLR does not tell of its own.
    if [ "$1" = 3.1 ]; then
        expect "$WORK/$name.log" "^Not examined: locks of managed code"
    else
        ! grep "^Not examined" "$WORK/$name.log" || fail "locks of managed code are not examined" "$WORK/$name.log"
    fi
    expect "$WORK/$name.log" "^\"main\" tid=.*\[no transitions yet\]$"
    ! grep -q "layers, newest first" "$WORK/$name.log" || fail "a transition was reported" "$WORK/$name.log"
}

beside() {
    local loaded=$WORK/$name.loaded call
    local own='{0ddba11c-0de5-4c5a-9d3f-6c7273740001}' other='{0ddba11c-0de5-4c5a-9d3f-6c7273740002}'
    local with_main=(env EMPTY_PROFILER="$loaded" EMPTY_PROFILER_IS_MAIN=1 CORECLR_PROFILER="$other"
        CORECLR_PROFILER_PATH="$WORK/libempty_profiler.so" CORECLR_ENABLE_NOTIFICATION_PROFILERS=1
        CORECLR_NOTIFICATION_PROFILERS="$WORK/libhostcrst.so=$own;")
    rm -f "$loaded"
    started "$1" Demo
    run "$WORK/$name.log" env EMPTY_PROFILER="$loaded" CORECLR_ENABLE_NOTIFICATION_PROFILERS=1 \
        CORECLR_NOTIFICATION_PROFILERS="$WORK/libempty_profiler.so=$other;" "${program[@]}"
    expect "$WORK/$name.log" "All as it should be\."
    [ -e "$loaded" ] || fail "the second profiler was not loaded" "$WORK/$name.log"
    rm -f "$loaded"
    run "$WORK/$name.log" "${with_main[@]}" "${program[@]}"
    expect "$WORK/$name.log" "All as it should be\."
    [ -e "$loaded" ] || fail "the main profiler was not loaded" "$WORK/$name.log"
    # What it asks of the JIT is done too, and locks of managed code are told of.
    started "$1" Calls
    run "$WORK/$name.calls.log" "${with_main[@]}" DOTNET_TieredCompilation=0 "${program[@]}"
    expect_native_calls "$WORK/$name.calls.log"
    hosted+=("${with_main[@]}")
    # Beside a main profiler the CLR is not asked for types.
    local of_object='' of_till=''
    for call in "" HOSTCRST_CLR=locks; do
        begin_hang "$1" monitors+ "$call"
        expect_waits monitors "$log"
        expect_code 2 "$log.dump" "$hung"
        expect_waits monitors "$log.dump"
        end_hang
    done
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
        expect "$WORK/$name.$ending" "^hostcrst: $heading" '^"worker" tid=.* \[unmanaged\]$' ' threads of this process:$'
        expect "$WORK/$name.$ending" '^"worker" tid=.* \[blocked in futex\]$'
        expect "$WORK/$name.$ending" '^"spinner" tid=.* \[running or ready to run\]$'
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

begin_hang() { # begin_hang <version> <case> [setting] [program]: $hung is its process once each of its threads hangs, $log what it has written
    log=$WORK/$name-$2.log
    started "$1" "${4-Hangs}" "$2"
    : >"$log"
    coproc HANGING { exec "${hosted[@]}" ${3:+"$3"} "${program[@]}" >"$log" 2>&1; }
    # shellcheck disable=SC2153 # of coproc
    hung=$HANGING_PID
    trap 'kill -9 $hung 2>/dev/null || true' EXIT
    local deadline=$((SECONDS + 60))
    until grep -q '^hung$' "$log"; do
        kill -0 "$hung" && [ $SECONDS -lt $deadline ] || fail "it does not hang" "$log"
        sleep 0.1
    done
}

end_hang() {
    kill -9 "$hung"
    wait "$hung" 2>/dev/null || true
    trap - EXIT
}

# A C# lock in a report; some stand in memory that has a name.
lock='C# lock 0x[0-9a-f]*\( \[heap\]+0x[0-9a-f]*\)\{0,1\}'

# In each report a thread is shown by itself, and then in its cycle. Who waits for a section looks for deadlocks now and then.
waits_of() { # waits_of <file> <thread> <what it waits for> <owner>
    local state='\[\(blocked in futex\|running or ready to run\)\]'
    expect "$1" '^[0-9]* threads of this process' "^\"$2\" tid=.*$state$" "^   waiting $3" \
        "^      which is owned by \"$4\" tid=" '^Found a deadlock:$' "^\"$2\" tid=[0-9]*:$" "^   waiting $3" \
        "^      which is owned by \"$4\" tid=" '^Found 1 deadlock through locks of other kinds\.$'
}

expect_waits() { # expect_waits <case> <file>
    local monitor="for $lock${of_object- (System\.Object)}" till="for $lock${of_till- (Hangs+Till)}"
    case $1 in
    monitors)
        waits_of "$2" "A then B" "$till" "B then A"
        waits_of "$2" "B then A" "$monitor" "A then B"
        ;;
    locks)
        waits_of "$2" "A then B" 'for System\.Threading\.Lock number [0-9]*' "B then A"
        waits_of "$2" "B then A" 'for System\.Threading\.Lock number [0-9]*' "A then B"
        ;;
    mixed)
        waits_of "$2" "lock then section" 'to enter section 0x[0-9a-f]* "section"' "section then lock"
        waits_of "$2" "section then lock" "$monitor" "lock then section"
        expect "$2" '^"lock then section" tid=' 'waiting to enter 0x[0-9a-f]* "section" at Hangs+In`1\.Enter(…)+0x'
        ;;
    native)
        waits_of "$2" "M then N" 'for mutex 0x' "N then M"
        waits_of "$2" "N then M" 'for mutex 0x' "M then N"
        ! grep "Thread.Interrupt" "$2" || fail "it cannot be interrupted" "$2"
        return
        ;;
    esac
    expect "$2" '^Found a deadlock:$' '^It may end by itself yet: a wait for a C# lock ends .*(Thread\.Interrupt)\.$'
}

hangs_of() { # hangs_of <version>: the cases in which it can hang
    echo monitors mixed
    # Mutexes of musl are not examined.
    [ "$1" = 10-musl ] || echo native
    # A System.Threading.Lock.
    [ "${1%-musl}" != 10 ] || echo locks
}

expect_code() { # expect_code <code> <file for its output> <argument of hostcrst-dump>...
    local code=$1 shown=$2 result=0
    shift 2
    "$DUMP" "$@" >"$shown" || result=$?
    [ $result -eq "$code" ] || fail "exit code $result for $*" "$shown"
}

waits() {
    local how
    for how in $(hangs_of "$1"); do
        begin_hang "$1" $how+
        [ $how = mixed ] || expect_waits $how "$log"
        expect_code 2 "$log.dump" "$hung"
        expect_waits $how "$log.dump"
        end_hang
    done
}

waits_core() {
    require gcore=gdb
    local how core
    for how in $(hangs_of "$1"); do
        begin_hang "$1" $how
        core=$WORK/core.$hung
        gcore -o "$WORK/core" "$hung" >"$log.gcore" 2>&1 || fail "no core" "$log.gcore"
        expect_code 2 "$log.dump" "$core"
        rm -f "$core"
        expect_waits $how "$log.dump"
        if [ "$1" = 8 ]; then
            create_dump "$core"
            expect_code 2 "$log.dump" "$core"
            rm -f "$core"
            expect_waits $how "$log.dump"
        fi
        end_hang
    done
}

create_dump() { # create_dump <file>: the runtime's own dump of $hung, with all of its memory
    local folder
    folder=$(echo "$(dirname "$(runtime 8)")"/shared/Microsoft.NETCore.App/8.*)
    cp "$folder/createdump" "$WORK/createdump"
    chmod +x "$WORK/createdump"
    local attempt
    for attempt in 1 2 3 4 5; do
        # It fails if a thread of the runtime ends meanwhile.
        ! LD_LIBRARY_PATH=$folder "$WORK/createdump" --full -f "$1" "$hung" >"$log.createdump.$attempt" 2>&1 || return 0
    done
    fail "no dump" "$log.createdump.$attempt"
}

await_told() { # await_told <pattern>: until the hung process has written such a line
    local deadline=$((SECONDS + 60))
    until grep -q "$1" "$log"; do
        kill -0 "$hung" && [ $SECONDS -lt $deadline ] || fail "it does not tell: $1" "$log"
        sleep 0.1
    done
}

told() {
    local how=monitors
    [ "$1" != 10 ] || how=locks
    begin_hang "$1" $how
    await_told '^Found 1 deadlock through locks of other kinds\.$'
    expect_waits $how "$log"
    # It is told once, however often it is looked at.
    expect_code 2 "$log.dump" "$hung"
    [ "$(grep -c '^Found a deadlock:$' "$log")" -eq 1 ] || fail "it is told again" "$log"
    end_hang
    for how in abandoned outlived; do
        begin_hang "$1" $how
        await_told '^hostcrst: "waits for the dead" tid=[0-9]* waits for '"$lock"' (System\.Object), which is abandoned: its owner has ended$'
        expect_code 0 "$log.dump" "$hung"
        expect "$log.dump" '^   waiting for '"$lock"' (System\.Object)$' '^      which is abandoned: its owner has ended$'
        end_hang
    done
    # A lock is told once, whoever waits for it, and hides no deadlock; one report has all deadlocks.
    begin_hang "$1" crowd
    await_told '^Found 20 deadlocks through locks of other kinds\.$'
    await_told '^hostcrst: "waits for the dead" tid=.* which is abandoned: its owner has ended$'
    await_look
    [ "$(grep -c '^hostcrst: .* which is abandoned: its owner has ended$' "$log")" -eq 1 ] || fail "a lock is told more than once" "$log"
    [ "$(grep -c '^Found [0-9]* deadlocks* through locks of other kinds\.$' "$log")" -le 10 ] || fail "a report for each deadlock" "$log"
    expect_code 2 "$log.dump" "$hung"
    expect "$log.dump" '^Found 20 deadlocks through locks of other kinds\.$'
    end_hang
    if [ "$1" = 10 ]; then
        begin_hang 10 orphaned
        await_told '^hostcrst: "waits for the dead" tid=[0-9]* waits for System\.Threading\.Lock number [0-9]*, which is abandoned: its owner has ended$'
        expect_code 0 "$log.dump" "$hung"
        expect "$log.dump" '^"waits for the living" tid=' '^   waiting for System\.Threading\.Lock number [0-9]*$' \
            '^      which is owned by "main" tid='
        expect "$log.dump" '^"waits for the dead" tid=' '^   waiting for System\.Threading\.Lock number [0-9]*$' \
            '^      which is abandoned: its owner has ended$'
        end_hang
    fi
    local result=0
    log=$WORK/$name-abort.log
    started "$1" Hangs mixed
    coproc HANGING { ulimit -c 0 && HOSTCRST_ON_DEADLOCK=abort exec "${hosted[@]}" "${program[@]}" >"$log" 2>&1; }
    # shellcheck disable=SC2153 # of coproc
    wait "$HANGING_PID" || result=$?
    [ $result -eq 134 ] || fail "exit code $result" "$log"
    expect "$log" '^Found a deadlock:$' '^"section then lock" tid=' '^   waiting for C# lock 0x' '^"lock then section" tid=' \
        '^   waiting to enter section 0x[0-9a-f]* "section"$' '(Thread\.Interrupt)\.$'
}

contend() {
    local server
    local -A kinds=([0]=monitors [1]=monitors)
    [ "$1" != 10 ] || kinds[0]=locks
    for server in 0 1; do
        log=$WORK/$name-$server.log
        started "$1" Contend "${CONTEND_WAITS:-20000}" "${kinds[$server]}"
        HOSTCRST_CLR=locks DOTNET_gcServer=$server timeout 280 "${hosted[@]}" "${program[@]}" >"$log" 2>&1 ||
            fail "exit code $?" "$log"
        expect "$log" '^No deadlock among ' '^"worker 7" tid=.*\[' \
            '^interrupted [1-9][0-9]*, timed out [1-9][0-9]*, pulsed [1-9][0-9]*, died owning [1-9][0-9]*, of [1-9][0-9]* contended waits$'
        # Neither told while it ran nor seen when it had, and no wait is left.
        ! grep -i 'found a deadlock\|probably\|waiting for \(C# lock\|System\.Threading\.Lock\)' "$log" || fail "what is over is shown" "$log"
    done
}

await_look() { # until the library's own thread has looked once more
    local task before now=0 deadline=$((SECONDS + 60))
    for task in /proc/"$hung"/task/*; do
        [ "$(cat "$task/comm")" != hostcrst ] || break
    done
    before=$(awk '/^voluntary/ { print $2 }' "$task/status")
    # It sleeps before and after a look.
    until [ "$now" -ge $((before + 2)) ]; do
        kill -0 "$hung" && [ $SECONDS -lt $deadline ] || fail "it does not look" "$log"
        sleep 0.1
        now=$(awk '/^voluntary/ { print $2 }' "$task/status")
    done
}

collects() {
    local deadline=$((SECONDS + 60)) result=0
    # The CLR stops managed code to exchange some, too, and that may come before all is as it is to be.
    export DOTNET_TieredCompilation=0
    begin_hang "$1" all HOSTCRST_ON_DEADLOCK=abort Collects
    until expect_code 0 "$log.dump" "$hung" && ! grep -q '(with a time limit)$' < <(grep -A1 '^"[AB] then [AB]" tid=.*\[blocked' "$log.dump"); do
        [ $SECONDS -lt $deadline ] || fail "no limit passes" "$log.dump"
        sleep 0.1
    done
    ! grep '^Found a deadlock' "$log.dump" || fail "threads that are held are taken to wait" "$log.dump"
    await_look
    # From here on the coprocess may be over.
    echo >&"${HANGING[1]}"
    wait "$hung" || result=$?
    trap - EXIT
    [ $result -eq 0 ] || fail "exit code $result" "$log"
    expect "$log" '^hung$' '^gave up [12], got 8$'
    ! grep -i 'deadlock\|abandoned' "$log" || fail "it tells what is not so" "$log"
    # What stands is found all the same, between two collections of which the second begins as the first ends.
    begin_hang "$1" always "" Collects
    await_told '^Found a deadlock:$'
    await_told '^hostcrst: "waits for the dead" tid=.* which is abandoned: its owner has ended$'
    for _ in 1 2 3; do
        expect_code 2 "$log.dump" "$hung"
        expect "$log.dump" '^Found a deadlock:$' '^"[AB] then [AB]" tid='
        [ "$(grep -c '^      which is abandoned: its owner has ended$' "$log.dump")" -eq 10 ] || fail "ten are abandoned" "$log.dump"
    done
    end_hang
    # Nothing that was told before managed code ended is certain after it.
    begin_hang "$1" ended "" Collects
    expect_code 0 "$log.dump" "$hung"
    expect "$log.dump" '^Probably a deadlock:$' '^"[AB] then [AB]" tid='
    end_hang
}

states() {
    local shown
    begin_hang "$1" limited+
    ! grep '^Found a deadlock' "$log" || fail "what ends by itself is told" "$log"
    expect "$log" "^No deadlock among " '^"A then B" tid=.*\[blocked in futex\]$' \
        '^   waiting for '"$lock"' (Hangs+Till) (with a time limit)$' '^      which is owned by "B then A" tid='
    expect_code 0 "$log.dump" "$hung"
    end_hang
    log=$WORK/$name-handler.log
    started "$1" Hangs handler+
    timeout 100 "${hosted[@]}" "${program[@]}" >"$log" 2>&1 </dev/null || fail "exit code $?" "$log"
    expect "$log" '^No deadlock among ' '^hung$' '^No deadlock among ' '^Not examined: locks of managed code (Monitor, lock)\.$'
    ! grep '^Not examined' < <(sed '/^hung$/q' "$log") || fail "what is seen is said not to be" "$log"
    begin_hang "$1" interrupted+
    expect "$log" '^"was interrupted" tid=.*\[blocked in futex\]$' '^   waiting on condition variable'
    end_hang
    begin_hang "$1" abandoned+
    expect "$log" '^   waiting for '"$lock"' (System\.Object)$' '^      which is abandoned: its owner has ended$'
    expect_code 0 "$log.dump" "$hung"
    expect "$log.dump" '^   waiting for '"$lock"' (System\.Object)$' '^      which is abandoned: its owner has ended$'
    end_hang
    if [ "$1" = 10 ]; then
        begin_hang 10 barged+
        expect_code 0 "$log.dump" "$hung"
        for shown in "$log" "$log.dump"; do
            expect "$shown" '^"waits for a lock" tid=.*\[blocked in futex\]$' '^   waiting for System\.Threading\.Lock number [0-9]*$' \
                '^      which is owned by "barges" tid='
            expect "$shown" '^"gave up" tid=.*\[blocked in pause\]$'
        done
        end_hang
    fi
    begin_hang "$1" blocked+
    expect "$log" "^No deadlock among "
    expect_code 0 "$log.dump" --stacks "$hung"
    expect "$log.dump" '^"waits for a lock" tid=.*\[blocked in futex\]$' '^ *at Hangs+.*+0x' '^"'
    if [ "$1" = 10 ]; then
        expect "$log.dump" '^"waits for a pulse" tid=.*\[blocked in futex\]$' '^ *at System\.Threading\.Monitor\.Wait(…)+0x' '^ *at Hangs+'
        expect "$log.dump" '^"joins" tid=.*\[blocked in futex\]$' '^ *at System\.Threading\.Thread\.Join' '^ *at Hangs+'
    fi
    for shown in "$log" "$log.dump"; do
        expect "$shown" '^"holds a lock" tid=.*\[blocked in futex\]$'
        expect "$shown" '^"waits at once" tid=.*\[blocked in futex\]$' '^   waiting for '"$lock"' (System\.Object)$' \
            '^      which is owned by "main" tid='
        expect "$shown" '^"spins" tid=.*\[running or ready to run\]$'
        expect "$shown" '^"in native code" tid=.*\[unmanaged\]$'
        expect "$shown" '^"in native code" tid=.*\[blocked in pause\]$'
        expect "$shown" '^"waits for a lock" tid=.*\[blocked in futex\]$' '^   waiting for '"$lock"' (System\.Object)$' \
            '^      which is owned by "holds a lock" tid='
        expect "$shown" '^"waits for a pulse" tid=.*\[blocked in futex\]$' '^   waiting on condition variable'
        expect "$shown" '^"joins" tid=.*\[blocked in futex\]$' '^   waiting on condition variable'
    done
    end_hang
}

compile_with_lines() { # compile_with_lines <folder>: the program that hangs, with its PDB beside, inside, and compiled otherwise
    local kind programs=()
    for kind in "beside -portable" "inside -embedded" "other -portable OTHER"; do
        mkdir -p "$1/${kind%% *}"
        cp examples/dotnet/Demo.runtimeconfig.json "$1/${kind%% *}/Hangs.runtimeconfig.json"
        # shellcheck disable=SC2206 # words
        programs+=(${programs:+--} "$1/${kind%% *}/Hangs.dll" ctests/deadlock/dotnet/Hangs.cs ${kind#* })
    done
    DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 timeout 200 "$(runtime 8)" exec "$WORK/program-roslyn/Compile.dll" "$(libraries 8)" \
        "${programs[@]}" >"$1/log" 2>&1 || fail "it does not compile" "$1/log"
}

line_of() { # line_of <text>: its line in the program that hangs, where it stands once
    local found
    found=$(grep -nF "$1" ctests/deadlock/dotnet/Hangs.cs)
    echo "Hangs.cs:${found%%:*}"
}

expect_lines() { # expect_lines <argument of hostcrst-dump>: each place in the program has file and line
    local enter lambda crossed
    enter=$(line_of 'Library.hostcrst_enter(section, 0);')
    lambda=$(line_of '() => In<string>.Enter<object>(section)')
    crossed=$(line_of 'Begin(one, ')
    expect_code 2 "$log.dump" "$1"
    expect "$log.dump" "waiting to enter .* at Hangs+In\`1\.Enter(…)+0x[0-9a-f]* ($enter)\$" '^"lock then section" tid=.*\[' \
        "at Hangs+In\`1\.Enter(…)+0x[0-9a-f]* ($enter)\$" "at Hangs+.*+0x[0-9a-f]* ($lambda)\$" "at Hangs+.*+0x[0-9a-f]* ($crossed)\$"
    expect_code 2 "$log.json" --json "$1"
    python3 - "$log.json" "Hangs+In\`1.Enter(…)+0x" "($enter)" "($lambda)" <<'END' || fail "no lines in JSON" "$log.json"
import json, sys
report = json.loads(open(sys.argv[1]).read())
method, enter, outer = sys.argv[2:]
waits = [task["waiting"]["at"] for task in report["tasks"] if "waiting" in task]
assert any(at.startswith(method) and at.endswith(enter) for at in waits), waits
stacks = [[frame["at"] for frame in thread.get("stack", [])] for thread in report["threads"]]
assert any(any(at.startswith(method) and at.endswith(enter) for at in stack) and any(at.endswith(outer) for at in stack)
           for stack in stacks), stacks
END
}

expect_no_lines() { # expect_no_lines <argument of hostcrst-dump>: of each place there is the method alone
    expect_code 2 "$log.dump" "$1"
    expect "$log.dump" 'waiting to enter .* at Hangs+In`1\.Enter(…)+0x[0-9a-f]*$' '^"lock then section" tid=.*\[' \
        'at Hangs+In`1\.Enter(…)+0x[0-9a-f]*$'
    ! grep '\.cs:' "$log.dump" || fail "lines that nothing proves" "$log.dump"
}

lines() {
    require gcore=gdb
    local folder=$WORK/$name pdb=$WORK/$name/beside/Hangs.pdb core
    compile_with_lines "$folder"
    cp "$pdb" "$folder/kept.pdb"
    # It does not lie beside these.
    export LD_LIBRARY_PATH=$WORK
    begin_hang "$1" mixed "" "$name/beside/Hangs"
    expect_lines "$hung"
    core=$WORK/core.$hung
    gcore -o "$WORK/core" "$hung" >"$log.gcore" 2>&1 || fail "no core" "$log.gcore"
    expect_lines "$core"
    rm -f "$core" "$pdb"
    expect_no_lines "$hung"
    cp "$folder/other/Hangs.pdb" "$pdb"
    expect_no_lines "$hung"
    head -c 400 "$folder/kept.pdb" >"$pdb"
    expect_no_lines "$hung"
    end_hang
    begin_hang "$1" mixed "" "$name/inside/Hangs"
    expect_lines "$hung"
    end_hang
    if [ "$1" = 10 ]; then
        begin_hang 10 mixed HOOKED_FROM_MEMORY=1 "$name/inside/Hangs"
        expect_lines "$hung"
        end_hang
    fi
}

name=$1${2+-$2}
if [ "${2-}" = 10-musl ]; then
    WORK=$WORK/musl
    [ -d "$WORK" ] || { echo "not run: there is no library for musl"; exit 77; }
fi
mkdir -p "$WORK"
[ "$1" = build ] || host_with "$WORK/libhostcrst.so"
"$@"
