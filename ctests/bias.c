/*
 * Sections biased to the task that enters them: what others see of one, how its bias is revoked, and that it is never
 * owned twice. HOSTCRST_BIAS=always grants the bias at the first entry.
 */
#include "host.h"

static void grant_at_once(void)
{
    CHECK_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start_runtime();
}

static void a_biased_section_looks_like_any_other(void)
{
    int32_t entered = 1;
    holder_t other;
    hostcrst_t crst = new_section();
    for (uint32_t time = 0; time < 3; time++) {
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), S_OK);
        CHECK_EQ(entered, 1);
        CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 3);
        for (int leave = 0; leave < 3; leave++) {
            CHECK_EQ(hostcrst_leave(crst), S_OK);
        }
        CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_leave(crst), HOST_E_NOT_OWNER);
    }
    hold(&other, crst);
    CHECK_EQ(hostcrst_leave(crst), HOST_E_NOT_OWNER);
    CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), S_OK);
    CHECK_EQ(entered, 0);
    let_go(&other);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), E_HANDLE);
    CHECK_EQ(hostcrst_leave(crst), E_HANDLE);
}

static void a_section_biased_and_entered_keeps_others_out(void)
{
    waiter_t waiter;
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    wait_for(&waiter, crst, 0);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 2);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(info_of(crst).waiters, 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void enter_twenty_and_keep_one(void *sections)
{
    hostcrst_t *crsts = sections;
    for (int at = 0; at < 20; at++) {
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
        if (at != 7) {
            CHECK_EQ(hostcrst_leave(crsts[at]), S_OK);
        }
    }
}

static void a_bias_ends_with_its_task(void)
{
    check_thread_t thread;
    hostcrst_t crsts[20];
    for (int at = 0; at < 20; at++) {
        crsts[at] = new_section();
    }
    check_start(&thread, enter_twenty_and_keep_one, crsts);
    check_join(&thread);
    for (int at = 0; at < 20; at++) {
        CHECK_SECTION(crsts[at], at == 7 ? HOSTCRST_ABANDONED : HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_enter(crsts[at], 0), at == 7 ? HOST_E_ABANDONED : S_OK);
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
}

/*
 * Two threads and a fresh section again and again: the section is biased to one, which enters and leaves it until the
 * other has revoked the bias, in the midst of that. Each counts inside; a count lost is a section owned twice.
 */
enum { ROUNDS = 4000, ROUNDS_LEAST = 50, MILLISECONDS_MOST = 5000 };

static hostcrst_t contested;
static uint64_t inside;
static int round_of_owner;
#define OVER (ROUNDS + 1)
static int round_of_other;

/* By each function in turn that enters. */
static void enter_in_some_way(uint64_t entry)
{
    int32_t entered = 0;
    if (entry % 3 == 1) {
        CHECK_EQ(hostcrst_try_enter(contested, 0, &entered), S_OK);
    } else if (entry % 3 == 2) {
        CHECK_EQ(hostcrst_enter_timeout(contested, 0, HOSTCRST_INFINITE), S_OK);
        entered = 1;
    }
    if (!entered) {
        CHECK_EQ(hostcrst_enter(contested, 0), S_OK);
    }
}

static void enter_and_count(uint64_t entry)
{
    enter_in_some_way(entry);
    uint64_t seen = inside;
    if (entry % 4 == 0) {
        enter_in_some_way(entry / 4);
        CHECK_EQ(hostcrst_leave(contested), S_OK);
    }
    inside = seen + 1;
    CHECK_EQ(hostcrst_leave(contested), S_OK);
}

static void come_in_between(void *unused)
{
    (void)unused;
    for (int round = 1;; round++) {
        int now;
        for (unsigned polls = 1; (now = __atomic_load_n(&round_of_owner, __ATOMIC_ACQUIRE)) < round; polls++) {
            if (polls % 1024 == 0) {
                sched_yield();
            }
        }
        if (now == OVER) {
            return;
        }
        enter_and_count(0);
        enter_and_count(1);
        __atomic_store_n(&round_of_other, round, __ATOMIC_RELEASE);
    }
}

static void a_section_is_never_owned_twice(void)
{
    check_thread_t thread;
    int64_t start = nanoseconds_now();
    int round = 0;
    check_start(&thread, come_in_between, NULL);
    /* Fewer where other programs take the processors. */
    while (round++ < ROUNDS && (round <= ROUNDS_LEAST || milliseconds_since(start) < MILLISECONDS_MOST)) {
        struct timespec deadline = check_deadline_from_now();
        uint64_t entries = 0;
        contested = new_section();
        inside = 0;
        CHECK_EQ(hostcrst_enter(contested, 0), S_OK);
        CHECK_EQ(hostcrst_leave(contested), S_OK);
        __atomic_store_n(&round_of_owner, round, __ATOMIC_RELEASE);
        while (__atomic_load_n(&round_of_other, __ATOMIC_ACQUIRE) != round) {
            enter_and_count(entries);
            if (++entries % 1024 == 0) {
                REQUIRE(!check_passed(&deadline));
                sched_yield();
            }
        }
        CHECK_EQ(inside, entries + 2);
        CHECK_SECTION(contested, HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_destroy(contested), S_OK);
    }
    __atomic_store_n(&round_of_owner, OVER, __ATOMIC_RELEASE);
    check_join(&thread);
}

CHECK_MAIN(CHECK_TEST(grant_at_once), CHECK_TEST(a_biased_section_looks_like_any_other),
           CHECK_TEST(a_section_biased_and_entered_keeps_others_out),
           CHECK_TEST(a_bias_ends_with_its_task), CHECK_TEST(a_section_is_never_owned_twice))
