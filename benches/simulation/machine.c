// Measures on this machine what src/sys/sim/machine.rs takes from a machine: prints a line for each figure, in ns.
// cc -std=gnu11 -O2 -pthread benches/simulation/machine.c -o build/machine && build/machine
#define _GNU_SOURCE
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 2000, REPEATS = 9 };

static _Alignas(128) atomic_uint word;
static _Alignas(128) atomic_uint told;
static _Alignas(128) atomic_bool stop;
static _Alignas(128) atomic_uint_fast64_t stamp;

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void pin(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void futex(int operation, unsigned value)
{
    syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show(const char *what, double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    printf("%-64s %10.1f   (least %.1f)\n", what, values[count / 2], values[0]);
}

#define MEASURE(what, times, statement)                                                                                \
    do {                                                                                                               \
        double values[REPEATS];                                                                                        \
        for (int repeat = 0; repeat < REPEATS; repeat++) {                                                             \
            uint64_t begin = now();                                                                                    \
            for (int round = 0; round < (times); round++) {                                                            \
                statement;                                                                                             \
            }                                                                                                          \
            values[repeat] = (double)(now() - begin) / (times);                                                        \
        }                                                                                                              \
        show(what, values, REPEATS);                                                                                   \
    } while (0)

// ---- a line that goes to and fro --------------------------------------------------------------------------

static void *answer_line(void *unused)
{
    (void)unused;
    pin(1);
    for (unsigned at = 1; at < 2 * ROUNDS * REPEATS; at += 2) {
        while (atomic_load_explicit(&word, memory_order_acquire) != at) {
        }
        atomic_store_explicit(&word, at + 1, memory_order_release);
    }
    return NULL;
}

static void lines(void)
{
    pthread_t other;
    atomic_store(&word, 0);
    pthread_create(&other, NULL, answer_line, NULL);
    unsigned at = 0;
    double values[REPEATS];
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        uint64_t begin = now();
        for (int round = 0; round < ROUNDS; round++) {
            atomic_store_explicit(&word, ++at, memory_order_release);
            while (atomic_load_explicit(&word, memory_order_acquire) != at + 1) {
            }
            at++;
        }
        values[repeat] = (double)(now() - begin) / ROUNDS / 2;
    }
    show("a store until another processor has loaded it", values, REPEATS);
    pthread_join(other, NULL);
}

static void *add_until_stopped(void *unused)
{
    (void)unused;
    pin(1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        atomic_fetch_add(&told, 1);
    }
    return NULL;
}

static void contended_additions(void)
{
    pthread_t other;
    atomic_store(&stop, false);
    atomic_store(&told, 0);
    pthread_create(&other, NULL, add_until_stopped, NULL);
    double values[REPEATS];
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        unsigned first = atomic_load(&told);
        uint64_t begin = now();
        for (int round = 0; round < 20 * ROUNDS; round++) {
            atomic_fetch_add(&told, 1);
        }
        values[repeat] = (double)(now() - begin) / (atomic_load(&told) - first);
    }
    show("an addition of two processors to one word, each", values, REPEATS);
    atomic_store(&stop, true);
    pthread_join(other, NULL);
}

// ---- sleep and wake ---------------------------------------------------------------------------------------

static int sleeper_processor;

static void *sleep_and_stamp(void *unused)
{
    (void)unused;
    pin(sleeper_processor);
    for (unsigned at = 1; at <= 200; at++) {
        while (atomic_load(&word) != at) {
            futex(FUTEX_WAIT, at - 1);
        }
        atomic_store(&stamp, now());
        atomic_store(&told, at);
    }
    return NULL;
}

static void wakes(const char *call, const char *latency, int processor)
{
    pthread_t other;
    sleeper_processor = processor;
    atomic_store(&word, 0);
    atomic_store(&told, 0);
    pthread_create(&other, NULL, sleep_and_stamp, NULL);
    double calls[200], latencies[200];
    for (unsigned at = 1; at <= 200; at++) {
        usleep(300);
        uint64_t begin = now();
        atomic_store(&word, at);
        futex(FUTEX_WAKE, 1);
        calls[at - 1] = (double)(now() - begin);
        while (atomic_load(&told) != at) {
            if (processor == 0) {
                sched_yield();
            }
        }
        latencies[at - 1] = (double)(atomic_load(&stamp) - begin);
    }
    show(call, calls, 200);
    show(latency, latencies, 200);
    pthread_join(other, NULL);
}

// ---- barriers ---------------------------------------------------------------------------------------------

static void *compute_until_stopped(void *gaps)
{
    pin(gaps == NULL ? 1 : 0);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        relax();
    }
    return NULL;
}

static void barriers(void)
{
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    MEASURE("the heavy barrier, nobody else runs", ROUNDS,
            syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    pthread_t other;
    atomic_store(&stop, false);
    pthread_create(&other, NULL, compute_until_stopped, NULL);
    usleep(1000);
    MEASURE("the heavy barrier, another processor runs the process", 200,
            syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    atomic_store(&stop, true);
    pthread_join(other, NULL);
}

// ---- turns on one processor -------------------------------------------------------------------------------

static void turns(void)
{
    pthread_t other;
    int here;
    atomic_store(&stop, false);
    pthread_create(&other, NULL, compute_until_stopped, &here);
    double gaps[40];
    uint64_t last = now();
    for (int count = 0; count < 40;) {
        uint64_t at = now();
        if (at - last > 500000) {
            gaps[count++] = (double)(at - last);
        }
        last = at;
    }
    show("how long another thread keeps the processor (preemption)", gaps, 40);
    atomic_store(&stop, true);
    pthread_join(other, NULL);
}

static void *yield_until_stopped(void *unused)
{
    (void)unused;
    pin(0);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        sched_yield();
    }
    return NULL;
}

static void switches(void)
{
    pthread_t other;
    MEASURE("sched_yield, nobody else", ROUNDS, sched_yield());
    atomic_store(&stop, false);
    pthread_create(&other, NULL, yield_until_stopped, NULL);
    usleep(1000);
    MEASURE("sched_yield to another thread and back: two switches", ROUNDS, sched_yield());
    atomic_store(&stop, true);
    pthread_join(other, NULL);
}

int main(void)
{
    pin(0);
    volatile unsigned plain = 0;
    atomic_uint own = 0;
    MEASURE("a load and a store that hit", 20 * ROUNDS, plain++);
    MEASURE("a read-modify-write that hits", 20 * ROUNDS, atomic_fetch_add(&own, 1));
    MEASURE("a pause", 20 * ROUNDS, relax());
    MEASURE("reading the clock", 20 * ROUNDS, now());
    MEASURE("futex wake, nobody sleeps", ROUNDS, futex(FUTEX_WAKE, 1));
    MEASURE("futex wait, the word has changed", ROUNDS, futex(FUTEX_WAIT, ~0u));
    lines();
    contended_additions();
    wakes("futex wake of a thread of an idle processor: the call", "  until that thread runs", 1);
    wakes("futex wake of a thread of this processor: the call", "  until that thread runs, after a yield", 0);
    barriers();
    switches();
    turns();
    struct timespec moment = {0, 100000};
    MEASURE("nanosleep of 100 us", 50, nanosleep(&moment, NULL));
    return 0;
}
