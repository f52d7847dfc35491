/* A million sections and ten thousand tasks, all live at once, and the memory that each takes. */
#include "host.h"

/* The smallest stack that aarch64's glibc gives a thread; others give smaller ones too. */
enum { SECTIONS = 1000000, TASKS = 10000, STACK_BYTES = 128 << 10, LAYERS_OF_A_TASK = 3 };

static hostcrst_t *sections;
static pthread_t threads[TASKS];
static host_task_t tasks[TASKS];
static check_steps_t steps = CHECK_STEPS_INIT;
static hostcrst_t common;
static int counted;
static int arrived;

/* Resident memory that is the process's own: counted page by page, as what statm says may be a little old. */
static long long bytes_resident(void)
{
    char line[256];
    long long kilobytes = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    REQUIRE(file != NULL);
    while (kilobytes < 0 && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "Anonymous: %lld kB", &kilobytes);
    }
    fclose(file);
    REQUIRE(kilobytes >= 0);
    return kilobytes * 1024;
}

static void a_million_sections_are_created(void)
{
    sections = (hostcrst_t *)zeroed(SECTIONS, sizeof *sections);
    start_runtime();
    /* The array itself is not to be counted. */
    memset(sections, 1, SECTIONS * sizeof *sections);
    long long before = bytes_resident();
    for (int at = 0; at < SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_create(&sections[at]), S_OK);
    }
    double bytes = (double)(bytes_resident() - before) / SECTIONS;
    printf("    %.1f bytes for a section\n", bytes);
    CHECK(bytes >= 60 && bytes <= 72);
    for (int at = 1; at < SECTIONS; at++) {
        CHECK(sections[at] != sections[at - 1]);
    }
}

static void a_million_sections_are_used(void)
{
    host_task_t me = this_task();
    for (int at = 0; at < SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_enter(sections[at], 0), S_OK);
    }
    CHECK_EQ(task_info_of(me).owned, SECTIONS);
    CHECK_SECTION(sections[0], HOSTCRST_OWNED, me, 1);
    CHECK_SECTION(sections[SECTIONS - 1], HOSTCRST_OWNED, me, 1);
    for (int at = 0; at < SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_leave(sections[at]), S_OK);
    }
    CHECK_EQ(task_info_of(me).owned, 0);
}

/* First parked without a call, so that what a thread itself takes is not counted. */
static void *live_as_a_task(void *index)
{
    size_t at = (size_t)(uintptr_t)index;
    __atomic_add_fetch(&arrived, 1, __ATOMIC_RELEASE);
    check_await(&steps, 1);
    tasks[at] = this_task();
    REQUIRE_EQ(hostcrst_enter(sections[at], 0), S_OK);
    for (int depth = 0; depth < LAYERS_OF_A_TASK; depth++) {
        CHECK_EQ(depth % 2 == 0 ? host_leave_runtime(at) : host_reverse_enter_runtime(), S_OK);
    }
    REQUIRE_EQ(hostcrst_enter(common, 0), S_OK);
    counted++;
    CHECK_EQ(hostcrst_leave(common), S_OK);
    __atomic_add_fetch(&arrived, 1, __ATOMIC_RELEASE);
    check_await(&steps, 2);
    if (at % 100 != 0) {
        CHECK_EQ(hostcrst_leave(sections[at]), S_OK);
    }
    return NULL;
}

static void ten_thousand_tasks_live_at_once(void)
{
    pthread_attr_t attributes;
    REQUIRE_EQ(pthread_attr_init(&attributes), 0);
    REQUIRE_EQ(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
    common = new_section();
    for (size_t at = 0; at < TASKS; at++) {
        int result = pthread_create(&threads[at], &attributes, live_as_a_task, (void *)(uintptr_t)at);
        if (result != 0) {
            printf("this machine allows no more than %zu threads (ulimit -u, pids.max, max_map_count): %s\n",
                   at, strerror(result));
            REQUIRE_EQ(result, 0);
        }
    }
    REQUIRE_SOON(__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) == TASKS);
    long long before = bytes_resident();
    check_reach(&steps, 1);
    REQUIRE_SOON(__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) == 2 * TASKS);
    double bytes = (double)(bytes_resident() - before) / TASKS;
    printf("    %.0f bytes for a task, with what its first calls take of its stack\n", bytes);
    CHECK(bytes >= 512 && bytes <= 6000);
    CHECK_EQ(counted, TASKS);
    for (size_t at = 0; at < TASKS; at++) {
        host_task_info_t info = task_info_of(tasks[at]);
        CHECK_EQ(info.owned, 1);
        CHECK_EQ(info.depth, LAYERS_OF_A_TASK);
        CHECK_EQ(info.waiting_for, 0);
    }
}

static void sections_left_owned_by_many_tasks_are_abandoned(void)
{
    check_reach(&steps, 2);
    for (size_t at = 0; at < TASKS; at++) {
        REQUIRE_EQ(pthread_join(threads[at], NULL), 0);
        CHECK_EQ(host_task_alert(tasks[at]), E_HANDLE);
    }
    for (size_t at = 0; at < TASKS; at++) {
        CHECK_SECTION(sections[at], at % 100 != 0 ? HOSTCRST_FREE : HOSTCRST_ABANDONED, 0, 0);
    }
}

static void a_million_sections_are_destroyed(void)
{
    for (int at = 0; at < SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_destroy(sections[at]), S_OK);
    }
    for (int at = 0; at < SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_enter(sections[at], 0), E_HANDLE);
    }
}

/* The second million takes the place of the first. */
static void a_second_million_takes_no_more_memory(void)
{
    hostcrst_t *again = (hostcrst_t *)zeroed(SECTIONS, sizeof *again);
    memset(again, 1, SECTIONS * sizeof *again);
    long long before = bytes_resident();
    for (int at = 0; at < SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_create(&again[at]), S_OK);
    }
    CHECK(bytes_resident() - before < 1 << 20);
    for (int at = 0; at < SECTIONS; at++) {
        REQUIRE_EQ(hostcrst_leave(sections[at]), E_HANDLE);
        REQUIRE_EQ(hostcrst_destroy(again[at]), S_OK);
    }
    free(again);
    free(sections);
}

CHECK_MAIN(CHECK_TEST(a_million_sections_are_created), CHECK_TEST(a_million_sections_are_used),
           CHECK_TEST(ten_thousand_tasks_live_at_once),
           CHECK_TEST(sections_left_owned_by_many_tasks_are_abandoned),
           CHECK_TEST(a_million_sections_are_destroyed), CHECK_TEST(a_second_million_takes_no_more_memory))
