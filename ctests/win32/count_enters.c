/*
 * Preloaded before libhostcrst_win32: counts the calls of EnterCriticalSection and TryEnterCriticalSection
 * that go on to that library, in the first 8 bytes of the file that COUNT_ENTERS names: they are there
 * however the process ends.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static unsigned long nowhere, *enters = &nowhere;
static void (*next_enter)(void *);
static int (*next_try_enter)(void *);

/* The next function of this name, which must be that of our library. */
static void *next(const char *name)
{
    Dl_info found;
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL || !dladdr(function, &found)
        || strstr(found.dli_fname, "libhostcrst_win32.so") == NULL) {
        fprintf(stderr, "count_enters: %s is not that of libhostcrst_win32\n", name);
        abort();
    }
    return function;
}

__attribute__((constructor)) static void find(void)
{
    void *enter = next("EnterCriticalSection"), *try_enter = next("TryEnterCriticalSection");
    const char *path = getenv("COUNT_ENTERS");
    int file = open(path == NULL ? "" : path, O_RDWR | O_CLOEXEC);
    void *count = mmap(NULL, sizeof *enters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (count == MAP_FAILED) {
        fprintf(stderr, "count_enters: COUNT_ENTERS names no file of 8 bytes\n");
        abort();
    }
    enters = (unsigned long *)count;
    memcpy(&next_enter, &enter, sizeof next_enter);
    memcpy(&next_try_enter, &try_enter, sizeof next_try_enter);
}

void EnterCriticalSection(void *section)
{
    if (next_enter == NULL) {
        find();
    }
    __atomic_add_fetch(enters, 1, __ATOMIC_RELAXED);
    next_enter(section);
}

int TryEnterCriticalSection(void *section)
{
    if (next_try_enter == NULL) {
        find();
    }
    __atomic_add_fetch(enters, 1, __ATOMIC_RELAXED);
    return next_try_enter(section);
}
