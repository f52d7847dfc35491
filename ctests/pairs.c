/*
 * Every call against every other: each pair of calls on the same objects, once with one of the two stopped at
 * some instruction while the other is made from its beginning to its end (step.h), once with both at the same
 * moment and a third beside them. After each round everything has to be consistent: no live handle is returned
 * again, no section has two owners, and no task sleeps for a free section.
 *
 * The table below has a row for each function that the library exports (ctests/exports.txt); one that is new
 * has to get one, or the test fails. PAIRS_SEED draws other rounds; PAIRS_SECONDS makes each of the two ways
 * last so long.
 */
#include "capture.h"
#include "step.h"

#include <hostcrst/win32.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>

enum { ACTORS = 3, CELLS = 2, LIVING = 128, MADE_MOST = 8, CHILD_SECONDS = 60 };
enum { STEPPED_ROUNDS = 32000, BESIDE_ROUNDS = 40000, CONTROL_ROUNDS = 2000 };
/* How long a thread that was stopped waits for the other, which may need what the first one has. */
enum { STOPPED_NANOSECONDS = 400000 };

/* ---- what is shared ---- */

/* A place for one section at a time. Its owner stores itself in `inside`: 0 for none. */
typedef struct cell {
    hostcrst_t crst;
    unsigned inside;
    int is_gone;
} cell_t;

static cell_t cells[CELLS];
/* The first is initialised and may have an owner when a round begins; the second is zeroed memory then. */
static CRITICAL_SECTION windows[2];
static unsigned inside_windows[2];
static CONDITION_VARIABLE variable;
/* What stands beside Windows' sections; free, unless a call is being made. */
static SRWLOCK srw;
static unsigned inside_srw;
static CONDITION_VARIABLE variable_of_srw;
static uint32_t watched;
static INIT_ONCE once;
/* A resource that all tell of, without a lock behind it: two may acquire it at once. */
static host_resource_t resource;
/* Sections that nobody touches, in the slots that a number mistaken for one is likely to name. */
static hostcrst_t living[LIVING];

/* What happened in this round, and so what results may be. */
typedef enum event {
    STOP,
    DESTROY,
    DEATH,
    EVENTS
} event_t;

static int happened[EVENTS];

static void happens(event_t event)
{
    __atomic_store_n(&happened[event], 1, __ATOMIC_RELAXED);
}

static int has_happened(event_t event)
{
    return __atomic_load_n(&happened[event], __ATOMIC_RELAXED);
}

static int null_device;

/* ---- actors ---- */

struct call;

typedef enum order {
    SET_UP,
    CALL,
    UNWIND,
    QUIT
} order_t;

/* A thread that an actor has, to end. */
typedef struct mortal {
    check_thread_t thread;
    check_steps_t steps;
    struct actor *of;
} mortal_t;

typedef struct actor {
    check_thread_t thread;
    unsigned name;
    order_t order;
    uint32_t ordered;
    uint32_t done;
    host_task_t task;
    chance_t chance;
    const struct call *call;
    unsigned repeats;
    int32_t result;
    /* How often it enters each before its call. */
    unsigned wants[CELLS];
    unsigned wants_windows;
    unsigned entered[CELLS];
    unsigned entered_windows[2];
    hostcrst_t made[MADE_MOST];
    unsigned made_count;
    /*
     * How often it was alerted, and how often it was told so: an alert that finds no wait stays for the next.
     */
    unsigned alerts;
    unsigned interrupted;
    CRITICAL_SECTION own;
    mortal_t mortal;
    stepper_t stepper;
    /* Begins when the stepper has stopped. */
    struct actor *other;
    int is_started;
} actor_t;

static actor_t actors[ACTORS];
/* In rounds where all begin at once: how many have come. */
static unsigned rushed;
static unsigned rushing;

/* Results that a call may have, as bits. */
enum {
    OK = 1,
    FALSE_ = 2,
    NO_SECTION = 4,
    NOT_OWNER = 8,
    ABANDONED = 16,
    DEADLOCK = 32,
    INTERRUPTED = 64,
    TIMED_OUT = 128,
    DOES_NOT_FIT = 256,
    NOT_AVAILABLE = 512,
    UNKNOWN = 1024
};

static int bit_of(int32_t result)
{
    switch (result) {
    case S_OK: return OK;
    case S_FALSE: return FALSE_;
    case E_HANDLE: return NO_SECTION;
    case HOST_E_NOT_OWNER: return NOT_OWNER;
    case HOST_E_ABANDONED: return ABANDONED;
    case HOST_E_DEADLOCK: return DEADLOCK;
    case HOST_E_INTERRUPTED: return INTERRUPTED;
    case HOST_E_TIMEOUT: return TIMED_OUT;
    case HOST_E_INVALIDOPERATION: return DOES_NOT_FIT;
    case HOST_E_CLRNOTAVAILABLE: return NOT_AVAILABLE;
    default: return UNKNOWN;
    }
}

typedef enum kind {
    PLAIN = 0,
    /* Not stopped inside: signals are blocked in there, or it is another process that goes on. */
    WHOLE = 1,
    /* Waits without a limit. */
    WAITS = 2,
    /* Ends the runtime for good: has a test of its own. */
    FINAL = 4,
    /* A thread ends that has entered the first section before; as its owner. */
    ENDS = 8,
    DIES = 16,
    /* Ends something that others may be about to write to. */
    TAKES_AWAY = 32,
    /* Only looks: drawn less often. */
    LOOKS = 64
} kind_t;

typedef struct call {
    /* The exported function, or what else is done, in words. */
    const char *name;
    int32_t (*make)(actor_t *self);
    int results;
    int kind;
} call_t;

/* What the stepper of the calling thread counts is only what the library does. */
#define STEPPED(variable, call) \
    do { \
        step_in(); \
        variable = (call); \
        step_out(); \
    } while (0)
#define STEPPED_VOID(call) \
    do { \
        step_in(); \
        call; \
        step_out(); \
    } while (0)

/* ---- the oracle of owners ---- */

static void got_in(unsigned *inside, const actor_t *self)
{
    unsigned before = __atomic_exchange_n(inside, self->name, __ATOMIC_RELAXED);
    if (before != 0 && before != self->name) {
        CHECK_EQ(before, 0 /* nobody else is inside */);
    }
}

static void gets_out(unsigned *inside)
{
    __atomic_store_n(inside, 0, __ATOMIC_RELAXED);
}

static void note_entry(actor_t *self, unsigned at, int32_t result)
{
    if (result == S_OK) {
        got_in(&cells[at].inside, self);
        self->entered[at]++;
    }
}

static hostcrst_t crst_at(unsigned at)
{
    return __atomic_load_n(&cells[at].crst, __ATOMIC_RELAXED);
}

static unsigned any_cell(actor_t *self)
{
    /* Mostly the first: two calls are to meet. */
    return next_random(&self->chance) % 16 == 0;
}

/* ---- the calls ---- */

/* For the controls: what a library in which something is wrong would do. */
typedef enum fault {
    NONE,
    TWO_OWNERS,
    HANDLE_TWICE
} fault_t;

static fault_t fault;
/* The runtime fails in this round: any call may be refused, and nothing is left to be done after it. */
static int final;

static void expect(int holds, const char *what, int32_t result)
{
    if (!holds && !final) {
        check_fail(__FILE__, __LINE__, "%s answers 0x%X: %s", what, (unsigned)result,
                   host_result_message(result));
    }
}

static int32_t try_at(actor_t *self, unsigned at)
{
    int32_t entered = 0;
    int32_t result;
    STEPPED(result, hostcrst_try_enter(crst_at(at), 0, &entered));
    if (fault == TWO_OWNERS && result == S_OK) {
        entered = 1;
    }
    if (entered) {
        note_entry(self, at, result);
    }
    return result;
}

static int32_t make_try_enter(actor_t *self)
{
    return try_at(self, any_cell(self));
}

static int32_t make_enter(actor_t *self)
{
    unsigned at = any_cell(self);
    uint32_t option = next_random(&self->chance) % 4 == 0 ? WAIT_ALERTABLE : 0;
    int32_t result;
    STEPPED(result, hostcrst_enter(crst_at(at), option));
    if (result == HOST_E_INTERRUPTED) {
        CHECK(option != 0 && ++self->interrupted <= __atomic_load_n(&self->alerts, __ATOMIC_RELAXED));
    }
    note_entry(self, at, result);
    return result;
}

static int32_t make_enter_timeout(actor_t *self)
{
    unsigned at = any_cell(self);
    int32_t result;
    STEPPED(result, hostcrst_enter_timeout(crst_at(at), 0, (uint32_t)(next_random(&self->chance) % 2)));
    note_entry(self, at, result);
    return result;
}

static int32_t make_enter_at(actor_t *self)
{
    static const char *const places[] = {"here", "there", "", NULL};
    unsigned at = any_cell(self);
    const char *place = places[next_random(&self->chance) % 4];
    int32_t result;
    STEPPED(result, hostcrst_enter_at(crst_at(at), 0, (uint32_t)(next_random(&self->chance) % 2), place));
    note_entry(self, at, result);
    return result;
}

static int32_t leave_at(actor_t *self, unsigned at)
{
    int32_t result;
    unsigned entered = self->entered[at];
    if (entered == 1) {
        gets_out(&cells[at].inside);
    }
    STEPPED(result, hostcrst_leave(crst_at(at)));
    if (entered != 0) {
        expect(result == S_OK, "a leave by the owner", result);
        self->entered[at]--;
    } else {
        expect(result != S_OK, "a leave by somebody else", result);
    }
    return result;
}

static int32_t make_leave(actor_t *self)
{
    return leave_at(self, any_cell(self));
}

static int32_t destroy_at(actor_t *self, unsigned at)
{
    int32_t result;
    unsigned entered = self->entered[at];
    if (entered != 0) {
        gets_out(&cells[at].inside);
    }
    happens(DESTROY);
    STEPPED(result, hostcrst_destroy(crst_at(at)));
    if (entered != 0) {
        expect(result == S_OK, "destroy by the owner", result);
        self->entered[at] = 0;
    }
    return result;
}

static int32_t make_destroy(actor_t *self)
{
    unsigned at = any_cell(self);
    int32_t result = destroy_at(self, at);
    if (result == S_OK) {
        __atomic_store_n(&cells[at].is_gone, 1, __ATOMIC_RELAXED);
    }
    return result;
}

static int32_t make_destroy_and_create(actor_t *self)
{
    unsigned at = any_cell(self);
    int32_t result = destroy_at(self, at);
    if (result == S_OK) {
        hostcrst_t crst;
        int32_t created;
        STEPPED(created, hostcrst_create(&crst));
        if (created == S_OK) {
            __atomic_store_n(&cells[at].crst, crst, __ATOMIC_RELAXED);
        } else {
            expect(created == HOST_E_CLRNOTAVAILABLE && has_happened(STOP), "create", created);
            __atomic_store_n(&cells[at].is_gone, 1, __ATOMIC_RELAXED);
        }
    }
    return result;
}

static int32_t keep(actor_t *self, int32_t result, hostcrst_t crst)
{
    CHECK((result == S_OK) == (crst != 0));
    if (result == S_OK && self->made_count < MADE_MOST) {
        self->made[self->made_count++] = crst;
    } else if (result == S_OK) {
        result = hostcrst_destroy(crst);
    }
    return result;
}

static int32_t make_create(actor_t *self)
{
    hostcrst_t crst;
    int32_t result;
    STEPPED(result, hostcrst_create(&crst));
    return keep(self, result, crst);
}

static int32_t make_create_with_spin_count(actor_t *self)
{
    hostcrst_t crst;
    int32_t result;
    uint32_t count = (uint32_t)(next_random(&self->chance) % LIVING);
    STEPPED(result, hostcrst_create_with_spin_count(count, &crst));
    return keep(self, result, crst);
}

static int32_t make_set_spin_count(actor_t *self)
{
    /* Numbers that are also those of slots in use. */
    uint32_t count = 1 + (uint32_t)(next_random(&self->chance) % LIVING);
    int32_t result;
    STEPPED(result, hostcrst_set_spin_count(crst_at(any_cell(self)), count));
    return result;
}

static int32_t make_recover(actor_t *self)
{
    unsigned at = any_cell(self);
    int32_t result;
    STEPPED(result, hostcrst_recover(crst_at(at)));
    note_entry(self, at, result);
    return result;
}

/* Recovers the section of the ended thread, then enters one that a former waiter for it owns. */
static int32_t make_recover_and_enter(actor_t *self)
{
    int32_t result;
    STEPPED(result, hostcrst_recover(crst_at(0)));
    note_entry(self, 0, result);
    if (result == S_OK) {
        STEPPED(result, hostcrst_enter(crst_at(1), 0));
        note_entry(self, 1, result);
    }
    return result;
}

static int32_t make_set_name(actor_t *self)
{
    static const char *const names[] = {"", "a", "a name rather long, for whoever reads it meanwhile"};
    int32_t result;
    STEPPED(result, hostcrst_set_name(crst_at(any_cell(self)), names[next_random(&self->chance) % 3]));
    return result;
}

static int32_t make_name(actor_t *self)
{
    char name[HOSTCRST_NAME_SIZE];
    size_t length = 0;
    int32_t result;
    STEPPED(result, hostcrst_name(crst_at(any_cell(self)), name, sizeof name, &length));
    CHECK(length == strlen(name));
    return result;
}

static int32_t make_list(actor_t *self)
{
    hostcrst_t listed[4];
    size_t count = 0;
    int32_t result;
    (void)self;
    STEPPED(result, hostcrst_list(listed, 4, &count));
    return result;
}

static int32_t make_info(actor_t *self)
{
    hostcrst_info_t info;
    int32_t result;
    info.size = sizeof info;
    STEPPED(result, hostcrst_info(crst_at(any_cell(self)), &info));
    if (result == S_OK) {
        CHECK(info.state <= HOSTCRST_ABANDONED);
        CHECK((info.owner != 0) == (info.state == HOSTCRST_OWNED));
        CHECK(info.waiters < ACTORS);
        CHECK(info.spin_count <= LIVING);
    }
    return result;
}

static int32_t make_leave_runtime(actor_t *self)
{
    int32_t result;
    (void)self;
    STEPPED(result, host_leave_runtime((size_t)self));
    return result;
}

static int32_t make_enter_runtime(actor_t *self)
{
    int32_t result;
    (void)self;
    STEPPED(result, host_enter_runtime());
    return result;
}

static int32_t make_reverse_enter_runtime(actor_t *self)
{
    int32_t result;
    (void)self;
    STEPPED(result, host_reverse_enter_runtime());
    return result;
}

static int32_t make_reverse_leave_runtime(actor_t *self)
{
    int32_t result;
    (void)self;
    STEPPED(result, host_reverse_leave_runtime());
    return result;
}

static int32_t make_call_needs_host_hook(actor_t *self)
{
    int32_t needs = -1;
    int32_t result;
    STEPPED(result, host_call_needs_host_hook(1 + next_random(&self->chance) % 4, &needs));
    CHECK(needs == 0 || needs == 1);
    return result;
}

static int32_t make_set_call_hook(actor_t *self)
{
    uint64_t random = next_random(&self->chance);
    int32_t result;
    STEPPED(result, host_set_call_hook(1 + random % 4, (random >> 8) % 2 != 0));
    return result;
}

static actor_t *anybody(actor_t *self)
{
    return &actors[next_random(&self->chance) % ACTORS];
}

static int32_t make_task_current(actor_t *self)
{
    host_task_t task = 0;
    int32_t result;
    STEPPED(result, host_task_current(&task));
    expect(task == self->task, "host_task_current", result);
    return result;
}

static int32_t make_task_set_name(actor_t *self)
{
    int32_t result;
    uint64_t random = next_random(&self->chance);
    STEPPED(result, host_task_set_name(anybody(self)->task, random % 2 == 0 ? "" : "somebody"));
    return result;
}

static int32_t make_task_name(actor_t *self)
{
    char name[HOSTCRST_NAME_SIZE];
    size_t length = 0;
    int32_t result;
    STEPPED(result, host_task_name(anybody(self)->task, name, sizeof name, &length));
    CHECK(length == strlen(name));
    return result;
}

static int32_t make_task_list(actor_t *self)
{
    host_task_t listed[4];
    size_t count = 0;
    int32_t result;
    (void)self;
    STEPPED(result, host_task_list(listed, 4, &count));
    CHECK(count >= ACTORS);
    return result;
}

static int32_t make_tasks_left(actor_t *self)
{
    uint32_t left = 0;
    int32_t result;
    (void)self;
    STEPPED(result, host_tasks_left(&left));
    /* With the runtime failed there are none. */
    CHECK_EQ(left > 0, result == S_OK);
    return result;
}

static int32_t make_task_alert(actor_t *self)
{
    actor_t *whom = anybody(self);
    int32_t result;
    __atomic_add_fetch(&whom->alerts, 1, __ATOMIC_RELAXED);
    STEPPED(result, host_task_alert(whom->task));
    return result;
}

static int32_t make_task_info(actor_t *self)
{
    host_task_info_t info;
    int32_t result;
    actor_t *whom = anybody(self);
    info.size = sizeof info;
    STEPPED(result, host_task_info(whom->task, &info));
    CHECK(info.mode <= HOST_TASK_UNMANAGED);
    CHECK(info.owned <= CELLS + 3);
    return result;
}

static int32_t make_task_layers(actor_t *self)
{
    host_layer_t layers[4];
    size_t count = 0;
    int32_t result;
    actor_t *whom = anybody(self);
    STEPPED(result, host_task_layers(whom->task, layers, 4, &count));
    for (size_t at = 0; at < count && at < 4; at++) {
        CHECK(layers[at].kind == HOST_LAYER_REVERSE_ENTER ? layers[at].target == 0
                                                          : layers[at].target == (size_t)whom);
    }
    return result;
}

static int32_t make_wait_chain(actor_t *self)
{
    host_wait_node_t nodes[4];
    size_t count = 0;
    int32_t result;
    actor_t *whom = anybody(self);
    nodes[0].size = sizeof nodes[0];
    STEPPED(result, host_wait_chain(whom->task, nodes, 4, &count));
    CHECK(count == 0 || nodes[0].handle == whom->task);
    return result;
}

static int32_t make_start(actor_t *self)
{
    int32_t result;
    (void)self;
    STEPPED(result, host_runtime_start());
    return result;
}

static int32_t make_stop(actor_t *self)
{
    int32_t result;
    (void)self;
    happens(STOP);
    STEPPED(result, host_runtime_stop());
    return result;
}

static int32_t make_stop_and_start(actor_t *self)
{
    int32_t result = make_stop(self);
    STEPPED(result, host_runtime_start());
    return result;
}

static int32_t make_fail(actor_t *self)
{
    int32_t result;
    (void)self;
    happens(STOP);
    STEPPED(result, host_runtime_fail());
    return result;
}

static int32_t make_state(actor_t *self)
{
    uint32_t state = 99;
    int32_t result;
    (void)self;
    STEPPED(result, host_runtime_state(&state));
    CHECK(state <= HOST_RUNTIME_FAILED);
    return result;
}

static void be_told(const host_deadlock_t *deadlock, void *context)
{
    CHECK_EQ(context, (long long)(size_t)cells);
    CHECK(deadlock->tasks >= 2 && deadlock->tasks <= ACTORS);
}

static int32_t make_set_callback(actor_t *self)
{
    int32_t result;
    if (next_random(&self->chance) % 2 == 0) {
        STEPPED(result, host_set_deadlock_callback(NULL, NULL));
    } else {
        STEPPED(result, host_set_deadlock_callback(be_told, cells));
    }
    return result;
}

static int32_t make_set_policy(actor_t *self)
{
    int32_t result;
    (void)self;
    STEPPED(result, host_set_deadlock_policy(HOST_DEADLOCK_ERROR));
    return result;
}

static int32_t make_policy(actor_t *self)
{
    uint32_t policy = 7;
    int32_t result;
    (void)self;
    STEPPED(result, host_deadlock_policy(&policy));
    CHECK_EQ(policy, HOST_DEADLOCK_ERROR);
    return result;
}

static int32_t make_set_tracking(actor_t *self)
{
    int32_t result;
    STEPPED(result, host_set_hold_tracking(next_random(&self->chance) % 2 != 0));
    return result;
}

static int32_t make_set_statistics(actor_t *self)
{
    int32_t result;
    STEPPED(result, host_set_statistics(next_random(&self->chance) % 2 != 0));
    return result;
}

static int32_t make_allow_order(actor_t *self)
{
    int32_t result;
    (void)self;
    STEPPED(result, hostcrst_allow_order(crst_at(0), crst_at(1)));
    return result;
}

static int32_t make_set_order_checks(actor_t *self)
{
    int32_t result;
    STEPPED(result, host_set_order_checks(next_random(&self->chance) % 2 != 0));
    return result;
}

static int32_t make_report(actor_t *self)
{
    int32_t result;
    uint32_t format = (uint32_t)(next_random(&self->chance) % 3);
    STEPPED(result, host_report(null_device, format));
    return result;
}

static void drop_piece(const char *text, size_t length, void *context)
{
    (void)text;
    (void)length;
    (void)context;
}

static int32_t make_report_write(actor_t *self)
{
    int32_t result;
    uint32_t format = (uint32_t)(next_random(&self->chance) % 3);
    STEPPED(result, host_report_write(format, drop_piece, NULL));
    return result;
}

/* ---- Windows' sections ---- */

static unsigned any_window(actor_t *self)
{
    return next_random(&self->chance) % 4 == 0;
}

static void note_window(actor_t *self, unsigned at)
{
    got_in(&inside_windows[at], self);
    self->entered_windows[at]++;
}

static int32_t make_cs_enter(actor_t *self)
{
    unsigned at = any_window(self);
    STEPPED_VOID(EnterCriticalSection(&windows[at]));
    note_window(self, at);
    return S_OK;
}

static int32_t make_cs_try_enter(actor_t *self)
{
    unsigned at = any_window(self);
    BOOL entered;
    STEPPED(entered, TryEnterCriticalSection(&windows[at]));
    if (entered) {
        note_window(self, at);
    }
    return S_OK;
}

static void leave_window(actor_t *self, unsigned at)
{
    if (self->entered_windows[at] == 1) {
        gets_out(&inside_windows[at]);
    }
    STEPPED_VOID(LeaveCriticalSection(&windows[at]));
    if (self->entered_windows[at] != 0) {
        self->entered_windows[at]--;
    }
}

static int32_t make_cs_leave(actor_t *self)
{
    leave_window(self, any_window(self));
    return S_OK;
}

static int32_t make_cs_delete(actor_t *self)
{
    if (next_random(&self->chance) % 2 == 0) {
        /* For a later thread, and for the owner, the memory works. */
        STEPPED_VOID(DeleteCriticalSection(&windows[1]));
        return S_OK;
    }
    if (self->own.LockSemaphore == NULL) {
        InitializeCriticalSection(&self->own);
    }
    STEPPED_VOID(DeleteCriticalSection(&self->own));
    memset(&self->own, 0, sizeof self->own);
    return S_OK;
}

static void begin_own(actor_t *self)
{
    if (self->own.LockSemaphore != NULL) {
        DeleteCriticalSection(&self->own);
    }
}

static int32_t make_cs_initialize(actor_t *self)
{
    begin_own(self);
    STEPPED_VOID(InitializeCriticalSection(&self->own));
    return S_OK;
}

static int32_t make_cs_initialize_and_spin_count(actor_t *self)
{
    BOOL done;
    begin_own(self);
    STEPPED(done, InitializeCriticalSectionAndSpinCount(&self->own, LIVING / 2));
    CHECK(done);
    return S_OK;
}

static int32_t make_cs_initialize_ex(actor_t *self)
{
    BOOL done;
    begin_own(self);
    STEPPED(done, InitializeCriticalSectionEx(&self->own, LIVING / 3, 0));
    CHECK(done);
    return S_OK;
}

static int32_t make_cs_set_spin_count(actor_t *self)
{
    DWORD before;
    DWORD count = 1 + (DWORD)(next_random(&self->chance) % LIVING);
    STEPPED(before, SetCriticalSectionSpinCount(&windows[any_window(self)], count));
    CHECK(before <= LIVING);
    return S_OK;
}

static int32_t make_cv_initialize(actor_t *self)
{
    CONDITION_VARIABLE fresh;
    (void)self;
    STEPPED_VOID(InitializeConditionVariable(&fresh));
    CHECK_EQ((uint32_t)(size_t)fresh.Ptr, 0);
    return S_OK;
}

static int32_t make_cv_sleep(actor_t *self)
{
    BOOL woken;
    if (self->entered_windows[0] == 1) {
        gets_out(&inside_windows[0]);
    }
    STEPPED(woken, SleepConditionVariableCS(&variable, &windows[0], 1));
    if (self->entered_windows[0] == 1) {
        got_in(&inside_windows[0], self);
        CHECK(woken || hostcrst_last_error() == ERROR_TIMEOUT);
    } else {
        CHECK(!woken);
        CHECK_EQ(hostcrst_last_error(),
                 self->entered_windows[0] == 0 ? ERROR_NOT_OWNER : ERROR_INVALID_PARAMETER);
    }
    return S_OK;
}

static int32_t make_cv_wake(actor_t *self)
{
    (void)self;
    STEPPED_VOID(WakeConditionVariable(&variable));
    return S_OK;
}

static int32_t make_cv_wake_all(actor_t *self)
{
    (void)self;
    STEPPED_VOID(WakeAllConditionVariable(&variable));
    return S_OK;
}

static int32_t make_set_last_error(actor_t *self)
{
    DWORD code = (DWORD)next_random(&self->chance);
    DWORD seen;
    STEPPED_VOID(hostcrst_set_last_error(code));
    STEPPED(seen, hostcrst_last_error());
    CHECK_EQ(seen, code);
    return S_OK;
}

static int32_t make_thread_id(actor_t *self)
{
    DWORD id;
    (void)self;
    STEPPED(id, GetCurrentThreadId());
    CHECK_EQ(id, (DWORD)syscall(SYS_gettid));
    return S_OK;
}

/* ---- what stands beside Windows' sections ---- */

static void own_srw_and_release(actor_t *self)
{
    got_in(&inside_srw, self);
    gets_out(&inside_srw);
    STEPPED_VOID(ReleaseSRWLockExclusive(&srw));
}

static void share_srw_and_release(void)
{
    CHECK_EQ(__atomic_load_n(&inside_srw, __ATOMIC_RELAXED), 0);
    STEPPED_VOID(ReleaseSRWLockShared(&srw));
}

static int32_t make_srw_initialize(actor_t *self)
{
    SRWLOCK fresh;
    (void)self;
    STEPPED_VOID(InitializeSRWLock(&fresh));
    CHECK(fresh.Ptr == NULL);
    return S_OK;
}

static int32_t make_srw_exclusive(actor_t *self)
{
    STEPPED_VOID(AcquireSRWLockExclusive(&srw));
    own_srw_and_release(self);
    return S_OK;
}

static int32_t make_srw_shared(actor_t *self)
{
    (void)self;
    STEPPED_VOID(AcquireSRWLockShared(&srw));
    share_srw_and_release();
    return S_OK;
}

static int32_t make_srw_try_exclusive(actor_t *self)
{
    int has_it;
    STEPPED(has_it, TryAcquireSRWLockExclusive(&srw));
    if (has_it) {
        own_srw_and_release(self);
    }
    return S_OK;
}

static int32_t make_srw_try_shared(actor_t *self)
{
    int has_it;
    (void)self;
    STEPPED(has_it, TryAcquireSRWLockShared(&srw));
    if (has_it) {
        share_srw_and_release();
    }
    return S_OK;
}

static int32_t make_cv_sleep_srw(actor_t *self)
{
    BOOL woken;
    AcquireSRWLockExclusive(&srw);
    STEPPED(woken, SleepConditionVariableSRW(&variable_of_srw, &srw, 1, 0));
    CHECK(woken || hostcrst_last_error() == ERROR_TIMEOUT);
    own_srw_and_release(self);
    return S_OK;
}

static int32_t make_address_wait(actor_t *self)
{
    uint32_t same = 0;
    BOOL woken;
    (void)self;
    STEPPED(woken, WaitOnAddress(&watched, &same, sizeof watched, 1));
    CHECK(woken || hostcrst_last_error() == ERROR_TIMEOUT);
    return S_OK;
}

static int32_t make_address_wake(actor_t *self)
{
    (void)self;
    STEPPED_VOID(WakeByAddressSingle(&watched));
    return S_OK;
}

static int32_t make_address_wake_all(actor_t *self)
{
    (void)self;
    STEPPED_VOID(WakeByAddressAll(&watched));
    return S_OK;
}

static int32_t make_once_initialize(actor_t *self)
{
    INIT_ONCE fresh;
    (void)self;
    STEPPED_VOID(InitOnceInitialize(&fresh));
    CHECK(fresh.Ptr == NULL);
    return S_OK;
}

/* It fails each time, so that the next one begins anew. */
static int32_t make_once(actor_t *self)
{
    BOOL is_pending = FALSE, done;
    (void)self;
    STEPPED(done, InitOnceBeginInitialize(&once, 0, &is_pending, NULL));
    CHECK(done && is_pending);
    STEPPED(done, InitOnceComplete(&once, INIT_ONCE_INIT_FAILED, NULL));
    CHECK(done);
    return S_OK;
}

/* ---- what is no function ---- */

static pthread_key_t last_key;
static pthread_once_t last_key_once = PTHREAD_ONCE_INIT;

/* The thread ends: the library has done its part in the rounds before, and what follows blocks signals. */
static void stop_stepping(void *round)
{
    if ((size_t)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(last_key, (void *)((size_t)round + 1));
    } else {
        step_out();
        stepper_here = NULL;
    }
}

static void make_last_key(void)
{
    REQUIRE_EQ(pthread_key_create(&last_key, stop_stepping), 0);
}

static void live_and_die(void *argument)
{
    mortal_t *self = (mortal_t *)argument;
    int32_t entered = 0;
    CHECK_EQ(pthread_setspecific(last_key, (void *)1), 0);
    CHECK_EQ(hostcrst_try_enter(crst_at(0), 0, &entered), S_OK);
    CHECK_EQ(entered, 1);
    check_reach(&self->steps, 1);
    check_await(&self->steps, 2);
    if (!(self->of->call->kind & DIES)) {
        int32_t result = hostcrst_leave(crst_at(0));
        expect(result == S_OK, "a leave by who ends", result);
    }
    stepper_here = &self->of->stepper;
    step_in();
}

static void begin_mortal(actor_t *self)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    pthread_once(&last_key_once, make_last_key);
    self->mortal.of = self;
    self->mortal.steps = steps;
    check_start(&self->mortal.thread, live_and_die, &self->mortal);
    check_await(&self->mortal.steps, 1);
}

static int32_t make_end(actor_t *self)
{
    if (self->call->kind & DIES) {
        happens(DEATH);
    }
    check_reach(&self->mortal.steps, 2);
    check_join(&self->mortal.thread);
    return S_OK;
}

static host_resource_t resource_now(void)
{
    return __atomic_load_n(&resource, __ATOMIC_RELAXED);
}

/* Puts a new resource in the place of one that was destroyed, unless another thread has. */
static int32_t replace_resource(host_resource_t gone)
{
    host_resource_t created = 0;
    int32_t result;
    STEPPED(result, host_resource_create(&created));
    CHECK((result == S_OK) == (created != 0));
    if (result == S_OK && !__atomic_compare_exchange_n(&resource, &gone, created, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        int32_t destroyed = host_resource_destroy(created);
        expect(destroyed == S_OK, "destroy of a resource that nobody knows", destroyed);
    }
    return result;
}

static int32_t make_resource_create(actor_t *self)
{
    (void)self;
    host_resource_t created = 0;
    int32_t result;
    STEPPED(result, host_resource_create(&created));
    if (result == S_OK) {
        CHECK_NE(created, resource_now());
        int32_t destroyed = host_resource_destroy(created);
        expect(destroyed == S_OK, "destroy of a new resource", destroyed);
    }
    return result;
}

static int32_t make_resource_destroy(actor_t *self)
{
    (void)self;
    host_resource_t gone = resource_now();
    int32_t result;
    STEPPED(result, host_resource_destroy(gone));
    if (result == S_OK || result == E_HANDLE) {
        replace_resource(gone);
    }
    return result;
}

static int32_t make_resource_name(actor_t *self)
{
    char name[HOSTCRST_NAME_SIZE];
    size_t length = 0;
    int32_t result;
    (void)self;
    STEPPED(result, host_resource_name(resource_now(), name, sizeof name, &length));
    CHECK(length == strlen(name));
    return result;
}

static int32_t make_resource_list(actor_t *self)
{
    host_resource_t listed[4];
    size_t count = 0;
    int32_t result;
    (void)self;
    STEPPED(result, host_resource_list(listed, 4, &count));
    return result;
}

static int32_t make_resource_set_name(actor_t *self)
{
    (void)self;
    int32_t result;
    STEPPED(result, host_resource_set_name(resource_now(), "a resource"));
    return result;
}

static int32_t make_resource_wait(actor_t *self)
{
    host_resource_t awaited = resource_now();
    int32_t result;
    STEPPED(result, host_resource_wait(awaited, 0));
    if (result == S_OK) {
        int32_t ended = host_resource_wait_end(awaited);
        expect(ended == S_OK || ended == E_HANDLE, "the end of a wait", ended);
    }
    CHECK_EQ(task_info_of(self->task).waiting_for, 0);
    return result;
}

static int32_t make_resource_wait_at(actor_t *self)
{
    host_resource_t awaited = resource_now();
    int32_t result;
    STEPPED(result, host_resource_wait_at(awaited, 0, "a place"));
    if (result == S_OK) {
        int32_t ended = host_resource_wait_end(awaited);
        expect(ended == S_OK || ended == E_HANDLE, "the end of a wait", ended);
    }
    CHECK_EQ(task_info_of(self->task).waiting_for, 0);
    return result;
}

static int32_t make_resource_wait_end(actor_t *self)
{
    (void)self;
    host_resource_t awaited = resource_now();
    int32_t told = host_resource_wait(awaited, 0);
    int32_t result;
    STEPPED(result, host_resource_wait_end(awaited));
    expect(told != S_OK || result != HOST_E_INVALIDOPERATION, "the end of a wait", result);
    return result;
}

static int32_t make_resource_acquired(actor_t *self)
{
    (void)self;
    host_resource_t acquired = resource_now();
    int32_t result;
    STEPPED(result, host_resource_acquired(acquired));
    if (result == S_OK) {
        host_resource_released(acquired);
    }
    return result;
}

static int32_t make_resource_acquired_at(actor_t *self)
{
    (void)self;
    host_resource_t acquired = resource_now();
    int32_t result;
    STEPPED(result, host_resource_acquired_at(acquired, "a place"));
    if (result == S_OK) {
        host_resource_released(acquired);
    }
    return result;
}

static int32_t make_resource_released(actor_t *self)
{
    (void)self;
    host_resource_t acquired = resource_now();
    host_resource_acquired(acquired);
    int32_t result;
    STEPPED(result, host_resource_released(acquired));
    return result;
}

static int lives_on_in_the_child(void)
{
    hostcrst_t crst = 0;
    int32_t entered = 0;
    uint32_t state = 0;
    if (final) {
        return 0;
    }
    if (host_runtime_start() < 0 || host_runtime_state(&state) != S_OK || state != HOST_RUNTIME_RUNNING) {
        return 1;
    }
    if (hostcrst_create(&crst) != S_OK || hostcrst_enter(crst, 0) != S_OK || hostcrst_leave(crst) != S_OK ||
        hostcrst_destroy(crst) != S_OK) {
        return 2;
    }
    for (unsigned at = 0; at < CELLS; at++) {
        int32_t result = hostcrst_try_enter(crst_at(at), 0, &entered);
        if (result == S_OK && !entered) {
            /* Its owner does not exist in the child. */
            return 3;
        }
        if (result == S_OK && hostcrst_leave(crst_at(at)) != S_OK) {
            return 4;
        }
    }
    return 0;
}

static int32_t make_fork(actor_t *self)
{
    int status = -1;
    (void)self;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(lives_on_in_the_child());
    }
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    return S_OK;
}

#define TRIED (OK | NO_SECTION | ABANDONED | NOT_AVAILABLE)
#define ENTERED (TRIED | DEADLOCK | INTERRUPTED)

static const call_t calls[] = {
    {"host_runtime_start", make_start, OK | FALSE_, PLAIN},
    {"host_runtime_stop", make_stop, OK | FALSE_, TAKES_AWAY},
    {"host_runtime_fail", make_fail, OK, FINAL},
    {"host_runtime_state", make_state, OK, LOOKS},
    {"hostcrst_create", make_create, OK | NOT_AVAILABLE, PLAIN},
    {"hostcrst_create_with_spin_count", make_create_with_spin_count, OK | NOT_AVAILABLE, PLAIN},
    {"hostcrst_enter", make_enter, ENTERED, WAITS},
    {"hostcrst_enter_timeout", make_enter_timeout, TRIED | TIMED_OUT, PLAIN},
    {"hostcrst_enter_at", make_enter_at, TRIED | TIMED_OUT, PLAIN},
    {"hostcrst_try_enter", make_try_enter, TRIED, PLAIN},
    {"hostcrst_leave", make_leave, OK | NO_SECTION | NOT_OWNER, PLAIN},
    {"hostcrst_set_spin_count", make_set_spin_count, OK | NO_SECTION, PLAIN},
    {"hostcrst_destroy", make_destroy, OK | NO_SECTION | NOT_OWNER, TAKES_AWAY},
    {"hostcrst_recover", make_recover, OK | NO_SECTION | DOES_NOT_FIT | NOT_AVAILABLE, PLAIN},
    {"hostcrst_allow_order", make_allow_order, OK | NO_SECTION, PLAIN},
    {"hostcrst_set_name", make_set_name, OK | NO_SECTION, PLAIN},
    {"hostcrst_name", make_name, OK | NO_SECTION, LOOKS},
    {"hostcrst_list", make_list, OK, LOOKS},
    {"hostcrst_info", make_info, OK | NO_SECTION, LOOKS},
    {"host_leave_runtime", make_leave_runtime, OK | DOES_NOT_FIT | NOT_AVAILABLE, PLAIN},
    {"host_enter_runtime", make_enter_runtime, OK | DOES_NOT_FIT | NOT_AVAILABLE, PLAIN},
    {"host_reverse_enter_runtime", make_reverse_enter_runtime, OK | DOES_NOT_FIT | NOT_AVAILABLE, PLAIN},
    {"host_reverse_leave_runtime", make_reverse_leave_runtime, OK | DOES_NOT_FIT | NOT_AVAILABLE, PLAIN},
    {"host_call_needs_host_hook", make_call_needs_host_hook, OK, LOOKS},
    {"host_set_call_hook", make_set_call_hook, OK, PLAIN},
    {"host_task_current", make_task_current, OK, LOOKS},
    {"host_task_set_name", make_task_set_name, OK, PLAIN},
    {"host_task_name", make_task_name, OK, LOOKS},
    {"host_task_list", make_task_list, OK, LOOKS},
    {"host_tasks_left", make_tasks_left, OK, LOOKS},
    {"host_task_alert", make_task_alert, OK, PLAIN},
    {"host_task_info", make_task_info, OK, LOOKS},
    {"host_task_layers", make_task_layers, OK, LOOKS},
    {"host_wait_chain", make_wait_chain, OK, LOOKS},
    {"host_set_deadlock_policy", make_set_policy, OK, PLAIN},
    {"host_deadlock_policy", make_policy, OK, LOOKS},
    {"host_set_deadlock_callback", make_set_callback, OK, PLAIN},
    {"host_set_hold_tracking", make_set_tracking, OK, PLAIN},
    {"host_set_statistics", make_set_statistics, OK, PLAIN},
    {"host_set_order_checks", make_set_order_checks, OK, PLAIN},
    {"host_report", make_report, OK, LOOKS},
    {"host_report_write", make_report_write, OK, LOOKS},
    {"host_resource_create", make_resource_create, OK | NOT_AVAILABLE, PLAIN},
    {"host_resource_set_name", make_resource_set_name, OK | NO_SECTION, PLAIN},
    {"host_resource_name", make_resource_name, OK | NO_SECTION, LOOKS},
    {"host_resource_list", make_resource_list, OK, LOOKS},
    {"host_resource_destroy", make_resource_destroy, OK | NO_SECTION | NOT_OWNER, TAKES_AWAY},
    {"host_resource_wait", make_resource_wait, OK | NO_SECTION | NOT_AVAILABLE, PLAIN},
    {"host_resource_wait_at", make_resource_wait_at, OK | NO_SECTION | NOT_AVAILABLE, PLAIN},
    {"host_resource_wait_end", make_resource_wait_end, OK | NO_SECTION | DOES_NOT_FIT, PLAIN},
    {"host_resource_acquired", make_resource_acquired, OK | NO_SECTION | DOES_NOT_FIT, PLAIN},
    {"host_resource_acquired_at", make_resource_acquired_at, OK | NO_SECTION | DOES_NOT_FIT, PLAIN},
    {"host_resource_released", make_resource_released, OK | NO_SECTION | NOT_OWNER, PLAIN},
    {"hostcrst_cs_initialize", make_cs_initialize, OK, PLAIN},
    {"hostcrst_cs_initialize_and_spin_count", make_cs_initialize_and_spin_count, OK, PLAIN},
    {"hostcrst_cs_initialize_ex", make_cs_initialize_ex, OK, PLAIN},
    {"hostcrst_cs_enter", make_cs_enter, OK, WAITS},
    {"hostcrst_cs_try_enter", make_cs_try_enter, OK, PLAIN},
    {"hostcrst_cs_leave", make_cs_leave, OK, PLAIN},
    {"hostcrst_cs_delete", make_cs_delete, OK, TAKES_AWAY},
    {"hostcrst_cs_set_spin_count", make_cs_set_spin_count, OK, PLAIN},
    {"hostcrst_cv_initialize", make_cv_initialize, OK, LOOKS},
    {"hostcrst_cv_sleep", make_cv_sleep, OK, PLAIN},
    {"hostcrst_cv_wake", make_cv_wake, OK, PLAIN},
    {"hostcrst_cv_wake_all", make_cv_wake_all, OK, PLAIN},
    {"hostcrst_set_last_error", make_set_last_error, OK, LOOKS},
    {"hostcrst_thread_id", make_thread_id, OK, LOOKS},
    {"hostcrst_srw_initialize", make_srw_initialize, OK, LOOKS},
    {"hostcrst_srw_acquire_exclusive", make_srw_exclusive, OK, PLAIN},
    {"hostcrst_srw_release_exclusive", make_srw_exclusive, OK, PLAIN},
    {"hostcrst_srw_acquire_shared", make_srw_shared, OK, PLAIN},
    {"hostcrst_srw_release_shared", make_srw_shared, OK, PLAIN},
    {"hostcrst_srw_try_acquire_exclusive", make_srw_try_exclusive, OK, PLAIN},
    {"hostcrst_srw_try_acquire_shared", make_srw_try_shared, OK, PLAIN},
    {"hostcrst_cv_sleep_srw", make_cv_sleep_srw, OK, PLAIN},
    {"hostcrst_address_wait", make_address_wait, OK, PLAIN},
    {"hostcrst_address_wake", make_address_wake, OK, PLAIN},
    {"hostcrst_address_wake_all", make_address_wake_all, OK, PLAIN},
    {"hostcrst_once_initialize", make_once_initialize, OK, LOOKS},
    {"hostcrst_once_begin", make_once, OK, PLAIN},
    {"hostcrst_once_complete", make_once, OK, PLAIN},
    {"destroy, then create", make_destroy_and_create, OK | NO_SECTION | NOT_OWNER, TAKES_AWAY},
    {"recover, then enter the other", make_recover_and_enter, ENTERED | DOES_NOT_FIT, WAITS},
    {"stop, then start", make_stop_and_start, OK | FALSE_, TAKES_AWAY},
    {"a thread ends", make_end, OK, ENDS | TAKES_AWAY},
    {"a thread ends as the owner", make_end, OK, ENDS | DIES | TAKES_AWAY},
    {"fork", make_fork, OK, WHOLE},
};

enum { CALLS = sizeof calls / sizeof calls[0] };

/*
 * Exported, and neither changes anything nor reads what others change. hostcrst_last_error is in a row
 * above.
 */
static const char *const others_exported[] = {
    "DllCanUnloadNow",      "DllGetClassObject",   "host_result_message",
    "hostcrst_registry_v1", "hostcrst_last_error", "hostcrst_version",
};

/* ---- orders, given from thread to thread ---- */

static void wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

/* Until the word is another, or for so long. */
static void sleep_on(uint32_t *word, uint32_t seen, long nanoseconds)
{
    struct timespec limit;
    limit.tv_sec = nanoseconds / 1000000000;
    limit.tv_nsec = nanoseconds % 1000000000;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &limit, NULL, 0);
}

static void give_order(actor_t *actor, order_t order)
{
    actor->order = order;
    __atomic_add_fetch(&actor->ordered, 1, __ATOMIC_RELEASE);
    wake(&actor->ordered);
}

/* Whether the actor finished its task in time. */
static int await_for(actor_t *actor, int64_t nanoseconds)
{
    int64_t end = nanoseconds_now() + nanoseconds;
    for (;;) {
        uint32_t done = __atomic_load_n(&actor->done, __ATOMIC_ACQUIRE);
        int64_t left = end - nanoseconds_now();
        if (done == actor->ordered) {
            return 1;
        }
        if (left <= 0) {
            return 0;
        }
        sleep_on(&actor->done, done, (long)left);
    }
}

static void stuck(const actor_t *actor, const char *doing)
{
    check_fail(__FILE__, __LINE__, "actor %u does not get through with: %s", actor->name, doing);
    host_report(STDOUT_FILENO, HOST_REPORT_TEXT);
    check_give_up();
}

static void await_done(actor_t *actor)
{
    if (!await_for(actor, (int64_t)CHECK_PATIENCE_SECONDS * 1000000000)) {
        stuck(actor, actor->order == CALL ? actor->call->name : "what comes before and after");
    }
}

/* Its call, unless it is being made already. */
static void let_begin(actor_t *actor)
{
    if (!__atomic_exchange_n(&actor->is_started, 1, __ATOMIC_ACQ_REL)) {
        give_order(actor, CALL);
    }
}

static void let_the_other_go_by(void *argument)
{
    actor_t *self = (actor_t *)argument;
    if (!__atomic_load_n(&self->other->is_started, __ATOMIC_ACQUIRE)) {
        let_begin(self->other);
        await_for(self->other, STOPPED_NANOSECONDS);
    }
}

/* ---- what an actor does ---- */

static void set_up(actor_t *self)
{
    if (self->call != NULL && self->call->kind & ENDS) {
        begin_mortal(self);
    }
    for (unsigned at = 0; at < CELLS; at++) {
        for (unsigned time = 0; time < self->wants[at]; time++) {
            REQUIRE_EQ(hostcrst_enter(crst_at(at), 0), S_OK);
            note_entry(self, at, S_OK);
        }
    }
    for (unsigned time = 0; time < self->wants_windows; time++) {
        EnterCriticalSection(&windows[0]);
        note_window(self, 0);
    }
}

static void close_layers(void)
{
    host_layer_t layers[1];
    size_t depth = 0;
    CHECK_EQ(host_task_layers(this_task(), layers, 1, &depth), S_OK);
    for (size_t left = depth; left > 0; left--) {
        host_layer_t all[64];
        size_t count;
        REQUIRE(left <= 64);
        REQUIRE_EQ(host_task_layers(this_task(), all, 64, &count), S_OK);
        REQUIRE_EQ(count, left);
        int32_t result = all[left - 1].kind == HOST_LAYER_LEAVE ? host_enter_runtime()
                                                                : host_reverse_leave_runtime();
        if (result != S_OK) {
            /* Stopped: a start, at the end of the round, takes the layers away. */
            CHECK_EQ(result, HOST_E_CLRNOTAVAILABLE);
            CHECK(has_happened(STOP));
            return;
        }
    }
}

/* Right after its call: others may wait for what it has. */
static void let_go_of_all(actor_t *self)
{
    for (unsigned at = 0; at < CELLS; at++) {
        while (self->entered[at] != 0) {
            leave_at(self, at);
        }
    }
    for (unsigned at = 0; at < 2; at++) {
        while (self->entered_windows[at] != 0) {
            leave_window(self, at);
        }
    }
}

static void unwind(actor_t *self)
{
    let_go_of_all(self);
    while (self->made_count != 0) {
        int32_t result = hostcrst_destroy(self->made[--self->made_count]);
        expect(result == S_OK, "destroy of what was just made", result);
    }
    if (self->own.LockSemaphore != NULL) {
        DeleteCriticalSection(&self->own);
        memset(&self->own, 0, sizeof self->own);
    }
    if (!final) {
        close_layers();
    }
}

static void be_at_once(actor_t *self)
{
    __atomic_add_fetch(&rushed, 1, __ATOMIC_ACQ_REL);
    for (unsigned looks = 1; __atomic_load_n(&rushed, __ATOMIC_ACQUIRE) < rushing; looks++) {
        if (looks % 256 == 0) {
            sched_yield();
        }
    }
    for (volatile uint64_t delay = next_random(&self->chance) % 300; delay != 0; delay--) {
    }
}

static void judge_result(const actor_t *self, int32_t result)
{
    int bit = bit_of(result);
    if ((self->call->results & bit) == 0 || (bit == NOT_AVAILABLE && !has_happened(STOP)) ||
        (bit == ABANDONED && !has_happened(DESTROY) && !has_happened(DEATH))) {
        check_fail(__FILE__, __LINE__, "%s answers 0x%X: %s", self->call->name, (unsigned)result,
                   host_result_message(result));
    }
}

static void make_call(actor_t *self)
{
    if (rushing != 0) {
        be_at_once(self);
    }
    stepper_here = self->call->kind & WHOLE ? NULL : &self->stepper;
    for (unsigned time = 0; time < self->repeats; time++) {
        self->result = self->call->make(self);
        stepper_here = NULL;
        if (!final) {
            judge_result(self, self->result);
        }
    }
    /* Ends the waits for what it owns. */
    let_go_of_all(self);
}

static void act(void *argument)
{
    actor_t *self = (actor_t *)argument;
    self->task = this_task();
    /* The other threads are started one after the other: the first order comes when all are. */
    for (uint32_t done = 0;; done++) {
        while (__atomic_load_n(&self->ordered, __ATOMIC_ACQUIRE) == done) {
            sleep_on(&self->ordered, done, 1000000000);
        }
        switch (self->order) {
        case SET_UP: set_up(self); break;
        case CALL: make_call(self); break;
        case UNWIND: unwind(self); break;
        case QUIT:
            /* It has nothing that was left to others. */
            break;
        }
        int quits = self->order == QUIT;
        __atomic_store_n(&self->done, done + 1, __ATOMIC_RELEASE);
        wake(&self->done);
        if (quits) {
            return;
        }
    }
}

/* ---- what has to hold between two rounds ---- */

/* Handles ever given out, as many as there is room for. */
enum { SEEN_BITS = 20 };
static hostcrst_t seen[1 << SEEN_BITS];
static unsigned seen_count;

static void is_new(hostcrst_t crst)
{
    uint64_t at = crst * 0x9E3779B97F4A7C15u >> (64 - SEEN_BITS);
    if (seen_count++ > 1u << (SEEN_BITS - 1)) {
        memset(seen, 0, sizeof seen);
        seen_count = 0;
    }
    for (; seen[at] != 0; at = (at + 1) & ((1u << SEEN_BITS) - 1)) {
        if (seen[at] == crst) {
            check_fail(__FILE__, __LINE__, "handle %llx was given out before", (unsigned long long)crst);
            return;
        }
    }
    seen[at] = crst;
}

static hostcrst_t new_one(void)
{
    hostcrst_t crst = new_section();
    if (fault == HANDLE_TWICE) {
        crst = living[1];
    }
    is_new(crst);
    for (unsigned at = 0; at < LIVING; at++) {
        if (crst == living[at]) {
            check_fail(__FILE__, __LINE__, "handle %llx names a live section", (unsigned long long)crst);
        }
    }
    hostcrst_info_t info = info_of(crst);
    CHECK_EQ(info.state, HOSTCRST_FREE);
    CHECK_EQ(info.recursion, 0);
    CHECK_EQ(info.waiters, 0);
    CHECK_EQ(info.spin_count, 0);
    return crst;
}

static void the_free_list_is_whole(void)
{
    hostcrst_t fresh[6];
    for (unsigned at = 0; at < 6; at++) {
        fresh[at] = new_one();
    }
    for (unsigned at = 6; at-- > 0;) {
        CHECK_EQ(hostcrst_destroy(fresh[at]), S_OK);
    }
}

static void a_cell_is_whole(cell_t *cell)
{
    int32_t entered = 0;
    if (cell->is_gone) {
        CHECK(!is_live(cell->crst));
        cell->crst = new_one();
        cell->is_gone = 0;
    }
    hostcrst_info_t info = info_of(cell->crst);
    if (info.state == HOSTCRST_ABANDONED) {
        CHECK(has_happened(DEATH));
        CHECK_EQ(hostcrst_recover(cell->crst), S_OK);
        CHECK_EQ(hostcrst_leave(cell->crst), S_OK);
    }
    CHECK_EQ(cell->inside, 0);
    CHECK_SECTION(cell->crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(info.waiters, 0);
    CHECK_EQ(hostcrst_try_enter(cell->crst, 0, &entered), S_OK);
    if (CHECK_EQ(entered, 1)) {
        CHECK_EQ(hostcrst_leave(cell->crst), S_OK);
    }
}

static void a_window_is_whole(CRITICAL_SECTION *window)
{
    CHECK_EQ(window->RecursionCount, 0);
    CHECK_EQ((size_t)window->OwningThread, 0);
    if (window->LockSemaphore != NULL) {
        CHECK_EQ(window->LockCount, -1);
    }
    if (CHECK(TryEnterCriticalSection(window))) {
        LeaveCriticalSection(window);
    }
}

static void all_is_whole(void)
{
    static unsigned turn;
    CHECK(host_runtime_start() >= 0);
    for (unsigned at = 0; at < CELLS; at++) {
        a_cell_is_whole(&cells[at]);
    }
    a_window_is_whole(&windows[0]);
    a_window_is_whole(&windows[1]);
    CHECK(srw.Ptr == NULL && once.Ptr == NULL);
    DeleteCriticalSection(&windows[1]);
    memset(&windows[1], 0, sizeof windows[1]);
    the_free_list_is_whole();
    for (unsigned at = 0; at < 8; at++) {
        CHECK_SECTION(living[turn++ % LIVING], HOSTCRST_FREE, 0, 0);
    }
    for (unsigned at = 0; at < ACTORS; at++) {
        host_task_info_t info = task_info_of(actors[at].task);
        CHECK_EQ(info.owned, 0);
        CHECK_EQ(info.waiting_for, 0);
        CHECK_EQ(info.depth, 0);
    }
}

/* ---- rounds ---- */

static chance_t chance;

static unsigned below(unsigned limit)
{
    return (unsigned)(next_random(&chance) % limit);
}

/* The owners at the time of the calls. */
static void draw_scene(const call_t *const made[ACTORS])
{
    int is_taken = 0;
    for (unsigned at = 0; at < ACTORS; at++) {
        memset(actors[at].wants, 0, sizeof actors[at].wants);
        actors[at].wants_windows = 0;
        is_taken |= made[at] != NULL && made[at]->kind & ENDS;
    }
    for (unsigned at = 0; at < CELLS; at++) {
        unsigned owner = below(6);
        if (owner < ACTORS && !(at == 0 && is_taken)) {
            actors[owner].wants[at] = 1 + below(2);
        }
    }
    unsigned owner = below(6);
    if (owner < ACTORS) {
        actors[owner].wants_windows = 1 + (below(4) == 0);
    }
    memset(happened, 0, sizeof happened);
}

static void prepare_actors(const call_t *const made[ACTORS])
{
    draw_scene(made);
    for (unsigned at = 0; at < ACTORS; at++) {
        actors[at].call = made[at];
        actors[at].is_started = 0;
        actors[at].result = S_OK;
        actors[at].repeats = 1;
        actors[at].stepper.stop_at = 0;
        actors[at].stepper.steps = 0;
        actors[at].stepper.has_stopped = 0;
        give_order(&actors[at], SET_UP);
        await_done(&actors[at]);
    }
}

/* Of several that would wait for each other one is refused, and then another gets what it waited for. */
static void judge_deadlocks(void)
{
    unsigned refused = 0;
    unsigned others_waited = 0;
    for (unsigned at = 0; at < ACTORS; at++) {
        refused += actors[at].result == HOST_E_DEADLOCK;
        others_waited += actors[at].call != NULL && (actors[at].call->kind & WAITS) != 0 &&
                         (actors[at].result == S_OK || has_happened(STOP) || has_happened(DESTROY));
    }
    if (refused != 0 && others_waited == 0) {
        check_fail(__FILE__, __LINE__, "a deadlock of one: nobody else waited and got it");
    }
}

static void finish_round(void)
{
    for (unsigned at = 0; at < ACTORS; at++) {
        await_done(&actors[at]);
    }
    for (unsigned at = 0; at < ACTORS; at++) {
        give_order(&actors[at], UNWIND);
        await_done(&actors[at]);
    }
    judge_deadlocks();
}

/* How many instructions each call was last seen to take. */
static unsigned longest[CALLS];

/* The first is stopped at `point`; the third, if it does anything, is waiting by then. */
static void play_stepped(const call_t *const made[ACTORS], unsigned point)
{
    actor_t *first = &actors[0];
    prepare_actors(made);
    if (made[2] != NULL) {
        let_begin(&actors[2]);
        await_for(&actors[2], STOPPED_NANOSECONDS);
    }
    first->stepper.stop_at = point;
    let_begin(first);
    int64_t time_for_steps = (int64_t)3 * STOPPED_NANOSECONDS + (int64_t)point * 20000;
    if (!await_for(first, time_for_steps) || !first->stepper.has_stopped) {
        let_begin(&actors[1]);
        await_for(&actors[1], STOPPED_NANOSECONDS);
    }
    if (made[2] == NULL) {
        /* What it owned is what the others may wait for. */
        give_order(&actors[2], UNWIND);
        await_done(&actors[2]);
    }
    finish_round();
    if (!first->stepper.has_stopped) {
        if (made[0] >= calls && made[0] < calls + CALLS) {
            longest[made[0] - calls] = first->stepper.steps;
        }
    }
}

static void play_beside(const call_t *const made[ACTORS])
{
    unsigned playing = made[2] == NULL ? 2 : 3;
    prepare_actors(made);
    __atomic_store_n(&rushed, 0, __ATOMIC_RELAXED);
    rushing = playing;
    for (unsigned at = 0; at < playing; at++) {
        actors[at].repeats = made[at]->kind & (WAITS | WHOLE | ENDS) ? 1 : 1 + below(4);
        let_begin(&actors[at]);
    }
    if (made[2] == NULL) {
        give_order(&actors[2], UNWIND);
        await_done(&actors[2]);
    }
    finish_round();
    rushing = 0;
}

static void begin_actors(void)
{
    for (unsigned at = 0; at < ACTORS; at++) {
        memset(&actors[at], 0, sizeof actors[at]);
        actors[at].name = at + 1;
        actors[at].chance.state = next_random(&chance);
        actors[at].other = &actors[1];
        actors[at].stepper.stopped = let_the_other_go_by;
        actors[at].stepper.argument = &actors[at];
        check_start(&actors[at].thread, act, &actors[at]);
    }
    for (unsigned at = 0; at < ACTORS; at++) {
        give_order(&actors[at], SET_UP);
        await_done(&actors[at]);
    }
}

static void end_actors(void)
{
    for (unsigned at = 0; at < ACTORS; at++) {
        give_order(&actors[at], QUIT);
        check_join(&actors[at].thread);
    }
}

static void begin_objects(void)
{
    start_runtime();
    step_prepare();
    null_device = open("/dev/null", O_WRONLY);
    REQUIRE(null_device >= 0);
    REQUIRE_EQ(host_resource_create(&resource), S_OK);
    for (unsigned at = 0; at < LIVING; at++) {
        living[at] = new_section();
        is_new(living[at]);
    }
    for (unsigned at = 0; at < CELLS; at++) {
        cells[at].crst = new_one();
        cells[at].inside = 0;
        cells[at].is_gone = 0;
    }
    InitializeCriticalSection(&windows[0]);
    memset(&windows[1], 0, sizeof windows[1]);
    memset(inside_windows, 0, sizeof inside_windows);
}

static void end_objects(void)
{
    for (unsigned at = 0; at < LIVING; at++) {
        CHECK_EQ(hostcrst_destroy(living[at]), S_OK);
    }
    for (unsigned at = 0; at < CELLS; at++) {
        CHECK_EQ(hostcrst_destroy(cells[at].crst), S_OK);
    }
    DeleteCriticalSection(&windows[0]);
    close(null_device);
}

/* ---- the tests ---- */

static const call_t *any_call(void)
{
    for (;;) {
        const call_t *drawn = &calls[below(CALLS)];
        if (!(drawn->kind & FINAL) && (!(drawn->kind & LOOKS) || below(4) == 0)) {
            return drawn;
        }
    }
}

/* One that may wait is there already when the two are made. */
static const call_t *third_call(void)
{
    static const char *const waiting[] = {"hostcrst_enter", "hostcrst_cs_enter", "hostcrst_cv_sleep"};
    unsigned drawn = below(6);
    for (unsigned at = 0; at < CALLS && drawn < 3; at++) {
        if (strcmp(calls[at].name, waiting[drawn]) == 0) {
            return &calls[at];
        }
    }
    return NULL;
}

/* Only one mortal at a time enters the first section. */
static int go_together(const call_t *one, const call_t *other)
{
    return one == NULL || other == NULL || !(one->kind & other->kind & ENDS);
}

static int goes_on(unsigned round, unsigned rounds, int64_t end)
{
    return check_failed_so_far() == 0 && (end == 0 ? round < rounds : nanoseconds_now() < end);
}

static int64_t end_from_environment(void)
{
    int64_t seconds = (int64_t)check_number_from("PAIRS_SECONDS", 0);
    return seconds == 0 ? 0 : nanoseconds_now() + seconds * 1000000000;
}

static unsigned length_of(const call_t *call)
{
    unsigned most = longest[call - calls];
    return most == 0 ? 100 : most < 1200 ? most : 1200;
}

/* An instruction of the call: those at its beginning more often, as it may go either way later. */
static unsigned any_point_in(const call_t *call)
{
    uint64_t part = next_random(&chance) >> 32;
    uint64_t other = below(2) == 0 ? 0xFFFFFFFF : next_random(&chance) >> 32;
    return 1 + (unsigned)((part * other >> 32) * length_of(call) >> 32);
}

/* What is stopped where, and for what. */
typedef struct plan {
    const call_t *first;
    const call_t *second;
    unsigned point;
} plan_t;

/* The pairs in which something changes what another takes away, each with points all over the first call. */
static plan_t gravest_plan(unsigned turn)
{
    static const call_t *changing[CALLS];
    static const call_t *taking_away[CALLS];
    static unsigned changing_count, taking_away_count;
    for (unsigned at = 0; at < CALLS && turn == 0; at++) {
        if (!(calls[at].kind & (LOOKS | FINAL | WHOLE))) {
            changing[changing_count++] = &calls[at];
        }
        if (calls[at].kind & TAKES_AWAY) {
            taking_away[taking_away_count++] = &calls[at];
        }
    }
    unsigned pairs = changing_count * taking_away_count;
    unsigned pass = turn / pairs;
    plan_t plan = {changing[turn % pairs % changing_count], taking_away[turn % pairs / changing_count], 0};
    /* Steps of the golden section lie evenly, however many there are. */
    uint32_t part = pass * 0x9E3779B9u;
    plan.point = 1 + (unsigned)((uint64_t)part * length_of(plan.first) >> 32);
    return plan;
}

/* Each pair once; then the gravest in two rounds of three, and any. */
static plan_t plan_of(unsigned round)
{
    plan_t plan = {&calls[round / CALLS % CALLS], &calls[round % CALLS], 0};
    if (round >= CALLS * CALLS) {
        unsigned turn = round - CALLS * CALLS;
        if (turn % 3 != 2) {
            return gravest_plan(turn / 3 * 2 + turn % 3);
        }
        plan.first = any_call();
        plan.second = any_call();
    }
    plan.point = any_point_in(plan.first);
    return plan;
}

static void finish_and_judge(const call_t *const made[ACTORS], unsigned round, unsigned point)
{
    all_is_whole();
    if (check_failed_so_far() != 0) {
        printf("round %u of PAIRS_SEED=%llu", round, check_number_from("PAIRS_SEED", 1));
        for (unsigned at = 0; at < ACTORS; at++) {
            printf(", %s", made[at] == NULL ? "nothing" : made[at]->name);
        }
        printf("; the first was stopped at instruction %u\n", point);
    }
}

static void play_rounds(unsigned rounds, const call_t *first, const call_t *second)
{
    int64_t end = end_from_environment();
    unsigned round = 0;
    cpu_set_t allowed;
    chance.state = check_number_from("PAIRS_SEED", 1);
    REQUIRE_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    begin_objects();
    /* Only one goes on at a time: on one processor none has to be woken from idling. */
    check_run_on_processor((size_t)getpid() % (size_t)check_processors());
    begin_actors();
    for (; goes_on(round, rounds, end); round++) {
        plan_t plan = {first, second, 1 + below(100)};
        if (first == NULL) {
            plan = plan_of(round);
        }
        const call_t *made[ACTORS] = {plan.first, plan.second, third_call()};
        if (go_together(made[0], made[1]) && !((made[0]->kind | made[1]->kind) & FINAL)) {
            play_stepped(made, plan.point);
            finish_and_judge(made, round, plan.point);
        }
    }
    end_actors();
    end_objects();
    REQUIRE_EQ(sched_setaffinity(0, sizeof allowed, &allowed), 0);
    printf("    %u rounds\n", round);
}

static void each_call_stopped_anywhere_while_another_is_made(void)
{
    play_rounds(STEPPED_ROUNDS, NULL, NULL);
}

static void each_call_beside_two_others(void)
{
    int64_t end = end_from_environment();
    unsigned round = 0;
    chance.state = check_number_from("PAIRS_SEED", 1);
    begin_objects();
    begin_actors();
    for (; goes_on(round, BESIDE_ROUNDS, end); round++) {
        const call_t *made[ACTORS] = {any_call(), any_call(), NULL};
        if (below(3) == 0) {
            made[2] = any_call();
        }
        if (go_together(made[0], made[1]) && go_together(made[0], made[2]) && go_together(made[1], made[2])) {
            play_beside(made);
            finish_and_judge(made, round, 0);
        }
    }
    end_actors();
    end_objects();
    printf("    %u rounds\n", round);
}

static int is_among_the_calls(const char *name)
{
    for (unsigned at = 0; at < CALLS; at++) {
        if (strcmp(calls[at].name, name) == 0) {
            return 1;
        }
    }
    for (size_t at = 0; at < sizeof others_exported / sizeof others_exported[0]; at++) {
        if (strcmp(others_exported[at], name) == 0) {
            return 1;
        }
    }
    return 0;
}

static void each_exported_function_is_among_the_calls(void)
{
    char name[128];
    unsigned exported = 0;
    FILE *list = fopen(HOSTCRST_EXPORTS, "r");
    REQUIRE(list != NULL);
    while (fscanf(list, "%127s", name) == 1) {
        exported++;
        if (!is_among_the_calls(name)) {
            check_fail(__FILE__, __LINE__, "%s is exported, and has no row in the table of calls", name);
        }
    }
    fclose(list);
    CHECK(exported > 40);
}

/* ---- the runtime fails for good ---- */

static const call_t *call_named(const char *name)
{
    for (unsigned at = 0; at < CALLS; at++) {
        if (strcmp(calls[at].name, name) == 0) {
            return &calls[at];
        }
    }
    REQUIRE(0 /* there is such a call */);
    return NULL;
}

static const call_t *failing_beside;

/* Everybody gets through, whatever the answers. */
static void fail_beside_it(void)
{
    const call_t *fail = call_named("host_runtime_fail");
    const call_t *made[ACTORS] = {fail, failing_beside, NULL};
    if (below(2) == 0) {
        made[0] = failing_beside;
        made[1] = fail;
    }
    begin_objects();
    begin_actors();
    final = 1;
    play_stepped(made, 1 + below(120));
    end_actors();
    hostcrst_t crst;
    CHECK_EQ(hostcrst_create(&crst), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(hostcrst_enter(cells[0].crst, 0), HOST_E_CLRNOTAVAILABLE);
}

static void a_failure_beside_each_call(void)
{
    chance.state = check_number_from("PAIRS_SEED", 1);
    for (unsigned round = 0; round < 2 * CALLS; round++) {
        failing_beside = &calls[round % CALLS];
        (void)below(2);
        run_t run = child_of(fail_beside_it, NULL);
        if (!CHECK_EQ(run.status, 0)) {
            printf("beside %s\n%s\n", failing_beside->name, run.said);
        }
        free(run.said);
    }
}

/* ---- the machine itself: what it must see, it sees ---- */

/*
 * A thing whose generation is looked at, and which is written to then: what no function of the library may
 * do.
 */
static struct {
    unsigned generation;
    unsigned value;
} thing;

__attribute__((noinline))
static int32_t look_then_write(unsigned generation)
{
    if (__atomic_load_n(&thing.generation, __ATOMIC_RELAXED) != generation) {
        return E_HANDLE;
    }
    __atomic_store_n(&thing.value, generation, __ATOMIC_RELAXED);
    return S_OK;
}

static int32_t make_look_then_write(actor_t *self)
{
    int32_t result;
    unsigned generation = __atomic_load_n(&thing.generation, __ATOMIC_RELAXED);
    (void)self;
    STEPPED(result, look_then_write(generation));
    return result;
}

static int32_t make_take_away(actor_t *self)
{
    (void)self;
    unsigned next = __atomic_add_fetch(&thing.generation, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&thing.value, next, __ATOMIC_RELAXED);
    return S_OK;
}

static const call_t wrong_calls[] = {
    {"look, then write", make_look_then_write, OK | NO_SECTION, PLAIN},
    {"take it away", make_take_away, OK, PLAIN},
};

static void look_then_write_meets_take_away(void)
{
    chance.state = 1;
    begin_objects();
    begin_actors();
    for (unsigned round = 0; goes_on(round, CONTROL_ROUNDS, 0); round++) {
        const call_t *made[ACTORS] = {&wrong_calls[0], &wrong_calls[1], NULL};
        play_stepped(made, 1 + below(60));
        CHECK_EQ(thing.value, thing.generation);
        finish_and_judge(made, round, 0);
    }
}

static void two_own_one(void)
{
    const call_t *try = call_named("hostcrst_try_enter");
    fault = TWO_OWNERS;
    play_rounds(CONTROL_ROUNDS, try, try);
}

static void one_handle_is_given_twice(void)
{
    const call_t *create = call_named("hostcrst_create");
    begin_objects();
    end_objects();
    fault = HANDLE_TWICE;
    play_rounds(CONTROL_ROUNDS, create, create);
}

/* `said` is what the child printed; its exit code tells that a check failed. */
static void expect_to_fail(void (*body)(void), const char *said)
{
    int output = nameless_file();
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        alarm(2 * CHECK_PATIENCE_SECONDS);
        dup2(output, STDOUT_FILENO);
        body();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    char *text = content_of(output);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    CHECK_CONTAINS(text, said);
    free(text);
    close(output);
}

static void what_is_wrong_is_seen(void)
{
    if (CAN_STEP) {
        expect_to_fail(look_then_write_meets_take_away, "thing.value == thing.generation");
    }
    expect_to_fail(two_own_one, "a leave by the owner answers");
    expect_to_fail(one_handle_is_given_twice, "names a live section");
}

CHECK_MAIN(CHECK_TEST(each_exported_function_is_among_the_calls), CHECK_TEST(what_is_wrong_is_seen),
           CHECK_TEST(a_failure_beside_each_call),
           CHECK_TEST(each_call_stopped_anywhere_while_another_is_made), CHECK_TEST(each_call_beside_two_others))
