/*
 * Mutual exclusion under a storm of signals whose handler is installed without SA_RESTART: threads that wait
 * for a section are interrupted all the time. Prints how often two threads were inside at once; ends with 0
 * if never, with 1 if it was seen, with 2 if nothing can be said.
 *
 * Built against <hostcrst/win32.h>, and with STORM_WINPR against WinPR.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef STORM_WINPR
#include <winpr/synch.h>
#else
#include <hostcrst/win32.h>
#endif

#define THREADS 4
#define SECONDS 2
/* Where other programs take the processors, as many as it takes until all has happened often enough to mean something. */
#define SECONDS_MOST 20
#define OFTEN 100
/* With this many meetings there is no doubt; the lock may be past working then. */
#define ENOUGH 20

static CRITICAL_SECTION section;
static int inside, stop, done;
static long entered, meetings, waits, interruptions;

static void interrupted(int signal)
{
    (void)signal;
    __atomic_add_fetch(&interruptions, 1, __ATOMIC_RELAXED);
}

static void pause_for(long nanoseconds)
{
    struct timespec time = {0, 0};
    time.tv_nsec = nanoseconds;
    nanosleep(&time, NULL);
}

static int stopped(void)
{
    return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static int is_often(const long *count)
{
    return __atomic_load_n(count, __ATOMIC_RELAXED) > OFTEN;
}

/* Only under real contention and a real storm does it mean anything. */
static int means_something(void)
{
    return is_often(&entered) && is_often(&waits) && is_often(&interruptions);
}

static void *enter_and_leave(void *unused)
{
    while (!stopped()) {
        if (__atomic_load_n(&inside, __ATOMIC_RELAXED) != 0) {
            __atomic_add_fetch(&waits, 1, __ATOMIC_RELAXED);
        }
        EnterCriticalSection(&section);
        if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) != 1) {
            __atomic_add_fetch(&meetings, 1, __ATOMIC_RELAXED);
        }
        pause_for(50000);
        __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&entered, 1, __ATOMIC_RELAXED);
        LeaveCriticalSection(&section);
    }
    __atomic_add_fetch(&done, 1, __ATOMIC_RELAXED);
    return unused;
}

int main(void)
{
    pthread_t threads[THREADS];
    struct sigaction action;
    struct timespec now, begun;
    memset(&action, 0, sizeof action);
    action.sa_handler = interrupted;
    sigaction(SIGUSR1, &action, NULL);
    if (!InitializeCriticalSectionAndSpinCount(&section, 0)) {
        return 2;
    }
    for (int at = 0; at < THREADS; at++) {
        if (pthread_create(&threads[at], NULL, enter_and_leave, NULL) != 0) {
            return 2;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        for (int at = 0; at < THREADS; at++) {
            pthread_kill(threads[at], SIGUSR1);
        }
        pause_for(100000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begun.tv_sec < (means_something() ? SECONDS : SECONDS_MOST) &&
             __atomic_load_n(&meetings, __ATOMIC_RELAXED) < ENOUGH);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    /* A broken section may never let its threads go: then they are left behind. */
    int looks = __atomic_load_n(&meetings, __ATOMIC_RELAXED) != 0 ? 500 : 30000;
    for (int look = 0; look < looks && __atomic_load_n(&done, __ATOMIC_RELAXED) < THREADS; look++) {
        pause_for(1000000);
    }
    printf("%ld entered, %ld found it owned, %ld signals, %d of %d threads ended, two inside: %ld times\n",
           __atomic_load_n(&entered, __ATOMIC_RELAXED), __atomic_load_n(&waits, __ATOMIC_RELAXED),
           __atomic_load_n(&interruptions, __ATOMIC_RELAXED), __atomic_load_n(&done, __ATOMIC_RELAXED),
           THREADS, __atomic_load_n(&meetings, __ATOMIC_RELAXED));
    fflush(stdout);
    if (__atomic_load_n(&meetings, __ATOMIC_RELAXED) != 0) {
        _exit(1);
    }
    _exit(done == THREADS && means_something() ? 0 : 2);
}
