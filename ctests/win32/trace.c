/*
 * The same program for Windows and for here: calls every function in a fixed order and prints results and
 * fields. Lines that begin with "LockCount" show that field raw; all others must be the same whoever
 * implements the functions.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include <windows.h>
#define MY_THREAD() ((size_t)GetCurrentThreadId())
#else
#include <sys/syscall.h>
#include <unistd.h>
#include <hostcrst/win32.h>
#define MY_THREAD() ((size_t)syscall(SYS_gettid))
#endif

static CRITICAL_SECTION section;
static CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;
static volatile int order[8], arrived, tickets;

static void nap(void)
{
    struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, NULL);
}

static void show(const char *what)
{
    size_t owner = (size_t)section.OwningThread;
    printf("%s: RecursionCount %d OwningThread %s SpinCount %d\n", what, (int)section.RecursionCount,
           owner == 0 ? "nobody" : owner == MY_THREAD() ? "me" : "another",
           (int)(section.SpinCount & 0xFFFFFF));
    printf("LockCount %d\n", (int)section.LockCount);
}

static void *try_as_another(void *unused)
{
    (void)unused;
    printf("TryEnterCriticalSection by another %d\n", (int)TryEnterCriticalSection(&section));
    show("seen by another");
    return NULL;
}

static void *enter_as_another(void *unused)
{
    (void)unused;
    EnterCriticalSection(&section);
    show("entered by another");
    order[arrived++] = 1;
    LeaveCriticalSection(&section);
    return NULL;
}

static void *sleep_for_a_ticket(void *unused)
{
    (void)unused;
    EnterCriticalSection(&section);
    arrived++;
    while (tickets == 0) {
        SleepConditionVariableCS(&variable, &section, INFINITE);
    }
    tickets--;
    printf("woken, RecursionCount %d\n", (int)section.RecursionCount);
    LeaveCriticalSection(&section);
    return NULL;
}

static void run(void *(*body)(void *))
{
    pthread_t thread;
    pthread_create(&thread, NULL, body, NULL);
    pthread_join(thread, NULL);
}

static void wait_for_arrivals(int count)
{
    for (;;) {
        EnterCriticalSection(&section);
        int now = arrived;
        LeaveCriticalSection(&section);
        if (now == count) {
            return;
        }
        nap();
    }
}

int main(void)
{
    pthread_t threads[3];
    setvbuf(stdout, NULL, _IONBF, 0);

    InitializeCriticalSection(&section);
    show("InitializeCriticalSection");
    for (int entry = 0; entry < 3; entry++) {
        EnterCriticalSection(&section);
        show("EnterCriticalSection");
    }
    printf("TryEnterCriticalSection %d\n", (int)TryEnterCriticalSection(&section));
    show("by the owner");
    run(try_as_another);
    for (int entry = 0; entry < 4; entry++) {
        LeaveCriticalSection(&section);
        show("LeaveCriticalSection");
    }
    run(try_as_another);
    DeleteCriticalSection(&section);
    show("DeleteCriticalSection");

    memset(&section, 0, sizeof section);
    printf("InitializeCriticalSectionAndSpinCount %d\n",
           (int)InitializeCriticalSectionAndSpinCount(&section, 4000));
    show("with 4000");
    printf("SetCriticalSectionSpinCount %d\n", (int)SetCriticalSectionSpinCount(&section, 7));
    show("with 7");
    printf("SetCriticalSectionSpinCount %d\n", (int)SetCriticalSectionSpinCount(&section, 0));
    DeleteCriticalSection(&section);
    printf("InitializeCriticalSectionEx %d\n",
           (int)InitializeCriticalSectionEx(&section, 0, CRITICAL_SECTION_NO_DEBUG_INFO));
    show("without debug information");

    EnterCriticalSection(&section);
    for (int at = 0; at < 3; at++) {
        LONG before = section.LockCount;
        pthread_create(&threads[at], NULL, enter_as_another, NULL);
        while (*(volatile LONG *)&section.LockCount == before) {
            nap();
        }
        show("one more waits");
    }
    LeaveCriticalSection(&section);
    for (int at = 0; at < 3; at++) {
        pthread_join(threads[at], NULL);
    }
    show("after the last of them");

    SetLastError(0);
    EnterCriticalSection(&section);
    printf("SleepConditionVariableCS for nothing %d", (int)SleepConditionVariableCS(&variable, &section, 0));
    printf(" error %d\n", (int)GetLastError());
    printf("SleepConditionVariableCS for a while %d", (int)SleepConditionVariableCS(&variable, &section, 10));
    printf(" error %d\n", (int)GetLastError());
    show("after it");
    LeaveCriticalSection(&section);
    WakeConditionVariable(&variable);
    InitializeConditionVariable(&variable);
    arrived = 0;
    for (int at = 0; at < 3; at++) {
        pthread_create(&threads[at], NULL, sleep_for_a_ticket, NULL);
        wait_for_arrivals(at + 1);
    }
    EnterCriticalSection(&section);
    tickets = 3;
    LeaveCriticalSection(&section);
    WakeAllConditionVariable(&variable);
    for (int at = 0; at < 3; at++) {
        pthread_join(threads[at], NULL);
    }
    show("after all sleepers");
    DeleteCriticalSection(&section);
    show("DeleteCriticalSection");
    return 0;
}
