/* The names of sections and tasks, as reports show them. */
#include "capture.h"

/* What a report says of this thread's task and of the section that it owns. */
static void check_shown(const char *quoted)
{
    char *report = text_report();
    CHECK_CONTAINS(report, quoted);
    free(report);
}

/* Names the section and then the task, which must both be shown so. */
static void check_name(hostcrst_t crst, const char *name, const char *shown)
{
    CHECK_EQ(KEEPING_ERRNO(hostcrst_set_name(crst, name)), S_OK);
    check_shown(line_of("   owns 0x%llx \"%s\" recursion=1\n", (unsigned long long)crst, shown).text);
    CHECK_EQ(KEEPING_ERRNO(host_task_set_name(this_task(), name)), S_OK);
    check_shown(line_of("\n\"%s\" tid=", shown).text);
}

static void names_are_shown_as_they_were_given(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    check_name(crst, "plain", "plain");
    check_name(crst,
               "Stra\xC3\x9F"
               "e \xE6\x97\xA5\xE6\x9C\xAC",
               "Stra\xC3\x9F"
               "e \xE6\x97\xA5\xE6\x9C\xAC");
    check_name(crst, "x", "x");
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void nothing_in_a_name_garbles_a_line(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    check_name(crst, "a\nb\tc\"d\x1B[31m", "a?b?c?d?[31m");
    check_name(crst, "\xFF\xC3", "??");
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* 56 bytes at most, and never half a character. */
static void long_names_are_cut_between_characters(void)
{
    char name[200];
    char shown[200];
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (size_t before = 50; before < 58; before++) {
        memset(name, 'n', sizeof name);
        memcpy(name + before, "\xE6\x97\xA5", 3);
        name[sizeof name - 1] = '\0';
        size_t kept = before <= 53 || before >= 56 ? 56 : before;
        memcpy(shown, name, kept);
        shown[kept] = '\0';
        check_name(crst, name, shown);
    }
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void an_empty_name_is_none(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_set_name(crst, "named"), S_OK);
    CHECK_EQ(hostcrst_set_name(crst, ""), S_OK);
    check_shown(line_of("   owns 0x%llx recursion=1\n", (unsigned long long)crst).text);
    CHECK_EQ(pthread_setname_np(pthread_self(), "of-the-thread"), 0);
    CHECK_EQ(host_task_set_name(this_task(), ""), S_OK);
    check_shown("\n\"of-the-thread\" tid=");
    CHECK_EQ(pthread_setname_np(pthread_self(), "another"), 0);
    check_shown("\n\"another\" tid=");
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void be_named(void *name)
{
    CHECK_EQ(pthread_setname_np(pthread_self(), "nameless"), 0);
    if (name != NULL) {
        CHECK_EQ(host_task_set_name(this_task(), (const char *)name), S_OK);
        check_shown("\n\"of the first\" tid=");
    } else {
        (void)this_task();
        check_shown("\n\"nameless\" tid=");
    }
}

static void the_next_task_in_the_slot_has_its_own_name(void)
{
    static char name[] = "of the first";
    check_thread_t thread;
    start_runtime();
    check_start(&thread, be_named, name);
    check_join(&thread);
    check_start(&thread, be_named, NULL);
    check_join(&thread);
}

/* The name lies at the very end of what may be read. */
static void a_name_is_not_read_beyond_its_end(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    char *pages = (char *)mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    REQUIRE_EQ(mprotect(pages + page, page, PROT_NONE), 0);
    for (size_t length = 0; length < 80; length++) {
        char shown[80];
        char *name = pages + page - length - 1;
        memset(name, 'e', length);
        name[length] = '\0';
        CHECK_EQ(hostcrst_set_name(crst, name), S_OK);
        snprintf(shown, sizeof shown, "%.56s", name);
        if (length != 0) {
            check_shown(line_of("0x%llx \"%s\" recursion", (unsigned long long)crst, shown).text);
        }
    }
    munmap(pages, 2 * page);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void the_next_section_in_the_slot_has_no_name(void)
{
    start_runtime();
    for (int time = 0; time < 3; time++) {
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        check_shown(line_of("   owns 0x%llx recursion=1\n", (unsigned long long)crst).text);
        CHECK_EQ(hostcrst_set_name(crst, "before"), S_OK);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
}

static int naming;
static hostcrst_t named;

static void name_again_and_again(void *letter)
{
    char name[41];
    memset(name, *(const char *)letter, sizeof name);
    name[sizeof name - 1] = '\0';
    while (__atomic_load_n(&naming, __ATOMIC_RELAXED)) {
        CHECK_EQ(hostcrst_set_name(named, name), S_OK);
    }
}

static void a_name_is_never_shown_half_changed(void)
{
    check_thread_t threads[2];
    char letters[2] = {'A', 'B'};
    int shown = 0;
    start_runtime();
    named = new_section();
    CHECK_EQ(hostcrst_set_name(named, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), S_OK);
    CHECK_EQ(hostcrst_enter(named, 0), S_OK);
    naming = 1;
    for (int at = 0; at < 2; at++) {
        check_start(&threads[at], name_again_and_again, &letters[at]);
    }
    for (int time = 0; time < 1000; time++) {
        char *report = text_report();
        CHECK_LACKS(report, "AB");
        CHECK_LACKS(report, "BA");
        shown += strstr(report, "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"") != NULL ||
                 strstr(report, "\"BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\"") != NULL;
        free(report);
    }
    /* A report does not wait for a name that is being changed: it may be left out now and then. */
    CHECK(shown > 0);
    __atomic_store_n(&naming, 0, __ATOMIC_RELAXED);
    for (int at = 0; at < 2; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(hostcrst_destroy(named), S_OK);
}

CHECK_MAIN(CHECK_TEST(names_are_shown_as_they_were_given), CHECK_TEST(nothing_in_a_name_garbles_a_line),
           CHECK_TEST(long_names_are_cut_between_characters), CHECK_TEST(an_empty_name_is_none),
           CHECK_TEST(a_name_is_not_read_beyond_its_end),
           CHECK_TEST(the_next_section_in_the_slot_has_no_name),
           CHECK_TEST(the_next_task_in_the_slot_has_its_own_name),
           CHECK_TEST(a_name_is_never_shown_half_changed))
