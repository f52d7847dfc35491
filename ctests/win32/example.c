/*
 * The example of Windows' documentation on critical section objects, in own words: a section that is
 * initialised once, guards what several threads share, and is deleted when nobody uses it any more. Written
 * for Windows: the tests build it there as it stands, and here with nothing changed but its first include.
 */
#include <windows.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define DEPOSITS 50000

static CRITICAL_SECTION CriticalSection;
static long balance; /* guarded by CriticalSection */

static DWORD WINAPI ThreadProc(LPVOID lpParameter)
{
    for (int deposit = 0; deposit < DEPOSITS; deposit++) {
        /* Ask for ownership; whoever has it goes on, the others wait. */
        EnterCriticalSection(&CriticalSection);
        balance += *(const int *)lpParameter;
        LeaveCriticalSection(&CriticalSection);
    }
    return 1;
}

static void *thread_start(void *amount)
{
    ThreadProc(amount);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    int amount = 2;

    /* Once, before any thread uses it; 1024 looks before a thread sleeps. */
    if (!InitializeCriticalSectionAndSpinCount(&CriticalSection, 0x00000400)) {
        return 1;
    }
    for (int at = 0; at < THREADS; at++) {
        if (pthread_create(&threads[at], NULL, thread_start, &amount) != 0) {
            return 1;
        }
    }
    for (int at = 0; at < THREADS; at++) {
        pthread_join(threads[at], NULL);
    }
    DeleteCriticalSection(&CriticalSection);

    printf("balance %ld\n", balance);
    return balance == 2L * THREADS * DEPOSITS ? 0 : 1;
}
