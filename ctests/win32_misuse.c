/*
 * Misuse that Windows leaves undefined is reported: the first of each kind from each call site is a line on stderr that
 * names the section, the thread and the call site. Each situation runs in a child process.
 */
#include "capture.h"
#include "lock_count.h"

#include <signal.h>
#include <sys/syscall.h>

static CRITICAL_SECTION section;

/* Loops here have volatile counters: unrolled, they would be several call sites. */

/* The child has said this once: of the variable, by a thread of this name, in this function, with nothing after it. */
static void check_told(void (*body)(void), const char *variable, const char *what, const char *function)
{
    run_t run = child_of(body, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_EQ(times_in(run.said, "hostcrst: CRITICAL_SECTION 0x"), 1);
    CHECK_EQ(times_in(run.said, "\n"), 1);
    CHECK_CONTAINS(run.said, line_of("!%s+0x0: %s", variable, what).text);
    CHECK_CONTAINS(run.said, "(\"misuser\" tid=");
    if (function != NULL) {
        CHECK_CONTAINS(run.said, line_of("!%s+0x", function).text);
    }
    CHECK_CONTAINS(run.said, function != NULL ? "; more from there are only counted)\n" : "; more are only counted)\n");
    free(run.said);
}

static void name_this_thread(void)
{
    pthread_setname_np(pthread_self(), "misuser");
}

/* ---- leave, delete ---- */

__attribute__((noinline)) static void leave_unowned(void)
{
    name_this_thread();
    for (volatile int time = 0; time < 3; time++) {
        LeaveCriticalSection(&section);
    }
}

static void a_leave_by_another_is_told(void)
{
    check_told(leave_unowned, "section", "left by a thread that does not own it", "leave_unowned");
}

static void own(void *steps)
{
    EnterCriticalSection(&section);
    check_reach((check_steps_t *)steps, 1);
    check_await((check_steps_t *)steps, 2);
    LeaveCriticalSection(&section);
}

__attribute__((noinline)) static void delete_owned(void)
{
    check_steps_t steps = CHECK_STEPS_INIT;
    check_thread_t owner;
    check_start(&owner, own, &steps);
    check_await(&steps, 1);
    name_this_thread();
    for (volatile int time = 0; time < 2; time++) {
        DeleteCriticalSection(&section);
    }
    check_reach(&steps, 2);
    check_join(&owner);
}

static void a_refused_delete_is_told(void)
{
    check_told(delete_owned, "section", "not deleted, as another thread owns it or waits for it", "delete_owned");
}

__attribute__((noinline)) static void enter_deleted(void)
{
    name_this_thread();
    for (volatile int time = 0; time < 2; time++) {
        InitializeCriticalSection(&section);
        DeleteCriticalSection(&section);
        EnterCriticalSection(&section);
        LeaveCriticalSection(&section);
    }
}

static void a_use_after_delete_is_told(void)
{
    check_told(enter_deleted, "section", "used after it was deleted", "enter_deleted");
}

/* ---- a sleep that does not begin ---- */

__attribute__((noinline)) static void sleep_entered(unsigned times)
{
    CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;
    for (unsigned level = 0; level < times; level++) {
        EnterCriticalSection(&section);
    }
    for (volatile int time = 0; time < 2; time++) {
        CHECK_EQ(SleepConditionVariableCS(&variable, &section, 0), FALSE);
    }
    for (unsigned level = 0; level < times; level++) {
        LeaveCriticalSection(&section);
    }
}

static void sleep_not_entered(void)
{
    name_this_thread();
    sleep_entered(0);
}

static void sleep_entered_twice(void)
{
    name_this_thread();
    sleep_entered(2);
}

static void a_sleep_that_does_not_begin_is_told(void)
{
    static void (*const sleeps[])(void) = {sleep_not_entered, sleep_entered_twice};
    for (size_t at = 0; at < sizeof sleeps / sizeof sleeps[0]; at++) {
        check_told(sleeps[at], "section", "not entered exactly once by a thread that was to sleep on a condition variable",
                   "sleep_entered");
    }
}

/* ---- from several places ---- */

static CRITICAL_SECTION another_section;

__attribute__((noinline)) static void leave_here(CRITICAL_SECTION *left)
{
    LeaveCriticalSection(left);
    __asm__ volatile("# here" ::: "memory"); /* No tail call, and no function for both. */
}

__attribute__((noinline)) static void leave_there(CRITICAL_SECTION *left)
{
    LeaveCriticalSection(left);
    __asm__ volatile("# there" ::: "memory");
}

static void leave_from_two_places(void)
{
    leave_here(&section);
    for (volatile int time = 0; time < 2; time++) {
        leave_here(&another_section);
    }
    leave_there(&another_section);
    long thread = syscall(SYS_gettid);
    char *report = text_report();
    CHECK_CONTAINS(report, "   leaves by a thread that was not the owner: 4\n");
    CHECK_CONTAINS(report, "!leave_here");
    CHECK_CONTAINS(report, line_of(": 3, first by tid=%ld with %p ", thread, (void *)&section).text);
    CHECK_CONTAINS(report, line_of(": 1, first by tid=%ld with %p ", thread, (void *)&another_section).text);
    CHECK_EQ(times_in(report, ", first by tid="), 2);
    free(report);
}

static void each_call_site_is_told_once_and_listed(void)
{
    run_t run = child_of(leave_from_two_places, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_EQ(times_in(run.said, ": left by a thread that does not own it: that changes nothing ("), 2);
    CHECK_CONTAINS(run.said, "!leave_here");
    CHECK_CONTAINS(run.said, "!leave_there");
    CHECK_EQ(times_in(run.said, "!another_section+0x0"), 1);
    free(run.said);
}

/* ---- an owner that ends ---- */

static void end_as_owner(void *argument)
{
    name_this_thread();
    EnterCriticalSection((CRITICAL_SECTION *)argument);
}

static void end_as_owner_twice(void)
{
    static CRITICAL_SECTION another;
    check_thread_t owner;
    check_start(&owner, end_as_owner, &section);
    check_join(&owner);
    check_start(&owner, end_as_owner, &another);
    check_join(&owner);
}

static void the_end_of_an_owner_is_told(void)
{
    check_told(end_as_owner_twice, "section", "not left by its owner, which has ended: it stays locked for ever", NULL);
}

static int has_said(const char *what)
{
    char *said = content_of(STDERR_FILENO);
    int found = strstr(said, what) != NULL;
    free(said);
    return found;
}

static void wait_for_ever(void *unused)
{
    (void)unused;
    name_this_thread();
    EnterCriticalSection(&section);
    check_fail(__FILE__, __LINE__, "entered what an ended thread owns");
}

/* A program of its own, as HOSTCRST_STALL is read once. */
static void a_wait_for_an_ended_owner_is_told(void)
{
    static check_thread_t owner, waiters[2];
    if (getenv("HOSTCRST_STALL") != NULL) {
        check_start(&owner, end_as_owner, &section);
        check_join(&owner);
        check_start(&waiters[0], wait_for_ever, NULL);
        REQUIRE_SOON(has_said("to be entered, but its owner has ended: this thread waits for ever (\"misuser\" tid="));
        REQUIRE_SOON(lock_count(&section) == -6);
        REQUIRE_SOON(has_said("!section+0x0, which stays locked: its owner tid="));
        check_start(&waiters[1], wait_for_ever, NULL);
        REQUIRE_SOON(lock_count(&section) == -10);
        return;
    }
    run_t run = run_again("a_wait_for_an_ended_owner_is_told", "HOSTCRST_STALL=20ms", NULL, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_EQ(times_in(run.said, "its owner has ended: this thread waits for ever"), 1);
    CHECK_CONTAINS(run.said, "!wait_for_ever+0x");
    free(run.said);
}

/* ---- copies ---- */

static CRITICAL_SECTION template, first_copy, second_copy;

static void enter_second_copy(void *unused)
{
    (void)unused;
    name_this_thread();
    EnterCriticalSection(&second_copy);
    LeaveCriticalSection(&second_copy);
}

static void use_copies(void)
{
    check_thread_t thread;
    InitializeCriticalSection(&template);
    EnterCriticalSection(&template);
    LeaveCriticalSection(&template);
    first_copy = template;
    second_copy = template;
    EnterCriticalSection(&first_copy);
    check_start(&thread, enter_second_copy, NULL);
    REQUIRE_SOON(has_said("a copy of another one"));
    LeaveCriticalSection(&first_copy);
    check_join(&thread);
}

static void a_wait_by_another_copy_is_told(void)
{
    check_told(use_copies, "second_copy", "a copy of another one, byte by byte: entering either enters both",
               "enter_second_copy");
}

static void enter_and_leave(void *argument)
{
    EnterCriticalSection((CRITICAL_SECTION *)argument);
    LeaveCriticalSection((CRITICAL_SECTION *)argument);
}

static void move_and_wait(void)
{
    check_thread_t thread;
    InitializeCriticalSectionAndSpinCount(&template, 0);
    EnterCriticalSection(&template);
    LeaveCriticalSection(&template);
    first_copy = template;
    memset(&template, 0x5A, sizeof template);
    EnterCriticalSection(&first_copy);
    check_start(&thread, enter_and_leave, &first_copy);
    REQUIRE_SOON(lock_count(&first_copy) == -6);
    LeaveCriticalSection(&first_copy);
    check_join(&thread);
    DeleteCriticalSection(&first_copy);
}

static void a_section_that_was_moved_is_none(void)
{
    run_t run = child_of(move_and_wait, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_STR_EQ(run.said, "");
    free(run.said);
}

/* ---- in a signal handler ---- */

static CRITICAL_SECTION of_the_handler;
static int entered_in_handler;

static void enter_in_handler(int signal)
{
    (void)signal;
    EnterCriticalSection(&of_the_handler);
    __atomic_store_n(&entered_in_handler, 1, __ATOMIC_RELEASE);
    LeaveCriticalSection(&of_the_handler);
}

static void wait_in_handler(void)
{
    check_thread_t thread;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = enter_in_handler;
    REQUIRE_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    InitializeCriticalSectionAndSpinCount(&section, 0);
    EnterCriticalSection(&section);
    EnterCriticalSection(&of_the_handler);
    check_start(&thread, enter_and_leave, &section);
    REQUIRE_SOON(lock_count(&section) == -6);
    REQUIRE_EQ(pthread_kill(thread.id, SIGUSR1), 0);
    REQUIRE_SOON(has_said("EnterCriticalSection in a signal handler that interrupted a wait has to wait"));
    CHECK_EQ(lock_count(&of_the_handler), -2);
    LeaveCriticalSection(&of_the_handler);
    REQUIRE_SOON(__atomic_load_n(&entered_in_handler, __ATOMIC_ACQUIRE));
    CHECK_EQ(lock_count(&section), -6);
    LeaveCriticalSection(&section);
    check_join(&thread);
}

static void an_enter_in_a_handler_that_interrupted_a_wait_is_told(void)
{
    run_t run = child_of(wait_in_handler, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_EQ(times_in(run.said, "\n"), 1);
    free(run.said);
}

/* ---- a place where none can stand ---- */

static CRITICAL_SECTION *misaligned(void)
{
    static char memory[sizeof(CRITICAL_SECTION) + 8] __attribute__((aligned(8)));
    return (CRITICAL_SECTION *)(void *)(memory + 4);
}

static void enter_misaligned(void)
{
    EnterCriticalSection(misaligned());
}

static void initialize_misaligned(void)
{
    InitializeCriticalSection(misaligned());
}

static void leave_misaligned(void)
{
    LeaveCriticalSection(misaligned());
}

static void a_section_that_is_not_aligned_is_refused(void)
{
    static void (*const uses[])(void) = {enter_misaligned, initialize_misaligned, leave_misaligned};
    SetLastError(0);
    CHECK_EQ(InitializeCriticalSectionAndSpinCount(misaligned(), 1), FALSE);
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    SetLastError(0);
    CHECK_EQ(InitializeCriticalSectionEx(misaligned(), 1, 0), FALSE);
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    for (size_t at = 0; at < sizeof uses / sizeof uses[0]; at++) {
        run_t run = child_of(uses[at], NULL);
        CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT);
        CHECK_STR_EQ(run.said, line_of("hostcrst: CRITICAL_SECTION %p is not aligned to 8 bytes. The process ends\n",
                                       (void *)misaligned()).text);
        free(run.said);
    }
}

CHECK_MAIN(CHECK_TEST(a_leave_by_another_is_told), CHECK_TEST(a_refused_delete_is_told),
           CHECK_TEST(a_use_after_delete_is_told), CHECK_TEST(a_sleep_that_does_not_begin_is_told),
           CHECK_TEST(each_call_site_is_told_once_and_listed), CHECK_TEST(the_end_of_an_owner_is_told),
           CHECK_TEST(a_wait_for_an_ended_owner_is_told), CHECK_TEST(a_wait_by_another_copy_is_told),
           CHECK_TEST(a_section_that_was_moved_is_none),
           CHECK_TEST(an_enter_in_a_handler_that_interrupted_a_wait_is_told),
           CHECK_TEST(a_section_that_is_not_aligned_is_refused))
