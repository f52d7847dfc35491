/* without_membarrier <program> [argument...]: runs the program where membarrier is refused from the start. */
#include "membarrier.h"

int main(int count, char **arguments)
{
    REQUIRE(count > 1);
    refuse_membarrier();
    execv(arguments[1], arguments + 1);
    perror(arguments[1]);
    return 127;
}
