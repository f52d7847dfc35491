/*
 * Each task keeps the places of some sections that it has destroyed, for those that it creates next. No place is given
 * twice, none is kept for ever, and none is missing where another thread needs it.
 */
#include "host.h"

enum { THREADS = 16, KEPT_MOST = 32, OF_EACH = 64, ROUNDS = 300 };

/* The number of a section's place: the bits from which the library finds it (docs/lock.md). */
static unsigned place_of(hostcrst_t crst)
{
    return (unsigned)(crst >> 6) & 0xFFFFFF;
}

/* Above all places that were ever used: creates so many sections at once, and destroys them. */
static unsigned places_after(unsigned count)
{
    hostcrst_t *crsts = (hostcrst_t *)zeroed(count, sizeof *crsts);
    unsigned highest = 0;
    for (unsigned at = 0; at < count; at++) {
        crsts[at] = new_section();
        highest = place_of(crsts[at]) > highest ? place_of(crsts[at]) : highest;
    }
    for (unsigned at = 0; at < count; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    free(crsts);
    return highest + 1;
}

/* ---- sections that one thread creates and another destroys ---- */

static hostcrst_t passed[THREADS][OF_EACH];
/* By place: who has the section that is there. */
static unsigned char is_taken[1 << 16];
static pthread_barrier_t all_threads;
static unsigned highest_place;

static void create_and_destroy_the_next_ones(void *argument)
{
    unsigned me = (unsigned)(uintptr_t)argument;
    hostcrst_t *mine = passed[me];
    hostcrst_t *others = passed[(me + 1) % THREADS];
    CHECK(this_task() != 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int at = 0; at < OF_EACH; at++) {
            mine[at] = new_section();
            unsigned place = place_of(mine[at]);
            REQUIRE(place < sizeof is_taken);
            CHECK_EQ(__atomic_exchange_n(&is_taken[place], 1, __ATOMIC_SEQ_CST), 0);
            unsigned highest = __atomic_load_n(&highest_place, __ATOMIC_RELAXED);
            while (place > highest && !__atomic_compare_exchange_n(&highest_place, &highest, place, 0, __ATOMIC_RELAXED,
                                                                   __ATOMIC_RELAXED)) {
            }
        }
        pthread_barrier_wait(&all_threads);
        for (int at = 0; at < OF_EACH; at++) {
            __atomic_store_n(&is_taken[place_of(others[at])], 0, __ATOMIC_SEQ_CST);
            CHECK_EQ(hostcrst_destroy(others[at]), S_OK);
            CHECK_EQ(hostcrst_destroy(others[at]), E_HANDLE);
        }
        pthread_barrier_wait(&all_threads);
    }
}

static void in_all_threads(void (*body)(void *))
{
    check_thread_t threads[THREADS];
    REQUIRE_EQ(pthread_barrier_init(&all_threads, NULL, THREADS), 0);
    for (uintptr_t at = 0; at < THREADS; at++) {
        check_start(&threads[at], body, (void *)at);
    }
    for (int at = 0; at < THREADS; at++) {
        check_join(&threads[at]);
    }
    pthread_barrier_destroy(&all_threads);
}

static void threads_destroy_what_others_create(void)
{
    start_runtime();
    unsigned before = places_after(1);
    in_all_threads(create_and_destroy_the_next_ones);
    CHECK(highest_place < before + THREADS * (OF_EACH + KEPT_MOST));
}

/* ---- one section that all destroy ---- */

static hostcrst_t one;
static unsigned times_destroyed;

static void destroy_the_one(void *argument)
{
    CHECK(this_task() != 0);
    for (int round = 0; round < 4 * ROUNDS; round++) {
        if (argument == NULL) {
            one = new_section();
        }
        pthread_barrier_wait(&all_threads);
        int32_t result = hostcrst_destroy(one);
        CHECK(result == S_OK || result == E_HANDLE);
        __atomic_fetch_add(&times_destroyed, result == S_OK, __ATOMIC_RELAXED);
        hostcrst_t mine = new_section();
        unsigned place = place_of(mine);
        REQUIRE(place < sizeof is_taken);
        CHECK_EQ(__atomic_exchange_n(&is_taken[place], 1, __ATOMIC_SEQ_CST), 0);
        pthread_barrier_wait(&all_threads);
        __atomic_store_n(&is_taken[place], 0, __ATOMIC_SEQ_CST);
        CHECK_EQ(hostcrst_destroy(mine), S_OK);
    }
}

static void a_section_is_destroyed_once(void)
{
    start_runtime();
    in_all_threads(destroy_the_one);
    CHECK_EQ(times_destroyed, 4 * ROUNDS);
}

/* ---- the next section in a place ---- */

static void wait_in_vain(void *crst)
{
    CHECK_EQ(hostcrst_enter_timeout(*(hostcrst_t *)crst, 0, 1), HOST_E_TIMEOUT);
}

static void a_section_has_nothing_of_the_last_one_in_its_place(void)
{
    check_thread_t thread;
    hostcrst_t crst;
    start_runtime();
    REQUIRE_EQ(hostcrst_create_with_spin_count(7, &crst), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    check_start(&thread, wait_in_vain, &crst);
    check_join(&thread);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(info_of(crst).contended, 1);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    hostcrst_t next = new_section();
    CHECK_EQ(place_of(next), place_of(crst));
    CHECK_SECTION(next, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(info_of(next).contended, 0);
    CHECK_EQ(info_of(next).spin_count, 0);
    CHECK_EQ(hostcrst_destroy(next), S_OK);
}

/* ---- the end of a thread ---- */

static void keep_some(void *argument)
{
    (void)argument;
    CHECK(this_task() != 0);
    pthread_barrier_wait(&all_threads);
    places_after(KEPT_MOST);
    pthread_barrier_wait(&all_threads);
}

static void a_thread_that_ends_gives_its_places_back(void)
{
    start_runtime();
    in_all_threads(keep_some);
    unsigned before = places_after(2 * THREADS * KEPT_MOST);
    in_all_threads(keep_some);
    CHECK(places_after(before - KEPT_MOST) <= before);
}

/* ---- every place taken ---- */

static check_steps_t keepers = CHECK_STEPS_INIT;

static void keep_until_all_is_taken(void *argument)
{
    uintptr_t at = (uintptr_t)argument;
    hostcrst_t crst;
    CHECK(this_task() != 0);
    check_await(&keepers, (int)(2 * at));
    places_after(KEPT_MOST);
    check_reach(&keepers, (int)(2 * at + 1));
    check_await(&keepers, 100);
    CHECK_EQ(hostcrst_create(&crst), E_OUTOFMEMORY);
}

static void take_all_places(void)
{
    enum { KEEPERS = 8, PLACES_MOST = 1 << 20 };
    check_thread_t threads[KEEPERS];
    struct rlimit limit = {128 << 20, RLIM_INFINITY};
    hostcrst_t *crsts = (hostcrst_t *)zeroed(PLACES_MOST, sizeof *crsts);
    unsigned count = 0;
    unsigned least = ~0u;
    unsigned most = 0;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    start_runtime();
    limit.rlim_cur = RLIM_INFINITY;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    for (uintptr_t at = 0; at < KEEPERS; at++) {
        check_start(&threads[at], keep_until_all_is_taken, (void *)at);
        check_reach(&keepers, (int)(2 * at));
        check_await(&keepers, (int)(2 * at + 1));
    }
    while (count < PLACES_MOST && hostcrst_create(&crsts[count]) == S_OK) {
        unsigned place = place_of(crsts[count++]);
        least = place < least ? place : least;
        most = place > most ? place : most;
    }
    REQUIRE(count != 0 && count < PLACES_MOST);
    CHECK_EQ(count, most - least + 1);
    check_reach(&keepers, 100);
    for (int at = 0; at < KEEPERS; at++) {
        check_join(&threads[at]);
    }
    for (unsigned at = 0; at < count; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    CHECK_EQ(places_after(count), most + 1);
    free(crsts);
}

/* Before the library is used in this process: then it takes as many places as there is address space for. */
static void no_place_is_missing_where_all_are_needed(void)
{
    in_child(take_all_places);
}

/* ---- forks ---- */

static int is_over;

static void create_and_destroy(void *argument)
{
    (void)argument;
    CHECK(this_task() != 0);
    while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE)) {
        places_after(KEPT_MOST);
    }
}

static hostcrst_t of_the_parent[OF_EACH];

/* Others were creating and destroying: what they had is lost at most, and nothing of it is given twice. */
static void create_in_the_child(void)
{
    static hostcrst_t crsts[16 * OF_EACH];
    for (int at = 0; at < 16 * OF_EACH; at++) {
        crsts[at] = new_section();
        REQUIRE(place_of(crsts[at]) < sizeof is_taken);
        CHECK_EQ(is_taken[place_of(crsts[at])]++, 0);
    }
    for (int at = 0; at < 16 * OF_EACH; at++) {
        CHECK_SECTION(crsts[at], HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    for (int at = 0; at < OF_EACH; at++) {
        CHECK_EQ(hostcrst_destroy(of_the_parent[at]), S_OK);
    }
    CHECK(places_after(16 * OF_EACH) < 64 * OF_EACH);
}

static void a_fork_among_those_who_create_and_destroy(void)
{
    check_thread_t threads[4];
    start_runtime();
    memset(is_taken, 0, sizeof is_taken);
    for (int at = 0; at < OF_EACH; at++) {
        of_the_parent[at] = new_section();
        is_taken[place_of(of_the_parent[at])] = 1;
    }
    for (int at = 0; at < 4; at++) {
        check_start(&threads[at], create_and_destroy, NULL);
    }
    for (int child = 0; child < 100; child++) {
        in_child(create_in_the_child);
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
    for (int at = 0; at < 4; at++) {
        check_join(&threads[at]);
    }
    for (int at = 0; at < OF_EACH; at++) {
        CHECK_EQ(hostcrst_destroy(of_the_parent[at]), S_OK);
    }
}

CHECK_MAIN(CHECK_TEST(no_place_is_missing_where_all_are_needed), CHECK_TEST(threads_destroy_what_others_create),
           CHECK_TEST(a_section_is_destroyed_once), CHECK_TEST(a_section_has_nothing_of_the_last_one_in_its_place),
           CHECK_TEST(a_thread_that_ends_gives_its_places_back),
           CHECK_TEST(a_fork_among_those_who_create_and_destroy))
