/*
 * No call is a cancellation point: every exported function is called with a cancel pending, on its slow paths too, and
 * returns as if there were none. After that the library is whole.
 */
#include "capture.h"

#include <hostcrst/win32.h>

/* ---- a thread with a cancel pending ---- */

static const char *present_call;

static void let_cancels_act(int on)
{
    REQUIRE_EQ(pthread_setcancelstate(on ? PTHREAD_CANCEL_ENABLE : PTHREAD_CANCEL_DISABLE, NULL), 0);
}

/* The result of a call during which the cancel may act, as it never does outside of these. */
#define WITH_CANCEL(call) (present_call = #call, let_cancels_act(1), without_cancel((long long)(call)))
#define RETURNS(call, expected) CHECK_EQ(WITH_CANCEL(call), (long long)(expected))
#define RETURNS_NOTHING(call) \
    do { \
        present_call = #call; \
        let_cancels_act(1); \
        call; \
        let_cancels_act(0); \
    } while (0)

static long long without_cancel(long long result)
{
    let_cancels_act(0);
    return result;
}

static void *cancelled_main(void *body)
{
    let_cancels_act(0);
    REQUIRE_EQ(pthread_cancel(pthread_self()), 0);
    (*(void (**)(void))body)();
    return NULL;
}

static void run_with_cancel_pending(void (*body)(void))
{
    pthread_t thread;
    void *result = NULL;
    REQUIRE_EQ(pthread_create(&thread, NULL, cancelled_main, &body), 0);
    REQUIRE_EQ(pthread_join(thread, &result), 0);
    if (result == PTHREAD_CANCELED) {
        check_fail(__FILE__, __LINE__, "cancelled inside %s", present_call);
    }
}

static void check_whole(void)
{
    holder_t holder;
    waiter_t waiter;
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    wait_for(&waiter, crst, 0);
    CHECK_EQ(info_of(crst).waiters, 1);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_set_name(crst, "whole"), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- each function ---- */

extern int32_t DllGetClassObject(const void *class_id, const void *interface_id, void **object);
extern int32_t DllCanUnloadNow(void);

static hostcrst_t made, owned, busy;
static host_task_t waiting_task;
static CRITICAL_SECTION section;
static CONDITION_VARIABLE variable;
static holder_t owner_of_busy;

static void of_the_clr(void)
{
    void *object = NULL;
    RETURNS(DllGetClassObject(NULL, NULL, &object), E_POINTER);
    RETURNS(DllCanUnloadNow(), S_FALSE);
}

static void of_the_runtime(void)
{
    uint32_t state = 0;
    int32_t needs = 0;
    RETURNS(host_runtime_start(), S_FALSE);
    RETURNS(host_runtime_state(&state), S_OK);
    RETURNS(host_set_call_hook(1, 0), S_OK);
    RETURNS(host_call_needs_host_hook(1, &needs), S_OK);
    RETURNS(host_leave_runtime(1), S_OK);
    RETURNS(host_reverse_enter_runtime(), S_OK);
    RETURNS(host_reverse_leave_runtime(), S_OK);
    RETURNS(host_enter_runtime(), S_OK);
    RETURNS(host_result_message(E_FAIL) != NULL, 1);
    RETURNS(hostcrst_version() != NULL, 1);
}

static void of_tasks(void)
{
    host_task_info_t info = {sizeof info, 0, 0, 0, 0, 0};
    host_layer_t layer;
    host_task_t me = 0;
    size_t count = 0;
    uint32_t left = 0;
    RETURNS(host_task_current(&me), S_OK);
    RETURNS(host_task_set_name(me, "cancelled"), S_OK);
    RETURNS(host_task_name(me, NULL, 0, &count), S_OK);
    RETURNS(host_task_list(NULL, 0, &count), S_OK);
    RETURNS(host_tasks_left(&left), S_OK);
    RETURNS(host_task_info(me, &info), S_OK);
    RETURNS(host_task_layers(me, &layer, 1, &count), S_OK);
    RETURNS(host_wait_chain(me, NULL, 0, &count), S_OK);
    RETURNS(host_task_alert(me), S_OK);
}

static void of_resources(void)
{
    host_resource_t made = 0;
    size_t count = 0;
    RETURNS(host_resource_create(&made), S_OK);
    RETURNS(host_resource_set_name(made, "cancelled"), S_OK);
    RETURNS(host_resource_name(made, NULL, 0, &count), S_OK);
    RETURNS(host_resource_list(NULL, 0, &count), S_OK);
    RETURNS(host_resource_wait(made, 0), S_OK);
    RETURNS(host_resource_wait_end(made), S_OK);
    RETURNS(host_resource_acquired(made), S_OK);
    RETURNS(host_resource_released(made), S_OK);
    RETURNS(host_resource_wait_at(made, 0, "somewhere"), S_OK);
    RETURNS(host_resource_acquired_at(made, "somewhere"), S_OK);
    RETURNS(host_resource_released(made), S_OK);
    RETURNS(host_resource_destroy(made), S_OK);
}

static void of_sections(void)
{
    hostcrst_info_t info;
    int32_t entered = 0;
    size_t count = 0;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    RETURNS(hostcrst_create(&made), S_OK);
    RETURNS(hostcrst_destroy(made), S_OK);
    RETURNS(hostcrst_create_with_spin_count(10, &made), S_OK);
    RETURNS(hostcrst_set_spin_count(made, 20), S_OK);
    RETURNS(hostcrst_set_name(made, "made"), S_OK);
    RETURNS(hostcrst_name(made, NULL, 0, &count), S_OK);
    RETURNS(hostcrst_list(NULL, 0, &count), S_OK);
    RETURNS(hostcrst_info(made, &info), S_OK);
    RETURNS(hostcrst_enter(made, 0), S_OK);
    RETURNS(hostcrst_enter(made, 0), S_OK);
    RETURNS(hostcrst_leave(made), S_OK);
    RETURNS(hostcrst_try_enter(made, 0, &entered), S_OK);
    RETURNS(hostcrst_enter_timeout(made, 0, 1), S_OK);
    RETURNS(hostcrst_enter_at(made, 0, 1, "somewhere"), S_OK);
    RETURNS(hostcrst_destroy(made), S_OK);
    made = abandoned_section();
    RETURNS(hostcrst_recover(made), S_OK);
    RETURNS(hostcrst_allow_order(made, busy), S_OK);
    /* With a wait, to its end and until it is served. */
    RETURNS(hostcrst_enter_timeout(busy, 0, 1), HOST_E_TIMEOUT);
    RETURNS(hostcrst_enter_at(busy, 0, 1, "somewhere"), HOST_E_TIMEOUT);
    __atomic_store_n(&waiting_task, this_task(), __ATOMIC_RELEASE);
    RETURNS(hostcrst_enter(busy, 0), S_OK);
    RETURNS(hostcrst_leave(busy), S_OK);
}

static void drop_piece(const char *text, size_t length, void *context)
{
    (void)text;
    (void)length;
    (void)context;
}

static void of_deadlocks_and_reports(void)
{
    int descriptors[2];
    uint32_t policy = 7;
    RETURNS(host_set_deadlock_policy(HOST_DEADLOCK_ERROR), S_OK);
    RETURNS(host_deadlock_policy(&policy), S_OK);
    RETURNS(host_set_deadlock_callback(NULL, NULL), S_OK);
    RETURNS(host_set_hold_tracking(1), S_OK);
    RETURNS(host_set_hold_tracking(0), S_OK);
    RETURNS(host_set_statistics(1), S_OK);
    RETURNS(host_set_statistics(0), S_OK);
    RETURNS(host_set_order_checks(1), S_OK);
    RETURNS(host_set_order_checks(0), S_OK);
    REQUIRE_EQ(pipe(descriptors), 0);
    REQUIRE_EQ(fcntl(descriptors[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_HTML; format++) {
        RETURNS(host_report(descriptors[1], format), S_OK);
        RETURNS(host_report_write(format, drop_piece, NULL), S_OK);
    }
    close(descriptors[0]);
    close(descriptors[1]);
}

static void of_windows(void)
{
    InitializeCriticalSection(&section);
    RETURNS_NOTHING(DeleteCriticalSection(&section));
    RETURNS_NOTHING(InitializeCriticalSection(&section));
    RETURNS(InitializeCriticalSectionAndSpinCount(&section, 10), TRUE);
    RETURNS(InitializeCriticalSectionEx(&section, 10, 0), TRUE);
    CHECK(WITH_CANCEL(SetCriticalSectionSpinCount(&section, 20)) <= 10);
    RETURNS_NOTHING(EnterCriticalSection(&section));
    RETURNS(TryEnterCriticalSection(&section), TRUE);
    RETURNS_NOTHING(LeaveCriticalSection(&section));
    RETURNS_NOTHING(InitializeConditionVariable(&variable));
    RETURNS(SleepConditionVariableCS(&variable, &section, 1), FALSE);
    RETURNS_NOTHING(WakeConditionVariable(&variable));
    RETURNS_NOTHING(WakeAllConditionVariable(&variable));
    RETURNS_NOTHING(LeaveCriticalSection(&section));
    RETURNS_NOTHING(DeleteCriticalSection(&section));
    RETURNS_NOTHING(hostcrst_set_last_error(7));
    RETURNS(hostcrst_last_error(), 7);
    CHECK(WITH_CANCEL(GetCurrentThreadId()) != 0);
}

/* What blocks among them has a time limit or nothing to wait for. */
static void of_what_stands_beside_windows_sections(void)
{
    static SRWLOCK lock;
    static INIT_ONCE once;
    static int value;
    int undesired = 0;
    BOOL is_pending;
    RETURNS_NOTHING(InitializeSRWLock(&lock));
    RETURNS_NOTHING(AcquireSRWLockExclusive(&lock));
    RETURNS(SleepConditionVariableSRW(&variable, &lock, 1, 0), FALSE);
    RETURNS(TryAcquireSRWLockShared(&lock), FALSE);
    RETURNS_NOTHING(ReleaseSRWLockExclusive(&lock));
    RETURNS_NOTHING(AcquireSRWLockShared(&lock));
    RETURNS(TryAcquireSRWLockExclusive(&lock), FALSE);
    RETURNS_NOTHING(ReleaseSRWLockShared(&lock));
    RETURNS(WaitOnAddress(&value, &undesired, sizeof value, 1), FALSE);
    RETURNS_NOTHING(WakeByAddressSingle(&value));
    RETURNS_NOTHING(WakeByAddressAll(&value));
    RETURNS_NOTHING(InitOnceInitialize(&once));
    RETURNS(InitOnceBeginInitialize(&once, 0, &is_pending, NULL), TRUE);
    RETURNS(InitOnceComplete(&once, 0, NULL), TRUE);
}

static void of_the_runtimes_end(void)
{
    RETURNS(host_runtime_stop(), S_OK);
    RETURNS(host_runtime_fail(), S_OK);
}

/* Which functions each of these calls, by their names in exports.txt. */
static const struct {
    void (*body)(void);
    const char *functions;
} groups[] = {
    {of_the_clr, "DllGetClassObject DllCanUnloadNow"},
    {of_the_runtime, "host_runtime_start host_runtime_state host_set_call_hook host_call_needs_host_hook host_leave_runtime "
                     "host_reverse_enter_runtime host_reverse_leave_runtime host_enter_runtime host_result_message "
                     "hostcrst_version"},
    {of_tasks, "host_task_current host_task_set_name host_task_name host_task_list host_tasks_left host_task_info host_task_layers host_wait_chain "
               "host_task_alert"},
    {of_sections, "hostcrst_create hostcrst_create_with_spin_count hostcrst_set_spin_count hostcrst_set_name hostcrst_name "
                  "hostcrst_list hostcrst_info "
                  "hostcrst_enter hostcrst_leave hostcrst_try_enter hostcrst_enter_timeout hostcrst_enter_at hostcrst_destroy hostcrst_recover "
                  "hostcrst_allow_order"},
    {of_resources, "host_resource_create host_resource_set_name host_resource_name host_resource_list host_resource_wait host_resource_wait_end "
                   "host_resource_wait_at host_resource_acquired host_resource_acquired_at host_resource_released host_resource_destroy"},
    {of_deadlocks_and_reports, "host_set_deadlock_policy host_deadlock_policy host_set_deadlock_callback host_set_hold_tracking "
                             "host_set_statistics host_set_order_checks host_report host_report_write"},
    {of_windows, "hostcrst_cs_initialize hostcrst_cs_initialize_and_spin_count hostcrst_cs_initialize_ex "
                 "hostcrst_cs_set_spin_count hostcrst_cs_enter hostcrst_cs_try_enter hostcrst_cs_leave hostcrst_cs_delete "
                 "hostcrst_cv_initialize hostcrst_cv_sleep hostcrst_cv_wake hostcrst_cv_wake_all hostcrst_last_error "
                 "hostcrst_set_last_error hostcrst_thread_id"},
    {of_what_stands_beside_windows_sections,
     "hostcrst_srw_initialize hostcrst_srw_acquire_exclusive hostcrst_srw_acquire_shared hostcrst_srw_try_acquire_exclusive "
     "hostcrst_srw_try_acquire_shared hostcrst_srw_release_exclusive hostcrst_srw_release_shared hostcrst_cv_sleep_srw "
     "hostcrst_address_wait hostcrst_address_wake hostcrst_address_wake_all hostcrst_once_initialize hostcrst_once_begin "
     "hostcrst_once_complete"},
    {of_the_runtimes_end, "host_runtime_stop host_runtime_fail"},
};

/* A variable, not a function. */
static const char no_function[] = "hostcrst_registry_v1";

static int calls_function(const char *name)
{
    char wanted[132];
    snprintf(wanted, sizeof wanted, " %s ", name);
    for (size_t at = 0; at < sizeof groups / sizeof groups[0]; at++) {
        char listed[1024];
        snprintf(listed, sizeof listed, " %s ", groups[at].functions);
        if (strstr(listed, wanted) != NULL) {
            return 1;
        }
    }
    return 0;
}

static void every_exported_function_is_called(void)
{
    char line[128];
    int count = 0;
    FILE *exports = fopen(HOSTCRST_EXPORTS, "r");
    REQUIRE(exports != NULL);
    while (fgets(line, sizeof line, exports) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        count++;
        if (strcmp(line, no_function) != 0 && !calls_function(line)) {
            check_fail(__FILE__, __LINE__, "%s is not called here", line);
        }
    }
    fclose(exports);
    CHECK(count > 40);
}

static void *let_go_when_waited_for(void *unused)
{
    (void)unused;
    REQUIRE_SOON(__atomic_load_n(&waiting_task, __ATOMIC_ACQUIRE) != 0 && is_waiting(waiting_task, busy));
    check_reach(&owner_of_busy.steps, 2);
    return NULL;
}

static void call_each(void)
{
    pthread_t helper;
    start_runtime();
    busy = new_section();
    hold(&owner_of_busy, busy);
    owner_of_busy.leaves = 1;
    for (size_t at = 0; at < sizeof groups / sizeof groups[0]; at++) {
        int waits = groups[at].body == of_sections;
        if (groups[at].body == of_the_runtimes_end) {
            check_whole();
        }
        if (waits) {
            REQUIRE_EQ(pthread_create(&helper, NULL, let_go_when_waited_for, NULL), 0);
        }
        run_with_cancel_pending(groups[at].body);
        if (waits) {
            REQUIRE_EQ(pthread_join(helper, NULL), 0);
        }
    }
    check_join(&owner_of_busy.thread);
}

static void no_call_acts_on_a_cancel(void)
{
    in_child(call_each);
}

/* ---- the first call of all ---- */

static void start(void)
{
    RETURNS(host_runtime_start(), S_OK);
}

static void call_first(void)
{
    run_with_cancel_pending(start);
    check_whole();
}

static void nor_does_the_first_one(void)
{
    /* It complains of this on stderr. */
    REQUIRE_EQ(setenv("HOSTCRST_NO_SUCH_NAME", "1", 1), 0);
    run_t run = child_of(call_first, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_CONTAINS(run.said, "HOSTCRST_NO_SUCH_NAME");
    free(run.said);
    REQUIRE_EQ(unsetenv("HOSTCRST_NO_SUCH_NAME"), 0);
}

/* ---- deadlocks ---- */

static hostcrst_t theirs;
static int32_t option;
static int32_t expected;

static void wait_for_owned(void *unused)
{
    (void)unused;
    REQUIRE_EQ(hostcrst_enter(theirs, 0), S_OK);
    int32_t result = hostcrst_enter(owned, WAIT_NOTINDEADLOCK);
    if (result == S_OK) {
        CHECK_EQ(hostcrst_leave(owned), S_OK);
    }
    CHECK_EQ(hostcrst_leave(theirs), S_OK);
}

static off_t size_of_stderr(void)
{
    struct stat status;
    REQUIRE_EQ(fstat(STDERR_FILENO, &status), 0);
    return status.st_size;
}

static int tells_of_a_deadlock_from(off_t start)
{
    char said[16384] = "";
    return pread(STDERR_FILENO, said, sizeof said - 1, start) > 0 && strstr(said, "*** DEADLOCK ***\n") != NULL;
}

static off_t said_before;

/* Not before the callback was called: an earlier alert would open the cycle, and there would be no deadlock. */
static void alert_when_it_stands(void *task)
{
    REQUIRE_SOON(tells_of_a_deadlock_from(said_before));
    CHECK_EQ(host_task_alert(*(host_task_t *)task), S_OK);
}

static void close_a_cycle(void)
{
    check_thread_t other, alerter;
    owned = new_section();
    theirs = new_section();
    host_task_t task = this_task();
    CHECK_EQ(hostcrst_enter(owned, 0), S_OK);
    check_start(&other, wait_for_owned, NULL);
    REQUIRE_SOON(info_of(owned).waiters == 1);
    if (option & WAIT_ALERTABLE) {
        said_before = size_of_stderr();
        check_start(&alerter, alert_when_it_stands, &task);
    }
    RETURNS(hostcrst_enter(theirs, (uint32_t)option), expected);
    if (option & WAIT_ALERTABLE) {
        check_join(&alerter);
    }
    CHECK_EQ(hostcrst_leave(owned), S_OK);
    check_join(&other);
}

static void find_a_deadlock(void)
{
    start_runtime();
    run_with_cancel_pending(close_a_cycle);
    check_whole();
    /* The lock of the search is free. */
    run_with_cancel_pending(close_a_cycle);
}

static void neither_does_a_search_under_any_policy(void)
{
    option = 0;
    expected = HOST_E_DEADLOCK;
    run_t run = child_of(find_a_deadlock, "error");
    CHECK_EQ(run.status, 0);
    CHECK_STR_EQ(run.said, "");
    free(run.said);

    option = WAIT_ALERTABLE;
    expected = HOST_E_INTERRUPTED;
    run = child_of(find_a_deadlock, "report");
    CHECK_EQ(run.status, 0);
    CHECK_CONTAINS(run.said, "*** DEADLOCK ***\n");
    free(run.said);

    option = 0;
    run = child_of(find_a_deadlock, "abort");
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT);
    CHECK_CONTAINS(run.said, "*** DEADLOCK ***\n");
    free(run.said);
}

/* ---- stalls ---- */

static void wait_long(void)
{
    RETURNS(hostcrst_enter(busy, 0), S_OK);
    CHECK_EQ(hostcrst_leave(busy), S_OK);
}

static int said_by_now;

static void *let_go_when_it_is_said(void *unused)
{
    struct stat status;
    (void)unused;
    REQUIRE_SOON(fstat(STDERR_FILENO, &status) == 0 && status.st_size > said_by_now);
    check_reach(&owner_of_busy.steps, 2);
    return NULL;
}

static void stall(void)
{
    pthread_t helper;
    REQUIRE_EQ(setenv("HOSTCRST_STALL", "10ms", 1), 0);
    start_runtime();
    busy = new_section();
    hold(&owner_of_busy, busy);
    owner_of_busy.leaves = 1;
    REQUIRE_EQ(pthread_create(&helper, NULL, let_go_when_it_is_said, NULL), 0);
    run_with_cancel_pending(wait_long);
    REQUIRE_EQ(pthread_join(helper, NULL), 0);
    check_join(&owner_of_busy.thread);
    CHECK_EQ(info_of(busy).waiters, 0);
}

static void nor_a_stall_line(void)
{
    run_t run = child_of(stall, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_CONTAINS(run.said, " has waited ");
    free(run.said);
}

/* ---- at exit ---- */

static void end_the_process(void)
{
    present_call = "exit";
    let_cancels_act(1);
    exit(0);
}

/* Runs after the library's; what libc itself does after that may act on a cancel. */
static void end_at_once(void)
{
    _exit(check_failed_so_far() != 0);
}

static void report_at_exit(void)
{
    REQUIRE_EQ(atexit(end_at_once), 0);
    REQUIRE_EQ(setenv("HOSTCRST_REPORT", "stderr", 1), 0);
    start_runtime();
    run_with_cancel_pending(end_the_process);
}

static void nor_the_report_at_exit(void)
{
    run_t run = child_of(report_at_exit, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_CONTAINS(run.said, "No deadlock");
    free(run.said);
}

CHECK_MAIN(CHECK_TEST(every_exported_function_is_called), CHECK_TEST(no_call_acts_on_a_cancel),
           CHECK_TEST(nor_does_the_first_one), CHECK_TEST(neither_does_a_search_under_any_policy),
           CHECK_TEST(nor_a_stall_line), CHECK_TEST(nor_the_report_at_exit))
