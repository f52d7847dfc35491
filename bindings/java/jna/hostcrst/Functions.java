package hostcrst;

import com.sun.jna.Native;

/** The functions of hostcrst.h, as JNA maps them: handles are longs, results ints, and what C writes to is an array. */
final class Functions {
    static {
        Native.register("hostcrst");
        Library.begin();
    }

    private Functions() {}

    static native int host_runtime_state(int[] state);

    static native int host_runtime_start();

    static native int hostcrst_create(long[] section);

    static native int hostcrst_set_name(long section, byte[] utf8);

    static native int hostcrst_name(long section, byte[] utf8, long capacity, long[] length);

    static native int hostcrst_enter_at(long section, int option, int milliseconds, byte[] place);

    static native int hostcrst_try_enter(long section, int option, int[] entered);

    static native int hostcrst_leave(long section);

    static native int hostcrst_recover(long section);

    static native int hostcrst_destroy(long section);

    static native int hostcrst_info(long section, byte[] info);

    static native int host_task_current(long[] task);

    static native int host_task_set_name(long task, byte[] utf8);

    static native int host_task_name(long task, byte[] utf8, long capacity, long[] length);

    static native int host_report(int descriptor, int format);

    static native String host_result_message(int result);

    static native String hostcrst_version();
}
