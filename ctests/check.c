/* check.h itself: a test program can fail, and says what it saw. */
#include "check.h"

#include <stdint.h>
#include <sys/wait.h>

/* What a failing test prints, and the exit code of its program. */
typedef struct outcome {
    char text[2048];
    int code;
} outcome_t;

static void equal_to_five(void)
{
    CHECK_EQ(2 + 2, 5);
}

static void holds_text(void)
{
    CHECK_STR_EQ("left", "right");
}

static void different(void)
{
    CHECK_NE(7, 7);
}

static void shows_an_hresult(void)
{
    CHECK_EQ(INT32_MIN + 0x70006, 0);
}

static void gives_up(void)
{
    REQUIRE(1 > 2);
    printf("not reached\n");
}

static void does_nothing(void)
{
}

static outcome_t outcome_of(void (*body)(void), const char *only)
{
    outcome_t outcome;
    int ends[2];
    REQUIRE_EQ(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char program[] = "program";
        char name[32];
        char *arguments[] = {program, name};
        check_test_t test = {"body", NULL};
        test.body = body;
        snprintf(name, sizeof name, "%s", only);
        dup2(ends[1], STDOUT_FILENO);
        check_failures = 0;
        _exit(check_run(&test, 1, 2, arguments));
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], outcome.text + length, sizeof outcome.text - 1 - length)) > 0) {
        length += (size_t)got;
    }
    outcome.text[length] = '\0';
    close(ends[0]);
    int status = 0;
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return outcome;
}

static void expect_failure(void (*body)(void), const char *said)
{
    outcome_t outcome = outcome_of(body, "body");
    CHECK_EQ(outcome.code, 1);
    if (!CHECK(strstr(outcome.text, said) != NULL)) {
        printf("wanted \"%s\" in:\n%s\n", said, outcome.text);
    }
}

static void failing_checks_fail_and_show_both_sides(void)
{
    expect_failure(equal_to_five, "check.c:");
    expect_failure(equal_to_five, "2 + 2 == 5\n    actual:   4 (0x4)\n    expected: 5 (0x5)");
    expect_failure(holds_text, "actual:   left\n    expected: right");
    expect_failure(different, "both: 7");
    expect_failure(shows_an_hresult, "-2147024890 (0x80070006)");
    expect_failure(equal_to_five, "FAILED body\n0 tests passed, 1 failed");
}

static void a_required_check_ends_the_program(void)
{
    outcome_t outcome = outcome_of(gives_up, "body");
    CHECK_EQ(outcome.code, 1);
    CHECK(strstr(outcome.text, "not reached") == NULL);
}

static void a_program_that_ran_no_test_fails(void)
{
    CHECK_EQ(outcome_of(does_nothing, "body").code, 0);
    CHECK_EQ(outcome_of(does_nothing, "another").code, 1);
}

static void a_test_may_be_left_out(void)
{
    CHECK_EQ(outcome_of(does_nothing, "-body").code, 1);
    CHECK_EQ(outcome_of(does_nothing, "-another").code, 0);
}

#define TURNS 200
static check_steps_t turns = CHECK_STEPS_INIT;
static check_steps_t barrier = CHECK_STEPS_INIT;
static int order[2 * TURNS];
static int arrived;

static void take_odd_turns(void *unused)
{
    (void)unused;
    for (int turn = 1; turn < 2 * TURNS; turn += 2) {
        check_await(&turns, turn);
        order[turn] = turn;
        check_reach(&turns, turn + 1);
    }
}

static void steps_order_two_threads(void)
{
    check_thread_t other;
    check_start(&other, take_odd_turns, NULL);
    for (int turn = 0; turn < 2 * TURNS; turn += 2) {
        check_await(&turns, turn);
        order[turn] = turn == 0 ? 0 : order[turn - 1] + 1;
        check_reach(&turns, turn + 1);
    }
    check_join(&other);
    for (int turn = 0; turn < 2 * TURNS; turn++) {
        CHECK_EQ(order[turn], turn);
    }
}

static void arrive_again_and_again(void *unused)
{
    (void)unused;
    for (int round = 1; round <= TURNS; round++) {
        __atomic_add_fetch(&arrived, 1, __ATOMIC_RELAXED);
        check_arrive(&barrier, 3);
        CHECK(__atomic_load_n(&arrived, __ATOMIC_RELAXED) >= 3 * round);
    }
}

static void a_barrier_holds_until_all_have_arrived(void)
{
    check_thread_t others[2];
    check_start(&others[0], arrive_again_and_again, NULL);
    check_start(&others[1], arrive_again_and_again, NULL);
    arrive_again_and_again(NULL);
    check_join(&others[0]);
    check_join(&others[1]);
    CHECK_EQ(arrived, 3 * TURNS);
}

static void announce(void *flag)
{
    check_await(&turns, 2 * TURNS);
    __atomic_store_n((int *)flag, 1, __ATOMIC_RELAXED);
}

static void soon_waits_for_the_other_thread(void)
{
    int flag = 0;
    check_thread_t other;
    check_start(&other, announce, &flag);
    check_reach(&turns, 2 * TURNS);
    REQUIRE_SOON(__atomic_load_n(&flag, __ATOMIC_RELAXED) == 1);
    check_join(&other);
}

CHECK_MAIN(CHECK_TEST(failing_checks_fail_and_show_both_sides), CHECK_TEST(a_required_check_ends_the_program),
           CHECK_TEST(a_program_that_ran_no_test_fails), CHECK_TEST(a_test_may_be_left_out),
           CHECK_TEST(steps_order_two_threads), CHECK_TEST(a_barrier_holds_until_all_have_arrived),
           CHECK_TEST(soon_waits_for_the_other_thread))
