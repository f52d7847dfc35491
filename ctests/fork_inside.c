/*
 * A signal handler that forks, at every system call that a thread makes inside the library: while it becomes a task,
 * revokes a bias, ends the task of a thread that is gone, waits, leaves, or ends. In the child the interrupted call goes
 * on, and all must be whole there. The program replaces libc's syscall() and getpid(), which raise the signal.
 */
#include "interrupted.h"
#include "own_syscall.h"

#include <signal.h>
#include <sys/mman.h>

enum { MOST_CALLS = 400, ROUNDS_OF_DESTRUCTORS = 4 };

/* ---- the signal ---- */

static __thread int is_counted;
static int calls;
static int interrupted_call;
static pid_t child;

static int stands_in(long number, const long *arguments, long *result)
{
    (void)number;
    (void)arguments;
    (void)result;
    if (is_counted && ++calls == interrupted_call) {
        raise(SIGUSR1);
    }
    return 0;
}

pid_t getpid(void)
{
    return (pid_t)syscall(SYS_getpid);
}

static void fork_at_once(int signal)
{
    int saved = errno;
    (void)signal;
    is_counted = 0;
    child = fork();
    if (child == 0) {
        is_in_child = 1;
        alarm(CHECK_PATIENCE_SECONDS);
    }
    errno = saved;
}

static void may_be_interrupted(void)
{
    is_counted = 1;
}

static void is_left_alone(void)
{
    is_counted = 0;
}

/* ---- the end of the child ---- */

static void end_the_child(void)
{
    if (is_in_child) {
        check_all();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
}

/* Runs in the last round of destructors, in which the thread's task has ended. */
static pthread_key_t last_round;

static void end_the_child_at_last(void *round)
{
    if ((intptr_t)round < ROUNDS_OF_DESTRUCTORS) {
        REQUIRE_EQ(pthread_setspecific(last_round, (void *)((intptr_t)round + 1)), 0);
    } else {
        is_counted = 0;
        end_the_child();
    }
}

/* ---- one after the other ---- */

typedef struct operation {
    void (*prepare)(void);
    void (*act)(void);
    int until_the_end;
} operation_t;

static const operation_t *operation;
static int *was_interrupted;

static void act(void *unused)
{
    (void)unused;
    is_counted = 1;
    operation->act();
    if (operation->until_the_end) {
        REQUIRE_EQ(pthread_setspecific(last_round, (void *)(intptr_t)1), 0);
    } else {
        is_counted = 0;
        end_the_child();
    }
}

static void interrupt_once(void)
{
    check_thread_t actor;
    struct sigaction action;
    int status = -1;
    memset(&action, 0, sizeof action);
    action.sa_handler = fork_at_once;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    REQUIRE_EQ(pthread_key_create(&last_round, end_the_child_at_last), 0);
    operation->prepare();
    check_start(&actor, act, NULL);
    check_join(&actor);
    *was_interrupted = child != 0;
    if (child != 0) {
        REQUIRE_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
    }
}

static void interrupt_at_every_call(operation_t interrupted)
{
    operation = &interrupted;
    was_interrupted = mmap(NULL, sizeof *was_interrupted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(was_interrupted != MAP_FAILED);
    interrupted_call = 0;
    do {
        *was_interrupted = 0;
        interrupted_call++;
        in_child(interrupt_once);
    } while (*was_interrupted && interrupted_call < MOST_CALLS);
    CHECK(interrupted_call > 1 && interrupted_call < MOST_CALLS);
    printf("  %d system calls\n", interrupted_call - 1);
}

#define INTERRUPTED(name, ...)                                                                                         \
    static void name(void)                                                                                             \
    {                                                                                                                  \
        operation_t interrupted = {__VA_ARGS__};                                                                       \
        interrupt_at_every_call(interrupted);                                                                          \
    }

INTERRUPTED(the_first_call_of_the_process, prepare_nothing, make_the_first_call, 0)
INTERRUPTED(the_first_call_of_a_thread, start, become_a_task, 0)
INTERRUPTED(a_revocation, have_it_biased, take_the_bias_away, 0)
INTERRUPTED(the_check_of_an_owner_that_is_gone, have_the_owner_vanish, wait_for_the_end_of_the_owner, 0)
INTERRUPTED(a_wait, have_it_owned_until_somebody_waits, wait_for_it, 0)
INTERRUPTED(a_leave_that_wakes, start, leave_it_to_a_waiter, 0)
INTERRUPTED(the_end_of_a_thread, start, enter_and_end, 1)

CHECK_MAIN(CHECK_TEST(the_first_call_of_the_process),
           CHECK_TEST(the_first_call_of_a_thread),
           CHECK_TEST(a_revocation),
           CHECK_TEST(the_check_of_an_owner_that_is_gone),
           CHECK_TEST(a_wait),
           CHECK_TEST(a_leave_that_wakes),
           CHECK_TEST(the_end_of_a_thread))
