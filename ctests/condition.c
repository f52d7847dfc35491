/*
 * Condition variables of Windows' kind: each wake is for one sleeper, at any address, and what becomes of sleeps where
 * the kernel refuses futexes. What SleepConditionVariableCS does with its section is in win32.c.
 */
#include "capture.h"
#include "lock_count.h"
#include "own_syscall.h"

/* Which call of the library is refused, and with what; 0 for none. */
static long refused_call;
static int refusal;
static unsigned refused_times;

static int64_t naps;

static int stands_in(long number, const long *arguments, long *result)
{
    (void)arguments;
    __atomic_add_fetch(&naps, number == SYS_clock_nanosleep, __ATOMIC_RELAXED);
    if (number != __atomic_load_n(&refused_call, __ATOMIC_RELAXED) || number == 0) {
        return 0;
    }
    __atomic_add_fetch(&refused_times, 1, __ATOMIC_RELAXED);
    errno = refusal;
    *result = -1;
    return 1;
}

static int64_t own_processor_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* ---- sleepers ---- */

enum { MOST_SLEEPERS = 80 };

/* Threads that sleep once each, without a loop around it. */
typedef struct sleepers {
    CRITICAL_SECTION section;
    CONDITION_VARIABLE *variable;
    check_thread_t threads[MOST_SLEEPERS];
    int asleep;
    int woken;
} sleepers_t;

static void sleep_once(void *argument)
{
    sleepers_t *sleepers = (sleepers_t *)argument;
    EnterCriticalSection(&sleepers->section);
    sleepers->asleep++;
    CHECK_EQ(SleepConditionVariableCS(sleepers->variable, &sleepers->section, INFINITE), TRUE);
    sleepers->woken++;
    LeaveCriticalSection(&sleepers->section);
}

static int locked_read(CRITICAL_SECTION *section, const int *number)
{
    EnterCriticalSection(section);
    int value = *number;
    LeaveCriticalSection(section);
    return value;
}

/* Returns when all of them sleep. */
static void put_to_sleep(sleepers_t *sleepers, CONDITION_VARIABLE *variable, int count)
{
    InitializeCriticalSection(&sleepers->section);
    sleepers->variable = variable;
    sleepers->asleep = sleepers->woken = 0;
    for (int at = 0; at < count; at++) {
        check_start(&sleepers->threads[at], sleep_once, sleepers);
    }
    REQUIRE_SOON(locked_read(&sleepers->section, &sleepers->asleep) == count);
}

static void expect_woken(sleepers_t *sleepers, int count)
{
    REQUIRE_SOON(locked_read(&sleepers->section, &sleepers->woken) == count);
}

static void end_sleepers(sleepers_t *sleepers, int count)
{
    for (int at = 0; at < count; at++) {
        check_join(&sleepers->threads[at]);
    }
    CHECK_EQ(sleepers->woken, count);
    DeleteCriticalSection(&sleepers->section);
}

/* ---- any address ---- */

/* Of 40 milliseconds, in nanoseconds. Where the machine is busy one of many may be high: valgrind's work counts, too. */
static int64_t processor_time_of_a_sleep(CONDITION_VARIABLE *variable, CRITICAL_SECTION *section)
{
    int64_t start = nanoseconds_now(), used = own_processor_time();
    CHECK_EQ(SleepConditionVariableCS(variable, section, 40), FALSE);
    CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
    CHECK(milliseconds_since(start) >= 40);
    return own_processor_time() - used;
}

static void a_variable_may_stand_at_any_address(void)
{
    static char memory[8 + sizeof(CONDITION_VARIABLE)] __attribute__((aligned(8)));
    static sleepers_t sleepers;
    for (int offset = 0; offset < 8; offset++) {
        CONDITION_VARIABLE *variable = (CONDITION_VARIABLE *)(void *)(memory + offset);
        CRITICAL_SECTION section;
        memset(memory, 0x5A, sizeof memory);
        InitializeConditionVariable(variable);
        for (int byte = 0; byte < (int)sizeof memory; byte++) {
            int is_inside = byte >= offset && byte < offset + (int)sizeof *variable;
            CHECK_EQ(memory[byte], is_inside ? 0 : 0x5A);
        }
        InitializeCriticalSection(&section);
        EnterCriticalSection(&section);
        int64_t least_used = INT64_MAX;
        for (int sleep = 0; sleep < 3; sleep++) {
            int64_t used = processor_time_of_a_sleep(variable, &section);
            least_used = used < least_used ? used : least_used;
        }
        CHECK(least_used < 20 * 1000000);
        LeaveCriticalSection(&section);
        DeleteCriticalSection(&section);

        put_to_sleep(&sleepers, variable, 3);
        WakeConditionVariable(variable);
        expect_woken(&sleepers, 1);
        WakeAllConditionVariable(variable);
        end_sleepers(&sleepers, 3);
    }
}

/* ---- each wake is for one ---- */

static void a_wake_reaches_sleepers_of_its_variable_only(void)
{
    enum { VARIABLES = 40, EACH = 2 };
    static CONDITION_VARIABLE variables[VARIABLES];
    static sleepers_t sleepers[VARIABLES];
    for (int at = 0; at < VARIABLES; at++) {
        put_to_sleep(&sleepers[at], &variables[at], EACH);
    }
    for (int at = 0; at < VARIABLES; at++) {
        WakeAllConditionVariable(&variables[at]);
        end_sleepers(&sleepers[at], EACH);
        for (int other = at + 1; other < VARIABLES; other++) {
            CHECK_EQ(locked_read(&sleepers[other].section, &sleepers[other].woken), 0);
        }
    }
}

static void all_means_any_number(void)
{
    static CONDITION_VARIABLE variable;
    static sleepers_t sleepers;
    put_to_sleep(&sleepers, &variable, MOST_SLEEPERS);
    WakeAllConditionVariable(&variable);
    end_sleepers(&sleepers, MOST_SLEEPERS);
}

/* Every sleeper that is woken was counted as one to be woken, before: and all are, in the end. */
enum { SLEEPERS = 4, WAKERS = 2 };

/* How often each of them sleeps: under valgrind each sleep takes long. */
static int sleeps_each(void)
{
    return getenv("CHECK_BRIEFLY") != NULL ? 500 : 5000;
}

static struct {
    CRITICAL_SECTION section;
    CONDITION_VARIABLE variable;
    int asleep;
    int to_wake;
    int woken;
} counted;

static void sleep_again_and_again(void *unused)
{
    (void)unused;
    for (int sleep = 0, most = sleeps_each(); sleep < most; sleep++) {
        EnterCriticalSection(&counted.section);
        counted.asleep++;
        SleepConditionVariableCS(&counted.variable, &counted.section, INFINITE);
        if (++counted.woken > counted.to_wake) {
            check_fail(__FILE__, __LINE__, "%d woken by %d wakes", counted.woken, counted.to_wake);
            check_give_up();
        }
        LeaveCriticalSection(&counted.section);
    }
}

static void wake_again_and_again(void *inside)
{
    int more = 1;
    while (more) {
        EnterCriticalSection(&counted.section);
        int wakes = counted.asleep > 0;
        counted.asleep -= wakes;
        counted.to_wake += wakes;
        more = counted.to_wake < SLEEPERS * sleeps_each();
        if (wakes && *(int *)inside) {
            WakeConditionVariable(&counted.variable);
        }
        LeaveCriticalSection(&counted.section);
        if (wakes && !*(int *)inside) {
            WakeConditionVariable(&counted.variable);
        }
    }
}

static void no_wake_is_lost_and_none_is_for_two(void)
{
    check_thread_t threads[SLEEPERS + WAKERS];
    int inside[WAKERS] = {0, 1};
    for (int at = 0; at < SLEEPERS; at++) {
        check_start(&threads[at], sleep_again_and_again, NULL);
    }
    for (int at = 0; at < WAKERS; at++) {
        check_start(&threads[SLEEPERS + at], wake_again_and_again, &inside[at]);
    }
    for (int at = 0; at < SLEEPERS + WAKERS; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(counted.to_wake, SLEEPERS * sleeps_each());
    CHECK_EQ(counted.woken, SLEEPERS * sleeps_each());
    DeleteCriticalSection(&counted.section);
}

/* A sleeper of a variable that is initialised again would take the wakes of later sleepers. */
static void a_variable_made_anew_has_no_sleepers(void)
{
    static CONDITION_VARIABLE variable;
    static sleepers_t before, after;
    put_to_sleep(&before, &variable, 1);
    InitializeConditionVariable(&variable);
    end_sleepers(&before, 1);
    put_to_sleep(&after, &variable, 1);
    WakeConditionVariable(&variable);
    end_sleepers(&after, 1);
}

/* ---- a child of a fork, and what a report shows ---- */

static void wake_nobody_and_sleep(void)
{
    static CRITICAL_SECTION section;
    EnterCriticalSection(&section);
    CHECK_EQ(SleepConditionVariableCS(&counted.variable, &section, 1), FALSE);
    WakeAllConditionVariable(&counted.variable);
    LeaveCriticalSection(&section);
}

static void a_child_inherits_no_sleepers(void)
{
    static sleepers_t sleepers;
    put_to_sleep(&sleepers, &counted.variable, 3);
    in_child(wake_nobody_and_sleep);
    CHECK_EQ(locked_read(&sleepers.section, &sleepers.woken), 0);
    WakeAllConditionVariable(&counted.variable);
    end_sleepers(&sleepers, 3);
}

static CONDITION_VARIABLE shown_variable;

static void a_report_shows_who_sleeps_where(void)
{
    static sleepers_t sleepers;
    put_to_sleep(&sleepers, &shown_variable, 1);
    char *report = text_report();
    CHECK_CONTAINS(report, ", asleep ");
    CHECK_CONTAINS(report, line_of("   asleep on CONDITION_VARIABLE %p ", (void *)&shown_variable).text);
    CHECK_CONTAINS(report, "!shown_variable+0x0 at ");
    CHECK_CONTAINS(report, line_of("      after leaving 0x").text);
    CHECK_CONTAINS(report, line_of(" CRITICAL_SECTION %p", (void *)&sleepers.section).text);
    free(report);
    report = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(report, line_of("\"sleeping\":{\"condition_variable\":\"%p ", (void *)&shown_variable).text);
    free(report);
    WakeConditionVariable(&shown_variable);
    end_sleepers(&sleepers, 1);
    report = text_report();
    CHECK_LACKS(report, "asleep on");
    free(report);
}

/* What a thread waits for is owned by one that sleeps. */
static CRITICAL_SECTION owned_asleep;

static void own_and_sleep(void *argument)
{
    EnterCriticalSection(&owned_asleep);
    sleep_once(argument);
    LeaveCriticalSection(&owned_asleep);
}

static int has_said(const char *what)
{
    char *said = content_of(STDERR_FILENO);
    int found = strstr(said, what) != NULL;
    free(said);
    return found;
}

static void enter_and_leave(void *section)
{
    EnterCriticalSection((CRITICAL_SECTION *)section);
    LeaveCriticalSection((CRITICAL_SECTION *)section);
}

static void wait_for_a_sleeper(void)
{
    static sleepers_t sleepers;
    check_thread_t waiter;
    InitializeCriticalSection(&sleepers.section);
    sleepers.variable = &shown_variable;
    check_start(&sleepers.threads[0], own_and_sleep, &sleepers);
    REQUIRE_SOON(locked_read(&sleepers.section, &sleepers.asleep) == 1);
    check_start(&waiter, enter_and_leave, &owned_asleep);
    REQUIRE_SOON(has_said(", which is asleep on CONDITION_VARIABLE "));
    WakeConditionVariable(&shown_variable);
    end_sleepers(&sleepers, 1);
    check_join(&waiter);
}

/* In a program of its own, as the variable is read once. */
static void a_stall_line_says_that_the_owner_sleeps(void)
{
    if (getenv("HOSTCRST_STALL") != NULL) {
        wait_for_a_sleeper();
        return;
    }
    run_t run = run_again("a_stall_line_says_that_the_owner_sleeps", "HOSTCRST_STALL=20ms", NULL, NULL);
    CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
    CHECK_CONTAINS(run.said, "!shown_variable+0x0");
    free(run.said);
}

/* ---- futexes refused ---- */

static const int refusals[] = {EPERM, ENOSYS, EINVAL, EFAULT, ENOMEM};

static void live_without_futexes(void)
{
    static CONDITION_VARIABLE variable;
    static CRITICAL_SECTION section;
    static sleepers_t sleepers;
    check_thread_t thread;
    InitializeCriticalSectionAndSpinCount(&section, 0);
    __atomic_store_n(&refused_call, SYS_futex, __ATOMIC_RELAXED);
    EnterCriticalSection(&section);
    int64_t start = nanoseconds_now(), before = __atomic_load_n(&naps, __ATOMIC_RELAXED);
    CHECK_EQ(SleepConditionVariableCS(&variable, &section, 100), FALSE);
    CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
    CHECK(milliseconds_since(start) >= 100);
    /* Each but the last takes a millisecond, however busy the machine is. */
    int64_t taken = __atomic_load_n(&naps, __ATOMIC_RELAXED) - before;
    CHECK(taken > 0 && taken <= milliseconds_since(start) + 1);
    check_start(&thread, enter_and_leave, &section);
    REQUIRE_SOON(lock_count(&section) == -6);
    LeaveCriticalSection(&section);
    check_join(&thread);
    DeleteCriticalSection(&section);

    put_to_sleep(&sleepers, &variable, 2);
    WakeConditionVariable(&variable);
    expect_woken(&sleepers, 1);
    WakeConditionVariable(&variable);
    end_sleepers(&sleepers, 2);
}

static void where_futexes_are_refused_threads_check_again_after_a_nap(void)
{
    for (size_t at = 0; at < sizeof refusals / sizeof refusals[0]; at++) {
        refusal = refusals[at];
        run_t run = child_of(live_without_futexes, NULL);
        CHECK(WIFEXITED(run.status) && WEXITSTATUS(run.status) == 0);
        CHECK_EQ(times_in(run.said, "the system call futex is refused"), 1);
        free(run.said);
    }
}

CHECK_MAIN(CHECK_TEST(a_variable_may_stand_at_any_address),
           CHECK_TEST(a_wake_reaches_sleepers_of_its_variable_only), CHECK_TEST(all_means_any_number),
           CHECK_TEST(no_wake_is_lost_and_none_is_for_two), CHECK_TEST(a_variable_made_anew_has_no_sleepers),
           CHECK_TEST(a_child_inherits_no_sleepers), CHECK_TEST(a_report_shows_who_sleeps_where),
           CHECK_TEST(a_stall_line_says_that_the_owner_sleeps),
           CHECK_TEST(where_futexes_are_refused_threads_check_again_after_a_nap))
