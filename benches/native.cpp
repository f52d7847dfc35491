// The locks of this system.
#include "lock_rows.h"
#include "locks.h"
#include "subjects.h"

#include <cstdio>
#include <cstdlib>

namespace bench {

std::vector<Row> table()
{
    if (host_runtime_start() < 0) {
        std::fprintf(stderr, "bench: the runtime does not start\n");
        std::exit(1);
    }
    std::vector<Row> rows;
    add_lock<Hostcrst>(rows);
    add_lock<GlibcRecursive>(rows);
    add_lock<GlibcAdaptive>(rows);
    add_lock<GlibcRobust>(rows);
    add_lock<StdRecursive>(rows);
    add_lock<HostcrstWin32>(rows);
    add_lock<Winpr>(rows);
    add_lock<Nsync>(rows);
    add_lock<Absl>(rows);
    add_lock<ParkingLotReentrant>(rows);
    add_lock<ParkingLot>(rows);
    add_lock<RustStd>(rows);
    add_lock<EmptyCalls>(rows);
    add_lock<NoLock>(rows);
    for (Row &row : transition_rows()) {
        rows.push_back(row);
    }
    for (Row &row : windows_rows()) {
        rows.push_back(row);
    }
    add_plt(rows);
    return rows;
}

} // namespace bench
