// Queues between threads with condition variables as code from before Windows Vista builds them: of a guard, a count and two
// semaphores, one of which the signaller waits for while it owns the guard. Entering threads find an owner that sleeps.
#ifndef BENCH_HAND_SHAKE_H
#define BENCH_HAND_SHAKE_H

#include "contended.h"

#include <memory>
#include <semaphore.h>
#include <thread>
#include <vector>

namespace bench {

template <class Lock> class Condition {
public:
    Condition()
    {
        sem_init(&wake_, 0, 0);
        sem_init(&woken_, 0, 0);
    }
    ~Condition()
    {
        sem_destroy(&wake_);
        sem_destroy(&woken_);
    }

    void wait(Lock &outer)
    {
        guard_.lock.enter();
        waiters_++;
        guard_.lock.leave();
        outer.leave();
        wait_for(wake_);
        sem_post(&woken_);
        outer.enter();
    }

    void signal()
    {
        guard_.lock.enter();
        if (waiters_ > 0) {
            waiters_--;
            sem_post(&wake_);
            wait_for(woken_); // with the guard owned
        }
        guard_.lock.leave();
    }

private:
    static void wait_for(sem_t &semaphore)
    {
        while (sem_wait(&semaphore) != 0) {
        }
    }

    Lined<Lock> guard_;
    int waiters_ = 0;
    sem_t wake_, woken_;
};

template <class Lock> struct Queue {
    static const int room = 8;
    Lined<Lock> own;
    Condition<Lock> not_empty, not_full;
    int filled = 0;

    void put()
    {
        own.lock.enter();
        while (filled == room) {
            not_full.wait(own.lock);
        }
        filled++;
        own.lock.leave();
        not_empty.signal();
    }

    void take()
    {
        own.lock.enter();
        while (filled == 0) {
            not_empty.wait(own.lock);
        }
        filled--;
        own.lock.leave();
        not_full.signal();
    }
};

// Half of the threads put items into a queue, the others take them out. An entry of this row is an item.
template <class Lock, int threads> std::vector<Metric> hand_shake()
{
    const int items = quick ? 2000 : 10000; // of each thread: enough for the scheduler to have spread them
    std::unique_ptr<Queue<Lock>> queue(new Queue<Lock>);
    std::vector<std::thread> workers;
    ProcessorTime before = processor_time();
    double ns = ns_of([&] {
        for (int number = 0; number < threads; number++) {
            workers.emplace_back([&queue, number, items] {
                for (int item = 0; item < items; item++) {
                    number % 2 == 0 ? queue->put() : queue->take();
                }
            });
        }
        for (std::thread &worker : workers) {
            worker.join();
        }
    });
    return cost_of(items * threads / 2.0, ns, before);
}

} // namespace bench

#endif
