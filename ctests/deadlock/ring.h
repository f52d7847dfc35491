/*
 * Rings of tasks that deadlock on purpose: member i owns section i and enters section i + 1. The threads of
 * a ring live for many rounds; who is late for a handshake is shown in a report.
 */
#ifndef RING_H
#define RING_H

#include "check.h"

#include <hostcrst.h>
#include <sched.h>
#include <stdint.h>

#define RING_MOST 50
/* In a quiet machine; where other programs take the processors, as many as are played in DEADLOCK_SECONDS. */
#define ROUNDS 10000
#define ROUNDS_LEAST 20

/* Whether round number `round`, of `rounds`, is to be played; after the time that is for them, for as long as not all was seen. */
static inline int is_to_play_until(int all_seen, unsigned round, unsigned rounds)
{
    static struct timespec begun;
    static int failed_before;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (round == 0) {
        begun = now;
        failed_before = check_failed_so_far();
    }
    long long seconds = (long long)check_number_from("DEADLOCK_SECONDS", 4) + (all_seen ? 0 : CHECK_PATIENCE_SECONDS);
    int in_time = now.tv_sec - begun.tv_sec < seconds || round < ROUNDS_LEAST;
    return round < rounds && in_time && check_failed_so_far() == failed_before;
}

static inline int is_to_play(unsigned round, unsigned rounds)
{
    return is_to_play_until(1, round, rounds);
}

/* ---- handshakes that show a report when they are not met ---- */

static inline void stuck(const char *file, int line, const char *what)
{
    check_fail(file, line, "stuck: %s", what);
    fflush(stdout);
    host_report(STDOUT_FILENO, HOST_REPORT_TEXT);
    check_give_up();
}

/* Looks again and again, without sleeping: these tests wait for each other a million times. */
#define AWAIT(condition) \
    do { \
        struct timespec await_deadline = check_deadline_from_now(); \
        for (unsigned await_looks = 1; !(condition); await_looks++) { \
            if (await_looks % 1024 == 0 && check_passed(&await_deadline)) { \
                stuck(__FILE__, __LINE__, #condition); \
            } \
            sched_yield(); \
        } \
    } while (0)

/* Returns when `count` threads have called it as often as the caller. */
typedef check_steps_t gate_t;

static inline void gate_init(gate_t *gate)
{
    static const gate_t fresh = CHECK_STEPS_INIT;
    *gate = fresh;
}

#define gate_pass(gate, count) gate_pass_at((gate), (count), __FILE__, __LINE__)

static inline void gate_pass_at(gate_t *gate, int count, const char *file, int line)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += CHECK_PATIENCE_SECONDS;
    pthread_mutex_lock(&gate->mutex);
    int all = (gate->reached++ / count + 1) * count;
    if (gate->reached == all) {
        pthread_cond_broadcast(&gate->moved);
    }
    int result = 0;
    while (gate->reached < all && result == 0) {
        result = pthread_cond_timedwait(&gate->moved, &gate->mutex, &deadline);
    }
    int arrived = gate->reached >= all;
    pthread_mutex_unlock(&gate->mutex);
    if (!arrived) {
        stuck(file, line, "not all have arrived");
    }
}

/* The same, but looking instead of sleeping, so that all go on at the same moment. */
static inline void rush(unsigned *arrived, unsigned count)
{
    unsigned all = (__atomic_fetch_add(arrived, 1, __ATOMIC_ACQ_REL) / count + 1) * count;
    for (unsigned looks = 1; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < all; looks++) {
        if (looks % 4096 == 0) {
            sched_yield();
        }
    }
}

/* ---- chance: the same in every run ---- */

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t mixed = *state += 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
}

static inline unsigned random_below(uint64_t *state, unsigned limit)
{
    return (unsigned)(next_random(state) % limit);
}

/* ---- what sections and tasks look like ---- */

static inline hostcrst_info_t section_info(hostcrst_t section)
{
    hostcrst_info_t info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    REQUIRE_EQ(hostcrst_info(section, &info), S_OK);
    return info;
}

static inline host_task_info_t task_info(host_task_t task)
{
    host_task_info_t info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    REQUIRE_EQ(host_task_info(task, &info), S_OK);
    return info;
}

/* ---- rings ---- */

struct ring;

typedef struct member {
    check_thread_t thread;
    struct ring *ring;
    unsigned index;
    host_task_t task;
    hostcrst_t section;
    /* Of this round: how often it enters its own section, and how it waits for the next member's. */
    unsigned entries;
    uint32_t option;
    uint32_t milliseconds;
    int32_t result;
} member_t;

typedef struct ring {
    unsigned size;
    member_t members[RING_MOST];
    /* Who begins to wait when all others sleep; RING_MOST if they race. */
    unsigned closer;
    int stop;
    gate_t begun;
    gate_t owning;
    gate_t over;
    unsigned rushed;
    /* Called by a member whose wait was refused, while it still owns its section. */
    void (*refused)(struct ring *ring, member_t *member);
    /* The argument of the deadlock callback, and how often it was called, in this round. */
    unsigned told;
    host_deadlock_t notice;
} ring_t;

static inline member_t *next_member(const member_t *member)
{
    return &member->ring->members[(member->index + 1) % member->ring->size];
}

static inline int waits(const member_t *member)
{
    return task_info(member->task).waiting_for == next_member(member)->section;
}

static inline int others_wait(const ring_t *ring, unsigned but)
{
    for (unsigned at = 0; at < ring->size; at++) {
        if (at != but && !waits(&ring->members[at])) {
            return 0;
        }
    }
    return 1;
}

/* Whether those whose waits are seen have also looked for a deadlock: a task sleeps after that. */
static inline int others_sleep(const ring_t *ring, unsigned but)
{
    for (unsigned at = 0; at < ring->size; at++) {
        int thread = (int)task_info(ring->members[at].task).thread_id;
        if (at != but && check_thread_state(getpid(), thread) != 'S') {
            return 0;
        }
    }
    return 1;
}

static inline int32_t enter_next(const member_t *self)
{
    hostcrst_t section = next_member(self)->section;
    return self->milliseconds == HOSTCRST_INFINITE
               ? hostcrst_enter(section, self->option)
               : hostcrst_enter_timeout(section, self->option, self->milliseconds);
}

static inline void member_round(member_t *self)
{
    ring_t *ring = self->ring;
    for (unsigned entry = 0; entry < self->entries; entry++) {
        REQUIRE_EQ(hostcrst_enter(self->section, 0), S_OK);
    }
    gate_pass(&ring->owning, (int)ring->size);
    if (ring->closer == RING_MOST) {
        rush(&ring->rushed, ring->size);
    } else if (ring->closer == self->index) {
        AWAIT(others_wait(ring, self->index) && others_sleep(ring, self->index));
    }
    self->result = enter_next(self);
    if (self->result == S_OK) {
        CHECK_EQ(hostcrst_leave(next_member(self)->section), S_OK);
    } else if (ring->refused != NULL) {
        ring->refused(ring, self);
    }
    for (unsigned entry = 0; entry < self->entries; entry++) {
        CHECK_EQ(hostcrst_leave(self->section), S_OK);
    }
}

static inline void member_body(void *argument)
{
    member_t *self = (member_t *)argument;
    char name[32];
    snprintf(name, sizeof name, "member %u", self->index);
    REQUIRE_EQ(host_task_current(&self->task), S_OK);
    REQUIRE_EQ(host_task_set_name(self->task, name), S_OK);
    gate_pass(&self->ring->over, (int)self->ring->size + 1);
    for (;;) {
        gate_pass(&self->ring->begun, (int)self->ring->size + 1);
        if (self->ring->stop) {
            return;
        }
        member_round(self);
        gate_pass(&self->ring->over, (int)self->ring->size + 1);
    }
}

static inline void be_told(const host_deadlock_t *notice, void *context)
{
    ring_t *ring = (ring_t *)context;
    ring->notice = *notice;
    __atomic_add_fetch(&ring->told, 1, __ATOMIC_ACQ_REL);
}

static inline unsigned times_told(ring_t *ring)
{
    return __atomic_load_n(&ring->told, __ATOMIC_ACQUIRE);
}

static inline ring_t *ring_start(unsigned size)
{
    ring_t *ring = (ring_t *)calloc(1, sizeof *ring);
    REQUIRE(ring != NULL);
    REQUIRE(host_runtime_start() >= 0);
    ring->size = size;
    gate_init(&ring->begun);
    gate_init(&ring->owning);
    gate_init(&ring->over);
    REQUIRE_EQ(host_set_deadlock_callback(be_told, ring), S_OK);
    for (unsigned at = 0; at < size; at++) {
        member_t *member = &ring->members[at];
        char name[32];
        member->ring = ring;
        member->index = at;
        member->entries = 1;
        member->milliseconds = HOSTCRST_INFINITE;
        REQUIRE_EQ(hostcrst_create(&member->section), S_OK);
        snprintf(name, sizeof name, "section %u", at);
        REQUIRE_EQ(hostcrst_set_name(member->section, name), S_OK);
    }
    for (unsigned at = 0; at < size; at++) {
        check_start(&ring->members[at].thread, member_body, &ring->members[at]);
    }
    gate_pass(&ring->over, (int)size + 1);
    return ring;
}

/*
 * The main thread's side of a round: everything between ring_begin and ring_end happens while the members
 * run.
 */
static inline void ring_begin(ring_t *ring)
{
    ring->told = 0;
    gate_pass(&ring->begun, (int)ring->size + 1);
}

static inline void ring_end(ring_t *ring)
{
    gate_pass(&ring->over, (int)ring->size + 1);
}

static inline void ring_round(ring_t *ring)
{
    ring_begin(ring);
    ring_end(ring);
}

static inline void ring_stop(ring_t *ring)
{
    ring->stop = 1;
    gate_pass(&ring->begun, (int)ring->size + 1);
    for (unsigned at = 0; at < ring->size; at++) {
        check_join(&ring->members[at].thread);
        CHECK_EQ(section_info(ring->members[at].section).state, HOSTCRST_FREE);
        CHECK_EQ(hostcrst_destroy(ring->members[at].section), S_OK);
    }
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    free(ring);
}

/* How many members got `result` in this round; *last is one of them. */
static inline unsigned count_results(ring_t *ring, int32_t result, member_t **last)
{
    unsigned count = 0;
    for (unsigned at = 0; at < ring->size; at++) {
        if (ring->members[at].result == result) {
            count++;
            *last = &ring->members[at];
        }
    }
    return count;
}

#endif
