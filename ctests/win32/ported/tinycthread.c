/* tinycthread's mutexes and conditions, which it makes of critical sections and of WinPR's events: threads that want the same. */
#include "tinycthread.h"

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                            \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            printf("tinycthread: line %d: does not hold: %s\n", __LINE__, #condition);                \
            exit(1);                                                                                  \
        }                                                                                             \
    } while (0)

enum { THREADS = 4, ENTRIES = 20000, ITEMS = 2000, ROOM = 8 };

static tct_mtx_t plain, recursive, queue;
static tct_cnd_t not_empty, not_full;
static int count, filled, taken;

static int count_on(void *unused)
{
    for (int entry = 0; entry < ENTRIES; entry++) {
        while (entry % 7 == 0 && tct_mtx_trylock(&plain) != tct_thrd_success) {
            tct_thrd_yield();
        }
        REQUIRE(entry % 7 == 0 || tct_mtx_lock(&plain) == tct_thrd_success);
        REQUIRE(tct_mtx_lock(&recursive) == tct_thrd_success && tct_mtx_lock(&recursive) == tct_thrd_success);
        count++;
        REQUIRE(tct_mtx_unlock(&recursive) == tct_thrd_success && tct_mtx_unlock(&recursive) == tct_thrd_success);
        REQUIRE(tct_mtx_unlock(&plain) == tct_thrd_success);
    }
    (void)unused;
    return 0;
}

static int put(void *unused)
{
    for (int item = 0; item < ITEMS; item++) {
        tct_mtx_lock(&queue);
        while (filled == ROOM) {
            REQUIRE(tct_cnd_wait(&not_full, &queue) == tct_thrd_success);
        }
        filled++;
        tct_mtx_unlock(&queue);
        tct_cnd_signal(&not_empty);
    }
    (void)unused;
    return 0;
}

static int take(void *unused)
{
    for (int item = 0; item < ITEMS; item++) {
        tct_mtx_lock(&queue);
        while (filled == 0) {
            REQUIRE(tct_cnd_wait(&not_empty, &queue) == tct_thrd_success);
        }
        filled--;
        taken++;
        tct_mtx_unlock(&queue);
        tct_cnd_broadcast(&not_full);
    }
    (void)unused;
    return 7;
}

static void run(int (*even)(void *), int (*odd)(void *), int result)
{
    tct_thrd_t threads[THREADS];
    for (int number = 0; number < THREADS; number++) {
        REQUIRE(tct_thrd_create(&threads[number], number % 2 == 0 ? even : odd, NULL) == tct_thrd_success);
    }
    for (int number = 0; number < THREADS; number++) {
        int got = -1;
        REQUIRE(tct_thrd_join(threads[number], &got) == tct_thrd_success);
        REQUIRE(got == (number % 2 == 0 ? 0 : result));
    }
}

int main(void)
{
    REQUIRE(tct_mtx_init(&plain, tct_mtx_plain) == tct_thrd_success);
    REQUIRE(tct_mtx_init(&recursive, tct_mtx_plain | tct_mtx_recursive) == tct_thrd_success);
    REQUIRE(tct_mtx_init(&queue, tct_mtx_plain) == tct_thrd_success);
    REQUIRE(tct_cnd_init(&not_empty) == tct_thrd_success && tct_cnd_init(&not_full) == tct_thrd_success);
    run(count_on, count_on, 0);
    REQUIRE(count == THREADS * ENTRIES);
    run(put, take, 7);
    REQUIRE(taken == THREADS / 2 * ITEMS && filled == 0);
    tct_cnd_destroy(&not_empty);
    tct_cnd_destroy(&not_full);
    tct_mtx_destroy(&plain);
    tct_mtx_destroy(&recursive);
    tct_mtx_destroy(&queue);
    printf("tinycthread: %d entries, %d items\n", count, taken);
    return 0;
}
