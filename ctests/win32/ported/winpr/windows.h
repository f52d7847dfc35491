/* What tinycthread expects of Windows: of WinPR, with the library's critical sections, and what neither has. */
#include <winpr/error.h>
#include <winpr/handle.h>
#include <winpr/interlocked.h>
#include <winpr/synch.h>
#include <winpr/thread.h>
#include <winpr/wtypes.h>

#include <hostcrst/win32.h>

#define NTAPI
#define DLL_PROCESS_DETACH 0
#define DLL_THREAD_DETACH 3
#define GetThreadId(thread) ((size_t)(thread))
/* Not asked for here, and WinPR has another name for it. */
#define GetCurrentThread() NULL

typedef void (*PIMAGE_TLS_CALLBACK)(void *, DWORD, void *);
