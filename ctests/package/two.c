#include <hostcrst.h>

#include <stdint.h>
#include <string.h>

uint32_t other_sum(void);

int main(void)
{
    return other_sum() != 10 || strcmp(hostcrst_version(), HOSTCRST_VERSION_STRING) != 0;
}
