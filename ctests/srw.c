/*
 * SRW locks of Windows' kind: who may hold one with whom, who is served, what the memory may be, what of a wait is shown,
 * and what misuse comes to.
 */
#include "capture.h"
#include "lock_count.h"
#include "own_syscall.h"

#include <hostcrst.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>

static SRWLOCK lock;

/* ---- system calls of the library ---- */

/* Counts the sleeps of the threads that ask for it. */
static __thread int counts_sleeps;
static int sleeps;

static int sleeps_so_far(void)
{
    return __atomic_load_n(&sleeps, __ATOMIC_SEQ_CST);
}

static void after_a_look_at_the_lock(void);

static int stands_in(long number, const long *arguments, long *result)
{
    if (number == SYS_futex && counts_sleeps) {
        __atomic_add_fetch(&sleeps, 1, __ATOMIC_SEQ_CST);
    }
    if (number != SYS_process_vm_readv || ((const struct iovec *)arguments[3])->iov_base != &lock) {
        return 0;
    }
    *result = process_vm_readv((pid_t)arguments[0], (const struct iovec *)arguments[1], 1,
                               (const struct iovec *)arguments[3], 1, 0);
    after_a_look_at_the_lock();
    return 1;
}

/* Tells whether another thread could acquire it so just now. */
typedef struct attempt {
    SRWLOCK *lock;
    int shared;
    int done;
} attempt_t;

static void attempt(void *argument)
{
    attempt_t *attempt = (attempt_t *)argument;
    attempt->done = attempt->shared ? TryAcquireSRWLockShared(attempt->lock)
                                    : TryAcquireSRWLockExclusive(attempt->lock);
    if (attempt->done) {
        if (attempt->shared) {
            ReleaseSRWLockShared(attempt->lock);
        } else {
            ReleaseSRWLockExclusive(attempt->lock);
        }
    }
}

static int by_another(SRWLOCK *of, int shared)
{
    attempt_t it = {of, shared, 0};
    check_thread_t thread;
    check_start(&thread, attempt, &it);
    check_join(&thread);
    return it.done;
}

static int is_zero(const SRWLOCK *of)
{
    return memcmp(of, &(SRWLOCK)SRWLOCK_INIT, sizeof *of) == 0;
}

/* ---- who may hold it with whom ---- */

static void check_modes(SRWLOCK *of)
{
    AcquireSRWLockExclusive(of);
    CHECK(!by_another(of, 0));
    CHECK(!by_another(of, 1));
    CHECK(!TryAcquireSRWLockExclusive(of));
    CHECK(!TryAcquireSRWLockShared(of));
    ReleaseSRWLockExclusive(of);
    CHECK(is_zero(of));
    AcquireSRWLockShared(of);
    AcquireSRWLockShared(of);
    CHECK(by_another(of, 1));
    CHECK(!by_another(of, 0));
    ReleaseSRWLockShared(of);
    CHECK(!by_another(of, 0));
    ReleaseSRWLockShared(of);
    CHECK(is_zero(of));
    CHECK(TryAcquireSRWLockExclusive(of));
    ReleaseSRWLockExclusive(of);
    CHECK(by_another(of, 0));
}

static void one_owns_or_all_share(void)
{
    SRWLOCK local;
    memset(&local, 0xA5, sizeof local);
    InitializeSRWLock(&local);
    check_modes(&local);
    check_modes(&lock);
}

static void it_may_stand_at_any_address(void)
{
    static char memory[2 * sizeof(SRWLOCK)];
    for (size_t at = 0; at < sizeof(SRWLOCK); at++) {
        check_modes((SRWLOCK *)(void *)(memory + at));
    }
}

/* ---- waiters ---- */

typedef struct crew {
    SRWLOCK *lock;
    check_thread_t threads[40];
    int shared;
    int inside;
    int leave;
} crew_t;

static void visit(void *argument)
{
    crew_t *crew = (crew_t *)argument;
    if (crew->shared) {
        AcquireSRWLockShared(crew->lock);
    } else {
        AcquireSRWLockExclusive(crew->lock);
    }
    __atomic_add_fetch(&crew->inside, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&crew->leave, __ATOMIC_SEQ_CST)) {
        check_pause();
    }
    if (crew->shared) {
        ReleaseSRWLockShared(crew->lock);
    } else {
        ReleaseSRWLockExclusive(crew->lock);
    }
}

static int inside(crew_t *crew)
{
    return __atomic_load_n(&crew->inside, __ATOMIC_SEQ_CST);
}

static int reported_waiters(void)
{
    char *report = text_report();
    int found = times_in(report, "   waiting to acquire SRWLOCK 0x");
    free(report);
    return found;
}

static int is_reported(const char *what)
{
    char *report = text_report();
    int found = strstr(report, what) != NULL;
    free(report);
    return found;
}

static void send(crew_t *crew, int from, int count, int waiters)
{
    for (int at = from; at < from + count; at++) {
        check_start(&crew->threads[at], visit, crew);
    }
    if (waiters >= 0) {
        REQUIRE_SOON(reported_waiters() == waiters);
    }
}

static void recall(crew_t *crew, int count)
{
    __atomic_store_n(&crew->leave, 1, __ATOMIC_SEQ_CST);
    for (int at = 0; at < count; at++) {
        check_join(&crew->threads[at]);
    }
}

static void check_that_all_who_share_get_it(SRWLOCK *of)
{
    enum { ALL = 40 };
    crew_t crew = {.lock = of, .shared = 1};
    AcquireSRWLockExclusive(of);
    send(&crew, 0, ALL, ALL);
    CHECK_EQ(inside(&crew), 0);
    ReleaseSRWLockExclusive(of);
    /* All at once: none leaves before the last is in. */
    REQUIRE_SOON(inside(&crew) == ALL);
    recall(&crew, ALL);
    CHECK(is_zero(of));
}

static void all_who_wait_to_share_get_it_together(void)
{
    static char memory[2 * sizeof(SRWLOCK)];
    check_that_all_who_share_get_it(&lock);
    check_that_all_who_share_get_it((SRWLOCK *)(void *)(memory + 3));
}

static void so_they_do_where_they_contend_for_it(void)
{
    enum { ALL = 20 };
    crew_t owner = {.lock = &lock, .leave = 1}, crew = {.lock = &lock, .shared = 1}, last = {.lock = &lock};
    AcquireSRWLockExclusive(&lock);
    send(&owner, 0, 1, 1);
    send(&crew, 0, ALL, 1 + ALL);
    send(&last, 0, 1, 2 + ALL);
    /* It is handed to the first waiter; so soon after that it is not handed on, but the next waiter is woken to contend. */
    ReleaseSRWLockExclusive(&lock);
    REQUIRE_SOON(inside(&crew) == ALL);
    CHECK_EQ(inside(&last), 0);
    recall(&owner, 1);
    recall(&crew, ALL);
    REQUIRE_SOON(inside(&last) == 1);
    recall(&last, 1);
    CHECK(is_zero(&lock));
}

static void who_waits_to_own_it_is_not_passed_by_who_shares(void)
{
    crew_t owner = {.lock = &lock}, late = {.lock = &lock, .shared = 1};
    AcquireSRWLockShared(&lock);
    send(&owner, 0, 1, 1);
    send(&late, 0, 3, 4);
    CHECK_EQ(inside(&late), 0);
    CHECK(!TryAcquireSRWLockShared(&lock));
    ReleaseSRWLockShared(&lock);
    REQUIRE_SOON(inside(&owner) == 1);
    CHECK_EQ(inside(&late), 0);
    recall(&owner, 1);
    REQUIRE_SOON(inside(&late) == 3);
    recall(&late, 3);
    CHECK(is_zero(&lock));
}

static int handled;

static void share_for_a_moment(int signal)
{
    AcquireSRWLockShared(&lock);
    ReleaseSRWLockShared(&lock);
    __atomic_store_n(&handled, 1, __ATOMIC_SEQ_CST);
    (void)signal;
}

static int is_handled(void)
{
    return __atomic_load_n(&handled, __ATOMIC_SEQ_CST);
}

static void a_handler_in_a_wait_does_not_wait_for_that(void)
{
    crew_t owner = {.lock = &lock};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = share_for_a_moment;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    AcquireSRWLockShared(&lock);
    send(&owner, 0, 1, 1);
    REQUIRE_EQ(pthread_kill(owner.threads[0].id, SIGUSR1), 0);
    REQUIRE_SOON(is_handled());
    CHECK_EQ(inside(&owner), 0);
    ReleaseSRWLockShared(&lock);
    REQUIRE_SOON(inside(&owner) == 1);
    recall(&owner, 1);
    CHECK(is_zero(&lock));
}

static hostcrst_t of_another;
static int may_go_on;

/* It stays until the lock was given to its thread, which does not know it yet. */
static void outlast_the_wait(int signal)
{
    (void)signal;
    __atomic_store_n(&handled, 1, __ATOMIC_SEQ_CST);
    REQUIRE_SOON(__atomic_load_n(&may_go_on, __ATOMIC_SEQ_CST));
    CHECK_EQ(hostcrst_enter(of_another, 0), HOST_E_INVALIDOPERATION);
}

static void give_to_one_in_a_handler(int shared)
{
    crew_t waiter = {.lock = &lock, .shared = shared};
    handled = may_go_on = 0;
    AcquireSRWLockExclusive(&lock);
    send(&waiter, 0, 1, 1);
    REQUIRE_EQ(pthread_kill(waiter.threads[0].id, SIGUSR1), 0);
    REQUIRE_SOON(is_handled());
    ReleaseSRWLockExclusive(&lock);
    __atomic_store_n(&may_go_on, 1, __ATOMIC_SEQ_CST);
    REQUIRE_SOON(inside(&waiter) == 1);
    recall(&waiter, 1);
    CHECK(is_zero(&lock));
}

static void a_handler_does_not_lose_a_lock_that_was_given_meanwhile(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = outlast_the_wait;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    REQUIRE_EQ(host_runtime_start(), S_OK);
    REQUIRE_EQ(hostcrst_create(&of_another), S_OK);
    REQUIRE_EQ(hostcrst_enter(of_another, 0), S_OK);
    for (int time = 0; time < 10; time++) {
        give_to_one_in_a_handler(time % 2);
    }
    REQUIRE_EQ(hostcrst_leave(of_another), S_OK);
    REQUIRE_EQ(hostcrst_destroy(of_another), S_OK);
}

/* ---- mutual exclusion ---- */

enum { VISITORS = 6, VISITS = 20000 };

typedef struct shared_count {
    SRWLOCK *lock;
    volatile long count;
    volatile int owners;
    int sharing;
} shared_count_t;

static void count_or_look(void *argument)
{
    shared_count_t *shared = (shared_count_t *)argument;
    for (int time = 0; time < VISITS; time++) {
        if (time % 4 != 0) {
            AcquireSRWLockExclusive(shared->lock);
            shared->owners++;
            CHECK_EQ(shared->owners, 1);
            CHECK_EQ(__atomic_load_n(&shared->sharing, __ATOMIC_RELAXED), 0);
            shared->count++;
            shared->owners--;
            ReleaseSRWLockExclusive(shared->lock);
        } else {
            AcquireSRWLockShared(shared->lock);
            __atomic_add_fetch(&shared->sharing, 1, __ATOMIC_RELAXED);
            CHECK_EQ(shared->owners, 0);
            __atomic_sub_fetch(&shared->sharing, 1, __ATOMIC_RELAXED);
            ReleaseSRWLockShared(shared->lock);
        }
    }
}

static void check_exclusion(SRWLOCK *of)
{
    shared_count_t shared = {of, 0, 0, 0};
    check_thread_t threads[VISITORS];
    for (int at = 0; at < VISITORS; at++) {
        check_start(&threads[at], count_or_look, &shared);
    }
    for (int at = 0; at < VISITORS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(shared.count, (long)VISITORS * VISITS / 4 * 3);
    CHECK(is_zero(of));
}

static void threads_never_meet_an_owner(void)
{
    static char memory[2 * sizeof(SRWLOCK)];
    check_exclusion(&lock);
    check_exclusion((SRWLOCK *)(void *)(memory + 1));
}

/* ---- condition variables ---- */

typedef struct tickets {
    SRWLOCK lock;
    CONDITION_VARIABLE variable;
    int shared;
    int asleep;
    int tickets;
} tickets_t;

static void take_a_ticket(void *argument)
{
    tickets_t *of = (tickets_t *)argument;
    if (of->shared) {
        AcquireSRWLockShared(&of->lock);
    } else {
        AcquireSRWLockExclusive(&of->lock);
    }
    __atomic_add_fetch(&of->asleep, 1, __ATOMIC_SEQ_CST);
    while (of->tickets == 0) {
        CHECK(SleepConditionVariableSRW(&of->variable, &of->lock, INFINITE,
                                        of->shared ? CONDITION_VARIABLE_LOCKMODE_SHARED : 0));
    }
    if (of->shared) {
        CHECK(!by_another(&of->lock, 0));
        ReleaseSRWLockShared(&of->lock);
    } else {
        CHECK(!by_another(&of->lock, 1));
        of->tickets--;
        ReleaseSRWLockExclusive(&of->lock);
    }
}

static void check_tickets(int shared)
{
    tickets_t of = {.shared = shared};
    check_thread_t threads[3];
    for (int at = 0; at < 3; at++) {
        check_start(&threads[at], take_a_ticket, &of);
    }
    REQUIRE_SOON(__atomic_load_n(&of.asleep, __ATOMIC_SEQ_CST) == 3);
    /* Nobody holds it: all of them sleep. */
    AcquireSRWLockExclusive(&of.lock);
    of.tickets = 3;
    ReleaseSRWLockExclusive(&of.lock);
    WakeAllConditionVariable(&of.variable);
    for (int at = 0; at < 3; at++) {
        check_join(&threads[at]);
    }
    CHECK(is_zero(&of.lock));
}

static void a_sleep_leaves_the_lock_and_has_it_again(void)
{
    check_tickets(0);
    check_tickets(1);
}

static void a_sleep_ends_in_time_and_wants_the_lock_held(void)
{
    CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;
    AcquireSRWLockExclusive(&lock);
    CHECK(!SleepConditionVariableSRW(&variable, &lock, 1, 0));
    CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
    CHECK(!by_another(&lock, 1));
    CHECK(!SleepConditionVariableSRW(&variable, &lock, 1, 2));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(!SleepConditionVariableSRW(&variable, &lock, 1, CONDITION_VARIABLE_LOCKMODE_SHARED));
    CHECK_EQ(GetLastError(), ERROR_NOT_OWNER);
    ReleaseSRWLockExclusive(&lock);
    CHECK(!SleepConditionVariableSRW(&variable, &lock, 1, 0));
    CHECK_EQ(GetLastError(), ERROR_NOT_OWNER);
    CHECK(is_zero(&lock));
}

/* ---- what is shown ---- */

static void reports_and_chains_say_who_owns_it(void)
{
    crew_t owner = {.lock = &lock};
    AcquireSRWLockExclusive(&lock);
    pthread_setname_np(pthread_self(), "lock_owner");
    send(&owner, 0, 1, 1);
    char *report = text_report();
    CHECK_CONTAINS(report, "!lock+0x0 at ");
    CHECK_CONTAINS(report, "!visit+0x");
    CHECK_CONTAINS(report, "      which is owned by \"lock_owner\" tid=");
    free(report);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(json, "\"waiting\":{\"srw_lock\":\"0x");
    CHECK_CONTAINS(json, "\"shared\":false,\"owner\":\"0x");
    free(json);
    char *dot = report_in(HOST_REPORT_DOT);
    CHECK_CONTAINS(dot, "[label=\"owned by\"];");
    free(dot);

    crew_t sharing = {.lock = &lock, .shared = 1};
    send(&sharing, 0, 1, 2);
    report = text_report();
    CHECK_CONTAINS(report, "!lock+0x0 shared at ");
    free(report);
    ReleaseSRWLockExclusive(&lock);
    recall(&owner, 1);
    recall(&sharing, 1);
}

static void reports_say_how_many_share_it(void)
{
    crew_t owner = {.lock = &lock};
    AcquireSRWLockShared(&lock);
    AcquireSRWLockShared(&lock);
    send(&owner, 0, 1, 1);
    char *report = text_report();
    CHECK_CONTAINS(report, "      which is held shared 2 times, unknown by which threads\n");
    CHECK_CONTAINS(report, "No deadlock among 0 sections and 1 other lock seen; ");
    free(report);
    /* It may not sleep yet. */
    REQUIRE_SOON(is_reported("; 1 thread blocked in what has no owner.\n"));
    char *dot = report_in(HOST_REPORT_DOT);
    CHECK_CONTAINS(dot, "!lock+0x0\\nshares: 2\"];\n");
    free(dot);
    ReleaseSRWLockShared(&lock);
    ReleaseSRWLockShared(&lock);
    recall(&owner, 1);
}

static host_task_t waiter;

static void tell_and_acquire(void *argument)
{
    host_task_t me = 0;
    CHECK_EQ(host_task_current(&me), S_OK);
    __atomic_store_n(&waiter, me, __ATOMIC_SEQ_CST);
    AcquireSRWLockShared((SRWLOCK *)argument);
    ReleaseSRWLockShared((SRWLOCK *)argument);
}

static void a_wait_chain_goes_through_it(void)
{
    host_wait_node_t nodes[4] = {{.size = sizeof nodes[0]}, {.size = sizeof nodes[0]}, {.size = sizeof nodes[0]},
                                 {.size = sizeof nodes[0]}};
    host_task_info_t info = {.size = sizeof info};
    check_thread_t thread;
    size_t count = 0;
    REQUIRE(host_runtime_start() >= 0);
    AcquireSRWLockExclusive(&lock);
    check_start(&thread, tell_and_acquire, &lock);
    REQUIRE_SOON(reported_waiters() == 1);
    CHECK_EQ(host_wait_chain(waiter, nodes, 4, &count), S_OK);
    CHECK_EQ(count, 3);
    CHECK_EQ(nodes[1].kind, HOST_WAIT_NODE_SRW_LOCK);
    CHECK_EQ(nodes[1].handle, (uint64_t)(uintptr_t)&lock);
    CHECK_CONTAINS(nodes[1].name, "!lock+0x0");
    CHECK_EQ(nodes[2].thread_id, (uint32_t)syscall(SYS_gettid));
    CHECK_EQ(host_task_info(waiter, &info), S_OK);
    CHECK_EQ(info.waiting_for, 0);
    ReleaseSRWLockExclusive(&lock);
    check_join(&thread);
}

/* ---- deadlocks ---- */

static SRWLOCK crossed_lock;
static CRITICAL_SECTION crossed_section;
static int ready;

static void cross(void *argument)
{
    int first = argument == NULL;
    if (first) {
        AcquireSRWLockExclusive(&crossed_lock);
    } else {
        EnterCriticalSection(&crossed_section);
    }
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 2) {
    }
    if (first) {
        EnterCriticalSection(&crossed_section);
    } else {
        AcquireSRWLockShared(&crossed_lock);
    }
}

static int has_said(const char *what)
{
    char *said = content_of(STDERR_FILENO);
    int found = strstr(said, what) != NULL;
    free(said);
    return found;
}

static void wait_crosswise(void)
{
    static check_thread_t threads[2];
    InitializeCriticalSection(&crossed_section);
    check_start(&threads[0], cross, NULL);
    check_start(&threads[1], cross, &crossed_section);
    REQUIRE_SOON(has_said("*** DEADLOCK ***\n"));
    _exit(0);
}

static void a_deadlock_through_one_is_reported_once(void)
{
    run_t run = child_of(wait_crosswise, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_EQ(times_in(run.said, " report  pid "), 1);
    CHECK_CONTAINS(run.said, "Found a deadlock:\n");
    CHECK_CONTAINS(run.said, "   waiting to acquire SRWLOCK 0x");
    CHECK_CONTAINS(run.said, "!crossed_lock+0x0 shared at ");
    free(run.said);
}

/* ---- misuse ---- */

__attribute__((noinline)) static void acquire_again(void *unused)
{
    host_task_t self = 0;
    (void)unused;
    AcquireSRWLockExclusive(&lock);
    CHECK_EQ(host_task_current(&self), S_OK);
    __atomic_store_n(&waiter, self, __ATOMIC_RELEASE);
    AcquireSRWLockExclusive(&lock);
    check_fail(__FILE__, __LINE__, "acquired twice");
}

static void hang_on_oneself(void)
{
    static check_thread_t thread;
    REQUIRE(host_runtime_start() >= 0);
    check_start(&thread, acquire_again, NULL);
    REQUIRE_SOON(has_said("!lock+0x0: acquired by the thread that owns it: this thread waits for ever"));
    REQUIRE_SOON(has_said("!acquire_again+0x"));
    /* By itself, and as a deadlock. */
    REQUIRE_SOON(reported_waiters() == 2);
    REQUIRE_SOON(has_said("Found a deadlock:\n"));
    char *report = text_report();
    CHECK_CONTAINS(report, "\nFound 1 deadlock.\n");
    CHECK_LACKS(report, "No deadlock");
    free(report);
    report = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(report, "\"deadlocks\":[[{\"task\":\"0x");
    free(report);
    host_wait_node_t nodes[3] = {{.size = sizeof nodes[0]}, {.size = sizeof nodes[0]}, {.size = sizeof nodes[0]}};
    size_t count = 0;
    CHECK_EQ(host_wait_chain(waiter, nodes, 3, &count), S_OK);
    CHECK_EQ(count, 2);
    CHECK_EQ(nodes[1].kind, HOST_WAIT_NODE_SRW_LOCK);
    CHECK((nodes[1].flags & HOST_WAIT_FLAG_LAST_OF_CYCLE) != 0);
    _exit(check_failed_so_far());
}

static void an_owner_that_acquires_again_is_told_and_waits(void)
{
    run_t run = child_of(hang_on_oneself, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    free(run.said);
}

__attribute__((noinline)) static void release_what_is_not_held(void)
{
    ReleaseSRWLockExclusive(&lock);
    ReleaseSRWLockShared(&lock);
    CHECK(is_zero(&lock));
    AcquireSRWLockShared(&lock);
    ReleaseSRWLockExclusive(&lock);
    CHECK(by_another(&lock, 1));
    CHECK(!by_another(&lock, 0));
    ReleaseSRWLockShared(&lock);
    AcquireSRWLockExclusive(&lock);
    ReleaseSRWLockShared(&lock);
    CHECK(!by_another(&lock, 1));
    ReleaseSRWLockExclusive(&lock);
}

static void a_release_of_what_is_not_held_changes_nothing_and_is_told(void)
{
    run_t run = child_of(release_what_is_not_held, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_EQ(times_in(run.said, "hostcrst: SRWLOCK 0x"), 4);
    CHECK_CONTAINS(run.said, "!lock+0x0: released, or left for a sleep, by a thread that does not hold it so");
    CHECK_CONTAINS(run.said, "!release_what_is_not_held+0x");
    free(run.said);
}

static void acquire_and_end(void *unused)
{
    (void)unused;
    counts_sleeps = 1;
    AcquireSRWLockExclusive(&lock);
}

/* Once for each wait: the second sleep and the third come after looks for the owner. */
static void wait_for_who_has_ended(void)
{
    static check_thread_t threads[2];
    check_start(&threads[0], acquire_and_end, NULL);
    check_join(&threads[0]);
    check_start(&threads[1], acquire_and_end, NULL);
    REQUIRE_SOON(has_said("!lock+0x0: to be acquired, but its owner has ended: this thread waits for ever"));
    REQUIRE_SOON(sleeps_so_far() >= 3);
    char *report = text_report();
    CHECK_CONTAINS(report, "   waits for an SRW lock whose owner had ended: 1\n");
    free(report);
    _exit(check_failed_so_far());
}

static void a_lock_of_an_owner_that_has_ended_stays_locked_and_that_is_told(void)
{
    run_t run = child_of(wait_for_who_has_ended, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    free(run.said);
}

/* ---- threads that are gone: nothing of the library runs in one that ends by the bare system call ---- */

static void exit_at_once(int signal)
{
    (void)signal;
    syscall(SYS_exit, 0);
}

static void handle(int signal, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    REQUIRE_EQ(sigaction(signal, &action, NULL), 0);
}

/* A thread that waits, and may vanish meanwhile. */
typedef struct gone {
    SRWLOCK *lock;
    int shared;
    check_thread_t thread;
    pid_t id;
} gone_t;

static void acquire_and_stay(void *argument)
{
    gone_t *gone = (gone_t *)argument;
    counts_sleeps = 1;
    __atomic_store_n(&gone->id, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    if (gone->shared) {
        AcquireSRWLockShared(gone->lock);
    } else {
        AcquireSRWLockExclusive(gone->lock);
    }
    /* Not as the last call: it would be one of another function's. */
    check_pause();
}

static void go_to_wait(gone_t *gone, int waiters)
{
    check_start(&gone->thread, acquire_and_stay, gone);
    REQUIRE_SOON(reported_waiters() == waiters);
}

static void vanish(gone_t *gone)
{
    REQUIRE_EQ(pthread_kill(gone->thread.id, SIGUSR1), 0);
    check_join(&gone->thread);
    REQUIRE_SOON(syscall(SYS_tgkill, getpid(), gone->id, 0) != 0);
}

static int signals;

static void count_a_signal(int signal)
{
    (void)signal;
    __atomic_add_fetch(&signals, 1, __ATOMIC_SEQ_CST);
}

/* Each interrupts a sleep. */
static void interrupt_often(gone_t *gone)
{
    for (int time = 1; time <= 12; time++) {
        int before = sleeps_so_far();
        REQUIRE_EQ(pthread_kill(gone->thread.id, SIGUSR2), 0);
        REQUIRE_SOON(__atomic_load_n(&signals, __ATOMIC_SEQ_CST) == time && sleeps_so_far() > before);
    }
}

enum { LOST = 3 };

static SRWLOCK *lost[LOST];
static check_steps_t vanishing = CHECK_STEPS_INIT;

static void acquire_and_vanish(void *unused)
{
    (void)unused;
    for (int at = 0; at < LOST; at++) {
        AcquireSRWLockExclusive(lost[at]);
    }
    check_reach(&vanishing, 1);
    check_await(&vanishing, 2);
    exit_at_once(0);
}

/* A lock at an odd address among them, and one that is to be shared. */
static void wait_for_who_is_gone(void)
{
    static char odd[2 * sizeof(SRWLOCK)];
    static SRWLOCK shared;
    static check_thread_t owner;
    static gone_t waiters[LOST];
    SRWLOCK *const locks[LOST] = {&lock, &shared, (SRWLOCK *)(void *)(odd + 1)};
    memcpy(lost, locks, sizeof lost);
    handle(SIGUSR2, count_a_signal);
    check_start(&owner, acquire_and_vanish, NULL);
    check_await(&vanishing, 1);
    for (int at = 0; at < LOST; at++) {
        waiters[at].lock = lost[at];
        waiters[at].shared = lost[at] == &shared;
        go_to_wait(&waiters[at], at + 1);
    }
    interrupt_often(&waiters[0]);
    CHECK(!has_said("its owner has ended"));
    check_reach(&vanishing, 2);
    /* Of those that come from one call site the first is told. */
    REQUIRE_SOON(has_said(": to be acquired, but its owner has ended: this thread waits for ever"));
    REQUIRE_SOON(is_reported("   waits for an SRW lock whose owner had ended: 3\n"));
    char *report = text_report();
    CHECK_EQ(times_in(report, "      which is owned by a task that has ended\n"), 3);
    free(report);
    _exit(check_failed_so_far());
}

static void a_waiter_finds_out_that_the_owner_is_gone(void)
{
    run_t run = child_of(wait_for_who_is_gone, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    free(run.said);
}

static void so_does_one_that_writes_stall_lines(void)
{
    run_t run = run_again("a_waiter_finds_out_that_the_owner_is_gone", "HOSTCRST_STALL=50ms", NULL, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    free(run.said);
}

/* The first release gives the lock to who waits first. */
static void behind_one_that_was_to_own_it(void)
{
    gone_t first = {.lock = &lock};
    crew_t others = {.lock = &lock};
    AcquireSRWLockExclusive(&lock);
    go_to_wait(&first, 1);
    send(&others, 0, 2, 3);
    vanish(&first);
    ReleaseSRWLockExclusive(&lock);
    recall(&others, 2);
    CHECK_EQ(inside(&others), 2);
    CHECK(is_zero(&lock));
}

static void behind_those_that_were_to_share_it(void)
{
    gone_t sharers[] = {{.lock = &lock, .shared = 1}, {.lock = &lock, .shared = 1}};
    crew_t others = {.lock = &lock};
    AcquireSRWLockExclusive(&lock);
    go_to_wait(&sharers[0], 1);
    go_to_wait(&sharers[1], 2);
    send(&others, 0, 1, 3);
    vanish(&sharers[0]);
    vanish(&sharers[1]);
    ReleaseSRWLockExclusive(&lock);
    recall(&others, 1);
    CHECK_EQ(inside(&others), 1);
    CHECK(is_zero(&lock));
}

/* The second release, soon after the first, wakes who waits first. */
static void behind_one_that_was_woken(void)
{
    crew_t before = {.lock = &lock};
    gone_t first = {.lock = &lock};
    crew_t others = {.lock = &lock};
    AcquireSRWLockExclusive(&lock);
    send(&before, 0, 1, 1);
    go_to_wait(&first, 2);
    send(&others, 0, 1, 3);
    vanish(&first);
    __atomic_store_n(&before.leave, 1, __ATOMIC_SEQ_CST);
    ReleaseSRWLockExclusive(&lock);
    recall(&before, 1);
    recall(&others, 1);
    CHECK_EQ(inside(&others), 1);
    CHECK(is_zero(&lock));
}

static void wait_behind_who_is_gone(void)
{
    handle(SIGUSR1, exit_at_once);
    behind_one_that_was_to_own_it();
    behind_those_that_were_to_share_it();
    behind_one_that_was_woken();
}

static void who_waits_behind_a_thread_that_is_gone_is_served(void)
{
    run_t run = child_of(wait_behind_who_is_gone, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_LACKS(run.said, "its owner has ended");
    free(run.said);
}

/* ---- owners that let go while a report is written ---- */

enum { MOST_TURNS = 100, WAITERS = 2 };

static check_thread_t turns[MOST_TURNS];
static int turns_sent, turns_begun, turns_to_end;
static pid_t now_owned_by;
/* How many looks of a report are left until the owner lets go; 0 for no such look. */
static int looks_left;

static void own_for_a_turn(void *unused)
{
    (void)unused;
    AcquireSRWLockExclusive(&lock);
    __atomic_store_n(&now_owned_by, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    int turn = __atomic_add_fetch(&turns_begun, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&turns_to_end, __ATOMIC_SEQ_CST) < turn) {
        check_pause();
    }
    ReleaseSRWLockExclusive(&lock);
}

/* The owner lets go of it and ends, and the next one, if there is one, owns it. */
static void end_a_turn(void)
{
    pid_t owner = __atomic_load_n(&now_owned_by, __ATOMIC_SEQ_CST);
    int turn = __atomic_load_n(&turns_begun, __ATOMIC_SEQ_CST);
    __atomic_store_n(&turns_to_end, turn, __ATOMIC_SEQ_CST);
    REQUIRE_SOON(syscall(SYS_tgkill, getpid(), owner, 0) != 0);
    REQUIRE_SOON(turn == turns_sent || __atomic_load_n(&turns_begun, __ATOMIC_SEQ_CST) > turn);
}

static void after_a_look_at_the_lock(void)
{
    if (looks_left != 0 && --looks_left == 0) {
        end_a_turn();
    }
}

/* A report during which the owner lets go at this look. Whether there were so many. */
static int report_with_a_change_at(int look, int *shown)
{
    while (turns_sent <= turns_begun + WAITERS - 1) {
        check_start(&turns[turns_sent++], own_for_a_turn, NULL);
        REQUIRE_SOON(__atomic_load_n(&turns_begun, __ATOMIC_SEQ_CST) != 0);
    }
    REQUIRE_SOON(reported_waiters() == WAITERS);
    looks_left = look;
    char *report = text_report();
    CHECK_LACKS(report, "a task that has ended");
    *shown += times_in(report, "      which is owned by a task that has just let go of it\n");
    free(report);
    int is_changed = looks_left == 0;
    looks_left = 0;
    return is_changed;
}

static void a_report_does_not_say_that_an_owner_has_ended_which_let_go_before(void)
{
    int shown = 0;
    int look = 1;
    while (report_with_a_change_at(look, &shown) && look < MOST_TURNS - WAITERS - 1) {
        look++;
    }
    CHECK(look > 1);
    CHECK_EQ(shown, WAITERS);
    while (turns_to_end < turns_sent) {
        end_a_turn();
    }
    for (int at = 0; at < turns_sent; at++) {
        check_join(&turns[at]);
    }
}

/* ---- forks ---- */

static void a_child_holds_what_its_thread_held_and_nobody_waits_there(void)
{
    crew_t others = {.lock = &lock};
    AcquireSRWLockExclusive(&lock);
    send(&others, 0, 2, 2);
    pid_t child = fork();
    if (child == 0) {
        ReleaseSRWLockExclusive(&lock);
        AcquireSRWLockShared(&lock);
        CHECK(by_another(&lock, 1));
        ReleaseSRWLockShared(&lock);
        AcquireSRWLockExclusive(&lock);
        ReleaseSRWLockExclusive(&lock);
        CHECK(is_zero(&lock));
        CHECK_EQ(reported_waiters(), 0);
        fflush(NULL);
        _exit(check_failed_so_far());
    }
    int status = -1;
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    ReleaseSRWLockExclusive(&lock);
    recall(&others, 2);
    CHECK_EQ(inside(&others), 2);
}

/* ---- memory ---- */

static void acquire_release_and_free(void *argument)
{
    SRWLOCK *mine = (SRWLOCK *)argument;
    AcquireSRWLockExclusive(mine);
    ReleaseSRWLockExclusive(mine);
    memset(mine, 0x5A, sizeof *mine);
    free(mine);
}

static void memory_may_be_freed_by_the_last_to_release(void)
{
    for (int time = 0; time < 3000; time++) {
        SRWLOCK *one = (SRWLOCK *)calloc(1, sizeof *one);
        check_thread_t thread;
        AcquireSRWLockExclusive(one);
        check_start(&thread, acquire_release_and_free, one);
        if (time % 2 != 0) {
            sched_yield();
        }
        ReleaseSRWLockExclusive(one);
        check_join(&thread);
    }
}

static void errno_and_last_error_stay(void)
{
    crew_t owner = {.lock = &lock};
    AcquireSRWLockExclusive(&lock);
    send(&owner, 0, 1, 1);
    errno = 77;
    SetLastError(5);
    ReleaseSRWLockExclusive(&lock);
    CHECK(!TryAcquireSRWLockExclusive(&lock) || (ReleaseSRWLockExclusive(&lock), 1));
    CHECK_EQ(errno, 77);
    CHECK_EQ(GetLastError(), 5);
    recall(&owner, 1);
}

/* The first misuse of a kind is told, and a child has what its parent has done. */
CHECK_MAIN(CHECK_TEST(a_release_of_what_is_not_held_changes_nothing_and_is_told),
           CHECK_TEST(one_owns_or_all_share), CHECK_TEST(it_may_stand_at_any_address),
           CHECK_TEST(all_who_wait_to_share_get_it_together), CHECK_TEST(so_they_do_where_they_contend_for_it),
           CHECK_TEST(who_waits_to_own_it_is_not_passed_by_who_shares),
           CHECK_TEST(a_handler_in_a_wait_does_not_wait_for_that),
           CHECK_TEST(a_handler_does_not_lose_a_lock_that_was_given_meanwhile), CHECK_TEST(threads_never_meet_an_owner),
           CHECK_TEST(a_sleep_leaves_the_lock_and_has_it_again),
           CHECK_TEST(a_sleep_ends_in_time_and_wants_the_lock_held),
           CHECK_TEST(reports_and_chains_say_who_owns_it), CHECK_TEST(reports_say_how_many_share_it),
           CHECK_TEST(a_wait_chain_goes_through_it), CHECK_TEST(a_deadlock_through_one_is_reported_once),
           CHECK_TEST(an_owner_that_acquires_again_is_told_and_waits),
           CHECK_TEST(a_lock_of_an_owner_that_has_ended_stays_locked_and_that_is_told),
           CHECK_TEST(a_waiter_finds_out_that_the_owner_is_gone),
           CHECK_TEST(so_does_one_that_writes_stall_lines),
           CHECK_TEST(who_waits_behind_a_thread_that_is_gone_is_served),
           CHECK_TEST(a_report_does_not_say_that_an_owner_has_ended_which_let_go_before),
           CHECK_TEST(a_child_holds_what_its_thread_held_and_nobody_waits_there),
           CHECK_TEST(memory_may_be_freed_by_the_last_to_release), CHECK_TEST(errno_and_last_error_stay))
