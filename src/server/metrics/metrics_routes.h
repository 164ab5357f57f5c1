// GET /metrics, what Prometheus scrapes.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "server/http/router.h"
#include "server/metrics/server_metrics.h"

namespace hadal {

// pool outlives the routes.
std::vector<Route> metrics_routes(const ModelPool& pool,
                                  std::shared_ptr<const ServerMetrics> metrics,
                                  std::function<DoorFigures()> door);

}  // namespace hadal
