// Several threads want the same lock all the time: how much gets done, how evenly, and who waits how long.
#ifndef BENCH_CONTENDED_H
#define BENCH_CONTENDED_H

#include "histogram.h"
#include "rows.h"
#include "uncontended.h"
#include "workload.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace bench {

// What the threads do: `inside` with the lock held, `outside` between two entries.
struct ShortSection {
    static void inside(uint64_t &shared)
    {
        uint64_t value = shared;
        for (int add = 0; add < 8; add++) {
            value += 3;
            opaque(value);
        }
        shared = value;
    }
    static void outside(uint64_t &own, unsigned) { own = multiply_adds(own, 40); }
};

struct LongSection {
    static void inside(uint64_t &shared) { shared = multiply_adds(shared, steps_of_500_ns()); }
    static void outside(uint64_t &own, unsigned) { own = multiply_adds(own, 40); }
};

// Sixteen entries one after the other, then a sleep.
struct Bursts {
    static void inside(uint64_t &shared) { LongSection::inside(shared); }
    static void outside(uint64_t &, unsigned entry)
    {
        if (entry % 16 == 15) {
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }
};

// Blocks inside, as code does that reads a file or asks a server under a lock.
struct Blocking {
    static void inside(uint64_t &shared)
    {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        shared++;
    }
    static void outside(uint64_t &own, unsigned) { own = multiply_adds(own, 2 * steps_of_500_ns()); }
};

template <class Lock> struct Arena {
    Lined<Lock> own;
    alignas(128) uint64_t shared = 1;
    alignas(128) std::atomic<int> ready{0};
    alignas(128) std::atomic<bool> go{false};
    alignas(128) std::atomic<bool> stop{false};
};

struct alignas(128) Worker {
    uint64_t entries = 0;
    Histogram waits;
};

template <class Lock, class Work, bool timed> void work(Arena<Lock> &arena, Worker &worker)
{
    uint64_t own = reinterpret_cast<uintptr_t>(&worker);
    arena.ready++;
    while (!arena.go.load(std::memory_order_acquire)) {
        std::this_thread::yield();
    }
    uint64_t entries = 0;
    for (; !arena.stop.load(std::memory_order_relaxed); entries++) {
        uint64_t begin = timed ? ticks() : 0;
        arena.own.lock.enter();
        if (timed) {
            worker.waits.add(ticks() - begin);
        }
        Work::inside(arena.shared);
        arena.own.lock.leave();
        Work::outside(own, static_cast<unsigned>(entries));
    }
    worker.entries = entries;
}

// Lets the threads run for the time of one measurement, and returns how many ns that was.
template <class Lock, class Work, bool timed> double run_workers(std::vector<Worker> &workers)
{
    std::unique_ptr<Arena<Lock>> arena(new Arena<Lock>);
    std::vector<std::thread> threads;
    for (Worker &worker : workers) {
        threads.emplace_back([&] { work<Lock, Work, timed>(*arena, worker); });
    }
    while (arena->ready != static_cast<int>(workers.size())) {
        std::this_thread::yield();
    }
    double ns = ns_of([&] {
        arena->go.store(true, std::memory_order_release);
        std::this_thread::sleep_for(std::chrono::milliseconds(quick ? 80 : 200));
        arena->stop.store(true, std::memory_order_relaxed);
    });
    for (std::thread &thread : threads) {
        thread.join();
    }
    return ns;
}

// What entries cost, from the time that all of them took and what the process used of its processors.
inline std::vector<Metric> cost_of(double entries, double ns, ProcessorTime before)
{
    ProcessorTime after = processor_time();
    double millions = entries / 1e6;
    return {
        {"throughput", entries / ns * 1e3}, // millions a second
        {"CPU for a million", (after.all() - before.all()) / millions},
        {"of it in user mode", (after.user - before.user) / millions},
    };
}

// Reading the clock twice an entry would slow a short section: throughput and waits are measured one
// after the other.
template <class Lock, class Work, int threads> std::vector<Metric> contended()
{
    steps_of_500_ns();
    std::vector<Worker> untimed(threads), timed(threads);
    ProcessorTime before = processor_time();
    double ns = run_workers<Lock, Work, false>(untimed);
    double entries = 0;
    for (const Worker &worker : untimed) {
        entries += static_cast<double>(worker.entries);
    }
    std::vector<Metric> metrics = cost_of(entries, ns, before);

    run_workers<Lock, Work, true>(timed);
    auto fewer = [](const Worker &a, const Worker &b) { return a.entries < b.entries; };
    auto ends = std::minmax_element(untimed.begin(), untimed.end(), fewer);
    double least = static_cast<double>(std::max<uint64_t>(ends.first->entries, 1));

    Histogram waits;
    for (const Worker &worker : timed) {
        waits.add(worker.waits);
    }
    double tick = ns_per_tick();
    metrics.insert(metrics.end(), {
        {"fairness", static_cast<double>(ends.second->entries) / least},
        {"p99", waits.quantile(0.99) * tick},
        {"p99.9", waits.quantile(0.999) * tick},
        {"longest", static_cast<double>(waits.longest()) * tick},
        {"weighted median", waits.weighted_median() * tick},
    });
    return metrics;
}

} // namespace bench

#endif
