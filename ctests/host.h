/*
 * Helpers for the tests of the library: threads that own a section or wait for one, children of a fork,
 * errno, time. A thread is known to wait when host_task_info says so, never because some time has passed.
 */
#ifndef HOST_H
#define HOST_H

#include "check.h"

#include <errno.h>
#include <hostcrst.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* A section that no test has any other name for. */
static inline hostcrst_t new_section(void)
{
    hostcrst_t crst = 0;
    REQUIRE_EQ(hostcrst_create(&crst), S_OK);
    return crst;
}

static inline void start_runtime(void)
{
    REQUIRE(host_runtime_start() >= 0);
}

static inline host_task_t this_task(void)
{
    host_task_t task = 0;
    REQUIRE_EQ(host_task_current(&task), S_OK);
    return task;
}

static inline hostcrst_info_t info_of(hostcrst_t crst)
{
    hostcrst_info_t info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    CHECK_EQ(hostcrst_info(crst, &info), S_OK);
    return info;
}

static inline host_task_info_t task_info_of(host_task_t task)
{
    host_task_info_t info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    CHECK_EQ(host_task_info(task, &info), S_OK);
    return info;
}

/* Whether the section is live; says nothing of its state. */
static inline int is_live(hostcrst_t crst)
{
    hostcrst_info_t info;
    info.size = sizeof info;
    return hostcrst_info(crst, &info) == S_OK;
}

/* Whether the section looks exactly so. */
#define CHECK_SECTION(crst, a_state, an_owner, a_recursion) \
    do { \
        hostcrst_info_t check_info = info_of(crst); \
        CHECK_EQ(check_info.state, a_state); \
        CHECK_EQ(check_info.owner, an_owner); \
        CHECK_EQ(check_info.recursion, a_recursion); \
    } while (0)

static inline void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    REQUIRE(memory != NULL);
    return memory;
}

/* ---- time ---- */

static inline int64_t nanoseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t milliseconds_since(int64_t nanoseconds)
{
    return (nanoseconds_now() - nanoseconds) / 1000000;
}

/* ---- chance: the same in every run ---- */

typedef struct chance {
    uint64_t state;
} chance_t;

static inline uint64_t next_random(chance_t *chance)
{
    uint64_t mixed = chance->state += 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
}

/* ---- errno ---- */

#define ERRNO_SENTINEL 0x5EED

/* The result of a call that must leave errno as it was. */
#define KEEPING_ERRNO(call) (errno = ERRNO_SENTINEL, keeping_errno((call), __FILE__, __LINE__, #call))

static inline int32_t keeping_errno(int32_t result, const char *file, int line, const char *call)
{
    int seen = errno;
    if (seen != ERRNO_SENTINEL) {
        check_fail(file, line, "%s made errno %d (%s)", call, seen, strerror(seen));
    }
    return result;
}

/* ---- a thread that owns a section for as long as the test wants ---- */

typedef struct holder {
    check_thread_t thread;
    check_steps_t steps;
    hostcrst_t crst;
    host_task_t task;
    int times;
    int leaves;
} holder_t;

static inline void holder_body(void *argument)
{
    holder_t *self = (holder_t *)argument;
    self->task = this_task();
    for (int time = 0; time < self->times; time++) {
        REQUIRE_EQ(hostcrst_enter(self->crst, 0), S_OK);
    }
    check_reach(&self->steps, 1);
    check_await_however_long(&self->steps, 2);
    if (self->leaves) {
        for (int time = 0; time < self->times; time++) {
            CHECK_EQ(hostcrst_leave(self->crst), S_OK);
        }
    }
}

static inline void hold_times(holder_t *self, hostcrst_t crst, int times)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    self->steps = steps;
    self->crst = crst;
    self->times = times;
    self->leaves = 0;
    check_start(&self->thread, holder_body, self);
    check_await(&self->steps, 1);
}

static inline void hold(holder_t *self, hostcrst_t crst)
{
    hold_times(self, crst, 1);
}

/* The thread leaves the section and ends. */
static inline void let_go(holder_t *self)
{
    self->leaves = 1;
    check_reach(&self->steps, 2);
    check_join(&self->thread);
}

/* The thread ends, holding what it holds. */
static inline void die_holding(holder_t *self)
{
    check_reach(&self->steps, 2);
    check_join(&self->thread);
}

static inline hostcrst_t abandoned_section(void)
{
    holder_t holder;
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    die_holding(&holder);
    return crst;
}

/* A handle of a task whose thread has ended. */
static inline host_task_t ended_task(void)
{
    holder_t holder;
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    return holder.task;
}

/* ---- a thread that waits for a section ---- */

typedef struct waiter {
    check_thread_t thread;
    check_steps_t steps;
    hostcrst_t crst;
    uint32_t option;
    uint32_t milliseconds;
    host_task_t task;
    int32_t result;
    int errno_after;
    int over;
} waiter_t;

static inline void waiter_body(void *argument)
{
    waiter_t *self = (waiter_t *)argument;
    self->task = this_task();
    check_reach(&self->steps, 1);
    errno = ERRNO_SENTINEL;
    if (self->milliseconds == HOSTCRST_INFINITE) {
        self->result = hostcrst_enter(self->crst, self->option);
    } else {
        self->result = hostcrst_enter_timeout(self->crst, self->option, self->milliseconds);
    }
    self->errno_after = errno;
    __atomic_store_n(&self->over, 1, __ATOMIC_RELEASE);
    if (self->result == S_OK) {
        CHECK_EQ(hostcrst_leave(self->crst), S_OK);
    }
}

static inline int is_waiting(host_task_t task, hostcrst_t crst)
{
    return task_info_of(task).waiting_for == crst;
}

static inline void begin_to_wait(waiter_t *self, hostcrst_t crst, uint32_t option, uint32_t milliseconds)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    self->steps = steps;
    self->crst = crst;
    self->option = option;
    self->milliseconds = milliseconds;
    self->over = 0;
    check_start(&self->thread, waiter_body, self);
    check_await(&self->steps, 1);
}

/* Returns when the thread is in the section's queue. */
static inline void wait_for(waiter_t *self, hostcrst_t crst, uint32_t option)
{
    begin_to_wait(self, crst, option, HOSTCRST_INFINITE);
    REQUIRE_SOON(is_waiting(self->task, crst));
}

static inline int wait_is_over(waiter_t *self)
{
    return __atomic_load_n(&self->over, __ATOMIC_ACQUIRE);
}

/* What the wait ended with. */
static inline int32_t end_of_wait(waiter_t *self)
{
    check_join(&self->thread);
    CHECK_EQ(self->errno_after, ERRNO_SENTINEL);
    return self->result;
}

/* ---- a child of a fork ---- */

/* Runs `body` in a child process, whose failed checks are the test's. */
#define in_child(body) in_child_at((body), __FILE__, __LINE__)

static inline void in_child_at(void (*body)(void), const char *file, int line)
{
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        __atomic_store_n(&check_failures, 0, __ATOMIC_RELAXED);
        alarm(2 * CHECK_PATIENCE_SECONDS);
        body();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    int status = -1;
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
        check_fail(file, line, "the child was ended by signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        check_fail(file, line, "checks failed in the child");
    }
}

/* From here on no page of data can be had, but address space can. Not 0: Linux takes that for no limit. */
static inline void refuse_memory(void)
{
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_DATA, &limit), 0);
    limit.rlim_cur = 4096;
    REQUIRE_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
}

static inline void allow_memory(void)
{
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_DATA, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    REQUIRE_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
}

#endif
