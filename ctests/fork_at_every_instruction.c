/*
 * A signal handler that forks, at each instruction of the library that a thread executes in a call. In the child the
 * interrupted call goes on, and all must be whole there. The thread is stepped through by the processor's trap flag.
 *
 * Every test first counts the instructions of a call, and then makes the call once more and forks at some of them:
 * FORK_MOST=<number> says at how many of each call, 0 at all of them. FORK_SEED=<number> chooses which ones they are.
 */
#include "step.h"

#if CAN_STEP

#include "interrupted.h"
#include "lock_count.h"
#include "own_syscall.h"

#include <fcntl.h>
#include <link.h>

enum { FORKS_MOST = 60, FAILURES_MOST = 5, ROUNDS_OF_DESTRUCTORS = 4, HELD = 2 };

/* ---- at which instructions ---- */

/* The part of the process in which the library's instructions are. */
static uintptr_t code_begin;
static uintptr_t code_end;
static uintptr_t code_base;

static int find_code(struct dl_phdr_info *object, size_t size, void *function)
{
    (void)size;
    for (int at = 0; at < object->dlpi_phnum; at++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[at];
        uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (uintptr_t)function - begin < segment->p_memsz) {
            code_base = object->dlpi_addr;
            code_begin = begin;
            code_end = begin + segment->p_memsz;
        }
    }
    return 0;
}

/* How often each was executed: of a loop, such as that of a spinner, only the first rounds count. */
static unsigned char *times_executed;

enum { ROUNDS_THAT_COUNT = 2 };

/* Shared with the processes that are stepped through. */
typedef struct tally {
    /* Instructions at which a handler could have forked, each as often as it counts. */
    unsigned instructions;
    unsigned forks;
    unsigned failures;
} tally_t;

static tally_t *tally;
/* Forks at each that is so far from the one before; 0: at none. */
static unsigned stride;
static unsigned first;

static __thread int is_stepped;
/* The thread blocks the signal, and is not stepped through until it may not any more. */
static __thread int is_blocked;
static __thread int is_to_unblock;

static void may_be_interrupted(void)
{
    is_stepped = !is_in_child;
    if (is_stepped) {
        STEP_CHANGE_FLAGS_("orl $0x100, (%%rsp)");
    }
}

static void is_left_alone(void)
{
    is_stepped = 0;
    STEP_CHANGE_FLAGS_("andl $~0x100, (%%rsp)");
}

static int stands_in(long number, const long *arguments, long *result)
{
    (void)result;
    if (is_blocked && number == SYS_rt_sigprocmask && arguments[0] == SIG_SETMASK) {
        is_blocked = 0;
        is_to_unblock = 1;
        STEP_CHANGE_FLAGS_("orl $0x100, (%%rsp)");
    }
    return 0;
}

/* ---- what is done there ---- */

static void help_the_child(void);
static int may_do_without_handlers(void);

/* Not in every libc. */
extern pid_t _Fork(void) __attribute__((weak));


/* Also if it hangs where it blocks all signals that can be blocked. */
static void end_in_any_case(void)
{
    struct sigevent event;
    struct itimerspec time = {{0, 0}, {CHECK_PATIENCE_SECONDS, 0}};
    timer_t timer;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    REQUIRE_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    REQUIRE_EQ(timer_settime(timer, 0, &time, NULL), 0);
}

static void fork_and_wait(pid_t (*fork_here)(void), uintptr_t instruction)
{
    pid_t child = fork_here();
    if (child == 0) {
        is_in_child = 1;
        is_stepped = 0;
        end_in_any_case();
        help_the_child();
        return;
    }
    int status = -1;
    tally->forks++;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        tally->failures += WIFSIGNALED(status) ? FAILURES_MOST : 1;
        check_fail(__FILE__, __LINE__, "%s at instruction %u, 0x%zx of the file: status 0x%x",
                   fork_here == fork ? "fork" : "_Fork", tally->instructions, (size_t)(instruction - code_base),
                   status);
    }
}

static void fork_in_each_way(uintptr_t instruction)
{
    fork_and_wait(fork, instruction);
    if (!is_in_child && may_do_without_handlers()) {
        fork_and_wait(_Fork, instruction);
    }
}

static int counts(uintptr_t instruction)
{
    uintptr_t offset = instruction - code_begin;
    return offset < code_end - code_begin && times_executed[offset] < ROUNDS_THAT_COUNT && ++times_executed[offset];
}

static void trapped(int signal, siginfo_t *what, void *interrupted)
{
    int saved = errno;
    ucontext_t *context = (ucontext_t *)interrupted;
    greg_t *registers = context->uc_mcontext.gregs;
    uintptr_t instruction = (uintptr_t)registers[REG_RIP];
    (void)signal;
    (void)what;
    if (sigismember(&context->uc_sigmask, SIGUSR1)) {
        is_blocked = !is_to_unblock;
    } else {
        is_to_unblock = 0;
        if (is_stepped && counts(instruction)) {
            tally->instructions++;
            if (stride != 0 && tally->instructions % stride == first % stride && tally->failures < FAILURES_MOST) {
                fork_in_each_way(instruction);
            }
        }
    }
    if (is_in_child || is_blocked || !is_stepped) {
        registers[REG_EFL] &= ~(greg_t)STEP_TRAP_FLAG;
    }
    errno = saved;
}

/* ---- Windows' sections ---- */

static CRITICAL_SECTION entered;
static CRITICAL_SECTION other;
static CONDITION_VARIABLE variable;
static int has_left;

static void check_shown(CRITICAL_SECTION *shown, LONG entries)
{
    uintptr_t thread = entries == 0 ? 0 : (uintptr_t)syscall(SYS_gettid);
    CHECK_EQ(lock_count(shown), entries == 0 ? -1 : -2);
    CHECK_EQ(shown->RecursionCount, entries);
    CHECK_EQ((uintptr_t)shown->OwningThread, thread);
}

static void check_use(CRITICAL_SECTION *used)
{
    EnterCriticalSection(used);
    check_shown(used, 1);
    CHECK_EQ(TryEnterCriticalSection(used), TRUE);
    check_shown(used, 2);
    LeaveCriticalSection(used);
    check_shown(used, 1);
    LeaveCriticalSection(used);
    check_shown(used, 0);
}

static void check_entered(void)
{
    check_shown(&entered, 1);
    LeaveCriticalSection(&entered);
    check_shown(&entered, 0);
    check_use(&entered);
}

static void check_left(void)
{
    check_shown(&entered, 0);
    check_use(&entered);
}

static void enter_first(void)
{
    EnterCriticalSection(&entered);
}

static void use_it_before(void)
{
    check_use(&entered);
}

static void enter_and_leave_twice(void)
{
    EnterCriticalSection(&entered);
    EnterCriticalSection(&entered);
    LeaveCriticalSection(&entered);
    LeaveCriticalSection(&entered);
}

static void enter_twice_before(void)
{
    EnterCriticalSection(&entered);
    EnterCriticalSection(&entered);
}

static void leave_once(void)
{
    LeaveCriticalSection(&entered);
}

static void enter_once_more(void)
{
    EnterCriticalSection(&entered);
}

static void check_entered_three_times(void)
{
    check_shown(&entered, 3);
    LeaveCriticalSection(&entered);
    LeaveCriticalSection(&entered);
    check_entered();
}

static void keep_until_somebody_waits(void *unused)
{
    (void)unused;
    EnterCriticalSection(&entered);
    check_reach(&holder.steps, 1);
    REQUIRE_SOON(lock_count(&entered) < -2);
    LeaveCriticalSection(&entered);
}

static void have_it_kept_until_somebody_waits(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    holder.steps = none;
    check_start(&helper, keep_until_somebody_waits, NULL);
    check_await(&holder.steps, 1);
}

static void enter_and_note(void *unused)
{
    (void)unused;
    EnterCriticalSection(&entered);
    LeaveCriticalSection(&entered);
    __atomic_store_n(&has_left, 1, __ATOMIC_RELEASE);
}

static void have_somebody_wait(void)
{
    EnterCriticalSection(&entered);
    check_start(&helper, enter_and_note, NULL);
    REQUIRE_SOON(lock_count(&entered) < -2);
}

static void let_the_waiter_enter(void)
{
    LeaveCriticalSection(&entered);
}

/* Whether the other thread was inside when the handler forked: it is not in the child, and the section stays locked. */
static int is_left_locked(void)
{
    if (!is_in_child || __atomic_load_n(&has_left, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    if (!TryEnterCriticalSection(&entered)) {
        return 1;
    }
    LeaveCriticalSection(&entered);
    return 0;
}

static void check_left_by_both(void)
{
    if (!is_left_locked()) {
        check_left();
    }
}

static void check_passed_on(void)
{
    if (!is_in_child) {
        check_join(&helper);
    }
    check_left_by_both();
}

static void enter_twice(void)
{
    check_use(&entered);
    EnterCriticalSection(&entered);
}

static void sleep_for_a_moment(void)
{
    (void)SleepConditionVariableCS(&variable, &entered, 1);
}

static void sleep_until_woken(void)
{
    CHECK_EQ(SleepConditionVariableCS(&variable, &entered, INFINITE), TRUE);
}

static int is_woken;

static void wake_whoever_sleeps(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&is_woken, __ATOMIC_ACQUIRE)) {
        WakeAllConditionVariable(&variable);
        check_pause();
    }
}

static void have_a_waker(void)
{
    enter_twice();
    check_start(&helper, wake_whoever_sleeps, NULL);
}

static void have_a_waker_in_the_child(void)
{
    check_start(&helper, wake_whoever_sleeps, NULL);
}

static void check_woken(void)
{
    __atomic_store_n(&is_woken, 1, __ATOMIC_RELEASE);
    check_join(&helper);
    check_entered();
}

static void sleep_once(void *unused)
{
    (void)unused;
    EnterCriticalSection(&entered);
    check_reach(&holder.steps, 1);
    while (!__atomic_load_n(&is_woken, __ATOMIC_ACQUIRE)) {
        SleepConditionVariableCS(&variable, &entered, INFINITE);
    }
    LeaveCriticalSection(&entered);
}

/* Once it can be entered the other thread is asleep. */
static void have_a_sleeper(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    holder.steps = none;
    check_start(&helper, sleep_once, NULL);
    check_await(&holder.steps, 1);
    check_use(&entered);
    __atomic_store_n(&is_woken, 1, __ATOMIC_RELEASE);
}

static void wake_the_sleeper(void)
{
    WakeConditionVariable(&variable);
}

static void sleep_and_wake(void *unused)
{
    (void)unused;
    EnterCriticalSection(&other);
    (void)SleepConditionVariableCS(&variable, &other, 1);
    LeaveCriticalSection(&other);
}

/* The variable's queue is as good as new. */
static void check_wakes(void)
{
    check_thread_t sleeper;
    if (!is_in_child) {
        check_join(&helper);
    }
    check_start(&sleeper, sleep_and_wake, NULL);
    WakeAllConditionVariable(&variable);
    check_join(&sleeper);
    check_left_by_both();
}

static void initialize_and_delete(void)
{
    CHECK_EQ(InitializeCriticalSectionAndSpinCount(&other, 10), TRUE);
    SetCriticalSectionSpinCount(&other, 20);
    DeleteCriticalSection(&other);
}

static void initialize_it(void)
{
    InitializeCriticalSection(&other);
    check_use(&other);
}

/* ---- the host's sections ---- */

static hostcrst_t second;
static hostcrst_t made;

static void start_with_tasks(void)
{
    start();
    CHECK(this_task() != 0);
    second = new_section();
    hold(&holder, second);
    let_go(&holder);
}

static void use_it_twice(void)
{
    int32_t has_entered = 0;
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    CHECK_EQ(hostcrst_try_enter(section, 0, &has_entered), S_OK);
    CHECK_EQ(hostcrst_leave(section), S_OK);
    CHECK_EQ(hostcrst_leave(section), S_OK);
}

static void check_free(void)
{
    hostcrst_info_t info = info_of(section);
    CHECK_EQ(info.recursion, 0);
    CHECK_EQ(info.owner, 0);
    CHECK_EQ(info.waiters, 0);
    CHECK_EQ(task_info_of(this_task()).owned, 0);
}

static void bias_it(void)
{
    REQUIRE_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start_with_tasks();
}

static void have_it_held(void)
{
    start_with_tasks();
    hold(&holder, section);
}

static void wait_in_vain(void)
{
    int result = hostcrst_enter_timeout(section, 0, 1);
    CHECK(result == HOST_E_TIMEOUT || (is_in_child && result == HOST_E_ABANDONED));
}

static void check_waited_in_vain(void)
{
    hostcrst_info_t info = info_of(section);
    CHECK_EQ(info.waiters, 0);
    CHECK_EQ(info.state, is_in_child ? HOSTCRST_ABANDONED : HOSTCRST_OWNED);
    if (!is_in_child) {
        let_go(&holder);
    }
}

static void wait_alerted(void)
{
    int result = hostcrst_enter(section, WAIT_ALERTABLE);
    CHECK(result == HOST_E_INTERRUPTED || (is_in_child && result == HOST_E_ABANDONED));
}

static void have_an_alert(void)
{
    have_it_held();
    CHECK_EQ(host_task_alert(this_task()), S_OK);
}

static void make_one_and_end_it(void)
{
    CHECK_EQ(hostcrst_create(&made), S_OK);
    CHECK_EQ(hostcrst_set_name(made, "a name"), S_OK);
    CHECK_EQ(hostcrst_destroy(made), S_OK);
}

static void check_made(void)
{
    CHECK(!is_live(made));
    CHECK_EQ(hostcrst_create(&made), S_OK);
    CHECK_EQ(hostcrst_enter(made, 0), S_OK);
    CHECK_EQ(hostcrst_leave(made), S_OK);
    CHECK_EQ(hostcrst_destroy(made), S_OK);
}

static void have_a_waiter(void)
{
    start_with_tasks();
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    wait_for(&waiter, section, 0);
}

static void leave_and_wake(void)
{
    CHECK_EQ(hostcrst_leave(section), S_OK);
}

static void check_given_on(void)
{
    if (!is_in_child) {
        CHECK_EQ(end_of_wait(&waiter), S_OK);
    }
    check_free();
}

static void destroy_it(void)
{
    CHECK_EQ(hostcrst_destroy(section), S_OK);
}

static void check_destroyed(void)
{
    CHECK(!is_live(section));
    section = 0;
    if (!is_in_child) {
        CHECK_EQ(end_of_wait(&waiter), HOST_E_ABANDONED);
    }
}

static void stop_and_start(void)
{
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(host_runtime_start(), S_OK);
}

static void check_stopped(void)
{
    if (!is_in_child) {
        CHECK_EQ(end_of_wait(&waiter), HOST_E_CLRNOTAVAILABLE);
    }
    CHECK_EQ(hostcrst_leave(section), S_OK);
    check_free();
}

static void alert_it(void)
{
    int result = host_task_alert(waiter.task);
    CHECK(result == S_OK || (is_in_child && result == E_HANDLE));
}

static void have_one_to_alert(void)
{
    start_with_tasks();
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    wait_for(&waiter, section, WAIT_ALERTABLE);
}

static void check_alerted(void)
{
    if (!is_in_child) {
        CHECK_EQ(end_of_wait(&waiter), HOST_E_INTERRUPTED);
    }
    CHECK_EQ(hostcrst_leave(section), S_OK);
    check_free();
}

static void have_it_abandoned(void)
{
    start_with_tasks();
    section = abandoned_section();
}

static void recover_it(void)
{
    CHECK_EQ(hostcrst_recover(section), S_OK);
    CHECK_EQ(hostcrst_leave(section), S_OK);
}

static void name_the_task(void)
{
    CHECK_EQ(host_task_set_name(this_task(), "a task"), S_OK);
}

static void cross_over(void)
{
    CHECK_EQ(host_leave_runtime(0x1000), S_OK);
    CHECK_EQ(host_enter_runtime(), S_OK);
}

/* ---- others that come and go ---- */

enum { OTHERS = 3, TURNS = 30 };

static check_thread_t others[OTHERS];
static int is_enough;

static void come_and_go(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&is_enough, __ATOMIC_ACQUIRE)) {
        REQUIRE_EQ(hostcrst_enter(section, 0), S_OK);
        REQUIRE_EQ(hostcrst_leave(section), S_OK);
    }
}

static void have_others(void)
{
    start_with_tasks();
    for (int at = 0; at < OTHERS; at++) {
        check_start(&others[at], come_and_go, NULL);
    }
}

static void take_turns(void)
{
    for (int turn = 0; turn < TURNS; turn++) {
        int32_t result = hostcrst_enter(section, 0);
        if (is_in_child && result == HOST_E_ABANDONED) {
            /* The section is, or only the wait. */
            result = hostcrst_recover(section) == S_OK ? S_OK : hostcrst_enter(section, 0);
        }
        CHECK_EQ(result, S_OK);
        CHECK_EQ(hostcrst_leave(section), S_OK);
    }
}

static void check_turns(void)
{
    __atomic_store_n(&is_enough, 1, __ATOMIC_RELEASE);
    for (int at = 0; at < OTHERS && !is_in_child; at++) {
        check_join(&others[at]);
    }
    check_free();
}

/* ---- what is said and set ---- */

static void told(const host_deadlock_t *deadlock, void *context)
{
    (void)deadlock;
    (void)context;
}

static void set_what_can_be_set(void)
{
    CHECK_EQ(host_set_hold_tracking(1), S_OK);
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    CHECK_EQ(hostcrst_leave(section), S_OK);
    CHECK_EQ(host_set_hold_tracking(0), S_OK);
    CHECK_EQ(host_set_call_hook(0x1000, 1), S_OK);
    CHECK_EQ(hostcrst_set_spin_count(section, 10), S_OK);
    CHECK_EQ(host_set_deadlock_callback(told, NULL), S_OK);
}

static void have_nobody_read_stderr(void)
{
    REQUIRE_EQ(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO), STDERR_FILENO);
    use_it_before();
}

static void leave_what_is_not_entered(void)
{
    LeaveCriticalSection(&entered);
}

static int report_to = -1;

static void have_a_file(void)
{
    start_with_tasks();
    report_to = open("/dev/null", O_WRONLY);
    REQUIRE(report_to >= 0);
}

static void report_all(void)
{
    CHECK_EQ(host_report(report_to, HOST_REPORT_TEXT), S_OK);
}

/* Owns `second` and waits for `section`, which the stepped thread owns. */
static void wait_with_the_second(void *unused)
{
    (void)unused;
    int32_t result;
    REQUIRE_EQ(hostcrst_enter(second, 0), S_OK);
    holder.task = this_task();
    check_reach(&holder.steps, 1);
    result = hostcrst_enter(section, WAIT_NOTINDEADLOCK);
    CHECK_EQ(result, S_OK);
    CHECK_EQ(hostcrst_leave(section), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
}

static void have_half_a_deadlock(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    start_with_tasks();
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    holder.steps = none;
    check_start(&helper, wait_with_the_second, NULL);
    check_await(&holder.steps, 1);
    REQUIRE_SOON(info_of(section).waiters == 1);
}

static void be_told_of_half_a_deadlock(void)
{
    have_half_a_deadlock();
    CHECK_EQ(host_set_deadlock_callback(told, NULL), S_OK);
}

static void close_the_deadlock(void)
{
    int32_t result = hostcrst_enter(second, 0);
    CHECK(result == HOST_E_DEADLOCK || (is_in_child && result == HOST_E_ABANDONED));
}

static void check_opened(void)
{
    CHECK_EQ(info_of(second).waiters, 0);
    CHECK_EQ(hostcrst_leave(section), S_OK);
    if (!is_in_child) {
        check_join(&helper);
    }
    check_free();
}

/* ---- one after the other ---- */

typedef struct operation {
    /* Before the thread is stepped through; `arrange` by that thread. */
    void (*prepare)(void);
    void (*arrange)(void);
    void (*act)(void);
    /* Whether what it did is done, in the process and in each child. */
    void (*whole)(void);
    int until_the_end;
    /* In the child, before the call goes on there; NULL: nothing. */
    void (*help)(void);
    /* It finds names of addresses, which takes hundreds of thousands of instructions: only if all are asked for. */
    int is_long;
} operation_t;

static const operation_t *operation;

static void check_and_end(void)
{
    check_all();
    check_use(&other);
    fflush(stdout);
    _exit(check_failed_so_far() != 0);
}

static void end_the_child(void)
{
    if (is_in_child) {
        check_and_end();
    }
}

/* Runs in the last round of destructors, in which the thread's task has ended. */
static pthread_key_t last_round;

static void end_the_child_at_last(void *round)
{
    if ((intptr_t)round < ROUNDS_OF_DESTRUCTORS) {
        REQUIRE_EQ(pthread_setspecific(last_round, (void *)((intptr_t)round + 1)), 0);
    } else {
        is_left_alone();
        end_the_child();
    }
}

static void help_the_child(void)
{
    if (operation->help != NULL) {
        operation->help();
    }
}

/* By _Fork: no handlers run in the child, which the library learns of in the interrupted call, or in the next one. Not
 * if a thread helps, which would be the first one in the child that calls the library. */
static int may_do_without_handlers(void)
{
    return _Fork != NULL && operation->help == NULL;
}

/* ---- a wait that never ends in the child, as the owner of `entered` is not there ---- */

static host_task_t stepped_task;
static int is_over;

static int waits_for_ever(void)
{
    return task_info_of(stepped_task).waiting_for != 0 && check_thread_state(getpid(), getpid()) == 'S';
}

static void end_once_it_waits_for_ever(void *unused)
{
    (void)unused;
    REQUIRE_SOON(__atomic_load_n(&is_over, __ATOMIC_ACQUIRE) || waits_for_ever());
    if (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE)) {
        check_and_end();
    }
}

static void watch(void)
{
    static check_thread_t watcher;
    /* The library says there that the thread waits for ever. */
    REQUIRE_EQ(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO), STDERR_FILENO);
    check_start(&watcher, end_once_it_waits_for_ever, NULL);
}

static void act(void *unused)
{
    (void)unused;
    operation->arrange();
    stepped_task = operation->help == watch ? this_task() : 0;
    may_be_interrupted();
    operation->act();
    if (operation->until_the_end) {
        REQUIRE_EQ(pthread_setspecific(last_round, (void *)(intptr_t)1), 0);
        return;
    }
    is_left_alone();
    __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
    if (is_in_child) {
        host_task_t task;
        (void)host_task_current(&task);
    }
    operation->whole();
    end_the_child();
}

static void step_through(void)
{
    check_thread_t actor;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = trapped;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    REQUIRE_EQ(sigaction(SIGTRAP, &action, NULL), 0);
    REQUIRE_EQ(pthread_key_create(&last_round, end_the_child_at_last), 0);
    operation->prepare();
    check_start(&actor, act, NULL);
    alarm(0);
    REQUIRE_EQ(pthread_join(actor.id, NULL), 0);
}

static void fork_inside(operation_t interrupted)
{
    unsigned most = (unsigned)check_number_from("FORK_MOST", FORKS_MOST);
    if (interrupted.is_long && most != 0) {
        printf("  only with FORK_MOST=0\n");
        return;
    }
    operation = &interrupted;
    *tally = (tally_t){0, 0, 0};
    stride = 0;
    in_child(step_through);
    unsigned instructions = tally->instructions;
    REQUIRE(instructions != 0);
    stride = most == 0 ? 1 : (instructions + most - 1) / most;
    first = (unsigned)check_number_from("FORK_SEED", (unsigned long long)nanoseconds_now());
    printf("  at every %u. of %u instructions, FORK_SEED=%u\n", stride, instructions, first);
    tally->instructions = 0;
    in_child(step_through);
    CHECK_EQ(tally->failures, 0);
    CHECK(tally->forks != 0);
}

#define INTERRUPTED_WITH(more, name, before, of_the_thread, interrupted, after)                                        \
    static void name(void)                                                                                             \
    {                                                                                                                  \
        operation_t tried = {                                                                                          \
            .prepare = before, .arrange = of_the_thread, .act = interrupted, .whole = after, more};                    \
        fork_inside(tried);                                                                                            \
    }
#define INTERRUPTED(name, before, of_the_thread, interrupted, after)                                                   \
    INTERRUPTED_WITH(.is_long = 0, name, before, of_the_thread, interrupted, after)

INTERRUPTED(the_first_call_of_the_process, prepare_nothing, prepare_nothing, make_the_first_call, prepare_nothing)
INTERRUPTED(the_first_call_of_a_thread, start, prepare_nothing, become_a_task, check_free)
INTERRUPTED_WITH(.until_the_end = 1, the_end_of_a_thread, start, prepare_nothing, enter_and_end, prepare_nothing)
INTERRUPTED(enter_and_leave, start, start_with_tasks, use_it_twice, check_free)
INTERRUPTED(the_grant_of_a_bias, bias_it, become_a_task, use_it_twice, check_free)
INTERRUPTED(enter_and_leave_while_biased, bias_it, use_it_twice, use_it_twice, check_free)
INTERRUPTED(a_revocation, have_it_biased, become_a_task, take_the_bias_away, prepare_nothing)
INTERRUPTED(the_check_of_an_owner_that_is_gone, have_the_owner_vanish, become_a_task, wait_for_the_end_of_the_owner,
            prepare_nothing)
INTERRUPTED(a_wait, have_it_owned_until_somebody_waits, become_a_task, wait_for_it, check_free)
INTERRUPTED(a_wait_with_a_time_limit, have_it_held, become_a_task, wait_in_vain, check_waited_in_vain)
INTERRUPTED(a_wait_that_is_alerted, prepare_nothing, have_an_alert, wait_alerted, check_waited_in_vain)
INTERRUPTED(a_leave_that_wakes, prepare_nothing, have_a_waiter, leave_and_wake, check_given_on)
INTERRUPTED(an_end_with_a_waiter, prepare_nothing, have_a_waiter, destroy_it, check_destroyed)
INTERRUPTED(a_stop_with_a_waiter, prepare_nothing, have_a_waiter, stop_and_start, check_stopped)
INTERRUPTED(an_alert_of_a_waiter, prepare_nothing, have_one_to_alert, alert_it, check_alerted)
INTERRUPTED(a_deadlock, prepare_nothing, have_half_a_deadlock, close_the_deadlock, check_opened)
INTERRUPTED(a_deadlock_that_is_told, prepare_nothing, be_told_of_half_a_deadlock, close_the_deadlock, check_opened)
INTERRUPTED(turns, prepare_nothing, have_others, take_turns, check_turns)
INTERRUPTED(settings, start, become_a_task, set_what_can_be_set, check_free)
INTERRUPTED_WITH(.is_long = 1, a_misuse, use_it_before, have_nobody_read_stderr, leave_what_is_not_entered,
            check_left)
INTERRUPTED(a_recovery, have_it_abandoned, become_a_task, recover_it, check_free)
INTERRUPTED(create_name_destroy, start, become_a_task, make_one_and_end_it, check_made)
INTERRUPTED(the_name_of_a_task, start, become_a_task, name_the_task, check_free)
INTERRUPTED(a_crossing, start, become_a_task, cross_over, check_free)
INTERRUPTED_WITH(.is_long = 1, a_report, have_a_file, become_a_task, report_all, check_free)
INTERRUPTED(the_first_enter_of_windows, prepare_nothing, prepare_nothing, enter_first, check_entered)
INTERRUPTED(a_later_enter_and_leave_of_windows, use_it_before, use_it_before, enter_and_leave_twice, check_left)
INTERRUPTED(an_enter_of_a_free_section_of_windows, use_it_before, use_it_before, enter_first, check_entered)
INTERRUPTED(a_later_enter_of_windows, use_it_before, enter_twice_before, enter_once_more, check_entered_three_times)
INTERRUPTED(a_leave_of_windows, use_it_before, enter_twice_before, leave_once, check_entered)
INTERRUPTED_WITH(.help = watch, a_wait_of_windows, have_it_kept_until_somebody_waits, start_with_tasks, enter_first,
            check_entered)
INTERRUPTED(a_leave_of_windows_that_wakes, prepare_nothing, have_somebody_wait, let_the_waiter_enter, check_passed_on)
INTERRUPTED(a_sleep_with_a_time_limit, prepare_nothing, enter_twice, sleep_for_a_moment, check_entered)
INTERRUPTED_WITH(.help = have_a_waker_in_the_child, a_sleep, prepare_nothing, have_a_waker, sleep_until_woken,
            check_woken)
INTERRUPTED(a_wake, prepare_nothing, have_a_sleeper, wake_the_sleeper, check_wakes)
INTERRUPTED(initialize_set_delete, use_it_before, use_it_before, initialize_and_delete, initialize_it)

int main(int argument_count, char **arguments)
{
    static const check_test_t tests[] = {
        CHECK_TEST(the_first_call_of_the_process),
        CHECK_TEST(the_first_call_of_a_thread),
        CHECK_TEST(the_end_of_a_thread),
        CHECK_TEST(enter_and_leave),
        CHECK_TEST(the_grant_of_a_bias),
        CHECK_TEST(enter_and_leave_while_biased),
        CHECK_TEST(a_revocation),
        CHECK_TEST(the_check_of_an_owner_that_is_gone),
        CHECK_TEST(a_wait),
        CHECK_TEST(a_wait_with_a_time_limit),
        CHECK_TEST(a_wait_that_is_alerted),
        CHECK_TEST(a_leave_that_wakes),
        CHECK_TEST(an_end_with_a_waiter),
        CHECK_TEST(a_stop_with_a_waiter),
        CHECK_TEST(an_alert_of_a_waiter),
        CHECK_TEST(a_deadlock),
        CHECK_TEST(a_deadlock_that_is_told),
        CHECK_TEST(turns),
        CHECK_TEST(settings),
        CHECK_TEST(a_misuse),
        CHECK_TEST(a_recovery),
        CHECK_TEST(create_name_destroy),
        CHECK_TEST(the_name_of_a_task),
        CHECK_TEST(a_crossing),
        CHECK_TEST(a_report),
        CHECK_TEST(the_first_enter_of_windows),
        CHECK_TEST(a_later_enter_and_leave_of_windows),
        CHECK_TEST(an_enter_of_a_free_section_of_windows),
        CHECK_TEST(a_later_enter_of_windows),
        CHECK_TEST(a_leave_of_windows),
        CHECK_TEST(a_wait_of_windows),
        CHECK_TEST(a_leave_of_windows_that_wakes),
        CHECK_TEST(a_sleep_with_a_time_limit),
        CHECK_TEST(a_sleep),
        CHECK_TEST(a_wake),
        CHECK_TEST(initialize_set_delete),
    };
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(tally != MAP_FAILED);
    uintptr_t of_library = (uintptr_t)hostcrst_enter;
    dl_iterate_phdr(find_code, (void *)of_library);
    REQUIRE(code_begin != code_end);
    times_executed = zeroed(code_end - code_begin, 1);
    return check_run(tests, sizeof tests / sizeof tests[0], argument_count, arguments);
}

#else

int main(void)
{
    printf("threads cannot be stepped through on this processor\n");
    return 0;
}

#endif
