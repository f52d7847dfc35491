// An exception that passes through the library: thrown by a deadlock callback, which must not, it is caught around
// the enter, and nothing is left of the wait.
#include "host.hpp"

#include <stdexcept>
#include <thread>

namespace {

hostcrst_t first, second;

void throw_something(const host_deadlock_t *, void *)
{
    throw std::runtime_error("thrown in the callback");
}

void wait_in_the_cycle()
{
    REQUIRE_EQ(hostcrst_enter(second, 0), S_OK);
    CHECK_EQ(hostcrst_enter(first, 0), HOST_E_DEADLOCK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
}

void nothing_is_left_of_a_wait_that_ends_in_an_exception()
{
    REQUIRE(host_runtime_start() >= 0);
    first = new_section();
    second = new_section();
    REQUIRE_EQ(host_set_deadlock_callback(throw_something, nullptr), S_OK);
    REQUIRE_EQ(hostcrst_enter(first, 0), S_OK);
    std::thread other(wait_in_the_cycle);
    REQUIRE_SOON(info_of(first).waiters == 1);
    bool caught = false;
    try {
        CHECK_NE(hostcrst_enter(second, WAIT_NOTINDEADLOCK), S_OK);
    } catch (const std::runtime_error &) {
        caught = true;
    }
    CHECK(caught);
    other.join();
    CHECK_EQ(task_info_of(this_task()).waiting_for, 0);
    CHECK_EQ(task_info_of(this_task()).owned, 1);
    CHECK_EQ(info_of(second).state, HOSTCRST_FREE);
    CHECK_EQ(info_of(second).waiters, 0);
    CHECK_EQ(hostcrst_enter(second, 0), S_OK);
    CHECK_EQ(hostcrst_leave(second), S_OK);
    CHECK_EQ(hostcrst_leave(first), S_OK);
    CHECK_EQ(hostcrst_destroy(first), S_OK);
    CHECK_EQ(hostcrst_destroy(second), S_OK);
}

} // namespace

CHECK_MAIN(CHECK_TEST(nothing_is_left_of_a_wait_that_ends_in_an_exception))
