package hostcrst;

import com.sun.jna.Native;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.LongByReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** The functions of hostcrst.h, as JNA maps them: handles are longs, results ints. */
final class Library {
    static final int INFINITE = 0xFFFFFFFF;
    static final int NAME_SIZE = 57;
    private static final int NOT_LOADED = 0;
    private static final int TEXT = 0;

    /** hostcrst_info_t: owner at 8, waiters at 20. */
    private static final int INFO_SIZE = 40;

    static {
        Native.register("hostcrst");
        IntByReference state = new IntByReference();
        host_runtime_state(state);
        // Unless somebody has begun the runtime; if it was stopped since, that is the program's will.
        if (state.getValue() == NOT_LOADED) {
            HostException.check("start", host_runtime_start());
        }
    }

    private Library() {}

    static native int host_runtime_state(IntByReference state);

    static native int host_runtime_start();

    static native int hostcrst_create(LongByReference out);

    static native int hostcrst_set_name(long section, byte[] utf8);

    static native int hostcrst_name(long section, byte[] utf8, long capacity, LongByReference length);

    static native int hostcrst_enter_at(long section, int option, int milliseconds, byte[] place);

    static native int hostcrst_try_enter(long section, int option, IntByReference entered);

    static native int hostcrst_leave(long section);

    static native int hostcrst_recover(long section);

    static native int hostcrst_destroy(long section);

    static native int hostcrst_info(long section, byte[] info);

    static native int host_task_current(LongByReference out);

    static native int host_task_set_name(long task, byte[] utf8);

    static native int host_task_name(long task, byte[] utf8, long capacity, LongByReference length);

    static native int host_report(int descriptor, int format);

    static native String host_result_message(int result);

    static native String hostcrst_version();

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
        hostcrst_info(section, info.array());
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
        host_task_name(task, name, NAME_SIZE, new LongByReference());
        return text(name);
    }

    static int report(int descriptor) {
        return host_report(descriptor, TEXT);
    }
}
