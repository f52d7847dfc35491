/*
 * Overlapping calls: a thread is held inside a system call of the library, in the middle of its call, and other threads
 * meanwhile make calls that must fail or wait.
 */
#include "host.h"
#include "own_stderr.h"
#include "own_syscall.h"

#include <hostcrst/win32.h>
#include <linux/futex.h>

#define HEAVY_BARRIER 8 /* MEMBARRIER_CMD_PRIVATE_EXPEDITED */
#define SLEEP FUTEX_WAIT_BITSET
#define WAKE FUTEX_WAKE

/* How long is waited for what must not happen. It may be too short to see a mistake, never too long for there to be
 * none. */
#define LONG_ENOUGH_MILLISECONDS 200

/* ---- inside a system call ---- */

static long number_of_call;
static long operation_of_call;
static void (*inside_call)(void);

static int stands_in(long number, const long *arguments, long *result)
{
    void (*inside)(void) = NULL;
    long operation = number == SYS_futex ? arguments[1] & FUTEX_CMD_MASK : arguments[0];
    (void)result;
    if (__atomic_load_n(&inside_call, __ATOMIC_ACQUIRE) != NULL && number == number_of_call
        && operation == operation_of_call) {
        inside = __atomic_exchange_n(&inside_call, NULL, __ATOMIC_ACQ_REL);
    }
    if (inside != NULL) {
        inside();
    }
    return 0;
}

/* The next call of this kind, whichever thread makes it, does this first. */
static void do_inside_next(long number, long operation, void (*inside)(void))
{
    number_of_call = number;
    operation_of_call = operation;
    __atomic_store_n(&inside_call, inside, __ATOMIC_RELEASE);
}

static void require_done_inside(void)
{
    REQUIRE(__atomic_load_n(&inside_call, __ATOMIC_ACQUIRE) == NULL);
}

static void start_that_grants_at_once(void)
{
    CHECK_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start_runtime();
}

/* ---- a stop, and the next run ---- */

static hostcrst_t kept;

/* A task that exists before the stop goes through the tasks, and comes after the one whose wait it ends first. */
static struct late {
    check_thread_t thread;
    check_steps_t steps;
    host_task_t task;
} late;

static void wait_in_the_next_run(void *unused)
{
    (void)unused;
    late.task = this_task();
    check_reach(&late.steps, 1);
    check_await(&late.steps, 2);
    CHECK_EQ(hostcrst_enter(kept, 0), S_OK);
    CHECK_EQ(hostcrst_leave(kept), S_OK);
}

static void start_again_and_wait(void)
{
    CHECK_EQ(host_runtime_start(), S_OK);
    check_reach(&late.steps, 2);
    REQUIRE_SOON(is_waiting(late.task, kept));
}

static void a_stop_ends_no_wait_of_the_next_run(void)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    waiter_t first;
    start_that_grants_at_once();
    hostcrst_t crst = new_section();
    kept = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_enter(kept, 0), S_OK);
    wait_for(&first, crst, 0);
    late.steps = steps;
    check_start(&late.thread, wait_in_the_next_run, NULL);
    check_await(&late.steps, 1);
    do_inside_next(SYS_futex, WAKE, start_again_and_wait);
    CHECK_EQ(host_runtime_stop(), S_OK);
    require_done_inside();
    CHECK_EQ(end_of_wait(&first), HOST_E_CLRNOTAVAILABLE);

    CHECK_EQ(hostcrst_leave(kept), S_OK);
    check_join(&late.thread);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(kept), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- recovering ---- */

static hostcrst_t abandoned;
static hostcrst_t wanted;

static struct recoverer {
    check_thread_t thread;
    int over;
} recoverer;

static void recover_and_enter_another(void *unused)
{
    (void)unused;
    CHECK_EQ(hostcrst_recover(abandoned), S_OK);
    CHECK_EQ(hostcrst_enter(wanted, 0), S_OK);
    CHECK_EQ(hostcrst_leave(wanted), S_OK);
    CHECK_EQ(hostcrst_leave(abandoned), S_OK);
    __atomic_store_n(&recoverer.over, 1, __ATOMIC_RELEASE);
}

static void begin_to_recover(void)
{
    check_start(&recoverer.thread, recover_and_enter_another, NULL);
    for (int waited = 0; waited < LONG_ENOUGH_MILLISECONDS; waited++) {
        if (__atomic_load_n(&recoverer.over, __ATOMIC_ACQUIRE)) {
            break;
        }
        check_pause();
    }
}

/* In a section that others want, and waits for another. */
static struct between {
    check_thread_t thread;
    host_task_t task;
    check_steps_t steps;
} between;

static void enter_one_and_wait_for_another(void *unused)
{
    (void)unused;
    between.task = this_task();
    CHECK_EQ(hostcrst_enter(wanted, 0), S_OK);
    check_reach(&between.steps, 1);
    CHECK_EQ(hostcrst_enter(abandoned, 0), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_leave(wanted), S_OK);
}

static void who_recovers_a_section_waits_for_nobody_who_waited_for_it(void)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    holder_t owner;
    waiter_t first;
    start_that_grants_at_once();
    abandoned = new_section();
    wanted = new_section();
    hold(&owner, abandoned);
    wait_for(&first, abandoned, 0);
    between.steps = steps;
    check_start(&between.thread, enter_one_and_wait_for_another, NULL);
    check_await(&between.steps, 1);
    REQUIRE_SOON(is_waiting(between.task, abandoned));

    /* The first of the two learns that the owner is gone. */
    do_inside_next(SYS_futex, WAKE, begin_to_recover);
    die_holding(&owner);
    require_done_inside();
    CHECK_EQ(end_of_wait(&first), HOST_E_ABANDONED);
    check_join(&between.thread);
    check_join(&recoverer.thread);
    CHECK_EQ(hostcrst_destroy(abandoned), S_OK);
    CHECK_EQ(hostcrst_destroy(wanted), S_OK);
}

/* ---- a bias that is revoked ---- */

static hostcrst_t biased;
static hostcrst_t biased_next;

static struct biased_task {
    check_thread_t thread;
    check_steps_t steps;
    int has_ended;
} biased_task;

static void enter_both_and_leave_one(void *unused)
{
    (void)unused;
    (void)this_task(); /* no bias is granted to the call that makes the thread a task */
    CHECK_EQ(hostcrst_enter(biased, 0), S_OK);
    check_reach(&biased_task.steps, 1);
    check_await(&biased_task.steps, 2);
    CHECK_EQ(hostcrst_enter(biased_next, 0), S_OK);
    CHECK_EQ(hostcrst_leave(biased_next), S_OK);
}

static void let_the_biased_task_end(void)
{
    struct timespec until;
    check_reach(&biased_task.steps, 2);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LONG_ENOUGH_MILLISECONDS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    biased_task.has_ended = pthread_timedjoin_np(biased_task.thread.id, NULL, &until) == 0;
}

static void an_owner_that_ends_while_its_bias_is_revoked_is_missed(void)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    int32_t entered = 1;
    start_that_grants_at_once();
    biased = new_section();
    biased_next = new_section();
    biased_task.steps = steps;
    check_start(&biased_task.thread, enter_both_and_leave_one, NULL);
    check_await(&biased_task.steps, 1);
    do_inside_next(SYS_membarrier, HEAVY_BARRIER, let_the_biased_task_end);
    int32_t tried = hostcrst_try_enter(biased, 0, &entered);
    CHECK(tried == S_OK || tried == HOST_E_ABANDONED);
    CHECK_EQ(entered, 0);
    require_done_inside();
    if (!biased_task.has_ended) {
        check_join(&biased_task.thread);
    }
    CHECK_SECTION(biased, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(hostcrst_enter(biased, 0), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_destroy(biased), S_OK);
    CHECK_EQ(hostcrst_destroy(biased_next), S_OK);
}

/* ---- a fork ---- */

static check_steps_t steps_of_revoker;

static void stay_inside_barrier(void)
{
    check_reach(&steps_of_revoker, 1);
    check_await(&steps_of_revoker, 2);
}

static void try_to_enter_it(void *unused)
{
    int32_t entered = 1;
    (void)unused;
    CHECK_EQ(hostcrst_try_enter(biased, 0, &entered), S_OK);
    CHECK_EQ(entered, 0);
}

static void own_what_was_being_revoked(void)
{
    CHECK_SECTION(biased, HOSTCRST_OWNED, this_task(), 2);
    CHECK_EQ(hostcrst_leave(biased), S_OK);
    CHECK_EQ(hostcrst_leave(biased), S_OK);
    CHECK_SECTION(biased, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_enter(biased, 0), S_OK);
    CHECK_EQ(hostcrst_destroy(biased), S_OK);
}

static void the_child_of_a_fork_owns_what_was_being_revoked(void)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    check_thread_t revoker;
    start_that_grants_at_once();
    biased = new_section();
    CHECK_EQ(hostcrst_enter(biased, 0), S_OK);
    CHECK_EQ(hostcrst_enter(biased, 0), S_OK);
    steps_of_revoker = steps;
    do_inside_next(SYS_membarrier, HEAVY_BARRIER, stay_inside_barrier);
    check_start(&revoker, try_to_enter_it, NULL);
    check_await(&steps_of_revoker, 1);
    in_child(own_what_was_being_revoked);
    check_reach(&steps_of_revoker, 2);
    check_join(&revoker);
    own_what_was_being_revoked();
}

/* ---- replacing a callback ---- */

static struct replacer {
    check_thread_t thread;
    check_steps_t steps;
    int call_is_over;
} replacer;

static void replace_the_callback(void *unused)
{
    (void)unused;
    check_await(&replacer.steps, 1);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    CHECK(__atomic_load_n(&replacer.call_is_over, __ATOMIC_ACQUIRE));
}

static void take_a_while(const host_deadlock_t *deadlock, void *context)
{
    (void)deadlock;
    (void)context;
    check_reach(&replacer.steps, 1);
    for (int waited = 0; waited < LONG_ENOUGH_MILLISECONDS; waited++) {
        check_pause();
    }
    __atomic_store_n(&replacer.call_is_over, 1, __ATOMIC_RELEASE);
}

static void replace_oneself(const host_deadlock_t *deadlock, void *context)
{
    (void)deadlock;
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    *(int *)context = 1;
}

/* The caller closes a cycle, and its wait is broken. */
static void make_a_deadlock(void)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    abandoned = new_section();
    wanted = new_section();
    CHECK_EQ(hostcrst_enter(abandoned, 0), S_OK);
    between.steps = steps;
    check_start(&between.thread, enter_one_and_wait_for_another, NULL);
    check_await(&between.steps, 1);
    REQUIRE_SOON(is_waiting(between.task, abandoned));
    CHECK_EQ(hostcrst_enter(wanted, 0), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_destroy(abandoned), S_OK);
    check_join(&between.thread);
    CHECK_EQ(hostcrst_destroy(wanted), S_OK);
}

static void a_callback_that_was_replaced_is_not_running(void)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    start_that_grants_at_once();
    replacer.steps = steps;
    CHECK_EQ(host_set_deadlock_callback(take_a_while, NULL), S_OK);
    check_start(&replacer.thread, replace_the_callback, NULL);
    make_a_deadlock();
    check_join(&replacer.thread);
}

static void a_callback_may_replace_itself(void)
{
    int called = 0;
    start_that_grants_at_once();
    CHECK_EQ(host_set_deadlock_callback(replace_oneself, &called), S_OK);
    make_a_deadlock();
    CHECK_EQ(called, 1);
}

/* ---- two that start ---- */

static struct starter {
    check_thread_t thread;
    int over;
} starter;

static void start_as_second(void *unused)
{
    (void)unused;
    CHECK(host_runtime_start() >= 0);
    __atomic_store_n(&starter.over, 1, __ATOMIC_RELEASE);
}

static void let_another_start(void)
{
    check_start(&starter.thread, start_as_second, NULL);
    for (int waited = 0; waited < LONG_ENOUGH_MILLISECONDS; waited++) {
        check_pause();
    }
    CHECK(!__atomic_load_n(&starter.over, __ATOMIC_ACQUIRE));
}

static void start_while_the_settings_are_read(void)
{
    CHECK_EQ(setenv("HOSTCRST_NO_SUCH_SETTING", "1", 1), 0);
    do_inside_next(SYS_fstat, STDERR_FILENO, let_another_start);
    CHECK(host_runtime_start() >= 0);
    require_done_inside();
    check_join(&starter.thread);
}

static void the_settings_are_in_force_before_any_start_returns(void)
{
    uint32_t state = 77;
    CHECK_EQ(host_runtime_state(&state), S_OK);
    REQUIRE_EQ(state, HOST_RUNTIME_NOT_LOADED);
    in_child(start_while_the_settings_are_read);
}

/* ---- LockCount ---- */

static CRITICAL_SECTION watched;
static check_steps_t steps_of_sleeper;

static void stay_asleep(void)
{
    check_reach(&steps_of_sleeper, 1);
    check_await(&steps_of_sleeper, 2);
}

static void enter_watched(void *unused)
{
    (void)unused;
    EnterCriticalSection(&watched);
    LeaveCriticalSection(&watched);
}

static void who_was_woken_is_not_counted_as_asleep(void)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    check_thread_t sleeper;
    InitializeCriticalSection(&watched);
    EnterCriticalSection(&watched);
    steps_of_sleeper = steps;
    do_inside_next(SYS_futex, SLEEP, stay_asleep);
    check_start(&sleeper, enter_watched, NULL);
    check_await(&steps_of_sleeper, 1);
    CHECK_EQ(watched.LockCount, ~(1 << 2) & -2); /* locked, one waits, none was woken */
    LeaveCriticalSection(&watched);
    CHECK_EQ(watched.LockCount, ~(1 << 1)); /* free, one was woken, none waits besides */
    check_reach(&steps_of_sleeper, 2);
    check_join(&sleeper);
    CHECK_EQ(watched.LockCount, -1);
    DeleteCriticalSection(&watched);
}

/* Before the first start; and, as a slot is biased to no second task before the first has ended, the biased sections come before
 * those that main has been in. */
CHECK_MAIN(CHECK_TEST(the_settings_are_in_force_before_any_start_returns),
           CHECK_TEST(an_owner_that_ends_while_its_bias_is_revoked_is_missed),
           CHECK_TEST(the_child_of_a_fork_owns_what_was_being_revoked),
           CHECK_TEST(a_stop_ends_no_wait_of_the_next_run),
           CHECK_TEST(who_recovers_a_section_waits_for_nobody_who_waited_for_it),
           CHECK_TEST(a_callback_that_was_replaced_is_not_running), CHECK_TEST(a_callback_may_replace_itself),
           CHECK_TEST(who_was_woken_is_not_counted_as_asleep))
