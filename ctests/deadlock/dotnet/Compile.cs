// Compiles C# with Roslyn, as mcs knows no function pointers. Several programs in one go, as most of the time is its start:
// Compile <folder of references> <output> <source>[:<source>]... [-portable|-embedded] <symbol>... [-- <output> <source>...]...
// With -portable a PDB lies beside the output, with -embedded it is inside.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Emit;

static class Compile
{
    static int Main(string[] arguments)
    {
        var references = Directory.GetFiles(arguments[0], "*.dll").Where(IsManaged)
            .Select(file => (MetadataReference)MetadataReference.CreateFromFile(file)).ToArray();
        var rest = arguments.Skip(1);
        bool succeeded = true;
        while (rest.Any())
        {
            var program = rest.TakeWhile(argument => argument != "--").ToArray();
            succeeded &= Emit(references, program[0], program[1].Split(':'), program.Skip(2));
            rest = rest.Skip(program.Length + 1);
        }
        return succeeded ? 0 : 1;
    }

    static bool Emit(IEnumerable<MetadataReference> references, string output, string[] sources, IEnumerable<string> symbols)
    {
        var dialect = CSharpParseOptions.Default.WithPreprocessorSymbols(symbols.Where(symbol => symbol[0] != '-'));
        var trees = sources.Select(file => CSharpSyntaxTree.ParseText(File.ReadAllText(file), dialect, file, Encoding.UTF8));
        var options = new CSharpCompilationOptions(OutputKind.ConsoleApplication).WithAllowUnsafe(true).WithDeterministic(true)
            .WithOptimizationLevel(OptimizationLevel.Release);
        var compilation = CSharpCompilation.Create(Path.GetFileNameWithoutExtension(output), trees, references, options);
        bool isBeside = symbols.Contains("-portable");
        bool isEmbedded = symbols.Contains("-embedded");
        var debug = new EmitOptions().WithDebugInformationFormat(
            isEmbedded ? DebugInformationFormat.Embedded : DebugInformationFormat.PortablePdb);
        string pdb = isBeside ? Path.ChangeExtension(output, ".pdb") : null;
        EmitResult result;
        using (var assembly = File.Create(output))
        using (var beside = isBeside ? File.Create(pdb) : null)
            result = compilation.Emit(assembly, beside, options: isBeside || isEmbedded ? debug.WithPdbFilePath(pdb) : null);
        foreach (var diagnostic in result.Diagnostics.Where(one => one.Severity != DiagnosticSeverity.Hidden))
        {
            Console.WriteLine(diagnostic);
        }
        return result.Success;
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
