#include "server/health.h"

#include "server/dialects/openai_errors.h"

namespace hadal {
namespace {

WebReply unavailable(std::string_view message) {
  return {
      .status = 503, .body = openai_http_error(503, message), .headers = {{"Retry-After", "1"}}};
}

WebReply health(const ModelPool& pool) {
  if (pool.ready()) return {.body = R"({"status":"ok"})"};
  const std::string error = pool.load_error();
  return unavailable(error.empty() ? "the model is being loaded" : error);
}

}  // namespace

std::vector<Route> health_routes(const ModelPool& pool, std::function<bool()> draining) {
  return {
      {.method = "GET",
       .path = "/health",
       .access = Access::kOpen,
       .runs_on = RunsOn::kIoThread,
       .handler = [&pool](const WebRequest&,
                          std::shared_ptr<Exchange> exchange) { exchange->reply(health(pool)); },
       .about = {.group = "Server",
                 .summary = "Whether it can answer; 503 while its model loads or after that failed",
                 .reply = "Health"},
       .while_ending = true},
      {.method = "GET",
       .path = "/ready",
       .access = Access::kOpen,
       .runs_on = RunsOn::kIoThread,
       .handler =
           [&pool, draining](const WebRequest&, std::shared_ptr<Exchange> exchange) {
             exchange->reply(draining() ? unavailable("the server is ending") : health(pool));
           },
       .about = {.group = "Server",
                 .summary = "As /health, and 503 as soon as the server begins to end",
                 .reply = "Health"},
       .while_ending = true},
  };
}

}  // namespace hadal
