/* The runtime's states and what each function does in them. */
#include "host.h"

#include <signal.h>
#include <sys/time.h>

static uint32_t state(void)
{
    uint32_t now = 77;
    CHECK_EQ(KEEPING_ERRNO(host_runtime_state(&now)), S_OK);
    return now;
}

static void it_begins_not_loaded(void)
{
    CHECK_EQ(state(), HOST_RUNTIME_NOT_LOADED);
    CHECK_EQ(host_runtime_stop(), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(state(), HOST_RUNTIME_NOT_LOADED);
}

static void make_several_mistakes_at_once(void)
{
    const uint32_t no_option = 1U << 31;
    hostcrst_info_t info = {.size = 1};
    int32_t entered = 7;
    CHECK_EQ(hostcrst_create(NULL), E_POINTER);
    CHECK_EQ(hostcrst_try_enter(0, no_option, NULL), E_POINTER);
    CHECK_EQ(hostcrst_set_name(0, NULL), E_POINTER);
    CHECK_EQ(hostcrst_try_enter(0, no_option, &entered), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(hostcrst_enter(0, no_option), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(hostcrst_leave(0), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_set_deadlock_policy(77), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(hostcrst_try_enter(0, no_option, NULL), E_POINTER);
    CHECK_EQ(hostcrst_try_enter(0, no_option, &entered), E_INVALIDARG);
    CHECK_EQ(hostcrst_enter(0, no_option), E_INVALIDARG);
    CHECK_EQ(hostcrst_info(0, &info), E_INVALIDARG);
    CHECK_EQ(hostcrst_enter(0, 0), E_HANDLE);
}

static void starting_and_stopping_say_whether_they_did_something(void)
{
    CHECK_EQ(KEEPING_ERRNO(host_runtime_start()), S_OK);
    CHECK_EQ(state(), HOST_RUNTIME_RUNNING);
    for (int time = 0; time < 10; time++) {
        CHECK_EQ(KEEPING_ERRNO(host_runtime_start()), S_FALSE);
        CHECK_EQ(KEEPING_ERRNO(host_runtime_stop()), S_OK);
        CHECK_EQ(state(), HOST_RUNTIME_STOPPED);
        CHECK_EQ(KEEPING_ERRNO(host_runtime_stop()), S_FALSE);
        CHECK_EQ(KEEPING_ERRNO(host_runtime_start()), S_OK);
        CHECK_EQ(state(), HOST_RUNTIME_RUNNING);
    }
}

static void a_stopped_runtime_lets_nobody_in_and_everybody_out(void)
{
    int32_t entered = 7;
    hostcrst_t made = 7;
    size_t count = 7;
    int32_t needs = 7;
    holder_t holder;
    start_runtime();
    hostcrst_t mine = new_section();
    hostcrst_t theirs = new_section();
    hostcrst_t free_one = new_section();
    hostcrst_t lost = abandoned_section();
    host_task_t me = this_task();
    hold_times(&holder, theirs, 2);
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    CHECK_EQ(host_leave_runtime(3), S_OK);
    CHECK_EQ(host_runtime_stop(), S_OK);

    CHECK_EQ(KEEPING_ERRNO(hostcrst_create(&made)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(made, 0);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_create_with_spin_count(1, &made)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(mine, 0)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(free_one, 0)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter_timeout(theirs, 0, 1)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_try_enter(free_one, 0, &entered)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(entered, 0);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_recover(lost)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(host_enter_runtime()), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(host_reverse_enter_runtime()), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(host_leave_runtime(1)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(host_reverse_leave_runtime()), HOST_E_CLRNOTAVAILABLE);

    CHECK_SECTION(mine, HOSTCRST_OWNED, me, 2);
    CHECK_SECTION(lost, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(host_task_layers(me, NULL, 0, &count), S_OK);
    CHECK_EQ(count, 1);
    CHECK_EQ(host_call_needs_host_hook(1, &needs), S_OK);
    CHECK_EQ(host_set_call_hook(1, 1), S_OK);
    CHECK_EQ(hostcrst_set_name(mine, "mine"), S_OK);
    CHECK_EQ(hostcrst_set_spin_count(mine, 1), S_OK);
    CHECK_EQ(host_task_set_name(me, "me"), S_OK);

    CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(theirs)), HOST_E_NOT_OWNER);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_destroy(theirs)), HOST_E_NOT_OWNER);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(mine)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(mine)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(mine)), HOST_E_NOT_OWNER);
    CHECK_SECTION(mine, HOSTCRST_FREE, 0, 0);
    let_go(&holder);
    CHECK_SECTION(theirs, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_destroy(theirs)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_destroy(lost)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_destroy(free_one)), S_OK);

    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    CHECK_EQ(hostcrst_leave(mine), S_OK);
    CHECK_EQ(hostcrst_destroy(mine), S_OK);
}

/* What is owned when the runtime stops is still owned when it is started again. */
static void sections_stay_owned_over_a_restart(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void a_thread_that_ends_while_stopped_abandons_too(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    CHECK_EQ(host_runtime_stop(), S_OK);
    die_holding(&holder);
    CHECK_SECTION(crst, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_recover(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* An alert that came before a stop is still there after it. */
static void an_alert_outlives_a_restart(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    CHECK_EQ(host_task_alert(this_task()), S_OK);
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(hostcrst_enter(crst, WAIT_ALERTABLE), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(hostcrst_enter(crst, WAIT_ALERTABLE), HOST_E_INTERRUPTED);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static check_steps_t race_steps = CHECK_STEPS_INIT;
static int started;
static int stopped;

static void race_to_switch(void *unused)
{
    (void)unused;
    check_arrive(&race_steps, 4);
    for (int time = 0; time < 2000; time++) {
        __atomic_add_fetch(&started, host_runtime_start() == S_OK, __ATOMIC_RELAXED);
        __atomic_add_fetch(&stopped, host_runtime_stop() == S_OK, __ATOMIC_RELAXED);
    }
}

static void each_start_is_one_threads_and_each_stop_too(void)
{
    check_thread_t threads[4];
    start_runtime();
    CHECK_EQ(host_runtime_stop(), S_OK);
    for (int at = 0; at < 4; at++) {
        check_start(&threads[at], race_to_switch, NULL);
    }
    for (int at = 0; at < 4; at++) {
        check_join(&threads[at]);
    }
    CHECK(started > 0);
    CHECK_EQ(started, stopped);
    CHECK_EQ(state(), HOST_RUNTIME_STOPPED);
    start_runtime();
}

/* ---- asked in a signal handler ---- */

static volatile sig_atomic_t times_asked;
static volatile sig_atomic_t answered_wrong;

static void ask(int signal)
{
    uint32_t now = 77;
    (void)signal;
    answered_wrong |= host_runtime_state(&now) != S_OK || (now != HOST_RUNTIME_RUNNING && now != HOST_RUNTIME_STOPPED);
    answered_wrong |= host_result_message(E_FAIL) == NULL || hostcrst_version() == NULL;
    times_asked++;
}

static void ask_every(long microseconds)
{
    struct itimerval timer;
    memset(&timer, 0, sizeof timer);
    timer.it_interval.tv_usec = timer.it_value.tv_usec = microseconds;
    REQUIRE_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* Whatever the library is in the middle of: a lock that they waited for would never be free. */
static void what_may_be_asked_in_a_signal_handler_may_be_asked_at_any_moment(void)
{
    struct timespec deadline = check_deadline_from_now();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = ask;
    REQUIRE_EQ(sigaction(SIGALRM, &action, NULL), 0);
    start_runtime();
    ask_every(100);
    /* Fewer where other programs take the processors. */
    while (times_asked < 1000 && !check_passed(&deadline)) {
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_set_name(crst, "interrupted"), S_OK);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
        CHECK_EQ(host_runtime_stop(), S_OK);
        CHECK_EQ(host_runtime_start(), S_OK);
    }
    ask_every(0);
    CHECK(times_asked > 10);
    CHECK(!answered_wrong);
}

static void fail_while_running(void)
{
    uint32_t now = 7;
    start_runtime();
    hostcrst_t mine = new_section();
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_runtime_fail()), S_OK);
    CHECK_EQ(state(), HOST_RUNTIME_FAILED);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(mine)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_destroy(mine)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(mine, 0)), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(info_of(mine).recursion, 1);
    CHECK_EQ(KEEPING_ERRNO(host_runtime_start()), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(KEEPING_ERRNO(host_runtime_stop()), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_runtime_state(&now), S_OK);
    CHECK_EQ(now, HOST_RUNTIME_FAILED);
}

static void fail_while_stopped(void)
{
    start_runtime();
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(host_runtime_fail(), S_OK);
    CHECK_EQ(state(), HOST_RUNTIME_FAILED);
    CHECK_EQ(host_runtime_start(), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_runtime_stop(), HOST_E_CLRNOTAVAILABLE);
}

static void fail_first(void)
{
    CHECK_EQ(KEEPING_ERRNO(host_runtime_fail()), S_OK);
    CHECK_EQ(state(), HOST_RUNTIME_FAILED);
    CHECK_EQ(host_runtime_start(), HOST_E_CLRNOTAVAILABLE);
}

static void of_several_codes_the_first_is_returned(void)
{
    in_child(make_several_mistakes_at_once);
}

static void a_failure_before_the_first_start_is_for_good(void)
{
    in_child(fail_first);
}

static void a_failure_is_for_good(void)
{
    in_child(fail_while_running);
    in_child(fail_while_stopped);
}

CHECK_MAIN(CHECK_TEST(it_begins_not_loaded), CHECK_TEST(of_several_codes_the_first_is_returned),
           CHECK_TEST(a_failure_before_the_first_start_is_for_good),
           CHECK_TEST(starting_and_stopping_say_whether_they_did_something),
           CHECK_TEST(a_stopped_runtime_lets_nobody_in_and_everybody_out),
           CHECK_TEST(sections_stay_owned_over_a_restart),
           CHECK_TEST(a_thread_that_ends_while_stopped_abandons_too), CHECK_TEST(an_alert_outlives_a_restart),
           CHECK_TEST(each_start_is_one_threads_and_each_stop_too),
           CHECK_TEST(what_may_be_asked_in_a_signal_handler_may_be_asked_at_any_moment),
           CHECK_TEST(a_failure_is_for_good))
