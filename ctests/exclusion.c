/* Many threads, one section, every way to enter: never two owners, no entry lost, no waiter forgotten. */
#include "host.h"
#include "step.h"

enum { RUN_MILLISECONDS = 1000, MOST_THREADS = 16 };

typedef struct shared {
    hostcrst_t crst;
    /* Not atomic, on purpose: only the section keeps it right. */
    uint64_t count;
    host_task_t inside;
    int stop;
    check_steps_t start;
    int threads;
} shared_t;

typedef struct worker {
    check_thread_t thread;
    shared_t *shared;
    chance_t chance;
    uint64_t entries;
    uint64_t timeouts;
    uint64_t refusals;
} worker_t;

/* Enters in one of the ways there are; whether it got in. */
static int enter_somehow(worker_t *self, uint64_t random)
{
    int32_t entered = 0;
    int32_t result;
    switch (random % 8) {
    case 0:
    case 1:
        result = hostcrst_try_enter(self->shared->crst, 0, &entered);
        CHECK_EQ(result, S_OK);
        self->refusals += entered == 0;
        return entered;
    case 2:
        result = hostcrst_enter_timeout(self->shared->crst, 0, 0);
        break;
    case 3:
        result = hostcrst_enter_timeout(self->shared->crst, WAIT_NOTINDEADLOCK, 1);
        break;
    case 4:
        result = hostcrst_enter_timeout(self->shared->crst, 0, 20);
        break;
    default:
        CHECK_EQ(hostcrst_enter(self->shared->crst, (uint32_t)(random >> 8) & 5), S_OK);
        return 1;
    }
    CHECK(result == S_OK || result == HOST_E_TIMEOUT);
    __atomic_store_n(&self->timeouts, self->timeouts + (result == HOST_E_TIMEOUT), __ATOMIC_RELAXED);
    return result == S_OK;
}

static void be_inside(worker_t *self, host_task_t me, uint64_t random)
{
    shared_t *shared = self->shared;
    CHECK_EQ(shared->inside, 0);
    shared->inside = me;
    shared->count++;
    __atomic_store_n(&self->entries, self->entries + 1, __ATOMIC_RELAXED);
    if (random % 16 == 0) {
        CHECK_EQ(hostcrst_enter(shared->crst, 0), S_OK);
        CHECK_SECTION(shared->crst, HOSTCRST_OWNED, me, 2);
        CHECK_EQ(hostcrst_leave(shared->crst), S_OK);
    }
    if (random % 1024 == 0) {
        sched_yield();
    }
    CHECK_EQ(shared->inside, me);
    shared->inside = 0;
}

static void work(void *argument)
{
    worker_t *self = (worker_t *)argument;
    shared_t *shared = self->shared;
    host_task_t me = this_task();
    check_arrive(&shared->start, shared->threads);
    while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        uint64_t random = next_random(&self->chance);
        if (enter_somehow(self, random >> 16)) {
            be_inside(self, me, random >> 32);
            CHECK_EQ(hostcrst_leave(shared->crst), S_OK);
        } else {
            CHECK_EQ(hostcrst_leave(shared->crst), HOST_E_NOT_OWNER);
        }
        if (random % 4096 == 0) {
            CHECK_EQ(hostcrst_set_spin_count(shared->crst, (uint32_t)(random >> 50)), S_OK);
        }
    }
    CHECK_EQ(task_info_of(me).owned, 0);
}

static int has_timed_out(const worker_t *workers, int threads)
{
    for (int at = 0; at < threads; at++) {
        if (__atomic_load_n(&workers[at].timeouts, __ATOMIC_RELAXED) > 0) {
            return 1;
        }
    }
    return 0;
}

static void exclude(int threads)
{
    static const shared_t fresh = {0, 0, 0, 0, CHECK_STEPS_INIT, 0};
    static shared_t shared;
    worker_t workers[MOST_THREADS];
    uint64_t entries = 0;
    uint64_t timeouts = 0;
    uint64_t refusals = 0;
    start_runtime();
    shared = fresh;
    shared.threads = threads;
    shared.crst = new_section();
    memset(workers, 0, sizeof workers);
    for (int at = 0; at < threads; at++) {
        workers[at].shared = &shared;
        workers[at].chance.state = (uint64_t)at;
        check_start(&workers[at].thread, work, &workers[at]);
    }
    int64_t start = nanoseconds_now();
    while (milliseconds_since(start) < RUN_MILLISECONDS) {
        check_pause();
    }
    /* Beside other programs this takes longer, and still no waiter is forgotten. */
    for (int at = 0; at < threads; at++) {
        REQUIRE_SOON(__atomic_load_n(&workers[at].entries, __ATOMIC_RELAXED) > 0);
    }
    REQUIRE_SOON(info_of(shared.crst).contended > 0);
    REQUIRE_SOON(has_timed_out(workers, threads));
    __atomic_store_n(&shared.stop, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < threads; at++) {
        check_join(&workers[at].thread);
        entries += workers[at].entries;
        timeouts += workers[at].timeouts;
        refusals += workers[at].refusals;
    }
    CHECK_EQ(shared.count, entries);
    CHECK_SECTION(shared.crst, HOSTCRST_FREE, 0, 0);
    hostcrst_info_t info = info_of(shared.crst);
    CHECK_EQ(info.waiters, 0);
    printf("    %d threads: %llu entries, %llu waited, %llu timed out, %llu tries refused\n", threads,
           (unsigned long long)entries, (unsigned long long)info.contended, (unsigned long long)timeouts,
           (unsigned long long)refusals);
    CHECK_EQ(hostcrst_destroy(shared.crst), S_OK);
}

static void two_threads(void)
{
    exclude(2);
}

static void four_threads(void)
{
    exclude(4);
}

static void sixteen_threads(void)
{
    exclude(16);
}

/* A thread that is no task leaves all the time what another enters and leaves. */
static void leave_in_vain(void *argument)
{
    shared_t *shared = (shared_t *)argument;
    while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        int32_t result = hostcrst_leave(__atomic_load_n(&shared->crst, __ATOMIC_RELAXED));
        CHECK(result == HOST_E_NOT_OWNER || result == E_HANDLE);
    }
}

static void who_is_no_task_leaves_nothing(void)
{
    /* Fewer entries than it takes for a section to become biased: then only its task would read the count. */
    enum { SECTIONS = 200, ENTRIES = 5000 };
    static shared_t shared;
    check_thread_t stranger;
    start_runtime();
    shared.crst = new_section();
    check_start(&stranger, leave_in_vain, &shared);
    for (int section = 0; section < SECTIONS; section++) {
        for (int entry = 0; entry < ENTRIES; entry++) {
            CHECK_EQ(hostcrst_enter(shared.crst, 0), S_OK);
            CHECK_EQ(hostcrst_enter(shared.crst, 0), S_OK);
            CHECK_EQ(hostcrst_leave(shared.crst), S_OK);
            CHECK_EQ(hostcrst_leave(shared.crst), S_OK);
        }
        CHECK_SECTION(shared.crst, HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_destroy(shared.crst), S_OK);
        __atomic_store_n(&shared.crst, new_section(), __ATOMIC_RELAXED);
    }
    __atomic_store_n(&shared.stop, 1, __ATOMIC_RELAXED);
    check_join(&stranger);
    CHECK_EQ(hostcrst_destroy(shared.crst), S_OK);
}

/* A thread that is no task, somewhere in a leave of a section that was free when it began. */
typedef struct stranger {
    check_thread_t thread;
    stepper_t stepper;
    hostcrst_t crst;
    check_steps_t began;
    int go_on;
} stranger_t;

static void stand_still(void *argument)
{
    stranger_t *stranger = (stranger_t *)argument;
    check_reach(&stranger->began, 1);
    while (!__atomic_load_n(&stranger->go_on, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
}

static void leave_by_steps(void *argument)
{
    stranger_t *stranger = (stranger_t *)argument;
    stepper_here = &stranger->stepper;
    step_in();
    int32_t result = hostcrst_leave(stranger->crst);
    step_out();
    stepper_here = NULL;
    CHECK_EQ(result, HOST_E_NOT_OWNER);
    check_reach(&stranger->began, 1);
}

/* Whether it stopped, and did not come to the end before. */
static int leave_stopped_at(hostcrst_t crst, unsigned instruction)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    stranger_t stranger;
    memset(&stranger, 0, sizeof stranger);
    stranger.began = none;
    stranger.crst = crst;
    stranger.stepper.stop_at = instruction;
    stranger.stepper.stopped = stand_still;
    stranger.stepper.argument = &stranger;
    check_start(&stranger.thread, leave_by_steps, &stranger);
    check_await(&stranger.began, 1);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    __atomic_store_n(&stranger.go_on, 1, __ATOMIC_RELEASE);
    check_join(&stranger.thread);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 2);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    return stranger.stepper.has_stopped;
}

static void nor_wherever_it_is_stopped(void)
{
    unsigned instructions = 0;
    start_runtime();
    step_prepare();
    hostcrst_t crst = new_section();
    while (leave_stopped_at(crst, instructions + 1) && check_failed_so_far() == 0) {
        instructions++;
    }
    CHECK_EQ(instructions > 10, CAN_STEP);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

CHECK_MAIN(CHECK_TEST(two_threads), CHECK_TEST(four_threads), CHECK_TEST(sixteen_threads),
           CHECK_TEST(who_is_no_task_leaves_nothing), CHECK_TEST(nor_wherever_it_is_stopped))
