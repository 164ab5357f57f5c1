// Small files read whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"

namespace hadal {

// The bytes of a regular file (or a link to one) of at most bytes_max; nullopt if there is none. A
// Git-LFS pointer in its place is an error that says so.
Result<std::optional<std::string>> read_text_file(const std::filesystem::path& path,
                                                  uint64_t bytes_max);

}  // namespace hadal
