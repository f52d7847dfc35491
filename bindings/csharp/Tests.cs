using System;
using System.IO;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using System.Threading;
using HostCrst;

static class Tests
{
    static int counter;

    static int Main()
    {
        Thread.CurrentThread.Name = "clerk";
        Action[] tests =
        {
            OneThreadAtATime, OnlyTheOwnerLeaves, ALimitEndsAWait, AThreadThatEndsAbandonsWhatItOwns,
            ADeadlockIsRefusedAndReportsNameThreadsAndPlaces, AWaitDoesNotHoldUpTheCollector, WhatNobodyDisposedOfIsEnded,
            WhoWaitsForWhatIsDisposedOfIsTold, HandlesThatAreNone, ANameThatIsNullIsRefused,
        };
        foreach (var test in tests)
        {
            test();
        }
        Console.WriteLine($"{tests.Length} tests passed");
        return 0;
    }

    static void OneThreadAtATime()
    {
        using var shared = new CriticalSection("shared");
        var threads = Enumerable.Range(0, 4).Select(_ => Begin("counts", () =>
        {
            for (int round = 0; round < 5000; round++)
            {
                using (shared.Enter())
                using (shared.Enter())
                {
                    counter++;
                }
            }
        })).ToArray();
        Array.ForEach(threads, End);
        Equal(20000, counter);
    }

    static void OnlyTheOwnerLeaves()
    {
        using var orders = new CriticalSection("orders");
        using (orders.Enter())
        {
            End(Begin("other", () =>
            {
                var refused = Fails(HostException.NotOwner, orders.Leave);
                Equal(true, refused.Message.EndsWith(" the section; it is owned by the thread \"clerk\""), refused.Message);
                Fails(HostException.NotOwner, orders.Dispose);
            }));
        }
        Equal(true, Fails(HostException.NotOwner, orders.Leave).Message.EndsWith(" the section; nobody owns it"));
    }

    static void ALimitEndsAWait()
    {
        using var orders = new CriticalSection("orders");
        Equal(true, orders.TryEnter());
        End(Begin("other", () =>
        {
            Fails(HostException.TimedOut, () => orders.Enter(TimeSpan.FromTicks(1)));
            Fails(HostException.TimedOut, () => orders.Enter(TimeSpan.FromDays(-1)));
            Equal(false, orders.TryEnter());
        }));
        orders.Leave();
        using (orders.Enter(TimeSpan.FromDays(1000)))
        using (orders.Enter(Timeout.InfiniteTimeSpan))
        {
        }
    }

    static void AThreadThatEndsAbandonsWhatItOwns()
    {
        using var orders = new CriticalSection("orders");
        End(Begin("forgets", () => orders.Enter()));
        Fails(HostException.Abandoned, () => orders.Enter());
        using (orders.Recover())
        {
        }
        Fails(HostException.InvalidOperation, () => orders.Recover());
    }

    static void ADeadlockIsRefusedAndReportsNameThreadsAndPlaces()
    {
        using var orders = new CriticalSection("orders");
        using var stock = new CriticalSection("stock");
        Thread restock;
        using (orders.Enter())
        {
            restock = Begin("a long name: restock", () => TakeBoth(stock, orders));
            UntilSomebodyWaits(orders);
            var report = Report();
            Equal(true, Regex.IsMatch(report, "\"a long name: restock\" tid=[^$]*waiting to enter 0x[0-9a-f]+ \"orders\" at " +
                @"TakeBoth \(Tests\.cs:\d+\)"), report);
            Equal(true, Environment.GetEnvironmentVariable("HOSTCRST_HOLDS") != "1" || Regex.IsMatch(report,
                @"owns 0x[0-9a-f]+ ""stock"" recursion=1, entered at TakeBoth \(Tests\.cs:\d+\)"), report);
            var refused = Fails(unchecked((int)0x80131020), () => stock.Enter());
            Equal(true, refused is DeadlockException && refused.Message.StartsWith("enter \"stock\": deadlock"), refused.Message);
        }
        End(restock);
        TakeBoth(stock, orders);
    }

    static void TakeBoth(CriticalSection first, CriticalSection second)
    {
        using (first.Enter())
        using (second.Enter())
        {
        }
    }

    static void AWaitDoesNotHoldUpTheCollector()
    {
        using var orders = new CriticalSection("orders");
        Thread waits;
        using (orders.Enter())
        {
            waits = Begin("waits", () => TakeBoth(orders, orders));
            UntilSomebodyWaits(orders);
            GC.Collect();
        }
        End(waits);
    }

    static void WhatNobodyDisposedOfIsEnded()
    {
        ulong forgotten = Forget(), owned = ForgetWhatIsOwned();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Fails(HostException.NoSection, () => CriticalSection.FromHandle(forgotten).Enter());
        // Not so what a thread owns.
        using var again = CriticalSection.FromHandle(owned);
        again.Leave();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong Forget() => new CriticalSection("forgotten").Handle;

    [MethodImpl(MethodImplOptions.NoInlining)]
    static ulong ForgetWhatIsOwned()
    {
        var section = new CriticalSection("owned");
        section.Enter();
        return section.Handle;
    }

    static void WhoWaitsForWhatIsDisposedOfIsTold()
    {
        var orders = new CriticalSection("orders");
        orders.Enter();
        var waits = Begin("waits", () => Fails(HostException.Abandoned, () => orders.Enter()));
        UntilSomebodyWaits(orders);
        orders.Dispose();
        orders.Dispose();
        End(waits);
    }

    static void HandlesThatAreNone()
    {
        foreach (ulong handle in new ulong[] { 0, 1, ulong.MaxValue })
        {
            Fails(HostException.NoSection, () => CriticalSection.FromHandle(handle).Enter());
        }
        using var section = new CriticalSection("Bestellungen: 20 €");
        using (var same = CriticalSection.FromHandle(section.Handle))
        {
            Equal("Bestellungen: 20 €", same.Name);
        }
        section.Enter().Dispose();
        Equal(true, Regex.IsMatch(CriticalSection.Version, @"^\d+\.\d+\.\d+$"));
    }

    static void ANameThatIsNullIsRefused()
    {
        string argument = null;
        try
        {
            using var section = new CriticalSection(null);
        }
        catch (ArgumentNullException refused)
        {
            argument = refused.ParamName;
        }
        Equal("name", argument);
    }

    static string Report()
    {
        var path = Path.GetTempFileName();
        try
        {
            using (var file = new FileStream(path, FileMode.Create))
            {
                CriticalSection.Report((int)file.SafeFileHandle.DangerousGetHandle());
            }
            return File.ReadAllText(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    static void UntilSomebodyWaits(CriticalSection section)
    {
        while (section.Waiters == 0)
        {
            Thread.Yield();
        }
    }

    static volatile Exception failure;

    static Thread Begin(string name, Action work)
    {
        var thread = new Thread(() =>
        {
            try
            {
                work();
            }
            catch (Exception thrown)
            {
                failure = thrown;
            }
        }) { Name = name };
        thread.Start();
        return thread;
    }

    static void End(Thread thread)
    {
        thread.Join();
        if (failure != null)
        {
            throw new Exception("on another thread", failure);
        }
    }

    static HostException Fails(int result, Action work)
    {
        try
        {
            work();
        }
        catch (HostException failed)
        {
            Equal(result.ToString("x"), failed.HResult.ToString("x"));
            return failed;
        }
        throw new Exception("it did not fail");
    }

    static void Equal<T>(T wanted, T found, string what = null)
    {
        if (!Equals(wanted, found))
        {
            throw new Exception(what ?? $"{found}, not {wanted}");
        }
    }
}
