// What a program of this folder measures: one table for each platform.
#ifndef BENCH_SUBJECTS_H
#define BENCH_SUBJECTS_H

#include "rows.h"

namespace bench {

// All rows with all their subjects; prepares what they need.
std::vector<Row> table();

// The rows of the four transitions.
std::vector<Row> transition_rows();

} // namespace bench

#endif
