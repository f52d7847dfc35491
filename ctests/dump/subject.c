/*
 * A process to be looked at from outside. `subject clean` owns a section and waits for nothing; `subject windows` owns
 * three of Windows' kind; `subject hang` is two threads that wait for each other's section for ever (run it with
 * HOSTCRST_ON_DEADLOCK=report); in `subject placed` one waits, of which the place is told as text. Says "ready" on stdout
 * once it stands still, and stays until it is killed.
 */
#define _GNU_SOURCE
#include "check.h"
#include "hostcrst.h"
#include "hostcrst/win32.h"

#include <sys/prctl.h>
#include <unistd.h>

static hostcrst_t accounts, journal;
static check_steps_t steps = CHECK_STEPS_INIT;
static host_task_t alice_task, bob_task;
/* There is something to do after the last enter, so it is a call and no jump. */
static volatile int32_t outcome;

static void native_work(void)
{
}

static void set_up(const char *name, host_task_t *task)
{
    REQUIRE_EQ(host_task_current(task), S_OK);
    REQUIRE_EQ(host_task_set_name(*task, name), S_OK);
    REQUIRE_EQ(host_leave_runtime((size_t)&native_work), S_OK);
}

static void alice(void *unused)
{
    (void)unused;
    set_up("alice", &alice_task);
    REQUIRE_EQ(hostcrst_enter(accounts, 0), S_OK);
    check_arrive(&steps, 2);
    outcome = hostcrst_enter(journal, 0);
}

static void bob(void *unused)
{
    (void)unused;
    set_up("bob", &bob_task);
    REQUIRE_EQ(hostcrst_enter(journal, 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(journal, 0), S_OK);
    check_arrive(&steps, 2);
    outcome = hostcrst_enter(accounts, 0);
}

/* In the part of the program's data that the file has, and far inside the zeroed one, which is anonymous memory. */
static CRITICAL_SECTION initialised = {(PRTL_CRITICAL_SECTION_DEBUG)-1, -1, 0, 0, 0, 0};
static CRITICAL_SECTION zeroed[1000];

static void own_windows_sections(void)
{
    CRITICAL_SECTION *nameless = (CRITICAL_SECTION *)calloc(1, sizeof *nameless);
    REQUIRE(nameless != NULL);
    EnterCriticalSection(&initialised);
    EnterCriticalSection(&zeroed[999]);
    EnterCriticalSection(nameless);
}

static void wait_once(void *unused)
{
    (void)unused;
    REQUIRE_EQ(host_task_current(&alice_task), S_OK);
    REQUIRE_EQ(hostcrst_enter(accounts, 0), S_OK);
    REQUIRE_EQ(hostcrst_leave(accounts), S_OK);
}

static void wait_at_a_place(void *unused)
{
    (void)unused;
    REQUIRE_EQ(host_task_current(&alice_task), S_OK);
    outcome = hostcrst_enter_at(accounts, 0, HOSTCRST_INFINITE, "sell (shop.py:12)");
}

static int waits(host_task_t task);

/* One wait and two holds of a section whose name is none for a metric. */
static __attribute__((noinline)) void be_counted(void)
{
    check_thread_t other;
    REQUIRE_EQ(hostcrst_set_name(accounts, "back\\slash \"quote\"\n\t\xff e\xc3\xa9"), S_OK);
    REQUIRE_EQ(host_set_statistics(1), S_OK);
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    REQUIRE_EQ(hostcrst_enter(accounts, 0), S_OK);
    check_start(&other, wait_once, NULL);
    while (!waits(__atomic_load_n(&alice_task, __ATOMIC_RELAXED))) {
        check_pause();
    }
    REQUIRE_EQ(hostcrst_leave(accounts), S_OK);
    check_join(&other);
}

static int waits(host_task_t task)
{
    host_task_info_t info = {0};
    info.size = sizeof info;
    return task != 0 && host_task_info(task, &info) == S_OK && info.waiting_for != 0;
}

int main(int argument_count, char **arguments)
{
    REQUIRE(argument_count == 2);
    /* Where a process may only be looked at by its parents: by all of the same user. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(hostcrst_create(&accounts), S_OK);
    REQUIRE_EQ(hostcrst_create(&journal), S_OK);
    REQUIRE_EQ(hostcrst_set_name(accounts, "accounts"), S_OK);
    REQUIRE_EQ(hostcrst_set_name(journal, "journal"), S_OK);
    if (strcmp(arguments[1], "hang") == 0) {
        check_thread_t first, second;
        check_start(&first, alice, NULL);
        check_start(&second, bob, NULL);
        while (!waits(alice_task) || !waits(bob_task)) {
            check_pause();
        }
    } else if (strcmp(arguments[1], "placed") == 0) {
        check_thread_t waiter;
        REQUIRE_EQ(hostcrst_enter(accounts, 0), S_OK);
        check_start(&waiter, wait_at_a_place, NULL);
        while (!waits(__atomic_load_n(&alice_task, __ATOMIC_RELAXED))) {
            check_pause();
        }
    } else if (strcmp(arguments[1], "windows") == 0) {
        own_windows_sections();
    } else if (strcmp(arguments[1], "counted") == 0) {
        be_counted();
    } else {
        REQUIRE_EQ(hostcrst_enter(accounts, 0), S_OK);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        pause();
    }
}
