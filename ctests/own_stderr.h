/*
 * Makes a file the stderr of the including program, before the library is loaded: the library writes to no other file.
 * Tests read there what the program's children write; what is left goes to the original stderr when the program exits.
 */
#ifndef OWN_STDERR_H
#define OWN_STDERR_H

#include "check.h"

#include <fcntl.h>
#include <sys/mman.h>

/* Names the descriptor of the original stderr, after the program was executed again. */
#define OWN_STDERR_VARIABLE "CHECK_TRUE_STDERR"

/* The process that shows the rest: no child of it. */
static pid_t own_stderr_shower;

static void own_stderr_show_rest(void)
{
    char piece[4096];
    ssize_t count;
    int true_stderr = (int)check_number_from(OWN_STDERR_VARIABLE, 0);
    if (getpid() != own_stderr_shower) {
        return;
    }
    for (off_t at = 0; (count = pread(STDERR_FILENO, piece, sizeof piece, at)) > 0; at += count) {
        if (write(true_stderr, piece, (size_t)count) != count) {
            return;
        }
    }
}

/* Of this process: not every libc gives them to constructors. */
static void own_stderr_read_arguments(char **arguments, size_t room)
{
    static char line[1 << 16];
    int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(file, line, sizeof line - 1);
    REQUIRE(length > 0);
    close(file);
    size_t count = 0;
    for (char *at = line; at < line + length && count + 1 < room; at += strlen(at) + 1) {
        arguments[count++] = at;
    }
    arguments[count] = NULL;
}

__attribute__((constructor)) static void own_stderr_begin_anew(void)
{
    char number[16];
    char *arguments[64];
    if (getenv(OWN_STDERR_VARIABLE) != NULL) {
        return;
    }
    int file = memfd_create("stderr", MFD_CLOEXEC);
    /* Of two threads that write to such a file at once, one writes over the other's, unless both append. */
    REQUIRE_EQ(fcntl(file, F_SETFL, O_APPEND), 0);
    int true_stderr = fcntl(STDERR_FILENO, F_DUPFD, 100);
    REQUIRE(file >= 0 && true_stderr >= 0);
    snprintf(number, sizeof number, "%d", true_stderr);
    REQUIRE_EQ(setenv(OWN_STDERR_VARIABLE, number, 1), 0);
    REQUIRE_EQ(dup2(file, STDERR_FILENO), STDERR_FILENO);
    own_stderr_read_arguments(arguments, sizeof arguments / sizeof arguments[0]);
    check_execute_anew(arguments);
    check_that(0, __FILE__, __LINE__, "the program begins anew");
    check_give_up();
}

/* Forgets what was said until now. */
static inline void own_stderr_empty(void)
{
    if (own_stderr_shower == 0) {
        own_stderr_shower = getpid();
        REQUIRE_EQ(atexit(own_stderr_show_rest), 0);
    }
    REQUIRE_EQ(ftruncate(STDERR_FILENO, 0), 0);
}

#endif
