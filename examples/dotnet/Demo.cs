// A .NET program that knows nothing of transitions: it only calls C, and C calls it back. Run with
// libhostcrst.so as its profiler, every thread is a task of the library, and the report shows where each of
// them is.
//
// It checks what it sees: exit code 0 means that everything was right.

using System;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;

static class HostCrst
{
    public const uint Running = 1;
    public const uint Text = 0;

    [DllImport("hostcrst")]
    public static extern int host_runtime_state(out uint state);

    [DllImport("hostcrst")]
    public static extern int hostcrst_create(out ulong section);

    [DllImport("hostcrst")]
    public static extern int hostcrst_set_name(ulong section, string name);

    [DllImport("hostcrst")]
    public static extern int hostcrst_enter(ulong section, uint option);

    [DllImport("hostcrst")]
    public static extern int hostcrst_leave(ulong section);

    [DllImport("hostcrst")]
    public static extern int hostcrst_destroy(ulong section);

    [DllImport("hostcrst")]
    public static extern int host_report(int descriptor, uint format);
}

static class Native
{
    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public delegate void Callback();

    [DllImport("demo")]
    public static extern void demo_look();

    [DllImport("demo")]
    public static extern void demo_outer(Callback callback);

    [DllImport("demo")]
    public static extern void demo_inner();

    [DllImport("demo")]
    public static extern IntPtr demo_seen(int index);

    [DllImport("demo")]
    public static extern void demo_park();

    [DllImport("demo")]
    public static extern int demo_waiting_at_gate();

    [DllImport("demo")]
    public static extern void demo_open_gate();

    [DllImport("demo")]
    public static extern IntPtr demo_counter(int index);

    [DllImport("demo")]
    public static extern int demo_start_native_workers(ulong first, ulong second, int rounds);

    [DllImport("demo")]
    public static extern int demo_join_native_workers(int count);

    [DllImport("demo")]
    public static extern int demo_waiters(ulong section);

    [DllImport("demo")]
    public static extern long demo_contended(ulong section);
}

static class Demo
{
    const int ManagedWorkers = 3;
    const int Rounds = 20000;

    static readonly string[] Page =
    {
        "LeaveRuntime", "ReverseEnterRuntime", "LeaveRuntime",
        "EnterRuntime", "ReverseLeaveRuntime", "EnterRuntime"
    };

    static readonly ulong[] sections = new ulong[2];
    static int failures;

    static int Main()
    {
        uint state;
        if (HostCrst.host_runtime_state(out state) != 0 || state != HostCrst.Running)
        {
            Console.WriteLine("Demo: not hosted: its profiler must be the libhostcrst.so beside it");
            return 2;
        }
        Thread.CurrentThread.Name = "main";

        Say("A thread calls C, C calls back a C# delegate, and that calls C again. Its transitions:");
        Thread nested = Start("nested", Nested);
        WaitUntil("the nested thread is in its innermost call", () => Native.demo_waiting_at_gate() == 1);

        Say("Another thread waits inside a native call, and five wait for a section that this one owns.");
        Thread parked = Start("parked", Native.demo_park);
        WaitUntil("the parked thread is in its native call", () => Native.demo_waiting_at_gate() == 2);

        string[] names = { "orders", "stock" };
        for (int i = 0; i < sections.Length; i++)
        {
            Succeed("hostcrst_create", HostCrst.hostcrst_create(out sections[i]));
            Succeed("hostcrst_set_name", HostCrst.hostcrst_set_name(sections[i], names[i]));
        }
        Succeed("hostcrst_enter", HostCrst.hostcrst_enter(sections[0], 0));
        var workers = new Thread[ManagedWorkers];
        for (int i = 0; i < workers.Length; i++)
        {
            workers[i] = Start("worker " + (i + 1), Work);
        }
        int natives = Native.demo_start_native_workers(sections[0], sections[1], Rounds);
        int all = workers.Length + natives;
        WaitUntil("all workers wait for the section", () => Native.demo_waiters(sections[0]) == all);

        Say("What the library shows of this moment, by a host_report that this program calls:");
        string report = Report();
        Console.WriteLine(report);
        foreach (string expected in new[]
        {
            "main", "nested", "parked", "worker 1", "worker 3", "native worker 1", "orders",
            "demo!demo_outer (Native.demo_outer)", "Native+Callback.Invoke",
            "demo!demo_inner (Native.demo_inner)", "demo!demo_park (Native.demo_park)",
            "hostcrst!hostcrst_enter (HostCrst.hostcrst_enter)",
            "hostcrst!host_report (HostCrst.host_report)"
        })
        {
            Check("the report shows " + expected, report.Contains(expected));
        }

        Say("Everyone goes on.");
        Succeed("hostcrst_leave", HostCrst.hostcrst_leave(sections[0]));
        Native.demo_open_gate();
        nested.Join();
        parked.Join();
        foreach (Thread worker in workers)
        {
            worker.Join();
        }
        Succeed("the native workers", Native.demo_join_native_workers(natives));

        for (int i = 0; i < Page.Length; i++)
        {
            string seen = Marshal.PtrToStringAnsi(Native.demo_seen(i));
            Check("transition " + (i + 1) + " is " + Page[i] + " (was " + seen + ")", seen == Page[i]);
        }
        Check("there are no more transitions", Native.demo_seen(Page.Length) == IntPtr.Zero);

        for (int i = 0; i < sections.Length; i++)
        {
            long count = Marshal.ReadInt64(Native.demo_counter(i));
            long expected = (long)all * Rounds / 2;
            long contended = Native.demo_contended(sections[i]);
            Console.WriteLine(
                "  {0}: {1} of {2} counted by C# and C, {3} entries had to wait",
                names[i], count, expected, contended);
            Check(names[i] + " counted exactly", count == expected);
            Check(names[i] + " was contended", i != 0 || contended >= all);
            Succeed("hostcrst_destroy", HostCrst.hostcrst_destroy(sections[i]));
        }

        Say(failures == 0 ? "All as it should be." : failures + " checks failed.");
        return failures == 0 ? 0 : 1;
    }

    static void Nested()
    {
        // Kept in a local until demo_outer has returned: the runtime does not see that C still holds it.
        Native.Callback callback = Callback;
        Native.demo_outer(callback);
        Native.demo_look();
        GC.KeepAlive(callback);
    }

    static void Callback()
    {
        Native.demo_look();
        Native.demo_inner();
        Native.demo_look();
    }

    static void Work()
    {
        for (int round = 0; round < Rounds; round++)
        {
            int which = round % 2;
            Succeed("hostcrst_enter", HostCrst.hostcrst_enter(sections[which], 0));
            IntPtr counter = Native.demo_counter(which);
            Marshal.WriteInt64(counter, Marshal.ReadInt64(counter) + 1);
            Succeed("hostcrst_leave", HostCrst.hostcrst_leave(sections[which]));
        }
    }

    static string Report()
    {
        string path = Path.GetTempFileName();
        using (var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite))
        {
            int descriptor = file.SafeFileHandle.DangerousGetHandle().ToInt32();
            Succeed("host_report", HostCrst.host_report(descriptor, HostCrst.Text));
        }
        const FileOptions Once = FileOptions.DeleteOnClose;
        using (var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 4096, Once))
        using (var reader = new StreamReader(file))
        {
            return reader.ReadToEnd();
        }
    }

    static Thread Start(string name, ThreadStart body)
    {
        var thread = new Thread(body) { Name = name, IsBackground = true };
        thread.Start();
        return thread;
    }

    static void WaitUntil(string what, Func<bool> done)
    {
        for (int tries = 0; tries < 3000; tries++)
        {
            if (done())
            {
                return;
            }
            Thread.Sleep(10);
        }
        Console.WriteLine("Demo: gave up waiting until " + what);
        Environment.Exit(1);
    }

    static void Succeed(string what, int result)
    {
        if (result < 0)
        {
            Check(what + " succeeds (0x" + result.ToString("X8") + ")", false);
        }
    }

    static void Check(string what, bool right)
    {
        if (!right)
        {
            Interlocked.Increment(ref failures);
            Console.WriteLine("Demo: WRONG: not so: " + what);
        }
    }

    static void Say(string text)
    {
        Console.WriteLine();
        Console.WriteLine(text);
    }
}
