/* The nested layers of a task: which transitions are legal, how deep layers nest, and what other threads read of them. */
#include "host.h"

enum { DEEP = 1000000 };

/* Each test works in a thread of its own, which has made no transition. */
static void in_new_thread(void (*body)(void *))
{
    check_thread_t thread;
    start_runtime();
    check_start(&thread, body, NULL);
    check_join(&thread);
}

static void check_layers(host_task_t task, const host_layer_t *expected, size_t depth)
{
    host_layer_t layers[16];
    size_t count = 77;
    memset(layers, 0x77, sizeof layers);
    REQUIRE(depth <= 16);
    CHECK_EQ(KEEPING_ERRNO(host_task_layers(task, layers, 16, &count)), S_OK);
    CHECK_EQ(count, depth);
    for (size_t at = 0; at < depth; at++) {
        CHECK_EQ(layers[at].kind, expected[at].kind);
        CHECK_EQ(layers[at].reserved, 0);
        CHECK_EQ(layers[at].target, expected[at].target);
    }
    for (size_t at = depth; at < 16; at++) {
        CHECK_EQ(layers[at].kind, 0x77777777);
    }
    CHECK_EQ(task_info_of(task).depth, depth);
}

/* ---- what may follow what ---- */

enum { LEAVE, ENTER, REVERSE_ENTER, REVERSE_LEAVE, TRANSITIONS };

static int32_t make_transition(int transition, size_t target)
{
    switch (transition) {
    case LEAVE:
        return host_leave_runtime(target);
    case ENTER:
        return host_enter_runtime();
    case REVERSE_ENTER:
        return host_reverse_enter_runtime();
    default:
        return host_reverse_leave_runtime();
    }
}

/* A simple model of the library's rules. */
typedef struct model {
    uint32_t mode;
    size_t depth;
    host_layer_t layers[16];
} model_t;

static int model_transition(model_t *model, int transition, size_t target)
{
    static const uint32_t from[TRANSITIONS] = {HOST_TASK_MANAGED, HOST_TASK_UNMANAGED, HOST_TASK_UNMANAGED,
                                               HOST_TASK_MANAGED};
    static const uint32_t to[TRANSITIONS] = {HOST_TASK_UNMANAGED, HOST_TASK_MANAGED, HOST_TASK_MANAGED,
                                             HOST_TASK_UNMANAGED};
    int pushes = transition == LEAVE || transition == REVERSE_ENTER;
    uint32_t kind = transition == LEAVE || transition == ENTER ? HOST_LAYER_LEAVE : HOST_LAYER_REVERSE_ENTER;
    if (model->mode != from[transition] && !(pushes && model->mode == HOST_TASK_UNKNOWN)) {
        return 0;
    }
    if (pushes) {
        model->layers[model->depth].kind = kind;
        model->layers[model->depth].target = transition == LEAVE ? target : 0;
        model->depth++;
    } else {
        if (model->depth == 0 || model->layers[model->depth - 1].kind != kind) {
            return 0;
        }
        model->depth--;
    }
    model->mode = to[transition];
    return 1;
}

/* Every sequence of up to seven transitions, each from the beginning. */
static void try_every_sequence(void *unused)
{
    enum { LENGTH = 7 };
    (void)unused;
    host_task_t me = this_task();
    for (int number = 0; number < 1 << 2 * LENGTH; number++) {
        static const model_t nothing;
        model_t model = nothing;
        /* A new run of the runtime: the task has no layers, and has made no transition. */
        CHECK_EQ(host_runtime_stop(), S_OK);
        CHECK_EQ(host_runtime_start(), S_OK);
        for (int at = 0; at < LENGTH; at++) {
            int transition = number >> 2 * at & 3;
            size_t target = (size_t)(number * LENGTH + at + 1);
            int allowed = model_transition(&model, transition, target);
            int32_t result = KEEPING_ERRNO(make_transition(transition, target));
            CHECK_EQ(result, allowed ? S_OK : HOST_E_INVALIDOPERATION);
        }
        CHECK_EQ(task_info_of(me).mode, model.mode);
        check_layers(me, model.layers, model.depth);
    }
}

static void transitions_follow_the_rules(void)
{
    in_new_thread(try_every_sequence);
}

static void begin_managed(void *unused)
{
    static const host_layer_t one = {HOST_LAYER_LEAVE, 0, 42};
    (void)unused;
    host_task_t me = this_task();
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_UNKNOWN);
    CHECK_EQ(host_leave_runtime(42), S_OK);
    check_layers(me, &one, 1);
    CHECK_EQ(host_leave_runtime(43), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_reverse_leave_runtime(), HOST_E_INVALIDOPERATION);
    check_layers(me, &one, 1);
    CHECK_EQ(host_enter_runtime(), S_OK);
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_MANAGED);
    CHECK_EQ(host_enter_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_reverse_enter_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_reverse_leave_runtime(), HOST_E_INVALIDOPERATION);
    check_layers(me, NULL, 0);
}

static void begin_unmanaged(void *unused)
{
    static const host_layer_t one = {HOST_LAYER_REVERSE_ENTER, 0, 0};
    (void)unused;
    host_task_t me = this_task();
    CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    check_layers(me, &one, 1);
    CHECK_EQ(host_reverse_enter_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_enter_runtime(), HOST_E_INVALIDOPERATION);
    check_layers(me, &one, 1);
    CHECK_EQ(host_reverse_leave_runtime(), S_OK);
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_UNMANAGED);
    CHECK_EQ(host_reverse_leave_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_leave_runtime(1), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_enter_runtime(), HOST_E_INVALIDOPERATION);
    check_layers(me, NULL, 0);
}

static void the_first_transition_tells_where_a_task_began(void)
{
    in_new_thread(begin_managed);
    in_new_thread(begin_unmanaged);
}

static void refused_transitions_decide_nothing(void *unused)
{
    (void)unused;
    host_task_t me = this_task();
    CHECK_EQ(host_enter_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_reverse_leave_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_UNKNOWN);
    CHECK_EQ(host_reverse_enter_runtime(), S_OK);
}

static void a_refused_first_transition_does_not_tell(void)
{
    in_new_thread(refused_transitions_decide_nothing);
}

static void restart_with_layers(void *unused)
{
    static const host_layer_t one = {HOST_LAYER_LEAVE, 0, 1};
    (void)unused;
    host_task_t me = this_task();
    CHECK_EQ(host_leave_runtime(1), S_OK);
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(host_enter_runtime(), HOST_E_CLRNOTAVAILABLE);
    CHECK_EQ(host_reverse_enter_runtime(), HOST_E_CLRNOTAVAILABLE);
    check_layers(me, &one, 1);
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_UNMANAGED);
    CHECK_EQ(host_runtime_start(), S_OK);
    check_layers(me, NULL, 0);
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_UNKNOWN);
    CHECK_EQ(host_enter_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_reverse_enter_runtime(), S_OK);
    CHECK_EQ(task_info_of(me).depth, 1);
}

static void tasks_begin_without_layers_when_the_runtime_is_started_again(void)
{
    in_new_thread(restart_with_layers);
}

/* ---- room for copies ---- */

static void copy_with_little_room(void *unused)
{
    (void)unused;
    host_task_t me = this_task();
    for (size_t depth = 0; depth < 40; depth++) {
        host_layer_t layers[8];
        size_t count = 77;
        CHECK_EQ(host_task_layers(me, NULL, 0, &count), S_OK);
        CHECK_EQ(count, depth);
        memset(layers, 0x77, sizeof layers);
        CHECK_EQ(host_task_layers(me, layers, 4, &count), S_OK);
        CHECK_EQ(count, depth);
        for (size_t at = 0; at < 8; at++) {
            uint32_t kind = at % 2 == 0 ? HOST_LAYER_LEAVE : HOST_LAYER_REVERSE_ENTER;
            CHECK_EQ(layers[at].kind, at < 4 && at < depth ? kind : 0x77777777);
        }
        CHECK_EQ(make_transition(depth % 2 == 0 ? LEAVE : REVERSE_ENTER, depth), S_OK);
    }
}

static void copies_are_the_outermost_layers_that_fit(void)
{
    in_new_thread(copy_with_little_room);
}

/* ---- deep ---- */

/* The target of a layer tells its depth. */
static int32_t push(size_t depth)
{
    return depth % 2 == 0 ? host_leave_runtime(depth * 8 + 1) : host_reverse_enter_runtime();
}

static int32_t pop(size_t depth)
{
    return depth % 2 == 0 ? host_enter_runtime() : host_reverse_leave_runtime();
}

/* Whether a copied layer is the one that was pushed at this depth. */
static int fits(const host_layer_t *layer, size_t depth)
{
    return depth % 2 == 0 ? layer->kind == HOST_LAYER_LEAVE && layer->target == depth * 8 + 1
                          : layer->kind == HOST_LAYER_REVERSE_ENTER && layer->target == 0;
}

static void check_deep_layers(host_task_t task, host_layer_t *room, size_t depth)
{
    size_t count = 0;
    size_t wrong = 0;
    CHECK_EQ(host_task_layers(task, room, depth, &count), S_OK);
    CHECK_EQ(count, depth);
    for (size_t at = 0; at < depth; at++) {
        wrong += !fits(&room[at], at);
    }
    CHECK_EQ(wrong, 0);
}

static void pop_all(size_t depth)
{
    size_t wrong = 0;
    CHECK_EQ(depth % 2 == 0 ? host_enter_runtime() : host_reverse_leave_runtime(), HOST_E_INVALIDOPERATION);
    for (size_t left = depth; left > 0; left--) {
        wrong += pop(left - 1) != S_OK;
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(host_enter_runtime(), HOST_E_INVALIDOPERATION);
    CHECK_EQ(task_info_of(this_task()).depth, 0);
}

static void go_deep(void *unused)
{
    host_layer_t *room = (host_layer_t *)zeroed(DEEP, sizeof *room);
    (void)unused;
    host_task_t me = this_task();
    for (int round = 0; round < 2; round++) {
        size_t wrong = 0;
        for (size_t depth = 0; depth < DEEP; depth++) {
            wrong += push(depth) != S_OK;
        }
        CHECK_EQ(wrong, 0);
        check_deep_layers(me, room, DEEP);
        pop_all(DEEP);
    }
    free(room);
}

static void a_million_layers(void)
{
    in_new_thread(go_deep);
}

/* At each border between two parts of the stack, go back and forth. */
static void go_back_and_forth(void *unused)
{
    enum { DEPTH = 2000 };
    host_layer_t room[DEPTH];
    (void)unused;
    host_task_t me = this_task();
    for (size_t depth = 0; depth < DEPTH; depth++) {
        CHECK_EQ(push(depth), S_OK);
        CHECK_EQ(pop(depth), S_OK);
        CHECK_EQ(push(depth), S_OK);
        if (depth > 2) {
            CHECK_EQ(pop(depth), S_OK);
            CHECK_EQ(pop(depth - 1), S_OK);
            CHECK_EQ(push(depth - 1), S_OK);
            CHECK_EQ(push(depth), S_OK);
        }
    }
    check_deep_layers(me, room, DEPTH);
    pop_all(DEPTH);
}

static void borders_can_be_crossed_back_and_forth(void)
{
    in_new_thread(go_back_and_forth);
}

/* ---- out of memory ---- */

static size_t pages_of_address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file != NULL);
    REQUIRE_EQ(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages;
}

static void limit_address_space(size_t more)
{
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = pages_of_address_space() * (size_t)sysconf(_SC_PAGESIZE) + more;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

static void push_until_memory_ends(void)
{
    enum { MORE_BYTES = 4 << 20, MOST = 4 << 20 };
    host_layer_t *room = (host_layer_t *)zeroed(MOST, sizeof *room);
    size_t depth = 0;
    int32_t result = S_OK;
    start_runtime();
    host_task_t me = this_task();
    limit_address_space(MORE_BYTES);
    while (depth < MOST && (result = KEEPING_ERRNO(push(depth))) == S_OK) {
        depth++;
    }
    CHECK_EQ(result, E_OUTOFMEMORY);
    /* All of it was used: a layer takes 16 bytes. */
    CHECK(depth > MORE_BYTES / 16 * 9 / 10);
    CHECK_EQ(KEEPING_ERRNO(push(depth)), E_OUTOFMEMORY);
    CHECK_EQ(task_info_of(me).depth, depth);
    check_deep_layers(me, room, depth);
    /* What was released can be allocated again, and no more. */
    for (size_t time = 0; time < 1000; time++) {
        CHECK_EQ(pop(depth - time - 1), S_OK);
    }
    for (size_t time = 1000; time > 0; time--) {
        CHECK_EQ(push(depth - time), S_OK);
    }
    CHECK_EQ(push(depth), E_OUTOFMEMORY);
    check_deep_layers(me, room, depth);
    struct rlimit limit;
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQ(push(depth), S_OK);
    pop_all(depth + 1);
    free(room);
}

static void without_memory_every_earlier_layer_stays(void)
{
    in_child(push_until_memory_ends);
}

enum { LEFT_OPEN = 100000 };

static void push_and_leave_open(void *wrong)
{
    for (size_t depth = 0; depth < LEFT_OPEN; depth++) {
        *(size_t *)wrong += push(depth) != S_OK;
    }
}

typedef struct follower {
    check_steps_t steps;
    size_t wrong;
} follower_t;

static void push_when_told(void *follower)
{
    follower_t *self = (follower_t *)follower;
    check_await(&self->steps, 1);
    push_and_leave_open(&self->wrong);
}

/* The second thread is there before memory is refused, as it needs a stack, and becomes a task after the first has ended. */
static void end_and_let_another_push(void)
{
    check_thread_t first;
    check_thread_t second;
    size_t wrong = 0;
    follower_t follower = {CHECK_STEPS_INIT, 0};
    start_runtime();
    check_start(&second, push_when_told, &follower);
    check_start(&first, push_and_leave_open, &wrong);
    check_join(&first);
    refuse_memory();
    check_reach(&follower.steps, 1);
    check_join(&second);
    allow_memory();
    CHECK_EQ(wrong, 0);
    CHECK_EQ(follower.wrong, 0);
}

static void the_room_of_a_task_that_ended_is_the_next_ones(void)
{
    in_child(end_and_let_another_push);
}

/* ---- seen from outside, while the task runs ---- */

typedef struct runner {
    check_thread_t thread;
    check_steps_t steps;
    host_task_t task;
    int stop;
    size_t deepest;
    size_t shallowest;
} runner_t;

/* Each push has a number of its own, in its target above the depth. */
enum { DEPTH_BITS = 20 };

static int32_t push_numbered(size_t depth, size_t *number)
{
    ++*number;
    return depth % 2 == 0 ? host_leave_runtime(*number << DEPTH_BITS | depth) : host_reverse_enter_runtime();
}

/*
 * How many of the layers do not belong together. At one moment an inner layer has always been pushed after
 * the layers around it, so the numbers rise from the outermost on.
 */
static size_t count_strangers(const host_layer_t *layers, size_t depth)
{
    size_t strangers = 0;
    size_t last = 0;
    for (size_t at = 0; at < depth; at++) {
        uint32_t kind = at % 2 == 0 ? HOST_LAYER_LEAVE : HOST_LAYER_REVERSE_ENTER;
        size_t number = layers[at].target >> DEPTH_BITS;
        strangers += layers[at].kind != kind;
        if (kind == HOST_LAYER_LEAVE) {
            strangers += number <= last || (layers[at].target & (((size_t)1 << DEPTH_BITS) - 1)) != at;
            last = number;
        } else {
            strangers += layers[at].target != 0;
        }
    }
    return strangers;
}

/* Up and down between two depths, as fast as it can. */
static void run_flat_out(void *argument)
{
    runner_t *self = (runner_t *)argument;
    chance_t chance = {self->deepest};
    size_t depth = 0;
    size_t number = 0;
    self->task = this_task();
    while (depth < self->shallowest) {
        CHECK_EQ(push_numbered(depth++, &number), S_OK);
    }
    check_reach(&self->steps, 1);
    while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
        size_t to = self->shallowest + next_random(&chance) % (self->deepest - self->shallowest + 1);
        while (depth < to) {
            REQUIRE_EQ(push_numbered(depth++, &number), S_OK);
        }
        while (depth > to) {
            REQUIRE_EQ(pop(--depth), S_OK);
        }
    }
    pop_all(depth);
}

static void look_on(size_t shallowest, size_t deepest)
{
    enum { LOOKS_MILLISECONDS = 500 };
    host_layer_t *room = (host_layer_t *)zeroed(deepest, sizeof *room);
    static const check_steps_t steps = CHECK_STEPS_INIT;
    runner_t runner;
    size_t looks = 0;
    size_t depths = 0;
    size_t wrong = 0;
    size_t last = 0;
    memset(&runner, 0, sizeof runner);
    start_runtime();
    runner.steps = steps;
    runner.shallowest = shallowest;
    runner.deepest = deepest;
    check_start(&runner.thread, run_flat_out, &runner);
    check_await(&runner.steps, 1);
    int64_t start = nanoseconds_now();
    /* On a busy machine it takes longer until both threads have got somewhere. */
    struct timespec deadline = check_deadline_from_now();
    while (milliseconds_since(start) < LOOKS_MILLISECONDS || looks <= 20 || depths <= 5) {
        REQUIRE(!check_passed(&deadline));
        size_t count = 0;
        REQUIRE_EQ(host_task_layers(runner.task, room, deepest, &count), S_OK);
        REQUIRE(count >= shallowest && count <= deepest);
        wrong += count_strangers(room, count);
        depths += count != last;
        last = count;
        looks++;
    }
    __atomic_store_n(&runner.stop, 1, __ATOMIC_RELAXED);
    check_join(&runner.thread);
    CHECK_EQ(wrong, 0);
    free(room);
}

static void a_reader_sees_layers_of_one_moment(void)
{
    look_on(0, 1);
    look_on(0, 3);
    look_on(5, 9);
    look_on(10, 40);
    look_on(200, 600);
}

CHECK_MAIN(CHECK_TEST(transitions_follow_the_rules),
           CHECK_TEST(the_first_transition_tells_where_a_task_began),
           CHECK_TEST(a_refused_first_transition_does_not_tell),
           CHECK_TEST(tasks_begin_without_layers_when_the_runtime_is_started_again),
           CHECK_TEST(copies_are_the_outermost_layers_that_fit), CHECK_TEST(a_million_layers),
           CHECK_TEST(borders_can_be_crossed_back_and_forth),
           CHECK_TEST(without_memory_every_earlier_layer_stays),
           CHECK_TEST(the_room_of_a_task_that_ended_is_the_next_ones),
           CHECK_TEST(a_reader_sees_layers_of_one_moment))
