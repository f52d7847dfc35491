/*
 * LockCount of a waiter that has been woken: it counts as woken, and not as waiting. The waiter
 * is held where it is about to sleep, so it does not run when it is woken.
 */
#include "host.h"
#include "lock_count.h"
#include "own_syscall.h"

#include <linux/futex.h>

static CRITICAL_SECTION section;
static check_steps_t steps = CHECK_STEPS_INIT;

/* The thread is held before it sleeps. */
static __thread int is_held;

static int stands_in(long number, const long *arguments, long *result)
{
    (void)result;
    if (number == SYS_futex && (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && is_held) {
        is_held = 0;
        check_reach(&steps, 1);
        check_await(&steps, 2);
    }
    return 0;
}

static void enter_and_leave(void *held)
{
    is_held = held != NULL;
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
}

static void a_woken_waiter_is_shown_as_one(void)
{
    check_thread_t first, second;
    REQUIRE(InitializeCriticalSectionAndSpinCount(&section, 0));
    EnterCriticalSection(&section);
    check_start(&first, enter_and_leave, &steps);
    check_await(&steps, 1);
    CHECK_EQ(lock_count(&section), ~(1 | 0 << 1 | 1 << 2));
    check_start(&second, enter_and_leave, NULL);
    REQUIRE_SOON(lock_count(&section) == ~(1 | 0 << 1 | 2 << 2));
    LeaveCriticalSection(&section);
    CHECK_EQ(lock_count(&section), ~(0 | 1 << 1 | 1 << 2));
    CHECK_EQ(TryEnterCriticalSection(&section), TRUE);
    CHECK_EQ(lock_count(&section), ~(1 | 1 << 1 | 1 << 2));
    LeaveCriticalSection(&section);
    CHECK_EQ(lock_count(&section), ~(0 | 1 << 1 | 1 << 2));
    check_reach(&steps, 2);
    check_join(&first);
    check_join(&second);
    CHECK_EQ(lock_count(&section), -1);
    DeleteCriticalSection(&section);
}

CHECK_MAIN(CHECK_TEST(a_woken_waiter_is_shown_as_one))
