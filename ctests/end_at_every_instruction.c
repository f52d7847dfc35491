/*
 * A section or resource ends, and another begins in its slot, at each instruction of a call that reads: it says what is so of
 * the one that was asked for, or that there is none. The thread is stopped by the processor's trap flag (step.h), and another
 * one makes the calls meanwhile.
 */
#include "host.h"
#include "step.h"

#include <string.h>

#if CAN_STEP

enum { MOST_TRIES = 64, OLD_COUNT = 7, NEW_COUNT = 99 };

static uint64_t old, made[MOST_TRIES];
static int tries;
static int is_asked, is_done;

static int has_its_slot(uint64_t handle)
{
    return ((handle ^ old) & 0xFFFFFFFFFFu) == 0;
}

static void replace_section(void)
{
    CHECK_EQ(hostcrst_destroy(old), S_OK);
    do {
        CHECK_EQ(hostcrst_create_with_spin_count(NEW_COUNT, &made[tries]), S_OK);
    } while (!has_its_slot(made[tries++]) && tries < MOST_TRIES);
    CHECK(has_its_slot(made[tries - 1]));
    CHECK_EQ(hostcrst_set_name(made[tries - 1], "the new one"), S_OK);
}

static void replace_resource(void)
{
    CHECK_EQ(host_resource_destroy(old), S_OK);
    do {
        CHECK_EQ(host_resource_create(&made[tries]), S_OK);
    } while (!has_its_slot(made[tries++]) && tries < MOST_TRIES);
    CHECK(has_its_slot(made[tries - 1]));
    CHECK_EQ(host_resource_set_name(made[tries - 1], "the new one"), S_OK);
}

static void (*replace)(void);

static void replace_when_asked(void *unused)
{
    (void)unused;
    this_task();
    REQUIRE_SOON(__atomic_load_n(&is_asked, __ATOMIC_SEQ_CST));
    if (__atomic_load_n(&is_asked, __ATOMIC_SEQ_CST) == 1) {
        replace();
    }
    __atomic_store_n(&is_done, 1, __ATOMIC_SEQ_CST);
}

/* In the handler. */
static void ask(void *unused)
{
    (void)unused;
    __atomic_store_n(&is_asked, 1, __ATOMIC_SEQ_CST);
    REQUIRE_SOON(__atomic_load_n(&is_done, __ATOMIC_SEQ_CST));
}

static int32_t read_info_of_section(void)
{
    hostcrst_info_t info = {.size = sizeof info};
    int32_t result = hostcrst_info(old, &info);
    CHECK(result != S_OK || (info.spin_count == OLD_COUNT && info.state == HOSTCRST_FREE));
    return result;
}

static int32_t read_name_of_section(void)
{
    char name[64];
    size_t length;
    int32_t result = hostcrst_name(old, name, sizeof name, &length);
    CHECK(result != S_OK || strcmp(name, "the old one") == 0);
    return result;
}

static int32_t read_name_of_resource(void)
{
    char name[64];
    size_t length;
    int32_t result = host_resource_name(old, name, sizeof name, &length);
    CHECK(result != S_OK || strcmp(name, "the old one") == 0);
    return result;
}

/* How many instructions the call has, as often as it was stopped. */
static unsigned stop_at_each(int32_t (*call)(void), int is_section)
{
    unsigned instruction = 1;
    replace = is_section ? replace_section : replace_resource;
    for (int has_stopped = 1; has_stopped; instruction++) {
        check_thread_t other;
        stepper_t stepper = {.stop_at = instruction, .stopped = ask};
        is_asked = is_done = tries = 0;
        if (is_section) {
            REQUIRE_EQ(hostcrst_create_with_spin_count(OLD_COUNT, &old), S_OK);
            REQUIRE_EQ(hostcrst_set_name(old, "the old one"), S_OK);
        } else {
            REQUIRE_EQ(host_resource_create(&old), S_OK);
            REQUIRE_EQ(host_resource_set_name(old, "the old one"), S_OK);
        }
        check_start(&other, replace_when_asked, NULL);
        stepper_here = &stepper;
        step_in();
        int32_t result = call();
        step_out();
        stepper_here = NULL;
        has_stopped = stepper.has_stopped;
        CHECK(result == S_OK || (has_stopped && result == E_HANDLE));
        if (!has_stopped) {
            __atomic_store_n(&is_asked, 2, __ATOMIC_SEQ_CST);
            made[tries++] = old;
        }
        check_join(&other);
        for (int at = 0; at < tries; at++) {
            CHECK_EQ(is_section ? hostcrst_destroy(made[at]) : host_resource_destroy(made[at]), S_OK);
        }
    }
    return instruction - 2;
}

static void check_each(int32_t (*call)(void), int is_section)
{
    start_runtime();
    step_prepare();
    this_task();
    unsigned instructions = stop_at_each(call, is_section);
    printf("%u instructions\n", instructions);
    CHECK(instructions > 30);
}

static void the_state_of_a_section_is_its_own(void)
{
    check_each(read_info_of_section, 1);
}

static void the_name_of_a_section_is_its_own(void)
{
    check_each(read_name_of_section, 1);
}

static void the_name_of_a_resource_is_its_own(void)
{
    check_each(read_name_of_resource, 0);
}

CHECK_MAIN(CHECK_TEST(the_state_of_a_section_is_its_own), CHECK_TEST(the_name_of_a_section_is_its_own),
           CHECK_TEST(the_name_of_a_resource_is_its_own))

#else

int main(void)
{
    printf("threads cannot be stepped through on this processor\n");
    return 0;
}

#endif
