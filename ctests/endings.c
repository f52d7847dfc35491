/* Reports when a process ends by a signal, or is asked for one: beside the program's own handlers, and ends as before. */
#include "capture.h"

#include <signal.h>

/* What other tests run as a program of its own, up to the point where it ends: it owns a section named "held". */
static void begin(void)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(2 * CHECK_PATIENCE_SECONDS);
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_set_name(crst, "held"), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
}

static uintptr_t handler_of(int signal)
{
    struct sigaction action;
    REQUIRE_EQ(sigaction(signal, NULL, &action), 0);
    return (uintptr_t)action.sa_handler;
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    REQUIRE_EQ(sigaction(signal, &action, NULL), 0);
}

static void check_report(run_t run, const char *heading)
{
    CHECK_EQ(times_in(run.said, heading), 1);
    CHECK_EQ(times_in(run.said, "hostcrst 0."), 1);
    CHECK_CONTAINS(run.said, "\"held\" recursion=1\n");
    free(run.said);
}

/* ---- endings ---- */

static void end_by_sigterm(void)
{
    begin();
    kill(getpid(), SIGTERM);
    pause();
}

static void end_by_sigabrt(void)
{
    begin();
    abort();
}

static void a_process_that_is_terminated_leaves_a_report(void)
{
    run_t run = run_again("end_by_sigterm", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGTERM);
    check_report(run, "hostcrst: report at SIGTERM\n");
}

static void a_process_that_aborts_leaves_a_report(void)
{
    run_t run = run_again("end_by_sigabrt", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT);
    check_report(run, "hostcrst: report at SIGABRT\n");
}

static void it_stands_where_a_report_at_exit_would(void)
{
    char folder[] = "/tmp/hostcrst-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL);
    run_t run = run_again("end_by_sigterm", line_of("HOSTCRST_REPORT=%s", folder).text, NULL, NULL);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
    line_t path = line_of("%s/hostcrst.%d.exit", folder, (int)run.process);
    int file = open(path.text, O_RDONLY);
    REQUIRE(file >= 0);
    run.said = content_of(file);
    check_report(run, "hostcrst: report at SIGTERM\n");
    close(file);
    CHECK_EQ(unlink(path.text), 0);
    CHECK_EQ(rmdir(folder), 0);
}

static void unasked_a_process_ends_in_silence(void)
{
    run_t run = run_again("end_by_sigterm", NULL, NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGTERM);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
    run = run_again("end_by_sigabrt", "HOSTCRST_REPORT_SIGNAL=USR2", NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
}

static void end_before_the_runtime_starts(void)
{
    alarm(CHECK_PATIENCE_SECONDS);
    kill(getpid(), SIGTERM);
    pause();
}

static void before_the_runtime_starts_there_is_nothing_to_report(void)
{
    run_t run = run_again("end_before_the_runtime_starts", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGTERM);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
}

static void no_handler_is_put_in_force_unasked(void)
{
    CHECK_EQ(getenv("HOSTCRST_REPORT") == NULL, 1);
    start_runtime();
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        if (signal < 32 || signal >= SIGRTMIN) {
            CHECK(handler_of(signal) == (uintptr_t)SIG_DFL);
        }
    }
}

static void use_signals_that_are_ignored(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    begin();
    CHECK(handler_of(SIGTERM) == (uintptr_t)SIG_IGN);
    CHECK(handler_of(SIGUSR2) == (uintptr_t)SIG_IGN);
}

/* At the load the library is first: here the handlers of the load are taken away again. */
static void a_signal_that_the_program_ignores_stays_ignored(void)
{
    run_t run = run_again("use_signals_that_are_ignored", "HOSTCRST_REPORT=/dev/null", "HOSTCRST_REPORT_SIGNAL=USR2", NULL);
    CHECK_EQ(run.status, 0);
    free(run.said);
}

/* ---- the program's handlers ---- */

static int seen;
static pid_t sender;

static void see(int signal, siginfo_t *info, void *context)
{
    seen += signal;
    sender = info->si_pid;
    CHECK(context != NULL);
}

static void see_simply(int signal)
{
    seen += signal;
}

static void handle_before_the_start(void)
{
    handle(SIGTERM, see, 0);
    signal(SIGABRT, see_simply);
    begin();
    errno = EXDEV;
    kill(getpid(), SIGTERM);
    CHECK_EQ(errno, EXDEV);
    CHECK_EQ(seen, SIGTERM);
    CHECK_EQ(sender, getpid());
    raise(SIGABRT);
    CHECK_EQ(seen, SIGTERM + SIGABRT);
    exit(check_failed_so_far() != 0 ? 1 : 7);
}

static void a_handler_from_before_the_start_follows_and_decides(void)
{
    run_t run = run_again("handle_before_the_start", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 7);
    CHECK_EQ(times_in(run.said, "hostcrst: report at SIGTERM\n"), 1);
    CHECK_EQ(times_in(run.said, "hostcrst: report at SIGABRT\n"), 1);
    CHECK_EQ(times_in(run.said, "hostcrst 0."), 3);
    free(run.said);
}

static void handle_after_the_start(void)
{
    begin();
    handle(SIGTERM, see, 0);
    kill(getpid(), SIGTERM);
    CHECK_EQ(seen, SIGTERM);
    _exit(check_failed_so_far() != 0 ? 1 : 7);
}

static void a_handler_from_after_the_start_is_alone_in_force(void)
{
    run_t run = run_again("handle_after_the_start", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 7);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
}

/* What was in force before the program's handler: that of the library's load. */
static struct sigaction of_the_load;

static void hand_on_to_the_load(int signal, siginfo_t *info, void *context)
{
    seen += signal;
    of_the_load.sa_sigaction(signal, info, context);
}

static void handle_between(void)
{
    REQUIRE_EQ(sigaction(SIGTERM, NULL, &of_the_load), 0);
    REQUIRE(of_the_load.sa_handler != SIG_DFL);
    handle(SIGTERM, hand_on_to_the_load, 0);
    begin();
    kill(getpid(), SIGTERM);
    pause();
}

static void a_handler_between_that_hands_on_gets_one_report(void)
{
    run_t run = run_again("handle_between", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGTERM);
    check_report(run, "hostcrst: report at SIGTERM\n");
}

/* As the CLR does: its own handler first, and what was before it in force again at the end. */
static void give_back_and_abort(void)
{
    struct sigaction before;
    REQUIRE_EQ(sigaction(SIGABRT, NULL, &before), 0);
    handle(SIGABRT, see, 0);
    begin();
    REQUIRE_EQ(sigaction(SIGABRT, &before, NULL), 0);
    abort();
}

static void a_runtime_that_gives_its_signals_back_at_the_end_leaves_a_report(void)
{
    run_t run = run_again("give_back_and_abort", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT);
    check_report(run, "hostcrst: report at SIGABRT\n");
}

/* ---- where it could hang ---- */

/* A stack of what used to be the usual size. */
static void handle_on_a_small_stack(void)
{
    stack_t stack;
    memset(&stack, 0, sizeof stack);
    stack.ss_size = 8192;
    stack.ss_sp = zeroed(stack.ss_size, 1);
    REQUIRE_EQ(sigaltstack(&stack, NULL), 0);
    handle(SIGTERM, see, SA_ONSTACK);
    begin();
    kill(getpid(), SIGTERM);
    CHECK_EQ(seen, SIGTERM);
    _exit(check_failed_so_far() != 0 ? 1 : 7);
}

static void on_too_small_a_stack_a_report_is_left_out(void)
{
    run_t run = run_again("handle_on_a_small_stack", "HOSTCRST_REPORT=stderr", NULL, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 7);
    CHECK_STR_EQ(run.said, "hostcrst: no report, as the stack of signal handlers is too small for it\n");
    free(run.said);
}

/* A pipe of which nobody reads any more, under a number that the program run again knows. */
static void a_reader_that_does_not_read_does_not_hold_up_the_ending(void)
{
    int ends[2];
    REQUIRE_EQ(pipe(ends), 0);
    REQUIRE_EQ(dup2(ends[1], 77), 77);
    REQUIRE_EQ(fcntl(77, F_SETFL, O_NONBLOCK), 0);
    while (write(77, "x", 1) > 0) {
    }
    REQUIRE_EQ(fcntl(77, F_SETFL, 0), 0);
    run_t run = run_again("end_by_sigterm", "HOSTCRST_REPORT=/proc/self/fd/77", NULL, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGTERM);
    free(run.said);
    close(77);
    close(ends[0]);
    close(ends[1]);
}

/* ---- on request ---- */

static void ask_twice(void)
{
    begin();
    raise(SIGUSR2);
    raise(SIGUSR2);
    CHECK(handler_of(SIGTERM) == (uintptr_t)SIG_DFL);
    CHECK(handler_of(SIGABRT) == (uintptr_t)SIG_DFL);
}

static void a_signal_asks_for_a_report(void)
{
    run_t run = run_again("ask_twice", "HOSTCRST_REPORT_SIGNAL=USR2", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "hostcrst: report at SIGUSR2\n"), 2);
    CHECK_EQ(times_in(run.said, "\"held\" recursion=1\n"), 2);
    CHECK_EQ(times_in(run.said, "hostcrst 0."), 2);
    free(run.said);
}

static void ask_by_a_realtime_signal(void)
{
    handle(SIGRTMIN + 3, see, 0);
    begin();
    raise(SIGRTMIN + 3);
    CHECK_EQ(seen, SIGRTMIN + 3);
}

static void any_harmless_signal_can_be_chosen_and_the_programs_handler_follows(void)
{
    run_t run = run_again("ask_by_a_realtime_signal", "HOSTCRST_REPORT_SIGNAL=SIGRTMIN+3", NULL, NULL);
    CHECK_EQ(run.status, 0);
    check_report(run, line_of("hostcrst: report at signal %d\n", SIGRTMIN + 3).text);
}

static void ask_by_winch(void)
{
    begin();
    raise(SIGWINCH);
    raise(SIGWINCH);
}

static void a_file_of_its_own_gets_all_requests(void)
{
    char folder[] = "/tmp/hostcrst-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL);
    line_t place = line_of("HOSTCRST_REPORT=%s/%%k", folder);
    run_t run = run_again("ask_by_winch", place.text, "HOSTCRST_REPORT_SIGNAL=WINCH", NULL);
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
    int file = open(line_of("%s/request", folder).text, O_RDONLY);
    REQUIRE(file >= 0);
    run.said = content_of(file);
    CHECK_EQ(times_in(run.said, "hostcrst: report at SIGWINCH\n"), 2);
    free(run.said);
    close(file);
    CHECK_EQ(unlink(line_of("%s/request", folder).text), 0);
    CHECK_EQ(unlink(line_of("%s/exit", folder).text), 0);
    CHECK_EQ(rmdir(folder), 0);
}

static void a_signal_that_cannot_be_chosen_is_said_once(void)
{
    run_t run = run_again("ask_by_winch", "HOSTCRST_REPORT_SIGNAL=SEGV", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "hostcrst: HOSTCRST_REPORT_SIGNAL: unknown value 'SEGV' ignored; "
                           "known: HUP, QUIT, USR1, USR2, URG, WINCH, IO, PWR, or RTMIN+n\n");
    free(run.said);
}

/* Threads that are asked in the middle of whatever the library does. */
enum { ASKED = 300 };
static hostcrst_t contended;
static int ends_now;

static void *enter_and_leave(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&ends_now, __ATOMIC_ACQUIRE)) {
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_enter(contended, 0), S_OK);
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        CHECK_EQ(hostcrst_leave(crst), S_OK);
        CHECK_EQ(hostcrst_leave(contended), S_OK);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
    return NULL;
}

static void ask_busy_threads(void)
{
    pthread_t threads[3];
    begin();
    contended = new_section();
    for (int at = 0; at < 3; at++) {
        REQUIRE_EQ(pthread_create(&threads[at], NULL, enter_and_leave, NULL), 0);
    }
    for (int time = 0; time < ASKED; time++) {
        REQUIRE_EQ(pthread_kill(threads[time % 3], SIGUSR1), 0);
        sched_yield();
    }
    __atomic_store_n(&ends_now, 1, __ATOMIC_RELEASE);
    for (int at = 0; at < 3; at++) {
        REQUIRE_EQ(pthread_join(threads[at], NULL), 0);
    }
}

static void it_may_interrupt_the_library_anywhere(void)
{
    run_t run = run_again("ask_busy_threads", "HOSTCRST_REPORT_SIGNAL=USR1", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK(times_in(run.said, "hostcrst: report at SIGUSR1\n") > 0);
    free(run.said);
}

/* ---- a deadlock that ends the process ---- */

static hostcrst_t first, second;
static pthread_barrier_t both_own;

static void *enter_second_then_first(void *unused)
{
    CHECK_EQ(hostcrst_enter(second, 0), S_OK);
    pthread_barrier_wait(&both_own);
    CHECK_NE(hostcrst_enter(first, 0), S_OK);
    return unused;
}

static void abort_in_a_deadlock(void)
{
    pthread_t thread;
    begin();
    first = new_section();
    second = new_section();
    REQUIRE_EQ(pthread_barrier_init(&both_own, NULL, 2), 0);
    CHECK_EQ(hostcrst_enter(first, 0), S_OK);
    REQUIRE_EQ(pthread_create(&thread, NULL, enter_second_then_first, NULL), 0);
    pthread_barrier_wait(&both_own);
    CHECK_NE(hostcrst_enter(second, 0), S_OK);
}

static void a_deadlock_that_ends_the_process_is_reported_once_on_stderr(void)
{
    run_t run = run_again("abort_in_a_deadlock", "HOSTCRST_REPORT=stderr", "HOSTCRST_ON_DEADLOCK=abort", NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT);
    CHECK_EQ(times_in(run.said, "hostcrst 0."), 1);
    CHECK_CONTAINS(run.said, "*** DEADLOCK");
    free(run.said);
}

static const check_test_t tests[] = {
    CHECK_TEST(a_process_that_is_terminated_leaves_a_report),
    CHECK_TEST(a_process_that_aborts_leaves_a_report),
    CHECK_TEST(it_stands_where_a_report_at_exit_would),
    CHECK_TEST(unasked_a_process_ends_in_silence),
    CHECK_TEST(before_the_runtime_starts_there_is_nothing_to_report),
    CHECK_TEST(no_handler_is_put_in_force_unasked),
    CHECK_TEST(a_signal_that_the_program_ignores_stays_ignored),
    CHECK_TEST(a_handler_from_before_the_start_follows_and_decides),
    CHECK_TEST(a_handler_from_after_the_start_is_alone_in_force),
    CHECK_TEST(a_handler_between_that_hands_on_gets_one_report),
    CHECK_TEST(a_runtime_that_gives_its_signals_back_at_the_end_leaves_a_report),
    CHECK_TEST(on_too_small_a_stack_a_report_is_left_out),
    CHECK_TEST(a_reader_that_does_not_read_does_not_hold_up_the_ending),
    CHECK_TEST(a_signal_asks_for_a_report),
    CHECK_TEST(any_harmless_signal_can_be_chosen_and_the_programs_handler_follows),
    CHECK_TEST(a_file_of_its_own_gets_all_requests),
    CHECK_TEST(a_signal_that_cannot_be_chosen_is_said_once),
    CHECK_TEST(it_may_interrupt_the_library_anywhere),
    CHECK_TEST(a_deadlock_that_ends_the_process_is_reported_once_on_stderr),
};

/* What the tests run as programs of their own, most of which do not return. */
static const check_test_t programs[] = {
    CHECK_TEST(end_by_sigterm),
    CHECK_TEST(end_by_sigabrt),
    CHECK_TEST(end_before_the_runtime_starts),
    CHECK_TEST(use_signals_that_are_ignored),
    CHECK_TEST(handle_before_the_start),
    CHECK_TEST(handle_after_the_start),
    CHECK_TEST(handle_between),
    CHECK_TEST(give_back_and_abort),
    CHECK_TEST(handle_on_a_small_stack),
    CHECK_TEST(ask_twice),
    CHECK_TEST(ask_by_a_realtime_signal),
    CHECK_TEST(ask_by_winch),
    CHECK_TEST(ask_busy_threads),
    CHECK_TEST(abort_in_a_deadlock),
};

int main(int argument_count, char **arguments)
{
    for (size_t at = 0; argument_count > 1 && at < sizeof programs / sizeof programs[0]; at++) {
        if (strcmp(arguments[1], programs[at].name) == 0) {
            return check_run(&programs[at], 1, argument_count, arguments);
        }
    }
    return check_run(tests, sizeof tests / sizeof tests[0], argument_count, arguments);
}
