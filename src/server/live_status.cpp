#include "server/live_status.h"

#include "base/json.h"

namespace hadal {
namespace {

nlohmann::ordered_json status_of(const ModelStatus& model) {
  nlohmann::ordered_json status = {{"id", model.entry.name},
                                   {"loaded", model.state == ModelState::kLoaded}};
  if (model.state != ModelState::kLoaded) return status;
  const EngineStatus& engine = model.engine;
  status["requests_running"] = engine.running;
  status["requests_waiting"] = engine.waiting;
  status["kv_blocks_held"] = engine.blocks_held;
  status["kv_blocks_cached"] = engine.blocks_cached;
  status["kv_blocks_total"] = engine.blocks_total;
  status["prompt_tokens"] = engine.prompt_tokens;
  status["cached_tokens"] = engine.cached_tokens;
  status["answer_tokens"] = engine.answer_tokens;
  return status;
}

}  // namespace

std::vector<Route> live_status_routes(const ModelPool& pool) {
  const Handler handler = [&pool](const WebRequest&, const std::shared_ptr<Exchange>& exchange) {
    nlohmann::ordered_json models = nlohmann::ordered_json::array();
    for (const ModelStatus& model : pool.list()) models.push_back(status_of(model));
    exchange->reply({.body = nlohmann::ordered_json{{"models", std::move(models)}}.dump()});
  };
  return {{.method = "GET",
           .path = "/api/hadal/status",
           .access = Access::kKey,
           .runs_on = RunsOn::kIoThread,
           .handler = handler,
           .about = {
               .group = "Server", .summary = "How busy each model is now", .reply = "LiveStatus"}}};
}

}  // namespace hadal
