// What a row of the table is: measured once a round for each subject.
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <string>
#include <vector>

namespace bench {

struct Metric {
    const char *name;
    double value;
};

// Measures once.
typedef std::vector<Metric> (*Measure)();

struct Subject {
    const char *name;
    Measure measure;
};

struct Row {
    std::string name;
    int rounds;
    std::vector<Subject> subjects;
};

// Set once from the command line: fewer rounds, shorter ones.
extern bool quick;

} // namespace bench

#endif
