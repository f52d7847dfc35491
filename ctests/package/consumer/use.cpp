#include <hostcrst.hpp>

#include <cstdio>
#include <cstring>
#include <mutex>

int main()
{
    hostcrst::critical_section section("orders");
    std::lock_guard<hostcrst::critical_section> lock(section);
    std::printf("%s\n", hostcrst_version());
    return section.name() != "orders" || std::strcmp(hostcrst_version(), HOSTCRST_VERSION_STRING) != 0;
}
