/*
 * Random programs on real threads, which end in every way a thread can: they return or exit with what they
 * own, are cancelled, stand still in a signal handler in the middle of a call, are there when the process
 * forks, when the runtime is stopped and started again. An oracle that knows nothing of the library keeps who
 * owns and who waits, and judges every answer. SRW locks are among the sections, in the cycles too: a task
 * that owns one waits so that its wait can be broken, as nothing else ends a wait for an SRW lock, and
 * acquires those with higher numbers only. Who shares one waits for nothing meanwhile.
 *
 * It runs for 10 seconds, or as many as RANDOM_THREADS_SECONDS says; RANDOM_THREADS_SEED draws other
 * programs. RANDOM_THREADS_FORKS=0 is for where a child of many threads cannot go on for other reasons.
 *
 * Why its verdict is sound. A wait is told to the oracle before the call and until after its return; an
 * ownership from after the return of the call that began it until before the one that ends it. At the moment
 * when the library refuses a wait because of a cycle, all of the cycle are blocked: the oracle has each of
 * their waits, and each of their ownerships, as these were told before those waits. So it sees the cycle at
 * that moment. Whatever ends a wait or an ownership is told to the oracle in turn, which first marks all
 * waits that are part of a cycle: a refused wait that is neither marked nor part of one now was refused for
 * nothing.
 *
 * The oracle may see a wait that is over already, though not yet told. What it ended with tells: of the
 * others in the cycle of a refused wait, none ends because its section was abandoned before the refusal.
 */
#include "host.h"

#include <hostcrst/win32.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>

enum { TASKS = 12, SECTIONS = 16, HELD_MOST = 4, STEPS_OF_A_LIFE = 400, WINDOWS = 2, CHILD_SECONDS = 60 };
/* To the oracle an SRW lock is a section with a number from SECTIONS on. */
enum { SRW_LOCKS = 4, LOCKS = SECTIONS + SRW_LOCKS, INITIALISATIONS = 1 << 22 };
/* What the oracle has seen for so long will not change any more. */
enum { STUCK_MILLISECONDS = 20000, STANDSTILL_NANOSECONDS = 1000000000 };

#define NOBODY TASKS
/* Its owner has ended, or is about to. */
#define LEFT_BEHIND (TASKS + 1)
#define NOTHING LOCKS

typedef enum kind {
    UNBOUNDED,
    ALERTABLE,
    /* Not to be broken, but to be alerted. */
    NOT_BREAKABLE,
    /* For an SRW lock: it ends in no other way than with that. */
    INFALLIBLE,
    LIMITED,
    TRY
} kind_t;

typedef struct task {
    pthread_t thread;
    unsigned index;
    host_task_t task;
    chance_t chance;
    unsigned held[HELD_MOST];
    unsigned entries[HELD_MOST];
    unsigned held_count;
    /* SRW locks that it owns exclusively, the lowest first. */
    unsigned srw_held[SRW_LOCKS];
    unsigned srw_count;
    /* The last stop of the runtime after which it has started it again itself; 0 for none. */
    unsigned restarted;
    /* Set by the thread as its last act, before its destructors run. */
    int has_ended;
    int may_be_cancelled;
} task_t;

static task_t tasks[TASKS];
static hostcrst_t sections[SECTIONS];
/* What the sections protect: not atomic, on purpose. */
static uint64_t counters[LOCKS];
static uint64_t counted;
static CRITICAL_SECTION windows[WINDOWS];
static CONDITION_VARIABLE changed;
static unsigned inside_window[WINDOWS];
static SRWLOCK srw_locks[SRW_LOCKS];
static int stop;

/* What waits on an address are for, and what each task waits to see changed, plus 1; 0: it does not wait. */
static uint32_t watched;
static uint32_t watching[TASKS];

/* Each is begun by whoever comes to it first, until one has made it; then the next one is up. */
static INIT_ONCE initialisations[INITIALISATIONS];
static unsigned char is_made[INITIALISATIONS];
static unsigned first_unmade;
static int somebody_makes;

/* ---- the oracle ---- */

typedef struct wait {
    unsigned section;
    hostcrst_t crst;
    kind_t kind;
    uint64_t number;
    int64_t since;
    /* Of the section, when it began. */
    unsigned endings;
    int was_left_behind;
    /* Of the runtime, when it began; whether it ran again after the last stop. */
    unsigned stops;
    int ran;
    int was_in_cycle;
    /* Another wait was refused for a cycle with this one; then the section had ended so often. */
    int is_doubted;
    unsigned endings_then;
} wait_t;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned owner[LOCKS];
/* How often it was destroyed, or its owner ended, up to now. */
static unsigned endings[LOCKS];
/* How many share it. */
static unsigned sharers[SRW_LOCKS];
static wait_t waits[TASKS];
static unsigned alerts[TASKS];
static unsigned interrupted[TASKS];
/* Its section is being destroyed, or was, and another takes its place. */
static int is_replaced[LOCKS];
/* Stops of the runtime that were begun, and after which it was started again. */
static unsigned stops_begun;
static unsigned stops_over;
static unsigned long entered, refused, timed_out, alerted, abandoned, recovered, unavailable, destroyed;
static unsigned long acquired, shared, refused_through_srw, changes_seen, made, not_made;
static unsigned long lives, left_behind, cancelled, suspended, forks, told_broken, told_standing;

/* A check that fails is printed, which a cancel would end: not while others wait for the oracle. */
static void lock_oracle(int *cancels)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, cancels);
    pthread_mutex_lock(&mutex);
}

static void unlock_oracle(int cancels)
{
    pthread_mutex_unlock(&mutex);
    pthread_setcancelstate(cancels, NULL);
}

/* Whether the wait of a task is part of a cycle; calls `visit` for each that is. Under the mutex. */
static int cycle_through(unsigned task, void (*visit)(unsigned))
{
    unsigned at = task;
    unsigned length = 0;
    do {
        unsigned section = waits[at].section;
        if (length++ == TASKS || section == NOTHING || waits[at].kind >= LIMITED ||
            owner[section] >= NOBODY) {
            return 0;
        }
        at = owner[section];
    } while (at != task);
    for (; visit != NULL && length > 0; length--) {
        visit(at);
        at = owner[waits[at].section];
    }
    return 1;
}

/* Before a wait or an ownership is taken away. Under the mutex. */
static void mark_cycles(void)
{
    for (unsigned task = 0; task < TASKS; task++) {
        waits[task].was_in_cycle |= cycle_through(task, NULL);
    }
}

/* A cycle with this wait has cost its one wait. */
static void forget_cycle(unsigned task)
{
    waits[task].was_in_cycle = 0;
}

static void doubt(unsigned task)
{
    forget_cycle(task);
    waits[task].is_doubted = 1;
    waits[task].endings_then = endings[waits[task].section];
}

static int passes_srw_lock;

static void look_for_srw_lock(unsigned task)
{
    passes_srw_lock |= waits[task].kind == INFALLIBLE;
}

static void bad_answer(const char *why, const task_t *self, const wait_t *wait, int32_t result)
{
    check_fail(__FILE__, __LINE__, "task %u, section %u, kind %d: 0x%X (%s): %s", self->index, wait->section,
               (int)wait->kind, (unsigned)result, host_result_message(result), why);
}

static void begin_wait(const task_t *self, unsigned section, kind_t kind)
{
    int cancels;
    wait_t *wait = &waits[self->index];
    lock_oracle(&cancels);
    uint64_t number = wait->number + 1;
    memset(wait, 0, sizeof *wait);
    wait->section = section;
    wait->crst = section < SECTIONS ? sections[section] : 0;
    wait->kind = kind;
    wait->number = number;
    wait->since = nanoseconds_now();
    wait->endings = endings[section];
    wait->was_left_behind = owner[section] == LEFT_BEHIND;
    wait->stops = stops_begun;
    wait->ran = stops_over == stops_begun || self->restarted == stops_begun;
    unlock_oracle(cancels);
}

/* Under the mutex. */
static void judge(const task_t *self, wait_t *wait, int32_t result, uint32_t milliseconds)
{
    unsigned section = wait->section;
    int same_section = wait->crst == sections[section];
    switch (result) {
    case S_OK:
        if (!same_section || (owner[section] != NOBODY && owner[section] != self->index)) {
            bad_answer("somebody else owns it", self, wait, result);
        }
        owner[section] = self->index;
        entered++;
        return;
    case HOST_E_DEADLOCK:
        if (wait->kind > ALERTABLE) {
            bad_answer("this wait may not be broken", self, wait, result);
        }
        if (!wait->was_in_cycle && !cycle_through(self->index, NULL)) {
            bad_answer("there is no cycle, and was none", self, wait, result);
        }
        passes_srw_lock = 0;
        cycle_through(self->index, look_for_srw_lock);
        refused_through_srw += (unsigned long)passes_srw_lock;
        /* If it was in another cycle before, it may have been refused for that one: this one may never have been. */
        cycle_through(self->index, wait->was_in_cycle ? forget_cycle : doubt);
        wait->is_doubted = 0;
        refused++;
        return;
    case HOST_E_ABANDONED:
        if (same_section && !is_replaced[section] && owner[section] != LEFT_BEHIND &&
            !wait->was_left_behind && wait->endings == endings[section]) {
            bad_answer("nothing was abandoned", self, wait, result);
        }
        if (wait->is_doubted && wait->endings_then == endings[section]) {
            bad_answer("another was refused for a cycle with this wait, over by then", self, wait, result);
        }
        abandoned++;
        return;
    case HOST_E_INTERRUPTED:
        if (wait->kind != ALERTABLE && wait->kind != NOT_BREAKABLE) {
            bad_answer("this wait was not alertable", self, wait, result);
        }
        if (++interrupted[self->index] > __atomic_load_n(&alerts[self->index], __ATOMIC_RELAXED)) {
            bad_answer("nobody has alerted it", self, wait, result);
        }
        alerted++;
        return;
    case HOST_E_TIMEOUT:
        if (wait->kind != LIMITED || nanoseconds_now() - wait->since < (int64_t)milliseconds * 1000000) {
            bad_answer("too early", self, wait, result);
        }
        timed_out++;
        return;
    case HOST_E_CLRNOTAVAILABLE:
        if (wait->stops == stops_begun && wait->ran) {
            bad_answer("the runtime ran all the time", self, wait, result);
        }
        unavailable++;
        return;
    case E_HANDLE:
        if (same_section && !is_replaced[section]) {
            bad_answer("the section is there", self, wait, result);
        }
        return;
    default:
        bad_answer("not an answer", self, wait, result);
    }
}

static void end_wait(const task_t *self, int32_t result, uint32_t milliseconds)
{
    int cancels;
    wait_t *wait = &waits[self->index];
    lock_oracle(&cancels);
    if (result != HOST_E_DEADLOCK) {
        mark_cycles();
    }
    judge(self, wait, result, milliseconds);
    wait->section = NOTHING;
    unlock_oracle(cancels);
}

/* The task has acquired an SRW lock, exclusively or not. */
static void end_acquiring(const task_t *self, unsigned lock, int exclusively)
{
    int cancels;
    lock_oracle(&cancels);
    mark_cycles();
    CHECK_EQ(owner[SECTIONS + lock], NOBODY);
    if (exclusively) {
        CHECK_EQ(sharers[lock], 0);
        owner[SECTIONS + lock] = self->index;
        acquired++;
    } else {
        sharers[lock]++;
        shared++;
    }
    waits[self->index].section = NOTHING;
    unlock_oracle(cancels);
}

static void own_no_longer(unsigned section, unsigned next)
{
    int cancels;
    lock_oracle(&cancels);
    mark_cycles();
    owner[section] = next;
    endings[section] += next == LEFT_BEHIND;
    unlock_oracle(cancels);
}

/* ---- the tasks ---- */

static unsigned below(task_t *self, unsigned limit)
{
    return (unsigned)(next_random(&self->chance) % limit);
}

static void count_in(unsigned section)
{
    counters[section]++;
    __atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
}

static void leave_at(task_t *self, unsigned place)
{
    unsigned section = self->held[place];
    count_in(section);
    if (self->entries[place] == 1) {
        own_no_longer(section, NOBODY);
        self->held_count--;
    }
    CHECK_EQ(hostcrst_leave(sections[section]), S_OK);
    if (--self->entries[place] == 0) {
        self->held[place] = self->held[self->held_count];
        self->entries[place] = self->entries[self->held_count];
    }
}

static void leave_all(task_t *self)
{
    while (self->held_count > 0) {
        leave_at(self, self->held_count - 1);
    }
}

static void release_srw(task_t *self, unsigned place)
{
    unsigned lock = self->srw_held[place];
    count_in(SECTIONS + lock);
    own_no_longer(SECTIONS + lock, NOBODY);
    ReleaseSRWLockExclusive(&srw_locks[lock]);
    self->srw_count--;
    memmove(&self->srw_held[place], &self->srw_held[place + 1], (self->srw_count - place) * sizeof(unsigned));
}

static void release_all(task_t *self)
{
    while (self->srw_count > 0) {
        release_srw(self, below(self, self->srw_count));
    }
}

static unsigned first_free_srw(const task_t *self)
{
    return self->srw_count == 0 ? 0 : self->srw_held[self->srw_count - 1] + 1;
}

static void acquire_srw(task_t *self, unsigned lock)
{
    begin_wait(self, SECTIONS + lock, INFALLIBLE);
    AcquireSRWLockExclusive(&srw_locks[lock]);
    end_acquiring(self, lock, 1);
    count_in(SECTIONS + lock);
    self->srw_held[self->srw_count++] = lock;
}

static void share_srw(task_t *self, unsigned lock)
{
    int cancels;
    begin_wait(self, SECTIONS + lock, INFALLIBLE);
    AcquireSRWLockShared(&srw_locks[lock]);
    end_acquiring(self, lock, 0);
    uint64_t before = *(volatile uint64_t *)&counters[SECTIONS + lock];
    sched_yield();
    CHECK_EQ(counters[SECTIONS + lock], before);
    lock_oracle(&cancels);
    sharers[lock]--;
    unlock_oracle(cancels);
    ReleaseSRWLockShared(&srw_locks[lock]);
}

static void try_srw(task_t *self, unsigned lock)
{
    if (TryAcquireSRWLockExclusive(&srw_locks[lock])) {
        end_acquiring(self, lock, 1);
        count_in(SECTIONS + lock);
        own_no_longer(SECTIONS + lock, NOBODY);
        ReleaseSRWLockExclusive(&srw_locks[lock]);
    }
}

static void visit_srw(task_t *self, unsigned choice)
{
    unsigned first = first_free_srw(self);
    if (choice == 0) {
        /* One that it owns, too: a try finds it owned. */
        try_srw(self, below(self, SRW_LOCKS));
    } else if (first < SRW_LOCKS) {
        unsigned lock = first + below(self, SRW_LOCKS - first);
        if (choice == 1) {
            share_srw(self, lock);
        } else {
            acquire_srw(self, lock);
        }
    }
}

/* Until what is watched changes; if others may wait for what the task has, seldom and for a while only. Who
 * has seen a change wakes the next one. */
static void watch(task_t *self)
{
    uint32_t seen = __atomic_load_n(&watched, __ATOMIC_SEQ_CST);
    int has_something = self->held_count + self->srw_count != 0;
    DWORD milliseconds = has_something ? below(self, 8) == 0 : INFINITE;
    __atomic_store_n(&watching[self->index], seen + 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        while (WaitOnAddress(&watched, &seen, sizeof seen, milliseconds) &&
               __atomic_load_n(&watched, __ATOMIC_SEQ_CST) == seen) {
        }
    }
    int has_changed = __atomic_load_n(&watched, __ATOMIC_SEQ_CST) != seen;
    CHECK(has_changed || milliseconds != INFINITE || __atomic_load_n(&stop, __ATOMIC_SEQ_CST));
    __atomic_store_n(&watching[self->index], 0, __ATOMIC_SEQ_CST);
    if (has_changed) {
        WakeByAddressSingle(&watched);
        __atomic_add_fetch(&changes_seen, 1, __ATOMIC_RELAXED);
    }
}

static void make_once(task_t *self)
{
    BOOL has_to = 0;
    void *context = NULL;
    unsigned at = __atomic_load_n(&first_unmade, __ATOMIC_ACQUIRE);
    void *result = (void *)(4 * (uintptr_t)(at + 1));
    if (at == INITIALISATIONS) {
        return;
    }
    CHECK(InitOnceBeginInitialize(&initialisations[at], 0, &has_to, &context));
    if (!has_to) {
        CHECK(context == result);
        CHECK_EQ(is_made[at], 1);
        return;
    }
    CHECK_EQ(__atomic_exchange_n(&somebody_makes, 1, __ATOMIC_RELAXED), 0);
    CHECK_EQ(is_made[at], 0);
    sched_yield();
    int fails = below(self, 3) == 0;
    is_made[at] = !fails;
    CHECK_EQ(__atomic_exchange_n(&somebody_makes, 0, __ATOMIC_RELAXED), 1);
    if (fails) {
        CHECK(InitOnceComplete(&initialisations[at], INIT_ONCE_INIT_FAILED, NULL));
        __atomic_add_fetch(&not_made, 1, __ATOMIC_RELAXED);
    } else {
        CHECK(InitOnceComplete(&initialisations[at], 0, result));
        __atomic_store_n(&first_unmade, at + 1, __ATOMIC_RELEASE);
        __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
    }
}

static void has_entered(task_t *self, unsigned section)
{
    unsigned place = 0;
    while (place < self->held_count && self->held[place] != section) {
        place++;
    }
    count_in(section);
    if (place == self->held_count) {
        self->held_count++;
        self->held[place] = section;
        self->entries[place] = 0;
    }
    self->entries[place]++;
}

static int32_t enter_as(kind_t kind, hostcrst_t crst, uint32_t milliseconds)
{
    int32_t got = 0;
    int32_t result;
    switch (kind) {
    case ALERTABLE: return hostcrst_enter(crst, WAIT_ALERTABLE);
    case NOT_BREAKABLE: return hostcrst_enter(crst, WAIT_NOTINDEADLOCK | WAIT_ALERTABLE);
    case LIMITED: return hostcrst_enter_timeout(crst, 0, milliseconds);
    case TRY:
        result = hostcrst_try_enter(crst, 0, &got);
        return result == S_OK && !got ? S_FALSE : result;
    default: return hostcrst_enter(crst, 0);
    }
}

/* What begins after it has started the runtime itself is of that run. */
static void start_again(task_t *self)
{
    unsigned begun = __atomic_load_n(&stops_begun, __ATOMIC_RELAXED);
    int32_t result = host_runtime_start();
    CHECK(result == S_OK || result == S_FALSE);
    if (result == S_OK) {
        self->restarted = begun;
    }
}

static kind_t draw_kind(task_t *self)
{
    static const kind_t kinds[] = {UNBOUNDED, UNBOUNDED, ALERTABLE, ALERTABLE, NOT_BREAKABLE, LIMITED, TRY};
    kind_t kind = kinds[below(self, sizeof kinds / sizeof *kinds)];
    return kind == NOT_BREAKABLE && self->srw_count > 0 ? UNBOUNDED : kind;
}

static void enter_one(task_t *self, unsigned section)
{
    int cancels;
    kind_t kind = draw_kind(self);
    uint32_t milliseconds = below(self, 4);
    begin_wait(self, section, kind);
    hostcrst_t crst = waits[self->index].crst;
    int32_t result = enter_as(kind, crst, milliseconds);
    if (result == S_FALSE) {
        lock_oracle(&cancels);
        waits[self->index].section = NOTHING;
        unlock_oracle(cancels);
        return;
    }
    end_wait(self, result, milliseconds);
    if (result == HOST_E_CLRNOTAVAILABLE) {
        start_again(self);
    }
    if (result == S_OK) {
        has_entered(self, section);
    } else if (result != HOST_E_TIMEOUT && below(self, 4) != 0) {
        leave_all(self);
        release_all(self);
    }
}

/* One whose owner has ended, if it is so. */
static void recover_one(task_t *self, unsigned section)
{
    int cancels;
    begin_wait(self, section, TRY);
    int32_t result = hostcrst_recover(waits[self->index].crst);
    lock_oracle(&cancels);
    if (result == S_OK) {
        CHECK_EQ(owner[section], LEFT_BEHIND);
        owner[section] = self->index;
        recovered++;
    } else {
        CHECK(result == HOST_E_INVALIDOPERATION || result == HOST_E_CLRNOTAVAILABLE || result == E_HANDLE);
    }
    waits[self->index].section = NOTHING;
    unlock_oracle(cancels);
    if (result == S_OK) {
        has_entered(self, section);
    }
}

/* Destroys one that it owns; another takes its place. */
static void replace_one(task_t *self, unsigned place)
{
    int cancels;
    unsigned section = self->held[place];
    hostcrst_t fresh = 0;
    int32_t created = hostcrst_create(&fresh);
    if (created != S_OK) {
        CHECK_EQ(created, HOST_E_CLRNOTAVAILABLE);
        return;
    }
    lock_oracle(&cancels);
    hostcrst_t old = sections[section];
    is_replaced[section] = 1;
    endings[section]++;
    destroyed++;
    unlock_oracle(cancels);
    CHECK_EQ(hostcrst_destroy(old), S_OK);
    lock_oracle(&cancels);
    mark_cycles();
    owner[section] = NOBODY;
    is_replaced[section] = 0;
    __atomic_store_n(&sections[section], fresh, __ATOMIC_RELAXED);
    unlock_oracle(cancels);
    self->held_count--;
    self->held[place] = self->held[self->held_count];
    self->entries[place] = self->entries[self->held_count];
}

static void visit_window(task_t *self, unsigned at)
{
    EnterCriticalSection(&windows[at]);
    CHECK_EQ(__atomic_exchange_n(&inside_window[at], self->index + 1, __ATOMIC_RELAXED), 0);
    if (at == 0 && below(self, 4) == 0) {
        __atomic_store_n(&inside_window[at], 0, __ATOMIC_RELAXED);
        (void)SleepConditionVariableCS(&changed, &windows[at], below(self, 3));
        CHECK_EQ(__atomic_exchange_n(&inside_window[at], self->index + 1, __ATOMIC_RELAXED), 0);
    } else if (at == 0) {
        WakeConditionVariable(&changed);
    }
    CHECK_EQ(__atomic_exchange_n(&inside_window[at], 0, __ATOMIC_RELAXED), self->index + 1);
    LeaveCriticalSection(&windows[at]);
}

static void alert_somebody(task_t *self)
{
    unsigned whom = below(self, TASKS);
    host_task_t task = __atomic_load_n(&tasks[whom].task, __ATOMIC_RELAXED);
    __atomic_add_fetch(&alerts[whom], 1, __ATOMIC_RELAXED);
    int32_t result = host_task_alert(task);
    CHECK(result == S_OK || result == E_HANDLE);
}

static void step(task_t *self)
{
    unsigned section = below(self, SECTIONS);
    unsigned choice = below(self, 40);
    if (self->srw_count > 0 && below(self, 4) == 0) {
        release_srw(self, below(self, self->srw_count));
    } else if (self->held_count == HELD_MOST || (choice < 10 && self->held_count > 0)) {
        leave_at(self, below(self, self->held_count));
    } else if (choice == 10) {
        CHECK_EQ(hostcrst_leave(0x123456789ABCDEFu), E_HANDLE);
    } else if (choice == 11 && self->held_count > 0) {
        replace_one(self, below(self, self->held_count));
    } else if (choice == 12) {
        alert_somebody(self);
    } else if (choice == 13) {
        hostcrst_t crst = __atomic_load_n(&sections[section], __ATOMIC_RELAXED);
        int32_t result = hostcrst_set_spin_count(crst, below(self, 5000));
        CHECK(result == S_OK || result == E_HANDLE);
    } else if (choice <= 15) {
        visit_window(self, below(self, WINDOWS));
    } else if (choice <= 18) {
        recover_one(self, section);
    } else if (choice <= 22) {
        visit_srw(self, choice - 19);
    } else if (choice == 23) {
        watch(self);
    } else if (choice == 24) {
        make_once(self);
    } else {
        enter_one(self, section);
    }
}

/* The sections that it has go to nobody. An SRW lock would stay locked. */
static void leave_behind(task_t *self)
{
    release_all(self);
    for (unsigned place = 0; place < self->held_count; place++) {
        own_no_longer(self->held[place], LEFT_BEHIND);
        __atomic_add_fetch(&left_behind, 1, __ATOMIC_RELAXED);
    }
    self->held_count = 0;
}

/* Not part of live: on the stack that a thread leaves when it is cancelled a sanitizer finds its own marks. */
__attribute__((noinline)) static void spend_life(task_t *self)
{
    host_task_t task = 0;
    REQUIRE_EQ(host_task_current(&task), S_OK);
    __atomic_store_n(&self->task, task, __ATOMIC_RELAXED);
    unsigned steps = 1 + below(self, STEPS_OF_A_LIFE);
    for (unsigned at = 0; at < steps && !__atomic_load_n(&stop, __ATOMIC_RELAXED); at++) {
        step(self);
    }
    if (__atomic_load_n(&stop, __ATOMIC_RELAXED) || below(self, 2) == 0) {
        leave_all(self);
        release_all(self);
    } else {
        leave_behind(self);
    }
    __atomic_store_n(&self->may_be_cancelled, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&self->has_ended, 1, __ATOMIC_RELEASE);
}

static void *live(void *argument)
{
    task_t *self = (task_t *)argument;
    spend_life(self);
    pthread_testcancel();
    if (below(self, 2) == 0) {
        pthread_exit(NULL);
    }
    return NULL;
}

/* On the task whose wait closed the cycle. */
static void be_told(const host_deadlock_t *deadlock, void *context)
{
    host_task_t closer = 0;
    (void)context;
    CHECK(deadlock->tasks >= 2 && deadlock->tasks <= TASKS);
    if (deadlock->victim != 0) {
        __atomic_add_fetch(&told_broken, 1, __ATOMIC_RELAXED);
        return;
    }
    __atomic_add_fetch(&told_standing, 1, __ATOMIC_RELAXED);
    CHECK_EQ(host_task_current(&closer), S_OK);
    for (unsigned at = 0; at < TASKS; at++) {
        if (__atomic_load_n(&tasks[at].task, __ATOMIC_RELAXED) == closer) {
            __atomic_add_fetch(&alerts[at], 1, __ATOMIC_RELAXED);
        }
    }
    CHECK_EQ(host_task_alert(closer), S_OK);
}

/* ---- what happens to them ---- */

static uint32_t never;

/* The thread stands still wherever it is. Not a cancellation point. */
static void stand_still(int signal)
{
    struct timespec moment = {0, 0};
    int saved = errno;
    (void)signal;
    moment.tv_nsec = 1000 * (1 + (long)(nanoseconds_now() / 1024 % 3000));
    syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, &moment, NULL, 0);
    errno = saved;
}

static void begin_life(task_t *self)
{
    pthread_attr_t attributes;
    self->held_count = 0;
    self->srw_count = 0;
    self->has_ended = 0;
    self->may_be_cancelled = 0;
    REQUIRE_EQ(pthread_attr_init(&attributes), 0);
    REQUIRE_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
    REQUIRE_EQ(pthread_create(&self->thread, &attributes, live, self), 0);
    pthread_attr_destroy(&attributes);
    lives++;
}

static void stuck(const char *what)
{
    check_fail(__FILE__, __LINE__, "stuck: %s (RANDOM_THREADS_SEED=%llu)", what,
               check_number_from("RANDOM_THREADS_SEED", 1));
    for (unsigned at = 0; at < TASKS; at++) {
        printf("task %u waits for %u, kind %d, since %lld ms\n", at, waits[at].section, (int)waits[at].kind,
               (long long)milliseconds_since(waits[at].since));
    }
    for (unsigned at = 0; at < LOCKS; at++) {
        printf("section %u is owned by %u\n", at, owner[at]);
    }
    host_report(STDOUT_FILENO, HOST_REPORT_TEXT);
    check_give_up();
}

static void end_life(task_t *self)
{
    void *result = NULL;
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += CHECK_PATIENCE_SECONDS;
    if (pthread_timedjoin_np(self->thread, &result, &deadline) != 0) {
        stuck("a thread does not end");
    }
    CHECK(result == NULL || self->may_be_cancelled /* a call acted on a cancel */);
    cancelled += result != NULL;
}

/* A wait that should be over: for what is free, or in a cycle. What is waited for while all threads stand still is not. */
static void look_for_the_forgotten(void)
{
    static int64_t last_look, awake_since;
    int64_t now = nanoseconds_now();
    awake_since = now - last_look > STANDSTILL_NANOSECONDS ? now : awake_since;
    last_look = now;
    int cancels;
    const char *forgotten = NULL;
    lock_oracle(&cancels);
    for (unsigned at = 0; at < TASKS; at++) {
        int64_t since = waits[at].since > awake_since ? waits[at].since : awake_since;
        if (waits[at].section != NOTHING && milliseconds_since(since) > STUCK_MILLISECONDS) {
            forgotten = owner[waits[at].section] == NOBODY ? "a task waits for what is free"
                        : cycle_through(at, NULL)          ? "a cycle was missed"
                                                           : "a task waits for long";
        }
    }
    unlock_oracle(cancels);
    if (forgotten != NULL) {
        stuck(forgotten);
    }
}

static void enter_all_once(void *unused)
{
    (void)unused;
    for (unsigned at = 0; at < SECTIONS; at++) {
        int32_t result = hostcrst_enter_timeout(sections[at], 0, 1000 * CHILD_SECONDS);
        if (result == S_OK) {
            CHECK_EQ(hostcrst_leave(sections[at]), S_OK);
        } else if (result != E_HANDLE) {
            CHECK_EQ(result, HOST_E_ABANDONED);
        }
    }
    for (unsigned at = 0; at < SRW_LOCKS; at++) {
        if (TryAcquireSRWLockExclusive(&srw_locks[at])) {
            ReleaseSRWLockExclusive(&srw_locks[at]);
        }
    }
    WakeByAddressAll(&watched);
}

static void live_on_in_the_child(void)
{
    check_thread_t thread;
    hostcrst_t crst = 0;
    alarm(CHILD_SECONDS);
    CHECK(host_runtime_start() >= 0);
    CHECK_EQ(hostcrst_create(&crst), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    enter_all_once(NULL);
    check_start(&thread, enter_all_once, NULL);
    check_join(&thread);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static int may_fork;

static void fork_now(void)
{
    forks++;
    in_child(live_on_in_the_child);
}

static void stop_and_start(void)
{
    int cancels;
    lock_oracle(&cancels);
    mark_cycles();
    __atomic_store_n(&stops_begun, stops_begun + 1, __ATOMIC_RELAXED);
    unlock_oracle(cancels);
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK(host_runtime_start() >= 0);
    lock_oracle(&cancels);
    stops_over = stops_begun;
    unlock_oracle(cancels);
}

/* All who waited for it see the change, each woken by one wake. Nothing else wakes them: a lost wake shows. */
static void change_what_is_watched(int all_at_once)
{
    int64_t since = nanoseconds_now();
    uint32_t before = __atomic_fetch_add(&watched, 1, __ATOMIC_SEQ_CST);
    if (all_at_once) {
        WakeByAddressAll(&watched);
    } else {
        WakeByAddressSingle(&watched);
    }
    for (unsigned at = 0; at < TASKS; at++) {
        for (int looks = 0; __atomic_load_n(&watching[at], __ATOMIC_SEQ_CST) == before + 1; looks++) {
            if (looks > CHECK_LOOKS_LEAST && milliseconds_since(since) > STUCK_MILLISECONDS) {
                stuck("a task waits on an address for what has come");
            }
            check_pause();
        }
    }
}

static void something_happens(chance_t *chance)
{
    task_t *whom = &tasks[next_random(chance) % TASKS];
    unsigned what = (unsigned)(next_random(chance) % 64);
    if (what < 40) {
        int result = pthread_kill(whom->thread, SIGUSR1);
        CHECK(result == 0 || result == ESRCH);
        suspended++;
    } else if (what < 44) {
        int result = pthread_cancel(whom->thread);
        CHECK(result == 0 || result == ESRCH);
    } else if (what == 44 && may_fork) {
        fork_now();
    } else if (what == 45) {
        stop_and_start();
    } else if (what < 52) {
        change_what_is_watched(what < 49);
    } else {
        check_pause();
    }
    for (unsigned at = 0; at < TASKS; at++) {
        if (__atomic_load_n(&tasks[at].has_ended, __ATOMIC_ACQUIRE)) {
            end_life(&tasks[at]);
            begin_life(&tasks[at]);
        }
    }
}

static void begin_all(chance_t *chance)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stand_still;
    action.sa_flags = SA_RESTART;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    may_fork = check_number_from("RANDOM_THREADS_FORKS", 1) != 0;
    start_runtime();
    REQUIRE_EQ(host_set_deadlock_callback(be_told, NULL), S_OK);
    for (unsigned at = 0; at < WINDOWS; at++) {
        InitializeCriticalSection(&windows[at]);
    }
    for (unsigned at = 0; at < SECTIONS; at++) {
        sections[at] = new_section();
    }
    for (unsigned at = 0; at < LOCKS; at++) {
        owner[at] = NOBODY;
    }
    for (unsigned at = 0; at < TASKS; at++) {
        waits[at].section = NOTHING;
        tasks[at].index = at;
        tasks[at].chance.state = next_random(chance);
    }
    for (unsigned at = 0; at < TASKS; at++) {
        begin_life(&tasks[at]);
    }
}

static void end_all(void)
{
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    change_what_is_watched(1);
    for (unsigned at = 0; at < TASKS; at++) {
        end_life(&tasks[at]);
    }
    uint64_t sum = 0;
    for (unsigned at = 0; at < LOCKS; at++) {
        sum += counters[at];
    }
    CHECK_EQ(sum, counted);
    for (unsigned at = 0; at < SECTIONS; at++) {
        hostcrst_info_t info = info_of(sections[at]);
        CHECK_EQ(info.waiters, 0);
        CHECK_EQ(info.state, owner[at] == LEFT_BEHIND ? HOSTCRST_ABANDONED : HOSTCRST_FREE);
        CHECK_EQ(hostcrst_destroy(sections[at]), S_OK);
    }
    for (unsigned at = 0; at < SRW_LOCKS; at++) {
        CHECK_EQ(owner[SECTIONS + at], NOBODY);
        CHECK(TryAcquireSRWLockExclusive(&srw_locks[at]));
        ReleaseSRWLockExclusive(&srw_locks[at]);
        CHECK(srw_locks[at].Ptr == NULL);
    }
    for (unsigned at = 0; at < WINDOWS; at++) {
        DeleteCriticalSection(&windows[at]);
    }
}

static int has_all_happened(void)
{
    int cancels;
    lock_oracle(&cancels);
    int all = entered > 0 && refused > 0 && timed_out > 0 && alerted > 0 && abandoned > 0 && unavailable > 0 &&
              acquired > 0 && shared > 0 && refused_through_srw > 0 && changes_seen > 0 && made > 0 && not_made > 0 &&
              destroyed > 0 && recovered > 0 && left_behind > 0 && cancelled > 0 && suspended > 0 &&
              (forks > 0) == may_fork;
    unlock_oracle(cancels);
    return all;
}

/* Where other programs take the processors, it takes longer until all has happened. */
static int goes_on(int64_t end)
{
    int64_t now = nanoseconds_now();
    return now < end || (now < end + (int64_t)CHECK_PATIENCE_SECONDS * 1000000000 && !has_all_happened());
}

static void the_oracle_agrees(void)
{
    uint64_t seed = check_number_from("RANDOM_THREADS_SEED", 1);
    int64_t seconds = (int64_t)check_number_from("RANDOM_THREADS_SECONDS", 10);
    int64_t end = nanoseconds_now() + seconds * 1000000000;
    chance_t chance = {seed};
    begin_all(&chance);
    while (goes_on(end) && check_failed_so_far() == 0) {
        something_happens(&chance);
        look_for_the_forgotten();
    }
    end_all();
    printf("    seed %llu: %lu entered, %lu refused, %lu cycles stood, %lu timed out, %lu alerted\n",
           (unsigned long long)seed, entered, refused, told_standing, timed_out, alerted);
    printf("    %lu abandoned, %lu unavailable, %lu destroyed, %lu recovered, %lu left behind\n", abandoned,
           unavailable, destroyed, recovered, left_behind);
    printf("    %lu SRW locks acquired, %lu shared, %lu refused in a cycle with one\n", acquired, shared,
           refused_through_srw);
    printf("    %lu changes seen at an address, %lu initialised, %lu not\n", changes_seen, made, not_made);
    printf("    %lu lives, %lu cancelled, %lu suspended, %lu forks, %u stops\n", lives, cancelled, suspended,
           forks, stops_begun);
    CHECK_EQ(told_broken, refused);
    CHECK(has_all_happened());
}

CHECK_MAIN(CHECK_TEST(the_oracle_agrees))
