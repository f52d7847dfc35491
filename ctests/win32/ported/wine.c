/*
 * Wine's own checks of critical sections, condition variables, SRW locks, INIT_ONCE and waits on addresses, which
 * ported.sh takes from its source. A check that does not hold is one of those below, each with its reason.
 */
#include "windows.h"

static const struct {
    const char *function, *condition, *reason;
} deviations[] = {
    {"initonce_callback", "initonce->Ptr == (void*)0x1", "it says which thread initialises"},
    {"test_initonce", "initonce.Ptr == (void*)1", "it says which thread initialises"},
    {"test_RtlInitializeCriticalSectionEx", "cs.LockSemaphore == NULL", "the field is the library's"},
    {"test_RtlLeaveCriticalSection", "cs.RecursionCount == -1", "to leave a free section changes nothing, and is told"},
    {"test_RtlLeaveCriticalSection", "cs.RecursionCount == -2", "to leave a free section changes nothing, and is told"},
};
enum { DEVIATIONS = sizeof deviations / sizeof deviations[0] };

static unsigned holding, failed, deviating;
static unsigned seen[DEVIATIONS];

static void check(int holds, const char *function, int line, const char *condition)
{
    if (holds) {
        holding++;
        return;
    }
    for (int at = 0; at < DEVIATIONS; at++) {
        if (strcmp(deviations[at].function, function) == 0 && strcmp(deviations[at].condition, condition) == 0) {
            seen[at]++;
            deviating++;
            return;
        }
    }
    printf("wine: %s, line %d: does not hold: %s\n", function, line, condition);
    failed++;
}

#define ok(condition, ...) check((condition) != 0, __func__, __LINE__, #condition)
/* What Wine calls broken is what some version of Windows does. */
#define broken(condition) (condition)
#define todo_wine
#define trace(...) (void)0
#define win_skip(...) check(0, __func__, __LINE__, "it is there")

#include "wine.inc"

int main(void)
{
    test_initonce();
    test_condvars_base(&aligned_cv);
    test_condvars_base(&unaligned_cv.cv);
    test_condvars_consumer_producer();
    test_srwlock_base(&aligned_srwlock);
    test_srwlock_base(&unaligned_srwlock.lock);
    test_srwlock_example();
    test_crit_section();
    test_wait_on_address();
    test_RtlInitializeCriticalSectionEx();
    test_RtlLeaveCriticalSection();
    for (int at = 0; at < DEVIATIONS; at++) {
        printf("wine: otherwise here, %u times: %s, in %s: %s\n", seen[at], deviations[at].condition,
               deviations[at].function, deviations[at].reason);
        failed += seen[at] == 0;
    }
    printf("wine: %u checks hold, %u do not, %u are otherwise here\n", holding, failed, deviating);
    return failed != 0;
}
