// Threads that hang, each in another way, to be looked at from inside and outside: Hangs CASE. It says "hung" once each
// thread waits, after a report of its own if CASE ends with '+', and ends when its input does.

using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Threading;

static class Library
{
    [DllImport("hostcrst")]
    public static extern int hostcrst_create(out ulong section);

    [DllImport("hostcrst")]
    public static extern int hostcrst_set_name(ulong section, string name);

    [DllImport("hostcrst")]
    public static extern int hostcrst_enter(ulong section, uint option);

    [DllImport("hostcrst")]
    public static extern int host_report(int descriptor, uint format);
}

static class Native
{
    [DllImport("libc.so.6")]
    public static extern int pthread_mutex_lock(IntPtr mutex);

    [DllImport("libc.so.6")]
    public static extern int pause();

    // All of it zero is a mutex.
    public static IntPtr NewMutex()
    {
        var mutex = Marshal.AllocHGlobal(64);
        for (int at = 0; at < 64; at += 8)
            Marshal.WriteInt64(mutex, at, 0);
        return mutex;
    }
}

static class Hangs
{
    // Code of methods with type parameters is shared.
    static class In<T>
    {
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static void Enter<U>(ulong section)
        {
            Library.hostcrst_enter(section, 0);
        }
    }

    // What has a lock of another type than most.
    class Till
    {
    }

    static Thread Begin(string name, ThreadStart run)
    {
        var thread = new Thread(run) { Name = name, IsBackground = true };
        thread.Start();
        return thread;
    }

    // From here on those that meet sleep for nothing else than what they wait for next.
    static void Meet(CountdownEvent all)
    {
        all.Signal();
        while (!all.IsSet)
            Thread.Yield();
    }

    // Two threads, each of which takes one and then waits for the other's.
    static Thread[] Cross(string one, Action takeOne, string other, Action takeOther)
    {
        var both = new CountdownEvent(2);
        var threads = new[]
        {
            Begin(one, () => { takeOne(); Meet(both); takeOther(); }),
            Begin(other, () => { takeOther(); Meet(both); takeOne(); })
        };
        both.Wait();
        return threads;
    }

    // A System.Threading.Lock, which the compiler's references do not have.
    static object NewLock()
    {
        return Activator.CreateInstance(Type.GetType("System.Threading.Lock", true));
    }

    static T MethodOf<T>(object of, string name) where T : class
    {
        return (T)(object)Delegate.CreateDelegate(typeof(T), of, name);
    }

    static Action EnterOfNewLock()
    {
        return MethodOf<Action>(NewLock(), "Enter");
    }

    static void Contend(object taken)
    {
        Thread waiter;
        lock (taken)
        {
            waiter = Begin("waits for a moment", () => { lock (taken) { } });
            AwaitSleep(waiter);
        }
        waiter.Join();
    }

    static Thread[] Hang(string how)
    {
        object a = new object(), b = new Till();
        switch (how)
        {
            case "monitors":
                return Cross("A then B", () => Monitor.Enter(a), "B then A", () => Monitor.Enter(b));
            case "locks":
            {
                Action enterOne = EnterOfNewLock();
                // What is garbage when the collector comes, so that the other lock is moved.
                GC.KeepAlive(new byte[5000]);
                return Cross("A then B", enterOne, "B then A", EnterOfNewLock());
            }
            case "barged":
            {
                // Who waits is woken again and again, finds the lock taken, and sleeps in the same wait again.
                object taken = NewLock();
                Action enter = MethodOf<Action>(taken, "Enter"), exit = MethodOf<Action>(taken, "Exit");
                var held = new ManualResetEvent(false);
                var has = new ManualResetEvent(false);
                var barges = Begin("barges", () =>
                {
                    enter();
                    held.Set();
                    has.WaitOne();
                    for (int turn = 0; turn < 2000; turn++) { exit(); enter(); }
                    Thread.Sleep(Timeout.Infinite);
                });
                held.WaitOne();
                var waits = Begin("waits for a lock", () => { for (;;) { enter(); exit(); } });
                AwaitSleep(waits);
                // It has waited until its limit, and sleeps in something else.
                var tryEnter = MethodOf<Func<int, bool>>(taken, "TryEnter");
                var timedOut = new ManualResetEvent(false);
                Begin("gave up", () => { tryEnter(20); timedOut.Set(); Native.pause(); });
                timedOut.WaitOne();
                has.Set();
                AwaitSleep(barges);
                return new[] { barges, waits };
            }
            case "mixed":
            {
                ulong section;
                Library.hostcrst_create(out section);
                Library.hostcrst_set_name(section, "section");
                return Cross("lock then section", () => Monitor.Enter(a), "section then lock",
                    () => In<string>.Enter<object>(section));
            }
            case "native":
            {
                IntPtr m = Native.NewMutex(), n = Native.NewMutex();
                return Cross("M then N", () => Native.pthread_mutex_lock(m), "N then M", () => Native.pthread_mutex_lock(n));
            }
            case "limited":
                // Each gives up after a time, which is not a deadlock.
                return Cross("A then B", () => Monitor.TryEnter(a, 1000000), "B then A", () => Monitor.TryEnter(b, 1000000));
            case "abandoned":
                // It is by a wait for what is owned that the library learns how to read owners.
                Contend(b);
                Begin("ends with the lock", () => Monitor.Enter(a)).Join();
                return new[] { Begin("waits for the dead", () => Monitor.Enter(a)) };
            case "outlived":
            {
                // Others wait already when the owner ends, and it stays the owner.
                Contend(b);
                var owns = new ManualResetEvent(false);
                var ends = new ManualResetEvent(false);
                var dies = Begin("ends with the lock", () => { Monitor.Enter(a); owns.Set(); ends.WaitOne(); });
                owns.WaitOne();
                var waits = Begin("waits for the dead", () => Monitor.Enter(a));
                AwaitSleep(waits);
                ends.Set();
                dies.Join();
                return new[] { waits };
            }
            case "crowd":
            {
                // Many wait for one lock whose owner has ended, and then come deadlocks, all at about the same time.
                Contend(b);
                Begin("ends with the lock", () => Monitor.Enter(a)).Join();
                var threads = new List<Thread>();
                for (int waiter = 0; waiter < 70; waiter++)
                {
                    threads.Add(Begin("waits for the dead", () => Monitor.Enter(a)));
                    AwaitSleep(threads[waiter]);
                }
                const int Pairs = 20;
                var ready = new CountdownEvent(2 * Pairs);
                for (int pair = 0; pair < Pairs; pair++)
                {
                    object c = new object(), d = new object();
                    foreach (var locks in new[] { new[] { c, d }, new[] { d, c } })
                        threads.Add(Begin("crosses", () => { Monitor.Enter(locks[0]); Meet(ready); Monitor.Enter(locks[1]); }));
                }
                ready.Wait();
                return threads.ToArray();
            }
            case "orphaned":
            {
                // The same of a System.Threading.Lock: it stays owned by a thread that is no more.
                object taken = NewLock(), other = NewLock();
                Action enter = MethodOf<Action>(taken, "Enter"), enterOther = MethodOf<Action>(other, "Enter");
                enterOther();
                Begin("waits for the living", () => enterOther());
                Begin("ends with the lock", () => enter()).Join();
                return new[] { Begin("waits for the dead", () => enter()) };
            }
            case "handler":
                // Until the process ends waits are seen, and in the last handler they are not.
                Contend(b);
                AppDomain.CurrentDomain.ProcessExit += (sender, arguments) => Library.host_report(1, 0);
                return new Thread[0];
            case "interrupted":
            {
                // The wait for the lock is over, though the CLR writes no event of that.
                var waits = new ManualResetEvent(false);
                Monitor.Enter(a);
                var interrupted = Begin("was interrupted", () =>
                {
                    try { Monitor.Enter(a); } catch (ThreadInterruptedException) { waits.Set(); }
                    Thread.Sleep(Timeout.Infinite);
                });
                AwaitSleep(interrupted);
                interrupted.Interrupt();
                waits.WaitOne();
                return new[] { interrupted };
            }
            case "blocked":
            {
                // With the second thread the CLR begins to tell of waits for locks: this one's is not to be missed.
                var c = new object();
                Monitor.Enter(c);
                var second = Begin("waits at once", () => { lock (c) { } });
                var held = new ManualResetEvent(false);
                var holder = Begin("holds a lock", () => { lock (a) { held.Set(); Thread.Sleep(Timeout.Infinite); } });
                held.WaitOne();
                Begin("spins", () => { for (;;) { } });
                Begin("in native code", () => Native.pause());
                return new[]
                {
                    second,
                    holder,
                    Begin("waits for a lock", () => { lock (a) { } }),
                    Begin("waits for a pulse", () => { lock (b) Monitor.Wait(b); }),
                    Begin("waits for an event", () => new ManualResetEvent(false).WaitOne()),
                    Begin("joins", () => holder.Join())
                };
            }
            default:
                throw new ArgumentException(how);
        }
    }

    static void AwaitSleep(Thread thread)
    {
        while ((thread.ThreadState & ThreadState.WaitSleepJoin) == 0)
            Thread.Sleep(1);
    }

    static int Main(string[] arguments)
    {
        Thread.CurrentThread.Name = "main";
        var how = arguments[0];
        foreach (var thread in Hang(how.TrimEnd('+')))
        {
            // In native code it is none that the CLR knows to sleep.
            if (how.StartsWith("native") || how.StartsWith("mixed"))
                Thread.Sleep(300);
            else
                AwaitSleep(thread);
        }
        // The collector moves what is locked.
        GC.Collect();
        if (how.EndsWith("+"))
        {
            // A deadlock is one once it has stood for a while.
            Thread.Sleep(1000);
            Library.host_report(1, 0);
        }
        Console.WriteLine("hung");
        Console.In.ReadToEnd();
        return 0;
    }
}
