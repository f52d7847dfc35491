// hostcrst.hpp: what a C++ program does with it. Also compiled by header/hpp.sh as every standard.
#include "host.h"

#include <hostcrst.hpp>

#include <atomic>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

#include <sys/resource.h>

namespace {

using hostcrst::critical_section;

void why_the_runtime_does_not_start_is_told()
{
    rlimit before = {};
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &before), 0);
    rlimit none = before;
    none.rlim_cur = 1;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &none), 0);
    int32_t result = S_OK;
    critical_section refused(nullptr, result);
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &before), 0);
    CHECK_EQ(result, E_OUTOFMEMORY);
}

void a_section_starts_the_runtime_and_has_a_name()
{
    critical_section orders("orders");
    CHECK_STR_EQ(orders.name().c_str(), "orders");
    CHECK_EQ(orders.set_name("other"), S_OK);
    CHECK_STR_EQ(orders.name().c_str(), "other");
    CHECK_STR_EQ(critical_section().name().c_str(), "");
}

void the_locks_of_the_standard_take_it()
{
    critical_section first;
    critical_section second;
    {
        std::lock_guard<critical_section> once(first);
        std::unique_lock<critical_section> again(first);
        CHECK_EQ(first.info().recursion, 2);
        again.unlock();
        CHECK_EQ(first.info().recursion, 1);
    }
    CHECK_EQ(first.info().state, HOSTCRST_FREE);
    std::lock(first, second);
    CHECK_EQ(second.info().recursion, 1);
    first.unlock();
    second.unlock();
#if __cplusplus >= 201703L
    {
        std::scoped_lock both(first, second);
        CHECK_EQ(first.info().recursion, 1);
    }
#endif
    CHECK_EQ(first.info().state, HOSTCRST_FREE);
    CHECK(second.try_lock());
    second.unlock();
}

void until_entered(critical_section &section, bool entered)
{
    CHECK(entered);
    if (entered) {
        section.unlock();
    }
}

void a_time_limit_ends_a_try()
{
    critical_section section;
    hostcrst::guard owned(section);
    std::thread([&] {
        CHECK(!section.try_lock());
        CHECK(!section.try_lock_for(std::chrono::microseconds(1)));
        CHECK(!section.try_lock_for(std::chrono::seconds(-1)));
        CHECK(!section.try_lock_until(std::chrono::steady_clock::now()));
        CHECK(!section.try_lock_until(std::chrono::system_clock::now() + std::chrono::milliseconds(1)));
    }).join();
    CHECK(section.try_lock_for(std::chrono::hours(24 * 365)));
    section.unlock();
}

// Where the numbers end: what has passed ends at once, and the most waits until the owner leaves.
void the_least_and_the_greatest_times_are_limits_too()
{
    using std::chrono::steady_clock;
    using std::chrono::system_clock;
    using seconds = std::chrono::duration<double>;
    using hours = std::chrono::time_point<steady_clock, std::chrono::hours>;
    const double infinite = std::numeric_limits<double>::infinity();
    critical_section section;
    section.lock();
    std::thread([&] {
        CHECK(!section.try_lock_until(steady_clock::time_point::min()));
        CHECK(!section.try_lock_until(system_clock::time_point::min()));
        CHECK(!section.try_lock_until(hours::min()));
        CHECK(!section.try_lock_until(std::chrono::time_point<steady_clock, seconds>(seconds(-infinite))));
        CHECK(!section.try_lock_for(steady_clock::duration::min()));
        CHECK(!section.try_lock_for(std::chrono::hours::min()));
        CHECK(!section.try_lock_for(seconds(-infinite)));
        CHECK(!section.try_lock_for(seconds(std::numeric_limits<double>::quiet_NaN())));
    }).join();
    std::thread waiters[] = {
        std::thread([&] { until_entered(section, section.try_lock_until(steady_clock::time_point::max())); }),
        std::thread([&] { until_entered(section, section.try_lock_until(hours::max())); }),
        std::thread([&] { until_entered(section, section.try_lock_for(steady_clock::duration::max())); }),
        std::thread([&] { until_entered(section, section.try_lock_for(seconds(infinite))); }),
        std::thread([&] { until_entered(section, section.try_lock_for(std::chrono::hours::max())); }),
    };
    while (section.info().waiters < 5) {
        std::this_thread::yield();
    }
    section.unlock();
    for (std::thread &waiter : waiters) {
        waiter.join();
    }
}

void a_condition_variable_waits_with_it()
{
    critical_section section;
    std::condition_variable_any changed;
    bool is_ready = false;
    std::thread other([&] {
        std::lock_guard<critical_section> lock(section);
        is_ready = true;
        changed.notify_one();
    });
    {
        std::unique_lock<critical_section> lock(section);
        changed.wait(lock, [&] { return is_ready; });
        CHECK_EQ(section.info().recursion, 1);
    }
    other.join();
}

void a_code_is_of_a_category_with_sentences()
{
    const std::error_code deadlock = hostcrst::error_code_of(HOST_E_DEADLOCK);
    CHECK(deadlock == std::errc::resource_deadlock_would_occur);
    CHECK(deadlock != std::errc::timed_out);
    CHECK(hostcrst::error_code_of(HOST_E_TIMEOUT) == std::errc::timed_out);
    CHECK(hostcrst::error_code_of(HOST_E_ABANDONED) == std::errc::owner_dead);
    CHECK(hostcrst::error_code_of(E_OUTOFMEMORY) == std::errc::not_enough_memory);
    CHECK(!hostcrst::error_code_of(S_FALSE));
    CHECK_STR_EQ(deadlock.message().c_str(), host_result_message(HOST_E_DEADLOCK));
    CHECK_STR_EQ(deadlock.category().name(), "hostcrst");
    CHECK_EQ(deadlock.value(), HOST_E_DEADLOCK);
}

void the_twins_return_codes()
{
    int32_t result = 7;
    critical_section section(nullptr, result);
    CHECK_EQ(result, S_OK);
    bool entered = false;
    CHECK_EQ(section.enter(), S_OK);
    CHECK_EQ(section.try_enter(entered), S_OK);
    CHECK(entered);
    CHECK_EQ(section.enter_for(std::chrono::seconds(1), WAIT_ALERTABLE), S_OK);
    CHECK_EQ(section.enter(1u << 31), E_INVALIDARG);
    for (int time = 0; time < 3; time++) {
        CHECK_EQ(section.leave(), S_OK);
    }
    CHECK_EQ(section.leave(), HOST_E_NOT_OWNER);
    section.unlock();
    CHECK_EQ(section.recover(), HOST_E_INVALIDOPERATION);
    static_assert(noexcept(section.enter()) && noexcept(section.leave()) && noexcept(section.unlock()), "");
}

void scopes_are_layers()
{
    host_task_info_t info;
    info.size = sizeof info;
    {
        hostcrst::native_call call(&std::abort);
        hostcrst::managed_call back;
        REQUIRE_EQ(host_task_info(this_task(), &info), S_OK);
        CHECK_EQ(info.depth, 2);
        int32_t result = 0;
        hostcrst::managed_call twice(result);
        CHECK_EQ(result, HOST_E_INVALIDOPERATION);
    }
    REQUIRE_EQ(host_task_info(this_task(), &info), S_OK);
    CHECK_EQ(info.depth, 0);
}

int takes_one(int number) noexcept { return number; }

int takes_more(const char *, ...) noexcept { return 0; }

// Those that take more arguments than they declare, and those that are noexcept, which are types of their own from C++17 on.
void any_function_can_be_called()
{
    host_layer_t layer;
    size_t count = 0;
    const auto expect_target = [&](size_t target) {
        REQUIRE_EQ(host_task_layers(this_task(), &layer, 1, &count), S_OK);
        CHECK_EQ(count, 1);
        CHECK_EQ(layer.target, target);
    };
    {
        hostcrst::native_call call(&std::printf);
        expect_target(reinterpret_cast<size_t>(&std::printf));
    }
    {
        hostcrst::native_call call(std::printf);
        expect_target(reinterpret_cast<size_t>(&std::printf));
    }
    {
        hostcrst::native_call call(takes_more);
        expect_target(reinterpret_cast<size_t>(&takes_more));
    }
    {
        hostcrst::native_call call(&takes_one);
        expect_target(reinterpret_cast<size_t>(&takes_one));
    }
    {
        int32_t result = -1;
        hostcrst::native_call call(&takes_one, result);
        CHECK_EQ(result, S_OK);
        expect_target(reinterpret_cast<size_t>(&takes_one));
    }
    static_assert(std::is_nothrow_constructible<hostcrst::native_call, void (*)(), int32_t &>::value, "it tells by its result");
    static_assert(!std::is_constructible<hostcrst::native_call, int *, int32_t &>::value, "what points to data is no function");
    static_assert(!std::is_constructible<hostcrst::native_call, int *>::value, "what points to data is no function");
    static_assert(!std::is_convertible<void (*)(), hostcrst::native_call>::value, "a call is never made by chance");
}

void a_report_is_a_string()
{
    critical_section reported("in the report");
    hostcrst::guard owned(reported);
    CHECK(hostcrst::report().find("\"in the report\"") != std::string::npos);
    CHECK(hostcrst::report(HOST_REPORT_JSON).front() == '{');
}


int code_of_a_failure(void (*fails)())
{
    try {
        fails();
    } catch (const std::system_error &error) {
        CHECK(error.code().category() == hostcrst::category());
        return error.code().value();
    }
    return S_OK;
}

// On what is no section: those that are refused while the runtime is stopped, and those that are not.
void every_call_fails(critical_section &none, int32_t refused)
{
    bool entered = true;
    CHECK_EQ(none.enter(), refused);
    CHECK_EQ(none.enter_for(std::chrono::seconds(0)), refused);
    CHECK_EQ(none.try_enter(entered), refused);
    CHECK(!entered);
    CHECK_EQ(none.recover(), refused);
    CHECK_EQ(none.leave(), E_HANDLE);
    CHECK_EQ(none.set_name("none"), E_HANDLE);
    CHECK_EQ(none.set_spin_count(1), E_HANDLE);
    const auto code_of = [&](void (*fails)(critical_section &)) {
        try {
            fails(none);
        } catch (const std::system_error &error) {
            return error.code().value();
        }
        return S_OK;
    };
    CHECK_EQ(code_of([](critical_section &section) { section.lock(); }), refused);
    CHECK_EQ(code_of([](critical_section &section) { (void)section.try_lock(); }), refused);
    CHECK_EQ(code_of([](critical_section &section) { (void)section.try_lock_for(std::chrono::seconds(0)); }), refused);
    CHECK_EQ(code_of([](critical_section &section) { (void)section.name(); }), E_HANDLE);
    CHECK_EQ(code_of([](critical_section &section) { (void)section.info(); }), E_HANDLE);
    none.unlock();
}

void failures_are_system_errors()
{
    CHECK_EQ(code_of_a_failure([] { (void)hostcrst::report(77); }), E_INVALIDARG);
    REQUIRE_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(code_of_a_failure([] { critical_section section; }), HOST_E_CLRNOTAVAILABLE);
    int32_t result = 0;
    critical_section none(nullptr, result);
    CHECK_EQ(result, HOST_E_CLRNOTAVAILABLE);
    every_call_fails(none, HOST_E_CLRNOTAVAILABLE);
    REQUIRE_EQ(host_runtime_start(), S_OK);
    every_call_fails(none, E_HANDLE);
}

// Two threads enter two sections crosswise: one is refused, leaves its own, and both come to their end.
void a_deadlock_is_refused_and_both_go_on()
{
    critical_section sections[2];
    check_steps_t steps = CHECK_STEPS_INIT;
    std::atomic<int> refused{0};
    std::atomic<int> entered{0};
    const auto act = [&](critical_section &first, critical_section &second) {
        for (;;) {
            try {
                std::lock_guard<critical_section> one(first);
                if (refused == 0) {
                    check_arrive(&steps, 2);
                }
                std::lock_guard<critical_section> other(second);
                entered++;
                return;
            } catch (const std::system_error &error) {
                CHECK(error.code() == std::errc::resource_deadlock_would_occur);
                refused++;
                REQUIRE_EQ(refused.load(), 1);
                REQUIRE_SOON(entered == 1);
            }
        }
    };
    std::thread other(act, std::ref(sections[1]), std::ref(sections[0]));
    act(sections[0], sections[1]);
    other.join();
    CHECK_EQ(refused.load(), 1);
    CHECK_EQ(entered.load(), 2);
}

} // namespace

CHECK_MAIN(CHECK_TEST(why_the_runtime_does_not_start_is_told),
           CHECK_TEST(a_section_starts_the_runtime_and_has_a_name), CHECK_TEST(the_locks_of_the_standard_take_it),
           CHECK_TEST(a_time_limit_ends_a_try),
           CHECK_TEST(the_least_and_the_greatest_times_are_limits_too), CHECK_TEST(a_condition_variable_waits_with_it),
           CHECK_TEST(a_code_is_of_a_category_with_sentences), CHECK_TEST(the_twins_return_codes),
           CHECK_TEST(failures_are_system_errors), CHECK_TEST(a_deadlock_is_refused_and_both_go_on),
           CHECK_TEST(scopes_are_layers), CHECK_TEST(any_function_can_be_called),
           CHECK_TEST(a_report_is_a_string))
