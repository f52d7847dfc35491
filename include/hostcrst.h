/*
 * hostcrst: critical sections that do not hang silently, and reports of which thread owns which section, which one
 * waits for it, and what managed or native code each thread is in.
 *
 * Results. Every function that can fail returns an int32_t HRESULT: zero or positive for success, negative for
 * failure. A failure changes nothing, except where the function says so. host_result_message() returns a sentence for
 * each code. If several apply, the first of these is returned: E_POINTER, HOST_E_CLRNOTAVAILABLE, E_INVALIDARG,
 * E_HANDLE, any other.
 *
 * Out parameters are written on every path, with 0 on failure. NULL for one is refused with E_POINTER.
 *
 * Handles. hostcrst_t and host_task_t are numbers, not addresses; 0 is never valid. A handle that is forged, of
 * the wrong kind, or whose object no longer exists is refused with E_HANDLE. No argument causes undefined behaviour,
 * except a pointer to memory that cannot be accessed.
 *
 * Options. An option bit that a function does not know is refused with E_INVALIDARG.
 *
 * Threads. Every function may be called from any thread, without set-up; a thread becomes a task at its first
 * call. No call unwinds or changes errno. None ends the process, except on a deadlock under HOST_DEADLOCK_ABORT.
 *
 * Owners. What owns a section is a thread of the operating system, and only that thread can leave it. What moves
 * from thread to thread has to stay on one from enter to leave: a goroutine by runtime.LockOSThread; an async function
 * must not await in between. What shares a thread is one owner, and enters again what another one owns: fibers, green
 * threads, coroutines and async functions of one thread. A virtual thread of Java moves and shares, and cannot be kept
 * from it: it must not enter. For each language, bindings/ ties, refuses or says so.
 *
 * Cancellation. No call is a cancellation point. Asynchronous cancellation must not be enabled during a call.
 *
 * Signals. No function is async-signal-safe unless its comment says so. A signal handler that interrupts a call must
 * return to it, not leave it by longjmp or pthread_exit: after a jump out of a wait the thread stays in the queue
 * until it ends, and can wait for nothing else.
 *
 * Fork. Any thread may fork at any moment; the child has the task of the thread that forked. In a child of _Fork, or
 * of the bare system call, that thread must call host_task_current before it starts another thread; otherwise
 * sections of threads that do not exist in the child stay owned. If a signal handler that interrupted a call of the
 * library made the child, that call goes on there; a wait ends when its thread next wakes up, which it does by itself.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef HOSTCRST_H
#define HOSTCRST_H

/* Generated from src/ffi by build.rs. Do not edit: change the source, then run ./dev header. */

#include <stddef.h>
#include <stdint.h>

/* The version of this header; hostcrst_version() tells that of the library. */
#define HOSTCRST_VERSION_MAJOR 0
#define HOSTCRST_VERSION_MINOR 1
#define HOSTCRST_VERSION_PATCH 0
/* One number to compare: 1.2.3 is 1002003. */
#define HOSTCRST_VERSION_NUMBER 1000
#define HOSTCRST_VERSION_STRING "0.1.0"

#if defined(__cplusplus) && __cplusplus < 201103L
#error "hostcrst.h needs C++11 or later"
#endif

/*
 * The attribute of each function. With GCC a call does not go through the procedure linkage table; the dynamic linker
 * therefore binds the functions when the program is loaded. To bind them lazily, define this macro as nothing before
 * the header is included.
 */
#ifndef HOSTCRST_API
#ifdef __has_attribute
#if __has_attribute(noplt)
#define HOSTCRST_API __attribute__((noplt))
#endif
#endif
#endif
#ifndef HOSTCRST_API
#define HOSTCRST_API
#endif

/*
 * The attribute of each result without which the caller cannot go on. To be rid of the compiler's warnings, define this
 * macro as nothing before the header is included.
 */
#ifndef HOSTCRST_NODISCARD
#if defined(__cplusplus) && __cplusplus >= 201703L
#define HOSTCRST_NODISCARD [[nodiscard]]
#elif !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ > 201710L
#define HOSTCRST_NODISCARD [[nodiscard]]
#elif defined(__has_attribute)
#if __has_attribute(warn_unused_result)
#define HOSTCRST_NODISCARD __attribute__((warn_unused_result))
#endif
#endif
#endif
#ifndef HOSTCRST_NODISCARD
#define HOSTCRST_NODISCARD
#endif

/* Of each function that calls none of the program's: no exception comes out of it. */
#ifdef __cplusplus
#define HOSTCRST_NOEXCEPT_ noexcept
#else
#define HOSTCRST_NOEXCEPT_
#endif

/* Part of a callback's type: it must not throw, which C++ can say of a type from C++17 on. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define HOSTCRST_CALLBACK_ noexcept
#else
#define HOSTCRST_CALLBACK_
#endif

/* A program that is compiled with -fsanitize=thread tells ThreadSanitizer of its sections: docs/sanitizers.md. */
#if defined(__SANITIZE_THREAD__)
#define HOSTCRST_TSAN_
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOSTCRST_TSAN_
#endif
#endif

/*
 * The names below have Microsoft's values. Another header (of Windows, or WinPR's winpr/windows.h) may define some of
 * them too, and may be included before or after this one: names that are already macros are left alone, and the names
 * defined here are not macros, so a later #define does not redefine them.
 */
#ifdef __cplusplus
#define HOSTCRST_CONSTANT_(name, value) static constexpr int32_t name = value
#else
#define HOSTCRST_CONSTANT_(name, value) enum { name = value }
#endif

/* The call succeeded. */
#ifndef S_OK
HOSTCRST_CONSTANT_(S_OK, 0);
#endif

/* The call succeeded and there was nothing to do. */
#ifndef S_FALSE
HOSTCRST_CONSTANT_(S_FALSE, 1);
#endif

/* 0x80004001: This request is known and refused in this version. */
#ifndef E_NOTIMPL
HOSTCRST_CONSTANT_(E_NOTIMPL, -2147467263);
#endif

/* 0x80004002: The object does not answer for the interface asked for. */
#ifndef E_NOINTERFACE
HOSTCRST_CONSTANT_(E_NOINTERFACE, -2147467262);
#endif

/* 0x80004003: An argument that must point to something was NULL. */
#ifndef E_POINTER
HOSTCRST_CONSTANT_(E_POINTER, -2147467261);
#endif

/* 0x80004005: The operating system refused something that the library cannot do without. */
#ifndef E_FAIL
HOSTCRST_CONSTANT_(E_FAIL, -2147467259);
#endif

/* 0x80070006: The handle is zero, forged, of another kind, or its object no longer exists. */
#ifndef E_HANDLE
HOSTCRST_CONSTANT_(E_HANDLE, -2147024890);
#endif

/* 0x8007000E: Nothing was allocated and nothing changed. */
#ifndef E_OUTOFMEMORY
HOSTCRST_CONSTANT_(E_OUTOFMEMORY, -2147024882);
#endif

/* 0x80070057: A value, option bit, size or descriptor is not one that this function takes. */
#ifndef E_INVALIDARG
HOSTCRST_CONSTANT_(E_INVALIDARG, -2147024809);
#endif

/* 0x80131020: The wait was part of a cycle and was chosen to be broken; every section is as it was. */
#ifndef HOST_E_DEADLOCK
HOSTCRST_CONSTANT_(HOST_E_DEADLOCK, -2146234336);
#endif

/* 0x80131021: The task was alerted while it waited alertably. */
#ifndef HOST_E_INTERRUPTED
HOSTCRST_CONSTANT_(HOST_E_INTERRUPTED, -2146234335);
#endif

/* 0x80131022: The call does not fit the present state of the task or section. */
#ifndef HOST_E_INVALIDOPERATION
HOSTCRST_CONSTANT_(HOST_E_INVALIDOPERATION, -2146234334);
#endif

/* 0x80131023: The runtime was not started, was stopped, or has failed. */
#ifndef HOST_E_CLRNOTAVAILABLE
HOSTCRST_CONSTANT_(HOST_E_CLRNOTAVAILABLE, -2146234333);
#endif

/* 0x80131024: The time limit passed before the section was free. */
#ifndef HOST_E_TIMEOUT
HOSTCRST_CONSTANT_(HOST_E_TIMEOUT, -2146234332);
#endif

/* 0x80131025: The calling task does not own the section. */
#ifndef HOST_E_NOT_OWNER
HOSTCRST_CONSTANT_(HOST_E_NOT_OWNER, -2146234331);
#endif

/* 0x80131026: The section was destroyed during the wait, or its owner ended without leaving it. */
#ifndef HOST_E_ABANDONED
HOSTCRST_CONSTANT_(HOST_E_ABANDONED, -2146234330);
#endif

/* Options of a wait, to be combined: pump messages while waiting (accepted, and without effect here). */
#ifndef WAIT_MSGPUMP
HOSTCRST_CONSTANT_(WAIT_MSGPUMP, 1);
#endif

/* The wait ends with HOST_E_INTERRUPTED when its task is alerted. */
#ifndef WAIT_ALERTABLE
HOSTCRST_CONSTANT_(WAIT_ALERTABLE, 2);
#endif

/* The wait is never chosen as the victim of a deadlock. */
#ifndef WAIT_NOTINDEADLOCK
HOSTCRST_CONSTANT_(WAIT_NOTINDEADLOCK, 4);
#endif

#undef HOSTCRST_CONSTANT_

/**
 * host_runtime_state: host_runtime_start was never called.
 */
#define HOST_RUNTIME_NOT_LOADED 0

/**
 * host_runtime_state: the runtime is available.
 */
#define HOST_RUNTIME_RUNNING 1

/**
 * host_runtime_state: host_runtime_stop was called; the runtime can be started again.
 */
#define HOST_RUNTIME_STOPPED 2

/**
 * host_runtime_state: host_runtime_fail was called; final for the process.
 */
#define HOST_RUNTIME_FAILED 3

/**
 * hostcrst_info: nobody owns the section.
 */
#define HOSTCRST_FREE 0

/**
 * hostcrst_info: a task owns the section.
 */
#define HOSTCRST_OWNED 1

/**
 * hostcrst_info: the owner's thread ended without leaving; see hostcrst_recover.
 */
#define HOSTCRST_ABANDONED 2

/**
 * hostcrst_enter_timeout: no time limit.
 */
#define HOSTCRST_INFINITE 4294967295u

/**
 * hostcrst_name, host_task_name, host_resource_name: the bytes that every name fits in, with its zero.
 */
#define HOSTCRST_NAME_SIZE 57

/**
 * host_task_info: the task has made no transition.
 */
#define HOST_TASK_UNKNOWN 0

/**
 * host_task_info: the task runs managed code.
 */
#define HOST_TASK_MANAGED 1

/**
 * host_task_info: the task runs native code.
 */
#define HOST_TASK_UNMANAGED 2

/**
 * host_layer_t: managed code called native code.
 */
#define HOST_LAYER_LEAVE 1

/**
 * host_layer_t: native code called managed code.
 */
#define HOST_LAYER_REVERSE_ENTER 2

/**
 * host_set_deadlock_policy: one wait of the cycle, the victim, gets HOST_E_DEADLOCK, and the program goes on. The
 * default. If no wait of the cycle may fail, the deadlock stands; if one of them is in EnterCriticalSection, a
 * report goes to stderr.
 */
#define HOST_DEADLOCK_ERROR 0

/**
 * host_set_deadlock_policy: a report goes to stderr, and the deadlock stands.
 */
#define HOST_DEADLOCK_REPORT 1

/**
 * host_set_deadlock_policy: a report goes to stderr, and the process aborts.
 */
#define HOST_DEADLOCK_ABORT 2

/**
 * host_report: text for people.
 */
#define HOST_REPORT_TEXT 0

/**
 * host_report: JSON.
 */
#define HOST_REPORT_JSON 1

/**
 * host_report: Graphviz DOT.
 */
#define HOST_REPORT_DOT 2

/**
 * host_report: one page for a browser, which loads nothing.
 */
#define HOST_REPORT_HTML 3

/**
 * host_wait_node_t: a thread, by its task if it has one.
 */
#define HOST_WAIT_NODE_TASK 1

/**
 * host_wait_node_t: a section.
 */
#define HOST_WAIT_NODE_SECTION 2

/**
 * host_wait_node_t: a CRITICAL_SECTION.
 */
#define HOST_WAIT_NODE_WIN32_SECTION 3

/**
 * An SRWLOCK of Windows' kind; the node has its address.
 */
#define HOST_WAIT_NODE_SRW_LOCK 4

/**
 * host_wait_node_t: a CONDITION_VARIABLE, or a pthread_cond_t. Nobody owns one.
 */
#define HOST_WAIT_NODE_CONDITION_VARIABLE 5

/**
 * host_wait_node_t: a resource, a lock that the program tells of.
 */
#define HOST_WAIT_NODE_RESOURCE 6

/**
 * host_wait_node_t: a lock of managed code (C# lock, Monitor, System.Threading.Lock), as the CLR tells of waits for it.
 */
#define HOST_WAIT_NODE_MANAGED_LOCK 7

/**
 * host_wait_node_t: a pthread_mutex_t.
 */
#define HOST_WAIT_NODE_MUTEX 8

/**
 * host_wait_node_t: a pthread_rwlock_t; its owner is known only while it is held for writing.
 */
#define HOST_WAIT_NODE_RWLOCK 9

/**
 * host_wait_node_t: the end of a thread, the next node.
 */
#define HOST_WAIT_NODE_JOIN 10

/**
 * host_wait_node_t: a system call or a word of memory that nobody is known to own.
 */
#define HOST_WAIT_NODE_OTHER 11

/**
 * An address in WaitOnAddress; the node has it.
 */
#define HOST_WAIT_NODE_ADDRESS 12

/**
 * An INIT_ONCE of Windows' kind; the node has its address.
 */
#define HOST_WAIT_NODE_INIT_ONCE 13

/**
 * host_wait_node_t: what is said of this node is known.
 */
#define HOST_WAIT_FLAG_CERTAIN 1

/**
 * host_wait_node_t: what is said of this node is likely only.
 */
#define HOST_WAIT_FLAG_PROBABLE 2

/**
 * host_wait_node_t: the owner of this lock stands earlier in the chain, and from there to here all waits are without
 * a limit: a deadlock.
 */
#define HOST_WAIT_FLAG_LAST_OF_CYCLE 4

/**
 * host_wait_node_t: the wait for this has a time limit.
 */
#define HOST_WAIT_FLAG_LIMITED 8

/**
 * A critical section: an opaque handle, never 0. The handle of a destroyed section is never valid again.
 */
typedef uint64_t hostcrst_t;

/**
 * The state of a section, written by hostcrst_info.
 */
typedef struct {
    /**
     * Set by the caller to sizeof(hostcrst_info_t). By this the library knows how much to write: a later version may
     * have more fields, and fills a struct from before as far as it goes.
     */
    uint32_t size;
    /**
     * HOSTCRST_FREE, HOSTCRST_OWNED or HOSTCRST_ABANDONED.
     */
    uint32_t state;
    /**
     * The task that owns the section (a host_task_t), or 0.
     */
    uint64_t owner;
    /**
     * Enters by the owner that it has not left yet; 0 if the section is not owned.
     */
    uint32_t recursion;
    /**
     * Tasks in the section's queue. A task that still spins is not counted.
     */
    uint32_t waiters;
    /**
     * The count that was set; 0 if none was set or the process has one processor.
     */
    uint32_t spin_count;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Enters that had to wait since the section was created.
     */
    uint64_t contended;
    /**
     * An address in the library that stands for this section alone, for tools that know a lock by its address, such
     * as ThreadSanitizer. What is there is the library's: nothing may be read or written.
     */
    size_t address;
} hostcrst_info_t;

/**
 * A task: an opaque handle. Invalid once its thread has ended; never equal to a section's handle.
 */
typedef uint64_t host_task_t;

/**
 * The state of a task, written by host_task_info.
 */
typedef struct {
    /**
     * Set by the caller to sizeof(host_task_info_t). By this the library knows how much to write: a later version may
     * have more fields, and fills a struct from before as far as it goes.
     */
    uint32_t size;
    /**
     * HOST_TASK_UNKNOWN, HOST_TASK_MANAGED or HOST_TASK_UNMANAGED.
     */
    uint32_t mode;
    /**
     * The operating system's id of the task's thread.
     */
    uint32_t thread_id;
    /**
     * Sections that the task owns.
     */
    uint32_t owned;
    /**
     * Open layers.
     */
    uint64_t depth;
    /**
     * The section or resource the task waits for (a hostcrst_t or host_resource_t), or 0. For a CRITICAL_SECTION, the
     * value of its LockSemaphore, which no function takes.
     */
    uint64_t waiting_for;
} host_task_info_t;

/**
 * One open crossing between managed and native code.
 */
typedef struct {
    /**
     * HOST_LAYER_LEAVE or HOST_LAYER_REVERSE_ENTER.
     */
    uint32_t kind;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * The argument of host_leave_runtime; 0 for HOST_LAYER_REVERSE_ENTER. If the library runs as the CLR's profiler,
     * the CLR's id of the function.
     */
    size_t target;
} host_layer_t;

/**
 * A deadlock, as passed to the callback.
 */
typedef struct {
    /**
     * sizeof(host_deadlock_t) in the library; a later version may have more fields.
     */
    uint32_t size;
    /**
     * The number of tasks in the cycle.
     */
    uint32_t tasks;
    /**
     * The task whose wait gets HOST_E_DEADLOCK (a host_task_t); 0 if the cycle stands.
     */
    uint64_t victim;
    /**
     * The section or resource that the victim waited for (a hostcrst_t or host_resource_t); without a victim, the one
     * that the task which found the cycle waits for. For a CRITICAL_SECTION, the value of its LockSemaphore, which no
     * function takes.
     */
    uint64_t section;
} host_deadlock_t;

/**
 * Called for each deadlock: see host_set_deadlock_callback. It must return; from C++17 on the type is noexcept.
 */
typedef void (*host_deadlock_callback_t)(const host_deadlock_t *deadlock, void *context) HOSTCRST_CALLBACK_;

/**
 * A resource: an opaque handle, never 0. The handle of a destroyed resource is never valid again.
 */
typedef uint64_t host_resource_t;

/**
 * Called with each piece of a report: see host_report_write. It must return; from C++17 on the type is noexcept.
 */
typedef void (*host_report_writer_t)(const char *text, size_t length, void *context) HOSTCRST_CALLBACK_;

/**
 * A node of a wait chain: a thread, or what the thread before it waits for.
 */
typedef struct {
    /**
     * The size of each node of the array, set by the caller in the first one.
     */
    uint32_t size;
    /**
     * One of the HOST_WAIT_NODE_ values.
     */
    uint32_t kind;
    /**
     * Of a task, section or resource its handle, of anything else its address; of a System.Threading.Lock the CLR's
     * number for it. 0 for a thread that is no task, for a join, and for a system call.
     */
    uint64_t handle;
    /**
     * The operating system's id of a thread; 0 for anything else.
     */
    uint32_t thread_id;
    /**
     * HOST_WAIT_FLAG_ values.
     */
    uint32_t flags;
    /**
     * Zero-terminated: the name of a task, thread, section or resource, the variable at an address, or the system
     * call. Empty if there is none.
     */
    char name[64];
} host_wait_node_t;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/* ====================================================================================================
 * The runtime: started, stopped or failed. It decides which calls the library accepts.
 * ==================================================================================================== */

/**
 * Makes the runtime available.
 *
 * Until then every function returns HOST_E_CLRNOTAVAILABLE, or E_POINTER for a NULL that it does not take; except
 * host_runtime_fail and the queries: host_runtime_state, hostcrst_info, hostcrst_name, hostcrst_list, host_task_info,
 * host_task_layers, host_task_name, host_task_list, host_resource_name, host_resource_list, host_deadlock_policy,
 * host_call_needs_host_hook, host_wait_chain, host_report, host_report_write, host_result_message, hostcrst_version;
 * and what tells of a lock of the program's, which can be locked and unlocked in every state of the runtime:
 * host_resource_acquired, host_resource_acquired_at, host_resource_released, host_resource_wait_end. There is no
 * resource yet, so that these return E_HANDLE.
 *
 * Returns:
 * - S_OK: available from here on. If it was stopped before, every task begins without layers.
 * - S_FALSE: it was available already.
 * - HOST_E_CLRNOTAVAILABLE: host_runtime_fail was called in this process.
 * - E_OUTOFMEMORY: the address space for sections and tasks cannot be reserved, or sixteen other copies of the
 *   library are in use in this process. May be tried again.
 *
 * Threads: any; blocks while another thread makes the first start. Not async-signal-safe. The child of a fork
 * inherits the state.
 *
 * Source: an extension; the hosting interfaces assume a runtime that has been loaded.
 */
HOSTCRST_API int32_t host_runtime_start(void) HOSTCRST_NOEXCEPT_;

/**
 * Makes the runtime unavailable until it is started again.
 *
 * Every wait ends with HOST_E_CLRNOTAVAILABLE, and every later call that creates, enters or recovers a section,
 * creates a resource, tells that it is about to block for one or makes a transition returns it too. Sections and
 * resources stay as they are: an owner can still leave, and hostcrst_destroy still works.
 *
 * Returns:
 * - S_OK: stopped; every waiter was woken.
 * - S_FALSE: it was stopped already.
 * - HOST_E_CLRNOTAVAILABLE: it was never started, or has failed.
 *
 * Threads: any; does not wait until the woken tasks have returned. Not async-signal-safe.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_runtime_stop(void) HOSTCRST_NOEXCEPT_;

/**
 * Declares the runtime unusable for the life of the process.
 *
 * This is what the hosting pages say of E_FAIL: every wait ends with HOST_E_CLRNOTAVAILABLE, and every later call
 * returns it too, including hostcrst_leave and hostcrst_destroy. Only what host_runtime_start lists still works: the
 * queries, and host_resource_acquired and the others that tell of a lock.
 *
 * Returns:
 * - S_OK: failed from here on.
 * - E_OUTOFMEMORY: the library was never used before and cannot reserve its address space; nothing changed.
 *
 * Threads: any; does not wait until the woken tasks have returned. Not async-signal-safe.
 *
 * Source: the E_FAIL row of every method of IHostCrst and IHostTaskManager.
 */
HOSTCRST_API int32_t host_runtime_fail(void) HOSTCRST_NOEXCEPT_;

/**
 * Gets the state of the runtime.
 *
 * Parameters:
 * - state (out, not NULL): one of the HOST_RUNTIME_ values.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: state is NULL.
 *
 * Threads: any; async-signal-safe; does not block.
 *
 * Source: an extension.
 *
 * Memory: state is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_runtime_state(uint32_t *state) HOSTCRST_NOEXCEPT_;

/**
 * Gets a sentence that explains a result.
 *
 * Parameters:
 * - hr (any value): an HRESULT.
 *
 * Returns: a static, zero-terminated English sentence, never NULL.
 *
 * Threads: any; async-signal-safe; does not block.
 *
 * Source: an extension.
 */
HOSTCRST_API const char *host_result_message(int32_t hr) HOSTCRST_NOEXCEPT_;

/**
 * Gets the version of the library at run time.
 *
 * Returns: a static, zero-terminated string such as "0.1.0"; HOSTCRST_VERSION_STRING is that of the header.
 *
 * Threads: any; async-signal-safe; does not block.
 *
 * Source: an extension.
 */
HOSTCRST_API const char *hostcrst_version(void) HOSTCRST_NOEXCEPT_;

/* ====================================================================================================
 * Critical sections: IHostCrst, and the functions of IHostSyncManager that create one.
 * ==================================================================================================== */

/**
 * Creates a critical section: free, without a name. How long a task spins for it is up to the library.
 *
 * Parameters:
 * - out (out, not NULL): the handle; 0 on failure.
 *
 * Returns:
 * - S_OK: created. Destroy it with hostcrst_destroy.
 * - E_POINTER: out is NULL.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory, or 16 million sections exist.
 *
 * Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe.
 *
 * Source: IHostSyncManager::CreateCrst.
 *
 * Memory: out is NULL or valid for writing.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t hostcrst_create(hostcrst_t *out) HOSTCRST_NOEXCEPT_;

/**
 * Creates a critical section with a spin count: how often an entering task tries before it blocks.
 *
 * Whatever the count, a task spins for at most 1 ms, and no longer than its time limit. Then it joins the section's
 * queue, where alerts, the end of the runtime and the search for deadlocks find it.
 *
 * Parameters:
 * - spin_count (0 to 4294967295 tries): the maximum; with 0 a task blocks at once. Taken as 0 where the process has
 *   one processor.
 * - out (out, not NULL): the handle; 0 on failure.
 *
 * Returns:
 * - S_OK: created. Destroy it with hostcrst_destroy.
 * - E_POINTER: out is NULL.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory, or 16 million sections exist.
 *
 * Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe.
 *
 * Source: IHostSyncManager::CreateCrstWithSpinCount.
 *
 * Memory: out is NULL or valid for writing.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t hostcrst_create_with_spin_count(uint32_t spin_count, hostcrst_t *out)
    HOSTCRST_NOEXCEPT_;

/**
 * Enters a critical section; blocks until the calling task owns it.
 *
 * Recursive: the owner enters again at once. Each success needs one hostcrst_leave.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - option (0 or bits of WAIT_MSGPUMP, WAIT_ALERTABLE, WAIT_NOTINDEADLOCK): WAIT_ALERTABLE lets host_task_alert end
 *   the wait; with WAIT_NOTINDEADLOCK this wait is never the victim of a deadlock; WAIT_MSGPUMP is accepted and has
 *   no effect.
 *
 * Returns:
 * - S_OK: the calling task owns crst, once more than before.
 * - HOST_E_DEADLOCK: this wait was in a cycle of waits and was chosen as the victim; never with WAIT_NOTINDEADLOCK.
 * - HOST_E_ABANDONED: the section was destroyed during the wait, or its owner's thread ended without leaving.
 * - HOST_E_INTERRUPTED: the task was alerted; only with WAIT_ALERTABLE, and only if the call had to wait.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run, or was stopped during the wait.
 * - HOST_E_INVALIDOPERATION: the owner has entered 4294967295 times; or the call would have to wait while an earlier
 *   wait of the same thread is unfinished, which a signal handler has interrupted or from which one has jumped.
 * - E_HANDLE: crst is no live section.
 * - E_INVALIDARG: option has an unknown bit.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * On failure nothing changed.
 *
 * Threads: any; may block without limit. The last leave of the previous owner happens-before the return. Not a
 * cancellation point.
 *
 * Signals and fork: not async-signal-safe. A signal handler that runs during the wait does not affect it, and must
 * return, not leave the call by siglongjmp or pthread_exit. If the handler forks, the wait ends in the child with
 * HOST_E_ABANDONED. In the child of a fork, sections owned by other threads of the parent are abandoned.
 *
 * Source: IHostCrst::Enter. Differs: no messages are pumped.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t hostcrst_enter(hostcrst_t crst, uint32_t option);

/**
 * Enters a critical section; blocks no longer than a time limit.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - option: as for hostcrst_enter.
 * - milliseconds (0 to 4294967294, or HOSTCRST_INFINITE): 0 tries once; HOSTCRST_INFINITE is the same as
 *   hostcrst_enter.
 *
 * Returns:
 * - HOST_E_TIMEOUT: the limit passed, and another task owned the section at every try.
 * - all that hostcrst_enter returns, but HOST_E_DEADLOCK only with HOSTCRST_INFINITE: a wait with a limit ends by
 *   itself and is no part of a deadlock.
 *
 * On failure nothing changed.
 *
 * Threads: as for hostcrst_enter. The limit is counted on the monotonic clock.
 *
 * Source: an extension: IHostCrst::Enter with the time limit of IHostAutoEvent::Wait.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t hostcrst_enter_timeout(hostcrst_t crst, uint32_t option, uint32_t milliseconds);

/**
 * Enters a critical section, as hostcrst_enter_timeout, and names the place that the call stands for.
 *
 * For callers whose own code has no address that a report could name, such as scripts. Reports show the place where
 * they otherwise show the address that the call came from.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - option: as for hostcrst_enter.
 * - milliseconds (0 to 4294967294, or HOSTCRST_INFINITE): as for hostcrst_enter_timeout. With 0 it is a try-enter.
 * - place (in, may be NULL, copied): zero-terminated, such as "sell (shop.py:12)"; cut to 232 bytes between
 *   characters. Reports show its quotes, its control characters and what is no UTF-8 as `?`. NULL and an empty one
 *   mean the address of the call. It need not stay valid after the call. It is read only if the section is not simply
 *   free or owned by the calling task, or if holds or orders are recorded. Each text is kept once and for ever, at
 *   most 32768 of them; where there is no room for more, the address is shown.
 *
 * Returns:
 * - HOST_E_TIMEOUT: as for hostcrst_enter_timeout.
 * - all that hostcrst_enter returns, but HOST_E_DEADLOCK only with HOSTCRST_INFINITE.
 *
 * On failure nothing changed, except that the place may be kept.
 *
 * Threads: as for hostcrst_enter.
 *
 * Source: an extension.
 *
 * Memory: place is NULL or points to a zero-terminated string.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t hostcrst_enter_at(hostcrst_t crst, uint32_t option, uint32_t milliseconds,
    const char *place);

/**
 * Enters a critical section if it is free or owned by the calling task.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - option: as for hostcrst_enter; checked, and without effect, as the call does not wait.
 * - entered (out, not NULL): 1 if the calling task owns crst, once more than before; 0 if another task owns it or on
 *   failure.
 *
 * Returns:
 * - S_OK: see entered.
 * - HOST_E_ABANDONED: the owner's thread ended without leaving.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - HOST_E_INVALIDOPERATION: the owner has entered 4294967295 times.
 * - E_POINTER: entered is NULL.
 * - E_HANDLE: crst is no live section.
 * - E_INVALIDARG: option has an unknown bit.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * On failure nothing changed.
 *
 * Threads: any; never waits for an owner. Not async-signal-safe.
 *
 * Source: IHostCrst::TryEnter.
 *
 * Memory: entered is NULL or valid for writing.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t hostcrst_try_enter(hostcrst_t crst, uint32_t option, int32_t *entered)
    HOSTCRST_NOEXCEPT_;

/**
 * Leaves a critical section once.
 *
 * The owner's last leave frees the section, or hands it to a waiter.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 *
 * Returns:
 * - S_OK: left once.
 * - HOST_E_NOT_OWNER: the calling task does not own the section; nothing changed.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, leaving works.
 * - E_HANDLE: crst is no live section.
 *
 * Threads: the owner; may block briefly on the lock of the section's queue. Not async-signal-safe.
 *
 * Source: IHostCrst::Leave.
 */
HOSTCRST_API int32_t hostcrst_leave(hostcrst_t crst) HOSTCRST_NOEXCEPT_;

/**
 * Sets a section's spin count: how often an entering task tries before it blocks.
 *
 * It means the same as in hostcrst_create_with_spin_count; whatever it is, a task spins for at most 1 ms.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - spin_count (0 to 4294967295 tries): the maximum; with 0 a task blocks at once. Taken as 0 where the process has
 *   one processor.
 *
 * Returns:
 * - S_OK: in force for later enters.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_HANDLE: crst is no live section.
 *
 * Threads: any, owner or not; may block briefly on the lock of the section's queue. Not async-signal-safe.
 *
 * Source: IHostCrst::SetSpinCount.
 */
HOSTCRST_API int32_t hostcrst_set_spin_count(hostcrst_t crst, uint32_t spin_count) HOSTCRST_NOEXCEPT_;

/**
 * Destroys a critical section that is free, abandoned, or owned by the calling task.
 *
 * Its waiters get HOST_E_ABANDONED. From here on the handle is invalid for every thread. A section whose owner's thread
 * ended by the bare exit system call, which tells nobody, is abandoned too: this call finds out.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 *
 * Returns:
 * - S_OK: destroyed, however often the calling task had entered.
 * - HOST_E_NOT_OWNER: another task owns the section; nothing changed.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, destroying works.
 * - E_HANDLE: crst is no live section, or no longer one.
 *
 * Threads: any; may block briefly on the lock of the section's queue, never for an owner. Not async-signal-safe.
 *
 * Source: the last Release of an IHostCrst.
 */
HOSTCRST_API int32_t hostcrst_destroy(hostcrst_t crst) HOSTCRST_NOEXCEPT_;

/**
 * Takes over an abandoned section: one whose owner's thread ended without leaving it.
 *
 * The calling task then owns it once. The data that the section protects is as the ended thread left it. Of several
 * callers one succeeds. That the thread ended by the bare exit system call, which tells nobody, this call finds out.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 *
 * Returns:
 * - S_OK: the calling task owns crst, once.
 * - HOST_E_INVALIDOPERATION: the section is not abandoned.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_HANDLE: crst is no live section.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * Threads: any; may block briefly on the lock of the section's queue. Not async-signal-safe.
 *
 * Source: an extension, after pthread_mutex_consistent.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t hostcrst_recover(hostcrst_t crst) HOSTCRST_NOEXCEPT_;

/**
 * Gives a critical section a name, shown in reports.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - utf8 (in, copied, not NULL): zero-terminated; cut to 56 bytes between characters. Empty removes the name.
 *
 * Returns:
 * - S_OK: named.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_POINTER: utf8 is NULL.
 * - E_HANDLE: crst is no live section.
 * - E_OUTOFMEMORY: no memory for the first name of this section.
 *
 * Threads: any; may block briefly while another thread names the same section. Not async-signal-safe.
 *
 * Source: an extension.
 *
 * Memory: utf8 is NULL or points to a zero-terminated string.
 */
HOSTCRST_API int32_t hostcrst_set_name(hostcrst_t crst, const char *utf8) HOSTCRST_NOEXCEPT_;

/**
 * Reads the name of a critical section.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - utf8 (out; NULL only if capacity is 0): the name, cut between characters to what fits with a zero behind it. Empty
 *   without a name, and on failure.
 * - capacity (0 to the size of the array): HOSTCRST_NAME_SIZE is enough for every name.
 * - length (out, not NULL): the bytes of the whole name, without the zero; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: length is NULL, or utf8 is NULL and capacity is not 0.
 * - E_HANDLE: crst is no live section.
 *
 * Threads: any; does not wait for one that changes the name. In every state of the runtime.
 *
 * Source: an extension.
 *
 * Memory: utf8 is NULL or valid for writing capacity bytes; length is NULL or valid for writing.
 */
HOSTCRST_API int32_t hostcrst_name(hostcrst_t crst, char *utf8, size_t capacity, size_t *length) HOSTCRST_NOEXCEPT_;

/**
 * Lists the handles of all sections of the process, but those of Windows' CRITICAL_SECTIONs.
 *
 * Others may come and go meanwhile: each one listed existed at a moment during the call, and what existed all the time
 * is listed. In no particular order.
 *
 * Parameters:
 * - crsts (out; NULL only if capacity is 0): an array of capacity elements. The elements after the last handle are
 *   unspecified.
 * - capacity (0 to the size of the array): the maximum to write.
 * - count (out, not NULL): how many there are, which may exceed capacity; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: count is NULL, or crsts is NULL and capacity is not 0.
 *
 * Threads: any; does not block. In every state of the runtime. Takes time with the most sections that there ever were.
 *
 * Source: an extension.
 *
 * Memory: crsts is NULL or valid for writing capacity handles; count is NULL or valid for writing.
 */
HOSTCRST_API int32_t hostcrst_list(hostcrst_t *crsts, size_t capacity, size_t *count) HOSTCRST_NOEXCEPT_;

/**
 * Reads the present state of a critical section.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - info (in and out, not NULL): the caller sets its field size. Fields that the library does not know become 0; on
 *   failure all others do, too.
 *
 * Returns:
 * - S_OK: info is written. Exact for the owner; for other tasks each field was true at some moment during the call.
 * - E_POINTER: info is NULL.
 * - E_INVALIDARG: info->size is less than the 40 bytes of the first version; nothing is written.
 * - E_HANDLE: crst is no live section.
 *
 * Threads: any; does not block. In every state of the runtime.
 *
 * Source: an extension.
 *
 * Memory: info is NULL or points to a struct of the size that its field size says.
 */
HOSTCRST_API int32_t hostcrst_info(hostcrst_t crst, hostcrst_info_t *info) HOSTCRST_NOEXCEPT_;

/* ====================================================================================================
 * Tasks and their transitions between managed and native code: IHostTaskManager and IHostTask.
 * ==================================================================================================== */

/**
 * Opens a layer: managed code is about to call native code.
 *
 * Parameters:
 * - target (any value): the address of the native function, 0 if unknown. Shown in reports; never called or
 *   dereferenced.
 *
 * Returns:
 * - S_OK: the task runs native code until the matching host_enter_runtime.
 * - HOST_E_INVALIDOPERATION: the task runs native code already.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory for one more layer, or the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed. If this is a task's first transition, the task began in managed code.
 *
 * Threads: any, for its own task; does not block. Not async-signal-safe.
 *
 * Source: IHostTaskManager::LeaveRuntime.
 */
HOSTCRST_API int32_t host_leave_runtime(size_t target) HOSTCRST_NOEXCEPT_;

/**
 * Closes the layer of host_leave_runtime: the native function has returned.
 *
 * Returns:
 * - S_OK: the task runs managed code.
 * - HOST_E_INVALIDOPERATION: the innermost layer is not one of host_leave_runtime, or there is none.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed.
 *
 * Threads: any, for its own task; does not block; errno is as the native function left it. Not async-signal-safe.
 *
 * Source: IHostTaskManager::EnterRuntime.
 */
HOSTCRST_API int32_t host_enter_runtime(void) HOSTCRST_NOEXCEPT_;

/**
 * Opens a layer: native code is about to call managed code.
 *
 * Returns:
 * - S_OK: the task runs managed code until the matching host_reverse_leave_runtime.
 * - HOST_E_INVALIDOPERATION: the task runs managed code already.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory for one more layer, or the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed. If this is a task's first transition, the task began in native code.
 *
 * Threads: any, for its own task; does not block. Not async-signal-safe.
 *
 * Source: IHostTaskManager::ReverseEnterRuntime.
 */
HOSTCRST_API int32_t host_reverse_enter_runtime(void) HOSTCRST_NOEXCEPT_;

/**
 * Closes the layer of host_reverse_enter_runtime: the managed function has returned.
 *
 * Returns:
 * - S_OK: the task runs native code.
 * - HOST_E_INVALIDOPERATION: the innermost layer is not one of host_reverse_enter_runtime, or there is none.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed.
 *
 * Threads: any, for its own task; does not block. Not async-signal-safe.
 *
 * Source: IHostTaskManager::ReverseLeaveRuntime.
 */
HOSTCRST_API int32_t host_reverse_leave_runtime(void) HOSTCRST_NOEXCEPT_;

/**
 * Gets whether the runtime must report calls to a native function.
 *
 * Parameters:
 * - target (any value): the address of the function.
 * - needs (out, not NULL): 1, unless host_set_call_hook set 0 for this function.
 *
 * Returns:
 * - S_OK: see needs.
 * - E_POINTER: needs is NULL.
 *
 * Threads: any; does not block. In every state of the runtime.
 *
 * Source: IHostTaskManager::CallNeedsHostHook.
 *
 * Memory: needs is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_call_needs_host_hook(size_t target, int32_t *needs) HOSTCRST_NOEXCEPT_;

/**
 * Sets what host_call_needs_host_hook returns for a native function.
 *
 * Parameters:
 * - target (any value): the address of a native function.
 * - needs (0 = no, any other value = yes).
 *
 * Returns:
 * - S_OK: in force for later calls of host_call_needs_host_hook.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_OUTOFMEMORY: no memory for one more target; nothing changed.
 *
 * Threads: any; may block briefly while another thread calls this function. Not async-signal-safe.
 *
 * Source: an extension; the hosting pages leave the policy to the host.
 */
HOSTCRST_API int32_t host_set_call_hook(size_t target, int32_t needs) HOSTCRST_NOEXCEPT_;

/**
 * Gets the task of the calling thread.
 *
 * Parameters:
 * - out (out, not NULL): the task; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: out is NULL.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * Threads: any; does not block. Not async-signal-safe.
 *
 * Source: IHostTaskManager::GetCurrentTask.
 *
 * Memory: out is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_task_current(host_task_t *out) HOSTCRST_NOEXCEPT_;

/**
 * Gives a task a name, which reports show in place of its thread's name.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - utf8 (in, copied, not NULL): zero-terminated; cut to 56 bytes between characters. If it is empty, reports show
 *   the thread's own name again.
 *
 * Returns:
 * - S_OK: named.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_POINTER: utf8 is NULL.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; may block briefly while another thread names a task. Not async-signal-safe.
 *
 * Source: an extension.
 *
 * Memory: utf8 is NULL or points to a zero-terminated string.
 */
HOSTCRST_API int32_t host_task_set_name(host_task_t task, const char *utf8) HOSTCRST_NOEXCEPT_;

/**
 * Reads the name of a task: the one that was set, otherwise its thread's.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - utf8 (out; NULL only if capacity is 0): the name, cut between characters to what fits with a zero behind it. Empty
 *   on failure.
 * - capacity (0 to the size of the array): HOSTCRST_NAME_SIZE is enough for every name.
 * - length (out, not NULL): the bytes of the whole name, without the zero; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: length is NULL, or utf8 is NULL and capacity is not 0.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; does not wait for one that changes the name. In every state of the runtime. Reads
 * /proc/self/task for a thread's name.
 *
 * Source: an extension.
 *
 * Memory: utf8 is NULL or valid for writing capacity bytes; length is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_task_name(host_task_t task, char *utf8, size_t capacity, size_t *length) HOSTCRST_NOEXCEPT_;

/**
 * Lists the handles of all tasks of the process.
 *
 * Others may come and go meanwhile: each one listed existed at a moment during the call, and what existed all the time
 * is listed. In no particular order.
 *
 * Parameters:
 * - tasks (out; NULL only if capacity is 0): an array of capacity elements. The elements after the last handle are
 *   unspecified.
 * - capacity (0 to the size of the array): the maximum to write.
 * - count (out, not NULL): how many there are, which may exceed capacity; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: count is NULL, or tasks is NULL and capacity is not 0.
 *
 * Threads: any; does not block. In every state of the runtime. Takes time with the most tasks that there ever were.
 *
 * Source: an extension.
 *
 * Memory: tasks is NULL or valid for writing capacity handles; count is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_task_list(host_task_t *tasks, size_t capacity, size_t *count) HOSTCRST_NOEXCEPT_;

/**
 * Gets how many more threads can become tasks before one of them ends: 65,000 in all, fewer if the address space is
 * limited.
 *
 * Parameters:
 * - left (out, not NULL): the number; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: left is NULL.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 *
 * Threads: any; may block briefly while another thread becomes a task. Not async-signal-safe.
 *
 * Source: an extension.
 *
 * Memory: left is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_tasks_left(uint32_t *left) HOSTCRST_NOEXCEPT_;

/**
 * Alerts a task: ends its alertable wait, or its next one if it is in none.
 *
 * An alert that finds the task in no wait with WAIT_ALERTABLE stays pending and ends the next such wait when it
 * begins, once. Several alerts before that count as one.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 *
 * Returns:
 * - S_OK: the wait, or the next alertable one, ends with HOST_E_INTERRUPTED.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; does not wait for the task. Not async-signal-safe.
 *
 * Source: IHostTask::Alert.
 */
HOSTCRST_API int32_t host_task_alert(host_task_t task) HOSTCRST_NOEXCEPT_;

/**
 * Reads the present state of a task.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - info (in and out, not NULL): the caller sets its field size. Fields that the library does not know become 0; on
 *   failure all others do, too.
 *
 * Returns:
 * - S_OK: info is written. Exact for the task itself; for other tasks each field was true at some moment during the
 *   call.
 * - E_POINTER: info is NULL.
 * - E_INVALIDARG: info->size is less than the 32 bytes of the first version; nothing is written.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; does not block. In every state of the runtime.
 *
 * Source: an extension.
 *
 * Memory: info is NULL or points to a struct of the size that its field size says.
 */
HOSTCRST_API int32_t host_task_info(host_task_t task, host_task_info_t *info) HOSTCRST_NOEXCEPT_;

/**
 * Copies a task's open layers, outermost first, as they were at one moment. The task may run meanwhile.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - layers (out; NULL only if capacity is 0): an array of capacity elements. The elements after the open layers, and
 *   all of them after a failure, are unspecified.
 * - capacity (0 to the size of the array): the maximum to copy. If more layers are open, the outermost are copied.
 * - count (out, not NULL): the number of open layers, which may exceed capacity; 0 on failure.
 *
 * Returns:
 * - S_OK: copied.
 * - E_POINTER: count is NULL, or layers is NULL and capacity is not 0.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; does not block. In every state of the runtime: a stop keeps the layers until the next start.
 *
 * Source: an extension: the nested layers that the page of LeaveRuntime describes.
 *
 * Memory: layers is NULL or valid for writing capacity layers; count is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_task_layers(host_task_t task, host_layer_t *layers, size_t capacity, size_t *count)
    HOSTCRST_NOEXCEPT_;

/* ====================================================================================================
 * Deadlocks: what the library does when it finds one, and what it records to explain them.
 * ==================================================================================================== */

/**
 * Chooses what happens when a deadlock is found.
 *
 * A deadlock is a cycle of waits without time limits; it is found when its last wait begins. The environment
 * variable HOSTCRST_ON_DEADLOCK (error, report or abort) sets the policy when the runtime is first started.
 *
 * Parameters:
 * - policy (one of the HOST_DEADLOCK_ values).
 *
 * Returns:
 * - S_OK: in force for later deadlocks.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_INVALIDARG: policy is not known.
 *
 * Threads: any; does not block.
 *
 * Source: an extension; the hosting pages leave the choice to the host.
 */
HOSTCRST_API int32_t host_set_deadlock_policy(uint32_t policy) HOSTCRST_NOEXCEPT_;

/**
 * Gets what happens when a deadlock is found: see host_set_deadlock_policy.
 *
 * Parameters:
 * - policy (out, not NULL): one of the HOST_DEADLOCK_ values.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: policy is NULL.
 *
 * Threads: any; async-signal-safe; does not block. In every state of the runtime; before the first start the default.
 *
 * Source: an extension.
 *
 * Memory: policy is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_deadlock_policy(uint32_t *policy) HOSTCRST_NOEXCEPT_;

/**
 * Sets the function that is called for each deadlock.
 *
 * The callback runs on the thread that found the cycle, inside its call of hostcrst_enter, whether or not a victim
 * was chosen. It may call every function of the library, and wait: its thread is in no queue at that time. Unless
 * its own wait is the victim, the thread then queues again, behind the tasks that came meanwhile; if this closes the
 * same cycle again, the callback is not called again for it, unless one of its waits has become part of another
 * deadlock meanwhile. After leaving a section to open a cycle, do not enter that section again before another task
 * has had it. If an enter inside the callback closes another cycle, the callback is called for that one too, nested.
 *
 * The callback must return: it must not throw, longjmp, or end its thread. If it does, or if its thread is cancelled
 * in it, the enter around it never returns; the thread owns what it owned before and waits for nothing, and errno is
 * as the callback left it.
 *
 * When this function returns, no thread runs the previous callback any more, so what that one uses can be freed.
 * Only a call from inside a callback does not wait for this: it would wait for itself, or two callbacks for each
 * other. A callback that was left by an exception or longjmp counts as running until its thread ends.
 *
 * Parameters:
 * - callback (NULL for none): replaces the previous one.
 * - context (any value): passed to the callback.
 *
 * Returns:
 * - S_OK: in force for later deadlocks; the previous callback is not running, see above.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 *
 * Threads: any; blocks until the previous callback has returned in every thread, so the caller must own nothing that
 * this callback may wait for. Not async-signal-safe.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_set_deadlock_callback(host_deadlock_callback_t callback, void *context) HOSTCRST_NOEXCEPT_;

/**
 * Switches hold tracking on or off: since when each section is owned, and from where it was entered.
 *
 * Reports show both for every section that is entered from here on. Off by default: while it is on, entering a free
 * section reads the clock. The environment variable HOSTCRST_HOLDS=1 switches it on when the runtime is first
 * started.
 *
 * Parameters:
 * - on (0 = off, any other value = on).
 *
 * Returns:
 * - S_OK: in force for later enters.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_OUTOFMEMORY: no address space for the records; nothing changed.
 *
 * Threads: any; may block briefly while another thread creates or destroys.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_set_hold_tracking(int32_t on) HOSTCRST_NOEXCEPT_;

/* ====================================================================================================
 * Lock order: sections that are entered in orders that could deadlock, told before they do.
 * ==================================================================================================== */

/**
 * Begins to examine the orders in which tasks enter sections, or ceases to.
 *
 * Where one task enters A and then B, and another one B and then A, they deadlock if they do so at the same time.
 * This is told when it is first seen, whether they do or not, as "could deadlock": on stderr, and in every report,
 * with both tasks and the four places. The same for up to 8 sections in a circle. No circle of sections is told
 * twice. Of all that one entry closes, the shortest that was not told is, for each section that the task owns; the
 * others are if a later entry, by another task or from under other sections, closes them.
 *
 * No alarm are: both orders by one and the same thread; orders that were only taken under a common third section;
 * what the only thread of a process does before it starts another one; entering a section again that one owns
 * already; hostcrst_try_enter, and hostcrst_enter_timeout with a limit, which do not wait for ever (but what is
 * entered so is owned, and counts for what is entered next); sections that were destroyed; orders that
 * hostcrst_allow_order names.
 *
 * Resources (host_resource_create) take part as sections do: to acquire one is to enter it. The library is not told
 * whether a resource was only tried.
 *
 * Memory is bounded: 4096 pairs of sections are remembered, the first 4 different ways in which each order was
 * taken, and 64 circles are told. What is not examined for that, or as the task owns more than 8 sections or has
 * entered some before this was switched on, is counted in reports, and is no alarm.
 *
 * Off by default. While it is on, every enter and leave takes its slower path. The environment variable
 * HOSTCRST_ORDER=1 switches it on when the runtime is first started.
 *
 * Parameters:
 * - on (0 = off, any other value = on): what was seen before is kept.
 *
 * Returns:
 * - S_OK: in force for enters from here on.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_OUTOFMEMORY: no memory for what is remembered; nothing changed.
 *
 * Threads: any; may block briefly while another thread becomes a task. Not async-signal-safe. The child of a fork
 * inherits it.
 *
 * Source: an extension, after lockdep of Linux and the validators of TSan and helgrind.
 */
HOSTCRST_API int32_t host_set_order_checks(int32_t on) HOSTCRST_NOEXCEPT_;

/**
 * Declares that it is good to enter one section while owning another: that order is part of no alarm.
 *
 * For an order that cannot deadlock for a reason that the library does not see. See host_set_order_checks; may be
 * called before that, and whether it is on or not. Ends with either section.
 *
 * Parameters:
 * - first, then (any values): handles from hostcrst_create or host_resource_create: first is owned when then is
 *   entered.
 *
 * Returns:
 * - S_OK: from here on there is no new alarm with this order.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_INVALIDARG: first and then are the same.
 * - E_HANDLE: one of them is no live section or resource.
 * - E_OUTOFMEMORY: no memory for what is remembered, or no room for more pairs of sections.
 *
 * Threads: any; may block briefly while another thread enters a section. Not async-signal-safe.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t hostcrst_allow_order(hostcrst_t first, hostcrst_t then) HOSTCRST_NOEXCEPT_;

/* ====================================================================================================
 * Statistics: for which sections tasks wait, how long, and who holds them longest.
 * ==================================================================================================== */

/**
 * Begins to count, for each section, the waits for it, or ceases to.
 *
 * Counted are the enters that found the section owned by another task, whether they spun or slept, got it or
 * failed, also at once with a time limit of 0, but not what hostcrst_try_enter does: how many, how long all of them
 * took, the longest, and how many took up to 1 us, 10 us and so on up to 10 s. While hold tracking is on as well
 * (host_set_hold_tracking), also how long the section was owned, by the task that leaves it for the last time: how
 * often, in all, and the longest time with its thread and where that had entered; not of a CRITICAL_SECTION.
 *
 * Reports show the figures, and so does hostcrst-dump, also as OpenMetrics text with --metrics. Off by default.
 * Where no task waits, entering and leaving cost the same while this is on. The environment variable
 * HOSTCRST_STATS=1 switches it on when the runtime is first started.
 *
 * Parameters:
 * - on (0 = off, any other value = on): what was counted before is kept, shown, and added to if this is switched on
 *   again. The figures of a section end with it.
 *
 * Returns:
 * - S_OK: in force for waits that begin, and holds that end, from here on.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_OUTOFMEMORY: no address space or memory for the figures, 136 bytes for each section; nothing changed.
 *
 * Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe. The child of a
 * fork inherits the figures.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_set_statistics(int32_t on) HOSTCRST_NOEXCEPT_;

/* ====================================================================================================
 * Resources: locks that the program has of its own, told to the library so that deadlocks through them are found.
 *
 * A lock of another library or of the program (an interpreter lock, a lock of a database, a spin lock) is made a
 * resource, and around its own calls the program tells what happens to it. Then cycles of waits through resources and
 * sections are found when their last wait begins, whichever kind it is for.
 *
 *     if (!my_lock_try(&lock)) {
 *         int32_t hr = host_resource_wait(resource, 0);    // before it blocks
 *         if (hr == HOST_E_DEADLOCK) return hr;            // it must not block
 *         my_lock_block(&lock);
 *     }
 *     host_resource_acquired(resource);                    // after it has locked
 *     ...
 *     host_resource_released(resource);                    // before it unlocks
 *     my_lock_unlock(&lock);
 *
 * The order matters: acquired after the lock was locked, released before it is unlocked, both by the thread that
 * does so. Then a task that is known to own a resource does own the lock, and no deadlock is found that is none. A
 * task that waits has told all that it owns, so none is missed. Only locks that one thread owns at a time, and that
 * the thread unlocks which has locked them, can be resources. From host_resource_wait on until the wait has ended, a
 * task does nothing but block: it enters and leaves no section, and acquires no other resource.
 * ==================================================================================================== */

/**
 * Creates a resource: owned by nobody, without a name.
 *
 * Parameters:
 * - out (out, not NULL): the handle; 0 on failure.
 *
 * Returns:
 * - S_OK: created. Destroy it with host_resource_destroy.
 * - E_POINTER: out is NULL.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory, or a million resources exist.
 *
 * Threads: any; may block briefly while another thread creates or destroys. Not async-signal-safe.
 *
 * Source: an extension.
 *
 * Memory: out is NULL or valid for writing.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t host_resource_create(host_resource_t *out) HOSTCRST_NOEXCEPT_;

/**
 * Names a resource for reports.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 * - utf8 (in, not NULL): a zero-terminated name; the library keeps a copy of at most 56 bytes, cut between characters.
 *   An empty one removes the name.
 *
 * Returns:
 * - S_OK: named.
 * - E_POINTER: utf8 is NULL.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_HANDLE: resource is no live resource.
 * - E_OUTOFMEMORY: no memory for the name; nothing changed.
 *
 * Threads: any; may block briefly. Not async-signal-safe.
 *
 * Source: an extension.
 *
 * Memory: utf8 is NULL or points to a zero-terminated string.
 */
HOSTCRST_API int32_t host_resource_set_name(host_resource_t resource, const char *utf8) HOSTCRST_NOEXCEPT_;

/**
 * Reads the name of a resource.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 * - utf8 (out; NULL only if capacity is 0): the name, cut between characters to what fits with a zero behind it. Empty
 *   without a name, and on failure.
 * - capacity (0 to the size of the array): HOSTCRST_NAME_SIZE is enough for every name.
 * - length (out, not NULL): the bytes of the whole name, without the zero; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: length is NULL, or utf8 is NULL and capacity is not 0.
 * - E_HANDLE: resource is no live resource.
 *
 * Threads: any; does not wait for one that changes the name. In every state of the runtime.
 *
 * Source: an extension.
 *
 * Memory: utf8 is NULL or valid for writing capacity bytes; length is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_resource_name(host_resource_t resource, char *utf8, size_t capacity, size_t *length)
    HOSTCRST_NOEXCEPT_;

/**
 * Lists the handles of all resources of the process.
 *
 * Others may come and go meanwhile: each one listed existed at a moment during the call, and what existed all the time
 * is listed. In no particular order.
 *
 * Parameters:
 * - resources (out; NULL only if capacity is 0): an array of capacity elements. The elements after the last handle are
 *   unspecified.
 * - capacity (0 to the size of the array): the maximum to write.
 * - count (out, not NULL): how many there are, which may exceed capacity; 0 on failure.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: count is NULL, or resources is NULL and capacity is not 0.
 *
 * Threads: any; does not block. In every state of the runtime. Takes time with the most resources that there ever were.
 *
 * Source: an extension.
 *
 * Memory: resources is NULL or valid for writing capacity handles; count is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_resource_list(host_resource_t *resources, size_t capacity, size_t *count) HOSTCRST_NOEXCEPT_;

/**
 * Destroys a resource that nobody is known to own, that is abandoned, or that the calling task owns.
 *
 * Told waits for it are over; nothing happens to the program's lock, nor to the threads that block in it. From here on
 * the handle is invalid for every thread.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 *
 * Returns:
 * - S_OK: destroyed, however often the calling task had acquired it.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_HANDLE: resource is no live resource.
 * - HOST_E_NOT_OWNER: another task owns the resource; nothing changed.
 *
 * Threads: any; may block briefly. Not async-signal-safe.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_resource_destroy(host_resource_t resource) HOSTCRST_NOEXCEPT_;

/**
 * Tells that the calling task is about to block for a resource, without a time limit; call it right before that.
 *
 * The wait stands, as an edge of the wait-for graph and in reports, until the task calls host_resource_acquired or
 * host_resource_wait_end, waits for something else, or ends. If it closes a cycle of waits, what the deadlock policy
 * says is done before the call returns: with HOST_DEADLOCK_ERROR one wait of the cycle fails, by the rule for
 * hostcrst_enter, and that may be this one. A wait for a resource can only be refused before host_resource_wait has
 * returned: a task that blocks already is never the victim. If no wait of a cycle can fail any more, the deadlock
 * stands and is told: to the callback, in reports, and on stderr if a wait is for a resource and without
 * WAIT_NOTINDEADLOCK.
 *
 * Do not tell of a wait with a time limit: it ends by itself and is no part of a deadlock. A task that owns the
 * resource may tell that it waits for it, which is no deadlock: its lock may be recursive.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 * - option (0 or bits of WAIT_MSGPUMP, WAIT_ALERTABLE, WAIT_NOTINDEADLOCK): with WAIT_NOTINDEADLOCK this wait is never
 *   the victim of a deadlock; the others are accepted and have no effect, as the library cannot end this wait.
 *
 * Returns:
 * - S_OK: the wait is told. Block, then call host_resource_acquired or host_resource_wait_end.
 * - HOST_E_DEADLOCK: this wait would close a cycle and was chosen as the victim: do not block. No wait is told; what
 *   the task owns it still owns. Never with WAIT_NOTINDEADLOCK.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_INVALIDARG: option has an unknown bit.
 * - E_HANDLE: resource is no live resource, or was destroyed during the call.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 * - HOST_E_INVALIDOPERATION: a signal handler has interrupted a wait of the same thread for a section.
 *
 * On a failure other than HOST_E_DEADLOCK nothing is told, and whether to block is up to the program.
 *
 * Threads: any; does not wait for the resource. It may block briefly on the library's locks and, where a deadlock is
 * told, for the callback or the report. Not a cancellation point.
 *
 * Signals and fork: not async-signal-safe. The child of a fork begins without a told wait. A call that a signal
 * handler interrupted to fork goes on in the child as in the parent, and tells of its wait there, too.
 *
 * Source: an extension, after IHostCrst::Enter.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t host_resource_wait(host_resource_t resource, uint32_t option);

/**
 * Tells that the calling task is about to block for a resource, as host_resource_wait, and names the place that the
 * call stands for.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 * - option: as for host_resource_wait.
 * - place (in, may be NULL, copied): zero-terminated, such as "sell (shop.py:12)"; as for hostcrst_enter_at, except
 *   that it is always read.
 *
 * Returns:
 * - all that host_resource_wait returns.
 *
 * Threads: as for host_resource_wait.
 *
 * Source: an extension.
 *
 * Memory: place is NULL or points to a zero-terminated string.
 */
HOSTCRST_NODISCARD HOSTCRST_API int32_t host_resource_wait_at(host_resource_t resource, uint32_t option,
    const char *place);

/**
 * Tells that the calling task has given up a wait that it had told of with host_resource_wait.
 *
 * Parameters:
 * - resource (any value): the same as for host_resource_wait.
 *
 * Returns:
 * - S_OK: no wait is told any more.
 * - E_HANDLE: resource is no live resource; destroying it has ended the wait.
 * - HOST_E_INVALIDOPERATION: the calling task does not wait for this resource, as far as was told.
 *
 * Threads: the one that waits; may block briefly. In every state of the runtime. Not async-signal-safe.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_resource_wait_end(host_resource_t resource) HOSTCRST_NOEXCEPT_;

/**
 * Tells that the calling task has acquired a resource, once more if it owns it already; call it after the lock was
 * locked. A told wait of the task for it ends.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 *
 * Returns:
 * - S_OK: the calling task owns the resource, once more than before. An abandoned resource is so no more.
 * - E_HANDLE: resource is no live resource.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 * - HOST_E_INVALIDOPERATION: another task owns the resource, as far as was told: its call of host_resource_released is
 *   missing, or comes after it has unlocked; or the calling task has told that it waits for something else; or it has
 *   acquired the resource 4294967295 times.
 *
 * On failure nothing changed.
 *
 * Threads: any; takes no lock if the task has told no wait and nobody is known to own the resource. In every state of
 * the runtime. Not async-signal-safe.
 *
 * Fork: in the child of a fork, resources that other threads of the parent owned are abandoned. If a thread ends that
 * owns one, that resource is abandoned: shown so until it is acquired again.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_resource_acquired(host_resource_t resource) HOSTCRST_NOEXCEPT_;

/**
 * Tells that the calling task has acquired a resource, as host_resource_acquired, and names the place that the call
 * stands for.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 * - place (in, may be NULL, copied): zero-terminated, such as "sell (shop.py:12)"; as for hostcrst_enter_at, but it is
 *   shown only where orders do not agree (host_set_order_checks), and need not be read otherwise.
 *
 * Returns:
 * - all that host_resource_acquired returns.
 *
 * Threads: as for host_resource_acquired.
 *
 * Source: an extension.
 *
 * Memory: place is NULL or points to a zero-terminated string.
 */
HOSTCRST_API int32_t host_resource_acquired_at(host_resource_t resource, const char *place) HOSTCRST_NOEXCEPT_;

/**
 * Tells that the calling task releases a resource, once; call it before the lock is unlocked.
 *
 * Parameters:
 * - resource (any value): a handle from host_resource_create.
 *
 * Returns:
 * - S_OK: released once; after the last time nobody is known to own the resource.
 * - E_HANDLE: resource is no live resource.
 * - HOST_E_NOT_OWNER: the calling task does not own the resource, as far as was told; nothing changed.
 *
 * Threads: the owner; takes no lock. In every state of the runtime. Not async-signal-safe.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_resource_released(host_resource_t resource) HOSTCRST_NOEXCEPT_;

/* ====================================================================================================
 * Reports: who owns, who waits, in which code, and every deadlock.
 * ==================================================================================================== */

/**
 * Writes a report on every task and every section that was ever contended or is not free.
 *
 * It shows each task with its name, thread id, layers (addresses as library!symbol+offset), the sections it owns and
 * the one it waits for; each section that is owned, abandoned or was ever waited for; each deadlock that stands, and
 * the last eight that were found, those of two tasks with the order of enters and waits. After that all threads of
 * the process: the system call that each is blocked in, which of glibc's locks or which thread it waits for and who
 * owns that, certainly or probably, and cycles through these. Works while every task is blocked, and in any state of
 * the runtime.
 *
 * Parameters:
 * - fd (a descriptor open for writing): where the report goes. It stays open.
 * - format (one of the HOST_REPORT_ values): docs/report.schema.json describes the JSON. The page of HOST_REPORT_HTML
 *   draws it, and has the text for browsers that run no scripts; it loads nothing, and names in it stay text.
 *
 * Returns:
 * - S_OK: written.
 * - E_INVALIDARG: fd cannot be written, or format is not known. A pipe without a reader and a file at its size limit
 *   cannot be written; neither raises SIGPIPE or SIGXFSZ.
 * - E_OUTOFMEMORY: three other calls of host_report are in progress, for example blocked on pipes that nobody reads,
 *   and none of them ended within a second.
 *
 * Threads: any; blocks as long as writing to fd does. Takes no lock that the program can hold, does not use the
 * program's allocator, and needs at most 8 KiB of stack. Not a cancellation point; continues after a signal handler
 * that interrupts it. Not async-signal-safe.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_report(int32_t fd, uint32_t format) HOSTCRST_NOEXCEPT_;

/**
 * Hands a report to a function of the program's, piece by piece: what host_report writes to a descriptor.
 *
 * The pieces, of at most 4096 bytes, one after the other are the report. None is zero-terminated, and one may end
 * inside a UTF-8 character. A piece is writer's for the time of the call.
 *
 * Parameters:
 * - format (one of the HOST_REPORT_ values): as for host_report.
 * - writer (not NULL): called on this thread, once for each piece. It may call every function of the library. It must
 *   return: it must not throw, jump away, end its thread or be cancelled. If it does, the memory that this report was
 *   made in cannot be used for another one any more, and there is such for three at a time.
 * - context (any value): passed to writer.
 *
 * Returns:
 * - S_OK: all of it was handed over.
 * - E_POINTER: writer is NULL.
 * - E_INVALIDARG: format is not known.
 * - E_OUTOFMEMORY: three other calls of this function or host_report are in progress, and none of them ended within a
 *   second.
 *
 * Threads: any; takes as long as writer does. Takes no lock that the program can hold, does not use the program's
 * allocator, and needs at most 8 KiB of stack beside that of writer. By itself not a cancellation point. Not
 * async-signal-safe.
 *
 * Source: an extension.
 *
 * Memory: writer is NULL or may be called with context.
 */
HOSTCRST_API int32_t host_report_write(uint32_t format, host_report_writer_t writer, void *context);

/**
 * Follows a task's wait chain: the task, what it waits for, the owner of that, what this one waits for, and so on,
 * through the library's sections, glibc's locks and joins alike.
 *
 * The chain ends with a thread that waits for nothing, with something that nobody is known to own, or where its next
 * owner stands in it already: if that is a deadlock, the last node has HOST_WAIT_FLAG_LAST_OF_CYCLE. Other threads run
 * meanwhile: each node is of a moment during the call, a deadlock is of one moment. Threads that are no tasks are
 * nodes too.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - nodes (in and out; NULL only if capacity is 0): an array of capacity nodes. The caller sets size in the first one
 *   to the size of each. The nodes after the chain are unspecified, and after a failure all of them.
 * - capacity (0 to the size of the array): the maximum to write.
 * - count (out, not NULL): the number of nodes, which may exceed capacity; at most 8192. 0 on failure.
 *
 * Returns:
 * - S_OK: written.
 * - E_POINTER: count is NULL, or nodes is NULL and capacity is not 0.
 * - E_INVALIDARG: nodes->size is less than the 88 bytes of the first version, or no multiple of 8.
 * - E_HANDLE: task is no live task.
 * - E_OUTOFMEMORY: no memory, or three other calls of this function or host_report are in progress and none of them
 *   ended within a second.
 *
 * Threads: any; does not wait for the program. In every state of the runtime. Takes no lock that the program can hold,
 * does not use the program's allocator, and needs at most 8 KiB of stack. Reads /proc/self/task; without it, only
 * waits for the library's own sections are seen. In a forked child, the chain is of the child's threads. Not a
 * cancellation point. Not async-signal-safe.
 *
 * Source: an extension after GetThreadWaitChain of Windows.
 *
 * Memory: nodes is NULL or valid for writing capacity nodes of the size that the first one names; count is NULL or
 * valid for writing.
 */
HOSTCRST_API int32_t host_wait_chain(host_task_t task, host_wait_node_t *nodes, size_t capacity, size_t *count)
    HOSTCRST_NOEXCEPT_;

#ifdef __cplusplus
}  /* extern "C" */
#endif  /* __cplusplus */

#endif  /* HOSTCRST_H */

#ifdef HOSTCRST_TSAN_
#include "hostcrst/tsan_crst.h"
#endif
