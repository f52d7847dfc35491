/*
 * Every function with arguments that no correct program passes: handles of nothing, of the wrong kind, with
 * one bit wrong, and random ones, option bits that do not exist, NULL. Each gets its documented code, errno
 * stays, and nothing that can be seen of any section or task changes.
 */
#include "host.h"

#include <fcntl.h>
#include <hostcrst/win32.h>

/* ---- the world that must not change ---- */

enum { FREE_SECTION, MINE, THEIRS, ABANDONED, SECTIONS };
enum { MY_TASK, THEIR_TASK, TASKS };

static hostcrst_t sections[SECTIONS];
static host_task_t tasks[TASKS];
static hostcrst_t destroyed;
static host_task_t ended;
static holder_t holder;
/* Free, mine, and never initialised: its memory is zero. */
static CRITICAL_SECTION criticals[3];

typedef struct world {
    hostcrst_info_t sections[SECTIONS];
    host_task_info_t tasks[TASKS];
    unsigned char criticals[sizeof criticals];
    uint32_t runtime;
} world_t;

static world_t look(void)
{
    world_t world;
    memset(&world, 0, sizeof world);
    for (int at = 0; at < SECTIONS; at++) {
        world.sections[at] = info_of(sections[at]);
    }
    for (int at = 0; at < TASKS; at++) {
        world.tasks[at] = task_info_of(tasks[at]);
    }
    memcpy(world.criticals, criticals, sizeof criticals);
    CHECK_EQ(host_runtime_state(&world.runtime), S_OK);
    return world;
}

static void check_unchanged(const world_t *before, const char *what)
{
    world_t now = look();
    if (memcmp(before, &now, sizeof now) != 0) {
        check_fail(__FILE__, __LINE__, "something changed: %s", what);
    }
}

static void make_the_world(void)
{
    start_runtime();
    for (int at = 0; at < SECTIONS; at++) {
        sections[at] = at == ABANDONED ? abandoned_section() : new_section();
    }
    destroyed = new_section();
    CHECK_EQ(hostcrst_enter(destroyed, 0), S_OK);
    CHECK_EQ(hostcrst_destroy(destroyed), S_OK);
    ended = ended_task();
    hold_times(&holder, sections[THEIRS], 2);
    CHECK_EQ(hostcrst_enter(sections[MINE], 0), S_OK);
    CHECK_EQ(hostcrst_enter(sections[MINE], 0), S_OK);
    InitializeCriticalSection(&criticals[0]);
    InitializeCriticalSection(&criticals[1]);
    EnterCriticalSection(&criticals[1]);
    tasks[MY_TASK] = this_task();
    tasks[THEIR_TASK] = holder.task;
    CHECK_EQ(host_leave_runtime(0x1234), S_OK);
}

static void world_is_as_it_was_made(void)
{
    CHECK_SECTION(sections[FREE_SECTION], HOSTCRST_FREE, 0, 0);
    CHECK_SECTION(sections[MINE], HOSTCRST_OWNED, tasks[MY_TASK], 2);
    CHECK_SECTION(sections[THEIRS], HOSTCRST_OWNED, tasks[THEIR_TASK], 2);
    CHECK_SECTION(sections[ABANDONED], HOSTCRST_ABANDONED, 0, 0);
    CHECK_EQ(task_info_of(tasks[MY_TASK]).owned, 2);
    CHECK_EQ(task_info_of(tasks[MY_TASK]).depth, 1);
    CHECK_EQ(task_info_of(tasks[THEIR_TASK]).owned, 1);
}

/* ---- the functions that take a handle ---- */

typedef struct function {
    const char *name;
    int32_t (*call)(uint64_t handle);
} function_t;

static int32_t call_enter(uint64_t handle) { return hostcrst_enter(handle, 0); }
static int32_t call_enter_alertable(uint64_t handle) { return hostcrst_enter(handle, WAIT_ALERTABLE); }
static int32_t call_enter_at_once(uint64_t handle) { return hostcrst_enter_timeout(handle, 0, 0); }
static int32_t call_enter_timeout(uint64_t handle) { return hostcrst_enter_timeout(handle, 0, 5); }
static int32_t call_enter_at(uint64_t handle) { return hostcrst_enter_at(handle, 0, 5, "somewhere"); }
static int32_t call_leave(uint64_t handle) { return hostcrst_leave(handle); }
static int32_t call_set_spin_count(uint64_t handle) { return hostcrst_set_spin_count(handle, 77); }
static int32_t call_destroy(uint64_t handle) { return hostcrst_destroy(handle); }
static int32_t call_recover(uint64_t handle) { return hostcrst_recover(handle); }
static int32_t call_allow_first(uint64_t handle) { return hostcrst_allow_order(handle, sections[FREE_SECTION]); }
static int32_t call_allow_then(uint64_t handle) { return hostcrst_allow_order(sections[FREE_SECTION], handle); }
static int32_t call_set_name(uint64_t handle) { return hostcrst_set_name(handle, "nobody"); }
static int32_t call_task_set_name(uint64_t handle) { return host_task_set_name(handle, "nobody"); }
static int32_t call_task_alert(uint64_t handle) { return host_task_alert(handle); }

static int32_t call_try_enter(uint64_t handle)
{
    int32_t entered = 77;
    int32_t result = hostcrst_try_enter(handle, 0, &entered);
    CHECK_EQ(entered, 0);
    return result;
}

static int32_t call_info(uint64_t handle)
{
    hostcrst_info_t info;
    hostcrst_info_t empty;
    memset(&info, 0x77, sizeof info);
    memset(&empty, 0, sizeof empty);
    info.size = empty.size = sizeof info;
    int32_t result = hostcrst_info(handle, &info);
    CHECK(memcmp(&info, &empty, sizeof info) == 0);
    return result;
}

static int32_t call_task_info(uint64_t handle)
{
    host_task_info_t info;
    host_task_info_t empty;
    memset(&info, 0x77, sizeof info);
    memset(&empty, 0, sizeof empty);
    info.size = empty.size = sizeof info;
    int32_t result = host_task_info(handle, &info);
    CHECK(memcmp(&info, &empty, sizeof info) == 0);
    return result;
}

static int32_t call_task_layers(uint64_t handle)
{
    host_layer_t layer = {77, 77, 77};
    size_t count = 77;
    int32_t result = host_task_layers(handle, &layer, 1, &count);
    CHECK_EQ(count, 0);
    CHECK(layer.kind == 77 && layer.reserved == 77 && layer.target == 77);
    return result;
}

static int32_t call_wait_chain(uint64_t handle)
{
    host_wait_node_t node = {sizeof node, 77, 77, 77, 77, "77"};
    size_t count = 77;
    int32_t result = host_wait_chain(handle, &node, 1, &count);
    CHECK_EQ(count, 0);
    CHECK(node.kind == 77 && node.handle == 77 && node.thread_id == 77 && node.flags == 77);
    return result;
}

static int32_t call_name_of(int32_t (*function)(uint64_t, char *, size_t, size_t *), uint64_t handle)
{
    char name[4] = {77, 77, 77, 77};
    size_t length = 77;
    int32_t result = function(handle, name, sizeof name, &length);
    CHECK_EQ(length, 0);
    CHECK(name[0] == 0 && name[1] == 77);
    return result;
}

static int32_t call_name(uint64_t handle) { return call_name_of(hostcrst_name, handle); }
static int32_t call_task_name(uint64_t handle) { return call_name_of(host_task_name, handle); }

static const function_t section_functions[] = {
    {"hostcrst_enter", call_enter},
    {"hostcrst_enter, alertable", call_enter_alertable},
    {"hostcrst_enter_timeout, 0", call_enter_at_once},
    {"hostcrst_enter_timeout, 5", call_enter_timeout},
    {"hostcrst_enter_at", call_enter_at},
    {"hostcrst_try_enter", call_try_enter},
    {"hostcrst_leave", call_leave},
    {"hostcrst_set_spin_count", call_set_spin_count},
    {"hostcrst_destroy", call_destroy},
    {"hostcrst_recover", call_recover},
    {"hostcrst_allow_order, first", call_allow_first},
    {"hostcrst_allow_order, then", call_allow_then},
    {"hostcrst_set_name", call_set_name},
    {"hostcrst_name", call_name},
    {"hostcrst_info", call_info},
};

static const function_t task_functions[] = {
    {"host_task_set_name", call_task_set_name},
    {"host_task_name", call_task_name},
    {"host_task_alert", call_task_alert},
    {"host_task_info", call_task_info},
    {"host_task_layers", call_task_layers},
    {"host_wait_chain", call_wait_chain},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static int is_in(uint64_t handle, const uint64_t *handles, int count)
{
    for (int at = 0; at < count; at++) {
        if (handles[at] == handle) {
            return 1;
        }
    }
    return 0;
}

static void refuse(const function_t *functions, size_t count, uint64_t handle)
{
    for (size_t at = 0; at < count; at++) {
        int32_t result = KEEPING_ERRNO(functions[at].call(handle));
        if (result != E_HANDLE) {
            check_fail(__FILE__, __LINE__, "%s of 0x%llX gave 0x%X", functions[at].name,
                       (unsigned long long)handle, (unsigned)result);
        }
    }
}

/* Every function refuses the value, unless it is a live handle of the kind that the function takes. */
static void refuse_everywhere(uint64_t handle)
{
    if (!is_in(handle, sections, SECTIONS)) {
        refuse(section_functions, COUNT_OF(section_functions), handle);
    }
    if (!is_in(handle, tasks, TASKS)) {
        refuse(task_functions, COUNT_OF(task_functions), handle);
    }
}

static void refuse_unchanged(uint64_t handle)
{
    char what[64];
    world_t before = look();
    refuse_everywhere(handle);
    snprintf(what, sizeof what, "handle 0x%llX", (unsigned long long)handle);
    check_unchanged(&before, what);
}

/* ---- handles ---- */

static void values_that_are_no_handle(void)
{
    int on_the_stack = 0;
    const uint64_t values[] = {0,
                               1,
                               2,
                               3,
                               63,
                               64,
                               65,
                               (uint64_t)INT32_MAX,
                               UINT32_MAX,
                               (uint64_t)INT64_MAX,
                               (uint64_t)INT64_MIN,
                               UINT64_MAX,
                               (uint64_t)(uintptr_t)&on_the_stack,
                               (uint64_t)(uintptr_t)sections,
                               (uint64_t)(uintptr_t)&hostcrst_enter};
    for (size_t at = 0; at < COUNT_OF(values); at++) {
        refuse_unchanged(values[at]);
    }
}

static void handles_of_what_is_gone(void)
{
    refuse_unchanged(destroyed);
    refuse_unchanged(ended);
    CHECK_EQ(hostcrst_destroy(destroyed), E_HANDLE);
    CHECK_EQ(hostcrst_destroy(destroyed), E_HANDLE);
}

static void handles_of_the_other_kind(void)
{
    world_t before = look();
    for (int at = 0; at < TASKS; at++) {
        refuse(section_functions, COUNT_OF(section_functions), tasks[at]);
    }
    for (int at = 0; at < SECTIONS; at++) {
        refuse(task_functions, COUNT_OF(task_functions), sections[at]);
    }
    refuse(section_functions, COUNT_OF(section_functions), ended);
    refuse(task_functions, COUNT_OF(task_functions), destroyed);
    check_unchanged(&before, "handles of the other kind");
}

static void flip_bits_of(uint64_t handle)
{
    for (int bit = 0; bit < 64; bit++) {
        refuse_unchanged(handle ^ (uint64_t)1 << bit);
    }
    for (int high = 0; high < 64; high++) {
        for (int low = 0; low < high; low++) {
            refuse_everywhere(handle ^ (uint64_t)1 << high ^ (uint64_t)1 << low);
        }
    }
}

static void handles_with_bits_flipped(void)
{
    world_t before = look();
    for (int at = 0; at < SECTIONS; at++) {
        flip_bits_of(sections[at]);
    }
    for (int at = 0; at < TASKS; at++) {
        flip_bits_of(tasks[at]);
    }
    flip_bits_of(destroyed);
    flip_bits_of(ended);
    check_unchanged(&before, "bits flipped");
}

static uint64_t lock_semaphore(const CRITICAL_SECTION *section)
{
    uint64_t number;
    memcpy(&number, &section->LockSemaphore, sizeof number);
    return number;
}

/* The number in a CRITICAL_SECTION names a section too, but none of this interface's. */
static void numbers_of_critical_sections(void)
{
    world_t before = look();
    for (size_t at = 0; at < COUNT_OF(criticals); at++) {
        uint64_t number = lock_semaphore(&criticals[at]);
        refuse_unchanged(number);
        flip_bits_of(number);
        for (uint64_t low = 0; low < 1 << 12; low++) {
            refuse_everywhere(number ^ low);
            refuse_everywhere(number ^ tasks[MY_TASK] ^ low);
        }
    }
    check_unchanged(&before, "numbers of critical sections");
}

/* Nor the other way round: the functions of Windows make a section of their own. */
static void enter_with_number(uint64_t number)
{
    CRITICAL_SECTION section;
    InitializeCriticalSection(&section);
    DeleteCriticalSection(&section);
    memcpy(&section.LockSemaphore, &number, sizeof number);
    LeaveCriticalSection(&section);
    CHECK(TryEnterCriticalSection(&section));
    CHECK_NE(lock_semaphore(&section), number);
    LeaveCriticalSection(&section);
    DeleteCriticalSection(&section);
}

static void handles_for_numbers_of_critical_sections(void)
{
    world_t before = look();
    for (int at = 0; at < SECTIONS; at++) {
        for (uint64_t flip = 0; flip < 256; flip++) {
            uint64_t number = sections[at] ^ flip;
            if (number != lock_semaphore(&criticals[0]) && number != lock_semaphore(&criticals[1])) {
                enter_with_number(number);
            }
        }
    }
    check_unchanged(&before, "handles for numbers of critical sections");
}

/* A thread that is no task has 0 where others have their id. */
static void ask_without_a_task(void *unused)
{
    (void)unused;
    for (int bit = 0; bit < 64; bit++) {
        uint64_t flip = (uint64_t)1 << bit;
        refuse_everywhere(flip);
        refuse_everywhere(destroyed ^ flip);
        for (int at = 0; at < SECTIONS; at++) {
            refuse_everywhere(sections[at] ^ flip);
        }
    }
}

/* Without a section all slots are zero, and 1 << 6 is the bit that tells a biased section from an owned one. */
static void handles_before_there_is_a_section(void)
{
    CHECK_EQ(host_runtime_start(), S_OK);
    check_thread_t thread;
    check_start(&thread, ask_without_a_task, NULL);
    check_join(&thread);
}

static void handles_from_a_thread_without_a_task(void)
{
    world_t before = look();
    check_thread_t thread;
    check_start(&thread, ask_without_a_task, NULL);
    check_join(&thread);
    check_unchanged(&before, "a thread without a task");
}

/* The word that says who owns a section is made of the two: no such value may ever pass for a handle. */
static void handles_mixed_of_a_section_and_a_task(void)
{
    world_t before = look();
    for (int section = 0; section < SECTIONS; section++) {
        for (int task = 0; task < TASKS; task++) {
            for (uint64_t tag = 0; tag < 64; tag++) {
                refuse_everywhere(sections[section] ^ tasks[task] ^ tag);
                refuse_everywhere(sections[section] + tasks[task] + tag);
            }
        }
    }
    check_unchanged(&before, "mixed handles");
}

static void random_handles(void)
{
    enum { TIMES = 60000 };
    chance_t chance = {20240229};
    world_t before = look();
    for (int time = 0; time < TIMES; time++) {
        uint64_t random = next_random(&chance);
        refuse_everywhere(random);
        refuse_everywhere(random >> (random & 63));
        refuse_everywhere(sections[random % SECTIONS] ^ next_random(&chance) << 40);
        refuse_everywhere(sections[random % SECTIONS] ^ (next_random(&chance) & 0xFFFFFF) << 6);
        refuse_everywhere(tasks[random % TASKS] ^ next_random(&chance) << 32);
        refuse_everywhere(tasks[random % TASKS] ^ (next_random(&chance) & 0xFFFF) << 8);
    }
    check_unchanged(&before, "random handles");
}

/* ---- options ---- */

/* The bits that the header has a name for. */
static uint32_t known_options(void)
{
    static uint32_t known;
    char line[512];
    unsigned bit = 0;
    FILE *header = known == 0 ? fopen(HOSTCRST_HEADER, "r") : NULL;
    while (header != NULL && fgets(line, sizeof line, header) != NULL) {
        known |= sscanf(line, "HOSTCRST_CONSTANT_(WAIT_%*[A-Z_], %u);", &bit) == 1 ? bit : 0;
    }
    if (header != NULL) {
        fclose(header);
    }
    REQUIRE((known & WAIT_ALERTABLE) != 0);
    return known;
}

static void option_bits_that_do_not_exist(void)
{
    uint32_t all = known_options();
    world_t before = look();
    for (uint32_t bit = 0; bit < 32; bit++) {
        for (uint32_t known = 0; known <= all; known++) {
            uint32_t option = (uint32_t)1 << bit | known;
            if ((option & ~all) == 0) {
                continue;
            }
            for (int at = 0; at < SECTIONS; at++) {
                int32_t entered = 77;
                CHECK_EQ(KEEPING_ERRNO(hostcrst_enter(sections[at], option)), E_INVALIDARG);
                CHECK_EQ(KEEPING_ERRNO(hostcrst_enter_timeout(sections[at], option, 0)), E_INVALIDARG);
                CHECK_EQ(KEEPING_ERRNO(hostcrst_enter_timeout(sections[at], option, 5)), E_INVALIDARG);
                CHECK_EQ(KEEPING_ERRNO(hostcrst_enter_at(sections[at], option, 5, NULL)), E_INVALIDARG);
                CHECK_EQ(KEEPING_ERRNO(hostcrst_try_enter(sections[at], option, &entered)), E_INVALIDARG);
                CHECK_EQ(entered, 0);
            }
        }
    }
    check_unchanged(&before, "unknown options");
}

static void known_option_bits_are_accepted(void)
{
    uint32_t all = known_options();
    for (uint32_t option = 0; option <= all; option++) {
        int32_t entered = 77;
        if ((option & ~all) != 0) {
            continue;
        }
        CHECK_EQ(hostcrst_enter(sections[MINE], option), S_OK);
        CHECK_EQ(hostcrst_enter_timeout(sections[MINE], option, 5), S_OK);
        CHECK_EQ(hostcrst_try_enter(sections[MINE], option, &entered), S_OK);
        CHECK_EQ(entered, 1);
        for (int time = 0; time < 3; time++) {
            CHECK_EQ(hostcrst_leave(sections[MINE]), S_OK);
        }
    }
}

/* ---- pointers and sizes ---- */

static void null_for_what_must_be_given(void)
{
    size_t count = 77;
    host_layer_t layer;
    world_t before = look();
    for (int at = 0; at < SECTIONS; at++) {
        CHECK_EQ(KEEPING_ERRNO(hostcrst_try_enter(sections[at], 0, NULL)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(hostcrst_info(sections[at], NULL)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(hostcrst_set_name(sections[at], NULL)), E_POINTER);
    }
    for (int at = 0; at < TASKS; at++) {
        CHECK_EQ(KEEPING_ERRNO(host_task_info(tasks[at], NULL)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(host_task_set_name(tasks[at], NULL)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(host_task_layers(tasks[at], &layer, 1, NULL)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(host_task_layers(tasks[at], NULL, 0, NULL)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(host_task_layers(tasks[at], NULL, 1, &count)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(host_wait_chain(tasks[at], NULL, 0, NULL)), E_POINTER);
        CHECK_EQ(KEEPING_ERRNO(host_wait_chain(tasks[at], NULL, 1, &count)), E_POINTER);
        CHECK_EQ(count, 0);
    }
    CHECK_EQ(KEEPING_ERRNO(hostcrst_create(NULL)), E_POINTER);
    CHECK_EQ(KEEPING_ERRNO(hostcrst_create_with_spin_count(1, NULL)), E_POINTER);
    CHECK_EQ(KEEPING_ERRNO(host_task_current(NULL)), E_POINTER);
    CHECK_EQ(KEEPING_ERRNO(host_runtime_state(NULL)), E_POINTER);
    CHECK_EQ(KEEPING_ERRNO(host_call_needs_host_hook(1, NULL)), E_POINTER);
    check_unchanged(&before, "NULL");
}

static void structs_of_another_size(void)
{
    union {
        hostcrst_info_t section;
        host_task_info_t task;
        unsigned char bytes[256];
        uint32_t size;
    } room;
    const uint32_t too_small[] = {0, 1, 4, 20, sizeof(host_task_info_t) - 1};
    for (size_t at = 0; at < COUNT_OF(too_small); at++) {
        memset(&room, 0x77, sizeof room);
        room.size = too_small[at];
        CHECK_EQ(hostcrst_info(sections[MINE], &room.section), E_INVALIDARG);
        CHECK_EQ(host_task_info(tasks[MY_TASK], &room.task), E_INVALIDARG);
        CHECK_EQ(room.size, too_small[at]);
        for (size_t byte = sizeof room.size; byte < sizeof room; byte++) {
            CHECK_EQ(room.bytes[byte], 0x77);
        }
    }
    const size_t larger = sizeof room - 16;
    memset(&room, 0x77, sizeof room);
    room.size = (uint32_t)larger;
    CHECK_EQ(hostcrst_info(sections[MINE], &room.section), S_OK);
    CHECK_EQ(room.size, larger);
    CHECK_EQ(room.section.recursion, 2);
    for (size_t byte = sizeof room.section; byte < sizeof room; byte++) {
        CHECK_EQ(room.bytes[byte], byte < larger ? 0 : 0x77);
    }
    CHECK_EQ(host_task_info(0, &room.task), E_HANDLE);
    for (size_t byte = sizeof room.size; byte < larger; byte++) {
        CHECK_EQ(room.bytes[byte], 0);
    }
    memset(&room, 0x77, sizeof room);
    room.size = (uint32_t)larger;
    CHECK_EQ(host_task_info(tasks[MY_TASK], &room.task), S_OK);
    CHECK_EQ(room.size, larger);
    CHECK_EQ(room.task.depth, 1);
    for (size_t byte = sizeof room.task; byte < sizeof room; byte++) {
        CHECK_EQ(room.bytes[byte], byte < larger ? 0 : 0x77);
    }
}

static void reports_to_nowhere_and_in_no_format(void)
{
    int nowhere = open("/dev/null", O_WRONLY);
    int read_only = open("/dev/null", O_RDONLY);
    int closed = open("/dev/null", O_WRONLY);
    close(closed);
    const int bad[] = {-1, -2, INT32_MIN, INT32_MAX, 1000000, closed, read_only};
    world_t before = look();
    REQUIRE(nowhere >= 0 && read_only >= 0);
    for (size_t at = 0; at < COUNT_OF(bad); at++) {
        CHECK_EQ(KEEPING_ERRNO(host_report(bad[at], HOST_REPORT_TEXT)), E_INVALIDARG);
    }
    for (uint32_t bit = 2; bit < 32; bit++) {
        CHECK_EQ(KEEPING_ERRNO(host_report(nowhere, (uint32_t)1 << bit)), E_INVALIDARG);
    }
    CHECK_EQ(KEEPING_ERRNO(host_report(nowhere, HOST_REPORT_HTML + 1)), E_INVALIDARG);
    CHECK_EQ(KEEPING_ERRNO(host_report(nowhere, UINT32_MAX)), E_INVALIDARG);
    check_unchanged(&before, "reports");
    close(nowhere);
    close(read_only);
}

/* ---- numbers that mean nothing to the library ---- */

static void any_code_has_a_message(void)
{
    chance_t chance = {7};
    for (int time = 0; time < 10000; time++) {
        const char *message = host_result_message((int32_t)next_random(&chance));
        CHECK(message != NULL && message[0] != '\0');
    }
}

static void any_target_is_kept_as_it_is(void)
{
    chance_t chance = {8};
    const size_t some[] = {0, 1, (size_t)INTPTR_MAX, SIZE_MAX};
    for (int time = 0; time < 1000; time++) {
        size_t target = time < 4 ? some[time] : (size_t)next_random(&chance);
        host_layer_t layers[3];
        size_t count = 0;
        int32_t needs = 77;
        CHECK_EQ(host_reverse_enter_runtime(), S_OK);
        CHECK_EQ(host_leave_runtime(target), S_OK);
        CHECK_EQ(host_task_layers(tasks[MY_TASK], layers, 3, &count), S_OK);
        CHECK_EQ(count, 3);
        CHECK_EQ(layers[2].target, target);
        CHECK_EQ(host_enter_runtime(), S_OK);
        CHECK_EQ(host_reverse_leave_runtime(), S_OK);
        CHECK_EQ(host_call_needs_host_hook(target, &needs), S_OK);
        CHECK_EQ(needs, 1);
    }
}

/* Where little address space may be had there are fewer slots than a handle can name. */
static void try_a_small_arena(void)
{
    struct rlimit limit = {256 << 20, RLIM_INFINITY};
    REQUIRE_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    make_the_world();
    values_that_are_no_handle();
    handles_with_bits_flipped();
    handles_mixed_of_a_section_and_a_task();
    random_handles();
    world_is_as_it_was_made();
}

static void handles_beyond_a_small_arena(void)
{
    in_child(try_a_small_arena);
}

static void the_world_is_as_it_was_made(void)
{
    world_is_as_it_was_made();
    CHECK_EQ(host_enter_runtime(), S_OK);
    let_go(&holder);
    CHECK_EQ(hostcrst_leave(sections[MINE]), S_OK);
    CHECK_EQ(hostcrst_leave(sections[MINE]), S_OK);
    LeaveCriticalSection(&criticals[1]);
    for (int at = 0; at < SECTIONS; at++) {
        CHECK_EQ(hostcrst_destroy(sections[at]), S_OK);
    }
    /* No alert was left behind by a handle that was none. */
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    CHECK_EQ(hostcrst_enter_timeout(crst, WAIT_ALERTABLE, 1), HOST_E_TIMEOUT);
    let_go(&holder);
}

CHECK_MAIN(CHECK_TEST(handles_beyond_a_small_arena), CHECK_TEST(handles_before_there_is_a_section),
           CHECK_TEST(make_the_world), CHECK_TEST(values_that_are_no_handle), CHECK_TEST(handles_of_what_is_gone),
           CHECK_TEST(handles_of_the_other_kind), CHECK_TEST(handles_with_bits_flipped), CHECK_TEST(numbers_of_critical_sections),
           CHECK_TEST(handles_for_numbers_of_critical_sections),
           CHECK_TEST(handles_from_a_thread_without_a_task),
           CHECK_TEST(handles_mixed_of_a_section_and_a_task), CHECK_TEST(random_handles),
           CHECK_TEST(option_bits_that_do_not_exist), CHECK_TEST(known_option_bits_are_accepted),
           CHECK_TEST(null_for_what_must_be_given), CHECK_TEST(structs_of_another_size),
           CHECK_TEST(reports_to_nowhere_and_in_no_format), CHECK_TEST(any_code_has_a_message),
           CHECK_TEST(any_target_is_kept_as_it_is), CHECK_TEST(the_world_is_as_it_was_made))
