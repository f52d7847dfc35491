// Ends in the way that the variable ENDING names. Its thread "worker" sleeps in native code then, "spinner" runs.

using System;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;

static class Endings
{
    [DllImport("gate")]
    static extern int gate(int wait);

    [DllImport("gate")]
    static extern int gate_waiting();

    [DllImport("libc")]
    static extern void abort();

    [DllImport("libc")]
    static extern int getpid();

    [DllImport("libc")]
    static extern int kill(int process, int signal);

    static volatile int spins;

    static void Spin()
    {
        for (;;)
        {
            spins++;
        }
    }

    public static int Main()
    {
        NativeLibrary.Load(Path.Combine(Path.GetDirectoryName(typeof(Endings).Assembly.Location), "libgate.so"));
        new Thread(() => gate(1)) { Name = "worker", IsBackground = true }.Start();
        new Thread(Spin) { Name = "spinner", IsBackground = true }.Start();
        while (gate_waiting() == 0 || spins == 0)
        {
            Thread.Yield();
        }
        switch (Environment.GetEnvironmentVariable("ENDING"))
        {
            case "exception":
                throw new InvalidOperationException("an ending");
            case "exception-in-thread":
                var thread = new Thread(() => { throw new InvalidOperationException("an ending"); });
                thread.Start();
                thread.Join();
                break;
            case "failfast":
                Environment.FailFast("an ending");
                break;
            case "abort":
                abort();
                break;
            case "term":
                kill(getpid(), 15);
                Thread.Sleep(Timeout.Infinite);
                break;
            case "request":
                kill(getpid(), 12);
                break;
        }
        return 5;
    }
}
