/*
 * CRITICAL_SECTIONs that are never deleted: memory that is initialised again, or freed and reused, releases its old
 * section; and what happens if that is not enough.
 */
#include "capture.h"
#include "lock_count.h"

#include <signal.h>

/* Sections there are, of the host's and of Windows' kind. */
static long sections(void)
{
    char *report = text_report();
    char *found = strstr(report, " section");
    REQUIRE(found != NULL);
    while (found[-1] >= '0' && found[-1] <= '9') {
        found--;
    }
    long count = atol(found);
    free(report);
    return count;
}

static long misuses(const char *what)
{
    char *report = report_in(HOST_REPORT_JSON);
    char *found = strstr(report, line_of("\"%s\":", what).text);
    REQUIRE(found != NULL);
    long count = atol(strchr(found, ':') + 1);
    free(report);
    return count;
}

static void enter_and_leave(CRITICAL_SECTION *section)
{
    EnterCriticalSection(section);
    CHECK_EQ(section->RecursionCount, 1);
    LeaveCriticalSection(section);
    CHECK_EQ(lock_count(section), -1);
}

/* ---- nothing is lost ---- */

static void initialize_again_and_again_takes_no_more_sections(void)
{
    static CRITICAL_SECTION section;
    InitializeCriticalSection(&section);
    long before = sections();
    for (int time = 0; time < 20000; time++) {
        InitializeCriticalSection(&section);
        enter_and_leave(&section);
    }
    CHECK_EQ(sections(), before);
    CHECK_EQ(misuses("use_after_delete"), 0);
    DeleteCriticalSection(&section);
    CHECK_EQ(sections(), before - 1);
}

static void memory_zeroed_again_and_again_takes_no_more_sections(void)
{
    static CRITICAL_SECTION section;
    enter_and_leave(&section);
    long before = sections();
    for (int time = 0; time < 20000; time++) {
        memset(&section, 0, sizeof section);
        enter_and_leave(&section);
    }
    CHECK_EQ(sections(), before);
    DeleteCriticalSection(&section);
    CHECK_EQ(sections(), before - 1);
}

/* As an allocator gives freed memory to objects of another kind. */
static void sections_in_memory_used_again_at_other_places_are_over(void)
{
    enum { BYTES = 4096, MOST = BYTES / (int)sizeof(CRITICAL_SECTION) };
    static char memory[BYTES] __attribute__((aligned(64)));
    chance_t chance = {7};
    long before = sections();
    for (int time = 0; time < 50000; time++) {
        uint64_t place = next_random(&chance) % ((BYTES - sizeof(CRITICAL_SECTION)) / 8 + 1);
        CRITICAL_SECTION *section = (CRITICAL_SECTION *)(void *)(memory + place * 8);
        InitializeCriticalSection(section);
        enter_and_leave(section);
    }
    CHECK(sections() - before <= MOST);
    /* Side by side they do not overlap: all of them are left. */
    CRITICAL_SECTION *all = (CRITICAL_SECTION *)(void *)memory;
    for (int at = 0; at < MOST; at++) {
        InitializeCriticalSection(&all[at]);
    }
    for (int at = 0; at < MOST; at++) {
        enter_and_leave(&all[at]);
        DeleteCriticalSection(&all[at]);
    }
    CHECK(sections() - before <= 1);
    CHECK_EQ(misuses("use_after_delete"), 0);
}

/* ---- what is in use stays ---- */

static CRITICAL_SECTION in_use;

static void hold_in_use(void *steps)
{
    EnterCriticalSection(&in_use);
    check_reach((check_steps_t *)steps, 1);
    check_await((check_steps_t *)steps, 2);
    LeaveCriticalSection(&in_use);
}

static void a_section_that_is_owned_is_not_over(void)
{
    check_steps_t steps = CHECK_STEPS_INIT;
    check_thread_t holder;
    InitializeCriticalSection(&in_use);
    long before = sections();
    check_start(&holder, hold_in_use, &steps);
    check_await(&steps, 1);
    for (int time = 0; time < 1000; time++) {
        InitializeCriticalSection(&in_use);
        enter_and_leave(&in_use);
    }
    CHECK_EQ(sections(), before + 1);
    CHECK_EQ(misuses("initialize_in_use"), 0);
    check_reach(&steps, 2);
    check_join(&holder);
    CHECK_EQ(misuses("initialize_in_use"), 1);
    CHECK_EQ(misuses("leave_by_other"), 0);
    CHECK_EQ(sections(), before);
    DeleteCriticalSection(&in_use);
}

static void nor_is_the_callers_own(void)
{
    static CRITICAL_SECTION section;
    long before = misuses("initialize_in_use");
    InitializeCriticalSection(&section);
    EnterCriticalSection(&section);
    InitializeCriticalSection(&section);
    LeaveCriticalSection(&section);
    CHECK_EQ(misuses("initialize_in_use"), before + 1);
    CHECK_EQ(misuses("leave_by_other"), 0);
    DeleteCriticalSection(&section);
}

static void end_as_owner(void *section)
{
    EnterCriticalSection((CRITICAL_SECTION *)section);
}

static void one_whose_owner_has_ended_is_over(void)
{
    static CRITICAL_SECTION section;
    check_thread_t owner;
    InitializeCriticalSection(&section);
    long before = sections();
    check_start(&owner, end_as_owner, &section);
    check_join(&owner);
    InitializeCriticalSection(&section);
    enter_and_leave(&section);
    CHECK_EQ(sections(), before);
    DeleteCriticalSection(&section);
}

/* ---- many, and too many ---- */

static void many_sections_are_told_apart(void)
{
    enum { COUNT = 30000, ROUNDS = 200000 };
    CRITICAL_SECTION *all = (CRITICAL_SECTION *)zeroed(COUNT, sizeof *all);
    char *made = (char *)zeroed(COUNT, 1);
    chance_t chance = {3};
    long before = sections(), live = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t at = next_random(&chance) % COUNT;
        if (made[at]) {
            enter_and_leave(&all[at]);
            DeleteCriticalSection(&all[at]);
        } else {
            InitializeCriticalSection(&all[at]);
        }
        made[at] = !made[at];
        live += made[at] ? 1 : -1;
    }
    CHECK_EQ(sections() - before, live);
    for (int at = 0; at < COUNT; at++) {
        if (made[at]) {
            enter_and_leave(&all[at]);
            DeleteCriticalSection(&all[at]);
        }
    }
    CHECK_EQ(sections(), before);
    CHECK_EQ(misuses("use_after_delete"), 0);
    free(made);
    free(all);
}

/* However much the table of addresses has grown since. */
static void sections_are_found_after_many_more_have_come(void)
{
    enum { COUNT = 50000 };
    CRITICAL_SECTION *all = (CRITICAL_SECTION *)zeroed(COUNT, sizeof *all);
    for (int at = 0; at < COUNT; at++) {
        InitializeCriticalSection(&all[at]);
    }
    long before = sections();
    memset(all, 0, COUNT * sizeof *all);
    for (int at = 0; at < COUNT; at++) {
        InitializeCriticalSection(&all[at]);
    }
    CHECK_EQ(sections(), before);
    for (int at = 0; at < COUNT; at++) {
        enter_and_leave(&all[at]);
        DeleteCriticalSection(&all[at]);
    }
    CHECK_EQ(sections(), before - COUNT);
    free(all);
}

/* Threads that use the same zeroed memory first, at the same time, get the same section. */
enum { FIRST_USERS = 4, FIRST_USES = 2000 };

static struct {
    CRITICAL_SECTION sections[FIRST_USES];
    check_steps_t steps;
    int inside[FIRST_USES];
} first_use = {.steps = CHECK_STEPS_INIT};

static void use_first(void *unused)
{
    (void)unused;
    check_arrive(&first_use.steps, FIRST_USERS);
    for (int at = 0; at < FIRST_USES; at++) {
        EnterCriticalSection(&first_use.sections[at]);
        first_use.inside[at]++;
        LeaveCriticalSection(&first_use.sections[at]);
    }
}

static void zeroed_memory_gets_one_section_whoever_is_first(void)
{
    check_thread_t threads[FIRST_USERS];
    long before = sections();
    for (int at = 0; at < FIRST_USERS; at++) {
        check_start(&threads[at], use_first, NULL);
    }
    for (int at = 0; at < FIRST_USERS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(sections() - before, FIRST_USES);
    CHECK_EQ(misuses("use_after_delete"), 0);
    for (int at = 0; at < FIRST_USES; at++) {
        CHECK_EQ(first_use.inside[at], FIRST_USERS);
        DeleteCriticalSection(&first_use.sections[at]);
    }
}

/* Each of these is a program of its own: the room for sections is reserved at the first use. */

static void a_million_is_said_once(void)
{
    if (getenv("ADDRESSES_TEST") == NULL) {
        run_t run = run_again("a_million_is_said_once", "ADDRESSES_TEST=1", NULL, NULL);
        CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
        CHECK_STR_EQ(run.said, "hostcrst: a million CRITICAL_SECTIONs are in use: are they deleted? Where all places are "
                               "taken, the process ends\n");
        free(run.said);
        return;
    }
    enum { COUNT = 1000010 };
    CRITICAL_SECTION *all = (CRITICAL_SECTION *)zeroed(COUNT, sizeof *all);
    for (int at = 0; at < COUNT; at++) {
        InitializeCriticalSection(&all[at]);
    }
    CHECK_EQ(sections(), COUNT);
    free(all);
}

static void where_all_places_are_taken_an_enter_ends_the_process(void)
{
    if (getenv("ADDRESSES_TEST") == NULL) {
        run_t run = run_again("where_all_places_are_taken_an_enter_ends_the_process", "ADDRESSES_TEST=1", NULL, NULL);
        CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT);
        CHECK_CONTAINS(run.said, "hostcrst: no place for CRITICAL_SECTION 0x");
        free(run.said);
        return;
    }
    enum { COUNT = 1 << 20 };
    static CRITICAL_SECTION one_more;
    struct rlimit none = {0, 0}, small = {256 << 20, 256 << 20};
    setrlimit(RLIMIT_CORE, &none);
    CRITICAL_SECTION *all = (CRITICAL_SECTION *)zeroed(COUNT, sizeof *all);
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &small), 0);
    int made = 0;
    while (made < COUNT && InitializeCriticalSectionAndSpinCount(&all[made], 0)) {
        made++;
    }
    CHECK_EQ(GetLastError(), ERROR_NOT_ENOUGH_MEMORY);
    REQUIRE(made > 1000 && made < COUNT);
    CHECK_EQ(TryEnterCriticalSection(&one_more), FALSE);
    /* A released one is found. */
    DeleteCriticalSection(&all[0]);
    enter_and_leave(&one_more);
    InitializeCriticalSection(&all[0]);
    alarm(CHECK_PATIENCE_SECONDS);
    EnterCriticalSection(&all[0]);
}

/* ---- no memory ---- */

static CRITICAL_SECTION late;
static check_steps_t late_steps = CHECK_STEPS_INIT;
static int is_inside;

static void enter_late(void *unused)
{
    (void)unused;
    check_await(&late_steps, 1);
    EnterCriticalSection(&late);
    __atomic_store_n(&is_inside, 1, __ATOMIC_RELEASE);
    LeaveCriticalSection(&late);
}

/* Without taking memory. */
static int is_said(const char *part)
{
    static char said[4096];
    ssize_t length = pread(STDERR_FILENO, said, sizeof said - 1, 0);
    REQUIRE(length >= 0);
    said[length] = '\0';
    return strstr(said, part) != NULL;
}

static void wait_for_memory(void)
{
    enum { COUNT = 100000 };
    check_thread_t thread;
    CRITICAL_SECTION *all = (CRITICAL_SECTION *)zeroed(COUNT, sizeof *all);
    int made = 0;
    check_start(&thread, enter_late, NULL);
    refuse_memory();
    while (made < COUNT && InitializeCriticalSectionAndSpinCount(&all[made], 0)) {
        made++;
    }
    REQUIRE(made < COUNT);
    CHECK_EQ(GetLastError(), ERROR_NOT_ENOUGH_MEMORY);
    CHECK_EQ(TryEnterCriticalSection(&late), FALSE);
    check_reach(&late_steps, 1);
    REQUIRE_SOON(is_said("out of memory: EnterCriticalSection waits until there is some"));
    CHECK_EQ(__atomic_load_n(&is_inside, __ATOMIC_ACQUIRE), 0);
    allow_memory();
    check_join(&thread);
    CHECK_EQ(is_inside, 1);
}

static void without_memory_an_enter_waits_until_there_is_some(void)
{
    run_t run = child_of(wait_for_memory, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_EQ(times_in(run.said, "out of memory"), 1);
    free(run.said);
}

CHECK_MAIN(CHECK_TEST(initialize_again_and_again_takes_no_more_sections),
           CHECK_TEST(without_memory_an_enter_waits_until_there_is_some),
           CHECK_TEST(memory_zeroed_again_and_again_takes_no_more_sections),
           CHECK_TEST(sections_in_memory_used_again_at_other_places_are_over),
           CHECK_TEST(a_section_that_is_owned_is_not_over), CHECK_TEST(nor_is_the_callers_own),
           CHECK_TEST(one_whose_owner_has_ended_is_over),
           CHECK_TEST(many_sections_are_told_apart), CHECK_TEST(sections_are_found_after_many_more_have_come),
           CHECK_TEST(zeroed_memory_gets_one_section_whoever_is_first),
           CHECK_TEST(a_million_is_said_once),
           CHECK_TEST(where_all_places_are_taken_an_enter_ends_the_process))
