/*
 * A bias is revoked at each instruction of an entry and of a leave by the task that has it: never are two inside. That
 * task's thread is stopped by the processor's trap flag (step.h).
 */
#include "host.h"
#include "step.h"

#if CAN_STEP

static hostcrst_t crst;
static stepper_t stepper;
static int has_stopped, other_has_tried, other_is_inside, has_returned;

static int flag(int *of)
{
    return __atomic_load_n(of, __ATOMIC_SEQ_CST);
}

static void set(int *of, int value)
{
    __atomic_store_n(of, value, __ATOMIC_SEQ_CST);
}

/* Revokes the bias, and stays inside, if that is where it gets, until the task that had it waits or has returned. */
static void come_in_between(void *unused)
{
    int32_t entered = 0;
    REQUIRE_SOON(flag(&has_stopped) || flag(&has_returned));
    CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), S_OK);
    set(&other_is_inside, entered);
    set(&other_has_tried, 1);
    if (entered) {
        REQUIRE_SOON(info_of(crst).waiters == 1 || flag(&has_returned));
        set(&other_is_inside, 0);
        CHECK_EQ(hostcrst_leave(crst), S_OK);
    }
    (void)unused;
}

static void let_the_other_come(void *got_in)
{
    set(&has_stopped, 1);
    REQUIRE_SOON(flag(&other_has_tried));
    *(int *)got_in = flag(&other_is_inside);
}

/* Each says whether the section is then the caller's. */
static int enter(void)
{
    return hostcrst_enter(crst, 0) == S_OK;
}

static int enter_timeout(void)
{
    return hostcrst_enter_timeout(crst, 0, HOSTCRST_INFINITE) == S_OK;
}

static int enter_at(void)
{
    return hostcrst_enter_at(crst, 0, HOSTCRST_INFINITE, "here") == S_OK;
}

static int try_enter(void)
{
    int32_t entered = 0;
    CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), S_OK);
    return entered;
}

static int leave(void)
{
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    return 0;
}

/* Whether the call has so many instructions. */
static int goes_well(int (*call)(void), unsigned instruction, int *got_in)
{
    check_thread_t other;
    crst = new_section();
    has_stopped = other_has_tried = other_is_inside = has_returned = 0;
    stepper = (stepper_t){.stop_at = instruction, .stopped = let_the_other_come, .argument = got_in};
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    if (call != leave) {
        CHECK_EQ(hostcrst_leave(crst), S_OK);
    }
    check_start(&other, come_in_between, NULL);
    stepper_here = &stepper;
    step_in();
    int is_mine = call();
    step_out();
    stepper_here = NULL;
    CHECK(!is_mine || !flag(&other_is_inside));
    set(&has_returned, 1);
    check_join(&other);
    if (is_mine) {
        CHECK_EQ(hostcrst_leave(crst), S_OK);
    }
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    return stepper.has_stopped;
}

static void revoke_everywhere(int (*call)(void))
{
    int times[2] = {0, 0}, got_in = 0;
    for (unsigned instruction = 1; goes_well(call, instruction, &got_in); instruction++) {
        times[got_in]++;
    }
    printf("    the other got in at %d instructions of %d\n", times[1], times[0] + times[1]);
    CHECK(times[0] > 0 && times[1] > 0);
}

static void during_an_entry(void)
{
    REQUIRE_EQ(setenv("HOSTCRST_BIAS", "always", 1), 0);
    start_runtime();
    step_prepare();
    revoke_everywhere(enter);
}

static void during_an_entry_with_a_limit(void)
{
    revoke_everywhere(enter_timeout);
    revoke_everywhere(enter_at);
}

static void during_a_try(void)
{
    revoke_everywhere(try_enter);
}

static void during_a_leave(void)
{
    revoke_everywhere(leave);
}

CHECK_MAIN(CHECK_TEST(during_an_entry), CHECK_TEST(during_an_entry_with_a_limit), CHECK_TEST(during_a_try),
           CHECK_TEST(during_a_leave))

#else

int main(void)
{
    printf("threads cannot be stepped through on this processor\n");
    return 0;
}

#endif
