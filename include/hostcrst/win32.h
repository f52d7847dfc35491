/*
 * Windows' critical sections, SRW locks and condition variables, under Windows' names: code written for Windows
 * includes this instead of <windows.h>, or beside it as the other headers below. C99, C++11 and later; link
 * libhostcrst.
 *
 * The library itself exports no Windows name: the functions declared here are known to the linker as
 * hostcrst_cs_..., hostcrst_cv_..., hostcrst_srw_... and so on. The rules, and what is defined here that Windows leaves
 * undefined, are in docs/win32.md. In short:
 *
 * - Nothing need be started. Zeroed memory, such as a static CRITICAL_SECTION, works as if it had been
 *   initialised.
 * - Enter always returns with the section entered. Leave by a thread that is not the owner, and Delete of a
 *   section in use, change nothing and are counted in the report (host_report, HOSTCRST_REPORT); the first
 *   misuse of each kind from each call site is also a line on stderr, with the section, the thread and the site.
 * - A CRITICAL_SECTION must be aligned to 8 bytes, as in every struct that is not packed: the use of any other
 *   ends the process, with a line that says so. A CONDITION_VARIABLE, an SRWLOCK and an INIT_ONCE may be at
 *   any address.
 * - Initialize without Delete, and memory freed and reused without it, leak nothing. A process has about
 *   16 million sections at most; an Enter that would need one more ends it, with a line that says so.
 * - A section whose owner's thread ends stays locked.
 * - A CRITICAL_SECTION that a thread has entered must not be copied; a copy of one before that is a section of its
 *   own. It belongs to one process.
 *
 * Beside other headers:
 * - <windows.h> (for a Windows target, _WIN32): this header only includes it, as Windows has these functions.
 * - WinPR (<winpr/synch.h>): include it first, or define HOSTCRST_WIN32_WINPR, and this header does. Calls of
 *   WinPR's functions of these names then go to this library; GetLastError stays WinPR's, and gets the codes of
 *   failures here. That WinPR is on the include path alone changes nothing.
 * - DirectX-Headers (<wsl/winadapter.h>): in either order. If they are on the include path, this header includes
 *   what it needs of them, and uses their types.
 * - Any other header that defines BOOL, DWORD and the like: include it first and define
 *   HOSTCRST_WIN32_NO_TYPES. If it has a GetLastError, define HOSTCRST_WIN32_NO_LAST_ERROR, and call
 *   hostcrst_last_error() for failures of this library; for a GetCurrentThreadId of its own,
 *   HOSTCRST_WIN32_NO_THREAD_ID.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef HOSTCRST_WIN32_H
#define HOSTCRST_WIN32_H

#if defined(_WIN32) && defined(__linux__)
#error "hostcrst/win32.h: _WIN32 is defined, but this compiler builds for Linux. Do not define it: this header stands for <windows.h>"
#elif defined(_WIN32)
#include <windows.h>
#else

#include <stddef.h>
#include <stdint.h>

#if defined(HOSTCRST_WIN32_WINPR) && !defined(WINPR_SYNCH_H)
#include <winpr/synch.h>
#endif
#ifdef __has_include
#if !defined(WINPR_SYNCH_H) && __has_include(<wsl/winadapter.h>) && __has_include(<basetsd.h>)
#include <basetsd.h>
#define HOSTCRST_WIN32_NO_TYPES
#endif
#endif

/* ---- types -------------------------------------------------------------------------------------------- */

#ifndef VOID
#if !defined(HOSTCRST_WIN32_NO_TYPES)
#define VOID void
#endif
#endif
#ifndef WINAPI
#define WINAPI
#endif
#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif
#ifndef INFINITE
#define INFINITE 0xFFFFFFFF
#endif

#if !defined(HOSTCRST_WIN32_NO_TYPES) && !defined(WINPR_WTYPES_H)
#ifndef XMD_H /* X11/Xmd.h has a BOOL of its own */
typedef int32_t BOOL;
#endif
typedef uint16_t WORD;
#if defined(__SIZEOF_LONG__) && __SIZEOF_LONG__ == 4 /* Windows' own types: in C++ other ones than int */
typedef unsigned long DWORD;
typedef long LONG;
typedef unsigned long ULONG;
#else /* where a long has 64 bits there is no other type of 32 */
typedef uint32_t DWORD;
typedef int32_t LONG;
typedef uint32_t ULONG;
#endif
typedef uintptr_t ULONG_PTR;
typedef void *PVOID;
typedef void *LPVOID;
typedef void *HANDLE;
#endif

#ifdef WINPR_SYNCH_H
#define HOSTCRST_CONDITION_VARIABLE_INIT_ NULL
#else
#define HOSTCRST_CONDITION_VARIABLE_INIT_ {NULL}

/*
 * Reports name a section by Spare[0] of the program's own record, a string of which 256 bytes are read, if that
 * record's CriticalSection is the section. The library has one record for the whole process, which DebugInfo
 * points to where RTL_CRITICAL_SECTION_FLAG_FORCE_DEBUG_INFO asks for one: it may be written to, and nothing is
 * read there.
 */
typedef struct _RTL_CRITICAL_SECTION_DEBUG {
    WORD Type;
    WORD CreatorBackTraceIndex;
    struct _RTL_CRITICAL_SECTION *CriticalSection;
    struct hostcrst_win32_list_ {
        void *Flink;
        void *Blink;
    } ProcessLocksList; /* as a LIST_ENTRY */
    DWORD EntryCount;
    DWORD ContentionCount;
    ULONG_PTR Spare[8 / sizeof(ULONG_PTR)]; /* Windows' Flags begin here */
} RTL_CRITICAL_SECTION_DEBUG, *PRTL_CRITICAL_SECTION_DEBUG;

typedef RTL_CRITICAL_SECTION_DEBUG CRITICAL_SECTION_DEBUG;
typedef PRTL_CRITICAL_SECTION_DEBUG PCRITICAL_SECTION_DEBUG;

/* Read-only. Exact for the owner; for another thread each was true at some moment. */
typedef struct _RTL_CRITICAL_SECTION {
    PRTL_CRITICAL_SECTION_DEBUG DebugInfo;
    /*
     * As since Windows Server 2003 SP1. -1: free. Otherwise bit 0 is 0 while the section is owned, bit 1 is 0
     * while a waiter is awake to take it, and the rest is the ones-complement of how many others wait. -2:
     * owned, nobody waits.
     */
    LONG LockCount;
    LONG RecursionCount; /* entries by the owner */
    HANDLE OwningThread; /* the owner's thread id (gettid), or NULL */
    HANDLE LockSemaphore; /* private to the library */
    ULONG_PTR SpinCount; /* low 24 bits: the count. 0x02000000: the library chooses */
} RTL_CRITICAL_SECTION, *PRTL_CRITICAL_SECTION;

typedef RTL_CRITICAL_SECTION CRITICAL_SECTION;
typedef PRTL_CRITICAL_SECTION PCRITICAL_SECTION;
typedef PRTL_CRITICAL_SECTION LPCRITICAL_SECTION;

typedef struct _RTL_CONDITION_VARIABLE {
    PVOID Ptr;
} RTL_CONDITION_VARIABLE, *PRTL_CONDITION_VARIABLE;

typedef RTL_CONDITION_VARIABLE CONDITION_VARIABLE;
typedef PRTL_CONDITION_VARIABLE PCONDITION_VARIABLE;
#endif

#ifndef RTL_CONDITION_VARIABLE_INIT
#define RTL_CONDITION_VARIABLE_INIT HOSTCRST_CONDITION_VARIABLE_INIT_
#endif
#ifndef CONDITION_VARIABLE_INIT
#define CONDITION_VARIABLE_INIT RTL_CONDITION_VARIABLE_INIT
#endif

/* Zero for a lock that nobody holds; nothing is to be read from any other value. */
#ifndef RTL_SRWLOCK_INIT
typedef struct _RTL_SRWLOCK {
    PVOID Ptr;
} RTL_SRWLOCK, *PRTL_SRWLOCK;

typedef RTL_SRWLOCK SRWLOCK;
typedef PRTL_SRWLOCK PSRWLOCK;

#define RTL_SRWLOCK_INIT {NULL}
#endif
#ifndef SRWLOCK_INIT
#define SRWLOCK_INIT RTL_SRWLOCK_INIT
#endif

/* Beside WinPR, which has them under other names, these are WinPR's: its macros call its functions. */
#ifndef WINPR_SYNCH_H
#ifndef CALLBACK
#define CALLBACK
#endif
typedef union _RTL_RUN_ONCE {
    PVOID Ptr;
} RTL_RUN_ONCE, *PRTL_RUN_ONCE;

typedef RTL_RUN_ONCE INIT_ONCE;
typedef PRTL_RUN_ONCE PINIT_ONCE;
typedef PRTL_RUN_ONCE LPINIT_ONCE;
typedef BOOL (CALLBACK *PINIT_ONCE_FN)(PINIT_ONCE InitOnce, PVOID Parameter, PVOID *Context);

#define RTL_RUN_ONCE_INIT {NULL}
#define INIT_ONCE_STATIC_INIT RTL_RUN_ONCE_INIT
#endif
#ifndef INIT_ONCE_CHECK_ONLY
#define INIT_ONCE_CHECK_ONLY 0x1
#define INIT_ONCE_ASYNC 0x2
#define INIT_ONCE_INIT_FAILED 0x4
#endif

/* Windows' layout to the byte, whoever defined the types. */
#if defined(__cplusplus)
#define HOSTCRST_WIN32_ASSERT_(name, holds) static_assert(holds, #name)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define HOSTCRST_WIN32_ASSERT_(name, holds) _Static_assert(holds, #name)
#else
#define HOSTCRST_WIN32_ASSERT_(name, holds) typedef char hostcrst_win32_assert_##name[(holds) ? 1 : -1]
#endif
#define HOSTCRST_WIN32_AT_(field, at64, at32) \
    HOSTCRST_WIN32_ASSERT_(field, \
                           offsetof(RTL_CRITICAL_SECTION, field) == (sizeof(void *) == 8 ? at64 : at32))
HOSTCRST_WIN32_ASSERT_(size_of_section, sizeof(RTL_CRITICAL_SECTION) == (sizeof(void *) == 8 ? 40 : 24));
HOSTCRST_WIN32_ASSERT_(size_of_variable, sizeof(CONDITION_VARIABLE) == sizeof(void *));
HOSTCRST_WIN32_ASSERT_(size_of_srw_lock, sizeof(SRWLOCK) == sizeof(void *));
HOSTCRST_WIN32_ASSERT_(size_of_long, sizeof(LONG) == 4 && sizeof(DWORD) == 4);
HOSTCRST_WIN32_AT_(DebugInfo, 0, 0);
HOSTCRST_WIN32_AT_(LockCount, 8, 4);
HOSTCRST_WIN32_AT_(RecursionCount, 12, 8);
HOSTCRST_WIN32_AT_(OwningThread, 16, 12);
HOSTCRST_WIN32_AT_(LockSemaphore, 24, 16);
HOSTCRST_WIN32_AT_(SpinCount, 32, 20);
#undef HOSTCRST_WIN32_AT_
#undef HOSTCRST_WIN32_ASSERT_

/* ---- constants ---------------------------------------------------------------------------------------- */

/*
 * Flags of InitializeCriticalSectionEx. Debug information is never kept, so the first has no effect, and the
 * last one only that there is a record.
 */
#ifndef RTL_CRITICAL_SECTION_FLAG_NO_DEBUG_INFO
#define RTL_CRITICAL_SECTION_FLAG_NO_DEBUG_INFO 0x01000000
#endif
#ifndef RTL_CRITICAL_SECTION_FLAG_DYNAMIC_SPIN
#define RTL_CRITICAL_SECTION_FLAG_DYNAMIC_SPIN 0x02000000
#endif
#ifndef RTL_CRITICAL_SECTION_FLAG_STATIC_INIT
#define RTL_CRITICAL_SECTION_FLAG_STATIC_INIT 0x04000000
#endif
#ifndef RTL_CRITICAL_SECTION_FLAG_RESOURCE_TYPE
#define RTL_CRITICAL_SECTION_FLAG_RESOURCE_TYPE 0x08000000
#endif
#ifndef RTL_CRITICAL_SECTION_FLAG_FORCE_DEBUG_INFO
#define RTL_CRITICAL_SECTION_FLAG_FORCE_DEBUG_INFO 0x10000000
#endif
#ifndef CRITICAL_SECTION_NO_DEBUG_INFO
#define CRITICAL_SECTION_NO_DEBUG_INFO RTL_CRITICAL_SECTION_FLAG_NO_DEBUG_INFO
#endif

/* Flag of SleepConditionVariableSRW: the lock is held shared. */
#ifndef RTL_CONDITION_VARIABLE_LOCKMODE_SHARED
#define RTL_CONDITION_VARIABLE_LOCKMODE_SHARED 0x1
#endif
#ifndef CONDITION_VARIABLE_LOCKMODE_SHARED
#define CONDITION_VARIABLE_LOCKMODE_SHARED RTL_CONDITION_VARIABLE_LOCKMODE_SHARED
#endif

/*
 * What GetLastError says after a failure. No macros, so that a later #define of another header is no
 * redefinition.
 */
#ifndef ERROR_NOT_ENOUGH_MEMORY
enum { ERROR_NOT_ENOUGH_MEMORY = 8 };
#endif
#ifndef ERROR_GEN_FAILURE
enum { ERROR_GEN_FAILURE = 31 };
#endif
#ifndef ERROR_INVALID_PARAMETER
enum { ERROR_INVALID_PARAMETER = 87 };
#endif
#ifndef ERROR_NOT_OWNER
enum { ERROR_NOT_OWNER = 288 };
#endif
#ifndef ERROR_TIMEOUT
enum { ERROR_TIMEOUT = 1460 };
#endif

/* ---- functions ---------------------------------------------------------------------------------------- */

/* As in hostcrst.h: no procedure linkage table, unless the program defines this itself. */
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

#ifdef __cplusplus
extern "C" {
#endif

/* The compiler sees Windows' name, the linker the library's. */
#define HOSTCRST_WIN32_IS_(name) __asm__(#name) HOSTCRST_API

/*
 * The calling thread's last failure of a function below, or what hostcrst_set_last_error left: GetLastError's
 * code.
 */
HOSTCRST_API DWORD hostcrst_last_error(void);
HOSTCRST_API void hostcrst_set_last_error(DWORD dwErrCode);

#ifndef HOSTCRST_WIN32_NO_FUNCTIONS

VOID WINAPI InitializeCriticalSection(LPCRITICAL_SECTION lpCriticalSection)
    HOSTCRST_WIN32_IS_(hostcrst_cs_initialize);

/*
 * FALSE and ERROR_NOT_ENOUGH_MEMORY without memory or a place for another section, and ERROR_INVALID_PARAMETER
 * for a section that is not aligned. The upper 8 bits of the count are ignored.
 */
BOOL WINAPI InitializeCriticalSectionAndSpinCount(LPCRITICAL_SECTION lpCriticalSection, DWORD dwSpinCount)
    HOSTCRST_WIN32_IS_(hostcrst_cs_initialize_and_spin_count);

/* FALSE and ERROR_INVALID_PARAMETER also for a flag without a name above and a count of more than 24 bits. */
BOOL WINAPI InitializeCriticalSectionEx(LPCRITICAL_SECTION lpCriticalSection, DWORD dwSpinCount, DWORD Flags)
    HOSTCRST_WIN32_IS_(hostcrst_cs_initialize_ex);

VOID WINAPI EnterCriticalSection(LPCRITICAL_SECTION lpCriticalSection) HOSTCRST_WIN32_IS_(hostcrst_cs_enter);

/* TRUE if entered, also once more by the owner; never blocks. */
BOOL WINAPI TryEnterCriticalSection(LPCRITICAL_SECTION lpCriticalSection)
    HOSTCRST_WIN32_IS_(hostcrst_cs_try_enter);

VOID WINAPI LeaveCriticalSection(LPCRITICAL_SECTION lpCriticalSection) HOSTCRST_WIN32_IS_(hostcrst_cs_leave);

VOID WINAPI DeleteCriticalSection(LPCRITICAL_SECTION lpCriticalSection)
    HOSTCRST_WIN32_IS_(hostcrst_cs_delete);

/* Returns the previous count. On one processor the new one is 0. */
DWORD WINAPI SetCriticalSectionSpinCount(LPCRITICAL_SECTION lpCriticalSection, DWORD dwSpinCount)
    HOSTCRST_WIN32_IS_(hostcrst_cs_set_spin_count);

VOID WINAPI InitializeConditionVariable(PCONDITION_VARIABLE ConditionVariable)
    HOSTCRST_WIN32_IS_(hostcrst_cv_initialize);

/*
 * Leaves the section, which the caller has entered exactly once, sleeps until woken, at most dwMilliseconds
 * (INFINITE: no limit), and in any case enters again. FALSE and ERROR_TIMEOUT if not woken in time. May
 * return TRUE without a wake: test the condition in a loop. FALSE at once, with ERROR_NOT_OWNER, if
 * the caller does not own the section, and with ERROR_INVALID_PARAMETER if it has entered more than once.
 */
BOOL WINAPI SleepConditionVariableCS(PCONDITION_VARIABLE ConditionVariable, PCRITICAL_SECTION CriticalSection,
                                     DWORD dwMilliseconds) HOSTCRST_WIN32_IS_(hostcrst_cv_sleep);

VOID WINAPI WakeConditionVariable(PCONDITION_VARIABLE ConditionVariable) HOSTCRST_WIN32_IS_(hostcrst_cv_wake);

VOID WINAPI WakeAllConditionVariable(PCONDITION_VARIABLE ConditionVariable)
    HOSTCRST_WIN32_IS_(hostcrst_cv_wake_all);

VOID WINAPI InitializeSRWLock(PSRWLOCK SRWLock) HOSTCRST_WIN32_IS_(hostcrst_srw_initialize);

/*
 * Waits until the lock is the caller's alone. By the thread that owns it already, it waits for ever, as on
 * Windows: that is counted, and a line on stderr says so.
 */
VOID WINAPI AcquireSRWLockExclusive(PSRWLOCK SRWLock) HOSTCRST_WIN32_IS_(hostcrst_srw_acquire_exclusive);

/*
 * Waits until nobody owns the lock; and while others share it, until those have had it that came before to own it.
 */
VOID WINAPI AcquireSRWLockShared(PSRWLOCK SRWLock) HOSTCRST_WIN32_IS_(hostcrst_srw_acquire_shared);

/*
 * Nonzero if acquired; these never wait for the lock. They pass those that wait, but not to share it with others. The type
 * is Windows' BOOLEAN. Without memory for the thread's record the answer is 0.
 */
uint8_t WINAPI TryAcquireSRWLockExclusive(PSRWLOCK SRWLock)
    HOSTCRST_WIN32_IS_(hostcrst_srw_try_acquire_exclusive);
uint8_t WINAPI TryAcquireSRWLockShared(PSRWLOCK SRWLock) HOSTCRST_WIN32_IS_(hostcrst_srw_try_acquire_shared);

/* By a thread that does not own the lock, or if nobody shares it: changes nothing and is counted. */
VOID WINAPI ReleaseSRWLockExclusive(PSRWLOCK SRWLock) HOSTCRST_WIN32_IS_(hostcrst_srw_release_exclusive);
VOID WINAPI ReleaseSRWLockShared(PSRWLOCK SRWLock) HOSTCRST_WIN32_IS_(hostcrst_srw_release_shared);

/*
 * As SleepConditionVariableCS, with a lock that the caller owns, or shares if Flags has
 * CONDITION_VARIABLE_LOCKMODE_SHARED. FALSE at once, with ERROR_NOT_OWNER, if it does not, with
 * ERROR_INVALID_PARAMETER for any other flag, and with ERROR_NOT_ENOUGH_MEMORY if there is none for a record of the
 * thread.
 */
BOOL WINAPI SleepConditionVariableSRW(PCONDITION_VARIABLE ConditionVariable, PSRWLOCK SRWLock,
                                      DWORD dwMilliseconds, ULONG Flags)
    HOSTCRST_WIN32_IS_(hostcrst_cv_sleep_srw);

/*
 * Waits until woken, if the AddressSize (1, 2, 4 or 8) bytes at Address are still those at CompareAddress, at
 * most dwMilliseconds (INFINITE: no limit). May return TRUE without a wake: compare in a loop. FALSE and
 * ERROR_TIMEOUT if not woken in time: such a wait has taken no wake. One that finds other bytes may have taken
 * the wake of a WakeByAddressSingle at that moment. ERROR_INVALID_PARAMETER for another size, or NULL. Wakes
 * come from this process only. The size is Windows' SIZE_T.
 */
BOOL WINAPI WaitOnAddress(VOID volatile *Address, PVOID CompareAddress, size_t AddressSize, DWORD dwMilliseconds)
    HOSTCRST_WIN32_IS_(hostcrst_address_wait);

/* Wakes the thread that has waited on the address for longest, or all; after what stands there was changed. */
VOID WINAPI WakeByAddressSingle(PVOID Address) HOSTCRST_WIN32_IS_(hostcrst_address_wake);
VOID WINAPI WakeByAddressAll(PVOID Address) HOSTCRST_WIN32_IS_(hostcrst_address_wake_all);

#ifndef WINPR_SYNCH_H
VOID WINAPI InitOnceInitialize(PINIT_ONCE InitOnce) HOSTCRST_WIN32_IS_(hostcrst_once_initialize);

/*
 * TRUE, with *fPending TRUE if the caller is to run the initialisation and complete it, and FALSE if it is done:
 * then *lpContext is what was made. While another thread runs it, waits. With INIT_ONCE_ASYNC any number of
 * threads may run it. FALSE with ERROR_INVALID_PARAMETER for unknown flags and where one thread begins with
 * INIT_ONCE_ASYNC and another without, and with ERROR_GEN_FAILURE if it is not done, for INIT_ONCE_CHECK_ONLY.
 */
BOOL WINAPI InitOnceBeginInitialize(LPINIT_ONCE lpInitOnce, DWORD dwFlags, BOOL *fPending, PVOID *lpContext)
    HOSTCRST_WIN32_IS_(hostcrst_once_begin);

/*
 * The caller has run it: lpContext, whose two lowest bits are 0, is what was made; or with INIT_ONCE_INIT_FAILED
 * nothing was, and the next thread begins anew. FALSE with ERROR_GEN_FAILURE if it is not being run, or another
 * of those that run it at once was first, and with ERROR_INVALID_PARAMETER for what does not fit.
 */
BOOL WINAPI InitOnceComplete(LPINIT_ONCE lpInitOnce, DWORD dwFlags, PVOID lpContext)
    HOSTCRST_WIN32_IS_(hostcrst_once_complete);
#endif

#if defined(WINPR_ERROR_H) && !defined(HOSTCRST_WIN32_NO_LAST_ERROR)
/* WinPR has its own last error, where the library stores its failures. */
static inline BOOL hostcrst_win32_told_(BOOL done)
{
    if (!done) {
        SetLastError(hostcrst_last_error());
    }
    return done;
}
#endif

/* A program that is compiled with -fsanitize=thread tells ThreadSanitizer of its locks: docs/sanitizers.md. */
#if defined(__SANITIZE_THREAD__)
#define HOSTCRST_TSAN_
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOSTCRST_TSAN_
#endif
#endif
#ifdef HOSTCRST_TSAN_
#include "tsan_win32.h"
#endif

/*
 * The names of ntdll. The status is 0, or negative as on Windows: 0xC0000017 without memory, 0xC000000D for what
 * is refused. Its type is Windows' NTSTATUS.
 */
static inline int32_t RtlInitializeCriticalSectionEx(PRTL_CRITICAL_SECTION section, ULONG spin_count, ULONG flags)
{
    if (InitializeCriticalSectionEx(section, spin_count, flags)) {
        return 0;
    }
    return hostcrst_last_error() == 87 ? -0x3FFFFFF3 : -0x3FFFFFE9;
}

static inline int32_t RtlInitializeCriticalSectionAndSpinCount(PRTL_CRITICAL_SECTION section, ULONG spin_count)
{
    return RtlInitializeCriticalSectionEx(section, spin_count & 0xFFFFFF, 0);
}

static inline int32_t RtlInitializeCriticalSection(PRTL_CRITICAL_SECTION section)
{
    InitializeCriticalSection(section);
    return 0;
}

static inline int32_t RtlDeleteCriticalSection(PRTL_CRITICAL_SECTION section)
{
    DeleteCriticalSection(section);
    return 0;
}

static inline int32_t RtlEnterCriticalSection(PRTL_CRITICAL_SECTION section)
{
    EnterCriticalSection(section);
    return 0;
}

static inline BOOL RtlTryEnterCriticalSection(PRTL_CRITICAL_SECTION section)
{
    return TryEnterCriticalSection(section);
}

static inline int32_t RtlLeaveCriticalSection(PRTL_CRITICAL_SECTION section)
{
    LeaveCriticalSection(section);
    return 0;
}

static inline ULONG RtlSetCriticalSectionSpinCount(PRTL_CRITICAL_SECTION section, ULONG spin_count)
{
    return SetCriticalSectionSpinCount(section, spin_count);
}

#ifndef WINPR_SYNCH_H
/*
 * Has InitFn run once, by the first thread, while others wait; FALSE if it fails, and the next thread runs it
 * anew. If it throws, it counts as being run for ever.
 */
__attribute__((always_inline)) static inline BOOL InitOnceExecuteOnce(
    PINIT_ONCE InitOnce, PINIT_ONCE_FN InitFn, PVOID Parameter, PVOID *Context)
{
    BOOL pending = FALSE;
    if (!InitOnceBeginInitialize(InitOnce, 0, &pending, Context)) {
        return FALSE;
    }
    if (!pending) {
        return TRUE;
    }
    if (!InitFn(InitOnce, Parameter, Context)) {
        InitOnceComplete(InitOnce, INIT_ONCE_INIT_FAILED, NULL);
        return FALSE;
    }
    return InitOnceComplete(InitOnce, 0, Context != NULL ? *Context : NULL);
}
#endif

#endif

#if !defined(HOSTCRST_WIN32_NO_FUNCTIONS) && !defined(HOSTCRST_WIN32_NO_THREAD_ID)
/* The calling thread's id, as in OwningThread: gettid. */
DWORD WINAPI GetCurrentThreadId(VOID) HOSTCRST_WIN32_IS_(hostcrst_thread_id);
#endif

#if !defined(HOSTCRST_WIN32_NO_FUNCTIONS) && !defined(HOSTCRST_WIN32_NO_LAST_ERROR)
#ifndef WINPR_ERROR_H
DWORD WINAPI GetLastError(VOID) HOSTCRST_WIN32_IS_(hostcrst_last_error);
VOID WINAPI SetLastError(DWORD dwErrCode) HOSTCRST_WIN32_IS_(hostcrst_set_last_error);
#elif !defined(HOSTCRST_TSAN_)
#define InitializeCriticalSectionAndSpinCount(section, spin_count) \
    hostcrst_win32_told_(InitializeCriticalSectionAndSpinCount(section, spin_count))
#define InitializeCriticalSectionEx(section, spin_count, flags) \
    hostcrst_win32_told_(InitializeCriticalSectionEx(section, spin_count, flags))
#define SleepConditionVariableCS(variable, section, milliseconds) \
    hostcrst_win32_told_(SleepConditionVariableCS(variable, section, milliseconds))
#define SleepConditionVariableSRW(variable, lock, milliseconds, flags) \
    hostcrst_win32_told_(SleepConditionVariableSRW(variable, lock, milliseconds, flags))
#define WaitOnAddress(address, undesired, size, milliseconds) \
    hostcrst_win32_told_(WaitOnAddress(address, undesired, size, milliseconds))
#endif
#endif

#undef HOSTCRST_WIN32_IS_

#ifdef __cplusplus
}
#endif

#endif
#endif
