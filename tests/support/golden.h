// The goldens of tests/data/golden: what an independent implementation computed for some tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "support/npy.h"

namespace hadal {

struct Golden {
  struct Stage {
    std::string name;  // as a Tap hears it
    NpyRows rows;
  };
  std::vector<int32_t> tokens;
  std::vector<Stage> stages;  // in the order of the forward; the last is "logits"
};

// Folders hold tokens.txt and NAME.npy; all stages up to a missing layer are read.
Result<Golden> read_golden(const std::filesystem::path& folder);

// The largest difference, as a part of the spread (largest minus smallest) of `expected`. Infinity
// if the sizes differ or anything is not finite.
double largest_difference(const std::vector<float>& found, const std::vector<float>& expected);

// Mean over rows of the Kullback-Leibler divergence, in nats, of softmax(found) from
// softmax(expected); `columns` values a row. Infinity as above.
double mean_divergence(const std::vector<float>& found, const std::vector<float>& expected,
                       uint32_t columns);

}  // namespace hadal
