// Is called back by native code, in ways in which the stack has other parts, and each time calls native code again: a report.

using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Threading;

static class Callbacks
{
    delegate int Visit(int what);

    [DllImport("gate")]
    static extern int gate_call(Visit visit, int what);

    [DllImport("gate")]
    static extern int gate_jump(Visit visit, int what);

    [DllImport("gate")]
    static extern int gate_thread(Visit visit, string name);

    [DllImport("hostcrst")]
    static extern int host_report(int descriptor, uint format);

    class Till
    {
        public int Sell(int what)
        {
            return Report(what);
        }
    }

    // Runs when it is first used, called by the CLR.
    static class Late
    {
        public static readonly int Result = Report(0);

        public static class Later
        {
            public static readonly int Result = Report(0);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static int Report(int what)
    {
        return host_report(1, 0);
    }

    static int Buy(int what)
    {
        return Report(what);
    }

    static int Initialize(int what)
    {
        return Late.Result;
    }

    static int Reflect(int what)
    {
        var report = typeof(Callbacks).GetMethod("Report", System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Static);
        return (int)report.Invoke(null, new object[] { what });
    }

    static int Nest(int what)
    {
        return gate_call(Buy, what);
    }

    static int Main()
    {
        int failed = 0;
        Action<string, Func<int>> check = (name, run) =>
        {
            Console.WriteLine("--- " + name);
            failed |= run();
        };
        check("static", () => gate_call(Buy, 1));
        check("instance", () => gate_call(new Till().Sell, 2));
        check("initializer", () => gate_call(Initialize, 3));
        check("reflection", () => gate_call(Reflect, 4));
        check("nested", () => gate_call(Nest, 5));
        check("jump", () => gate_jump(Buy, 6));
        check("jump and initializer", () => gate_jump(what => Late.Later.Result, 7));
        check("thread", () => gate_thread(Buy, null));
        check("named thread", () => gate_thread(Buy, "painter"));
        // One with the name of managed code keeps it.
        check("renamed thread", () => gate_thread(what => { Thread.CurrentThread.Name = "clerk"; return Report(what); }, "painter"));
        return failed;
    }
}
