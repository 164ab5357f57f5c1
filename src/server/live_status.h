// GET /api/hadal/status: how busy each model is now, as the page's live figures show it.
//
// {"models": [{"id", "loaded", and of loaded ones: "requests_running", "requests_waiting",
// "kv_blocks_held" (by those that run), "kv_blocks_cached" (that later requests may find),
// "kv_blocks_total", and counters since the load: "prompt_tokens", "cached_tokens" (of them found),
// "answer_tokens"}]}
#pragma once

#include <vector>

#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

std::vector<Route> live_status_routes(const ModelPool& pool);

}  // namespace hadal
