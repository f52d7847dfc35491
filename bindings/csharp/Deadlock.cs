// Two threads take two sections, each in its own order. One is refused, and both go on.

using System;
using System.Threading;
using HostCrst;

static class Deadlock
{
    static void Main()
    {
        using var orders = new CriticalSection("orders");
        using var stock = new CriticalSection("stock");
        var restock = new Thread(() =>
        {
            using (stock.Enter())
            using (orders.Enter()) // the other one is refused, and leaves: this one goes on
            {
            }
        }) { Name = "restock" };

        try
        {
            using (orders.Enter())
            {
                restock.Start();
                while (orders.Waiters == 0)
                {
                    Thread.Yield();
                }
                stock.Enter();
                throw new InvalidOperationException("not refused");
            }
        }
        catch (DeadlockException)
        {
            // The orders are left by now.
        }
        restock.Join();
        using (stock.Enter())
        {
            Console.WriteLine("refused: deadlock; both went on");
        }
    }
}
