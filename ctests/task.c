/* Tasks: what a thread is to the library, from its first call to its end. */
#include "host.h"

#include <sys/syscall.h>

static uint32_t thread_id(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

static void a_thread_is_one_task_all_its_life(void)
{
    host_task_t first = 0;
    host_task_t again = 0;
    start_runtime();
    CHECK_EQ(KEEPING_ERRNO(host_task_current(&first)), S_OK);
    CHECK_NE(first, 0);
    for (int time = 0; time < 100; time++) {
        CHECK_EQ(KEEPING_ERRNO(host_task_current(&again)), S_OK);
        CHECK_EQ(again, first);
    }
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(host_task_current(&again), S_OK);
    CHECK_EQ(again, first);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(this_task(), first);
}

static void a_new_task_has_done_nothing_body(void *unused)
{
    (void)unused;
    host_task_info_t info = task_info_of(this_task());
    CHECK_EQ(info.size, sizeof info);
    CHECK_EQ(info.mode, HOST_TASK_UNKNOWN);
    CHECK_EQ(info.thread_id, thread_id());
    CHECK_EQ(info.owned, 0);
    CHECK_EQ(info.depth, 0);
    CHECK_EQ(info.waiting_for, 0);
}

static void a_new_task_has_done_nothing(void)
{
    check_thread_t thread;
    start_runtime();
    /* The slot of this one was another's before, which had done much. */
    host_task_t before = ended_task();
    check_start(&thread, a_new_task_has_done_nothing_body, NULL);
    check_join(&thread);
    CHECK_EQ(host_task_alert(before), E_HANDLE);
}

static void info_tells_what_a_task_does(void)
{
    waiter_t waiter;
    start_runtime();
    hostcrst_t crst = new_section();
    host_task_t me = this_task();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(host_leave_runtime(5), S_OK);
    wait_for(&waiter, crst, 0);
    host_task_info_t mine = task_info_of(me);
    host_task_info_t theirs = task_info_of(waiter.task);
    CHECK_EQ(mine.mode, HOST_TASK_UNMANAGED);
    CHECK_EQ(mine.depth, 1);
    CHECK_EQ(mine.owned, 1);
    CHECK_EQ(mine.waiting_for, 0);
    CHECK_EQ(mine.thread_id, thread_id());
    CHECK_EQ(theirs.waiting_for, crst);
    CHECK_EQ(theirs.owned, 0);
    CHECK_NE(theirs.thread_id, mine.thread_id);
    CHECK_EQ(host_enter_runtime(), S_OK);
    CHECK_EQ(task_info_of(me).mode, HOST_TASK_MANAGED);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(end_of_wait(&waiter), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void a_handle_is_stale_when_its_thread_has_ended(void)
{
    size_t count = 7;
    host_task_info_t info;
    start_runtime();
    host_task_t task = ended_task();
    info.size = sizeof info;
    CHECK_EQ(host_task_info(task, &info), E_HANDLE);
    CHECK_EQ(host_task_layers(task, NULL, 0, &count), E_HANDLE);
    CHECK_EQ(host_task_alert(task), E_HANDLE);
    CHECK_EQ(host_task_set_name(task, "ghost"), E_HANDLE);
}

static void say_who_i_am(void *task)
{
    *(host_task_t *)task = this_task();
}

/* Thousands of threads, one after another, mostly in the same slot: every one is a new task. */
static void a_handle_never_comes_back(void)
{
    enum { TIMES = 2000 };
    host_task_t *tasks = (host_task_t *)zeroed(TIMES, sizeof *tasks);
    start_runtime();
    for (int time = 0; time < TIMES; time++) {
        check_thread_t thread;
        check_start(&thread, say_who_i_am, &tasks[time]);
        check_join(&thread);
        CHECK_NE(tasks[time], 0);
        CHECK_EQ(host_task_alert(tasks[time]), E_HANDLE);
        for (int old = time > 50 ? time - 50 : 0; old < time; old++) {
            CHECK_NE(tasks[time], tasks[old]);
        }
    }
    for (int time = 0; time < TIMES; time++) {
        CHECK_EQ(host_task_alert(tasks[time]), E_HANDLE);
    }
    free(tasks);
}

/* An alert for a task that has ended must not reach the next one in its slot. */
static void an_alert_is_for_one_task_only(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    for (int round = 0; round < 20; round++) {
        holder_t holder;
        waiter_t waiter;
        hostcrst_t other = new_section();
        hold(&holder, other);
        CHECK_EQ(host_task_alert(holder.task), S_OK);
        let_go(&holder);
        begin_to_wait(&waiter, crst, WAIT_ALERTABLE, 5);
        CHECK_EQ(end_of_wait(&waiter), HOST_E_TIMEOUT);
        CHECK_EQ(hostcrst_destroy(other), S_OK);
    }
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- the end of a thread ---- */

static void die_with_several(void *crsts)
{
    hostcrst_t *each = (hostcrst_t *)crsts;
    for (int at = 0; at < 5; at++) {
        for (int time = 0; time <= at; time++) {
            REQUIRE_EQ(hostcrst_enter(each[at], 0), S_OK);
        }
    }
    CHECK_EQ(hostcrst_leave(each[0]), S_OK);
    CHECK_EQ(host_leave_runtime(1), S_OK);
    pthread_exit(NULL);
}

static void all_that_a_thread_held_is_abandoned_at_its_end(void)
{
    hostcrst_t crsts[5];
    check_thread_t thread;
    start_runtime();
    for (int at = 0; at < 5; at++) {
        crsts[at] = new_section();
    }
    check_start(&thread, die_with_several, crsts);
    check_join(&thread);
    CHECK_SECTION(crsts[0], HOSTCRST_FREE, 0, 0);
    for (int at = 1; at < 5; at++) {
        CHECK_SECTION(crsts[at], HOSTCRST_ABANDONED, 0, 0);
        CHECK_EQ(hostcrst_recover(crsts[at]), S_OK);
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    CHECK_EQ(hostcrst_destroy(crsts[0]), S_OK);
}

static void cancelled_in_the_kernel(void *crst)
{
    REQUIRE_EQ(hostcrst_enter(*(hostcrst_t *)crst, 0), S_OK);
    for (;;) {
        pause();
    }
}

static void a_cancelled_thread_abandons_what_it_held(void)
{
    check_thread_t thread;
    start_runtime();
    hostcrst_t crst = new_section();
    check_start(&thread, cancelled_in_the_kernel, &crst);
    REQUIRE_SOON(info_of(crst).state == HOSTCRST_OWNED);
    REQUIRE_EQ(pthread_cancel(thread.id), 0);
    check_join(&thread);
    CHECK_SECTION(crst, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* A program's own destructor of thread-specific data, which still leaves a section, in the second round, too.
 */
static pthread_key_t late_key;
static hostcrst_t late_crst;
static int late_rounds;
static int32_t late_result;

static void leave_late(void *round)
{
    uintptr_t now = (uintptr_t)round;
    if ((int)now < late_rounds) {
        pthread_setspecific(late_key, (void *)(now + 1));
    } else {
        late_result = hostcrst_leave(late_crst);
    }
}

static void enter_and_end(void *unused)
{
    (void)unused;
    REQUIRE_EQ(pthread_setspecific(late_key, (void *)1), 0);
    REQUIRE_EQ(hostcrst_enter(late_crst, 0), S_OK);
}

static void a_late_destructor_may_still_leave(void)
{
    start_runtime();
    REQUIRE_EQ(pthread_key_create(&late_key, leave_late), 0);
    for (late_rounds = 1; late_rounds < 3; late_rounds++) {
        check_thread_t thread;
        late_crst = new_section();
        late_result = E_FAIL;
        check_start(&thread, enter_and_end, NULL);
        check_join(&thread);
        CHECK_EQ(late_result, S_OK);
        CHECK_SECTION(late_crst, HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_destroy(late_crst), S_OK);
    }
    REQUIRE_EQ(pthread_key_delete(late_key), 0);
}

/* Destructors that first call the library when the thread is ending still make a task that ends. */
static host_task_t born_late;

static void be_born_late(void *unused)
{
    (void)unused;
    born_late = this_task();
}

static void end_without_a_call(void *unused)
{
    (void)unused;
    REQUIRE_EQ(pthread_setspecific(late_key, &late_key), 0);
}

static void a_task_born_in_a_destructor_ends_too(void)
{
    check_thread_t thread;
    start_runtime();
    REQUIRE_EQ(pthread_key_create(&late_key, be_born_late), 0);
    check_start(&thread, end_without_a_call, NULL);
    check_join(&thread);
    CHECK_EQ(host_task_alert(born_late), E_HANDLE);
    REQUIRE_EQ(pthread_key_delete(late_key), 0);
}

/* ---- several at once ---- */

enum { CROWD = 64 };

static check_steps_t crowd_steps = CHECK_STEPS_INIT;
static host_task_t crowd[CROWD];

static void join_the_crowd(void *index)
{
    crowd[*(int *)index] = this_task();
    check_arrive(&crowd_steps, CROWD + 1);
    check_arrive(&crowd_steps, CROWD + 1);
}

static void tasks_that_live_together_differ(void)
{
    check_thread_t threads[CROWD];
    int indexes[CROWD];
    start_runtime();
    for (int at = 0; at < CROWD; at++) {
        indexes[at] = at;
        check_start(&threads[at], join_the_crowd, &indexes[at]);
    }
    check_arrive(&crowd_steps, CROWD + 1);
    for (int at = 0; at < CROWD; at++) {
        CHECK_NE(crowd[at], this_task());
        for (int other = 0; other < at; other++) {
            CHECK_NE(crowd[at], crowd[other]);
            CHECK_NE(task_info_of(crowd[at]).thread_id, task_info_of(crowd[other]).thread_id);
        }
    }
    check_arrive(&crowd_steps, CROWD + 1);
    for (int at = 0; at < CROWD; at++) {
        check_join(&threads[at]);
        CHECK_EQ(host_task_alert(crowd[at]), E_HANDLE);
    }
}

CHECK_MAIN(CHECK_TEST(a_thread_is_one_task_all_its_life), CHECK_TEST(a_new_task_has_done_nothing),
           CHECK_TEST(info_tells_what_a_task_does), CHECK_TEST(a_handle_is_stale_when_its_thread_has_ended),
           CHECK_TEST(a_handle_never_comes_back), CHECK_TEST(an_alert_is_for_one_task_only),
           CHECK_TEST(all_that_a_thread_held_is_abandoned_at_its_end),
           CHECK_TEST(a_cancelled_thread_abandons_what_it_held),
           CHECK_TEST(a_late_destructor_may_still_leave), CHECK_TEST(a_task_born_in_a_destructor_ends_too),
           CHECK_TEST(tasks_that_live_together_differ))
