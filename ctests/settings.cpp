// A C++ program's report at exit: static objects are still there when it is written.
#include "capture.h"
#include "host.hpp"

// Owns its section until the destructor, which runs after the report that was arranged for later.
struct Static {
    ~Static()
    {
        if (crst != 0) {
            CHECK_EQ(hostcrst_leave(crst), S_OK);
            CHECK_EQ(hostcrst_destroy(crst), S_OK);
        }
    }
    hostcrst_t crst = 0;
};

static Static of_the_program;

static void use_the_library()
{
    start_runtime();
    of_the_program.crst = new_section();
    REQUIRE_EQ(hostcrst_enter(of_the_program.crst, 0), S_OK);
    REQUIRE_EQ(hostcrst_set_name(of_the_program.crst, "static object"), S_OK);
}

static void the_report_at_exit_shows_what_static_objects_own()
{
    run_t run = run_again("use_the_library", "HOSTCRST_REPORT=stderr", NULL, NULL);
    std::string said(run.said);
    CHECK_EQ(run.status, 0);
    CHECK(said.find(" \"static object\" recursion=1\n") != std::string::npos);
    free(run.said);
}

CHECK_MAIN(CHECK_TEST(use_the_library), CHECK_TEST(the_report_at_exit_shows_what_static_objects_own))
