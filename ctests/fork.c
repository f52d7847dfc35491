/*
 * Forks at every moment: while other threads are anywhere inside the library, while the forking thread waits or is in a
 * deadlock callback, in the program's own fork handlers, and with a million sections. The program replaces libc's
 * syscall(), so that it can hold a thread where the library makes a system call.
 */
#include "capture.h"
#include "lock_count.h"
#include "own_syscall.h"

#include <fcntl.h>
#include <link.h>
#include <linux/membarrier.h>
#include <signal.h>

/* ---- a thread that is held inside the library ---- */

static long held_call;
static long held_first_argument;
static int is_held;
static int may_go_on;

/* Holds the first thread that makes the call, until let_it_go. */
static void hold_at(long number, long first_argument)
{
    __atomic_store_n(&is_held, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&may_go_on, 0, __ATOMIC_RELAXED);
    held_first_argument = first_argument;
    __atomic_store_n(&held_call, number, __ATOMIC_RELEASE);
}

static void await_held(void)
{
    REQUIRE_SOON(__atomic_load_n(&is_held, __ATOMIC_ACQUIRE));
}

static void let_it_go(void)
{
    __atomic_store_n(&may_go_on, 1, __ATOMIC_RELEASE);
}

static int stands_in(long number, const long *arguments, long *result)
{
    long expected = number;
    (void)result;
    if (number == __atomic_load_n(&held_call, __ATOMIC_ACQUIRE) && number != 0 &&
        (held_first_argument < 0 || arguments[0] == held_first_argument) &&
        __atomic_compare_exchange_n(&held_call, &expected, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        __atomic_store_n(&is_held, 1, __ATOMIC_RELEASE);
        while (!__atomic_load_n(&may_go_on, __ATOMIC_ACQUIRE)) {
            check_pause();
        }
    }
    return 0;
}

/* All of the library works. */
static void use_everything(void)
{
    holder_t holder;
    waiter_t waiter;
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_set_name(crst, "in the child"), S_OK);
    CHECK_EQ(host_task_set_name(this_task(), "in the child"), S_OK);
    CHECK_EQ(host_set_call_hook(123456, 0), S_OK);
    hold(&holder, crst);
    wait_for(&waiter, crst, 0);
    CHECK_EQ(info_of(crst).waiters, 1);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(host_report(open("/dev/null", O_WRONLY), HOST_REPORT_TEXT), S_OK);
}

/* ---- during the first call ---- */

static void make_the_first_call(void *unused)
{
    (void)unused;
    CHECK_EQ(host_runtime_start(), S_OK);
}

static void start_in_the_child(void)
{
    CHECK_EQ(host_runtime_start(), S_OK);
    use_everything();
}

static void fork_in_the_first_call(void)
{
    check_thread_t thread;
    hold_at(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    check_start(&thread, make_the_first_call, NULL);
    await_held();
    in_child(start_in_the_child);
    let_it_go();
    check_join(&thread);
    use_everything();
}

static void a_child_makes_its_own_first_call(void)
{
    in_child(fork_in_the_first_call);
}

static int look_on(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)info, (void)size, (void)unused;
    __atomic_store_n(&is_held, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&may_go_on, __ATOMIC_ACQUIRE)) {
        check_pause();
    }
    return 1;
}

static void look_at_what_is_loaded(void *unused)
{
    (void)unused;
    dl_iterate_phdr(look_on, NULL);
}

static void fork_while_one_looks(void)
{
    check_thread_t thread;
    check_start(&thread, look_at_what_is_loaded, NULL);
    await_held();
    in_child(start_in_the_child);
    let_it_go();
    check_join(&thread);
}

/* The child finds the loader's lock taken, and glibc gives it up for nobody. */
static void a_childs_first_call_takes_no_lock_of_the_loaders(void)
{
    in_child(fork_while_one_looks);
}

/* ---- in a wait ---- */

static hostcrst_t busy;
static uint32_t limit;
static volatile pid_t forked;
static int32_t ended_with;
static host_task_t forking_task;

static void fork_here(int signal)
{
    (void)signal;
    forked = fork();
    if (forked == 0) {
        __atomic_store_n(&check_failures, 0, __ATOMIC_RELAXED);
        alarm(2 * CHECK_PATIENCE_SECONDS);
    }
}

static void check_child(pid_t child)
{
    int status = -1;
    REQUIRE(child > 0);
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void enter_and_fork(void *unused)
{
    (void)unused;
    forked = -1;
    __atomic_store_n(&forking_task, this_task(), __ATOMIC_RELEASE);
    ended_with = hostcrst_enter_timeout(busy, 0, limit);
    if (forked == 0) {
        CHECK_EQ(ended_with, HOST_E_ABANDONED);
        CHECK_EQ(info_of(busy).waiters, 0);
        CHECK_SECTION(busy, HOSTCRST_ABANDONED, 0, 0);
        CHECK_EQ(task_info_of(this_task()).waiting_for, 0);
        CHECK_EQ(task_info_of(this_task()).thread_id, getpid());
        CHECK_EQ(hostcrst_recover(busy), S_OK);
        CHECK_EQ(hostcrst_leave(busy), S_OK);
        use_everything();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    if (ended_with == S_OK) {
        CHECK_EQ(hostcrst_leave(busy), S_OK);
    }
}

static void the_childs_own_wait_is_over(void)
{
    static const uint32_t limits[] = {HOSTCRST_INFINITE, 1000000};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = fork_here;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start_runtime();
    busy = new_section();
    for (int at = 0; at < 2; at++) {
        check_thread_t thread;
        limit = limits[at];
        forking_task = 0;
        CHECK_EQ(hostcrst_enter(busy, 0), S_OK);
        check_start(&thread, enter_and_fork, NULL);
        REQUIRE_SOON(__atomic_load_n(&forking_task, __ATOMIC_ACQUIRE) != 0 && is_waiting(forking_task, busy));
        REQUIRE_EQ(pthread_kill(thread.id, SIGUSR1), 0);
        REQUIRE_SOON(forked > 0);
        check_child(forked);
        CHECK_EQ(info_of(busy).waiters, 1);
        CHECK_EQ(hostcrst_leave(busy), S_OK);
        check_join(&thread);
        CHECK_EQ(ended_with, S_OK);
    }
    CHECK_EQ(hostcrst_destroy(busy), S_OK);
}

/* ---- in a callback ---- */

static hostcrst_t mine, theirs;
static check_steps_t steps = CHECK_STEPS_INIT;

static void fork_when_told(const host_deadlock_t *deadlock, void *unused)
{
    (void)deadlock;
    (void)unused;
    fork_here(0);
}

static void wait_in_the_cycle(void *unused)
{
    (void)unused;
    CHECK_EQ(hostcrst_enter(theirs, 0), S_OK);
    check_reach(&steps, 1);
    CHECK_EQ(hostcrst_enter(mine, 0), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_leave(theirs), S_OK);
}

static void a_child_made_in_a_callback_goes_on(void)
{
    check_thread_t thread;
    start_runtime();
    mine = new_section();
    theirs = new_section();
    REQUIRE_EQ(host_set_deadlock_callback(fork_when_told, NULL), S_OK);
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    check_start(&thread, wait_in_the_cycle, NULL);
    check_await(&steps, 1);
    REQUIRE_SOON(info_of(mine).waiters == 1);
    int32_t result = hostcrst_enter(theirs, WAIT_NOTINDEADLOCK);
    if (forked == 0) {
        CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
        /* Its owner may have left it before the fork. */
        CHECK(result == HOST_E_ABANDONED || result == S_OK);
        CHECK_EQ(info_of(theirs).waiters, 0);
        CHECK_SECTION(mine, HOSTCRST_OWNED, this_task(), 1);
        CHECK_EQ(info_of(mine).waiters, 0);
        CHECK_EQ(hostcrst_leave(mine), S_OK);
        use_everything();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    CHECK_EQ(result, S_OK);
    check_child(forked);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    CHECK_EQ(hostcrst_leave(theirs), S_OK);
    CHECK_EQ(hostcrst_leave(mine), S_OK);
    check_join(&thread);
    CHECK_EQ(hostcrst_destroy(mine), S_OK);
    CHECK_EQ(hostcrst_destroy(theirs), S_OK);
}

/* ---- while a search for a deadlock goes on ---- */

static void deadlock_of_two(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    check_thread_t thread;
    mine = new_section();
    theirs = new_section();
    steps = none;
    CHECK_EQ(hostcrst_enter(mine, 0), S_OK);
    check_start(&thread, wait_in_the_cycle, NULL);
    check_await(&steps, 1);
    REQUIRE_SOON(info_of(mine).waiters == 1);
    CHECK_EQ(hostcrst_enter(theirs, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(hostcrst_leave(theirs), S_OK);
    CHECK_EQ(hostcrst_leave(mine), S_OK);
    check_join(&thread);
    CHECK_EQ(hostcrst_destroy(mine), S_OK);
    CHECK_EQ(hostcrst_destroy(theirs), S_OK);
}

static void find_one(void *unused)
{
    (void)unused;
    deadlock_of_two();
}

static void a_child_finds_deadlocks_though_a_search_was_going_on(void)
{
    check_thread_t thread;
    start_runtime();
    /* The search asks for the names of threads. */
    hold_at(SYS_openat, AT_FDCWD);
    check_start(&thread, find_one, NULL);
    await_held();
    in_child(deadlock_of_two);
    let_it_go();
    check_join(&thread);
    in_child(deadlock_of_two);
}

/* ---- while a section is biased, or its bias is being revoked ---- */

static void enter_many_times(void *crst)
{
    for (int time = 0; time < 3; time++) {
        CHECK_EQ(hostcrst_enter(*(hostcrst_t *)crst, 0), S_OK);
        CHECK_EQ(hostcrst_leave(*(hostcrst_t *)crst), S_OK);
    }
}

static void earn_a_bias_and_stay(void *crst)
{
    enter_many_times(crst);
    check_reach(&steps, 1);
    check_await(&steps, 2);
}

static void enter_and_leave_once(void *crst)
{
    CHECK_EQ(hostcrst_enter(*(hostcrst_t *)crst, 0), S_OK);
    CHECK_EQ(hostcrst_leave(*(hostcrst_t *)crst), S_OK);
}

static hostcrst_t biased;

static void find_it_free(void)
{
    CHECK_SECTION(biased, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_enter_timeout(biased, 0, 1000), S_OK);
    CHECK_SECTION(biased, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(biased), S_OK);
    use_everything();
}

static void fork_while_it_is_biased_and_revoked(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    check_thread_t biased_task, revoker;
    REQUIRE_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start_runtime();
    biased = new_section();
    steps = none;
    check_start(&biased_task, earn_a_bias_and_stay, &biased);
    check_await(&steps, 1);
    in_child(find_it_free);

    /* A thread that revokes waits for its barrier. */
    hold_at(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    check_start(&revoker, enter_and_leave_once, &biased);
    await_held();
    in_child(find_it_free);
    let_it_go();
    check_join(&revoker);
    check_reach(&steps, 2);
    check_join(&biased_task);
    find_it_free();
}

static void a_section_biased_to_a_thread_of_the_parent_is_free(void)
{
    in_child(fork_while_it_is_biased_and_revoked);
}

/* ---- while a name is set ---- */

static const char long_name[] = "a name that takes as long to write as a name can take";
static int stop_naming;
static host_task_t naming_task;

static void name_a_section(void *crst)
{
    while (!__atomic_load_n(&stop_naming, __ATOMIC_RELAXED)) {
        CHECK_EQ(hostcrst_set_name(*(hostcrst_t *)crst, long_name), S_OK);
    }
}

static void name_a_task(void *unused)
{
    (void)unused;
    __atomic_store_n(&naming_task, this_task(), __ATOMIC_RELEASE);
    while (!__atomic_load_n(&stop_naming, __ATOMIC_RELAXED)) {
        CHECK_EQ(host_task_set_name(naming_task, long_name), S_OK);
    }
}

static hostcrst_t named;

static void set_every_name(void)
{
    CHECK_EQ(hostcrst_set_name(named, "short"), S_OK);
    /* One of these takes the slot of the parent's thread. */
    for (int at = 0; at < 3; at++) {
        holder_t holder;
        hold(&holder, named);
        CHECK_EQ(host_task_set_name(holder.task, "short"), S_OK);
        let_go(&holder);
    }
}

static void a_name_that_was_being_set_can_be_set(void)
{
    enum { FORKS = 60 };
    check_thread_t of_section, of_task;
    start_runtime();
    named = new_section();
    check_start(&of_section, name_a_section, &named);
    check_start(&of_task, name_a_task, NULL);
    REQUIRE_SOON(__atomic_load_n(&naming_task, __ATOMIC_ACQUIRE) != 0);
    for (int time = 0; time < FORKS; time++) {
        in_child(set_every_name);
    }
    __atomic_store_n(&stop_naming, 1, __ATOMIC_RELAXED);
    check_join(&of_section);
    check_join(&of_task);
    CHECK_EQ(hostcrst_destroy(named), S_OK);
}

/* ---- handlers of the program's own ---- */

static hostcrst_t of_the_program;
static pthread_mutex_t its_mutex = PTHREAD_MUTEX_INITIALIZER;
static int stop_working;

static void use_a_section(void)
{
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_set_name(crst, "in a handler"), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void enter_the_section(void)
{
    CHECK_EQ(hostcrst_enter(of_the_program, 0), S_OK);
    use_a_section();
}

static void leave_the_section(void)
{
    use_a_section();
    CHECK_EQ(hostcrst_leave(of_the_program), S_OK);
}

static void lock_and_enter(void)
{
    REQUIRE_EQ(pthread_mutex_lock(&its_mutex), 0);
    enter_the_section();
}

static void leave_and_unlock(void)
{
    leave_the_section();
    REQUIRE_EQ(pthread_mutex_unlock(&its_mutex), 0);
}

/* Needs every lock that the library has for itself, while it has what the handlers wait for. */
static void work(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&stop_working, __ATOMIC_RELAXED)) {
        CHECK_EQ(hostcrst_enter(of_the_program, 0), S_OK);
        use_a_section();
        CHECK_EQ(hostcrst_leave(of_the_program), S_OK);
        REQUIRE_EQ(pthread_mutex_lock(&its_mutex), 0);
        use_a_section();
        REQUIRE_EQ(pthread_mutex_unlock(&its_mutex), 0);
    }
}

static void fork_among_handlers(void)
{
    enum { WORKERS = 2, FORKS = 60 };
    check_thread_t threads[WORKERS];
    /* Before those of the library, if it has any, and after them. */
    REQUIRE_EQ(pthread_atfork(lock_and_enter, leave_and_unlock, leave_and_unlock), 0);
    start_runtime();
    REQUIRE_EQ(pthread_atfork(enter_the_section, leave_the_section, leave_the_section), 0);
    of_the_program = new_section();
    for (int at = 0; at < WORKERS; at++) {
        check_start(&threads[at], work, NULL);
    }
    for (int time = 0; time < FORKS; time++) {
        in_child(use_everything);
    }
    __atomic_store_n(&stop_working, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < WORKERS; at++) {
        check_join(&threads[at]);
    }
}

static void handlers_of_the_program_may_use_sections(void)
{
    in_child(fork_among_handlers);
}

/* ---- without handlers at all ---- */

/* As _Fork does it. */
static void a_child_is_put_in_order_by_its_first_call(void)
{
    holder_t holder;
    start_runtime();
    busy = new_section();
    hold(&holder, busy);
    fflush(stdout);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        alarm(2 * CHECK_PATIENCE_SECONDS);
        _exit(info_of(busy).state != HOSTCRST_ABANDONED || hostcrst_enter(busy, 0) != HOST_E_ABANDONED);
    }
    check_child(child);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(busy), S_OK);
}

static CRITICAL_SECTION left_for_a_sleep;
static CONDITION_VARIABLE slept_on;
static pid_t sleeper;
static int is_woken;

/* As _Fork does it, and the kernel begins the interrupted system call again if it has no time limit. */
static void fork_here_without_handlers(int signal)
{
    (void)signal;
    forked = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (forked == 0) {
        __atomic_store_n(&check_failures, 0, __ATOMIC_RELAXED);
        alarm(2 * CHECK_PATIENCE_SECONDS);
    }
}

static void sleep_and_be_forked(void *unused)
{
    (void)unused;
    forked = -1;
    EnterCriticalSection(&left_for_a_sleep);
    __atomic_store_n(&sleeper, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    while (forked != 0 && !__atomic_load_n(&is_woken, __ATOMIC_ACQUIRE)) {
        CHECK_EQ(SleepConditionVariableCS(&slept_on, &left_for_a_sleep, INFINITE), TRUE);
    }
    LeaveCriticalSection(&left_for_a_sleep);
    if (forked == 0) {
        CHECK_EQ(lock_count(&left_for_a_sleep), -1);
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
}

static void a_sleep_of_the_childs_own_is_over_without_handlers_too(void)
{
    check_thread_t thread;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = fork_here_without_handlers;
    action.sa_flags = SA_RESTART;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    check_start(&thread, sleep_and_be_forked, NULL);
    REQUIRE_SOON(__atomic_load_n(&sleeper, __ATOMIC_ACQUIRE) != 0);
    EnterCriticalSection(&left_for_a_sleep);
    LeaveCriticalSection(&left_for_a_sleep);
    REQUIRE_SOON(check_thread_state(getpid(), sleeper) == 'S');
    REQUIRE_EQ(pthread_kill(thread.id, SIGUSR1), 0);
    REQUIRE_SOON(forked > 0);
    check_child(forked);
    __atomic_store_n(&is_woken, 1, __ATOMIC_RELEASE);
    WakeAllConditionVariable(&slept_on);
    check_join(&thread);
}

static hostcrst_t looked_at;

static void wait_for_it(void *unused)
{
    (void)unused;
    CHECK_EQ(hostcrst_enter(looked_at, 0), S_OK);
    CHECK_EQ(hostcrst_leave(looked_at), S_OK);
}

/*
 * The library samples one entry of 1024, and at the sixteenth sample it takes the lock of the section's queue, without
 * reading anything else before that. Here a thread of the parent has that lock.
 */
static void enter_under_a_lock_that_nobody_has(void *unused)
{
    enum { ENTRIES_TO_THE_LAST_SAMPLE = 16 * 1024 };
    check_thread_t waiter;
    (void)unused;
    looked_at = new_section();
    for (int entry = 1; entry < ENTRIES_TO_THE_LAST_SAMPLE; entry++) {
        if (entry > 1) {
            CHECK_EQ(hostcrst_leave(looked_at), S_OK);
        }
        CHECK_EQ(hostcrst_enter(looked_at, 0), S_OK);
    }
    hold_at(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    check_start(&waiter, wait_for_it, NULL);
    await_held();
    CHECK_EQ(hostcrst_leave(looked_at), S_OK);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        alarm(2 * CHECK_PATIENCE_SECONDS);
        _exit(hostcrst_enter(looked_at, 0) != S_OK || hostcrst_leave(looked_at) != S_OK);
    }
    check_child(child);
    let_it_go();
    check_join(&waiter);
}

static void a_lock_of_a_thread_of_the_parent_is_free(void)
{
    /* A new thread: the entries of each are counted by themselves. */
    check_thread_t thread;
    start_runtime();
    check_start(&thread, enter_under_a_lock_that_nobody_has, NULL);
    check_join(&thread);
    CHECK_EQ(hostcrst_destroy(looked_at), S_OK);
}

/* ---- with waiters of the parent ---- */

static CRITICAL_SECTION shown;
static int leaves_in_its_handler;
static int attempt_is_over;

static void enter_and_leave_shown(void *unused)
{
    (void)unused;
    EnterCriticalSection(&shown);
    LeaveCriticalSection(&shown);
    __atomic_store_n(&attempt_is_over, 1, __ATOMIC_RELEASE);
}

static void hold_until_the_waiter_rests(void *steps_of_it)
{
    enum { OWNED_ONE_ASLEEP = -6 };
    CHECK_EQ(hostcrst_enter(busy, 0), S_OK);
    check_reach(steps_of_it, 1);
    check_await(steps_of_it, 2);
    REQUIRE_SOON(info_of(busy).waiters == 1);
    REQUIRE_SOON(lock_count(&shown) == OWNED_ONE_ASLEEP || __atomic_load_n(&attempt_is_over, __ATOMIC_ACQUIRE));
    CHECK_EQ(hostcrst_leave(busy), S_OK);
}

/*
 * A waiter that loses the section to an owner that waits itself asks for the section to be handed over. The caller owns it
 * from here on. False if the waiter has not lost but come first.
 */
static int own_what_is_to_be_handed_over(check_thread_t *waiter)
{
    check_steps_t of_holder = CHECK_STEPS_INIT;
    check_thread_t holder;
    __atomic_store_n(&attempt_is_over, 0, __ATOMIC_RELAXED);
    EnterCriticalSection(&shown);
    check_start(waiter, enter_and_leave_shown, NULL);
    REQUIRE_SOON(lock_count(&shown) == -6);
    check_start(&holder, hold_until_the_waiter_rests, &of_holder);
    check_await(&of_holder, 1);
    LeaveCriticalSection(&shown);
    EnterCriticalSection(&shown);
    check_reach(&of_holder, 2);
    CHECK_EQ(hostcrst_enter(busy, 0), S_OK);
    CHECK_EQ(hostcrst_leave(busy), S_OK);
    check_join(&holder);
    if (lock_count(&shown) == -6) {
        return 1;
    }
    LeaveCriticalSection(&shown);
    check_join(waiter);
    return 0;
}

static void leave_in_the_handler(void)
{
    if (leaves_in_its_handler) {
        LeaveCriticalSection(&shown);
        CHECK_EQ(lock_count(&shown), -1);
    }
}

/* It is nobody's, though the handler ran before anything of the library's. */
static void take_what_was_left(void)
{
    REQUIRE(TryEnterCriticalSection(&shown));
    CHECK_EQ(lock_count(&shown), -2);
    LeaveCriticalSection(&shown);
    CHECK_EQ(lock_count(&shown), -1);
    use_everything();
}

static void leave_and_enter_it(void)
{
    CHECK_EQ(lock_count(&shown), -2);
    LeaveCriticalSection(&shown);
    take_what_was_left();
}

static void fork_as_the_owner_of_what_is_waited_for(void)
{
    enum { ATTEMPTS = 100 };
    check_thread_t waiter;
    int attempt = 0;
    REQUIRE_EQ(pthread_atfork(NULL, NULL, leave_in_the_handler), 0);
    start_runtime();
    busy = new_section();
    InitializeCriticalSection(&shown);
    while (!own_what_is_to_be_handed_over(&waiter)) {
        REQUIRE(++attempt < ATTEMPTS);
    }
    in_child(leave_and_enter_it);
    leaves_in_its_handler = 1;
    in_child(take_what_was_left);
    LeaveCriticalSection(&shown);
    check_join(&waiter);
    CHECK_EQ(lock_count(&shown), -1);
    DeleteCriticalSection(&shown);
}

static void a_section_left_in_the_childs_handler_is_passed_to_nobody_of_the_parent(void)
{
    in_child(fork_as_the_owner_of_what_is_waited_for);
}

/* ---- without handlers, and another thread comes first ---- */

static hostcrst_t owned, biased_one;

static void find_them_owned(void *unused)
{
    /* Longer than a waiter waits before it checks whether the owner's thread is gone. */
    enum { MILLISECONDS = 100 };
    (void)unused;
    CHECK_EQ(hostcrst_enter_timeout(owned, 0, MILLISECONDS), HOST_E_TIMEOUT);
    CHECK_EQ(hostcrst_enter_timeout(biased_one, 0, MILLISECONDS), HOST_E_TIMEOUT);
    CHECK(!TryEnterCriticalSection(&shown));
}

static void find_them_free(void *unused)
{
    (void)unused;
    enter_and_leave_once(&owned);
    enter_and_leave_once(&biased_one);
    CHECK(TryEnterCriticalSection(&shown));
    LeaveCriticalSection(&shown);
}

static void go_on_after_another_thread(void)
{
    check_thread_t thread;
    /* Nothing of this puts things in order. */
    enter_and_leave_once(&owned);
    EnterCriticalSection(&shown);
    LeaveCriticalSection(&shown);
    check_start(&thread, find_them_owned, NULL);
    check_join(&thread);
    CHECK_SECTION(owned, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(task_info_of(this_task()).thread_id, getpid());
    CHECK_EQ(hostcrst_leave(owned), S_OK);
    CHECK_EQ(hostcrst_leave(biased_one), S_OK);
    LeaveCriticalSection(&shown);
    check_start(&thread, find_them_free, NULL);
    check_join(&thread);
    use_everything();
}

static void fork_without_handlers(void)
{
    fflush(stdout);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        alarm(2 * CHECK_PATIENCE_SECONDS);
        go_on_after_another_thread();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    check_child(child);
}

static void fork_as_an_ordinary_and_a_biased_owner(void)
{
    check_thread_t revoker;
    REQUIRE_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start_runtime();
    owned = new_section();
    biased_one = new_section();
    InitializeCriticalSection(&shown);
    EnterCriticalSection(&shown);
    /* Revoked once, it is not biased again. */
    enter_many_times(&owned);
    check_start(&revoker, enter_and_leave_once, &owned);
    check_join(&revoker);
    CHECK_EQ(hostcrst_enter(owned, 0), S_OK);
    enter_many_times(&biased_one);
    CHECK_EQ(hostcrst_enter(biased_one, 0), S_OK);
    fork_without_handlers();

    /* A thread that revokes waits for its barrier. */
    hold_at(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    check_start(&revoker, enter_and_leave_once, &biased_one);
    await_held();
    fork_without_handlers();
    let_it_go();
    CHECK_EQ(hostcrst_leave(biased_one), S_OK);
    CHECK_EQ(hostcrst_leave(owned), S_OK);
    check_join(&revoker);
    LeaveCriticalSection(&shown);
}

static void what_the_forking_thread_owns_stays_its_own_though_another_calls_first(void)
{
    in_child(fork_as_an_ordinary_and_a_biased_owner);
}

/* ---- what it costs ---- */

static long kilobytes_written;

/* Of memory that this process had from its parent and has written to. */
static long written_so_far(void)
{
    static const char field[] = "Private_Dirty:";
    char line[256];
    long kilobytes = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, sizeof field - 1) == 0) {
            kilobytes = atol(line + sizeof field - 1);
        }
    }
    fclose(file);
    REQUIRE(kilobytes >= 0);
    return kilobytes;
}

static void count_what_was_written(void)
{
    *(volatile long *)kilobytes_written = written_so_far();
}

static long written_by_a_child(void)
{
    long *shared = (long *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE((void *)shared != MAP_FAILED);
    kilobytes_written = (long)shared;
    in_child(count_what_was_written);
    return *shared;
}

static void compare_what_is_written(void)
{
    enum { SECTIONS = 1000000, MARGIN_KILOBYTES = 512 };
    long without = written_by_a_child();
    start_runtime();
    for (int at = 0; at < SECTIONS; at++) {
        new_section();
    }
    long with = written_by_a_child();
    printf("a child writes %ld KB, with a million sections %ld KB\n", without, with);
    CHECK(with <= without + MARGIN_KILOBYTES);
}

static void a_child_writes_to_what_differs_only(void)
{
    in_child(compare_what_is_written);
}

/* ---- what another thread was writing ---- */

static int full_pipe[2];
static int reporter;
static check_steps_t reporter_steps = CHECK_STEPS_INIT;

static void report_to_a_full_pipe(void *unused)
{
    (void)unused;
    reporter = (int)task_info_of(this_task()).thread_id;
    check_reach(&reporter_steps, 1);
    CHECK(host_report(full_pipe[1], HOST_REPORT_TEXT) != S_OK);
}

static void write_a_report_of_its_own(void)
{
    char *report = text_report();
    CHECK_EQ(strncmp(report, "hostcrst ", strlen("hostcrst ")), 0);
    CHECK_EQ(times_in(report, " report  pid "), 1);
    free(report);
}

static void a_report_is_not_begun_with_what_the_parent_was_writing(void)
{
    check_thread_t thread;
    static const char nothing[4096];
    start_runtime();
    REQUIRE_EQ(pipe(full_pipe), 0);
    REQUIRE_EQ(fcntl(full_pipe[1], F_SETFL, O_NONBLOCK), 0);
    while (write(full_pipe[1], nothing, sizeof nothing) > 0) {
    }
    REQUIRE_EQ(fcntl(full_pipe[1], F_SETFL, 0), 0);
    check_start(&thread, report_to_a_full_pipe, NULL);
    check_await(&reporter_steps, 1);
    REQUIRE_SOON(check_thread_state(getpid(), reporter) == 'S');
    in_child(write_a_report_of_its_own);
    REQUIRE_EQ(close(full_pipe[0]), 0);
    check_join(&thread);
    REQUIRE_EQ(close(full_pipe[1]), 0);
}

CHECK_MAIN(CHECK_TEST(a_child_makes_its_own_first_call), CHECK_TEST(a_childs_first_call_takes_no_lock_of_the_loaders),
           CHECK_TEST(a_section_biased_to_a_thread_of_the_parent_is_free),
           CHECK_TEST(handlers_of_the_program_may_use_sections),
           CHECK_TEST(a_section_left_in_the_childs_handler_is_passed_to_nobody_of_the_parent),
           CHECK_TEST(what_the_forking_thread_owns_stays_its_own_though_another_calls_first),
           CHECK_TEST(a_child_writes_to_what_differs_only), CHECK_TEST(the_childs_own_wait_is_over),
           CHECK_TEST(a_child_made_in_a_callback_goes_on),
           CHECK_TEST(a_child_finds_deadlocks_though_a_search_was_going_on),
           CHECK_TEST(a_name_that_was_being_set_can_be_set),
           CHECK_TEST(a_child_is_put_in_order_by_its_first_call),
           CHECK_TEST(a_sleep_of_the_childs_own_is_over_without_handlers_too),
           CHECK_TEST(a_lock_of_a_thread_of_the_parent_is_free),
           CHECK_TEST(a_report_is_not_begun_with_what_the_parent_was_writing))
