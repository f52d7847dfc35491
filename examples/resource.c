/* A lock of the program's own takes part in the search for deadlocks: two threads take it and a section, each in its own
 * order. HOST_E_DEADLOCK goes to one of them, which lets go.
 *
 *   cc -g -pthread resource.c $(pkg-config --cflags --libs hostcrst)
 */
#define _XOPEN_SOURCE 700
#include <hostcrst.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

/* The program's lock, which the library knows nothing of, and what the library is told of it. */
static int journal_is_locked;
static host_resource_t journal;
static hostcrst_t accounts;
static pthread_barrier_t both_own_one;

static int journal_try_lock(void)
{
    return __atomic_exchange_n(&journal_is_locked, 1, __ATOMIC_ACQUIRE) == 0;
}

static int32_t journal_lock(void)
{
    if (!journal_try_lock()) {
        int32_t hr = host_resource_wait(journal, 0); /* before it blocks */
        if (hr == HOST_E_DEADLOCK) return hr;        /* it must not block */
        while (!journal_try_lock()) sched_yield();
    }
    return host_resource_acquired(journal); /* after it has locked */
}

static void journal_unlock(void)
{
    host_resource_released(journal); /* before it unlocks */
    __atomic_store_n(&journal_is_locked, 0, __ATOMIC_RELEASE);
}

static void *transfer(void *result)
{
    int32_t hr = hostcrst_enter(accounts, 0);
    pthread_barrier_wait(&both_own_one);
    if (hr >= 0) hr = journal_lock();
    if (hr >= 0) journal_unlock();
    hostcrst_leave(accounts);
    *(int32_t *)result = hr;
    return NULL;
}

static void *replay(void *result)
{
    int32_t hr = journal_lock();
    pthread_barrier_wait(&both_own_one);
    if (hr >= 0) hr = hostcrst_enter(accounts, 0);
    if (hr >= 0) hostcrst_leave(accounts);
    journal_unlock();
    *(int32_t *)result = hr;
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    int32_t results[2];
    if (host_runtime_start() < 0 || hostcrst_create(&accounts) < 0 || host_resource_create(&journal) < 0) return 1;
    hostcrst_set_name(accounts, "accounts");
    host_resource_set_name(journal, "journal");
    pthread_barrier_init(&both_own_one, NULL, 2);
    pthread_create(&threads[0], NULL, transfer, &results[0]);
    pthread_create(&threads[1], NULL, replay, &results[1]);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("transfer: %s\nreplay: %s\n", host_result_message(results[0]), host_result_message(results[1]));
    return (results[0] < 0) == (results[1] < 0);
}
