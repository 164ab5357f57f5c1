// A client's JSON text as a value, within limits that are checked before anything is built: depth,
// how many values, how many keys an object has. Strict JSON in UTF-8; a name that stands twice in
// an object is an error that names it, for who sent it meant one of two things. Any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "server/limits.h"
#include "server/request_error.h"

namespace hadal {

// One value. The error says where the text goes wrong, never what it says.
RequestResult<nlohmann::ordered_json> parse_json(std::string_view text,
                                                 const JsonTextLimits& limits = {});
// The same; an object.
RequestResult<nlohmann::ordered_json> parse_json_object(std::string_view text,
                                                        const JsonTextLimits& limits = {});

}  // namespace hadal
