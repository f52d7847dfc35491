// Names from std::string: the library copies them, so the string may be destroyed at once.
#include "capture.h"
#include "host.hpp"

static void the_library_keeps_a_copy()
{
    start_runtime();
    Section section;
    section.lock();
    {
        std::string name(1000, 'q');
        CHECK_EQ(hostcrst_set_name(section.handle, name.c_str()), S_OK);
        name.assign(1000, 'z');
        CHECK_EQ(host_task_set_name(this_task(), std::string("temporary").c_str()), S_OK);
    }
    char *report = text_report();
    CHECK_CONTAINS(report, (" \"" + std::string(56, 'q') + "\" recursion=1\n").c_str());
    CHECK_CONTAINS(report, "\n\"temporary\" tid=");
    free(report);
    section.unlock();
}

CHECK_MAIN(CHECK_TEST(the_library_keeps_a_copy))
