// The library in a C++ program that forks, and that reads errno.
#include "host.hpp"

static hostcrst_t of_the_parent;

static void go_on_in_the_child()
{
    CHECK_SECTION(of_the_parent, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_leave(of_the_parent), S_OK);
    std::vector<std::thread> threads;
    long count = 0;
    for (int at = 0; at < 4; at++) {
        threads.emplace_back([&count] {
            for (int time = 0; time < 1000; time++) {
                REQUIRE_EQ(hostcrst_enter(of_the_parent, 0), S_OK);
                count++;
                CHECK_EQ(hostcrst_leave(of_the_parent), S_OK);
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    CHECK_EQ(count, 4000);
}

static void a_child_uses_what_its_thread_owned()
{
    start_runtime();
    of_the_parent = new_section();
    REQUIRE_EQ(hostcrst_enter(of_the_parent, 0), S_OK);
    in_child(go_on_in_the_child);
    CHECK_SECTION(of_the_parent, HOSTCRST_OWNED, this_task(), 1);
    CHECK_EQ(hostcrst_destroy(of_the_parent), S_OK);
}

static void a_thread_that_is_new_to_the_library_keeps_errno()
{
    start_runtime();
    Section section;
    std::thread([&section] {
        CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(section.handle, 0)), S_OK);
        CHECK_EQ(KEEPING_ERRNO(hostcrst_leave(section.handle)), S_OK);
    }).join();
}

CHECK_MAIN(CHECK_TEST(a_child_uses_what_its_thread_owned),
           CHECK_TEST(a_thread_that_is_new_to_the_library_keeps_errno))
