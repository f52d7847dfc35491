/*
 * Resources: what the program tells of locks of its own. Who owns one and who waits, cycles through resources and
 * sections whichever wait is the last, what cannot be refused, and how all of it ends: with the wait, the owner, the
 * resource, the process. Most tests need no lock behind a resource: what counts is what is told.
 */
#include "capture.h"

#include <signal.h>

/* ---- a thread that does one thing after another, each when it is asked to ---- */

typedef struct actor {
    check_thread_t thread;
    check_steps_t asked;
    check_steps_t done;
    int turn;
    host_task_t task;
    int32_t (*call)(uint64_t handle, uint32_t option);
    uint64_t handle;
    uint32_t option;
    int32_t result;
} actor_t;

static void actor_body(void *argument)
{
    actor_t *self = (actor_t *)argument;
    self->task = this_task();
    check_reach(&self->done, 1);
    for (int turn = 2;; turn++) {
        check_await(&self->asked, turn);
        if (self->call == NULL) {
            return;
        }
        self->result = KEEPING_ERRNO(self->call(self->handle, self->option));
        check_reach(&self->done, turn);
    }
}

static void start_actor(actor_t *self)
{
    static const check_steps_t steps = CHECK_STEPS_INIT;
    self->asked = self->done = steps;
    self->turn = 1;
    check_start(&self->thread, actor_body, self);
    check_await(&self->done, 1);
}

/* The actor begins to do this. */
static void begin(actor_t *self, int32_t (*call)(uint64_t, uint32_t), uint64_t handle, uint32_t option)
{
    self->call = call;
    self->handle = handle;
    self->option = option;
    check_reach(&self->asked, ++self->turn);
}

/* What came of it. */
static int32_t end_of_act(actor_t *self)
{
    check_await(&self->done, self->turn);
    return self->result;
}

static int32_t by(actor_t *self, int32_t (*call)(uint64_t, uint32_t), uint64_t handle)
{
    begin(self, call, handle, 0);
    return end_of_act(self);
}

/* The thread ends, with all that it owns and is told to wait for. */
static void end_actor(actor_t *self)
{
    begin(self, NULL, 0, 0);
    check_join(&self->thread);
}

/* The actor begins to enter a section that another task owns, and is in its queue. */
static void begin_to_enter(actor_t *self, hostcrst_t crst, uint32_t option)
{
    begin(self, hostcrst_enter, crst, option);
    REQUIRE_SOON(is_waiting(self->task, crst));
}

static int32_t leave(uint64_t crst, uint32_t unused)
{
    (void)unused;
    return hostcrst_leave(crst);
}

static int32_t acquired(uint64_t resource, uint32_t unused)
{
    (void)unused;
    return host_resource_acquired(resource);
}

static int32_t released(uint64_t resource, uint32_t unused)
{
    (void)unused;
    return host_resource_released(resource);
}

static int32_t wait_end(uint64_t resource, uint32_t unused)
{
    (void)unused;
    return host_resource_wait_end(resource);
}

static int32_t destroy(uint64_t resource, uint32_t unused)
{
    (void)unused;
    return host_resource_destroy(resource);
}

/* ---- the callback ---- */

static int told;
static host_deadlock_t notice;

static void be_told(const host_deadlock_t *deadlock, void *context)
{
    (void)context;
    notice = *deadlock;
    __atomic_add_fetch(&told, 1, __ATOMIC_RELEASE);
}

static int times_told(void)
{
    return __atomic_load_n(&told, __ATOMIC_ACQUIRE);
}

/* ---- a resource as reports show it ---- */

static host_resource_t new_resource(const char *name)
{
    host_resource_t resource = 0;
    start_runtime();
    REQUIRE_EQ(host_set_deadlock_callback(be_told, NULL), S_OK);
    told = 0;
    REQUIRE_EQ(KEEPING_ERRNO(host_resource_create(&resource)), S_OK);
    if (name != NULL) {
        REQUIRE_EQ(KEEPING_ERRNO(host_resource_set_name(resource, name)), S_OK);
    }
    return resource;
}

/* What a JSON report says of a resource; NULL if it does not list it. */
static const char *resource_in(const char *json, host_resource_t resource)
{
    const char *list = strstr(json, "\"resources\":[");
    REQUIRE(list != NULL);
    return strstr(list, line_of("{\"resource\":\"0x%llx\",", (unsigned long long)resource).text);
}

/* Whether the JSON report has the resource with this state, owner (0 for none), recursion and waiters. */
#define CHECK_RESOURCE(resource, state, owner, recursion, waiters) \
    check_resource((resource), (state), (owner), (recursion), (waiters), __FILE__, __LINE__)

static void check_resource(host_resource_t resource, const char *state, host_task_t owner, unsigned recursion,
                           unsigned waiters, const char *file, int line)
{
    char *text = report_in(HOST_REPORT_JSON);
    line_t by = owner != 0 ? line_of("\"owner\":\"0x%llx\",", (unsigned long long)owner) : line_of("%s", "");
    line_t rest = line_of("\"state\":\"%s\",%s\"recursion\":%u,\"waiters\":%u,", state, by.text, recursion, waiters);
    const char *at = resource_in(text, resource);
    const char *end = at == NULL ? NULL : strchr(at, '}');
    const char *found = at == NULL ? NULL : strstr(at, rest.text);
    if (found == NULL || found > end) {
        check_fail(file, line, "not in the report, of 0x%llx: %s", (unsigned long long)resource, rest.text);
        printf("%s\n", text);
    }
    free(text);
}

static uint32_t waiters_in_report(host_resource_t resource)
{
    char *text = report_in(HOST_REPORT_JSON);
    const char *at = resource_in(text, resource);
    at = at == NULL ? NULL : strstr(at, "\"waiters\":");
    uint32_t waiters = at == NULL ? 0 : (uint32_t)strtoul(at + strlen("\"waiters\":"), NULL, 10);
    free(text);
    return waiters;
}

/* ---- owners ---- */

static void who_acquires_owns_until_as_many_releases(void)
{
    host_resource_t resource = new_resource("counted");
    host_task_t me = this_task();
    for (unsigned times = 1; times <= 3; times++) {
        CHECK_EQ(KEEPING_ERRNO(host_resource_acquired(resource)), S_OK);
        CHECK_RESOURCE(resource, "owned", me, times, 0);
    }
    for (unsigned times = 2; times >= 1; times--) {
        CHECK_EQ(KEEPING_ERRNO(host_resource_released(resource)), S_OK);
        CHECK_RESOURCE(resource, "owned", me, times, 0);
    }
    CHECK_EQ(host_resource_released(resource), S_OK);
    CHECK_EQ(host_resource_released(resource), HOST_E_NOT_OWNER);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
}

static void only_the_owner_releases_and_nobody_else_acquires(void)
{
    actor_t other;
    host_resource_t resource = new_resource(NULL);
    start_actor(&other);
    CHECK_EQ(host_resource_acquired(resource), S_OK);
    CHECK_EQ(by(&other, released, resource), HOST_E_NOT_OWNER);
    CHECK_EQ(by(&other, acquired, resource), HOST_E_INVALIDOPERATION);
    CHECK_EQ(by(&other, destroy, resource), HOST_E_NOT_OWNER);
    CHECK_RESOURCE(resource, "owned", this_task(), 1, 0);
    CHECK_EQ(host_resource_released(resource), S_OK);
    CHECK_EQ(by(&other, acquired, resource), S_OK);
    CHECK_RESOURCE(resource, "owned", other.task, 1, 0);
    CHECK_EQ(by(&other, destroy, resource), S_OK);
    end_actor(&other);
}

static void an_owner_that_ends_leaves_it_abandoned_until_it_is_acquired(void)
{
    for (int times = 1; times <= 2; times++) {
        actor_t other;
        host_resource_t resource = new_resource("left behind");
        start_actor(&other);
        for (int time = 0; time < times; time++) {
            CHECK_EQ(by(&other, acquired, resource), S_OK);
        }
        CHECK_EQ(host_resource_wait(resource, 0), S_OK);
        end_actor(&other);
        CHECK_RESOURCE(resource, "abandoned", 0, 0, 1);
        char *text = text_report();
        CHECK_CONTAINS(text, "\"left behind\"");
        CHECK_CONTAINS(text, "\n      which is abandoned: its owner has ended\n");
        free(text);
        CHECK_EQ(host_resource_released(resource), HOST_E_NOT_OWNER);
        CHECK_EQ(host_resource_acquired(resource), S_OK);
        CHECK_RESOURCE(resource, "owned", this_task(), 1, 0);
        CHECK_EQ(host_resource_destroy(resource), S_OK);
    }
}

static void a_handle_never_comes_back(void)
{
    host_resource_t before = new_resource("first");
    for (int round = 0; round < 100; round++) {
        CHECK_EQ(host_resource_destroy(before), S_OK);
        host_resource_t next = new_resource(NULL);
        CHECK_NE(next, before);
        CHECK_EQ(host_resource_acquired(before), E_HANDLE);
        CHECK_EQ(host_resource_acquired(next), S_OK);
        CHECK_EQ(host_resource_released(before), E_HANDLE);
        CHECK_EQ(host_resource_wait(before, 0), E_HANDLE);
        CHECK_EQ(host_resource_wait_end(before), E_HANDLE);
        CHECK_EQ(host_resource_set_name(before, "late"), E_HANDLE);
        CHECK_EQ(host_resource_destroy(before), E_HANDLE);
        char *text = text_report();
        CHECK_LACKS(text, "\"first\"");
        CHECK_LACKS(text, "\"late\"");
        free(text);
        before = next;
    }
    CHECK_EQ(host_resource_destroy(before), S_OK);
}

/* ---- waits ---- */

static void a_wait_stands_until_the_resource_is_acquired_or_given_up(void)
{
    host_resource_t resource = new_resource("awaited");
    host_task_t me = this_task();
    CHECK_EQ(KEEPING_ERRNO(host_resource_wait(resource, 0)), S_OK);
    CHECK(is_waiting(me, resource));
    CHECK_RESOURCE(resource, "free", 0, 0, 1);
    char *text = text_report();
    CHECK_CONTAINS(text, line_of("   waiting for resource 0x%llx \"awaited\" at ", (unsigned long long)resource).text);
    CHECK_CONTAINS(text, "\n      which nobody is known to own\n");
    free(text);
    CHECK_EQ(KEEPING_ERRNO(host_resource_acquired(resource)), S_OK);
    CHECK(is_waiting(me, 0));
    CHECK_RESOURCE(resource, "owned", me, 1, 0);
    CHECK_EQ(KEEPING_ERRNO(host_resource_wait_end(resource)), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_resource_released(resource), S_OK);
    CHECK_EQ(host_resource_wait(resource, 0), S_OK);
    CHECK_EQ(KEEPING_ERRNO(host_resource_wait_end(resource)), S_OK);
    CHECK(is_waiting(me, 0));
    CHECK_RESOURCE(resource, "free", 0, 0, 0);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
}

static void an_owner_may_wait_for_what_it_owns(void)
{
    host_resource_t resource = new_resource(NULL);
    CHECK_EQ(host_resource_acquired(resource), S_OK);
    CHECK_EQ(host_resource_wait(resource, 0), S_OK);
    CHECK_EQ(host_resource_acquired(resource), S_OK);
    CHECK_RESOURCE(resource, "owned", this_task(), 2, 0);
    CHECK_EQ(times_told(), 0);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
}

static void a_task_that_waits_acquires_nothing_else(void)
{
    host_resource_t resource = new_resource(NULL);
    host_resource_t other = new_resource(NULL);
    CHECK_EQ(host_resource_acquired(other), S_OK);
    CHECK_EQ(host_resource_released(other), S_OK);
    CHECK_EQ(host_resource_wait(resource, 0), S_OK);
    CHECK_EQ(host_resource_acquired(other), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_resource_wait_end(other), HOST_E_INVALIDOPERATION);
    CHECK(is_waiting(this_task(), resource));
    CHECK_EQ(host_resource_acquired(resource), S_OK);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
    CHECK_EQ(host_resource_destroy(other), S_OK);
}

static void a_wait_ends_when_its_task_waits_for_something_else(void)
{
    holder_t holder;
    host_resource_t resource = new_resource(NULL);
    host_resource_t other = new_resource(NULL);
    hostcrst_t crst = new_section();
    CHECK_EQ(host_resource_wait(resource, 0), S_OK);
    CHECK_EQ(host_resource_wait(other, 0), S_OK);
    CHECK(is_waiting(this_task(), other));
    CHECK_EQ(waiters_in_report(resource), 0);
    hold(&holder, crst);
    CHECK_EQ(hostcrst_enter_timeout(crst, 0, 1), HOST_E_TIMEOUT);
    CHECK(is_waiting(this_task(), 0));
    CHECK_EQ(waiters_in_report(other), 0);
    let_go(&holder);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
    CHECK_EQ(host_resource_destroy(other), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

static void a_wait_ends_with_its_task(void)
{
    actor_t other;
    host_resource_t resource = new_resource(NULL);
    start_actor(&other);
    CHECK_EQ(by(&other, host_resource_wait, resource), S_OK);
    CHECK_EQ(waiters_in_report(resource), 1);
    end_actor(&other);
    CHECK_EQ(waiters_in_report(resource), 0);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
}

static void a_wait_ends_with_the_resource(void)
{
    actor_t other;
    host_resource_t resource = new_resource(NULL);
    host_resource_t later;
    start_actor(&other);
    CHECK_EQ(by(&other, host_resource_wait, resource), S_OK);
    CHECK(is_waiting(other.task, resource));
    CHECK_EQ(host_resource_destroy(resource), S_OK);
    CHECK(is_waiting(other.task, 0));
    CHECK_EQ(by(&other, wait_end, resource), E_HANDLE);
    later = new_resource(NULL);
    CHECK_EQ(waiters_in_report(later), 0);
    CHECK_EQ(by(&other, acquired, resource), E_HANDLE);
    CHECK_EQ(by(&other, acquired, later), S_OK);
    CHECK_EQ(by(&other, destroy, later), S_OK);
    end_actor(&other);
}

static void neither_an_alert_nor_a_stop_ends_a_wait(void)
{
    holder_t holder;
    host_resource_t resource = new_resource(NULL);
    host_task_t me = this_task();
    CHECK_EQ(host_resource_wait(resource, WAIT_ALERTABLE), S_OK);
    CHECK_EQ(host_task_alert(me), S_OK);
    CHECK(is_waiting(me, resource));
    CHECK_EQ(host_runtime_stop(), S_OK);
    CHECK(is_waiting(me, resource));
    CHECK_EQ(host_resource_acquired(resource), S_OK);
    CHECK_EQ(host_resource_released(resource), S_OK);
    CHECK_EQ(host_resource_acquired(resource), S_OK);
    CHECK_EQ(host_resource_wait(resource, 0), HOST_E_CLRNOTAVAILABLE);
    CHECK_RESOURCE(resource, "owned", me, 1, 0);
    CHECK_EQ(host_runtime_start(), S_OK);
    /* The alert is pending for a wait that it can end. */
    hostcrst_t crst = new_section();
    hold(&holder, crst);
    CHECK_EQ(hostcrst_enter(crst, WAIT_ALERTABLE), HOST_E_INTERRUPTED);
    let_go(&holder);
    CHECK_EQ(host_resource_destroy(resource), S_OK);
    CHECK_EQ(hostcrst_destroy(crst), S_OK);
}

/* ---- cycles ---- */

/* A section of the main thread's and a resource of the other's, or the other way round. */
typedef struct crossing {
    hostcrst_t section;
    host_resource_t resource;
    actor_t other;
} crossing_t;

static void begin_crossing(crossing_t *self, const char *name)
{
    self->resource = new_resource(name);
    self->section = new_section();
    start_actor(&self->other);
}

static void end_crossing(crossing_t *self)
{
    end_actor(&self->other);
    CHECK_EQ(waiters_in_report(self->resource), 0);
    CHECK_SECTION(self->section, HOSTCRST_FREE, 0, 0);
    CHECK_EQ(host_resource_destroy(self->resource), S_OK);
    CHECK_EQ(hostcrst_destroy(self->section), S_OK);
}

/* The other owns the resource and waits for the section of the main thread. */
static void other_waits_for_the_section(crossing_t *self, uint32_t option)
{
    CHECK_EQ(by(&self->other, acquired, self->resource), S_OK);
    REQUIRE_EQ(hostcrst_enter(self->section, 0), S_OK);
    begin_to_enter(&self->other, self->section, option);
}

/* The other owns the section and waits for the resource of the main thread. */
static void other_waits_for_the_resource(crossing_t *self, uint32_t option)
{
    REQUIRE_EQ(by(&self->other, hostcrst_enter, self->section), S_OK);
    CHECK_EQ(host_resource_acquired(self->resource), S_OK);
    begin(&self->other, host_resource_wait, self->resource, option);
    REQUIRE_EQ(end_of_act(&self->other), S_OK);
}

static void check_told(uint32_t tasks, host_task_t victim, uint64_t awaited)
{
    CHECK_EQ(times_told(), 1);
    CHECK_EQ(notice.tasks, tasks);
    CHECK_EQ(notice.victim, victim);
    CHECK_EQ(notice.section, awaited);
}

static void a_last_wait_for_the_resource_is_refused(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, "the interpreter");
    other_waits_for_the_section(&crossing, 0);
    CHECK_EQ(KEEPING_ERRNO(host_resource_wait(crossing.resource, 0)), HOST_E_DEADLOCK);
    check_told(2, this_task(), crossing.resource);
    CHECK(is_waiting(this_task(), 0));
    CHECK_RESOURCE(crossing.resource, "owned", crossing.other.task, 1, 0);
    CHECK_EQ(host_resource_wait_end(crossing.resource), HOST_E_INVALIDOPERATION);
    char *text = text_report();
    CHECK_CONTAINS(text, "A deadlock of 2 tasks was broken");
    CHECK_CONTAINS(text, "\"the interpreter\" at ");
    CHECK_CONTAINS(text, "   acquires \"the interpreter\"\n");
    CHECK_CONTAINS(text, " and was to leave it.\n");
    free(text);
    CHECK_EQ(hostcrst_leave(crossing.section), S_OK);
    CHECK_EQ(end_of_act(&crossing.other), S_OK);
    CHECK_EQ(by(&crossing.other, leave, crossing.section), S_OK);
    CHECK_EQ(by(&crossing.other, released, crossing.resource), S_OK);
    end_crossing(&crossing);
}

static void a_last_wait_for_the_section_is_refused(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, "the database");
    other_waits_for_the_resource(&crossing, 0);
    CHECK_EQ(hostcrst_enter(crossing.section, 0), HOST_E_DEADLOCK);
    check_told(2, this_task(), crossing.section);
    CHECK(is_waiting(crossing.other.task, crossing.resource));
    char *text = text_report();
    CHECK_CONTAINS(text, "A deadlock of 2 tasks was broken");
    CHECK_CONTAINS(text, "it still owned \"the database\" and was to release it.\n");
    CHECK_CONTAINS(text, "   owns resource ");
    free(text);
    CHECK_EQ(host_resource_released(crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, acquired, crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, released, crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, leave, crossing.section), S_OK);
    end_crossing(&crossing);
}

/* Each owns one resource and waits for the next one's; no thread blocks. */
static void a_cycle_of_resources_alone_is_refused_at_its_last_wait(void)
{
    enum { MOST = 5 };
    for (int size = 2; size <= MOST; size++) {
        actor_t others[MOST];
        host_resource_t resources[MOST];
        for (int at = 0; at < size; at++) {
            resources[at] = new_resource(NULL);
            start_actor(&others[at]);
            CHECK_EQ(by(&others[at], acquired, resources[at]), S_OK);
        }
        for (int at = 1; at < size; at++) {
            CHECK_EQ(by(&others[at], host_resource_wait, resources[(at + 1) % size]), S_OK);
        }
        CHECK_EQ(times_told(), 0);
        CHECK_EQ(by(&others[0], host_resource_wait, resources[1]), HOST_E_DEADLOCK);
        check_told((uint32_t)size, others[0].task, resources[1]);
        CHECK_EQ(by(&others[0], released, resources[0]), S_OK);
        for (int at = size - 1; at >= 0; at--) {
            end_actor(&others[at]);
            CHECK_EQ(host_resource_destroy(resources[at]), S_OK);
        }
    }
}

static void a_wait_for_a_section_is_the_victim_where_the_last_may_not(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, NULL);
    other_waits_for_the_section(&crossing, 0);
    CHECK_EQ(host_resource_wait(crossing.resource, WAIT_NOTINDEADLOCK), S_OK);
    CHECK_EQ(end_of_act(&crossing.other), HOST_E_DEADLOCK);
    check_told(2, crossing.other.task, crossing.section);
    CHECK(is_waiting(this_task(), crossing.resource));
    CHECK_EQ(by(&crossing.other, released, crossing.resource), S_OK);
    CHECK_EQ(host_resource_acquired(crossing.resource), S_OK);
    CHECK_EQ(host_resource_released(crossing.resource), S_OK);
    CHECK_EQ(hostcrst_leave(crossing.section), S_OK);
    end_crossing(&crossing);
}

/* A task that blocks in the program's lock cannot be refused any more. */
static void a_task_that_blocks_already_is_never_the_victim(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, "blocked in");
    other_waits_for_the_resource(&crossing, 0);
    own_stderr_empty();
    CHECK_EQ(hostcrst_enter_timeout(crossing.section, WAIT_NOTINDEADLOCK, 0), HOST_E_TIMEOUT);
    CHECK_EQ(times_told(), 0);
    CHECK_EQ(host_task_alert(this_task()), S_OK);
    /* The alert ends the wait, which has been told of by then, and queues again after it. */
    CHECK_EQ(hostcrst_enter(crossing.section, WAIT_NOTINDEADLOCK | WAIT_ALERTABLE), HOST_E_INTERRUPTED);
    CHECK(is_waiting(crossing.other.task, crossing.resource));
    CHECK_EQ(host_resource_released(crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, acquired, crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, released, crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, leave, crossing.section), S_OK);
    end_crossing(&crossing);
}

static void check_told_as_standing(uint32_t option_of_section, uint32_t option_of_resource, int is_on_stderr)
{
    crossing_t crossing;
    actor_t closer;
    host_resource_t own = new_resource("own");
    begin_crossing(&crossing, "blocked in");
    start_actor(&closer);
    REQUIRE_EQ(by(&crossing.other, hostcrst_enter, crossing.section), S_OK);
    CHECK_EQ(by(&closer, acquired, crossing.resource), S_OK);
    begin(&crossing.other, host_resource_wait, crossing.resource, option_of_resource);
    REQUIRE_EQ(end_of_act(&crossing.other), S_OK);
    own_stderr_empty();
    begin_to_enter(&closer, crossing.section, option_of_section | WAIT_ALERTABLE);
    REQUIRE_SOON(times_told() == 1);
    check_told(2, 0, crossing.section);
    REQUIRE_SOON(is_waiting(closer.task, crossing.section));
    char *text = text_report();
    CHECK_CONTAINS(text, "Found 1 deadlock.");
    CHECK_CONTAINS(text, line_of("   waiting for resource 0x%llx \"blocked in\"", (unsigned long long)crossing.resource).text);
    free(text);
    text = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(text, line_of("\"resource\":\"0x%llx\"}", (unsigned long long)crossing.resource).text);
    free(text);
    text = content_of(STDERR_FILENO);
    CHECK_EQ(strstr(text, "Found 1 deadlock.") != NULL, is_on_stderr);
    free(text);
    CHECK_EQ(host_task_alert(closer.task), S_OK);
    CHECK_EQ(end_of_act(&closer), HOST_E_INTERRUPTED);
    CHECK_EQ(times_told(), 1);
    CHECK_EQ(by(&closer, released, crossing.resource), S_OK);
    end_actor(&closer);
    CHECK_EQ(by(&crossing.other, wait_end, crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, leave, crossing.section), S_OK);
    end_crossing(&crossing);
    CHECK_EQ(host_resource_destroy(own), S_OK);
}

static void a_cycle_in_which_no_wait_can_fail_is_told_once_as_standing(void)
{
    check_told_as_standing(WAIT_NOTINDEADLOCK, 0, 1);
    check_told_as_standing(WAIT_NOTINDEADLOCK, WAIT_NOTINDEADLOCK, 0);
}

static void the_policy_may_be_a_report(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, "reported");
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_REPORT), S_OK);
    other_waits_for_the_section(&crossing, WAIT_ALERTABLE);
    own_stderr_empty();
    CHECK_EQ(host_resource_wait(crossing.resource, 0), S_OK);
    check_told(2, 0, crossing.resource);
    char *text = content_of(STDERR_FILENO);
    CHECK_CONTAINS(text, "Found 1 deadlock.");
    CHECK_CONTAINS(text, "\"reported\"");
    free(text);
    own_stderr_empty();
    CHECK_EQ(host_resource_wait_end(crossing.resource), S_OK);
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ERROR), S_OK);
    CHECK_EQ(hostcrst_leave(crossing.section), S_OK);
    CHECK_EQ(end_of_act(&crossing.other), S_OK);
    CHECK_EQ(by(&crossing.other, leave, crossing.section), S_OK);
    CHECK_EQ(by(&crossing.other, released, crossing.resource), S_OK);
    end_crossing(&crossing);
}

static void the_policy_may_be_the_end_of_the_process(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, "fatal");
    other_waits_for_the_section(&crossing, 0);
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ABORT), S_OK);
    own_stderr_empty();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        /* The other thread is gone here, with its resource: a cycle of the child's own. */
        actor_t other;
        host_resource_t resource = new_resource("fatal");
        start_actor(&other);
        REQUIRE_EQ(by(&other, acquired, resource), S_OK);
        begin_to_enter(&other, crossing.section, 0);
        _exit(host_resource_wait(resource, 0) == S_OK ? 0 : 1);
    }
    int status = 0;
    REQUIRE_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    char *text = content_of(STDERR_FILENO);
    CHECK_CONTAINS(text, "Found 1 deadlock.");
    free(text);
    own_stderr_empty();
    REQUIRE_EQ(host_set_deadlock_policy(HOST_DEADLOCK_ERROR), S_OK);
    CHECK_EQ(hostcrst_leave(crossing.section), S_OK);
    CHECK_EQ(end_of_act(&crossing.other), S_OK);
    CHECK_EQ(by(&crossing.other, leave, crossing.section), S_OK);
    CHECK_EQ(by(&crossing.other, released, crossing.resource), S_OK);
    end_crossing(&crossing);
}

/* A resource that was released before its owner began to wait closes no cycle. */
static void what_was_released_before_the_wait_is_no_edge(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, NULL);
    CHECK_EQ(by(&crossing.other, acquired, crossing.resource), S_OK);
    REQUIRE_EQ(hostcrst_enter(crossing.section, 0), S_OK);
    CHECK_EQ(by(&crossing.other, released, crossing.resource), S_OK);
    begin_to_enter(&crossing.other, crossing.section, 0);
    CHECK_EQ(host_resource_wait(crossing.resource, 0), S_OK);
    CHECK_EQ(times_told(), 0);
    CHECK_EQ(host_resource_acquired(crossing.resource), S_OK);
    CHECK_EQ(host_resource_released(crossing.resource), S_OK);
    CHECK_EQ(hostcrst_leave(crossing.section), S_OK);
    CHECK_EQ(end_of_act(&crossing.other), S_OK);
    CHECK_EQ(by(&crossing.other, leave, crossing.section), S_OK);
    end_crossing(&crossing);
}

/* ---- reports ---- */

static void each_format_shows_resources(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, "shown \"so\"");
    char *text = text_report();
    CHECK_CONTAINS(text, "1 resource of the program's (0 owned)\n");
    CHECK_LACKS(text, "RESOURCE");
    free(text);
    CHECK_EQ(host_resource_acquired(crossing.resource), S_OK);
    CHECK_EQ(by(&crossing.other, host_resource_wait, crossing.resource), S_OK);
    unsigned long long handle = crossing.resource;
    text = text_report();
    CHECK_CONTAINS(text, "1 resource of the program's (1 owned)\n");
    CHECK_CONTAINS(text, "RESOURCE            state      owner  recursion  waiters  contended  name\n");
    CHECK_CONTAINS(text, line_of("   owns resource 0x%llx \"shown ", handle).text);
    CHECK_CONTAINS(text, "\n      which is owned by ");
    free(text);
    text = report_in(HOST_REPORT_DOT);
    CHECK_CONTAINS(text, line_of("  s%llu [shape=box,style=rounded,label=\"shown ", handle).text);
    CHECK_CONTAINS(text, line_of("-> s%llu [label=\"waits", handle).text);
    CHECK_CONTAINS(text, line_of("  s%llu -> t", handle).text);
    free(text);
    text = report_in(HOST_REPORT_JSON);
    CHECK_CONTAINS(text, line_of("\"waiting\":{\"resource\":\"0x%llx\",", handle).text);
    CHECK_CONTAINS(text, "\"resource_count\":1,");
    free(text);
    CHECK_EQ(by(&crossing.other, wait_end, crossing.resource), S_OK);
    CHECK_EQ(host_resource_released(crossing.resource), S_OK);
    end_crossing(&crossing);
}

/* Copied: the text is gone when the report is made. */
static int32_t wait_at_a_place(uint64_t resource, uint32_t with_a_place)
{
    char place[] = "sell (shop.lua:12)";
    int32_t result = host_resource_wait_at(resource, 0, with_a_place ? place : NULL);
    memset(place, '?', sizeof place - 1);
    return result;
}

static void a_place_that_is_named_is_shown(void)
{
    crossing_t crossing;
    begin_crossing(&crossing, "shown");
    CHECK_EQ(host_resource_acquired(crossing.resource), S_OK);
    begin(&crossing.other, wait_at_a_place, crossing.resource, 1);
    CHECK_EQ(end_of_act(&crossing.other), S_OK);
    char *text = text_report();
    CHECK_CONTAINS(text, "\"shown\" at sell (shop.lua:12)\n");
    free(text);
    CHECK_EQ(by(&crossing.other, wait_end, crossing.resource), S_OK);
    begin(&crossing.other, wait_at_a_place, crossing.resource, 0);
    CHECK_EQ(end_of_act(&crossing.other), S_OK);
    text = text_report();
    CHECK_CONTAINS(text, "\"shown\" at resource_c_");
    free(text);
    CHECK_EQ(by(&crossing.other, wait_end, crossing.resource), S_OK);
    CHECK_EQ(host_resource_released(crossing.resource), S_OK);
    end_crossing(&crossing);
}

/* ---- a child of a fork ---- */

static host_resource_t mine, awaited, of_other;

static void find_the_child(void)
{
    host_task_t me = this_task();
    CHECK_RESOURCE(mine, "owned", me, 1, 0);
    CHECK_RESOURCE(of_other, "abandoned", 0, 0, 0);
    CHECK(is_waiting(me, 0));
    CHECK_EQ(waiters_in_report(awaited), 0);
    CHECK_EQ(host_resource_wait_end(awaited), HOST_E_INVALIDOPERATION);
    CHECK_EQ(host_resource_acquired(of_other), S_OK);
    CHECK_EQ(host_resource_wait(awaited, 0), S_OK);
    CHECK_EQ(host_resource_acquired(awaited), S_OK);
    CHECK_EQ(host_resource_released(mine), S_OK);
}

static void in_a_child_resources_of_other_threads_are_abandoned(void)
{
    actor_t other;
    mine = new_resource("mine");
    awaited = new_resource("awaited");
    of_other = new_resource("of the other");
    start_actor(&other);
    CHECK_EQ(by(&other, acquired, of_other), S_OK);
    CHECK_EQ(by(&other, host_resource_wait, mine), S_OK);
    CHECK_EQ(host_resource_acquired(mine), S_OK);
    CHECK_EQ(host_resource_wait(awaited, 0), S_OK);
    in_child(find_the_child);
    CHECK_RESOURCE(of_other, "owned", other.task, 1, 0);
    CHECK(is_waiting(this_task(), awaited));
    CHECK_EQ(host_resource_wait_end(awaited), S_OK);
    CHECK_EQ(host_resource_destroy(awaited), S_OK);
    CHECK_EQ(host_resource_destroy(mine), S_OK);
    end_actor(&other);
    CHECK_EQ(host_resource_destroy(of_other), S_OK);
}

/* ---- threads that race for real locks ---- */

#define RACERS 4
#define LOCKS 6
#define RACES 2000

/* Every other one is a section; behind the rest stands a mutex. */
typedef struct lock {
    hostcrst_t section;
    host_resource_t resource;
    pthread_mutex_t mutex;
    int inside;
} lock_t;

static lock_t locks[LOCKS];
static int is_ordered;
static unsigned refused;

static int32_t lock_it(lock_t *lock)
{
    if (lock->section != 0) {
        return hostcrst_enter(lock->section, 0);
    }
    if (pthread_mutex_trylock(&lock->mutex) != 0) {
        int32_t result = host_resource_wait(lock->resource, 0);
        if (result != S_OK) {
            return result;
        }
        pthread_mutex_lock(&lock->mutex);
    }
    CHECK_EQ(host_resource_acquired(lock->resource), S_OK);
    return S_OK;
}

static void unlock_it(lock_t *lock)
{
    if (lock->section != 0) {
        CHECK_EQ(hostcrst_leave(lock->section), S_OK);
        return;
    }
    CHECK_EQ(host_resource_released(lock->resource), S_OK);
    pthread_mutex_unlock(&lock->mutex);
}

/* Takes both, or after a refusal neither. */
static void race_once(unsigned first, unsigned last)
{
    if (!CHECK_EQ(lock_it(&locks[first]), S_OK)) {
        return;
    }
    if (is_ordered == 0) {
        sched_yield();
    }
    int32_t result = lock_it(&locks[last]);
    if (result == S_OK) {
        CHECK_EQ(__atomic_add_fetch(&locks[last].inside, 1, __ATOMIC_RELAXED), 1);
        __atomic_sub_fetch(&locks[last].inside, 1, __ATOMIC_RELAXED);
        unlock_it(&locks[last]);
    } else {
        CHECK_EQ(result, HOST_E_DEADLOCK);
        __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
    }
    unlock_it(&locks[first]);
}

static void racer_body(void *argument)
{
    chance_t chance = {*(uint64_t *)argument};
    for (int race = 0; race < RACES; race++) {
        unsigned first = (unsigned)(next_random(&chance) % LOCKS);
        unsigned last = (first + 1 + (unsigned)(next_random(&chance) % (LOCKS - 1))) % LOCKS;
        if (is_ordered && first > last) {
            unsigned lower = last;
            last = first;
            first = lower;
        }
        race_once(first, last);
    }
}

static void race(int ordered)
{
    check_thread_t threads[RACERS];
    uint64_t seeds[RACERS];
    refused = 0;
    is_ordered = ordered;
    for (int at = 0; at < LOCKS; at++) {
        locks[at].section = at % 2 == 0 ? new_section() : 0;
        locks[at].resource = at % 2 == 0 ? 0 : new_resource(NULL);
        REQUIRE_EQ(pthread_mutex_init(&locks[at].mutex, NULL), 0);
    }
    for (uint64_t at = 0; at < RACERS; at++) {
        seeds[at] = at;
        check_start(&threads[at], racer_body, &seeds[at]);
    }
    for (int at = 0; at < RACERS; at++) {
        check_join(&threads[at]);
    }
    for (int at = 0; at < LOCKS; at++) {
        CHECK_EQ(locks[at].section != 0 ? hostcrst_destroy(locks[at].section)
                                        : host_resource_destroy(locks[at].resource), S_OK);
        pthread_mutex_destroy(&locks[at].mutex);
    }
}

static void no_deadlock_is_found_where_all_keep_to_one_order(void)
{
    start_runtime();
    race(1);
    CHECK_EQ(refused, 0);
    CHECK_EQ(times_told(), 0);
}

static void every_deadlock_is_broken_where_all_take_any_order(void)
{
    start_runtime();
    race(0);
    CHECK_EQ(times_told(), refused);
}

CHECK_MAIN(CHECK_TEST(who_acquires_owns_until_as_many_releases),
           CHECK_TEST(only_the_owner_releases_and_nobody_else_acquires),
           CHECK_TEST(an_owner_that_ends_leaves_it_abandoned_until_it_is_acquired),
           CHECK_TEST(a_handle_never_comes_back),
           CHECK_TEST(a_wait_stands_until_the_resource_is_acquired_or_given_up),
           CHECK_TEST(an_owner_may_wait_for_what_it_owns), CHECK_TEST(a_task_that_waits_acquires_nothing_else),
           CHECK_TEST(a_wait_ends_when_its_task_waits_for_something_else), CHECK_TEST(a_wait_ends_with_its_task),
           CHECK_TEST(a_wait_ends_with_the_resource), CHECK_TEST(neither_an_alert_nor_a_stop_ends_a_wait),
           CHECK_TEST(a_last_wait_for_the_resource_is_refused), CHECK_TEST(a_last_wait_for_the_section_is_refused),
           CHECK_TEST(a_cycle_of_resources_alone_is_refused_at_its_last_wait),
           CHECK_TEST(a_wait_for_a_section_is_the_victim_where_the_last_may_not),
           CHECK_TEST(a_task_that_blocks_already_is_never_the_victim),
           CHECK_TEST(a_cycle_in_which_no_wait_can_fail_is_told_once_as_standing),
           CHECK_TEST(the_policy_may_be_a_report), CHECK_TEST(the_policy_may_be_the_end_of_the_process),
           CHECK_TEST(what_was_released_before_the_wait_is_no_edge), CHECK_TEST(each_format_shows_resources),
           CHECK_TEST(a_place_that_is_named_is_shown),
           CHECK_TEST(in_a_child_resources_of_other_threads_are_abandoned),
           CHECK_TEST(no_deadlock_is_found_where_all_keep_to_one_order),
           CHECK_TEST(every_deadlock_is_broken_where_all_take_any_order))
