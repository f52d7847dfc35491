/* A native function for the tests' .NET programs to be in. */
#define _GNU_SOURCE
#include <pthread.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int opened;

/* The threads that have come to the gate. */
enum { MOST = 64 };
static int came;
static long threads[MOST];

static void come(void)
{
    if (came < MOST) {
        threads[came++] = syscall(SYS_gettid);
    }
}

static int is_asleep(long thread)
{
    char path[64], line[512] = "";
    const char *after_name;
    FILE *file;
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", thread);
    file = fopen(path, "r");
    if (file != NULL) {
        after_name = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
        fclose(file);
        return after_name != NULL && strncmp(after_name, ") S", 3) == 0;
    }
    return 0;
}

/* Waits at the gate until it is opened, if asked to. Returns what it got. */
int gate(int wait)
{
    if (wait != 0) {
        pthread_mutex_lock(&mutex);
        come();
        while (!opened) {
            pthread_cond_wait(&changed, &mutex);
        }
        pthread_mutex_unlock(&mutex);
    }
    return wait;
}

/* How many threads sleep at the gate. */
int gate_waiting(void)
{
    int count = 0;
    pthread_mutex_lock(&mutex);
    for (int at = 0; at < came; at++) {
        count += is_asleep(threads[at]);
    }
    pthread_mutex_unlock(&mutex);
    return count;
}

void gate_open(void)
{
    pthread_mutex_lock(&mutex);
    opened = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static int lines;

static void *count_lines(void *unused)
{
    char byte;
    int more = 1;
    (void)unused;
    while (more) {
        more = read(0, &byte, 1) == 1;
        pthread_mutex_lock(&mutex);
        /* When the input ends, nobody is to stay. */
        lines = more ? lines + (byte == '\n') : INT_MAX;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

/* Stays until the input has had so many lines. */
void gate_stay(int until)
{
    pthread_t counts;
    pthread_mutex_lock(&mutex);
    if (lines < until) {
        if (came == 0) {
            pthread_create(&counts, NULL, count_lines, NULL);
        }
        come();
    }
    while (lines < until) {
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

static void end_late(void)
{
    char byte;
    if (write(1, "hung\n", 5) == 5) {
        while (read(0, &byte, 1) == 1) {
        }
    }
}

/* The process ends once its input has. */
void gate_end_late(void)
{
    atexit(end_late);
}

typedef int visit_t(int what);

/* Calls back, not as the last that it does. */
int gate_call(visit_t *visit, int what)
{
    volatile int result = visit(what);
    return result;
}

/* As the last: nothing of it is left on the stack meanwhile. */
int gate_jump(visit_t *visit, int what)
{
    return visit(what);
}

struct job {
    visit_t *visit;
    const char *name;
    int result;
};

static void *run_job(void *argument)
{
    struct job *job = argument;
    if (job->name != NULL) {
        pthread_setname_np(pthread_self(), job->name);
    }
    job->result = job->visit(0);
    return NULL;
}

/* Calls back on a thread of its own, with that name unless it is NULL. */
int gate_thread(visit_t *visit, const char *name)
{
    pthread_t thread;
    struct job job = {visit, name, -1};
    if (pthread_create(&thread, NULL, run_job, &job) == 0) {
        pthread_join(thread, NULL);
    }
    return job.result;
}
