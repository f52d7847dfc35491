/*
 * What the system refuses: each system call that the library makes is refused, once each time it is made and
 * once all the time, with each error that it may fail with. Whatever is refused, nothing crashes or hangs, no
 * section is lost or owned twice, and every answer is one that the header names.
 *
 * A filter (seccomp) hands each system call of the threads under test to another thread of the program, which
 * lets it go on or refuses it, if it was made inside of a call of the library. What the library calls is seen
 * this way, too: a system call that has no row in the table below fails the test.
 *
 * Memory is refused at every step of growth by RLIMIT_AS, descriptors by RLIMIT_NOFILE.
 */
#include "capture.h"

#include <hostcrst/win32.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { WORKERS = 2, TURNS = 30, CHILD_SECONDS = 40, GROWTH = 3000, ERRORS = 4, CALLS_MOST = 512 };

/* ---- the system calls of the library ---- */

typedef struct row {
    long number;
    const char *name;
    /* 0 ends them: a call without any cannot fail, or does not return. */
    int errors[ERRORS];
} row_t;

#define ROW(name, ...) {SYS_##name, #name, {__VA_ARGS__}}

static const row_t rows[] = {
    ROW(futex, ENOSYS, EPERM, EACCES, EINTR),
    ROW(membarrier, ENOSYS, EPERM, ENOMEM, EINVAL),
    ROW(mmap, ENOMEM, EPERM, EAGAIN, ENOSYS),
    ROW(mprotect, ENOMEM, EACCES, EPERM, ENOSYS),
    ROW(madvise, EINVAL, ENOMEM, EPERM, ENOSYS),
    ROW(brk, ENOMEM),
    ROW(munmap, EINVAL, ENOMEM, ENOSYS),
    ROW(clock_nanosleep, ENOSYS, EPERM, EINTR),
    ROW(ppoll, ENOSYS, EPERM, ENOMEM, EINTR),
    ROW(gettid, ENOSYS, EPERM),
    /* Whether an owner still exists. */
    ROW(tgkill, ENOSYS, EPERM, EAGAIN),
    ROW(getpid, ENOSYS, EPERM),
    ROW(sched_yield, ENOSYS, EPERM),
    ROW(sched_getaffinity, ENOSYS, EPERM, EINVAL),
    ROW(prlimit64, ENOSYS, EPERM),
    ROW(getdents64, ENOSYS, EPERM, ENOTDIR),
    ROW(readlinkat, ENOSYS, EPERM, ENOENT),
    ROW(process_vm_readv, ENOSYS, EPERM, EFAULT),
    ROW(openat, ENOSYS, EACCES, EMFILE, ENOENT),
    ROW(read, EIO, EINTR, EPERM, ENOSYS),
    ROW(pread64, EIO, EINTR, EPERM, ENOSYS),
    ROW(write, EIO, EINTR, ENOSPC, EPIPE),
    ROW(pwritev2, ENOSYS, EOPNOTSUPP, EAGAIN, EPIPE),
    ROW(sendto, EAGAIN, EPIPE, ENOSYS, EPERM),
    ROW(pipe2, EMFILE, ENOSYS, EPERM),
    ROW(splice, EAGAIN, EINVAL, EPIPE, ENOSYS),
    ROW(fstat, ENOSYS, EPERM, EBADF),
    ROW(close, EINTR, EIO, ENOSYS),
    ROW(fcntl, ENOSYS, EPERM, EBADF),
    ROW(rt_sigprocmask, 0),
    ROW(rt_sigpending, ENOSYS, EPERM),
    ROW(rt_sigtimedwait, ENOSYS, EAGAIN, EPERM),
    /* Of fork and of libc, as a thread ends. */
    ROW(clone, 0),
    ROW(exit, 0),
};

enum { ROWS = sizeof rows / sizeof rows[0] };

/* ---- the supervisor of system calls ---- */

/* When a call with this number is refused: each, or only the nth. */
enum { ALWAYS = 0 };

static struct {
    long number;
    int error;
    unsigned which;
} refused;

static int listener = -1;
static unsigned made[CALLS_MOST];
static unsigned refusals;

/* The threads under test that are inside of the library. */
typedef struct inside {
    pid_t thread;
    int is_inside;
} inside_t;

static inside_t insides[1 + WORKERS + 1];
static unsigned inside_count;
static __thread inside_t *myself;

static int comes_from_the_library(pid_t thread)
{
    unsigned count = __atomic_load_n(&inside_count, __ATOMIC_ACQUIRE);
    for (unsigned at = 0; at < count; at++) {
        if (insides[at].thread == thread) {
            return __atomic_load_n(&insides[at].is_inside, __ATOMIC_RELAXED);
        }
    }
    return 0;
}

static int is_refused(const struct seccomp_notif *call)
{
    long number = call->data.nr;
    if (number < 0 || number >= CALLS_MOST || !comes_from_the_library((pid_t)call->pid)) {
        return 0;
    }
    unsigned times = ++made[number];
    int is_wake = number == SYS_futex && ((int)call->data.args[1] & FUTEX_CMD_MASK) == FUTEX_WAKE;
    int is_for_waits = refused.error == EINTR || refused.error == EAGAIN;
    if (number != refused.number || (is_wake && is_for_waits)) {
        return 0;
    }
    if (refused.which != ALWAYS) {
        return times == refused.which;
    }
    /* What was interrupted is tried again, and not for ever. */
    return refused.error != EINTR || times % 2 == 1;
}

static void *attend(void *unused)
{
    (void)unused;
    while (__atomic_load_n(&listener, __ATOMIC_ACQUIRE) < 0) {
        sched_yield();
    }
    for (;;) {
        struct seccomp_notif call;
        struct seccomp_notif_resp answer;
        memset(&call, 0, sizeof call);
        memset(&answer, 0, sizeof answer);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
            continue;
        }
        answer.id = call.id;
        if (is_refused(&call)) {
            refusals++;
            answer.error = -refused.error;
        } else {
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        }
        /* Fails if the caller has been interrupted: it asks again. */
        (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return NULL;
}

/* From here on the calling thread, and those it starts, are attended to. */
static void be_attended(void)
{
    struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog filter = {1, &all};
    pthread_t attendant;
    REQUIRE_EQ(pthread_create(&attendant, NULL, attend, NULL), 0);
    REQUIRE_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    long descriptor =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    /* Any system call from here to the next line would wait for ever. */
    __atomic_store_n(&listener, (int)descriptor, __ATOMIC_RELEASE);
    REQUIRE(descriptor >= 0);
}

static void join_in(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    unsigned at = inside_count;
    REQUIRE(at < sizeof insides / sizeof insides[0]);
    insides[at].thread = (pid_t)syscall(SYS_gettid);
    insides[at].is_inside = 0;
    myself = &insides[at];
    __atomic_store_n(&inside_count, at + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&mutex);
}

static void set_inside(int is_inside)
{
    __atomic_store_n(&myself->is_inside, is_inside, __ATOMIC_RELAXED);
}

/* The result of a call of the library. */
#define LIBRARY(result, call) (set_inside(1), (result) = (call), set_inside(0))
#define LIBRARY_DOES(call) (set_inside(1), (call), set_inside(0))

/* ---- what is done meanwhile ---- */

static void honest(const char *what, int32_t result, int32_t one, int32_t other)
{
    if (result != S_OK && result != one && result != other) {
        check_fail(__FILE__, __LINE__, "%s answers 0x%X (%s)", what, (unsigned)result,
                   host_result_message(result));
    }
}

static hostcrst_t shared;
static hostcrst_t second;
static CRITICAL_SECTION window;
static BOOL has_window;
static CONDITION_VARIABLE variable;
static uint64_t counter;
static uint64_t window_counter;
static unsigned counted;
static unsigned window_counted;
static int output;

static int enter(hostcrst_t crst, uint32_t milliseconds)
{
    int32_t result;
    LIBRARY(result, hostcrst_enter_timeout(crst, 0, milliseconds));
    honest("enter", result, E_OUTOFMEMORY,
           milliseconds == HOSTCRST_INFINITE ? HOST_E_DEADLOCK : HOST_E_TIMEOUT);
    return result == S_OK;
}

static void leave(hostcrst_t crst)
{
    int32_t result;
    LIBRARY(result, hostcrst_leave(crst));
    CHECK_EQ(result, S_OK);
}

static void visit_window(unsigned turn)
{
    LIBRARY_DOES(EnterCriticalSection(&window));
    window_counter++;
    __atomic_add_fetch(&window_counted, 1, __ATOMIC_RELAXED);
    if (turn % 8 == 0) {
        BOOL woken;
        LIBRARY(woken, SleepConditionVariableCS(&variable, &window, 1));
        (void)woken;
    } else {
        LIBRARY_DOES(WakeAllConditionVariable(&variable));
    }
    LIBRARY_DOES(LeaveCriticalSection(&window));
}

static void work(void *argument)
{
    unsigned turns = *(const unsigned *)argument;
    int32_t result;
    host_task_t task = 0;
    join_in();
    LIBRARY(result, host_task_current(&task));
    honest("task_current", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    if (result != S_OK) {
        return;
    }
    for (unsigned turn = 0; turn < turns; turn++) {
        hostcrst_t one = turn % 4 == 1 ? second : shared;
        hostcrst_t other = turn % 4 == 1 ? shared : second;
        if (enter(one, turn % 3 == 0 ? 1 : HOSTCRST_INFINITE)) {
            if (one == shared) {
                counter++;
                __atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
            }
            if (turn % 2 == 0) {
                sched_yield();
            } else if (enter(other, HOSTCRST_INFINITE)) {
                leave(other);
            }
            leave(one);
        }
        /* Without memory an Enter waits for some. */
        if (has_window) {
            visit_window(turn);
        }
    }
    /* What the library does as the thread ends, and what libc does. */
    set_inside(1);
}

static void begin(void)
{
    int32_t result;
    LIBRARY(result, host_runtime_start());
    honest("start", result, E_OUTOFMEMORY, S_FALSE);
}

static int has_begun(void)
{
    uint32_t state = 0;
    CHECK_EQ(host_runtime_state(&state), S_OK);
    return state == HOST_RUNTIME_RUNNING;
}

static void grow(void)
{
    static hostcrst_t many[GROWTH];
    unsigned count = 0;
    int32_t result = S_OK;
    while (count < GROWTH && result == S_OK) {
        LIBRARY(result, hostcrst_create(&many[count]));
        honest("create", result, E_OUTOFMEMORY, E_OUTOFMEMORY);
        count += result == S_OK;
    }
    for (unsigned at = 0; at < count; at++) {
        LIBRARY(result, hostcrst_set_name(many[at], "a name"));
        honest("set_name", result, E_OUTOFMEMORY, E_OUTOFMEMORY);
        LIBRARY(result, hostcrst_enter(many[at], 0));
        honest("enter", result, E_OUTOFMEMORY, E_OUTOFMEMORY);
        LIBRARY(result, hostcrst_destroy(many[at]));
        CHECK_EQ(result, S_OK);
    }
}

static void open_layers(void)
{
    unsigned depth = 0;
    int32_t result = S_OK;
    while (depth < GROWTH && result == S_OK) {
        LIBRARY(result, depth % 2 == 0 ? host_leave_runtime(depth) : host_reverse_enter_runtime());
        honest("a layer", result, E_OUTOFMEMORY, E_OUTOFMEMORY);
        depth += result == S_OK;
    }
    while (depth > 0) {
        depth--;
        LIBRARY(result, depth % 2 == 0 ? host_enter_runtime() : host_reverse_leave_runtime());
        CHECK_EQ(result, S_OK);
    }
}

static void report(void)
{
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_HTML; format++) {
        int32_t result;
        LIBRARY(result, host_report(output, format));
        honest("report", result, E_INVALIDARG, E_INVALIDARG);
    }
}

static void follow_the_chain(void)
{
    host_task_t me = 0;
    size_t count;
    int32_t result;
    LIBRARY(result, host_task_current(&me));
    honest("task", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    LIBRARY(result, host_wait_chain(me, NULL, 0, &count));
    CHECK(result == S_OK ? count >= 1 : result == E_OUTOFMEMORY || (result == E_HANDLE && me == 0));
}

static void use_all(void)
{
    check_thread_t workers[WORKERS];
    unsigned turns = TURNS;
    int32_t result;
    int pid;
    LIBRARY(result, hostcrst_create(&shared));
    honest("create", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    LIBRARY(result, hostcrst_create_with_spin_count(10, &second));
    honest("create", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    LIBRARY(result, host_set_hold_tracking(1));
    honest("hold tracking", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    LIBRARY(result, host_set_statistics(1));
    honest("statistics", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    LIBRARY(result, host_set_order_checks(1));
    honest("order checks", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    LIBRARY(result, host_set_call_hook(7, 0));
    honest("call hook", result, E_OUTOFMEMORY, HOST_E_CLRNOTAVAILABLE);
    LIBRARY(has_window, InitializeCriticalSectionAndSpinCount(&window, 0));
    CHECK(has_window || hostcrst_last_error() == ERROR_NOT_ENOUGH_MEMORY);
    if (!has_begun() || shared == 0 || second == 0) {
        return;
    }
    int is_owner = enter(shared, HOSTCRST_INFINITE);
    for (unsigned at = 0; at < WORKERS; at++) {
        check_start(&workers[at], work, &turns);
    }
    /* They wait for it, unless they are refused before, and so long that they check whether the owner still exists. */
    const unsigned *checks = &made[SYS_tgkill];
    for (unsigned looks = 0; is_owner && looks < 100 && __atomic_load_n(checks, __ATOMIC_RELAXED) == 0; looks++) {
        check_pause();
    }
    if (is_owner) {
        leave(shared);
    }
    for (unsigned at = 0; at < WORKERS; at++) {
        check_join(&workers[at]);
    }
    CHECK_EQ(counter, counted);
    CHECK_EQ(window_counter, window_counted);
    grow();
    open_layers();
    report();
    follow_the_chain();
    LIBRARY(pid, fork());
    if (pid == 0) {
        _exit(hostcrst_destroy(second) != S_OK);
    }
    if (CHECK(pid > 0)) {
        int status = -1;
        REQUIRE_EQ(waitpid(pid, &status, 0), pid);
        CHECK_EQ(status, 0);
    }
    LIBRARY(result, host_runtime_stop());
    CHECK_EQ(result, S_OK);
    LIBRARY(result, host_runtime_start());
    CHECK_EQ(result, S_OK);
    CHECK_SECTION(shared, HOSTCRST_FREE, 0, 0);
    LIBRARY(result, hostcrst_destroy(shared));
    CHECK_EQ(result, S_OK);
    LIBRARY_DOES(DeleteCriticalSection(&window));
}

/* ---- a process in which something is refused ---- */

typedef enum moment {
    BEFORE_START,
    AFTER_START
} moment_t;

static moment_t refused_from;

static void use_all_attended(void)
{
    long number = refused.number;
    output = open("/dev/null", O_WRONLY);
    REQUIRE(output >= 0);
    if (refused_from == AFTER_START) {
        refused.number = -1;
    }
    be_attended();
    join_in();
    begin();
    refused.number = number;
    use_all();
}

/* What was called inside the library, by number; of the child of the last try. */
typedef struct seen {
    unsigned made[CALLS_MOST];
    unsigned refusals;
} seen_t;

static seen_t *seen;

static void use_all_and_tell(void)
{
    use_all_attended();
    memcpy(seen->made, made, sizeof made);
    seen->refusals = refusals;
}

/* Whether all was well. */
static int try_it(long number, int error, unsigned which, moment_t moment)
{
    refused.number = number;
    refused.error = error;
    refused.which = which;
    refused_from = moment;
    memset(seen, 0, sizeof *seen);
    run_t run = child_of(use_all_and_tell, NULL);
    int is_well = CHECK_EQ(run.status, 0);
    if (!is_well) {
        printf("stderr: %s\n", run.said);
    }
    free(run.said);
    return is_well;
}

static void share_what_is_seen(void)
{
    seen = (seen_t *)mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(seen != MAP_FAILED);
    REQUIRE_EQ(setenv("HOSTCRST_STALL", "1ms", 1), 0);
}

static void each_system_call_has_its_row(void)
{
    share_what_is_seen();
    CHECK(try_it(-1, 0, ALWAYS, BEFORE_START));
    for (long number = 0; number < CALLS_MOST; number++) {
        int has_row = 0;
        for (unsigned at = 0; at < ROWS; at++) {
            has_row |= rows[at].number == number;
        }
        if (seen->made[number] != 0 && !has_row) {
            check_fail(__FILE__, __LINE__, "system call %ld is made, %u times, and no row refuses it", number,
                       seen->made[number]);
        }
    }
    /* Not nothing. */
    CHECK(seen->made[SYS_futex] > 0 && seen->made[SYS_mmap] > 0 && seen->made[SYS_mprotect] > 0 &&
          seen->made[SYS_membarrier] > 0 && seen->made[SYS_tgkill] > 0);
}

static void what_is_refused_all_the_time_harms_nothing(void)
{
    share_what_is_seen();
    for (unsigned at = 0; at < ROWS; at++) {
        for (unsigned error = 0; error < ERRORS && rows[at].errors[error] != 0; error++) {
            for (int moment = BEFORE_START; moment <= AFTER_START; moment++) {
                int is_well = try_it(rows[at].number, rows[at].errors[error], ALWAYS, (moment_t)moment);
                /* Not by luck: it was made, and refused. */
                is_well &= CHECK(moment == AFTER_START || seen->made[rows[at].number] == 0 ||
                                 seen->refusals > 0);
                if (!is_well) {
                    printf("refused %s start: %s, %s\n", moment == BEFORE_START ? "from before" : "after the",
                           rows[at].name, strerror(rows[at].errors[error]));
                }
            }
        }
    }
}

/* For what may be refused once and not the next time. */
static void what_is_refused_once_harms_nothing(void)
{
    share_what_is_seen();
    for (unsigned at = 0; at < ROWS; at++) {
        unsigned times = 1;
        /* A wake that is refused once although waits are not is no failure that a kernel has. */
        for (unsigned which = 1; which <= times && which <= 24 && rows[at].errors[0] != 0; which++) {
            int error = rows[at].number == SYS_futex ? EINTR : rows[at].errors[0];
            if (!try_it(rows[at].number, error, which, BEFORE_START)) {
                printf("refused the %uth time: %s, %s\n", which, rows[at].name, strerror(error));
            }
            times = seen->made[rows[at].number];
        }
    }
}

/* ---- the machine itself: what it must see, it sees ---- */

static void *take_a_page(void)
{
    char *page = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    return page;
}

/* As in a library that ignores the result of mmap. */
static void use_what_was_refused(void)
{
    void *page;
    refused.number = SYS_mmap;
    refused.error = ENOMEM;
    refused.which = ALWAYS;
    be_attended();
    join_in();
    LIBRARY(page, take_a_page());
    CHECK(page != NULL);
}

/* As a library that has begun to make another system call. */
static void call_something_new(void)
{
    long result;
    be_attended();
    join_in();
    LIBRARY(result, syscall(SYS_getppid));
    CHECK(result > 0);
    memcpy(seen->made, made, sizeof made);
}

static void what_is_wrong_is_seen(void)
{
    share_what_is_seen();
    run_t run = child_of(use_what_was_refused, NULL);
    CHECK(WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGSEGV);
    free(run.said);
    run = child_of(call_something_new, NULL);
    CHECK_EQ(run.status, 0);
    CHECK_EQ(seen->made[SYS_getppid], 1);
    free(run.said);
}

/* ---- limits ---- */

static uint64_t room;

static void use_all_in_the_room(void)
{
    struct rlimit limit;
    uint64_t pages = 0;
    FILE *status = fopen("/proc/self/statm", "r");
    REQUIRE(status != NULL && fscanf(status, "%lu", &pages) == 1);
    fclose(status);
    output = open("/dev/null", O_WRONLY);
    insides[0].is_inside = 0;
    myself = &insides[0];
    REQUIRE_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = pages * (uint64_t)sysconf(_SC_PAGESIZE) + room;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    begin();
    if (has_begun()) {
        grow();
        open_layers();
        report();
    }
    limit.rlim_cur = limit.rlim_max;
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    begin();
    CHECK(has_begun());
    use_all();
}

static void address_space_that_ends_anywhere_harms_nothing(void)
{
    for (unsigned step = 0; step <= 40; step++) {
        room = step < 16 ? step * 65536 : (uint64_t)1 << (20 + (step - 16) / 2);
        run_t run = child_of(use_all_in_the_room, NULL);
        if (!CHECK_EQ(run.status, 0)) {
            printf("with %llu bytes of address space: %s\n", (unsigned long long)room, run.said);
        }
        free(run.said);
    }
}

static void use_all_without_descriptors(void)
{
    struct rlimit none = {0, 0};
    output = open("/dev/null", O_WRONLY);
    myself = &insides[0];
    REQUIRE_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    begin();
    CHECK(has_begun());
    use_all();
    int32_t result = host_report(output, HOST_REPORT_TEXT);
    CHECK_EQ(result, S_OK);
}

static void no_descriptor_is_needed(void)
{
    run_t run = child_of(use_all_without_descriptors, NULL);
    CHECK_EQ(run.status, 0);
    free(run.said);
}

CHECK_MAIN(CHECK_TEST(what_is_wrong_is_seen), CHECK_TEST(each_system_call_has_its_row),
           CHECK_TEST(what_is_refused_all_the_time_harms_nothing),
           CHECK_TEST(what_is_refused_once_harms_nothing),
           CHECK_TEST(address_space_that_ends_anywhere_harms_nothing), CHECK_TEST(no_descriptor_is_needed))
