// Time, work of a known length and random numbers: what the rows are made of.
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/resource.h>
#endif
#ifdef __x86_64__
#include <x86intrin.h>
#endif

namespace bench {

// The cheapest clock there is, in units of its own.
inline uint64_t ticks()
{
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t count;
    asm volatile("mrs %0, cntvct_el0" : "=r"(count));
    return count;
#else
#error "no cheap clock is known for this processor"
#endif
}

inline double ns_per_tick()
{
    static const double measured = [] {
        auto begin = std::chrono::steady_clock::now();
        uint64_t begin_ticks = ticks();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - begin;
        return passed.count() / static_cast<double>(ticks() - begin_ticks);
    }();
    return measured;
}

// How long `body` takes.
template <class Body> double ns_of(Body body)
{
    uint64_t begin = ticks();
    body();
    return static_cast<double>(ticks() - begin) * ns_per_tick();
}

// What the process has used of its processors' time, in ns: in the program itself, and in the system for it.
struct ProcessorTime {
    double user, system;
    double all() const { return user + system; }
};

inline ProcessorTime processor_time()
{
#ifdef _WIN32
    FILETIME begin, end, system, user;
    GetProcessTimes(GetCurrentProcess(), &begin, &end, &system, &user);
    auto ns = [](FILETIME time) { return ((uint64_t{time.dwHighDateTime} << 32) | time.dwLowDateTime) * 100.0; };
    return {ns(user), ns(system)};
#else
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    auto ns = [](timeval time) { return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3; };
    return {ns(usage.ru_utime), ns(usage.ru_stime)};
#endif
}

// The compiler must take the value as used and changed.
template <class Value> inline void opaque(Value &value)
{
    asm volatile("" : "+r"(value));
}

// The compiler must take the object as used and changed in memory.
template <class Object> inline void opaque_memory(Object &object)
{
    asm volatile("" : : "r"(&object) : "memory");
}

inline void relax()
{
#ifdef __x86_64__
    _mm_pause();
#else
    asm volatile("yield");
#endif
}

// A chain in which each multiply-add waits for the one before.
inline uint64_t multiply_adds(uint64_t value, unsigned steps)
{
    for (; steps != 0; steps--) {
        value = value * 6364136223846793005u + 1442695040888963407u;
        opaque(value);
    }
    return value;
}

// How many multiply-adds take 500 ns: the fastest of several tries, so that an interruption does not count.
inline unsigned steps_of_500_ns()
{
    static const unsigned measured = [] {
        const unsigned tried = 20000;
        double fastest = 1e9;
        for (int attempt = 0; attempt < 20; attempt++) {
            uint64_t value = 1;
            double ns = ns_of([&] { value = multiply_adds(value, tried); opaque(value); });
            fastest = ns < fastest ? ns : fastest;
        }
        return static_cast<unsigned>(500 * tried / fastest);
    }();
    return measured;
}

// Numbers without a pattern that a processor could learn; the high bits are the good ones.
struct Random {
    uint64_t state;
    uint32_t below(uint32_t limit)
    {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(((state >> 32) * limit) >> 32);
    }
};

} // namespace bench

#endif
