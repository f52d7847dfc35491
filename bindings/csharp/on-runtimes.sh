#!/bin/bash
# on-runtimes.sh LIBRARY WORK: compiles the example and the tests with Roslyn, and runs them on .NET 8 and 10.
set -eu -o pipefail
cd "$(dirname "$0")/../.."
. scripts/common.sh
. ctests/deadlock/expect.sh
. ctests/deadlock/compiler.sh
WORK=$2 CACHE=build/cache
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
source=bindings/csharp

build_compiler "$WORK"
cp "$1" "$WORK/libhostcrst.so"
programs=()
for program in Deadlock Tests Awaits; do
    programs+=(-- "$WORK/$program.dll" $source/HostCrst.cs:$source/$program.cs)
done
# One of them it must refuse, and with the others it finds nothing wrong.
ended=0
"$(runtime 8)" exec "$WORK/Compile.dll" "$(libraries 8)" "${programs[@]:1}" >"$WORK/compiler" || ended=$?
[ $ended -eq 1 ] || fail "the compiler ended with $ended" "$WORK/compiler"
expect "$WORK/compiler" "Awaits\.cs(10,16): error CS4013: .*'CriticalSection\.Scope'"
[ "$(wc -l <"$WORK/compiler")" -eq 1 ] || fail "the compiler said more" "$WORK/compiler"

"$(scripts/dotnet-runtime mcs)" -target:library -out:"$WORK/Hook.dll" ctests/deadlock/dotnet/Hook.cs
for program in Deadlock Tests; do
    cp examples/dotnet/Demo.runtimeconfig.json "$WORK/$program.runtimeconfig.json"
done
for version in 8 10; do
    # Once with places of enters that need not wait.
    [ $version != 10 ] || export HOSTCRST_HOLDS=1
    started $version Deadlock
    timeout 100 "${program[@]}" >"$WORK/out" 2>&1 || fail ".NET $version: exit code $?" "$WORK/out"
    expect "$WORK/out" '^refused: deadlock; both went on$'
    started $version Tests
    timeout 100 "${program[@]}" >"$WORK/out" 2>&1 || fail ".NET $version: exit code $?" "$WORK/out"
    expect "$WORK/out" '^10 tests passed$'
done
