/*
 * Windows' critical sections and condition variables: every function, every field, every rule of
 * docs/win32.md but those on deadlocks, which win32_deadlock.c has.
 */
#include "host.h"
#include "lock_count.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#define NO_DEBUG_INFO ((PRTL_CRITICAL_SECTION_DEBUG)-1)

/* Other threads write the fields: read each in one go, as lock_count does. */
static long long owning_thread(CRITICAL_SECTION *section)
{
    return (long long)(uintptr_t)__atomic_load_n(&section->OwningThread, __ATOMIC_ACQUIRE);
}

static long long my_thread(void)
{
    return syscall(SYS_gettid);
}

static void check_fields(CRITICAL_SECTION *section, LONG locks, LONG recursion, long long thread, int line)
{
    check_equal(lock_count(section), locks, __FILE__, line, "LockCount");
    check_equal(__atomic_load_n(&section->RecursionCount, __ATOMIC_ACQUIRE), recursion, __FILE__, line,
                "RecursionCount");
    check_equal(owning_thread(section), thread, __FILE__, line, "OwningThread");
}

#define CHECK_FIELDS(section, locks, recursion, thread) \
    check_fields(section, locks, recursion, thread, __LINE__)

/* What the report says; the caller frees it. */
static char *report_text(uint32_t format)
{
    FILE *file = tmpfile();
    REQUIRE(file != NULL);
    REQUIRE_EQ(host_report(fileno(file), format), S_OK);
    long size = lseek(fileno(file), 0, SEEK_END);
    char *text = (char *)calloc(1, (size_t)size + 1);
    REQUIRE(text != NULL);
    REQUIRE_EQ(pread(fileno(file), text, (size_t)size, 0), size);
    fclose(file);
    return text;
}

static int report_has(const char *text)
{
    char *report = report_text(HOST_REPORT_TEXT);
    int found = strstr(report, text) != NULL;
    if (!found) {
        printf("looked for \"%s\" in:\n%s\n", text, report);
    }
    free(report);
    return found;
}

/* How often the report counts a misuse. */
static int misuses(const char *what)
{
    char *report = report_text(HOST_REPORT_TEXT);
    char *found = strstr(report, what);
    int count = 0;
    if (found != NULL) {
        found[strcspn(found, "\n")] = '\0';
        count = atoi(strrchr(found, ':') + 1);
    }
    free(report);
    return count;
}

#define LEAVES "leaves by a thread that was not the owner"
#define DELETIONS "deletions refused"
#define USES_AFTER_DELETION "uses after deletion"
#define INITIALISATIONS "initialisations of a section in use"
#define COPIES "waits for the copy of a section that is entered by another copy"
#define SLEEPS "sleeps on a condition variable without having entered exactly once"

/*
 * Runs this program anew with one test, one more environment variable and perhaps one processor; how it
 * ended.
 */
static int run_again(const char *test, const char *variable, const char *value, int on_one_processor)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        if (on_one_processor) {
            check_run_on_processor(0);
        }
        alarm(CHECK_PATIENCE_SECONDS);
        setenv(variable, value, 1);
        check_execute_test(test);
        _exit(99);
    }
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    return status;
}

/* A thread that enters, signals that, and leaves on request. */
typedef struct keeper {
    check_thread_t thread;
    CRITICAL_SECTION *section;
    check_steps_t steps; /* 1: owns it. 2: may leave. 3: has left. */
    int leaves;
} keeper_t;

static void keep(void *argument)
{
    keeper_t *keeper = (keeper_t *)argument;
    EnterCriticalSection(keeper->section);
    check_reach(&keeper->steps, 1);
    check_await(&keeper->steps, 2);
    if (keeper->leaves) {
        LeaveCriticalSection(keeper->section);
    }
    check_reach(&keeper->steps, 3);
}

static void start_keeper(keeper_t *keeper, CRITICAL_SECTION *section)
{
    static const check_steps_t none = CHECK_STEPS_INIT;
    keeper->section = section;
    keeper->steps = none;
    keeper->leaves = 1;
    check_start(&keeper->thread, keep, keeper);
    check_await(&keeper->steps, 1);
}

static void end_keeper(keeper_t *keeper)
{
    check_reach(&keeper->steps, 2);
    check_join(&keeper->thread);
}

/* Threads that enter, count themselves in, and leave. */
typedef struct visitors {
    CRITICAL_SECTION *section;
    int inside;
    int entered;
} visitors_t;

static void visit(void *argument)
{
    visitors_t *visitors = (visitors_t *)argument;
    EnterCriticalSection(visitors->section);
    CHECK_EQ(__atomic_add_fetch(&visitors->inside, 1, __ATOMIC_RELAXED), 1);
    CHECK_EQ(owning_thread(visitors->section), my_thread());
    CHECK_EQ(visitors->section->RecursionCount, 1);
    CHECK_EQ(lock_count(visitors->section) & 1, 0);
    __atomic_sub_fetch(&visitors->inside, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&visitors->entered, 1, __ATOMIC_RELAXED);
    LeaveCriticalSection(visitors->section);
}

/* A section whose waiters sleep at once, so that LockCount shows them soon. */
static void initialize_without_spinning(CRITICAL_SECTION *section)
{
    REQUIRE(InitializeCriticalSectionAndSpinCount(section, 0));
}

/* ---- fields ---- */

static void nothing_needs_to_be_started(void)
{
    uint32_t state = 99;
    static CRITICAL_SECTION section;
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
    CHECK_EQ(host_runtime_state(&state), S_OK);
    CHECK_EQ(state, HOST_RUNTIME_NOT_LOADED);
}

static void initialize_sets_every_field(void)
{
    CRITICAL_SECTION section;
    LONG count = check_processors() > 1 ? 0x400 : 0;
    memset(&section, 0x5A, sizeof section);
    InitializeCriticalSection(&section);
    CHECK(section.DebugInfo == NO_DEBUG_INFO);
    CHECK_FIELDS(&section, -1, 0, 0);
    CHECK_EQ(section.SpinCount & 0xFFFFFF, 0);
    DeleteCriticalSection(&section);

    memset(&section, 0x5A, sizeof section);
    CHECK_EQ(InitializeCriticalSectionAndSpinCount(&section, 0x400), TRUE);
    CHECK(section.DebugInfo == NO_DEBUG_INFO);
    CHECK_FIELDS(&section, -1, 0, 0);
    CHECK_EQ(section.SpinCount, count);
    DeleteCriticalSection(&section);

    memset(&section, 0x5A, sizeof section);
    CHECK_EQ(InitializeCriticalSectionEx(&section, 0x400, CRITICAL_SECTION_NO_DEBUG_INFO), TRUE);
    CHECK(section.DebugInfo == NO_DEBUG_INFO);
    CHECK_FIELDS(&section, -1, 0, 0);
    CHECK_EQ(section.SpinCount, count);
    DeleteCriticalSection(&section);
    CHECK(section.DebugInfo == NULL);
    CHECK_FIELDS(&section, -1, 0, 0);
    CHECK_EQ(section.SpinCount, 0);
}

static void the_owner_sees_exactly_what_it_did(void)
{
    CRITICAL_SECTION section;
    InitializeCriticalSection(&section);
    for (LONG depth = 1; depth <= 5; depth++) {
        if (depth % 2 == 1) {
            EnterCriticalSection(&section);
        } else {
            CHECK_EQ(TryEnterCriticalSection(&section), TRUE);
        }
        CHECK_FIELDS(&section, -2, depth, my_thread());
    }
    for (LONG depth = 4; depth >= 1; depth--) {
        LeaveCriticalSection(&section);
        CHECK_FIELDS(&section, -2, depth, my_thread());
    }
    LeaveCriticalSection(&section);
    CHECK_FIELDS(&section, -1, 0, 0);
    DeleteCriticalSection(&section);
}

static CRITICAL_SECTION never_initialized;
static CRITICAL_SECTION written_down = {NO_DEBUG_INFO, -1, 0, NULL, NULL, 4000};

static void memory_that_was_never_initialized_works(void)
{
    visitors_t visitors = {&never_initialized, 0, 0};
    check_thread_t threads[8];
    for (int at = 0; at < 8; at++) {
        check_start(&threads[at], visit, &visitors);
    }
    for (int at = 0; at < 8; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(visitors.entered, 8);
    CHECK_FIELDS(&never_initialized, -1, 0, 0);
    EnterCriticalSection(&never_initialized);
    CHECK_FIELDS(&never_initialized, -2, 1, my_thread());
    LeaveCriticalSection(&never_initialized);
    DeleteCriticalSection(&never_initialized);

    CHECK_EQ(TryEnterCriticalSection(&written_down), TRUE);
    CHECK_FIELDS(&written_down, -2, 1, my_thread());
    LeaveCriticalSection(&written_down);
    CHECK_EQ(SetCriticalSectionSpinCount(&written_down, 1), 4000);
    DeleteCriticalSection(&written_down);
}

static void many_threads_may_be_the_first_to_use_zeroed_memory(void)
{
    for (int round = 0; round < 200; round++) {
        CRITICAL_SECTION section;
        visitors_t visitors = {&section, 0, 0};
        check_thread_t threads[4];
        memset(&section, 0, sizeof section);
        for (int at = 0; at < 4; at++) {
            check_start(&threads[at], visit, &visitors);
        }
        for (int at = 0; at < 4; at++) {
            check_join(&threads[at]);
        }
        CHECK_EQ(visitors.entered, 4);
        DeleteCriticalSection(&section);
    }
}

static void lock_count_shows_the_waiters(void)
{
    static const LONG documented[] = {-2, -6, -10, -14, -18, -22};
    CRITICAL_SECTION section;
    visitors_t visitors = {&section, 0, 0};
    check_thread_t threads[5];
    initialize_without_spinning(&section);
    EnterCriticalSection(&section);
    for (int waiting = 0; waiting < 5; waiting++) {
        CHECK_FIELDS(&section, documented[waiting], 1, my_thread());
        check_start(&threads[waiting], visit, &visitors);
        REQUIRE_SOON(lock_count(&section) == documented[waiting + 1]);
    }
    EnterCriticalSection(&section);
    CHECK_FIELDS(&section, -22, 2, my_thread());
    LeaveCriticalSection(&section);
    LeaveCriticalSection(&section);
    for (int waiting = 0; waiting < 5; waiting++) {
        check_join(&threads[waiting]);
    }
    CHECK_FIELDS(&section, -1, 0, 0);
    CHECK_EQ(visitors.entered, 5);
    DeleteCriticalSection(&section);
}

/* ---- what another thread may see at any moment ---- */

#define CROWD 4

static struct {
    CRITICAL_SECTION section;
    long long members[CROWD];
    int ready;
    int stop;
} watched;

static void crowd(void *member)
{
    unsigned turn = 0;
    long long me = my_thread();
    __atomic_store_n((long long *)member, me, __ATOMIC_RELEASE);
    __atomic_add_fetch(&watched.ready, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&watched.stop, __ATOMIC_RELAXED)) {
        unsigned depth = 1 + turn++ % 3;
        for (unsigned at = 0; at < depth; at++) {
            EnterCriticalSection(&watched.section);
        }
        if (owning_thread(&watched.section) != me || watched.section.RecursionCount != (LONG)depth
            || (lock_count(&watched.section) & 1) != 0) {
            CHECK_FIELDS(&watched.section, -2, (LONG)depth, me);
        }
        if (turn % 64 == 0) {
            check_pause();
        }
        for (unsigned at = 0; at < depth; at++) {
            LeaveCriticalSection(&watched.section);
        }
    }
}

static int is_member_or_nobody(long long thread)
{
    int found = thread == 0;
    for (int at = 0; at < CROWD; at++) {
        found |= thread == watched.members[at];
    }
    return found;
}

static void fields_are_never_impossible(void)
{
    check_thread_t threads[CROWD];
    struct timespec now, end;
    unsigned owned = 0, waited_for = 0;
    initialize_without_spinning(&watched.section);
    for (int at = 0; at < CROWD; at++) {
        check_start(&threads[at], crowd, &watched.members[at]);
    }
    REQUIRE_SOON(__atomic_load_n(&watched.ready, __ATOMIC_ACQUIRE) == CROWD);
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 1;
    do {
        /* LockCount and RecursionCount at one moment. */
        int64_t both = __atomic_load_n((int64_t *)(void *)&watched.section.LockCount, __ATOMIC_ACQUIRE);
        int32_t locks = (int32_t)both, recursion = (int32_t)(both >> 32);
        int waiters = (-1 - locks) >> 2;
        if (waiters < 0 || waiters > CROWD || recursion < 0 || recursion > 3
            || (recursion > 0 && (locks & 1) != 0)) {
            check_fail(__FILE__, __LINE__, "impossible: LockCount %d RecursionCount %d", locks, recursion);
        }
        CHECK(is_member_or_nobody(owning_thread(&watched.section)));
        owned += (locks & 1) == 0;
        waited_for += waiters > 0;
        clock_gettime(CLOCK_MONOTONIC, &now);
        /* Where others take the processors it may take longer until both were seen. */
    } while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec) ||
             ((owned == 0 || waited_for == 0) && now.tv_sec < end.tv_sec + CHECK_PATIENCE_SECONDS));
    __atomic_store_n(&watched.stop, 1, __ATOMIC_RELAXED);
    for (int at = 0; at < CROWD; at++) {
        check_join(&threads[at]);
    }
    CHECK(owned > 0);
    CHECK(waited_for > 0);
    CHECK_FIELDS(&watched.section, -1, 0, 0);
    DeleteCriticalSection(&watched.section);
}

/* ---- enter and leave ---- */

static void try_enter_by_another_thread_fails_at_once(void)
{
    CRITICAL_SECTION section;
    keeper_t keeper;
    InitializeCriticalSection(&section);
    start_keeper(&keeper, &section);
    CHECK_EQ(TryEnterCriticalSection(&section), FALSE);
    CHECK_FIELDS(&section, -2, 1, owning_thread(&section));
    CHECK_NE(owning_thread(&section), my_thread());
    end_keeper(&keeper);
    CHECK_EQ(TryEnterCriticalSection(&section), TRUE);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
}

static void every_entry_must_be_left(void)
{
    CRITICAL_SECTION section;
    visitors_t visitors = {&section, 0, 0};
    check_thread_t thread;
    initialize_without_spinning(&section);
    EnterCriticalSection(&section);
    EnterCriticalSection(&section);
    check_start(&thread, visit, &visitors);
    REQUIRE_SOON(lock_count(&section) == -6);
    LeaveCriticalSection(&section);
    check_pause();
    CHECK_EQ(visitors.entered, 0);
    CHECK_FIELDS(&section, -6, 1, my_thread());
    LeaveCriticalSection(&section);
    check_join(&thread);
    CHECK_EQ(visitors.entered, 1);
    DeleteCriticalSection(&section);
}

static void do_nothing(int signal)
{
    (void)signal;
}

static void catch_without_restart(int signal)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = do_nothing;
    REQUIRE_EQ(sigaction(signal, &action, NULL), 0);
}

static void wait_and_look_at_the_errors(void *section)
{
    SetLastError(4711);
    errno = ERANGE;
    EnterCriticalSection((CRITICAL_SECTION *)section);
    CHECK_EQ(errno, ERANGE);
    LeaveCriticalSection((CRITICAL_SECTION *)section);
    CHECK_EQ(errno, ERANGE);
    CHECK_EQ(GetLastError(), 4711);
}

static void errno_and_last_error_survive_a_wait(void)
{
    CRITICAL_SECTION section;
    check_thread_t thread;
    catch_without_restart(SIGUSR1);
    initialize_without_spinning(&section);
    EnterCriticalSection(&section);
    check_start(&thread, wait_and_look_at_the_errors, &section);
    REQUIRE_SOON(lock_count(&section) == -6);
    for (int at = 0; at < 20; at++) {
        pthread_kill(thread.id, SIGUSR1);
        check_pause();
    }
    errno = ERANGE;
    LeaveCriticalSection(&section);
    CHECK_EQ(errno, ERANGE);
    check_join(&thread);
    DeleteCriticalSection(&section);
}

static void leave_by_another_thread_changes_nothing(void)
{
    CRITICAL_SECTION section;
    keeper_t keeper;
    int before = misuses(LEAVES);
    initialize_without_spinning(&section);
    LeaveCriticalSection(&section);
    CHECK_FIELDS(&section, -1, 0, 0);
    start_keeper(&keeper, &section);
    long long owner = owning_thread(&section);
    LeaveCriticalSection(&section);
    CHECK_FIELDS(&section, -2, 1, owner);
    CHECK_EQ(TryEnterCriticalSection(&section), FALSE);
    end_keeper(&keeper);
    CHECK_FIELDS(&section, -1, 0, 0);
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    LeaveCriticalSection(&section);
    CHECK_FIELDS(&section, -1, 0, 0);
    CHECK_EQ(misuses(LEAVES), before + 3);
    DeleteCriticalSection(&section);
}

/* ---- delete ---- */

static void delete_of_a_section_in_use_is_refused(void)
{
    CRITICAL_SECTION section;
    visitors_t visitors = {&section, 0, 0};
    keeper_t keeper;
    check_thread_t thread;
    int before = misuses(DELETIONS);
    initialize_without_spinning(&section);
    start_keeper(&keeper, &section);
    long long owner = owning_thread(&section);
    DeleteCriticalSection(&section);
    CHECK_FIELDS(&section, -2, 1, owner);
    CHECK_EQ(misuses(DELETIONS), before + 1);
    end_keeper(&keeper);
    CHECK_FIELDS(&section, -1, 0, 0);

    EnterCriticalSection(&section);
    check_start(&thread, visit, &visitors);
    REQUIRE_SOON(lock_count(&section) == -6);
    DeleteCriticalSection(&section);
    CHECK_FIELDS(&section, -6, 1, my_thread());
    CHECK_EQ(misuses(DELETIONS), before + 2);
    LeaveCriticalSection(&section);
    check_join(&thread);
    CHECK_EQ(visitors.entered, 1);
    DeleteCriticalSection(&section);
    CHECK_EQ(misuses(DELETIONS), before + 2);
}

static void the_owner_may_delete_without_leaving(void)
{
    CRITICAL_SECTION section;
    int before = misuses(LEAVES);
    InitializeCriticalSection(&section);
    EnterCriticalSection(&section);
    EnterCriticalSection(&section);
    DeleteCriticalSection(&section);
    CHECK_FIELDS(&section, -1, 0, 0);
    LeaveCriticalSection(&section);
    CHECK_FIELDS(&section, -1, 0, 0);
    CHECK_EQ(misuses(LEAVES), before + 1);
}

static void after_delete_memory_works_as_if_zeroed_and_that_is_counted(void)
{
    CRITICAL_SECTION section;
    int before = misuses(USES_AFTER_DELETION);
    InitializeCriticalSection(&section);
    DeleteCriticalSection(&section);
    DeleteCriticalSection(&section);
    CHECK_EQ(misuses(USES_AFTER_DELETION), before + 1);
    EnterCriticalSection(&section);
    CHECK_FIELDS(&section, -2, 1, my_thread());
    CHECK_EQ(misuses(USES_AFTER_DELETION), before + 2);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
    InitializeCriticalSection(&section);
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
    CHECK_EQ(misuses(USES_AFTER_DELETION), before + 2);
}

static void a_static_section_may_be_deleted_unused(void)
{
    static CRITICAL_SECTION unused;
    int before = misuses(USES_AFTER_DELETION);
    DeleteCriticalSection(&unused);
    CHECK_FIELDS(&unused, -1, 0, 0);
    CHECK_EQ(misuses(USES_AFTER_DELETION), before);
}

static void initialize_of_a_section_in_use_begins_anew(void)
{
    CRITICAL_SECTION section;
    visitors_t visitors = {&section, 0, 0};
    keeper_t keeper;
    check_thread_t thread;
    int initialised = misuses(INITIALISATIONS), left = misuses(LEAVES);
    initialize_without_spinning(&section);
    initialize_without_spinning(&section);
    start_keeper(&keeper, &section);
    check_start(&thread, visit, &visitors);
    REQUIRE_SOON(lock_count(&section) == -6);
    initialize_without_spinning(&section);
    CHECK_FIELDS(&section, -1, 0, 0);
    EnterCriticalSection(&section);
    CHECK_EQ(visitors.entered, 0);
    CHECK_FIELDS(&section, -2, 1, my_thread());
    end_keeper(&keeper);
    REQUIRE_SOON(lock_count(&section) == -6);
    CHECK_EQ(misuses(INITIALISATIONS), initialised + 1);
    CHECK_EQ(misuses(LEAVES), left);
    LeaveCriticalSection(&section);
    check_join(&thread);
    CHECK_EQ(visitors.entered, 1);
    CHECK_FIELDS(&section, -1, 0, 0);
    DeleteCriticalSection(&section);
}

/* The last user frees the memory while others may still be on their way out of the leave. */
typedef struct shared_page {
    CRITICAL_SECTION section;
    int users;
} shared_page_t;

static void use_and_free(void *argument)
{
    shared_page_t *page = (shared_page_t *)argument;
    EnterCriticalSection(&page->section);
    int users = --page->users;
    LeaveCriticalSection(&page->section);
    if (users == 0) {
        DeleteCriticalSection(&page->section);
        munmap(page, 4096);
    }
}

static void memory_may_be_freed_by_the_last_to_leave(void)
{
    for (int round = 0; round < 300; round++) {
        check_thread_t threads[3];
        void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        shared_page_t *page = (shared_page_t *)memory;
        page->users = 3;
        initialize_without_spinning(&page->section);
        for (int at = 0; at < 3; at++) {
            check_start(&threads[at], use_and_free, page);
        }
        for (int at = 0; at < 3; at++) {
            check_join(&threads[at]);
        }
    }
}

static void a_free_section_may_be_moved(void)
{
    CRITICAL_SECTION here, there;
    visitors_t visitors = {&there, 0, 0};
    check_thread_t thread;
    initialize_without_spinning(&here);
    EnterCriticalSection(&here);
    LeaveCriticalSection(&here);
    memcpy(&there, &here, sizeof here);
    memset(&here, 0x5A, sizeof here);
    EnterCriticalSection(&there);
    check_start(&thread, visit, &visitors);
    REQUIRE_SOON(lock_count(&there) == -6);
    CHECK_EQ(lock_count(&here), 0x5A5A5A5A);
    LeaveCriticalSection(&there);
    check_join(&thread);
    DeleteCriticalSection(&there);
}

static void try_to_enter(void *argument)
{
    CRITICAL_SECTION *section = (CRITICAL_SECTION *)argument;
    REQUIRE(TryEnterCriticalSection(section));
    LeaveCriticalSection(section);
}

/* Whether another thread can enter. */
static void check_enterable(CRITICAL_SECTION *section)
{
    check_thread_t thread;
    check_start(&thread, try_to_enter, section);
    check_join(&thread);
}

static void copies_of_a_template_are_sections_of_their_own(void)
{
    CRITICAL_SECTION template, copies[3];
    DWORD spins = check_processors() > 1;
    int uses = misuses(USES_AFTER_DELETION), shared = misuses(COPIES), deletions = misuses(DELETIONS);
    REQUIRE(InitializeCriticalSectionAndSpinCount(&template, 5));
    for (size_t at = 0; at < 3; at++) {
        copies[at] = template;
    }
    EnterCriticalSection(&copies[0]);
    CHECK_FIELDS(&copies[0], -2, 1, my_thread());
    CHECK_EQ(copies[0].SpinCount, 5 * spins);
    check_enterable(&copies[1]);
    DeleteCriticalSection(&copies[2]);
    CHECK_EQ(SetCriticalSectionSpinCount(&template, 6), 5 * spins);
    check_enterable(&template);
    EnterCriticalSection(&template);
    LeaveCriticalSection(&copies[0]);
    check_enterable(&copies[0]);
    CHECK_FIELDS(&template, -2, 1, my_thread());
    LeaveCriticalSection(&template);
    DeleteCriticalSection(&template);
    DeleteCriticalSection(&copies[0]);
    DeleteCriticalSection(&copies[1]);
    CHECK_EQ(misuses(USES_AFTER_DELETION), uses);
    CHECK_EQ(misuses(COPIES), shared);
    CHECK_EQ(misuses(DELETIONS), deletions);
}

static void a_section_may_be_moved_before_it_is_entered(void)
{
    CRITICAL_SECTION here, there;
    int uses = misuses(USES_AFTER_DELETION);
    InitializeCriticalSection(&here);
    there = here;
    InitializeCriticalSection(&here);
    EnterCriticalSection(&here);
    check_enterable(&there);
    LeaveCriticalSection(&here);
    DeleteCriticalSection(&here);
    DeleteCriticalSection(&there);
    CHECK_EQ(misuses(USES_AFTER_DELETION), uses);
}

/* ---- spin counts, flags, last error ---- */

static void spin_counts_have_24_bits(void)
{
    CRITICAL_SECTION section;
    DWORD spins = check_processors() > 1;
    CHECK_EQ(InitializeCriticalSectionAndSpinCount(&section, 0x80000400), TRUE);
    CHECK_EQ(section.SpinCount, spins * 0x400);
    CHECK_EQ(SetCriticalSectionSpinCount(&section, 0xFFFFFFFF), spins * 0x400);
    CHECK_EQ(section.SpinCount, spins * 0xFFFFFF);
    CHECK_EQ(SetCriticalSectionSpinCount(&section, 0), spins * 0xFFFFFF);
    CHECK_EQ(SetCriticalSectionSpinCount(&section, 7), 0);
    DeleteCriticalSection(&section);
    static CRITICAL_SECTION zeroed;
    CHECK_EQ(SetCriticalSectionSpinCount(&zeroed, 7), 0);
    EnterCriticalSection(&zeroed);
    CHECK_EQ(zeroed.SpinCount, spins * 7);
    LeaveCriticalSection(&zeroed);
    DeleteCriticalSection(&zeroed);
}

/* Alone in a process that may run on one processor only from its start. */
static void on_one_processor_nobody_spins(void)
{
    if (getenv("WIN32_TEST_ONE_PROCESSOR") != NULL) {
        CRITICAL_SECTION section;
        REQUIRE_EQ(check_processors(), 1);
        CHECK_EQ(InitializeCriticalSectionAndSpinCount(&section, 4000), TRUE);
        CHECK_EQ(section.SpinCount, 0);
        CHECK_EQ(SetCriticalSectionSpinCount(&section, 4000), 0);
        CHECK_EQ(SetCriticalSectionSpinCount(&section, 4000), 0);
        CHECK_EQ(section.SpinCount, 0);
        DeleteCriticalSection(&section);
        return;
    }
    CHECK_EQ(run_again("on_one_processor_nobody_spins", "WIN32_TEST_ONE_PROCESSOR", "1", 1), 0);
}

static void initialize_ex_refuses_what_it_does_not_know(void)
{
    static const DWORD known[] = {0, CRITICAL_SECTION_NO_DEBUG_INFO, RTL_CRITICAL_SECTION_FLAG_DYNAMIC_SPIN,
                                  RTL_CRITICAL_SECTION_FLAG_STATIC_INIT,
                                  RTL_CRITICAL_SECTION_FLAG_RESOURCE_TYPE,
                                  RTL_CRITICAL_SECTION_FLAG_FORCE_DEBUG_INFO};
    CRITICAL_SECTION section;
    for (size_t at = 0; at < sizeof known / sizeof known[0]; at++) {
        CHECK_EQ(InitializeCriticalSectionEx(&section, 4000, known[at]), TRUE);
        EnterCriticalSection(&section);
        LeaveCriticalSection(&section);
        DeleteCriticalSection(&section);
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        DWORD flag = (DWORD)1 << bit;
        if (bit < 24 || bit > 28) {
            memset(&section, 0x5A, sizeof section);
            SetLastError(0);
            CHECK_EQ(InitializeCriticalSectionEx(&section, 0, flag), FALSE);
            CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
            CHECK_EQ(section.LockCount, 0x5A5A5A5A);
        }
    }
    SetLastError(0);
    CHECK_EQ(InitializeCriticalSectionEx(&section, 0x01000000, 0), FALSE);
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
}

static void find_no_error(void *unused)
{
    (void)unused;
    CHECK_EQ(GetLastError(), 0);
    SetLastError(1);
    CHECK_EQ(hostcrst_last_error(), 1);
}

static void each_thread_has_its_last_error(void)
{
    check_thread_t thread;
    SetLastError(4711);
    check_start(&thread, find_no_error, NULL);
    check_join(&thread);
    CHECK_EQ(GetLastError(), 4711);
    hostcrst_set_last_error(0);
    CHECK_EQ(GetLastError(), 0);
}

/* ---- the end of an owner, fork, the runtime ---- */

static CRITICAL_SECTION left_locked;

static void end_as_owner(void *first)
{
    EnterCriticalSection(&left_locked);
    if (__atomic_exchange_n((int *)first, 0, __ATOMIC_RELAXED)) {
        return;
    }
    check_fail(__FILE__, __LINE__, "entered what an ended thread owns");
}

static void an_ended_owner_keeps_the_section(void)
{
    check_thread_t threads[3];
    int first = 1;
    char expected[64];
    initialize_without_spinning(&left_locked);
    EnterCriticalSection(&left_locked);
    check_start(&threads[0], end_as_owner, &first);
    check_start(&threads[1], end_as_owner, &first);
    REQUIRE_SOON(lock_count(&left_locked) == -10);
    LeaveCriticalSection(&left_locked);
    REQUIRE_SOON(__atomic_load_n(&first, __ATOMIC_RELAXED) == 0);
    long long owner = owning_thread(&left_locked);
    REQUIRE_SOON(syscall(SYS_tgkill, getpid(), owner, 0) != 0);
    check_start(&threads[2], end_as_owner, &first);
    REQUIRE_SOON(lock_count(&left_locked) == -10);
    for (int look = 0; look < 100; look++) {
        check_pause();
        CHECK_EQ(TryEnterCriticalSection(&left_locked), FALSE);
        CHECK_FIELDS(&left_locked, -10, 1, owner);
    }
    snprintf(expected, sizeof expected, "which stays locked: its owner tid=%lld has ended", owner);
    CHECK(report_has(expected));
    DeleteCriticalSection(&left_locked);
    CHECK_FIELDS(&left_locked, -10, 1, owner);
}

static void a_section_of_an_ended_owner_can_be_deleted(void)
{
    CRITICAL_SECTION section;
    keeper_t keeper;
    char expected[128];
    InitializeCriticalSection(&section);
    start_keeper(&keeper, &section);
    keeper.leaves = 0;
    end_keeper(&keeper);
    CHECK_EQ(TryEnterCriticalSection(&section), FALSE);
    snprintf(expected, sizeof expected, "abandoned %6lld", owning_thread(&section));
    CHECK(report_has(expected));
    DeleteCriticalSection(&section);
    CHECK_FIELDS(&section, -1, 0, 0);
    InitializeCriticalSection(&section);
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
}

static CRITICAL_SECTION mine, anothers;

static void use_what_was_inherited(void)
{
    int before = misuses(LEAVES);
    CHECK_FIELDS(&mine, -2, 2, my_thread());
    LeaveCriticalSection(&mine);
    CHECK_FIELDS(&mine, -2, 1, my_thread());
    LeaveCriticalSection(&mine);
    CHECK_FIELDS(&mine, -1, 0, 0);
    EnterCriticalSection(&mine);
    LeaveCriticalSection(&mine);
    CHECK_EQ(TryEnterCriticalSection(&anothers), FALSE);
    LeaveCriticalSection(&anothers);
    CHECK_EQ(misuses(LEAVES), before + 1);
}

static void fork_as_an_owner(void (*in_the_child)(void))
{
    keeper_t keeper;
    InitializeCriticalSection(&mine);
    InitializeCriticalSection(&anothers);
    start_keeper(&keeper, &anothers);
    EnterCriticalSection(&mine);
    EnterCriticalSection(&mine);
    in_child(in_the_child);
    CHECK_FIELDS(&mine, -2, 2, my_thread());
    LeaveCriticalSection(&mine);
    LeaveCriticalSection(&mine);
    end_keeper(&keeper);
    DeleteCriticalSection(&mine);
    DeleteCriticalSection(&anothers);
}

static void a_forked_child_owns_what_its_thread_owned(void)
{
    fork_as_an_owner(use_what_was_inherited);
}

static CRITICAL_SECTION *two_that_are_gone;

static void find_them_gone(void)
{
    CRITICAL_SECTION *other_memory = &two_that_are_gone[0];
    CHECK_EQ((uintptr_t)other_memory->OwningThread, (uintptr_t)getppid());
    CHECK_EQ((uintptr_t)other_memory->LockSemaphore, 0);
    use_what_was_inherited();
}

/* A misuse: the program has neither left nor deleted them. */
static void a_forked_child_leaves_alone_what_is_gone(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    two_that_are_gone = (CRITICAL_SECTION *)(void *)(pages + page) - 1;
    EnterCriticalSection(&two_that_are_gone[0]);
    EnterCriticalSection(&two_that_are_gone[1]);
    two_that_are_gone[0].LockSemaphore = NULL;
    two_that_are_gone[0].OwningThread = (HANDLE)(uintptr_t)getpid();
    REQUIRE_EQ(munmap(pages + page, page), 0);
    fork_as_an_owner(find_them_gone);
}

static void wait_through_the_runtimes_life(void)
{
    CRITICAL_SECTION section;
    visitors_t visitors = {&section, 0, 0};
    check_thread_t thread;
    initialize_without_spinning(&section);
    EnterCriticalSection(&section);
    check_start(&thread, visit, &visitors);
    REQUIRE_SOON(lock_count(&section) == -6);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK_EQ(host_runtime_fail(), S_OK);
    CHECK_FIELDS(&section, -6, 1, my_thread());
    LeaveCriticalSection(&section);
    check_join(&thread);
    CHECK_EQ(visitors.entered, 1);
    DeleteCriticalSection(&section);
}

static void the_runtime_is_of_no_concern(void)
{
    in_child(wait_through_the_runtimes_life);
}

static void try_what_the_semaphore_holds(void)
{
    CRITICAL_SECTION section;
    hostcrst_t stolen;
    int32_t entered = 1;
    InitializeCriticalSection(&section);
    memcpy(&stolen, &section.LockSemaphore, sizeof stolen);
    CHECK_EQ(host_runtime_start(), S_OK);
    CHECK_EQ(hostcrst_enter(stolen, 0), E_HANDLE);
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    memcpy(&stolen, &section.LockSemaphore, sizeof stolen);
    CHECK_EQ(hostcrst_enter(stolen, 0), E_HANDLE);
    CHECK_EQ(hostcrst_try_enter(stolen, 0, &entered), E_HANDLE);
    EnterCriticalSection(&section);
    CHECK_EQ(hostcrst_leave(stolen), E_HANDLE);
    CHECK_EQ(hostcrst_destroy(stolen), E_HANDLE);
    CHECK_FIELDS(&section, -2, 1, my_thread());
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
}

static void lock_semaphore_is_no_handle_of_the_hosts(void)
{
    in_child(try_what_the_semaphore_holds);
}

/* ---- reports ---- */

static CRITICAL_SECTION known_by_name;

static void reports_know_sections_by_address_and_variable(void)
{
    char place[64];
    CRITICAL_SECTION *heap = (CRITICAL_SECTION *)calloc(1, sizeof *heap);
    REQUIRE(heap != NULL);
    EnterCriticalSection(&known_by_name);
    EnterCriticalSection(heap);
    snprintf(place, sizeof place, "CRITICAL_SECTION 0x%llx ", (unsigned long long)(uintptr_t)&known_by_name);
    CHECK(report_has(place));
    CHECK(report_has("!known_by_name+0x0"));
    snprintf(place, sizeof place, "CRITICAL_SECTION 0x%llx", (unsigned long long)(uintptr_t)heap);
    CHECK(report_has(place));
    CHECK(report_has("runtime not loaded"));
    char *json = report_text(HOST_REPORT_JSON);
    CHECK(strstr(json, "\"critical_section\":\"0x") != NULL);
    CHECK(strstr(json, "!known_by_name+0x0\"") != NULL);
    free(json);
    LeaveCriticalSection(heap);
    DeleteCriticalSection(heap);
    free(heap);
    LeaveCriticalSection(&known_by_name);
    DeleteCriticalSection(&known_by_name);
}

static void enter_while_tracked(void)
{
    REQUIRE_EQ(host_runtime_start(), S_OK);
    EnterCriticalSection(&known_by_name);
    LeaveCriticalSection(&known_by_name);
    REQUIRE_EQ(host_set_hold_tracking(1), S_OK);
    EnterCriticalSection(&known_by_name);
    CHECK(report_has(" recursion=1, entered at "));
    CHECK(report_has("!enter_while_tracked+0x"));
    LeaveCriticalSection(&known_by_name);
}

/* Nothing of that entry is unusual but that it is tracked. */
static void tracking_keeps_where_a_section_was_entered(void)
{
    in_child(enter_while_tracked);
}

/* ---- condition variables ---- */

typedef struct sleepers {
    CRITICAL_SECTION section;
    CONDITION_VARIABLE variable;
    int asleep;
    int tickets;
    int through;
} sleepers_t;

static void sleep_for_a_ticket(void *argument)
{
    sleepers_t *sleepers = (sleepers_t *)argument;
    EnterCriticalSection(&sleepers->section);
    sleepers->asleep++;
    while (sleepers->tickets == 0) {
        CHECK_EQ(SleepConditionVariableCS(&sleepers->variable, &sleepers->section, INFINITE), TRUE);
        CHECK_EQ(owning_thread(&sleepers->section), my_thread());
        CHECK_EQ(sleepers->section.RecursionCount, 1);
    }
    sleepers->tickets--;
    sleepers->through++;
    LeaveCriticalSection(&sleepers->section);
}

static int locked_read(sleepers_t *sleepers, int *number)
{
    EnterCriticalSection(&sleepers->section);
    int value = *number;
    LeaveCriticalSection(&sleepers->section);
    return value;
}

static void prepare_sleepers(sleepers_t *sleepers)
{
    memset(sleepers, 0x5A, sizeof *sleepers);
    InitializeCriticalSection(&sleepers->section);
    InitializeConditionVariable(&sleepers->variable);
    sleepers->asleep = sleepers->tickets = sleepers->through = 0;
}

static void one_wake_lets_one_through_and_wake_all_the_rest(void)
{
    sleepers_t sleepers;
    check_thread_t threads[5];
    prepare_sleepers(&sleepers);
    for (int at = 0; at < 5; at++) {
        check_start(&threads[at], sleep_for_a_ticket, &sleepers);
    }
    REQUIRE_SOON(locked_read(&sleepers, &sleepers.asleep) == 5);
    EnterCriticalSection(&sleepers.section);
    sleepers.tickets = 1;
    WakeConditionVariable(&sleepers.variable);
    LeaveCriticalSection(&sleepers.section);
    REQUIRE_SOON(locked_read(&sleepers, &sleepers.through) == 1);
    EnterCriticalSection(&sleepers.section);
    sleepers.tickets = 4;
    LeaveCriticalSection(&sleepers.section);
    WakeAllConditionVariable(&sleepers.variable);
    for (int at = 0; at < 5; at++) {
        check_join(&threads[at]);
    }
    CHECK_EQ(sleepers.through, 5);
    DeleteCriticalSection(&sleepers.section);
}

static void a_sleep_ends_in_time_and_owns_the_section_again(void)
{
    static const DWORD times[] = {0, 1, 30};
    static CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;
    static CRITICAL_SECTION section;
    for (size_t at = 0; at < sizeof times / sizeof times[0]; at++) {
        EnterCriticalSection(&section);
        SetLastError(0);
        int64_t start = nanoseconds_now();
        CHECK_EQ(SleepConditionVariableCS(&variable, &section, times[at]), FALSE);
        CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
        CHECK(milliseconds_since(start) >= (long long)times[at]);
        CHECK_FIELDS(&section, -2, 1, my_thread());
        LeaveCriticalSection(&section);
    }
    /* A wake without a sleeper is not kept. */
    WakeConditionVariable(&variable);
    WakeAllConditionVariable(&variable);
    EnterCriticalSection(&section);
    CHECK_EQ(SleepConditionVariableCS(&variable, &section, 1), FALSE);
    CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
}

static void sleep_for_a_second(void *argument)
{
    sleepers_t *sleepers = (sleepers_t *)argument;
    EnterCriticalSection(&sleepers->section);
    sleepers->asleep++;
    CHECK_EQ(SleepConditionVariableCS(&sleepers->variable, &sleepers->section, 1000), FALSE);
    CHECK_EQ(GetLastError(), ERROR_TIMEOUT);
    sleepers->through++;
    LeaveCriticalSection(&sleepers->section);
}

/* Signals make no sleep longer, and end none. */
static void signals_do_not_disturb_a_sleep(void)
{
    sleepers_t sleepers;
    check_thread_t thread;
    catch_without_restart(SIGUSR1);
    prepare_sleepers(&sleepers);
    check_start(&thread, sleep_for_a_second, &sleepers);
    REQUIRE_SOON(locked_read(&sleepers, &sleepers.asleep) == 1);
    int64_t start = nanoseconds_now();
    while (!locked_read(&sleepers, &sleepers.through)) {
        pthread_kill(thread.id, SIGUSR1);
        check_pause();
    }
    CHECK(milliseconds_since(start) >= 900);
    CHECK(milliseconds_since(start) < 1000 * CHECK_PATIENCE_SECONDS);
    check_join(&thread);
    DeleteCriticalSection(&sleepers.section);
}

static void a_sleep_needs_the_section_entered_exactly_once(void)
{
    CONDITION_VARIABLE variable = CONDITION_VARIABLE_INIT;
    CRITICAL_SECTION section;
    keeper_t keeper;
    int before = misuses(SLEEPS);
    InitializeCriticalSection(&section);
    CHECK_EQ(SleepConditionVariableCS(&variable, &section, INFINITE), FALSE);
    CHECK_EQ(GetLastError(), ERROR_NOT_OWNER);
    start_keeper(&keeper, &section);
    CHECK_EQ(SleepConditionVariableCS(&variable, &section, INFINITE), FALSE);
    CHECK_EQ(GetLastError(), ERROR_NOT_OWNER);
    end_keeper(&keeper);
    EnterCriticalSection(&section);
    EnterCriticalSection(&section);
    CHECK_EQ(SleepConditionVariableCS(&variable, &section, INFINITE), FALSE);
    CHECK_EQ(GetLastError(), ERROR_INVALID_PARAMETER);
    CHECK_FIELDS(&section, -2, 2, my_thread());
    LeaveCriticalSection(&section);
    LeaveCriticalSection(&section);
    CHECK_EQ(misuses(SLEEPS), before + 3);
    DeleteCriticalSection(&section);
}

/* Letters through a ring with one variable for each direction: all arrive, in order. */
#define LETTERS 20000
#define ROOM 10

static struct {
    CRITICAL_SECTION section;
    CONDITION_VARIABLE more, less;
    int ring[ROOM];
    int written, read;
} letters;

static void write_letters(void *unused)
{
    (void)unused;
    for (int letter = 0; letter < LETTERS; letter++) {
        EnterCriticalSection(&letters.section);
        while (letters.written - letters.read == ROOM) {
            CHECK(SleepConditionVariableCS(&letters.less, &letters.section, INFINITE));
        }
        letters.ring[letters.written++ % ROOM] = letter;
        LeaveCriticalSection(&letters.section);
        WakeConditionVariable(&letters.more);
    }
}

static void letters_arrive_in_order(void)
{
    check_thread_t writer;
    check_start(&writer, write_letters, NULL);
    for (int letter = 0; letter < LETTERS; letter++) {
        EnterCriticalSection(&letters.section);
        while (letters.written == letters.read) {
            CHECK(SleepConditionVariableCS(&letters.more, &letters.section, INFINITE));
        }
        CHECK_EQ(letters.ring[letters.read++ % ROOM], letter);
        LeaveCriticalSection(&letters.section);
        WakeConditionVariable(&letters.less);
    }
    check_join(&writer);
    DeleteCriticalSection(&letters.section);
}

/* ---- a crowd of threads that never meet ---- */

static struct {
    CRITICAL_SECTION section;
    long count;
    int inside;
} crowded;

static void enter_again_and_again(void *loops)
{
    for (int loop = 0; loop < *(int *)loops; loop++) {
        if (loop % 5 == 4 && !TryEnterCriticalSection(&crowded.section)) {
            sched_yield();
            EnterCriticalSection(&crowded.section);
        } else if (loop % 5 != 4) {
            EnterCriticalSection(&crowded.section);
        }
        if (++crowded.inside != 1) {
            check_fail(__FILE__, __LINE__, "%d threads inside", crowded.inside);
        }
        crowded.count++;
        if (loop % 100 == 0) {
            check_pause();
        }
        crowded.inside--;
        LeaveCriticalSection(&crowded.section);
    }
}

static void threads_never_meet_inside(void)
{
    check_thread_t threads[10];
    int loops = 1000;
    for (int phase = 0; phase < 2; phase++) {
        for (int at = 0; at < 10; at++) {
            check_start(&threads[at], enter_again_and_again, &loops);
        }
        for (int at = 0; at < 10; at++) {
            check_join(&threads[at]);
        }
    }
    CHECK_EQ(crowded.count, 2 * 10 * 1000);
    CHECK_FIELDS(&crowded.section, -1, 0, 0);
    DeleteCriticalSection(&crowded.section);
}

CHECK_MAIN(CHECK_TEST(nothing_needs_to_be_started), CHECK_TEST(initialize_sets_every_field),
           CHECK_TEST(the_owner_sees_exactly_what_it_did),
           CHECK_TEST(memory_that_was_never_initialized_works),
           CHECK_TEST(many_threads_may_be_the_first_to_use_zeroed_memory),
           CHECK_TEST(lock_count_shows_the_waiters), CHECK_TEST(fields_are_never_impossible),
           CHECK_TEST(try_enter_by_another_thread_fails_at_once), CHECK_TEST(every_entry_must_be_left),
           CHECK_TEST(errno_and_last_error_survive_a_wait),
           CHECK_TEST(leave_by_another_thread_changes_nothing),
           CHECK_TEST(delete_of_a_section_in_use_is_refused),
           CHECK_TEST(the_owner_may_delete_without_leaving),
           CHECK_TEST(after_delete_memory_works_as_if_zeroed_and_that_is_counted),
           CHECK_TEST(a_static_section_may_be_deleted_unused),
           CHECK_TEST(initialize_of_a_section_in_use_begins_anew),
           CHECK_TEST(memory_may_be_freed_by_the_last_to_leave), CHECK_TEST(a_free_section_may_be_moved),
           CHECK_TEST(copies_of_a_template_are_sections_of_their_own),
           CHECK_TEST(a_section_may_be_moved_before_it_is_entered),
           CHECK_TEST(spin_counts_have_24_bits), CHECK_TEST(on_one_processor_nobody_spins),
           CHECK_TEST(initialize_ex_refuses_what_it_does_not_know),
           CHECK_TEST(each_thread_has_its_last_error), CHECK_TEST(an_ended_owner_keeps_the_section),
           CHECK_TEST(a_section_of_an_ended_owner_can_be_deleted),
           CHECK_TEST(a_forked_child_owns_what_its_thread_owned),
           CHECK_TEST(a_forked_child_leaves_alone_what_is_gone), CHECK_TEST(the_runtime_is_of_no_concern),
           CHECK_TEST(lock_semaphore_is_no_handle_of_the_hosts),
           CHECK_TEST(reports_know_sections_by_address_and_variable),
           CHECK_TEST(tracking_keeps_where_a_section_was_entered),
           CHECK_TEST(one_wake_lets_one_through_and_wake_all_the_rest),
           CHECK_TEST(a_sleep_ends_in_time_and_owns_the_section_again),
           CHECK_TEST(signals_do_not_disturb_a_sleep),
           CHECK_TEST(a_sleep_needs_the_section_entered_exactly_once), CHECK_TEST(letters_arrive_in_order),
           CHECK_TEST(threads_never_meet_inside))
