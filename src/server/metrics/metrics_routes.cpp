#include "server/metrics/metrics_routes.h"

namespace hadal {
namespace {

constexpr const char* kPrometheusType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

std::vector<Route> metrics_routes(const ModelPool& pool,
                                  std::shared_ptr<const ServerMetrics> metrics,
                                  std::function<DoorFigures()> door) {
  return {
      {.method = "GET",
       .path = "/metrics",
       .handler =
           [&pool, metrics, door](const WebRequest&, std::shared_ptr<Exchange> exchange) {
             exchange->reply({.content_type = kPrometheusType,
                              .body = metrics->text(pool.list(), read_machine(), door())});
           },
       .about = {.group = "Server",
                 .summary = "Figures for Prometheus",
                 .reply_type = kPrometheusType}},
  };
}

}  // namespace hadal
