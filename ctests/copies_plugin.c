/* A plugin that contains a copy of the library, and exports nothing but this. */
#include "copies_plugin.h"

const copy_t copies_plugin = COPY_OF_THIS_OBJECT;
