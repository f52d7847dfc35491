/*
 * <hostcrst/win32.h> as C++ code for Windows uses it: guards, members, function objects, the standard
 * library's threads.
 */
#include "check.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <hostcrst/win32.h>

namespace {

class CriticalSection {
public:
    CriticalSection() { ::InitializeCriticalSection(&section_); }
    ~CriticalSection() { ::DeleteCriticalSection(&section_); }
    CriticalSection(const CriticalSection &) = delete;
    CriticalSection &operator=(const CriticalSection &) = delete;

    /* Members may have the names of the functions. */
    void EnterCriticalSection() { ::EnterCriticalSection(&section_); }
    void LeaveCriticalSection() { ::LeaveCriticalSection(&section_); }

    void lock() { EnterCriticalSection(); }
    bool try_lock() { return ::TryEnterCriticalSection(&section_) != FALSE; }
    void unlock() { LeaveCriticalSection(); }
    CRITICAL_SECTION *get() { return &section_; }

private:
    CRITICAL_SECTION section_;
};

class Guard {
public:
    explicit Guard(CriticalSection &section) : section_(section) { section_.lock(); }
    ~Guard() { section_.unlock(); }
    Guard(const Guard &) = delete;
    Guard &operator=(const Guard &) = delete;

private:
    CriticalSection &section_;
};

void join_all(std::vector<std::thread> &threads)
{
    for (std::thread &thread : threads) {
        thread.join();
    }
}

void guards_exclude()
{
    CriticalSection section;
    long count = 0;
    std::vector<std::thread> threads;
    for (int at = 0; at < 4; at++) {
        threads.emplace_back([&] {
            for (int loop = 0; loop < 20000; loop++) {
                Guard outer(section);
                Guard inner(section);
                count++;
            }
        });
    }
    join_all(threads);
    CHECK_EQ(count, 4 * 20000);
    CHECK_EQ(section.get()->LockCount, -1);
}

void a_guard_leaves_when_an_exception_passes()
{
    CriticalSection section;
    try {
        Guard guard(section);
        throw std::string("out");
    } catch (const std::string &) {
    }
    std::thread([&] {
        CHECK(section.try_lock());
        section.unlock();
    }).join();
}

CRITICAL_SECTION global = {};
CONDITION_VARIABLE changed = CONDITION_VARIABLE_INIT;

struct UsesGlobalBeforeMain {
    UsesGlobalBeforeMain()
    {
        EnterCriticalSection(&global);
        LeaveCriticalSection(&global);
    }
} uses_global_before_main;

void static_sections_work_before_main()
{
    CHECK(TryEnterCriticalSection(&global));
    CHECK_EQ(global.RecursionCount, 1);
    LeaveCriticalSection(&global);
}

void functions_can_be_passed_around()
{
    std::function<VOID(LPCRITICAL_SECTION)> enter = EnterCriticalSection;
    VOID (WINAPI *leave)(LPCRITICAL_SECTION) = &LeaveCriticalSection;
    std::unique_ptr<CRITICAL_SECTION, VOID (*)(LPCRITICAL_SECTION)> owned(new CRITICAL_SECTION(),
                                                                         [](LPCRITICAL_SECTION section) {
                                                                             DeleteCriticalSection(section);
                                                                             delete section;
                                                                         });
    CHECK(InitializeCriticalSectionEx(owned.get(), 4000, CRITICAL_SECTION_NO_DEBUG_INFO));
    enter(owned.get());
    CHECK_EQ(owned->RecursionCount, 1);
    leave(owned.get());
    CHECK_EQ(owned->RecursionCount, 0);
}

void a_condition_variable_passes_turns()
{
    int turn = 0;
    std::vector<std::thread> threads;
    for (int me = 0; me < 3; me++) {
        threads.emplace_back([&turn, me] {
            EnterCriticalSection(&global);
            for (int round = 0; round < 500; round++) {
                while (turn % 3 != me) {
                    CHECK(SleepConditionVariableCS(&changed, &global, INFINITE));
                }
                turn++;
                WakeAllConditionVariable(&changed);
            }
            LeaveCriticalSection(&global);
        });
    }
    join_all(threads);
    CHECK_EQ(turn, 3 * 500);
}

} // namespace

CHECK_MAIN(CHECK_TEST(guards_exclude), CHECK_TEST(a_guard_leaves_when_an_exception_passes),
           CHECK_TEST(static_sections_work_before_main), CHECK_TEST(functions_can_be_passed_around),
           CHECK_TEST(a_condition_variable_passes_turns))
