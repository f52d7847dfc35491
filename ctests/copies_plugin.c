/* A plugin with a copy of the library of its own in it, which shows nothing but this. */
#include "copies_plugin.h"

const copy_t copies_plugin = COPY_OF_THIS_OBJECT;
