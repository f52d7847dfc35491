/*
 * The heavy barrier on the processor itself: two threads that store and then load, the one with a store buffer full of
 * cache misses, so that the other sees its store long after its load. Each scene runs twice: with the barrier it
 * must hold; with one that does nothing for the other thread it must be seen to break, or the first run shows nothing.
 *
 * LITMUS_SECONDS=<number> is how long each scene has to hold, if that is more than its rounds take.
 */
#include "host.h"
#include "own_syscall.h"


#define ROUNDS 10000

#define SKIPPED 77

/* ---- the barrier ---- */

#define HEAVY_BARRIER 8 /* MEMBARRIER_CMD_PRIVATE_EXPEDITED */

static int barrier_is_left_out;
static int64_t barriers;

static int stands_in(long number, const long *arguments, long *result)
{
    if (number != SYS_membarrier || arguments[0] != HEAVY_BARRIER) {
        return 0;
    }
    __atomic_add_fetch(&barriers, 1, __ATOMIC_RELAXED);
    if (barrier_is_left_out) {
        /* What it does for its caller, and for nobody else. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        *result = 0;
    }
    return barrier_is_left_out;
}

/* ---- two threads, each on a processor of its own, round by round ---- */

#define MISSES 64               /* about as many as a store buffer holds */
#define LINES ((size_t)1 << 20) /* more than a cache holds */
#define LINE_WORDS 8
#define LONGEST_DELAY 3000

/* How the owner and the visitor of a section act in one round. play says whether the round broke. */
typedef struct scene {
    const char *bias;
    int (*play)(int round, chance_t *chance);
    void (*visit)(int round, chance_t *chance);
} scene_t;

static hostcrst_t crst; /* another one in each round */
static uint64_t *memory;

/* The last round in which each of these came to pass. */
static int begun;
static int visitor_has_tried;
static int owner_has_seen;
static int over;

static int reached(const int *step, int round)
{
    return __atomic_load_n(step, __ATOMIC_ACQUIRE) >= round;
}

static void reach(int *step, int round)
{
    __atomic_store_n(step, round, __ATOMIC_RELEASE);
}

static int reached_soon(const int *step, int round)
{
    for (int look = 0; look < 20000; look++) {
        if (reached(step, round)) {
            return 1;
        }
    }
    return 0;
}

/* Does not yield: the other thread has a processor of its own, and only while both run can a round break. */
static void await(const int *step, int round)
{
    while (!reached(step, round)) {
    }
}

static void fill_the_store_buffer(chance_t *chance)
{
    for (int store = 0; store < MISSES; store++) {
        memory[next_random(chance) % LINES * LINE_WORDS] = 1;
    }
}

static void delay(chance_t *chance)
{
    uint64_t turns = next_random(chance) % LONGEST_DELAY;
    for (volatile uint64_t turn = 0; turn < turns; turn++) {
    }
}

/* ---- a leave, while a waiter announces itself: the waiter sleeps, and nobody is inside ---- */

static int visitor_thread;

static void enter_and_leave(void)
{
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
}

static void visit_and_wait(int round, chance_t *chance)
{
    delay(chance);
    enter_and_leave();
    reach(&over, round);
}

/* The waiter slept through the leave: has it woken. */
static void leave_anew(void)
{
    if (info_of(crst).state == HOSTCRST_FREE) {
        enter_and_leave();
    } else {
        hostcrst_leave(crst);
    }
}

/* A leave makes the waiter runnable before it returns: a waiter that sleeps after that would sleep for ever. */
static int leave_and_watch(int round, chance_t *chance)
{
    enter_and_leave(); /* if sections are biased, this one is from here on */
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    reach(&begun, round);
    fill_the_store_buffer(chance);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    while (!reached_soon(&over, round)) {
        if (check_thread_state(getpid(), visitor_thread) == 'S' && !reached(&over, round)) {
            leave_anew();
            await(&over, round);
            return 1;
        }
    }
    return 0;
}

static const scene_t plain_leave = {"off", leave_and_watch, visit_and_wait};
static const scene_t biased_leave = {"always", leave_and_watch, visit_and_wait};

/* ---- an entry of a biased section, while another revokes the bias: both are inside ---- */

static int32_t visitor_is_inside;

static void visit_and_revoke(int round, chance_t *chance)
{
    delay(chance);
    CHECK_EQ(hostcrst_try_enter(crst, 0, &visitor_is_inside), S_OK);
    reach(&visitor_has_tried, round);
    await(&owner_has_seen, round);
    if (visitor_is_inside) {
        hostcrst_leave(crst);
    }
    reach(&over, round);
}

static int enter_what_is_biased(int round, chance_t *chance)
{
    int32_t is_inside = 0;
    enter_and_leave();
    reach(&begun, round);
    fill_the_store_buffer(chance);
    CHECK_EQ(hostcrst_try_enter(crst, 0, &is_inside), S_OK);
    await(&visitor_has_tried, round);
    int both_are = is_inside && visitor_is_inside;
    if (is_inside) {
        hostcrst_leave(crst);
    }
    reach(&owner_has_seen, round);
    await(&over, round);
    return both_are;
}

static const scene_t biased_entry = {"always", enter_what_is_biased, visit_and_revoke};

/* ---- the runs ---- */

static const scene_t *scene;

static void visit_every_round(void *unused)
{
    chance_t chance = {1};
    (void)unused;
    visitor_thread = gettid();
    check_run_on_processor(1);
    reach(&over, 0);
    for (int round = 1;; round++) {
        await(&begun, round);
        scene->visit(round, &chance);
    }
}

static void begin(void)
{
    static check_thread_t visitor;
    CHECK_EQ(setenv("HOSTCRST_BIAS", scene->bias, 1), 0);
    start_runtime();
    memory = zeroed(LINES * LINE_WORDS, sizeof *memory);
    memset(memory, 1, LINES * LINE_WORDS * sizeof *memory);
    over = -1;
    check_start(&visitor, visit_every_round, NULL);
    await(&over, 0);
    check_run_on_processor(0);
}

static int play(int round)
{
    static chance_t chance = {2};
    REQUIRE_EQ(hostcrst_create_with_spin_count(0, &crst), S_OK);
    int broke = scene->play(round, &chance);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    return broke;
}

static void report(int breaks, int rounds)
{
    printf("    broken: %d of %d rounds, with %lld barriers%s\n", breaks, rounds, (long long)barriers,
           barrier_is_left_out ? " left out" : "");
    CHECK(barriers > 0);
    CHECK(rounds > 0);
}

/* Fewer rounds where other programs take the processors. */
static int goes_on(int rounds, int64_t milliseconds, int64_t least_milliseconds)
{
    return milliseconds < least_milliseconds || (rounds < ROUNDS && milliseconds < 1000 * CHECK_PATIENCE_SECONDS / 2);
}

static void play_with_the_barrier(void)
{
    int64_t seconds = (int64_t)check_number_from("LITMUS_SECONDS", 0);
    int breaks = 0;
    int rounds = 0;
    alarm((unsigned)seconds + 3 * CHECK_PATIENCE_SECONDS);
    begin();
    int64_t start = nanoseconds_now(); /* the visitor may be late where other programs take the processors */
    while (goes_on(rounds, milliseconds_since(start), 1000 * seconds)) {
        breaks += play(++rounds);
    }
    report(breaks, rounds);
    CHECK_EQ(breaks, 0);
}

static void play_without_the_barrier(void)
{
    struct timespec deadline = check_deadline_from_now();
    int broke = 0;
    int rounds = 0;
    barrier_is_left_out = 1;
    begin();
    while (!broke && !check_passed(&deadline)) {
        broke = play(++rounds);
    }
    report(broke, rounds);
    CHECK(broke);
}

static void expect_to_hold(const scene_t *which)
{
    scene = which;
    in_child(play_with_the_barrier);
}

static void expect_to_break(const scene_t *which)
{
    scene = which;
    in_child(play_without_the_barrier);
}

static void a_plain_leave_loses_no_wake_up(void)
{
    expect_to_hold(&plain_leave);
}

static void a_plain_leave_without_the_barrier_loses_one(void)
{
    expect_to_break(&plain_leave);
}

static void a_biased_leave_loses_no_wake_up(void)
{
    expect_to_hold(&biased_leave);
}

static void a_biased_leave_without_the_barrier_loses_one(void)
{
    expect_to_break(&biased_leave);
}

static void a_biased_entry_keeps_others_out(void)
{
    expect_to_hold(&biased_entry);
}

static void a_biased_entry_without_the_barrier_does_not(void)
{
    expect_to_break(&biased_entry);
}

int main(int argument_count, char **arguments)
{
    static const check_test_t tests[] = {
        CHECK_TEST(a_plain_leave_without_the_barrier_loses_one),
        CHECK_TEST(a_plain_leave_loses_no_wake_up),
        CHECK_TEST(a_biased_leave_without_the_barrier_loses_one),
        CHECK_TEST(a_biased_leave_loses_no_wake_up),
        CHECK_TEST(a_biased_entry_without_the_barrier_does_not),
        CHECK_TEST(a_biased_entry_keeps_others_out),
    };
    if (check_processors() < 2) {
        printf("skipped: on one processor no thread sees another's stores late\n");
        return SKIPPED;
    }
    return check_run(tests, sizeof tests / sizeof tests[0], argument_count, arguments);
}
