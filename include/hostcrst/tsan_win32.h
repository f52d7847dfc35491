/*
 * Windows' locks as ThreadSanitizer is told of them: of win32.h, whose functions these macros replace in a program that
 * is compiled with -fsanitize=thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef HOSTCRST_TSAN_WIN32_H
#define HOSTCRST_TSAN_WIN32_H

#include "tsan.h"

#if defined(WINPR_ERROR_H) && !defined(HOSTCRST_WIN32_NO_LAST_ERROR)
#define HOSTCRST_TSAN_TOLD_(done) hostcrst_win32_told_(done)
#else
#define HOSTCRST_TSAN_TOLD_(done) (done)
#endif

/* ---- critical sections ---- */

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_cs_initialized_(PRTL_CRITICAL_SECTION section, BOOL done)
{
    if (done) {
        __tsan_mutex_create(section, HOSTCRST_TSAN_REENTRANT_);
    }
    return done;
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_cs_initialize(PRTL_CRITICAL_SECTION section)
{
    InitializeCriticalSection(section);
    (void)hostcrst_tsan_cs_initialized_(section, TRUE);
}

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_cs_initialize_and_spin_count(PRTL_CRITICAL_SECTION section, DWORD spin_count)
{
    const BOOL done = InitializeCriticalSectionAndSpinCount(section, spin_count);
    return HOSTCRST_TSAN_TOLD_(hostcrst_tsan_cs_initialized_(section, done));
}

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_cs_initialize_ex(PRTL_CRITICAL_SECTION section, DWORD spin_count, DWORD flags)
{
    const BOOL done = InitializeCriticalSectionEx(section, spin_count, flags);
    return HOSTCRST_TSAN_TOLD_(hostcrst_tsan_cs_initialized_(section, done));
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_cs_enter(PRTL_CRITICAL_SECTION section)
{
    EnterCriticalSection(section);
    hostcrst_tsan_locked_(section, HOSTCRST_TSAN_REENTRANT_);
}

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_cs_try_enter(PRTL_CRITICAL_SECTION section)
{
    const BOOL entered = TryEnterCriticalSection(section);
    if (entered) {
        hostcrst_tsan_locked_(section, HOSTCRST_TSAN_REENTRANT_ | HOSTCRST_TSAN_TRY_);
    }
    return entered;
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_cs_leave(PRTL_CRITICAL_SECTION section)
{
    hostcrst_tsan_unlocking_(section, HOSTCRST_TSAN_REENTRANT_);
    LeaveCriticalSection(section);
}

DWORD hostcrst_tsan_thread_id_(void) __asm__("hostcrst_thread_id");

/* The owner may delete it, however often it has entered. */
HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_cs_delete(PRTL_CRITICAL_SECTION section)
{
    if (HOSTCRST_TSAN_NUMBER_(section->OwningThread) == hostcrst_tsan_thread_id_()) {
        LONG entries;
        for (entries = section->RecursionCount; entries > 0; entries--) {
            hostcrst_tsan_unlocking_(section, HOSTCRST_TSAN_REENTRANT_);
        }
    }
    __tsan_mutex_destroy(section, 0);
    DeleteCriticalSection(section);
}

/* ---- SRW locks ---- */

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_srw_acquire_exclusive(PSRWLOCK lock)
{
    AcquireSRWLockExclusive(lock);
    hostcrst_tsan_locked_(lock, 0);
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_srw_acquire_shared(PSRWLOCK lock)
{
    AcquireSRWLockShared(lock);
    hostcrst_tsan_locked_(lock, HOSTCRST_TSAN_SHARED_);
}

HOSTCRST_TSAN_INLINE_ uint8_t hostcrst_tsan_srw_try_acquire_exclusive(PSRWLOCK lock)
{
    const uint8_t acquired = TryAcquireSRWLockExclusive(lock);
    if (acquired) {
        hostcrst_tsan_locked_(lock, HOSTCRST_TSAN_TRY_);
    }
    return acquired;
}

HOSTCRST_TSAN_INLINE_ uint8_t hostcrst_tsan_srw_try_acquire_shared(PSRWLOCK lock)
{
    const uint8_t acquired = TryAcquireSRWLockShared(lock);
    if (acquired) {
        hostcrst_tsan_locked_(lock, HOSTCRST_TSAN_SHARED_ | HOSTCRST_TSAN_TRY_);
    }
    return acquired;
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_srw_release_exclusive(PSRWLOCK lock)
{
    hostcrst_tsan_unlocking_(lock, 0);
    ReleaseSRWLockExclusive(lock);
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_srw_release_shared(PSRWLOCK lock)
{
    hostcrst_tsan_unlocking_(lock, HOSTCRST_TSAN_SHARED_);
    ReleaseSRWLockShared(lock);
}

/* ---- condition variables: the lock is left and taken again ---- */

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_slept_(BOOL done, void *lock, unsigned flags)
{
    if (done || hostcrst_last_error() != ERROR_NOT_OWNER) {
        hostcrst_tsan_locked_(lock, flags);
    }
    return done;
}

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_cv_sleep(PCONDITION_VARIABLE variable, PRTL_CRITICAL_SECTION section,
                                                  DWORD milliseconds)
{
    BOOL done;
    hostcrst_tsan_unlocking_(section, HOSTCRST_TSAN_REENTRANT_);
    done = SleepConditionVariableCS(variable, section, milliseconds);
    return HOSTCRST_TSAN_TOLD_(hostcrst_tsan_slept_(done, section, HOSTCRST_TSAN_REENTRANT_));
}

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_cv_sleep_srw(PCONDITION_VARIABLE variable, PSRWLOCK lock, DWORD milliseconds,
                                                      ULONG flags)
{
    const unsigned held = flags & CONDITION_VARIABLE_LOCKMODE_SHARED ? HOSTCRST_TSAN_SHARED_ : 0;
    BOOL done;
    hostcrst_tsan_unlocking_(lock, held);
    done = SleepConditionVariableSRW(variable, lock, milliseconds, flags);
    return HOSTCRST_TSAN_TOLD_(hostcrst_tsan_slept_(done, lock, held));
}

/* ---- what is before a wake is before the end of the wait; likewise with what is made once ---- */

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_address_wait(void volatile *address, PVOID undesired, size_t size,
                                                      DWORD milliseconds)
{
    const BOOL done = WaitOnAddress(address, undesired, size, milliseconds);
    if (done) {
        __tsan_acquire(HOSTCRST_TSAN_PLAIN_(address));
    }
    return HOSTCRST_TSAN_TOLD_(done);
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_address_wake(PVOID address)
{
    __tsan_release(address);
    WakeByAddressSingle(address);
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_address_wake_all(PVOID address)
{
    __tsan_release(address);
    WakeByAddressAll(address);
}

#ifndef WINPR_SYNCH_H
HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_once_begin(PINIT_ONCE once, DWORD flags, BOOL *pending, PVOID *context)
{
    const BOOL begun = InitOnceBeginInitialize(once, flags, pending, context);
    if (begun) {
        __tsan_acquire(once);
    }
    return begun;
}

HOSTCRST_TSAN_INLINE_ BOOL hostcrst_tsan_once_complete(PINIT_ONCE once, DWORD flags, PVOID context)
{
    __tsan_release(once);
    return InitOnceComplete(once, flags, context);
}

#define InitOnceBeginInitialize hostcrst_tsan_once_begin
#define InitOnceComplete hostcrst_tsan_once_complete
#endif

#define InitializeCriticalSection hostcrst_tsan_cs_initialize
#define InitializeCriticalSectionAndSpinCount hostcrst_tsan_cs_initialize_and_spin_count
#define InitializeCriticalSectionEx hostcrst_tsan_cs_initialize_ex
#define EnterCriticalSection hostcrst_tsan_cs_enter
#define TryEnterCriticalSection hostcrst_tsan_cs_try_enter
#define LeaveCriticalSection hostcrst_tsan_cs_leave
#define DeleteCriticalSection hostcrst_tsan_cs_delete
#define AcquireSRWLockExclusive hostcrst_tsan_srw_acquire_exclusive
#define AcquireSRWLockShared hostcrst_tsan_srw_acquire_shared
#define TryAcquireSRWLockExclusive hostcrst_tsan_srw_try_acquire_exclusive
#define TryAcquireSRWLockShared hostcrst_tsan_srw_try_acquire_shared
#define ReleaseSRWLockExclusive hostcrst_tsan_srw_release_exclusive
#define ReleaseSRWLockShared hostcrst_tsan_srw_release_shared
#define SleepConditionVariableCS hostcrst_tsan_cv_sleep
#define SleepConditionVariableSRW hostcrst_tsan_cv_sleep_srw
#define WaitOnAddress hostcrst_tsan_address_wait
#define WakeByAddressSingle hostcrst_tsan_address_wake
#define WakeByAddressAll hostcrst_tsan_address_wake_all

#endif
