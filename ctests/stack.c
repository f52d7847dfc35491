/*
 * How much of the caller's stack the library needs: 8 KiB at most, for a report as for anything else. Each situation plays
 * in a child, twice. Once the thread that it is about has a stack filled with a pattern, which this process shares: what
 * was used of it is seen when the child has ended, in whatever way. And once it has the smallest stack there is.
 */
#include "deadlock/ring.h"
#include "own_stderr.h"

#include <hostcrst/win32.h>

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { STACK = 256 * 1024, MOST = 8192, PATTERN = 0xA5 };

/* The thread that a situation is about; shared with the child. */
typedef struct subject {
    void (*body)(void *argument);
    void *argument;
    unsigned char *here;
    unsigned char *stack;
    int is_small;
} subject_t;

static void *subject_main(void *argument)
{
    subject_t *self = (subject_t *)argument;
    self->here = (unsigned char *)__builtin_frame_address(0);
    if (!self->is_small) {
        /* What pthread_create has used below this frame, too. */
        for (unsigned char *at = self->stack; at < self->here - 512; at++) {
            *(volatile unsigned char *)at = PATTERN;
        }
    }
    self->body(self->argument);
    return NULL;
}

static pthread_t start_subject(subject_t *self, void (*body)(void *argument), void *argument)
{
    pthread_t thread;
    pthread_attr_t attributes;
    self->body = body;
    self->argument = argument;
    REQUIRE_EQ(pthread_attr_init(&attributes), 0);
    if (self->is_small) {
        REQUIRE_EQ(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)), 0);
    } else {
        REQUIRE_EQ(pthread_attr_setstack(&attributes, self->stack, STACK), 0);
    }
    REQUIRE_EQ(pthread_create(&thread, &attributes, subject_main, self), 0);
    pthread_attr_destroy(&attributes);
    return thread;
}

static void run_subject(subject_t *self, void (*body)(void *argument), void *argument)
{
    REQUIRE_EQ(pthread_join(start_subject(self, body, argument), NULL), 0);
}

/* From the frame of the caller of its body on. */
static size_t stack_used(const subject_t *self)
{
    const unsigned char *lowest = self->stack;
    while (*lowest == PATTERN) {
        lowest++;
    }
    return (size_t)(self->here - lowest);
}

/* ---- what a subject does ---- */

static int nowhere;

static host_task_t last_waiter;

static void report(void *format)
{
    CHECK_EQ(host_report(nowhere, *(uint32_t *)format), S_OK);
}

static void follow_the_chain(void *unused)
{
    host_wait_node_t nodes[4];
    size_t count = 0;
    (void)unused;
    nodes[0].size = sizeof nodes[0];
    /* The main thread, which owns the mutex, joins this one, or is about to. */
    REQUIRE_SOON(host_wait_chain(last_waiter, nodes, 4, &count) == S_OK && count == 7);
}

static void make_the_first_call(void *unused)
{
    host_task_t task = 0;
    (void)unused;
    CHECK_EQ(host_task_current(&task), S_OK);
}

static void start_the_runtime(void *unused)
{
    (void)unused;
    CHECK_EQ(host_runtime_start(), S_OK);
}

static void leave_anothers(void *section)
{
    LeaveCriticalSection((CRITICAL_SECTION *)section);
}

static void end_the_process(void *unused)
{
    (void)unused;
    exit(check_failed_so_far() != 0);
}

/* A section of either kind. */
typedef struct section {
    hostcrst_t host;
    CRITICAL_SECTION shown;
    int is_shown;
} section_t;

static int32_t enter(section_t *section)
{
    if (section->is_shown) {
        EnterCriticalSection(&section->shown);
        return S_OK;
    }
    return hostcrst_enter(section->host, 0);
}

static void leave(section_t *section)
{
    if (section->is_shown) {
        LeaveCriticalSection(&section->shown);
    } else {
        CHECK_EQ(hostcrst_leave(section->host), S_OK);
    }
}

static section_t sections[2];
static host_task_t others_task;
static int other_owns;
static int32_t refusal;

static void enter_and_leave(void *section)
{
    CHECK_EQ(enter((section_t *)section), S_OK);
    leave((section_t *)section);
}

/* Owns the first, and enters the second when its owner waits for the first. */
static void close_the_circle(void *unused)
{
    (void)unused;
    CHECK_EQ(enter(&sections[0]), S_OK);
    __atomic_store_n(&other_owns, 1, __ATOMIC_RELEASE);
    AWAIT(task_info(__atomic_load_n(&others_task, __ATOMIC_ACQUIRE)).waiting_for != 0);
    refusal = enter(&sections[1]);
    leave(&sections[0]);
}

static void wait_in_the_circle(void *unused)
{
    (void)unused;
    CHECK_EQ(host_task_current(&others_task), S_OK);
    CHECK_EQ(enter(&sections[1]), S_OK);
    AWAIT(__atomic_load_n(&other_owns, __ATOMIC_ACQUIRE));
    CHECK_EQ(enter(&sections[0]), S_OK);
    leave(&sections[0]);
    leave(&sections[1]);
}

/* ---- situations ---- */

static void begin(int is_shown)
{
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    for (int at = 0; at < 2; at++) {
        sections[at].is_shown = is_shown;
        InitializeCriticalSection(&sections[at].shown);
        REQUIRE_EQ(hostcrst_create(&sections[at].host), S_OK);
        REQUIRE_EQ(hostcrst_set_name(sections[at].host, "a section with a long name, which takes room"), S_OK);
    }
}

static int times_said(const char *part)
{
    static char said[1 << 16];
    int times = 0;
    ssize_t length = pread(STDERR_FILENO, said, sizeof said - 1, 0);
    said[length > 0 ? length : 0] = '\0';
    for (const char *at = strstr(said, part); at != NULL; at = strstr(at + 1, part)) {
        times++;
    }
    return times;
}

/* ---- threads that are blocked in what is not the library's ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int epoll;
static pthread_mutex_t other_mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t at_mutex, at_other_mutex, at_epoll;

static void is_about_to_block(pid_t *here)
{
    __atomic_store_n(here, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
}

static void lock_the_mutex(void *unused)
{
    (void)unused;
    is_about_to_block(&at_mutex);
    pthread_mutex_lock(&mutex);
}

static void enter_and_lock_the_mutex(void *unused)
{
    (void)unused;
    CHECK_EQ(enter(&sections[0]), S_OK);
    is_about_to_block(&at_mutex);
    pthread_mutex_lock(&mutex);
    leave(&sections[0]);
}

static void lock_both(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&other_mutex);
    is_about_to_block(&at_mutex);
    pthread_mutex_lock(&mutex);
}

static void lock_the_other_one(void *unused)
{
    (void)unused;
    CHECK_EQ(host_task_current(&last_waiter), S_OK);
    is_about_to_block(&at_other_mutex);
    pthread_mutex_lock(&other_mutex);
}

static void wait_for_events(void *unused)
{
    struct epoll_event event;
    (void)unused;
    is_about_to_block(&at_epoll);
    while (epoll_wait(epoll, &event, 1, -1) < 0) {
    }
}

/* Whether the thread that said so here, before it did nothing but block, sleeps by now. */
static int is_asleep(const pid_t *said)
{
    char path[64], line[256] = "";
    pid_t thread = __atomic_load_n(said, __ATOMIC_ACQUIRE);
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    int file = thread != 0 ? open(path, O_RDONLY) : -1;
    if (file >= 0) {
        CHECK(read(file, line, sizeof line - 1) >= 0);
        close(file);
    }
    const char *name_end = strrchr(line, ')');
    return name_end != NULL && name_end[2] == 'S';
}

/* One waits for a mutex, and one for an epoll instance that looks at many descriptors. */
static void block_threads(void)
{
    static check_thread_t threads[2];
    pthread_mutex_lock(&mutex);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int at = 0; at < 6; at++) {
        struct epoll_event event = {EPOLLIN, {0}};
        REQUIRE_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, eventfd(0, EFD_CLOEXEC), &event), 0);
    }
    check_start(&threads[0], lock_the_mutex, NULL);
    check_start(&threads[1], wait_for_events, NULL);
    AWAIT(is_asleep(&at_mutex) && is_asleep(&at_epoll));
}

/* Deadlocks that were broken and one that stands, many layers, sections of both kinds. */
static void report_on_everything(subject_t *subject, uint32_t format)
{
    begin(1);
    nowhere = open("/dev/null", O_WRONLY);
    REQUIRE(nowhere >= 0);
    CHECK_EQ(enter(&sections[0]), S_OK);
    for (int depth = 0; depth < 35; depth++) {
        CHECK_EQ(host_leave_runtime((size_t)&qsort), S_OK);
        CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    }
    ring_t *two = ring_start(2);
    ring_t *twenty = ring_start(20);
    for (int time = 0; time < 3; time++) {
        ring_round(two);
        ring_round(twenty);
    }
    for (unsigned at = 0; at < two->size; at++) {
        two->members[at].option = WAIT_NOTINDEADLOCK;
    }
    ring_begin(two);
    AWAIT(waits(&two->members[0]) && waits(&two->members[1]));
    block_threads();
    run_subject(subject, report, &format);
}

static void a_text_report(subject_t *subject)
{
    report_on_everything(subject, HOST_REPORT_TEXT);
}

static void a_json_report(subject_t *subject)
{
    report_on_everything(subject, HOST_REPORT_JSON);
}

/* Of a task that waits for a mutex whose owner waits for a mutex. */
static void a_wait_chain(subject_t *subject)
{
    static check_thread_t threads[2];
    begin(0);
    pthread_mutex_lock(&mutex);
    check_start(&threads[0], lock_both, NULL);
    AWAIT(is_asleep(&at_mutex));
    check_start(&threads[1], lock_the_other_one, NULL);
    AWAIT(is_asleep(&at_other_mutex));
    run_subject(subject, follow_the_chain, NULL);
}

static void a_dot_report(subject_t *subject)
{
    report_on_everything(subject, HOST_REPORT_DOT);
}

static void an_html_report(subject_t *subject)
{
    report_on_everything(subject, HOST_REPORT_HTML);
}

static void the_first_call(subject_t *subject)
{
    REQUIRE(host_runtime_start() >= 0);
    run_subject(subject, make_the_first_call, NULL);
}

static void the_first_start(subject_t *subject)
{
    REQUIRE_EQ(setenv("HOSTCRST_REPORT", "/tmp/%k", 1), 0);
    REQUIRE_EQ(setenv("HOSTCRST_BIAS", "\033unknown", 1), 0);
    run_subject(subject, start_the_runtime, NULL);
    AWAIT(times_said("HOSTCRST_BIAS") == 1);
    unlink("/tmp/exit");
}

static void wait_until_said(subject_t *subject, int is_shown)
{
    REQUIRE_EQ(setenv("HOSTCRST_STALL", "5ms", 1), 0);
    begin(is_shown);
    CHECK_EQ(enter(&sections[0]), S_OK);
    pthread_t thread = start_subject(subject, enter_and_leave, &sections[0]);
    AWAIT(times_said(" has waited ") >= 2);
    leave(&sections[0]);
    REQUIRE_EQ(pthread_join(thread, NULL), 0);
}

static void a_line_about_a_wait(subject_t *subject)
{
    wait_until_said(subject, 0);
}

static void a_line_about_a_critical_section(subject_t *subject)
{
    wait_until_said(subject, 1);
}

static void a_line_about_a_chain(subject_t *subject)
{
    static check_thread_t owner;
    REQUIRE_EQ(setenv("HOSTCRST_STALL", "5ms", 1), 0);
    begin(0);
    pthread_mutex_lock(&mutex);
    check_start(&owner, enter_and_lock_the_mutex, NULL);
    AWAIT(is_asleep(&at_mutex));
    pthread_t thread = start_subject(subject, enter_and_leave, &sections[0]);
    AWAIT(times_said(" which itself waits for mutex ") >= 2);
    CHECK_EQ(pthread_mutex_unlock(&mutex), 0);
    check_join(&owner);
    REQUIRE_EQ(pthread_join(thread, NULL), 0);
}

static void a_line_about_a_misuse(subject_t *subject)
{
    begin(1);
    CHECK_EQ(enter(&sections[0]), S_OK);
    run_subject(subject, leave_anothers, &sections[0].shown);
    CHECK_EQ(times_said("CRITICAL_SECTION"), 1);
}

/* Ends when the deadlock has been reported, or the wait that closed it was refused. */
static void deadlock(subject_t *subject, uint32_t policy, int is_shown)
{
    check_thread_t other;
    begin(is_shown);
    REQUIRE_EQ(host_set_deadlock_policy(policy), S_OK);
    check_start(&other, wait_in_the_circle, NULL);
    AWAIT(__atomic_load_n(&others_task, __ATOMIC_ACQUIRE) != 0);
    pthread_t thread = start_subject(subject, close_the_circle, NULL);
    if (policy == HOST_DEADLOCK_ERROR && !is_shown) {
        REQUIRE_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(refusal, HOST_E_DEADLOCK);
        check_join(&other);
    } else {
        AWAIT(times_said("Found 1 deadlock.\n") == 2);
    }
}

static void a_deadlock_that_is_broken(subject_t *subject)
{
    deadlock(subject, HOST_DEADLOCK_ERROR, 0);
}

static void a_deadlock_that_is_reported(subject_t *subject)
{
    deadlock(subject, HOST_DEADLOCK_REPORT, 0);
}

static void a_deadlock_that_aborts(subject_t *subject)
{
    deadlock(subject, HOST_DEADLOCK_ABORT, 0);
    AWAIT(0);
}

static void a_deadlock_of_critical_sections(subject_t *subject)
{
    deadlock(subject, HOST_DEADLOCK_ERROR, 1);
}

static void the_report_at_exit(subject_t *subject)
{
    REQUIRE_EQ(setenv("HOSTCRST_REPORT", "stderr", 1), 0);
    begin(1);
    CHECK_EQ(enter(&sections[0]), S_OK);
    run_subject(subject, end_the_process, NULL);
}

/* ---- orders ---- */

#define LONGEST_CIRCLE 8

static hostcrst_t in_circle[LONGEST_CIRCLE];

static void enter_one_and_next(void *first)
{
    size_t at = *(size_t *)first;
    CHECK_EQ(hostcrst_enter(in_circle[at], 0), S_OK);
    CHECK_EQ(hostcrst_enter(in_circle[(at + 1) % LONGEST_CIRCLE], 0), S_OK);
    CHECK_EQ(hostcrst_leave(in_circle[(at + 1) % LONGEST_CIRCLE]), S_OK);
    CHECK_EQ(hostcrst_leave(in_circle[at]), S_OK);
}

/* Each order of the longest circle but the last one was taken, by a thread of its own. */
static void prepare_circle(void)
{
    begin(0);
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    for (size_t at = 0; at < LONGEST_CIRCLE; at++) {
        REQUIRE_EQ(hostcrst_create(&in_circle[at]), S_OK);
        REQUIRE_EQ(hostcrst_set_name(in_circle[at], "a section with a long name, which takes room"), S_OK);
    }
    for (size_t at = 0; at + 1 < LONGEST_CIRCLE; at++) {
        check_thread_t worker;
        check_start(&worker, enter_one_and_next, &at);
        check_join(&worker);
    }
}

static void an_order_that_could_deadlock(subject_t *subject)
{
    size_t last = LONGEST_CIRCLE - 1;
    prepare_circle();
    run_subject(subject, enter_one_and_next, &last);
    CHECK_EQ(times_said("could deadlock"), 1);
}

static void report_on_orders(subject_t *subject, uint32_t format)
{
    size_t last = LONGEST_CIRCLE - 1;
    check_thread_t worker;
    prepare_circle();
    check_start(&worker, enter_one_and_next, &last);
    check_join(&worker);
    CHECK_EQ(times_said("could deadlock"), 1);
    nowhere = open("/dev/null", O_WRONLY);
    REQUIRE(nowhere >= 0);
    run_subject(subject, report, &format);
}

static void a_text_report_on_orders(subject_t *subject)
{
    report_on_orders(subject, HOST_REPORT_TEXT);
}

static void a_json_report_on_orders(subject_t *subject)
{
    report_on_orders(subject, HOST_REPORT_JSON);
}

/* ---- playing them ---- */

static const struct situation {
    const char *name;
    void (*play)(subject_t *subject);
    int signal;
} situations[] = {
    {"a text report", a_text_report, 0},
    {"a JSON report", a_json_report, 0},
    {"a DOT report", a_dot_report, 0},
    {"an HTML report", an_html_report, 0},
    {"a wait chain", a_wait_chain, 0},
    {"the first call", the_first_call, 0},
    {"the first start", the_first_start, 0},
    {"a line about a wait", a_line_about_a_wait, 0},
    {"a line about a CRITICAL_SECTION", a_line_about_a_critical_section, 0},
    {"a line about a chain", a_line_about_a_chain, 0},
    {"a line about a misuse", a_line_about_a_misuse, 0},
    {"a deadlock that is broken", a_deadlock_that_is_broken, 0},
    {"a deadlock that is reported", a_deadlock_that_is_reported, 0},
    {"a deadlock that aborts", a_deadlock_that_aborts, SIGABRT},
    {"a deadlock of CRITICAL_SECTIONs", a_deadlock_of_critical_sections, 0},
    {"the report at exit", the_report_at_exit, 0},
    {"an order that could deadlock", an_order_that_could_deadlock, 0},
    {"a text report on orders", a_text_report_on_orders, 0},
    {"a JSON report on orders", a_json_report_on_orders, 0},
};

static void *shared_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return memory;
}

static void play(const struct situation *situation, subject_t *subject)
{
    int status = -1;
    own_stderr_empty();
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        check_failures = 0;
        alarm(2 * CHECK_PATIENCE_SECONDS);
        situation->play(subject);
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    if (situation->signal != 0) {
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == situation->signal);
    } else {
        CHECK_EQ(status, 0);
    }
    own_stderr_empty();
}

static void nothing_needs_more_than_8_KiB(void)
{
    subject_t *subject = (subject_t *)shared_memory(sizeof *subject);
    for (size_t at = 0; at < sizeof situations / sizeof situations[0]; at++) {
        subject->stack = (unsigned char *)shared_memory(STACK);
        play(&situations[at], subject);
        size_t used = stack_used(subject);
        printf("%s: %zu bytes\n", situations[at].name, used);
        CHECK(used > 128 && used <= MOST);
        munmap(subject->stack, STACK);
    }
}

static void everything_works_on_the_smallest_stack(void)
{
    subject_t *subject = (subject_t *)shared_memory(sizeof *subject);
    subject->is_small = 1;
    for (size_t at = 0; at < sizeof situations / sizeof situations[0]; at++) {
        play(&situations[at], subject);
    }
}

CHECK_MAIN(CHECK_TEST(nothing_needs_more_than_8_KiB), CHECK_TEST(everything_works_on_the_smallest_stack))
