/*
 * The library (HOSTCRST_LIBRARY) is loaded by a program that is not linked with it, used by a thread, and closed before
 * that thread ends. What the library does at the end of a thread must still be there, and so must its sections.
 */
#include "check.h"

#include <dlfcn.h>
#include <hostcrst.h>

static hostcrst_t crst;

typedef int32_t (*start_t)(void);
typedef int32_t (*create_t)(hostcrst_t *out);
typedef int32_t (*enter_t)(hostcrst_t crst, uint32_t option);

/* ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bytes mean the same. */
#define FIND(handle, name, function) \
    do { \
        void *check_symbol = dlsym(handle, name); \
        REQUIRE(check_symbol != NULL); \
        memcpy(&(function), &check_symbol, sizeof(function)); \
    } while (0)

static void own_and_end(void *unused)
{
    enter_t enter;
    (void)unused;
    void *handle = dlopen(HOSTCRST_LIBRARY, RTLD_NOW);
    REQUIRE(handle != NULL);
    FIND(handle, "hostcrst_enter", enter);
    CHECK_EQ(enter(crst, 0), S_OK);
    CHECK_EQ(dlclose(handle), 0);
}

static void a_thread_ends_after_the_library_was_closed(void)
{
    check_thread_t thread;
    start_t start;
    create_t create;
    enter_t enter;
    void *handle = dlopen(HOSTCRST_LIBRARY, RTLD_NOW);
    REQUIRE(handle != NULL);
    FIND(handle, "host_runtime_start", start);
    FIND(handle, "hostcrst_create", create);
    CHECK_EQ(start(), S_OK);
    CHECK_EQ(create(&crst), S_OK);
    CHECK_EQ(dlclose(handle), 0);
    check_start(&thread, own_and_end, NULL);
    check_join(&thread);
    handle = dlopen(HOSTCRST_LIBRARY, RTLD_NOW);
    REQUIRE(handle != NULL);
    FIND(handle, "hostcrst_enter", enter);
    CHECK_EQ(enter(crst, 0), HOST_E_ABANDONED);
}

CHECK_MAIN(CHECK_TEST(a_thread_ends_after_the_library_was_closed))
