#include "measure/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace hadal {
namespace {

double quantile_of_sorted(const std::vector<double>& sorted, double share) {
  CHECK(!sorted.empty() && share >= 0 && share <= 1);
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

}  // namespace

Spread spread_of(std::vector<double> samples) {
  CHECK(!samples.empty());
  std::sort(samples.begin(), samples.end());
  return {quantile_of_sorted(samples, 0.5), samples.front(), samples.back()};
}

double quantile(std::vector<double> samples, double share) {
  std::sort(samples.begin(), samples.end());
  return quantile_of_sorted(samples, share);
}

Percentiles percentiles_of(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  return {quantile_of_sorted(samples, 0.50), quantile_of_sorted(samples, 0.90),
          quantile_of_sorted(samples, 0.99)};
}

}  // namespace hadal
