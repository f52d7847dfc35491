#include <hostcrst.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    printf("%s\n", hostcrst_version());
    return strcmp(hostcrst_version(), HOSTCRST_VERSION_STRING) != 0;
}
