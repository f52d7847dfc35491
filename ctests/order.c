/*
 * Orders in which sections are entered: which are told as "could deadlock", and which are not. Threads take turns by
 * handshakes, so that none of them ever waits for a section, unless the test says so.
 */
#include "capture.h"

#include <hostcrst/win32.h>

static hostcrst_t named(const char *name)
{
    hostcrst_t crst = new_section();
    REQUIRE_EQ(hostcrst_set_name(crst, name), S_OK);
    return crst;
}

/* ---- a thread that enters sections when it is told to ---- */

typedef struct worker {
    check_thread_t thread;
    check_steps_t steps;
    int turn;
    int over;
    void (*work)(const hostcrst_t *sections);
    hostcrst_t sections[4];
} worker_t;

static void work_in_turns(void *argument)
{
    worker_t *self = (worker_t *)argument;
    for (int turn = 0;; turn++) {
        check_await(&self->steps, 2 * turn + 1);
        if (self->over) {
            return;
        }
        self->work(self->sections);
        check_reach(&self->steps, 2 * turn + 2);
    }
}

static void start(worker_t *self)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    self->steps = steps;
    self->turn = 0;
    self->over = 0;
    check_start(&self->thread, work_in_turns, self);
}

/* The worker's thread does this, and has done it on return. */
static void let(worker_t *self, void (*work)(const hostcrst_t *sections), hostcrst_t first, hostcrst_t second,
                hostcrst_t third, hostcrst_t fourth)
{
    self->work = work;
    self->sections[0] = first;
    self->sections[1] = second;
    self->sections[2] = third;
    self->sections[3] = fourth;
    check_reach(&self->steps, 2 * self->turn + 1);
    check_await(&self->steps, 2 * self->turn + 2);
    self->turn++;
}

static void end(worker_t *self)
{
    self->over = 1;
    check_reach(&self->steps, 2 * self->turn + 1);
    check_join(&self->thread);
}

/* Enters all that are given, in this order, and leaves them. */
static __attribute__((noinline)) void enter_in_order(const hostcrst_t *sections)
{
    int count = 0;
    while (count < 4 && sections[count] != 0) {
        REQUIRE_EQ(hostcrst_enter(sections[count++], 0), S_OK);
    }
    while (count > 0) {
        REQUIRE_EQ(hostcrst_leave(sections[--count]), S_OK);
    }
}

static void try_the_last(const hostcrst_t *sections)
{
    int32_t entered = 0;
    REQUIRE_EQ(hostcrst_enter(sections[0], 0), S_OK);
    REQUIRE_EQ(hostcrst_try_enter(sections[1], 0, &entered), S_OK);
    if (entered) {
        REQUIRE_EQ(hostcrst_leave(sections[1]), S_OK);
    }
    REQUIRE_EQ(hostcrst_leave(sections[0]), S_OK);
}

static void limit_the_last(const hostcrst_t *sections)
{
    REQUIRE_EQ(hostcrst_enter(sections[0], 0), S_OK);
    if (hostcrst_enter_timeout(sections[1], 0, 1) == S_OK) {
        REQUIRE_EQ(hostcrst_leave(sections[1]), S_OK);
    }
    REQUIRE_EQ(hostcrst_leave(sections[0]), S_OK);
}

static void try_the_first(const hostcrst_t *sections)
{
    int32_t entered = 0;
    REQUIRE_EQ(hostcrst_try_enter(sections[0], 0, &entered), S_OK);
    REQUIRE(entered);
    REQUIRE_EQ(hostcrst_enter(sections[1], 0), S_OK);
    REQUIRE_EQ(hostcrst_leave(sections[1]), S_OK);
    REQUIRE_EQ(hostcrst_leave(sections[0]), S_OK);
}

static worker_t one;
static worker_t other;
static hostcrst_t a;
static hostcrst_t b;
static hostcrst_t c;

/* In a process of its own: the checks are on, there are three sections and two threads. */
static void begin(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    a = named("a");
    b = named("b");
    c = named("c");
    start(&one);
    start(&other);
}

static int times_told(void)
{
    char *said = content_of(STDERR_FILENO);
    int times = times_in(said, "hostcrst: could deadlock: ");
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_EQ(times_in(json, "\"steps\":["), times);
    CHECK_CONTAINS(json, "\"deadlocks_found\":0");
    free(said);
    free(json);
    return times;
}

static void finish(int expected)
{
    CHECK_EQ(times_told(), expected);
    end(&one);
    end(&other);
}

/* Runs a test in a child; the first line of what it said is looked at there. */
static void in_process(void (*body)(void))
{
    run_t run = child_of(body, NULL);
    if (!CHECK_EQ(run.status, 0)) {
        printf("%s\n", run.said);
    }
    free(run.said);
}

/* ---- alarms ---- */

static void both_orders(void)
{
    begin();
    let(&one, enter_in_order, a, b, 0, 0);
    CHECK_EQ(times_told(), 0);
    let(&other, enter_in_order, b, a, 0, 0);
    char *said = content_of(STDERR_FILENO);
    CHECK_CONTAINS(said, "hostcrst: could deadlock: sections are entered in orders that do not agree\n");
    CHECK_CONTAINS(said, " \"a\" at order_c_");
    CHECK_CONTAINS(said, "\n      and then 0x");
    CHECK_CONTAINS(said, " \"b\" at order_c_");
    CHECK_EQ(times_in(said, "enter_in_order+0x"), 4);
    CHECK_LACKS(said, "deadlock of");
    free(said);
    let(&one, enter_in_order, b, a, 0, 0);
    let(&other, enter_in_order, a, b, 0, 0);
    char *text = text_report();
    CHECK_CONTAINS(text, "Could deadlock, as sections are entered in orders that do not agree:\n1. told ");
    CHECK_CONTAINS(text, "No deadlock");
    CHECK_EQ(times_in(text, "enter_in_order+0x"), 4);
    free(text);
    finish(1);
}

static void an_order_taken_both_ways_is_told_once_with_all_places(void)
{
    in_process(both_orders);
}

static void three_in_a_circle(void)
{
    worker_t third;
    begin();
    start(&third);
    let(&one, enter_in_order, a, b, 0, 0);
    let(&other, enter_in_order, b, c, 0, 0);
    CHECK_EQ(times_told(), 0);
    let(&third, enter_in_order, c, a, 0, 0);
    CHECK_EQ(times_told(), 1);
    let(&third, enter_in_order, c, a, 0, 0);
    end(&third);
    finish(1);
}

static void a_longer_circle_is_told(void)
{
    in_process(three_in_a_circle);
}

static void gated_once(void)
{
    begin();
    let(&one, enter_in_order, c, a, b, 0);
    let(&other, enter_in_order, c, b, a, 0);
    CHECK_EQ(times_told(), 0);
    let(&other, enter_in_order, b, a, 0, 0);
    finish(1);
}

static void a_gate_that_was_left_out_once_is_told(void)
{
    in_process(gated_once);
}

static void owned_by_a_try(void)
{
    begin();
    let(&one, try_the_first, a, b, 0, 0);
    let(&other, enter_in_order, b, a, 0, 0);
    finish(1);
}

static void what_a_try_got_counts_for_what_comes_next(void)
{
    in_process(owned_by_a_try);
}

static CRITICAL_SECTION window;

static void the_window_first(const hostcrst_t *sections)
{
    EnterCriticalSection(&window);
    enter_in_order(sections);
    LeaveCriticalSection(&window);
}

static void the_window_last(const hostcrst_t *sections)
{
    REQUIRE_EQ(hostcrst_enter(sections[0], 0), S_OK);
    EnterCriticalSection(&window);
    LeaveCriticalSection(&window);
    REQUIRE_EQ(hostcrst_leave(sections[0]), S_OK);
}

static void both_kinds(void)
{
    begin();
    InitializeCriticalSection(&window);
    let(&one, the_window_first, a, 0, 0, 0);
    let(&other, the_window_last, a, 0, 0, 0);
    char *said = content_of(STDERR_FILENO);
    CHECK_EQ(times_in(said, " CRITICAL_SECTION 0x"), 2);
    CHECK_EQ(times_in(said, "!window+0x0 at "), 2);
    free(said);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_EQ(times_in(json, "\"section_name\":\"\",\"critical_section\":\"0x"), 1);
    free(json);
    finish(1);
}

static void sections_of_windows_are_examined_too(void)
{
    in_process(both_kinds);
}

static host_resource_t foreign;

static __attribute__((noinline)) void the_resource_first(const hostcrst_t *sections)
{
    REQUIRE_EQ(host_resource_acquired(foreign), S_OK);
    REQUIRE_EQ(host_resource_acquired(foreign), S_OK);
    enter_in_order(sections);
    REQUIRE_EQ(host_resource_released(foreign), S_OK);
    REQUIRE_EQ(host_resource_released(foreign), S_OK);
}

static __attribute__((noinline)) void the_resource_last(const hostcrst_t *sections)
{
    REQUIRE_EQ(hostcrst_enter(sections[0], 0), S_OK);
    REQUIRE_EQ(host_resource_acquired(foreign), S_OK);
    REQUIRE_EQ(host_resource_released(foreign), S_OK);
    REQUIRE_EQ(hostcrst_leave(sections[0]), S_OK);
}

static void begin_with_resource(void)
{
    begin();
    REQUIRE_EQ(host_resource_create(&foreign), S_OK);
    REQUIRE_EQ(host_resource_set_name(foreign, "foreign"), S_OK);
}

static void with_a_resource(void)
{
    begin_with_resource();
    let(&one, the_resource_first, a, 0, 0, 0);
    let(&other, the_resource_last, a, 0, 0, 0);
    char *said = content_of(STDERR_FILENO);
    CHECK_EQ(times_in(said, " \"foreign\" at order_c_"), 2);
    CHECK_EQ(times_in(said, "the_resource_first+0x"), 1);
    CHECK_EQ(times_in(said, "the_resource_last+0x"), 2);
    free(said);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_EQ(times_in(json, "\"resource_name\":\"foreign\",\"entered_at\":"), 1);
    CHECK_EQ(times_in(json, "\"section_name\":\"a\",\"entered_at\":"), 1);
    CHECK_LACKS(json, "\"section_name\":\"foreign\"");
    free(json);
    CHECK_EQ(hostcrst_allow_order(foreign, b), S_OK);
    let(&one, the_resource_first, b, 0, 0, 0);
    let(&other, the_resource_last, b, 0, 0, 0);
    finish(1);
}

static void resources_are_examined_too(void)
{
    in_process(with_a_resource);
}

static void enter_then_acquire_at_a_place(const hostcrst_t *sections)
{
    REQUIRE_EQ(hostcrst_enter(sections[0], 0), S_OK);
    REQUIRE_EQ(host_resource_acquired_at(foreign, "sell (shop.lua:12)"), S_OK);
    REQUIRE_EQ(host_resource_released(foreign), S_OK);
    REQUIRE_EQ(hostcrst_leave(sections[0]), S_OK);
}

static void with_a_resource_at_a_place(void)
{
    begin_with_resource();
    let(&one, the_resource_first, a, 0, 0, 0);
    let(&other, enter_then_acquire_at_a_place, a, 0, 0, 0);
    char *said = content_of(STDERR_FILENO);
    CHECK_EQ(times_in(said, " \"foreign\" at sell (shop.lua:12)\n"), 1);
    free(said);
    finish(1);
}

static void the_place_of_a_resource_may_be_named(void)
{
    in_process(with_a_resource_at_a_place);
}

/* Also if it was acquired before orders were examined. */
static void gated_by_a_resource(void)
{
    begin_with_resource();
    const hostcrst_t back[4] = {b, a, 0, 0};
    let(&one, the_resource_first, a, b, 0, 0);
    let(&other, the_resource_first, b, a, 0, 0);
    CHECK_EQ(times_told(), 0);
    REQUIRE_EQ(host_set_order_checks(0), S_OK);
    REQUIRE_EQ(host_resource_acquired(foreign), S_OK);
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    enter_in_order(back);
    REQUIRE_EQ(host_resource_released(foreign), S_OK);
    finish(0);
}

static void a_resource_can_be_a_gate(void)
{
    in_process(gated_by_a_resource);
}

/* ---- no alarms ---- */

static void gated(void)
{
    begin();
    for (int time = 0; time < 3; time++) {
        let(&one, enter_in_order, c, a, b, 0);
        let(&other, enter_in_order, c, b, a, 0);
    }
    finish(0);
}

static void a_gate_is_no_alarm(void)
{
    in_process(gated);
}

static void by_one(void)
{
    begin();
    let(&one, enter_in_order, a, b, 0, 0);
    let(&one, enter_in_order, b, a, 0, 0);
    finish(0);
}

static void both_orders_by_one_thread_are_no_alarm(void)
{
    in_process(by_one);
}

/* The threads come later. */
static void at_the_start(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    const hostcrst_t sections[4] = {named("first"), named("second"), 0, 0};
    enter_in_order(sections);
    start(&one);
    let(&one, enter_in_order, sections[1], sections[0], 0, 0);
    CHECK_EQ(times_told(), 0);
    enter_in_order(sections);
    CHECK_EQ(times_told(), 1);
    end(&one);
}

/* It has not called the library. */
static void start_without_a_call(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    const hostcrst_t sections[4] = {named("first"), named("second"), 0, 0};
    start(&one);
    enter_in_order(sections);
    let(&one, enter_in_order, sections[1], sections[0], 0, 0);
    CHECK_EQ(times_told(), 1);
    end(&one);
}

static void what_the_only_thread_does_is_no_alarm(void)
{
    in_process(at_the_start);
    in_process(start_without_a_call);
}

static void tries(void)
{
    begin();
    let(&one, enter_in_order, a, b, 0, 0);
    let(&other, try_the_last, b, a, 0, 0);
    let(&other, limit_the_last, b, a, 0, 0);
    REQUIRE_EQ(hostcrst_enter(a, 0), S_OK);
    let(&other, try_the_last, b, a, 0, 0);
    let(&other, limit_the_last, b, a, 0, 0);
    REQUIRE_EQ(hostcrst_leave(a), S_OK);
    finish(0);
}

static void what_does_not_wait_for_ever_is_no_alarm(void)
{
    in_process(tries);
}

static void again(void)
{
    begin();
    let(&one, enter_in_order, a, b, a, b);
    let(&other, enter_in_order, a, a, b, a);
    finish(0);
}

static void entering_again_is_no_alarm(void)
{
    in_process(again);
}

/* The next section has the place of the last one. */
static void in_the_same_place(void)
{
    begin();
    let(&one, enter_in_order, a, b, 0, 0);
    REQUIRE_EQ(hostcrst_destroy(b), S_OK);
    hostcrst_t next = named("next");
    CHECK_EQ((uint32_t)next, (uint32_t)b);
    let(&other, enter_in_order, next, a, 0, 0);
    CHECK_EQ(times_told(), 0);
    let(&one, enter_in_order, a, next, 0, 0);
    finish(1);
}

static void a_section_that_ended_takes_its_orders_along(void)
{
    in_process(in_the_same_place);
}

static void allowed(void)
{
    begin();
    CHECK_EQ(hostcrst_allow_order(a, a), E_INVALIDARG);
    CHECK_EQ(hostcrst_allow_order(a, 0), E_HANDLE);
    CHECK_EQ(hostcrst_allow_order(b, a), S_OK);
    CHECK_EQ(hostcrst_allow_order(b, a), S_OK);
    let(&one, enter_in_order, a, b, 0, 0);
    let(&other, enter_in_order, b, a, 0, 0);
    CHECK_EQ(times_told(), 0);
    let(&one, enter_in_order, b, c, 0, 0);
    let(&other, enter_in_order, c, b, 0, 0);
    finish(1);
}

static void an_order_that_is_declared_good_is_no_alarm(void)
{
    in_process(allowed);
}

/* The gate was entered before anybody looked. */
static void switched_on_inside(void)
{
    static hostcrst_t gate;
    start_runtime();
    a = named("a");
    b = named("b");
    gate = named("gate");
    start(&one);
    const hostcrst_t there[4] = {a, b, 0, 0};
    const hostcrst_t back[4] = {b, a, 0, 0};
    REQUIRE_EQ(hostcrst_enter(gate, 0), S_OK);
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    enter_in_order(there);
    REQUIRE_EQ(hostcrst_leave(gate), S_OK);
    let(&one, enter_in_order, gate, b, a, 0);
    CHECK_EQ(times_told(), 0);
    char *text = text_report();
    CHECK_CONTAINS(text, "Entries whose order was not, or not wholly, examined: ");
    free(text);
    enter_in_order(there);
    let(&one, enter_in_order, gate, b, a, 0);
    CHECK_EQ(times_told(), 1);
    enter_in_order(back);
    end(&one);
}

static void what_was_entered_before_could_be_a_gate(void)
{
    in_process(switched_on_inside);
}

/* ---- off, limits, fork ---- */

static void unasked(void)
{
    start_runtime();
    a = named("a");
    b = named("b");
    start(&one);
    start(&other);
    let(&one, enter_in_order, a, b, 0, 0);
    let(&other, enter_in_order, b, a, 0, 0);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_LACKS(json, "\"order\"");
    free(json);
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    let(&one, enter_in_order, a, b, 0, 0);
    REQUIRE_EQ(host_set_order_checks(0), S_OK);
    let(&other, enter_in_order, b, a, 0, 0);
    CHECK_EQ(times_told(), 0);
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    let(&other, enter_in_order, b, a, 0, 0);
    finish(1);
}

static void nothing_is_examined_unasked(void)
{
    in_process(unasked);
}

#define MANY 100

/* More pairs than there is room for; then most of them end. */
static void too_many_pairs(void)
{
    static hostcrst_t many[MANY];
    begin();
    for (int at = 0; at < MANY; at++) {
        many[at] = new_section();
    }
    for (int first = 0; first < MANY; first++) {
        for (int then = first + 1; then < MANY; then++) {
            let(&one, enter_in_order, many[first], many[then], 0, 0);
        }
    }
    char *said = content_of(STDERR_FILENO);
    CHECK_EQ(times_in(said, "hostcrst: 4096 pairs of sections are remembered: the orders of others are not examined\n"), 1);
    free(said);
    for (int at = 0; at < MANY; at++) {
        REQUIRE_EQ(hostcrst_destroy(many[at]), S_OK);
    }
    let(&one, enter_in_order, a, b, 0, 0);
    let(&other, enter_in_order, b, a, 0, 0);
    finish(1);
}

static void a_full_table_says_so_and_takes_what_ended_out(void)
{
    in_process(too_many_pairs);
}

static void fork_and_go_on(void)
{
    static worker_t of_child;
    begin();
    let(&one, enter_in_order, a, b, 0, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        start(&of_child);
        let(&of_child, enter_in_order, b, a, 0, 0);
        end(&of_child);
        CHECK_EQ(times_told(), 1);
        _exit(check_failed_so_far() != 0);
    }
    int status = -1;
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    end(&one);
    end(&other);
}

static void the_child_of_a_fork_knows_what_its_parent_saw(void)
{
    in_process(fork_and_go_on);
}

/* For run_again. */
static void both_orders_unasked(void)
{
    start_runtime();
    a = named("a");
    b = named("b");
    start(&one);
    start(&other);
    let(&one, enter_in_order, a, b, 0, 0);
    let(&other, enter_in_order, b, a, 0, 0);
    end(&one);
    end(&other);
}

static void the_environment_switches_it_on(void)
{
    run_t run = run_again("both_orders_unasked", "HOSTCRST_ORDER=1", NULL, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_EQ(times_in(run.said, "hostcrst: could deadlock: "), 1);
    free(run.said);
    run = run_again("both_orders_unasked", "HOSTCRST_ORDER=both", NULL, NULL);
    CHECK_STR_EQ(run.said, "hostcrst: HOSTCRST_ORDER: unknown value 'both' ignored; known: 0 or 1\n");
    free(run.said);
}

CHECK_MAIN(CHECK_TEST(an_order_taken_both_ways_is_told_once_with_all_places), CHECK_TEST(a_longer_circle_is_told),
           CHECK_TEST(a_gate_that_was_left_out_once_is_told), CHECK_TEST(what_a_try_got_counts_for_what_comes_next),
           CHECK_TEST(sections_of_windows_are_examined_too), CHECK_TEST(a_gate_is_no_alarm),
           CHECK_TEST(resources_are_examined_too), CHECK_TEST(a_resource_can_be_a_gate),
           CHECK_TEST(the_place_of_a_resource_may_be_named),
           CHECK_TEST(both_orders_by_one_thread_are_no_alarm), CHECK_TEST(what_the_only_thread_does_is_no_alarm),
           CHECK_TEST(what_does_not_wait_for_ever_is_no_alarm), CHECK_TEST(entering_again_is_no_alarm),
           CHECK_TEST(a_section_that_ended_takes_its_orders_along),
           CHECK_TEST(an_order_that_is_declared_good_is_no_alarm), CHECK_TEST(what_was_entered_before_could_be_a_gate),
           CHECK_TEST(nothing_is_examined_unasked), CHECK_TEST(a_full_table_says_so_and_takes_what_ended_out),
           CHECK_TEST(the_child_of_a_fork_knows_what_its_parent_saw), CHECK_TEST(the_environment_switches_it_on),
           CHECK_TEST(both_orders_unasked))
