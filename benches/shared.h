// The rows of locks that are owned or shared, and the locks: each a type with a name, `own`, `disown`, `share`, `unshare`.
#ifndef BENCH_SHARED_H
#define BENCH_SHARED_H

#include "contended.h"
#include "subjects.h"
#include "uncontended.h"

namespace bench {

// As other locks are entered: to own it, to share it, or to own it once in sixteen times.
template <class Lock> struct Owning {
    Lock lock;
    void enter() { lock.own(); }
    void leave() { lock.disown(); }
};

template <class Lock> struct Sharing {
    Lock lock;
    void enter() { lock.share(); }
    void leave() { lock.unshare(); }
};

template <class Lock> struct Mixed {
    Lock lock;
    static unsigned &entries()
    {
        static thread_local unsigned count;
        return count;
    }
    void enter() { ++entries() % 16 == 0 ? lock.own() : lock.share(); }
    void leave() { entries() % 16 == 0 ? lock.disown() : lock.unshare(); }
};

// What who shares a lock does inside: reads.
struct ShortRead {
    static void inside(uint64_t &shared)
    {
        uint64_t value = shared;
        for (int add = 0; add < 8; add++) {
            value += 3;
            opaque(value);
        }
    }
    static void outside(uint64_t &own, unsigned) { own = multiply_adds(own, 40); }
};

// Gives each row the lock as one of its subjects.
template <class Lock> void add_shared_lock(std::vector<Row> &table)
{
    const int many = quick ? 9 : 21, few = quick ? 3 : 7;
    const std::vector<Row> rows = {
        {"SRW lock: own", many, {{Lock::name, pair<Owning<Lock>>}}},
        {"SRW lock: share", many, {{Lock::name, pair<Sharing<Lock>>}}},
        {"SRW lock: handed over", many, {{Lock::name, handed_over<Owning<Lock>>}}},
        {"SRW lock: own, 2 threads", few, {{Lock::name, contended<Owning<Lock>, ShortSection, 2>}}},
        {"SRW lock: own, 16 threads", few, {{Lock::name, contended<Owning<Lock>, ShortSection, 16>}}},
        {"SRW lock: share, 4 threads", few, {{Lock::name, contended<Sharing<Lock>, ShortRead, 4>}}},
        {"SRW lock: own 1 of 16, 4 threads", few, {{Lock::name, contended<Mixed<Lock>, ShortRead, 4>}}},
    };
    for (const Row &row : rows) {
        auto same = [&](const Row &other) { return other.name == row.name; };
        auto known = std::find_if(table.begin(), table.end(), same);
        if (known == table.end()) {
            table.push_back(row);
        } else {
            known->subjects.push_back(row.subjects[0]);
        }
    }
}

} // namespace bench

#endif
