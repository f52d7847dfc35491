/* Output has no side effects on the program: no signal, no thread ended, no descriptor kept open, nothing left over. */
#include "capture.h"
#include "own_syscall.h"

#include <signal.h>
#include <sys/socket.h>
#include <termios.h>

/* System calls that are refused from now on, as an older kernel or another user's files would; 0 for none. */
static long refused[2];
static int refused_with[2];

/* How often the list of mappings was opened. */
static int lists_read;

static int stands_in(long number, const long *arguments, long *result)
{
    if (number == SYS_openat && strstr((const char *)arguments[1], "/maps") != NULL) {
        lists_read++;
    }
    for (int at = 0; at < 2; at++) {
        if (refused[at] != 0 && number == refused[at]) {
            errno = refused_with[at];
            *result = -1;
            return 1;
        }
    }
    return 0;
}

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

/* Writes until there is no room, and none comes up by itself: a terminal moves what it has. */
static void fill(int descriptor)
{
    char junk[4096];
    memset(junk, 'x', sizeof junk);
    REQUIRE_EQ(fcntl(descriptor, F_SETFL, O_NONBLOCK), 0);
    for (int refusals = 0; refusals < 20; refusals++) {
        while (write(descriptor, junk, sizeof junk) > 0 || write(descriptor, junk, 1) > 0) {
            refusals = 0;
        }
        REQUIRE_EQ(errno, EAGAIN);
        check_pause();
    }
    REQUIRE_EQ(fcntl(descriptor, F_SETFL, 0), 0);
}

/* A pipe in which there is no room. */
static void full_pipe(int ends[2])
{
    REQUIRE_EQ(pipe(ends), 0);
    fill(ends[1]);
}

/* Whether the thread is inside write(2). */
static int is_writing(pid_t thread)
{
    char call[64] = "";
    int file = open(line_of("/proc/self/task/%d/syscall", (int)thread).text, O_RDONLY);
    REQUIRE(file >= 0);
    ssize_t length = read(file, call, sizeof call - 1);
    close(file);
    return length > 0 && atol(call) == SYS_write && call[0] != 'r';
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
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_HTML; format++) {
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

/* ---- a stderr that takes no more ---- */

/* The other end of what the program below has as stderr. */
#define OTHER_END "OTHER_END"

static int dropped_messages(void)
{
    char *report = text_report();
    const char *line = strstr(report, "Messages dropped or cut, as nobody took them: ");
    int count = line == NULL ? 0 : atoi(strchr(line, ':') + 1);
    free(report);
    return count;
}

/* Reads from the other end until what came holds `part`; to be freed. */
static char *read_until(const char *part)
{
    enum { MOST = 1 << 20 };
    int end = (int)check_number_from(OTHER_END, 0);
    char *text = (char *)zeroed(MOST, 1);
    size_t length = 0;
    while (strstr(text, part) == NULL) {
        ssize_t count = read(end, text + length, MOST - 1 - length);
        REQUIRE(count > 0);
        length += (size_t)count;
    }
    return text;
}

/*
 * Runs as a program of its own, with HOSTCRST_STALL and a stderr that is full: three tasks wait, want to say so, and
 * get the section when it is left. When there is room again, it is said how much was dropped.
 */
static void wait_with_a_full_stderr(void)
{
    waiter_t waiters[3];
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < 3; at++) {
        wait_for(&waiters[at], crst, 0);
    }
    REQUIRE_SOON(dropped_messages() >= 3);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    for (int at = 0; at < 3; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), S_OK);
    }
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiters[0], crst, 0);
    char *said = read_until(" has waited ");
    CHECK_CONTAINS(said, "hostcrst: messages dropped or cut before this one: ");
    free(said);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiters[0]), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* On a kernel that knows nothing of pwritev2. */
static void wait_on_an_older_kernel(void)
{
    refused[0] = SYS_pwritev2;
    refused_with[0] = ENOSYS;
    wait_with_a_full_stderr();
}

/* With a pipe of another user's, which cannot be opened once more. */
static void wait_with_a_pipe_of_another_user(void)
{
    refused[1] = SYS_openat;
    refused_with[1] = EACCES;
    refused[0] = SYS_pwritev2;
    refused_with[0] = EOPNOTSUPP;
    wait_with_a_full_stderr();
}

static void pipe_ends(int ends[2])
{
    REQUIRE_EQ(pipe(ends), 0);
}

static void socket_ends(int ends[2])
{
    REQUIRE_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void terminal_ends(int ends[2])
{
    struct termios raw;
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
    REQUIRE(ends[0] >= 0);
    REQUIRE_EQ(grantpt(ends[0]), 0);
    REQUIRE_EQ(unlockpt(ends[0]), 0);
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
    REQUIRE(ends[1] >= 0);
    REQUIRE_EQ(tcgetattr(ends[1], &raw), 0);
    cfmakeraw(&raw);
    REQUIRE_EQ(tcsetattr(ends[1], TCSANOW, &raw), 0);
}

static void run_with_a_full_stderr(const char *test, void (*make_ends)(int ends[2]))
{
    int ends[2];
    int status = 0;
    make_ends(ends);
    fill(ends[1]);
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        REQUIRE_EQ(setenv(OTHER_END, line_of("%d", ends[0]).text, 1), 0);
        REQUIRE_EQ(setenv("HOSTCRST_STALL", "20ms", 1), 0);
        dup2(ends[1], STDERR_FILENO);
        check_execute_test(test);
        _exit(127);
    }
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    close(ends[0]);
    close(ends[1]);
}

static void a_full_pipe_holds_up_nobody(void)
{
    run_with_a_full_stderr("wait_with_a_full_stderr", pipe_ends);
}

static void a_full_pipe_holds_up_nobody_on_an_older_kernel(void)
{
    run_with_a_full_stderr("wait_on_an_older_kernel", pipe_ends);
}

static void a_full_pipe_of_another_user_holds_up_nobody(void)
{
    run_with_a_full_stderr("wait_with_a_pipe_of_another_user", pipe_ends);
}

static void a_full_socket_holds_up_nobody(void)
{
    run_with_a_full_stderr("wait_with_a_full_stderr", socket_ends);
}

static void a_terminal_that_stands_still_holds_up_nobody(void)
{
    run_with_a_full_stderr("wait_with_a_full_stderr", terminal_ends);
}

/* ---- a deadlock that is reported ---- */

typedef struct pair {
    hostcrst_t first;
    hostcrst_t second;
    check_steps_t *both;
    int32_t result;
} pair_t;

static void enter_both(void *argument)
{
    pair_t *self = (pair_t *)argument;
    CHECK_EQ(hostcrst_enter(self->first, 0), S_OK);
    check_arrive(self->both, 2);
    self->result = hostcrst_enter(self->second, WAIT_ALERTABLE);
    CHECK_EQ(hostcrst_leave(self->first), S_OK);
    if (self->result == S_OK) {
        CHECK_EQ(hostcrst_leave(self->second), S_OK);
    }
}

static int told;

static void be_told(const host_deadlock_t *deadlock, void *context)
{
    (void)deadlock;
    (void)context;
    __atomic_add_fetch(&told, 1, __ATOMIC_RELEASE);
}

/* A deadlock that is reported, passed to the callback, and then ended by an alert. */
__attribute__((noinline)) static void stand_in_a_deadlock(void)
{
    check_steps_t both = CHECK_STEPS_INIT;
    check_thread_t threads[2];
    start_runtime();
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_REPORT), S_OK);
    REQUIRE_EQ(host_set_deadlock_callback(be_told, NULL), S_OK);
    told = 0;
    hostcrst_t one = new_section();
    hostcrst_t other = new_section();
    pair_t pairs[2] = {{one, other, &both, 7}, {other, one, &both, 7}};
    for (int at = 0; at < 2; at++) {
        check_start(&threads[at], enter_both, &pairs[at]);
    }
    REQUIRE_SOON(__atomic_load_n(&told, __ATOMIC_ACQUIRE) == 1);
    host_task_t owner = info_of(one).owner;
    CHECK_EQ(host_task_alert(owner), S_OK);
    for (int at = 0; at < 2; at++) {
        check_join(&threads[at]);
    }
    CHECK(pairs[0].result == HOST_E_INTERRUPTED || pairs[1].result == HOST_E_INTERRUPTED);
}

/* The report waits for a moment and is dropped; then the callback is called, and the deadlock can be ended. */
static void stand_with_a_full_stderr(void)
{
    stand_in_a_deadlock();
    CHECK(dropped_messages() >= 1);
}

static void a_deadlock_is_told_of_though_stderr_is_full(void)
{
    run_with_a_full_stderr("stand_with_a_full_stderr", pipe_ends);
    run_with_a_full_stderr("stand_with_a_full_stderr", socket_ends);
}

/* ---- reports that get stuck ---- */

enum { STUCK = 3 };

static writer_t stuck_writers[STUCK];

/* Reports on request may use up their memory; a message has its own. */
static void report_while_others_are_stuck(void)
{
    int file = nameless_file();
    CHECK_EQ(KEEPING_ERRNO(host_report(file, HOST_REPORT_TEXT)), E_OUTOFMEMORY);
    close(file);
    size_t count = 77;
    CHECK_EQ(KEEPING_ERRNO(host_wait_chain(this_task(), NULL, 0, &count)), E_OUTOFMEMORY);
    CHECK_EQ(count, 0);
    stand_in_a_deadlock();
}

/* A child has none of the threads that are stuck. */
static void report_in_a_child_of_stuck_ones(void)
{
    char *report = text_report();
    CHECK_CONTAINS(report, line_of(" pid %d ", (int)getpid()).text);
    free(report);
}

static void reports_to_a_pipe_that_nobody_reads(void)
{
    int ends[2];
    pthread_t reader;
    start_runtime();
    full_pipe(ends);
    for (int at = 0; at < STUCK; at++) {
        static const check_steps_t steps = CHECK_STEPS_INIT;
        stuck_writers[at].steps = steps;
        stuck_writers[at].descriptor = ends[1];
        check_start(&stuck_writers[at].thread, write_a_report, &stuck_writers[at]);
        check_await(&stuck_writers[at].steps, 1);
        REQUIRE_SOON(is_writing(stuck_writers[at].id));
    }
    own_stderr_empty();
    report_while_others_are_stuck();
    char *said = content_of(STDERR_FILENO);
    CHECK_CONTAINS(said, "Found a deadlock:\n");
    free(said);
    in_child(report_in_a_child_of_stuck_ones);
    REQUIRE_EQ(pthread_create(&reader, NULL, read_to_the_end, &ends[0]), 0);
    for (int at = 0; at < STUCK; at++) {
        check_join(&stuck_writers[at].thread);
        CHECK_EQ(stuck_writers[at].result, S_OK);
    }
    close(ends[1]);
    REQUIRE_EQ(pthread_join(reader, NULL), 0);
    close(ends[0]);
}

static void reports_that_are_stuck_silence_nobody(void)
{
    in_child(reports_to_a_pipe_that_nobody_reads);
}

/* However many addresses there are, in whatever order. */
static void a_report_reads_the_list_of_mappings_once(void)
{
    start_runtime();
    for (int depth = 0; depth < 32; depth++) {
        size_t target = depth % 2 == 0 ? (size_t)&qsort : (size_t)&stand_in_a_deadlock + (size_t)depth;
        CHECK_EQ(host_leave_runtime(target), S_OK);
        CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    }
    lists_read = 0;
    char *report = text_report();
    CHECK_EQ(times_in(report, "!qsort+0x0 "), 16);
    CHECK_EQ(times_in(report, "!stand_in_a_deadlock+0x"), 16);
    CHECK_EQ(lists_read, 1);
    free(report);
    for (int depth = 0; depth < 32; depth++) {
        CHECK_EQ(host_reverse_leave_runtime(), S_OK);
        CHECK_EQ(host_enter_runtime(), S_OK);
    }
}

/* ---- stderr is what it was ---- */

static void a_file_that_gets_number_2_later_is_left_alone(void)
{
    own_stderr_empty();
    in_child(stand_in_a_deadlock);
    char *said = content_of(STDERR_FILENO);
    CHECK_CONTAINS(said, "Found a deadlock:\n");
    free(said);
    char path[] = "/tmp/hostcrst-XXXXXX";
    int keep = mkstemp(path);
    int true_stderr = dup(STDERR_FILENO);
    REQUIRE(keep >= 0 && true_stderr >= 0);
    close(STDERR_FILENO);
    int data = open(path, O_RDWR);
    CHECK_EQ(data, STDERR_FILENO);
    CHECK_EQ(write(data, "DATA", 4), 4);
    int before = dropped_messages();
    stand_in_a_deadlock();
    REQUIRE_SOON(dropped_messages() == before + 1);
    CHECK_EQ(dup2(true_stderr, STDERR_FILENO), STDERR_FILENO);
    struct stat status;
    REQUIRE_EQ(fstat(keep, &status), 0);
    CHECK_EQ(status.st_size, 4);
    close(keep);
    close(true_stderr);
    CHECK_EQ(unlink(path), 0);
}

/* ---- other places ---- */

/* What a file has; to be freed. */
static char *content_at(const char *path)
{
    int file = open(path, O_RDONLY);
    REQUIRE(file >= 0);
    char *text = content_of(file);
    close(file);
    return text;
}

static void wait_and_stand(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, 0);
    REQUIRE_SOON(task_info_of(waiter.task).waiting_for == crst && access(getenv("AWAITED"), F_OK) == 0);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    stand_in_a_deadlock();
    stand_in_a_deadlock();
}

/* Each kind of message has a file of its own, in which `%d` is the process and `%s` the kind. */
static void check_files(const char *place, const char *files)
{
    char path[256];
    pid_t process = fork();
    REQUIRE(process >= 0);
    if (process == 0) {
        snprintf(path, sizeof path, files, (int)getpid(), "stall");
        REQUIRE_EQ(setenv("AWAITED", path, 1), 0);
        REQUIRE_EQ(setenv("HOSTCRST_STALL", "20ms", 1), 0);
        REQUIRE_EQ(setenv("HOSTCRST_REPORT", place, 1), 0);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        check_execute_test("wait_and_stand");
        _exit(127);
    }
    int status = -1;
    own_stderr_empty();
    REQUIRE_EQ(waitpid(process, &status, 0), process);
    CHECK_EQ(status, 0);
    char *said = content_of(STDERR_FILENO);
    CHECK_STR_EQ(said, "");
    free(said);
    const char *const kinds[] = {"stall", "deadlock", "exit"};
    const char *const parts[] = {" has waited ", "Found a deadlock:\n", "report  pid "};
    for (int at = 0; at < 3; at++) {
        snprintf(path, sizeof path, files, (int)process, kinds[at]);
        said = content_at(path);
        CHECK_CONTAINS(said, parts[at]);
        /* What comes later stands behind what was there. */
        CHECK(at != 1 || times_in(said, parts[at]) == 2);
        free(said);
        CHECK_EQ(unlink(path), 0);
    }
}

static void each_kind_of_message_may_have_its_file(void)
{
    char folder[] = "/tmp/hostcrst-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL);
    check_files(folder, line_of("%s/hostcrst.%%d.%%s", folder).text);
    check_files(line_of("%s/", folder).text, line_of("%s/hostcrst.%%d.%%s", folder).text);
    check_files(line_of("%s/%%p-%%k.txt", folder).text, line_of("%s/%%d-%%s.txt", folder).text);
    CHECK_EQ(rmdir(folder), 0);
}

/* As on a disk that is full. */
static void what_a_file_refuses_goes_to_stderr(void)
{
    char folder[] = "/tmp/hostcrst-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL);
    const char *const kinds[] = {"deadlock", "exit"};
    for (int at = 0; at < 2; at++) {
        REQUIRE_EQ(symlink("/dev/full", line_of("%s/%s", folder, kinds[at]).text), 0);
    }
    own_stderr_empty();
    pid_t process = fork();
    REQUIRE(process >= 0);
    if (process == 0) {
        REQUIRE_EQ(setenv("AWAITED", "/dev/full", 1), 0);
        REQUIRE_EQ(setenv("HOSTCRST_REPORT", line_of("%s/%%k", folder).text, 1), 0);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        check_execute_test("wait_and_stand");
        _exit(127);
    }
    int status = -1;
    REQUIRE_EQ(waitpid(process, &status, 0), process);
    CHECK_EQ(status, 0);
    char *said = content_of(STDERR_FILENO);
    CHECK_EQ(times_in(said, "hostcrst: HOSTCRST_REPORT: cannot write all of a message to its file\n"), 1);
    CHECK_EQ(times_in(said, "Found a deadlock:\n"), 2);
    /* The one at exit is not among them. */
    CHECK_EQ(times_in(said, "report  pid "), 2);
    free(said);
    for (int at = 0; at < 2; at++) {
        CHECK_EQ(unlink(line_of("%s/%s", folder, kinds[at]).text), 0);
    }
    CHECK_EQ(rmdir(folder), 0);
}

static void a_fifo_that_nobody_reads_does_not_hang_the_exit(void)
{
    char folder[] = "/tmp/hostcrst-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL);
    line_t fifo = line_of("%s/fifo", folder);
    REQUIRE_EQ(mkfifo(fifo.text, 0600), 0);
    run_t run = run_again("use_the_library", line_of("HOSTCRST_REPORT=%s", fifo.text).text, NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_CONTAINS(run.said, line_of("hostcrst: HOSTCRST_REPORT: cannot write %s\n", fifo.text).text);
    free(run.said);
    /* Nor does one whose reader does not read. */
    int reader = open(fifo.text, O_RDONLY | O_NONBLOCK);
    int writer = open(fifo.text, O_WRONLY);
    REQUIRE(reader >= 0 && writer >= 0);
    fill(writer);
    run = run_again("use_the_library", line_of("HOSTCRST_REPORT=%s", fifo.text).text, NULL, NULL);
    CHECK_EQ(run.status, 0);
    free(run.said);
    close(reader);
    close(writer);
    CHECK_EQ(unlink(fifo.text), 0);
    CHECK_EQ(rmdir(folder), 0);
}

int main(int argument_count, char **arguments)
{
    /* What tests run as programs of their own. */
    static const check_test_t programs[] = {
        CHECK_TEST(use_the_library), CHECK_TEST(wait_with_a_full_stderr), CHECK_TEST(wait_on_an_older_kernel),
        CHECK_TEST(wait_with_a_pipe_of_another_user), CHECK_TEST(wait_and_stand),
        CHECK_TEST(stand_with_a_full_stderr)};
    static const check_test_t tests[] = {
        CHECK_TEST(no_signal_of_the_librarys_ends_the_process),
        CHECK_TEST(a_signal_that_the_program_has_pending_stays),
        CHECK_TEST(a_signal_handler_does_not_cut_a_report),
        CHECK_TEST(a_cancelled_thread_does_not_end_in_a_report),
        CHECK_TEST(no_descriptor_stays_open),
        CHECK_TEST(an_older_file_is_replaced),
        CHECK_TEST(a_full_pipe_holds_up_nobody),
        CHECK_TEST(a_full_pipe_holds_up_nobody_on_an_older_kernel),
        CHECK_TEST(a_full_pipe_of_another_user_holds_up_nobody),
        CHECK_TEST(a_full_socket_holds_up_nobody),
        CHECK_TEST(a_terminal_that_stands_still_holds_up_nobody),
        CHECK_TEST(a_deadlock_is_told_of_though_stderr_is_full),
        CHECK_TEST(reports_that_are_stuck_silence_nobody),
        CHECK_TEST(a_report_reads_the_list_of_mappings_once),
        CHECK_TEST(a_file_that_gets_number_2_later_is_left_alone),
        CHECK_TEST(each_kind_of_message_may_have_its_file),
        CHECK_TEST(what_a_file_refuses_goes_to_stderr),
        CHECK_TEST(a_fifo_that_nobody_reads_does_not_hang_the_exit)};
    if (strcmp(arguments[0], "again") == 0) {
        return check_run(programs, sizeof programs / sizeof programs[0], argument_count, arguments);
    }
    return check_run(tests, sizeof tests / sizeof tests[0], argument_count, arguments);
}
