/*
 * Threads that leave the library otherwise than by a return: from a deadlock callback, from a wait. Afterwards they are
 * in no queue, they still own what they owned or it is abandoned, and other threads are not affected.
 */
#include "host.h"

#include <setjmp.h>
#include <signal.h>

/* ---- out of a callback ---- */

enum way { BY_RETURN, BY_LONGJMP, BY_EXIT, BY_CANCELLATION, WAYS };

static hostcrst_t first, second;
static check_steps_t steps;
static enum way way;
static int told;
static jmp_buf outside;

static void go(const host_deadlock_t *deadlock, void *context)
{
    (void)context;
    CHECK_NE(deadlock->victim, 0);
    told++;
    switch (way) {
    case BY_LONGJMP:
        longjmp(outside, 1);
    case BY_EXIT:
        pthread_exit(NULL);
    case BY_CANCELLATION:
        pthread_cancel(pthread_self());
        pthread_testcancel();
        CHECK(!"cancelled");
        break;
    default:
        break;
    }
}

/* Closes the cycle, in which the other wait is broken. */
static void be_told(void *unused)
{
    (void)unused;
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    check_reach(&steps, 1);
    check_await(&steps, 2);
    if (setjmp(outside) == 0) {
        CHECK_EQ(hostcrst_enter(second, WAIT_NOTINDEADLOCK), S_OK);
        CHECK_EQ(way, BY_RETURN);
        CHECK_EQ(hostcrst_leave(second), S_OK);
    } else {
        CHECK_EQ(way, BY_LONGJMP);
        CHECK_EQ(hostcrst_leave(second), HOST_E_NOT_OWNER);
    }
    CHECK_EQ(task_info_of(this_task()).waiting_for, 0);
    CHECK_EQ(task_info_of(this_task()).owned, 1);
    CHECK_SECTION(first, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(first), S_OK);
}

static void be_refused(void)
{
    CHECK_EQ(hostcrst_enter(first, 0), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
}

/* The section has no owner and no waiters, and a task that reuses the slot of an ended one can wait like any other. */
static void check_whole(hostcrst_t crst)
{
    enum { LATER = 4 };
    waiter_t waiters[LATER];
    REQUIRE_SOON(info_of(crst).state == HOSTCRST_FREE);
    CHECK_EQ(info_of(crst).waiters, 0);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int at = 0; at < LATER; at++) {
        wait_for(&waiters[at], crst, 0);
    }
    CHECK_EQ(info_of(crst).waiters, LATER);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    for (int at = 0; at < LATER; at++) {
        CHECK_EQ(end_of_wait(&waiters[at]), S_OK);
    }
    CHECK_EQ(info_of(crst).waiters, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void wait_in_the_cycle(void *unused)
{
    (void)unused;
    REQUIRE_EQ(hostcrst_enter(second, 0), S_OK);
    be_refused();
}

static void nothing_is_left_of_a_wait_that_its_callback_leaves(void)
{
    start_runtime();
    REQUIRE_EQ(host_set_deadlock_callback(go, NULL), S_OK);
    for (way = BY_RETURN; way < WAYS; way++) {
        static const check_steps_t none = CHECK_STEPS_INIT;
        check_thread_t closer, other;
        first = new_section();
        second = new_section();
        steps = none;
        told = 0;
        check_start(&closer, be_told, NULL);
        check_await(&steps, 1);
        check_start(&other, wait_in_the_cycle, NULL);
        REQUIRE_SOON(info_of(first).waiters == 1);
        check_reach(&steps, 2);
        check_join(&closer);
        check_join(&other);
        CHECK_EQ(told, 1);
        if (way == BY_EXIT || way == BY_CANCELLATION) {
            CHECK_EQ(hostcrst_recover(first), S_OK);
            CHECK_EQ(hostcrst_leave(first), S_OK);
        }
        check_whole(first);
        check_whole(second);
    }
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
}

/* ---- a callback that uses the library ---- */

static hostcrst_t third;
static int depth;

/* Leaves what the other one waits for, waits for a third section, and takes back what it left once the other has had it. */
static void step_aside(const host_deadlock_t *deadlock, void *third_owner)
{
    CHECK_EQ(deadlock->victim, 0);
    CHECK_EQ(deadlock->section, second);
    told++;
    CHECK_EQ(++depth, 1);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    CHECK_EQ(hostcrst_enter_timeout(third, 0, 1), HOST_E_TIMEOUT);
    let_go((holder_t *)third_owner);
    CHECK_EQ(hostcrst_enter(third, 0), S_OK);
    CHECK_EQ(hostcrst_leave(third), S_OK);
    REQUIRE_SOON(info_of(first).waiters == 0);
    CHECK_EQ(hostcrst_enter(first, 0), S_OK);
    depth--;
}

static void wait_for_first(void *unused)
{
    (void)unused;
    REQUIRE_EQ(hostcrst_enter(second, 0), S_OK);
    CHECK_EQ(hostcrst_enter(first, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
}

static void a_callback_may_open_the_cycle_and_wait_for_others(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    check_thread_t other;
    holder_t third_owner;
    start_runtime();
    first = new_section();
    second = new_section();
    third = new_section();
    steps = none;
    told = 0;
    hold(&third_owner, third);
    REQUIRE_EQ(host_set_deadlock_callback(step_aside, &third_owner), S_OK);
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    check_start(&other, wait_for_first, NULL);
    REQUIRE_SOON(info_of(first).waiters == 1);
    CHECK_EQ(hostcrst_enter(second, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(told, 1);
    CHECK_EQ(hostcrst_leave(second), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    check_join(&other);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    check_whole(first);
    check_whole(second);
    check_whole(third);
}

/* The victims that the callback got, in the order of its calls. */
static host_task_t victims[2];

/* Its first call closes another cycle, for which it is called nested. */
static void close_another_cycle(const host_deadlock_t *deadlock, void *context)
{
    CHECK(context == &depth);
    REQUIRE(told < 2);
    victims[told++] = deadlock->victim;
    if (++depth == 1) {
        CHECK_EQ(hostcrst_enter(third, 0), HOST_E_DEADLOCK);
        CHECK_EQ(told, 2);
        CHECK_EQ(hostcrst_leave(first), S_OK);
    }
    depth--;
}

static void wait_for_first_with_third(void *unused)
{
    (void)unused;
    REQUIRE_EQ(hostcrst_enter(third, 0), S_OK);
    CHECK_EQ(hostcrst_enter(first, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    CHECK_EQ(hostcrst_leave(third), S_OK);
}

static void a_cycle_that_is_closed_in_the_callback_is_told_inside_it(void)
{
    check_thread_t others[2];
    start_runtime();
    first = new_section();
    second = new_section();
    third = new_section();
    told = 0;
    REQUIRE_EQ(host_set_deadlock_callback(close_another_cycle, &depth), S_OK);
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    check_start(&others[0], wait_for_first, NULL);
    check_start(&others[1], wait_for_first_with_third, NULL);
    REQUIRE_SOON(info_of(first).waiters == 2);
    CHECK_EQ(hostcrst_enter(second, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(told, 2);
    CHECK_EQ(victims[0], 0);
    CHECK_EQ(victims[1], this_task());
    CHECK_EQ(hostcrst_leave(second), S_OK);
    check_join(&others[0]);
    check_join(&others[1]);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    check_whole(first);
    check_whole(second);
    check_whole(third);
}

/* Two tasks that are told of cycles which were broken close a third one when they wait anew. */
typedef struct teller {
    check_thread_t thread;
    pid_t id;
    host_task_t task;
    int calls;
} teller_t;

static teller_t tellers[2];
static hostcrst_t lure;
static pid_t lured;
static int stands;

/* The first teller waits, and has seen that this closes no cycle. */
static int first_teller_sleeps(void)
{
    return task_info_of(tellers[0].task).waiting_for == first && check_thread_state(getpid(), tellers[0].id) == 'S';
}

/* The first teller's one call waits until the second is told of that, whose one call lasts until the first waits anew. */
static void tell_while_another_does(const host_deadlock_t *deadlock, void *context)
{
    (void)context;
    stands += deadlock->victim == 0;
    host_task_t me = this_task();
    if (me == tellers[0].task && tellers[0].calls++ == 0) {
        check_reach(&steps, 2);
        check_await(&steps, 3);
        CHECK_EQ(hostcrst_enter(first, 0), HOST_E_DEADLOCK);
    } else if (me == tellers[1].task && tellers[1].calls++ == 0) {
        REQUIRE_SOON(task_info_of(tellers[0].task).waiting_for == first && tellers[0].calls == 1);
    }
}

static void own_second_and_wait_for_first(void *unused)
{
    (void)unused;
    tellers[0].id = gettid();
    tellers[0].task = this_task();
    CHECK_EQ(hostcrst_enter(second, 0), S_OK);
    CHECK_EQ(hostcrst_enter(lure, 0), S_OK);
    check_reach(&steps, 1);
    REQUIRE_SOON(info_of(lure).waiters == 1 && check_thread_state(getpid(), lured) == 'S');
    CHECK_EQ(hostcrst_enter(first, WAIT_NOTINDEADLOCK | WAIT_ALERTABLE), HOST_E_INTERRUPTED);
    CHECK_EQ(hostcrst_leave(lure), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
}

static void own_first_and_wait_for_second(void *unused)
{
    (void)unused;
    tellers[1].task = this_task();
    CHECK_EQ(hostcrst_enter(first, 0), S_OK);
    check_reach(&steps, 3);
    REQUIRE_SOON(first_teller_sleeps());
    CHECK_EQ(hostcrst_enter(second, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
}

static void a_cycle_of_waits_that_were_told_of_broken_ones_is_told(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    steps = none;
    stands = 0;
    lured = gettid();
    start_runtime();
    first = new_section();
    second = new_section();
    lure = new_section();
    REQUIRE_EQ(host_set_deadlock_callback(tell_while_another_does, NULL), S_OK);
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    check_start(&tellers[0].thread, own_second_and_wait_for_first, NULL);
    check_await(&steps, 1);
    CHECK_EQ(hostcrst_enter(lure, 0), HOST_E_DEADLOCK);
    /* Awake before the first teller is out of the queue. */
    check_await(&steps, 2);
    check_start(&tellers[1].thread, own_first_and_wait_for_second, NULL);
    REQUIRE_SOON(info_of(first).waiters == 1);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    REQUIRE_SOON(__atomic_load_n(&stands, __ATOMIC_ACQUIRE) == 1);
    CHECK_EQ(host_task_alert(tellers[0].task), S_OK);
    check_join(&tellers[0].thread);
    check_join(&tellers[1].thread);
    CHECK_EQ(stands, 1);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    check_whole(first);
    check_whole(second);
    check_whole(lure);
}

/* Two tasks that are told of a standing cycle each, and whose callbacks swap what they own, close a third one. */
typedef struct swapper {
    check_thread_t thread;
    check_thread_t partner;
    host_task_t task;
    host_task_t partner_task;
    check_steps_t steps;
    hostcrst_t owned;
    hostcrst_t wanted;
    struct swapper *other;
    int calls;
} swapper_t;

static swapper_t swappers[2];
static pthread_barrier_t both;

static void own_what_is_wanted_and_wait(void *context)
{
    swapper_t *swapper = context;
    swapper->partner_task = this_task();
    CHECK_EQ(hostcrst_enter(swapper->wanted, 0), S_OK);
    check_reach(&swapper->steps, 1);
    CHECK_EQ(hostcrst_enter(swapper->owned, WAIT_NOTINDEADLOCK | WAIT_ALERTABLE), HOST_E_INTERRUPTED);
    CHECK_EQ(hostcrst_leave(swapper->wanted), S_OK);
}

static void swap_while_the_other_does(const host_deadlock_t *deadlock, void *context)
{
    (void)context;
    swapper_t *me = this_task() == swappers[0].task ? &swappers[0] : &swappers[1];
    CHECK_EQ(deadlock->victim, 0);
    __atomic_add_fetch(&stands, 1, __ATOMIC_ACQ_REL);
    if (me->calls++ != 0) {
        CHECK_EQ(host_task_alert(me->other->task), S_OK);
        return;
    }
    CHECK_EQ(host_task_alert(me->partner_task), S_OK);
    check_join(&me->partner);
    CHECK_EQ(hostcrst_leave(me->owned), S_OK);
    pthread_barrier_wait(&both);
    CHECK_EQ(hostcrst_enter(me->other->wanted, 0), S_OK);
    pthread_barrier_wait(&both);
}

static void swap_in_the_callback(void *context)
{
    swapper_t *me = context;
    me->task = this_task();
    CHECK_EQ(hostcrst_enter(me->owned, 0), S_OK);
    check_start(&me->partner, own_what_is_wanted_and_wait, me);
    check_await(&me->steps, 1);
    REQUIRE_SOON(info_of(me->owned).waiters == 1);
    int answer = hostcrst_enter(me->wanted, WAIT_NOTINDEADLOCK | WAIT_ALERTABLE);
    CHECK(answer == S_OK || answer == HOST_E_INTERRUPTED);
    CHECK_EQ(hostcrst_leave(me->other->wanted), S_OK);
    if (answer == S_OK) {
        CHECK_EQ(hostcrst_leave(me->wanted), S_OK);
    }
}

static void a_cycle_of_waits_that_were_told_of_others_that_stood_is_told(void)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    start_runtime();
    stands = 0;
    REQUIRE_EQ(pthread_barrier_init(&both, NULL, 2), 0);
    for (int at = 0; at < 2; at++) {
        swapper_t *swapper = &swappers[at];
        swapper->steps = none;
        swapper->owned = new_section();
        swapper->wanted = new_section();
        swapper->other = &swappers[1 - at];
        swapper->calls = 0;
    }
    REQUIRE_EQ(host_set_deadlock_callback(swap_while_the_other_does, NULL), S_OK);
    for (int at = 0; at < 2; at++) {
        check_start(&swappers[at].thread, swap_in_the_callback, &swappers[at]);
    }
    for (int at = 0; at < 2; at++) {
        check_join(&swappers[at].thread);
        check_whole(swappers[at].owned);
    }
    CHECK_EQ(stands, 3);
    CHECK_EQ(host_set_deadlock_callback(NULL, NULL), S_OK);
    for (int at = 0; at < 2; at++) {
        check_whole(swappers[at].wanted);
    }
}

/* ---- out of a wait ---- */

static sigjmp_buf before_the_wait;

static void end_this_thread(int signal)
{
    (void)signal;
    pthread_exit(NULL);
}

static void jump_back(int signal)
{
    (void)signal;
    siglongjmp(before_the_wait, 1);
}

static void on_signal(int signal, void (*act)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = act;
    REQUIRE_EQ(sigaction(signal, &action, NULL), 0);
}

/* Two wait for a section; `leave` makes the first one leave its wait. Then the second one is served. */
static void check_the_next_is_served(hostcrst_t crst, check_thread_t *leaver, host_task_t *task)
{
    waiter_t next;
    REQUIRE_SOON(__atomic_load_n(task, __ATOMIC_ACQUIRE) != 0 && is_waiting(*task, crst));
    wait_for(&next, crst, 0);
    CHECK_EQ(info_of(crst).waiters, 2);
    REQUIRE_EQ(pthread_kill(leaver->id, SIGUSR1), 0);
    check_join(leaver);
    CHECK_EQ(info_of(crst).waiters, 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&next), S_OK);
    check_whole(crst);
}

static hostcrst_t busy;
static host_task_t leaver_task;

static void wait_until_killed(void *unused)
{
    (void)unused;
    __atomic_store_n(&leaver_task, this_task(), __ATOMIC_RELEASE);
    CHECK_NE(hostcrst_enter(busy, 0), S_OK);
}

static void the_end_of_a_thread_ends_its_wait(void)
{
    check_thread_t leaver;
    start_runtime();
    on_signal(SIGUSR1, end_this_thread);
    busy = new_section();
    leaver_task = 0;
    REQUIRE_EQ(hostcrst_enter(busy, 0), S_OK);
    check_start(&leaver, wait_until_killed, NULL);
    check_the_next_is_served(busy, &leaver, &leaver_task);
}

static void jump_out_of_a_wait(void *unused)
{
    hostcrst_t other = new_section();
    (void)unused;
    __atomic_store_n(&leaver_task, this_task(), __ATOMIC_RELEASE);
    if (sigsetjmp(before_the_wait, 1) == 0) {
        CHECK_NE(hostcrst_enter(busy, 0), S_OK);
    }
    /* What need not wait can be entered; as it stands in a queue, it can stand in no other. */
    CHECK_EQ(hostcrst_enter(other, 0), S_OK);
    CHECK_EQ(hostcrst_enter_timeout(busy, 0, 1), HOST_E_INVALIDOPERATION);
    CHECK_EQ(hostcrst_destroy(other), S_OK);
}

static void a_jump_out_of_a_wait_holds_up_nobody_once_the_thread_has_ended(void)
{
    check_thread_t leaver;
    start_runtime();
    on_signal(SIGUSR1, jump_back);
    busy = new_section();
    leaver_task = 0;
    REQUIRE_EQ(hostcrst_enter(busy, 0), S_OK);
    check_start(&leaver, jump_out_of_a_wait, NULL);
    check_the_next_is_served(busy, &leaver, &leaver_task);
}

/* ---- in a wait ---- */

static int32_t from_handler;
static host_resource_t told_by_handler;

/* The first thing that it does needs no waiting. */
static void enter_in_the_handler(int signal)
{
    (void)signal;
    CHECK_EQ(hostcrst_enter(second, 0), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
    CHECK_EQ(host_resource_wait(told_by_handler, 0), HOST_E_INVALIDOPERATION);
    __atomic_store_n(&from_handler, hostcrst_enter(first, 0), __ATOMIC_RELEASE);
}

static void a_handler_that_interrupts_a_wait_cannot_wait(void)
{
    waiter_t waiter;
    start_runtime();
    on_signal(SIGUSR1, enter_in_the_handler);
    busy = new_section();
    first = new_section();
    second = new_section();
    REQUIRE_EQ(host_resource_create(&told_by_handler), S_OK);
    from_handler = S_OK;
    REQUIRE_EQ(hostcrst_enter(busy, 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    wait_for(&waiter, busy, 0);
    REQUIRE_EQ(pthread_kill(waiter.thread.id, SIGUSR1), 0);
    REQUIRE_SOON(__atomic_load_n(&from_handler, __ATOMIC_ACQUIRE) == HOST_E_INVALIDOPERATION);
    CHECK(is_waiting(waiter.task, busy));
    CHECK_EQ(info_of(first).waiters, 0);
    CHECK_EQ(hostcrst_leave(busy), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    CHECK_EQ(host_resource_destroy(told_by_handler), S_OK);
    check_whole(busy);
    check_whole(first);
    check_whole(second);
}

static int is_in_the_handler, may_go_on;

/* It stays until the wait that it interrupts has ended, which its own thread does not know yet. */
static void outlast_the_wait(int signal)
{
    (void)signal;
    __atomic_store_n(&is_in_the_handler, 1, __ATOMIC_SEQ_CST);
    REQUIRE_SOON(__atomic_load_n(&may_go_on, __ATOMIC_SEQ_CST));
    CHECK_EQ(hostcrst_enter(second, 0), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
    CHECK_EQ(host_resource_wait(told_by_handler, 0), HOST_E_INVALIDOPERATION);
    CHECK_EQ(hostcrst_enter(first, 0), HOST_E_INVALIDOPERATION);
}

static int32_t destroy_it(host_task_t waiter)
{
    (void)waiter;
    CHECK_EQ(hostcrst_destroy(busy), S_OK);
    return HOST_E_ABANDONED;
}

static int32_t alert_the_waiter(host_task_t waiter)
{
    CHECK_EQ(host_task_alert(waiter), S_OK);
    return HOST_E_INTERRUPTED;
}

static int32_t stop_the_runtime(host_task_t waiter)
{
    (void)waiter;
    CHECK_EQ(host_runtime_stop(), S_OK);
    start_runtime();
    return HOST_E_CLRNOTAVAILABLE;
}

static void end_a_wait_that_is_interrupted(int32_t (*end)(host_task_t))
{
    waiter_t waiter;
    start_runtime();
    on_signal(SIGUSR1, outlast_the_wait);
    busy = new_section();
    first = new_section();
    second = new_section();
    REQUIRE_EQ(host_resource_create(&told_by_handler), S_OK);
    is_in_the_handler = may_go_on = 0;
    REQUIRE_EQ(hostcrst_enter(busy, 0), S_OK);
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    wait_for(&waiter, busy, WAIT_ALERTABLE);
    REQUIRE_EQ(pthread_kill(waiter.thread.id, SIGUSR1), 0);
    REQUIRE_SOON(__atomic_load_n(&is_in_the_handler, __ATOMIC_SEQ_CST));
    int32_t outcome = end(waiter.task);
    REQUIRE_SOON(!is_waiting(waiter.task, busy));
    __atomic_store_n(&may_go_on, 1, __ATOMIC_SEQ_CST);
    CHECK_EQ(end_of_wait(&waiter), outcome);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    CHECK_EQ(host_resource_destroy(told_by_handler), S_OK);
    if (outcome != HOST_E_ABANDONED) {
        CHECK_EQ(hostcrst_leave(busy), S_OK);
        check_whole(busy);
    }
    check_whole(first);
    check_whole(second);
}

static void nor_does_one_that_outlasts_the_wait(void)
{
    end_a_wait_that_is_interrupted(destroy_it);
    end_a_wait_that_is_interrupted(alert_the_waiter);
    end_a_wait_that_is_interrupted(stop_the_runtime);
}

CHECK_MAIN(CHECK_TEST(nothing_is_left_of_a_wait_that_its_callback_leaves),
           CHECK_TEST(a_callback_may_open_the_cycle_and_wait_for_others),
           CHECK_TEST(a_cycle_that_is_closed_in_the_callback_is_told_inside_it),
           CHECK_TEST(a_cycle_of_waits_that_were_told_of_broken_ones_is_told),
           CHECK_TEST(a_cycle_of_waits_that_were_told_of_others_that_stood_is_told),
           CHECK_TEST(a_handler_that_interrupts_a_wait_cannot_wait),
           CHECK_TEST(nor_does_one_that_outlasts_the_wait),
           CHECK_TEST(the_end_of_a_thread_ends_its_wait),
           CHECK_TEST(a_jump_out_of_a_wait_holds_up_nobody_once_the_thread_has_ended))
