// The JSON files of a Hugging Face folder as Metadata: nested objects become dotted keys
// ("rope_scaling.factor"), null is the same as absent, lists of one kind of value become lists.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "file/metadata.h"

namespace hadal {

inline constexpr uint64_t kConfigBytesMax = 16 << 20;

// Adds the values of one JSON object to `metadata`, each key behind `prefix` ("" or "generation.").
// Strings are kept in `owned`, which must live as long as `metadata`. Lists that Metadata cannot
// hold (of objects, of lists, of mixed kinds) are left out with a warning: whoever needs such a key
// finds it missing. Errors name `file`.
Status add_json_config(std::string_view text, const std::string& file, std::string_view prefix,
                       Metadata& metadata, std::vector<std::unique_ptr<std::string>>& owned,
                       std::vector<std::string>& warnings);

}  // namespace hadal
