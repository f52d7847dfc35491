/* What a report says of a known situation, where it can be written, and that it never waits for the program.
 */
#include "capture.h"

#include <signal.h>

/* A function of this program, to be the target of a layer. */
__attribute__((noinline)) static int native_function(int number)
{
    return number + 1;
}

static void an_unused_library_has_a_report_too(void)
{
    char *report = text_report();
    CHECK_CONTAINS(report, line_of("hostcrst %s report  pid %d  runtime not loaded\n", hostcrst_version(),
                                   (int)getpid()).text);
    CHECK_CONTAINS(report, "0 tasks");
    free(report);
}

static void a_task_shows_its_layers(void)
{
    start_runtime();
    host_task_t me = this_task();
    CHECK_EQ(host_task_set_name(me, "main thread"), S_OK);
    CHECK_EQ(native_function(1), 2);
    CHECK_EQ(host_leave_runtime((size_t)(uintptr_t)&native_function + 2), S_OK);
    CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    CHECK_EQ(host_leave_runtime((size_t)(uintptr_t)&qsort), S_OK);
    CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    CHECK_EQ(host_leave_runtime(0), S_OK);
    CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    CHECK_EQ(host_leave_runtime(0x123), S_OK);
    char *report = text_report();
    CHECK_CONTAINS(report, line_of("\n\"main thread\" tid=%d (0x%x) task=0x%llx [unmanaged]\n", (int)getpid(),
                                   (unsigned)getpid(), (unsigned long long)me).text);
    CHECK_CONTAINS(report, "   layers, newest first:\n     [6] native   0x123");
    CHECK_CONTAINS(report, "\n     [5] managed");
    CHECK_CONTAINS(report, "\n     [4] native   ?\n");
    CHECK_CONTAINS(report, line_of("\n     [2] native   libc.so.6!qsort+0x0 (0x%llx)\n",
                                   (unsigned long long)(uintptr_t)&qsort).text);
    CHECK_CONTAINS(report,
                   line_of("!native_function+0x2 (0x%llx)\n     [-] managed  (the thread began here)\n",
                           (unsigned long long)(uintptr_t)&native_function + 2)
                       .text);
    free(report);
    for (int at = 0; at < 7; at++) {
        CHECK_EQ(at % 2 == 0 ? host_enter_runtime() : host_reverse_leave_runtime(), S_OK);
    }
    report = text_report();
    CHECK_CONTAINS(report, line_of(" task=0x%llx [managed]\n", (unsigned long long)me).text);
    CHECK_LACKS(report, "layers");
    free(report);
}

static void deep_layers_are_counted(void)
{
    start_runtime();
    for (int at = 0; at < 1000; at++) {
        CHECK_EQ(at % 2 == 0 ? host_leave_runtime((size_t)0x5000 + (size_t)at) : host_reverse_enter_runtime(),
                 S_OK);
    }
    char *report = text_report();
    CHECK_CONTAINS(report, "     [998] native   0x53e6");
    CHECK_CONTAINS(report, " older layers\n");
    CHECK_LACKS(report, "     [0] ");
    free(report);
    for (int at = 0; at < 1000; at++) {
        CHECK_EQ(at % 2 == 1 ? host_enter_runtime() : host_reverse_leave_runtime(), S_OK);
    }
}

static void sections_show_who_owns_and_who_waits(void)
{
    holder_t holder;
    waiter_t waiter;
    start_runtime();
    hostcrst_t gate = new_section();
    hostcrst_t quiet = new_section();
    hostcrst_t lost = abandoned_section();
    CHECK_EQ(hostcrst_set_name(gate, "gate"), S_OK);
    CHECK_EQ(hostcrst_set_name(lost, "lost"), S_OK);
    hold_times(&holder, gate, 3);
    CHECK_EQ(host_task_set_name(holder.task, "gatekeeper"), S_OK);
    wait_for(&waiter, gate, 0);
    CHECK_EQ(host_task_set_name(waiter.task, "visitor"), S_OK);
    unsigned owner = task_info_of(holder.task).thread_id;
    char *report = text_report();
    CHECK_CONTAINS(report, line_of("   owns 0x%llx \"gate\" recursion=3\n", (unsigned long long)gate).text);
    CHECK_CONTAINS(
        report, line_of("task=0x%llx [no transitions yet, waiting 0.", (unsigned long long)waiter.task).text);
    CHECK_CONTAINS(report, line_of("waiting to enter 0x%llx \"gate\"", (unsigned long long)gate).text);
    CHECK_CONTAINS(report, line_of("owned by \"gatekeeper\" tid=%u\n", owner).text);
    CHECK_CONTAINS(report, line_of("\n0x%-15llx   owned     %6u          3        1          1  \"gate\"\n",
                                   (unsigned long long)gate, owner).text);
    CHECK_CONTAINS(report,
                   line_of("\n0x%-15llx   abandoned      -          0        0          0  \"lost\"\n",
                           (unsigned long long)lost)
                       .text);
    CHECK_LACKS(report, line_of("0x%llx", (unsigned long long)quiet).text);
    free(report);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    report = text_report();
    CHECK_CONTAINS(report,
                   line_of("\n0x%-15llx   free           -          0        0          1  \"gate\"\n",
                           (unsigned long long)gate)
                       .text);
    CHECK_LACKS(report, "gatekeeper");
    free(report);
    CHECK_EQ(hostcrst_destroy(gate), S_OK);
    CHECK_EQ(hostcrst_destroy(quiet), S_OK);
    CHECK_EQ(hostcrst_destroy(lost), S_OK);
}

static void the_state_of_the_runtime_is_said(void)
{
    start_runtime();
    char *report = text_report();
    CHECK_CONTAINS(report, "runtime running\n");
    free(report);
    CHECK_EQ(host_runtime_stop(), S_OK);
    report = text_report();
    CHECK_CONTAINS(report, "runtime stopped\n");
    free(report);
    start_runtime();
}

/* Each format says the same of the same. */
static void every_format_names_the_section_and_its_owner(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_set_name(crst, "gate"), S_OK);
    hold(&holder, crst);
    CHECK_EQ(host_task_set_name(holder.task, "gatekeeper"), S_OK);
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_HTML; format++) {
        char *report = report_in(format);
        CHECK_CONTAINS(report, "gate");
        CHECK_CONTAINS(report, "gatekeeper");
        CHECK(format != HOST_REPORT_JSON || report[0] == '{');
        CHECK(format != HOST_REPORT_DOT || strncmp(report, "digraph ", 8) == 0);
        CHECK(format != HOST_REPORT_HTML || strncmp(report, "<!doctype html>", 15) == 0);
        free(report);
    }
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* A name can neither move the cursor, nor turn a line around, nor hide in it. */
static void names_deceive_nobody(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_set_name(crst, "e\xe2\x80\xael\xe2\x80\x8bo\xc2\x9bh"), S_OK);
    CHECK_EQ(host_task_set_name(this_task(), "\033[2J\xe2\x81\xa6me"), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_HTML; format++) {
        char *report = report_in(format);
        /* The page has the text and the JSON. */
        if (format != HOST_REPORT_JSON) {
            CHECK_CONTAINS(report, "e?l?o?h");
            CHECK_CONTAINS(report, "?[2J?me");
        }
        if (format == HOST_REPORT_JSON || format == HOST_REPORT_HTML) {
            CHECK_CONTAINS(report, "e\\u202el\\u200bo\\u009bh");
            CHECK_CONTAINS(report, "\\u001b[2J\\u2066me");
        }
        CHECK_LACKS(report, "\xe2");
        CHECK_LACKS(report, "\xc2");
        CHECK_LACKS(report, "\033");
        free(report);
    }
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(host_task_set_name(this_task(), ""), S_OK);
}

/* ---- where to ---- */

static void a_descriptor_that_takes_nothing_is_refused(void)
{
    int full = open("/dev/full", O_WRONLY);
    int read_only = open("/dev/null", O_RDONLY);
    REQUIRE(full >= 0 && read_only >= 0);
    start_runtime();
    CHECK_EQ(KEEPING_ERRNO(host_report(-1, HOST_REPORT_TEXT)), E_INVALIDARG);
    CHECK_EQ(KEEPING_ERRNO(host_report(12345, HOST_REPORT_TEXT)), E_INVALIDARG);
    CHECK_EQ(KEEPING_ERRNO(host_report(read_only, HOST_REPORT_TEXT)), E_INVALIDARG);
    CHECK_EQ(KEEPING_ERRNO(host_report(full, HOST_REPORT_TEXT)), E_INVALIDARG);
    close(full);
    close(read_only);
}

/* Nobody may be killed for asking what goes on. */
static void a_pipe_without_a_reader_is_refused(void)
{
    int ends[2];
    sigset_t pending;
    start_runtime();
    REQUIRE_EQ(pipe(ends), 0);
    close(ends[0]);
    CHECK_EQ(KEEPING_ERRNO(host_report(ends[1], HOST_REPORT_TEXT)), E_INVALIDARG);
    REQUIRE_EQ(sigpending(&pending), 0);
    CHECK_EQ(sigismember(&pending, SIGPIPE), 0);
    close(ends[1]);
}

typedef struct reader {
    int descriptor;
    size_t bytes;
    char text[1 << 20];
} reader_t;

static void read_slowly(void *argument)
{
    reader_t *self = (reader_t *)argument;
    ssize_t count;
    while ((count = read(self->descriptor, self->text + self->bytes, 64)) > 0) {
        REQUIRE(self->bytes + 64 < sizeof self->text - 64);
        self->bytes += (size_t)count;
        if (self->bytes % 4096 < 64) {
            check_pause();
        }
    }
}

/* A pipe that takes little at a time, and says "not now" in between. */
static void a_pipe_that_is_full_now_and_then_gets_all_of_it(void)
{
    enum { SECTIONS = 2000 };
    int ends[2];
    check_thread_t thread;
    static reader_t reader;
    static hostcrst_t crsts[SECTIONS];
    start_runtime();
    for (int at = 0; at < SECTIONS; at++) {
        crsts[at] = new_section();
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
    }
    REQUIRE_EQ(pipe2(ends, O_NONBLOCK), 0);
    REQUIRE_EQ(fcntl(ends[0], F_SETFL, 0), 0);
    reader.descriptor = ends[0];
    check_start(&thread, read_slowly, &reader);
    CHECK_EQ(KEEPING_ERRNO(host_report(ends[1], HOST_REPORT_TEXT)), S_OK);
    close(ends[1]);
    check_join(&thread);
    close(ends[0]);
    CHECK(reader.bytes > 100000);
    CHECK_EQ(times_in(reader.text, "   owns 0x"), SECTIONS);
    CHECK_CONTAINS(reader.text, " blocked in what has no owner.\n");
    const char *last = strstr(reader.text, "\nNo deadlock among 2000 sections");
    last = last == NULL ? NULL : strstr(last + 1, "\nNo deadlock among 2000 sections");
    CHECK(last != NULL && strchr(last + 1, '\n') == reader.text + reader.bytes - 1);
    for (int at = 0; at < SECTIONS; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
}

/* ---- while the program is stuck, or very busy ---- */

static void a_report_from_outside_while_every_task_waits(void)
{
    enum { WAITERS = 10 };
    waiter_t waiters[WAITERS];
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < WAITERS; at++) {
        wait_for(&waiters[at], crst, 0);
    }
    char *report = text_report();
    CHECK_EQ(times_in(report, "   waiting to enter "), WAITERS);
    CHECK_CONTAINS(report, line_of("; %d waiting)", WAITERS).text);
    free(report);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    for (int at = 0; at < WAITERS; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), S_OK);
    }
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static int stop_changing;
static hostcrst_t common;

static void change_everything(void *argument)
{
    chance_t chance = {(uint64_t)(uintptr_t)argument};
    while (!__atomic_load_n(&stop_changing, __ATOMIC_RELAXED)) {
        uint64_t random = next_random(&chance);
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_set_name(crst, random % 2 == 0 ? "one" : "the other, longer name"), S_OK);
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        CHECK_EQ(host_task_set_name(this_task(), random % 3 == 0 ? "busy" : "very busy indeed"), S_OK);
        for (uint64_t depth = 0; depth < random % 40; depth++) {
            CHECK_EQ(host_leave_runtime((size_t)(uintptr_t)&native_function), S_OK);
            CHECK_EQ(host_reverse_enter_runtime(), S_OK);
        }
        CHECK_EQ(hostcrst_enter(common, 0), S_OK);
        CHECK_EQ(hostcrst_leave(common), S_OK);
        for (uint64_t depth = 0; depth < random % 40; depth++) {
            CHECK_EQ(host_reverse_leave_runtime(), S_OK);
            CHECK_EQ(host_enter_runtime(), S_OK);
        }
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
}

static void reports_while_everything_changes(void)
{
    enum { THREADS = 16, REPORTS = 100 };
    check_thread_t threads[THREADS];
    start_runtime();
    common = new_section();
    stop_changing = 0;
    for (int at = 0; at < THREADS; at++) {
        check_start(&threads[at], change_everything, &threads[at]);
    }
    struct timespec used;
    for (uint32_t at = 0; at < REPORTS; at++) {
        char *report = report_in(at % 3);
        static const char *const beginnings[] = {"hostcrst ", "{", "digraph "};
        CHECK(strstr(report, beginnings[at % 3]) == report);
        CHECK(strlen(report) > 50);
        free(report);
    }
    /* Of the processor: however many others there are, it does not begin again and again. */
    REQUIRE_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
    CHECK(used.tv_sec < 20);
    __atomic_store_n(&stop_changing, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < THREADS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(hostcrst_destroy(common), S_OK);
}

static void fail_and_report(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(host_runtime_fail(), S_OK);
    char *report = text_report();
    CHECK_CONTAINS(report, "runtime failed\n");
    CHECK_CONTAINS(report, line_of("   owns 0x%llx recursion=1\n", (unsigned long long)crst).text);
    free(report);
}

static void a_failed_runtime_still_reports(void)
{
    in_child(fail_and_report);
}

CHECK_MAIN(CHECK_TEST(an_unused_library_has_a_report_too), CHECK_TEST(a_task_shows_its_layers),
           CHECK_TEST(deep_layers_are_counted), CHECK_TEST(sections_show_who_owns_and_who_waits),
           CHECK_TEST(the_state_of_the_runtime_is_said),
           CHECK_TEST(every_format_names_the_section_and_its_owner),
           CHECK_TEST(names_deceive_nobody), CHECK_TEST(a_descriptor_that_takes_nothing_is_refused),
           CHECK_TEST(a_pipe_without_a_reader_is_refused),
           CHECK_TEST(a_pipe_that_is_full_now_and_then_gets_all_of_it),
           CHECK_TEST(a_report_from_outside_while_every_task_waits),
           CHECK_TEST(reports_while_everything_changes), CHECK_TEST(a_failed_runtime_still_reports))
