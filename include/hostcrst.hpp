/*
 * hostcrst for C++11 and later, in this header alone: critical sections that the standard's locks take, errors as
 * std::system_error, and transitions for the time of a scope. hostcrst.h says what each call does.
 *
 *     hostcrst::critical_section orders("orders"), stock("stock");
 *     try {
 *         std::lock_guard<hostcrst::critical_section> one(orders), other(stock);
 *     } catch (const std::system_error &error) {
 *         if (error.code() == std::errc::resource_deadlock_would_occur) { ... }    // the victim of a deadlock
 *     }
 *
 * Errors. What throws has a twin that is noexcept and returns the HRESULT, or takes an int32_t for it. That of a guard is
 * enter and leave; those of name, info and report are the functions of hostcrst.h, with native_handle(). Without
 * exceptions (-fno-exceptions) what would throw writes its sentence to stderr and aborts: use the twins there.
 *
 * A section is destroyed at its object's end. One that is global is therefore no more while a thread that outlives main
 * still enters it: that lock throws, and so ends the program by std::terminate. Join such threads before main returns, or
 * let the section live on: static auto &orders = *new hostcrst::critical_section("orders").
 *
 * std::condition_variable_any locks anew when its wait is over. If that closes a circle of waits, it throws out of wait as
 * any other lock, or as the standard has it calls std::terminate: with libstdc++ it throws, and the unique_lock does not
 * own the section then (owns_lock() is false). A thread that owns nothing else while it waits cannot be refused.
 *
 * A deadlock callback that throws, or whose thread is cancelled in it, ends the program, as these functions are noexcept.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef HOSTCRST_HPP
#define HOSTCRST_HPP

#include "hostcrst.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <type_traits>

/* For clang's -Wthread-safety. A section may be entered again by its owner, which clang knows of from version 21 on. */
#if defined(__clang__) && defined(__has_attribute)
#define HOSTCRST_CLANG_(attribute) __attribute__((attribute))
#if __has_attribute(reentrant_capability)
#define HOSTCRST_REENTRANT_ __attribute__((reentrant_capability))
#endif
#else
#define HOSTCRST_CLANG_(attribute)
#endif
#ifndef HOSTCRST_REENTRANT_
#define HOSTCRST_REENTRANT_
#endif

/* The result is an object that does its work when it is destroyed: at once, if it has no name. */
#if __cplusplus >= 202002L
#define HOSTCRST_SCOPE_ [[nodiscard("it ends at once without a name")]]
#elif __cplusplus >= 201703L
#define HOSTCRST_SCOPE_ [[nodiscard]]
#else
#define HOSTCRST_SCOPE_
#endif

/* Its caller is the place in reports, however the program is compiled. */
#define HOSTCRST_INLINE_ __attribute__((always_inline)) inline

namespace hostcrst {

namespace detail {

class error_category final : public std::error_category {
public:
    const char *name() const noexcept override { return "hostcrst"; }

    std::string message(int result) const override { return host_result_message(result); }

    std::error_condition default_error_condition(int result) const noexcept override
    {
        switch (result) {
        case HOST_E_DEADLOCK: return std::errc::resource_deadlock_would_occur;
        case HOST_E_TIMEOUT: return std::errc::timed_out;
        case HOST_E_INTERRUPTED: return std::errc::interrupted;
        case HOST_E_NOT_OWNER: return std::errc::operation_not_permitted;
        case HOST_E_ABANDONED: return std::errc::owner_dead;
        case E_OUTOFMEMORY: return std::errc::not_enough_memory;
        case E_INVALIDARG:
        case E_POINTER:
        case E_HANDLE: return std::errc::invalid_argument;
        default: return std::error_condition(result, *this);
        }
    }
};

} // namespace detail

/* The category of all codes: its value is the HRESULT, its message the sentence of host_result_message. */
inline const std::error_category &category() noexcept
{
    static const detail::error_category the_one;
    return the_one;
}

inline std::error_code error_code_of(int32_t result) noexcept
{
    return std::error_code(result < 0 ? result : 0, category());
}

/* Throws if the result is a failure. */
inline void check(int32_t result, const char *what)
{
    if (result >= 0) {
        return;
    }
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
    throw std::system_error(error_code_of(result), what);
#else
    std::fprintf(stderr, "%s: %s\n", what, host_result_message(result));
    std::abort();
#endif
}

/*
 * A critical section, as std::recursive_timed_mutex: it is Lockable and TimedLockable, and what takes such a type takes
 * this one: std::lock_guard, unique_lock, scoped_lock, std::lock, condition_variable_any.
 */
class HOSTCRST_CLANG_(capability("critical section")) HOSTCRST_REENTRANT_ critical_section {
public:
    /* Created, with a name for reports or without. Starts the runtime if it never was; not if it was stopped. */
    explicit critical_section(const char *name = nullptr)
    {
        check(create(name), "hostcrst::critical_section");
    }

    /*
     * As above. On failure there is no section: every call on it fails with E_HANDLE, or with HOST_E_CLRNOTAVAILABLE
     * where hostcrst.h says that the runtime in its state refuses the call.
     */
    critical_section(const char *name, int32_t &result) noexcept { result = create(name); }

    /* If another thread owns the section, it stays. */
    ~critical_section() { (void)hostcrst_destroy(handle_); }

    critical_section(const critical_section &) = delete;
    critical_section &operator=(const critical_section &) = delete;

    HOSTCRST_INLINE_ void lock() HOSTCRST_CLANG_(acquire_capability()) HOSTCRST_CLANG_(no_thread_safety_analysis)
    {
        check(enter(), "hostcrst::critical_section::lock");
    }

    HOSTCRST_INLINE_ bool try_lock() HOSTCRST_CLANG_(try_acquire_capability(true)) HOSTCRST_CLANG_(no_thread_safety_analysis)
    {
        bool entered = false;
        check(try_enter(entered), "hostcrst::critical_section::try_lock");
        return entered;
    }

    /* Up to 49 days; longer is as long as that. */
    template <class Rep, class Period>
    HOSTCRST_INLINE_ bool try_lock_for(const std::chrono::duration<Rep, Period> &limit)
        HOSTCRST_CLANG_(try_acquire_capability(true)) HOSTCRST_CLANG_(no_thread_safety_analysis)
    {
        const int32_t result = enter_for(limit);
        if (result == HOST_E_TIMEOUT) {
            return false;
        }
        check(result, "hostcrst::critical_section::try_lock_for");
        return true;
    }

    template <class Clock, class Duration>
    HOSTCRST_INLINE_ bool try_lock_until(const std::chrono::time_point<Clock, Duration> &instant)
        HOSTCRST_CLANG_(try_acquire_capability(true)) HOSTCRST_CLANG_(no_thread_safety_analysis)
    {
        /* As fractions: whole numbers would overflow at the ends of time. */
        return try_lock_for(std::chrono::duration_cast<milliseconds>(instant.time_since_epoch()) -
                            std::chrono::duration_cast<milliseconds>(Clock::now().time_since_epoch()));
    }

    /* What leave says is dropped: a destructor that unlocks has nobody to tell it to. */
    HOSTCRST_INLINE_ void unlock() noexcept HOSTCRST_CLANG_(release_capability()) HOSTCRST_CLANG_(no_thread_safety_analysis)
    {
        (void)leave();
    }

    /* The twins. Clang's analysis does not follow them. */
    HOSTCRST_NODISCARD HOSTCRST_INLINE_ int32_t enter(uint32_t option = 0) noexcept
    {
        return hostcrst_enter(handle_, option);
    }

    template <class Rep, class Period>
    HOSTCRST_NODISCARD HOSTCRST_INLINE_ int32_t enter_for(
        const std::chrono::duration<Rep, Period> &limit, uint32_t option = 0) noexcept
    {
        return hostcrst_enter_timeout(handle_, option, milliseconds_of(limit));
    }

    HOSTCRST_NODISCARD HOSTCRST_INLINE_ int32_t try_enter(bool &entered) noexcept
    {
        int32_t is_entered = 0;
        const int32_t result = hostcrst_try_enter(handle_, 0, &is_entered);
        entered = is_entered != 0;
        return result;
    }

    HOSTCRST_INLINE_ int32_t leave() noexcept { return hostcrst_leave(handle_); }

    /* Takes over a section whose owner has ended without leaving it, after a HOST_E_ABANDONED. */
    HOSTCRST_NODISCARD HOSTCRST_INLINE_ int32_t recover() noexcept { return hostcrst_recover(handle_); }

    int32_t set_name(const char *utf8) noexcept { return hostcrst_set_name(handle_, utf8); }

    std::string name() const
    {
        char utf8[HOSTCRST_NAME_SIZE];
        size_t length = 0;
        check(hostcrst_name(handle_, utf8, sizeof utf8, &length), "hostcrst::critical_section::name");
        return utf8;
    }

    int32_t set_spin_count(uint32_t count) noexcept { return hostcrst_set_spin_count(handle_, count); }

    hostcrst_info_t info() const
    {
        hostcrst_info_t found;
        found.size = sizeof found;
        check(hostcrst_info(handle_, &found), "hostcrst::critical_section::info");
        return found;
    }

    using native_handle_type = hostcrst_t;
    native_handle_type native_handle() const noexcept { return handle_; }

private:
    using milliseconds = std::chrono::duration<long double, std::milli>;

    int32_t create(const char *name) noexcept
    {
        uint32_t state = HOST_RUNTIME_RUNNING;
        if (host_runtime_state(&state) >= 0 && state == HOST_RUNTIME_NOT_LOADED) {
            const int32_t started = host_runtime_start();
            if (started < 0) {
                return started;
            }
        }
        const int32_t result = hostcrst_create(&handle_);
        if (result >= 0 && name != nullptr) {
            (void)hostcrst_set_name(handle_, name);
        }
        return result;
    }

    /* Rounded up, so that no wait ends before its time. */
    template <class Rep, class Period>
    static uint32_t milliseconds_of(const std::chrono::duration<Rep, Period> &limit) noexcept
    {
        const long double exact = std::chrono::duration_cast<milliseconds>(limit).count();
        if (!(exact > 0)) {
            return 0;
        }
        if (exact >= HOSTCRST_INFINITE - 1) {
            return HOSTCRST_INFINITE - 1;
        }
        const uint32_t whole = static_cast<uint32_t>(exact);
        return whole < exact ? whole + 1 : whole;
    }

    hostcrst_t handle_ = 0;
};

/* As std::lock_guard, whose declaration tells clang's thread-safety analysis nothing in GCC's library. */
class HOSTCRST_SCOPE_ HOSTCRST_CLANG_(scoped_lockable) guard {
public:
    HOSTCRST_INLINE_ explicit guard(critical_section &section) HOSTCRST_CLANG_(acquire_capability(section))
        : section_(section)
    {
        section_.lock();
    }
    HOSTCRST_INLINE_ ~guard() HOSTCRST_CLANG_(release_capability()) { section_.unlock(); }
    guard(const guard &) = delete;
    guard &operator=(const guard &) = delete;

private:
    critical_section &section_;
};

/* Managed code calls a native function, for the time of a scope: host_leave_runtime, at its end host_enter_runtime. */
class HOSTCRST_SCOPE_ native_call {
public:
    explicit native_call(size_t target = 0) { check(begin(target), "hostcrst::native_call"); }

    /* Of any type, so also one that takes what printf does, and a noexcept one. */
    template <class Function, class = typename std::enable_if<std::is_function<Function>::value>::type>
    explicit native_call(Function *function) : native_call(reinterpret_cast<size_t>(function))
    {
    }

    native_call(size_t target, int32_t &result) noexcept { result = begin(target); }

    template <class Function, class = typename std::enable_if<std::is_function<Function>::value>::type>
    native_call(Function *function, int32_t &result) noexcept
        : native_call(reinterpret_cast<size_t>(function), result)
    {
    }

    ~native_call()
    {
        if (is_open_) {
            (void)host_enter_runtime();
        }
    }

    native_call(const native_call &) = delete;
    native_call &operator=(const native_call &) = delete;

private:
    int32_t begin(size_t target) noexcept
    {
        const int32_t result = host_leave_runtime(target);
        is_open_ = result >= 0;
        return result;
    }

    bool is_open_ = false;
};

/* Native code calls managed code, for the time of a scope: host_reverse_enter_runtime and host_reverse_leave_runtime. */
class HOSTCRST_SCOPE_ managed_call {
public:
    managed_call() { check(begin(), "hostcrst::managed_call"); }
    explicit managed_call(int32_t &result) noexcept { result = begin(); }

    ~managed_call()
    {
        if (is_open_) {
            (void)host_reverse_leave_runtime();
        }
    }

    managed_call(const managed_call &) = delete;
    managed_call &operator=(const managed_call &) = delete;

private:
    int32_t begin() noexcept
    {
        const int32_t result = host_reverse_enter_runtime();
        is_open_ = result >= 0;
        return result;
    }

    bool is_open_ = false;
};

namespace detail {

struct report_text {
    std::string text;
    bool is_whole;
};

inline void add_piece(const char *text, size_t length, void *context) HOSTCRST_CALLBACK_
{
    report_text &report = *static_cast<report_text *>(context);
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
    try {
        report.text.append(text, length);
    } catch (...) {
        report.is_whole = false;
    }
#else
    report.text.append(text, length);
#endif
}

} // namespace detail

/* The report on every task and section, as host_report writes it. */
inline std::string report(uint32_t format = HOST_REPORT_TEXT)
{
    detail::report_text made = {std::string(), true};
    check(host_report_write(format, detail::add_piece, &made), "hostcrst::report");
    check(made.is_whole ? 0 : E_OUTOFMEMORY, "hostcrst::report");
    return made.text;
}

} // namespace hostcrst

#undef HOSTCRST_CLANG_
#undef HOSTCRST_INLINE_
#undef HOSTCRST_REENTRANT_
#undef HOSTCRST_SCOPE_

#endif
