/* What the library asks of the system, and what the system does to it: forks, errno, the first call of all.
 */
#include "capture.h"

/* ---- the first call ---- */

enum { FIRST_CALLERS = 16 };
static check_steps_t first_steps = CHECK_STEPS_INIT;
static int first_starts;

static void call_first(void *unused)
{
    hostcrst_t crst = 0;
    (void)unused;
    check_arrive(&first_steps, FIRST_CALLERS);
    __atomic_add_fetch(&first_starts, host_runtime_start() == S_OK, __ATOMIC_RELAXED);
    REQUIRE_EQ(hostcrst_create(&crst), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void begin_at_once(void)
{
    check_thread_t threads[FIRST_CALLERS];
    for (int at = 0; at < FIRST_CALLERS; at++) {
        check_start(&threads[at], call_first, NULL);
    }
    for (int at = 0; at < FIRST_CALLERS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(first_starts, 1);
}

static void many_threads_may_make_the_first_call_at_once(void)
{
    for (int time = 0; time < 50; time++) {
        in_child(begin_at_once);
    }
}

/* ---- errno ---- */

static void every_call_keeps_errno(void)
{
    uint64_t handle = 0;
    uint32_t number = 0;
    int32_t answer = 0;
    size_t count = 0;
    host_layer_t layer;
    hostcrst_info_t info = {sizeof info, 0, 0, 0, 0, 0, 0, 0, 0};
    host_task_info_t task_info = {sizeof task_info, 0, 0, 0, 0, 0};
    CHECK(KEEPING_ERRNO(host_runtime_start()) >= 0);
    CHECK_EQ(KEEPING_ERRNO(host_runtime_state(&number)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_current(&handle)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_set_name(handle, "errno")), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_info(handle, &task_info)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_name(handle, NULL, 0, &count)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_set_name(handle, "")), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_name(handle, NULL, 0, &count)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_list(&handle, 1, &count)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_tasks_left(&number)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_list(NULL, 0, &count)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_task_layers(handle, &layer, 1, &count)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_create(&handle)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_set_name(handle, "errno")), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_set_spin_count(handle, 3)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(handle, 0)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(handle, 0)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_try_enter(handle, 0, &answer)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_enter_timeout(handle, 0, 1)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_info(handle, &info)), S_OK);
    CHECK_EQ(info.recursion, 4);
    for (int time = 0; time < 4; time++) {
        CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(handle)), S_OK);
    }
    CHECK_EQ(KEEPING_ERRNO(hostcrst_destroy(handle)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_set_call_hook(1, 0)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_call_needs_host_hook(1, &answer)), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_report(open("/dev/null", O_WRONLY), HOST_REPORT_TEXT)), S_OK);
    for (size_t depth = 0; depth < 2000; depth++) {
        CHECK_EQ(KEEPING_ERRNO(depth % 2 == 0 ? host_leave_runtime(depth) : host_reverse_enter_runtime()),
                 S_OK);
    }
    for (size_t depth = 2000; depth > 0; depth--) {
        CHECK_EQ(KEEPING_ERRNO(depth % 2 == 1 ? host_enter_runtime() : host_reverse_leave_runtime()), S_OK);
    }
    CHECK(KEEPING_ERRNO(host_result_message(E_FAIL) != NULL));
    CHECK(KEEPING_ERRNO(hostcrst_version() != NULL));
}

static int stop_competing;

static void compete(void *crst)
{
    while (!__atomic_load_n(&stop_competing, __ATOMIC_RELAXED)) {
        int32_t result = KEEPING_ERRNO(hostcrst_enter_timeout(*(hostcrst_t *)crst, 0, 1));
        if (result == S_OK) {
            CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(*(hostcrst_t *)crst)), S_OK);
        } else {
            CHECK_EQ(result, HOST_E_TIMEOUT);
        }
        CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(*(hostcrst_t *)crst, 0)), S_OK);
        CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(*(hostcrst_t *)crst)), S_OK);
    }
}

static void contended_calls_keep_errno(void)
{
    enum { THREADS = 4 };
    check_thread_t threads[THREADS];
    start_runtime();
    hostcrst_t crst = new_section();
    for (int at = 0; at < THREADS; at++) {
        check_start(&threads[at], compete, &crst);
    }
    int64_t start = nanoseconds_now();
    while (milliseconds_since(start) < 300) {
        check_pause();
    }
    REQUIRE_SOON(info_of(crst).contended > 0);
    __atomic_store_n(&stop_competing, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < THREADS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- forks ---- */

static hostcrst_t mine, theirs, contended, untouched;
static host_task_t parent_task, their_task;

static void live_on_in_the_child(void)
{
    holder_t holder;
    waiter_t waiter;
    int32_t entered = 7;
    uint32_t state = 7;
    CHECK_EQ(host_runtime_state(&state), S_OK);
    CHECK_EQ(state, HOST_RUNTIME_RUNNING);
    CHECK_EQ(this_task(), parent_task);
    CHECK_EQ(task_info_of(parent_task).thread_id, getpid());
    CHECK_EQ(task_info_of(parent_task).owned, 2);
    CHECK_EQ(task_info_of(parent_task).depth, 1);
    CHECK_EQ(host_task_alert(their_task), E_HANDLE);

    CHECK_SECTION(mine, HOSTCRST_OWNED, parent_task, 2);
    CHECK_SECTION(theirs, HOSTCRST_ABANDONED, 0, 0);
    CHECK_SECTION(untouched, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(info_of(contended).waiters, 0);
    CHECK_EQ(hostcrst_enter(theirs, 0), HOST_E_ABANDONED);
    CHECK_EQ(hostcrst_recover(theirs), S_OK);
    CHECK_EQ(hostcrst_leave(theirs), S_OK);
    CHECK_EQ(hostcrst_leave(mine), S_OK);
    CHECK_EQ(hostcrst_leave(mine), S_OK);
    CHECK_EQ(hostcrst_leave(contended), S_OK);
    CHECK_EQ(host_enter_runtime(), S_OK);

    /* All of it works on, waiting too. */
    hold(&holder, contended);
    CHECK_EQ(hostcrst_try_enter(contended, 0, &entered), S_OK);
    CHECK_EQ(entered, 0);
    CHECK_EQ(hostcrst_enter_timeout(contended, 0, 5), HOST_E_TIMEOUT);
    wait_for(&waiter, contended, 0);
    CHECK_EQ(info_of(contended).waiters, 1);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(contended), S_OK);
    CHECK_EQ(hostcrst_destroy(new_section()), S_OK);
    char *report = text_report();
    CHECK_CONTAINS(report, line_of(" pid %d  runtime running\n", (int)getpid()).text);
    free(report);
}

static void a_child_goes_on_with_what_its_thread_had(void)
{
    holder_t holder;
    waiter_t waiter;
    start_runtime();
    parent_task = this_task();
    mine = new_section();
    theirs = new_section();
    contended = new_section();
    untouched = new_section();
    hold_times(&holder, theirs, 3);
    their_task = holder.task;
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    CHECK_EQ(hostcrst_enter(contended, 0), S_OK);
    wait_for(&waiter, contended, 0);
    CHECK_EQ(host_leave_runtime(7), S_OK);
    in_child(live_on_in_the_child);
    /* The parent has noticed nothing. */
    CHECK_SECTION(mine, HOSTCRST_OWNED, parent_task, 2);
    CHECK_SECTION(theirs, HOSTCRST_OWNED, their_task, 3);
    CHECK_EQ(info_of(contended).waiters, 1);
    CHECK_EQ(host_enter_runtime(), S_OK);
    CHECK_EQ(hostcrst_leave(contended), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(mine), S_OK);
    CHECK_EQ(hostcrst_destroy(theirs), S_OK);
    CHECK_EQ(hostcrst_destroy(contended), S_OK);
    CHECK_EQ(hostcrst_destroy(untouched), S_OK);
}

static int stop_changing;

/* Takes every lock that the library has for itself. */
static void change_all_the_time(void *unused)
{
    (void)unused;
    for (size_t time = 0; !__atomic_load_n(&stop_changing, __ATOMIC_RELAXED); time++) {
        hostcrst_t crst = new_section();
        CHECK_EQ(hostcrst_set_name(crst, "changing"), S_OK);
        CHECK_EQ(host_task_set_name(this_task(), "changing"), S_OK);
        CHECK_EQ(host_set_call_hook(time % 10000, 0), S_OK);
        CHECK_EQ(hostcrst_enter(untouched, 0), S_OK);
        CHECK_EQ(hostcrst_leave(untouched), S_OK);
        for (int depth = 0; depth < 300; depth++) {
            CHECK_EQ(host_leave_runtime(1), S_OK);
            CHECK_EQ(host_reverse_enter_runtime(), S_OK);
        }
        for (int depth = 0; depth < 300; depth++) {
            CHECK_EQ(host_reverse_leave_runtime(), S_OK);
            CHECK_EQ(host_enter_runtime(), S_OK);
        }
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
}

static void use_everything_once(void)
{
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_set_name(crst, "child"), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(host_set_call_hook(123456, 0), S_OK);
    for (int depth = 0; depth < 300; depth++) {
        CHECK_EQ(host_leave_runtime(1), S_OK);
        CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    }
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    char *report = text_report();
    CHECK(strlen(report) > 0);
    free(report);
    ended_task();
    hostcrst_info_t info = info_of(untouched);
    if (info.state == HOSTCRST_ABANDONED) {
        CHECK_EQ(hostcrst_recover(untouched), S_OK);
    } else {
        CHECK_EQ(hostcrst_enter(untouched, 0), S_OK);
    }
    CHECK_EQ(hostcrst_leave(untouched), S_OK);
}

static void a_fork_in_the_middle_of_anything_is_fine(void)
{
    enum { THREADS = 4, FORKS = 60 };
    check_thread_t threads[THREADS];
    start_runtime();
    untouched = new_section();
    stop_changing = 0;
    for (int at = 0; at < THREADS; at++) {
        check_start(&threads[at], change_all_the_time, NULL);
    }
    for (int time = 0; time < FORKS; time++) {
        in_child(use_everything_once);
    }
    __atomic_store_n(&stop_changing, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < THREADS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(hostcrst_destroy(untouched), S_OK);
}

CHECK_MAIN(CHECK_TEST(many_threads_may_make_the_first_call_at_once), CHECK_TEST(every_call_keeps_errno),
           CHECK_TEST(contended_calls_keep_errno), CHECK_TEST(a_child_goes_on_with_what_its_thread_had),
           CHECK_TEST(a_fork_in_the_middle_of_anything_is_fine))
