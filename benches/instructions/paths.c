/*
 * Walks each fast path under callgrind, which writes what it took to a dump named after the path; compare.py
 * runs this and reads the dumps.
 */
#define _POSIX_C_SOURCE 200809L

#include <hostcrst.h>
#include <hostcrst/win32.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

/* Counts one call, which has to give this result. */
#define COUNT(path, call, expected) \
    do { \
        CALLGRIND_ZERO_STATS; \
        int32_t result = (call); \
        CALLGRIND_DUMP_STATS_AT(path); \
        if (result != (expected)) { \
            fprintf(stderr, "%s: %s\n", path, host_result_message(result)); \
            exit(1); \
        } \
    } while (0)

/* As COUNT, of a call that has no result. */
#define COUNT_VOID(path, call) COUNT(path, ((call), S_OK), S_OK)

static hostcrst_t section;
static SRWLOCK lock;
static host_resource_t resource;

static void count_sections(void)
{
    int32_t entered = 0;
    COUNT("hostcrst_enter", hostcrst_enter(section, 0), S_OK);
    COUNT("hostcrst_enter, again", hostcrst_enter(section, 0), S_OK);
    COUNT("hostcrst_leave, not the last", hostcrst_leave(section), S_OK);
    COUNT("hostcrst_leave", hostcrst_leave(section), S_OK);
    COUNT("hostcrst_try_enter", hostcrst_try_enter(section, 0, &entered), S_OK);
    hostcrst_leave(section);
    COUNT("hostcrst_enter_timeout", hostcrst_enter_timeout(section, 0, 1000), S_OK);
    hostcrst_leave(section);
}

/* Entered by this task alone for so long that the section is biased to it. */
static void count_biased(void)
{
    for (int pair = 0; pair < 100000; pair++) {
        hostcrst_enter(section, 0);
        hostcrst_leave(section);
    }
    COUNT("hostcrst_enter, biased", hostcrst_enter(section, 0), S_OK);
    COUNT("hostcrst_enter, biased, again", hostcrst_enter(section, 0), S_OK);
    COUNT("hostcrst_leave, biased, not the last", hostcrst_leave(section), S_OK);
    COUNT("hostcrst_leave, biased", hostcrst_leave(section), S_OK);
}

static void count_transitions(void)
{
    COUNT("host_leave_runtime", host_leave_runtime(0x1000), S_OK);
    COUNT("host_reverse_enter_runtime", host_reverse_enter_runtime(), S_OK);
    COUNT("host_reverse_leave_runtime", host_reverse_leave_runtime(), S_OK);
    COUNT("host_enter_runtime", host_enter_runtime(), S_OK);
}

static void count_resources(void)
{
    COUNT("host_resource_acquired", host_resource_acquired(resource), S_OK);
    COUNT("host_resource_released", host_resource_released(resource), S_OK);
}

static void count_srw_locks(void)
{
    COUNT_VOID("AcquireSRWLockExclusive", AcquireSRWLockExclusive(&lock));
    COUNT_VOID("ReleaseSRWLockExclusive", ReleaseSRWLockExclusive(&lock));
    COUNT_VOID("AcquireSRWLockShared", AcquireSRWLockShared(&lock));
    COUNT_VOID("ReleaseSRWLockShared", ReleaseSRWLockShared(&lock));
}

/* No fast path. What it locks has to be seen. */
static void count_a_lock(void)
{
    COUNT("hostcrst_set_name", hostcrst_set_name(section, "section"), S_OK);
}

/* A program with a second thread, as most have. */
static void *wait_for_a_signal(void *unused)
{
    (void)unused;
    pause();
    return NULL;
}

int main(void)
{
    pthread_t second;
    if (host_runtime_start() < 0 || hostcrst_create(&section) < 0 || host_resource_create(&resource) < 0 ||
        pthread_create(&second, NULL, wait_for_a_signal, NULL) != 0) {
        return 1;
    }
    /* The second dump of a path counts: the first has what is done once. */
    for (int walk = 0; walk < 2; walk++) {
        count_sections();
        count_transitions();
        count_resources();
        count_srw_locks();
    }
    count_biased();
    count_a_lock();
    return 0;
}
