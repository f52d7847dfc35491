/*
 * Sections as ThreadSanitizer is told of them: of hostcrst.h, whose functions these macros replace in a program that is
 * compiled with -fsanitize=thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef HOSTCRST_TSAN_CRST_H
#define HOSTCRST_TSAN_CRST_H

#include "tsan.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of a section that does not exist, and in a library that is older than this header, the address is 0. */
HOSTCRST_TSAN_INLINE_ hostcrst_info_t hostcrst_tsan_info_(hostcrst_t crst)
{
    hostcrst_info_t info;
    info.size = sizeof info;
    if (hostcrst_info(crst, &info) < 0) {
        info.address = 0;
    }
    return info;
}

HOSTCRST_TSAN_INLINE_ int hostcrst_tsan_owns_(const hostcrst_info_t *info)
{
    host_task_t task;
    return info->address != 0 && host_task_current(&task) >= 0 && info->owner == task;
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_created_(int32_t result, const hostcrst_t *out)
{
    if (result >= 0) {
        const hostcrst_info_t info = hostcrst_tsan_info_(*out);
        if (info.address != 0) {
            __tsan_acquire(HOSTCRST_TSAN_POINTER_(info.address));
            __tsan_mutex_create(HOSTCRST_TSAN_POINTER_(info.address), HOSTCRST_TSAN_REENTRANT_);
        }
    }
    return result;
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_entered_(hostcrst_t crst, unsigned flags)
{
    const hostcrst_info_t info = hostcrst_tsan_info_(crst);
    if (info.address != 0) {
        hostcrst_tsan_locked_(HOSTCRST_TSAN_POINTER_(info.address), HOSTCRST_TSAN_REENTRANT_ | flags);
    }
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_create(hostcrst_t *out)
{
    return hostcrst_tsan_created_(hostcrst_create(out), out);
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_create_with_spin_count(uint32_t spin_count, hostcrst_t *out)
{
    return hostcrst_tsan_created_(hostcrst_create_with_spin_count(spin_count, out), out);
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_enter(hostcrst_t crst, uint32_t option)
{
    const int32_t result = hostcrst_enter(crst, option);
    if (result >= 0) {
        hostcrst_tsan_entered_(crst, 0);
    }
    return result;
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_enter_timeout(hostcrst_t crst, uint32_t option, uint32_t milliseconds)
{
    const int32_t result = hostcrst_enter_timeout(crst, option, milliseconds);
    if (result >= 0) {
        hostcrst_tsan_entered_(crst, 0);
    }
    return result;
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_enter_at(hostcrst_t crst, uint32_t option, uint32_t milliseconds,
                                                     const char *place)
{
    const int32_t result = hostcrst_enter_at(crst, option, milliseconds, place);
    if (result >= 0) {
        hostcrst_tsan_entered_(crst, 0);
    }
    return result;
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_try_enter(hostcrst_t crst, uint32_t option, int32_t *entered)
{
    const int32_t result = hostcrst_try_enter(crst, option, entered);
    if (result >= 0 && *entered) {
        hostcrst_tsan_entered_(crst, HOSTCRST_TSAN_TRY_);
    }
    return result;
}

HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_recover(hostcrst_t crst)
{
    const int32_t result = hostcrst_recover(crst);
    if (result >= 0) {
        hostcrst_tsan_entered_(crst, HOSTCRST_TSAN_TRY_);
    }
    return result;
}

/* A leave that is refused is no unlock: the program has the code. */
HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_leave(hostcrst_t crst)
{
    const hostcrst_info_t info = hostcrst_tsan_info_(crst);
    if (hostcrst_tsan_owns_(&info)) {
        hostcrst_tsan_unlocking_(HOSTCRST_TSAN_POINTER_(info.address), HOSTCRST_TSAN_REENTRANT_);
    }
    return hostcrst_leave(crst);
}

/*
 * Told before the section is gone, as the next one may get its address at once. Who destroys it releases what who creates
 * that one acquires: both write to the address, as ThreadSanitizer sees it.
 */
HOSTCRST_TSAN_INLINE_ int32_t hostcrst_tsan_destroy(hostcrst_t crst)
{
    const hostcrst_info_t info = hostcrst_tsan_info_(crst);
    if (hostcrst_tsan_owns_(&info)) {
        uint32_t entries;
        for (entries = info.recursion; entries > 0; entries--) {
            hostcrst_tsan_unlocking_(HOSTCRST_TSAN_POINTER_(info.address), HOSTCRST_TSAN_REENTRANT_);
        }
    }
    if (info.address != 0 && (info.owner == 0 || hostcrst_tsan_owns_(&info))) {
        __tsan_mutex_destroy(HOSTCRST_TSAN_POINTER_(info.address), 0);
        __tsan_release(HOSTCRST_TSAN_POINTER_(info.address));
    }
    return hostcrst_destroy(crst);
}

#define hostcrst_create hostcrst_tsan_create
#define hostcrst_create_with_spin_count hostcrst_tsan_create_with_spin_count
#define hostcrst_enter hostcrst_tsan_enter
#define hostcrst_enter_timeout hostcrst_tsan_enter_timeout
#define hostcrst_enter_at hostcrst_tsan_enter_at
#define hostcrst_try_enter hostcrst_tsan_try_enter
#define hostcrst_recover hostcrst_tsan_recover
#define hostcrst_leave hostcrst_tsan_leave
#define hostcrst_destroy hostcrst_tsan_destroy

#ifdef __cplusplus
}
#endif

#endif
