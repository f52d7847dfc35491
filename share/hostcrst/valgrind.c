/*
 * Tells helgrind and drd, two tools of Valgrind, in what order the locks of hostcrst put threads. The program need not be
 * compiled for it:
 *
 *     cc -O2 -shared -fPIC -o hostcrst-valgrind.so PREFIX/share/hostcrst/valgrind.c
 *     LD_PRELOAD=$PWD/hostcrst-valgrind.so valgrind --tool=helgrind --suppressions=PREFIX/share/hostcrst/hostcrst.supp PROGRAM
 *
 * Valgrind calls a function below instead of the library's of the same name: in libhostcrst.so, and in a program which
 * libhostcrst.a is part of. Needs Valgrind's headers. See docs/sanitizers.md.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <stdint.h>
#include <valgrind/helgrind.h>

typedef uintptr_t word;

/* What a thread did before it releases is before what another does after it has acquired. drd knows these two also. */
#define RELEASES(lock) ANNOTATE_HAPPENS_BEFORE(lock)
#define ACQUIRED(lock) ANNOTATE_HAPPENS_AFTER(lock)

/* The replacements, of which the body is the rest: it begins with the library's own function in `original`. */
#define INSTEAD_OF_IN(file, name, parameters, ...) \
    word I_WRAP_SONAME_FNNAME_ZU(file, name) parameters \
    { \
        OrigFn original; \
        word result; \
        VALGRIND_GET_ORIG_FN(original); \
        __VA_ARGS__ \
        return result; \
    }
#define INSTEAD_OF(name, parameters, ...) \
    INSTEAD_OF_IN(libhostcrstZdsoZa, name, parameters, __VA_ARGS__) \
    INSTEAD_OF_IN(NONE, name, parameters, __VA_ARGS__)

#define CALL_1 CALL_FN_W_W(result, original, a)
#define CALL_2 CALL_FN_W_WW(result, original, a, b)
#define CALL_3 CALL_FN_W_WWW(result, original, a, b, c)
#define CALL_4 CALL_FN_W_WWWW(result, original, a, b, c, d)

/* An HRESULT is 32 bits wide, a BOOLEAN 8. */
#define SUCCEEDED ((int32_t)result >= 0)

INSTEAD_OF(hostcrst_enter, (word a, word b), CALL_2; if (SUCCEEDED) ACQUIRED(a);)
INSTEAD_OF(hostcrst_enter_timeout, (word a, word b, word c), CALL_3; if (SUCCEEDED) ACQUIRED(a);)
INSTEAD_OF(hostcrst_try_enter, (word a, word b, word c), CALL_3; if (SUCCEEDED && *(int32_t *)c) ACQUIRED(a);)
INSTEAD_OF(hostcrst_recover, (word a), CALL_1; if (SUCCEEDED) ACQUIRED(a);)
INSTEAD_OF(hostcrst_leave, (word a), RELEASES(a); CALL_1;)

INSTEAD_OF(hostcrst_cs_enter, (word a), CALL_1; ACQUIRED(a);)
INSTEAD_OF(hostcrst_cs_try_enter, (word a), CALL_1; if ((int32_t)result) ACQUIRED(a);)
INSTEAD_OF(hostcrst_cs_leave, (word a), RELEASES(a); CALL_1;)

/* Those that share a lock are ordered with its owners, but not with each other. */
#define SHARES_OF(lock) ((lock) + 1)
#define ACQUIRED_EXCLUSIVE(lock) \
    do { \
        ACQUIRED(lock); \
        ACQUIRED(SHARES_OF(lock)); \
    } while (0)

INSTEAD_OF(hostcrst_srw_acquire_exclusive, (word a), CALL_1; ACQUIRED_EXCLUSIVE(a);)
INSTEAD_OF(hostcrst_srw_acquire_shared, (word a), CALL_1; ACQUIRED(a);)
INSTEAD_OF(hostcrst_srw_try_acquire_exclusive, (word a), CALL_1; if ((uint8_t)result) ACQUIRED_EXCLUSIVE(a);)
INSTEAD_OF(hostcrst_srw_try_acquire_shared, (word a), CALL_1; if ((uint8_t)result) ACQUIRED(a);)
INSTEAD_OF(hostcrst_srw_release_exclusive, (word a), RELEASES(a); CALL_1;)
INSTEAD_OF(hostcrst_srw_release_shared, (word a), RELEASES(SHARES_OF(a)); CALL_1;)

/* A sleep lets go of the lock, the second argument, and takes it again; the last argument may say that it is shared. */
INSTEAD_OF(hostcrst_cv_sleep, (word a, word b, word c), RELEASES(b); CALL_3; ACQUIRED(b);)
INSTEAD_OF(hostcrst_cv_sleep_srw, (word a, word b, word c, word d),
    RELEASES(d & 1 ? SHARES_OF(b) : b);
    CALL_4;
    if (d & 1) ACQUIRED(b); else ACQUIRED_EXCLUSIVE(b);)

/* A wake orders nothing. But drd would show the first access of what is called here as one of the program's. */
INSTEAD_OF(hostcrst_cv_wake, (word a), CALL_1;)
INSTEAD_OF(hostcrst_cv_wake_all, (word a), CALL_1;)

INSTEAD_OF(hostcrst_address_wait, (word a, word b, word c, word d), CALL_4; if ((int32_t)result) ACQUIRED(a);)
INSTEAD_OF(hostcrst_address_wake, (word a), RELEASES(a); CALL_1;)
INSTEAD_OF(hostcrst_address_wake_all, (word a), RELEASES(a); CALL_1;)

INSTEAD_OF(hostcrst_once_begin, (word a, word b, word c, word d), CALL_4; if ((int32_t)result) ACQUIRED(a);)
INSTEAD_OF(hostcrst_once_complete, (word a, word b, word c), RELEASES(a); CALL_3;)
