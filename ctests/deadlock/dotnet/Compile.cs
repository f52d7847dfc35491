// Compiles C# with Roslyn, as mcs knows no function pointers: Compile <folder of references> <output> <source> <symbol>...

using System;
using System.IO;
using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

static class Compile
{
    static int Main(string[] arguments)
    {
        var references = Directory.GetFiles(arguments[0], "*.dll").Where(IsManaged)
            .Select(file => (MetadataReference)MetadataReference.CreateFromFile(file)).ToArray();
        var dialect = CSharpParseOptions.Default.WithPreprocessorSymbols(arguments.Skip(3));
        var tree = CSharpSyntaxTree.ParseText(File.ReadAllText(arguments[2]), dialect);
        var options = new CSharpCompilationOptions(OutputKind.ConsoleApplication).WithAllowUnsafe(true).WithDeterministic(true)
            .WithOptimizationLevel(OptimizationLevel.Release);
        var name = Path.GetFileNameWithoutExtension(arguments[1]);
        var result = CSharpCompilation.Create(name, new[] { tree }, references, options).Emit(arguments[1]);
        foreach (var diagnostic in result.Diagnostics.Where(one => one.Severity != DiagnosticSeverity.Hidden))
        {
            Console.WriteLine(diagnostic);
        }
        return result.Success ? 0 : 1;
    }

    static bool IsManaged(string file)
    {
        try
        {
            System.Reflection.AssemblyName.GetAssemblyName(file);
            return true;
        }
        catch (BadImageFormatException)
        {
            return false;
        }
    }
}
