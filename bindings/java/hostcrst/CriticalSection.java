package hostcrst;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.time.Duration;
import java.util.Objects;
import java.util.Optional;

/**
 * A recursive lock that refuses deadlocks: {@code try (CriticalSection.Hold hold = orders.enter()) { ... }}.
 *
 * <p>The owner is a thread of the operating system, so a platform thread: a virtual thread, which moves from one to the
 * other, is refused. {@link Thread#interrupt} does not end a wait.
 */
public final class CriticalSection implements AutoCloseable {
    /** The places of enters that need not wait are of interest, too. */
    private static final boolean RECORDED = isOn("HOSTCRST_HOLDS") || isOn("HOSTCRST_ORDER");

    private static final StackWalker STACK = StackWalker.getInstance();

    /** Thread.isVirtual, where there are virtual threads. */
    private static final MethodHandle IS_VIRTUAL = isVirtual();

    /** What this thread was last called in reports. */
    private static final ThreadLocal<String> NAMED = new ThreadLocal<>();

    private final long handle;
    private final boolean owned;

    /** Reports show the name. */
    public CriticalSection(String name) {
        Objects.requireNonNull(name, "name must not be null");
        long[] out = new long[1];
        HostException.check("create \"" + name + '"', Functions.hostcrst_create(out));
        handle = out[0];
        owned = true;
        int result = Functions.hostcrst_set_name(handle, Library.zeroTerminated(name));
        if (result < 0) {
            Functions.hostcrst_destroy(handle);
            HostException.check("name \"" + name + '"', result);
        }
    }

    private CriticalSection(long handle) {
        this.handle = handle;
        owned = false;
    }

    /** The section of a handle that C or another language has made, and ends. */
    public static CriticalSection ofHandle(long handle) {
        return new CriticalSection(handle);
    }

    public long handle() {
        return handle;
    }

    public String name() {
        byte[] name = new byte[Library.NAME_SIZE];
        Functions.hostcrst_name(handle, name, name.length, new long[1]);
        return Library.text(name);
    }

    /** How many threads are in the section's queue. */
    public int waiters() {
        return Library.waiters(handle);
    }

    /** Blocks until this thread owns the section; it may own it already. Each success needs one close of its hold. */
    public Hold enter() {
        return enter(Library.INFINITE);
    }

    /** Blocks no longer than the limit. A wait with a limit is no part of a deadlock, and not refused for one. */
    public Hold enter(Duration limit) {
        return enter(milliseconds(limit));
    }

    /** Enters if the section is free or owned by this thread; does not wait. */
    public Optional<Hold> tryEnter() {
        beOwner();
        int result = tryNow();
        if (result == HostException.TIMEOUT) {
            return Optional.empty();
        }
        check("try to enter", result);
        return Optional.of(new Hold());
    }

    /** After ABANDONED, takes over a section whose owner ended without leaving it. */
    public Hold recover() {
        beOwner();
        check("recover", Functions.hostcrst_recover(handle));
        return new Hold();
    }

    /**
     * Ends the section, unless it is of ofHandle. It must be free, abandoned, or owned by this thread; who waits for it
     * gets ABANDONED.
     */
    @Override
    public void close() {
        if (owned) {
            check("close", Functions.hostcrst_destroy(handle));
        }
    }

    /** Writes who owns which section and who waits for it, as text, to a descriptor such as 2. */
    public static void report(int descriptor) {
        HostException.check("report", Library.report(descriptor));
    }

    public static String version() {
        return Functions.hostcrst_version();
    }

    /** One success of entering, to be closed once, by the thread that entered. */
    public final class Hold implements AutoCloseable {
        private Hold() {}

        @Override
        public void close() {
            int result = Functions.hostcrst_leave(handle);
            if (result == HostException.NOT_OWNER) {
                long owner = Library.owner(handle);
                throw new HostException(what("leave"), result,
                        owner == 0 ? "; nobody owns it" : "; it is owned by the thread \"" + Library.taskName(owner) + "\"");
            }
            check("leave", result);
        }
    }

    /** Takes a section that is free without telling the place, which takes longer to find out than to enter. */
    private Hold enter(int milliseconds) {
        beOwner();
        int result = RECORDED ? HostException.TIMEOUT : tryNow();
        if (result == HostException.TIMEOUT) {
            result = Functions.hostcrst_enter_at(handle, 0, milliseconds, Library.zeroTerminated(place()));
        }
        check("enter", result);
        return new Hold();
    }

    private int tryNow() {
        int[] entered = new int[1];
        int result = Functions.hostcrst_try_enter(handle, 0, entered);
        return result == 0 && entered[0] == 0 ? HostException.TIMEOUT : result;
    }

    /** Makes sure that this thread can own a section, under its name. */
    private void beOwner() {
        Thread thread = Thread.currentThread();
        if (isVirtual(thread)) {
            throw new IllegalStateException(what("enter") + ": a section is owned by a thread of the operating system, "
                    + "and a virtual thread moves from one to the other. Enter from a platform thread.");
        }
        String name = thread.getName();
        if (!name.equals(NAMED.get())) {
            long[] task = new long[1];
            check("enter", Functions.host_task_current(task));
            check("enter", Functions.host_task_set_name(task[0], Library.zeroTerminated(name)));
            NAMED.set(name);
        }
    }

    private static boolean isVirtual(Thread thread) {
        try {
            return IS_VIRTUAL != null && (boolean) IS_VIRTUAL.invokeExact(thread);
        } catch (Throwable impossible) {
            throw new AssertionError(impossible);
        }
    }

    private static MethodHandle isVirtual() {
        try {
            return MethodHandles.publicLookup().findVirtual(Thread.class, "isVirtual", MethodType.methodType(boolean.class));
        } catch (ReflectiveOperationException olderThan21) {
            return null;
        }
    }

    /** Where the caller of this package is: "Shop.sell (Shop.java:12)". */
    private static String place() {
        String here = CriticalSection.class.getName();
        return STACK.walk(frames -> frames.filter(frame -> !frame.getClassName().equals(here)).findFirst())
                .map(frame -> frame.getClassName().substring(frame.getClassName().lastIndexOf('.') + 1) + '.'
                        + frame.getMethodName() + " (" + frame.getFileName() + ':' + frame.getLineNumber() + ')')
                .orElse("");
    }

    /** Rounded up, to no less than a try and no more than the longest limit there is. */
    private static int milliseconds(Duration limit) {
        Objects.requireNonNull(limit, "limit must not be null");
        long longest = 0xFFFFFFFEL;
        if (limit.compareTo(Duration.ofMillis(longest)) > 0) {
            return (int) longest;
        }
        return limit.isNegative() ? 0 : (int) limit.plusNanos(999_999).toMillis();
    }

    private static boolean isOn(String variable) {
        return "1".equals(System.getenv(variable));
    }

    private void check(String operation, int result) {
        if (result < 0) {
            HostException.check(what(operation), result);
        }
    }

    private String what(String operation) {
        return operation + " \"" + name() + '"';
    }
}
