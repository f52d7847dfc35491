/* Two threads take two sections, each in its own order. HOST_E_DEADLOCK goes to one of them, which lets go; or, with
 * HOSTCRST_ON_DEADLOCK=abort, the library says who waits for whom and the program ends.
 *
 *   cc -g -pthread deadlock.c $(pkg-config --cflags --libs hostcrst)
 */
#define _XOPEN_SOURCE 700
#include <hostcrst.h>
#include <pthread.h>
#include <stdio.h>

static hostcrst_t orders, stock;
static pthread_barrier_t both_own_one;

static int32_t take_both(const char *name, hostcrst_t first, hostcrst_t second)
{
    host_task_t self;
    int32_t hr = host_task_current(&self);
    if (hr >= 0) hr = host_task_set_name(self, name);
    if (hr >= 0) hr = hostcrst_enter(first, 0);
    if (hr < 0) return hr;
    pthread_barrier_wait(&both_own_one);
    hr = hostcrst_enter(second, 0);
    if (hr >= 0) hostcrst_leave(second);
    hostcrst_leave(first);
    return hr;
}

static void *sell(void *result)
{
    *(int32_t *)result = take_both("sell", orders, stock);
    return NULL;
}

static void *restock(void *result)
{
    *(int32_t *)result = take_both("restock", stock, orders);
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    int32_t results[2];
    if (host_runtime_start() < 0 || hostcrst_create(&orders) < 0 || hostcrst_create(&stock) < 0) return 1;
    hostcrst_set_name(orders, "orders");
    hostcrst_set_name(stock, "stock");
    pthread_barrier_init(&both_own_one, NULL, 2);
    pthread_create(&threads[0], NULL, sell, &results[0]);
    pthread_create(&threads[1], NULL, restock, &results[1]);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("sell: %s\nrestock: %s\n", host_result_message(results[0]), host_result_message(results[1]));
    return (results[0] < 0) == (results[1] < 0);
}
