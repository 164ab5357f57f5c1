// OpenAI's addresses: POST /v1/chat/completions, /v1/completions, /v1/responses; GET /v1/models,
// /v1/models/NAME. Embeddings have a file of their own.
#pragma once

#include <vector>

#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

// pool outlives the routes.
std::vector<Route> openai_routes(ModelPool& pool);

}  // namespace hadal
