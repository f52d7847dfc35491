/*
 * A process that hangs across kinds of locks: `one` waits for a recursive mutex of `two`, which waits for a section of
 * `three`, which waits for a mutex of `one`. `four` waits for that too, and has a rwlock that `five` waits to read. The main
 * thread joins `one`. Run it with HOSTCRST_ON_DEADLOCK=report. Built with WITHOUT_LIBRARY the section is a mutex that checks
 * for errors, and the process does not have the library. Says "ready" once all of them stand still.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "mixed.c:%d: %s\n", __LINE__, #condition); \
            _exit(1); \
        } \
    } while (0)

#ifdef WITHOUT_LIBRARY
static pthread_mutex_t section;

static void create_section(void)
{
    pthread_mutexattr_t kind;
    REQUIRE(pthread_mutexattr_init(&kind) == 0 && pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK) == 0);
    REQUIRE(pthread_mutex_init(&section, &kind) == 0);
}

static void enter_section(void)
{
    REQUIRE(pthread_mutex_lock(&section) == 0);
}
#else
#include "hostcrst.h"

static hostcrst_t section;

static void create_section(void)
{
    REQUIRE(host_runtime_start() >= 0 && hostcrst_create(&section) >= 0);
    REQUIRE(hostcrst_set_name(section, "section") >= 0);
}

static void enter_section(void)
{
    REQUIRE(hostcrst_enter(section, 0) >= 0);
}
#endif

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER, recursive;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t all_own;

enum { ONE, TWO, THREE, FOUR, FIVE, MAIN, THREADS };
static const char *const names[THREADS] = {"one", "two", "three", "four", "five", "main"};
static pid_t ids[THREADS];

static void begin(int self)
{
    if (self != MAIN) {
        pthread_setname_np(pthread_self(), names[self]);
    }
    __atomic_store_n(&ids[self], (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
}

static void all_have_arrived(void)
{
    int result = pthread_barrier_wait(&all_own);
    REQUIRE(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void *one(void *unused)
{
    begin(ONE);
    REQUIRE(pthread_mutex_lock(&plain) == 0);
    all_have_arrived();
    pthread_mutex_lock(&recursive);
    return unused;
}

static void *two(void *unused)
{
    begin(TWO);
    REQUIRE(pthread_mutex_lock(&recursive) == 0 && pthread_mutex_lock(&recursive) == 0);
    all_have_arrived();
    enter_section();
    return unused;
}

static void *three(void *unused)
{
    begin(THREE);
    enter_section();
    all_have_arrived();
    pthread_mutex_lock(&plain);
    return unused;
}

static void *four(void *unused)
{
    begin(FOUR);
    REQUIRE(pthread_rwlock_wrlock(&rwlock) == 0);
    all_have_arrived();
    pthread_mutex_lock(&plain);
    return unused;
}

static void *five(void *unused)
{
    begin(FIVE);
    all_have_arrived();
    pthread_rwlock_rdlock(&rwlock);
    return unused;
}

/* The word that the thread sleeps on, 0 if it does not. */
static size_t futex_of(pid_t id)
{
    char path[64];
    long number = -1;
    size_t word = 0;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)id);
    file = fopen(path, "r");
    REQUIRE(file != NULL);
    if (fscanf(file, "%ld %zx", &number, &word) != 2 || number != SYS_futex) {
        word = 0;
    }
    fclose(file);
    return word;
}

static int sleeps_within(int thread, const void *start, size_t size)
{
    pid_t id = __atomic_load_n(&ids[thread], __ATOMIC_ACQUIRE);
    return id != 0 && futex_of(id) - (size_t)start < size;
}

static int all_stand_still(void)
{
#ifdef WITHOUT_LIBRARY
    int two_waits = sleeps_within(TWO, &section, sizeof section);
#else
    hostcrst_info_t info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    int two_waits = hostcrst_info(section, &info) >= 0 && info.waiters == 1;
#endif
    return two_waits && sleeps_within(ONE, &recursive, sizeof recursive) &&
           sleeps_within(THREE, &plain, sizeof plain) && sleeps_within(FOUR, &plain, sizeof plain) &&
           sleeps_within(FIVE, &rwlock, sizeof rwlock) && futex_of(ids[MAIN]) != 0;
}

static void *teller(void *unused)
{
    while (!all_stand_still()) {
        usleep(1000);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        pause();
    }
    return unused;
}

int main(void)
{
    pthread_mutexattr_t kind;
    pthread_t threads[THREADS];
    void *(*const bodies[THREADS])(void *) = {one, two, three, four, five, teller};
    /* Where a process may only be looked at by its parents: by all of the same user. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    begin(MAIN);
    create_section();
    REQUIRE(pthread_mutexattr_init(&kind) == 0 && pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE) == 0);
    REQUIRE(pthread_mutex_init(&recursive, &kind) == 0);
    REQUIRE(pthread_barrier_init(&all_own, NULL, 5) == 0);
    for (int thread = 0; thread < THREADS; thread++) {
        REQUIRE(pthread_create(&threads[thread], NULL, bodies[thread], NULL) == 0);
    }
    pthread_join(threads[ONE], NULL);
    return 1;
}
