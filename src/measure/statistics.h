// What repeated measurements say together.
#pragma once

#include <vector>

namespace hadal {

// Of repetitions.
struct Spread {
  double median = 0, least = 0, most = 0;
};
Spread spread_of(std::vector<double> samples);  // at least one sample

// The value that a share of the samples lies at or below, between two samples by their distance
// (NumPy's default). share: 0 to 1; at least one sample.
double quantile(std::vector<double> samples, double share);

// Where most waits end, and where the last few do.
struct Percentiles {
  double p50 = 0, p90 = 0, p99 = 0;
};
Percentiles percentiles_of(std::vector<double> samples);  // none: zeros

}  // namespace hadal
