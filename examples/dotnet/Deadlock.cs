// A .NET program with a mistake: one thread takes the orders and then wants the stock, the other takes the stock and
// then wants the orders. With libhostcrst.so as its profiler, the one who comes last is refused, gives back
// what it has and tries again, so that the program goes on.
//
// It checks what it sees: exit code 0 means that one thread was refused, once, and both did their work. With
// HOSTCRST_ON_DEADLOCK=report nobody is refused: it hangs, to be looked at by hostcrst-dump.

using System;
using System.Runtime.InteropServices;
using System.Threading;

static class HostCrst
{
    public const uint Running = 1;
    public const uint Text = 0;
    public const int Deadlock = unchecked((int)0x80131020);

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

    [DllImport("hostcrst")]
    public static extern IntPtr host_result_message(int result);
}

static class C
{
    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public delegate int Comparer(IntPtr left, IntPtr right);

    [DllImport("libc")]
    public static extern void qsort(int[] items, UIntPtr count, UIntPtr size, Comparer compare);
}

static class Deadlock
{
    const int StandardOutput = 1;

    static ulong orders;
    static ulong stock;
    static readonly ManualResetEvent[] owns = { new ManualResetEvent(false), new ManualResetEvent(false) };
    static int refused;
    static int done;
    static int failures;

    static int Main()
    {
        uint state;
        if (HostCrst.host_runtime_state(out state) != 0 || state != HostCrst.Running)
        {
            Console.WriteLine("Deadlock: not hosted: its profiler must be the libhostcrst.so beside it");
            return 2;
        }
        Thread.CurrentThread.Name = "main";
        orders = Create("orders");
        stock = Create("stock");

        var seller = new Thread(Sell) { Name = "seller" };
        var storekeeper = new Thread(Deliver) { Name = "storekeeper" };
        seller.Start();
        storekeeper.Start();
        seller.Join();
        storekeeper.Join();

        Console.WriteLine();
        Console.WriteLine("What the library has to say about it, by a host_report that this program calls:");
        Console.Out.Flush();
        Succeed("host_report", HostCrst.host_report(StandardOutput, HostCrst.Text));
        Succeed("hostcrst_destroy", HostCrst.hostcrst_destroy(orders));
        Succeed("hostcrst_destroy", HostCrst.hostcrst_destroy(stock));
        bool right = failures == 0 && refused == 1 && done == 2;
        Console.WriteLine(
            right ? "One thread was refused, once; both have done their work." : "Deadlock: WRONG: {0} refused, {1} done",
            refused, done);
        return right ? 0 : 1;
    }

    // C sorts two numbers, and C# compares them: where it does, it has a mistake to make.
    static void Sell()
    {
        C.Comparer compare = (left, right) =>
        {
            TakeBoth("seller", orders, "orders", stock, "stock", 0);
            return Marshal.ReadInt32(left).CompareTo(Marshal.ReadInt32(right));
        };
        var items = new[] { 2, 1 };
        C.qsort(items, (UIntPtr)2, (UIntPtr)sizeof(int), compare);
        GC.KeepAlive(compare);
    }

    static void Deliver()
    {
        TakeBoth("storekeeper", stock, "stock", orders, "orders", 1);
    }

    static void TakeBoth(string who, ulong first, string firstName, ulong second, string secondName, int side)
    {
        Succeed("hostcrst_enter", HostCrst.hostcrst_enter(first, 0));
        Console.WriteLine("  {0}: took the {1}, wants the {2}", who, firstName, secondName);
        owns[side].Set();
        owns[1 - side].WaitOne();
        int result = HostCrst.hostcrst_enter(second, 0);
        if (result == HostCrst.Deadlock)
        {
            Console.WriteLine("  {0}: refused ({1}): gives the {2} back and tries again", who, Message(result), firstName);
            Interlocked.Increment(ref refused);
            Succeed("hostcrst_leave", HostCrst.hostcrst_leave(first));
            Succeed("hostcrst_enter", HostCrst.hostcrst_enter(second, 0));
            Succeed("hostcrst_enter", HostCrst.hostcrst_enter(first, 0));
        }
        else
        {
            Succeed("hostcrst_enter", result);
        }
        Console.WriteLine("  {0}: has both, and is done", who);
        Interlocked.Increment(ref done);
        Succeed("hostcrst_leave", HostCrst.hostcrst_leave(second));
        Succeed("hostcrst_leave", HostCrst.hostcrst_leave(first));
    }

    static ulong Create(string name)
    {
        ulong section;
        Succeed("hostcrst_create", HostCrst.hostcrst_create(out section));
        Succeed("hostcrst_set_name", HostCrst.hostcrst_set_name(section, name));
        return section;
    }

    static string Message(int result)
    {
        return Marshal.PtrToStringAnsi(HostCrst.host_result_message(result));
    }

    static void Succeed(string what, int result)
    {
        if (result < 0)
        {
            Interlocked.Increment(ref failures);
            Console.WriteLine("Deadlock: WRONG: {0}: 0x{1:X8} {2}", what, result, Message(result));
        }
    }
}
