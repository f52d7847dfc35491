/* The registry: reports show every live object and no other, and count them correctly. */
#include "capture.h"

enum { TASKS = 200 };

static check_steps_t steps = CHECK_STEPS_INIT;
static host_task_t tasks[TASKS];

static void stay(void *index)
{
    int at = *(int *)index;
    char name[32];
    snprintf(name, sizeof name, "member %d", at);
    tasks[at] = this_task();
    CHECK_EQ(host_task_set_name(tasks[at], name), S_OK);
    check_arrive(&steps, TASKS + 1);
    check_arrive(&steps, TASKS + 1);
}

/* Those among the threads of the process, which come after them, do not say which task they are. */
static int count_lines_of_tasks(const char *report)
{
    return times_in(report, " task=0x");
}

/* Every live task once, and none that has ended. */
static void every_live_task_is_shown_once(void)
{
    check_thread_t threads[TASKS];
    int indexes[TASKS];
    start_runtime();
    this_task();
    for (int at = 0; at < TASKS; at++) {
        indexes[at] = at;
        check_start(&threads[at], stay, &indexes[at]);
    }
    check_arrive(&steps, TASKS + 1);
    char *report = text_report();
    CHECK_EQ(count_lines_of_tasks(report), TASKS + 1);
    CHECK_CONTAINS(report, line_of("\n%d tasks (", TASKS + 1).text);
    for (int at = 0; at < TASKS; at++) {
        CHECK_CONTAINS(report, line_of("\n\"member %d\" tid=", at).text);
        CHECK_EQ(times_in(report, line_of(" task=0x%llx ", (unsigned long long)tasks[at]).text), 1);
    }
    free(report);
    check_arrive(&steps, TASKS + 1);
    for (int at = 0; at < TASKS; at++) {
        check_join(&threads[at]);
    }
    report = text_report();
    CHECK_EQ(count_lines_of_tasks(report), 1);
    CHECK_CONTAINS(report, "\n1 task (");
    CHECK_LACKS(report, "member");
    free(report);
}

static void the_heading_counts_what_is_there(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t owned = new_section();
    hostcrst_t free_one = new_section();
    hostcrst_t lost = abandoned_section();
    hold(&holder, owned);
    char *report = text_report();
    CHECK_CONTAINS(report,
                   "\n2 tasks (0 managed, 0 unmanaged; 0 waiting), 3 sections (1 owned, 1 abandoned)");
    free(report);
    CHECK_EQ(host_leave_runtime(1), S_OK);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(lost), S_OK);
    report = text_report();
    CHECK_CONTAINS(report, "\n1 task (0 managed, 1 unmanaged; 0 waiting), 2 sections (0 owned, 0 abandoned)");
    free(report);
    CHECK_EQ(hostcrst_destroy(owned), S_OK);
    CHECK_EQ(hostcrst_destroy(free_one), S_OK);
}

CHECK_MAIN(CHECK_TEST(every_live_task_is_shown_once), CHECK_TEST(the_heading_counts_what_is_there))
