/* The calls of hostcrst.h for index.js, one to one: handles are BigInts, results numbers. Each thread of node that loads
 * this has an instance of its own. Theirs in common is who waits, and whether the process ends.
 */
#define _POSIX_C_SOURCE 200112L
#define NAPI_VERSION 8
#include <hostcrst.h>
#include <node_api.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

/* Arguments that are none, or of another type, are taken as 0: the library refuses a handle of 0. */

static size_t arguments(napi_env env, napi_callback_info call, napi_value *values, size_t capacity)
{
    size_t count = capacity;
    return napi_get_cb_info(env, call, &count, values, NULL, NULL) == napi_ok ? count : 0;
}

static uint64_t handle_of(napi_env env, napi_value value)
{
    uint64_t handle = 0;
    bool lossless = false;
    if (napi_get_value_bigint_uint64(env, value, &handle, &lossless) != napi_ok || !lossless) return 0;
    return handle;
}

static uint32_t number_of(napi_env env, napi_value value)
{
    uint32_t number = 0;
    napi_get_value_uint32(env, value, &number);
    return number;
}

/* A name in reports has room for less than this: what is longer is cut by the library in the end. */
enum { TEXT_SIZE = 1024 };

static const char *text_of(napi_env env, napi_value value, char text[TEXT_SIZE])
{
    text[0] = '\0';
    napi_get_value_string_utf8(env, value, text, TEXT_SIZE, NULL);
    return text;
}

static napi_value a_number(napi_env env, int64_t number)
{
    napi_value value = NULL;
    napi_create_int64(env, number, &value);
    return value;
}

static napi_value a_handle(napi_env env, uint64_t handle)
{
    napi_value value = NULL;
    napi_create_bigint_uint64(env, handle, &value);
    return value;
}

static napi_value a_text(napi_env env, const char *text)
{
    napi_value value = NULL;
    napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    return value;
}

/* start() -> result: begins the runtime unless somebody has; if it was stopped since, that is the program's will. */
static napi_value start(napi_env env, napi_callback_info call)
{
    (void)call;
    uint32_t state = HOST_RUNTIME_NOT_LOADED;
    host_runtime_state(&state);
    return a_number(env, state == HOST_RUNTIME_NOT_LOADED ? host_runtime_start() : S_OK);
}

/* create(name) -> handle, or the result as a number */
static napi_value create(napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    char name[TEXT_SIZE];
    hostcrst_t section = 0;
    arguments(env, call, argument, 1);
    int32_t result = hostcrst_create(&section);
    if (result == S_OK) {
        result = hostcrst_set_name(section, text_of(env, argument[0], name));
        if (result != S_OK) hostcrst_destroy(section);
    }
    return result == S_OK ? a_handle(env, section) : a_number(env, result);
}

/* At its end node waits for its Workers. One that waits for a section of the main thread's would come late or never: so
 * waits are alertable, and endWaits alerts those that there are. */
struct wait {
    host_task_t task;
    struct wait *next;
};
static struct {
    pthread_mutex_t mutex;
    struct wait *first;
    bool is_end;
} waits = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static bool begin_wait(struct wait *wait)
{
    host_task_current(&wait->task);
    pthread_mutex_lock(&waits.mutex);
    const bool may_wait = !waits.is_end;
    if (may_wait) {
        wait->next = waits.first;
        waits.first = wait;
    }
    pthread_mutex_unlock(&waits.mutex);
    return may_wait;
}

/* Whether a wait that came back so is over: not if another's alert, or an old one, has woken it. */
static bool end_wait(struct wait *wait, int32_t result)
{
    pthread_mutex_lock(&waits.mutex);
    const bool is_over = result != HOST_E_INTERRUPTED || waits.is_end;
    if (is_over) {
        struct wait **link = &waits.first;
        while (*link != wait) link = &(*link)->next;
        *link = wait->next;
    }
    pthread_mutex_unlock(&waits.mutex);
    return is_over;
}

/* endWaits(): all waits fail with HOST_E_INTERRUPTED, those that begin later too */
static napi_value end_waits(napi_env env, napi_callback_info call)
{
    (void)env, (void)call;
    pthread_mutex_lock(&waits.mutex);
    waits.is_end = true;
    for (struct wait *wait = waits.first; wait != NULL; wait = wait->next) host_task_alert(wait->task);
    pthread_mutex_unlock(&waits.mutex);
    return NULL;
}

static uint64_t nanoseconds(void)
{
    struct timespec now = { 0 };
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What is left of a limit, for a wait that goes on. */
static uint32_t rest_of(uint32_t limit, uint64_t begun)
{
    if (limit == HOSTCRST_INFINITE) return limit;
    const uint64_t passed = (nanoseconds() - begun) / 1000000;
    return passed < limit ? (uint32_t)(limit - passed) : 0;
}

/* enter(handle, milliseconds, place) -> result; HOSTCRST_INFINITE is for ever */
static napi_value enter(napi_env env, napi_callback_info call)
{
    napi_value argument[3];
    char place[TEXT_SIZE];
    struct wait wait = { 0 };
    arguments(env, call, argument, 3);
    const uint64_t section = handle_of(env, argument[0]);
    const uint32_t limit = number_of(env, argument[1]);
    text_of(env, argument[2], place);
    const uint64_t begun = nanoseconds();
    if (!begin_wait(&wait)) {
        int32_t entered = 0;
        const int32_t result = hostcrst_try_enter(section, 0, &entered);
        return a_number(env, result == S_OK && !entered ? HOST_E_INTERRUPTED : result);
    }
    int32_t result;
    do {
        result = hostcrst_enter_at(section, WAIT_ALERTABLE, rest_of(limit, begun), place);
    } while (!end_wait(&wait, result));
    return a_number(env, result);
}

/* tryEnter(handle) -> 1, 0 or the result of a failure */
static napi_value try_enter(napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    int32_t entered = 0;
    arguments(env, call, argument, 1);
    int32_t result = hostcrst_try_enter(handle_of(env, argument[0]), 0, &entered);
    return a_number(env, result == S_OK ? entered : result);
}

/* Of a function that takes a handle alone. */
static napi_value result_of(int32_t (*function)(hostcrst_t), napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    arguments(env, call, argument, 1);
    return a_number(env, function(handle_of(env, argument[0])));
}

static napi_value leave(napi_env env, napi_callback_info call)
{
    return result_of(hostcrst_leave, env, call);
}

static napi_value recover(napi_env env, napi_callback_info call)
{
    return result_of(hostcrst_recover, env, call);
}

static napi_value destroy(napi_env env, napi_callback_info call)
{
    return result_of(hostcrst_destroy, env, call);
}

/* waiters(handle) -> how many tasks are in the queue */
static napi_value waiters(napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    hostcrst_info_t info = { .size = sizeof info };
    arguments(env, call, argument, 1);
    hostcrst_info(handle_of(env, argument[0]), &info);
    return a_number(env, info.waiters);
}

/* ownerName(handle) -> the name of the task that owns the section, or null */
static napi_value owner_name(napi_env env, napi_callback_info call)
{
    napi_value argument[1], nobody = NULL;
    hostcrst_info_t info = { .size = sizeof info };
    char name[HOSTCRST_NAME_SIZE];
    size_t length = 0;
    arguments(env, call, argument, 1);
    napi_get_null(env, &nobody);
    if (hostcrst_info(handle_of(env, argument[0]), &info) != S_OK || info.owner == 0) return nobody;
    return host_task_name(info.owner, name, sizeof name, &length) == S_OK ? a_text(env, name) : nobody;
}

static napi_value name_of(napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    char name[HOSTCRST_NAME_SIZE];
    size_t length = 0;
    arguments(env, call, argument, 1);
    hostcrst_name(handle_of(env, argument[0]), name, sizeof name, &length);
    return a_text(env, name);
}

/* nameThread(name) -> result */
static napi_value name_thread(napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    char name[TEXT_SIZE];
    host_task_t task = 0;
    arguments(env, call, argument, 1);
    int32_t result = host_task_current(&task);
    return a_number(env, result == S_OK ? host_task_set_name(task, text_of(env, argument[0], name)) : result);
}

static napi_value report(napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    arguments(env, call, argument, 1);
    return a_number(env, host_report((int32_t)number_of(env, argument[0]), HOST_REPORT_TEXT));
}

static napi_value message(napi_env env, napi_callback_info call)
{
    napi_value argument[1];
    int32_t result = 0;
    arguments(env, call, argument, 1);
    napi_get_value_int32(env, argument[0], &result);
    return a_text(env, host_result_message(result));
}

static napi_value version(napi_env env, napi_callback_info call)
{
    (void)call;
    return a_text(env, hostcrst_version());
}

NAPI_MODULE_INIT()
{
    static const struct {
        const char *name;
        napi_callback function;
    } functions[] = {
        { "start", start },           { "create", create },   { "enter", enter },
        { "tryEnter", try_enter },    { "leave", leave },     { "recover", recover },
        { "destroy", destroy },       { "waiters", waiters }, { "ownerName", owner_name },
        { "nameOf", name_of },        { "report", report },   { "nameThread", name_thread },
        { "message", message },       { "version", version }, { "endWaits", end_waits },
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        napi_value function = NULL;
        if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function) != napi_ok ||
            napi_set_named_property(env, exports, functions[i].name, function) != napi_ok) {
            return NULL;
        }
    }
    return exports;
}
