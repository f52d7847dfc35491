// Measures the rows that are asked for, all subjects of a row in turn, and prints each value as a line of
// JSON. The order of the subjects rotates from round to round: what disturbs one disturbs each as often.
#include "subjects.h"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <regex>
#include <thread>

namespace bench {
bool quick = false;
}

using namespace bench;

static const char usage[] =
    "bench [--quick] [--rounds <n>] [--first-round <n>] [--rows <regex>] [--subjects <regex>]\n"
    "      [--only <regex>] [--suffix <text>]\n"
    "--suffix: what is added to the name of each row; --rows looks at the names with it, --only without.\n";

struct Options {
    int rounds = 0; // 0: as many as the row says
    int first_round = 0;
    std::regex rows{""}, only{""}, subjects{""}; // found anywhere in a name; empty: all
    std::string suffix;
};

static Options parse(int count, char **arguments)
{
    Options options;
    for (int at = 1; at < count; at++) {
        std::string name = arguments[at];
        if (name == "--quick") {
            quick = true;
            continue;
        }
        if (at + 1 == count) {
            std::fputs(usage, stderr);
            std::exit(2);
        }
        const char *value = arguments[++at];
        if (name == "--rounds") {
            options.rounds = std::atoi(value);
        } else if (name == "--first-round") {
            options.first_round = std::atoi(value);
        } else if (name == "--rows") {
            options.rows = value;
        } else if (name == "--only") {
            options.only = value;
        } else if (name == "--subjects") {
            options.subjects = value;
        } else if (name == "--suffix") {
            options.suffix = value;
        } else {
            std::fputs(usage, stderr);
            std::exit(2);
        }
    }
    return options;
}

static void measure(const Row &row, const Options &options)
{
    std::vector<Subject> subjects;
    for (const Subject &subject : row.subjects) {
        if (std::regex_search(subject.name, options.subjects)) {
            subjects.push_back(subject);
        }
    }
    int rounds = options.rounds != 0 ? options.rounds : row.rounds;
    for (int round = 0; round < rounds && !subjects.empty(); round++) {
        for (size_t turn = 0; turn < subjects.size(); turn++) {
            const Subject &subject = subjects[(turn + static_cast<size_t>(round)) % subjects.size()];
            for (const Metric &metric : subject.measure()) {
                std::printf("{\"row\": \"%s%s\", \"subject\": \"%s\", \"round\": %d, \"metric\": \"%s\", "
                            "\"value\": %.6g}\n",
                            row.name.c_str(), options.suffix.c_str(), subject.name,
                            round + options.first_round, metric.name, metric.value);
            }
            std::fflush(stdout);
        }
    }
}

// A process that never had a second thread may leave out atomic instructions: be like a program with threads.
static void keep_a_second_thread()
{
    std::thread([] {
        static std::mutex mutex;
        static std::condition_variable never;
        std::unique_lock<std::mutex> lock(mutex);
        never.wait(lock, [] { return false; });
    }).detach();
}

int main(int count, char **arguments)
{
    Options options = parse(count, arguments);
    keep_a_second_thread();
    for (const Row &row : table()) {
        std::string name = row.name + options.suffix;
        if (std::regex_search(row.name, options.only) && std::regex_search(name, options.rows)) {
            std::fprintf(stderr, "  %s\n", name.c_str());
            measure(row, options);
        }
    }
    std::fflush(stdout);
    std::_Exit(0); // the second thread sleeps for ever
}
