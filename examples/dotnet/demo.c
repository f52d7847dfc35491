/*
 * The native half of the demo: what Demo.cs calls, and what calls it back.
 *
 * It asks the library for its own thread's layers at every point of the nested call, compares them with what
 * it saw at the point before, and so finds out which transition happened in between.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

#include "hostcrst.h"

#define MAX_LAYERS 16
#define MAX_SEEN 16
#define NATIVE_WORKERS 2

typedef void (*demo_callback_t)(void);

/* Where threads wait until the program has taken its report. */
static pthread_mutex_t gate_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static int gate_open;
static int gate_waiting;

/* What the nested thread has seen: the transitions by the page's names, and its layers at the last point. */
static const char *seen[MAX_SEEN];
static size_t seen_count;
static host_layer_t before[MAX_LAYERS];
static size_t before_depth;

static void wait_at_gate(void)
{
    pthread_mutex_lock(&gate_mutex);
    gate_waiting++;
    while (!gate_open) {
        pthread_cond_wait(&gate_changed, &gate_mutex);
    }
    gate_waiting--;
    pthread_mutex_unlock(&gate_mutex);
}

/* How many threads wait at the gate. */
int32_t demo_waiting_at_gate(void)
{
    int32_t waiting;
    pthread_mutex_lock(&gate_mutex);
    waiting = gate_waiting;
    pthread_mutex_unlock(&gate_mutex);
    return waiting;
}

void demo_open_gate(void)
{
    pthread_mutex_lock(&gate_mutex);
    gate_open = 1;
    pthread_cond_broadcast(&gate_changed);
    pthread_mutex_unlock(&gate_mutex);
}

/* The transition that leads from the layers seen before to those of now, or NULL if it is not exactly one. */
static const char *transition(const host_layer_t *now, size_t depth)
{
    size_t common = depth < before_depth ? depth : before_depth;
    size_t i;
    for (i = 0; i < common; i++) {
        if (now[i].kind != before[i].kind || now[i].target != before[i].target) {
            return NULL;
        }
    }
    if (depth == before_depth + 1) {
        return now[depth - 1].kind == HOST_LAYER_LEAVE ? "LeaveRuntime" : "ReverseEnterRuntime";
    }
    if (depth + 1 == before_depth) {
        return before[depth].kind == HOST_LAYER_LEAVE ? "EnterRuntime" : "ReverseLeaveRuntime";
    }
    return NULL;
}

/*
 * Looks at the calling thread's layers, leaves out the innermost `own` (the call that asks), and prints and
 * keeps the transition since the last look.
 */
static void look(const char *where, size_t own)
{
    host_task_t task = 0;
    host_layer_t now[MAX_LAYERS];
    size_t depth = 0;
    const char *name = NULL;
    size_t i;

    if (host_task_current(&task) == S_OK && host_task_layers(task, now, MAX_LAYERS, &depth) == S_OK
        && depth >= own && depth - own <= MAX_LAYERS) {
        depth -= own;
        name = transition(now, depth);
        for (i = 0; i < depth; i++) {
            before[i] = now[i];
        }
        before_depth = depth;
    }
    if (name == NULL) {
        name = "(not one transition)";
    }
    if (seen_count < MAX_SEEN) {
        seen[seen_count++] = name;
    }
    printf("  %u. %-20s depth %u, seen %s\n", (unsigned)seen_count, name, (unsigned)depth, where);
    fflush(stdout);
}

/* A look from managed code, which takes a call of its own. */
void demo_look(void)
{
    look("in C#", 1);
}

void demo_inner(void)
{
    look("in C, demo_inner", 0);
    wait_at_gate();
}

void demo_outer(demo_callback_t callback)
{
    look("in C, demo_outer", 0);
    callback();
    look("in C, demo_outer again", 0);
}

/* The name of the transition number `index`, NULL past the last. */
const char *demo_seen(int32_t index)
{
    return index >= 0 && (size_t)index < seen_count ? seen[index] : NULL;
}

void demo_park(void)
{
    wait_at_gate();
}

/* Two counters that C# and C change without any atomic operation: only the sections make that right. */
static int64_t counters[2];

int64_t *demo_counter(int32_t index)
{
    return &counters[index];
}

struct work {
    hostcrst_t sections[2];
    int32_t rounds;
    const char *name;
    int32_t result;
};

static struct work works[NATIVE_WORKERS];
static pthread_t workers[NATIVE_WORKERS];

static int32_t add_one(const struct work *work, int32_t round)
{
    int32_t which = round % 2;
    int32_t result = hostcrst_enter(work->sections[which], 0);
    if (result < 0) {
        return result;
    }
    counters[which]++;
    return hostcrst_leave(work->sections[which]);
}

static void *run_worker(void *argument)
{
    struct work *work = argument;
    host_task_t task = 0;
    int32_t round;

    work->result = host_task_current(&task);
    if (work->result >= 0) {
        work->result = host_task_set_name(task, work->name);
    }
    for (round = 0; round < work->rounds && work->result >= 0; round++) {
        work->result = add_one(work, round);
    }
    return NULL;
}

/* Starts the C threads; each adds `rounds` ones, alternately to both counters. Returns how many started. */
int32_t demo_start_native_workers(hostcrst_t first, hostcrst_t second, int32_t rounds)
{
    static const char *const names[NATIVE_WORKERS] = {"native worker 1", "native worker 2"};
    int32_t i;
    for (i = 0; i < NATIVE_WORKERS; i++) {
        works[i].sections[0] = first;
        works[i].sections[1] = second;
        works[i].rounds = rounds;
        works[i].name = names[i];
        if (pthread_create(&workers[i], NULL, run_worker, &works[i]) != 0) {
            break;
        }
    }
    return i;
}

/* Waits for the `count` C threads that were started; the first failure any of them met, or S_OK. */
int32_t demo_join_native_workers(int32_t count)
{
    int32_t result = S_OK;
    int32_t i;
    for (i = 0; i < count; i++) {
        pthread_join(workers[i], NULL);
        if (result >= 0 && works[i].result < 0) {
            result = works[i].result;
        }
    }
    return result;
}

static int32_t section_info(hostcrst_t section, hostcrst_info_t *info)
{
    info->size = sizeof *info;
    return hostcrst_info(section, info);
}

/* How many tasks wait for a section, or a failure. */
int32_t demo_waiters(hostcrst_t section)
{
    hostcrst_info_t info;
    int32_t result = section_info(section, &info);
    return result < 0 ? result : (int32_t)info.waiters;
}

/* How many entries into a section had to wait, or a failure. */
int64_t demo_contended(hostcrst_t section)
{
    hostcrst_info_t info;
    int32_t result = section_info(section, &info);
    return result < 0 ? result : (int64_t)info.contended;
}
