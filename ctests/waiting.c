/* How a wait for an owned section begins and every way in which it ends. */
#include "host.h"

#include <signal.h>
#include <sys/time.h>

static void the_waiter_gets_the_section_that_is_left(void)
{
    holder_t holder;
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = new_section();
    hold_times(&holder, crst, 3);
    wait_for(&waiter, crst, 0);
    CHECK_EQ(info_of(crst).waiters, 1);
    CHECK_EQ(info_of(crst).contended, 1);
    CHECK_SECTION(crst, HOSTCRST_OWNED, holder.task, 3);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    hostcrst_info_t info = info_of(crst);
    CHECK_EQ(info.waiters, 0);
    CHECK_EQ(info.state, HOSTCRST_FREE);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* Only the last of several leaves lets a waiter in. */
static void a_waiter_does_not_get_a_section_that_is_half_left(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, 0);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK(is_waiting(waiter.task, crst));
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK(!wait_is_over(&waiter));
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void all_of_many_waiters_get_their_turn(void)
{
    enum { WAITERS = 20 };
    waiter_t waiters[WAITERS];
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (uint32_t at = 0; at < WAITERS; at++) {
        wait_for(&waiters[at], crst, at % 8);
        CHECK_EQ(info_of(crst).waiters, at + 1);
    }
    CHECK_EQ(info_of(crst).contended, WAITERS);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    for (int at = 0; at < WAITERS; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), S_OK);
    }
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(info_of(crst).waiters, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* The section goes plain again after many quiet leaves; the next waiter must still be seen. */
static void a_section_that_was_quiet_for_long_still_wakes_its_waiter(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    for (int round = 0; round < 20; round++) {
        waiter_t waiter;
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        wait_for(&waiter, crst, 0);
        CHECK_EQ(hostcrst_leave(crst), S_OK);
        CHECK_EQ(end_of_wait(&waiter), S_OK);
        for (int time = 0; time < 100 * round; time++) {
            CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
            CHECK_EQ(hostcrst_leave(crst), S_OK);
        }
    }
    CHECK_EQ(info_of(crst).contended, 20);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- time limits ---- */

static void a_limit_passes_and_not_before_its_time(void)
{
    const uint32_t limits[] = {0, 1, 2, 10, 50, 200};
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    for (size_t at = 0; at < sizeof limits / sizeof limits[0]; at++) {
        int64_t before = nanoseconds_now();
        CHECK_EQ(KEEPING_ERRNO(hostcrst_enter_timeout(crst, 0, limits[at])), HOST_E_TIMEOUT);
        CHECK(nanoseconds_now() - before >= (int64_t)limits[at] * 1000000);
        CHECK_EQ(info_of(crst).waiters, 0);
        CHECK_EQ(task_info_of(this_task()).waiting_for, 0);
    }
    CHECK_SECTION(crst, HOSTCRST_OWNED, holder.task, 1);
    let_go(&holder);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 1), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void a_section_left_within_the_limit_is_entered(void)
{
    const uint32_t limits[] = {25000, HOSTCRST_INFINITE - 1, HOSTCRST_INFINITE};
    start_runtime();
    for (size_t at = 0; at < sizeof limits / sizeof limits[0]; at++) {
        waiter_t waiter;
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        begin_to_wait(&waiter, crst, 0, limits[at]);
        REQUIRE_SOON(is_waiting(waiter.task, crst));
        CHECK_EQ(hostcrst_leave(crst), S_OK);
        CHECK_EQ(end_of_wait(&waiter), S_OK);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
}

/* The one in front gives up; the one behind must get the section all the same. */
static void a_waiter_that_gives_up_loses_nobody_elses_turn(void)
{
    start_runtime();
    for (uint32_t round = 0; round < 30; round++) {
        waiter_t impatient;
        waiter_t patient;
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        begin_to_wait(&impatient, crst, 0, 10);
        wait_for(&patient, crst, 0);
        while (round % 2 == 0 && !wait_is_over(&impatient)) {
            sched_yield();
        }
        CHECK_EQ(hostcrst_leave(crst), S_OK);
        CHECK_EQ(end_of_wait(&patient), S_OK);
        int32_t result = end_of_wait(&impatient);
        CHECK(result == HOST_E_TIMEOUT || (result == S_OK && round % 2 == 1));
        CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
        CHECK_EQ(info_of(crst).waiters, 0);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
}

/* ---- the section ends ---- */

static void destroying_wakes_every_waiter(void)
{
    enum { WAITERS = 6 };
    waiter_t waiters[WAITERS];
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < WAITERS; at++) {
        begin_to_wait(&waiters[at], crst, (uint32_t)at, at % 2 == 0 ? HOSTCRST_INFINITE : 25000);
        REQUIRE_SOON(is_waiting(waiters[at].task, crst));
    }
    CHECK_EQ(KEEPING_ERRNO(hostcrst_destroy(crst)), S_OK);
    for (int at = 0; at < WAITERS; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), HOST_E_ABANDONED);
    }
    CHECK_EQ(hostcrst_enter(crst, 0), E_HANDLE);
    CHECK_EQ(task_info_of(this_task()).owned, 0);
}

static void an_owner_that_ends_wakes_every_waiter(void)
{
    enum { WAITERS = 6 };
    waiter_t waiters[WAITERS];
    holder_t holder;
    int32_t entered = 7;
    start_runtime();
    hostcrst_t crst = new_section();
    hold_times(&holder, crst, 2);
    for (int at = 0; at < WAITERS; at++) {
        begin_to_wait(&waiters[at], crst, (uint32_t)at, at % 2 == 0 ? HOSTCRST_INFINITE : 25000);
        REQUIRE_SOON(is_waiting(waiters[at].task, crst));
    }
    die_holding(&holder);
    for (int at = 0; at < WAITERS; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), HOST_E_ABANDONED);
    }
    CHECK_SECTION(crst, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(hostcrst_enter(crst, 0), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 0), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, HOSTCRST_INFINITE), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_recover(crst), S_OK);
    wait_for(&waiters[0], crst, 0);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiters[0]), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- alerts ---- */

static void an_alert_ends_an_alertable_wait(void)
{
    holder_t holder;
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    wait_for(&waiter, crst, WAIT_ALERTABLE | WAIT_NOTINDEADLOCK);
    CHECK_EQ(KEEPING_ERRNO(host_task_alert(waiter.task)), S_OK);
    CHECK_EQ(end_of_wait(&waiter), HOST_E_INTERRUPTED);
    CHECK_SECTION(crst, HOSTCRST_OWNED, holder.task, 1);
    CHECK_EQ(info_of(crst).waiters, 0);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void an_alert_leaves_other_waits_alone(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, WAIT_MSGPUMP | WAIT_NOTINDEADLOCK);
    CHECK_EQ(host_task_alert(waiter.task), S_OK);
    CHECK(is_waiting(waiter.task, crst));
    CHECK_EQ(info_of(crst).waiters, 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void an_alert_waits_for_its_wait_and_counts_once(void)
{
    int32_t entered = 7;
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hostcrst_t free_one = new_section();
    host_task_t me = this_task();
    hold(&holder, crst);
    for (int time = 0; time < 3; time++) {
        CHECK_EQ(host_task_alert(me), S_OK);
    }
    /* None of these waits alertably. */
    CHECK_EQ(hostcrst_enter(free_one, WAIT_ALERTABLE), S_OK);
    CHECK_EQ(hostcrst_enter(free_one, WAIT_ALERTABLE), S_OK);
    CHECK_EQ(hostcrst_leave(free_one), S_OK);
    CHECK_EQ(hostcrst_try_enter(crst, WAIT_ALERTABLE, &entered), S_OK);
    CHECK_EQ(entered, 0);
    CHECK_EQ(hostcrst_enter_timeout(crst, WAIT_ALERTABLE, 0), HOST_E_TIMEOUT);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 1), HOST_E_TIMEOUT);

    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(crst, WAIT_ALERTABLE)), HOST_E_INTERRUPTED);
    CHECK_EQ(hostcrst_enter_timeout(crst, WAIT_ALERTABLE, 20), HOST_E_TIMEOUT);
    CHECK_EQ(host_task_alert(me), S_OK);
    CHECK_EQ(hostcrst_enter_timeout(crst, WAIT_ALERTABLE, 25000), HOST_E_INTERRUPTED);
    CHECK_EQ(hostcrst_enter_timeout(crst, WAIT_ALERTABLE, 20), HOST_E_TIMEOUT);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(free_one), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void an_alert_of_the_waiter_in_front_leaves_the_turn_to_the_next(void)
{
    start_runtime();
    for (int round = 0; round < 200; round++) {
        waiter_t front;
        waiter_t next;
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        wait_for(&front, crst, WAIT_ALERTABLE);
        wait_for(&next, crst, 0);
        CHECK_EQ(hostcrst_leave(crst), S_OK);
        /* Its wait, and its thread, may have ended already. */
        int32_t alerted = host_task_alert(front.task);
        CHECK(alerted == S_OK || alerted == E_HANDLE);
        int32_t result = end_of_wait(&front);
        CHECK(result == S_OK || result == HOST_E_INTERRUPTED);
        CHECK_EQ(end_of_wait(&next), S_OK);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
}

/* ---- signals ---- */

static volatile sig_atomic_t signals_handled;

static void on_signal(int number)
{
    int before = errno;
    (void)number;
    signals_handled++;
    errno = EINTR;
    errno = before;
}

static void handle_without_restart(int number)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    REQUIRE_EQ(sigaction(number, &action, NULL), 0);
}

static void set_storm(long microseconds)
{
    struct itimerval timer;
    timer.it_interval.tv_sec = timer.it_value.tv_sec = 0;
    timer.it_interval.tv_usec = timer.it_value.tv_usec = microseconds;
    REQUIRE_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void signals_change_nothing(void)
{
    holder_t holder;
    waiter_t patient;
    waiter_t impatient;
    waiter_t alerted;
    start_runtime();
    handle_without_restart(SIGALRM);
    handle_without_restart(SIGUSR1);
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    set_storm(500);
    wait_for(&patient, crst, 0);
    wait_for(&alerted, crst, WAIT_ALERTABLE);
    int64_t before = nanoseconds_now();
    begin_to_wait(&impatient, crst, 0, 300);
    struct timespec deadline = check_deadline_from_now();
    while (!wait_is_over(&impatient) || signals_handled <= 100) {
        REQUIRE(!check_passed(&deadline));
        pthread_kill(patient.thread.id, SIGUSR1);
        pthread_kill(alerted.thread.id, SIGUSR1);
        pthread_kill(impatient.thread.id, SIGUSR1);
        check_pause();
    }
    CHECK_EQ(end_of_wait(&impatient), HOST_E_TIMEOUT);
    CHECK(milliseconds_since(before) >= 300);
    CHECK(is_waiting(patient.task, crst));
    CHECK(is_waiting(alerted.task, crst));
    CHECK_EQ(host_task_alert(alerted.task), S_OK);
    CHECK_EQ(end_of_wait(&alerted), HOST_E_INTERRUPTED);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&patient), S_OK);
    before = nanoseconds_now();
    hold(&holder, crst);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter_timeout(crst, 0, 200)), HOST_E_TIMEOUT);
    CHECK(milliseconds_since(before) >= 200);
    set_storm(0);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- the runtime ends ---- */

static void a_stop_wakes_every_waiter(void)
{
    enum { WAITERS = 6 };
    waiter_t waiters[WAITERS];
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < WAITERS; at++) {
        begin_to_wait(&waiters[at], crst, (uint32_t)at, at % 2 == 0 ? HOSTCRST_INFINITE : 25000);
        REQUIRE_SOON(is_waiting(waiters[at].task, crst));
    }
    CHECK_EQ(KEEPING_ERRNO(host_runtime_stop()), S_OK);
    for (int at = 0; at < WAITERS; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), HOST_E_CLRNOTAVAILABLE);
    }
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(info_of(crst).waiters, 0);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void wait_until_a_failure(void)
{
    waiter_t waiters[4];
    start_runtime();
    hostcrst_t crst = new_section();
    host_task_t me = this_task();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < 4; at++) {
        begin_to_wait(&waiters[at], crst, (uint32_t)at, at % 2 == 0 ? HOSTCRST_INFINITE : 25000);
        REQUIRE_SOON(is_waiting(waiters[at].task, crst));
    }
    CHECK_EQ(KEEPING_ERRNO(host_runtime_fail()), S_OK);
    for (int at = 0; at < 4; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), HOST_E_CLRNOTAVAILABLE);
    }
    CHECK_SECTION(crst, HOSTCRST_OWNED, me, 1);
}

static void a_failure_wakes_every_waiter(void)
{
    in_child(wait_until_a_failure);
}

/*
 * Whatever ends a wait comes as the wait begins: no waiter may be left behind, and none may think it owns
 * what it does not.
 */
typedef struct race {
    hostcrst_t crst;
    check_steps_t steps;
    int32_t results[3];
} race_t;

static race_t race;

static void race_to_wait(void *result)
{
    check_arrive(&race.steps, 4);
    *(int32_t *)result = hostcrst_enter(race.crst, 0);
}

static void a_wait_that_begins_while_it_ends_is_ended(void)
{
    enum { ROUNDS = 400 };
    for (int round = 0; round < ROUNDS; round++) {
        check_thread_t threads[3];
        check_steps_t steps = CHECK_STEPS_INIT;
        start_runtime();
        race.steps = steps;
        race.crst = new_section();
        CHECK_EQ(hostcrst_enter(race.crst, 0), S_OK);
        for (int at = 0; at < 3; at++) {
            check_start(&threads[at], race_to_wait, &race.results[at]);
        }
        check_arrive(&race.steps, 4);
        int32_t expected = HOST_E_ABANDONED;
        if (round % 2 == 0) {
            CHECK_EQ(hostcrst_destroy(race.crst), S_OK);
        } else {
            CHECK_EQ(host_runtime_stop(), S_OK);
            expected = HOST_E_CLRNOTAVAILABLE;
        }
        for (int at = 0; at < 3; at++) {
            check_join(&threads[at]);
            int is_late = round % 2 == 0 && race.results[at] == E_HANDLE;
            CHECK(race.results[at] == expected || is_late);
        }
        if (round % 2 == 1) {
            CHECK_SECTION(race.crst, HOSTCRST_OWNED, this_task(), 1);
            CHECK_EQ(hostcrst_destroy(race.crst), S_OK);
        }
    }
    start_runtime();
}

CHECK_MAIN(CHECK_TEST(the_waiter_gets_the_section_that_is_left),
           CHECK_TEST(a_waiter_does_not_get_a_section_that_is_half_left),
           CHECK_TEST(all_of_many_waiters_get_their_turn),
           CHECK_TEST(a_section_that_was_quiet_for_long_still_wakes_its_waiter),
           CHECK_TEST(a_limit_passes_and_not_before_its_time),
           CHECK_TEST(a_section_left_within_the_limit_is_entered),
           CHECK_TEST(a_waiter_that_gives_up_loses_nobody_elses_turn),
           CHECK_TEST(destroying_wakes_every_waiter), CHECK_TEST(an_owner_that_ends_wakes_every_waiter),
           CHECK_TEST(an_alert_ends_an_alertable_wait), CHECK_TEST(an_alert_leaves_other_waits_alone),
           CHECK_TEST(an_alert_waits_for_its_wait_and_counts_once),
           CHECK_TEST(an_alert_of_the_waiter_in_front_leaves_the_turn_to_the_next),
           CHECK_TEST(signals_change_nothing), CHECK_TEST(a_stop_wakes_every_waiter),
           CHECK_TEST(a_failure_wakes_every_waiter), CHECK_TEST(a_wait_that_begins_while_it_ends_is_ended))
