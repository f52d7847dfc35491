/*
 * What explains a wait: where it was called and, where that is tracked, since when and from where sections
 * are owned; and the lines on stderr of a task that has waited for long. The environment is read once in a
 * process, so each situation that depends on it plays in a child.
 */
#include "deadlock/ring.h"
#include "own_stderr.h"

#include <sys/wait.h>

/*
 * Finds `pattern` in `text`, in which '#' is a run of digits and '@' a run of characters of one line
 * without spaces; the end of what it found, or NULL after a failed check.
 */
static const char *match_here(const char *text, const char *pattern)
{
    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '#' || *pattern == '@') {
            const char *begun = text;
            while (*pattern == '#' ? *text >= '0' && *text <= '9' : *text > ' ' && *text != pattern[1]) {
                text++;
            }
            if (text == begun) {
                return NULL;
            }
        } else if (*text++ != *pattern) {
            return NULL;
        }
    }
    return text;
}

static const char *find(const char *text, const char *pattern)
{
    for (const char *at = text; *at != '\0'; at++) {
        const char *end = match_here(at, pattern);
        if (end != NULL) {
            return end;
        }
    }
    return NULL;
}

/* ---- in the child ---- */

/* What is to be said on stderr before a wait ends, and how often; without any, some time in which nothing is. */
static const char *awaited[2];
static int awaited_times;

static int times_said(const char *pattern)
{
    static char text[65536];
    int times = 0;
    ssize_t length = pread(STDERR_FILENO, text, sizeof text - 1, 0);
    REQUIRE(length >= 0);
    text[length] = '\0';
    for (const char *at = text; (at = find(at, pattern)) != NULL;) {
        times++;
    }
    return times;
}

static void wait_until_said(void)
{
    struct timespec silence = {0, 300 * 1000 * 1000};
    if (awaited[0] == NULL) {
        nanosleep(&silence, NULL);
    }
    for (int at = 0; at < 2 && awaited[at] != NULL; at++) {
        REQUIRE_SOON(times_said(awaited[at]) >= awaited_times);
    }
}

static void await_said(const char *one, const char *other, int times)
{
    awaited[0] = one;
    awaited[1] = other;
    awaited_times = times;
}

static check_steps_t steps = CHECK_STEPS_INIT;
static hostcrst_t orders;
static hostcrst_t stock;

/* Their names are looked for in reports, with an offset. */
void begin_order(void);
void reserve_stock(void);
void flush_orders(void);
void enter_mine_then(hostcrst_t mine, hostcrst_t other);

__attribute__((noinline)) void begin_order(void)
{
    REQUIRE_EQ(hostcrst_enter(orders, 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(orders, 0), S_OK);
}

__attribute__((noinline)) void reserve_stock(void)
{
    REQUIRE_EQ(hostcrst_enter(stock, 0), S_OK);
}

__attribute__((noinline)) void flush_orders(void)
{
    CHECK_EQ(hostcrst_enter(orders, WAIT_ALERTABLE), HOST_E_INTERRUPTED);
}

static void be_called(const char *name)
{
    host_task_t task = 0;
    REQUIRE_EQ(host_task_current(&task), S_OK);
    REQUIRE_EQ(host_task_set_name(task, name), S_OK);
}

static hostcrst_t new_section(const char *name)
{
    hostcrst_t section = 0;
    REQUIRE_EQ(hostcrst_create(&section), S_OK);
    REQUIRE_EQ(hostcrst_set_name(section, name), S_OK);
    return section;
}

static void create_both(void)
{
    orders = new_section("orders");
    stock = new_section("stock");
}

static void own_and_wait(void *task)
{
    be_called("clerk");
    REQUIRE_EQ(host_task_current((host_task_t *)task), S_OK);
    reserve_stock();
    check_reach(&steps, 1);
    flush_orders();
    CHECK_EQ(hostcrst_leave(stock), S_OK);
}

static void report_on_stderr(void)
{
    CHECK_EQ(host_report(STDERR_FILENO, HOST_REPORT_TEXT), S_OK);
    CHECK_EQ(host_report(STDERR_FILENO, HOST_REPORT_JSON), S_OK);
}

/* The main thread owns orders, a clerk owns stock and waits for orders. */
static void one_waits(void)
{
    check_thread_t clerk;
    host_task_t task = 0;
    be_called("manager");
    create_both();
    begin_order();
    check_start(&clerk, own_and_wait, &task);
    check_await(&steps, 1);
    AWAIT(section_info(orders).waiters == 1);
    report_on_stderr();
    CHECK_EQ(host_task_alert(task), S_OK);
    check_join(&clerk);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
}

static void one_waits_while_tracked(void)
{
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    one_waits();
}

/* What was entered before, or is entered after tracking, is not known; what is not known is not said. */
static void tracked_for_a_while(void)
{
    hostcrst_t before;
    hostcrst_t during;
    hostcrst_t after;
    REQUIRE_EQ(hostcrst_create(&before), S_OK);
    REQUIRE_EQ(hostcrst_create(&during), S_OK);
    REQUIRE_EQ(hostcrst_create(&after), S_OK);
    CHECK_EQ(hostcrst_set_name(before, "before"), S_OK);
    CHECK_EQ(hostcrst_set_name(during, "during"), S_OK);
    CHECK_EQ(hostcrst_set_name(after, "after"), S_OK);
    CHECK_EQ(hostcrst_enter(before, 0), S_OK);
    CHECK_EQ(host_set_hold_tracking(1), S_OK);
    CHECK_EQ(host_set_hold_tracking(1), S_OK);
    CHECK_EQ(hostcrst_enter(during, 0), S_OK);
    report_on_stderr();
    CHECK_EQ(host_set_hold_tracking(0), S_OK);
    CHECK_EQ(hostcrst_enter(after, 0), S_OK);
    CHECK_EQ(host_set_hold_tracking(1), S_OK);
    report_on_stderr();
}

__attribute__((noinline)) void enter_mine_then(hostcrst_t mine, hostcrst_t other)
{
    REQUIRE_EQ(hostcrst_enter(mine, 0), S_OK);
    check_arrive(&steps, 2);
    int32_t result = hostcrst_enter(other, 0);
    if (result == S_OK) {
        CHECK_EQ(hostcrst_leave(other), S_OK);
    }
    CHECK_EQ(hostcrst_leave(mine), S_OK);
}

static void other_side(void *unused)
{
    (void)unused;
    be_called("clerk");
    enter_mine_then(stock, orders);
}

static void a_deadlock_while_tracked(void)
{
    check_thread_t clerk;
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    be_called("manager");
    create_both();
    check_start(&clerk, other_side, NULL);
    enter_mine_then(orders, stock);
    check_join(&clerk);
    report_on_stderr();
}

/* The clerk has entered before the manager does, and waits after it. */
static void the_clerk_comes_first(void *unused)
{
    (void)unused;
    be_called("clerk");
    REQUIRE_EQ(hostcrst_enter(stock, 0), S_OK);
    check_reach(&steps, 1);
    AWAIT(section_info(stock).waiters == 1);
    CHECK_EQ(hostcrst_enter(orders, 0), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_leave(stock), S_OK);
}

static void a_deadlock_with_one_that_came_first(void)
{
    check_thread_t clerk;
    be_called("manager");
    create_both();
    check_start(&clerk, the_clerk_comes_first, NULL);
    check_await(&steps, 1);
    REQUIRE_EQ(hostcrst_enter(orders, 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(stock, 0), S_OK);
    CHECK_EQ(hostcrst_leave(stock), S_OK);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
    check_join(&clerk);
    report_on_stderr();
}

/* The porter has the orders first, and gives them to the manager, who came before the clerk. */
static void the_porter_gives_them_up(void *unused)
{
    (void)unused;
    REQUIRE_EQ(hostcrst_enter(orders, 0), S_OK);
    check_reach(&steps, 1);
    AWAIT(section_info(orders).waiters == 2);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
}

static void the_clerk_waits_before_the_manager_has_them(void *unused)
{
    (void)unused;
    be_called("clerk");
    REQUIRE_EQ(hostcrst_enter(stock, 0), S_OK);
    AWAIT(section_info(orders).waiters == 1);
    CHECK_EQ(hostcrst_enter(orders, 0), S_OK);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
    CHECK_EQ(hostcrst_leave(stock), S_OK);
}

static void a_deadlock_through_what_was_given_up(void)
{
    check_thread_t porter;
    check_thread_t clerk;
    be_called("manager");
    create_both();
    check_start(&porter, the_porter_gives_them_up, NULL);
    check_await(&steps, 1);
    check_start(&clerk, the_clerk_waits_before_the_manager_has_them, NULL);
    REQUIRE_EQ(hostcrst_enter(orders, 0), S_OK);
    CHECK_EQ(hostcrst_enter(stock, 0), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
    check_join(&porter);
    check_join(&clerk);
    report_on_stderr();
}

static const char *clerks_place;

/* The library has a copy of the text, as a report is made of it when this one is gone. */
__attribute__((noinline)) int32_t enter_named(hostcrst_t section, const char *place)
{
    char text[128] = "";
    strncat(text, place, sizeof text - 1);
    int32_t result = hostcrst_enter_at(section, 0, HOSTCRST_INFINITE, text);
    memset(text, '?', sizeof text - 1);
    return result;
}

static void enter_at_the_clerks_place(void *task)
{
    be_called("clerk");
    REQUIRE_EQ(host_task_current((host_task_t *)task), S_OK);
    CHECK_EQ(enter_named(stock, "restock (shop.lua:20)"), S_OK);
    check_reach(&steps, 1);
    CHECK_EQ(clerks_place != NULL ? enter_named(orders, clerks_place)
                                  : hostcrst_enter_at(orders, 0, HOSTCRST_INFINITE, NULL), S_OK);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
    CHECK_EQ(hostcrst_leave(stock), S_OK);
}

/* The clerk waits at its place; then the main thread closes the circle, and is refused. */
static void a_deadlock_at_named_places(void)
{
    check_thread_t clerk;
    host_task_t task = 0;
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    be_called("manager");
    create_both();
    CHECK_EQ(enter_named(orders, "sell (shop.lua:12)"), S_OK);
    check_start(&clerk, enter_at_the_clerks_place, &task);
    check_await(&steps, 1);
    AWAIT(section_info(orders).waiters == 1);
    report_on_stderr();
    CHECK_EQ(enter_named(stock, "sell (shop.lua:13)"), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_leave(orders), S_OK);
    check_join(&clerk);
    report_on_stderr();
}

/* More places than can be kept: each entry of a section whose holds are tracked names one. */
static void places_without_end(void)
{
    check_thread_t clerk;
    host_task_t task = 0;
    create_both();
    CHECK_EQ(hostcrst_enter(orders, 0), S_OK);
    CHECK_EQ(host_set_hold_tracking(1), S_OK);
    for (int place = 0; place < 200000; place++) {
        char text[32];
        snprintf(text, sizeof text, "place %d", place);
        CHECK_EQ(hostcrst_enter_at(stock, 0, 0, text), S_OK);
        CHECK_EQ(hostcrst_leave(stock), S_OK);
    }
    check_start(&clerk, enter_at_the_clerks_place, &task);
    check_await(&steps, 1);
    AWAIT(section_info(orders).waiters == 1);
    report_on_stderr();
    CHECK_EQ(hostcrst_leave(orders), S_OK);
    check_join(&clerk);
}

/* ---- stalls, in the child ---- */

static hostcrst_t first;
static hostcrst_t second;

static void hold_first_wait_for_second(void *task)
{
    be_called("middle");
    REQUIRE_EQ(host_task_current((host_task_t *)task), S_OK);
    CHECK_EQ(hostcrst_enter(first, 0), S_OK);
    check_reach(&steps, 1);
    CHECK_EQ(hostcrst_enter(second, WAIT_ALERTABLE), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
}

static void wait_for_first(void *unused)
{
    (void)unused;
    be_called("last");
    CHECK_EQ(hostcrst_enter(first, 0), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
}

/* "last" waits for "middle", which waits for the main thread, until the expected line was written. */
static void a_chain_of_waits(void)
{
    check_thread_t middle;
    check_thread_t last;
    host_task_t task = 0;
    be_called("boss");
    first = new_section("first");
    second = new_section("second");
    CHECK_EQ(hostcrst_enter(second, 0), S_OK);
    check_start(&middle, hold_first_wait_for_second, &task);
    check_await(&steps, 1);
    AWAIT(section_info(second).waiters == 1);
    check_start(&last, wait_for_first, NULL);
    AWAIT(section_info(first).waiters == 1);
    wait_until_said();
    CHECK_EQ(hostcrst_leave(second), S_OK);
    check_join(&middle);
    check_join(&last);
}

/* ---- circles, in the child ---- */

#define AN_HOUR (3600u * 1000)
/* Of so many tasks a line does not name all. */
#define MANY 7

static void wait_outside(void *argument)
{
    be_called("outside");
    CHECK_EQ(hostcrst_enter(*(hostcrst_t *)argument, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(hostcrst_leave(*(hostcrst_t *)argument), S_OK);
}

/*
 * A cycle of `size` tasks, until the expected line was written: a deadlock, or one that the limit of member 0 opens.
 * With `outside` a third task waits for a section of it, and is no part of it.
 */
static void a_circle(unsigned size, int limited, int outside)
{
    check_thread_t waiter;
    ring_t *ring = ring_start(size);
    for (unsigned at = 0; at < size; at++) {
        ring->members[at].option = WAIT_NOTINDEADLOCK | WAIT_ALERTABLE;
    }
    ring->members[0].milliseconds = limited ? AN_HOUR : HOSTCRST_INFINITE;
    ring->closer = 0;
    ring_begin(ring);
    AWAIT(others_wait(ring, RING_MOST));
    AWAIT(limited || times_told(ring) == 1);
    if (outside) {
        check_start(&waiter, wait_outside, &ring->members[0].section);
    }
    wait_until_said();
    CHECK_EQ(times_told(ring), !limited);
    CHECK_EQ(host_task_alert(ring->members[0].task), S_OK);
    ring_end(ring);
    if (outside) {
        check_join(&waiter);
    }
    ring_stop(ring);
}

static void a_deadlock_that_stalls(void)
{
    a_circle(2, 0, 0);
}

static void a_deadlock_with_a_waiter_outside(void)
{
    a_circle(2, 0, 1);
}

static void a_deadlock_of_many(void)
{
    a_circle(MANY, 0, 0);
}

static void a_limited_circle(void)
{
    a_circle(2, 1, 0);
}

static void a_limited_circle_with_a_waiter_outside(void)
{
    a_circle(2, 1, 1);
}

static void a_limited_circle_of_many(void)
{
    a_circle(MANY, 1, 0);
}

/* Task `at` owns section `at` and waits for the next. */
static hostcrst_t chain[MANY];

static void wait_in_chain(void *argument)
{
    const hostcrst_t *mine = (const hostcrst_t *)argument;
    char name[32];
    snprintf(name, sizeof name, "link %d", (int)(mine - chain));
    be_called(name);
    CHECK_EQ(hostcrst_enter(mine[0], 0), S_OK);
    CHECK_EQ(hostcrst_enter(mine[1], 0), S_OK);
    CHECK_EQ(hostcrst_leave(mine[1]), S_OK);
    CHECK_EQ(hostcrst_leave(mine[0]), S_OK);
}

static void a_chain_of_many(void)
{
    check_thread_t links[MANY - 1];
    be_called("boss");
    for (int at = 0; at < MANY; at++) {
        chain[at] = new_section("chained");
    }
    CHECK_EQ(hostcrst_enter(chain[MANY - 1], 0), S_OK);
    for (int at = MANY - 2; at >= 0; at--) {
        check_start(&links[at], wait_in_chain, &chain[at]);
        AWAIT(section_info(chain[at + 1]).waiters == 1);
    }
    wait_until_said();
    CHECK_EQ(hostcrst_leave(chain[MANY - 1]), S_OK);
    for (int at = 0; at < MANY - 1; at++) {
        check_join(&links[at]);
    }
}

/* ---- the child and what it wrote to stderr ---- */

typedef struct outcome {
    char text[65536];
    int status;
} outcome_t;

static void child_of(outcome_t *outcome, void (*body)(void), const char *variable, const char *value)
{
    fflush(stdout);
    own_stderr_empty();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        check_failures = 0;
        alarm(2 * CHECK_PATIENCE_SECONDS);
        if (variable != NULL) {
            setenv(variable, value, 1);
        }
        REQUIRE_EQ(host_runtime_start(), S_OK);
        body();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    REQUIRE_EQ(waitpid(child, &outcome->status, 0), child);
    CHECK(WIFEXITED(outcome->status) && WEXITSTATUS(outcome->status) == 0);
    ssize_t length = pread(STDERR_FILENO, outcome->text, sizeof outcome->text - 1, 0);
    REQUIRE(length >= 0);
    outcome->text[length] = '\0';
    own_stderr_empty();
}

static const char *check_finds(const char *text, const char *pattern)
{
    const char *end = find(text, pattern);
    if (!CHECK(end != NULL)) {
        printf("wanted \"%s\" in:\n%s\n", pattern, text);
        return text;
    }
    return end;
}

static void check_finds_not(const char *text, const char *pattern)
{
    if (!CHECK(find(text, pattern) == NULL)) {
        printf("did not want \"%s\" in:\n%s\n", pattern, text);
    }
}

/* ---- where and since when ---- */

static void waits_are_explained_always(void)
{
    static outcome_t outcome;
    child_of(&outcome, one_waits, NULL, NULL);
    check_finds(outcome.text, "\"clerk\" tid=# (0x@) task=0x@ [no transitions yet, waiting #.#s]\n"
                              "   waiting to enter 0x@ \"orders\" at deadlock_explained_@!flush_orders+0x@\n"
                              "      which is owned by \"manager\" tid=#\n"
                              "   owns 0x@ \"stock\" recursion=1\n");
    check_finds(outcome.text, "   owns 0x@ \"orders\" recursion=2\n");
    check_finds(outcome.text, "\"at\":\"deadlock_explained_@!flush_orders+0x@\"");
    check_finds_not(outcome.text, "entered at");
    check_finds_not(outcome.text, "entered_at");
    check_finds_not(outcome.text, "owned_for_ns");
}

static void check_holds_are_explained(const outcome_t *outcome)
{
    check_finds(outcome->text, "   waiting to enter 0x@ \"orders\" at deadlock_explained_@!flush_orders+0x@\n"
                               "      which is owned by \"manager\" tid=# (for #.#s)\n"
                               "   owns 0x@ \"stock\" recursion=1, entered at "
                               "deadlock_explained_@!reserve_stock+0x@ (for #.#s)\n");
    check_finds(outcome->text, "   owns 0x@ \"orders\" recursion=2, entered at "
                               "deadlock_explained_@!begin_order+0x@ (for #.#s)\n");
    check_finds(outcome->text, "\"name\":\"stock\",\"state\":\"owned\",\"owner\":\"0x@\",\"recursion\":1,"
                               "\"waiters\":0,\"contended\":0,\"owned_for_ns\":#,"
                               "\"entered_at\":\"deadlock_explained_@!reserve_stock+0x@\"");
}

static void holds_are_explained_on_request(void)
{
    static outcome_t outcome;
    child_of(&outcome, one_waits_while_tracked, NULL, NULL);
    check_holds_are_explained(&outcome);
    child_of(&outcome, one_waits, "HOSTCRST_HOLDS", "1");
    check_holds_are_explained(&outcome);
    child_of(&outcome, one_waits, "HOSTCRST_HOLDS", "0");
    check_finds_not(outcome.text, "entered at");
    child_of(&outcome, one_waits, "HOSTCRST_HOLDS", "yes");
    check_finds(outcome.text, "hostcrst: HOSTCRST_HOLDS: unknown value 'yes' ignored; known: 0 or 1\n");
    check_finds_not(outcome.text, "entered at");
}

static void only_what_is_known_is_said(void)
{
    static outcome_t outcome;
    child_of(&outcome, tracked_for_a_while, NULL, NULL);
    const char *later = check_finds(outcome.text, "\"before\" recursion=1\n");
    later = check_finds(later, "\"during\" recursion=1, entered at "
                               "deadlock_explained_@!tracked_for_a_while+0x@ (for ");
    later = check_finds(later, "\"before\" recursion=1\n");
    later = check_finds(later, "\"during\" recursion=1\n");
    check_finds(later, "\"after\" recursion=1\n");
}

static void the_order_that_led_here_has_places(void)
{
    static outcome_t outcome;
    child_of(&outcome, a_deadlock_while_tracked, NULL, NULL);
    const char *later = check_finds(outcome.text, "Order that led here:\n");
    for (int step = 0; step < 2; step++) {
        later = check_finds(later, "enters \"@\" at deadlock_explained_@!enter_mine_then+0x@\n");
    }
    for (int step = 0; step < 2; step++) {
        later = check_finds(later, "waits for \"@\" at deadlock_explained_@!enter_mine_then+0x@\n");
    }
    check_finds(later, "   *** DEADLOCK ***\n"
                       "Victim: \"@\" tid=# got HOST_E_DEADLOCK; it still owned \"@\" and was to leave it.\n");
    check_finds(outcome.text, "\"entered_at\":\"deadlock_explained_@!enter_mine_then+0x@\"");
}

/* In this order, up to a NULL. */
static void check_finds_all(const char *text, const char *const *wanted)
{
    for (; *wanted != NULL; wanted++) {
        text = check_finds(text, *wanted);
    }
}

static void the_order_that_led_here_is_that_of_time(void)
{
    static const char *const of_who_came_first[] = {
        "Order that led here:\n   manager tid=#",
        " enters \"stock\" at ",
        "   enters \"orders\" at ",
        "   waits for \"stock\" at ",
        " waits for \"orders\" at ",
        "   *** DEADLOCK ***\nVictim: \"clerk\"",
        NULL,
    };
    static const char *const of_what_was_given_up[] = {
        "Order that led here:\n   clerk tid=#",
        "\n   enters \"stock\" at ",
        "\n   waits for \"orders\" at ",
        " enters \"orders\" at ",
        " waits for \"stock\" at ",
        NULL,
    };
    static const char *const of_what_was_not_recorded[] = {
        "   waits for \"stock\" at ",
        " waits for \"orders\" at ",
        "   *** DEADLOCK ***\n   (When each took what it owns was not recorded.)\n",
        NULL,
    };
    static outcome_t outcome;
    child_of(&outcome, a_deadlock_with_one_that_came_first, "HOSTCRST_HOLDS", "1");
    check_finds_all(outcome.text, of_who_came_first);
    child_of(&outcome, a_deadlock_through_what_was_given_up, "HOSTCRST_HOLDS", "1");
    check_finds_all(outcome.text, of_what_was_given_up);
    child_of(&outcome, a_deadlock_with_one_that_came_first, "HOSTCRST_HOLDS", "0");
    check_finds_all(outcome.text, of_what_was_not_recorded);
}

static void a_place_that_is_named_is_shown_for_the_address(void)
{
    static outcome_t outcome;
    clerks_place = "restock (shop.lua:21)";
    child_of(&outcome, a_deadlock_at_named_places, NULL, NULL);
    const char *later = check_finds(outcome.text, "   waiting to enter 0x@ \"orders\" at restock (shop.lua:21)\n"
                                                  "      which is owned by \"manager\" tid=# (for #.#s)\n"
                                                  "   owns 0x@ \"stock\" recursion=1, entered at restock (shop.lua:20) (for #.#s)\n");
    later = check_finds(later, "\"at\":\"restock (shop.lua:21)\"");
    later = check_finds(later, "\"entered_at\":\"restock (shop.lua:20)\"");
    later = check_finds(later, "Order that led here:\n");
    check_finds(later, "enters \"orders\" at sell (shop.lua:12)\n");
    check_finds(later, "enters \"stock\" at restock (shop.lua:20)\n");
    check_finds(later, "waits for \"orders\" at restock (shop.lua:21)\n");
    check_finds(later, "waits for \"stock\" at sell (shop.lua:13)\n");
}

static void a_place_cannot_garble_a_report(void)
{
    static outcome_t outcome;
    clerks_place = "restock\033[2J\n\"x\":1\xff";
    child_of(&outcome, a_deadlock_at_named_places, NULL, NULL);
    check_finds(outcome.text, " \"orders\" at restock?[2J??x?:1?\n");
    check_finds(outcome.text, "\"at\":\"restock?[2J??x?:1?\"");
}

static void without_a_place_the_address_is_shown(void)
{
    static outcome_t outcome;
    clerks_place = NULL;
    child_of(&outcome, a_deadlock_at_named_places, NULL, NULL);
    check_finds(outcome.text, " \"orders\" at deadlock_explained_@!enter_at_the_clerks_place+0x@\n");
    clerks_place = "";
    child_of(&outcome, a_deadlock_at_named_places, NULL, NULL);
    check_finds(outcome.text, " \"orders\" at deadlock_explained_@!enter_named+0x@\n");
}

static void where_no_more_places_can_be_kept_the_address_is_shown(void)
{
    static outcome_t outcome;
    clerks_place = "restock (shop.lua:21)";
    child_of(&outcome, places_without_end, NULL, NULL);
    check_finds(outcome.text, " \"orders\" at deadlock_explained_@!enter_named+0x@\n");
}

/* ---- stalls ---- */

/* A stall is said when it has lasted 0.2 s, again after 0.4 s more, after 0.8 s more, and so on. */
static void stalls_are_said_after_doubling_times(void)
{
    static outcome_t outcome;
    static const char *const who[] = {"\"middle\" tid=# has waited ", "\"last\" tid=# has waited "};
    await_said(who[0], who[1], 2);
    child_of(&outcome, a_chain_of_waits, "HOSTCRST_STALL", "200ms");
    check_finds(outcome.text, "hostcrst: \"middle\" tid=# has waited #.#s to enter 0x@ \"second\", "
                              "owned by \"boss\" tid=#");
    check_finds(outcome.text, "hostcrst: \"last\" tid=# has waited #.#s to enter 0x@ \"first\", "
                              "owned by \"middle\" tid=#, which itself has waited #.#s to enter 0x@ "
                              "\"second\", owned by \"boss\" tid=#");
    for (int at = 0; at < 2; at++) {
        int times = 0;
        double next = 0.2, all = 0.2;
        for (const char *said = outcome.text; (said = find(said, who[at])) != NULL; times++) {
            /* Later is what a machine does that others use too. */
            CHECK(strtod(said, NULL) >= all - 0.001);
            next *= 2;
            all += next;
        }
        CHECK(times >= 2);
    }
    check_finds_not(outcome.text, "deadlock");
}

static void a_stall_in_a_deadlock_says_so(void)
{
    static outcome_t outcome;
    await_said("\"member 0\" tid=# has waited ", "\"member 1\" tid=# has waited ", 1);
    child_of(&outcome, a_deadlock_that_stalls, "HOSTCRST_STALL", "200ms");
    check_finds(outcome.text, "hostcrst: \"member 0\" tid=# has waited #.#s to enter 0x@ \"section 1\", "
                              "owned by \"member 1\" tid=#, which itself has waited #.#s to enter 0x@ "
                              "\"section 0\", owned by \"member 0\" tid=#: a deadlock\n");
    check_finds(outcome.text, "hostcrst: \"member 1\" tid=# has waited");
}

static void a_stall_outside_of_a_deadlock_names_it_once(void)
{
    static outcome_t outcome;
    await_said("\"outside\" tid=# has waited ", NULL, 1);
    child_of(&outcome, a_deadlock_with_a_waiter_outside, "HOSTCRST_STALL", "200ms");
    check_finds(outcome.text, "hostcrst: \"outside\" tid=# has waited #.#s to enter 0x@ \"section 0\", owned by "
                              "\"member 0\" tid=#, which is part of a deadlock of 2 tasks\n");
}

static void a_stall_in_a_circle_with_a_limit_is_no_deadlock(void)
{
    static outcome_t outcome;
    await_said("\"member 0\" tid=# has waited ", "\"member 1\" tid=# has waited ", 1);
    child_of(&outcome, a_limited_circle, "HOSTCRST_STALL", "200ms");
    for (int at = 0; at < 2; at++) {
        char line[512];
        snprintf(line, sizeof line,
                 "hostcrst: \"member %d\" tid=# has waited #.#s to enter 0x@ \"section %d\", owned by \"member %d\" "
                 "tid=#, which itself has waited #.#s to enter 0x@ \"section %d\", owned by \"member %d\" tid=#: "
                 "a circle that a time limit opens\n",
                 at, 1 - at, 1 - at, at, at);
        check_finds(outcome.text, line);
    }
    check_finds_not(outcome.text, "deadlock");
}

static void a_stall_outside_of_a_circle_with_a_limit_names_it_once(void)
{
    static outcome_t outcome;
    await_said("\"outside\" tid=# has waited ", NULL, 1);
    child_of(&outcome, a_limited_circle_with_a_waiter_outside, "HOSTCRST_STALL", "200ms");
    check_finds(outcome.text, "hostcrst: \"outside\" tid=# has waited #.#s to enter 0x@ \"section 0\", owned by "
                              "\"member 0\" tid=#, which is part of a circle of 2 tasks that a time limit opens\n");
    check_finds_not(outcome.text, "deadlock");
}

/* Five owners are named at most. */
static void a_stall_that_is_long_says_that_it_goes_on(void)
{
    static outcome_t outcome;
    await_said("\"member 0\" tid=# has waited ", "\"member 6\" tid=# has waited ", 1);
    child_of(&outcome, a_deadlock_of_many, "HOSTCRST_STALL", "200ms");
    check_finds(outcome.text, "owned by \"member 5\" tid=#, and so on: a deadlock of 7 tasks\n");
    child_of(&outcome, a_limited_circle_of_many, "HOSTCRST_STALL", "200ms");
    check_finds(outcome.text,
                "owned by \"member 5\" tid=#, and so on: a circle of 7 tasks that a time limit opens\n");
    check_finds_not(outcome.text, "deadlock");
    await_said("\"link 0\" tid=# has waited ", "\"link 1\" tid=# has waited ", 1);
    child_of(&outcome, a_chain_of_many, "HOSTCRST_STALL", "200ms");
    check_finds(outcome.text, "owned by \"link 5\" tid=#, and so on\n");
    const char *later = check_finds(outcome.text, "hostcrst: \"link 1\" tid=# has waited ");
    check_finds(later, "owned by \"link 5\" tid=#, which itself has waited #.#s to enter 0x@ \"chained\", "
                       "owned by \"boss\" tid=#");
}

static void short_waits_and_other_settings_are_silent(void)
{
    static outcome_t outcome;
    await_said(NULL, NULL, 0);
    child_of(&outcome, a_chain_of_waits, "HOSTCRST_STALL", "1000s");
    CHECK_STR_EQ(outcome.text, "");
    child_of(&outcome, a_deadlock_that_stalls, NULL, NULL);
    CHECK_STR_EQ(outcome.text, "");
    child_of(&outcome, a_deadlock_that_stalls, "HOSTCRST_STALL", "200");
    CHECK_STR_EQ(outcome.text, "hostcrst: HOSTCRST_STALL: unknown value '200' ignored; "
                               "known: a whole number with s or ms, such as 500ms\n");
}

CHECK_MAIN(CHECK_TEST(waits_are_explained_always), CHECK_TEST(holds_are_explained_on_request),
           CHECK_TEST(only_what_is_known_is_said), CHECK_TEST(the_order_that_led_here_has_places), CHECK_TEST(the_order_that_led_here_is_that_of_time),
           CHECK_TEST(a_place_that_is_named_is_shown_for_the_address), CHECK_TEST(a_place_cannot_garble_a_report),
           CHECK_TEST(without_a_place_the_address_is_shown),
           CHECK_TEST(where_no_more_places_can_be_kept_the_address_is_shown),
           CHECK_TEST(stalls_are_said_after_doubling_times), CHECK_TEST(a_stall_in_a_deadlock_says_so),
           CHECK_TEST(a_stall_outside_of_a_deadlock_names_it_once),
           CHECK_TEST(a_stall_in_a_circle_with_a_limit_is_no_deadlock),
           CHECK_TEST(a_stall_outside_of_a_circle_with_a_limit_names_it_once),
           CHECK_TEST(a_stall_that_is_long_says_that_it_goes_on),
           CHECK_TEST(short_waits_and_other_settings_are_silent))
