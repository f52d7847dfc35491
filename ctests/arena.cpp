// Threads that create and destroy continuously share slots, but never a section.
#include "host.hpp"

#include <memory>

static void sections_of_many_threads_never_mix()
{
    start_runtime();
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 6; thread++) {
        threads.emplace_back([] {
            std::vector<std::unique_ptr<Section>> sections;
            for (int time = 0; time < 3000; time++) {
                sections.emplace_back(new Section);
                CHECK_EQ(hostcrst_enter_timeout(sections.back()->handle, 0, 0), S_OK);
                if (sections.size() == 50) {
                    sections.erase(sections.begin(), sections.begin() + 25);
                }
            }
            for (const auto &section : sections) {
                CHECK_SECTION(section->handle, HOSTCRST_OWNED, this_task(), 1);
            }
            CHECK_EQ(task_info_of(this_task()).owned, sections.size());
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
}

CHECK_MAIN(CHECK_TEST(sections_of_many_threads_never_mix))
