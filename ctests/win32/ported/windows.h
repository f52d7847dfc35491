/*
 * What code of others that ported.sh builds expects of Windows beside <hostcrst/win32.h>: threads, time, interlocked
 * operations and look-ups by name, as far as that code uses them, over those of POSIX.
 */
#ifndef PORTED_WINDOWS_H
#define PORTED_WINDOWS_H

#include <hostcrst/win32.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT(text) text
#define WINAPI
#define CALLBACK
#define ULongToHandle(number) ((HANDLE)(uintptr_t)(number))

typedef void *HINSTANCE;
typedef const char *LPCSTR;
typedef int64_t LONG64;
typedef size_t SIZE_T;
typedef int NTSTATUS;
typedef union {
    int64_t QuadPart;
} LARGE_INTEGER;

/* ---- threads: a handle is one, and is not closed ---- */

typedef DWORD (*thread_function)(void *);

typedef struct {
    pthread_t thread;
    thread_function function;
    void *argument;
} ported_thread;

static inline void *ported_run(void *thread)
{
    ported_thread *me = (ported_thread *)thread;
    me->function(me->argument);
    return NULL;
}

static inline HANDLE CreateThread(void *security, size_t stack, thread_function function, void *argument, DWORD flags,
                                  DWORD *id)
{
    ported_thread *thread = (ported_thread *)malloc(sizeof *thread);
    thread->function = function;
    thread->argument = argument;
    if (pthread_create(&thread->thread, NULL, ported_run, thread) != 0) {
        abort();
    }
    (void)security, (void)stack, (void)flags, (void)id;
    return thread;
}

/* For a thread, to its end, whatever the limit: a thread that does not end is a test that does not. */
static inline DWORD WaitForSingleObject(HANDLE thread, DWORD milliseconds)
{
    (void)milliseconds;
    return (DWORD)pthread_join(((ported_thread *)thread)->thread, NULL);
}

static inline void Sleep(DWORD milliseconds)
{
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static inline LONG InterlockedIncrement(volatile LONG *number)
{
    return __atomic_add_fetch(number, 1, __ATOMIC_SEQ_CST);
}

static inline LONG InterlockedDecrement(volatile LONG *number)
{
    return __atomic_sub_fetch(number, 1, __ATOMIC_SEQ_CST);
}

/* ---- what a name is of: libhostcrst_win32.so, which is preloaded, has Windows' names ---- */

static inline HINSTANCE LoadLibrary(const char *name)
{
    (void)name;
    return dlopen(NULL, RTLD_NOW);
}

static inline void *GetProcAddress(HINSTANCE library, const char *name)
{
    return dlsym(library, name);
}

static inline int FreeLibrary(HINSTANCE library)
{
    return dlclose(library) == 0;
}

/* ---- waits on addresses as ntdll has them: times in units of 100 ns, negative ones from now on ---- */

#define STATUS_TIMEOUT 0x102
#define STATUS_INVALID_PARAMETER ((NTSTATUS)0xC000000D)

static inline void NtQuerySystemTime(LARGE_INTEGER *time)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->QuadPart = (int64_t)now.tv_sec * 10000000 + now.tv_nsec / 100;
}

static inline NTSTATUS RtlWaitOnAddress(const void *address, const void *undesired, SIZE_T size, const LARGE_INTEGER *time)
{
    DWORD milliseconds = INFINITE;
    if (time != NULL) {
        LARGE_INTEGER now;
        NtQuerySystemTime(&now);
        int64_t left = time->QuadPart < 0 ? -time->QuadPart : time->QuadPart - now.QuadPart;
        milliseconds = (DWORD)(left < 0 ? 0 : (left + 9999) / 10000);
    }
    if (WaitOnAddress((void *)address, (void *)undesired, size, milliseconds)) {
        return 0;
    }
    return GetLastError() == ERROR_TIMEOUT ? STATUS_TIMEOUT : STATUS_INVALID_PARAMETER;
}

static inline void RtlWakeAddressSingle(const void *address)
{
    WakeByAddressSingle((void *)address);
}

static inline void RtlWakeAddressAll(const void *address)
{
    WakeByAddressAll((void *)address);
}

#endif
