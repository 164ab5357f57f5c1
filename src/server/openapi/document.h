// GET /openapi.json: every address of this server, for people, generators of clients, and tests
// (OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.1).
//
// It is made of what the server itself goes by: paths, methods, who may ask from the routes; the
// requests' fields, types and bounds from the tables that read them. What no table knows, the
// answers and the few values of several types, is written in schemas.json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "server/chat/fields.h"
#include "server/http/router.h"

namespace hadal {

// forms: all that the routes name, unless schemas.json has them.
nlohmann::ordered_json openapi_document(std::span<const Route> routes,
                                        std::span<const DialectErrors> errors,
                                        std::span<const FieldForm> forms);

// The tables of all dialects.
std::vector<FieldForm> all_forms();

// Adds the document's own route, which describes itself too. Last.
void append_openapi_route(std::vector<Route>& routes, std::span<const DialectErrors> errors);

}  // namespace hadal
