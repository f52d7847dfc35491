/*
 * What is done about a deadlock: HOST_E_DEADLOCK, a report, or a report and the end of the process; chosen
 * by a call or by HOSTCRST_ON_DEADLOCK. Each situation plays in a child process, as the variable is read
 * once in a process.
 */
#include "capture.h"

#include <signal.h>

#define AGAIN 20

/* ---- in the child: two tasks, one deadlock ---- */

typedef struct side {
    check_thread_t thread;
    const char *name;
    host_task_t task;
    hostcrst_t mine;
    hostcrst_t other;
    int32_t result;
} side_t;

static side_t sides[2];
static uint32_t option = WAIT_ALERTABLE;
static check_steps_t owning = CHECK_STEPS_INIT;
static int told;
static host_deadlock_t notice;

static void be_told(const host_deadlock_t *deadlock, void *context)
{
    CHECK(context == &notice);
    notice = *deadlock;
    __atomic_add_fetch(&told, 1, __ATOMIC_RELEASE);
}

static void side_body(void *argument)
{
    side_t *self = (side_t *)argument;
    REQUIRE_EQ(host_task_current(&self->task), S_OK);
    REQUIRE_EQ(host_task_set_name(self->task, self->name), S_OK);
    REQUIRE_EQ(hostcrst_enter(self->mine, 0), S_OK);
    check_arrive(&owning, 2);
    self->result = hostcrst_enter(self->other, option);
    if (self->result == S_OK) {
        CHECK_EQ(hostcrst_leave(self->other), S_OK);
    }
    CHECK_EQ(hostcrst_leave(self->mine), S_OK);
}

static void begin_deadlock(void)
{
    static const char *const names[2] = {"the buyer", "the seller"};
    hostcrst_t sections[2];
    REQUIRE_EQ(host_set_deadlock_callback(be_told, &notice), S_OK);
    for (int at = 0; at < 2; at++) {
        REQUIRE_EQ(hostcrst_create(&sections[at]), S_OK);
        REQUIRE_EQ(hostcrst_set_name(sections[at], at == 0 ? "money" : "goods"), S_OK);
    }
    for (int at = 0; at < 2; at++) {
        sides[at].name = names[at];
        sides[at].mine = sections[at];
        sides[at].other = sections[1 - at];
        check_start(&sides[at].thread, side_body, &sides[at]);
    }
}

static void end_deadlock(void)
{
    check_join(&sides[0].thread);
    check_join(&sides[1].thread);
}

/* ---- the child and what it wrote to stderr ---- */

static void (*act)(void);

static void act_in_runtime(void)
{
    REQUIRE_EQ(host_runtime_start(), S_OK);
    act();
}

static run_t play(void (*body)(void), const char *policy)
{
    act = body;
    return child_of(act_in_runtime, policy);
}

static void check_ended_well(run_t run)
{
    CHECK(WIFEXITED(run.status));
    CHECK_EQ(WEXITSTATUS(run.status), 0);
}

static void check_reported(run_t run)
{
    CHECK_CONTAINS(run.said, "Found 1 deadlock.\n");
    CHECK_CONTAINS(run.said, "\"the buyer\" tid=");
    CHECK_CONTAINS(run.said, "\"the seller\" tid=");
    CHECK_CONTAINS(run.said, "enters \"money\"");
    CHECK_CONTAINS(run.said, "enters \"goods\"");
    CHECK_CONTAINS(run.said, "waits for \"money\"");
    CHECK_CONTAINS(run.said, "waits for \"goods\"");
    CHECK_CONTAINS(run.said, "*** DEADLOCK ***\n");
    CHECK_LACKS(run.said, "HOST_E_DEADLOCK");
}

/* Ends well, having said this and no more on stderr. */
static void check_says(void (*body)(void), const char *policy, const char *said)
{
    run_t run = play(body, policy);
    check_ended_well(run);
    CHECK_STR_EQ(run.said, said);
    free(run.said);
}

static void check_reports(void (*body)(void), const char *policy)
{
    run_t run = play(body, policy);
    check_ended_well(run);
    check_reported(run);
    free(run.said);
}

/* ---- error ---- */

static void one_is_refused(void)
{
    begin_deadlock();
    end_deadlock();
    CHECK_EQ((sides[0].result == HOST_E_DEADLOCK) + (sides[1].result == HOST_E_DEADLOCK), 1);
    CHECK_EQ((sides[0].result == S_OK) + (sides[1].result == S_OK), 1);
    CHECK_EQ(told, 1);
    CHECK_EQ(notice.victim, sides[sides[1].result == HOST_E_DEADLOCK].task);
}

static void one_is_refused_on_request(void)
{
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ERROR), S_OK);
    one_is_refused();
}

static void error_is_silent(void)
{
    static const char *const policies[] = {NULL, "error"};
    for (int at = 0; at < 2; at++) {
        check_says(one_is_refused, policies[at], "");
    }
    check_says(one_is_refused_on_request, "abort", "");
}

static void an_unknown_policy_is_said_and_ignored(void)
{
    check_says(one_is_refused, "panic", "hostcrst: HOSTCRST_ON_DEADLOCK: unknown value 'panic' ignored; "
                                        "known: error, report or abort\n");
}

static void refuses_unknown_policies(void)
{
    CHECK_EQ(host_set_deadlock_policy(3), E_INVALIDARG);
    CHECK_EQ(host_set_deadlock_policy(UINT32_MAX), E_INVALIDARG);
    one_is_refused();
}

static void an_unknown_policy_is_refused(void)
{
    CHECK_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ERROR), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), HOST_E_CLRNOTAVAILABLE);
    check_says(refuses_unknown_policies, NULL, "");
}

/* ---- report ---- */

static int waits(const side_t *side)
{
    host_task_info_t info;
    info.size = sizeof info;
    CHECK_EQ(host_task_info(side->task, &info), S_OK);
    return info.waiting_for == side->other;
}

static void both_stand_until_alerted(void)
{
    begin_deadlock();
    REQUIRE_SOON(__atomic_load_n(&told, __ATOMIC_ACQUIRE) == 1);
    CHECK_EQ(notice.victim, 0);
    /* Who tells of it does not wait meanwhile. */
    REQUIRE_SOON(waits(&sides[0]) && waits(&sides[1]));
    CHECK_EQ(host_task_alert(sides[0].task), S_OK);
    end_deadlock();
    CHECK_EQ(sides[0].result, HOST_E_INTERRUPTED);
    CHECK_EQ(sides[1].result, S_OK);
    CHECK_EQ(told, 1);
}

static void both_stand_on_request(void)
{
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_REPORT), S_OK);
    both_stand_until_alerted();
}

static void report_names_both_and_lets_them_stand(void)
{
    for (int time = 0; time < AGAIN; time++) {
        check_reports(both_stand_until_alerted, "report");
        check_reports(both_stand_on_request, NULL);
    }
}

static void both_stand_without_stderr(void)
{
    close(STDERR_FILENO);
    both_stand_until_alerted();
}

static void report_works_without_stderr(void)
{
    check_says(both_stand_without_stderr, "report", "");
}

/* ---- nobody may be refused ---- */

static void both_ask_not_to_be_refused(void)
{
    option = WAIT_ALERTABLE | WAIT_NOTINDEADLOCK;
    both_stand_until_alerted();
}

static void what_stands_at_the_hosts_wish_is_silent(void)
{
    for (int time = 0; time < AGAIN; time++) {
        check_says(both_ask_not_to_be_refused, NULL, "");
    }
}

/* ---- abort ---- */

static void deadlock_for_ever(void)
{
    begin_deadlock();
    end_deadlock();
    printf("not reached\n");
    check_failures++;
}

static void deadlock_for_ever_on_request(void)
{
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ABORT), S_OK);
    deadlock_for_ever();
}

static void check_aborts(void (*body)(void), const char *policy)
{
    run_t run = play(body, policy);
    CHECK(WIFSIGNALED(run.status));
    CHECK_EQ(WTERMSIG(run.status), SIGABRT);
    check_reported(run);
    free(run.said);
}

static void abort_reports_and_ends_the_process(void)
{
    for (int time = 0; time < AGAIN; time++) {
        check_aborts(deadlock_for_ever, "abort");
        check_aborts(deadlock_for_ever_on_request, NULL);
    }
}

CHECK_MAIN(CHECK_TEST(an_unknown_policy_is_refused), CHECK_TEST(error_is_silent),
           CHECK_TEST(an_unknown_policy_is_said_and_ignored),
           CHECK_TEST(report_names_both_and_lets_them_stand),
           CHECK_TEST(report_works_without_stderr),
           CHECK_TEST(what_stands_at_the_hosts_wish_is_silent), CHECK_TEST(abort_reports_and_ends_the_process))
