// One thread at a time: what entering and leaving cost when nobody waits. All in ns for one pair.
#ifndef BENCH_UNCONTENDED_H
#define BENCH_UNCONTENDED_H

#include "rows.h"
#include "workload.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace bench {

// The fastest of several batches: an interruption falls into one of them.
template <class Body> std::vector<Metric> ns_for_each(unsigned count, Body body)
{
    double fastest = 1e18;
    for (int batch = 0; batch < 4; batch++) {
        fastest = std::min(fastest, ns_of([&] {
            for (unsigned at = 0; at < count; at++) {
                body();
            }
        }));
    }
    return {{"ns", fastest / count}};
}

template <class Lock> struct alignas(64) Lined {
    Lock lock;
};

template <class Lock> std::vector<Metric> pair()
{
    Lined<Lock> own;
    return ns_for_each(50000, [&] {
        own.lock.enter();
        own.lock.leave();
    });
}

template <class Lock> std::vector<Metric> reenter()
{
    Lined<Lock> own;
    own.lock.enter();
    auto metrics = ns_for_each(50000, [&] {
        own.lock.enter();
        own.lock.leave();
    });
    own.lock.leave();
    return metrics;
}

// The same memory for all locks: where its pages lie counts as much as the lock does.
template <size_t bytes> std::vector<uint64_t> &memory_to_store_in()
{
    static std::vector<uint64_t> memory(bytes / sizeof(uint64_t), 1);
    return memory;
}

// Four stores at random places under the lock, of a memory of this size.
template <class Lock, size_t bytes> std::vector<Metric> stores()
{
    std::vector<uint64_t> &memory = memory_to_store_in<bytes>();
    Lined<Lock> own;
    Random random{42};
    return ns_for_each(bytes > 1 << 20 ? 10000 : 50000, [&] {
        own.lock.enter();
        for (int store = 0; store < 4; store++) {
            memory[random.below(static_cast<uint32_t>(memory.size()))] = random.state;
        }
        own.lock.leave();
    });
}

// Whether a program keeps a handle of the lock and not its address: the lock has a constant is_handle.
template <class Lock, class = void> struct IsHandle : std::false_type {};
template <class Lock> struct IsHandle<Lock, std::void_t<decltype(Lock::is_handle)>> : std::true_type {};

// Many locks, each with a cache line of its own, reached through a table of what a program keeps of each: 8 bytes.
template <class Lock, bool is_handle = IsHandle<Lock>::value> class Many {
public:
    explicit Many(size_t count) : locks_(new Lined<Lock>[count]), table_(count)
    {
        for (size_t at = 0; at < count; at++) {
            table_[at] = &locks_[at].lock;
        }
    }
    Lock &operator[](size_t at) { return *table_[at]; }

private:
    std::unique_ptr<Lined<Lock>[]> locks_;
    std::vector<Lock *> table_;
};

template <class Lock> class Many<Lock, true> {
public:
    explicit Many(size_t count) : table_(new Lock[count]) {}
    Lock &operator[](size_t at) { return table_[at]; }

private:
    std::unique_ptr<Lock[]> table_;
};

template <class Lock, uint32_t count> std::vector<Metric> many_at_random()
{
    Many<Lock> locks(count);
    Random random{7};
    return ns_for_each(50000, [&] {
        Lock &lock = locks[random.below(count)];
        lock.enter();
        lock.leave();
    });
}

template <class Lock> std::vector<Metric> create_destroy()
{
    return ns_for_each(10000, [] {
        Lined<Lock> own;
        opaque_memory(own);
    });
}

#ifdef __linux__
// Binds the calling thread to the nth processor that the process may use; false if there are not so many.
inline bool bind_to_processor(int nth)
{
    cpu_set_t allowed, one;
    sched_getaffinity(0, sizeof allowed, &allowed);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && nth-- == 0) {
            CPU_SET(cpu, &one);
            return sched_setaffinity(0, sizeof one, &one) == 0;
        }
    }
    return false;
}
#else
inline bool bind_to_processor(int)
{
    return true;
}
#endif

// Two threads on two processors take turns; each finds the lock free, but last used by the other.
template <class Lock> std::vector<Metric> handed_over()
{
    const unsigned turns = quick ? 4000 : 20000;
    struct Shared {
        Lined<Lock> own;
        alignas(128) std::atomic<unsigned> turn{0};
    };
    std::unique_ptr<Shared> shared(new Shared);
    auto take_turns = [&](unsigned parity) {
        bind_to_processor(static_cast<int>(parity));
        for (unsigned turn = parity; turn < turns; turn += 2) {
            while (shared->turn.load(std::memory_order_acquire) != turn) {
                relax();
            }
            shared->own.lock.enter();
            shared->own.lock.leave();
            shared->turn.store(turn + 1, std::memory_order_release);
        }
    };
    double ns = 0;
    std::thread even([&] { ns = ns_of([&] { take_turns(0); }); });
    std::thread odd([&] { take_turns(1); });
    even.join();
    odd.join();
    return {{"ns", ns / turns}};
}

} // namespace bench

#endif
