#include <hostcrst/win32.h>

int main(void)
{
    static CRITICAL_SECTION section;
    EnterCriticalSection(&section);
    LeaveCriticalSection(&section);
    return section.RecursionCount != 0;
}
