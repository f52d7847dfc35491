/*
 * locks <what> <rounds>: threads that use every kind of lock rightly ("right"), those whose data only the library's calls
 * order ("no-atomics"), or one mistake. tsan.sh and valgrind.sh say what their tools must find.
 */
#include <hostcrst.h>
#include <hostcrst/win32.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 3

static int rounds = 1;

#define REQUIRE(holds) \
    do { \
        if (!(holds)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #holds); \
            exit(1); \
        } \
    } while (0)

static void in_threads(void *(*body)(void *))
{
    pthread_t threads[THREADS];
    for (int at = 0; at < THREADS; at++) {
        REQUIRE(pthread_create(&threads[at], NULL, body, NULL) == 0);
    }
    for (int at = 0; at < THREADS; at++) {
        pthread_join(threads[at], NULL);
    }
}

/* ---- what is right ---- */

static hostcrst_t section;
static long in_section;

static void *count_in_section(void *unused)
{
    for (int round = 0; round < rounds; round++) {
        int32_t entered = 0;
        REQUIRE(hostcrst_enter(section, 0) >= 0);
        REQUIRE(hostcrst_enter_timeout(section, 0, 1000) >= 0);
        in_section++;
        REQUIRE(hostcrst_leave(section) >= 0);
        in_section++;
        REQUIRE(hostcrst_leave(section) >= 0);
        REQUIRE(hostcrst_enter_at(section, 0, HOSTCRST_INFINITE, "a place") >= 0);
        in_section++;
        REQUIRE(hostcrst_leave(section) >= 0);
        REQUIRE(hostcrst_leave(section) == HOST_E_NOT_OWNER);
        REQUIRE(hostcrst_try_enter(section, 0, &entered) >= 0);
        if (entered) {
            in_section++;
            REQUIRE(hostcrst_leave(section) >= 0);
        }
        /* Slots are used again, by other threads too. */
        hostcrst_t own = 0;
        REQUIRE(hostcrst_create_with_spin_count(1, &own) >= 0);
        REQUIRE(hostcrst_enter(own, 0) >= 0);
        REQUIRE(hostcrst_enter(own, 0) >= 0);
        REQUIRE(hostcrst_destroy(own) >= 0);
        REQUIRE(hostcrst_leave(own) == E_HANDLE);
    }
    return unused;
}

static CRITICAL_SECTION critical_section; /* as Windows' code has them: never initialised */
static CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;
static int *message;
static long messages_read;

static void *read_messages(void *unused)
{
    CRITICAL_SECTION own;
    InitializeCriticalSection(&own);
    EnterCriticalSection(&own);
    DeleteCriticalSection(&own);
    for (int round = 0; round < rounds; round++) {
        EnterCriticalSection(&critical_section);
        while (message == NULL) {
            SleepConditionVariableCS(&variable, &critical_section, 1);
        }
        messages_read += *message;
        free(message);
        message = NULL;
        LeaveCriticalSection(&critical_section);
    }
    return unused;
}

static void *write_messages(void *unused)
{
    for (int round = 0; round < THREADS * rounds; round++) {
        if (!TryEnterCriticalSection(&critical_section)) {
            EnterCriticalSection(&critical_section);
        }
        if (message != NULL) {
            round--;
            LeaveCriticalSection(&critical_section);
            continue;
        }
        message = (int *)malloc(sizeof *message);
        REQUIRE(message != NULL);
        *message = 1;
        LeaveCriticalSection(&critical_section);
        WakeConditionVariable(&variable);
    }
    return unused;
}

static SRWLOCK srw = SRWLOCK_INIT;
static long in_srw;
static int is_srw_open;
static CONDITION_VARIABLE srw_opened = CONDITION_VARIABLE_INIT;

static void *read_and_write_in_srw(void *unused)
{
    for (int round = 0; round < rounds; round++) {
        AcquireSRWLockExclusive(&srw);
        in_srw++;
        ReleaseSRWLockExclusive(&srw);
        AcquireSRWLockShared(&srw);
        const long seen = in_srw;
        ReleaseSRWLockShared(&srw);
        REQUIRE(seen > 0);
        if (TryAcquireSRWLockExclusive(&srw)) {
            in_srw++;
            is_srw_open = 1;
            ReleaseSRWLockExclusive(&srw);
            WakeAllConditionVariable(&srw_opened);
        }
    }
    AcquireSRWLockExclusive(&srw);
    is_srw_open = 1;
    ReleaseSRWLockExclusive(&srw);
    WakeAllConditionVariable(&srw_opened);
    if (TryAcquireSRWLockShared(&srw)) {
        REQUIRE(in_srw > 0);
        ReleaseSRWLockShared(&srw);
    }
    return unused;
}

static void *wait_in_srw(void *unused)
{
    AcquireSRWLockShared(&srw);
    while (!is_srw_open) {
        SleepConditionVariableSRW(&srw_opened, &srw, INFINITE, CONDITION_VARIABLE_LOCKMODE_SHARED);
    }
    REQUIRE(in_srw > 0);
    ReleaseSRWLockShared(&srw);
    return unused;
}

static INIT_ONCE once = INIT_ONCE_STATIC_INIT;

static BOOL make_once(PINIT_ONCE unused, PVOID parameter, PVOID *context)
{
    int *made = (int *)malloc(sizeof *made);
    REQUIRE(unused == &once && made != NULL);
    *made = 7;
    *context = made;
    (void)parameter;
    return TRUE;
}

static void *use_what_is_made_once(void *unused)
{
    void *made = NULL;
    REQUIRE(InitOnceExecuteOnce(&once, make_once, NULL, &made));
    REQUIRE(*(int *)made == 7);
    return unused;
}

static int32_t answer_state;
static long answer;

static void *wait_for_answer(void *unused)
{
    int32_t none = 0;
    while (__atomic_load_n(&answer_state, __ATOMIC_ACQUIRE) == none) {
        WaitOnAddress(&answer_state, &none, sizeof none, INFINITE);
    }
    REQUIRE(answer == 42);
    return unused;
}

static void *give_answer(void *unused)
{
    answer = 42;
    __atomic_store_n(&answer_state, 1, __ATOMIC_RELEASE);
    WakeByAddressAll(&answer_state);
    return unused;
}

static void beside(void *(*first)(void *), void *(*others)(void *))
{
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, first, NULL) == 0);
    in_threads(others);
    pthread_join(thread, NULL);
}

static void right(void)
{
    in_threads(count_in_section);
    REQUIRE(in_section >= 2 * THREADS * rounds);
    REQUIRE(hostcrst_destroy(section) >= 0);
    beside(write_messages, read_messages);
    REQUIRE(messages_read == THREADS * rounds);
    DeleteCriticalSection(&critical_section);
    beside(wait_in_srw, read_and_write_in_srw);
    in_threads(use_what_is_made_once);
}

/* ---- mistakes ---- */

static long unprotected;

static void *count_in_no_section(void *unused)
{
    REQUIRE(hostcrst_enter(section, 0) >= 0);
    REQUIRE(hostcrst_leave(section) >= 0);
    unprotected++;
    return unused;
}

static void *count_in_a_section_of_ones_own(void *unused)
{
    CRITICAL_SECTION own;
    InitializeCriticalSection(&own);
    EnterCriticalSection(&own);
    unprotected++;
    LeaveCriticalSection(&own);
    DeleteCriticalSection(&own);
    return unused;
}

static void *count_while_others_read(void *unused)
{
    AcquireSRWLockShared(&srw);
    unprotected++;
    ReleaseSRWLockShared(&srw);
    return unused;
}

static void enter_in_two_orders(void)
{
    hostcrst_t other = 0;
    REQUIRE(hostcrst_create(&other) >= 0);
    REQUIRE(hostcrst_enter(section, 0) >= 0 && hostcrst_enter(other, 0) >= 0);
    REQUIRE(hostcrst_leave(other) >= 0 && hostcrst_leave(section) >= 0);
    REQUIRE(hostcrst_enter(other, 0) >= 0 && hostcrst_enter(section, 0) >= 0);
    REQUIRE(hostcrst_leave(section) >= 0 && hostcrst_leave(other) >= 0);
}

int main(int argc, char **argv)
{
    REQUIRE(argc == 3);
    const char *what = argv[1];
    rounds = atoi(argv[2]);
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE(hostcrst_create(&section) >= 0);
    if (strcmp(what, "right") == 0) {
        right();
        beside(give_answer, wait_for_answer);
    } else if (strcmp(what, "no-atomics") == 0) {
        right();
    } else if (strcmp(what, "no-section") == 0) {
        in_threads(count_in_no_section);
    } else if (strcmp(what, "own-section") == 0) {
        in_threads(count_in_a_section_of_ones_own);
    } else if (strcmp(what, "shared") == 0) {
        in_threads(count_while_others_read);
    } else if (strcmp(what, "two-orders") == 0) {
        enter_in_two_orders();
    } else if (strcmp(what, "wrong-leave") == 0) {
        LeaveCriticalSection(&critical_section);
    } else {
        return 2;
    }
    return 0;
}
