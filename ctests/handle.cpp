// Handles are numbers: they live in containers and cross threads by value.
#include "host.hpp"

#include <map>
#include <unordered_set>

static void handles_are_keys_of_containers()
{
    start_runtime();
    std::unordered_set<hostcrst_t> seen;
    std::map<hostcrst_t, uint32_t> recursion;
    for (uint32_t round = 1; round <= 100; round++) {
        hostcrst_t crst = new_section();
        CHECK(seen.insert(crst).second);
        recursion[crst] = round % 5 + 1;
        for (uint32_t time = 0; time < recursion[crst]; time++) {
            REQUIRE_EQ(hostcrst_enter(crst, 0), S_OK);
        }
    }
    for (const auto &entry : recursion) {
        CHECK_SECTION(entry.first, HOSTCRST_OWNED, this_task(), entry.second);
        CHECK_EQ(hostcrst_destroy(entry.first), S_OK);
    }
    CHECK_EQ(task_info_of(this_task()).owned, 0);
    for (hostcrst_t crst : seen) {
        CHECK(!is_live(crst));
    }
}

CHECK_MAIN(CHECK_TEST(handles_are_keys_of_containers))
