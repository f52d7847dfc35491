/*
 * Figures of contention: what is counted as a wait or a hold, of which section, and what reports say of it. The first test
 * needs a process in which nothing was counted yet.
 */
#include "capture.h"

#include <hostcrst/win32.h>

static hostcrst_t named(const char *name)
{
    hostcrst_t crst = new_section();
    REQUIRE_EQ(hostcrst_set_name(crst, name), S_OK);
    return crst;
}

/* The number after a key in what the JSON report says of the section's figures; -1 if it says nothing of them. */
static long long figure_of(hostcrst_t crst, const char *key)
{
    char *report = report_in(HOST_REPORT_JSON);
    long long figure = -1;
    const char *statistics = strstr(report, "\"statistics\":{");
    const char *section = statistics;
    if (section != NULL) {
        section = strstr(section, line_of("{\"section\":\"0x%llx\",\"waits\":", (unsigned long long)crst).text);
    }
    if (section != NULL) {
        const char *end = strstr(section, "\"held_ns\":");
        const char *value = strstr(section, line_of("\"%s\":", key).text);
        REQUIRE(end != NULL && value != NULL && value <= end);
        figure = strtoll(strchr(value, ':') + 1, NULL, 10);
    }
    free(report);
    return figure;
}

/* Another thread waits for the section, in the queue, and gets it. */
static void have_one_wait(hostcrst_t crst)
{
    waiter_t waiter;
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    uint64_t before = info_of(crst).contended;
    wait_for(&waiter, crst, 0);
    /* Until then it looks once more whether the section is free, and does not wait if so. */
    REQUIRE_SOON(info_of(crst).contended > before);
    REQUIRE_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
}

static void nothing_is_counted_unasked(void)
{
    start_runtime();
    hostcrst_t crst = named("uncounted");
    have_one_wait(crst);
    CHECK_EQ(info_of(crst).contended, 1);
    char *text = text_report();
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_LACKS(text, "Waits and holds");
    CHECK_LACKS(json, "\"statistics\"");
    free(text);
    free(json);
    CHECK_EQ(host_set_statistics(0), S_OK);
    CHECK_EQ(figure_of(crst, "waits"), -1);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void waits_are_counted_by_section(void)
{
    start_runtime();
    hostcrst_t before = named("made before");
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    hostcrst_t after = named("made after");
    have_one_wait(before);
    have_one_wait(after);
    have_one_wait(after);
    CHECK_EQ(figure_of(before, "waits"), 1);
    CHECK_EQ(figure_of(after, "waits"), 2);
    long long all = figure_of(after, "waited_ns");
    long long longest = figure_of(after, "longest_wait_ns");
    CHECK(longest > 0 && longest <= all && all <= 2 * longest);
    char *text = text_report();
    CHECK_CONTAINS(text, "Waits and holds that are over (statistics are on):\n");
    CHECK_CONTAINS(text, " \"made after\"\n      waits: 2, ");
    free(text);
    CHECK_EQ(hostcrst_destroy(before), S_OK);
    CHECK_EQ(hostcrst_destroy(after), S_OK);
}

static void a_wait_that_fails_is_one_and_a_try_is_none(void)
{
    holder_t holder;
    int32_t entered = 1;
    start_runtime();
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    hostcrst_t crst = named("refused");
    hold(&holder, crst);
    CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), S_OK);
    CHECK_EQ(entered, 0);
    CHECK_EQ(figure_of(crst, "waits"), -1);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 0), HOST_E_TIMEOUT);
    CHECK_EQ(figure_of(crst, "waits"), 1);
    CHECK_EQ(figure_of(crst, "waited_ns"), 0);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 5), HOST_E_TIMEOUT);
    CHECK_EQ(figure_of(crst, "waits"), 2);
    CHECK(figure_of(crst, "waited_ns") >= 5000000);
    let_go(&holder);
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(figure_of(crst, "waits"), 2);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* The next section is in the same slot. */
static void figures_end_with_their_section(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    hostcrst_t first = named("first");
    have_one_wait(first);
    CHECK_EQ(figure_of(first, "waits"), 1);
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    CHECK_EQ(figure_of(first, "waits"), -1);
    hostcrst_t second = named("second");
    CHECK_EQ((uint32_t)second, (uint32_t)first);
    CHECK_EQ(figure_of(second, "waits"), -1);
    have_one_wait(second);
    CHECK_EQ(figure_of(second, "waits"), 1);
    CHECK_EQ(hostcrst_destroy(second), S_OK);
}

static void a_wait_that_the_end_of_its_section_ended_is_no_later_ones(void)
{
    waiter_t waiter;
    start_runtime();
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    hostcrst_t first = named("ended");
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    wait_for(&waiter, first, 0);
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    hostcrst_t second = named("next");
    CHECK_EQ((uint32_t)second, (uint32_t)first);
    CHECK_EQ(end_of_wait(&waiter), HOST_E_ABANDONED);
    CHECK_EQ(figure_of(second, "waits"), -1);
    CHECK_EQ(hostcrst_destroy(second), S_OK);
}

static void what_was_counted_stays_while_nothing_is(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    hostcrst_t crst = named("paused");
    have_one_wait(crst);
    REQUIRE_EQ(host_set_statistics(0), S_OK);
    hostcrst_t made_while_off = named("made while off");
    have_one_wait(crst);
    have_one_wait(made_while_off);
    CHECK_EQ(figure_of(crst, "waits"), 1);
    CHECK_EQ(figure_of(made_while_off, "waits"), -1);
    char *text = text_report();
    CHECK_CONTAINS(text, "(statistics are off):\n");
    free(text);
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    have_one_wait(crst);
    have_one_wait(made_while_off);
    CHECK_EQ(figure_of(crst, "waits"), 2);
    CHECK_EQ(figure_of(made_while_off, "waits"), 1);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(made_while_off), S_OK);
}

static __attribute__((noinline)) void hold_it_longest(hostcrst_t crst)
{
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    int64_t begin = nanoseconds_now();
    while (milliseconds_since(begin) < 2) {
    }
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    REQUIRE_EQ(hostcrst_leave(crst), S_OK);
    REQUIRE_EQ(hostcrst_leave(crst), S_OK);
}

static void holds_are_counted_where_they_are_tracked(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    hostcrst_t crst = named("held");
    hold_it_longest(crst);
    CHECK_EQ(figure_of(crst, "holds"), -1);
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    hold_it_longest(crst);
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    REQUIRE_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(figure_of(crst, "holds"), 2);
    CHECK_EQ(figure_of(crst, "waits"), 0);
    CHECK(figure_of(crst, "held_ns") >= 2000000);
    char *text = text_report();
    CHECK_CONTAINS(text, " \"held\"\n      holds: 2, ");
    CHECK_CONTAINS(text, line_of(" tid=%d, entered at statistics_c_", (int)gettid()).text);
    free(text);
    REQUIRE_EQ(host_set_hold_tracking(0), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void enter_and_leave(void *section)
{
    CRITICAL_SECTION *window = (CRITICAL_SECTION *)section;
    EnterCriticalSection(window);
    LeaveCriticalSection(window);
}

static void waits_for_windows_sections_are_counted(void)
{
    static CRITICAL_SECTION window;
    check_thread_t waiter;
    start_runtime();
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    InitializeCriticalSection(&window);
    EnterCriticalSection(&window);
    check_start(&waiter, enter_and_leave, &window);
    REQUIRE_SOON(figure_of((hostcrst_t)(size_t)window.LockSemaphore, "waits") == -1 && window.LockCount != -2);
    LeaveCriticalSection(&window);
    check_join(&waiter);
    CHECK_EQ(figure_of((hostcrst_t)(size_t)window.LockSemaphore, "waits"), 1);
    DeleteCriticalSection(&window);
}

#define WORKERS 4
#define TURNS 20000

static void enter_often(void *crst)
{
    for (int turn = 0; turn < TURNS; turn++) {
        CHECK_EQ(hostcrst_enter(*(hostcrst_t *)crst, 0), S_OK);
        CHECK_EQ(hostcrst_leave(*(hostcrst_t *)crst), S_OK);
    }
}

/* An enter that queued is a wait; one that only spun is as well. */
static void no_wait_is_lost_where_many_wait(void)
{
    check_thread_t workers[WORKERS];
    start_runtime();
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    hostcrst_t crst = named("busy");
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < WORKERS; at++) {
        check_start(&workers[at], enter_often, &crst);
    }
    REQUIRE_SOON(info_of(crst).waiters == WORKERS);
    REQUIRE_EQ(hostcrst_leave(crst), S_OK);
    for (int at = 0; at < WORKERS; at++) {
        check_join(&workers[at]);
    }
    long long waits = figure_of(crst, "waits");
    CHECK(waits >= WORKERS && waits >= (long long)info_of(crst).contended && waits <= WORKERS * TURNS);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* For run_again. */
static void use_statistics_of_the_environment(void)
{
    start_runtime();
    hostcrst_t crst = named("asked for");
    have_one_wait(crst);
    CHECK_EQ(figure_of(crst, "waits"), 1);
    CHECK_EQ(host_report(STDERR_FILENO, HOST_REPORT_TEXT), S_OK);
}

static void the_environment_switches_it_on(void)
{
    run_t run = run_again("use_statistics_of_the_environment", "HOSTCRST_STATS=1", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_CONTAINS(run.said, " \"asked for\"\n      waits: 1, ");
    free(run.said);
    run = run_again("use_statistics_of_the_environment", "HOSTCRST_STATS=yes", NULL, NULL);
    CHECK_NE(run.status, 0);
    CHECK_CONTAINS(run.said, "HOSTCRST_STATS: unknown value 'yes' ignored; known: 0 or 1\n");
    CHECK_LACKS(run.said, "Waits and holds");
    free(run.said);
}

CHECK_MAIN(CHECK_TEST(nothing_is_counted_unasked), CHECK_TEST(waits_are_counted_by_section),
           CHECK_TEST(a_wait_that_fails_is_one_and_a_try_is_none), CHECK_TEST(figures_end_with_their_section),
           CHECK_TEST(a_wait_that_the_end_of_its_section_ended_is_no_later_ones),
           CHECK_TEST(what_was_counted_stays_while_nothing_is), CHECK_TEST(holds_are_counted_where_they_are_tracked),
           CHECK_TEST(waits_for_windows_sections_are_counted), CHECK_TEST(no_wait_is_lost_where_many_wait),
           CHECK_TEST(use_statistics_of_the_environment), CHECK_TEST(the_environment_switches_it_on))
