/* The environment: read once, when the runtime is first started. */
#include "capture.h"

#include <sys/auxv.h>

/* The answers of libc in a set-user-ID process, once the program pretends to be one. */
static int pretends_to_be_privileged;

char *secure_getenv(const char *name)
{
    return pretends_to_be_privileged ? NULL : getenv(name);
}

extern unsigned long __getauxval(unsigned long type);

unsigned long getauxval(unsigned long type)
{
    return type == AT_SECURE && pretends_to_be_privileged ? 1 : __getauxval(type);
}

/* What the other tests run as a program of its own. */
static void use_the_library(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_set_name(crst, "used"), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(host_runtime_start(), S_OK);
}

static void use_the_library_with_privileges(void)
{
    pretends_to_be_privileged = 1;
    use_the_library();
}

/* The user who starts such a program may have set any variable. */
static void a_set_user_id_process_reads_nothing(void)
{
    run_t run = run_again("use_the_library_with_privileges", "HOSTCRST_REPORT=stderr", "HOSTCRST_NO_SUCH_NAME=1",
                          "HOSTCRST_HOLDS=maybe");
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
}

static void nothing_is_said_unasked(void)
{
    run_t run = run_again("use_the_library", NULL, NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
}

static void a_report_at_exit_goes_to_stderr(void)
{
    run_t run = run_again("use_the_library", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "hostcrst 0."), 1);
    CHECK_CONTAINS(run.said, line_of("report  pid %d  runtime running\n", (int)run.process).text);
    CHECK_CONTAINS(run.said, "\"used\" recursion=1\n");
    free(run.said);
}

static void a_report_at_exit_goes_to_a_file_named_after_the_process(void)
{
    char folder[] = "/tmp/hostcrst-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL);
    line_t variable = line_of("HOSTCRST_REPORT=%s/%%p-%%p.txt", folder);
    for (int time = 0; time < 2; time++) {
        run_t run = run_again("use_the_library", variable.text, NULL, NULL);
        line_t path = line_of("%s/%d-%d.txt", folder, (int)run.process, (int)run.process);
        CHECK_EQ(run.status, 0);
        CHECK_STR_EQ(run.said, "");
        int file = open(path.text, O_RDONLY);
        REQUIRE(file >= 0);
        char *report = content_of(file);
        CHECK_CONTAINS(report, line_of("report  pid %d  runtime running\n", (int)run.process).text);
        CHECK_CONTAINS(report, "\"used\" recursion=1\n");
        free(report);
        close(file);
        CHECK_EQ(unlink(path.text), 0);
        free(run.said);
    }
    CHECK_EQ(rmdir(folder), 0);
}

static void a_path_that_cannot_be_written_is_said_once(void)
{
    run_t run = run_again("use_the_library", "HOSTCRST_REPORT=/nowhere/at/all", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "\n"), 1);
    CHECK_CONTAINS(run.said, "HOSTCRST_REPORT");
    CHECK_CONTAINS(run.said, "/nowhere/at/all");
    free(run.said);
}

static void an_unknown_name_is_said_once(void)
{
    run_t run = run_again("use_the_library", "HOSTCRST_REPROT=stderr", "HOSTCRST=1", "HOSTCRST_=x");
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "\n"), 2);
    CHECK_EQ(times_in(run.said, "HOSTCRST_REPROT ignored\n"), 1);
    CHECK_EQ(times_in(run.said, "HOSTCRST_ ignored\n"), 1);
    free(run.said);
}

static void an_unknown_value_is_said_once(void)
{
    run_t run = run_again("use_the_library", "HOSTCRST_ON_DEADLOCK=panic", "HOSTCRST_HOLDS=maybe",
                          "HOSTCRST_STALL=soon");
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "\n"), 3);
    CHECK_EQ(times_in(run.said, "HOSTCRST_ON_DEADLOCK: unknown value 'panic' ignored; "
                                "known: error, report or abort\n"), 1);
    CHECK_EQ(times_in(run.said, "HOSTCRST_HOLDS: unknown value 'maybe' ignored; known: 0 or 1\n"), 1);
    CHECK_EQ(times_in(run.said, "HOSTCRST_STALL: unknown value 'soon' ignored; "
                                "known: a whole number with s or ms, such as 500ms\n"), 1);
    free(run.said);
}

/* Escape sequences, and what turns the direction of text, in names and values that anybody may have set. */
static void nothing_in_the_environment_reaches_a_terminal_as_it_is(void)
{
    run_t run = run_again("use_the_library", "HOSTCRST_\033[31m\xe2\x80\xae=1", "HOSTCRST_BIAS=\033]0;title\007",
                          "HOSTCRST_HOLDS=\xc2\x9b\xe2\x81\xa6\xff");
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "\n"), 3);
    CHECK_EQ(times_in(run.said, "HOSTCRST_?[31m? ignored\n"), 1);
    CHECK_EQ(times_in(run.said, "HOSTCRST_BIAS: unknown value '?]0;title?' ignored; "
                                "known: earned, off or always\n"), 1);
    CHECK_EQ(times_in(run.said, "HOSTCRST_HOLDS: unknown value '\?\?\?' ignored; known: 0 or 1\n"), 1);
    free(run.said);
}

static void wait_for_a_moment(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, 0);
    /* By then it would have said something. */
    int thread = (int)task_info_of(waiter.task).thread_id;
    for (int time = 0; time < 20; time++) {
        REQUIRE_SOON(check_thread_state(getpid(), thread) == 'S');
        check_pause();
    }
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
}

/* Later than the clock can say. */
static void the_longest_stall_time_is_never(void)
{
    run_t run = run_again("wait_for_a_moment", "HOSTCRST_STALL=18446744073s", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
    run = run_again("wait_for_a_moment", "HOSTCRST_STALL=18446744074s", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "hostcrst: HOSTCRST_STALL: unknown value '18446744074s' ignored; "
                           "known: a whole number with s or ms, such as 500ms\n");
    free(run.said);
}

static void a_stall_time_of_none_is_never(void)
{
    run_t run = run_again("wait_for_a_moment", "HOSTCRST_STALL=0s", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
}

/* A name or value longer than any buffer. */
static void a_very_long_value_is_said_in_one_line(void)
{
    enum { LONG = 20000 };
    char *variable = (char *)zeroed(LONG, 1);
    memset(variable, 'x', LONG - 1);
    memcpy(variable, "HOSTCRST_REPORT=/", 17);
    run_t run = run_again("use_the_library", variable, NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "\n"), 1);
    CHECK_CONTAINS(run.said, "HOSTCRST_REPORT");
    free(run.said);
    free(variable);
}

CHECK_MAIN(CHECK_TEST(use_the_library), CHECK_TEST(use_the_library_with_privileges), CHECK_TEST(wait_for_a_moment),
           CHECK_TEST(the_longest_stall_time_is_never), CHECK_TEST(a_stall_time_of_none_is_never),
           CHECK_TEST(a_set_user_id_process_reads_nothing),
           CHECK_TEST(nothing_in_the_environment_reaches_a_terminal_as_it_is),
           CHECK_TEST(nothing_is_said_unasked),
           CHECK_TEST(a_report_at_exit_goes_to_stderr),
           CHECK_TEST(a_report_at_exit_goes_to_a_file_named_after_the_process),
           CHECK_TEST(a_path_that_cannot_be_written_is_said_once), CHECK_TEST(an_unknown_name_is_said_once),
           CHECK_TEST(an_unknown_value_is_said_once), CHECK_TEST(a_very_long_value_is_said_in_one_line))
