/*
 * Who comes during the first call of the process waits until it is over. Then all are woken at once: where each woke
 * the next, the last would wait until every other one has had a processor.
 */
#include "host.h"
#include "own_syscall.h"

#include <linux/futex.h>

enum { WAITERS = 8 };

typedef struct caller {
    check_thread_t thread;
    int id; /* once it is about to sleep */
} caller_t;

static caller_t waiters[WAITERS];
static __thread caller_t *self;
static int has_begun;
static long awaited; /* the word that they sleep on */
static long most_woken;

static void call_late(void *caller)
{
    self = (caller_t *)caller;
    CHECK(host_runtime_start() >= 0);
}

static int all_sleep(void)
{
    for (int at = 0; at < WAITERS; at++) {
        const int id = __atomic_load_n(&waiters[at].id, __ATOMIC_ACQUIRE);
        if (id == 0 || check_thread_state(getpid(), id) != 'S') {
            return 0;
        }
    }
    return 1;
}

/* The first call asks for the barrier while it keeps the others out. */
static int stands_in(long number, const long *arguments, long *result)
{
    (void)result;
    if (number == SYS_membarrier && !has_begun) {
        has_begun = 1;
        for (int at = 0; at < WAITERS; at++) {
            check_start(&waiters[at].thread, call_late, &waiters[at]);
        }
        REQUIRE_SOON(all_sleep());
    }
    const long command = arguments[1] & FUTEX_CMD_MASK;
    if (number == SYS_futex && command == FUTEX_WAIT_BITSET && self != NULL && self->id == 0) {
        __atomic_store_n(&awaited, arguments[0], __ATOMIC_RELAXED);
        __atomic_store_n(&self->id, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
    }
    if (number == SYS_futex && command == FUTEX_WAKE && self == NULL && arguments[0] == awaited) {
        most_woken = (int)arguments[2] > most_woken ? (int)arguments[2] : most_woken;
    }
    return 0;
}

static void who_waits_for_the_first_call_is_woken_with_all_others(void)
{
    CHECK(host_runtime_start() >= 0);
    CHECK(has_begun);
    for (int at = 0; at < WAITERS; at++) {
        check_join(&waiters[at].thread);
    }
    CHECK(most_woken >= WAITERS);
}

CHECK_MAIN(CHECK_TEST(who_waits_for_the_first_call_is_woken_with_all_others))
