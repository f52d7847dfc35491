/*
 * hostcrst: critical sections that never hang silently, and a true picture of which thread is in managed code
 * and which is in which native function.
 *
 * Results. Every function that can fail returns an int32_t HRESULT: 0 or positive is success, negative is
 * failure. A failure changed nothing, except where the function says so. host_result_message() gives a sentence
 * for each code.
 *
 * Out parameters are written on every path, with 0 on failure. NULL for one is refused with E_POINTER.
 *
 * Handles. hostcrst_t and host_task_t are numbers, not addresses; 0 is never valid. A handle that is forged, of
 * the wrong kind, or whose object is gone gets E_HANDLE. Nothing that a caller passes is undefined behaviour.
 *
 * Options. An option bit that a function does not know gets E_INVALIDARG.
 *
 * Threads. Every function may be called from any thread, without set-up; a thread becomes a task at its first
 * call. No call unwinds, ends the process or changes errno.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef HOSTCRST_H
#define HOSTCRST_H

/* Generated from src/ffi by build.rs. Do not edit: change the source, then run ./dev header. */

#include <stddef.h>
#include <stdint.h>

/* The version of this header; hostcrst_version() tells that of the library. */
#define HOSTCRST_VERSION_MAJOR 0
#define HOSTCRST_VERSION_MINOR 1
#define HOSTCRST_VERSION_PATCH 0
/* One number to compare: 1.2.3 is 1002003. */
#define HOSTCRST_VERSION_NUMBER \
    (HOSTCRST_VERSION_MAJOR * 1000000 + HOSTCRST_VERSION_MINOR * 1000 + HOSTCRST_VERSION_PATCH)
#define HOSTCRST_VERSION_STRING "0.1.0"

/*
 * The names below have Microsoft's values. A header of Windows (or of another implementation, as WinPR's
 * winpr/windows.h) may define some of them too, and may be included before this one or after it: what is
 * defined already is left alone, and what is defined here is no macro, so that a later #define is no redefinition.
 */
#ifdef __cplusplus
#define HOSTCRST_CONSTANT_(name, value) static constexpr int32_t name = value
#else
#define HOSTCRST_CONSTANT_(name, value) enum { name = value }
#endif
#define HOSTCRST_FAILURE_(name, code) HOSTCRST_CONSTANT_(name, (int32_t)(code - 0x100000000LL))

/* The call succeeded. */
#ifndef S_OK
HOSTCRST_CONSTANT_(S_OK, 0);
#endif

/* The call succeeded and there was nothing to do. */
#ifndef S_FALSE
HOSTCRST_CONSTANT_(S_FALSE, 1);
#endif

/* This request is known and refused in this version. */
#ifndef E_NOTIMPL
HOSTCRST_FAILURE_(E_NOTIMPL, 0x80004001);
#endif

/* The object does not answer for the interface asked for. */
#ifndef E_NOINTERFACE
HOSTCRST_FAILURE_(E_NOINTERFACE, 0x80004002);
#endif

/* An argument that must point to something was NULL. */
#ifndef E_POINTER
HOSTCRST_FAILURE_(E_POINTER, 0x80004003);
#endif

/* The operating system refused something that the library cannot do without. */
#ifndef E_FAIL
HOSTCRST_FAILURE_(E_FAIL, 0x80004005);
#endif

/* The handle is zero, forged, of another kind, or its object no longer exists. */
#ifndef E_HANDLE
HOSTCRST_FAILURE_(E_HANDLE, 0x80070006);
#endif

/* Nothing was allocated and nothing changed. */
#ifndef E_OUTOFMEMORY
HOSTCRST_FAILURE_(E_OUTOFMEMORY, 0x8007000E);
#endif

/* A value or an option bit is not one that this function knows. */
#ifndef E_INVALIDARG
HOSTCRST_FAILURE_(E_INVALIDARG, 0x80070057);
#endif

/* The wait was part of a cycle and was chosen to be broken; every section is as it was. */
#ifndef HOST_E_DEADLOCK
HOSTCRST_FAILURE_(HOST_E_DEADLOCK, 0x80131020);
#endif

/* The task was alerted while it waited alertably. */
#ifndef HOST_E_INTERRUPTED
HOSTCRST_FAILURE_(HOST_E_INTERRUPTED, 0x80131021);
#endif

/* The call does not fit the present state of the task or section. */
#ifndef HOST_E_INVALIDOPERATION
HOSTCRST_FAILURE_(HOST_E_INVALIDOPERATION, 0x80131022);
#endif

/* The runtime was not started, was stopped, or has failed. */
#ifndef HOST_E_CLRNOTAVAILABLE
HOSTCRST_FAILURE_(HOST_E_CLRNOTAVAILABLE, 0x80131023);
#endif

/* The time limit passed before the section was free. */
#ifndef HOST_E_TIMEOUT
HOSTCRST_FAILURE_(HOST_E_TIMEOUT, 0x80131024);
#endif

/* The calling task does not own the section. */
#ifndef HOST_E_NOT_OWNER
HOSTCRST_FAILURE_(HOST_E_NOT_OWNER, 0x80131025);
#endif

/* The section was destroyed during the wait, or its owner ended without leaving it. */
#ifndef HOST_E_ABANDONED
HOSTCRST_FAILURE_(HOST_E_ABANDONED, 0x80131026);
#endif

/* Options of a wait, to be combined: pump messages while waiting (accepted, and without effect here). */
#ifndef WAIT_MSGPUMP
HOSTCRST_CONSTANT_(WAIT_MSGPUMP, 1);
#endif

/* The wait ends with HOST_E_INTERRUPTED when its task is alerted. */
#ifndef WAIT_ALERTABLE
HOSTCRST_CONSTANT_(WAIT_ALERTABLE, 2);
#endif

/* The wait is never chosen as the victim of a deadlock. */
#ifndef WAIT_NOTINDEADLOCK
HOSTCRST_CONSTANT_(WAIT_NOTINDEADLOCK, 4);
#endif

#undef HOSTCRST_CONSTANT_
#undef HOSTCRST_FAILURE_

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ====================================================================================================
 * shims
 * ==================================================================================================== */

/**
 * A version.
 */
const char *hostcrst_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HOSTCRST_H */
