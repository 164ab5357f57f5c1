#include "support/golden.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>

namespace hadal {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// log of the sum of exponentials
double log_total(const float* row, uint32_t columns) {
  const double largest = *std::max_element(row, row + columns);
  double total = 0;
  for (uint32_t i = 0; i < columns; ++i) total += std::exp(row[i] - largest);
  return largest + std::log(total);
}

}  // namespace

Result<Golden> read_golden(const std::filesystem::path& folder) {
  Golden golden;
  std::ifstream stream(folder / "tokens.txt");
  golden.tokens.assign(std::istream_iterator<int32_t>(stream), {});
  if (golden.tokens.empty()) return fail("{}: no token ids in tokens.txt", folder.string());

  std::vector<std::string> names = {"embedding"};
  for (int layer = 0; std::filesystem::exists(folder / fmt::format("layer.{}.npy", layer));
       ++layer) {
    names.push_back(fmt::format("layer.{}", layer));
  }
  names.insert(names.end(), {"norm", "logits"});
  for (const std::string& name : names) {
    const auto path = folder / (name + ".npy");
    if (name != "logits" && !std::filesystem::exists(path)) continue;
    HADAL_TRY(NpyRows rows, read_npy(path));
    golden.stages.push_back({name, std::move(rows)});
  }
  return golden;
}

double largest_difference(const std::vector<float>& found, const std::vector<float>& expected) {
  if (found.size() != expected.size() || found.empty()) return kInfinity;
  double largest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double difference = std::abs(double{found[i]} - expected[i]);
    if (!(difference < kInfinity)) return kInfinity;
    largest = std::max(largest, difference);
  }
  const auto [low, high] = std::minmax_element(expected.begin(), expected.end());
  return largest / (double{*high} - *low);
}

double mean_divergence(const std::vector<float>& found, const std::vector<float>& expected,
                       uint32_t columns) {
  if (found.size() != expected.size() || found.empty() || found.size() % columns != 0) {
    return kInfinity;
  }
  double total = 0;
  for (size_t row = 0; row < found.size(); row += columns) {
    const double found_total = log_total(&found[row], columns);
    const double expected_total = log_total(&expected[row], columns);
    for (uint32_t i = 0; i < columns; ++i) {
      const double log_expected = expected[row + i] - expected_total;
      total += std::exp(log_expected) * (log_expected - (found[row + i] - found_total));
    }
  }
  const double mean = total / static_cast<double>(found.size() / columns);
  return std::isfinite(mean) ? mean : kInfinity;
}

}  // namespace hadal
