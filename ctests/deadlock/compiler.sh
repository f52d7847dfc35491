# shellcheck shell=bash
# A C# compiler where there is no .NET SDK: Roslyn, on .NET 8. Sourced after expect.sh.

libraries() { # libraries <version>: the folder of its runtime's
    local found
    found=$(compgen -G "$(dirname "$(runtime "$1")")/shared/Microsoft.NETCore.App/*")
    echo "$found"
}

build_compiler() { # build_compiler <folder>: puts dotnet/Compile.cs there, compiled
    local folder=$1 roslyn libraries_31 libraries_8 mcs library references=()
    roslyn=$(scripts/dotnet-runtime roslyn "$CACHE")
    mcs=$(scripts/dotnet-runtime mcs)
    libraries_31=$(libraries 3.1)
    libraries_8=$(libraries 8)
    # mcs takes the runtime of 3.1 for a reference, but not Roslyn's needs from there.
    for library in mscorlib netstandard System.{Private.CoreLib,Runtime,Runtime.Extensions,Console,Linq,Collections,IO.FileSystem,Security.Cryptography.Primitives}; do
        references+=(-r:"$libraries_31/$library.dll")
    done
    cp "$roslyn/Microsoft.CodeAnalysis.dll" "$roslyn/Microsoft.CodeAnalysis.CSharp.dll" "$folder"
    "$mcs" -nostdlib -noconfig -nowarn:1701 "${references[@]}" -r:"$libraries_8/System.Collections.Immutable.dll" \
        -r:"$folder/Microsoft.CodeAnalysis.dll" -r:"$folder/Microsoft.CodeAnalysis.CSharp.dll" \
        -out:"$folder/Compile.dll" ctests/deadlock/dotnet/Compile.cs
    cp examples/dotnet/Demo.runtimeconfig.json "$folder/Compile.runtimeconfig.json"
}
