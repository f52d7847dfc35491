/*
 * Deadlocks: each is found when its last wait begins, one wait of it fails, and all else stays as it was.
 * Every test repeats its situation 10,000 times, with the same threads; the ring of 50 tasks 200 times, as
 * one round of it takes 50 times as long, or as often as DEADLOCK_RINGS_OF_FIFTY says. No test goes on for
 * longer than DEADLOCK_SECONDS (4): where other programs take the processors it plays fewer rounds.
 */
#include "deadlock/ring.h"

#define RINGS_OF_FIFTY 200

/* ---- one wait fails, the rest is as it was ---- */

/* By the refused member: nobody can go on before it leaves, so the whole ring can be looked at. */
static void check_ring_stands_still(ring_t *ring, member_t *refused)
{
    CHECK_EQ(task_info(refused->task).waiting_for, 0);
    for (unsigned at = 0; at < ring->size; at++) {
        member_t *member = &ring->members[at];
        hostcrst_info_t section = section_info(member->section);
        CHECK_EQ(section.state, HOSTCRST_OWNED);
        CHECK_EQ(section.owner, member->task);
        CHECK_EQ(section.recursion, member->entries);
        /* A wait is seen a moment before it is counted. */
        REQUIRE_SOON(section_info(member->section).waiters == (member != next_member(refused)));
        CHECK_EQ(task_info(member->task).owned, 1);
        /* Whose wait closed the ring but is not the one refused tells the callback first, out of the queue. */
        REQUIRE_SOON(member == refused || waits(member));
    }
}

static void check_told(ring_t *ring, const member_t *victim)
{
    CHECK_EQ(times_told(ring), 1);
    CHECK_EQ(ring->notice.size, sizeof ring->notice);
    CHECK_EQ(ring->notice.tasks, ring->size);
    CHECK_EQ(ring->notice.victim, victim->task);
    CHECK_EQ(ring->notice.section, next_member(victim)->section);
}

/* One member was refused, which one says the callback, and everyone else got what it waited for. */
static member_t *check_one_refused(ring_t *ring)
{
    member_t *victim = &ring->members[0];
    member_t *unused;
    CHECK_EQ(count_results(ring, HOST_E_DEADLOCK, &victim), 1);
    CHECK_EQ(count_results(ring, S_OK, &unused), ring->size - 1);
    check_told(ring, victim);
    for (unsigned at = 0; at < ring->size; at++) {
        CHECK_EQ(section_info(ring->members[at].section).state, HOSTCRST_FREE);
    }
    return victim;
}

static void closer_is_refused(unsigned size, unsigned rounds)
{
    ring_t *ring = ring_start(size);
    ring->refused = check_ring_stands_still;
    for (unsigned round = 0; is_to_play(round, rounds); round++) {
        ring->closer = round % size;
        ring_round(ring);
        CHECK_EQ(check_one_refused(ring)->index, ring->closer);
    }
    ring_stop(ring);
}

static void two_tasks_two_sections(void)
{
    closer_is_refused(2, ROUNDS);
}

static void ring_of_three(void)
{
    closer_is_refused(3, ROUNDS);
}

static void ring_of_fifty(void)
{
    closer_is_refused(50, (unsigned)check_number_from("DEADLOCK_RINGS_OF_FIFTY", RINGS_OF_FIFTY));
}

/* All begin to wait at the same time: whichever is last, one is the victim. */
static void racing_closers(unsigned size)
{
    ring_t *ring = ring_start(size);
    ring->refused = check_ring_stands_still;
    ring->closer = RING_MOST;
    for (unsigned round = 0; is_to_play(round, ROUNDS); round++) {
        ring_round(ring);
        check_one_refused(ring);
    }
    ring_stop(ring);
}

static void two_begin_to_wait_at_once(void)
{
    racing_closers(2);
}

static void four_begin_to_wait_at_once(void)
{
    racing_closers(4);
}

static void sections_entered_many_times(void)
{
    uint64_t chance = 1;
    ring_t *ring = ring_start(3);
    ring->refused = check_ring_stands_still;
    for (unsigned round = 0; is_to_play(round, ROUNDS); round++) {
        ring->closer = random_below(&chance, 3);
        for (unsigned at = 0; at < 3; at++) {
            ring->members[at].entries = 1 + random_below(&chance, 5);
        }
        ring_round(ring);
        CHECK_EQ(check_one_refused(ring)->index, ring->closer);
    }
    ring_stop(ring);
}

/* ---- waits that are not to be broken ---- */

static void another_wait_is_broken_where_the_closer_may_not(void)
{
    uint64_t chance = 2;
    ring_t *ring = ring_start(3);
    ring->refused = check_ring_stands_still;
    for (unsigned round = 0; is_to_play(round, ROUNDS); round++) {
        ring->closer = random_below(&chance, 3);
        unsigned breakable = (ring->closer + 1 + random_below(&chance, 2)) % 3;
        for (unsigned at = 0; at < 3; at++) {
            uint32_t others = random_below(&chance, 2) ? WAIT_NOTINDEADLOCK : 0;
            ring->members[at].option = at == breakable ? 0 : at == ring->closer ? WAIT_NOTINDEADLOCK : others;
        }
        ring_round(ring);
        member_t *victim = check_one_refused(ring);
        CHECK_NE(victim->index, ring->closer);
        CHECK_EQ(victim->option & WAIT_NOTINDEADLOCK, 0);
    }
    ring_stop(ring);
}

/* A report, to be freed. */
static char *report_text(uint32_t format)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = tmpfile();
    REQUIRE(file != NULL);
    REQUIRE_EQ(host_report(fileno(file), format), S_OK);
    long end = (fseek(file, 0, SEEK_END), ftell(file));
    REQUIRE(end > 0);
    length = (size_t)end;
    text = (char *)calloc(length + 1, 1);
    REQUIRE(text != NULL);
    rewind(file);
    REQUIRE_EQ(fread(text, 1, length, file), length);
    fclose(file);
    return text;
}

static void check_report_has(const char *text, const char *wanted)
{
    if (!CHECK(strstr(text, wanted) != NULL)) {
        printf("wanted \"%s\" in:\n%s\n", wanted, text);
    }
}

static void check_cycle_is_reported(ring_t *ring)
{
    char *text = report_text(HOST_REPORT_TEXT);
    check_report_has(text, "Found 1 deadlock.");
    for (unsigned at = 0; at < ring->size; at++) {
        char line[128];
        uint32_t thread = task_info(ring->members[at].task).thread_id;
        snprintf(line, sizeof line, "\n\"member %u\" tid=%u:\n", at, thread);
        check_report_has(text, line);
    }
    free(text);
}

static void nobody_may_be_broken(void)
{
    uint64_t chance = 3;
    ring_t *ring = ring_start(3);
    for (unsigned round = 0; is_to_play(round, ROUNDS); round++) {
        unsigned alertable = random_below(&chance, 3);
        ring->closer = random_below(&chance, 3);
        for (unsigned at = 0; at < 3; at++) {
            ring->members[at].option = WAIT_NOTINDEADLOCK | (at == alertable ? (uint32_t)WAIT_ALERTABLE : 0);
        }
        ring_begin(ring);
        AWAIT(times_told(ring) != 0);
        CHECK(others_wait(ring, ring->closer)); /* who is told is out of the queue meanwhile */
        CHECK_EQ(ring->notice.victim, 0);
        CHECK_EQ(ring->notice.tasks, 3);
        CHECK_EQ(ring->notice.section, next_member(&ring->members[ring->closer])->section);
        if (round % 1000 == 0) {
            check_cycle_is_reported(ring);
        }
        CHECK_EQ(host_task_alert(ring->members[alertable].task), S_OK);
        ring_end(ring);
        CHECK_EQ(times_told(ring), 1);
        for (unsigned at = 0; at < 3; at++) {
            CHECK_EQ(ring->members[at].result, at == alertable ? HOST_E_INTERRUPTED : S_OK);
        }
    }
    char *text = report_text(HOST_REPORT_TEXT);
    CHECK(strstr(text, "Found 1 deadlock") == NULL);
    free(text);
    ring_stop(ring);
}

/* ---- what is no deadlock ---- */

#define AN_HOUR (3600u * 1000)

static void a_wait_with_a_limit_is_no_part(void)
{
    uint64_t chance = 4;
    ring_t *ring = ring_start(3);
    ring->closer = RING_MOST;
    for (unsigned round = 0; is_to_play(round, ROUNDS); round++) {
        member_t *limited = &ring->members[random_below(&chance, 3)];
        limited->milliseconds = AN_HOUR;
        limited->option = WAIT_ALERTABLE;
        ring_begin(ring);
        AWAIT(others_wait(ring, RING_MOST));
        CHECK_EQ(host_task_alert(limited->task), S_OK);
        ring_end(ring);
        CHECK_EQ(times_told(ring), 0);
        for (unsigned at = 0; at < 3; at++) {
            CHECK_EQ(ring->members[at].result,
                     &ring->members[at] == limited ? HOST_E_INTERRUPTED : S_OK);
        }
        limited->milliseconds = HOSTCRST_INFINITE;
        limited->option = 0;
    }
    ring_stop(ring);
}

/* As it resolves itself. The limit is short, so the other may even enter before the ring is closed. */
static void a_limit_that_passes_opens_the_ring(void)
{
    ring_t *ring = ring_start(2);
    ring->closer = RING_MOST;
    for (unsigned round = 0; is_to_play(round, ROUNDS / 10); round++) {
        member_t *limited = &ring->members[round % 2];
        limited->milliseconds = 1;
        ring_round(ring);
        CHECK_EQ(times_told(ring), 0);
        CHECK_EQ(limited->result, HOST_E_TIMEOUT);
        CHECK_EQ(next_member(limited)->result, S_OK);
        limited->milliseconds = HOSTCRST_INFINITE;
    }
    ring_stop(ring);
}

/* ---- deadlocks while other things end waits ---- */

static void pause_at_random(uint64_t *chance, unsigned most)
{
    for (unsigned pauses = random_below(chance, most); pauses > 0; pauses--) {
        sched_yield();
    }
}

static void spin_at_random(uint64_t *chance, unsigned most)
{
    for (volatile unsigned spins = random_below(chance, most); spins > 0; spins--) {
    }
}

static unsigned how_many_wait(const ring_t *ring)
{
    unsigned count = 0;
    for (unsigned at = 0; at < ring->size; at++) {
        count += waits(&ring->members[at]) != 0;
    }
    return count;
}

/*
 * An alert comes in every other round, before the ring is closed, so that nobody is refused, then, or after
 * it.
 */
static void alerts_race_with_detection(void)
{
    uint64_t chance = 5;
    unsigned refused = 0;
    unsigned interrupted = 0;
    ring_t *ring = ring_start(3);
    ring->closer = RING_MOST;
    for (unsigned at = 0; at < 3; at++) {
        ring->members[at].option = WAIT_ALERTABLE;
    }
    for (unsigned round = 0; is_to_play_until(refused > 0 && interrupted > 0, round, ROUNDS); round++) {
        member_t *member;
        ring_begin(ring);
        if (random_below(&chance, 2) == 0) {
            /*
             * Until one more is to begin to wait; an alert that was left over may already have ended the
             * round.
             */
            for (int looks = 0; looks < 300 && how_many_wait(ring) < 2; looks++) {
                sched_yield();
            }
            spin_at_random(&chance, 5000);
            CHECK_EQ(host_task_alert(ring->members[random_below(&chance, 3)].task), S_OK);
        }
        ring_end(ring);
        unsigned refusals = count_results(ring, HOST_E_DEADLOCK, &member);
        unsigned interruptions = count_results(ring, HOST_E_INTERRUPTED, &member);
        CHECK(refusals <= 1);
        CHECK(refusals + interruptions >= 1);
        CHECK_EQ(count_results(ring, S_OK, &member), 3 - refusals - interruptions);
        CHECK_EQ(times_told(ring), refusals);
        refused += refusals;
        interrupted += interruptions;
    }
    printf("%u refused, %u interrupted\n", refused, interrupted);
    CHECK(refused > 0 && interrupted > 0);
    ring_stop(ring);
}

/* A section is left and its waiter alerted at the same moment; the third thread is the main one. */
typedef struct alert_race {
    hostcrst_t section;
    host_task_t waiter;
    int32_t result;
    int over;
    gate_t gate;
    unsigned rushed;
    int stop;
} alert_race_t;

static void own_and_leave(void *argument)
{
    alert_race_t *race = (alert_race_t *)argument;
    for (gate_pass(&race->gate, 3); !race->stop; gate_pass(&race->gate, 3)) {
        REQUIRE_EQ(hostcrst_enter(race->section, 0), S_OK);
        gate_pass(&race->gate, 3);
        rush(&race->rushed, 2);
        CHECK_EQ(hostcrst_leave(race->section), S_OK);
        gate_pass(&race->gate, 3);
    }
}

static void wait_alertably(void *argument)
{
    alert_race_t *race = (alert_race_t *)argument;
    REQUIRE_EQ(host_task_current(&race->waiter), S_OK);
    for (gate_pass(&race->gate, 3); !race->stop; gate_pass(&race->gate, 3)) {
        gate_pass(&race->gate, 3);
        race->result = hostcrst_enter(race->section, WAIT_ALERTABLE);
        __atomic_store_n(&race->over, 1, __ATOMIC_RELEASE);
        if (race->result == S_OK) {
            CHECK_EQ(hostcrst_leave(race->section), S_OK);
        }
        gate_pass(&race->gate, 3);
    }
}

static void alerts_race_with_leaving(void)
{
    alert_race_t race;
    check_thread_t threads[2];
    uint64_t chance = 8;
    unsigned entered = 0;
    unsigned played = 0;
    memset(&race, 0, sizeof race);
    gate_init(&race.gate);
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(hostcrst_create(&race.section), S_OK);
    check_start(&threads[0], own_and_leave, &race);
    check_start(&threads[1], wait_alertably, &race);
    for (unsigned round = 0; is_to_play_until(entered > 0 && entered < played, round, ROUNDS); round++) {
        race.over = 0;
        gate_pass(&race.gate, 3);
        gate_pass(&race.gate, 3);
        /* It does not wait if an alert was left over from the round before. */
        AWAIT(section_info(race.section).waiters == 1 || __atomic_load_n(&race.over, __ATOMIC_ACQUIRE));
        int waited = !__atomic_load_n(&race.over, __ATOMIC_ACQUIRE);
        rush(&race.rushed, 2);
        if (waited) {
            spin_at_random(&chance, 20000);
            CHECK_EQ(host_task_alert(race.waiter), S_OK);
        }
        gate_pass(&race.gate, 3);
        CHECK(race.result == S_OK || race.result == HOST_E_INTERRUPTED);
        CHECK_EQ(section_info(race.section).state, HOSTCRST_FREE);
        CHECK_EQ(section_info(race.section).waiters, 0);
        entered += race.result == S_OK;
        played++;
    }
    printf("%u entered\n", entered);
    CHECK(entered > 0 && entered < played);
    race.stop = 1;
    gate_pass(&race.gate, 3);
    check_join(&threads[0]);
    check_join(&threads[1]);
    CHECK_EQ(hostcrst_destroy(race.section), S_OK);
}

/*
 * Two tasks whose waits end by a deadlock or because the runtime stops; then they give back what they have.
 */
typedef struct stop_race {
    hostcrst_t sections[2];
    gate_t gate;
    unsigned rushed;
    int running;
    /* By the first of the two, before both pass the gate at the end of a round. */
    unsigned rounds;
    int goes_on;
    unsigned refused;
    unsigned stopped;
    unsigned entered;
} stop_race_t;

typedef struct stop_member {
    stop_race_t *race;
    unsigned index;
} stop_member_t;

static int32_t enter_again_until_it_runs(hostcrst_t section)
{
    int32_t result;
    do {
        result = hostcrst_enter(section, 0);
    } while (result == HOST_E_CLRNOTAVAILABLE);
    return result;
}

static void race_with_stop(void *argument)
{
    stop_member_t *self = (stop_member_t *)argument;
    stop_race_t *race = self->race;
    hostcrst_t mine = race->sections[self->index];
    hostcrst_t other = race->sections[1 - self->index];
    while (race->goes_on) {
        REQUIRE_EQ(enter_again_until_it_runs(mine), S_OK);
        rush(&race->rushed, 2);
        int32_t result = hostcrst_enter(other, 0);
        if (result == S_OK) {
            CHECK_EQ(hostcrst_leave(other), S_OK);
        }
        CHECK_EQ(hostcrst_leave(mine), S_OK);
        CHECK(result == S_OK || result == HOST_E_DEADLOCK || result == HOST_E_CLRNOTAVAILABLE);
        unsigned *counter = result == S_OK ? &race->entered
                            : result == HOST_E_DEADLOCK ? &race->refused : &race->stopped;
        __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
        if (self->index == 0) {
            int all_seen = __atomic_load_n(&race->refused, __ATOMIC_RELAXED) > 0 &&
                           __atomic_load_n(&race->stopped, __ATOMIC_RELAXED) > 0;
            race->goes_on = is_to_play_until(all_seen, ++race->rounds, ROUNDS);
        }
        gate_pass(&race->gate, 2);
    }
    __atomic_sub_fetch(&race->running, 1, __ATOMIC_RELEASE);
}

static void stop_races_with_detection(void)
{
    stop_race_t race;
    stop_member_t members[2];
    check_thread_t threads[2];
    ring_t told;
    uint64_t chance = 6;
    memset(&race, 0, sizeof race);
    gate_init(&race.gate);
    memset(&told, 0, sizeof told);
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_set_deadlock_callback(be_told, &told), S_OK);
    for (unsigned at = 0; at < 2; at++) {
        REQUIRE_EQ(hostcrst_create(&race.sections[at]), S_OK);
    }
    race.running = 2;
    race.goes_on = is_to_play(0, ROUNDS);
    for (unsigned at = 0; at < 2; at++) {
        members[at].race = &race;
        members[at].index = at;
        check_start(&threads[at], race_with_stop, &members[at]);
    }
    while (__atomic_load_n(&race.running, __ATOMIC_ACQUIRE) != 0) {
        pause_at_random(&chance, 10);
        CHECK_EQ(host_runtime_stop(), S_OK);
        CHECK_EQ(host_runtime_start(), S_OK);
    }
    check_join(&threads[0]);
    check_join(&threads[1]);
    printf("%u entered, %u refused, %u ended by a stop\n", race.entered, race.refused, race.stopped);
    CHECK_EQ(race.entered + race.refused + race.stopped, 2 * race.rounds);
    CHECK(race.refused > 0 && race.stopped > 0);
    CHECK_EQ(times_told(&told), race.refused);
    for (unsigned at = 0; at < 2; at++) {
        CHECK_EQ(section_info(race.sections[at]).state, HOSTCRST_FREE);
        CHECK_EQ(hostcrst_destroy(race.sections[at]), S_OK);
    }
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
}

/* Three tasks; in each round some destroy what they own instead of waiting, so that there is no cycle. */
typedef struct destroy_race {
    hostcrst_t sections[3];
    int destroys[3];
    int32_t results[3];
    gate_t gate;
    unsigned rushed;
    int stop;
} destroy_race_t;

typedef struct destroy_member {
    destroy_race_t *race;
    unsigned index;
} destroy_member_t;

static void race_with_destroy(void *argument)
{
    destroy_member_t *self = (destroy_member_t *)argument;
    destroy_race_t *race = self->race;
    hostcrst_t *mine = &race->sections[self->index];
    for (;;) {
        gate_pass(&race->gate, 4);
        if (race->stop) {
            return;
        }
        REQUIRE_EQ(hostcrst_create(mine), S_OK);
        REQUIRE_EQ(hostcrst_enter(*mine, 0), S_OK);
        gate_pass(&race->gate, 4);
        rush(&race->rushed, 3);
        if (!race->destroys[self->index]) {
            hostcrst_t next = race->sections[(self->index + 1) % 3];
            race->results[self->index] = hostcrst_enter(next, 0);
            if (race->results[self->index] == S_OK) {
                CHECK_EQ(hostcrst_leave(next), S_OK);
            }
        }
        CHECK_EQ(hostcrst_destroy(*mine), S_OK);
        gate_pass(&race->gate, 4);
    }
}

static void destroy_races_with_detection(void)
{
    destroy_race_t race;
    destroy_member_t members[3];
    check_thread_t threads[3];
    ring_t told;
    uint64_t chance = 7;
    memset(&race, 0, sizeof race);
    gate_init(&race.gate);
    memset(&told, 0, sizeof told);
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(host_set_deadlock_callback(be_told, &told), S_OK);
    for (unsigned at = 0; at < 3; at++) {
        members[at].race = &race;
        members[at].index = at;
        check_start(&threads[at], race_with_destroy, &members[at]);
    }
    for (unsigned round = 0; is_to_play(round, ROUNDS); round++) {
        unsigned destroyers = 0;
        unsigned refused = 0;
        told.told = 0;
        for (unsigned at = 0; at < 3; at++) {
            race.destroys[at] = random_below(&chance, 4) == 0;
            destroyers += race.destroys[at] != 0;
            race.results[at] = S_OK;
        }
        gate_pass(&race.gate, 4);
        gate_pass(&race.gate, 4);
        gate_pass(&race.gate, 4);
        for (unsigned at = 0; at < 3; at++) {
            int32_t result = race.results[at];
            refused += result == HOST_E_DEADLOCK;
            /* E_HANDLE: the section was gone before the wait began. */
            CHECK(result == S_OK || result == HOST_E_DEADLOCK || result == HOST_E_ABANDONED ||
                  result == E_HANDLE);
        }
        CHECK_EQ(refused, destroyers == 0);
        CHECK_EQ(times_told(&told), refused);
    }
    race.stop = 1;
    gate_pass(&race.gate, 4);
    for (unsigned at = 0; at < 3; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
}

/* ---- the callback ---- */

static hostcrst_t others_section;

static void use_the_library(const host_deadlock_t *notice, void *context)
{
    member_t *closer = (member_t *)context;
    hostcrst_t created;
    CHECK_EQ(notice->victim, 0);
    CHECK_EQ(hostcrst_enter_timeout(others_section, 0, 1), HOST_E_TIMEOUT);
    CHECK_EQ(hostcrst_create(&created), S_OK);
    CHECK_EQ(hostcrst_destroy(created), S_OK);
    /* It waits for nothing now, but what it was part of is there to be read. */
    CHECK(!waits(closer));
    char *text = report_text(HOST_REPORT_TEXT);
    check_report_has(text, "A deadlock of 2 tasks was found ");
    check_report_has(text, "s ago, no wait was broken:\n");
    free(text);
    CHECK_EQ(host_task_alert(closer->task), S_OK);
    __atomic_add_fetch(&closer->ring->told, 1, __ATOMIC_ACQ_REL);
}

static void the_callback_may_use_the_library(void)
{
    member_t *closer;
    ring_t *ring = ring_start(2);
    REQUIRE_EQ(hostcrst_create(&others_section), S_OK);
    REQUIRE_EQ(hostcrst_enter(others_section, 0), S_OK);
    for (unsigned round = 0; is_to_play(round, ROUNDS / 10); round++) {
        ring->closer = round % 2;
        closer = &ring->members[ring->closer];
        ring->members[0].option = ring->members[1].option = WAIT_NOTINDEADLOCK | WAIT_ALERTABLE;
        CHECK_EQ(host_set_deadlock_callback(use_the_library, closer), S_OK);
        ring_round(ring);
        CHECK_EQ(times_told(ring), 1);
        CHECK_EQ(closer->result, HOST_E_INTERRUPTED);
        CHECK_EQ(next_member(closer)->result, S_OK);
    }
    CHECK_EQ(hostcrst_leave(others_section), S_OK);
    CHECK_EQ(hostcrst_destroy(others_section), S_OK);
    ring_stop(ring);
}

CHECK_MAIN(CHECK_TEST(two_tasks_two_sections), CHECK_TEST(ring_of_three), CHECK_TEST(ring_of_fifty),
           CHECK_TEST(two_begin_to_wait_at_once), CHECK_TEST(four_begin_to_wait_at_once),
           CHECK_TEST(sections_entered_many_times),
           CHECK_TEST(another_wait_is_broken_where_the_closer_may_not), CHECK_TEST(nobody_may_be_broken),
           CHECK_TEST(a_wait_with_a_limit_is_no_part), CHECK_TEST(a_limit_that_passes_opens_the_ring),
           CHECK_TEST(alerts_race_with_detection), CHECK_TEST(alerts_race_with_leaving),
           CHECK_TEST(stop_races_with_detection),
           CHECK_TEST(destroy_races_with_detection), CHECK_TEST(the_callback_may_use_the_library))
