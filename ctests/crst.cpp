// Sections as the mutexes of the standard library's locks.
#include "host.hpp"

#include <mutex>
#include <stdexcept>

static void a_section_is_a_mutex_for_the_standard_library()
{
    start_runtime();
    Section section;
    {
        std::lock_guard<Section> outer(section);
        CHECK_SECTION(section.handle, HOSTCRST_OWNED, this_task(), 1);
        std::unique_lock<Section> inner(section, std::try_to_lock);
        CHECK(inner.owns_lock());
        CHECK_SECTION(section.handle, HOSTCRST_OWNED, this_task(), 2);
    }
    CHECK_SECTION(section.handle, HOSTCRST_FREE, 0, 0);
}

static void an_exception_leaves_the_section()
{
    start_runtime();
    Section section;
    try {
        std::lock_guard<Section> guard(section);
        throw std::runtime_error("thrown inside");
    } catch (const std::runtime_error &) {
        CHECK_SECTION(section.handle, HOSTCRST_FREE, 0, 0);
    }
}

static void several_sections_are_locked_without_deadlock()
{
    start_runtime();
    Section one;
    Section other;
    long count = 0;
    auto work = [&](Section &first, Section &second) {
        for (int time = 0; time < 20000; time++) {
            std::lock(first, second);
            std::lock_guard<Section> inside_first(first, std::adopt_lock);
            std::lock_guard<Section> inside_second(second, std::adopt_lock);
            count++;
        }
    };
    std::thread forwards(work, std::ref(one), std::ref(other));
    std::thread backwards(work, std::ref(other), std::ref(one));
    forwards.join();
    backwards.join();
    CHECK_EQ(count, 40000);
    CHECK_SECTION(one.handle, HOSTCRST_FREE, 0, 0);
    CHECK_SECTION(other.handle, HOSTCRST_FREE, 0, 0);
}

CHECK_MAIN(CHECK_TEST(a_section_is_a_mutex_for_the_standard_library),
           CHECK_TEST(an_exception_leaves_the_section),
           CHECK_TEST(several_sections_are_locked_without_deadlock))
