// Calls through pointers reach the same sections as plain ones.
#include "capture.h"
#include "host.hpp"

#include <functional>

static void calls_through_pointers_reach_the_same_sections()
{
    start_runtime();
    Section section;
    std::function<int32_t(hostcrst_t, uint32_t)> enter = hostcrst_enter;
    auto leave = &hostcrst_leave;
    CHECK_EQ(enter(section.handle, 0), S_OK);
    CHECK_SECTION(section.handle, HOSTCRST_OWNED, this_task(), 1);
    char *report = text_report();
    CHECK_CONTAINS(report, line_of("   owns 0x%llx recursion=1\n",
                                   static_cast<unsigned long long>(section.handle)).text);
    free(report);
    CHECK_EQ(leave(section.handle), S_OK);
}

CHECK_MAIN(CHECK_TEST(calls_through_pointers_reach_the_same_sections))
