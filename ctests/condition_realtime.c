/*
 * A condition variable with sleepers of different priorities: a realtime thread that begins to sleep later does not
 * take the wake of an earlier sleeper. Needs the permission for SCHED_FIFO.
 */
#include "host.h"
#include "lock_count.h"
#include "own_syscall.h"

#include <linux/futex.h>

static CRITICAL_SECTION section;
static CONDITION_VARIABLE variable;
static check_steps_t steps = CHECK_STEPS_INIT;
static int first_thread, late_sleeper_thread;

/* The thread whose next wake lets the late sleeper come first. */
static __thread int lets_late_sleeper_come_first;

static void wait_until_late_sleeper_sleeps(void)
{
    check_reach(&steps, 1);
    check_await(&steps, 2);
    /* It has entered the section, will leave it and sleep: and does nothing else. */
    REQUIRE_SOON(lock_count(&section) == -1 && check_thread_state(getpid(), late_sleeper_thread) == 'S');
}

static int stands_in(long number, const long *arguments, long *result)
{
    (void)result;
    if (number == SYS_futex && (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAKE && lets_late_sleeper_come_first) {
        lets_late_sleeper_come_first = 0;
        wait_until_late_sleeper_sleeps();
    }
    return 0;
}

static void sleep_first(void *argument)
{
    first_thread = (int)syscall(SYS_gettid);
    EnterCriticalSection(&section);
    *(int *)argument = 1;
    CHECK_EQ(SleepConditionVariableCS(&variable, &section, INFINITE), TRUE);
    *(int *)argument = 2;
    LeaveCriticalSection(&section);
}

static void come_late_with_priority(void *argument)
{
    struct sched_param parameters;
    memset(&parameters, 0, sizeof parameters);
    parameters.sched_priority = 1;
    late_sleeper_thread = (int)syscall(SYS_gettid);
    REQUIRE_EQ(pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters), 0);
    check_await(&steps, 1);
    EnterCriticalSection(&section);
    check_reach(&steps, 2);
    CHECK_EQ(SleepConditionVariableCS(&variable, &section, INFINITE), TRUE);
    *(int *)argument = 2;
    LeaveCriticalSection(&section);
}

static int locked_read(const int *number)
{
    EnterCriticalSection(&section);
    int value = *number;
    LeaveCriticalSection(&section);
    return value;
}

static void a_wake_is_not_for_a_realtime_thread_that_comes_later(void)
{
    check_thread_t first, late;
    int first_at = 0, late_at = 0;
    InitializeCriticalSection(&section);
    check_start(&first, sleep_first, &first_at);
    check_start(&late, come_late_with_priority, &late_at);
    REQUIRE_SOON(locked_read(&first_at) == 1);
    REQUIRE_SOON(check_thread_state(getpid(), first_thread) == 'S');
    lets_late_sleeper_come_first = 1;
    WakeConditionVariable(&variable);
    CHECK_EQ(lets_late_sleeper_come_first, 0);
    check_join(&first);
    CHECK_EQ(first_at, 2);
    CHECK_EQ(locked_read(&late_at), 0);
    WakeConditionVariable(&variable);
    check_join(&late);
    CHECK_EQ(late_at, 2);
    DeleteCriticalSection(&section);
}

CHECK_MAIN(CHECK_TEST(a_wake_is_not_for_a_realtime_thread_that_comes_later))
