/* The native half of Ledger.cs: a ledger that a section of the library guards. */
#include <stdint.h>

#include "hostcrst.h"

static hostcrst_t ledger;

int32_t ledger_open(void)
{
    int32_t result = hostcrst_create(&ledger);
    return result < 0 ? result : hostcrst_set_name(ledger, "ledger");
}

/* An entry, for which the ledger is owned. */
int32_t ledger_post(void)
{
    int32_t result = hostcrst_enter(ledger, 0);
    return result < 0 ? result : hostcrst_leave(ledger);
}

/* Calls back while the ledger is owned. */
int32_t ledger_close(void (*balance)(void))
{
    int32_t result = hostcrst_enter(ledger, 0);
    if (result < 0) {
        return result;
    }
    balance();
    return hostcrst_leave(ledger);
}
