/* A plugin with a copy of the library of its own in it, which shows nothing but this. */
#include "copies_plugin.h"

static int32_t create(hostcrst_t *out) { return hostcrst_create(out); }
static int32_t enter(hostcrst_t crst) { return hostcrst_enter_timeout(crst, 0, 0); }
static int32_t leave(hostcrst_t crst) { return hostcrst_leave(crst); }
static int32_t destroy(hostcrst_t crst) { return hostcrst_destroy(crst); }
static int32_t recover(hostcrst_t crst) { return hostcrst_recover(crst); }
static int32_t set_name(hostcrst_t crst) { return hostcrst_set_name(crst, "named"); }
static int32_t set_spin_count(hostcrst_t crst) { return hostcrst_set_spin_count(crst, 1); }
static int32_t alert(host_task_t task) { return host_task_alert(task); }
static int32_t name_task(host_task_t task) { return host_task_set_name(task, "named"); }

const copy_t copies_plugin = {
    host_runtime_start, create, enter, leave, destroy, recover, set_name, set_spin_count, alert, name_task,
    host_task_current, host_report, InitializeCriticalSection, EnterCriticalSection,
    TryEnterCriticalSection, LeaveCriticalSection, DeleteCriticalSection,
};
