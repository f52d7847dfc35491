package hostcrst;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The functions of hostcrst.h, by the foreign functions of Java 22 and later: nothing but the library is needed.
 *
 * <p>What neither waits nor calls anything gets arrays as they lie in the heap, which stands still for it ("critical").
 * What may wait gets copies.
 */
final class Functions {
    private static final AddressLayout TEXT =
            ADDRESS.withTargetLayout(MemoryLayout.sequenceLayout(Long.MAX_VALUE, ValueLayout.JAVA_BYTE));
    private static final SymbolLookup LIBRARY = library();

    private static final MethodHandle RUNTIME_STATE = critical("host_runtime_state", ADDRESS);
    private static final MethodHandle RUNTIME_START = function("host_runtime_start");
    private static final MethodHandle CREATE = function("hostcrst_create", ADDRESS);
    private static final MethodHandle SET_NAME = function("hostcrst_set_name", JAVA_LONG, ADDRESS);
    private static final MethodHandle NAME = critical("hostcrst_name", JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS);
    private static final MethodHandle ENTER_AT = function("hostcrst_enter_at", JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS);
    private static final MethodHandle TRY_ENTER = function("hostcrst_try_enter", JAVA_LONG, JAVA_INT, ADDRESS);
    private static final MethodHandle LEAVE = function("hostcrst_leave", JAVA_LONG);
    private static final MethodHandle RECOVER = function("hostcrst_recover", JAVA_LONG);
    private static final MethodHandle DESTROY = function("hostcrst_destroy", JAVA_LONG);
    private static final MethodHandle INFO = critical("hostcrst_info", JAVA_LONG, ADDRESS);
    private static final MethodHandle TASK_CURRENT = function("host_task_current", ADDRESS);
    private static final MethodHandle TASK_SET_NAME = function("host_task_set_name", JAVA_LONG, ADDRESS);
    private static final MethodHandle TASK_NAME = critical("host_task_name", JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS);
    private static final MethodHandle REPORT = function("host_report", JAVA_INT, JAVA_INT);
    private static final MethodHandle RESULT_MESSAGE = text("host_result_message", JAVA_INT);
    private static final MethodHandle VERSION = text("hostcrst_version");

    static {
        Library.begin();
    }

    private Functions() {}

    static int host_runtime_state(int[] state) {
        return call(() -> (int) RUNTIME_STATE.invokeExact(MemorySegment.ofArray(state)));
    }

    static int host_runtime_start() {
        return call(() -> (int) RUNTIME_START.invokeExact());
    }

    static int hostcrst_create(long[] section) {
        return withCopy(MemorySegment.ofArray(section), out -> (int) CREATE.invokeExact(out));
    }

    static int hostcrst_set_name(long section, byte[] utf8) {
        return withCopy(MemorySegment.ofArray(utf8), name -> (int) SET_NAME.invokeExact(section, name));
    }

    static int hostcrst_name(long section, byte[] utf8, long capacity, long[] length) {
        return call(() -> (int) NAME.invokeExact(
                section, MemorySegment.ofArray(utf8), capacity, MemorySegment.ofArray(length)));
    }

    static int hostcrst_enter_at(long section, int option, int milliseconds, byte[] place) {
        return withCopy(MemorySegment.ofArray(place),
                text -> (int) ENTER_AT.invokeExact(section, option, milliseconds, text));
    }

    static int hostcrst_try_enter(long section, int option, int[] entered) {
        return withCopy(MemorySegment.ofArray(entered),
                out -> (int) TRY_ENTER.invokeExact(section, option, out));
    }

    static int hostcrst_leave(long section) {
        return call(() -> (int) LEAVE.invokeExact(section));
    }

    static int hostcrst_recover(long section) {
        return call(() -> (int) RECOVER.invokeExact(section));
    }

    static int hostcrst_destroy(long section) {
        return call(() -> (int) DESTROY.invokeExact(section));
    }

    static int hostcrst_info(long section, byte[] info) {
        return call(() -> (int) INFO.invokeExact(section, MemorySegment.ofArray(info)));
    }

    static int host_task_current(long[] task) {
        return withCopy(MemorySegment.ofArray(task), out -> (int) TASK_CURRENT.invokeExact(out));
    }

    static int host_task_set_name(long task, byte[] utf8) {
        return withCopy(MemorySegment.ofArray(utf8), name -> (int) TASK_SET_NAME.invokeExact(task, name));
    }

    static int host_task_name(long task, byte[] utf8, long capacity, long[] length) {
        return call(() -> (int) TASK_NAME.invokeExact(
                task, MemorySegment.ofArray(utf8), capacity, MemorySegment.ofArray(length)));
    }

    static int host_report(int descriptor, int format) {
        return call(() -> (int) REPORT.invokeExact(descriptor, format));
    }

    static String host_result_message(int result) {
        return call(() -> (MemorySegment) RESULT_MESSAGE.invokeExact(result)).getString(0);
    }

    static String hostcrst_version() {
        return call(() -> (MemorySegment) VERSION.invokeExact()).getString(0);
    }

    /** In java.library.path, or else where the system finds the libraries of programs. */
    private static SymbolLookup library() {
        try {
            System.loadLibrary("hostcrst");
            return SymbolLookup.loaderLookup();
        } catch (UnsatisfiedLinkError notInThatPath) {
            return SymbolLookup.libraryLookup("libhostcrst.so.0", Arena.global());
        }
    }

    private static MethodHandle function(String name, MemoryLayout... parameters) {
        return handle(name, FunctionDescriptor.of(JAVA_INT, parameters));
    }

    private static MethodHandle critical(String name, MemoryLayout... parameters) {
        return handle(name, FunctionDescriptor.of(JAVA_INT, parameters), Linker.Option.critical(true));
    }

    private static MethodHandle text(String name, MemoryLayout... parameters) {
        return handle(name, FunctionDescriptor.of(TEXT, parameters));
    }

    private static MethodHandle handle(String name, FunctionDescriptor type, Linker.Option... options) {
        MemorySegment address = LIBRARY.find(name).orElseThrow(() -> new UnsatisfiedLinkError(name));
        return Linker.nativeLinker().downcallHandle(address, type, options);
    }

    private interface Call<T> {
        T invoke() throws Throwable;
    }

    private interface CallWith {
        int invoke(MemorySegment copy) throws Throwable;
    }

    private static <T> T call(Call<T> call) {
        try {
            return call.invoke();
        } catch (RuntimeException | Error unchecked) {
            throw unchecked;
        } catch (Throwable impossible) {
            throw new AssertionError(impossible);
        }
    }

    /** Calls with a copy of the array, and copies back what C has written to it. */
    private static int withCopy(MemorySegment array, CallWith call) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment copy = arena.allocate(array.byteSize(), Long.BYTES).copyFrom(array);
            int result = call(() -> call.invoke(copy));
            array.copyFrom(copy);
            return result;
        }
    }
}
