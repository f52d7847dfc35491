// Reports read by a C++ program.
#include "capture.h"
#include "host.hpp"

static std::string report_text()
{
    char *text = text_report();
    std::string report(text);
    free(text);
    return report;
}

static bool contains(const std::string &text, const std::string &part)
{
    return text.find(part) != std::string::npos;
}

class Owner {
public:
    __attribute__((noinline)) static int method(int number) { return number * 2; }
};

static void layers_and_sections_of_each_thread_are_shown()
{
    start_runtime();
    Section section;
    CHECK_EQ(hostcrst_set_name(section.handle, "C++ section"), S_OK);
    CHECK_EQ(Owner::method(2), 4);
    section.lock();
    NativeCall call(reinterpret_cast<size_t>(&Owner::method));
    std::string report = report_text();
    CHECK(contains(report, " \"C++ section\" recursion=1\n"));
    CHECK(contains(report, "Owner6method"));
    CHECK(contains(report, "[unmanaged]\n"));
    section.unlock();
    CHECK(!contains(report_text(), "C++ section"));
}

static void a_section_is_shown_as_long_as_it_lives()
{
    start_runtime();
    std::string handle;
    {
        Section section;
        std::thread([&] { section.lock(); }).join();
        handle = line_of("0x%llx ", static_cast<unsigned long long>(section.handle)).text;
        CHECK(contains(report_text(), handle));
        CHECK(contains(report_text(), " abandoned "));
    }
    CHECK(!contains(report_text(), handle));
}

CHECK_MAIN(CHECK_TEST(layers_and_sections_of_each_thread_are_shown),
           CHECK_TEST(a_section_is_shown_as_long_as_it_lives))
