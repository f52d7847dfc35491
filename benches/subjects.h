// What a program of this folder measures: one table for each platform.
#ifndef BENCH_SUBJECTS_H
#define BENCH_SUBJECTS_H

#include "rows.h"

namespace bench {

// All rows with all their subjects; prepares what they need.
std::vector<Row> table();

// The rows of the four transitions.
std::vector<Row> transition_rows();

// The rows of SRW locks and of waits on addresses.
std::vector<Row> windows_rows();

// Adds the library called through the procedure linkage table, next to the library, where a call is most of the time.
void add_plt(std::vector<Row> &table);

} // namespace bench

#endif
