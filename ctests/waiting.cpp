// Waits between std::threads: handed over, timed out, alerted, cut short by the section's end.
#include "host.hpp"

#include <mutex>

// Waits for the section; the task is known before the wait begins.
struct Waiting {
    Waiting(hostcrst_t crst, uint32_t option) : task(0), result(E_FAIL)
    {
        thread = std::thread([this, crst, option] {
            task = this_task();
            result = hostcrst_enter(crst, option);
            if (result == S_OK) {
                CHECK_EQ(hostcrst_leave(crst), S_OK);
            }
        });
        REQUIRE_SOON(task != 0 && is_waiting(task, crst));
    }

    int32_t end()
    {
        thread.join();
        return result;
    }

    std::atomic<host_task_t> task;
    int32_t result;
    std::thread thread;
};

static void every_waiter_is_let_in()
{
    start_runtime();
    Section section;
    section.lock();
    Waiting first(section.handle, 0), second(section.handle, WAIT_ALERTABLE), third(section.handle, 0);
    CHECK_EQ(info_of(section.handle).waiters, 3);
    section.unlock();
    CHECK_EQ(first.end(), S_OK);
    CHECK_EQ(second.end(), S_OK);
    CHECK_EQ(third.end(), S_OK);
}

static void alerts_and_destruction_end_waits()
{
    start_runtime();
    hostcrst_t crst = new_section();
    REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
    Waiting alerted(crst, WAIT_ALERTABLE), deaf(crst, 0);
    CHECK_EQ(host_task_alert(alerted.task), S_OK);
    CHECK_EQ(host_task_alert(deaf.task), S_OK);
    CHECK_EQ(alerted.end(), HOST_E_INTERRUPTED);
    CHECK(is_waiting(deaf.task, crst));
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(deaf.end(), HOST_E_ABANDONED);
}

static void a_counter_stays_right_under_many_threads()
{
    start_runtime();
    Section section;
    long count = 0;
    std::vector<std::thread> threads;
    for (int at = 0; at < 8; at++) {
        threads.emplace_back([&] {
            for (int time = 0; time < 20000; time++) {
                std::lock_guard<Section> guard(section);
                count++;
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    CHECK_EQ(count, 160000);
    CHECK_EQ(info_of(section.handle).waiters, 0);
}

CHECK_MAIN(CHECK_TEST(every_waiter_is_let_in), CHECK_TEST(alerts_and_destruction_end_waits),
           CHECK_TEST(a_counter_stays_right_under_many_threads))
