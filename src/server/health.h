// GET /health and /ready: what a process manager, a load balancer or a script asks. Open to all.
// /health: 200 once the process can answer, 503 while its model loads or after that failed.
// /ready: the same, and 503 as soon as the server begins to end; both are answered to its end, on
// new connections too.
#pragma once

#include <functional>
#include <vector>

#include "server/http/router.h"
#include "server/models/model_pool.h"

namespace hadal {

std::vector<Route> health_routes(const ModelPool& pool, std::function<bool()> draining);

}  // namespace hadal
