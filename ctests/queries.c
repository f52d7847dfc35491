/* What a program can ask back: names, which sections, tasks and resources there are, the policy, and a report in its own
 * memory. */
#include "capture.h"

#include <hostcrst/win32.h>
#include <sys/prctl.h>

static void names_are_read_back(void)
{
    char name[HOSTCRST_NAME_SIZE];
    char four[5];
    size_t length = 0;
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_name(crst, name, sizeof name, &length), S_OK);
    CHECK_EQ(length, 0);
    CHECK_STR_EQ(name, "");
    CHECK_EQ(hostcrst_set_name(crst, "Stra\xC3\x9F"), S_OK);
    CHECK_EQ(hostcrst_name(crst, name, sizeof name, &length), S_OK);
    CHECK_EQ(length, 6);
    CHECK_STR_EQ(name, "Stra\xC3\x9F");
    /* Cut between characters, always with its zero. */
    char six[6] = "xxxxx";
    CHECK_EQ(hostcrst_name(crst, six, sizeof six, &length), S_OK);
    CHECK_EQ(length, 6);
    CHECK_STR_EQ(six, "Stra");
    CHECK_EQ(hostcrst_name(crst, four, 1, &length), S_OK);
    CHECK_STR_EQ(four, "");
    CHECK_EQ(hostcrst_name(crst, NULL, 0, &length), S_OK);
    CHECK_EQ(length, 6);

    char longest[100];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CHECK_EQ(hostcrst_set_name(crst, longest), S_OK);
    CHECK_EQ(hostcrst_name(crst, name, sizeof name, &length), S_OK);
    CHECK_EQ(length, HOSTCRST_NAME_SIZE - 1);
    CHECK_EQ(strlen(name), HOSTCRST_NAME_SIZE - 1);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(hostcrst_name(crst, name, sizeof name, &length), E_HANDLE);
    CHECK_STR_EQ(name, "");
    CHECK_EQ(length, 0);

    host_resource_t resource = 0;
    REQUIRE_EQ(host_resource_create(&resource), S_OK);
    CHECK_EQ(host_resource_set_name(resource, "a database"), S_OK);
    CHECK_EQ(host_resource_name(resource, name, sizeof name, &length), S_OK);
    CHECK_STR_EQ(name, "a database");
    CHECK_EQ(hostcrst_name(resource, name, sizeof name, &length), E_HANDLE);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
}

static void a_task_without_a_name_has_its_threads(void)
{
    char name[HOSTCRST_NAME_SIZE];
    size_t length = 0;
    start_runtime();
    prctl(PR_SET_NAME, "asking", 0, 0, 0);
    CHECK_EQ(host_task_name(this_task(), name, sizeof name, &length), S_OK);
    CHECK_STR_EQ(name, "asking");
    CHECK_EQ(host_task_set_name(this_task(), "named"), S_OK);
    CHECK_EQ(host_task_name(this_task(), name, sizeof name, &length), S_OK);
    CHECK_STR_EQ(name, "named");
    CHECK_EQ(length, 5);
    CHECK_EQ(host_task_set_name(this_task(), ""), S_OK);
}

typedef int32_t (*list_t)(uint64_t *, size_t, size_t *);

/* How often it is among the handles listed. */
static int times_listed(list_t list, uint64_t handle)
{
    static uint64_t listed[1000];
    size_t count = 0;
    int times = 0;
    REQUIRE_EQ(list(listed, 1000, &count), S_OK);
    REQUIRE(count <= 1000);
    for (size_t at = 0; at < count; at++) {
        times += listed[at] == handle;
    }
    return times;
}

static size_t number_of(list_t list)
{
    size_t count = 0;
    REQUIRE_EQ(list(NULL, 0, &count), S_OK);
    return count;
}

static void what_exists_is_listed_once(void)
{
    static CRITICAL_SECTION of_windows;
    start_runtime();
    size_t before = number_of(hostcrst_list);
    hostcrst_t first = new_section();
    hostcrst_t second = new_section();
    EnterCriticalSection(&of_windows);
    CHECK_EQ(number_of(hostcrst_list), before + 2);
    CHECK_EQ(times_listed(hostcrst_list, first), 1);
    CHECK_EQ(times_listed(hostcrst_list, second), 1);
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    CHECK_EQ(times_listed(hostcrst_list, first), 0);
    CHECK_EQ(number_of(hostcrst_list), before + 1);
    LeaveCriticalSection(&of_windows);

    /* No more than there is room for is written. */
    uint64_t two[2] = {7, 7};
    size_t count = 0;
    first = new_section();
    CHECK_EQ(hostcrst_list(two, 1, &count), S_OK);
    CHECK_EQ(count, before + 2);
    CHECK(two[0] != 7);
    CHECK_EQ(two[1], 7);
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    CHECK_EQ(hostcrst_destroy(second), S_OK);

    host_resource_t resource = 0;
    REQUIRE_EQ(host_resource_create(&resource), S_OK);
    CHECK_EQ(times_listed(host_resource_list, resource), 1);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
    CHECK_EQ(number_of(host_resource_list), 0);
}

static host_task_t its_task;
static check_steps_t steps = CHECK_STEPS_INIT;

static void be_a_task(void *unused)
{
    (void)unused;
    its_task = this_task();
    check_reach(&steps, 1);
    check_await(&steps, 2);
}

static void tasks_are_listed_and_count_against_the_limit(void)
{
    uint32_t before = 0;
    uint32_t after = 0;
    check_thread_t thread;
    start_runtime();
    CHECK_EQ(times_listed(host_task_list, this_task()), 1);
    REQUIRE_EQ(host_tasks_left(&before), S_OK);
    check_start(&thread, be_a_task, NULL);
    check_await(&steps, 1);
    CHECK_EQ(times_listed(host_task_list, its_task), 1);
    REQUIRE_EQ(host_tasks_left(&after), S_OK);
    CHECK_EQ(after, before - 1);
    check_reach(&steps, 2);
    check_join(&thread);
    CHECK_EQ(times_listed(host_task_list, its_task), 0);
    REQUIRE_EQ(host_tasks_left(&after), S_OK);
    CHECK_EQ(after, before);
}

static void the_policy_is_the_one_that_was_set(void)
{
    uint32_t policy = 7;
    start_runtime();
    CHECK_EQ(host_deadlock_policy(&policy), S_OK);
    CHECK_EQ(policy, HOST_DEADLOCK_ERROR);
    CHECK_EQ(host_set_deadlock_policy(HOST_DEADLOCK_REPORT), S_OK);
    CHECK_EQ(host_deadlock_policy(&policy), S_OK);
    CHECK_EQ(policy, HOST_DEADLOCK_REPORT);
    CHECK_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ERROR), S_OK);
}

static struct {
    char text[1 << 20];
    size_t length;
    int pieces;
} written;

static void keep(const char *text, size_t length, void *context)
{
    CHECK_EQ((size_t)context, 42);
    CHECK(length > 0 && length <= 4096);
    REQUIRE(written.length + length < sizeof written.text);
    memcpy(written.text + written.length, text, length);
    written.length += length;
    written.pieces++;
}

static void a_report_is_handed_over_piece_by_piece(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    char name[20];
    for (int at = 0; at < 40; at++) {
        snprintf(name, sizeof name, "section %d", at);
        hostcrst_t one = new_section();
        CHECK_EQ(hostcrst_set_name(one, name), S_OK);
        REQUIRE_EQ(hostcrst_enter(one, 0), S_OK);
    }
    memset(&written, 0, sizeof written);
    CHECK_EQ(KEEPING_ERRNO(host_report_write(HOST_REPORT_TEXT, keep, (void *)(size_t)42)), S_OK);
    char *report = text_report();
    /* As far as both say the same: behind it are threads with times. */
    CHECK_CONTAINS(written.text, "\"section 0\"");
    CHECK_CONTAINS(written.text, "\"section 39\"");
    CHECK_EQ(strncmp(written.text, report, 1000), 0);
    free(report);

    memset(&written, 0, sizeof written);
    CHECK_EQ(host_report_write(HOST_REPORT_HTML, keep, (void *)(size_t)42), S_OK);
    CHECK(written.pieces > 1);
    CHECK_CONTAINS(written.text, "</html>");
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void use_the_library(const char *text, size_t length, void *context)
{
    hostcrst_t crst = new_section();
    (void)text;
    (void)length;
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    if (context != NULL) {
        CHECK_EQ(host_report_write(HOST_REPORT_DOT, use_the_library, NULL), S_OK);
    }
}

static void the_writer_may_use_the_library(void)
{
    start_runtime();
    CHECK_EQ(host_report_write(HOST_REPORT_TEXT, use_the_library, &written), S_OK);
}

CHECK_MAIN(CHECK_TEST(names_are_read_back), CHECK_TEST(a_task_without_a_name_has_its_threads),
           CHECK_TEST(what_exists_is_listed_once), CHECK_TEST(tasks_are_listed_and_count_against_the_limit),
           CHECK_TEST(the_policy_is_the_one_that_was_set), CHECK_TEST(a_report_is_handed_over_piece_by_piece),
           CHECK_TEST(the_writer_may_use_the_library))
