/*
 * One-time initialisation, as Windows has it (INIT_ONCE): synchronous and asynchronous, with contexts; who waits, and what
 * of that is shown.
 */
#include "capture.h"
#include "lock_count.h"

#include <hostcrst.h>
#include <string.h>

static char made[64] __attribute__((aligned(8)));

/* ---- InitOnceExecuteOnce ---- */

typedef struct plan {
    int runs;
    int may_end;
    BOOL outcome;
    void *context;
} plan_t;

static BOOL CALLBACK run_plan(PINIT_ONCE once, PVOID parameter, PVOID *context)
{
    plan_t *plan = (plan_t *)parameter;
    (void)once;
    __atomic_add_fetch(&plan->runs, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&plan->may_end, __ATOMIC_SEQ_CST)) {
        check_pause();
    }
    if (context != NULL) {
        *context = plan->context;
    }
    return plan->outcome;
}

static void check_execute(INIT_ONCE *once)
{
    plan_t plan = {.may_end = 1, .context = made};
    void *context = NULL;
    InitOnceInitialize(once);
    SetLastError(5);
    CHECK(!InitOnceExecuteOnce(once, run_plan, &plan, &context));
    /* The callback's own last error. */
    CHECK_EQ(GetLastError(), 5);
    plan.outcome = TRUE;
    CHECK(InitOnceExecuteOnce(once, run_plan, &plan, &context));
    CHECK(context == made);
    context = NULL;
    CHECK(InitOnceExecuteOnce(once, run_plan, &plan, &context));
    CHECK(context == made);
    CHECK(InitOnceExecuteOnce(once, run_plan, &plan, NULL));
    CHECK_EQ(plan.runs, 2);
}

static void it_is_run_until_it_succeeds_and_then_never_again(void)
{
    static char memory[2 * sizeof(INIT_ONCE)];
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    check_execute(&once);
    for (size_t at = 1; at < sizeof(INIT_ONCE); at += 3) {
        check_execute((INIT_ONCE *)(void *)(memory + at));
    }
}

/* ---- who waits ---- */

static INIT_ONCE shared_once = INIT_ONCE_STATIC_INIT;
static plan_t shared_plan = {.outcome = TRUE, .context = made};

static void execute_shared(void *unused)
{
    void *context = NULL;
    (void)unused;
    CHECK(InitOnceExecuteOnce(&shared_once, run_plan, &shared_plan, &context));
    CHECK(context == made);
}

static int reported_waiters(void)
{
    char *report = text_report();
    int found = times_in(report, "   waiting for INIT_ONCE 0x");
    free(report);
    return found;
}

static void one_thread_runs_it_and_all_others_wait(void)
{
    enum { THREADS = 6 };
    check_thread_t threads[THREADS];
    for (int at = 0; at < THREADS; at++) {
        check_start(&threads[at], execute_shared, NULL);
    }
    REQUIRE_SOON(reported_waiters() == THREADS - 1);
    char *report = text_report();
    CHECK_CONTAINS(report, "!shared_once+0x0 at ");
    CHECK_CONTAINS(report, "!execute_shared+0x");
    free(report);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(json, "\"sleeping\":{\"init_once\":\"0x");
    CHECK_CONTAINS(json, "\"kind\":\"windows_init_once\"");
    free(json);
    BOOL pending = 7;
    CHECK(!InitOnceBeginInitialize(&shared_once, INIT_ONCE_ASYNC, &pending, NULL));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(!InitOnceBeginInitialize(&shared_once, INIT_ONCE_CHECK_ONLY, &pending, NULL));
    CHECK_EQ(GetLastError(), ERROR_GEN_FAILURE);
    __atomic_store_n(&shared_plan.may_end, 1, __ATOMIC_SEQ_CST);
    for (int at = 0; at < THREADS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(shared_plan.runs, 1);
}

/* ---- begin, complete ---- */

static void who_begins_completes_or_fails(void)
{
    INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    BOOL pending = FALSE;
    void *context = NULL;
    CHECK(!InitOnceComplete(&once, 0, NULL));
    CHECK_EQ(GetLastError(), ERROR_GEN_FAILURE);
    CHECK(!InitOnceBeginInitialize(&once, INIT_ONCE_CHECK_ONLY, &pending, &context));
    CHECK_EQ(GetLastError(), ERROR_GEN_FAILURE);
    CHECK(InitOnceBeginInitialize(&once, 0, &pending, &context));
    CHECK_EQ(pending, TRUE);
    CHECK(!InitOnceComplete(&once, INIT_ONCE_ASYNC, made));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(!InitOnceComplete(&once, 0, made + 1));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(!InitOnceComplete(&once, INIT_ONCE_INIT_FAILED, made));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(InitOnceComplete(&once, INIT_ONCE_INIT_FAILED, NULL));
    CHECK(InitOnceBeginInitialize(&once, 0, &pending, &context));
    CHECK_EQ(pending, TRUE);
    CHECK(InitOnceComplete(&once, 0, made));
    CHECK(InitOnceBeginInitialize(&once, 0, &pending, &context));
    CHECK_EQ(pending, FALSE);
    CHECK(context == made);
    context = NULL;
    CHECK(InitOnceBeginInitialize(&once, INIT_ONCE_CHECK_ONLY, &pending, &context));
    CHECK_EQ(pending, FALSE);
    CHECK(context == made);
    CHECK(!InitOnceComplete(&once, 0, made));
}

static void of_those_that_run_it_at_once_the_first_to_complete_counts(void)
{
    INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    BOOL pending = FALSE;
    void *context = NULL;
    for (int time = 0; time < 2; time++) {
        CHECK(InitOnceBeginInitialize(&once, INIT_ONCE_ASYNC, &pending, &context));
        CHECK_EQ(pending, TRUE);
    }
    CHECK(!InitOnceBeginInitialize(&once, 0, &pending, &context));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(!InitOnceComplete(&once, 0, made));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(!InitOnceComplete(&once, INIT_ONCE_ASYNC | INIT_ONCE_INIT_FAILED, NULL));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(InitOnceComplete(&once, INIT_ONCE_ASYNC, made));
    CHECK(!InitOnceComplete(&once, INIT_ONCE_ASYNC, made + 8));
    CHECK_EQ(GetLastError(), ERROR_GEN_FAILURE);
    CHECK(InitOnceBeginInitialize(&once, INIT_ONCE_ASYNC, &pending, &context));
    CHECK_EQ(pending, FALSE);
    CHECK(context == made);
}

static void unknown_flags_are_refused(void)
{
    INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    BOOL pending;
    static const DWORD flags[] = {4, 8, INIT_ONCE_CHECK_ONLY | INIT_ONCE_ASYNC, 0x80000000};
    for (size_t at = 0; at < sizeof flags / sizeof *flags; at++) {
        SetLastError(0);
        CHECK(!InitOnceBeginInitialize(&once, flags[at], &pending, NULL));
        CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    }
    CHECK(!InitOnceComplete(&once, 8, NULL));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(memcmp(&once, &(INIT_ONCE)INIT_ONCE_STATIC_INIT, sizeof once) == 0);
}

/* ---- misuse ---- */

static int has_said(const char *what)
{
    char *said = content_of(STDERR_FILENO);
    int found = strstr(said, what) != NULL;
    free(said);
    return found;
}

__attribute__((noinline)) static BOOL CALLBACK run_itself(PINIT_ONCE once, PVOID parameter, PVOID *context)
{
    return InitOnceExecuteOnce(once, run_itself, parameter, context);
}

static void execute_within_itself(void *unused)
{
    static INIT_ONCE within = INIT_ONCE_STATIC_INIT;
    (void)unused;
    InitOnceExecuteOnce(&within, run_itself, NULL, NULL);
    check_fail(__FILE__, __LINE__, "it has ended");
}

static void hang_in_a_callback(void)
{
    static check_thread_t thread;
    check_start(&thread, execute_within_itself, NULL);
    REQUIRE_SOON(has_said("!run_itself"));
    CHECK(has_said("hostcrst: INIT_ONCE 0x"));
    CHECK(has_said(": waited for by the thread that runs it: this thread waits for ever"));
    REQUIRE_SOON(reported_waiters() == 1);
    _exit(check_failed_so_far());
}

static void a_callback_that_waits_for_itself_is_told(void)
{
    run_t run = child_of(hang_in_a_callback, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    free(run.said);
}

CHECK_MAIN(CHECK_TEST(it_is_run_until_it_succeeds_and_then_never_again),
           CHECK_TEST(one_thread_runs_it_and_all_others_wait), CHECK_TEST(who_begins_completes_or_fails),
           CHECK_TEST(of_those_that_run_it_at_once_the_first_to_complete_counts),
           CHECK_TEST(unknown_flags_are_refused), CHECK_TEST(a_callback_that_waits_for_itself_is_told))
