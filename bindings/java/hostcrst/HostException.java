package hostcrst;

/** A call that failed, with the library's result for it. */
public class HostException extends RuntimeException {
    public static final int TIMEOUT = 0x80131024;
    public static final int NOT_OWNER = 0x80131025;
    /** The owner's thread ended without leaving, see {@link CriticalSection#recover}; or the section was closed. */
    public static final int ABANDONED = 0x80131026;
    public static final int INVALID_OPERATION = 0x80131022;
    public static final int NOT_AVAILABLE = 0x80131023;
    /** There is no such section, or no longer. */
    public static final int NO_SECTION = 0x80070006;
    static final int DEADLOCK = 0x80131020;

    private static final long serialVersionUID = 1;
    private final int result;

    HostException(String what, int result, String detail) {
        super(what + ": " + Functions.host_result_message(result) + detail);
        this.result = result;
    }

    /** One of the constants of this class, or another HRESULT. */
    public int result() {
        return result;
    }

    static void check(String what, int result) {
        if (result == DEADLOCK) {
            throw new DeadlockException(what);
        }
        if (result < 0) {
            throw new HostException(what, result, "");
        }
    }
}
