// C# locks under stress, each wait of a kind drawn at random: Contend WAITS monitors|locks, until so many had to wait. Those are
// Monitors, or where there are some System.Threading.Lock. Threads take two of a few locks in their order, so no
// deadlock is one; with a limit some take them against it, and threads are interrupted, pulsed, and end owning a lock. The
// collector moves what it can meanwhile. The program counts for itself what each lock protects: a wrong count ends it with 1.

using System;
using System.Runtime.InteropServices;
using System.Threading;

static class Contend
{
    const int Locks = 6;
    const int Workers = 8;

    static readonly Action[] enter = new Action[Locks], exit = new Action[Locks];
    static readonly Func<int, bool>[] tryEnter = new Func<int, bool>[Locks];
    // What each lock protects, not atomic; and the same count kept apart.
    static readonly long[] protectedCounts = new long[Locks];
    static readonly long[] counts = new long[Locks];
    static readonly Thread[] workers = new Thread[Workers];
    static readonly CountdownEvent arrived = new CountdownEvent(Workers);
    static readonly ManualResetEvent reported = new ManualResetEvent(false);
    static readonly object pulses = new object();
    static long wanted;
    static long interrupted, timedOut, pulsed, died;

    [DllImport("hostcrst")]
    static extern int host_report(int descriptor, uint format);

    static void Hold(int which, Random random)
    {
        protectedCounts[which]++;
        Interlocked.Increment(ref counts[which]);
        // Others are to wait, not only to spin.
        if (random.Next(4) == 0)
            Thread.Sleep(random.Next(2));
        GC.KeepAlive(new byte[random.Next(20000)]);
    }

    static void Holding(int which, Action run)
    {
        enter[which]();
        try { run(); } finally { exit[which](); }
    }

    static void TakeTwo(Random random)
    {
        int first = random.Next(Locks - 1), second = first + 1 + random.Next(Locks - 1 - first);
        Holding(first, () =>
        {
            Hold(first, random);
            Holding(second, () => Hold(second, random));
        });
    }

    static void TakeAgainstOrder(Random random)
    {
        int first = random.Next(Locks - 1), second = first + 1 + random.Next(Locks - 1 - first);
        Holding(second, () =>
        {
            Hold(second, random);
            if (!tryEnter[first](random.Next(1, 5)))
            {
                Interlocked.Increment(ref timedOut);
                return;
            }
            try { Hold(first, random); } finally { exit[first](); }
        });
    }

    static void AwaitPulse(Random random)
    {
        lock (pulses)
        {
            Monitor.Pulse(pulses);
            if (Monitor.Wait(pulses, random.Next(1, 5)))
                Interlocked.Increment(ref pulsed);
        }
        int which = random.Next(Locks);
        Holding(which, () => Hold(which, random));
    }

    static void Create(int which, Type type)
    {
        if (type == null)
        {
            var monitor = new object();
            enter[which] = () => Monitor.Enter(monitor);
            exit[which] = () => Monitor.Exit(monitor);
            tryEnter[which] = limit => Monitor.TryEnter(monitor, limit);
            return;
        }
        // The compiler's references do not have it.
        object created = Activator.CreateInstance(type);
        enter[which] = (Action)Delegate.CreateDelegate(typeof(Action), created, "Enter");
        exit[which] = (Action)Delegate.CreateDelegate(typeof(Action), created, "Exit");
        tryEnter[which] = (Func<int, bool>)Delegate.CreateDelegate(typeof(Func<int, bool>), created, "TryEnter");
    }

    // A lock of its own, as nobody gets it any more.
    static void DieOwning()
    {
        var orphan = new object();
        var dies = new Thread(() => Monitor.Enter(orphan));
        dies.Start();
        dies.Join();
        if (Monitor.TryEnter(orphan, 2))
            throw new Exception("a lock is not abandoned");
        Interlocked.Increment(ref died);
    }

    static void Work(int seed)
    {
        var random = new Random(seed);
        while (Monitor.LockContentionCount < wanted)
        {
            try
            {
                int kind = random.Next(20);
                if (kind < 12) TakeTwo(random);
                else if (kind < 15) TakeAgainstOrder(random);
                else if (kind < 18) AwaitPulse(random);
                else if (kind < 19) workers[random.Next(Workers)].Interrupt();
                else if (random.Next(10) == 0) DieOwning();
            }
            catch (ThreadInterruptedException)
            {
                Interlocked.Increment(ref interrupted);
            }
        }
        arrived.Signal();
        // No wait for a lock is to be left, also of a thread whose last one was interrupted.
        for (;;)
        {
            try { reported.WaitOne(); return; } catch (ThreadInterruptedException) { }
        }
    }

    // The second thread is held back until the CLR writes its events, for five seconds at most. Collections go on.
    static bool CollectsWhileTheSecondThreadBegins()
    {
        bool hasBegun = false;
        int longest = 0;
        new Thread(() => Volatile.Write(ref hasBegun, true)).Start();
        while (!Volatile.Read(ref hasBegun))
        {
            int begin = Environment.TickCount;
            GC.Collect();
            longest = Math.Max(longest, Environment.TickCount - begin);
        }
        Console.WriteLine("a collection takes " + longest + " ms at most while the second thread begins");
        return longest < 5000;
    }

    static int Main(string[] arguments)
    {
        if (!CollectsWhileTheSecondThreadBegins())
            return 2;
        wanted = long.Parse(arguments[0]);
        var type = arguments[1] == "locks" ? Type.GetType("System.Threading.Lock", true) : null;
        for (int which = 0; which < Locks; which++)
            Create(which, type);
        for (int number = 0; number < Workers; number++)
        {
            int seed = number;
            workers[number] = new Thread(() => Work(seed)) { Name = "worker " + number };
        }
        bool runs = true;
        var collector = new Thread(() => { while (Volatile.Read(ref runs)) { GC.Collect(); Thread.Sleep(5); } });
        collector.Start();
        foreach (var worker in workers)
            worker.Start();
        arrived.Wait();
        host_report(1, 0);
        reported.Set();
        foreach (var worker in workers)
            worker.Join();
        Volatile.Write(ref runs, false);
        collector.Join();
        for (int which = 0; which < Locks; which++)
            if (protectedCounts[which] != counts[which])
                return 1;
        Console.WriteLine("interrupted {0}, timed out {1}, pulsed {2}, died owning {3}, of {4} contended waits",
            interrupted, timedOut, pulsed, died, Monitor.LockContentionCount);
        return interrupted * timedOut * pulsed * died == 0 ? 2 : 0;
    }
}
