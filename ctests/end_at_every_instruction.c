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

typedef struct kind {
    int32_t (*create)(uint64_t *out);
    int32_t (*destroy)(uint64_t handle);
    int32_t (*set_name)(uint64_t handle, const char *name);
    int32_t (*name)(uint64_t handle, char *name, size_t capacity, size_t *length);
} kind_t;

static uint32_t spin_count;

static int32_t create_section(uint64_t *out)
{
    return hostcrst_create_with_spin_count(spin_count, out);
}

static const kind_t sections = {create_section, hostcrst_destroy, hostcrst_set_name, hostcrst_name};
static const kind_t resources = {host_resource_create, host_resource_destroy, host_resource_set_name, host_resource_name};

static const kind_t *kind;
static uint64_t old, made[MOST_TRIES];
static int tries;
static int is_asked, is_done;

static int has_its_slot(uint64_t handle)
{
    return ((handle ^ old) & 0xFFFFFFFFFFu) == 0;
}

static void replace(void)
{
    CHECK_EQ(kind->destroy(old), S_OK);
    spin_count = NEW_COUNT;
    do {
        CHECK_EQ(kind->create(&made[tries]), S_OK);
    } while (!has_its_slot(made[tries++]) && tries < MOST_TRIES);
    CHECK(has_its_slot(made[tries - 1]));
    CHECK_EQ(kind->set_name(made[tries - 1], "the new one"), S_OK);
}

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

static int32_t read_info(void)
{
    hostcrst_info_t info = {.size = sizeof info};
    int32_t result = hostcrst_info(old, &info);
    CHECK(result != S_OK || (info.spin_count == OLD_COUNT && info.state == HOSTCRST_FREE));
    return result;
}

static int32_t read_name(void)
{
    char name[64];
    size_t length;
    int32_t result = kind->name(old, name, sizeof name, &length);
    CHECK(result != S_OK || strcmp(name, "the old one") == 0);
    return result;
}

/* How many instructions the call has, as often as it was stopped. */
static unsigned stop_at_each(int32_t (*call)(void))
{
    unsigned instruction = 1;
    for (int has_stopped = 1; has_stopped; instruction++) {
        check_thread_t other;
        stepper_t stepper = {.stop_at = instruction, .stopped = ask};
        is_asked = is_done = tries = 0;
        spin_count = OLD_COUNT;
        REQUIRE_EQ(kind->create(&old), S_OK);
        REQUIRE_EQ(kind->set_name(old, "the old one"), S_OK);
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
            CHECK_EQ(kind->destroy(made[at]), S_OK);
        }
    }
    return instruction - 2;
}

static void check_each(int32_t (*call)(void), const kind_t *of)
{
    kind = of;
    start_runtime();
    step_prepare();
    this_task();
    unsigned instructions = stop_at_each(call);
    printf("%u instructions\n", instructions);
    CHECK(instructions > 30);
}

static void the_state_of_a_section_is_its_own(void)
{
    check_each(read_info, &sections);
}

static void the_name_of_a_section_is_its_own(void)
{
    check_each(read_name, &sections);
}

static void the_name_of_a_resource_is_its_own(void)
{
    check_each(read_name, &resources);
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
