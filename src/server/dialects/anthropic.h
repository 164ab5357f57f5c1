// Anthropic's addresses: POST /v1/messages, POST /v1/messages/count_tokens.
#pragma once

#include <vector>

#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

// pool outlives the routes.
std::vector<Route> anthropic_routes(ModelPool& pool);

}  // namespace hadal
