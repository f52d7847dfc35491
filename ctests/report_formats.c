/*
 * Reports in every format, of known situations and while 16 threads change everything. With
 * REPORT_FORMATS_DIR set, each report stays there as a file <situation>.<txt|json|dot|html> for
 * ctests/deadlock/formats.py and ctests/page/page.py, which read them with other programs than the one that wrote them.
 */
#include "deadlock/ring.h"

#include <hostcrst/win32.h>

static const struct format {
    uint32_t format;
    const char *suffix;
} formats[] = {
    {HOST_REPORT_TEXT, "txt"}, {HOST_REPORT_JSON, "json"}, {HOST_REPORT_DOT, "dot"}, {HOST_REPORT_HTML, "html"}};
#define FORMATS (sizeof formats / sizeof formats[0])

/* ---- writing ---- */

static FILE *report_file(const char *situation, const char *suffix)
{
    char path[1024];
    const char *folder = getenv("REPORT_FORMATS_DIR");
    FILE *file;
    if (folder == NULL) {
        file = tmpfile();
    } else {
        snprintf(path, sizeof path, "%s/%s.%s", folder, situation, suffix);
        file = fopen(path, "w+");
    }
    REQUIRE(file != NULL);
    return file;
}

/* The report, to be freed. */
static char *write_report(const char *situation, const struct format *format)
{
    FILE *file = report_file(situation, format->suffix);
    REQUIRE_EQ(host_report(fileno(file), format->format), S_OK);
    fseek(file, 0, SEEK_END);
    size_t length = (size_t)ftell(file);
    char *text = (char *)calloc(length + 1, 1);
    REQUIRE(text != NULL);
    rewind(file);
    REQUIRE_EQ(fread(text, 1, length, file), length);
    CHECK_EQ(strlen(text), length);
    fclose(file);
    return text;
}

static void write_all_formats(const char *situation)
{
    for (size_t at = 0; at < FORMATS; at++) {
        free(write_report(situation, &formats[at]));
    }
}

static void check_has(const char *text, const char *wanted)
{
    if (!CHECK(strstr(text, wanted) != NULL)) {
        printf("wanted \"%s\" in:\n%s\n", wanted, text);
    }
}

static void check_has_not(const char *text, const char *unwanted)
{
    if (!CHECK(strstr(text, unwanted) == NULL)) {
        printf("did not want \"%s\" in:\n%s\n", unwanted, text);
    }
}

/* ---- situations ---- */

static void before_the_first_call(void)
{
    char *text = write_report("not_loaded", &formats[0]);
    check_has(text, "runtime not loaded");
    check_has(text, "No deadlock among ");
    free(text);
    write_all_formats("not_loaded");
}

typedef struct holder {
    check_thread_t thread;
    hostcrst_t section;
} holder_t;

static void hold_and_end(void *argument)
{
    REQUIRE_EQ(hostcrst_enter(((holder_t *)argument)->section, 0), S_OK);
}

static void wait_with_a_limit(void *argument)
{
    holder_t *self = (holder_t *)argument;
    host_task_t task = 0;
    CHECK_EQ(host_task_current(&task), S_OK);
    CHECK_EQ(host_task_set_name(task, "patient"), S_OK);
    CHECK_EQ(hostcrst_enter_timeout(self->section, WAIT_ALERTABLE, 3600 * 1000), S_OK);
    CHECK_EQ(hostcrst_leave(self->section), S_OK);
}

static hostcrst_t named_section(const char *name)
{
    hostcrst_t section = 0;
    REQUIRE_EQ(hostcrst_create(&section), S_OK);
    REQUIRE_EQ(hostcrst_set_name(section, name), S_OK);
    return section;
}

/* A bit of everything: layers, recursion, a waiter with a limit, an abandoned section. */
static void a_bit_of_everything(void)
{
    host_task_t main_task = 0;
    holder_t holder;
    holder_t waiter;
    memset(&holder, 0, sizeof holder);
    memset(&waiter, 0, sizeof waiter);
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_task_current(&main_task), S_OK);
    CHECK_EQ(host_task_set_name(main_task, "the main one"), S_OK);
    CHECK_EQ(host_leave_runtime((size_t)&strlen), S_OK);
    CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    CHECK_EQ(host_leave_runtime(0), S_OK);
    holder.section = named_section("abandoned");
    waiter.section = named_section("busy");
    REQUIRE_EQ(hostcrst_enter(waiter.section, 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(waiter.section, 0), S_OK);
    check_start(&holder.thread, hold_and_end, &holder);
    check_join(&holder.thread);
    check_start(&waiter.thread, wait_with_a_limit, &waiter);
    AWAIT(section_info(waiter.section).waiters == 1);

    char *text = write_report("everything", &formats[0]);
    check_has(text, "\"the main one\" tid=");
    check_has(text, " \"busy\" recursion=2\n");
    check_has(text, "   layers, newest first:\n     [2] native   ?\n"
                    "     [1] managed  \n     [0] native   libc");
    check_has(text, "     [-] managed  (the thread began here)\n");
    check_has(text, "\"patient\" tid=");
    check_has(text, " (with a time limit)\n      which is owned by \"the main one\" tid=");
    check_has(text, "1 abandoned), 0 transition anomalies\n");
    check_has(text, "No deadlock among ");
    /* There is no CLR here, whose locks could be left out. */
    check_has_not(text, "locks of managed code");
    free(text);
    write_all_formats("everything");

    CHECK_EQ(hostcrst_leave(waiter.section), S_OK);
    CHECK_EQ(hostcrst_leave(waiter.section), S_OK);
    check_join(&waiter.thread);
    CHECK_EQ(hostcrst_destroy(waiter.section), S_OK);
    CHECK_EQ(hostcrst_destroy(holder.section), S_OK);
    CHECK_EQ(host_enter_runtime(), S_OK);
    CHECK_EQ(host_reverse_leave_runtime(), S_OK);
    CHECK_EQ(host_enter_runtime(), S_OK);
}

static void let_stand(ring_t *ring)
{
    for (unsigned at = 0; at < ring->size; at++) {
        ring->members[at].option = WAIT_NOTINDEADLOCK | WAIT_ALERTABLE;
    }
    ring->closer = 0;
    ring_begin(ring);
    AWAIT(times_told(ring) == 1);
    /* A task in the callback is out of the queue, and queues again afterwards. */
    for (unsigned at = 0; at < ring->size; at++) {
        AWAIT(section_info(ring->members[at].section).waiters == 1);
    }
}

static void open_again(ring_t *ring)
{
    CHECK_EQ(host_task_alert(ring->members[0].task), S_OK);
    ring_end(ring);
    CHECK_EQ(ring->members[0].result, HOST_E_INTERRUPTED);
}

/* The two columns, time going down: the closer of a ring of two is member 0. */
static void check_order(const char *text)
{
    const char *lines[] = {
        "Order that led here:\n   member 1 tid=", " member 0 tid=",
        "\n   ----                                ----\n   enters \"section 1\"",
        "\n                                       enters \"section 0\"",
        "\n   waits for \"section 0\" at ",
        "\n                                       waits for \"section 1\" at ",
        "\n   *** DEADLOCK ***\n",
    };
    const char *at = text;
    for (size_t line = 0; line < sizeof lines / sizeof lines[0] && at != NULL; line++) {
        at = strstr(at, lines[line]);
        if (!CHECK(at != NULL)) {
            printf("wanted, in this order, \"%s\" in:\n%s\n", lines[line], text);
        }
    }
}

static void a_deadlock_that_stands(void)
{
    ring_t *two = ring_start(2);
    let_stand(two);
    char *text = write_report("standing", &formats[0]);
    check_has(text, "Found 1 deadlock.\n\n\"");
    check_has(text, "Found a deadlock:\n=================\n\"member ");
    check_order(text);
    CHECK(strcmp(text + strlen(text) - strlen("Found 1 deadlock.\n"), "Found 1 deadlock.\n") == 0);
    free(text);
    write_all_formats("standing");
    open_again(two);
    text = write_report("stood", &formats[0]);
    check_has(text, "No deadlock among ");
    check_has_not(text, "Found");
    free(text);
    write_all_formats("stood");
    ring_stop(two);

    ring_t *many = ring_start(20);
    let_stand(many);
    text = write_report("standing_twenty", &formats[0]);
    check_has(text, "Found a deadlock:\n");
    check_has(text, "\"member 19\" tid=");
    free(text);
    write_all_formats("standing_twenty");
    open_again(many);
    ring_stop(many);
}

static void deadlocks_that_were_broken(void)
{
    ring_t *ring = ring_start(2);
    ring->closer = 0;
    ring_round(ring);
    char *text = write_report("broken", &formats[0]);
    check_has(text, "A deadlock of 2 tasks was broken 0.");
    check_has(text, "   \"member 0\" tid=");
    check_order(text);
    check_has(text, "Victim: \"member 0\" tid=");
    check_has(text, " got HOST_E_DEADLOCK; it still owned \"section 0\" and was to leave it.\n");
    check_has(text, "1 deadlock broken so far.\n");
    free(text);
    write_all_formats("broken");
    for (unsigned round = 0; round < 10; round++) {
        ring_round(ring);
    }
    text = write_report("broken_more", &formats[0]);
    check_has(text, "11 deadlocks broken so far.\n");
    unsigned shown = 0;
    for (const char *at = text; (at = strstr(at, "A deadlock of 2")) != NULL; at++) {
        shown++;
    }
    CHECK_EQ(shown, 8);
    free(text);
    write_all_formats("broken_more");
    ring_stop(ring);

    ring_t *many = ring_start(20);
    many->closer = 7;
    ring_round(many);
    text = write_report("broken_twenty", &formats[0]);
    check_has(text, "A deadlock of 20 tasks was broken");
    check_has(text, "   ... and 4 more tasks\n");
    check_has(text, "Victim: \"member 7\" tid=");
    check_has(text, " got HOST_E_DEADLOCK; it still owned what it had entered and was to leave it.\n");
    free(text);
    write_all_formats("broken_twenty");
    ring_stop(many);
}

static void names_that_could_break_a_format(void)
{
    static const char *const names[] = {
        "\"quotes\"", "back\\slash\\", "line\nfeed\rand\ttab", "\x01\x02\x1f\x7f", "\xff\xfe invalid \xc3",
        "\xed\xa0\x80 surrogate", "</svg> & <b>", "{record|label}", "\\N \\G \\\" %s %n",
        "\xe2\x80\xa8 \xc2\x85 separators",
        "*/ // # ;", "caf\xc3\xa9 \xf0\x9f\x94\x92", "</script><script>bad()</script>", "<!--<script>",
        "</pre><img src=x onerror=bad()>", "&lt; &amp; &#60;",
    };
    enum { COUNT = sizeof names / sizeof names[0] };
    hostcrst_t sections[COUNT];
    host_task_t main_task = 0;
    char situation[32];
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_task_current(&main_task), S_OK);
    for (int at = 0; at < COUNT; at++) {
        sections[at] = named_section(names[at]);
        CHECK_EQ(hostcrst_enter(sections[at], 0), S_OK);
        CHECK_EQ(host_task_set_name(main_task, names[at]), S_OK);
        snprintf(situation, sizeof situation, "names_%d", at);
        char *text = write_report(situation, &formats[0]);
        for (const char *c = text; *c != '\0'; c++) {
            CHECK(*c == '\n' || (unsigned char)*c >= ' ');
        }
        free(text);
        write_all_formats(situation);
    }
    for (int at = 0; at < COUNT; at++) {
        CHECK_EQ(hostcrst_leave(sections[at]), S_OK);
        CHECK_EQ(hostcrst_destroy(sections[at]), S_OK);
    }
    CHECK_EQ(host_task_set_name(main_task, ""), S_OK);
}

/* ---- critical sections of Windows' kind ---- */

CRITICAL_SECTION windows_section;
static CRITICAL_SECTION orphaned_section;

static void leave_as_a_stranger_and_die_holding(void *unused)
{
    (void)unused;
    LeaveCriticalSection(&windows_section);
    EnterCriticalSection(&orphaned_section);
}

static void sections_of_windows(void)
{
    check_thread_t thread;
    InitializeCriticalSection(&windows_section);
    InitializeCriticalSection(&orphaned_section);
    EnterCriticalSection(&windows_section);
    check_start(&thread, leave_as_a_stranger_and_die_holding, NULL);
    check_join(&thread);
    write_all_formats("windows");
    LeaveCriticalSection(&windows_section);
    DeleteCriticalSection(&windows_section);
}

/* ---- while every task is blocked ---- */

typedef struct outsider {
    check_thread_t thread;
    hostcrst_t section;
    host_task_t blocked;
} outsider_t;

/* Is no task and does not become one before it has the reports. */
static void report_as_no_task(void *argument)
{
    outsider_t *self = (outsider_t *)argument;
    AWAIT(section_info(self->section).waiters == 2);
    char *text = write_report("all_blocked", &formats[0]);
    check_has(text, "3 tasks (0 managed, 1 unmanaged; 3 waiting)");
    check_has(text, "Found 1 deadlock.");
    free(text);
    write_all_formats("all_blocked");
    CHECK_EQ(host_task_alert(self->blocked), S_OK);
}

/* Two wait for each other, and the main thread for one of them: every task there is. */
static void every_task_is_blocked(void)
{
    outsider_t outsider;
    ring_t *ring = ring_start(2);
    let_stand(ring);
    outsider.section = ring->members[0].section;
    REQUIRE_EQ(host_task_current(&outsider.blocked), S_OK);
    CHECK_EQ(host_leave_runtime((size_t)&strlen), S_OK);
    check_start(&outsider.thread, report_as_no_task, &outsider);
    CHECK_EQ(hostcrst_enter(outsider.section, WAIT_ALERTABLE), HOST_E_INTERRUPTED);
    check_join(&outsider.thread);
    CHECK_EQ(host_enter_runtime(), S_OK);
    open_again(ring);
    ring_stop(ring);
}

/* ---- while 16 threads change everything ---- */

#define CHANGERS 16
#define NAME_CHANGERS 2
#define CHAOS_SECTIONS 24
#define CHAOS_REPORTS 60

typedef struct changer {
    check_thread_t thread;
    unsigned index;
} changer_t;

static hostcrst_t chaos[CHAOS_SECTIONS];
static int chaos_stop;

/* A name that cannot be mistaken for a part of another: one letter, so many times. */
static void plain_name(char name[57], uint64_t *chance)
{
    unsigned length = 1 + random_below(chance, 56);
    memset(name, 'a' + (int)random_below(chance, 26), length);
    name[length] = '\0';
}

static void change_one_thing(uint64_t *chance, host_task_t self, unsigned *depth)
{
    char name[57];
    hostcrst_t mine = 0;
    hostcrst_t first = chaos[random_below(chance, CHAOS_SECTIONS)];
    hostcrst_t second = chaos[random_below(chance, CHAOS_SECTIONS)];
    switch (random_below(chance, 8)) {
    case 0:
        plain_name(name, chance);
        CHECK_EQ(host_task_set_name(self, name), S_OK);
        CHECK_EQ(hostcrst_set_name(first, name), S_OK);
        break;
    case 1:
        plain_name(name, chance);
        CHECK_EQ(hostcrst_create(&mine), S_OK);
        CHECK_EQ(hostcrst_set_name(mine, name), S_OK);
        CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
        CHECK_EQ(hostcrst_destroy(mine), S_OK);
        break;
    case 2:
        if (*depth < 100 && (*depth % 2 == 0 ? host_leave_runtime((size_t)&strlen)
                                             : host_reverse_enter_runtime()) == S_OK) {
            ++*depth;
        }
        break;
    case 3:
        if (*depth > 0 && (*depth % 2 == 1 ? host_enter_runtime() : host_reverse_leave_runtime()) == S_OK) {
            --*depth;
        }
        break;
    case 4:
        if (hostcrst_enter_timeout(first, 0, 1) == S_OK) {
            CHECK_EQ(hostcrst_leave(first), S_OK);
        }
        break;
    default:
        if (hostcrst_enter(first, 0) == S_OK) {
            if (hostcrst_enter(second, 0) == S_OK) {
                CHECK_EQ(hostcrst_leave(second), S_OK);
            }
            CHECK_EQ(hostcrst_leave(first), S_OK);
        }
    }
}

static void do_a_few_things(void *argument)
{
    uint64_t *chance = (uint64_t *)argument;
    host_task_t self = 0;
    unsigned depth = 0;
    REQUIRE_EQ(host_task_current(&self), S_OK);
    for (int thing = 0; thing < 20; thing++) {
        change_one_thing(chance, self, &depth);
    }
}

/* Always at it, so that reports come in the middle of a change. */
static void change_names(void *argument)
{
    changer_t *self = (changer_t *)argument;
    uint64_t chance = self->index;
    host_task_t task = 0;
    char name[57];
    REQUIRE_EQ(host_task_current(&task), S_OK);
    while (!__atomic_load_n(&chaos_stop, __ATOMIC_RELAXED)) {
        plain_name(name, &chance);
        CHECK_EQ(host_task_set_name(task, name), S_OK);
        CHECK_EQ(hostcrst_set_name(chaos[self->index], name), S_OK);
    }
}

/* Half of the changes are made by tasks that soon end. */
static void change_everything(void *argument)
{
    changer_t *self = (changer_t *)argument;
    uint64_t chance = self->index;
    unsigned depth = 0;
    host_task_t task = 0;
    REQUIRE_EQ(host_task_current(&task), S_OK);
    while (!__atomic_load_n(&chaos_stop, __ATOMIC_RELAXED)) {
        check_thread_t brief;
        uint64_t its_chance = next_random(&chance);
        check_start(&brief, do_a_few_things, &its_chance);
        for (int thing = 0; thing < 20; thing++) {
            change_one_thing(&chance, task, &depth);
        }
        check_join(&brief);
    }
}

static void while_everything_changes(void)
{
    changer_t changers[CHANGERS];
    char situation[32];
    REQUIRE(host_runtime_start() >= 0);
    for (int at = 0; at < CHAOS_SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_create(&chaos[at]), S_OK);
    }
    for (unsigned at = 0; at < CHANGERS; at++) {
        changers[at].index = at;
        void (*body)(void *) = at < NAME_CHANGERS ? change_names : change_everything;
        check_start(&changers[at].thread, body, &changers[at]);
    }
    for (int report = 0; report < CHAOS_REPORTS; report++) {
        snprintf(situation, sizeof situation, "chaos_%d", report);
        write_all_formats(situation);
        check_pause();
    }
    __atomic_store_n(&chaos_stop, 1, __ATOMIC_RELAXED);
    for (unsigned at = 0; at < CHANGERS; at++) {
        check_join(&changers[at].thread);
    }
    for (int at = 0; at < CHAOS_SECTIONS; at++) {
        CHECK_EQ(hostcrst_destroy(chaos[at]), S_OK);
    }
}

/* ---- how long it takes ---- */

#define MANY_TASKS 1000
#define MANY_SECTIONS 100000
#define OWNED_BY_EACH 20
#define OWNED_BY_ONE 3000
/* Of the processor: what the report aims at is 50 ms; this is what it must do with sanitizers and the like, too. */
#define MILLISECONDS_MOST 1000

static hostcrst_t many[MANY_SECTIONS];
static gate_t many_gate = CHECK_STEPS_INIT;
static hostcrst_t many_wait_for;

/* Each owns some sections and waits in a long chain: for one of the task before it. */
static void own_some_and_wait(void *argument)
{
    unsigned index = (unsigned)(uintptr_t)argument;
    for (unsigned at = 0; at < OWNED_BY_EACH; at++) {
        REQUIRE_EQ(hostcrst_enter(many[index * OWNED_BY_EACH + at], 0), S_OK);
    }
    gate_pass(&many_gate, MANY_TASKS + 1);
    hostcrst_t awaited = index == 0 ? many_wait_for : many[(index - 1) * OWNED_BY_EACH];
    CHECK_EQ(hostcrst_enter(awaited, 0), S_OK);
    CHECK_EQ(hostcrst_leave(awaited), S_OK);
    for (unsigned at = 0; at < OWNED_BY_EACH; at++) {
        CHECK_EQ(hostcrst_leave(many[index * OWNED_BY_EACH + at]), S_OK);
    }
}

static long long microseconds_used(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void check_time_of_report(const struct format *format)
{
    FILE *file = report_file("many", format->suffix);
    long long best = 0;
    for (int time = 0; time < 3; time++) {
        rewind(file);
        long long begun = microseconds_used();
        CHECK_EQ(host_report(fileno(file), format->format), S_OK);
        long long taken = microseconds_used() - begun;
        best = time == 0 || taken < best ? taken : best;
    }
    fseek(file, 0, SEEK_END);
    printf("%d tasks, %d sections: %4s in %lld.%03lld ms, %ld bytes\n", MANY_TASKS, MANY_SECTIONS,
           format->suffix, best / 1000, best % 1000, ftell(file));
    CHECK(best < MILLISECONDS_MOST * 1000);
    fclose(file);
}

/* Each task is shown with all that it owns: most own OWNED_BY_EACH, and the main one owns one section. */
static void check_what_each_owns(void)
{
    char *text = write_report("many", &formats[0]);
    unsigned with_all = 0;
    unsigned with_one = 0;
    unsigned owned = 0;
    char *line = strtok(text, "\n");
    for (; line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "   owns ", 8) == 0) {
            owned++;
        } else if (line[0] == '"' || strncmp(line, "SECTION", 7) == 0) {
            with_all += owned == OWNED_BY_EACH;
            with_one += owned == 1;
            owned = 0;
        }
    }
    CHECK_EQ(with_all, MANY_TASKS);
    CHECK_EQ(with_one, 1);
    free(text);
}

/* One task owns more than a report has room to collect at once. */
static void a_task_that_owns_everything(void)
{
    unsigned owned = 0;
    for (unsigned at = 0; at < OWNED_BY_ONE; at++) {
        REQUIRE_EQ(hostcrst_create(&many[at]), S_OK);
        REQUIRE_EQ(hostcrst_enter(many[at], 0), S_OK);
    }
    char *text = write_report("rich", &formats[0]);
    for (const char *at = text; (at = strstr(at, "\n   owns ")) != NULL; at++) {
        owned++;
    }
    CHECK_EQ(owned, OWNED_BY_ONE);
    free(text);
    for (unsigned at = 0; at < OWNED_BY_ONE; at++) {
        CHECK_EQ(hostcrst_leave(many[at]), S_OK);
        CHECK_EQ(hostcrst_destroy(many[at]), S_OK);
    }
}

static void a_thousand_tasks_and_a_hundred_thousand_sections(void)
{
    static check_thread_t threads[MANY_TASKS];
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(hostcrst_create(&many_wait_for), S_OK);
    REQUIRE_EQ(hostcrst_enter(many_wait_for, 0), S_OK);
    for (unsigned at = 0; at < MANY_SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_create(&many[at]), S_OK);
    }
    for (unsigned at = 0; at < MANY_TASKS; at++) {
        check_start(&threads[at], own_some_and_wait, (void *)(uintptr_t)at);
    }
    gate_pass(&many_gate, MANY_TASKS + 1);
    for (unsigned at = 0; at + 1 < MANY_TASKS; at++) {
        AWAIT(section_info(many[at * OWNED_BY_EACH]).waiters == 1);
    }
    AWAIT(section_info(many_wait_for).waiters == 1);
    for (size_t at = 0; at < FORMATS; at++) {
        check_time_of_report(&formats[at]);
    }
    check_what_each_owns();
    CHECK_EQ(hostcrst_leave(many_wait_for), S_OK);
    for (unsigned at = 0; at < MANY_TASKS; at++) {
        check_join(&threads[at]);
    }
    for (unsigned at = 0; at < MANY_SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_destroy(many[at]), S_OK);
    }
    CHECK_EQ(hostcrst_destroy(many_wait_for), S_OK);
}

/* ---- what cannot be written ---- */

static void descriptors_that_cannot_be_written(void)
{
    int ends[2];
    CHECK_EQ(host_report(-1, HOST_REPORT_JSON), E_INVALIDARG);
    CHECK_EQ(host_report(STDOUT_FILENO, HOST_REPORT_HTML + 1), E_INVALIDARG);
    REQUIRE_EQ(pipe(ends), 0);
    CHECK_EQ(host_report(ends[0], HOST_REPORT_DOT), E_INVALIDARG);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQ(host_report(ends[1], HOST_REPORT_TEXT), E_INVALIDARG);
}

/* A wait, and a hold that was tracked. */
static void figures_of_contention(void)
{
    holder_t waiter;
    memset(&waiter, 0, sizeof waiter);
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    waiter.section = named_section("counted");
    REQUIRE_EQ(hostcrst_enter(waiter.section, 0), S_OK);
    check_start(&waiter.thread, wait_with_a_limit, &waiter);
    AWAIT(section_info(waiter.section).waiters == 1);
    REQUIRE_EQ(hostcrst_leave(waiter.section), S_OK);
    check_join(&waiter.thread);
    char *json = write_report("figures", &formats[1]);
    check_has(json, ",\"waits\":1,\"waited_ns\":");
    check_has(json, ",\"holds\":2,\"held_ns\":");
    free(json);
    write_all_formats("figures");
    REQUIRE_EQ(host_set_hold_tracking(0), S_OK);
    REQUIRE_EQ(host_set_statistics(0), S_OK);
    CHECK_EQ(hostcrst_destroy(waiter.section), S_OK);
}

static void enter_both(void *sections)
{
    const hostcrst_t *both = (const hostcrst_t *)sections;
    REQUIRE_EQ(hostcrst_enter(both[0], 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(both[1], 0), S_OK);
    REQUIRE_EQ(hostcrst_leave(both[1]), S_OK);
    REQUIRE_EQ(hostcrst_leave(both[0]), S_OK);
}

static void an_order_that_could_deadlock(void)
{
    check_thread_t thread;
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_set_order_checks(1), S_OK);
    hostcrst_t both[2] = {named_section("a \"name\" to break"), named_section("other")};
    hostcrst_t reversed[2] = {both[1], both[0]};
    check_start(&thread, enter_both, both);
    check_join(&thread);
    check_start(&thread, enter_both, reversed);
    check_join(&thread);
    char *json = write_report("order", &formats[1]);
    check_has(json, "\"could_deadlock\":[{");
    check_has(json, ",\"section_name\":\"other\",\"entered_at\":\"");
    free(json);
    write_all_formats("order");
    REQUIRE_EQ(host_set_order_checks(0), S_OK);
    CHECK_EQ(hostcrst_destroy(both[0]), S_OK);
    CHECK_EQ(hostcrst_destroy(both[1]), S_OK);
}

CHECK_MAIN(CHECK_TEST(before_the_first_call), CHECK_TEST(descriptors_that_cannot_be_written),
           CHECK_TEST(a_bit_of_everything), CHECK_TEST(a_deadlock_that_stands),
           CHECK_TEST(names_that_could_break_a_format), CHECK_TEST(every_task_is_blocked),
           CHECK_TEST(deadlocks_that_were_broken), CHECK_TEST(figures_of_contention),
           CHECK_TEST(an_order_that_could_deadlock), CHECK_TEST(sections_of_windows),
           CHECK_TEST(a_task_that_owns_everything), CHECK_TEST(while_everything_changes),
           CHECK_TEST(a_thousand_tasks_and_a_hundred_thousand_sections))
