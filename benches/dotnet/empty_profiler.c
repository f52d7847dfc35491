/* A profiler of the CLR that asks for nothing, sets no mask and does nothing: what it costs that there is a profiler. If
 * $EMPTY_PROFILER names a file, it creates the file when the CLR has accepted it, and is one that only listens, unless there is
 * $EMPTY_PROFILER_IS_MAIN. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    uint32_t first;
    uint16_t second, third;
    uint8_t rest[8];
} guid_t;

#define E_NOINTERFACE ((int32_t)0x80004002)

static const guid_t unknown = {0, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};
static const guid_t class_factory = {1, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};
/* ICorProfilerCallback, 2 and 3, the least that a CLR takes, and 11, which says whether others may be beside it. */
static const guid_t callback = {0x176FBED1, 0xA55C, 0x4796, {0x98, 0xCA, 0xA9, 0xDA, 0x0E, 0xF8, 0x83, 0xE7}};
static const guid_t callback_2 = {0x8A8CC829, 0xCCF2, 0x49FE, {0xBB, 0xAE, 0x0F, 0x02, 0x22, 0x28, 0x07, 0x1A}};
static const guid_t callback_3 = {0x4FD2ED52, 0x7731, 0x4B8D, {0x94, 0x69, 0x03, 0xD2, 0xCC, 0x30, 0x86, 0xC5}};
static const guid_t callback_11 = {0x42350846, 0xAAED, 0x47F7, {0xB1, 0x28, 0xFD, 0x0C, 0x98, 0x88, 0x1C, 0xDE}};

enum { UNKNOWN_METHODS = 3, LOAD_AS_NOTIFICATION_ONLY = 94, CALLBACK_METHODS = 95 };

/* A function of any signature. */
typedef void method_t(void);
typedef struct {
    method_t *const *methods;
} object_t;

/* In the slot of any method: its caller frees the arguments. */
static int32_t ignored(void)
{
    return 0;
}

static int32_t one_reference(void)
{
    return 1;
}

static int32_t answer(object_t *self, const guid_t *asked, const guid_t *const *known, void **out)
{
    for (; *known != NULL; known++) {
        if (memcmp(asked, *known, sizeof *asked) == 0) {
            *out = self;
            return 0;
        }
    }
    *out = NULL;
    return E_NOINTERFACE;
}

static int32_t callback_query(object_t *self, const guid_t *asked, void **out)
{
    static const guid_t *const known[] = {&unknown, &callback, &callback_2, &callback_3, &callback_11, NULL};
    return answer(self, asked, known, out);
}

static int32_t factory_query(object_t *self, const guid_t *asked, void **out)
{
    static const guid_t *const known[] = {&unknown, &class_factory, NULL};
    return answer(self, asked, known, out);
}

static int32_t initialize(void)
{
    const char *mark = getenv("EMPTY_PROFILER");
    if (mark != NULL) {
        close(open(mark, O_CREAT | O_WRONLY, 0600));
    }
    return 0;
}

static int32_t load_as_notification_only(object_t *self, int32_t *is)
{
    (void)self;
    *is = getenv("EMPTY_PROFILER") != NULL && getenv("EMPTY_PROFILER_IS_MAIN") == NULL;
    return 0;
}

static method_t *callback_methods[UNKNOWN_METHODS + CALLBACK_METHODS];
static object_t callback_object = {callback_methods};

static int32_t create_instance(object_t *self, void *outer, const guid_t *asked, void **out)
{
    (void)self;
    (void)outer;
    return callback_query(&callback_object, asked, out);
}

static method_t *const factory_methods[] = {
    (method_t *)factory_query,   (method_t *)one_reference, (method_t *)one_reference,
    (method_t *)create_instance, (method_t *)ignored,
};
static object_t factory_object = {factory_methods};

int32_t DllGetClassObject(const guid_t *class, const guid_t *asked, void **out)
{
    (void)class;
    for (int slot = 0; slot < UNKNOWN_METHODS + CALLBACK_METHODS; slot++) {
        callback_methods[slot] = (method_t *)ignored;
    }
    callback_methods[0] = (method_t *)callback_query;
    callback_methods[1] = callback_methods[2] = (method_t *)one_reference;
    callback_methods[UNKNOWN_METHODS] = (method_t *)initialize;
    callback_methods[UNKNOWN_METHODS + LOAD_AS_NOTIFICATION_ONLY] = (method_t *)load_as_notification_only;
    return factory_query(&factory_object, asked, out);
}

int32_t DllCanUnloadNow(void)
{
    return 1;
}
