/* The version that the header was made for is that of the library it is linked with. */
#include "check.h"

#include <hostcrst.h>

static void text_is_that_of_the_library(void)
{
    CHECK_STR_EQ(hostcrst_version(), HOSTCRST_VERSION_STRING);
}

static void parts_make_up_the_text(void)
{
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", HOSTCRST_VERSION_MAJOR, HOSTCRST_VERSION_MINOR,
             HOSTCRST_VERSION_PATCH);
    CHECK_STR_EQ(text, HOSTCRST_VERSION_STRING);
}

static void number_packs_the_parts(void)
{
    int major = -1;
    int minor = -1;
    int patch = -1;
    CHECK_EQ(sscanf(hostcrst_version(), "%d.%d.%d", &major, &minor, &patch), 3);
    CHECK_EQ(HOSTCRST_VERSION_NUMBER / 1000000, major);
    CHECK_EQ(HOSTCRST_VERSION_NUMBER / 1000 % 1000, minor);
    CHECK_EQ(HOSTCRST_VERSION_NUMBER % 1000, patch);
}

#if HOSTCRST_VERSION_NUMBER < 1000
#error "the number can be compared by the preprocessor"
#endif

CHECK_MAIN(CHECK_TEST(text_is_that_of_the_library), CHECK_TEST(parts_make_up_the_text),
           CHECK_TEST(number_packs_the_parts))
