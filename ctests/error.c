/* The codes and their sentences. */
#include "host.h"

static const struct {
    int32_t code;
    uint32_t value;
    const char *word;
} codes[] = {
    {S_OK, 0, "success"},
    {S_FALSE, 1, "success"},
    {E_NOTIMPL, 0x80004001, "implemented"},
    {E_NOINTERFACE, 0x80004002, "interface"},
    {E_POINTER, 0x80004003, "NULL"},
    {E_FAIL, 0x80004005, "failure"},
    {E_HANDLE, 0x80070006, "handle"},
    {E_OUTOFMEMORY, 0x8007000E, "memory"},
    {E_INVALIDARG, 0x80070057, "argument"},
    {HOST_E_DEADLOCK, 0x80131020, "deadlock"},
    {HOST_E_INTERRUPTED, 0x80131021, "alert"},
    {HOST_E_INVALIDOPERATION, 0x80131022, "state"},
    {HOST_E_CLRNOTAVAILABLE, 0x80131023, "runtime"},
    {HOST_E_TIMEOUT, 0x80131024, "time"},
    {HOST_E_NOT_OWNER, 0x80131025, "own"},
    {HOST_E_ABANDONED, 0x80131026, "abandoned"},
};

enum { CODES = sizeof codes / sizeof codes[0] };

static void codes_have_the_published_values(void)
{
    for (int at = 0; at < CODES; at++) {
        CHECK_EQ((uint32_t)codes[at].code, codes[at].value);
    }
}

static void each_code_has_a_sentence_of_its_own(void)
{
    for (int at = 0; at < CODES; at++) {
        const char *sentence = host_result_message(codes[at].code);
        CHECK(strstr(sentence, codes[at].word) != NULL);
        CHECK(strlen(sentence) < 200 && strchr(sentence, '\n') == NULL);
        CHECK(host_result_message(codes[at].code) == sentence);
        for (int other = 0; other < at; other++) {
            CHECK(strcmp(sentence, host_result_message(codes[other].code)) != 0);
        }
    }
}

static void unknown_codes_are_told_apart_from_known_ones(void)
{
    const int32_t unknown[] = {2, INT32_MAX, INT32_MIN, -1, (int32_t)0x80131027, (int32_t)0x8000FFFF};
    for (size_t at = 0; at < sizeof unknown / sizeof unknown[0]; at++) {
        const char *sentence = host_result_message(unknown[at]);
        CHECK(strlen(sentence) > 0);
        CHECK((strstr(sentence, "success") != NULL) == (unknown[at] >= 0));
        for (int known = 0; known < CODES; known++) {
            CHECK(strcmp(sentence, host_result_message(codes[known].code)) != 0);
        }
    }
}

CHECK_MAIN(CHECK_TEST(codes_have_the_published_values), CHECK_TEST(each_code_has_a_sentence_of_its_own),
           CHECK_TEST(unknown_codes_are_told_apart_from_known_ones))
