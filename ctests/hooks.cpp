// The policy for the addresses of C++ functions, set by several threads at once.
#include "host.hpp"

static bool needs_hook(size_t target)
{
    int32_t needs = 77;
    CHECK_EQ(host_call_needs_host_hook(target, &needs), S_OK);
    return needs != 0;
}

static void each_thread_finds_what_it_set()
{
    start_runtime();
    std::vector<std::thread> threads;
    for (size_t thread = 0; thread < 4; thread++) {
        threads.emplace_back([thread] {
            for (size_t at = 0; at < 5000; at++) {
                size_t target = (thread + 1) << 32 | at;
                CHECK_EQ(host_set_call_hook(target, at % 2 == 0), S_OK);
                CHECK_EQ(needs_hook(target), at % 2 == 0);
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    for (size_t thread = 0; thread < 4; thread++) {
        for (size_t at = 0; at < 5000; at++) {
            CHECK_EQ(needs_hook((thread + 1) << 32 | at), at % 2 == 0);
        }
    }
}

static void a_function_of_the_program_is_a_target()
{
    start_runtime();
    auto target = reinterpret_cast<size_t>(&each_thread_finds_what_it_set);
    CHECK(needs_hook(target));
    CHECK_EQ(host_set_call_hook(target, 0), S_OK);
    CHECK(!needs_hook(target));
}

CHECK_MAIN(CHECK_TEST(each_thread_finds_what_it_set), CHECK_TEST(a_function_of_the_program_is_a_target))
