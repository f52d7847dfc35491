// The critical section and the SRW lock of Windows, as Wine implements them.
#include "lock_rows.h"
#include "shared.h"
#include "subjects.h"

#include <windows.h>

namespace bench {

struct Windows {
    static constexpr const char *name = "Wine";
    static constexpr bool recursive = true, queues = true;
    CRITICAL_SECTION section;
    Windows() { InitializeCriticalSection(&section); }
    ~Windows() { DeleteCriticalSection(&section); }
    void enter() { EnterCriticalSection(&section); }
    void leave() { LeaveCriticalSection(&section); }
};

struct WindowsSrw {
    static constexpr const char *name = "Wine";
    SRWLOCK lock = SRWLOCK_INIT;
    void own() { AcquireSRWLockExclusive(&lock); }
    void disown() { ReleaseSRWLockExclusive(&lock); }
    void share() { AcquireSRWLockShared(&lock); }
    void unshare() { ReleaseSRWLockShared(&lock); }
};

std::vector<Row> table()
{
    std::vector<Row> rows;
    add_lock<Windows>(rows);
    std::vector<Row> shared;
    add_shared_lock<WindowsSrw>(shared);
    rows.insert(rows.end(), shared.begin(), shared.end());
    return rows;
}

} // namespace bench
