/*
 * Every function with every result that the header documents for it. Each test says which function gives
 * which code, and the last one reads the header: it fails for a documented pair that no test has seen, and
 * for a pair that was seen and is not documented. Every test runs in a child process, so that each finds the
 * library unused.
 */
#include "host.h"

#include <fcntl.h>

/* ---- what was seen, in memory shared with the children ---- */

#define MOST_PAIRS 256

typedef struct pair {
    char function[40];
    char code[32];
} pair_t;

typedef struct pairs {
    int count;
    pair_t at[MOST_PAIRS];
} pairs_t;

static pairs_t *seen;

static int holds_pair(const pairs_t *pairs, const char *function, const char *code)
{
    for (int at = 0; at < pairs->count; at++) {
        if (strcmp(pairs->at[at].function, function) == 0 && strcmp(pairs->at[at].code, code) == 0) {
            return 1;
        }
    }
    return 0;
}

static void add_pair(pairs_t *pairs, const char *function, const char *code)
{
    if (holds_pair(pairs, function, code)) {
        return;
    }
    REQUIRE(pairs->count < MOST_PAIRS);
    pair_t *pair = &pairs->at[pairs->count++];
    snprintf(pair->function, sizeof pair->function, "%s", function);
    snprintf(pair->code, sizeof pair->code, "%s", code);
}

/* Calls the function, which must give the code and leave errno alone. Only the main thread of a test may. */
#define GIVES(function, arguments, code) \
    give(#function, #code, KEEPING_ERRNO(function arguments), code, __FILE__, __LINE__)

static void give(const char *function, const char *code, int32_t actual, int32_t expected, const char *file,
                 int line)
{
    if (check_equal(actual, expected, file, line, function)) {
        add_pair(seen, function, code);
    }
}

#define TEST(body) \
    static void body##_in_child(void); \
    static void body(void) \
    { \
        if (seen == NULL) { \
            seen = (pairs_t *)mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, \
                                   -1, 0); \
            REQUIRE(seen != MAP_FAILED); \
        } \
        in_child(body##_in_child); \
    } \
    static void body##_in_child(void)

static hostcrst_t stale_section(void)
{
    hostcrst_t crst = new_section();
    REQUIRE_EQ(hostcrst_destroy(crst), S_OK);
    return crst;
}

static host_resource_t new_resource(void)
{
    host_resource_t resource = 0;
    REQUIRE_EQ(host_resource_create(&resource), S_OK);
    return resource;
}

static hostcrst_info_t section_info = {sizeof section_info, 0, 0, 0, 0, 0, 0, 0, 0};
static host_task_info_t task_info = {sizeof task_info, 0, 0, 0, 0, 0};

/* ---- the tests ---- */

static void everything_is_unavailable(hostcrst_t crst, host_task_t task)
{
    uint64_t out = 7;
    int32_t entered = 7;
    GIVES(hostcrst_create, (&out), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(out, 0);
    out = 7;
    GIVES(hostcrst_create_with_spin_count, (1, &out), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(out, 0);
    GIVES(hostcrst_enter, (crst, 0), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_enter_timeout, (crst, 0, 0), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_enter_at, (crst, 0, 0, "somewhere"), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_try_enter, (crst, 0, &entered), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(entered, 0);
    GIVES(hostcrst_leave, (crst), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_set_spin_count, (crst, 1), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_destroy, (crst), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_recover, (crst), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_allow_order, (crst, crst), HOST_E_CLRNOTAVAILABLE);
    GIVES(hostcrst_set_name, (crst, "name"), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_leave_runtime, (1), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_enter_runtime, (), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_reverse_enter_runtime, (), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_reverse_leave_runtime, (), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_set_call_hook, (1, 0), HOST_E_CLRNOTAVAILABLE);
    out = 7;
    GIVES(host_task_current, (&out), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(out, 0);
    GIVES(host_task_set_name, (task, "name"), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_task_alert, (task), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_set_deadlock_policy, (HOST_DEADLOCK_ERROR), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_set_deadlock_callback, (NULL, NULL), HOST_E_CLRNOTAVAILABLE);
    uint32_t left = 7;
    GIVES(host_tasks_left, (&left), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(left, 0);
    GIVES(host_set_hold_tracking, (1), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_set_statistics, (1), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_set_order_checks, (1), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_runtime_stop, (), HOST_E_CLRNOTAVAILABLE);
    out = 7;
    GIVES(host_resource_create, (&out), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(out, 0);
    GIVES(host_resource_set_name, (3, "name"), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_resource_destroy, (3), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_resource_wait, (3, 0), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_resource_wait_at, (3, 0, "somewhere"), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_resource_wait_end, (3), E_HANDLE);
    GIVES(host_resource_acquired, (3), E_HANDLE);
    GIVES(host_resource_acquired_at, (3, "somewhere"), E_HANDLE);
    GIVES(host_resource_released, (3), E_HANDLE);
}

static void drop_piece(const char *text, size_t length, void *context)
{
    (void)text;
    (void)length;
    (void)context;
}

static void queries_work(void)
{
    uint32_t state;
    int32_t needs;
    size_t count = 0;
    GIVES(host_runtime_state, (&state), S_OK);
    GIVES(host_deadlock_policy, (&state), S_OK);
    CHECK_EQ(state, HOST_DEADLOCK_ERROR);
    GIVES(hostcrst_list, (NULL, 0, &count), S_OK);
    GIVES(host_task_list, (NULL, 0, &count), S_OK);
    GIVES(host_resource_list, (NULL, 0, &count), S_OK);
    GIVES(host_report_write, (HOST_REPORT_DOT, drop_piece, NULL), S_OK);
    GIVES(host_call_needs_host_hook, (1, &needs), S_OK);
    CHECK_EQ(needs, 1);
    CHECK(strlen(host_result_message(S_OK)) > 0);
    CHECK(strlen(hostcrst_version()) > 0);
}

TEST(before_the_first_start)
{
    uint32_t state = 7;
    size_t count = 7;
    everything_is_unavailable(1, 2);
    queries_work();
    GIVES(host_runtime_state, (&state), S_OK);
    CHECK_EQ(state, HOST_RUNTIME_NOT_LOADED);
    GIVES(hostcrst_info, (1, &section_info), E_HANDLE);
    GIVES(host_task_info, (2, &task_info), E_HANDLE);
    GIVES(host_task_layers, (2, NULL, 0, &count), E_HANDLE);
    GIVES(host_wait_chain, (2, NULL, 0, &count), E_HANDLE);
    CHECK_EQ(count, 0);
    GIVES(hostcrst_name, (1, NULL, 0, &count), E_HANDLE);
    GIVES(host_task_name, (2, NULL, 0, &count), E_HANDLE);
    GIVES(host_resource_name, (3, NULL, 0, &count), E_HANDLE);
    GIVES(host_report, (open("/dev/null", O_WRONLY), HOST_REPORT_TEXT), S_OK);
}

TEST(after_a_failure)
{
    uint32_t state = 7;
    start_runtime();
    hostcrst_t owned = new_section();
    host_resource_t resource = new_resource();
    host_task_t task = this_task();
    REQUIRE_EQ(hostcrst_enter(owned, 0), S_OK);
    REQUIRE_EQ(host_resource_wait(resource, 0), S_OK);
    GIVES(host_runtime_fail, (), S_OK);
    GIVES(host_resource_wait_end, (resource), S_OK);
    GIVES(host_resource_acquired, (resource), S_OK);
    GIVES(host_resource_acquired_at, (resource, "somewhere"), S_OK);
    GIVES(host_resource_released, (resource), S_OK);
    GIVES(host_resource_released, (resource), S_OK);
    everything_is_unavailable(owned, task);
    queries_work();
    GIVES(host_runtime_start, (), HOST_E_CLRNOTAVAILABLE);
    GIVES(host_runtime_fail, (), S_OK);
    GIVES(host_runtime_state, (&state), S_OK);
    CHECK_EQ(state, HOST_RUNTIME_FAILED);
    size_t length = 7;
    GIVES(hostcrst_name, (owned, NULL, 0, &length), S_OK);
    GIVES(host_task_name, (task, NULL, 0, &length), S_OK);
    GIVES(host_resource_name, (resource, NULL, 0, &length), S_OK);
    GIVES(hostcrst_info, (owned, &section_info), S_OK);
    CHECK_EQ(section_info.state, HOSTCRST_OWNED);
    GIVES(host_task_info, (task, &task_info), S_OK);
}

TEST(start_and_stop)
{
    GIVES(host_runtime_start, (), S_OK);
    GIVES(host_runtime_start, (), S_FALSE);
    GIVES(host_runtime_stop, (), S_OK);
    GIVES(host_runtime_stop, (), S_FALSE);
    GIVES(host_runtime_start, (), S_OK);
}

TEST(null_pointers)
{
    start_runtime();
    hostcrst_t crst = new_section();
    host_task_t task = this_task();
    host_layer_t layer;
    size_t count = 7;
    GIVES(host_runtime_state, (NULL), E_POINTER);
    GIVES(hostcrst_create, (NULL), E_POINTER);
    GIVES(hostcrst_create_with_spin_count, (1, NULL), E_POINTER);
    GIVES(hostcrst_try_enter, (crst, 0, NULL), E_POINTER);
    GIVES(hostcrst_set_name, (crst, NULL), E_POINTER);
    GIVES(host_resource_create, (NULL), E_POINTER);
    GIVES(host_resource_set_name, (new_resource(), NULL), E_POINTER);
    GIVES(hostcrst_info, (crst, NULL), E_POINTER);
    GIVES(host_call_needs_host_hook, (1, NULL), E_POINTER);
    GIVES(host_task_current, (NULL), E_POINTER);
    GIVES(host_task_set_name, (task, NULL), E_POINTER);
    GIVES(host_task_info, (task, NULL), E_POINTER);
    GIVES(hostcrst_name, (crst, NULL, 1, &count), E_POINTER);
    CHECK_EQ(count, 0);
    GIVES(host_task_name, (task, NULL, 0, NULL), E_POINTER);
    GIVES(host_resource_name, (new_resource(), NULL, 1, &count), E_POINTER);
    GIVES(hostcrst_list, (NULL, 1, &count), E_POINTER);
    GIVES(host_task_list, (NULL, 0, NULL), E_POINTER);
    GIVES(host_resource_list, (NULL, 1, &count), E_POINTER);
    GIVES(host_tasks_left, (NULL), E_POINTER);
    GIVES(host_deadlock_policy, (NULL), E_POINTER);
    GIVES(host_report_write, (HOST_REPORT_TEXT, NULL, NULL), E_POINTER);
    GIVES(host_task_layers, (task, NULL, 1, &count), E_POINTER);
    GIVES(host_wait_chain, (task, NULL, 1, &count), E_POINTER);
    GIVES(host_wait_chain, (task, &(host_wait_node_t){0, 0, 0, 0, 0, ""}, 1, &count), E_INVALIDARG);
    CHECK_EQ(count, 0);
    GIVES(host_task_layers, (task, &layer, 1, NULL), E_POINTER);
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
}

TEST(handles_of_nothing)
{
    start_runtime();
    hostcrst_t crst = stale_section();
    host_task_t task = ended_task();
    int32_t entered = 7;
    size_t count = 7;
    GIVES(hostcrst_enter, (crst, 0), E_HANDLE);
    GIVES(hostcrst_enter_timeout, (crst, 0, 1), E_HANDLE);
    GIVES(hostcrst_enter_at, (crst, 0, 1, "somewhere"), E_HANDLE);
    GIVES(hostcrst_try_enter, (crst, 0, &entered), E_HANDLE);
    CHECK_EQ(entered, 0);
    GIVES(hostcrst_leave, (crst), E_HANDLE);
    GIVES(hostcrst_set_spin_count, (crst, 1), E_HANDLE);
    GIVES(hostcrst_destroy, (crst), E_HANDLE);
    GIVES(hostcrst_recover, (crst), E_HANDLE);
    GIVES(hostcrst_allow_order, (crst, new_section()), E_HANDLE);
    GIVES(hostcrst_set_name, (crst, "name"), E_HANDLE);
    GIVES(hostcrst_name, (crst, NULL, 0, &count), E_HANDLE);
    GIVES(host_task_name, (task, NULL, 0, &count), E_HANDLE);
    CHECK_EQ(count, 0);
    GIVES(hostcrst_info, (crst, &section_info), E_HANDLE);
    host_resource_t resource = new_resource();
    REQUIRE_EQ(host_resource_destroy(resource), S_OK);
    GIVES(host_resource_set_name, (resource, "name"), E_HANDLE);
    GIVES(host_resource_destroy, (resource), E_HANDLE);
    GIVES(host_resource_wait, (resource, 0), E_HANDLE);
    GIVES(host_resource_wait_at, (resource, 0, "somewhere"), E_HANDLE);
    GIVES(host_resource_wait_end, (resource), E_HANDLE);
    GIVES(host_resource_acquired, (resource), E_HANDLE);
    GIVES(host_resource_acquired_at, (resource, "somewhere"), E_HANDLE);
    GIVES(host_resource_released, (resource), E_HANDLE);
    GIVES(host_task_set_name, (task, "name"), E_HANDLE);
    GIVES(host_task_alert, (task), E_HANDLE);
    GIVES(host_task_info, (task, &task_info), E_HANDLE);
    GIVES(host_task_layers, (task, NULL, 0, &count), E_HANDLE);
    CHECK_EQ(count, 0);
}

TEST(unknown_values)
{
    start_runtime();
    hostcrst_t crst = new_section();
    int32_t entered = 7;
    hostcrst_info_t small = section_info;
    host_task_info_t small_task = task_info;
    small.size = offsetof(hostcrst_info_t, address) - 1;
    small_task.size--;
    GIVES(hostcrst_enter, (crst, UINT32_MAX), E_INVALIDARG);
    GIVES(hostcrst_enter_timeout, (crst, UINT32_MAX, 1), E_INVALIDARG);
    GIVES(hostcrst_enter_at, (crst, UINT32_MAX, 1, "somewhere"), E_INVALIDARG);
    GIVES(hostcrst_try_enter, (crst, UINT32_MAX, &entered), E_INVALIDARG);
    CHECK_EQ(entered, 0);
    GIVES(host_resource_wait, (new_resource(), UINT32_MAX), E_INVALIDARG);
    GIVES(host_resource_wait_at, (new_resource(), UINT32_MAX, "somewhere"), E_INVALIDARG);
    GIVES(hostcrst_info, (crst, &small), E_INVALIDARG);
    GIVES(host_task_info, (this_task(), &small_task), E_INVALIDARG);
    GIVES(host_report, (-1, HOST_REPORT_TEXT), E_INVALIDARG);
    GIVES(host_report, (open("/dev/null", O_WRONLY), HOST_REPORT_HTML + 1), E_INVALIDARG);
    GIVES(host_report_write, (HOST_REPORT_HTML + 1, drop_piece, NULL), E_INVALIDARG);
    GIVES(host_set_deadlock_policy, (3), E_INVALIDARG);
}

TEST(success)
{
    int32_t entered = 7;
    hostcrst_t crst = 0;
    hostcrst_t other = 0;
    host_task_t task = 0;
    size_t count = 7;
    start_runtime();
    GIVES(hostcrst_create, (&crst), S_OK);
    GIVES(hostcrst_create_with_spin_count, (1, &other), S_OK);
    GIVES(hostcrst_enter, (crst, 0), S_OK);
    GIVES(hostcrst_enter_timeout, (crst, 0, 1), S_OK);
    GIVES(hostcrst_enter_at, (crst, 0, 1, "somewhere"), S_OK);
    GIVES(hostcrst_try_enter, (crst, 0, &entered), S_OK);
    CHECK_EQ(entered, 1);
    GIVES(hostcrst_leave, (crst), S_OK);
    GIVES(hostcrst_set_spin_count, (crst, 1), S_OK);
    GIVES(hostcrst_set_name, (crst, "name"), S_OK);
    GIVES(hostcrst_name, (crst, NULL, 0, &count), S_OK);
    CHECK_EQ(count, 4);
    GIVES(hostcrst_list, (NULL, 0, &count), S_OK);
    GIVES(hostcrst_info, (crst, &section_info), S_OK);
    GIVES(hostcrst_destroy, (crst), S_OK);
    GIVES(hostcrst_recover, (abandoned_section()), S_OK);
    GIVES(hostcrst_allow_order, (new_section(), new_section()), S_OK);
    host_resource_t resource = 0;
    GIVES(host_resource_create, (&resource), S_OK);
    GIVES(host_resource_set_name, (resource, "name"), S_OK);
    GIVES(host_resource_name, (resource, NULL, 0, &count), S_OK);
    GIVES(host_resource_list, (NULL, 0, &count), S_OK);
    CHECK_EQ(count, 1);
    GIVES(host_resource_wait, (resource, 0), S_OK);
    GIVES(host_resource_wait_end, (resource), S_OK);
    GIVES(host_resource_wait_end, (resource), HOST_E_INVALIDOPERATION);
    GIVES(host_resource_acquired, (resource), S_OK);
    GIVES(host_resource_released, (resource), S_OK);
    GIVES(host_resource_wait_at, (resource, 0, "somewhere"), S_OK);
    GIVES(host_resource_acquired_at, (resource, "somewhere"), S_OK);
    GIVES(host_resource_released, (resource), S_OK);
    GIVES(host_resource_destroy, (resource), S_OK);
    GIVES(host_leave_runtime, (1), S_OK);
    GIVES(host_reverse_enter_runtime, (), S_OK);
    GIVES(host_reverse_leave_runtime, (), S_OK);
    GIVES(host_enter_runtime, (), S_OK);
    GIVES(host_set_call_hook, (1, 0), S_OK);
    GIVES(host_task_current, (&task), S_OK);
    GIVES(host_task_set_name, (task, "name"), S_OK);
    GIVES(host_task_name, (task, NULL, 0, &count), S_OK);
    GIVES(host_task_list, (NULL, 0, &count), S_OK);
    uint32_t left = 0;
    GIVES(host_tasks_left, (&left), S_OK);
    CHECK(left > 0);
    GIVES(host_task_alert, (task), S_OK);
    GIVES(host_task_info, (task, &task_info), S_OK);
    GIVES(host_task_layers, (task, NULL, 0, &count), S_OK);
    GIVES(host_wait_chain, (task, NULL, 0, &count), S_OK);
    GIVES(host_set_deadlock_policy, (HOST_DEADLOCK_ERROR), S_OK);
    GIVES(host_set_deadlock_callback, (NULL, NULL), S_OK);
    GIVES(host_set_hold_tracking, (1), S_OK);
    GIVES(host_set_statistics, (1), S_OK);
    GIVES(host_set_order_checks, (1), S_OK);
    GIVES(host_set_order_checks, (0), S_OK);
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_HTML; format++) {
        GIVES(host_report, (open("/dev/null", O_WRONLY), format), S_OK);
        GIVES(host_report_write, (format, drop_piece, NULL), S_OK);
    }
}

TEST(a_section_of_another_task)
{
    int32_t entered = 7;
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    GIVES(hostcrst_enter_timeout, (crst, 0, 0), HOST_E_TIMEOUT);
    GIVES(hostcrst_enter_at, (crst, 0, 0, "somewhere"), HOST_E_TIMEOUT);
    GIVES(hostcrst_enter_timeout, (crst, 0, 1), HOST_E_TIMEOUT);
    GIVES(hostcrst_enter_at, (crst, 0, 1, "somewhere"), HOST_E_TIMEOUT);
    GIVES(hostcrst_try_enter, (crst, 0, &entered), S_OK);
    CHECK_EQ(entered, 0);
    GIVES(hostcrst_leave, (crst), HOST_E_NOT_OWNER);
    GIVES(hostcrst_destroy, (crst), HOST_E_NOT_OWNER);
    GIVES(hostcrst_recover, (crst), HOST_E_INVALIDOPERATION);
    GIVES(hostcrst_allow_order, (crst, crst), E_INVALIDARG);
    REQUIRE_EQ(host_task_alert(this_task()), S_OK);
    GIVES(hostcrst_enter, (crst, WAIT_ALERTABLE), HOST_E_INTERRUPTED);
    REQUIRE_EQ(host_task_alert(this_task()), S_OK);
    GIVES(hostcrst_enter_timeout, (crst, WAIT_ALERTABLE, 1000), HOST_E_INTERRUPTED);
    REQUIRE_EQ(host_task_alert(this_task()), S_OK);
    GIVES(hostcrst_enter_at, (crst, WAIT_ALERTABLE, 1000, "somewhere"), HOST_E_INTERRUPTED);
    CHECK_SECTION(crst, HOSTCRST_OWNED, holder.task, 1);
    let_go(&holder);
}

TEST(a_section_whose_owner_ended)
{
    int32_t entered = 7;
    start_runtime();
    hostcrst_t crst = abandoned_section();
    GIVES(hostcrst_enter, (crst, 0), HOST_E_ABANDONED);
    GIVES(hostcrst_enter_timeout, (crst, 0, 1), HOST_E_ABANDONED);
    GIVES(hostcrst_enter_at, (crst, 0, 1, "somewhere"), HOST_E_ABANDONED);
    GIVES(hostcrst_try_enter, (crst, 0, &entered), HOST_E_ABANDONED);
    CHECK_EQ(entered, 0);
    CHECK_SECTION(crst, HOSTCRST_ABANDONED, 0, 0);
}

/* A thread that owns one section and waits for the other. */
typedef struct crossed {
    check_thread_t thread;
    hostcrst_t owned;
    hostcrst_t wanted;
    host_task_t task;
    check_steps_t steps;
} crossed_t;

static void own_one_and_want_the_other(void *argument)
{
    crossed_t *self = (crossed_t *)argument;
    self->task = this_task();
    REQUIRE_EQ(hostcrst_enter(self->owned, 0), S_OK);
    check_reach(&self->steps, 1);
    REQUIRE_EQ(hostcrst_enter(self->wanted, 0), S_OK);
    CHECK_EQ(hostcrst_leave(self->wanted), S_OK);
    CHECK_EQ(hostcrst_leave(self->owned), S_OK);
}

TEST(a_cycle_of_waits)
{
    static crossed_t crossed = {{0, 0, 0}, 0, 0, 0, CHECK_STEPS_INIT};
    start_runtime();
    hostcrst_t crst = crossed.wanted = new_section();
    crossed.owned = new_section();
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    check_start(&crossed.thread, own_one_and_want_the_other, &crossed);
    check_await(&crossed.steps, 1);
    REQUIRE_SOON(is_waiting(crossed.task, crst));
    GIVES(hostcrst_enter, (crossed.owned, 0), HOST_E_DEADLOCK);
    GIVES(hostcrst_enter_timeout, (crossed.owned, 0, HOSTCRST_INFINITE), HOST_E_DEADLOCK);
    GIVES(hostcrst_enter_at, (crossed.owned, 0, HOSTCRST_INFINITE, "somewhere"), HOST_E_DEADLOCK);
    GIVES(hostcrst_enter_timeout, (crossed.owned, 0, 1), HOST_E_TIMEOUT);
    GIVES(hostcrst_enter_at, (crossed.owned, 0, 1, "somewhere"), HOST_E_TIMEOUT);
    CHECK_SECTION(crossed.owned, HOSTCRST_OWNED, crossed.task, 1);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    check_join(&crossed.thread);
}

/* A thread that owns the resource that it was given, and waits for the section that the test owns. */
typedef struct user {
    check_thread_t thread;
    host_resource_t resource;
    hostcrst_t wanted;
    host_task_t task;
    check_steps_t steps;
} user_t;

static void use_the_resource_and_want_the_section(void *argument)
{
    user_t *self = (user_t *)argument;
    self->task = this_task();
    REQUIRE_EQ(host_resource_acquired(self->resource), S_OK);
    check_reach(&self->steps, 1);
    REQUIRE_EQ(hostcrst_enter(self->wanted, 0), S_OK);
    CHECK_EQ(hostcrst_leave(self->wanted), S_OK);
    CHECK_EQ(host_resource_released(self->resource), S_OK);
}

TEST(a_resource_of_another_task)
{
    static user_t user = {{0, 0, 0}, 0, 0, 0, CHECK_STEPS_INIT};
    start_runtime();
    user.resource = new_resource();
    user.wanted = new_section();
    REQUIRE_EQ(hostcrst_enter(user.wanted, 0), S_OK);
    check_start(&user.thread, use_the_resource_and_want_the_section, &user);
    check_await(&user.steps, 1);
    REQUIRE_SOON(is_waiting(user.task, user.wanted));
    GIVES(host_resource_acquired, (user.resource), HOST_E_INVALIDOPERATION);
    GIVES(host_resource_acquired_at, (user.resource, "somewhere"), HOST_E_INVALIDOPERATION);
    GIVES(host_resource_released, (user.resource), HOST_E_NOT_OWNER);
    GIVES(host_resource_destroy, (user.resource), HOST_E_NOT_OWNER);
    GIVES(host_resource_wait, (user.resource, 0), HOST_E_DEADLOCK);
    GIVES(host_resource_wait_at, (user.resource, 0, "somewhere"), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_leave(user.wanted), S_OK);
    check_join(&user.thread);
}

TEST(transitions_that_do_not_match)
{
    start_runtime();
    GIVES(host_enter_runtime, (), HOST_E_INVALIDOPERATION);
    GIVES(host_reverse_leave_runtime, (), HOST_E_INVALIDOPERATION);
    REQUIRE_EQ(host_leave_runtime(1), S_OK);
    GIVES(host_leave_runtime, (1), HOST_E_INVALIDOPERATION);
    REQUIRE_EQ(host_reverse_enter_runtime(), S_OK);
    GIVES(host_reverse_enter_runtime, (), HOST_E_INVALIDOPERATION);
}

/* ---- memory ---- */

TEST(no_address_space_for_the_arenas)
{
    struct rlimit before;
    uint32_t state = 7;
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit none = before;
    none.rlim_cur = 1;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &none), 0);
    GIVES(host_runtime_start, (), E_OUTOFMEMORY);
    GIVES(host_runtime_fail, (), E_OUTOFMEMORY);
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &before), 0);
    REQUIRE_EQ(host_runtime_state(&state), S_OK);
    CHECK_EQ(state, HOST_RUNTIME_NOT_LOADED);
    GIVES(host_runtime_start, (), S_OK);
}

TEST(no_address_space_for_records)
{
    struct rlimit before;
    start_runtime();
    hostcrst_t first = new_section();
    hostcrst_t then = new_section();
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit none = before;
    none.rlim_cur = 1;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &none), 0);
    GIVES(host_set_hold_tracking, (1), E_OUTOFMEMORY);
    GIVES(host_set_statistics, (1), E_OUTOFMEMORY);
    GIVES(host_set_order_checks, (1), E_OUTOFMEMORY);
    GIVES(hostcrst_allow_order, (first, then), E_OUTOFMEMORY);
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &before), 0);
    GIVES(host_set_hold_tracking, (1), S_OK);
    GIVES(host_set_statistics, (1), S_OK);
    GIVES(host_set_order_checks, (1), S_OK);
}

/* Threads of which the last find no room for one more task. */
#define MANY_THREADS 200

static check_steps_t many_steps = CHECK_STEPS_INIT;
static hostcrst_t many_crst;
static int32_t many_results[MANY_THREADS];
static check_thread_t many_threads[MANY_THREADS];
static int many_index[MANY_THREADS];
static int many_done;

static void become_a_task(void *argument)
{
    int index = *(int *)argument;
    host_task_t task;
    check_await(&many_steps, 1);
    many_results[index] = host_task_current(&task);
    if (many_results[index] == E_OUTOFMEMORY) {
        many_results[index] = KEEPING_ERRNO(hostcrst_recover(many_crst));
    }
    __atomic_add_fetch(&many_done, 1, __ATOMIC_RELEASE);
    check_await(&many_steps, 2);
}

/* Returns when no thread that is no task yet can be made one. */
static void let_others_take_all_room(void)
{
    for (int at = 0; at < MANY_THREADS; at++) {
        many_index[at] = at;
        check_start(&many_threads[at], become_a_task, &many_index[at]);
    }
    refuse_memory();
    check_reach(&many_steps, 1);
    REQUIRE_SOON(__atomic_load_n(&many_done, __ATOMIC_ACQUIRE) == MANY_THREADS);
}

static void end_others(void)
{
    check_reach(&many_steps, 2);
    for (int at = 0; at < MANY_THREADS; at++) {
        check_join(&many_threads[at]);
    }
}

TEST(no_memory_for_a_task)
{
    int32_t entered = 7;
    host_task_t task = 7;
    start_runtime();
    hostcrst_t crst = new_section();
    host_resource_t resource = new_resource();
    let_others_take_all_room();
    GIVES(hostcrst_enter, (crst, 0), E_OUTOFMEMORY);
    GIVES(hostcrst_enter_timeout, (crst, 0, 1), E_OUTOFMEMORY);
    GIVES(hostcrst_enter_at, (crst, 0, 1, "somewhere"), E_OUTOFMEMORY);
    GIVES(hostcrst_try_enter, (crst, 0, &entered), E_OUTOFMEMORY);
    CHECK_EQ(entered, 0);
    GIVES(host_resource_wait, (resource, 0), E_OUTOFMEMORY);
    GIVES(host_resource_wait_at, (resource, 0, "somewhere"), E_OUTOFMEMORY);
    GIVES(host_resource_acquired, (resource), E_OUTOFMEMORY);
    GIVES(host_resource_acquired_at, (resource, "somewhere"), E_OUTOFMEMORY);
    GIVES(host_leave_runtime, (1), E_OUTOFMEMORY);
    GIVES(host_enter_runtime, (), E_OUTOFMEMORY);
    GIVES(host_reverse_enter_runtime, (), E_OUTOFMEMORY);
    GIVES(host_reverse_leave_runtime, (), E_OUTOFMEMORY);
    GIVES(host_task_current, (&task), E_OUTOFMEMORY);
    CHECK_EQ(task, 0);
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    allow_memory();
    GIVES(hostcrst_enter, (crst, 0), S_OK);
    GIVES(hostcrst_leave, (crst), S_OK);
    end_others();
}

TEST(no_memory_for_sections_and_names)
{
    hostcrst_t crst = 0;
    hostcrst_t last = 0;
    int created = 0;
    start_runtime();
    hostcrst_t first = new_section();
    host_resource_t resource = new_resource();
    refuse_memory();
    GIVES(hostcrst_set_name, (first, "name"), E_OUTOFMEMORY);
    GIVES(host_resource_set_name, (resource, "name"), E_OUTOFMEMORY);
    GIVES(host_set_call_hook, (1, 0), E_OUTOFMEMORY);
    while (created < 100000 && hostcrst_create(&crst) == S_OK) {
        last = crst;
        created++;
    }
    REQUIRE(created > 0 && created < 100000);
    CHECK_EQ(crst, 0);
    crst = 7;
    GIVES(hostcrst_create, (&crst), E_OUTOFMEMORY);
    CHECK_EQ(crst, 0);
    crst = 7;
    GIVES(hostcrst_create_with_spin_count, (1, &crst), E_OUTOFMEMORY);
    CHECK_EQ(crst, 0);
    CHECK_SECTION(last, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    CHECK_EQ(hostcrst_create(&crst), S_OK);
    host_resource_t last_resource = 0;
    while (host_resource_create(&resource) == S_OK) {
        last_resource = resource;
    }
    CHECK_NE(last_resource, 0);
    resource = 7;
    GIVES(host_resource_create, (&resource), E_OUTOFMEMORY);
    CHECK_EQ(resource, 0);
    CHECK_EQ(host_resource_destroy(last_resource), S_OK);
    CHECK_EQ(host_resource_create(&resource), S_OK);
    allow_memory();
    GIVES(hostcrst_set_name, (crst, "name"), S_OK);
    GIVES(host_set_call_hook, (1, 0), S_OK);
}

TEST(no_memory_for_a_task_that_recovers)
{
    start_runtime();
    many_crst = abandoned_section();
    let_others_take_all_room();
    allow_memory();
    int refused = 0;
    for (int at = 0; at < MANY_THREADS; at++) {
        if (many_results[at] != S_OK) {
            give("hostcrst_recover", "E_OUTOFMEMORY", many_results[at], E_OUTOFMEMORY, __FILE__, __LINE__);
            refused++;
        }
    }
    CHECK(refused > 0 && refused < MANY_THREADS);
    CHECK_SECTION(many_crst, HOSTCRST_ABANDONED, 0, 0);
    end_others();
}

/* ---- the header against what was seen ---- */

/* Documented, and shown where it can be. */
static const struct {
    pair_t pair;
    const char *why;
} elsewhere[] = {
    {{"hostcrst_enter", "HOST_E_INVALIDOPERATION"}, "2^32 entries: a Rust test sets the count"},
    {{"hostcrst_enter_timeout", "HOST_E_INVALIDOPERATION"}, "as above"},
    {{"hostcrst_enter_at", "HOST_E_INVALIDOPERATION"}, "as above"},
    {{"hostcrst_try_enter", "HOST_E_INVALIDOPERATION"}, "as above"},
    {{"host_resource_wait", "HOST_E_INVALIDOPERATION"}, "in a handler during an enter: ends.c"},
    {{"host_resource_wait_at", "HOST_E_INVALIDOPERATION"}, "as above"},
    {{"host_report", "E_OUTOFMEMORY"}, "output.c, with three reports that nobody reads"},
    {{"host_report_write", "E_OUTOFMEMORY"}, "as above"},
    {{"host_wait_chain", "E_OUTOFMEMORY"}, "as above"},
};

static int is_shown_elsewhere(const pair_t *pair)
{
    for (size_t at = 0; at < sizeof elsewhere / sizeof elsewhere[0]; at++) {
        if (strcmp(elsewhere[at].pair.function, pair->function) == 0 &&
            strcmp(elsewhere[at].pair.code, pair->code) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The codes that one comment lists, then the name of the function that follows it. */
typedef struct reading {
    pairs_t *documented;
    char codes[16][32];
    int count;
    char all_of[40];
    int in_returns;
} reading_t;

static void read_result_line(reading_t *reading, const char *text)
{
    char code[32] = "";
    char function[40] = "";
    if (sscanf(text, "- all that %39[a-z_] returns", function) == 1) {
        snprintf(reading->all_of, sizeof reading->all_of, "%s", function);
    } else if (sscanf(text, "- %31[A-Z_]", code) == 1) {
        REQUIRE(reading->count < 16);
        snprintf(reading->codes[reading->count++], sizeof code, "%s", code);
    }
}

static void read_function(reading_t *reading, const char *name)
{
    int before = reading->documented->count;
    for (int at = 0; at < reading->count; at++) {
        add_pair(reading->documented, name, reading->codes[at]);
    }
    for (int at = 0; at < before && reading->all_of[0] != '\0'; at++) {
        if (strcmp(reading->documented->at[at].function, reading->all_of) == 0) {
            add_pair(reading->documented, name, reading->documented->at[at].code);
        }
    }
}

static void read_header(pairs_t *documented)
{
    static reading_t nothing;
    reading_t reading = nothing;
    char line[512];
    FILE *header = fopen(HOSTCRST_HEADER, "r");
    REQUIRE(header != NULL);
    reading.documented = documented;
    while (fgets(line, sizeof line, header) != NULL) {
        char name[40] = "";
        if (strncmp(line, "/**", 3) == 0) {
            reading = nothing;
            reading.documented = documented;
        } else if (strncmp(line, " * Returns:", 11) == 0) {
            reading.in_returns = 1;
        } else if (strncmp(line, " * ", 3) == 0 && reading.in_returns) {
            read_result_line(&reading, line + 3);
        } else if (strncmp(line, " *\n", 3) == 0) {
            reading.in_returns = 0;
        } else if (sscanf(line, "HOSTCRST_API int32_t %39[a-z_](", name) == 1 ||
                   sscanf(line, "HOSTCRST_NODISCARD HOSTCRST_API int32_t %39[a-z_](", name) == 1) {
            read_function(&reading, name);
        }
    }
    fclose(header);
}

static void the_header_documents_what_was_seen_and_no_more(void)
{
    static pairs_t documented;
    REQUIRE(seen != NULL);
    read_header(&documented);
    CHECK(documented.count > 80);
    for (int at = 0; at < documented.count; at++) {
        const pair_t *pair = &documented.at[at];
        int shown = holds_pair(seen, pair->function, pair->code);
        if (!shown && !is_shown_elsewhere(pair)) {
            check_fail(__FILE__, __LINE__, "no test shows that %s gives %s", pair->function, pair->code);
        }
        if (shown && is_shown_elsewhere(pair)) {
            check_fail(__FILE__, __LINE__, "%s gives %s: take it off the list", pair->function, pair->code);
        }
    }
    for (int at = 0; at < seen->count; at++) {
        const pair_t *pair = &seen->at[at];
        if (!holds_pair(&documented, pair->function, pair->code)) {
            check_fail(__FILE__, __LINE__, "%s gave %s, which the header does not say", pair->function,
                       pair->code);
        }
    }
}

/* Whether a function's name is in a text, not only as a part of a longer one. */
static int names(const char *text, const char *function)
{
    size_t length = strlen(function);
    for (const char *at = strstr(text, function); at != NULL; at = strstr(at + 1, function)) {
        if (strspn(at, "abcdefghijklmnopqrstuvwxyz_") == length && (at == text || strchr(" \n", at[-1]) != NULL)) {
            return 1;
        }
    }
    return 0;
}

/* Those that never give the code of a runtime that was not started are named at host_runtime_start, and no others. */
static void the_header_names_what_works_in_every_state(void)
{
    static pairs_t documented;
    char line[512];
    char listed[2048] = "";
    int is_listed = 0;
    FILE *header = fopen(HOSTCRST_HEADER, "r");
    REQUIRE(header != NULL);
    while (fgets(line, sizeof line, header) != NULL) {
        is_listed = strncmp(line, " * Until then every function", 28) == 0 || (is_listed && strcmp(line, " *\n") != 0);
        if (is_listed) {
            REQUIRE(strlen(listed) + strlen(line) < sizeof listed);
            strcat(listed, line);
        }
    }
    fclose(header);
    read_header(&documented);
    for (int at = 0; at < documented.count; at++) {
        const char *function = documented.at[at].function;
        int is_refused = holds_pair(&documented, function, "HOST_E_CLRNOTAVAILABLE");
        if (names(listed, function) == is_refused) {
            check_fail(__FILE__, __LINE__, "%s %s, where the header lists what is not refused", function,
                       is_refused ? "is named" : "is missing");
        }
    }
}

CHECK_MAIN(CHECK_TEST(before_the_first_start), CHECK_TEST(after_a_failure), CHECK_TEST(start_and_stop),
           CHECK_TEST(null_pointers), CHECK_TEST(handles_of_nothing), CHECK_TEST(unknown_values),
           CHECK_TEST(success), CHECK_TEST(a_section_of_another_task),
           CHECK_TEST(a_section_whose_owner_ended), CHECK_TEST(a_cycle_of_waits),
           CHECK_TEST(a_resource_of_another_task),
           CHECK_TEST(transitions_that_do_not_match), CHECK_TEST(no_address_space_for_the_arenas),
           CHECK_TEST(no_address_space_for_records), CHECK_TEST(no_memory_for_a_task),
           CHECK_TEST(no_memory_for_sections_and_names), CHECK_TEST(no_memory_for_a_task_that_recovers),
           CHECK_TEST(the_header_documents_what_was_seen_and_no_more),
           CHECK_TEST(the_header_names_what_works_in_every_state))
