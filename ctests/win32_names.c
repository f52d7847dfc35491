/*
 * What stands beside critical sections in code written for Windows: GetCurrentThreadId, the names of ntdll, and debug
 * records.
 */
#include "capture.h"
#include "lock_count.h"

#include <string.h>
#include <sys/syscall.h>

/* As Wine's own code, and code derived from it, names its sections: by a path and a name. */
#define LONG_PATH "/a/path/that/is/so/long/that/no/name/of/a/report/has/room/of/it"
static CRITICAL_SECTION named;
static CRITICAL_SECTION_DEBUG debug_of_named = {
    0, 0, &named, {&debug_of_named.ProcessLocksList, &debug_of_named.ProcessLocksList}, 0, 0,
    {(ULONG_PTR)(LONG_PATH "/win32_names.c: named")}
};
static CRITICAL_SECTION named = {&debug_of_named, -1, 0, 0, 0, 0};

/* ---- GetCurrentThreadId ---- */

static CRITICAL_SECTION section;

static void compare_ids(void *unused)
{
    (void)unused;
    EnterCriticalSection(&section);
    CHECK_EQ((ULONG_PTR)section.OwningThread, GetCurrentThreadId());
    CHECK_EQ(GetCurrentThreadId(), (DWORD)syscall(SYS_gettid));
    LeaveCriticalSection(&section);
}

static void the_id_of_a_thread_is_that_of_an_owner(void)
{
    check_thread_t thread;
    compare_ids(NULL);
    check_start(&thread, compare_ids, NULL);
    check_join(&thread);
    pid_t child = fork();
    if (child == 0) {
        compare_ids(NULL);
        fflush(NULL);
        _exit(check_failed_so_far());
    }
    int status = -1;
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

/* ---- ntdll ---- */

static void the_names_of_ntdll_are_the_same_functions(void)
{
    CRITICAL_SECTION local;
    CHECK_EQ(RtlInitializeCriticalSection(&local), 0);
    CHECK_EQ(RtlEnterCriticalSection(&local), 0);
    CHECK_EQ(RtlTryEnterCriticalSection(&local), TRUE);
    CHECK_EQ(local.RecursionCount, 2);
    CHECK_EQ(RtlLeaveCriticalSection(&local), 0);
    CHECK_EQ(RtlLeaveCriticalSection(&local), 0);
    CHECK_EQ(local.LockCount, -1);
    CHECK_EQ(RtlDeleteCriticalSection(&local), 0);
    CHECK_EQ(RtlInitializeCriticalSectionAndSpinCount(&local, 0xFF000000), 0);
    CHECK_EQ(RtlSetCriticalSectionSpinCount(&local, 0), 0);
    CHECK_EQ(RtlDeleteCriticalSection(&local), 0);
    CHECK_EQ(RtlInitializeCriticalSectionEx(&local, 0, CRITICAL_SECTION_NO_DEBUG_INFO), 0);
    CHECK_EQ(RtlDeleteCriticalSection(&local), 0);
    CHECK_EQ(RtlInitializeCriticalSectionEx(&local, 0, 1), (int32_t)0xC000000D);
}

/* ---- debug records ---- */

static void reports_name_a_section_by_the_programs_own_record(void)
{
    EnterCriticalSection(&named);
    char *report = text_report();
    CHECK_CONTAINS(report, "!named+0x0 \"");
    CHECK_CONTAINS(report, "win32_names.c: named\"");
    free(report);
    char *json = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(json, "win32_names.c: named\",\"state\":\"owned\"");
    free(json);
    /* A name that cannot be read is none. */
    debug_of_named.Spare[0] = 8;
    report = text_report();
    CHECK_LACKS(report, "win32_names.c: named");
    free(report);
    /* Nor is that of a record which is another section's. */
    debug_of_named.Spare[0] = (ULONG_PTR) "of another";
    debug_of_named.CriticalSection = &section;
    report = text_report();
    CHECK_LACKS(report, "of another");
    free(report);
    LeaveCriticalSection(&named);
}

static void a_record_that_is_asked_for_may_be_written_to(void)
{
    CRITICAL_SECTION local;
    REQUIRE(InitializeCriticalSectionEx(&local, 0, RTL_CRITICAL_SECTION_FLAG_FORCE_DEBUG_INFO));
    local.DebugInfo->Spare[0] = (ULONG_PTR) "me: local";
    CHECK_EQ(local.DebugInfo->Spare[0] != 0, 1);
    EnterCriticalSection(&local);
    char *report = text_report();
    /* It is there for the whole process, so it names none. */
    CHECK_LACKS(report, "me: local");
    free(report);
    LeaveCriticalSection(&local);
    DeleteCriticalSection(&local);
    CHECK(local.DebugInfo == NULL);
    REQUIRE(InitializeCriticalSectionEx(&local, 0, 0));
    CHECK((ULONG_PTR)local.DebugInfo == (ULONG_PTR)-1);
    DeleteCriticalSection(&local);
}

CHECK_MAIN(CHECK_TEST(the_id_of_a_thread_is_that_of_an_owner),
           CHECK_TEST(the_names_of_ntdll_are_the_same_functions),
           CHECK_TEST(reports_name_a_section_by_the_programs_own_record),
           CHECK_TEST(a_record_that_is_asked_for_may_be_written_to))
