/*
 * A first waiter may come at any instruction of an owner that believes itself alone. Here it does: the
 * owner's thread is stepped through Enter, and through Leave, and after each number of steps another thread
 * enters. Whenever that was, the waiter must be shown in LockCount, must get the section, and must leave it
 * as it should be. Having left it, in the runs through Leave, it deletes the section and takes its memory
 * away: the owner may not touch that any more.
 */
#include "../check.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <hostcrst/win32.h>

/* More than Enter or Leave have, with the way out of raise and back before them. */
#define MOST_STEPS 2000

/* Shared by the process that steps and the one that is stepped. */
typedef struct stage {
    int other_thread;
    int other_may_enter;
    int other_inside;
    LONG seen_inside;
    int owner_through; /* the stepped call has returned */
    int owner_may_go_on;
} stage_t;

static stage_t *stage;
/* On a page of its own. */
static CRITICAL_SECTION *section;

#define PAGE 4096

static int look(int *number)
{
    return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}

static void set(int *number, int value)
{
    __atomic_store_n(number, value, __ATOMIC_RELEASE);
}

static void check_fields(void)
{
    CHECK_EQ(section->LockCount, -1);
    CHECK_EQ(section->RecursionCount, 0);
    CHECK_EQ((long long)(uintptr_t)section->OwningThread, 0);
}

static void enter_when_told(void *through_leave)
{
    set(&stage->other_thread, (int)syscall(SYS_gettid));
    while (!look(&stage->other_may_enter)) {
        sched_yield();
    }
    EnterCriticalSection(section);
    stage->seen_inside = __atomic_load_n(&section->LockCount, __ATOMIC_ACQUIRE);
    set(&stage->other_inside, 1);
    LeaveCriticalSection(section);
    if (*(int *)through_leave) {
        check_fields();
        DeleteCriticalSection(section);
        REQUIRE_EQ(mprotect(section, PAGE, PROT_NONE), 0);
    }
}

/* The stepped process. */
static void be_stepped(int through_leave)
{
    check_thread_t other;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    REQUIRE(InitializeCriticalSectionAndSpinCount(section, 0));
    EnterCriticalSection(section);
    LeaveCriticalSection(section);
    check_start(&other, enter_when_told, &through_leave);
    REQUIRE_SOON(look(&stage->other_thread) != 0);
    if (through_leave) {
        EnterCriticalSection(section);
    }
    REQUIRE_EQ(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    raise(SIGSTOP);
    if (through_leave) {
        LeaveCriticalSection(section);
    } else {
        EnterCriticalSection(section);
    }
    set(&stage->owner_through, 1);
    if (!through_leave) {
        REQUIRE_SOON(look(&stage->owner_may_go_on));
        LeaveCriticalSection(section);
    }
    check_join(&other);
    if (!through_leave) {
        check_fields();
    }
    _exit(check_failed_so_far() != 0);
}

/* Whether the other thread sleeps, as it does in the queue of the section and nowhere else. */
static int other_sleeps(pid_t process)
{
    return check_thread_state(process, look(&stage->other_thread)) == 'S';
}

/*
 * One run; false if the stepped call was over before the other thread came. Counts those that found it owned.
 */
static int run(int through_leave, int steps, int *met)
{
    int status = 0;
    memset(stage, 0, sizeof *stage);
    memset(section, 0, sizeof *section);
    fflush(stdout);
    pid_t process = fork();
    REQUIRE(process >= 0);
    if (process == 0) {
        be_stepped(through_leave);
    }
    REQUIRE_EQ(waitpid(process, &status, 0), process);
    REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    for (int step = 0; step < steps && !look(&stage->owner_through); step++) {
        REQUIRE_EQ(ptrace(PTRACE_SINGLESTEP, process, NULL, NULL), 0);
        REQUIRE_EQ(waitpid(process, &status, 0), process);
        REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    }
    int in_time = !look(&stage->owner_through);
    set(&stage->other_may_enter, 1);
    REQUIRE_SOON(look(&stage->other_inside) || other_sleeps(process));
    int waits = !look(&stage->other_inside);
    REQUIRE_EQ(ptrace(PTRACE_DETACH, process, NULL, NULL), 0);
    if (!through_leave) {
        REQUIRE_SOON(look(&stage->owner_through));
        if (waits) {
            CHECK_EQ(__atomic_load_n(&section->LockCount, __ATOMIC_ACQUIRE), -6);
            CHECK_EQ(section->RecursionCount, 1);
        }
        set(&stage->owner_may_go_on, 1);
    }
    REQUIRE_EQ(waitpid(process, &status, 0), process);
    CHECK_EQ(status, 0);
    CHECK_EQ(look(&stage->other_inside), 1);
    CHECK_EQ(stage->seen_inside & 1, 0);
    *met += waits;
    if (check_failed_so_far()) {
        printf("after %d steps\n", steps);
    }
    return in_time;
}

static void step_through(int through_leave)
{
    int steps = 0, met = 0;
    while (run(through_leave, steps, &met) && !check_failed_so_far()) {
        steps++;
        REQUIRE(steps < MOST_STEPS);
    }
    printf("%d places to come at, at %d of them the other thread had to wait\n", steps, met);
    CHECK(met >= 10);
}

static void prepare(void)
{
    void *memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    stage = (stage_t *)memory;
    section = (CRITICAL_SECTION *)(void *)((char *)memory + PAGE);
}

static void a_waiter_may_come_at_any_instruction_of_enter(void)
{
    prepare();
    step_through(0);
}

static void a_waiter_may_come_at_any_instruction_of_leave(void)
{
    prepare();
    step_through(1);
}

CHECK_MAIN(CHECK_TEST(a_waiter_may_come_at_any_instruction_of_enter),
           CHECK_TEST(a_waiter_may_come_at_any_instruction_of_leave))
