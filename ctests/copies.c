/*
 * Several copies of the library in one process: a plugin (HOSTCRST_PLUGIN) has one of its own in it. Each copy refuses what
 * is the other's, says that there is another, and is never unloaded.
 */
#include "capture.h"
#include "copies_plugin.h"

#include <dlfcn.h>

static const copy_t here_copy = COPY_OF_THIS_OBJECT;
static const copy_t *const here = &here_copy;

static void *load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        printf("%s\n", dlerror());
    }
    REQUIRE(handle != NULL);
    return handle;
}

static const copy_t *copy_in(void *handle)
{
    const copy_t *copy = (const copy_t *)dlsym(handle, "copies_plugin");
    REQUIRE(copy != NULL);
    return copy;
}

static char *report_of(const copy_t *copy, uint32_t format)
{
    int descriptor = nameless_file();
    CHECK_EQ(copy->report(descriptor, format), S_OK);
    char *text = content_of(descriptor);
    close(descriptor);
    return text;
}

/* ---- unloading: the first tests, in children, as nothing of a plugin goes away ---- */

static check_steps_t steps = CHECK_STEPS_INIT;

static void use_and_end(void *copy)
{
    const copy_t *there = (const copy_t *)copy;
    hostcrst_t crst;
    CHECK_EQ(there->create(&crst), S_OK);
    CHECK_EQ(there->enter(crst), S_OK);
    check_arrive(&steps, 2);
    check_arrive(&steps, 2);
}

static void close_while_a_thread_uses_it(void)
{
    check_thread_t thread;
    hostcrst_t crst;
    int status;
    void *handle = load(HOSTCRST_PLUGIN);
    const copy_t *there = copy_in(handle);
    CHECK_EQ(there->start(), S_OK);
    check_start(&thread, use_and_end, (void *)(uintptr_t)there);
    check_arrive(&steps, 2);
    CHECK_EQ(dlclose(handle), 0);
    check_arrive(&steps, 2);
    check_join(&thread);
    pid_t child = fork();
    if (child == 0) {
        _exit(7);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    handle = load(HOSTCRST_PLUGIN);
    CHECK(copy_in(handle) == there);
    CHECK_EQ(there->create(&crst), S_OK);
    CHECK_EQ(there->destroy(crst), S_OK);
}

static void a_plugin_stays_for_the_ends_of_threads(void)
{
    in_child(close_while_a_thread_uses_it);
}

/* ---- a CRITICAL_SECTION that both use ---- */

static CRITICAL_SECTION shared;
static int is_inside;

static void enter_in_the_plugin(void *copy)
{
    const copy_t *there = (const copy_t *)copy;
    there->cs_enter(&shared);
    __atomic_store_n(&is_inside, 1, __ATOMIC_RELEASE);
    there->cs_leave(&shared);
}

static int was_said(const char *text)
{
    char *said = content_of(STDERR_FILENO);
    int found = strstr(said, text) != NULL;
    free(said);
    return found;
}

static void share_a_critical_section(void)
{
    check_thread_t thread;
    const copy_t *there = copy_in(load(HOSTCRST_PLUGIN));
    CHECK_EQ(here->start(), S_OK);
    CHECK_EQ(there->start(), S_OK);
    own_stderr_empty();
    here->initialize(&shared);
    here->cs_enter(&shared);
    CHECK_EQ(there->cs_try_enter(&shared), 0);
    CHECK(!was_said("two copies"));
    check_start(&thread, enter_in_the_plugin, (void *)(uintptr_t)there);
    REQUIRE_SOON(was_said("a CRITICAL_SECTION is used by two copies of the library in this process"));
    there->cs_leave(&shared);
    there->cs_delete(&shared);
    here->cs_leave(&shared);
    here->cs_enter(&shared);
    CHECK_EQ(there->cs_try_enter(&shared), 0);
    here->cs_leave(&shared);
    /* Refused even if it is free: the copy that created it may enter it at any moment. */
    CHECK_EQ(there->cs_try_enter(&shared), 0);
    CHECK_EQ(__atomic_load_n(&is_inside, __ATOMIC_ACQUIRE), 0);
    here->cs_delete(&shared);
    check_join(&thread);
    CHECK_EQ(is_inside, 1);
}

static void a_critical_section_is_of_the_copy_that_made_it(void)
{
    in_child(share_a_critical_section);
}

/* ---- numbers ---- */

enum { NUMBERS = 16 };

/* The plugin once more: to the loader a file of another name is another plugin. */
static const copy_t *another_copy(void)
{
    char path[64];
    char piece[1 << 16];
    size_t count;
    FILE *plugin = fopen(HOSTCRST_PLUGIN, "rb");
    int file = memfd_create("plugin", MFD_CLOEXEC);
    REQUIRE(plugin != NULL && file >= 0);
    while ((count = fread(piece, 1, sizeof piece, plugin)) != 0) {
        REQUIRE_EQ(write(file, piece, count), (ssize_t)count);
    }
    fclose(plugin);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return copy_in(load(path));
}

static void start_more_than_there_are_numbers_for(void)
{
    const copy_t *copies[NUMBERS + 2];
    hostcrst_t crsts[NUMBERS];
    copies[0] = here;
    for (int at = 1; at < NUMBERS + 2; at++) {
        copies[at] = another_copy();
    }
    for (int at = 0; at < NUMBERS; at++) {
        CHECK_EQ(copies[at]->start(), S_OK);
        CHECK_EQ(copies[at]->create(&crsts[at]), S_OK);
        for (int other = 0; other < at; other++) {
            CHECK_NE(crsts[other], crsts[at]);
            CHECK_EQ(copies[at]->enter(crsts[other]), E_HANDLE);
            CHECK_EQ(copies[other]->enter(crsts[at]), E_HANDLE);
        }
    }
    for (int at = NUMBERS; at < NUMBERS + 2; at++) {
        CHECK_EQ(copies[at]->start(), E_OUTOFMEMORY);
        CHECK_EQ(copies[at]->create(&crsts[0]), HOST_E_CLRNOTAVAILABLE);
    }
}

static void sixteen_copies_have_numbers(void)
{
    in_child(start_more_than_there_are_numbers_for);
}

/* ---- handles ---- */

static void refuse_section(const copy_t *copy, hostcrst_t crst)
{
    CHECK_EQ(copy->enter(crst), E_HANDLE);
    CHECK_EQ(copy->leave(crst), E_HANDLE);
    CHECK_EQ(copy->recover(crst), E_HANDLE);
    CHECK_EQ(copy->set_name(crst), E_HANDLE);
    CHECK_EQ(copy->set_spin_count(crst), E_HANDLE);
    CHECK_EQ(copy->destroy(crst), E_HANDLE);
}

static void refuse_task(const copy_t *copy, host_task_t task)
{
    CHECK_EQ(copy->alert(task), E_HANDLE);
    CHECK_EQ(copy->name_task(task), E_HANDLE);
}

static void each_copy_refuses_what_is_the_others(void)
{
    enum { SECTIONS = 50 };
    hostcrst_t mine[SECTIONS];
    hostcrst_t theirs[SECTIONS];
    host_task_t me_here;
    host_task_t me_there;
    CHECK_EQ(here->start(), S_OK);
    char *report = report_of(here, HOST_REPORT_TEXT);
    CHECK_LACKS(report, "nother copy of the library");
    free(report);
    const copy_t *there = copy_in(load(HOSTCRST_PLUGIN));
    CHECK_EQ(there->start(), S_OK);
    CHECK_EQ(here->current(&me_here), S_OK);
    CHECK_EQ(there->current(&me_there), S_OK);
    CHECK_NE(me_here, me_there);
    refuse_task(here, me_there);
    refuse_task(there, me_here);
    for (int at = 0; at < SECTIONS; at++) {
        CHECK_EQ(here->create(&mine[at]), S_OK);
        CHECK_EQ(there->create(&theirs[at]), S_OK);
    }
    /* Free, and then owned by this very thread. */
    for (int round = 0; round < 2; round++) {
        for (int at = 0; at < SECTIONS; at++) {
            refuse_section(there, mine[at]);
            refuse_section(here, theirs[at]);
            CHECK_EQ(here->enter(mine[at]), S_OK);
            CHECK_EQ(there->enter(theirs[at]), S_OK);
        }
    }
    for (int at = 0; at < SECTIONS; at++) {
        CHECK_EQ(here->destroy(mine[at]), S_OK);
        CHECK_EQ(there->destroy(theirs[at]), S_OK);
    }
}

static void reports_say_that_there_is_another(void)
{
    const copy_t *const copies[] = {here, copy_in(load(HOSTCRST_PLUGIN))};
    for (int at = 0; at < 2; at++) {
        char *text = report_of(copies[at], HOST_REPORT_TEXT);
        CHECK_CONTAINS(text, "\nAnother copy of the library is in this process: ");
        free(text);
        char *json = report_of(copies[at], HOST_REPORT_JSON);
        CHECK_CONTAINS(json, "\"other_copies\":true,");
        free(json);
    }
}

CHECK_MAIN(CHECK_TEST(a_plugin_stays_for_the_ends_of_threads),
           CHECK_TEST(a_critical_section_is_of_the_copy_that_made_it), CHECK_TEST(sixteen_copies_have_numbers),
           CHECK_TEST(each_copy_refuses_what_is_the_others), CHECK_TEST(reports_say_that_there_is_another))
