/* What writing does to the program: no signal, no thread ended in the middle, no descriptor kept, nothing left over. */
#include "capture.h"

#include <signal.h>

/* ---- signals of the library's making ---- */

/* A pipe that nobody can read from any more. */
static int pipe_without_a_reader(void)
{
    int ends[2];
    REQUIRE_EQ(pipe(ends), 0);
    close(ends[0]);
    return ends[1];
}

static int is_pending(int signal)
{
    sigset_t pending;
    REQUIRE_EQ(sigpending(&pending), 0);
    return sigismember(&pending, signal);
}

static void neither_sigpipe_nor_sigxfsz_is_left_behind(void)
{
    int unread = pipe_without_a_reader();
    int file = nameless_file();
    struct rlimit small = {10, RLIM_INFINITY};
    struct rlimit before;
    start_runtime();
    CHECK_EQ(KEEPING_ERRNO(host_report(unread, HOST_REPORT_TEXT)), E_INVALIDARG);
    CHECK_EQ(is_pending(SIGPIPE), 0);

    REQUIRE_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    REQUIRE_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    int32_t result = KEEPING_ERRNO(host_report(file, HOST_REPORT_TEXT));
    REQUIRE_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK_EQ(result, E_INVALIDARG);
    CHECK_EQ(is_pending(SIGXFSZ), 0);
    struct stat status;
    REQUIRE_EQ(fstat(file, &status), 0);
    CHECK_EQ(status.st_size, 10);
    close(file);
    close(unread);
}

/* In a child: what the library does wrong here ends the process. */
static void no_signal_of_the_librarys_ends_the_process(void)
{
    in_child(neither_sigpipe_nor_sigxfsz_is_left_behind);
}

static int handled;

static void count_signal(int signal)
{
    (void)signal;
    handled++;
}

static void handle(int signal)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    REQUIRE_EQ(sigaction(signal, &action, NULL), 0);
}

/* A program that has such a signal pending gets it, once it lets it in, and none other than that. */
static void keep_the_programs_own_signals(void)
{
    const int signals[] = {SIGPIPE, SIGXFSZ};
    int unread = pipe_without_a_reader();
    sigset_t own;
    start_runtime();
    sigemptyset(&own);
    for (int at = 0; at < 2; at++) {
        handle(signals[at]);
        sigaddset(&own, signals[at]);
    }
    REQUIRE_EQ(pthread_sigmask(SIG_BLOCK, &own, NULL), 0);
    for (int at = 0; at < 2; at++) {
        REQUIRE_EQ(pthread_kill(pthread_self(), signals[at]), 0);
    }
    handled = 0;
    CHECK_EQ(host_report(unread, HOST_REPORT_TEXT), E_INVALIDARG);
    CHECK_EQ(is_pending(SIGPIPE), 1);
    CHECK_EQ(is_pending(SIGXFSZ), 1);
    CHECK_EQ(handled, 0);
    REQUIRE_EQ(pthread_sigmask(SIG_UNBLOCK, &own, NULL), 0);
    CHECK_EQ(handled, 2);
    /* And the mask is the program's again: a signal that comes now is handled at once. */
    CHECK_EQ(host_report(unread, HOST_REPORT_TEXT), E_INVALIDARG);
    CHECK_EQ(handled, 2);
    raise(SIGPIPE);
    CHECK_EQ(handled, 3);
    close(unread);
}

static void a_signal_that_the_program_has_pending_stays(void)
{
    in_child(keep_the_programs_own_signals);
}

/* ---- interrupted, cancelled ---- */

typedef struct writer {
    check_thread_t thread;
    check_steps_t steps;
    int descriptor;
    pid_t id;
    int32_t result;
    int ended_there;
} writer_t;

static void write_a_report(void *argument)
{
    writer_t *self = (writer_t *)argument;
    self->id = gettid();
    check_reach(&self->steps, 1);
    self->result = host_report(self->descriptor, HOST_REPORT_TEXT);
}

/* A pipe in which there is no room. */
static void full_pipe(int ends[2])
{
    static const char junk[4096];
    REQUIRE_EQ(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], junk, sizeof junk) > 0) {
    }
    REQUIRE_EQ(errno, EAGAIN);
    REQUIRE_EQ(fcntl(ends[1], F_SETFL, 0), 0);
}

/* All that is in a pipe, until its writers have closed it. */
static void *read_to_the_end(void *descriptor)
{
    char piece[4096];
    ssize_t count = 0;
    int end = *(int *)descriptor;
    REQUIRE_EQ(fcntl(end, F_SETFL, 0), 0);
    do {
        count = read(end, piece, sizeof piece);
    } while (count > 0);
    return NULL;
}

static void a_signal_handler_does_not_cut_a_report(void)
{
    int ends[2];
    pthread_t reader;
    writer_t writer = {{0, NULL, NULL}, CHECK_STEPS_INIT, 0, 0, 0, 0};
    start_runtime();
    handle(SIGUSR1);
    handled = 0;
    full_pipe(ends);
    writer.descriptor = ends[1];
    check_start(&writer.thread, write_a_report, &writer);
    check_await(&writer.steps, 1);
    REQUIRE_SOON(check_thread_state(getpid(), writer.id) == 'S');
    for (int time = 1; time <= 5; time++) {
        REQUIRE_EQ(pthread_kill(writer.thread.id, SIGUSR1), 0);
        REQUIRE_SOON(__atomic_load_n(&handled, __ATOMIC_RELAXED) == time);
        REQUIRE_SOON(check_thread_state(getpid(), writer.id) == 'S');
    }
    REQUIRE_EQ(pthread_create(&reader, NULL, read_to_the_end, &ends[0]), 0);
    check_join(&writer.thread);
    CHECK_EQ(writer.result, S_OK);
    close(ends[1]);
    REQUIRE_EQ(pthread_join(reader, NULL), 0);
    close(ends[0]);
}

static void write_when_cancelled(void *argument)
{
    writer_t *self = (writer_t *)argument;
    REQUIRE_EQ(pthread_cancel(pthread_self()), 0);
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_DOT; format++) {
        CHECK_EQ(host_report(self->descriptor, format), S_OK);
    }
    self->ended_there = 1;
    pthread_testcancel();
    self->ended_there = 2;
}

static void a_cancelled_thread_does_not_end_in_a_report(void)
{
    writer_t writer = {{0, NULL, NULL}, CHECK_STEPS_INIT, 0, 0, 0, 0};
    start_runtime();
    writer.descriptor = nameless_file();
    check_start(&writer.thread, write_when_cancelled, &writer);
    check_join(&writer.thread);
    CHECK_EQ(writer.ended_there, 1);
    close(writer.descriptor);
}

/* ---- descriptors and files ---- */

static int lowest_free_descriptor(void)
{
    int descriptor = open("/dev/null", O_RDONLY);
    REQUIRE(descriptor >= 0);
    close(descriptor);
    return descriptor;
}

static int open_descriptors(void)
{
    int count = 0;
    for (int descriptor = 0; descriptor < 256; descriptor++) {
        count += fcntl(descriptor, F_GETFD) >= 0;
    }
    return count;
}

static void no_descriptor_stays_open(void)
{
    start_runtime();
    CHECK_EQ(host_leave_runtime((size_t)&qsort), S_OK);
    int before = open_descriptors();
    int lowest = lowest_free_descriptor();
    for (uint32_t time = 0; time < 30; time++) {
        free(report_in(time % 3));
    }
    CHECK_EQ(open_descriptors(), before);
    CHECK_EQ(lowest_free_descriptor(), lowest);
    CHECK_EQ(host_enter_runtime(), S_OK);
}

static void use_the_library(void)
{
    start_runtime();
}

/* A path without %p names the file of an earlier run, which may have been longer. */
static void an_older_file_is_replaced(void)
{
    enum { LONG = 100000 };
    char path[] = "/tmp/hostcrst-XXXXXX";
    char *old = (char *)zeroed(LONG, 1);
    int file = mkstemp(path);
    REQUIRE(file >= 0);
    memset(old, 'x', LONG);
    REQUIRE_EQ(write(file, old, LONG), LONG);
    run_t run = run_again("use_the_library", line_of("HOSTCRST_REPORT=%s", path).text, NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "");
    char *report = content_of(file);
    CHECK_CONTAINS(report, line_of("report  pid %d  runtime running\n", (int)run.process).text);
    CHECK_LACKS(report, "xxx");
    free(report);
    free(run.said);
    free(old);
    close(file);
    CHECK_EQ(unlink(path), 0);
}

CHECK_MAIN(CHECK_TEST(no_signal_of_the_librarys_ends_the_process),
           CHECK_TEST(a_signal_that_the_program_has_pending_stays),
           CHECK_TEST(a_signal_handler_does_not_cut_a_report),
           CHECK_TEST(a_cancelled_thread_does_not_end_in_a_report), CHECK_TEST(no_descriptor_stays_open),
           CHECK_TEST(use_the_library), CHECK_TEST(an_older_file_is_replaced))
