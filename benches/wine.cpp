// The critical section of Windows, as Wine implements it.
#include "lock_rows.h"
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

std::vector<Row> table()
{
    std::vector<Row> rows;
    add_lock<Windows>(rows);
    return rows;
}

} // namespace bench
