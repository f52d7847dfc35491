/*
 * The same program for Windows and for here, as trace.c: calls each function that stands beside critical sections in a fixed
 * order and prints what it returns. All lines must be the same whoever implements the functions.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <hostcrst/win32.h>
#endif

static SRWLOCK lock = SRWLOCK_INIT;
static CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;
static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
static CRITICAL_SECTION section;
static char made[16] __attribute__((aligned(16)));
static volatile LONG word;
static volatile int ready;

static void result(const char *what, int of)
{
    printf("%s: %d\n", what, of);
}

static void failure(const char *what, BOOL of)
{
    printf("%s: %d, error %d\n", what, (int)of, of ? 0 : (int)GetLastError());
}

static void run(void *(*body)(void *))
{
    pthread_t thread;
    pthread_create(&thread, NULL, body, NULL);
    pthread_join(thread, NULL);
}

/* ---- SRW locks ---- */

static void *try_both(void *unused)
{
    int exclusive = TryAcquireSRWLockExclusive(&lock) != 0;
    result("another tries to own it", exclusive);
    if (exclusive) {
        ReleaseSRWLockExclusive(&lock);
    }
    int shared = TryAcquireSRWLockShared(&lock) != 0;
    result("another tries to share it", shared);
    if (shared) {
        ReleaseSRWLockShared(&lock);
    }
    return unused;
}

static void is_zero(const char *when)
{
    static const SRWLOCK zero;
    printf("%s: the lock is %s\n", when, memcmp(&lock, &zero, sizeof lock) == 0 ? "zero" : "not zero");
}

static void srw_locks(void)
{
    InitializeSRWLock(&lock);
    is_zero("initialised");
    AcquireSRWLockExclusive(&lock);
    is_zero("owned");
    result("the owner tries to own it", TryAcquireSRWLockExclusive(&lock) != 0);
    result("the owner tries to share it", TryAcquireSRWLockShared(&lock) != 0);
    run(try_both);
    ReleaseSRWLockExclusive(&lock);
    is_zero("released");
    AcquireSRWLockShared(&lock);
    AcquireSRWLockShared(&lock);
    run(try_both);
    ReleaseSRWLockShared(&lock);
    run(try_both);
    ReleaseSRWLockShared(&lock);
    is_zero("released by all");
    run(try_both);
}

static void *wake_when_it_sleeps(void *unused)
{
    /* Only once the other thread has left the lock. */
    AcquireSRWLockExclusive(&lock);
    ready = 1;
    ReleaseSRWLockExclusive(&lock);
    WakeAllConditionVariable(&variable);
    return unused;
}

static void sleep_with(ULONG flags)
{
    pthread_t thread;
    ready = 0;
    pthread_create(&thread, NULL, wake_when_it_sleeps, NULL);
    while (!ready) {
        SleepConditionVariableSRW(&variable, &lock, INFINITE, flags);
    }
    printf("slept with flags %d\n", (int)flags);
    pthread_join(thread, NULL);
    failure("a sleep of no time", SleepConditionVariableSRW(&variable, &lock, 0, flags));
    failure("a sleep of ten milliseconds", SleepConditionVariableSRW(&variable, &lock, 10, flags));
}

static void sleeps(void)
{
    AcquireSRWLockExclusive(&lock);
    sleep_with(0);
    run(try_both);
    ReleaseSRWLockExclusive(&lock);
    AcquireSRWLockShared(&lock);
    sleep_with(CONDITION_VARIABLE_LOCKMODE_SHARED);
    run(try_both);
    ReleaseSRWLockShared(&lock);
    is_zero("after the sleeps");
}

/* ---- addresses ---- */

static void *change_and_wake(void *unused)
{
    word = 1;
    WakeByAddressSingle((PVOID)&word);
    return unused;
}

static void addresses(void)
{
    pthread_t thread;
    LONG before = 0;
    unsigned char bytes[8] = {0}, other[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    failure("no time on an address", WaitOnAddress(&word, &before, sizeof word, 0));
    failure("ten milliseconds on an address", WaitOnAddress(&word, &before, sizeof word, 10));
    for (int size = 1; size <= 8; size *= 2) {
        failure("of so many bytes, one of eight is another", WaitOnAddress(bytes, other, (size_t)size, 0));
    }
    failure("three bytes", WaitOnAddress(bytes, other, 3, 0));
    failure("no bytes", WaitOnAddress(bytes, other, 0, 0));
    pthread_create(&thread, NULL, change_and_wake, NULL);
    while (word == before) {
        WaitOnAddress(&word, &before, sizeof word, INFINITE);
    }
    pthread_join(thread, NULL);
    result("the word has changed", word);
    WakeByAddressAll((PVOID)&word);
}

/* ---- one-time initialisation ---- */

static BOOL CALLBACK run_once(PINIT_ONCE of, PVOID outcome, PVOID *context)
{
    printf("it runs, %s\n", of == &once ? "of this INIT_ONCE" : "of another");
    if (context != NULL) {
        *context = made;
    }
    SetLastError(5);
    return outcome != NULL;
}

static void begin(DWORD flags)
{
    BOOL pending = 7;
    void *context = NULL;
    BOOL done = InitOnceBeginInitialize(&once, flags, &pending, &context);
    printf("begun with flags %d: %d, error %d, pending %d, %s\n", (int)flags, (int)done,
           done ? 0 : (int)GetLastError(), done ? (int)pending : 7, context == made ? "made" : "nothing");
}

static void initialisations(void)
{
    void *context = NULL;
    failure("completed before it has begun", InitOnceComplete(&once, 0, NULL));
    failure("executed in vain", InitOnceExecuteOnce(&once, run_once, NULL, &context));
    failure("executed", InitOnceExecuteOnce(&once, run_once, made, &context));
    result("made", context == made);
    context = NULL;
    failure("executed again", InitOnceExecuteOnce(&once, run_once, made, &context));
    result("made", context == made);
    begin(0);
    begin(INIT_ONCE_CHECK_ONLY);
    failure("completed again", InitOnceComplete(&once, 0, made));

    InitOnceInitialize(&once);
    begin(INIT_ONCE_CHECK_ONLY);
    begin(0);
    begin(INIT_ONCE_ASYNC);
    failure("failed, with a context", InitOnceComplete(&once, INIT_ONCE_INIT_FAILED, made));
    failure("a context that is not aligned", InitOnceComplete(&once, 0, made + 1));
    failure("failed", InitOnceComplete(&once, INIT_ONCE_INIT_FAILED, NULL));
    begin(0);
    failure("completed", InitOnceComplete(&once, 0, made));
    begin(INIT_ONCE_ASYNC);

    InitOnceInitialize(&once);
    begin(INIT_ONCE_ASYNC);
    begin(INIT_ONCE_ASYNC);
    begin(0);
    begin(INIT_ONCE_ASYNC | INIT_ONCE_CHECK_ONLY);
    failure("completed as if alone", InitOnceComplete(&once, 0, made));
    failure("completed by the first", InitOnceComplete(&once, INIT_ONCE_ASYNC, made));
    failure("completed by the second", InitOnceComplete(&once, INIT_ONCE_ASYNC, made));
    begin(INIT_ONCE_ASYNC);
}

/* ---- threads ---- */

static void *compare_ids(void *unused)
{
    EnterCriticalSection(&section);
    result("OwningThread is GetCurrentThreadId", (size_t)section.OwningThread == GetCurrentThreadId());
    LeaveCriticalSection(&section);
    return unused;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    srw_locks();
    sleeps();
    addresses();
    initialisations();
    InitializeCriticalSection(&section);
    compare_ids(NULL);
    run(compare_ids);
    DeleteCriticalSection(&section);
    return 0;
}
