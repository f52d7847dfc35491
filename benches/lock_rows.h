// The table of rows for one lock.
#ifndef BENCH_LOCK_ROWS_H
#define BENCH_LOCK_ROWS_H

#include "contended.h"
#include "hand_shake.h"
#include "uncontended.h"

namespace bench {

struct LockRow {
    const char *name;
    int rounds;
    bool applies;
    Measure measure;
};

template <class Lock> std::vector<LockRow> lock_rows()
{
    const int many = quick ? 9 : 21, few = quick ? 3 : 7;
    const bool any = true, twice = Lock::recursive, wait = Lock::queues;
    return {
        {"pair", many, any, pair<Lock>},
        {"re-enter", many, twice, reenter<Lock>},
        {"handed over", many, any, handed_over<Lock>},
        {"stores that hit", many, any, stores<Lock, 16 << 10>},
        {"stores that miss", many, any, stores<Lock, 64 << 20>},
        {"4096 at random", many, any, many_at_random<Lock, 4096>},
        {"create and destroy", many, any, create_destroy<Lock>},
        {"short, 2 threads", few, wait, contended<Lock, ShortSection, 2>},
        {"short, 4 threads", few, wait, contended<Lock, ShortSection, 4>},
        {"short, 16 threads", few, wait, contended<Lock, ShortSection, 16>},
        {"500 ns, 2 threads", few, wait, contended<Lock, LongSection, 2>},
        {"500 ns, 4 threads", few, wait, contended<Lock, LongSection, 4>},
        {"500 ns, 16 threads", few, wait, contended<Lock, LongSection, 16>},
        {"bursts, 16 threads", few, wait, contended<Lock, Bursts, 16>},
        {"blocks inside, 4 threads", few, wait, contended<Lock, Blocking, 4>},
        {"hand-shake inside, 8 threads", few, wait, hand_shake<Lock, 8>},
    };
}

// Gives each row the lock as one of its subjects.
template <class Lock> void add_lock(std::vector<Row> &table)
{
    std::vector<LockRow> rows = lock_rows<Lock>();
    table.resize(rows.size());
    for (size_t at = 0; at < rows.size(); at++) {
        table[at].name = rows[at].name;
        table[at].rounds = rows[at].rounds;
        if (rows[at].applies) {
            table[at].subjects.push_back({Lock::name, rows[at].measure});
        }
    }
}

} // namespace bench

#endif
