// src/server/openapi/schemas.json, compiled in: the document but for its paths and tables.
#pragma once

#include <string_view>

namespace hadal {

std::string_view openapi_schemas();

}  // namespace hadal
