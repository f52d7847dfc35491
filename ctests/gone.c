/*
 * Threads that are gone without having ended their task: by the bare system call, or because they called the library
 * for the first time in the last round of their destructors. What they own is abandoned, waiters behind them are
 * served, and their slots are reused. The tests ask the system whether a thread is gone, and never conclude it from
 * time. The program replaces libc's syscall(), so that a thread can have the id of an earlier one.
 */
#include "host.h"
#include "own_syscall.h"

#include <hostcrst/win32.h>
#include <limits.h>
#include <signal.h>

static __thread long pretended_thread;
/* Counts the sleeps of the thread that asks for it. */
static __thread int counts_sleeps;
static int sleeps;

/* Called with the thread that the library asks for, once. */
static void (*before_asking)(pid_t thread);

static int stands_in(long number, const long *arguments, long *result)
{
    if (number == SYS_tgkill && before_asking != NULL) {
        before_asking((pid_t)arguments[1]);
    }
    if (number == SYS_futex && counts_sleeps) {
        __atomic_add_fetch(&sleeps, 1, __ATOMIC_SEQ_CST);
    }
    if (number != SYS_gettid || pretended_thread == 0) {
        return 0;
    }
    *result = pretended_thread;
    return 1;
}

/* ---- threads that vanish ---- */

typedef struct vanisher {
    check_thread_t thread;
    check_steps_t steps;
    hostcrst_t crst;
    int times;
    host_task_t task;
    pid_t id;
} vanisher_t;

static void own_and_vanish(void *argument)
{
    vanisher_t *self = (vanisher_t *)argument;
    self->task = this_task();
    self->id = (pid_t)syscall(SYS_gettid);
    for (int time = 0; time < self->times; time++) {
        CHECK_EQ(hostcrst_enter(self->crst, 0), S_OK);
        if (time + 1 < self->times) {
            CHECK_EQ(hostcrst_leave(self->crst), S_OK);
        }
    }
    check_reach(&self->steps, 1);
    check_await(&self->steps, 2);
    syscall(SYS_exit, 0);
}

/* Enters the section `times` times, leaves it once less, and vanishes on request. */
static void begin_to_own(vanisher_t *self, hostcrst_t crst, int times)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    self->steps = none;
    self->crst = crst;
    self->times = times;
    check_start(&self->thread, own_and_vanish, self);
    check_await(&self->steps, 1);
}

static int has_thread(pid_t thread)
{
    return syscall(SYS_tgkill, getpid(), thread, 0) == 0;
}

static void vanish(vanisher_t *self)
{
    check_reach(&self->steps, 2);
    check_join(&self->thread);
    REQUIRE_SOON(!has_thread(self->id));
}

static void take_over(hostcrst_t crst)
{
    CHECK_SECTION(crst, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(hostcrst_recover(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void check_ended(host_task_t task)
{
    host_task_info_t info = {sizeof info, 0, 0, 0, 0, 0};
    CHECK_EQ(host_task_info(task, &info), E_HANDLE);
}

static void who_comes_later_is_told(void)
{
    vanisher_t owner;
    start_runtime();
    hostcrst_t crst = new_section();
    begin_to_own(&owner, crst, 1);
    vanish(&owner);
    CHECK_EQ(hostcrst_enter(crst, 0), HOST_E_ABANDONED);
    check_ended(owner.task);
    take_over(crst);
}

/* Ends as it should, and another thread that owns a section takes its place. */
static vanisher_t polite;
static vanisher_t next;

static void visit_and_return(void *unused)
{
    (void)unused;
    polite.task = this_task();
    polite.id = (pid_t)syscall(SYS_gettid);
    check_reach(&polite.steps, 1);
    check_await(&polite.steps, 2);
}

static void end_the_polite_one(pid_t thread)
{
    if (thread == polite.id) {
        before_asking = NULL;
        check_reach(&polite.steps, 2);
        check_join(&polite.thread);
        REQUIRE_SOON(!has_thread(polite.id));
        begin_to_own(&next, next.crst, 1);
    }
}

static void who_takes_the_place_of_a_thread_that_is_asked_for_lives_on(void)
{
    vanisher_t owner;
    start_runtime();
    hostcrst_t crst = new_section();
    next.crst = new_section();
    this_task();
    check_start(&polite.thread, visit_and_return, NULL);
    check_await(&polite.steps, 1);
    begin_to_own(&owner, crst, 1);
    vanish(&owner);
    uint32_t left_before = 0;
    CHECK_EQ(host_tasks_left(&left_before), S_OK);

    before_asking = end_the_polite_one;
    CHECK_EQ(hostcrst_enter(crst, 0), HOST_E_ABANDONED);
    if (before_asking != NULL) {
        /* It was not asked for at all. */
        end_the_polite_one(polite.id);
    }
    check_ended(owner.task);
    check_ended(polite.task);
    uint32_t left = 0;
    CHECK_EQ(host_tasks_left(&left), S_OK);
    CHECK_EQ(left, left_before + 1);
    CHECK_SECTION(next.crst, HOSTCRST_OWNED, next.task, 1);
    take_over(crst);
    vanish(&next);
}

static void who_waits_already_is_told(void)
{
    vanisher_t owner;
    waiter_t waiters[3];
    start_runtime();
    hostcrst_t crst = new_section();
    begin_to_own(&owner, crst, 1);
    for (int at = 0; at < 3; at++) {
        wait_for(&waiters[at], crst, 0);
    }
    vanish(&owner);
    for (int at = 0; at < 3; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), HOST_E_ABANDONED);
    }
    check_ended(owner.task);
    take_over(crst);
}

static void who_destroys_or_recovers_finds_out_alone(void)
{
    vanisher_t owner;
    start_runtime();
    hostcrst_t destroyed = new_section(), recovered = new_section();
    begin_to_own(&owner, destroyed, 2);
    CHECK_EQ(hostcrst_recover(destroyed), HOST_E_INVALIDOPERATION);
    CHECK_EQ(hostcrst_destroy(destroyed), HOST_E_NOT_OWNER);
    vanish(&owner);
    CHECK_EQ(hostcrst_destroy(destroyed), S_OK);
    check_ended(owner.task);
    begin_to_own(&owner, recovered, 1);
    vanish(&owner);
    CHECK_EQ(hostcrst_recover(recovered), S_OK);
    CHECK_SECTION(recovered, HOSTCRST_OWNED, this_task(), 1);
    check_ended(owner.task);
    CHECK_EQ(hostcrst_leave(recovered), S_OK);
    CHECK_EQ(hostcrst_destroy(recovered), S_OK);
}

static void own_a_biased_section(void)
{
    vanisher_t owner;
    REQUIRE_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start_runtime();
    hostcrst_t crst = new_section();
    hostcrst_t other = new_section();
    begin_to_own(&owner, crst, 3);
    vanish(&owner);
    CHECK_EQ(hostcrst_enter(crst, 0), HOST_E_ABANDONED);
    take_over(crst);
    CHECK_EQ(hostcrst_destroy(other), S_OK);
}

static void a_section_biased_to_a_thread_that_is_gone_is_abandoned(void)
{
    in_child(own_a_biased_section);
}

/* ---- in the last round of destructors ---- */

static pthread_key_t key;
static hostcrst_t of_destructor;

static void call_in_the_last_round(void *round)
{
    size_t now = (size_t)round;
    if (now < PTHREAD_DESTRUCTOR_ITERATIONS) {
        REQUIRE_EQ(pthread_setspecific(key, (void *)(now + 1)), 0);
    } else if (of_destructor != 0) {
        CHECK_EQ(hostcrst_enter(of_destructor, 0), S_OK);
    } else {
        this_task();
    }
}

static void end_late(void *unused)
{
    (void)unused;
    REQUIRE_EQ(pthread_setspecific(key, (void *)1), 0);
}

static void a_task_born_in_the_last_round_ends(void)
{
    check_thread_t thread;
    start_runtime();
    REQUIRE_EQ(pthread_key_create(&key, call_in_the_last_round), 0);
    of_destructor = new_section();
    check_start(&thread, end_late, NULL);
    check_join(&thread);
    CHECK_EQ(hostcrst_enter(of_destructor, 0), HOST_E_ABANDONED);
    take_over(of_destructor);
    of_destructor = 0;
    REQUIRE_EQ(pthread_key_delete(key), 0);
}

static void *end_late_main(void *unused)
{
    end_late(unused);
    return NULL;
}

/* So little address space that there is room for a few thousand tasks. */
static void be_born_and_forgotten(void)
{
    enum { TASKS = 20000 };
    struct rlimit limit = {128 << 20, 128 << 20};
    pthread_attr_t small;
    host_task_t task = 0;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    start_runtime();
    REQUIRE_EQ(pthread_key_create(&key, call_in_the_last_round), 0);
    REQUIRE_EQ(pthread_attr_init(&small), 0);
    REQUIRE_EQ(pthread_attr_setstacksize(&small, 64 << 10), 0);
    of_destructor = 0;
    for (int at = 0; at < TASKS && check_failed_so_far() == 0; at++) {
        pthread_t thread;
        REQUIRE_EQ(pthread_create(&thread, &small, end_late_main, NULL), 0);
        REQUIRE_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK_EQ(host_task_current(&task), S_OK);
}

static void their_places_are_used_again(void)
{
    in_child(be_born_and_forgotten);
}

/* ---- a later thread with the same id ---- */

static void have_the_id(void *argument)
{
    vanisher_t *earlier = (vanisher_t *)argument;
    pretended_thread = earlier->id;
    CHECK_NE(this_task(), earlier->task);
    check_ended(earlier->task);
    CHECK_SECTION(earlier->crst, HOSTCRST_ABANDONED, 0, 0);
}

static void a_later_thread_of_the_same_id_ends_the_earlier_task(void)
{
    vanisher_t owner;
    check_thread_t later;
    start_runtime();
    hostcrst_t crst = new_section();
    begin_to_own(&owner, crst, 1);
    vanish(&owner);
    check_start(&later, have_the_id, &owner);
    check_join(&later);
    take_over(crst);
}

/* ---- threads whose ids the system keeps back ---- */

static void visit_without_an_id(void *argument)
{
    hostcrst_t *crst = (hostcrst_t *)argument;
    pretended_thread = -1;
    CHECK_EQ(hostcrst_enter_timeout(*crst, 0, 0), HOST_E_TIMEOUT);
    CHECK_EQ(hostcrst_recover(*crst), HOST_E_INVALIDOPERATION);
}

static void own_without_an_id(void *argument)
{
    hostcrst_t *crst = (hostcrst_t *)argument;
    check_thread_t other;
    pretended_thread = -1;
    CHECK_EQ(hostcrst_enter(*crst, 0), S_OK);
    check_start(&other, visit_without_an_id, crst);
    check_join(&other);
    CHECK_SECTION(*crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(*crst), S_OK);
}

static void without_ids_no_thread_is_taken_for_another(void)
{
    check_thread_t owner;
    start_runtime();
    hostcrst_t crst = new_section();
    check_start(&owner, own_without_an_id, &crst);
    check_join(&owner);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- a thread that vanishes while it waits ---- */

static void exit_at_once(int signal)
{
    (void)signal;
    syscall(SYS_exit, 0);
}

static void expect_to_vanish(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = exit_at_once;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

static void vanish_in_the_wait(waiter_t *waiter)
{
    pid_t id = (pid_t)task_info_of(waiter->task).thread_id;
    REQUIRE_EQ(pthread_kill(waiter->thread.id, SIGUSR1), 0);
    check_join(&waiter->thread);
    REQUIRE_SOON(!has_thread(id));
}

static void who_waits_behind_a_thread_that_is_gone_is_served(void)
{
    waiter_t first, second;
    start_runtime();
    expect_to_vanish();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&first, crst, 0);
    wait_for(&second, crst, 0);
    vanish_in_the_wait(&first);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&second), S_OK);
    check_ended(first.task);
    CHECK_EQ(info_of(crst).waiters, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* The one that lives checks all of them at once: with a check for each, at doubling times, the test would be given up. */
static void who_waits_behind_many_threads_that_are_gone_is_served(void)
{
    enum { GONE = 8 };
    waiter_t gone[GONE], last;
    start_runtime();
    expect_to_vanish();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < GONE; at++) {
        wait_for(&gone[at], crst, 0);
    }
    wait_for(&last, crst, 0);
    for (int at = 0; at < GONE; at++) {
        vanish_in_the_wait(&gone[at]);
    }
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&last), S_OK);
    for (int at = 0; at < GONE; at++) {
        check_ended(gone[at].task);
    }
    CHECK_EQ(info_of(crst).waiters, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- Windows' sections ---- */

static CRITICAL_SECTION of_windows;

static void own_of_windows_and_vanish(void *id)
{
    EnterCriticalSection(&of_windows);
    __atomic_store_n((pid_t *)id, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    syscall(SYS_exit, 0);
}

static void wait_for_that_of_windows(void *id)
{
    __atomic_store_n((pid_t *)id, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    EnterCriticalSection(&of_windows);
}

static void a_section_of_windows_that_only_such_threads_have_is_deleted(void)
{
    check_thread_t owner, waiters[2];
    pid_t id = 0, waiting[2] = {0, 0};
    expect_to_vanish();
    InitializeCriticalSection(&of_windows);
    check_start(&owner, own_of_windows_and_vanish, &id);
    check_join(&owner);
    REQUIRE_SOON(!has_thread(id));
    DeleteCriticalSection(&of_windows);
    CHECK(of_windows.DebugInfo == NULL);

    InitializeCriticalSection(&of_windows);
    EnterCriticalSection(&of_windows);
    for (int at = 0; at < 2; at++) {
        check_start(&waiters[at], wait_for_that_of_windows, &waiting[at]);
        REQUIRE_SOON(of_windows.LockCount == -2 - 4 * (at + 1));
        REQUIRE_EQ(pthread_kill(waiters[at].id, SIGUSR1), 0);
        check_join(&waiters[at]);
        REQUIRE_SOON(!has_thread(__atomic_load_n(&waiting[at], __ATOMIC_SEQ_CST)));
    }
    DeleteCriticalSection(&of_windows);
    CHECK(of_windows.DebugInfo == NULL);
}

/* ---- an SRW lock that such a thread was given, and whose id another has ---- */

static SRWLOCK given;

typedef struct acquirer {
    check_thread_t thread;
    int is_counted;
    pid_t id;
} acquirer_t;

static void acquire_and_release(void *argument)
{
    acquirer_t *self = (acquirer_t *)argument;
    counts_sleeps = self->is_counted;
    __atomic_store_n(&self->id, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    AcquireSRWLockExclusive(&given);
    ReleaseSRWLockExclusive(&given);
}

static void let_wait(acquirer_t *self)
{
    check_start(&self->thread, acquire_and_release, self);
    REQUIRE_SOON(__atomic_load_n(&self->id, __ATOMIC_SEQ_CST) != 0);
    REQUIRE_SOON(check_thread_state(getpid(), self->id) == 'S');
}

static void use_its_id(void *argument)
{
    pretended_thread = ((acquirer_t *)argument)->id;
    this_task();
}

/* Only who waits for the lock can give it back: the later thread leaves it. */
static void who_waits_behind_a_thread_whose_id_is_used_again_is_served(void)
{
    acquirer_t first = {.is_counted = 0}, second = {.is_counted = 1};
    check_thread_t later;
    start_runtime();
    expect_to_vanish();
    AcquireSRWLockExclusive(&given);
    let_wait(&first);
    let_wait(&second);
    /* It has looked for who is gone, and does not again soon. */
    REQUIRE_SOON(__atomic_load_n(&sleeps, __ATOMIC_SEQ_CST) >= 2);
    REQUIRE_EQ(pthread_kill(first.thread.id, SIGUSR1), 0);
    check_join(&first.thread);
    REQUIRE_SOON(!has_thread(first.id));
    ReleaseSRWLockExclusive(&given);
    check_start(&later, use_its_id, &first);
    check_join(&later);
    check_join(&second.thread);
    CHECK(TryAcquireSRWLockExclusive(&given));
    ReleaseSRWLockExclusive(&given);
}

/* ---- the first thread ---- */

static hostcrst_t of_the_first_thread;

static void live_longer(void *unused)
{
    (void)unused;
    CHECK_EQ(hostcrst_enter(of_the_first_thread, 0), HOST_E_ABANDONED);
    take_over(of_the_first_thread);
    fflush(stdout);
    _exit(check_failed_so_far() != 0);
}

static void vanish_as_the_first_thread(void)
{
    check_thread_t other;
    start_runtime();
    of_the_first_thread = new_section();
    CHECK_EQ(hostcrst_enter(of_the_first_thread, 0), S_OK);
    check_start(&other, live_longer, NULL);
    syscall(SYS_exit, 0);
}

static void the_first_thread_may_be_gone_too(void)
{
    in_child(vanish_as_the_first_thread);
}

CHECK_MAIN(CHECK_TEST(a_section_biased_to_a_thread_that_is_gone_is_abandoned),
           CHECK_TEST(their_places_are_used_again), CHECK_TEST(the_first_thread_may_be_gone_too),
           CHECK_TEST(who_comes_later_is_told), CHECK_TEST(who_waits_already_is_told),
           CHECK_TEST(who_takes_the_place_of_a_thread_that_is_asked_for_lives_on),
           CHECK_TEST(who_destroys_or_recovers_finds_out_alone),
           CHECK_TEST(a_section_of_windows_that_only_such_threads_have_is_deleted),
           CHECK_TEST(a_task_born_in_the_last_round_ends),
           CHECK_TEST(a_later_thread_of_the_same_id_ends_the_earlier_task),
           CHECK_TEST(without_ids_no_thread_is_taken_for_another),
           CHECK_TEST(who_waits_behind_a_thread_that_is_gone_is_served),
           CHECK_TEST(who_waits_behind_many_threads_that_are_gone_is_served),
           CHECK_TEST(who_waits_behind_a_thread_whose_id_is_used_again_is_served))
