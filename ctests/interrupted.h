/*
 * What a signal handler that forks interrupts, and whether all is whole in the child. In the child the interrupted call
 * goes on.
 */
#ifndef INTERRUPTED_H
#define INTERRUPTED_H

#include "host.h"

#include <sys/syscall.h>

/* Set by the handler, in the child. */
static int is_in_child;

/* The program interrupts only between these two, in the thread that calls them. */
static void may_be_interrupted(void);
static void is_left_alone(void);

/* ---- what is interrupted ---- */

static hostcrst_t section;
static holder_t holder;
static waiter_t waiter;
static check_thread_t helper;

static inline void prepare_nothing(void)
{
}

static inline void make_the_first_call(void)
{
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(host_runtime_start(), S_FALSE);
}

static inline void start(void)
{
    start_runtime();
    section = new_section();
}

static inline void become_a_task(void)
{
    CHECK(this_task() != 0);
}

static inline void have_it_biased(void)
{
    REQUIRE_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start();
    hold_times(&holder, section, 2);
}

static inline void take_the_bias_away(void)
{
    int result = hostcrst_enter_timeout(section, 0, 1);
    CHECK(result == HOST_E_TIMEOUT || result == HOST_E_ABANDONED);
}

static inline void enter_and_vanish(void *unused)
{
    (void)unused;
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    syscall(SYS_exit, 0);
}

static inline void have_the_owner_vanish(void)
{
    start();
    check_start(&helper, enter_and_vanish, NULL);
    check_join(&helper);
}

static inline void wait_for_the_end_of_the_owner(void)
{
    CHECK_EQ(hostcrst_enter(section, 0), HOST_E_ABANDONED);
}

static inline void leave_once_somebody_waits(void *unused)
{
    (void)unused;
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    check_reach(&holder.steps, 1);
    REQUIRE_SOON(info_of(section).waiters == 1);
    CHECK_EQ(hostcrst_leave(section), S_OK);
}

static inline void have_it_owned_until_somebody_waits(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    start();
    holder.steps = none;
    check_start(&helper, leave_once_somebody_waits, NULL);
    check_await(&holder.steps, 1);
}

static inline void wait_for_it(void)
{
    int result = hostcrst_enter(section, 0);
    CHECK(result == S_OK || (is_in_child && result == HOST_E_ABANDONED));
    if (result == S_OK) {
        CHECK_EQ(hostcrst_leave(section), S_OK);
    }
}

static inline void leave_it_to_a_waiter(void)
{
    int is_of_the_child;
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    is_left_alone();
    is_of_the_child = is_in_child;
    wait_for(&waiter, section, 0);
    may_be_interrupted();
    CHECK_EQ(hostcrst_leave(section), S_OK);
    is_left_alone();
    if (is_of_the_child == is_in_child) {
        CHECK_EQ(end_of_wait(&waiter), S_OK);
    }
}

static inline void enter_and_end(void)
{
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
}

/* ---- whether all is whole ---- */

static inline void own_it(void)
{
    int result = hostcrst_enter_timeout(section, 0, 10000);
    if (result == HOST_E_ABANDONED) {
        result = hostcrst_recover(section);
    }
    REQUIRE_EQ(result, S_OK);
    CHECK_EQ(info_of(section).owner, this_task());
}

static inline void be_refused(void *unused)
{
    (void)unused;
    int32_t entered = 1;
    CHECK_EQ(hostcrst_try_enter(section, 0, &entered), S_OK);
    CHECK_EQ(entered, 0);
}

/* Anything that is left in the queue of waiters or of what the task owns shows here. */
static inline void check_all(void)
{
    check_thread_t other;
    start_runtime();
    CHECK(this_task() != 0);
    CHECK_EQ(task_info_of(this_task()).thread_id, (uint32_t)syscall(SYS_gettid));
    CHECK_EQ(task_info_of(this_task()).waiting_for, 0);
    if (section == 0) {
        section = new_section();
    }
    own_it();
    CHECK_EQ(info_of(section).waiters, 0);
    check_start(&other, be_refused, NULL);
    check_join(&other);
    while (info_of(section).recursion != 0) {
        CHECK_EQ(hostcrst_leave(section), S_OK);
    }
    CHECK_EQ(task_info_of(this_task()).owned, 0);
    hold(&holder, section);
    wait_for(&waiter, section, 0);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(info_of(section).waiters, 0);
    CHECK_EQ(hostcrst_destroy(section), S_OK);
}

#endif
