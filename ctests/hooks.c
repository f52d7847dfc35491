/* Which calls the runtime must report. */
#include "host.h"

static int32_t needs(size_t target)
{
    int32_t answer = 77;
    CHECK_EQ(KEEPING_ERRNO(host_call_needs_host_hook(target, &answer)), S_OK);
    return answer;
}

static void every_call_needs_a_hook_at_first(void)
{
    CHECK_EQ(needs(0), 1);
    CHECK_EQ(needs(1), 1);
    CHECK_EQ(needs(SIZE_MAX), 1);
    CHECK_EQ(host_set_call_hook(1, 0), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(needs(1), 1);
}

static void the_policy_is_for_one_target(void)
{
    start_runtime();
    CHECK_EQ(KEEPING_ERRNO(host_set_call_hook(1000, 0)), S_OK);
    CHECK_EQ(needs(1000), 0);
    CHECK_EQ(needs(999), 1);
    CHECK_EQ(needs(1001), 1);
    CHECK_EQ(host_set_call_hook(1000, INT32_MIN), S_OK);
    CHECK_EQ(needs(1000), 1);
    CHECK_EQ(host_set_call_hook(0, 0), S_OK);
    CHECK_EQ(needs(0), 0);
    CHECK_EQ(host_set_call_hook(SIZE_MAX, 0), S_OK);
    CHECK_EQ(needs(SIZE_MAX), 0);
    CHECK_EQ(host_set_call_hook(0, 1), S_OK);
    CHECK_EQ(host_set_call_hook(SIZE_MAX, 7), S_OK);
    CHECK_EQ(needs(0), 1);
    CHECK_EQ(needs(SIZE_MAX), 1);
}

static void many_targets_are_kept(void)
{
    enum { TARGETS = 20000 };
    start_runtime();
    for (size_t at = 0; at < TARGETS; at++) {
        CHECK_EQ(host_set_call_hook(0x10000 + at * 16, at % 3 == 0), S_OK);
    }
    for (size_t at = 0; at < TARGETS; at++) {
        CHECK_EQ(needs(0x10000 + at * 16), at % 3 == 0);
        CHECK_EQ(needs(0x10000 + at * 16 + 8), 1);
    }
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(needs(0x10010), 0);
    CHECK_EQ(host_runtime_start(), S_OK);
}

/* Readers ask for what is settled while a writer makes the table grow. */
enum { SETTLED = 100 };
static int growing;

static size_t settled_target(size_t number)
{
    return 0x700000000 + number * 4096;
}

static void ask(void *unused)
{
    (void)unused;
    while (__atomic_load_n(&growing, __ATOMIC_RELAXED)) {
        for (size_t at = 0; at < SETTLED; at++) {
            CHECK_EQ(needs(settled_target(at)), at % 2);
        }
    }
}

static void readers_see_a_growing_table_whole(void)
{
    check_thread_t readers[3];
    start_runtime();
    for (size_t at = 0; at < SETTLED; at++) {
        CHECK_EQ(host_set_call_hook(settled_target(at), (int32_t)(at % 2)), S_OK);
    }
    growing = 1;
    for (int at = 0; at < 3; at++) {
        check_start(&readers[at], ask, NULL);
    }
    for (size_t at = 0; at < 200000; at++) {
        CHECK_EQ(host_set_call_hook(0x900000000 + at, 0), S_OK);
    }
    __atomic_store_n(&growing, 0, __ATOMIC_RELAXED);
    for (int at = 0; at < 3; at++) {
        check_join(&readers[at]);
    }
    CHECK_EQ(needs(0x900000000 + 199999), 0);
}

CHECK_MAIN(CHECK_TEST(every_call_needs_a_hook_at_first), CHECK_TEST(the_policy_is_for_one_target),
           CHECK_TEST(many_targets_are_kept), CHECK_TEST(readers_see_a_growing_table_whole))
