/*
 * membarrier works when the library starts and is refused later: with sections that have been waited for
 * before, with sections that have not, with owners that are inside at that moment. No wake-up may be lost.
 */
#include "host.h"
#include "lock_count.h"
#include "membarrier.h"

static void wait_once(hostcrst_t crst)
{
    holder_t holder;
    waiter_t waiter;
    hold(&holder, crst);
    wait_for(&waiter, crst, 0);
    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
}

static void waits_work_before_and_after(void)
{
    holder_t holder;
    waiter_t waiter;
    start_runtime();
    CHECK(has_membarrier());
    hostcrst_t waited_for = new_section();
    hostcrst_t untouched = new_section();
    hostcrst_t owned = new_section();
    hostcrst_t awaited = new_section();
    wait_once(waited_for);
    hold(&holder, awaited);
    wait_for(&waiter, awaited, 0);
    CHECK_EQ(hostcrst_enter(owned, 0), S_OK);

    refuse_membarrier();

    let_go(&holder);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    wait_for(&waiter, owned, 0);
    CHECK_EQ(hostcrst_leave(owned), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    for (int time = 0; time < 20; time++) {
        hostcrst_t young = new_section();
        wait_once(waited_for);
        wait_once(untouched);
        wait_once(owned);
        wait_once(awaited);
        wait_once(young);
        CHECK_EQ(hostcrst_destroy(young), S_OK);
    }
    CHECK_EQ(hostcrst_enter(untouched, 0), S_OK);
    CHECK_EQ(hostcrst_enter_timeout(untouched, 0, 1), S_OK);
    CHECK_EQ(hostcrst_leave(untouched), S_OK);
    CHECK_EQ(hostcrst_leave(untouched), S_OK);
}

/* Threads enter and leave all the time while the refusal comes; each section is first waited for after it. */
enum { THREADS = 4, SECTIONS = 64, ENTRIES_LEAST = 300 };

static hostcrst_t crsts[SECTIONS];
static uint64_t counts[SECTIONS];
static int stop;
static uint64_t entries;

static void enter_and_leave(void *seed)
{
    chance_t chance = {*(uint64_t *)seed};
    uint64_t entered = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) || entered < ENTRIES_LEAST) {
        uint64_t at = next_random(&chance) % SECTIONS;
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
        counts[at]++;
        entered++;
        CHECK_EQ(hostcrst_leave(crsts[at]), S_OK);
    }
    __atomic_add_fetch(&entries, entered, __ATOMIC_RELAXED);
}

static void let_pass(int64_t milliseconds)
{
    int64_t start = nanoseconds_now();
    while (milliseconds_since(start) < milliseconds) {
        check_pause();
    }
}

static void refuse_in_the_middle(void)
{
    check_thread_t threads[THREADS];
    uint64_t seeds[THREADS];
    uint64_t counted = 0;
    start_runtime();
    for (int at = 0; at < SECTIONS; at++) {
        crsts[at] = new_section();
    }
    for (uint64_t at = 0; at < THREADS; at++) {
        seeds[at] = at;
        check_start(&threads[at], enter_and_leave, &seeds[at]);
    }
    let_pass(100);
    refuse_membarrier();
    let_pass(300);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < THREADS; at++) {
        check_join(&threads[at]);
    }
    for (int at = 0; at < SECTIONS; at++) {
        counted += counts[at];
        CHECK_SECTION(crsts[at], HOSTCRST_FREE, 0, 0);
        CHECK_EQ(info_of(crsts[at]).waiters, 0);
    }
    CHECK_EQ(counted, entries);
}

static void enter_once(void *section)
{
    EnterCriticalSection((CRITICAL_SECTION *)section);
    LeaveCriticalSection((CRITICAL_SECTION *)section);
}

/* An owner that does not know of the queue yet may write LockCount over what the first waiter has shown there. */
static void show_the_queue_again(void)
{
    CRITICAL_SECTION section;
    check_thread_t thread;
    REQUIRE(InitializeCriticalSectionAndSpinCount(&section, 0));
    EnterCriticalSection(&section);
    refuse_membarrier();
    check_start(&thread, enter_once, &section);
    REQUIRE_SOON(lock_count(&section) == -6);
    __atomic_store_n(&section.LockCount, -2, __ATOMIC_RELAXED);
    REQUIRE_SOON(lock_count(&section) == -6);
    LeaveCriticalSection(&section);
    check_join(&thread);
    CHECK_EQ(lock_count(&section), -1);
    DeleteCriticalSection(&section);
}

static void a_waiter_shows_the_queue_again(void)
{
    in_child(show_the_queue_again);
}

static void waits_work_before_and_after_in_a_child(void)
{
    in_child(waits_work_before_and_after);
}

static void the_refusal_may_come_at_any_moment(void)
{
    for (int time = 0; time < 5; time++) {
        in_child(refuse_in_the_middle);
    }
}

CHECK_MAIN(CHECK_TEST(waits_work_before_and_after_in_a_child), CHECK_TEST(a_waiter_shows_the_queue_again),
           CHECK_TEST(the_refusal_may_come_at_any_moment))
