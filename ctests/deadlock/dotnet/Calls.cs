// Calls native code in every way that the JIT compiles differently, often enough to be sure of optimised code; then a
// thread stays in each such call while a report is written. With DOTNET_TieredCompilation=0 all of it is optimised.

using System;
using System.IO;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Threading;

static class Calls
{
    [DllImport("gate")]
    static extern int gate(int wait);

    [DllImport("gate")]
    static extern int gate_waiting();

    [DllImport("gate")]
    static extern void gate_open();

    [DllImport("hostcrst")]
    static extern int host_report(int descriptor, uint format);

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int CdeclApart(int wait)
    {
        return Pointers.Cdecl(wait);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int CdeclAndMore(int wait)
    {
        return Pointers.Cdecl(wait) + Pointers.Cdecl(0);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int StdCallApart(int wait)
    {
        return Pointers.StdCall(wait);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int StdCallAndMore(int wait)
    {
        return Pointers.StdCall(wait) + Pointers.StdCall(0);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int Import(int wait)
    {
        return gate(wait);
    }

    static int Wrapped(int wait)
    {
        return gate(wait);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static int WrappedAndMore(int wait)
    {
        return gate(wait) + gate(0);
    }

    static int ForeignWrapped(int wait)
    {
        return Imports.gate(wait);
    }

    static int NestedWrapped(int wait)
    {
        return Imports.Nested.gate(wait) + Imports.Count(wait);
    }

    // The JIT would inline what these call.
    [MethodImpl(MethodImplOptions.NoInlining)]
    static int ImportWrapped(int wait)
    {
        return Wrapped(wait);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int ImportsWrapped(int wait)
    {
        return WrappedAndMore(wait) + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int ForeignImport(int wait)
    {
        return ForeignWrapped(wait);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int NestedImport(int wait)
    {
        return NestedWrapped(wait) + 1;
    }

    // With an argument it then stays as it is, until its input ends.
    public static int Main(string[] arguments)
    {
        var folder = Path.GetDirectoryName(typeof(Calls).Assembly.Location);
        var library = NativeLibrary.Load(Path.Combine(folder, "libgate.so"));
        Pointers.target = NativeLibrary.GetExport(library, "gate");
        Func<int, int>[] calls =
        {
            CdeclApart, CdeclAndMore, StdCallApart, StdCallAndMore, Import, ImportWrapped, ImportsWrapped, ForeignImport,
            NestedImport,
        };
        for (int round = 0; round < 1000; round++)
        {
            foreach (var call in calls)
            {
                call(0);
            }
        }
        var threads = new Thread[calls.Length];
        for (int index = 0; index < calls.Length; index++)
        {
            var call = calls[index];
            threads[index] = new Thread(() => call(1)) { Name = call.Method.Name };
            threads[index].Start();
        }
        while (gate_waiting() < calls.Length)
        {
            Thread.Yield();
        }
        int result = host_report(1, 0);
        if (arguments.Length != 0)
        {
            Console.WriteLine("hung");
            Console.In.ReadToEnd();
        }
        gate_open();
        foreach (var thread in threads)
        {
            thread.Join();
        }
        return result;
    }
}
