#!/bin/bash
# dump.sh <test> <argument>...: one function below per test. $WORK is the test's own folder, made anew; $SUBJECT is the
# program that is looked at, $DUMP the tool, $GDB_SCRIPT the script for gdb.
set -eu -o pipefail
. "$(dirname "$0")/../need.sh"

fail() {
    echo "dump: $*" >&2
    exit 1
}

skip() { # what is tested cannot be had here
    echo "dump: not run: $*"
    exit 77
}

start() { # start <how>...: runs the subject, until it stands still
    HOSTCRST_ON_DEADLOCK=report "$SUBJECT" "$@" >"$WORK/said" 2>"$WORK/complained" &
    subject=$!
    trap 'kill -KILL $subject' EXIT
    for _ in $(seq 600); do
        ! grep -q ready "$WORK/said" || return 0
        sleep 0.05
    done
    fail "the subject is not ready: $(cat "$WORK/complained")"
}

take_core() {
    need gcore gdb
    gcore -o "$WORK/core" "$subject" >"$WORK/gcore" 2>&1 || fail "gcore: $(cat "$WORK/gcore")"
    core=$WORK/core.$subject
}

dump() { # dump <expected exit code> <argument>...: the report is in $WORK/report
    local expected=$1 code=0
    shift
    "$DUMP" "$@" >"$WORK/report" 2>"$WORK/errors" || code=$?
    if [ "$code" -ne "$expected" ] || [ -s "$WORK/errors" ]; then
        cat "$WORK/report" "$WORK/errors" >&2
        fail "hostcrst-dump $* ended with $code, not with $expected"
    fi
}

says() { # says <verdict>: at the top of the report, and at its end
    local lines
    lines=$(wc -l <<<"$1")
    [ "$(tail -n "$lines" "$WORK/report")" = "$1" ] && [ "$(sed '/^$/,$d' "$WORK/report" | tail -n "$lines")" = "$1" ] ||
        fail "this is not the verdict at the top and at the end of $(cat "$WORK/report"): $1"
}

is_one_graph() { # is_one_graph <red edges>: the report is one that Graphviz draws, and all red edges are one circle
    need dot graphviz
    dot -Tsvg "$WORK/report" >"$WORK/graph.svg" || fail "this cannot be drawn: $(cat "$WORK/report")"
    [ "$(grep -c '<svg' "$WORK/graph.svg")" -eq 1 ] || fail "this is not one graph: $(cat "$WORK/report")"
    sed -n 's/^ *\([^ ]*\) -> \([^ ]*\) .*color=red.*/\1 \2/p' "$WORK/report" >"$WORK/red"
    local node
    node=$(sed -n '1s/ .*//p' "$WORK/red")
    for _ in $(seq "$1"); do
        node=$(sed -n "s/^$node //p" "$WORK/red")
    done
    [ "$(wc -l <"$WORK/red")" -eq "$1" ] && [ "$node" = "$(sed -n '1s/ .*//p' "$WORK/red")" ] ||
        fail "the red edges are not a circle of $1: $(cat "$WORK/report")"
}

in_gdb() { # in_gdb <argument>...: the output is in $WORK/report
    need gdb gdb
    gdb -nx -batch "$@" </dev/null >"$WORK/report" 2>&1 || {
        cat "$WORK/report" >&2
        fail "gdb $* failed"
    }
}

has() { # has <pattern>...: each stands in the report
    local pattern
    for pattern; do
        grep -q -- "$pattern" "$WORK/report" || {
            cat "$WORK/report" >&2
            fail "not in the report: $pattern"
        }
    done
}

has_both_threads() {
    has '"alice" tid=' '"bob" tid=' \
        "waiting to enter 0x[0-9a-f]* \"journal\".* at .*alice+.*(subject.c:[0-9]*)" \
        "waiting to enter 0x[0-9a-f]* \"accounts\".* at .*bob+.*(subject.c:[0-9]*)" \
        'owned by "alice"' 'owned by "bob"' 'owns .* "accounts" recursion=1' 'owns .* "journal" recursion=2' \
        'native .*native_work.*(subject.c:[0-9]*)' 'Found a deadlock' 'Found 1 deadlock'
}

test_hang() {
    start hang
    dump 2 "$subject"
    has_both_threads
    has 'waiting [0-9.]*s' "!native_work+0x0"
    says 'Found 1 deadlock.'
    kill -0 "$subject" || fail "the subject did not survive"
    [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$subject/status")" = S ] || fail "the subject was stopped"
}

test_clean() {
    start clean
    dump 0 "$subject"
    has '^No deadlock among 2 sections and 0 other locks seen' '1 owned' '"accounts"'
}

test_core() {
    start hang
    take_core
    dump 2 "$core"
    has_both_threads
    # What the library only reserves is gigabytes.
    [ "$(stat -c %s "$core")" -lt 200000000 ] || fail "the core has $(stat -c %s "$core") bytes"
}

has_windows_sections() { # has_windows_sections <what the memory is called that is no variable>
    has "owns .* CRITICAL_SECTION 0x[0-9a-f]* ${SUBJECT##*/}!initialised+0x0 recursion=1" \
        "owns .* CRITICAL_SECTION 0x[0-9a-f]* ${SUBJECT##*/}!zeroed+0x9c18 recursion=1" \
        "owns .* CRITICAL_SECTION 0x[0-9a-f]*$1 recursion=1"
}

test_windows() {
    start windows
    dump 0 "$subject"
    has_windows_sections ' \[heap\]+0x[0-9a-f]*'
    take_core
    dump 0 "$core"
    # A core has no labels.
    has_windows_sections ''
}

# Each waiter with what it waits for and who has that, in the lines that follow its own. Who waits for a section looks for
# deadlocks now and then.
is_told() { # is_told <thread> <what it waits for> <whom that is with>
    local state='blocked in futex'
    [[ $2 != 'to enter section'* ]] || state='\(blocked in futex\|running or ready to run\)'
    grep -A2 "^\"$1\" tid=[0-9]* \[$state\]" "$WORK/report" >"$WORK/thread" || fail "no $1 in $(cat "$WORK/report")"
    grep -q "^   waiting $2" "$WORK/thread" && grep -q "^      which is $3 tid=" "$WORK/thread" ||
        fail "$1 does not wait $2 of $3: $(cat "$WORK/report")"
}

fits_schema() { # the report, in JSON, is as docs/report.schema.json says
    need python3 python3
    python3 - "$(dirname "$0")/.." "$WORK/report" <<'VALIDATE' || fail "this does not fit the schema: $(cat "$WORK/report")"
import pathlib, sys
ctests, report = (pathlib.Path(path).resolve() for path in sys.argv[1:])
sys.path.insert(0, str(ctests / "deadlock"))
import formats
schema = formats.load(open(ctests / "../docs/report.schema.json"))
# None of these programs names its places.
schema["$defs"]["call_site"] = schema["$defs"]["place"]
for line in open(report):
    formats.validate(formats.json.loads(line, object_pairs_hook=formats.without_doubles), schema, schema, "report")
print(*formats.failures, sep="\n")
sys.exit(bool(formats.failures))
VALIDATE
}

is_told_of_all() { # is_told_of_all <what two waits for>
    local program=${SUBJECT##*/}
    is_told one "for recursive mutex 0x[0-9a-f]* $program!recursive+0x0$" 'owned by "two"'
    is_told two "$1" 'owned by "three"'
    is_told three "for mutex 0x[0-9a-f]* $program!plain+0x0, as 1 other does" 'owned by "one"'
    is_told four 'for mutex' 'owned by "one"'
    is_told five "to read-lock rwlock 0x[0-9a-f]* $program!rwlock+0x0$" 'held for writing by "four"'
    is_told "${program:0:15}" 'for the end of a thread (join)' '"one"'
    has '^Found a deadlock:' '\[blocked in pause\]'
    # The circle has its three members, and no other.
    [ "$(sed -n '/^Found a deadlock:/,$p' "$WORK/report" | grep -o '^"[a-z]*"' | sort | tr -d '\n')" = '"one""three""two"' ] ||
        fail "these are not the members: $(cat "$WORK/report")"
}

stacks_are_shown() { # those of the three threads of the circle, and no other
    local program=${SUBJECT##*/}
    has "^      at $program!one+0x[0-9a-f]* (mixed.c:[0-9]*)$" "^      at $program!two+0x[0-9a-f]* (mixed.c:[0-9]*)$" \
        "^      at $program!three+0x[0-9a-f]* (mixed.c:[0-9]*)$"
    [ "$(grep -c '!start_thread+' "$WORK/report")" -eq 3 ] || fail "not three stacks: $(cat "$WORK/report")"
    dump 2 --stacks "$subject"
    has "^      at $program!five+0x[0-9a-f]* (mixed.c:[0-9]*)$" "^      at $program!main+0x[0-9a-f]* (mixed.c:[0-9]*)$"
}

test_mixed() { # test_mixed <program>
    SUBJECT=$1
    start ''
    dump 2 "$subject"
    is_told_of_all 'to enter section 0x[0-9a-f]* "section"'
    has '^Found 1 deadlock through locks of other kinds.'
    ! grep -q 'No deadlock' "$WORK/report" || fail "it is called clean: $(cat "$WORK/report")"
    stacks_are_shown
    dump 2 --json "$subject"
    fits_schema
    dump 2 --json --stacks "$subject"
    fits_schema
    dump 2 --dot "$subject"
    # Two mutexes, and the wait for the section and who owns it.
    is_one_graph 4
}

# A core tells the same as the process, whoever took it, and without symbols of the program.
test_mixed_core() { # test_mixed_core <program>
    SUBJECT=$1
    start ''
    take_core
    core_tells_all 'to enter section 0x[0-9a-f]* "section"' "$SUBJECT"
    in_gdb "$SUBJECT" "$core" -ex "source $GDB_SCRIPT" -ex 'info hostcrst'
    has '^No deadlock among 1 section; other locks and joins are not examined.$'
    kill -KILL "$subject"
    need strip binutils
    strip -o "$WORK/mixed" "$SUBJECT"
    SUBJECT=$WORK/mixed
    start ''
    take_core
    dump 2 "$core"
    has '^Found 1 deadlock through locks of other kinds.$' '^      which is owned by tid=' '^      at libc.so.6![_a-z]*mutex_lock+'
    [ "$(grep -c "^      at mixed+0x" "$WORK/report")" -ge 3 ] || fail "no stacks: $(cat "$WORK/report")"
}

# Names of threads are not in a core, those of tasks and of the program are.
core_tells_all() { # core_tells_all <what two waits for> <program>
    local program=${2##*/} name
    dump 2 "$core"
    for name in one two three; do
        has "^      at $program!$name+0x[0-9a-f]* (mixed.c:[0-9]*)$"
    done
    has "^   waiting for recursive mutex 0x[0-9a-f]* $program!recursive+0x0$" "^   waiting $1\$" \
        "^   waiting for mutex 0x[0-9a-f]* $program!plain+0x0, as 1 other does$" \
        "^   waiting to read-lock rwlock 0x[0-9a-f]* $program!rwlock+0x0$" '^      which is held for writing by tid=' \
        '^   waiting for the end of a thread (join)$' '^Found a deadlock:' '\[blocked in pause\]'
    [ "$(grep -c '!start_thread+' "$WORK/report")" -eq 3 ] || fail "not three stacks: $(cat "$WORK/report")"
    ! grep -q 'probably' "$WORK/report" || fail "not all is certain: $(cat "$WORK/report")"
    dump 2 --stacks "$core"
    has "^      at $program!five+0x[0-9a-f]* (mixed.c:[0-9]*)$" "^      at $program!main+0x[0-9a-f]* (mixed.c:[0-9]*)$"
    dump 2 --json --stacks "$core"
    has '"not_examined":\[\]'
    fits_schema
}

# A core that the kernel writes when the process is killed by a signal, where it writes such at all.
test_mixed_kernel_core() { # test_mixed_kernel_core <program>
    [ "$(cat /proc/sys/kernel/core_pattern)" = core ] || skip "the kernel gives cores to a program, or names them otherwise"
    SUBJECT=$1
    ulimit -c unlimited 2>/dev/null || skip "cores are not allowed"
    # A core lies where its process ran.
    pushd "$WORK" >/dev/null
    start ''
    popd >/dev/null
    kill -ABRT "$subject"
    wait "$subject" || true
    trap - EXIT
    core=$(find "$WORK" -name 'core*' -size +0 | head -1)
    [ -n "$core" ] || skip "the kernel has written no core"
    core_tells_all 'to enter section 0x[0-9a-f]* "section"' "$SUBJECT"
}

test_mixed_without() { # test_mixed_without <program>
    SUBJECT=$1
    start ''
    dump 2 "$subject"
    is_told_of_all "for error-checking mutex 0x[0-9a-f]* ${SUBJECT##*/}!section+0x0$"
    has '^There is no hostcrst in this process' '^Found 1 deadlock.$'
    stacks_are_shown
}

# Names of functions tell that glibc waits. Without them it is only probable.
test_mixed_alone() { # test_mixed_alone <program>
    test_mixed_without "$1"
    need strip binutils
    kill -KILL "$subject"
    strip -o "$WORK/mixed" "$1"
    SUBJECT=$WORK/mixed
    start ''
    dump 0 "$subject"
    has '^   probably waiting for recursive mutex' '^      which is probably owned by "two"' '^Probably a deadlock:' \
        '^Probably 1 deadlock.$' '^No deadlock that is certain among 4 locks seen'
    ! grep -q '^Found' "$WORK/report" || fail "a guess is told as certain: $(cat "$WORK/report")"
    dump 0 --json "$subject"
    has '"certain":false,"managed":false,"tids"'
    fits_schema
}

test_stripped() {
    need strip binutils
    strip -o "$WORK/subject" "$SUBJECT"
    SUBJECT=$WORK/subject
    start hang
    dump 2 "$subject"
    has '"alice" tid=' '"bob" tid=' 'Found 1 deadlock'
}

test_copies() { # test_copies <program> <plugin> <library>
    SUBJECT=$1
    start "$2"
    dump 2 "$subject"
    has "^Copy 1 of 2 of the library, in " "^Copy 2 of 2 of the library, in " 'copies of the library.' \
        '^Found a deadlock across them:' '^"one" tid=[0-9]*:' "waiting to enter 0x[0-9a-f]* \"the plugin's\" of copy [12]" \
        '      which is owned by "two?/" tid=' "waiting to enter 0x[0-9a-f]* \"the program's\" of copy [12]" \
        '      which is owned by "one" tid=' '^Found 1 deadlock across them.'
    says $'This process has 2 copies of the library.\nFound 1 deadlock across them.'
    [ -z "$(uniq -d "$WORK/report" | grep -x '')" ] || fail "parts are two lines apart: $(cat "$WORK/report")"
    ! grep 'No deadlock' "$WORK/report" | grep -v '^No deadlock among 1 section of this copy alone.$' ||
        fail "it is called clean: $(cat "$WORK/report")"
    dump 2 --html "$WORK/page.html" "$subject"
    sed -n '/<pre id="verdict">/,/<\/pre>/p' "$WORK/page.html" >"$WORK/report"
    has 'Found 1 deadlock across them.'
    ! grep -q 'No deadlock' "$WORK/report" || fail "the page calls it clean: $(cat "$WORK/report")"
    dump 2 --json "$subject"
    has '^{"copies":2,"deadlocks":\[\[{"tid":[0-9]*,"name":"one","copy":[12],"section":"0x' \
        '{"tid":[0-9]*,"name":"two\\"\\\\","copy":[12],'
    need python3 python3
    python3 -m json.tool --json-lines "$WORK/report" >/dev/null || fail "this is no JSON: $(cat "$WORK/report")"
    dump 2 --dot "$subject"
    # The waits for two sections, and who owns them.
    is_one_graph 4
    take_core
    dump 2 "$core"
    has '^Found 1 deadlock across them.'
    # A copy whose registry is damaged is not passed over.
    python3 - "$core" <<'DAMAGE'
import re, sys
with open(sys.argv[1], "r+b") as core:
    program, plugin = re.finditer(rb"hostcrst[\1-\x7f]\0\0\0", core.read())
    core.seek(plugin.start())
    core.write(b"HOSTCRST")
DAMAGE
    local code=0
    "$DUMP" "$core" >"$WORK/report" 2>"$WORK/errors" || code=$?
    [ "$code" -eq 8 ] || fail "with a damaged copy the tool ends with $code, not with 8"
    grep -q 'is not complete' "$WORK/errors" || fail "this does not say what is wrong: $(cat "$WORK/errors")"
    has '"the program.s"'
    kill -KILL "$subject"
    start "$2" clean
    dump 0 "$subject"
    says $'This process has 2 copies of the library.\nNo deadlock among 2 sections and 0 other locks seen; 1 thread blocked in what has no owner.'
    # Copies that are only loaded take no other's place: these come before the others in memory.
    kill -KILL "$subject"
    local unused=()
    for number in $(seq 20); do
        cp "$3" "$WORK/unused$number.so"
        unused+=("$WORK/unused$number.so")
    done
    start "$2" "${unused[@]}"
    dump 2 "$subject"
    says $'This process has 22 copies of the library.\nFound 1 deadlock across them.'
    rm -f "${unused[@]}"
}

test_watch() {
    start clean
    # There before the tool is, which does not see the interrupt of a test that did not wait for it.
    : >"$WORK/report"
    "$DUMP" --watch 0.1 "$subject" >"$WORK/report" &
    local watcher=$!
    for _ in $(seq 600); do
        [ "$(grep -c '^----' "$WORK/report")" -lt 3 ] || break
        sleep 0.05
    done
    kill -INT "$watcher"
    wait "$watcher" || fail "hostcrst-dump --watch ended with $?, not with 0"
    [ "$(grep -c '^hostcrst .* report' "$WORK/report")" -ge 3 ] || fail "fewer than three reports"
}

test_metrics() {
    need python3 python3
    start counted
    dump 0 --metrics "$subject"
    "$(dirname "$0")/metrics.py" "$WORK/report" || fail "this is no OpenMetrics text"
    local labels='{section="0x[0-9a-f]*",name="back\\\\slash ?quote???? eé"'
    has '^hostcrst_tasks{copy="[0-9]*"} 1$' "^hostcrst_section_contended_total$labels} 1$" \
        "^hostcrst_section_wait_seconds_bucket$labels,le=\"+Inf\"} 1$" "^hostcrst_section_hold_seconds_count$labels} 2$" \
        "^hostcrst_section_longest_hold_seconds$labels,entered_at=\"[^\"]*be_counted+0x.*(subject.c:[0-9]*)\"} 0.[0-9]*$"
    # Nothing of what was not counted.
    kill -KILL "$subject"
    start clean
    dump 0 --metrics "$subject"
    "$(dirname "$0")/metrics.py" "$WORK/report" || fail "this is no OpenMetrics text"
    ! grep -q '^hostcrst_section_wait_seconds' "$WORK/report" || fail "waits were counted unasked"
    local code=0
    "$DUMP" --metrics --json "$subject" >"$WORK/report" 2>"$WORK/errors" || code=$?
    [ "$code" -eq 3 ] || fail "--metrics with --json ends with $code, not with 3"
}

test_gdb() {
    start hang
    in_gdb -p "$subject" -ex "source $GDB_SCRIPT" -ex 'info hostcrst'
    has_both_threads
    has 'for [0-9.]*s'
}

test_gdb_places() {
    start placed
    in_gdb -p "$subject" -ex "source $GDB_SCRIPT" -ex 'info hostcrst'
    has 'waiting to enter .* at sell (shop.py:12)$'
    dump 0 "$subject"
    has '^   waiting .* sell (shop.py:12)$'
}

test_gdb_core() {
    start hang
    take_core
    in_gdb "$SUBJECT" "$core" -ex "source $GDB_SCRIPT" -ex 'info hostcrst'
    has_both_threads
}

test_gdb_auto_load() { # test_gdb_auto_load <installed prefix>
    local prefix=$1 library
    library=$(find "$prefix" -name libhostcrst.so)
    LD_LIBRARY_PATH=$(dirname "$library")
    export LD_LIBRARY_PATH
    start hang
    grep -q "$prefix" "/proc/$subject/maps" || fail "the subject does not use the installed library"
    in_gdb -iex "set auto-load scripts-directory $prefix/share/gdb/auto-load" -iex "set auto-load safe-path $prefix" \
        -p "$subject" -ex 'info hostcrst'
    has_both_threads
}

rm -rf "$WORK"
mkdir -p "$WORK"
"test_$1" "${@:2}"
