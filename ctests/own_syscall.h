/* A syscall() of the program's own that replaces libc's, also for the library. */
#ifndef OWN_SYSCALL_H
#define OWN_SYSCALL_H

#include "check.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>

/* What the program does with a system call: 1 if it has made the call, with this result. */
static int stands_in(long number, const long *arguments, long *result);

/* Reads six arguments however many there are, which an AddressSanitizer need not know. */
__attribute__((no_sanitize_address))
long syscall(long number, ...)
{
    static long (*syscall_of_libc)(long, ...);
    long of_call[6];
    long result = 0;
    va_list arguments;
    va_start(arguments, number);
    for (int at = 0; at < 6; at++) {
        of_call[at] = va_arg(arguments, long);
    }
    va_end(arguments);
    if (stands_in(number, of_call, &result)) {
        return result;
    }
    if (syscall_of_libc == NULL) {
        *(void **)&syscall_of_libc = dlsym(RTLD_NEXT, "syscall");
    }
    return syscall_of_libc(number, of_call[0], of_call[1], of_call[2], of_call[3], of_call[4], of_call[5]);
}

#endif
