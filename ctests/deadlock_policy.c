/*
 * What is done about a deadlock: HOST_E_DEADLOCK, a report, or a report and the end of the process; chosen
 * by a call or by HOSTCRST_ON_DEADLOCK. Each situation plays in a child process, as the variable is read
 * once in a process.
 */
#include "check.h"

#include <errno.h>
#include <hostcrst.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>

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

typedef struct outcome {
    char text[65536];
    int status;
} outcome_t;

static void child_of(outcome_t *outcome, void (*body)(void), const char *policy)
{
    int ends[2];
    size_t length = 0;
    ssize_t got;
    fflush(stdout);
    REQUIRE_EQ(pipe(ends), 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        check_failures = 0;
        alarm(2 * CHECK_PATIENCE_SECONDS);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        if (policy != NULL) {
            setenv("HOSTCRST_ON_DEADLOCK", policy, 1);
        }
        REQUIRE_EQ(host_runtime_start(), S_OK);
        body();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    close(ends[1]);
    while ((got = read(ends[0], outcome->text + length, sizeof outcome->text - 1 - length)) > 0) {
        length += (size_t)got;
    }
    outcome->text[length] = '\0';
    close(ends[0]);
    REQUIRE_EQ(waitpid(child, &outcome->status, 0), child);
}

static void check_has(const outcome_t *outcome, const char *wanted)
{
    if (!CHECK(strstr(outcome->text, wanted) != NULL)) {
        printf("wanted \"%s\" in:\n%s\n", wanted, outcome->text);
    }
}

static void check_ended_well(const outcome_t *outcome)
{
    CHECK(WIFEXITED(outcome->status));
    CHECK_EQ(WEXITSTATUS(outcome->status), 0);
}

static void check_reported(const outcome_t *outcome)
{
    check_has(outcome, "Found 1 deadlock.\n");
    check_has(outcome, "\"the buyer\" tid=");
    check_has(outcome, "\"the seller\" tid=");
    check_has(outcome, "enters \"money\"");
    check_has(outcome, "enters \"goods\"");
    check_has(outcome, "waits for \"money\"");
    check_has(outcome, "waits for \"goods\"");
    check_has(outcome, "*** DEADLOCK ***\n");
    CHECK(strstr(outcome->text, "HOST_E_DEADLOCK") == NULL);
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
    outcome_t outcome;
    static const char *const policies[] = {NULL, "error"};
    for (int at = 0; at < 2; at++) {
        child_of(&outcome, one_is_refused, policies[at]);
        check_ended_well(&outcome);
        CHECK_STR_EQ(outcome.text, "");
    }
    child_of(&outcome, one_is_refused_on_request, "abort");
    check_ended_well(&outcome);
    CHECK_STR_EQ(outcome.text, "");
}

static void an_unknown_policy_is_said_and_ignored(void)
{
    outcome_t outcome;
    child_of(&outcome, one_is_refused, "panic");
    check_ended_well(&outcome);
    CHECK_STR_EQ(outcome.text, "hostcrst: HOSTCRST_ON_DEADLOCK: unknown value 'panic' ignored\n");
}

static void refuses_unknown_policies(void)
{
    CHECK_EQ(host_set_deadlock_policy(3), E_INVALIDARG);
    CHECK_EQ(host_set_deadlock_policy(UINT32_MAX), E_INVALIDARG);
    one_is_refused();
}

static void an_unknown_policy_is_refused(void)
{
    outcome_t outcome;
    CHECK_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ERROR), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), HOST_E_CLRNOTAVAILABLE);
    child_of(&outcome, refuses_unknown_policies, NULL);
    check_ended_well(&outcome);
}

/* ---- report ---- */

static void both_stand_until_alerted(void)
{
    begin_deadlock();
    REQUIRE_SOON(__atomic_load_n(&told, __ATOMIC_ACQUIRE) == 1);
    CHECK_EQ(notice.victim, 0);
    for (int at = 0; at < 2; at++) {
        host_task_info_t info;
        info.size = sizeof info;
        CHECK_EQ(host_task_info(sides[at].task, &info), S_OK);
        CHECK_EQ(info.waiting_for, sides[at].other);
    }
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
    outcome_t outcome;
    for (int time = 0; time < AGAIN; time++) {
        child_of(&outcome, both_stand_until_alerted, "report");
        check_ended_well(&outcome);
        check_reported(&outcome);
        child_of(&outcome, both_stand_on_request, NULL);
        check_ended_well(&outcome);
        check_reported(&outcome);
    }
}

static void both_stand_without_stderr(void)
{
    close(STDERR_FILENO);
    both_stand_until_alerted();
}

static void report_works_without_stderr(void)
{
    outcome_t outcome;
    child_of(&outcome, both_stand_without_stderr, "report");
    check_ended_well(&outcome);
    CHECK_STR_EQ(outcome.text, "");
}

/* ---- nobody may be refused ---- */

static void both_ask_not_to_be_refused(void)
{
    option = WAIT_ALERTABLE | WAIT_NOTINDEADLOCK;
    both_stand_until_alerted();
}

static void what_stands_at_the_hosts_wish_is_silent(void)
{
    outcome_t outcome;
    for (int time = 0; time < AGAIN; time++) {
        child_of(&outcome, both_ask_not_to_be_refused, NULL);
        check_ended_well(&outcome);
        CHECK_STR_EQ(outcome.text, "");
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

static void check_aborted(const outcome_t *outcome)
{
    CHECK(WIFSIGNALED(outcome->status));
    CHECK_EQ(WTERMSIG(outcome->status), SIGABRT);
    check_reported(outcome);
}

static void abort_reports_and_ends_the_process(void)
{
    outcome_t outcome;
    for (int time = 0; time < AGAIN; time++) {
        child_of(&outcome, deadlock_for_ever, "abort");
        check_aborted(&outcome);
        child_of(&outcome, deadlock_for_ever_on_request, NULL);
        check_aborted(&outcome);
    }
}

CHECK_MAIN(CHECK_TEST(an_unknown_policy_is_refused), CHECK_TEST(error_is_silent),
           CHECK_TEST(an_unknown_policy_is_said_and_ignored),
           CHECK_TEST(report_names_both_and_lets_them_stand),
           CHECK_TEST(report_works_without_stderr),
           CHECK_TEST(what_stands_at_the_hosts_wish_is_silent), CHECK_TEST(abort_reports_and_ends_the_process))
