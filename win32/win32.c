/*
 * libhostcrst_win32: the Windows names themselves, for programs and libraries that were built against another
 * implementation with the same layout (WinPR) and are given this one by link order or LD_PRELOAD.
 *
 * Each function is one jump to libhostcrst. Where that implementation has a SetLastError, failures are told
 * there.
 */
#define HOSTCRST_WIN32_NO_FUNCTIONS
#include <hostcrst/win32.h>

#define EXPORT __attribute__((visibility("default")))

void hostcrst_cs_initialize(LPCRITICAL_SECTION section);
BOOL hostcrst_cs_initialize_and_spin_count(LPCRITICAL_SECTION section, DWORD spin_count);
BOOL hostcrst_cs_initialize_ex(LPCRITICAL_SECTION section, DWORD spin_count, DWORD flags);
void hostcrst_cs_enter(LPCRITICAL_SECTION section);
BOOL hostcrst_cs_try_enter(LPCRITICAL_SECTION section);
void hostcrst_cs_leave(LPCRITICAL_SECTION section);
void hostcrst_cs_delete(LPCRITICAL_SECTION section);
DWORD hostcrst_cs_set_spin_count(LPCRITICAL_SECTION section, DWORD spin_count);
void hostcrst_cv_initialize(PCONDITION_VARIABLE variable);
BOOL hostcrst_cv_sleep(PCONDITION_VARIABLE variable, PCRITICAL_SECTION section, DWORD milliseconds);
void hostcrst_cv_wake(PCONDITION_VARIABLE variable);
void hostcrst_cv_wake_all(PCONDITION_VARIABLE variable);
BOOL hostcrst_cv_sleep_srw(PCONDITION_VARIABLE variable, PSRWLOCK lock, DWORD milliseconds, ULONG flags);
void hostcrst_srw_initialize(PSRWLOCK lock);
void hostcrst_srw_acquire_exclusive(PSRWLOCK lock);
void hostcrst_srw_acquire_shared(PSRWLOCK lock);
uint8_t hostcrst_srw_try_acquire_exclusive(PSRWLOCK lock);
uint8_t hostcrst_srw_try_acquire_shared(PSRWLOCK lock);
void hostcrst_srw_release_exclusive(PSRWLOCK lock);
void hostcrst_srw_release_shared(PSRWLOCK lock);
BOOL hostcrst_address_wait(volatile void *address, PVOID undesired, size_t size, DWORD milliseconds);
void hostcrst_address_wake(PVOID address);
void hostcrst_address_wake_all(PVOID address);
DWORD hostcrst_thread_id(void);
void hostcrst_once_initialize(PINIT_ONCE once);
BOOL hostcrst_once_begin(PINIT_ONCE once, DWORD flags, BOOL *pending, PVOID *context);
BOOL hostcrst_once_complete(PINIT_ONCE once, DWORD flags, PVOID context);

extern void SetLastError(DWORD code) __attribute__((weak));

static BOOL told(BOOL done)
{
    if (!done && SetLastError) {
        SetLastError(hostcrst_last_error());
    }
    return done;
}

EXPORT void InitializeCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_initialize(section);
}

EXPORT BOOL InitializeCriticalSectionAndSpinCount(LPCRITICAL_SECTION section, DWORD spin_count)
{
    return told(hostcrst_cs_initialize_and_spin_count(section, spin_count));
}

EXPORT BOOL InitializeCriticalSectionEx(LPCRITICAL_SECTION section, DWORD spin_count, DWORD flags)
{
    return told(hostcrst_cs_initialize_ex(section, spin_count, flags));
}

EXPORT void EnterCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_enter(section);
}

EXPORT BOOL TryEnterCriticalSection(LPCRITICAL_SECTION section)
{
    return hostcrst_cs_try_enter(section);
}

EXPORT void LeaveCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_leave(section);
}

EXPORT void DeleteCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_delete(section);
}

EXPORT DWORD SetCriticalSectionSpinCount(LPCRITICAL_SECTION section, DWORD spin_count)
{
    return hostcrst_cs_set_spin_count(section, spin_count);
}

EXPORT void InitializeConditionVariable(PCONDITION_VARIABLE variable)
{
    hostcrst_cv_initialize(variable);
}

EXPORT BOOL SleepConditionVariableCS(PCONDITION_VARIABLE variable, PCRITICAL_SECTION section,
                                     DWORD milliseconds)
{
    return told(hostcrst_cv_sleep(variable, section, milliseconds));
}

EXPORT void WakeConditionVariable(PCONDITION_VARIABLE variable)
{
    hostcrst_cv_wake(variable);
}

EXPORT void WakeAllConditionVariable(PCONDITION_VARIABLE variable)
{
    hostcrst_cv_wake_all(variable);
}

EXPORT BOOL SleepConditionVariableSRW(PCONDITION_VARIABLE variable, PSRWLOCK lock, DWORD milliseconds,
                                      ULONG flags)
{
    return told(hostcrst_cv_sleep_srw(variable, lock, milliseconds, flags));
}

EXPORT void InitializeSRWLock(PSRWLOCK lock)
{
    hostcrst_srw_initialize(lock);
}

EXPORT void AcquireSRWLockExclusive(PSRWLOCK lock)
{
    hostcrst_srw_acquire_exclusive(lock);
}

EXPORT void AcquireSRWLockShared(PSRWLOCK lock)
{
    hostcrst_srw_acquire_shared(lock);
}

EXPORT uint8_t TryAcquireSRWLockExclusive(PSRWLOCK lock)
{
    return hostcrst_srw_try_acquire_exclusive(lock);
}

EXPORT uint8_t TryAcquireSRWLockShared(PSRWLOCK lock)
{
    return hostcrst_srw_try_acquire_shared(lock);
}

EXPORT void ReleaseSRWLockExclusive(PSRWLOCK lock)
{
    hostcrst_srw_release_exclusive(lock);
}

EXPORT void ReleaseSRWLockShared(PSRWLOCK lock)
{
    hostcrst_srw_release_shared(lock);
}

EXPORT BOOL WaitOnAddress(volatile void *address, PVOID undesired, size_t size, DWORD milliseconds)
{
    return told(hostcrst_address_wait(address, undesired, size, milliseconds));
}

EXPORT void WakeByAddressSingle(PVOID address)
{
    hostcrst_address_wake(address);
}

EXPORT void WakeByAddressAll(PVOID address)
{
    hostcrst_address_wake_all(address);
}

EXPORT DWORD GetCurrentThreadId(void)
{
    return hostcrst_thread_id();
}

EXPORT int32_t RtlInitializeCriticalSectionEx(LPCRITICAL_SECTION section, ULONG spin_count, ULONG flags)
{
    if (hostcrst_cs_initialize_ex(section, spin_count, flags)) {
        return 0;
    }
    return hostcrst_last_error() == 87 ? (int32_t)0xC000000D : (int32_t)0xC0000017;
}

EXPORT int32_t RtlInitializeCriticalSectionAndSpinCount(LPCRITICAL_SECTION section, ULONG spin_count)
{
    return RtlInitializeCriticalSectionEx(section, spin_count & 0xFFFFFF, 0);
}

EXPORT int32_t RtlInitializeCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_initialize(section);
    return 0;
}

EXPORT int32_t RtlDeleteCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_delete(section);
    return 0;
}

EXPORT int32_t RtlEnterCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_enter(section);
    return 0;
}

EXPORT BOOL RtlTryEnterCriticalSection(LPCRITICAL_SECTION section)
{
    return hostcrst_cs_try_enter(section);
}

EXPORT int32_t RtlLeaveCriticalSection(LPCRITICAL_SECTION section)
{
    hostcrst_cs_leave(section);
    return 0;
}

EXPORT ULONG RtlSetCriticalSectionSpinCount(LPCRITICAL_SECTION section, ULONG spin_count)
{
    return hostcrst_cs_set_spin_count(section, spin_count);
}

EXPORT void InitOnceInitialize(PINIT_ONCE once)
{
    hostcrst_once_initialize(once);
}

EXPORT BOOL InitOnceBeginInitialize(PINIT_ONCE once, DWORD flags, BOOL *pending, PVOID *context)
{
    return told(hostcrst_once_begin(once, flags, pending, context));
}

EXPORT BOOL InitOnceComplete(PINIT_ONCE once, DWORD flags, PVOID context)
{
    return told(hostcrst_once_complete(once, flags, context));
}

EXPORT BOOL InitOnceExecuteOnce(PINIT_ONCE once, PINIT_ONCE_FN run, PVOID parameter, PVOID *context)
{
    BOOL pending = FALSE;
    if (!told(hostcrst_once_begin(once, 0, &pending, context))) {
        return FALSE;
    }
    if (!pending) {
        return TRUE;
    }
    if (!run(once, parameter, context)) {
        hostcrst_once_complete(once, INIT_ONCE_INIT_FAILED, NULL);
        return FALSE;
    }
    return told(hostcrst_once_complete(once, 0, context ? *context : NULL));
}
