import hostcrst.CriticalSection;
import hostcrst.DeadlockException;
import hostcrst.HostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/** CriticalSectionTest REPORT: reports go to descriptor 3, which is that file. */
public final class CriticalSectionTest {
    private static Path report;
    private static int counter;

    public static void main(String[] arguments) throws Exception {
        report = Path.of(arguments[0]);
        testOneThreadAtATime();
        testOnlyTheOwnerLeaves();
        testALimitEndsAWait();
        testAThreadThatEndsAbandonsWhatItOwns();
        testADeadlockIsRefusedAndReportsNameThreadsAndPlaces();
        testHandlesThatAreNone();
        testAnArgumentThatIsNullIsNamed();
        System.out.println("7 tests passed");
    }

    private static void testOneThreadAtATime() throws Exception {
        CriticalSection shared = new CriticalSection("shared");
        Thread[] threads = new Thread[4];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = begin("counts", () -> {
                for (int round = 0; round < 5000; round++) {
                    try (CriticalSection.Hold once = shared.enter(); CriticalSection.Hold twice = shared.enter()) {
                        counter++;
                    }
                }
            });
        }
        for (Thread thread : threads) {
            join(thread);
        }
        equal(counter, 20000);
        shared.close();
    }

    private static void testOnlyTheOwnerLeaves() throws Exception {
        CriticalSection orders = new CriticalSection("orders");
        Thread.currentThread().setName("clerk");
        CriticalSection.Hold hold = orders.enter();
        join(begin("other", () -> {
            HostException refused = fails(HostException.NOT_OWNER, hold::close);
            check(refused.getMessage().endsWith(" the section; it is owned by the thread \"clerk\""), refused.getMessage());
            fails(HostException.NOT_OWNER, orders::close);
        }));
        hold.close();
        HostException refused = fails(HostException.NOT_OWNER, hold::close);
        check(refused.getMessage().endsWith(" the section; nobody owns it"), refused.getMessage());
    }

    private static void testALimitEndsAWait() throws Exception {
        CriticalSection orders = new CriticalSection("orders");
        try (CriticalSection.Hold hold = orders.tryEnter().get()) {
            join(begin("other", () -> {
                fails(HostException.TIMEOUT, () -> orders.enter(Duration.ofNanos(1)));
                fails(HostException.TIMEOUT, () -> orders.enter(Duration.ofSeconds(-1)));
                check(orders.tryEnter().isEmpty(), "entered what another owns");
            }));
        }
        orders.enter(Duration.ofDays(1000)).close();
    }

    private static void testAThreadThatEndsAbandonsWhatItOwns() throws Exception {
        CriticalSection orders = new CriticalSection("orders");
        join(begin("forgets", orders::enter));
        fails(HostException.ABANDONED, orders::enter);
        orders.recover().close();
        fails(HostException.INVALID_OPERATION, orders::recover);
    }

    private static void testADeadlockIsRefusedAndReportsNameThreadsAndPlaces() throws Exception {
        CriticalSection orders = new CriticalSection("orders");
        CriticalSection stock = new CriticalSection("stock");
        try (CriticalSection.Hold hold = orders.enter()) {
            Thread restock = begin("a long name: restock", () -> {
                try (CriticalSection.Hold first = stock.enter(); CriticalSection.Hold second = orders.enter()) {
                    counter++;
                }
            });
            while (orders.waiters() == 0) {
                Thread.yield();
            }
            CriticalSection.report(3);
            String text = Files.readString(report);
            check(text.matches("(?s).*\"a long name: restock\" tid=.*waiting to enter 0x[0-9a-f]+ \"orders\" at "
                    + "CriticalSectionTest.lambda\\S+ \\(CriticalSectionTest.java:\\d+\\).*"), text);
            check(!"1".equals(System.getenv("HOSTCRST_HOLDS"))
                    || text.matches("(?s).*owns 0x[0-9a-f]+ \"stock\" recursion=1, entered at "
                    + "CriticalSectionTest.lambda\\S+ \\(CriticalSectionTest.java:\\d+\\).*"), text);
            HostException refused = fails(0x80131020, stock::enter);
            check(refused instanceof DeadlockException, refused.toString());
            check(refused.getMessage().startsWith("enter \"stock\": deadlock"), refused.getMessage());
            hold.close();
            join(restock);
            orders.enter();
        }
        stock.enter().close();
    }

    private static void testAnArgumentThatIsNullIsNamed() {
        CriticalSection orders = new CriticalSection("orders");
        named("name", () -> new CriticalSection(null));
        named("limit", () -> orders.enter(null));
        orders.close();
    }

    private static void named(String argument, Runnable call) {
        String said = "nothing";
        try {
            call.run();
        } catch (NullPointerException refused) {
            said = refused.getMessage();
        }
        equal(said, argument + " must not be null");
    }

    private static void testHandlesThatAreNone() {
        for (long handle : new long[] {0, 1, -1}) {
            fails(HostException.NO_SECTION, CriticalSection.ofHandle(handle)::enter);
        }
        CriticalSection section = new CriticalSection("Bestellungen: 20 €");
        try (CriticalSection same = CriticalSection.ofHandle(section.handle())) {
            equal(same.name(), "Bestellungen: 20 €");
        }
        section.close();
        fails(HostException.NO_SECTION, section::tryEnter);
        check(CriticalSection.version().matches("\\d+\\.\\d+\\.\\d+"), CriticalSection.version());
    }

    private interface Work {
        void run() throws Exception;
    }

    private static volatile Throwable failure;

    private static Thread begin(String name, Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Throwable thrown) {
                failure = thrown;
            }
        }, name);
        thread.start();
        return thread;
    }

    private static void join(Thread thread) throws Exception {
        thread.join();
        if (failure != null) {
            throw new AssertionError(failure);
        }
    }

    private static HostException fails(int result, Work work) {
        try {
            work.run();
        } catch (HostException failed) {
            equal(Integer.toHexString(failed.result()), Integer.toHexString(result));
            return failed;
        } catch (Exception other) {
            throw new AssertionError(other);
        }
        throw new AssertionError("it did not fail");
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static void equal(Object found, Object wanted) {
        check(found.equals(wanted), found + ", not " + wanted);
    }
}
