// Cost against scale: the same with a thousand and with a million live sections, with one task and with ten
// thousand. A row with a count is named "10^<n> <what>". The memory of a section, the rows of sections and
// those of tasks are for a process each: slots that were used once stay, and a report walks them.
#include "locks.h"
#include "subjects.h"
#include "uncontended.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace bench {

// The function that the tasks call.
static const size_t target = reinterpret_cast<size_t>(&pause);

static double resident_bytes()
{
    long pages = 0;
    std::FILE *statm = std::fopen("/proc/self/statm", "r");
    if (statm == nullptr || std::fscanf(statm, "%*d %ld", &pages) != 1) {
        std::abort();
    }
    std::fclose(statm);
    return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// Threads that sleep, and become tasks when they are told to. They stay: what has more of them comes later.
class Crowd {
public:
    void grow_to(size_t count)
    {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 64 << 10);
        for (; count_ < count; count_++) {
            pthread_t thread;
            if (pthread_create(&thread, &attributes, member, this) != 0) {
                std::perror("bench: pthread_create");
                std::exit(1);
            }
        }
        pthread_attr_destroy(&attributes);
        wait_for(asleep_, count);
    }

    void become_tasks()
    {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            allowed_ = count_;
            changed_.notify_all();
        }
        wait_for(tasks_, count_);
    }

private:
    static void *member(void *crowd)
    {
        static_cast<Crowd *>(crowd)->join();
        return nullptr;
    }

    void join()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        size_t number = asleep_++;
        counted_.notify_one();
        changed_.wait(lock, [&] { return number < allowed_; });
        lock.unlock();
        host_leave_runtime(target);
        lock.lock();
        tasks_++;
        counted_.notify_one();
        never_.wait(lock, [] { return false; });
    }

    void wait_for(const size_t &counter, size_t count)
    {
        std::unique_lock<std::mutex> lock(mutex_);
        counted_.wait(lock, [&] { return counter >= count; });
    }

    std::mutex mutex_;
    std::condition_variable changed_, counted_, never_;
    size_t count_ = 0, asleep_ = 0, allowed_ = 0, tasks_ = 0;
};

static Crowd crowd;

static void have_tasks(size_t count)
{
    host_leave_runtime(target);
    host_enter_runtime();
    crowd.grow_to(count - 1);
    crowd.become_tasks();
}

template <size_t count> std::vector<Metric> transition()
{
    have_tasks(count);
    return ns_for_each(50000, [] {
        host_leave_runtime(target);
        host_enter_runtime();
    });
}

static std::vector<Metric> report(uint32_t format)
{
    static const int nowhere = open("/dev/null", O_WRONLY);
    return {{"ns", ns_of([&] { host_report(nowhere, format); })}};
}

template <size_t count, uint32_t format> std::vector<Metric> report_of_sections()
{
    std::unique_ptr<Hostcrst[]> sections(new Hostcrst[count]);
    return report(format);
}

template <size_t count, uint32_t format> std::vector<Metric> report_of_tasks()
{
    have_tasks(count);
    return report(format);
}

static std::vector<Metric> memory_of_a_section()
{
    const size_t first = 1000, count = 1000000;
    std::vector<hostcrst_t> sections(first + count, 1);
    auto create = [](hostcrst_t &section) { hostcrst_create(&section); };
    std::for_each(sections.begin(), sections.begin() + first, create);
    double before = resident_bytes();
    std::for_each(sections.begin() + first, sections.end(), create);
    double bytes = resident_bytes() - before;
    return {{"bytes", std::round(bytes / count)}};
}

static std::vector<Metric> memory_of_a_glibc_mutex()
{
    return {{"bytes", sizeof(pthread_mutex_t)}};
}

// Of sleeping threads that become tasks; what the threads themselves take is not in it.
static std::vector<Metric> memory_of_a_task()
{
    const size_t had = 1000, have = 10000;
    have_tasks(had);
    crowd.grow_to(have);
    double before = resident_bytes();
    crowd.become_tasks();
    return {{"bytes", std::round((resident_bytes() - before) / (have - had + 1))}};
}

template <uint32_t count> Row live_sections(const char *name)
{
    return {name, quick ? 3 : 7, {
        {"hostcrst", many_at_random<Hostcrst, count>},
        {GlibcRecursive::name, many_at_random<GlibcRecursive, count>},
    }};
}

std::vector<Row> table()
{
    if (host_runtime_start() < 0) {
        std::fprintf(stderr, "bench: the runtime does not start\n");
        std::exit(1);
    }
    const int rounds = quick ? 3 : 7;
    const uint32_t text = HOST_REPORT_TEXT, json = HOST_REPORT_JSON, page = HOST_REPORT_HTML;
    return {
        {"memory of a section", 1, {
            {"hostcrst", memory_of_a_section},
            {GlibcRecursive::name, memory_of_a_glibc_mutex},
        }},
        {"10^3 sections, report as text", rounds, {{"hostcrst", report_of_sections<1000, text>}}},
        {"10^4 sections, report as text", rounds, {{"hostcrst", report_of_sections<10000, text>}}},
        {"10^5 sections, report as text", rounds, {{"hostcrst", report_of_sections<100000, text>}}},
        {"10^3 sections, report as JSON", rounds, {{"hostcrst", report_of_sections<1000, json>}}},
        {"10^4 sections, report as JSON", rounds, {{"hostcrst", report_of_sections<10000, json>}}},
        {"10^5 sections, report as JSON", rounds, {{"hostcrst", report_of_sections<100000, json>}}},
        live_sections<1000>("10^3 sections, a pair of one at random"),
        live_sections<10000>("10^4 sections, a pair of one at random"),
        live_sections<100000>("10^5 sections, a pair of one at random"),
        live_sections<1000000>("10^6 sections, a pair of one at random"),
        {"10^0 tasks, a transition", rounds, {{"hostcrst", transition<1>}}},
        {"10^1 tasks, a transition", rounds, {{"hostcrst", transition<10>}}},
        {"10^1 tasks, report as text", rounds, {{"hostcrst", report_of_tasks<10, text>}}},
        {"10^2 tasks, a transition", rounds, {{"hostcrst", transition<100>}}},
        {"10^2 tasks, report as text", rounds, {{"hostcrst", report_of_tasks<100, text>}}},
        {"10^3 tasks, a transition", rounds, {{"hostcrst", transition<1000>}}},
        {"10^3 tasks, report as text", rounds, {{"hostcrst", report_of_tasks<1000, text>}}},
        {"memory of a task", 1, {{"hostcrst", memory_of_a_task}}},
        {"10^4 tasks, a transition", rounds, {{"hostcrst", transition<10000>}}},
        {"10^4 tasks, report as text", rounds, {{"hostcrst", report_of_tasks<10000, text>}}},
        {"10^4 tasks, report as JSON", rounds, {{"hostcrst", report_of_tasks<10000, json>}}},
        {"10^4 tasks, report as a page", rounds, {{"hostcrst", report_of_tasks<10000, page>}}},
    };
}

} // namespace bench
