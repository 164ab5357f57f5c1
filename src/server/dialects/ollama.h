// Ollama's addresses: POST /api/chat, /api/generate, /api/embed, /api/embeddings, /api/show; GET
// /api/tags, /api/ps, /api/version.
#pragma once

#include <vector>

#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

// pool outlives the routes.
std::vector<Route> ollama_routes(ModelPool& pool);

}  // namespace hadal
