/* When a thread that waits, or that others wait for, lets the scheduler have its processor. See pace.rs. */
#include "host.h"
#include "membarrier.h"
#include "own_syscall.h"

#include <linux/futex.h>

/* By the calling thread. */
static __thread int yields;
static __thread int sleeps;

/* Stands in for that of libc, for the library as well. */
int sched_yield(void)
{
    yields++;
    return (int)syscall(SYS_sched_yield);
}

static int stands_in(long number, const long *arguments, long *result)
{
    (void)result;
    sleeps += number == SYS_futex && (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    return 0;
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

/* Each wait here sleeps once, until its time is up; each rest sleeps once more. On one processor nobody looks. */
static void who_looks_for_long_rests_now_and_then(void)
{
    enum { WAITS = 200 };
    holder_t holder;
    int several_processors = check_processors() > 1;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    sleeps = 0;
    for (int wait = 0; wait < WAITS; wait++) {
        CHECK_EQ(hostcrst_enter_timeout(crst, 0, 1), HOST_E_TIMEOUT);
    }
    int rests = sleeps - WAITS;
    CHECK(several_processors ? rests > 0 : rests == 0);
    CHECK(rests < WAITS / 10);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

CHECK_MAIN(CHECK_TEST(on_one_processor_a_section_that_has_calmed_down_yields_once),
           CHECK_TEST(who_looks_for_long_rests_now_and_then))
