// OpenAI's addresses: POST /v1/chat/completions, POST /v1/completions, GET /v1/models,
// GET /v1/models/NAME.
#pragma once

#include <vector>

#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

// pool outlives the routes.
std::vector<Route> openai_routes(ModelPool& pool);

}  // namespace hadal
