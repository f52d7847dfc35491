// The compiler refuses this: a section cannot be owned across an await.
using System.Threading.Tasks;
using HostCrst;

static class Awaits
{
    static async Task Main()
    {
        using var orders = new CriticalSection("orders");
        using (orders.Enter())
        {
            await Task.Yield();
        }
    }
}
