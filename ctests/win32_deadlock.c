/*
 * Deadlocks in which threads wait in EnterCriticalSection, which cannot fail: what stderr reports, which other wait is
 * the victim, and what an Enter does inside the callback. Each situation runs in a child process.
 */
#include "capture.h"
#include "lock_count.h"

#include <signal.h>
#include <sys/syscall.h>

/* ---- what a child says on stderr ---- */

static int reports_in(const char *said)
{
    return times_in(said, " report  pid ");
}

static void check_reported_once(const run_t *outcome)
{
    CHECK_EQ(reports_in(outcome->said), 1);
    CHECK_CONTAINS(outcome->said, "Found a deadlock:\n");
    CHECK_CONTAINS(outcome->said, "!crossed+0x0");
    const char *order = strstr(outcome->said, "Order that led here:\n");
    CHECK_CONTAINS(order == NULL ? "" : order, "   enters CRITICAL_SECTION 0x");
    CHECK_CONTAINS(order == NULL ? "" : order, "!crossed+0x0 at ");
    CHECK_CONTAINS(outcome->said, "*** DEADLOCK ***\n");
    CHECK_LACKS(outcome->said, "HOST_E_DEADLOCK");
}

/* ---- pairs of threads that enter two sections crosswise ---- */

enum { PAIRS = 40 };

static CRITICAL_SECTION crossed[PAIRS][2];
static check_thread_t threads[PAIRS][2];
static unsigned ready;
static int told;

static void cross(void *section)
{
    CRITICAL_SECTION *mine = (CRITICAL_SECTION *)section;
    int is_first = (mine - &crossed[0][0]) % 2 == 0;
    EnterCriticalSection(mine);
    /* Both go on at once. */
    unsigned all = (__atomic_fetch_add(&ready, 1, __ATOMIC_ACQ_REL) / 2 + 1) * 2;
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < all) {
    }
    EnterCriticalSection(is_first ? mine + 1 : mine - 1);
    check_fail(__FILE__, __LINE__, "entered in spite of a deadlock");
}

static void deadlock(int pair)
{
    for (int at = 0; at < 2; at++) {
        REQUIRE(InitializeCriticalSectionAndSpinCount(&crossed[pair][at], 0));
        check_start(&threads[pair][at], cross, &crossed[pair][at]);
    }
}

/* The verdict stands at both ends of a report. */
static int has_reported(void)
{
    char *said = content_of(STDERR_FILENO);
    int verdicts = times_in(said, "Found 1 deadlock.\n");
    free(said);
    return verdicts == 2;
}

static void deadlock_without_a_runtime(void)
{
    deadlock(0);
    REQUIRE_SOON(has_reported());
    for (int at = 0; at < 2; at++) {
        CHECK_EQ(lock_count(&crossed[0][at]), -6);
        CHECK_EQ(crossed[0][at].RecursionCount, 1);
    }
}

static void a_deadlock_is_reported_and_waits(void)
{
    static const char *const policies[] = {NULL, "error", "report"};
    for (size_t at = 0; at < sizeof policies / sizeof policies[0]; at++) {
        run_t outcome = child_of(deadlock_without_a_runtime, policies[at]);
        CHECK_EQ(outcome.status, 0);
        check_reported_once(&outcome);
        CHECK_CONTAINS(outcome.said, "!crossed+0x28");
        free(outcome.said);
    }
}

static void deadlock_for_ever(void)
{
    deadlock(0);
    check_join(&threads[0][0]);
}

static void a_deadlock_aborts_where_the_environment_says_so(void)
{
    run_t outcome = child_of(deadlock_for_ever, "abort");
    CHECK(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGABRT);
    check_reported_once(&outcome);
    free(outcome.said);
}

static void count_deadlock(const host_deadlock_t *deadlock, void *context)
{
    (void)context;
    CHECK_EQ(deadlock->tasks, 2);
    CHECK_EQ(deadlock->victim, 0);
    __atomic_add_fetch(&told, 1, __ATOMIC_RELEASE);
}

static int times_told(void)
{
    return __atomic_load_n(&told, __ATOMIC_ACQUIRE);
}

static void deadlock_all(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_deadlock_callback(count_deadlock, NULL), S_OK);
    for (int pair = 0; pair < PAIRS; pair++) {
        deadlock(pair);
        REQUIRE_SOON(times_told() > pair);
    }
    check_pause();
    CHECK_EQ(times_told(), PAIRS);
}

static void each_deadlock_is_reported_once(void)
{
    run_t outcome = child_of(deadlock_all, NULL);
    CHECK_EQ(outcome.status, 0);
    CHECK_EQ(reports_in(outcome.said), PAIRS);
    free(outcome.said);
}

/* ---- with a section of the host's in the cycle ---- */

static hostcrst_t of_the_host;
static check_steps_t steps = CHECK_STEPS_INIT;
static int closes_by_enter;

/* Owns the host's section and waits for Windows' one. */
static void enter_windows_last(void *task)
{
    REQUIRE_EQ(host_task_current((host_task_t *)task), S_OK);
    REQUIRE_EQ(hostcrst_enter(of_the_host, 0), S_OK);
    check_reach(&steps, 1);
    if (closes_by_enter) {
        REQUIRE_SOON(info_of(of_the_host).waiters == 1);
    }
    EnterCriticalSection(&crossed[0][0]);
    LeaveCriticalSection(&crossed[0][0]);
    CHECK_EQ(hostcrst_leave(of_the_host), S_OK);
}

/* The other way round. Returns what the wait for the host's section ended with. */
static int32_t enter_the_hosts_last(uint32_t option)
{
    check_thread_t thread;
    host_task_t task = 0;
    start_runtime();
    of_the_host = new_section();
    EnterCriticalSection(&crossed[0][0]);
    check_start(&thread, enter_windows_last, &task);
    check_await(&steps, 1);
    if (!closes_by_enter) {
        REQUIRE_SOON(lock_count(&crossed[0][0]) == -6);
    }
    int32_t result = hostcrst_enter(of_the_host, option);
    LeaveCriticalSection(&crossed[0][0]);
    check_join(&thread);
    return result;
}

static void refuse_the_hosts(void)
{
    CHECK_EQ(enter_the_hosts_last(0), HOST_E_DEADLOCK);
    char *text = report_in(HOST_REPORT_TEXT);
    const char *broken = strstr(text, "A deadlock of 2 tasks was broken");
    const char *order = broken == NULL ? NULL : strstr(broken, "Order that led here:\n");
    const char *waited = broken == NULL ? NULL : strstr(broken, " CRITICAL_SECTION 0x");
    CHECK(waited != NULL && waited < order);
    CHECK_CONTAINS(waited == NULL ? "" : waited, "!crossed+0x0 at ");
    free(text);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(json, "\"section_name\":\"\",\"critical_section\":\"0x");
    free(json);
}

static void the_wait_for_the_hosts_section_is_refused(void)
{
    for (closes_by_enter = 0; closes_by_enter < 2; closes_by_enter++) {
        run_t outcome = child_of(refuse_the_hosts, NULL);
        CHECK_EQ(outcome.status, 0);
        CHECK_STR_EQ(outcome.said, "");
        free(outcome.said);
    }
}

static void alert_when_told(void *task)
{
    REQUIRE_SOON(times_told() == 1);
    CHECK_EQ(host_task_alert(*(host_task_t *)task), S_OK);
}

static void do_not_refuse_the_hosts(void)
{
    check_thread_t alerter;
    start_runtime();
    host_task_t task = this_task();
    REQUIRE_EQ(host_set_deadlock_callback(count_deadlock, NULL), S_OK);
    check_start(&alerter, alert_when_told, &task);
    CHECK_EQ(enter_the_hosts_last(WAIT_ALERTABLE | WAIT_NOTINDEADLOCK), HOST_E_INTERRUPTED);
    check_join(&alerter);
}

static void unless_it_is_not_to_be(void)
{
    for (closes_by_enter = 0; closes_by_enter < 2; closes_by_enter++) {
        run_t outcome = child_of(do_not_refuse_the_hosts, NULL);
        CHECK_EQ(outcome.status, 0);
        check_reported_once(&outcome);
        free(outcome.said);
    }
}

/* ---- an Enter inside the callback ---- */

static CRITICAL_SECTION busy;

static void enter_what_is_busy(const host_deadlock_t *deadlock, void *context)
{
    CHECK_EQ(TryEnterCriticalSection(&busy), FALSE);
    EnterCriticalSection(&busy);
    CHECK_EQ(busy.RecursionCount, 1);
    LeaveCriticalSection(&busy);
    count_deadlock(deadlock, context);
}

static void enter_inside_the_callback(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_deadlock_callback(enter_what_is_busy, NULL), S_OK);
    EnterCriticalSection(&busy);
    deadlock(0);
    /* Locked, one waiter asleep: it waits like any other. */
    REQUIRE_SOON(lock_count(&busy) == -6);
    CHECK_EQ(times_told(), 0);
    LeaveCriticalSection(&busy);
    REQUIRE_SOON(times_told() == 1);
    CHECK_EQ(lock_count(&busy), -1);
}

static void an_enter_inside_the_callback_waits_like_any_other(void)
{
    run_t outcome = child_of(enter_inside_the_callback, NULL);
    CHECK_EQ(outcome.status, 0);
    check_reported_once(&outcome);
    free(outcome.said);
}

CHECK_MAIN(CHECK_TEST(a_deadlock_is_reported_and_waits),
           CHECK_TEST(a_deadlock_aborts_where_the_environment_says_so), CHECK_TEST(each_deadlock_is_reported_once),
           CHECK_TEST(the_wait_for_the_hosts_section_is_refused), CHECK_TEST(unless_it_is_not_to_be),
           CHECK_TEST(an_enter_inside_the_callback_waits_like_any_other))
