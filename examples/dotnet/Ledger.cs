// A .NET program that hangs. One thread has a C# lock and calls native code, which wants to enter a section; the other is in
// that section, is called back by native code, and wants the C# lock. It knows nothing of who looks at it.

using System;
using System.Runtime.InteropServices;
using System.Threading;

static class Native
{
    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public delegate void Balance();

    [DllImport("ledger")]
    public static extern int ledger_open();

    [DllImport("ledger")]
    public static extern int ledger_post();

    [DllImport("ledger")]
    public static extern int ledger_close(Balance balance);
}

static class Ledger
{
    static readonly object accounts = new object();
    static readonly ManualResetEvent hasAccounts = new ManualResetEvent(false);
    static readonly ManualResetEvent hasLedger = new ManualResetEvent(false);

    static int Main()
    {
        if (Native.ledger_open() < 0)
        {
            return 1;
        }
        var cashier = new Thread(Pay) { Name = "cashier" };
        var accountant = new Thread(() => Native.ledger_close(Balance)) { Name = "accountant" };
        cashier.Start();
        accountant.Start();
        cashier.Join();
        accountant.Join();
        return 0;
    }

    static void Pay()
    {
        lock (accounts)
        {
            hasAccounts.Set();
            hasLedger.WaitOne();
            Native.ledger_post();
        }
    }

    static void Balance()
    {
        hasLedger.Set();
        hasAccounts.WaitOne();
        lock (accounts)
        {
        }
    }
}
