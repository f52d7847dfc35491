/*
 * A change and its wake at each instruction of a wait on an address: none is missed, wherever the thread that begins to
 * wait is by then. The thread is stopped by the processor's trap flag (step.h).
 */
#include "capture.h"
#include "step.h"

#include <hostcrst/win32.h>

#if CAN_STEP

static uint32_t word;
static stepper_t stepper;
static int has_begun, has_stopped, is_woken, has_returned;

static int flag(int *of)
{
    return __atomic_load_n(of, __ATOMIC_SEQ_CST);
}

static void set(int *of)
{
    __atomic_store_n(of, 1, __ATOMIC_SEQ_CST);
}

/* The other thread wakes meanwhile. It cannot where this one has the lock of the queue, so its end is not waited for long. */
static void change(void *unused)
{
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    set(&has_stopped);
    for (int pause = 0; pause < 10 && !flag(&is_woken); pause++) {
        check_pause();
    }
    (void)unused;
}

static void wait_for_the_change(void *unused)
{
    uint32_t same = 0, other = 1;
    /* What a thread's first wait does besides is not looked at. */
    CHECK(!WaitOnAddress(&word, &same, sizeof word, 1));
    CHECK(WaitOnAddress(&word, &other, sizeof word, INFINITE));
    set(&has_begun);
    stepper_here = &stepper;
    step_in();
    BOOL result = WaitOnAddress(&word, &same, sizeof word, INFINITE);
    step_out();
    stepper_here = NULL;
    CHECK_EQ(result, TRUE);
    set(&has_returned);
    (void)unused;
}

static int is_reported(void)
{
    char *report = text_report();
    int found = times_in(report, "   waiting on address 0x");
    free(report);
    return found;
}

/* Whether the call has so many instructions. */
static int is_missed_at_none(unsigned instruction)
{
    check_thread_t thread;
    word = 0;
    has_begun = has_stopped = is_woken = has_returned = 0;
    stepper = (stepper_t){.stop_at = instruction, .stopped = change};
    check_start(&thread, wait_for_the_change, NULL);
    REQUIRE_SOON(flag(&has_begun) && (flag(&has_stopped) || is_reported()));
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    WakeByAddressAll(&word);
    set(&is_woken);
    REQUIRE_SOON(flag(&has_returned));
    check_join(&thread);
    return flag(&has_stopped);
}

/* A wait that spins first has another number of instructions each time: the library is told of one processor. */
static void begin_as_if_spinning_did_not_help(void)
{
    uint32_t same = 0;
    cpu_set_t allowed;
    REQUIRE_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    check_run_on_processor(0);
    CHECK(!WaitOnAddress(&word, &same, sizeof word, 1));
    REQUIRE_EQ(sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

static void a_change_at_any_instruction_of_a_wait_is_seen(void)
{
    unsigned instruction = 1;
    begin_as_if_spinning_did_not_help();
    step_prepare();
    while (is_missed_at_none(instruction)) {
        instruction++;
    }
    printf("%u instructions\n", instruction - 1);
    CHECK(instruction > 100);
}

CHECK_MAIN(CHECK_TEST(a_change_at_any_instruction_of_a_wait_is_seen))

#else

int main(void)
{
    printf("threads cannot be stepped through on this processor\n");
    return 0;
}

#endif
