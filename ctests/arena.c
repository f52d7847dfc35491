/* The arena of sections: it grows in steps, reuses slots, and loses nothing when memory runs out. */
#include "host.h"

enum { MANY = 50000 };

static void check_all_free(const hostcrst_t *crsts, int count)
{
    for (int at = 0; at < count; at++) {
        CHECK_SECTION(crsts[at], HOSTCRST_FREE, 0, 0);
    }
}

static void growing_moves_nothing(void)
{
    hostcrst_t *crsts = (hostcrst_t *)zeroed(MANY, sizeof *crsts);
    start_runtime();
    host_task_t me = this_task();
    for (int at = 0; at < MANY; at++) {
        crsts[at] = new_section();
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
    }
    for (int at = 0; at < MANY; at++) {
        CHECK_SECTION(crsts[at], HOSTCRST_OWNED, me, 1);
        CHECK_EQ(hostcrst_leave(crsts[at]), S_OK);
    }
    check_all_free(crsts, MANY);
    for (int at = 0; at < MANY; at += 2) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    for (int at = 0; at < MANY; at += 2) {
        CHECK(!is_live(crsts[at]));
        crsts[at] = new_section();
    }
    check_all_free(crsts, MANY);
    for (int at = 0; at < MANY; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    free(crsts);
}

static void create_until_memory_ends(void)
{
    hostcrst_t *crsts = (hostcrst_t *)zeroed(MANY, sizeof *crsts);
    hostcrst_t crst = 7;
    int live = 0;
    start_runtime();
    this_task();
    refuse_memory();
    while (live < MANY && KEEPING_ERRNO(hostcrst_create(&crst)) == S_OK) {
        crsts[live++] = crst;
    }
    CHECK_EQ(crst, 0);
    CHECK(live > 100 && live < MANY);
    check_all_free(crsts, live);
    for (int time = 0; time < 1000; time++) {
        int at = time * 7 % live;
        CHECK_EQ(hostcrst_create(&crst), E_OUTOFMEMORY);
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
        CHECK_EQ(hostcrst_create(&crsts[at]), S_OK);
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
        CHECK_EQ(hostcrst_leave(crsts[at]), S_OK);
    }
    check_all_free(crsts, live);
    allow_memory();
    CHECK_EQ(hostcrst_create(&crst), S_OK);
    CHECK(is_live(crst));
    free(crsts);
}

static void without_memory_every_earlier_section_stays(void)
{
    in_child(create_until_memory_ends);
}

/* Less address space than for all the sections that a handle can name: fewer, but they work. */
static void create_in_little_address_space(void)
{
    struct rlimit limit = {128 << 20, RLIM_INFINITY};
    hostcrst_t *crsts = (hostcrst_t *)zeroed(MANY, sizeof *crsts);
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    start_runtime();
    for (int at = 0; at < MANY; at++) {
        crsts[at] = new_section();
    }
    check_all_free(crsts, MANY);
    free(crsts);
}

static void little_address_space_is_enough(void)
{
    in_child(create_in_little_address_space);
}

CHECK_MAIN(CHECK_TEST(without_memory_every_earlier_section_stays), CHECK_TEST(little_address_space_is_enough),
           CHECK_TEST(growing_moves_nothing))
