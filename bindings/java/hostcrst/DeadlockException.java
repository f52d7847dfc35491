package hostcrst;

/** This wait would have been the last of a deadlock, and was refused. Leave what this thread owns, and try again. */
public final class DeadlockException extends HostException {
    private static final long serialVersionUID = 1;

    DeadlockException(String what) {
        super(what, DEADLOCK, "");
    }
}
