// The codes as C++ constants: of type int32_t, usable in constant expressions, thrown and caught.
#include "host.hpp"

#include <stdexcept>
#include <type_traits>

static_assert(HOST_E_TIMEOUT < 0 && S_FALSE > 0, "codes are constant expressions");
static_assert(std::is_same<decltype(HOST_E_NOT_OWNER), const int32_t>::value, "codes are HRESULTs");

static void demand(int32_t result)
{
    if (result < 0) {
        throw std::runtime_error(host_result_message(result));
    }
}

static void a_failure_becomes_an_exception_with_the_sentence()
{
    start_runtime();
    Section section;
    demand(hostcrst_enter(section.handle, 0));
    demand(hostcrst_leave(section.handle));
    try {
        demand(hostcrst_leave(section.handle));
        CHECK(false);
    } catch (const std::runtime_error &error) {
        CHECK_STR_EQ(error.what(), host_result_message(HOST_E_NOT_OWNER));
    }
}

static int kind_of(int32_t result)
{
    switch (result) {
    case S_OK:
        return 0;
    case HOST_E_TIMEOUT:
        return 1;
    default:
        return 2;
    }
}

static void codes_are_labels_of_a_switch()
{
    CHECK_EQ(kind_of(hostcrst_leave(0)), 2);
    CHECK_EQ(kind_of(HOST_E_TIMEOUT), 1);
    CHECK_EQ(kind_of(S_OK), 0);
}

CHECK_MAIN(CHECK_TEST(a_failure_becomes_an_exception_with_the_sentence),
           CHECK_TEST(codes_are_labels_of_a_switch))
