// A collection that takes long, and threads that it holds on their way back from waits for C# locks: in two the limit has passed,
// others have taken a lock and do not stand in it yet as its owner. None of that is a deadlock, and no owner has ended. The
// collector cannot begin as long as a thread is in native code that it has entered as if it were managed. That one leaves it
// with the first line of input; then all goes on, and the program ends with 0.
// Collects always: the collector begins again as soon as it has ended, two threads wait for each other's C# lock for ever, and ten
// for locks whose owners have ended.
// Collects ended: so they do, and managed code has ended, but not the process.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;

namespace System.Runtime.InteropServices
{
    // The compiler's references do not have it, and the CLR knows it by its name.
    [AttributeUsage(AttributeTargets.Method)]
    sealed class SuppressGCTransitionAttribute : Attribute
    {
    }
}

static class Collects
{
    [DllImport("gate"), SuppressGCTransition]
    static extern void gate_stay(int until);

    [DllImport("gate")]
    static extern int gate_waiting();

    [DllImport("gate")]
    static extern void gate_end_late();

    const int Limit = 3000;

    static Thread Begin(string name, ThreadStart run)
    {
        var thread = new Thread(run) { Name = name, IsBackground = true };
        thread.Start();
        return thread;
    }

    static void AwaitSleep(Thread thread)
    {
        while ((thread.ThreadState & ThreadState.WaitSleepJoin) == 0)
            Thread.Sleep(1);
    }

    static void Hang()
    {
        object a = new object(), b = new object();
        CountdownEvent owned = new CountdownEvent(2), goOn = new CountdownEvent(2);
        Func<object, object, ThreadStart> cross = (one, other) => () =>
        {
            lock (one)
            {
                owned.Signal();
                owned.Wait();
                goOn.Signal();
                lock (other)
                    Console.WriteLine("a deadlock is over");
            }
        };
        var threads = new[] { Begin("A then B", cross(a, b)), Begin("B then A", cross(b, a)) };
        // From here on they sleep for nothing else.
        goOn.Wait();
        foreach (var thread in threads)
            AwaitSleep(thread);
    }

    static int Main(string[] arguments)
    {
        Thread.CurrentThread.Name = "main";
        if (arguments[0] == "ended")
        {
            Hang();
            gate_end_late();
            return 0;
        }
        if (arguments[0] == "always")
        {
            Hang();
            for (int many = 0; many < 10; many++)
            {
                var dead = new object();
                Begin("ends with the lock", () => Monitor.Enter(dead)).Join();
                AwaitSleep(Begin("waits for the dead", () => Monitor.Enter(dead)));
            }
            Console.WriteLine("hung");
            while (true)
                GC.Collect();
        }
        // Nothing is left to be compiled or found once a thread stays.
        gate_stay(0);
        gate_waiting();
        GC.Collect();
        Console.WriteLine("begins");
        object a = new object(), b = new object();
        var owned = new CountdownEvent(2);
        int tries = 0, gaveUp = 0, got = 0;
        Func<object, object, ThreadStart> cross = (one, other) => () =>
        {
            lock (one)
            {
                owned.Signal();
                owned.Wait();
                Interlocked.Increment(ref tries);
                if (Monitor.TryEnter(other, Limit))
                    Monitor.Exit(other);
                else
                    Interlocked.Increment(ref gaveUp);
            }
        };
        // One of them at least is taken in time.
        object[] taken = { new object(), new object(), new object(), new object() };
        var takers = new List<Thread>();
        foreach (var one in taken)
        {
            Monitor.Enter(one);
            foreach (var name in new[] { "takes", "waits on" })
                takers.Add(Begin(name, () => { lock (one) Interlocked.Increment(ref got); }));
        }
        foreach (var thread in takers)
            AwaitSleep(thread);
        var stay = new ManualResetEvent(false);
        var stays = Begin("stays", () => { stay.WaitOne(); gate_stay(1); });
        var threads = new[] { Begin("A then B", cross(a, b)), Begin("B then A", cross(b, a)) };
        while (Volatile.Read(ref tries) < 2)
            Thread.Sleep(1);
        foreach (var thread in threads)
            AwaitSleep(thread);
        stay.Set();
        while (gate_waiting() < 1)
            Thread.Sleep(1);
        Console.WriteLine("hung");
        foreach (var one in taken)
            Monitor.Exit(one);
        GC.Collect();
        stays.Join();
        foreach (var thread in threads)
            thread.Join();
        foreach (var thread in takers)
            thread.Join();
        Console.WriteLine("gave up " + gaveUp + ", got " + got);
        return gaveUp > 0 && got == takers.Count ? 0 : 1;
    }
}
