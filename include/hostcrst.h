/*
 * hostcrst: critical sections that never hang silently, and a true picture of which thread is in managed code
 * and which is in which native function.
 *
 * Results. Every function that can fail returns an int32_t HRESULT: 0 or positive is success, negative is
 * failure. A failure changed nothing, except where the function says so. host_result_message() gives a sentence
 * for each code.
 *
 * Out parameters are written on every path, with 0 on failure. NULL for one is refused with E_POINTER.
 *
 * Handles. hostcrst_t and host_task_t are numbers, not addresses; 0 is never valid. A handle that is forged, of
 * the wrong kind, or whose object is gone gets E_HANDLE. Nothing that a caller passes is undefined behaviour, but for
 * pointers to memory that is not there.
 *
 * Options. An option bit that a function does not know gets E_INVALIDARG.
 *
 * Threads. Every function may be called from any thread, without set-up; a thread becomes a task at its first
 * call. No call unwinds or changes errno, and none ends the process but for a deadlock under HOST_DEADLOCK_ABORT.
 *
 * Cancellation, signals, forks. No call is a cancellation point; asynchronous cancellation must not be on during one.
 * No function is for signal handlers, unless it says so, and a handler must leave no call that it has interrupted, by
 * longjmp or pthread_exit: after a jump out of a wait the thread stays in the queue until it ends, and can wait for
 * nothing else. A fork may happen at any moment, in any thread; the child has the task of the thread that forked. In a
 * child of _Fork, or of the bare system call, that thread calls host_task_current before it starts another: else
 * sections of threads that are gone stay owned.
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
#define HOSTCRST_VERSION_NUMBER \
    (HOSTCRST_VERSION_MAJOR * 1000000 + HOSTCRST_VERSION_MINOR * 1000 + HOSTCRST_VERSION_PATCH)
#define HOSTCRST_VERSION_STRING "0.1.0"

/*
 * Stands before each function. With GCC a call goes to the function itself, not through a stub of the procedure
 * linkage table, which binds the functions when the program is loaded. A program that wants them bound lazily defines
 * this itself, as nothing.
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

/* Of a callback: it must return, and from C++17 on only a noexcept function is one. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define HOSTCRST_NOEXCEPT_ noexcept
#else
#define HOSTCRST_NOEXCEPT_
#endif

/*
 * The names below have Microsoft's values. A header of Windows (or of another implementation, as WinPR's
 * winpr/windows.h) may define some of them too, and may be included before this one or after it: what is
 * defined already is left alone, and what is defined here is no macro, so that a later #define is no redefinition.
 */
#ifdef __cplusplus
#define HOSTCRST_CONSTANT_(name, value) static constexpr int32_t name = value
#else
#define HOSTCRST_CONSTANT_(name, value) enum { name = value }
#endif
#define HOSTCRST_FAILURE_(name, code) HOSTCRST_CONSTANT_(name, (int32_t)(code - 0x100000000LL))

/* The call succeeded. */
#ifndef S_OK
HOSTCRST_CONSTANT_(S_OK, 0);
#endif

/* The call succeeded and there was nothing to do. */
#ifndef S_FALSE
HOSTCRST_CONSTANT_(S_FALSE, 1);
#endif

/* This request is known and refused in this version. */
#ifndef E_NOTIMPL
HOSTCRST_FAILURE_(E_NOTIMPL, 0x80004001);
#endif

/* The object does not answer for the interface asked for. */
#ifndef E_NOINTERFACE
HOSTCRST_FAILURE_(E_NOINTERFACE, 0x80004002);
#endif

/* An argument that must point to something was NULL. */
#ifndef E_POINTER
HOSTCRST_FAILURE_(E_POINTER, 0x80004003);
#endif

/* The operating system refused something that the library cannot do without. */
#ifndef E_FAIL
HOSTCRST_FAILURE_(E_FAIL, 0x80004005);
#endif

/* The handle is zero, forged, of another kind, or its object no longer exists. */
#ifndef E_HANDLE
HOSTCRST_FAILURE_(E_HANDLE, 0x80070006);
#endif

/* Nothing was allocated and nothing changed. */
#ifndef E_OUTOFMEMORY
HOSTCRST_FAILURE_(E_OUTOFMEMORY, 0x8007000E);
#endif

/* A value or an option bit is not one that this function knows. */
#ifndef E_INVALIDARG
HOSTCRST_FAILURE_(E_INVALIDARG, 0x80070057);
#endif

/* The wait was part of a cycle and was chosen to be broken; every section is as it was. */
#ifndef HOST_E_DEADLOCK
HOSTCRST_FAILURE_(HOST_E_DEADLOCK, 0x80131020);
#endif

/* The task was alerted while it waited alertably. */
#ifndef HOST_E_INTERRUPTED
HOSTCRST_FAILURE_(HOST_E_INTERRUPTED, 0x80131021);
#endif

/* The call does not fit the present state of the task or section. */
#ifndef HOST_E_INVALIDOPERATION
HOSTCRST_FAILURE_(HOST_E_INVALIDOPERATION, 0x80131022);
#endif

/* The runtime was not started, was stopped, or has failed. */
#ifndef HOST_E_CLRNOTAVAILABLE
HOSTCRST_FAILURE_(HOST_E_CLRNOTAVAILABLE, 0x80131023);
#endif

/* The time limit passed before the section was free. */
#ifndef HOST_E_TIMEOUT
HOSTCRST_FAILURE_(HOST_E_TIMEOUT, 0x80131024);
#endif

/* The calling task does not own the section. */
#ifndef HOST_E_NOT_OWNER
HOSTCRST_FAILURE_(HOST_E_NOT_OWNER, 0x80131025);
#endif

/* The section was destroyed during the wait, or its owner ended without leaving it. */
#ifndef HOST_E_ABANDONED
HOSTCRST_FAILURE_(HOST_E_ABANDONED, 0x80131026);
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
#undef HOSTCRST_FAILURE_

/**
 * host_runtime_state: host_runtime_start was never called.
 */
#define HOST_RUNTIME_NOT_LOADED 0

/**
 * host_runtime_state: available.
 */
#define HOST_RUNTIME_RUNNING 1

/**
 * host_runtime_state: not available until started again.
 */
#define HOST_RUNTIME_STOPPED 2

/**
 * host_runtime_state: not available for the life of the process.
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
 * A time limit that never passes, for hostcrst_enter_timeout.
 */
#define HOSTCRST_INFINITE 4294967295

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
 * host_set_deadlock_policy: one wait of the cycle gets HOST_E_DEADLOCK, and the program goes on. The default. Where
 * none may fail the tasks stay as they are; if one of them is in EnterCriticalSection, a report goes to stderr.
 */
#define HOST_DEADLOCK_ERROR 0

/**
 * host_set_deadlock_policy: a report goes to stderr, and the tasks stay as they are.
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
 * A critical section: an opaque handle. 0 is never one. A handle that was destroyed is never valid again.
 */
typedef uint64_t hostcrst_t;

/**
 * What hostcrst_info tells.
 */
typedef struct {
    /**
     * Set by the caller to sizeof(hostcrst_info_t), so that the struct can grow.
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
     * How often the owner has entered and not yet left; 0 if the section is not owned.
     */
    uint32_t recursion;
    /**
     * How many tasks wait in the section's queue.
     */
    uint32_t waiters;
    /**
     * As set; 0 if none was set or the process has one processor.
     */
    uint32_t spin_count;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * How many entries had to wait since the section was created.
     */
    uint64_t contended;
} hostcrst_info_t;

/**
 * A task: an opaque handle. Stale once its thread has ended; never equal to a section's handle.
 */
typedef uint64_t host_task_t;

/**
 * What host_task_info tells.
 */
typedef struct {
    /**
     * Set by the caller to sizeof(host_task_info_t), so that the struct can grow.
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
     * How many sections the task owns.
     */
    uint32_t owned;
    /**
     * How many layers are open.
     */
    uint64_t depth;
    /**
     * The section the task waits for (a hostcrst_t), or 0. Of a CRITICAL_SECTION, what its LockSemaphore holds: no
     * function takes that number.
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
     * What was given to host_leave_runtime; 0 for HOST_LAYER_REVERSE_ENTER. Where the CLR drives the library: its id
     * of the function.
     */
    size_t target;
} host_layer_t;

/**
 * What a callback is told of a deadlock.
 */
typedef struct {
    /**
     * sizeof(host_deadlock_t) of the library: a later one may tell more.
     */
    uint32_t size;
    /**
     * How many tasks the cycle has.
     */
    uint32_t tasks;
    /**
     * The task whose wait gets HOST_E_DEADLOCK (a host_task_t); 0 if the cycle stands.
     */
    uint64_t victim;
    /**
     * The section that the victim waited for (a hostcrst_t); without a victim, that of the wait which closed the
     * cycle. Of a CRITICAL_SECTION, what its LockSemaphore holds: no function takes that number.
     */
    uint64_t section;
} host_deadlock_t;

/**
 * Is told of a deadlock: see host_set_deadlock_callback. It must return; from C++17 on it is a noexcept function.
 */
typedef void (*host_deadlock_callback_t)(const host_deadlock_t *deadlock, void *context) HOSTCRST_NOEXCEPT_;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ====================================================================================================
 * The runtime: whether anything works at all.
 * ==================================================================================================== */

/**
 * Makes the runtime available.
 *
 * Until then every function answers HOST_E_CLRNOTAVAILABLE, but for the ones that only tell: host_runtime_state,
 * hostcrst_info, host_task_info, host_task_layers, host_call_needs_host_hook, host_report, host_result_message,
 * hostcrst_version.
 *
 * Returns:
 * - S_OK: available from here on. After a stop, every task begins with no layers.
 * - S_FALSE: it was available already.
 * - HOST_E_CLRNOTAVAILABLE: host_runtime_fail was called in this process.
 * - E_OUTOFMEMORY: the address space for sections and tasks cannot be reserved, or sixteen other copies of the
 *   library are in use in this process. May be tried again.
 *
 * Threads: any; waits for a first start that another thread is making. Not for signal handlers. The child of a fork
 * inherits the state.
 *
 * Source: an extension; the hosting interfaces assume a runtime that has been loaded.
 */
HOSTCRST_API int32_t host_runtime_start(void);

/**
 * Makes the runtime unavailable until it is started again.
 *
 * Every task that waits for a section wakes with HOST_E_CLRNOTAVAILABLE, and every later call that creates, enters,
 * recovers or makes a transition gets it too. Sections stay as they are: an owner can still leave, and
 * hostcrst_destroy still works.
 *
 * Returns:
 * - S_OK: stopped; every wait has been told to end.
 * - S_FALSE: it was stopped already.
 * - HOST_E_CLRNOTAVAILABLE: it was never started, or has failed.
 *
 * Threads: any; does not wait for the woken tasks. Not for signal handlers.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_runtime_stop(void);

/**
 * Declares the runtime unusable for the life of the process.
 *
 * What the hosting pages say of E_FAIL: every waiter wakes with HOST_E_CLRNOTAVAILABLE, and every later call gets it
 * too, leaving and destroying among them. Only the functions that tell still work.
 *
 * Returns:
 * - S_OK: failed from here on.
 * - E_OUTOFMEMORY: the library was never used before and cannot reserve its address space; nothing changed.
 *
 * Threads: any; does not wait for the woken tasks. Not for signal handlers.
 *
 * Source: the E_FAIL row of every method of IHostCrst and IHostTaskManager.
 */
HOSTCRST_API int32_t host_runtime_fail(void);

/**
 * Tells whether the runtime is available.
 *
 * Parameters:
 * - state (out, not NULL): one of the HOST_RUNTIME_ values.
 *
 * Returns:
 * - S_OK
 * - E_POINTER: state is NULL.
 *
 * Threads: any, signal handlers too; does not block.
 *
 * Source: an extension.
 *
 * # Safety
 * `state` is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_runtime_state(uint32_t *state);

/**
 * A sentence for any code.
 *
 * Parameters:
 * - hr (any value): an HRESULT.
 *
 * Returns: a static, zero-terminated English sentence, never NULL.
 *
 * Threads: any, signal handlers too; does not block.
 *
 * Source: an extension.
 */
HOSTCRST_API const char *host_result_message(int32_t hr);

/**
 * The version of the library at run time.
 *
 * Returns: a static, zero-terminated string such as "0.1.0"; HOSTCRST_VERSION_STRING is that of the header.
 *
 * Threads: any, signal handlers too; does not block.
 *
 * Source: an extension.
 */
HOSTCRST_API const char *hostcrst_version(void);

/* ====================================================================================================
 * Critical sections: IHostCrst and what creates one.
 * ==================================================================================================== */

/**
 * Creates a critical section: free, without a name, waiting as the library thinks best.
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
 * Threads: any; may wait briefly for another create or destroy. Not for signal handlers.
 *
 * Source: IHostSyncManager::CreateCrst.
 *
 * # Safety
 * `out` is NULL or valid for writing.
 */
HOSTCRST_API int32_t hostcrst_create(hostcrst_t *out);

/**
 * Creates a critical section that a newcomer looks at so many times before it waits.
 *
 * Whatever the count, a newcomer has looked for long enough after 1 ms or when its time limit is over: from then on
 * it waits, and time limits, alerts, the runtime's end and the search for deadlocks see it.
 *
 * Parameters:
 * - spin_count (0 to 4294967295 looks): at most so many; 0 waits at once. Taken as 0 where the process has one
 *   processor.
 * - out (out, not NULL): the handle; 0 on failure.
 *
 * Returns:
 * - S_OK: created. Destroy it with hostcrst_destroy.
 * - E_POINTER: out is NULL.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory, or 16 million sections exist.
 *
 * Threads: any; may wait briefly for another create or destroy. Not for signal handlers.
 *
 * Source: IHostSyncManager::CreateCrstWithSpinCount.
 *
 * # Safety
 * `out` is NULL or valid for writing.
 */
HOSTCRST_API int32_t hostcrst_create_with_spin_count(uint32_t spin_count, hostcrst_t *out);

/**
 * Enters a critical section, waiting until the calling task owns it.
 *
 * Recursive: the owner enters again at once. Each success needs one hostcrst_leave.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - option (0 or bits of WAIT_MSGPUMP, WAIT_ALERTABLE, WAIT_NOTINDEADLOCK): WAIT_ALERTABLE lets host_task_alert end
 *   the wait; WAIT_NOTINDEADLOCK keeps this wait from being a deadlock's victim; WAIT_MSGPUMP has no meaning here
 *   and is accepted.
 *
 * Returns:
 * - S_OK: the calling task owns crst, once more than before.
 * - HOST_E_DEADLOCK: this wait was part of a cycle of waits and was broken; never with WAIT_NOTINDEADLOCK.
 * - HOST_E_ABANDONED: the section was destroyed during the wait, or its owner's thread ended without leaving.
 * - HOST_E_INTERRUPTED: the task was alerted; only with WAIT_ALERTABLE, and only if the call had to wait.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run, or was stopped during the wait.
 * - HOST_E_INVALIDOPERATION: the owner has entered 4294967295 times, or the call would have to wait in a signal
 *   handler that interrupted a wait of the same thread (or after a jump out of such a handler: the wait goes on).
 * - E_HANDLE: crst is no live section.
 * - E_INVALIDARG: option has an unknown bit.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * On failure nothing changed.
 *
 * Threads: any; may wait without limit. The last leave of the previous owner happens-before the return. A signal
 * handler that runs during the wait changes nothing; if it forks, the wait ends in the child with HOST_E_ABANDONED.
 * Not for signal handlers, and not to be left by siglongjmp or pthread_exit in one. No cancellation point. In the
 * child of a fork, sections owned by other threads of the parent are abandoned.
 *
 * Source: IHostCrst::Enter. Differs: no messages are pumped.
 */
HOSTCRST_API int32_t hostcrst_enter(hostcrst_t crst, uint32_t option);

/**
 * Enters a critical section, waiting no longer than a time limit.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - option: as for hostcrst_enter.
 * - milliseconds (0 to 4294967294, or HOSTCRST_INFINITE): 0 tries once. HOSTCRST_INFINITE makes it hostcrst_enter.
 *
 * Returns:
 * - HOST_E_TIMEOUT: the limit passed and another task owned the section all the time, or each time it was looked at.
 * - all that hostcrst_enter returns, but HOST_E_DEADLOCK only with HOSTCRST_INFINITE: a wait with a limit resolves
 *   itself and is no part of a deadlock.
 *
 * On failure nothing changed.
 *
 * Threads: as for hostcrst_enter. The limit is counted on the monotonic clock.
 *
 * Source: an extension of IHostCrst::Enter in the manner of IHostAutoEvent::Wait.
 */
HOSTCRST_API int32_t hostcrst_enter_timeout(hostcrst_t crst, uint32_t option, uint32_t milliseconds);

/**
 * Enters a critical section if that needs no waiting.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - option: as for hostcrst_enter; has no effect, as nothing is waited for.
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
 * Threads: any; never waits for an owner. Not for signal handlers.
 *
 * Source: IHostCrst::TryEnter.
 *
 * # Safety
 * `entered` is NULL or valid for writing.
 */
HOSTCRST_API int32_t hostcrst_try_enter(hostcrst_t crst, uint32_t option, int32_t *entered);

/**
 * Leaves a critical section once.
 *
 * With the last leave the section is free, and a task that waits for it can enter.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 *
 * Returns:
 * - S_OK: left once.
 * - HOST_E_NOT_OWNER: the calling task does not own the section, which is unharmed.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, leaving works.
 * - E_HANDLE: crst is no live section.
 *
 * Threads: the owner; may wait briefly for the section's queue. Not for signal handlers.
 *
 * Source: IHostCrst::Leave.
 */
HOSTCRST_API int32_t hostcrst_leave(hostcrst_t crst);

/**
 * Changes how often a newcomer looks at the owned section before it waits: as of hostcrst_create_with_spin_count,
 * for 1 ms at most.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - spin_count (0 to 4294967295 looks): at most so many; 0 waits at once. Taken as 0 where the process has one
 *   processor.
 *
 * Returns:
 * - S_OK: in force for later entries.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_HANDLE: crst is no live section.
 *
 * Threads: any, whoever owns the section; may wait briefly for its queue. Not for signal handlers.
 *
 * Source: IHostCrst::SetSpinCount.
 */
HOSTCRST_API int32_t hostcrst_set_spin_count(hostcrst_t crst, uint32_t spin_count);

/**
 * Ends a critical section that is free, abandoned, or owned by the calling task.
 *
 * Waiters wake with HOST_E_ABANDONED. The handle is stale from here on, whatever the section is needed for.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 *
 * Returns:
 * - S_OK: destroyed, however often the owner had entered.
 * - HOST_E_NOT_OWNER: another task owns the section; nothing changed.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed. While it is stopped, destroying works.
 * - E_HANDLE: crst is no live section, or no longer one.
 *
 * Threads: any; may wait briefly for the section's queue, never for an owner. Not for signal handlers.
 *
 * Source: the last Release of an IHostCrst.
 */
HOSTCRST_API int32_t hostcrst_destroy(hostcrst_t crst);

/**
 * Takes over a section whose owner's thread ended without leaving it.
 *
 * The calling task then owns it once and finds the data under it as the dead thread left it. Of several callers
 * one succeeds.
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
 * Threads: any; may wait briefly for the section's queue. Not for signal handlers.
 *
 * Source: an extension, after pthread_mutex_consistent.
 */
HOSTCRST_API int32_t hostcrst_recover(hostcrst_t crst);

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
 * Threads: any; may wait briefly for another call on the same section. Not for signal handlers.
 *
 * Source: an extension.
 *
 * # Safety
 * `utf8` is NULL or points to a zero-terminated string.
 */
HOSTCRST_API int32_t hostcrst_set_name(hostcrst_t crst, const char *utf8);

/**
 * Tells what a critical section looks like at this moment.
 *
 * Parameters:
 * - crst (any value): a handle from hostcrst_create.
 * - info (in and out, not NULL): its field size must be set. On failure all other fields are 0.
 *
 * Returns:
 * - S_OK: see info. Exact for the owner; for others true of one moment during the call, field by field.
 * - E_POINTER: info is NULL.
 * - E_INVALIDARG: info->size is less than sizeof(hostcrst_info_t); nothing is written.
 * - E_HANDLE: crst is no live section.
 *
 * Threads: any; does not block. In every state of the runtime.
 *
 * Source: an extension.
 *
 * # Safety
 * `info` is NULL or points to a struct of the size that its field `size` says.
 */
HOSTCRST_API int32_t hostcrst_info(hostcrst_t crst, hostcrst_info_t *info);

/* ====================================================================================================
 * Transitions and tasks: IHostTaskManager and IHostTask.
 * ==================================================================================================== */

/**
 * Managed code is about to call native code: opens a layer.
 *
 * Parameters:
 * - target (any value): the address of the native function, 0 if unknown. Kept and shown, never called or read.
 *
 * Returns:
 * - S_OK: the task runs native code until the matching host_enter_runtime.
 * - HOST_E_INVALIDOPERATION: the task runs native code already.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory for one more layer, or the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed. The first transition of a task decides that it began in managed code.
 *
 * Threads: any, for itself; does not block. Not for signal handlers.
 *
 * Source: IHostTaskManager::LeaveRuntime.
 */
HOSTCRST_API int32_t host_leave_runtime(size_t target);

/**
 * The native function that host_leave_runtime announced has returned: closes its layer.
 *
 * Returns:
 * - S_OK: the task runs managed code.
 * - HOST_E_INVALIDOPERATION: the innermost layer is not one of host_leave_runtime, or there is none.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed.
 *
 * Threads: any, for itself; does not block; errno is as the native function left it. Not for signal handlers.
 *
 * Source: IHostTaskManager::EnterRuntime.
 */
HOSTCRST_API int32_t host_enter_runtime(void);

/**
 * Native code is about to call managed code: opens a layer.
 *
 * Returns:
 * - S_OK: the task runs managed code until the matching host_reverse_leave_runtime.
 * - HOST_E_INVALIDOPERATION: the task runs managed code already.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: no memory for one more layer, or the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed. The first transition of a task decides that it began in native code.
 *
 * Threads: any, for itself; does not block. Not for signal handlers.
 *
 * Source: IHostTaskManager::ReverseEnterRuntime.
 */
HOSTCRST_API int32_t host_reverse_enter_runtime(void);

/**
 * The managed function that host_reverse_enter_runtime announced has returned: closes its layer.
 *
 * Returns:
 * - S_OK: the task runs native code.
 * - HOST_E_INVALIDOPERATION: the innermost layer is not one of host_reverse_enter_runtime, or there is none.
 * - HOST_E_CLRNOTAVAILABLE: the runtime does not run.
 * - E_OUTOFMEMORY: the calling thread cannot be made a task.
 *
 * Never S_FALSE. On failure nothing changed.
 *
 * Threads: any, for itself; does not block. Not for signal handlers.
 *
 * Source: IHostTaskManager::ReverseLeaveRuntime.
 */
HOSTCRST_API int32_t host_reverse_leave_runtime(void);

/**
 * Tells whether the runtime must report calls to a native function.
 *
 * Parameters:
 * - target (any value): the address of the function.
 * - needs (out, not NULL): 1 unless host_set_call_hook said 0.
 *
 * Returns:
 * - S_OK: see needs.
 * - E_POINTER: needs is NULL.
 *
 * Threads: any; does not block. In every state of the runtime.
 *
 * Source: IHostTaskManager::CallNeedsHostHook.
 *
 * # Safety
 * `needs` is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_call_needs_host_hook(size_t target, int32_t *needs);

/**
 * Sets what host_call_needs_host_hook answers.
 *
 * Parameters:
 * - target (any value): the address of a native function.
 * - needs (0 = no, any other value = yes).
 *
 * Returns:
 * - S_OK: in force for later questions.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_OUTOFMEMORY: no memory for one more target; nothing changed.
 *
 * Threads: any; may wait briefly for another call of this function. Not for signal handlers.
 *
 * Source: an extension; the hosting pages leave the policy to the host.
 */
HOSTCRST_API int32_t host_set_call_hook(size_t target, int32_t needs);

/**
 * Tells which task the calling thread is.
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
 * Threads: any; does not block. Not for signal handlers.
 *
 * Source: IHostTaskManager::GetCurrentTask.
 *
 * # Safety
 * `out` is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_task_current(host_task_t *out);

/**
 * Gives a task a name, shown in reports instead of its thread's.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - utf8 (in, copied, not NULL): zero-terminated; cut to 56 bytes between characters. Empty brings the thread's own
 *   name back.
 *
 * Returns:
 * - S_OK: named.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_POINTER: utf8 is NULL.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; may wait briefly for another call that names a task. Not for signal handlers.
 *
 * Source: an extension.
 *
 * # Safety
 * `utf8` is NULL or points to a zero-terminated string.
 */
HOSTCRST_API int32_t host_task_set_name(host_task_t task, const char *utf8);

/**
 * Ends a task's alertable wait, now or at its next one.
 *
 * An alert that finds the task in no wait under WAIT_ALERTABLE stays and ends the next one as it begins, once.
 * Several alerts before that count as one.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 *
 * Returns:
 * - S_OK: the wait has been told to end with HOST_E_INTERRUPTED, or the next one will.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; does not wait for the task. Not for signal handlers.
 *
 * Source: IHostTask::Alert.
 */
HOSTCRST_API int32_t host_task_alert(host_task_t task);

/**
 * Tells what a task is doing at this moment.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - info (in and out, not NULL): its field size must be set. On failure all other fields are 0.
 *
 * Returns:
 * - S_OK: see info. Exact for the task itself; for others true of one moment during the call, field by field.
 * - E_POINTER: info is NULL.
 * - E_INVALIDARG: info->size is less than sizeof(host_task_info_t); nothing is written.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; does not block. In every state of the runtime.
 *
 * Source: an extension.
 *
 * # Safety
 * `info` is NULL or points to a struct of the size that its field `size` says.
 */
HOSTCRST_API int32_t host_task_info(host_task_t task, host_task_info_t *info);

/**
 * Copies a task's layers, outermost first, as they were at one moment, while the task runs.
 *
 * Parameters:
 * - task (any value): a handle from host_task_current.
 * - layers (out; NULL only if capacity is 0): room for capacity layers. What stands there beyond the open layers,
 *   or after a failure, has no meaning: it may have been written.
 * - capacity (0 to what layers has room for): how many to copy at most; the outermost ones are.
 * - count (out, not NULL): how many layers are open, more than capacity or not; 0 on failure.
 *
 * Returns:
 * - S_OK: copied.
 * - E_POINTER: count is NULL, or layers is NULL and capacity is not 0.
 * - E_HANDLE: task is no live task.
 *
 * Threads: any; does not block. In every state of the runtime: layers stay until it is started again.
 *
 * Source: an extension: the nested layers that the LeaveRuntime page speaks of.
 *
 * # Safety
 * `layers` is NULL or valid for writing `capacity` layers; `count` is NULL or valid for writing.
 */
HOSTCRST_API int32_t host_task_layers(host_task_t task, host_layer_t *layers, size_t capacity, size_t *count);

/* ====================================================================================================
 * Deadlocks: what is done about them, and what is kept to explain them.
 * ==================================================================================================== */

/**
 * Chooses what happens when a deadlock is found.
 *
 * A cycle of waits without time limits is found at the moment its last wait begins. The environment variable
 * HOSTCRST_ON_DEADLOCK (error, report or abort) makes the same choice when the runtime is first started.
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
HOSTCRST_API int32_t host_set_deadlock_policy(uint32_t policy);

/**
 * Sets who is told of each deadlock.
 *
 * The callback runs on the thread whose wait closed the cycle, inside its call of hostcrst_enter, after a wait was
 * broken or not. It may call every function of the library: the thread waits for nothing then. If its own wait was
 * not the one that was broken, it waits anew after the callback, behind those who came meanwhile; a cycle that this
 * closes again is not told of again. A cycle that an enter inside the callback closes is told of like any other: to
 * the same callback, inside itself.
 *
 * The callback must return: it must not throw, longjmp, or end its thread. Where it does so all the same, or where
 * its thread is cancelled in it, the enter around it never returns, and the thread owns what it owned before and
 * waits for nothing. errno is then as the callback left it.
 *
 * On return no thread is inside the callback of before any more, so that what it uses can be freed. Only a call from
 * inside a callback does not wait for that: for itself it could not, and two would wait for each other. A callback
 * that was left by an exception or longjmp counts as running until its thread ends.
 *
 * Parameters:
 * - callback (NULL for none): replaces the one before.
 * - context (any value): handed to the callback.
 *
 * Returns:
 * - S_OK: in force for later deadlocks; the callback of before is not running, see above.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 *
 * Threads: any; waits for the callback of before, so not while the caller owns or holds what that may wait for. Not
 * for signal handlers.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_set_deadlock_callback(host_deadlock_callback_t callback, void *context);

/**
 * Switches on or off that it is kept since when and from where each section is owned.
 *
 * Reports then say so for every section entered from here on. Off by default, as entering a free section costs a
 * clock reading more while it is on. The environment variable HOSTCRST_HOLDS=1 switches it on when the runtime is
 * first started.
 *
 * Parameters:
 * - on (0 = off, any other value = on).
 *
 * Returns:
 * - S_OK: in force for later entries.
 * - HOST_E_CLRNOTAVAILABLE: the runtime was never started or has failed.
 * - E_OUTOFMEMORY: no address space for it; nothing changed.
 *
 * Threads: any; may wait briefly for a create or destroy.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_set_hold_tracking(int32_t on);

/* ====================================================================================================
 * Reports.
 * ==================================================================================================== */

/**
 * Writes a report on every task and every section of interest.
 *
 * Each task with its name, thread id, layers (addresses as library!symbol+offset), the sections it owns and the one
 * it waits for; each section that is owned, abandoned or was ever waited for; each deadlock that stands, and the
 * last eight that were found. Works while every task is blocked, and in any state of the runtime.
 *
 * Parameters:
 * - fd (a descriptor open for writing): where it goes. Stays open.
 * - format (one of the HOST_REPORT_ values): docs/report.schema.json describes the JSON.
 *
 * Returns:
 * - S_OK: written.
 * - E_INVALIDARG: fd cannot be written, or format is not known.
 * - E_OUTOFMEMORY: three other reports on request are being written, as to pipes that nobody reads, and none of them
 *   ended within a second.
 *
 * Threads: any; blocks as long as writing to fd does; takes no lock that the program can hold, and nothing of the
 * program's allocator. Needs 8 KiB of stack at most. Is no cancellation point; interrupted by a signal handler, it
 * goes on. A pipe without a reader and a limit on the size of files are failures, without SIGPIPE and SIGXFSZ. Not
 * for signal handlers.
 *
 * Source: an extension.
 */
HOSTCRST_API int32_t host_report(int32_t fd, uint32_t format);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HOSTCRST_H */
