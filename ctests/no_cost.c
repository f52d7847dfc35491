/*
 * Uncontended calls make no system call and no heap allocation, in a process of two threads. Each path
 * runs in a child of its own: a seccomp filter turns every system call of its thread into a signal that
 * is counted. The test `instructions` shows that the fast paths take no lock.
 */
#include "check.h"

#include <hostcrst.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WALKS 20000

/* What a child found out; it shares this with its parent. */
typedef struct findings {
    int walked;
    int wrong_results;
    int system_calls;
    int first_system_call;
    int allocations;
} findings_t;

static findings_t *found;
static int counting;

/* These stand in for those of libc, for the library as well. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void count_allocation(void)
{
    if (counting) {
        found->allocations++;
    }
}

void *malloc(size_t size)
{
    count_allocation();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_allocation();
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    count_allocation();
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_allocation();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    count_allocation();
    *memory = __libc_memalign(alignment, size);
    return 0;
}

/* The sections of the child: one for the paths, one that another thread owns, and one that is gone. */
static hostcrst_t section;
static hostcrst_t owned_by_another;
static hostcrst_t gone;
static check_steps_t steps = CHECK_STEPS_INIT;

static void expect(int32_t result, int32_t expected)
{
    if (result != expected) {
        found->wrong_results++;
    }
}

static void enter_and_leave(void)
{
    expect(hostcrst_enter(section, 0), S_OK);
    expect(hostcrst_leave(section), S_OK);
}

static void enter_with_every_option(void)
{
    expect(hostcrst_enter(section, WAIT_MSGPUMP | WAIT_ALERTABLE | WAIT_NOTINDEADLOCK), S_OK);
    expect(hostcrst_leave(section), S_OK);
}

static void enter_again(void)
{
    expect(hostcrst_enter(section, 0), S_OK);
    expect(hostcrst_enter(section, 0), S_OK);
    expect(hostcrst_leave(section), S_OK);
    expect(hostcrst_leave(section), S_OK);
}

static void enter_with_a_limit(void)
{
    expect(hostcrst_enter_timeout(section, 0, 1000), S_OK);
    expect(hostcrst_leave(section), S_OK);
}

static void try_a_free_section(void)
{
    int32_t entered = 0;
    expect(hostcrst_try_enter(section, 0, &entered), S_OK);
    expect(entered, 1);
    expect(hostcrst_leave(section), S_OK);
}

static void try_a_section_of_another(void)
{
    int32_t entered = 1;
    expect(hostcrst_try_enter(owned_by_another, 0, &entered), S_OK);
    expect(entered, 0);
}

static void misuse(void)
{
    expect(hostcrst_enter(gone, 0), E_HANDLE);
    expect(hostcrst_leave(gone), E_HANDLE);
    expect(hostcrst_enter(0, 0), E_HANDLE);
    expect(hostcrst_leave(section), HOST_E_NOT_OWNER);
    expect(hostcrst_leave(owned_by_another), HOST_E_NOT_OWNER);
    expect(hostcrst_enter(section, 1u << 31), E_INVALIDARG);
}

static void call_out_and_back(void)
{
    expect(host_leave_runtime(0x1000), S_OK);
    expect(host_enter_runtime(), S_OK);
}

static void call_in_and_back(void)
{
    expect(host_reverse_enter_runtime(), S_OK);
    expect(host_reverse_leave_runtime(), S_OK);
}

static void eight_layers(void)
{
    for (size_t depth = 0; depth < 4; depth++) {
        expect(host_leave_runtime(0x1000 + depth), S_OK);
        expect(host_reverse_enter_runtime(), S_OK);
    }
    for (size_t depth = 0; depth < 4; depth++) {
        expect(host_reverse_leave_runtime(), S_OK);
        expect(host_enter_runtime(), S_OK);
    }
}

static void transitions_out_of_order(void)
{
    expect(host_enter_runtime(), HOST_E_INVALIDOPERATION);
    expect(host_reverse_leave_runtime(), HOST_E_INVALIDOPERATION);
}

static void ask(void)
{
    int32_t needs = 0;
    uint32_t state = 0;
    host_task_t task = 0;
    hostcrst_info_t section_info;
    host_task_info_t task_info;
    section_info.size = sizeof section_info;
    task_info.size = sizeof task_info;
    expect(host_call_needs_host_hook(0x1000, &needs), S_OK);
    expect(host_runtime_state(&state), S_OK);
    expect(host_task_current(&task), S_OK);
    expect(hostcrst_info(section, &section_info), S_OK);
    expect(host_task_info(task, &task_info), S_OK);
}

static void create_and_destroy(void)
{
    hostcrst_t made = 0;
    expect(hostcrst_create(&made), S_OK);
    expect(hostcrst_destroy(made), S_OK);
}

/* The counting itself: these two must be seen. */
static void call_the_system(void)
{
    syscall(SYS_getppid);
}

static void allocate(void)
{
    void *volatile memory = malloc(100);
    free(memory);
}

static void own_a_section(void *unused)
{
    (void)unused;
    REQUIRE_EQ(hostcrst_enter(owned_by_another, 0), S_OK);
    check_reach(&steps, 1);
    pause();
}

static void count_system_call(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (found->system_calls++ == 0) {
        found->first_system_call = info->si_syscall;
    }
}

static int trap_system_calls(void)
{
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof instructions / sizeof instructions[0], instructions};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = count_system_call;
    action.sa_flags = SA_SIGINFO;
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In the child. The first walks may set things up; the ones after them are counted. */
static void walk_counted(void (*path)(void))
{
    check_thread_t other;
    expect(host_runtime_start(), S_OK);
    expect(hostcrst_create(&section), S_OK);
    expect(hostcrst_create(&owned_by_another), S_OK);
    expect(hostcrst_create(&gone), S_OK);
    expect(hostcrst_destroy(gone), S_OK);
    check_start(&other, own_a_section, NULL);
    check_await(&steps, 1);
    path();
    if (!trap_system_calls()) {
        _exit(1);
    }
    counting = 1;
    for (int walk = 0; walk < WALKS; walk++) {
        path();
        found->walked++;
    }
    _exit(0);
}

static findings_t findings_of(void (*path)(void))
{
    int status = 0;
    memset(found, 0, sizeof *found);
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        walk_counted(path);
    }
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(found->walked, WALKS);
    return *found;
}

static void expect_free(const char *name, void (*path)(void))
{
    findings_t findings = findings_of(path);
    int costs_nothing = CHECK_EQ(findings.wrong_results, 0) & CHECK_EQ(findings.allocations, 0) &
                        CHECK_EQ(findings.system_calls, 0);
    if (!costs_nothing) {
        printf("    path: %s; first system call: number %d\n", name, findings.first_system_call);
    }
}

static void no_path_costs_a_system_call_or_an_allocation(void)
{
    static const struct {
        const char *name;
        void (*walk)(void);
    } paths[] = {
#define PATH(function) {#function, function}
        PATH(enter_and_leave),
        PATH(enter_with_every_option),
        PATH(enter_again),
        PATH(enter_with_a_limit),
        PATH(try_a_free_section),
        PATH(try_a_section_of_another),
        PATH(misuse),
        PATH(call_out_and_back),
        PATH(call_in_and_back),
        PATH(eight_layers),
        PATH(transitions_out_of_order),
        PATH(ask),
        PATH(create_and_destroy),
#undef PATH
    };
    for (size_t at = 0; at < sizeof paths / sizeof paths[0]; at++) {
        expect_free(paths[at].name, paths[at].walk);
    }
}

/* A report reads files and writes: but a program that is stuck in its allocator can ask for one. */
static void report_counted(void)
{
    int nowhere = open("/dev/null", O_WRONLY);
    REQUIRE(nowhere >= 0);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(hostcrst_create(&section), S_OK);
    CHECK_EQ(hostcrst_set_name(section, "named"), S_OK);
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
    CHECK_EQ(host_leave_runtime((size_t)&qsort), S_OK);
    counting = 1;
    for (uint32_t format = HOST_REPORT_TEXT; format <= HOST_REPORT_HTML; format++) {
        CHECK_EQ(host_report(nowhere, format), S_OK);
    }
    counting = 0;
    fflush(stdout);
    _exit(check_failed_so_far() != 0);
}

static void no_report_allocates(void)
{
    int status = 0;
    memset(found, 0, sizeof *found);
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        report_counted();
    }
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(found->allocations, 0);
}

static void a_system_call_and_an_allocation_are_seen(void)
{
    CHECK_EQ(findings_of(call_the_system).system_calls, WALKS);
    CHECK_EQ(found->first_system_call, SYS_getppid);
    CHECK_EQ(findings_of(allocate).allocations, WALKS);
}

int main(int argument_count, char **arguments)
{
    static const check_test_t tests[] = {
        CHECK_TEST(no_path_costs_a_system_call_or_an_allocation),
        CHECK_TEST(no_report_allocates),
        CHECK_TEST(a_system_call_and_an_allocation_are_seen),
    };
    void *shared = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    found = shared;
    return check_run(tests, sizeof tests / sizeof tests[0], argument_count, arguments);
}
