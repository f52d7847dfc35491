/*
 * The test framework of the C and C++ tests: checks that print the values, a runner, and threads that wait
 * for each other by handshake, never by sleeping. Include it before anything else.
 *
 *     static void enter_takes_a_free_section(void) { CHECK_EQ(hostcrst_enter(crst, 0), S_OK); }
 *     CHECK_MAIN(CHECK_TEST(enter_takes_a_free_section), CHECK_TEST(...))
 *
 * A program given arguments runs only the tests that they name, or all but those named after a '-'.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The number in a variable of the environment. */
static inline unsigned long long check_number_from(const char *variable, unsigned long long otherwise)
{
    const char *text = getenv(variable);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/*
 * How long a thread waits for what another must do before the test is called stuck; enough for valgrind on a busy
 * machine. It looks at least so often meanwhile: the whole process, or the machine, may have stood still for most of it.
 */
#define CHECK_PATIENCE_SECONDS 60
#define CHECK_LOOKS_LEAST 1000
/* How long a whole thread may take. */
#define CHECK_PATIENCE_WITH_A_THREAD 150

/* A check that fails is printed and the test goes on. Any thread may check. */
#define CHECK(condition) check_that(!!(condition), __FILE__, __LINE__, #condition)
/* Integers (handles, HRESULTs, enumerators), compared as 64 bits. */
#define CHECK_EQ(actual, expected) \
    check_equal((long long)(actual), (long long)(expected), __FILE__, __LINE__, #actual " == " #expected)
#define CHECK_NE(actual, unexpected) \
    check_different((long long)(actual), (long long)(unexpected), __FILE__, __LINE__, \
                    #actual " != " #unexpected)
#define CHECK_STR_EQ(actual, expected) \
    check_equal_text((actual), (expected), __FILE__, __LINE__, #actual " == " #expected)

/* A check without which the rest has no meaning, or would hang: ends the program when it fails. */
#define REQUIRE(condition) \
    do { \
        if (!CHECK(condition)) { \
            check_give_up(); \
        } \
    } while (0)
#define REQUIRE_EQ(actual, expected) \
    do { \
        if (!CHECK_EQ(actual, expected)) { \
            check_give_up(); \
        } \
    } while (0)

/*
 * Waits until a condition holds that no other thread can announce, such as "that task is blocked now". Ends
 * the program when it does not become true.
 */
#define REQUIRE_SOON(condition) \
    do { \
        struct timespec check_deadline = check_deadline_from_now(); \
        for (int check_looks = 0; !(condition); check_looks++) { \
            if (check_looks >= CHECK_LOOKS_LEAST && check_passed(&check_deadline)) { \
                check_that(0, __FILE__, __LINE__, "soon: " #condition); \
                check_give_up(); \
            } \
            check_pause(); \
        } \
    } while (0)

typedef struct check_test {
    const char *name;
    void (*body)(void);
} check_test_t;

#define CHECK_TEST(function) {#function, function}
#define CHECK_MAIN(...) \
    int main(int argument_count, char **arguments) \
    { \
        static const check_test_t tests[] = {__VA_ARGS__}; \
        return check_run(tests, sizeof tests / sizeof tests[0], argument_count, arguments); \
    }

/* Failed checks of the whole program; threads add to it. */
static int check_failures;

static inline int check_failed_so_far(void)
{
    return __atomic_load_n(&check_failures, __ATOMIC_RELAXED);
}

__attribute__((format(printf, 3, 4)))
static inline void check_fail(const char *file, int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    __atomic_add_fetch(&check_failures, 1, __ATOMIC_RELAXED);
    printf("%s:%d: %s\n", file, line, text);
}

static inline void check_give_up(void)
{
    printf("giving up: the rest has no meaning after this\n");
    fflush(stdout);
    _exit(1);
}

static inline int check_that(int holds, const char *file, int line, const char *condition)
{
    if (!holds) {
        check_fail(file, line, "does not hold: %s", condition);
    }
    return holds;
}

/* The path of this program. Not that of the link to it: under valgrind, it leads elsewhere. */
static inline const char *check_program(void)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return path;
}

/*
 * Executes this program anew with these arguments, in place of the one that runs; returns if that fails. Where only qemu's
 * user mode can, CHECK_EMULATOR has its command, words with single spaces between them.
 */
static inline void check_execute_anew(char *const *arguments)
{
    enum { WORDS_MOST = 32 };
    char *words[WORDS_MOST + 1];
    char name_follows[] = "-0";
    char program[4096];
    const char *emulator = getenv("CHECK_EMULATOR");
    int count = 0;
    snprintf(program, sizeof program, "%s", check_program());
    if (emulator == NULL) {
        execv(program, arguments);
        return;
    }
    for (char *word = strtok(strdup(emulator), " "); word != NULL && count < WORDS_MOST - 3; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    words[count++] = name_follows;
    words[count++] = arguments[0];
    words[count++] = program;
    for (int at = 1; arguments[at] != NULL && count < WORDS_MOST; at++) {
        words[count++] = arguments[at];
    }
    words[count] = NULL;
    execvp(words[0], words);
}

/* As that, for one test of this program. */
static inline void check_execute_test(const char *test)
{
    char *const arguments[] = {strdup("again"), strdup(test), NULL};
    check_execute_anew(arguments);
}

/* As decimal, and as the hexadecimal number in which HRESULTs and handles are known. */
static inline void check_show(char text[64], long long value)
{
    int is_hresult = value < 0 && value >= -0x7FFFFFFFLL - 1;
    unsigned long long bits = (unsigned long long)value & (is_hresult ? 0xFFFFFFFFu : ~0ull);
    snprintf(text, 64, "%lld (0x%llX)", value, bits);
}

static inline int check_equal(long long actual, long long expected, const char *file, int line,
                              const char *condition)
{
    if (actual != expected) {
        char seen[64], wanted[64];
        check_show(seen, actual);
        check_show(wanted, expected);
        check_fail(file, line, "does not hold: %s\n    actual:   %s\n    expected: %s", condition, seen,
                   wanted);
    }
    return actual == expected;
}

static inline int check_different(long long actual, long long unexpected, const char *file, int line,
                                  const char *condition)
{
    if (actual == unexpected) {
        char seen[64];
        check_show(seen, actual);
        check_fail(file, line, "does not hold: %s\n    both: %s", condition, seen);
    }
    return actual != unexpected;
}

static inline int check_equal_text(const char *actual, const char *expected, const char *file, int line,
                                   const char *condition)
{
    int same = actual != NULL && expected != NULL && strcmp(actual, expected) == 0;
    if (!same) {
        check_fail(file, line, "does not hold: %s\n    actual:   %s\n    expected: %s", condition,
                   actual != NULL ? actual : "(NULL)", expected != NULL ? expected : "(NULL)");
    }
    return same;
}

static inline int check_is_wanted(const char *name, int argument_count, char **arguments)
{
    for (int at = 1; at < argument_count; at++) {
        int left_out = arguments[at][0] == '-';
        if (strcmp(arguments[at] + left_out, name) == 0) {
            return !left_out;
        }
    }
    return argument_count < 2 || arguments[1][0] == '-';
}

/* 0 when at least one test ran and all that ran passed. */
static inline int check_run(const check_test_t *tests, size_t count, int argument_count, char **arguments)
{
    int passed = 0;
    int failed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t at = 0; at < count; at++) {
        if (!check_is_wanted(tests[at].name, argument_count, arguments)) {
            continue;
        }
        int failures_before = check_failed_so_far();
        printf("test %s\n", tests[at].name);
        tests[at].body();
        if (check_failed_so_far() == failures_before) {
            passed++;
        } else {
            printf("FAILED %s\n", tests[at].name);
            failed++;
        }
    }
    printf("%d tests passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}

static inline struct timespec check_deadline_from_now(void)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += CHECK_PATIENCE_SECONDS;
    return deadline;
}

static inline int check_passed(const struct timespec *deadline)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > deadline->tv_sec ||
           (now.tv_sec == deadline->tv_sec && now.tv_nsec >= deadline->tv_nsec);
}

static inline void check_pause(void)
{
    struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, NULL);
}

/* A thread: check_start(&thread, body, &what_it_works_on); ... check_join(&thread); */
typedef struct check_thread {
    pthread_t id;
    void (*body)(void *argument);
    void *argument;
} check_thread_t;

static inline void *check_thread_main(void *thread)
{
    check_thread_t *self = (check_thread_t *)thread;
    self->body(self->argument);
    return NULL;
}

/* With CHECK_STACK=n in the environment its stack has n bytes. */
static inline void check_start(check_thread_t *thread, void (*body)(void *), void *argument)
{
    pthread_attr_t attributes;
    unsigned long long stack = check_number_from("CHECK_STACK", 0);
    thread->body = body;
    thread->argument = argument;
    REQUIRE_EQ(pthread_attr_init(&attributes), 0);
    if (stack != 0) {
        REQUIRE_EQ(pthread_attr_setstacksize(&attributes, (size_t)stack), 0);
    }
    REQUIRE_EQ(pthread_create(&thread->id, &attributes, check_thread_main, thread), 0);
    pthread_attr_destroy(&attributes);
}

static inline struct timespec check_in_a_second(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec++;
    return time;
}

/* Ends the program if the thread does not end: a hang then names the place that waited. */
#define check_join(thread) check_join_at((thread), __FILE__, __LINE__)

static inline void check_join_at(check_thread_t *thread, const char *file, int line)
{
    int result = ETIMEDOUT;
    for (int second = 0; result == ETIMEDOUT && second < CHECK_PATIENCE_WITH_A_THREAD; second++) {
        struct timespec in_a_second = check_in_a_second();
        result = pthread_timedjoin_np(thread->id, NULL, &in_a_second);
    }
    if (result != 0) {
        check_fail(file, line, "the thread did not end: %s", strerror(result));
        check_give_up();
    }
}

/* R, S, ...: see proc(5). 0 if there is no such thread. */
static inline char check_thread_state(int process, int thread)
{
    char path[64];
    char line[128] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", process, thread);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    char *read = fgets(line, sizeof line, file);
    fclose(file);
    char *name_end = read == NULL ? NULL : strrchr(line, ')');
    return name_end == NULL ? '\0' : name_end[2];
}

/*
 * A handshake: one thread announces steps, others wait until a step has been reached.
 *
 *     static check_steps_t steps = CHECK_STEPS_INIT;
 *     thread A: ... check_reach(&steps, 1); check_await(&steps, 2); ...
 *     thread B: check_await(&steps, 1); ... check_reach(&steps, 2);
 *
 * As a barrier of n threads: each calls check_arrive(&steps, n), and goes on when all have.
 */
typedef struct check_steps {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    int reached;
} check_steps_t;

#define CHECK_STEPS_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

#define check_await(steps, step) check_await_at((steps), (step), __FILE__, __LINE__)

static inline void check_await_at(check_steps_t *steps, int step, const char *file, int line)
{
    pthread_mutex_lock(&steps->mutex);
    for (int seconds = 0; steps->reached < step && seconds < CHECK_PATIENCE_SECONDS;) {
        struct timespec in_a_second = check_in_a_second();
        seconds += pthread_cond_timedwait(&steps->moved, &steps->mutex, &in_a_second) != 0;
    }
    int reached = steps->reached;
    pthread_mutex_unlock(&steps->mutex);
    if (reached < step) {
        check_fail(file, line, "step %d was not reached, only %d", step, reached);
        check_give_up();
    }
}

/* For a helper of the test: what the test does until then may take any time, and gives up itself. */
static inline void check_await_however_long(check_steps_t *steps, int step)
{
    pthread_mutex_lock(&steps->mutex);
    while (steps->reached < step) {
        pthread_cond_wait(&steps->moved, &steps->mutex);
    }
    pthread_mutex_unlock(&steps->mutex);
}

/* Steps only go up: reaching a step that is behind changes nothing. */
static inline void check_reach(check_steps_t *steps, int step)
{
    pthread_mutex_lock(&steps->mutex);
    if (steps->reached < step) {
        steps->reached = step;
    }
    pthread_cond_broadcast(&steps->moved);
    pthread_mutex_unlock(&steps->mutex);
}

/* May be used again and again by the same n threads. */
#define check_arrive(steps, count) check_arrive_at((steps), (count), __FILE__, __LINE__)

static inline void check_arrive_at(check_steps_t *steps, int count, const char *file, int line)
{
    pthread_mutex_lock(&steps->mutex);
    steps->reached++;
    int all_of_this_round = (steps->reached + count - 1) / count * count;
    pthread_cond_broadcast(&steps->moved);
    pthread_mutex_unlock(&steps->mutex);
    check_await_at(steps, all_of_this_round, file, line);
}

/* How many processors the calling thread may run on. */
static inline int check_processors(void)
{
    cpu_set_t allowed;
    REQUIRE_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    return CPU_COUNT(&allowed);
}

/* From here on the calling thread runs on the nth of them only, from 0. */
static inline void check_run_on_processor(size_t nth)
{
    cpu_set_t allowed;
    cpu_set_t chosen;
    size_t processor = 0;
    REQUIRE_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    while (!CPU_ISSET(processor, &allowed) || nth-- != 0) {
        processor++;
    }
    CPU_ZERO(&chosen);
    CPU_SET(processor, &chosen);
    REQUIRE_EQ(sched_setaffinity(0, sizeof chosen, &chosen), 0);
}

#endif
