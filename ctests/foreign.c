/*
 * Waits for what is not the library's, as reports and stall lines on this process show them: glibc's locks, joins and
 * system calls, and cycles through them. Each situation plays in a child, as its threads never end.
 */
#include "capture.h"

#include <hostcrst/win32.h>

#include <linux/futex.h>
#include <semaphore.h>
#include <sys/syscall.h>

/* ---- a situation ---- */

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive;
static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static int pipe_ends[2];
static hostcrst_t section;
/* All threads have taken their first lock. */
static pthread_barrier_t ready;

static void is_called(const char *name)
{
    REQUIRE_EQ(pthread_setname_np(pthread_self(), name), 0);
}

static void *one(void *unused)
{
    is_called("one");
    pthread_mutex_lock(&plain);
    pthread_barrier_wait(&ready);
    pthread_mutex_lock(&recursive);
    return unused;
}

static void *two(void *unused)
{
    is_called("two");
    pthread_mutex_lock(&recursive);
    pthread_barrier_wait(&ready);
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    return unused;
}

static void *three(void *unused)
{
    is_called("three");
    REQUIRE_EQ(hostcrst_enter(section, 0), S_OK);
    pthread_barrier_wait(&ready);
    pthread_mutex_lock(&plain);
    return unused;
}

static void *four(void *unused)
{
    is_called("four");
    pthread_rwlock_wrlock(&rwlock);
    pthread_barrier_wait(&ready);
    pthread_mutex_lock(&plain);
    return unused;
}

static void *five(void *unused)
{
    is_called("five");
    pthread_barrier_wait(&ready);
    pthread_rwlock_rdlock(&rwlock);
    return unused;
}

static void *six(void *thread)
{
    is_called("six");
    pthread_barrier_wait(&ready);
    pthread_join(*(pthread_t *)thread, NULL);
    return NULL;
}

static void *seven(void *unused)
{
    is_called("seven");
    pthread_mutex_lock(&never);
    pthread_barrier_wait(&ready);
    for (;;) {
        pthread_cond_wait(&condition, &never);
    }
    return unused;
}

static void *eight(void *unused)
{
    is_called("eight");
    pthread_barrier_wait(&ready);
    while (sem_wait(&semaphore) != 0) {
    }
    return unused;
}

static void *nine(void *unused)
{
    char byte;
    is_called("nine");
    pthread_barrier_wait(&ready);
    while (read(pipe_ends[0], &byte, 1) < 0) {
    }
    return unused;
}

static pthread_t start(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    REQUIRE_EQ(pthread_create(&thread, NULL, body, argument), 0);
    return thread;
}

/* Of the recursive mutex. */
static int sharing = PTHREAD_PROCESS_PRIVATE;

static void prepare(unsigned threads)
{
    pthread_mutexattr_t attributes;
    start_runtime();
    section = new_section();
    CHECK_EQ(hostcrst_set_name(section, "section"), S_OK);
    REQUIRE_EQ(pthread_mutexattr_init(&attributes), 0);
    REQUIRE_EQ(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE), 0);
    REQUIRE_EQ(pthread_mutexattr_setpshared(&attributes, sharing), 0);
    REQUIRE_EQ(pthread_mutex_init(&recursive, &attributes), 0);
    REQUIRE_EQ(sem_init(&semaphore, 0, 0), 0);
    REQUIRE_EQ(pipe(pipe_ends), 0);
    REQUIRE_EQ(pthread_barrier_init(&ready, NULL, threads + 1), 0);
}

/* The first report with all of `wanted`, NULL at the end: threads have to fall asleep first. To be freed. */
static char *report_with(uint32_t format, const char *const *wanted)
{
    struct timespec deadline = check_deadline_from_now();
    for (;;) {
        char *report = report_in(format);
        const char *const *lacking = wanted;
        while (*lacking != NULL && strstr(report, *lacking) != NULL) {
            lacking++;
        }
        if (*lacking == NULL) {
            return report;
        }
        if (check_passed(&deadline)) {
            CHECK_CONTAINS(report, *lacking);
            return report;
        }
        free(report);
        check_pause();
    }
}

/* The heading, and then the cycle of `one`, `two` and `three`, whoever of them has the lowest thread id. */
static void check_cycle_of_three(const char *report, const char *heading)
{
    static const char *const names[] = {"\n\"one\" tid=", "\n\"two\" tid=", "\n\"three\" tid="};
    const char *at = strstr(report, heading);
    int first = 0;
    REQUIRE(at != NULL);
    at += strlen(heading);
    while (first < 2 && strncmp(at, names[first], strlen(names[first])) != 0) {
        first++;
    }
    CHECK(strncmp(at, names[first], strlen(names[first])) == 0);
    for (int step = 0; step < 3; step++) {
        at = strstr(at, names[(first + step) % 3]);
        REQUIRE(at != NULL);
    }
}

/* ---- stderr ---- */

static void await_said(const char *wanted)
{
    int is_said;
    struct timespec deadline = check_deadline_from_now();
    do {
        char *said = content_of(STDERR_FILENO);
        is_said = strstr(said, wanted) != NULL;
        if (!is_said && check_passed(&deadline)) {
            CHECK_CONTAINS(said, wanted);
            is_said = 1;
        }
        free(said);
        check_pause();
    } while (!is_said);
}

/* What `body` says under a stall time. */
static char *said_in_stalls(void (*body)(void))
{
    REQUIRE_EQ(setenv("HOSTCRST_STALL", "50ms", 1), 0);
    run_t run = child_of(body, NULL);
    CHECK_EQ(run.status, 0);
    return run.said;
}

/* ---- reports ---- */

static void hang_on_everything(void)
{
    static pthread_t first;
    prepare(9);
    first = start(one, NULL);
    start(two, NULL);
    start(three, NULL);
    start(four, NULL);
    start(five, NULL);
    start(six, &first);
    start(seven, NULL);
    start(eight, NULL);
    start(nine, NULL);
    pthread_barrier_wait(&ready);
}

static void check_that_everything_is_shown(void)
{
    static const char *const wanted[] = {
        "Found 1 deadlock through locks of other kinds.\n",
        "\n\"six\" tid=", "   waiting for the end of a thread (join)\n      which is \"one\" tid=",
        "\n\"five\" tid=", "   waiting to read-lock rwlock 0x", "      which is held for writing by \"four\" tid=",
        "   waiting for mutex 0x", ", as 1 other does\n      which is owned by \"one\" tid=",
        "   waiting on condition variable 0x", "   waiting for semaphore 0x",
        " [blocked in read]\n   read from fd ", " pipe:[",
        NULL};
    char *report = report_with(HOST_REPORT_TEXT, wanted);
    check_cycle_of_three(report, "\nFound a deadlock:\n=================");
    CHECK_CONTAINS(report, "   waiting for recursive mutex 0x");
    CHECK_CONTAINS(report, "      which is owned by \"two\" tid=");
    CHECK_CONTAINS(report, line_of("   waiting to enter section 0x%llx \"section\"\n      which is owned by \"three\" tid=",
                                   (unsigned long long)section).text);
    CHECK_LACKS(report, "No deadlock");
    CHECK_LACKS(report, "robably");
    free(report);

    static const char *const members[] = {
        "\"thread_deadlocks\":[{\"certain\":true,\"managed\":false,\"tids\":[", "\"kind\":\"join\"", "\"kind\":\"rwlock\"",
        "\"kind\":\"mutex\"", "\"behaviour\":\"recursive\"", "\"kind\":\"condition_variable\"", "\"kind\":\"semaphore\"",
        "\"call\":\"read\",\"meaning\":\"from fd ", "\"other_locks\":3,\"blocked_without_owner\":3,", "\"not_examined\":[]",
        NULL};
    free(report_with(HOST_REPORT_JSON, members));

    static const char *const edges[] = {"[label=\"join\"]", "[label=\"mutex 0x", "\",color=red];\n", NULL};
    report = report_with(HOST_REPORT_DOT, edges);
    CHECK_LACKS(report, "style=dashed");
    /* Its cycle: two locks, and a section with an arrow on either side. */
    CHECK_EQ(times_in(report, ",color=red]"), 4);
    free(report);
}

static void show_everything(void)
{
    hang_on_everything();
    check_that_everything_is_shown();
}

/* Neither tasks nor threads that never called the library hang in vain. */
static void a_cycle_through_locks_of_all_kinds_is_told(void)
{
    in_child(show_everything);
}

static void *show_everything_and_exit(void *unused)
{
    REQUIRE_SOON(check_thread_state(getpid(), getpid()) == 'Z');
    check_that_everything_is_shown();
    fflush(stdout);
    _exit(check_failed_so_far());
    return unused;
}

static void hang_and_end(void)
{
    hang_on_everything();
    start(show_everything_and_exit, NULL);
    pthread_exit(NULL);
}

/* By then the process's own entries in /proc say nothing of its memory and its descriptors. */
static void a_cycle_is_told_after_the_first_thread_has_ended(void)
{
    in_child(hang_and_end);
}

static void *lock_with_a_limit(void *unused)
{
    struct timespec later;
    is_called("limited");
    pthread_mutex_lock(&recursive);
    pthread_barrier_wait(&ready);
    clock_gettime(CLOCK_REALTIME, &later);
    later.tv_sec += 1000;
    pthread_mutex_timedlock(&plain, &later);
    return unused;
}

static void wait_with_a_limit(void)
{
    prepare(2);
    start(one, NULL);
    start(lock_with_a_limit, NULL);
    pthread_barrier_wait(&ready);
    static const char *const wanted[] = {
        "   waiting for recursive mutex 0x", " (with a time limit)\n      which is owned by \"one\" tid=",
        "\nNo deadlock among 1 section and 2 other locks seen; 0 threads blocked in what has no owner.\n", NULL};
    char *report = report_with(HOST_REPORT_TEXT, wanted);
    CHECK_LACKS(report, "eadlock:");
    free(report);
}

static void a_cycle_that_a_time_limit_opens_is_no_deadlock(void)
{
    in_child(wait_with_a_limit);
}

static int is_slept_enough;

/* Where the last call had its time, other things stand after it. */
__attribute__((noinline)) static void use_stack(void)
{
    uint64_t words[512];
    for (int at = 0; at < 512; at++) {
        words[at] = 3;
    }
    __asm__ volatile("" : : "r"(words) : "memory");
}

static void *sleep_often(void *unused)
{
    while (!__atomic_load_n(&is_slept_enough, __ATOMIC_RELAXED)) {
        usleep(100);
        for (int time = 0; time < 300; time++) {
            use_stack();
        }
    }
    return unused;
}

static void look_at_sleepers(void)
{
    static const char begin[] = "clock_nanosleep for ";
    pthread_t threads[4];
    int seen = 0;
    start_runtime();
    for (int at = 0; at < 4; at++) {
        threads[at] = start(sleep_often, NULL);
    }
    struct timespec deadline = check_deadline_from_now();
    for (int look = 0; look < 400 || (seen == 0 && !check_passed(&deadline)); look++) {
        char *report = text_report();
        for (const char *at = strstr(report, begin); at != NULL; at = strstr(at + 1, begin)) {
            seen++;
            CHECK(strncmp(at + strlen(begin), "100\u00b5s\n", strlen("100\u00b5s\n")) == 0);
        }
        free(report);
    }
    CHECK_NE(seen, 0);
    __atomic_store_n(&is_slept_enough, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < 4; at++) {
        pthread_join(threads[at], NULL);
    }
}

/* What stood there when the thread had gone on is no time. */
static void a_sleep_is_shown_as_long_as_it_is(void)
{
    in_child(look_at_sleepers);
}

static pthread_mutex_t inheriting[2];
static pthread_barrier_t inherited;

static void *lock_both(void *first)
{
    size_t at = (size_t)first;
    pthread_mutex_lock(&inheriting[at]);
    pthread_barrier_wait(&inherited);
    pthread_mutex_lock(&inheriting[1 - at]);
    return NULL;
}

static void hang_on_what_the_kernel_refuses(void)
{
    static const char *const wanted[] = {"   waiting for priority-inheriting mutex 0x", "   waiting on a futex at 0x",
                                          NULL};
    pthread_mutexattr_t attributes;
    start_runtime();
    REQUIRE_EQ(pthread_mutexattr_init(&attributes), 0);
    REQUIRE_EQ(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT), 0);
    REQUIRE_EQ(pthread_barrier_init(&inherited, NULL, 2), 0);
    for (size_t at = 0; at < 2; at++) {
        REQUIRE_EQ(pthread_mutex_init(&inheriting[at], &attributes), 0);
    }
    for (size_t at = 0; at < 2; at++) {
        start(lock_both, (void *)at);
    }
    char *report = report_with(HOST_REPORT_TEXT, wanted);
    CHECK_LACKS(report, "condition variable");
    CHECK_LACKS(report, "semaphore");
    free(report);
}

/* The kernel finds that circle itself, and glibc has the last thread wait for ever, for nothing that could be named. */
static void a_wait_that_the_kernel_refuses_is_for_no_other_lock(void)
{
    in_child(hang_on_what_the_kernel_refuses);
}

/* A thread of another process may have the same id. */
static void share_a_lock(void)
{
    sharing = PTHREAD_PROCESS_SHARED;
    prepare(3);
    start(one, NULL);
    start(two, NULL);
    start(three, NULL);
    pthread_barrier_wait(&ready);
    static const char *const wanted[] = {
        "\nProbably 1 deadlock through locks of other kinds.\nNo deadlock that is certain among 1 section and 2 other locks "
        "seen; 0 threads blocked in what has no owner.\n",
        "   probably waiting for process-shared recursive mutex 0x", "      which is probably owned by \"two\" tid=",
        NULL};
    char *report = report_with(HOST_REPORT_TEXT, wanted);
    check_cycle_of_three(report, "\nProbably a deadlock:\n====================");
    CHECK_LACKS(report, "Found");
    free(report);
    static const char *const members[] = {"\"thread_deadlocks\":[{\"certain\":false,\"managed\":false,\"tids\":[", NULL};
    free(report_with(HOST_REPORT_JSON, members));
    static const char *const edges[] = {"\",color=red,style=dashed];\n", NULL};
    free(report_with(HOST_REPORT_DOT, edges));
    await_said(", which itself probably waits for process-shared recursive mutex 0x");
    await_said(", probably owned by \"two\" tid=");
    await_said(": probably a deadlock through locks of other kinds\n");
}

static void a_cycle_with_a_probable_link_is_probable(void)
{
    free(said_in_stalls(share_a_lock));
}

/* As a mutex of glibc's that is owned and waited for: word, count, owner, users, kind. */
static uint32_t lookalike[16] = {2, 0, 0, 1, 0};

static void *wait_by_another_hand(void *unused)
{
    is_called("other");
    pthread_barrier_wait(&ready);
    while (syscall(SYS_futex, lookalike, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0) != 0) {
    }
    return unused;
}

static void wait_for_a_lookalike(void)
{
    prepare(1);
    lookalike[2] = (uint32_t)getpid();
    start(wait_by_another_hand, NULL);
    pthread_barrier_wait(&ready);
    static const char *const wanted[] = {"\"other\" tid=", " [blocked in futex]\n   waiting on a futex at 0x", NULL};
    char *report = report_with(HOST_REPORT_TEXT, wanted);
    CHECK_LACKS(report, "mutex");
    free(report);
}

/* Only what glibc's own code waits for is one of its locks. */
static void what_only_looks_like_a_lock_is_none(void)
{
    in_child(wait_for_a_lookalike);
}

/* ---- stall lines ---- */

static void stall_in_a_cycle(void)
{
    prepare(3);
    start(one, NULL);
    start(two, NULL);
    start(three, NULL);
    pthread_barrier_wait(&ready);
    await_said(": a deadlock through locks of other kinds\n");
}

static void *read_with_the_lock(void *unused)
{
    char byte;
    is_called("reader");
    pthread_mutex_lock(&plain);
    pthread_barrier_wait(&ready);
    while (read(pipe_ends[0], &byte, 1) < 0) {
    }
    return unused;
}

static void stall_behind_a_lock(void)
{
    prepare(3);
    start(two, NULL);
    start(three, NULL);
    start(read_with_the_lock, NULL);
    pthread_barrier_wait(&ready);
    await_said(", which itself is blocked in read from fd ");
}

static void a_stall_line_follows_the_chain_through_other_locks(void)
{
    char *said = said_in_stalls(stall_behind_a_lock);
    CHECK_CONTAINS(said, "hostcrst: \"two\" tid=");
    CHECK_CONTAINS(said, "\"section\", owned by \"three\" tid=");
    CHECK_CONTAINS(said, ", which itself waits for mutex 0x");
    CHECK_CONTAINS(said, ", owned by \"reader\" tid=");
    CHECK_LACKS(said, "deadlock");
    free(said);
}

static void a_stall_line_tells_of_a_deadlock_through_other_locks(void)
{
    char *said = said_in_stalls(stall_in_a_cycle);
    CHECK_CONTAINS(said, ", which itself waits for recursive mutex 0x");
    CHECK_CONTAINS(said, ", owned by \"two\" tid=");
    CHECK_LACKS(said, "probably a deadlock");
    free(said);
}

/* As many owners behind a waiter as a line names. */
enum { LINKS = 6 };

static hostcrst_t links[LINKS];
static int is_closed;

static void *link_of_a_chain(void *argument)
{
    static const char *const names[LINKS] = {"first", "second", "third", "fourth", "fifth", "last"};
    size_t which = (size_t)argument;
    char byte;
    is_called(names[which]);
    CHECK_EQ(hostcrst_enter(links[which], 0), S_OK);
    if (which == 0) {
        pthread_mutex_lock(&plain);
    }
    pthread_barrier_wait(&ready);
    if (which < LINKS - 1) {
        CHECK_EQ(hostcrst_enter(links[which + 1], 0), S_OK);
    }
    while (!is_closed && read(pipe_ends[0], &byte, 1) < 0) {
    }
    pthread_mutex_lock(&plain);
    return NULL;
}

static void stall_in_a_chain(const char *end)
{
    char *line;
    int is_said = 0;
    struct timespec deadline = check_deadline_from_now();
    prepare(LINKS);
    for (size_t which = 0; which < LINKS; which++) {
        links[which] = new_section();
    }
    for (size_t which = 0; which < LINKS; which++) {
        start(link_of_a_chain, (void *)which);
    }
    pthread_barrier_wait(&ready);
    do {
        char *said = content_of(STDERR_FILENO);
        for (line = said; !is_said && (line = strstr(line, "hostcrst: \"first\" tid=")) != NULL; line++) {
            char *line_end = strchr(line, '\n');
            char *found = strstr(line, end);
            is_said = line_end != NULL && found != NULL && found < line_end;
        }
        if (!is_said && check_passed(&deadline)) {
            CHECK_CONTAINS(said, end);
            CHECK(!"the line of the first tells the end");
            is_said = 1;
        }
        free(said);
        check_pause();
    } while (!is_said);
}

static void stall_in_a_chain_that_ends(void)
{
    stall_in_a_chain(", which itself is blocked in read from fd ");
}

static void stall_in_a_chain_that_comes_back(void)
{
    is_closed = 1;
    stall_in_a_chain(": a deadlock through locks of other kinds");
}

static void a_stall_line_tells_the_end_of_its_longest_chain(void)
{
    free(said_in_stalls(stall_in_a_chain_that_ends));
    free(said_in_stalls(stall_in_a_chain_that_comes_back));
}

/* ---- wait chains, node by node ---- */

enum { MOST_NODES = 16 };

static host_task_t tasks[8];
static CRITICAL_SECTION window;
static CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;

/* The threads above, made tasks. */
static void *as_task(void *argument)
{
    static void *(*const bodies[])(void *) = {two, three, four, five, seven, eight, nine};
    size_t which = (size_t)argument;
    __atomic_store_n(&tasks[which], this_task(), __ATOMIC_RELEASE);
    return bodies[which](NULL);
}

enum { TWO, THREE, FOUR, FIVE, SEVEN, EIGHT, NINE, TASKS };

static void hang_as_tasks(void)
{
    prepare(TASKS + 1);
    start(one, NULL);
    for (size_t which = 0; which < TASKS; which++) {
        start(as_task, (void *)which);
    }
    pthread_barrier_wait(&ready);
}

/* The chain from a task on, when it has so many nodes and ends with this one: threads have to fall asleep there first. */
static void chain_of(host_task_t task, host_wait_node_t *nodes, size_t wanted, uint64_t last)
{
    size_t count = 0;
    struct timespec deadline = check_deadline_from_now();
    do {
        memset(nodes, 0x77, MOST_NODES * sizeof *nodes);
        nodes[0].size = sizeof *nodes;
        CHECK_EQ(KEEPING_ERRNO(host_wait_chain(task, nodes, MOST_NODES, &count)), S_OK);
        check_pause();
    } while ((count != wanted || nodes[wanted - 1].handle != last) && !check_passed(&deadline));
    REQUIRE_EQ(count, wanted);
    for (size_t at = 0; at < count; at++) {
        CHECK_EQ(nodes[at].size, sizeof *nodes);
        CHECK_EQ(nodes[at].kind == HOST_WAIT_NODE_TASK, at % 2 == 0);
        CHECK_EQ(nodes[at].thread_id != 0, at % 2 == 0);
    }
}

#define CHECK_NODE(node, a_kind, a_handle, some_flags, a_name) \
    do { \
        CHECK_EQ((node).kind, a_kind); \
        CHECK_EQ((node).handle, a_handle); \
        CHECK_EQ((node).flags, some_flags); \
        CHECK_CONTAINS((node).name, a_name); \
    } while (0)

#define ADDRESS(object) ((uint64_t)(uintptr_t)&(object))

static void follow_a_cycle(void)
{
    enum { CERTAIN = HOST_WAIT_FLAG_CERTAIN };
    host_wait_node_t nodes[MOST_NODES];
    hang_as_tasks();
    chain_of(tasks[FIVE], nodes, 10, ADDRESS(plain));
    CHECK_NODE(nodes[0], HOST_WAIT_NODE_TASK, tasks[FIVE], CERTAIN, "five");
    CHECK_NODE(nodes[1], HOST_WAIT_NODE_RWLOCK, ADDRESS(rwlock), CERTAIN, "!rwlock+0x0");
    CHECK_NODE(nodes[2], HOST_WAIT_NODE_TASK, tasks[FOUR], CERTAIN, "four");
    CHECK_NODE(nodes[3], HOST_WAIT_NODE_MUTEX, ADDRESS(plain), CERTAIN, "!plain+0x0");
    CHECK_NODE(nodes[4], HOST_WAIT_NODE_TASK, 0, CERTAIN, "one");
    CHECK_NODE(nodes[5], HOST_WAIT_NODE_MUTEX, ADDRESS(recursive), CERTAIN, "!recursive+0x0");
    CHECK_NODE(nodes[6], HOST_WAIT_NODE_TASK, tasks[TWO], CERTAIN, "two");
    CHECK_NODE(nodes[7], HOST_WAIT_NODE_SECTION, section, CERTAIN, "section");
    CHECK_NODE(nodes[8], HOST_WAIT_NODE_TASK, tasks[THREE], CERTAIN, "three");
    CHECK_NODE(nodes[9], HOST_WAIT_NODE_MUTEX, ADDRESS(plain), CERTAIN | HOST_WAIT_FLAG_LAST_OF_CYCLE, "!plain+0x0");
    chain_of(tasks[SEVEN], nodes, 2, ADDRESS(condition));
    CHECK_NODE(nodes[1], HOST_WAIT_NODE_CONDITION_VARIABLE, ADDRESS(condition), CERTAIN, "!condition+0x0");
    chain_of(tasks[EIGHT], nodes, 2, ADDRESS(semaphore));
    CHECK_NODE(nodes[1], HOST_WAIT_NODE_OTHER, ADDRESS(semaphore), CERTAIN, "!semaphore+0x0");
    chain_of(tasks[NINE], nodes, 2, 0);
    CHECK_NODE(nodes[1], HOST_WAIT_NODE_OTHER, 0, CERTAIN, "read");
    chain_of(this_task(), nodes, 1, this_task());

    /* Nodes that are larger, more of them than there is room for, and none at all. */
    struct { host_wait_node_t node; uint64_t more; } large[3];
    size_t count = 0;
    memset(large, 0x77, sizeof large);
    large[0].node.size = sizeof large[0];
    CHECK_EQ(host_wait_chain(tasks[FIVE], &large[0].node, 2, &count), S_OK);
    CHECK_EQ(count, 10);
    CHECK_EQ(large[1].node.size, sizeof large[0]);
    CHECK_NODE(large[1].node, HOST_WAIT_NODE_RWLOCK, ADDRESS(rwlock), CERTAIN, "!rwlock+0x0");
    CHECK_EQ(large[1].more, 0);
    CHECK_EQ(large[2].node.kind, 0x77777777);
    CHECK_EQ(host_wait_chain(tasks[FIVE], NULL, 0, &count), S_OK);
    CHECK_EQ(count, 10);
    for (uint32_t size = 0; size < sizeof *nodes; size++) {
        nodes[0].size = size;
        CHECK_EQ(host_wait_chain(tasks[FIVE], nodes, 1, &count), E_INVALIDARG);
        CHECK_EQ(count, 0);
    }
    nodes[0].size = sizeof *nodes + 4;
    CHECK_EQ(host_wait_chain(tasks[FIVE], nodes, 1, &count), E_INVALIDARG);
}

static void a_chain_goes_through_locks_of_all_kinds(void)
{
    in_child(follow_a_cycle);
}

static void *sleep_on_a_variable(void *unused)
{
    __atomic_store_n(&tasks[0], this_task(), __ATOMIC_RELEASE);
    EnterCriticalSection(&window);
    pthread_barrier_wait(&ready);
    SleepConditionVariableCS(&variable, &window, INFINITE);
    return unused;
}

static void *enter_the_window(void *unused)
{
    __atomic_store_n(&tasks[1], this_task(), __ATOMIC_RELEASE);
    pthread_barrier_wait(&ready);
    EnterCriticalSection(&window);
    return unused;
}

static void *join_with_a_limit(void *thread)
{
    struct timespec later;
    __atomic_store_n(&tasks[2], this_task(), __ATOMIC_RELEASE);
    pthread_barrier_wait(&ready);
    clock_gettime(CLOCK_REALTIME, &later);
    later.tv_sec += 1000;
    pthread_timedjoin_np(*(pthread_t *)thread, NULL, &later);
    return NULL;
}

static void follow_a_sleeper(void)
{
    host_wait_node_t nodes[MOST_NODES];
    prepare(1);
    InitializeCriticalSection(&window);
    start(sleep_on_a_variable, NULL);
    pthread_barrier_wait(&ready);
    chain_of(tasks[0], nodes, 2, ADDRESS(variable));
    CHECK_NODE(nodes[1], HOST_WAIT_NODE_CONDITION_VARIABLE, ADDRESS(variable), HOST_WAIT_FLAG_CERTAIN,
               "!variable+0x0");
}

static void *own_the_window(void *unused)
{
    EnterCriticalSection(&window);
    pthread_barrier_wait(&ready);
    pause();
    return unused;
}

static void follow_a_join(void)
{
    enum { CERTAIN = HOST_WAIT_FLAG_CERTAIN };
    static pthread_t waiter;
    host_wait_node_t nodes[MOST_NODES];
    prepare(3);
    InitializeCriticalSection(&window);
    start(own_the_window, NULL);
    waiter = start(enter_the_window, NULL);
    start(join_with_a_limit, &waiter);
    pthread_barrier_wait(&ready);
    chain_of(tasks[2], nodes, 6, 0);
    CHECK_NODE(nodes[1], HOST_WAIT_NODE_JOIN, 0, CERTAIN | HOST_WAIT_FLAG_LIMITED, "");
    CHECK_EQ(nodes[2].handle, tasks[1]);
    CHECK_NODE(nodes[3], HOST_WAIT_NODE_WIN32_SECTION, ADDRESS(window), CERTAIN, "!window+0x0");
    CHECK_NODE(nodes[5], HOST_WAIT_NODE_OTHER, 0, CERTAIN, "pause");
}

static void *enter_the_window_and_lock(void *mutex)
{
    EnterCriticalSection(&window);
    pthread_barrier_wait(&ready);
    pthread_mutex_lock(mutex);
    return NULL;
}

static void *lock_and_enter_the_window(void *mutex)
{
    pthread_mutex_lock(mutex);
    pthread_barrier_wait(&ready);
    EnterCriticalSection(&window);
    return NULL;
}

static void tell_of_a_deadlock_through_the_window(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static const char *const wanted[] = {"   waiting to enter CRITICAL_SECTION 0x", "!window+0x0\n      which is owned by \"", NULL};
    prepare(2);
    InitializeCriticalSection(&window);
    start(enter_the_window_and_lock, &mutex);
    start(lock_and_enter_the_window, &mutex);
    pthread_barrier_wait(&ready);
    free(report_with(HOST_REPORT_TEXT, wanted));
}

static void windows_sections_and_joins_are_links_of_a_chain(void)
{
    in_child(follow_a_sleeper);
    in_child(follow_a_join);
    in_child(tell_of_a_deadlock_through_the_window);
}

/* ---- chains while everything changes ---- */

static int is_over;

static void *come_and_go(void *place)
{
    __atomic_store_n((host_task_t *)place, this_task(), __ATOMIC_RELEASE);
    CHECK_EQ(hostcrst_enter_timeout(section, 0, 1) != HOST_E_TIMEOUT && hostcrst_leave(section) < 0, 0);
    pthread_mutex_lock(&plain);
    pthread_mutex_lock(&recursive);
    pthread_mutex_unlock(&recursive);
    pthread_mutex_unlock(&plain);
    return NULL;
}

static void *let_others_come_and_go(void *place)
{
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        pthread_t thread = start(come_and_go, place);
        pthread_join(thread, NULL);
    }
    return NULL;
}

static void chains_of_tasks_that_end(void)
{
    enum { PLACES = 4, LOOKS = 3000 };
    pthread_t threads[PLACES];
    start_runtime();
    prepare(0);
    for (int at = 0; at < PLACES; at++) {
        threads[at] = start(let_others_come_and_go, &tasks[at]);
    }
    for (int look = 0; look < LOOKS; look++) {
        host_wait_node_t nodes[MOST_NODES];
        size_t count = 77;
        nodes[0].size = sizeof *nodes;
        host_task_t task = __atomic_load_n(&tasks[look % PLACES], __ATOMIC_ACQUIRE);
        int32_t result = host_wait_chain(task, nodes, MOST_NODES, &count);
        CHECK(result == S_OK || result == E_HANDLE);
        CHECK(result == S_OK ? count >= 1 && nodes[0].handle == task : count == 0);
        for (size_t at = 0; at < count && at < MOST_NODES; at++) {
            CHECK_EQ(nodes[at].kind == HOST_WAIT_NODE_TASK, at % 2 == 0);
            /* Nothing here is a deadlock. */
            CHECK_EQ(nodes[at].flags & HOST_WAIT_FLAG_LAST_OF_CYCLE, 0);
        }
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < PLACES; at++) {
        pthread_join(threads[at], NULL);
    }
}

static void a_chain_may_change_and_its_tasks_end(void)
{
    in_child(chains_of_tasks_that_end);
}

CHECK_MAIN(CHECK_TEST(a_cycle_through_locks_of_all_kinds_is_told),
           CHECK_TEST(a_cycle_is_told_after_the_first_thread_has_ended),
           CHECK_TEST(a_cycle_that_a_time_limit_opens_is_no_deadlock),
           CHECK_TEST(a_sleep_is_shown_as_long_as_it_is),
           CHECK_TEST(a_wait_that_the_kernel_refuses_is_for_no_other_lock),
           CHECK_TEST(a_cycle_with_a_probable_link_is_probable),
           CHECK_TEST(what_only_looks_like_a_lock_is_none),
           CHECK_TEST(a_stall_line_follows_the_chain_through_other_locks),
           CHECK_TEST(a_stall_line_tells_of_a_deadlock_through_other_locks),
           CHECK_TEST(a_stall_line_tells_the_end_of_its_longest_chain),
           CHECK_TEST(a_chain_goes_through_locks_of_all_kinds),
           CHECK_TEST(windows_sections_and_joins_are_links_of_a_chain),
           CHECK_TEST(a_chain_may_change_and_its_tasks_end))
