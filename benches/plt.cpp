// The library called through the procedure linkage table, as by a compiler that does not know the attribute noplt.
#define HOSTCRST_API
#include <hostcrst.h>

#include "subjects.h"
#include "uncontended.h"

#include <map>

namespace bench {

struct HostcrstPlt {
    hostcrst_t section;
    HostcrstPlt() { hostcrst_create(&section); }
    ~HostcrstPlt() { hostcrst_destroy(section); }
    void enter() { hostcrst_enter(section, 0); }
    void leave() { hostcrst_leave(section); }
};

static std::vector<Metric> call_out_by_plt()
{
    return ns_for_each(50000, [] {
        host_leave_runtime(0x1000);
        host_enter_runtime();
    });
}

void add_plt(std::vector<Row> &table)
{
    const std::map<std::string, Measure> measures = {
        {"pair", pair<HostcrstPlt>},
        {"re-enter", reenter<HostcrstPlt>},
        {"transition", call_out_by_plt},
    };
    for (Row &row : table) {
        auto found = measures.find(row.name);
        if (found != measures.end()) {
            row.subjects.insert(row.subjects.begin() + 1, {"hostcrst PLT", found->second});
        }
    }
}

} // namespace bench
