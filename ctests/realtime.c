/*
 * Realtime threads on one processor: while one runs, no thread of a lower priority does. So a realtime thread that
 * waits for one of lower priority must sleep soon: spinning would keep the processor that the other needs. Needs the
 * permission for SCHED_FIFO.
 */
#include "host.h"

/* How often the thread of higher priority visits, and what it may use of the processor for all of that. */
enum { VISITS = 300, MOST_MILLISECONDS = 300 };

/* From here on the calling thread shares the first processor with the others, at this priority. */
static void become_realtime(int priority)
{
    struct sched_param parameters;
    memset(&parameters, 0, sizeof parameters);
    parameters.sched_priority = priority;
    check_run_on_processor(0);
    REQUIRE_EQ(pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters), 0);
}

static int64_t milliseconds_of_this_thread(void)
{
    struct timespec used;
    REQUIRE_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

typedef struct pair {
    check_thread_t low, high;
    host_task_t task;
    hostcrst_t crst;
    void (*visit)(struct pair *self);
    int stop;
    int64_t milliseconds;
} pair_t;

static void visit_all_the_time(void *argument)
{
    pair_t *self = (pair_t *)argument;
    become_realtime(1);
    while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
        self->visit(self);
    }
}

/* Each time it wakes the other is stopped, wherever that one is. */
static void visit_now_and_then(void *argument)
{
    pair_t *self = (pair_t *)argument;
    struct timespec short_time = {0, 100000};
    become_realtime(2);
    for (int visit = 0; visit < VISITS && milliseconds_of_this_thread() <= MOST_MILLISECONDS; visit++) {
        nanosleep(&short_time, NULL);
        self->visit(self);
    }
    self->milliseconds = milliseconds_of_this_thread();
    __atomic_store_n(&self->stop, 1, __ATOMIC_RELAXED);
}

static void visit_both(pair_t *self)
{
    check_start(&self->low, visit_all_the_time, self);
    check_start(&self->high, visit_now_and_then, self);
    check_join(&self->high);
    check_join(&self->low);
    CHECK(self->milliseconds <= MOST_MILLISECONDS);
}

static void set_a_name(pair_t *self)
{
    CHECK_EQ(host_task_set_name(self->task, "one task, named by two others all the time"), S_OK);
}

static void nobody_spins_for_a_thread_that_was_stopped_at_a_name(void)
{
    pair_t pair;
    memset(&pair, 0, sizeof pair);
    start_runtime();
    pair.task = this_task();
    pair.visit = set_a_name;
    visit_both(&pair);
}

static void enter_and_leave(pair_t *self)
{
    CHECK_EQ(hostcrst_enter(self->crst, 0), S_OK);
    for (volatile int work = 0; work < 1000; work++) {
    }
    CHECK_EQ(hostcrst_leave(self->crst), S_OK);
}

/* Whatever the spin count. */
static void nobody_spins_for_an_owner_that_was_stopped(void)
{
    pair_t pair;
    memset(&pair, 0, sizeof pair);
    start_runtime();
    REQUIRE_EQ(hostcrst_create_with_spin_count(UINT32_MAX, &pair.crst), S_OK);
    pair.visit = enter_and_leave;
    visit_both(&pair);
    CHECK_EQ(hostcrst_destroy(pair.crst), S_OK);
}

static void wait_realtime(void *argument)
{
    waiter_t *self = (waiter_t *)argument;
    become_realtime(1);
    waiter_body(self);
}

static void come_and_go(void *argument)
{
    hostcrst_t crst = *(hostcrst_t *)argument;
    become_realtime(3);
    for (int visit = 0; visit < VISITS; visit++) {
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        CHECK_EQ(hostcrst_leave(crst), S_OK);
    }
}

typedef struct owner {
    hostcrst_t crst;
    waiter_t *waiter;
} owner_t;

/* The waiter is woken and cannot run before the barging thread has come and gone, and this thread sleeps. */
static void leave_while_another_comes(void *argument)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    owner_t *self = (owner_t *)argument;
    check_thread_t barging;
    become_realtime(2);
    CHECK_EQ(hostcrst_enter(self->crst, 0), S_OK);
    self->waiter->steps = steps;
    self->waiter->crst = self->crst;
    self->waiter->milliseconds = HOSTCRST_INFINITE;
    check_start(&self->waiter->thread, wait_realtime, self->waiter);
    check_await(&self->waiter->steps, 1);
    REQUIRE_SOON(is_waiting(self->waiter->task, self->crst));
    CHECK_EQ(hostcrst_leave(self->crst), S_OK);
    check_start(&barging, come_and_go, &self->crst);
    check_join(&barging);
}

static void a_wake_is_not_lost_to_a_barging_thread_of_higher_priority(void)
{
    start_runtime();
    for (int time = 0; time < 20; time++) {
        check_thread_t thread;
        waiter_t waiter;
        memset(&waiter, 0, sizeof waiter);
        owner_t owner = {new_section(), &waiter};
        check_start(&thread, leave_while_another_comes, &owner);
        check_join(&thread);
        CHECK_EQ(end_of_wait(&waiter), S_OK);
        CHECK_EQ(hostcrst_destroy(owner.crst), S_OK);
    }
}

CHECK_MAIN(CHECK_TEST(nobody_spins_for_a_thread_that_was_stopped_at_a_name),
           CHECK_TEST(nobody_spins_for_an_owner_that_was_stopped),
           CHECK_TEST(a_wake_is_not_lost_to_a_barging_thread_of_higher_priority))
