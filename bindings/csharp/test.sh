# shellcheck shell=sh
want bash bash
want mcs mono-mcs
for what in 8 3.1 roslyn 10-hooks; do
    "$source/scripts/dotnet-runtime" --fetch $what "$source/build/cache" >/dev/null ||
        { echo "not run: $what of .NET is missing"; exit 77; }
done
passes bash on-runtimes.sh "$library" "$work"
