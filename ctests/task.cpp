// std::threads are tasks, and thread_local objects may use the library to the very end of their thread.
#include "host.hpp"

#include <set>

static void each_thread_is_a_task_of_its_own()
{
    start_runtime();
    std::set<host_task_t> tasks{this_task()};
    for (int time = 0; time < 100; time++) {
        host_task_t task = 0;
        std::thread([&task] { task = this_task(); }).join();
        CHECK(tasks.insert(task).second);
        CHECK_EQ(host_task_alert(task), E_HANDLE);
    }
}

struct Journal {
    ~Journal()
    {
        if (section != nullptr) {
            result = hostcrst_leave(section->handle);
        }
    }
    Section *section = nullptr;
    static int32_t result;
};

int32_t Journal::result = E_FAIL;
static thread_local Journal journal;

static void a_thread_local_destructor_may_leave()
{
    start_runtime();
    Section section;
    std::thread([&section] {
        journal.section = &section;
        section.lock();
    }).join();
    CHECK_EQ(Journal::result, S_OK);
    CHECK_SECTION(section.handle, HOSTCRST_FREE, 0, 0);
}

static void what_a_thread_forgets_is_abandoned_and_recovered()
{
    start_runtime();
    Section section;
    std::thread([&section] { section.lock(); }).join();
    CHECK_SECTION(section.handle, HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(hostcrst_recover(section.handle), S_OK);
    section.unlock();
}

CHECK_MAIN(CHECK_TEST(each_thread_is_a_task_of_its_own), CHECK_TEST(a_thread_local_destructor_may_leave),
           CHECK_TEST(what_a_thread_forgets_is_abandoned_and_recovered))
