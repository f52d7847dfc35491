import hostcrst.CriticalSection;

/** A virtual thread is refused, before it owns anything. Needs Java 21. */
public final class VirtualThreadTest {
    private static volatile Throwable thrown;

    public static void main(String[] arguments) throws Exception {
        CriticalSection orders = new CriticalSection("orders");
        for (Runnable work : new Runnable[] {orders::enter, orders::tryEnter, orders::recover}) {
            thrown = null;
            // Compiled for Java 17, which has no such method.
            Thread virtual = (Thread) Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, (Runnable) () -> {
                try {
                    work.run();
                } catch (Throwable refused) {
                    thrown = refused;
                }
            });
            virtual.join();
            if (!(thrown instanceof IllegalStateException) || !thrown.getMessage().contains("Enter from a platform thread.")) {
                throw new AssertionError("not refused", thrown);
            }
        }
        orders.enter().close();
        System.out.println("virtual threads are refused");
    }
}
