/* Helpers for the tests of reports and of the environment: text from a descriptor, this program run again. */
#ifndef CAPTURE_H
#define CAPTURE_H

#include "host.h"
#include "own_stderr.h"

#include <fcntl.h>
#include <sys/stat.h>

/* All that a file contains, terminated by a zero; to be freed. */
static inline char *content_of(int descriptor)
{
    struct stat status;
    REQUIRE_EQ(fstat(descriptor, &status), 0);
    char *text = (char *)zeroed((size_t)status.st_size + 1, 1);
    CHECK_EQ(pread(descriptor, text, (size_t)status.st_size, 0), status.st_size);
    return text;
}

static inline int nameless_file(void)
{
    int descriptor = memfd_create("report", MFD_CLOEXEC);
    REQUIRE(descriptor >= 0);
    return descriptor;
}

/* The report of this moment; to be freed. */
static inline char *report_in(uint32_t format)
{
    int descriptor = nameless_file();
    CHECK_EQ(KEEPING_ERRNO(host_report(descriptor, format)), S_OK);
    char *text = content_of(descriptor);
    close(descriptor);
    return text;
}

static inline char *text_report(void)
{
    return report_in(HOST_REPORT_TEXT);
}

#define CHECK_CONTAINS(text, part) check_contains((text), (part), 1, __FILE__, __LINE__)
#define CHECK_LACKS(text, part) check_contains((text), (part), 0, __FILE__, __LINE__)

static inline void check_contains(const char *text, const char *part, int wanted, const char *file, int line)
{
    if ((strstr(text, part) != NULL) != wanted) {
        check_fail(file, line, "%s '%s':", wanted ? "should contain" : "should not contain", part);
        printf("%s\n", text);
    }
}

/* A line, or several, put together like printf. */
typedef struct line {
    char text[512];
} line_t;

__attribute__((format(printf, 1, 2)))
static inline line_t line_of(const char *format, ...)
{
    line_t line;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line.text, sizeof line.text, format, arguments);
    va_end(arguments);
    return line;
}

static inline int times_in(const char *text, const char *part)
{
    int times = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        times++;
    }
    return times;
}

/* What one run of this program, or one child, did. `said` is what it wrote to stderr; to be freed. */
typedef struct run {
    pid_t process;
    int status;
    char *said;
} run_t;

/* The run when its process has ended. */
static inline run_t end_of(run_t run, int said)
{
    REQUIRE_EQ(waitpid(run.process, &run.status, 0), run.process);
    run.said = content_of(said);
    close(said);
    return run;
}

/*
 * Runs one test of this program as a program of its own, with variables of the environment ("NAME=value", up
 * to three). What it says on stderr is kept; to be freed.
 */
static inline run_t run_again(const char *test, const char *first, const char *second, const char *third)
{
    run_t run;
    const char *variables[3] = {first, second, third};
    int said = nameless_file();
    fflush(stdout);
    run.process = fork();
    REQUIRE(run.process >= 0);
    if (run.process == 0) {
        for (int at = 0; at < 3; at++) {
            if (variables[at] != NULL) {
                putenv(strdup(variables[at]));
            }
        }
        dup2(said, STDERR_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        check_execute_test(test);
        _exit(127);
    }
    return end_of(run, said);
}

/* A child of this process that does `body` under a policy for deadlocks, NULL for that of the environment. */
static inline run_t child_of(void (*body)(void), const char *policy)
{
    run_t run;
    fflush(stdout);
    own_stderr_empty();
    run.process = fork();
    REQUIRE(run.process >= 0);
    if (run.process == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        check_failures = 0;
        alarm(2 * CHECK_PATIENCE_SECONDS);
        if (policy != NULL) {
            setenv("HOSTCRST_ON_DEADLOCK", policy, 1);
        }
        body();
        fflush(stdout);
        _exit(check_failed_so_far() != 0);
    }
    run = end_of(run, dup(STDERR_FILENO));
    own_stderr_empty();
    return run;
}

#endif
