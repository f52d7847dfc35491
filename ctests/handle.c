/* Handles: those of sections and of tasks never coincide, and none is reused. */
#include "host.h"

static int compare(const void *one, const void *other)
{
    uint64_t left = *(const uint64_t *)one;
    uint64_t right = *(const uint64_t *)other;
    return left < right ? -1 : left > right;
}

enum { ROUNDS = 50, AT_ONCE = 200, ALL = ROUNDS * AT_ONCE };

/* Sections made and destroyed by several threads at once, many times in the same slots. */
static void make_and_destroy(void *handles)
{
    hostcrst_t *each = (hostcrst_t *)handles;
    for (int round = 0; round < ROUNDS; round++) {
        for (int at = 0; at < AT_ONCE; at++) {
            REQUIRE_EQ(hostcrst_create(&each[round * AT_ONCE + at]), S_OK);
        }
        for (int at = 0; at < AT_ONCE; at++) {
            CHECK_EQ(hostcrst_destroy(each[round * AT_ONCE + at]), S_OK);
        }
    }
}

static void no_handle_is_given_twice(void)
{
    enum { THREADS = 4 };
    check_thread_t threads[THREADS];
    hostcrst_t *handles = (hostcrst_t *)zeroed((size_t)THREADS * ALL, sizeof *handles);
    start_runtime();
    for (int at = 0; at < THREADS; at++) {
        check_start(&threads[at], make_and_destroy, handles + at * ALL);
    }
    for (int at = 0; at < THREADS; at++) {
        check_join(&threads[at]);
    }
    qsort(handles, (size_t)THREADS * ALL, sizeof *handles, compare);
    CHECK_NE(handles[0], 0);
    for (int at = 1; at < THREADS * ALL; at++) {
        CHECK_NE(handles[at], handles[at - 1]);
    }
    for (int at = 0; at < THREADS * ALL; at++) {
        CHECK(!is_live(handles[at]));
    }
    free(handles);
}

static void no_section_is_a_task_and_no_task_a_section(void)
{
    enum { TIMES = 500 };
    start_runtime();
    hostcrst_t crst = new_section();
    for (int time = 0; time < TIMES; time++) {
        holder_t holder;
        hostcrst_t next = new_section();
        hold(&holder, next);
        CHECK_NE(holder.task, next);
        CHECK_NE(holder.task, crst);
        CHECK_EQ(host_task_alert(next), E_HANDLE);
        CHECK_EQ(hostcrst_leave(holder.task), E_HANDLE);
        CHECK_EQ(hostcrst_destroy(holder.task), E_HANDLE);
        CHECK_SECTION(next, HOSTCRST_OWNED, holder.task, 1);
        let_go(&holder);
        CHECK_EQ(hostcrst_destroy(next), S_OK);
    }
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* A slot is retired when its generations are used up: 2^23 sections in one slot. */
static void a_slot_is_retired_before_a_handle_could_come_back(void)
{
    enum { GENERATIONS = 1 << 23 };
    start_runtime();
    hostcrst_t first = new_section();
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    for (int time = 0; time < GENERATIONS + 10; time++) {
        hostcrst_t crst;
        if (hostcrst_create(&crst) != S_OK || crst == first || hostcrst_destroy(crst) != S_OK) {
            check_fail(__FILE__, __LINE__, "at section %d: 0x%llx", time, (unsigned long long)crst);
            return;
        }
    }
    CHECK(!is_live(first));
}

CHECK_MAIN(CHECK_TEST(no_handle_is_given_twice), CHECK_TEST(no_section_is_a_task_and_no_task_a_section),
           CHECK_TEST(a_slot_is_retired_before_a_handle_could_come_back))
