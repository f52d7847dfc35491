/* What a CRITICAL_SECTION shows while other threads enter it and wait for it. */
#ifndef LOCK_COUNT_H
#define LOCK_COUNT_H

#include <hostcrst/win32.h>

static inline LONG lock_count(CRITICAL_SECTION *section)
{
    return __atomic_load_n(&section->LockCount, __ATOMIC_ACQUIRE);
}

#endif
