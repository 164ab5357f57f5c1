// Reads numpy's .npy files (format 1.0) of float32 rows: what the goldens are kept in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/result.h"

namespace hadal {

struct NpyRows {
  uint32_t rows = 0, columns = 0;
  std::vector<float> values;
};

Result<NpyRows> read_npy(const std::filesystem::path& path);

}  // namespace hadal
