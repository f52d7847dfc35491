/* What SQLite's mutex_w32.c uses of Windows beside critical sections. */
#include <hostcrst/win32.h>

#define SQLITE_WIN32_VOLATILE volatile

static inline LONG InterlockedCompareExchange(LONG volatile *number, LONG value, LONG expected)
{
    __atomic_compare_exchange_n(number, &expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return expected;
}
