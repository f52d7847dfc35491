/*
 * 16 tasks enter 32 sections in random order, and an oracle that knows nothing of the library's search
 * judges every answer. It runs for 5 seconds, or for as many as DEADLOCK_STRESS_SECONDS says;
 * DEADLOCK_STRESS_SEED changes the order.
 *
 * The oracle keeps, under a mutex of its own, who owns what and who waits for what: a wait from before the
 * call until after its return, an ownership from after the return of enter until before the call of leave.
 *
 * Why its verdict is sound. The members of a cycle are all blocked, and in this program nothing but the
 * refusal of one of them (or the alert that stands for it, below) opens a cycle. So when the refused task
 * asks the oracle, and still owns all it had, each other member is still inside its wait, told to the
 * oracle before the call; and it owns what the member before it waits for, told to the oracle before that
 * wait. If the oracle then sees no cycle through the refused wait, there was none. Two refusals for one
 * cycle show as well: the second finds the first one's wait gone.
 *
 * A missed cycle never goes away: the watchdog, which sees the same graph, finds the same waits in a cycle
 * for long.
 *
 * Some waits carry WAIT_NOTINDEADLOCK. A cycle of nothing but such waits stands; the program opens it by
 * alerting the task that closed it, from the deadlock callback.
 */
#include "deadlock/ring.h"

#define TASKS 16
#define SECTIONS 32
#define HELD_MOST 5
/* A cycle that the oracle has seen for so long, and so often, was missed. */
#define MISSED_AFTER_SECONDS 20
#define MISSED_AFTER_LOOKS 1000

typedef enum kind {
    UNBOUNDED,
    NOT_BREAKABLE,
    LIMITED,
    TRY
} kind_t;

typedef struct stress_task {
    check_thread_t thread;
    unsigned index;
    host_task_t task;
    uint64_t chance;
    unsigned held[HELD_MOST];
    unsigned entries[HELD_MOST];
    unsigned held_count;
} stress_task_t;

static stress_task_t tasks[TASKS];
static hostcrst_t sections[SECTIONS];
/* What the sections protect. */
static uint64_t counters[SECTIONS];
static int stop;
static unsigned finished;

/* ---- the oracle ---- */

#define NOBODY TASKS
#define NOTHING SECTIONS

typedef struct oracle {
    pthread_mutex_t mutex;
    unsigned owner[SECTIONS];
    /* The section that a task waits for without a limit. */
    unsigned waits[TASKS];
    int breakable[TASKS];
    /* Counts the waits of a task. */
    unsigned long wait_number[TASKS];
    unsigned long entered;
    unsigned long refused;
    unsigned long stood;
    unsigned long timed_out;
    unsigned long tried_in_vain;
} oracle_t;

static oracle_t oracle = {PTHREAD_MUTEX_INITIALIZER, {0}, {0}, {0}, {0}, 0, 0, 0, 0, 0};

/* The arguments of the callback; the oracle's mutex is not needed for these. */
static unsigned long told_broken;
static unsigned long told_standing;

static void oracle_reset(void)
{
    for (unsigned section = 0; section < SECTIONS; section++) {
        oracle.owner[section] = NOBODY;
    }
    for (unsigned task = 0; task < TASKS; task++) {
        oracle.waits[task] = NOTHING;
    }
}

/*
 * The length of the cycle through the wait of `task`, 0 if there is none; *breakable counts such waits in
 * it.
 */
static unsigned cycle_through(unsigned task, unsigned *breakable)
{
    unsigned at = task;
    *breakable = 0;
    for (unsigned length = 1; length <= TASKS; length++) {
        if (oracle.waits[at] == NOTHING) {
            return 0;
        }
        *breakable += oracle.breakable[at] != 0;
        at = oracle.owner[oracle.waits[at]];
        if (at == NOBODY) {
            return 0;
        }
        if (at == task) {
            return length;
        }
    }
    return 0;
}

static void oracle_before_enter(const stress_task_t *self, unsigned section, kind_t kind)
{
    pthread_mutex_lock(&oracle.mutex);
    if (kind == UNBOUNDED || kind == NOT_BREAKABLE) {
        oracle.waits[self->index] = section;
        oracle.breakable[self->index] = kind == UNBOUNDED;
        oracle.wait_number[self->index]++;
    }
    pthread_mutex_unlock(&oracle.mutex);
}

static void oracle_judge(const stress_task_t *self, unsigned section, kind_t kind, int32_t result)
{
    unsigned breakable;
    unsigned length = cycle_through(self->index, &breakable);
    switch (result) {
    case S_OK:
        CHECK(oracle.owner[section] == NOBODY || oracle.owner[section] == self->index);
        oracle.owner[section] = self->index;
        oracle.entered++;
        break;
    case HOST_E_DEADLOCK:
        CHECK_EQ(kind, UNBOUNDED);
        CHECK(length >= 2);
        oracle.refused++;
        break;
    case HOST_E_INTERRUPTED:
        CHECK_EQ(kind, NOT_BREAKABLE);
        CHECK(length >= 2);
        CHECK_EQ(breakable, 0);
        oracle.stood++;
        break;
    case HOST_E_TIMEOUT:
        CHECK_EQ(kind, LIMITED);
        oracle.timed_out++;
        break;
    default:
        CHECK_EQ(result, S_OK);
    }
}

static void oracle_after_enter(const stress_task_t *self, unsigned section, kind_t kind, int32_t result)
{
    pthread_mutex_lock(&oracle.mutex);
    oracle_judge(self, section, kind, result);
    oracle.waits[self->index] = NOTHING;
    pthread_mutex_unlock(&oracle.mutex);
}

static void oracle_after_try(const stress_task_t *self, unsigned section, int entered)
{
    pthread_mutex_lock(&oracle.mutex);
    if (entered) {
        oracle_judge(self, section, TRY, S_OK);
    } else {
        oracle.tried_in_vain++;
    }
    pthread_mutex_unlock(&oracle.mutex);
}

static void oracle_before_last_leave(unsigned section)
{
    pthread_mutex_lock(&oracle.mutex);
    oracle.owner[section] = NOBODY;
    pthread_mutex_unlock(&oracle.mutex);
}

/* ---- the tasks ---- */

static unsigned place_of(const stress_task_t *self, unsigned section)
{
    unsigned place = 0;
    while (place < self->held_count && self->held[place] != section) {
        place++;
    }
    return place;
}

static void leave_at(stress_task_t *self, unsigned place)
{
    unsigned section = self->held[place];
    counters[section]++;
    if (self->entries[place] == 1) {
        oracle_before_last_leave(section);
        self->held_count--;
    }
    CHECK_EQ(hostcrst_leave(sections[section]), S_OK);
    if (--self->entries[place] == 0) {
        self->held[place] = self->held[self->held_count];
        self->entries[place] = self->entries[self->held_count];
    }
}

static void leave_all(stress_task_t *self)
{
    while (self->held_count > 0) {
        leave_at(self, self->held_count - 1);
    }
}

static void has_entered(stress_task_t *self, unsigned section)
{
    unsigned place = place_of(self, section);
    counters[section]++;
    if (place == self->held_count) {
        self->held_count++;
        self->held[place] = section;
        self->entries[place] = 0;
    }
    self->entries[place]++;
}

/* Whether the task may go on with what it has. */
static int enter_one(stress_task_t *self, unsigned section)
{
    static const kind_t kinds[] = {UNBOUNDED, UNBOUNDED, UNBOUNDED, UNBOUNDED, NOT_BREAKABLE, LIMITED, TRY};
    kind_t kind = kinds[random_below(&self->chance, sizeof kinds / sizeof kinds[0])];
    int32_t entered = 0;
    int32_t result = S_OK;
    switch (kind) {
    case TRY:
        CHECK_EQ(hostcrst_try_enter(sections[section], 0, &entered), S_OK);
        oracle_after_try(self, section, entered);
        break;
    case LIMITED:
        oracle_before_enter(self, section, kind);
        result = hostcrst_enter_timeout(sections[section], 0, random_below(&self->chance, 3));
        oracle_after_enter(self, section, kind, result);
        entered = result == S_OK;
        break;
    default:
        oracle_before_enter(self, section, kind);
        result = hostcrst_enter(sections[section],
                                kind == NOT_BREAKABLE ? WAIT_NOTINDEADLOCK | WAIT_ALERTABLE : 0);
        oracle_after_enter(self, section, kind, result);
        entered = result == S_OK;
    }
    if (entered) {
        has_entered(self, section);
    }
    return result == S_OK || result == HOST_E_TIMEOUT;
}

static void step(stress_task_t *self)
{
    unsigned choice = random_below(&self->chance, 8);
    if (self->held_count == HELD_MOST || (choice < 3 && self->held_count > 0)) {
        leave_at(self, random_below(&self->chance, self->held_count));
    } else if (choice == 3) {
        sched_yield();
    } else if (!enter_one(self, random_below(&self->chance, SECTIONS)) &&
               random_below(&self->chance, 4) != 0) {
        /* Otherwise it tries its luck once more with all that it has. */
        leave_all(self);
    }
}

static void stress_body(void *argument)
{
    stress_task_t *self = (stress_task_t *)argument;
    char name[32];
    snprintf(name, sizeof name, "task %u", self->index);
    REQUIRE_EQ(host_task_current(&self->task), S_OK);
    REQUIRE_EQ(host_task_set_name(self->task, name), S_OK);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        step(self);
    }
    leave_all(self);
    __atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
}

/* On the task whose wait closed the cycle. */
static void be_told_of_one(const host_deadlock_t *notice, void *context)
{
    host_task_t closer = 0;
    (void)context;
    CHECK(notice->tasks >= 2 && notice->tasks <= TASKS);
    if (notice->victim != 0) {
        __atomic_add_fetch(&told_broken, 1, __ATOMIC_RELAXED);
        return;
    }
    __atomic_add_fetch(&told_standing, 1, __ATOMIC_RELAXED);
    CHECK_EQ(host_task_current(&closer), S_OK);
    CHECK_EQ(host_task_alert(closer), S_OK);
}

/* ---- the watchdog ---- */

typedef struct suspicion {
    unsigned long numbers[TASKS];
    int64_t since[TASKS];
    unsigned looks[TASKS];
} suspicion_t;

static int64_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Gives up with a report if some wait has been in a cycle for too long. */
static void search_for_missed_cycles(suspicion_t *suspicion)
{
    int missed = 0;
    pthread_mutex_lock(&oracle.mutex);
    for (unsigned task = 0; task < TASKS; task++) {
        unsigned breakable;
        int in_cycle = cycle_through(task, &breakable) != 0;
        if (!in_cycle || suspicion->numbers[task] != oracle.wait_number[task]) {
            suspicion->numbers[task] = oracle.wait_number[task];
            suspicion->since[task] = seconds_now();
            suspicion->looks[task] = 0;
        }
        missed |= in_cycle && ++suspicion->looks[task] > MISSED_AFTER_LOOKS &&
                  seconds_now() - suspicion->since[task] > MISSED_AFTER_SECONDS;
    }
    pthread_mutex_unlock(&oracle.mutex);
    if (missed) {
        stuck(__FILE__, __LINE__, "a cycle of waits was missed");
    }
}

static int has_all_happened(void)
{
    pthread_mutex_lock(&oracle.mutex);
    int all = oracle.refused > 0 && oracle.stood > 0 && oracle.timed_out > 0 && oracle.tried_in_vain > 0;
    pthread_mutex_unlock(&oracle.mutex);
    return all;
}

/* Where other programs take the processors, it takes longer until all has happened. */
static int goes_on(int64_t end)
{
    int64_t now = seconds_now();
    return now < end || (now < end + CHECK_PATIENCE_SECONDS && !has_all_happened());
}

static void the_oracle_agrees(void)
{
    uint64_t seed = check_number_from("DEADLOCK_STRESS_SEED", 1);
    int64_t end = seconds_now() + (int64_t)check_number_from("DEADLOCK_STRESS_SECONDS", 5);
    suspicion_t suspicion;
    memset(&suspicion, 0, sizeof suspicion);
    oracle_reset();
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_set_deadlock_callback(be_told_of_one, NULL), S_OK);
    for (unsigned section = 0; section < SECTIONS; section++) {
        char name[32];
        REQUIRE_EQ(hostcrst_create(&sections[section]), S_OK);
        snprintf(name, sizeof name, "section %u", section);
        REQUIRE_EQ(hostcrst_set_name(sections[section], name), S_OK);
    }
    for (unsigned index = 0; index < TASKS; index++) {
        tasks[index].index = index;
        tasks[index].chance = seed * TASKS + index;
        check_start(&tasks[index].thread, stress_body, &tasks[index]);
    }
    while (goes_on(end) && check_failed_so_far() == 0) {
        search_for_missed_cycles(&suspicion);
        check_pause();
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    int64_t patience = seconds_now() + CHECK_PATIENCE_SECONDS;
    while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < TASKS) {
        search_for_missed_cycles(&suspicion);
        if (seconds_now() > patience) {
            stuck(__FILE__, __LINE__, "not all tasks finish");
        }
        check_pause();
    }
    for (unsigned index = 0; index < TASKS; index++) {
        check_join(&tasks[index].thread);
    }
    printf("%lu entered, %lu refused, %lu cycles stood, %lu timed out, %lu tried in vain\n", oracle.entered,
           oracle.refused, oracle.stood, oracle.timed_out, oracle.tried_in_vain);
    CHECK(has_all_happened());
    CHECK_EQ(told_broken, oracle.refused);
    CHECK_EQ(told_standing, oracle.stood);
    for (unsigned section = 0; section < SECTIONS; section++) {
        CHECK_EQ(section_info(sections[section]).state, HOSTCRST_FREE);
        CHECK_EQ(section_info(sections[section]).waiters, 0);
        CHECK_EQ(hostcrst_destroy(sections[section]), S_OK);
    }
    uint64_t counted = 0;
    for (unsigned section = 0; section < SECTIONS; section++) {
        counted += counters[section];
    }
    CHECK_EQ(counted, 2 * oracle.entered);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
}

CHECK_MAIN(CHECK_TEST(the_oracle_agrees))
