/*
 * What ThreadSanitizer is told of locks. hostcrst.h and win32.h include this by themselves in a program that is compiled
 * with -fsanitize=thread: docs/sanitizers.md. ThreadSanitizer sees nothing of what the library does to memory, as that is
 * not compiled so.
 *
 * A lock is told of after it was taken and before it is let go, each at once: ThreadSanitizer ignores a thread between
 * the two halves of what it is told, and a callback or a signal handler may run while the library waits.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef HOSTCRST_TSAN_H
#define HOSTCRST_TSAN_H

#include <stddef.h>
#include <stdint.h>

/* Inlined, so that both ThreadSanitizer and the library see the program's function as the caller. */
#define HOSTCRST_TSAN_INLINE_ __attribute__((always_inline, unused)) static __inline__

#ifdef __cplusplus
#define HOSTCRST_TSAN_POINTER_(number) reinterpret_cast<void *>(number)
#define HOSTCRST_TSAN_NUMBER_(pointer) reinterpret_cast<uintptr_t>(pointer)
#define HOSTCRST_TSAN_PLAIN_(pointer) const_cast<void *>(pointer)
#else
#define HOSTCRST_TSAN_POINTER_(number) ((void *)(number))
#define HOSTCRST_TSAN_NUMBER_(pointer) ((uintptr_t)(pointer))
#define HOSTCRST_TSAN_PLAIN_(pointer) ((void *)(uintptr_t)(pointer))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* As in <sanitizer/tsan_interface.h>, which not every compiler brings. */
void __tsan_mutex_create(void *lock, unsigned flags);
void __tsan_mutex_destroy(void *lock, unsigned flags);
void __tsan_mutex_pre_lock(void *lock, unsigned flags);
void __tsan_mutex_post_lock(void *lock, unsigned flags, int recursion);
int __tsan_mutex_pre_unlock(void *lock, unsigned flags);
void __tsan_mutex_post_unlock(void *lock, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);

enum { HOSTCRST_TSAN_REENTRANT_ = 2, HOSTCRST_TSAN_SHARED_ = 8, HOSTCRST_TSAN_TRY_ = 16 };

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_locked_(void *lock, unsigned flags)
{
    __tsan_mutex_pre_lock(lock, flags);
    __tsan_mutex_post_lock(lock, flags, 1);
}

HOSTCRST_TSAN_INLINE_ void hostcrst_tsan_unlocking_(void *lock, unsigned flags)
{
    __tsan_mutex_pre_unlock(lock, flags);
    __tsan_mutex_post_unlock(lock, flags);
}

#ifdef __cplusplus
}
#endif

#endif
