/* What a plugin of copies.c gives to its program: functions of its own copy of the library. */
#ifndef COPIES_PLUGIN_H
#define COPIES_PLUGIN_H

#include <hostcrst.h>
#include <hostcrst/win32.h>

typedef struct copy {
    int32_t (*start)(void);
    int32_t (*create)(hostcrst_t *out);
    /* Each with the one argument that matters. */
    int32_t (*enter)(hostcrst_t crst);
    int32_t (*leave)(hostcrst_t crst);
    int32_t (*destroy)(hostcrst_t crst);
    int32_t (*recover)(hostcrst_t crst);
    int32_t (*set_name)(hostcrst_t crst);
    int32_t (*set_spin_count)(hostcrst_t crst);
    int32_t (*alert)(host_task_t task);
    int32_t (*name_task)(host_task_t task);
    int32_t (*current)(host_task_t *out);
    int32_t (*report)(int descriptor, uint32_t format);
    void (*initialize)(CRITICAL_SECTION *section);
    void (*cs_enter)(CRITICAL_SECTION *section);
    BOOL (*cs_try_enter)(CRITICAL_SECTION *section);
    void (*cs_leave)(CRITICAL_SECTION *section);
    void (*cs_delete)(CRITICAL_SECTION *section);
} copy_t;

/* The copy in whatever this is compiled into. */

static int32_t create(hostcrst_t *out) { return hostcrst_create(out); }
static int32_t enter(hostcrst_t crst) { return hostcrst_enter_timeout(crst, 0, 0); }
static int32_t leave(hostcrst_t crst) { return hostcrst_leave(crst); }
static int32_t destroy(hostcrst_t crst) { return hostcrst_destroy(crst); }
static int32_t recover(hostcrst_t crst) { return hostcrst_recover(crst); }
static int32_t set_name(hostcrst_t crst) { return hostcrst_set_name(crst, "named"); }
static int32_t set_spin_count(hostcrst_t crst) { return hostcrst_set_spin_count(crst, 1); }
static int32_t alert(host_task_t task) { return host_task_alert(task); }
static int32_t name_task(host_task_t task) { return host_task_set_name(task, "named"); }

#define COPY_OF_THIS_OBJECT \
    { \
        host_runtime_start, create, enter, leave, destroy, recover, set_name, set_spin_count, alert, name_task, \
        host_task_current, host_report, InitializeCriticalSection, EnterCriticalSection, TryEnterCriticalSection, \
        LeaveCriticalSection, DeleteCriticalSection, \
    }

#endif
