#include <hostcrst.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    hostcrst_t section;
    if (host_runtime_start() < 0 || hostcrst_create(&section) < 0 || hostcrst_enter(section, 0) < 0 ||
        hostcrst_leave(section) < 0 || hostcrst_destroy(section) < 0) {
        return 1;
    }
    printf("%s\n", hostcrst_version());
    return strcmp(hostcrst_version(), HOSTCRST_VERSION_STRING) != 0;
}
