// The runtime as a scope of a program: what waits when it ends is woken, what is owned can be left.
#include "host.hpp"

class Runtime {
public:
    Runtime() { REQUIRE_EQ(host_runtime_start(), S_OK); }
    ~Runtime() { CHECK_EQ(host_runtime_stop(), S_OK); }
    Runtime(const Runtime &) = delete;
    Runtime &operator=(const Runtime &) = delete;
};

static uint32_t state()
{
    uint32_t now = 77;
    CHECK_EQ(host_runtime_state(&now), S_OK);
    return now;
}

static void a_scope_may_come_again_and_again()
{
    CHECK_EQ(state(), static_cast<uint32_t>(HOST_RUNTIME_NOT_LOADED));
    for (int time = 0; time < 10; time++) {
        {
            Runtime runtime;
            CHECK_EQ(state(), static_cast<uint32_t>(HOST_RUNTIME_RUNNING));
            Section section;
            section.lock();
            section.unlock();
        }
        CHECK_EQ(state(), static_cast<uint32_t>(HOST_RUNTIME_STOPPED));
    }
}

static void its_end_wakes_every_waiter()
{
    std::vector<std::thread> threads;
    std::atomic<int> woken(0);
    hostcrst_t crst;
    {
        Runtime runtime;
        crst = new_section();
        REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
        for (int at = 0; at < 4; at++) {
            threads.emplace_back([&] { woken += hostcrst_enter(crst, 0) == HOST_E_CLRNOTAVAILABLE; });
        }
        REQUIRE_SOON(info_of(crst).waiters == 4);
    }
    for (auto &thread : threads) {
        thread.join();
    }
    CHECK_EQ(woken, 4);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

CHECK_MAIN(CHECK_TEST(a_scope_may_come_again_and_again), CHECK_TEST(its_end_wakes_every_waiter))
