// JSON from files and networks nobody vouches for, as a tree: for texts whose length the caller has
// bounded already. Larger ones are read as events (json_events.h).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal {

// One JSON value and nothing behind it but space. Errors name `from`: no valid JSON, or lists and
// objects nested deeper than `depth_max`.
Result<nlohmann::json> read_json_tree(std::string_view text, const std::string& from,
                                      int depth_max);

}  // namespace hadal
