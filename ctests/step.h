/*
 * Stops a thread after a given number of instructions, so that another thread makes a whole call at that point. So
 * every interleaving of one call at each instruction of another is tested deterministically.
 *
 * It uses the processor's trap flag, so it exists where CAN_STEP is 1. Elsewhere step_in() does nothing.
 */
#ifndef STEP_H
#define STEP_H

#include "check.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <ucontext.h>

#if defined(__x86_64__) && defined(__linux__)
#define CAN_STEP 1
#else
#define CAN_STEP 0
#endif

/* A call that loops would be stepped through for long. */
#define STEPS_MOST 4000

typedef struct stepper {
    /* The instruction to stop at, from 1; 0: none. */
    unsigned stop_at;
    unsigned steps;
    int has_stopped;
    /* What is done there; only what a signal handler may do. */
    void (*stopped)(void *argument);
    void *argument;
} stepper_t;

/* Whom the calling thread steps for. */
__attribute__((unused)) static __thread stepper_t *stepper_here;

#if CAN_STEP
#define STEP_TRAP_FLAG 0x100

/* Below the caller's red zone. */
#define STEP_CHANGE_FLAGS_(instruction) \
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\t" \
                     "pushfq\n\t" instruction "\n\t" \
                     "popfq\n\t" \
                     "lea 128(%%rsp), %%rsp" ::: "cc", "memory")

static void step_trapped(int signal, siginfo_t *what, void *context)
{
    stepper_t *self = stepper_here;
    int saved = errno;
    (void)signal;
    (void)what;
    if (self == NULL || self->steps++ >= STEPS_MOST || self->steps == self->stop_at) {
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)STEP_TRAP_FLAG;
    }
    if (self != NULL && self->steps == self->stop_at) {
        self->has_stopped = 1;
        self->stopped(self->argument);
    }
    errno = saved;
}

static inline void step_prepare(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = step_trapped;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    REQUIRE_EQ(sigaction(SIGTRAP, &action, NULL), 0);
}

/* Between these two instructions are counted. */
static inline void step_in(void)
{
    if (stepper_here != NULL && stepper_here->stop_at != 0) {
        STEP_CHANGE_FLAGS_("orl $0x100, (%%rsp)");
    }
}

static inline void step_out(void)
{
    if (stepper_here != NULL && stepper_here->stop_at != 0) {
        STEP_CHANGE_FLAGS_("andl $~0x100, (%%rsp)");
    }
}
#else
static inline void step_prepare(void)
{
}

static inline void step_in(void)
{
}

static inline void step_out(void)
{
}
#endif

#endif
