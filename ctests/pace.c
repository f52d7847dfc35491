/* When a spinner, a waiter or an owner gives its processor to others: see src/lock/spin.rs. */
#include "host.h"
#include "membarrier.h"
#include "own_syscall.h"

#include <linux/futex.h>

/* By the calling thread. */
static __thread int yields;
static __thread int wakes;
static __thread int limited_sleeps;
/* When the last of them was to end, at the latest, by which clock. */
static __thread struct timespec end_of_sleep;
static __thread int is_end_by_the_wall_clock;

/* Stands in for that of libc, for the library as well. */
int sched_yield(void)
{
    yields++;
    return (int)syscall(SYS_sched_yield);
}

/* Here only rests and waits with a time limit sleep for a limited time. */
static int stands_in(long number, const long *arguments, long *result)
{
    (void)result;
    wakes += number == SYS_futex && (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAKE;
    int sleep = number == SYS_futex && (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    if (sleep && arguments[3] != 0) {
        limited_sleeps++;
        end_of_sleep = *(const struct timespec *)arguments[3];
        is_end_by_the_wall_clock = (arguments[1] & FUTEX_CLOCK_REALTIME) != 0;
    }
    return 0;
}

/* It sleeps until it is to check for an owner that has ended, then again. Woken late, it does not until its limit. */
static int sleeps_until_its_limit(hostcrst_t crst)
{
    enum { MILLISECONDS = 20 };
    limited_sleeps = 0;
    int64_t before = nanoseconds_now();
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, MILLISECONDS), HOST_E_TIMEOUT);
    int64_t end = (int64_t)end_of_sleep.tv_sec * 1000000000 + end_of_sleep.tv_nsec;
    CHECK(limited_sleeps == 0 || (end > before && end <= nanoseconds_now()));
    CHECK(!is_end_by_the_wall_clock);
    return limited_sleeps > 0 && end >= before + MILLISECONDS * 1000000;
}

/* Setting the machine's clock makes no wait longer or shorter. */
static void limits_are_counted_on_the_monotonic_clock(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    REQUIRE_SOON(sleeps_until_its_limit(crst));
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void wait_and_calm_down(void)
{
    waiter_t waiter;
    check_run_on_processor(0);
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, 0);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    yields = 0;
    for (int time = 0; time < 1000; time++) {
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        CHECK_EQ(hostcrst_leave(crst), S_OK);
    }
    CHECK_EQ(yields, has_membarrier());
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/*
 * Who came out of the queue last makes way as the others did. Without membarrier every leave is a fenced one for ever, and
 * none of them is known to be that of a calm section. In a child, as the library counts the processors once.
 */
static void on_one_processor_a_section_that_has_calmed_down_yields_once(void)
{
    in_child(wait_and_calm_down);
}

enum { SECTIONS = 100, SPUN = 3 };
static hostcrst_t sections[SECTIONS];

/* Each wait sleeps once, until its time is up; each rest sleeps once more. */
static void wait_for_all(void *argument)
{
    int *rests = (int *)argument;
    for (int wait = 0; wait < SECTIONS * SPUN; wait++) {
        CHECK_EQ(hostcrst_enter_timeout(sections[wait % SECTIONS], 0, 1), HOST_E_TIMEOUT);
    }
    *rests = limited_sleeps - SECTIONS * SPUN;
}

/* A new section has all of its credit: so tasks spin. On one processor they never do. */
static void a_task_that_spins_for_long_rests_now_and_then(void)
{
    check_thread_t thread;
    int rests = 0;
    start_runtime();
    for (int at = 0; at < SECTIONS; at++) {
        sections[at] = new_section();
        CHECK_EQ(hostcrst_enter(sections[at], 0), S_OK);
    }
    check_start(&thread, wait_for_all, &rests);
    check_join(&thread);
    CHECK(check_processors() > 1 ? rests > 0 : rests == 0);
    CHECK(rests < SECTIONS * SPUN / 10);
    for (int at = 0; at < SECTIONS; at++) {
        CHECK_EQ(hostcrst_destroy(sections[at]), S_OK);
    }
}

/*
 * Where spinning does not pay nobody spins, but for a try now and then. Each wait here sleeps once, until its time is
 * up. If each spun as long as the first ones, some of them would have to rest and so sleep once more.
 */
static void nobody_spins_where_that_does_not_pay(void)
{
    enum { WAITS = 400 };
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    limited_sleeps = 0;
    for (int wait = 0; wait < WAITS; wait++) {
        CHECK_EQ(hostcrst_enter_timeout(crst, 0, 1), HOST_E_TIMEOUT);
    }
    CHECK_EQ(limited_sleeps, WAITS);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/*
 * The owner enters again whenever it has left, so that a waiter that was woken comes too late, and stays until that one has
 * gone to sleep again, and for so long. How often the waiter lost until it was given the section, or was lucky, as the scheduler
 * let it go first.
 */
static int losses_of_a_waiter(int policy, int milliseconds)
{
    enum { MOST_LOSSES = 20 };
    static const struct sched_param priority;
    waiter_t waiter;
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, 0);
    int thread = (int)task_info_of(waiter.task).thread_id;
    REQUIRE_EQ(sched_setscheduler(thread, policy, &priority), 0);
    int losses = 0;
    while (!wait_is_over(&waiter) && losses <= MOST_LOSSES) {
        REQUIRE_SOON(check_thread_state(getpid(), thread) != 'R');
        losses += is_waiting(waiter.task, crst);
        const struct timespec stay = {0, milliseconds * 1000000L};
        nanosleep(&stay, NULL);
        wakes = 0;
        CHECK_EQ(hostcrst_leave(crst), S_OK);
        CHECK(wakes > 0);
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    }
    CHECK(losses <= MOST_LOSSES);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    return losses;
}

/* On more than one processor the waiter spins while it is awake, and soon requests hand-off. */
static void a_waiter_that_loses_again_and_again_is_given_the_section(void)
{
    start_runtime();
    for (int time = 0; time < 50; time++) {
        losses_of_a_waiter(SCHED_OTHER, 0);
    }
}

/*
 * On one it does not spin. A thread of this policy preempts no other when it is woken; but another program may take the
 * processor between a leave and the next entry, and then the waiter is lucky.
 */
static void lose_on_one_processor(void)
{
    check_run_on_processor(0);
    start_runtime();
    for (int time = 0; time < 5; time++) {
        losses_of_a_waiter(SCHED_BATCH, 0);
    }
    REQUIRE_SOON(losses_of_a_waiter(SCHED_BATCH, 0) > 10);
}

static void so_is_one_that_does_not_spin(void)
{
    in_child(lose_on_one_processor);
}

static void lose_to_an_owner_that_stays(void)
{
    check_run_on_processor(0);
    start_runtime();
    for (int time = 0; time < 10; time++) {
        CHECK(losses_of_a_waiter(SCHED_BATCH, 15) <= 3);
    }
}

static void where_owners_stay_for_long_it_is_given_the_section_sooner(void)
{
    in_child(lose_to_an_owner_that_stays);
}

CHECK_MAIN(CHECK_TEST(on_one_processor_a_section_that_has_calmed_down_yields_once),
           CHECK_TEST(limits_are_counted_on_the_monotonic_clock),
           CHECK_TEST(a_task_that_spins_for_long_rests_now_and_then),
           CHECK_TEST(nobody_spins_where_that_does_not_pay),
           CHECK_TEST(a_waiter_that_loses_again_and_again_is_given_the_section),
           CHECK_TEST(so_is_one_that_does_not_spin),
           CHECK_TEST(where_owners_stay_for_long_it_is_given_the_section_sooner))
