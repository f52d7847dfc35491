/*
 * A program that has the library in it, and loads a plugin (this file with PLUGIN) that brings the library once more. Its
 * threads wait for each other for ever, "one" for the plugin's section and "two" for the program's: no copy of the library
 * knows of both. `copies <plugin>`, `copies <plugin> clean` without these threads, `copies <plugin> <file>...` with these files
 * loaded last and not used; says "ready" on stdout once it stands still, and stays until it is killed.
 */
#include "check.h"
#include "hostcrst.h"

static hostcrst_t section;

static void create_section(const char *name)
{
    REQUIRE(host_runtime_start() >= 0);
    REQUIRE_EQ(hostcrst_create(&section), S_OK);
    REQUIRE_EQ(hostcrst_set_name(section, name), S_OK);
}

static uint32_t waiters_of_section(void)
{
    hostcrst_info_t info = {0};
    info.size = sizeof info;
    REQUIRE_EQ(hostcrst_info(section, &info), S_OK);
    return info.waiters;
}

#ifdef PLUGIN

void plugin_start(void);
int32_t plugin_enter(void);
uint32_t plugin_waiters(void);

void plugin_start(void)
{
    create_section("the plugin's");
}

int32_t plugin_enter(void)
{
    return hostcrst_enter(section, 0);
}

uint32_t plugin_waiters(void)
{
    return waiters_of_section();
}

#else

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static check_steps_t steps = CHECK_STEPS_INIT;
static int32_t (*plugin_enter)(void);

static void one(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "one", 0, 0, 0);
    REQUIRE_EQ(hostcrst_enter(section, 0), S_OK);
    check_arrive(&steps, 2);
    plugin_enter();
}

static void two(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "two\"\\", 0, 0, 0);
    REQUIRE_EQ(plugin_enter(), S_OK);
    check_arrive(&steps, 2);
    CHECK_EQ(hostcrst_enter(section, 0), S_OK);
}

static void *function(void *plugin, const char *name)
{
    void *address = dlsym(plugin, name);
    REQUIRE(address != NULL);
    return address;
}

int main(int argument_count, char **arguments)
{
    check_thread_t first, second;
    REQUIRE(argument_count >= 2);
    void *plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    REQUIRE(plugin != NULL);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    /* ISO C has no conversion between the two kinds of pointers; POSIX says that this is one. */
    void (*start)(void);
    uint32_t (*plugin_waiters)(void);
    *(void **)&start = function(plugin, "plugin_start");
    *(void **)&plugin_enter = function(plugin, "plugin_enter");
    *(void **)&plugin_waiters = function(plugin, "plugin_waiters");
    create_section("the program's");
    start();
    bool is_clean = argument_count > 2 && strcmp(arguments[2], "clean") == 0;
    for (int unused = 2; unused < argument_count && !is_clean; unused++) {
        REQUIRE(dlopen(arguments[unused], RTLD_NOW | RTLD_LOCAL) != NULL);
    }
    if (!is_clean) {
        check_start(&first, one, NULL);
        check_start(&second, two, NULL);
        while (waiters_of_section() == 0 || plugin_waiters() == 0) {
            check_pause();
        }
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        pause();
    }
}

#endif
