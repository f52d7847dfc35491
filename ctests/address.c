/*
 * Waits on addresses, as Windows has them (WaitOnAddress): of 1, 2, 4 and 8 bytes wherever they stand, until a wake or a
 * time limit; which thread a wake is for; and what of a wait is shown.
 */
#include "capture.h"
#include "lock_count.h"

#include <hostcrst.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

static uint32_t word;

static void to_wake(volatile void *address, void (WINAPI *wake)(PVOID))
{
    wake((PVOID)(uintptr_t)address);
}

/* ---- what is compared ---- */

static void it_returns_at_once_if_the_memory_differs(void)
{
    uint64_t there = 0x1122334455667788, other;
    for (size_t size = 1; size <= 8; size *= 2) {
        for (size_t at = 0; at < size; at++) {
            other = there;
            ((unsigned char *)&other)[at] ^= 0x40;
            CHECK(WaitOnAddress(&there, &other, size, INFINITE));
        }
        /* Only so many bytes are compared. */
        if (size < 8) {
            other = there;
            ((unsigned char *)&other)[size] ^= 0x40;
            CHECK(!WaitOnAddress(&there, &other, size, 1));
            CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
        }
    }
}

static void a_wait_ends_in_time(void)
{
    uint32_t same = 0;
    CHECK(!WaitOnAddress(&word, &same, sizeof word, 0));
    CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
    SetLastError(0);
    CHECK(!WaitOnAddress(&word, &same, sizeof word, 10));
    CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
}

static void sizes_and_pointers_that_are_none_are_refused(void)
{
    static const size_t sizes[] = {0, 3, 5, 6, 7, 9, 16, (size_t)-1};
    uint32_t same = 0;
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        SetLastError(0);
        CHECK(!WaitOnAddress(&word, &same, sizes[at], INFINITE));
        CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    }
    CHECK(!WaitOnAddress(NULL, &same, 4, INFINITE));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK(!WaitOnAddress(&word, NULL, 4, INFINITE));
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    WakeByAddressSingle(NULL);
    WakeByAddressAll(NULL);
}

/* ---- wakes ---- */

typedef struct sleeper {
    check_thread_t thread;
    volatile void *address;
    size_t size;
    unsigned returned;
} sleeper_t;

static void wait_for_change(void *argument)
{
    sleeper_t *sleeper = (sleeper_t *)argument;
    unsigned char before[8] = {0};
    while (memcmp((const void *)(uintptr_t)sleeper->address, before, sleeper->size) == 0) {
        CHECK(WaitOnAddress(sleeper->address, before, sleeper->size, INFINITE));
        __atomic_add_fetch(&sleeper->returned, 1, __ATOMIC_SEQ_CST);
    }
}

static unsigned returned(sleeper_t *sleeper)
{
    return __atomic_load_n(&sleeper->returned, __ATOMIC_SEQ_CST);
}

static int reported_waiters(void)
{
    char *report = text_report();
    int found = times_in(report, "   waiting on address 0x");
    free(report);
    return found;
}

static void begin(sleeper_t *sleeper, volatile void *address, size_t size, int waiters)
{
    *sleeper = (sleeper_t){.address = address, .size = size};
    check_start(&sleeper->thread, wait_for_change, sleeper);
    REQUIRE_SOON(reported_waiters() == waiters);
}

static void a_wake_ends_a_wait_at_any_address_and_of_any_size(void)
{
    static unsigned char memory[16];
    for (size_t size = 1; size <= 8; size *= 2) {
        for (size_t at = 0; at < 8; at += 3) {
            sleeper_t sleeper;
            memset(memory, 0, sizeof memory);
            begin(&sleeper, memory + at, size, 1);
            __atomic_store_n(memory + at + size - 1, 1, __ATOMIC_SEQ_CST);
            to_wake(memory + at, WakeByAddressSingle);
            check_join(&sleeper.thread);
        }
    }
}

static void a_wake_of_one_is_for_who_came_first(void)
{
    sleeper_t sleepers[3];
    word = 0;
    for (int at = 0; at < 3; at++) {
        begin(&sleepers[at], &word, sizeof word, at + 1);
    }
    to_wake(&word, WakeByAddressSingle);
    REQUIRE_SOON(returned(&sleepers[0]) == 1);
    CHECK_EQ(returned(&sleepers[1]) + returned(&sleepers[2]), 0);
    /* It finds nothing changed and waits anew, behind the others. */
    REQUIRE_SOON(reported_waiters() == 3);
    to_wake(&word, WakeByAddressSingle);
    REQUIRE_SOON(returned(&sleepers[1]) == 1);
    CHECK_EQ(returned(&sleepers[0]) + returned(&sleepers[2]), 1);
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    to_wake(&word, WakeByAddressAll);
    for (int at = 0; at < 3; at++) {
        check_join(&sleepers[at].thread);
    }
    word = 0;
}

static void a_wake_is_for_that_address_only(void)
{
    static union {
        uint32_t words[2];
        CONDITION_VARIABLE variable;
    } both;
    sleeper_t first, second;
    begin(&first, &both.words[0], 4, 1);
    begin(&second, &both.words[1], 4, 2);
    to_wake(&both.words[1], WakeByAddressAll);
    REQUIRE_SOON(returned(&second) == 1);
    /* Nor does a condition variable's wake end it. */
    InitializeConditionVariable(&both.variable);
    both.words[0] = 0;
    REQUIRE_SOON(reported_waiters() == 2);
    WakeAllConditionVariable(&both.variable);
    CHECK_EQ(returned(&first), 0);
    __atomic_store_n(&both.words[0], 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&both.words[1], 1, __ATOMIC_SEQ_CST);
    to_wake(&both.words[0], WakeByAddressAll);
    to_wake(&both.words[1], WakeByAddressAll);
    check_join(&first.thread);
    check_join(&second.thread);
}

/* ---- no wake is lost ---- */

enum { ROUNDS = 30000 };

/* Two threads hand a number to and fro, each wake for the other. */
static void hand_over(void *argument)
{
    uint32_t mine = argument == NULL ? 0 : 1;
    for (uint32_t round = mine; round < 2 * ROUNDS; round += 2) {
        for (uint32_t now; (now = __atomic_load_n(&word, __ATOMIC_SEQ_CST)) != round;) {
            CHECK(WaitOnAddress(&word, &now, sizeof word, INFINITE));
        }
        __atomic_store_n(&word, round + 1, __ATOMIC_RELEASE);
        to_wake(&word, WakeByAddressSingle);
    }
}

static void no_wake_is_lost(void)
{
    check_thread_t other;
    word = 0;
    check_start(&other, hand_over, &other);
    hand_over(NULL);
    check_join(&other);
    CHECK_EQ(word, 2 * ROUNDS);
    word = 0;
}

/* ---- what is shown ---- */

static void reports_and_chains_show_the_wait(void)
{
    host_wait_node_t nodes[2] = {{.size = sizeof nodes[0]}, {.size = sizeof nodes[0]}};
    uint32_t same = 0;
    sleeper_t sleeper;
    begin(&sleeper, &word, sizeof word, 1);
    char *report = text_report();
    CHECK_CONTAINS(report, ", on an address ");
    CHECK_CONTAINS(report, "!word+0x0 at ");
    CHECK_CONTAINS(report, "!wait_for_change+0x");
    CHECK_LACKS(report, "after leaving");
    free(report);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(json, "\"sleeping\":{\"on_address\":\"0x");
    CHECK_CONTAINS(json, "\"kind\":\"windows_address\"");
    /* The waiter's handle stands before that. */
    const char *task = strstr(json, "\"sleeping\":{\"on_address\"");
    while (task != NULL && task > json && strncmp(task, "{\"task\":\"", 9) != 0) {
        task--;
    }
    REQUIRE(task != NULL);
    host_task_t waiter = strtoull(task + 9, NULL, 16);
    size_t count = 0;
    CHECK_EQ(host_wait_chain(waiter, nodes, 2, &count), S_OK);
    CHECK_EQ(count, 2);
    CHECK_EQ(nodes[1].kind, HOST_WAIT_NODE_ADDRESS);
    CHECK_EQ(nodes[1].handle, (uint64_t)(uintptr_t)&word);
    free(json);
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    to_wake(&word, WakeByAddressAll);
    check_join(&sleeper.thread);
    word = 0;
    CHECK(!WaitOnAddress(&word, &same, sizeof word, 0));
}

static void in_the_child_of_a_fork_nobody_waits(void)
{
    sleeper_t sleeper;
    begin(&sleeper, &word, sizeof word, 1);
    pid_t child = fork();
    if (child == 0) {
        uint32_t same = 0;
        CHECK_EQ(reported_waiters(), 0);
        to_wake(&word, WakeByAddressAll);
        CHECK(!WaitOnAddress(&word, &same, sizeof word, 1));
        fflush(NULL);
        _exit(check_failed_so_far());
    }
    int status = -1;
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    to_wake(&word, WakeByAddressAll);
    check_join(&sleeper.thread);
    word = 0;
}

static void errno_and_last_error_stay(void)
{
    uint32_t other = 1;
    errno = 77;
    SetLastError(5);
    CHECK(WaitOnAddress(&word, &other, sizeof word, INFINITE));
    to_wake(&word, WakeByAddressSingle);
    CHECK_EQ(GetLastError(), 5);
    other = 0;
    CHECK(!WaitOnAddress(&word, &other, sizeof word, 1));
    CHECK_EQ(errno, 77);
}

CHECK_MAIN(CHECK_TEST(it_returns_at_once_if_the_memory_differs), CHECK_TEST(a_wait_ends_in_time),
           CHECK_TEST(sizes_and_pointers_that_are_none_are_refused),
           CHECK_TEST(a_wake_ends_a_wait_at_any_address_and_of_any_size),
           CHECK_TEST(a_wake_of_one_is_for_who_came_first), CHECK_TEST(a_wake_is_for_that_address_only),
           CHECK_TEST(no_wake_is_lost), CHECK_TEST(reports_and_chains_show_the_wait),
           CHECK_TEST(in_the_child_of_a_fork_nobody_waits), CHECK_TEST(errno_and_last_error_stay))
