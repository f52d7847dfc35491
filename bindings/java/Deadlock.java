import hostcrst.CriticalSection;
import hostcrst.DeadlockException;

/** Two threads take two sections, each in its own order. One is refused, and both go on. */
public final class Deadlock {
    public static void main(String[] arguments) throws InterruptedException {
        CriticalSection orders = new CriticalSection("orders");
        CriticalSection stock = new CriticalSection("stock");
        Thread restock = new Thread(() -> {
            try (CriticalSection.Hold theStock = stock.enter();
                    CriticalSection.Hold theOrders = orders.enter()) { // the other one is refused, and leaves: this one goes on
            }
        }, "restock");

        try (CriticalSection.Hold theOrders = orders.enter()) {
            restock.start();
            while (orders.waiters() == 0) {
                Thread.yield();
            }
            stock.enter();
            throw new AssertionError("not refused");
        } catch (DeadlockException refused) {
            // theOrders is closed by now.
        }
        restock.join();
        try (CriticalSection.Hold theStock = stock.enter()) {
            System.out.println("refused: deadlock; both went on");
        }
    }
}
