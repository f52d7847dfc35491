/* Critical sections used by one thread, or by two that do not wait; waits are in waiting.c. */
#include "host.h"

static void a_new_section_is_free(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    hostcrst_info_t info = info_of(crst);
    CHECK_NE(crst, 0);
    CHECK_EQ(info.size, sizeof info);
    CHECK_EQ(info.state, HOSTCRST_FREE);
    CHECK_EQ(info.owner, 0);
    CHECK_EQ(info.recursion, 0);
    CHECK_EQ(info.waiters, 0);
    CHECK_EQ(info.spin_count, 0);
    CHECK_EQ(info.reserved, 0);
    CHECK_EQ(info.contended, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void entering_makes_the_caller_the_owner(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    host_task_t me = this_task();
    uint32_t owned = task_info_of(me).owned;
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_SECTION(crst, HOSTCRST_OWNED, me, 1);
    CHECK_EQ(task_info_of(me).owned, owned + 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(task_info_of(me).owned, owned);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void each_entry_needs_its_leave(void)
{
    enum { TIMES = 1000 };
    int32_t entered = 0;
    start_runtime();
    hostcrst_t crst = new_section();
    host_task_t me = this_task();
    for (uint32_t time = 1; time <= TIMES; time++) {
        switch (time % 3) {
        case 0:
            CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
            break;
        case 1:
            CHECK_EQ(hostcrst_enter_timeout(crst, 0, time % 2), S_OK);
            break;
        default:
            CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), S_OK);
            CHECK_EQ(entered, 1);
        }
        CHECK_SECTION(crst, HOSTCRST_OWNED, me, time);
        CHECK_EQ(task_info_of(me).owned, 1);
    }
    for (uint32_t left = TIMES; left > 0; left--) {
        CHECK_SECTION(crst, HOSTCRST_OWNED, me, left);
        CHECK_EQ(hostcrst_leave(crst), S_OK);
    }
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_leave(crst), HOST_E_NOT_OWNER);
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void only_the_owner_leaves(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_leave(crst), HOST_E_NOT_OWNER);
    hold_times(&holder, crst, 3);
    for (int time = 0; time < 10; time++) {
        CHECK_EQ(hostcrst_leave(crst), HOST_E_NOT_OWNER);
        CHECK_EQ(hostcrst_destroy(crst), HOST_E_NOT_OWNER);
        CHECK_SECTION(crst, HOSTCRST_OWNED, holder.task, 3);
    }
    let_go(&holder);
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void leave_as_a_thread_that_is_no_task_yet(void *crst)
{
    CHECK_EQ(hostcrst_leave(*(hostcrst_t *)crst), HOST_E_NOT_OWNER);
}

static void a_thread_that_never_called_owns_nothing(void)
{
    check_thread_t thread;
    start_runtime();
    hostcrst_t crst = new_section();
    check_start(&thread, leave_as_a_thread_that_is_no_task_yet, &crst);
    check_join(&thread);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    check_start(&thread, leave_as_a_thread_that_is_no_task_yet, &crst);
    check_join(&thread);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void trying_never_waits(void)
{
    holder_t holder;
    int32_t entered = 7;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    CHECK_EQ(hostcrst_try_enter(crst, WAIT_ALERTABLE, &entered), S_OK);
    CHECK_EQ(entered, 0);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 0), HOST_E_TIMEOUT);
    CHECK_SECTION(crst, HOSTCRST_OWNED, holder.task, 1);
    CHECK_EQ(info_of(crst).contended, 0);
    let_go(&holder);
    CHECK_EQ(hostcrst_try_enter(crst, 0, &entered), S_OK);
    CHECK_EQ(entered, 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void sections_are_left_in_any_order(void)
{
    hostcrst_t crsts[5];
    const int order[5] = {2, 0, 4, 1, 3};
    start_runtime();
    host_task_t me = this_task();
    for (int at = 0; at < 5; at++) {
        crsts[at] = new_section();
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
    }
    CHECK_EQ(task_info_of(me).owned, 5);
    for (int at = 0; at < 5; at++) {
        CHECK_EQ(hostcrst_leave(crsts[order[at]]), S_OK);
        CHECK_SECTION(crsts[order[at]], HOSTCRST_FREE, 0, 0);
        CHECK_EQ(task_info_of(me).owned, 4 - at);
    }
    for (int at = 0; at < 5; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
}

static void destroying_takes_a_free_or_own_or_abandoned_section(void)
{
    start_runtime();
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), E_HANDLE);
    crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(hostcrst_leave(crst), E_HANDLE);
    CHECK_EQ(task_info_of(this_task()).owned, 0);
    crst = abandoned_section();
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK(!is_live(crst));
}

/* One slot is used again and again: not one of its old handles may come back to life. */
static void a_handle_never_comes_back(void)
{
    enum { TIMES = 20000, KEPT = 64 };
    hostcrst_t kept[KEPT];
    hostcrst_t *all = (hostcrst_t *)zeroed(TIMES, sizeof *all);
    start_runtime();
    for (int time = 0; time < TIMES; time++) {
        hostcrst_t crst = new_section();
        CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
        for (int old = 0; old < KEPT && old < time; old++) {
            CHECK_EQ(hostcrst_leave(kept[old]), E_HANDLE);
            CHECK_EQ(hostcrst_destroy(kept[old]), E_HANDLE);
        }
        CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
        kept[time % KEPT] = crst;
        all[time] = crst;
    }
    hostcrst_t live = new_section();
    for (int time = 0; time < TIMES; time++) {
        CHECK_NE(all[time], live);
        CHECK_EQ(hostcrst_enter(all[time], 0), E_HANDLE);
        CHECK(time == 0 || all[time] != all[time - 1]);
    }
    CHECK_SECTION(live, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_destroy(live), S_OK);
    free(all);
}

static void what_a_slot_remembers_goes_with_the_section(void)
{
    start_runtime();
    hostcrst_t crst = abandoned_section();
    CHECK_EQ(hostcrst_set_spin_count(crst, 5), S_OK);
    CHECK_EQ(hostcrst_set_name(crst, "old"), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    for (int time = 0; time < 100; time++) {
        crst = new_section();
        hostcrst_info_t info = info_of(crst);
        CHECK_EQ(info.spin_count, 0);
        CHECK_EQ(info.contended, 0);
        CHECK_EQ(info.state, HOSTCRST_FREE);
        CHECK_EQ(hostcrst_destroy(crst), S_OK);
    }
}

static void spin_counts_are_told_back(void)
{
    hostcrst_t crst = 0;
    int several_processors = check_processors() > 1;
    start_runtime();
    CHECK_EQ(hostcrst_create_with_spin_count(4000, &crst), S_OK);
    CHECK_EQ(info_of(crst).spin_count, several_processors ? 4000 : 0);
    CHECK_EQ(hostcrst_set_spin_count(crst, UINT32_MAX), S_OK);
    CHECK_EQ(info_of(crst).spin_count, several_processors ? UINT32_MAX : 0);
    CHECK_EQ(hostcrst_set_spin_count(crst, 0), S_OK);
    CHECK_EQ(info_of(crst).spin_count, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void others_may_set_the_spin_count_of_an_owned_section(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    CHECK_EQ(hostcrst_set_spin_count(crst, 9), S_OK);
    CHECK_SECTION(crst, HOSTCRST_OWNED, holder.task, 1);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 1), HOST_E_TIMEOUT);
    let_go(&holder);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static hostcrst_t last_made;
static int all_made;

static void set_spin_counts(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&all_made, __ATOMIC_RELAXED)) {
        int32_t result = hostcrst_set_spin_count(__atomic_load_n(&last_made, __ATOMIC_RELAXED), 4000);
        CHECK(result == S_OK || result == E_HANDLE);
    }
}

static void a_spin_count_is_that_of_the_section_named(void)
{
    enum { ROUNDS = 100000, LOOKS = 20 };
    int failed_before = check_failed_so_far();
    check_thread_t setters[3];
    start_runtime();
    all_made = 0;
    for (int at = 0; at < 3; at++) {
        check_start(&setters[at], set_spin_counts, NULL);
    }
    for (int round = 0; round < ROUNDS && check_failed_so_far() == failed_before; round++) {
        hostcrst_t named = new_section();
        __atomic_store_n(&last_made, named, __ATOMIC_RELAXED);
        CHECK_EQ(hostcrst_destroy(named), S_OK);
        hostcrst_t next = new_section(); /* in the same slot */
        for (int look = 0; look < LOOKS; look++) {
            CHECK_EQ(info_of(next).spin_count, 0);
        }
        CHECK_EQ(hostcrst_destroy(next), S_OK);
    }
    __atomic_store_n(&all_made, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < 3; at++) {
        check_join(&setters[at]);
    }
}

static void an_abandoned_section_is_recovered_once(void)
{
    start_runtime();
    hostcrst_t crst = abandoned_section();
    CHECK_SECTION(crst, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(hostcrst_leave(crst), HOST_E_NOT_OWNER);
    CHECK_EQ(hostcrst_recover(crst), S_OK);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(task_info_of(this_task()).owned, 1);
    CHECK_EQ(hostcrst_recover(crst), HOST_E_INVALIDOPERATION);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_recover(crst), HOST_E_INVALIDOPERATION);
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void recursion_does_not_outlive_its_owner(void)
{
    holder_t holder;
    start_runtime();
    hostcrst_t crst = new_section();
    hold_times(&holder, crst, 5);
    die_holding(&holder);
    CHECK_EQ(hostcrst_recover(crst), S_OK);
    CHECK_SECTION(crst, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_SECTION(crst, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static hostcrst_t wanted;
static check_steps_t start_line = CHECK_STEPS_INIT;
static int recovered;

static void try_to_recover(void *count)
{
    check_arrive(&start_line, *(int *)count);
    int32_t result = hostcrst_recover(wanted);
    if (result == S_OK) {
        __atomic_add_fetch(&recovered, 1, __ATOMIC_RELAXED);
    } else {
        CHECK_EQ(result, HOST_E_INVALIDOPERATION);
    }
    check_arrive(&start_line, *(int *)count);
    if (result == S_OK) {
        CHECK_EQ(hostcrst_leave(wanted), S_OK);
    }
}

static void of_several_that_recover_one_succeeds(void)
{
    enum { THREADS = 8, ROUNDS = 50 };
    int threads_at_once = THREADS;
    start_runtime();
    for (int round = 0; round < ROUNDS; round++) {
        check_thread_t threads[THREADS];
        wanted = abandoned_section();
        recovered = 0;
        for (int at = 0; at < THREADS; at++) {
            check_start(&threads[at], try_to_recover, &threads_at_once);
        }
        for (int at = 0; at < THREADS; at++) {
            check_join(&threads[at]);
        }
        CHECK_EQ(recovered, 1);
        CHECK_SECTION(wanted, HOSTCRST_FREE, 0, 0);
        CHECK_EQ(hostcrst_destroy(wanted), S_OK);
    }
}

static int destroyed_by;

static void try_to_destroy(void *count)
{
    check_arrive(&start_line, *(int *)count);
    int32_t result = hostcrst_destroy(wanted);
    if (result == S_OK) {
        __atomic_add_fetch(&destroyed_by, 1, __ATOMIC_RELAXED);
    } else {
        CHECK_EQ(result, E_HANDLE);
    }
}

static void of_several_that_destroy_one_succeeds(void)
{
    enum { THREADS = 8, ROUNDS = 50 };
    int threads_at_once = THREADS;
    start_runtime();
    for (int round = 0; round < ROUNDS; round++) {
        check_thread_t threads[THREADS];
        wanted = new_section();
        destroyed_by = 0;
        for (int at = 0; at < THREADS; at++) {
            check_start(&threads[at], try_to_destroy, &threads_at_once);
        }
        for (int at = 0; at < THREADS; at++) {
            check_join(&threads[at]);
        }
        CHECK_EQ(destroyed_by, 1);
        CHECK(!is_live(wanted));
    }
}

static void each_section_has_an_address_of_its_own(void)
{
    start_runtime();
    hostcrst_t first = new_section();
    hostcrst_t second = new_section();
    const size_t address = info_of(first).address;
    CHECK(address != 0 && info_of(second).address != 0);
    CHECK(info_of(second).address != address);
    CHECK_EQ(hostcrst_enter(first, 0), S_OK);
    CHECK_EQ(info_of(first).address, address);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    CHECK_EQ(hostcrst_destroy(second), S_OK);
}

CHECK_MAIN(CHECK_TEST(a_new_section_is_free), CHECK_TEST(entering_makes_the_caller_the_owner),
           CHECK_TEST(each_entry_needs_its_leave), CHECK_TEST(only_the_owner_leaves),
           CHECK_TEST(a_thread_that_never_called_owns_nothing), CHECK_TEST(trying_never_waits),
           CHECK_TEST(sections_are_left_in_any_order),
           CHECK_TEST(destroying_takes_a_free_or_own_or_abandoned_section),
           CHECK_TEST(a_handle_never_comes_back), CHECK_TEST(what_a_slot_remembers_goes_with_the_section),
           CHECK_TEST(spin_counts_are_told_back),
           CHECK_TEST(others_may_set_the_spin_count_of_an_owned_section),
           CHECK_TEST(a_spin_count_is_that_of_the_section_named),
           CHECK_TEST(an_abandoned_section_is_recovered_once),
           CHECK_TEST(recursion_does_not_outlive_its_owner), CHECK_TEST(of_several_that_recover_one_succeeds),
           CHECK_TEST(of_several_that_destroy_one_succeeds),
           CHECK_TEST(each_section_has_an_address_of_its_own))
