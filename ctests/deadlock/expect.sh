# shellcheck shell=bash
# What the tests of .NET programs share; sourced with the project's root as the current folder.

fail() {
    printf '%s\n' "$1"
    [ $# -lt 2 ] || cat "$2"
    exit 1
}

expect() { # expect <file> <pattern>...: lines with these are in the file, in this order
    local file=$1 pattern line=0 found
    shift
    for pattern; do
        # Not a pipe from tail: grep ends before it.
        found=$(grep -n -m 1 -e "$pattern" < <(tail -n "+$((line + 1))" "$file") | cut -d: -f1) ||
            fail "missing after line $line: $pattern" "$file"
        line=$((line + found))
    done
}

runtime() { # runtime <version>: the path of its dotnet
    scripts/dotnet-runtime --fetch "$1" "$CACHE"
}

started() { # started <version> <program> <argument>...: "${program[@]}" is the command that runs it on that runtime
    local runtime
    if [ "$1" = 10 ] || [ "$1" = 10-musl ]; then
        runtime=$(scripts/dotnet-runtime "${1/%10/10-hooks}" "$CACHE")
        program=(env DOTNET_STARTUP_HOOKS="$WORK/Hook.dll" HOOKED="$WORK/$2.dll${3+ ${*:3}}")
        # Of env itself, which is not of musl, the loader must not take notice.
        [ "$1" = 10 ] || program+=(LD_LIBRARY_PATH="$(scripts/dotnet-runtime musl-libraries "$CACHE")" LD_PRELOAD="$WORK/libadded.so")
        program+=("$runtime")
    else
        program=("$(runtime "$1")" exec "$WORK/$2.dll" "${@:3}")
    fi
}
