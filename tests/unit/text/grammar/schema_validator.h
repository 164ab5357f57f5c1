// A JSON Schema validator that shares nothing with the code under test: a plain recursion over the
// instance, for the keywords that hadal enforces. Held to the official test suite itself.
#pragma once

#include <string>

#include "base/json.h"

namespace hadal::testing {

// Whether `instance` holds for `schema`, a part of `root`. Formats are enforced. Throws
// std::runtime_error at a keyword it does not know.
bool is_valid(const nlohmann::json& instance, const nlohmann::json& schema,
              const nlohmann::json& root);

}  // namespace hadal::testing
