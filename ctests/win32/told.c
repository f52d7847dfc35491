/*
 * Beside WinPR, whose GetLastError a program calls: the library stores its failures there. Built with TOLD_BY_HEADER it
 * includes <hostcrst/win32.h> and is linked with the library; otherwise it is a program of WinPR's, for the preloaded one.
 */
#include <winpr/error.h>
#include <winpr/synch.h>

#ifdef TOLD_BY_HEADER
#include <hostcrst/win32.h>
#endif

#include <stdio.h>

int main(void)
{
    CRITICAL_SECTION section;
    SetLastError(4711);
    /* A flag that nobody knows. */
    BOOL done = InitializeCriticalSectionEx(&section, 0, 0x80000000u);
    DWORD error = GetLastError();
    printf("%d, error %u\n", (int)done, (unsigned)error);
    return done || error != ERROR_INVALID_PARAMETER;
}
