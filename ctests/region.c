/*
 * Memory: what is reserved and not in use cannot be read, so that it is in no core, whichever tool writes it; all
 * memory in use can be read.
 */
#include "capture.h"
#include "own_syscall.h"

#include <stdint.h>
#include <fcntl.h>
#include <sys/mman.h>

enum { MANY = 100000, MIB = 1 << 20, SLOT_BYTES = 64, GATHER = 25 /* MADV_COLLAPSE */ };

/* Meanwhile others create and destroy. */
static void create_and_destroy(void *unused)
{
    (void)unused;
    CHECK_EQ(hostcrst_destroy(new_section()), S_OK);
}

/* What the library has the system gather into huge pages, and what of that was no memory in use. */
static size_t bytes_gathered;
static size_t bytes_gathered_unused;

/* Stands in for libc's. */
int madvise(void *start, size_t bytes, int advice)
{
    enum { PAGE = 4096 };
    if (advice == GATHER) {
        check_thread_t other;
        check_start(&other, create_and_destroy, NULL);
        check_join(&other);
        bytes_gathered += bytes;
        for (size_t at = 0; at < bytes; at += PAGE) {
            unsigned char is_resident = 0;
            int failed = mincore((char *)start + at, PAGE, &is_resident);
            bytes_gathered_unused += failed != 0 || is_resident % 2 == 0 ? PAGE : 0;
        }
    }
    return (int)syscall(SYS_madvise, start, bytes, advice);
}

/* Whether the administrator has forbidden huge pages. */
static int are_forbidden;

static int stands_in(long number, const long *arguments, long *result)
{
    static const char setting[] = "always madvise [never]\n";
    if (!are_forbidden || number != SYS_openat || strstr((const char *)arguments[1], "transparent_hugepage") == NULL) {
        return 0;
    }
    *result = memfd_create("setting", MFD_CLOEXEC);
    REQUIRE_EQ(pwrite((int)*result, setting, sizeof setting - 1, 0), (ssize_t)sizeof setting - 1);
    return 1;
}

typedef struct memory {
    /* Bytes that can be read: what `createdump --full` copies. */
    size_t readable;
    /* Of them, those that the kernel and gcore put into a core. */
    size_t dumped;
} memory_t;

static memory_t memory_now(void)
{
    char line[4096];
    size_t size = 0;
    int is_readable = 0;
    memory_t memory = {0, 0};
    FILE *maps = fopen("/proc/self/smaps", "r");
    REQUIRE(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long long start;
        unsigned long long end;
        char mode;
        if (sscanf(line, "%llx-%llx %c", &start, &end, &mode) == 3) {
            size = (size_t)(end - start);
            is_readable = mode == 'r';
            memory.readable += is_readable ? size : 0;
        } else if (strncmp(line, "VmFlags:", 8) == 0 && is_readable && strstr(line, " dd") == NULL) {
            memory.dumped += size;
        }
    }
    fclose(maps);
    return memory;
}

#define CHECK_GREW_LESS(before, readable, dumped) check_growth((before), (readable), (dumped), __LINE__)

static void check_growth(memory_t before, size_t readable, size_t dumped, int at)
{
    memory_t now = memory_now();
    if (now.readable - before.readable > readable || now.dumped - before.dumped > dumped) {
        check_fail(__FILE__, at, "%zu MiB more can be read, and %zu MiB more are in a core",
                   (now.readable - before.readable) / MIB, (now.dumped - before.dumped) / MIB);
    }
}

/* The first test: nothing is reserved before it. */
static void what_is_reserved_cannot_be_read(void)
{
    memory_t before = memory_now();
    start_runtime();
    this_task();
    CHECK_GREW_LESS(before, 32 * MIB, 12 * MIB);
    CHECK_EQ(host_set_hold_tracking(1), S_OK);
    hostcrst_t crst = new_section();
    CHECK_EQ(hostcrst_enter(crst, 0), S_OK);
    CHECK_GREW_LESS(before, 32 * MIB, 12 * MIB);
    CHECK_EQ(hostcrst_leave(crst), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
    CHECK_EQ(host_set_hold_tracking(0), S_OK);
}

static void check_held_since(const hostcrst_t *crsts, int count)
{
    for (int at = 0; at < count; at++) {
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
    }
    char *report = report_in(HOST_REPORT_JSON);
    CHECK_EQ(times_in(report, "\"owned_for_ns\":"), count);
    free(report);
    for (int at = 0; at < count; at++) {
        CHECK_EQ(hostcrst_leave(crsts[at]), S_OK);
    }
}

/* Whether a section was made before tracking began, in between, or after, and however many there are. */
static void every_section_has_its_hold(void)
{
    start_runtime();
    hostcrst_t *crsts = (hostcrst_t *)zeroed(MANY, sizeof *crsts);
    memory_t before = memory_now();
    int made = 0;
    for (int on = 0; made < MANY; on = !on) {
        CHECK_EQ(host_set_hold_tracking(on), S_OK);
        for (int more = 0; more < MANY / 5; more++) {
            crsts[made++] = new_section();
        }
    }
    CHECK_EQ(host_set_hold_tracking(1), S_OK);
    CHECK_GREW_LESS(before, 32 * MIB, 32 * MIB);
    check_held_since(crsts, MANY);
    CHECK_EQ(host_set_hold_tracking(0), S_OK);
    for (int at = 0; at < MANY; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    free(crsts);
}

/* Of the memory of many sections, all but its beginning and its end: no page that has not been taken for them is. */
static void sections_are_gathered_into_huge_pages_that_are_full(void)
{
    enum { HUGE_PAGE = 2 * MIB };
    start_runtime();
    hostcrst_t *crsts = (hostcrst_t *)zeroed(MANY, sizeof *crsts);
    for (int at = 0; at < MANY; at++) {
        crsts[at] = new_section();
    }
    for (int at = 0; at < MANY; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    free(crsts);
    CHECK(bytes_gathered >= (size_t)MANY * SLOT_BYTES - 2 * HUGE_PAGE && bytes_gathered <= (size_t)MANY * SLOT_BYTES);
    CHECK_EQ(bytes_gathered_unused, 0);
}

static void none_are_gathered_where_the_administrator_forbids_it(void)
{
    enum { COUNT = 3 * MANY };
    start_runtime();
    size_t before = bytes_gathered;
    hostcrst_t *crsts = (hostcrst_t *)zeroed(COUNT, sizeof *crsts);
    are_forbidden = 1;
    for (int at = 0; at < COUNT; at++) {
        crsts[at] = new_section();
    }
    are_forbidden = 0;
    CHECK_EQ(bytes_gathered, before);
    for (int at = 0; at < COUNT; at++) {
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
    }
    free(crsts);
}

/* More sections than a look could find at first. */
static void sections_beyond_those_shown_at_first(void)
{
    enum { COUNT = 600000 };
    start_runtime();
    hostcrst_t *crsts = (hostcrst_t *)zeroed(COUNT, sizeof *crsts);
    for (int at = 0; at < COUNT; at++) {
        crsts[at] = new_section();
        CHECK_EQ(hostcrst_enter(crsts[at], 0), S_OK);
        if (at % 100 == 0) {
            /* A slot that does not exist, at the place of one that does. */
            CHECK_EQ(hostcrst_enter(crsts[at] ^ 1 << 29, 0), E_HANDLE);
            CHECK_EQ(hostcrst_leave(crsts[at] ^ 1 << 29), E_HANDLE);
        }
    }
    for (int at = 0; at < COUNT; at++) {
        CHECK_EQ(hostcrst_leave(crsts[at]), S_OK);
        CHECK_EQ(hostcrst_destroy(crsts[at]), S_OK);
        CHECK_EQ(hostcrst_enter(crsts[at], 0), E_HANDLE);
    }
    free(crsts);
}

CHECK_MAIN(CHECK_TEST(what_is_reserved_cannot_be_read), CHECK_TEST(every_section_has_its_hold),
           CHECK_TEST(sections_are_gathered_into_huge_pages_that_are_full),
           CHECK_TEST(none_are_gathered_where_the_administrator_forbids_it),
           CHECK_TEST(sections_beyond_those_shown_at_first))
