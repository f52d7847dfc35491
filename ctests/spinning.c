/*
 * A spinner with a spin count of the program's: here it would spin for minutes. While its section stays owned it soon queues
 * as any other does, and what ends waits ends its wait. Without that each of these tests would take minutes.
 */
#include "host.h"

static hostcrst_t section_with_a_huge_spin_count(void)
{
    hostcrst_t crst = 0;
    REQUIRE_EQ(hostcrst_create_with_spin_count(UINT32_MAX, &crst), S_OK);
    return crst;
}

static void a_spinner_queues_soon(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = section_with_a_huge_spin_count();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, 0);
    CHECK_EQ(info_of(crst).waiters, 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void its_limit_ends_its_wait(void)
{
    const uint32_t limits[] = {1, 2, 50};
    start_runtime();
    hostcrst_t crst = section_with_a_huge_spin_count();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (size_t at = 0; at < sizeof limits / sizeof limits[0]; at++) {
        waiter_t waiter;
        int64_t before = nanoseconds_now();
        begin_to_wait(&waiter, crst, 0, limits[at]);
        CHECK_EQ(end_of_wait(&waiter), HOST_E_TIMEOUT);
        CHECK(nanoseconds_now() - before >= (int64_t)limits[at] * 1000000);
    }
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void an_alert_ends_its_wait(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = section_with_a_huge_spin_count();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    begin_to_wait(&waiter, crst, WAIT_ALERTABLE, HOSTCRST_INFINITE);
    CHECK_EQ(host_task_alert(waiter.task), S_OK);
    CHECK_EQ(end_of_wait(&waiter), HOST_E_INTERRUPTED);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void a_stop_ends_its_wait(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = section_with_a_huge_spin_count();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    begin_to_wait(&waiter, crst, 0, HOSTCRST_INFINITE);
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(end_of_wait(&waiter), HOST_E_CLRNOTAVAILABLE);
    start_runtime();
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* E_HANDLE if it has not queued yet. */
static void the_end_of_the_section_ends_its_wait(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = section_with_a_huge_spin_count();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    begin_to_wait(&waiter, crst, 0, HOSTCRST_INFINITE);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    int32_t result = end_of_wait(&waiter);
    CHECK(result == HOST_E_ABANDONED || result == E_HANDLE);
}

static void the_end_of_the_owner_ends_its_wait(void)
{
    holder_t holder;
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = section_with_a_huge_spin_count();
    hold(&holder, crst);
    begin_to_wait(&waiter, crst, 0, HOSTCRST_INFINITE);
    die_holding(&holder);
    CHECK_EQ(end_of_wait(&waiter), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

typedef struct crosswise {
    check_thread_t thread;
    check_steps_t *steps;
    hostcrst_t first, second;
    int32_t result;
} crosswise_t;

static void enter_both(void *argument)
{
    crosswise_t *self = (crosswise_t *)argument;
    CHECK_EQ(hostcrst_enter(self->first, 0), S_OK);
    check_arrive(self->steps, 2);
    self->result = hostcrst_enter(self->second, 0);
    if (self->result == S_OK) {
        CHECK_EQ(hostcrst_leave(self->second), S_OK);
    }
    CHECK_EQ(hostcrst_leave(self->first), S_OK);
}

static void two_that_spin_crosswise_are_in_a_deadlock(void)
{
    check_steps_t steps = CHECK_STEPS_INIT;
    crosswise_t tasks[2];
    start_runtime();
    hostcrst_t crsts[] = {section_with_a_huge_spin_count(), section_with_a_huge_spin_count()};
    for (int at = 0; at < 2; at++) {
        crosswise_t task = {.steps = &steps, .first = crsts[at], .second = crsts[1 - at]};
        tasks[at] = task;
        check_start(&tasks[at].thread, enter_both, &tasks[at]);
    }
    int refused = 0;
    for (int at = 0; at < 2; at++) {
        check_join(&tasks[at].thread);
        CHECK(tasks[at].result == S_OK || tasks[at].result == HOST_E_DEADLOCK);
        refused += tasks[at].result == HOST_E_DEADLOCK;
    }
    CHECK_EQ(hostcrst_destroy(crsts[0]), S_OK);
    CHECK_EQ(hostcrst_destroy(crsts[1]), S_OK);
    CHECK_EQ(refused, 1);
}

CHECK_MAIN(CHECK_TEST(a_spinner_queues_soon), CHECK_TEST(its_limit_ends_its_wait),
           CHECK_TEST(an_alert_ends_its_wait), CHECK_TEST(a_stop_ends_its_wait),
           CHECK_TEST(the_end_of_the_section_ends_its_wait), CHECK_TEST(the_end_of_the_owner_ends_its_wait),
           CHECK_TEST(two_that_spin_crosswise_are_in_a_deadlock))
