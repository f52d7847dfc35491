package hostcrst;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** What the classes of this package know of hostcrst.h beside its functions, which {@code Functions} has. */
final class Library {
    static final int INFINITE = 0xFFFFFFFF;
    static final int NAME_SIZE = 57;
    private static final int NOT_LOADED = 0;
    private static final int TEXT = 0;

    /** hostcrst_info_t: owner at 8, waiters at 20. */
    private static final int INFO_SIZE = 40;

    private Library() {}

    /** Begins the runtime, unless somebody has; if it was stopped since, that is the program's will. */
    static void begin() {
        int[] state = new int[1];
        Functions.host_runtime_state(state);
        if (state[0] == NOT_LOADED) {
            HostException.check("start", Functions.host_runtime_start());
        }
    }

    static byte[] zeroTerminated(String text) {
        return (text + '\0').getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] zeroTerminated) {
        int length = 0;
        while (zeroTerminated[length] != 0) {
            length++;
        }
        return new String(zeroTerminated, 0, length, StandardCharsets.UTF_8);
    }

    static ByteBuffer info(long section) {
        ByteBuffer info = ByteBuffer.allocate(INFO_SIZE).order(ByteOrder.nativeOrder()).putInt(0, INFO_SIZE);
        Functions.hostcrst_info(section, info.array());
        return info;
    }

    static long owner(long section) {
        return info(section).getLong(8);
    }

    static int waiters(long section) {
        return info(section).getInt(20);
    }

    static String taskName(long task) {
        byte[] name = new byte[NAME_SIZE];
        Functions.host_task_name(task, name, NAME_SIZE, new long[1]);
        return text(name);
    }

    static int report(int descriptor) {
        return Functions.host_report(descriptor, TEXT);
    }
}
