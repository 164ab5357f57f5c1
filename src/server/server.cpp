#include "server/server.h"

#include <iterator>

#include "server/access/gate.h"
#include "server/dialects/anthropic.h"
#include "server/dialects/anthropic_errors.h"
#include "server/dialects/ollama.h"
#include "server/dialects/ollama_reply.h"
#include "server/dialects/openai.h"
#include "server/dialects/openai_embeddings.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/tokens.h"
#include "server/health.h"
#include "server/live_status.h"
#include "server/metrics/metrics_routes.h"
#include "server/openapi/document.h"
#include "server/page/page_routes.h"

namespace hadal {

namespace {

void append(std::vector<Route>& routes, std::vector<Route> more) {
  routes.insert(routes.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
}

// Counts answers; what they took goes to the account of the key that asked for them, too.
class CountAndCharge final : public ServerMetrics {
 public:
  explicit CountAndCharge(std::shared_ptr<KeyRing> keys) : keys_(std::move(keys)) {}
  void on_finish(const FinishedAnswer& answer) override {
    ServerMetrics::on_finish(answer);
    if (answer.fairness_key == 0) return;
    keys_->charge(answer.fairness_key, answer.usage.prompt_tokens + answer.usage.answer_tokens);
  }

 private:
  const std::shared_ptr<KeyRing> keys_;
};

}  // namespace

Server::Server(ServerOptions options)
    : preload_(options.preload),
      on_ready_(std::move(options.on_ready)),
      pool_(std::move(options.models)) {}

Result<std::unique_ptr<Server>> Server::open(ServerOptions options) {
  HADAL_TRY(const bool loopback, is_loopback(options.http.host));
  HADAL_TRY(auto keys, KeyRing::open(options.keys, std::move(options.on_keys)));
  if (!loopback && !keys->needed() && !options.open_to_all) {
    return fail(
        "{} can be reached from other machines, and there are no keys that say who may ask. `hadal "
        "key add NAME` makes one; --open lets everybody ask who reaches the port; --host 127.0.0.1 "
        "(the default) keeps it to this machine",
        options.http.host);
  }
  HttpServerOptions http = std::move(options.http);
  const std::shared_ptr<AccessLog> log = std::move(options.log);
  http.log = log;
  if (log) log->start();
  HostRules hosts = std::move(options.hosts);
  const auto metrics = std::make_shared<CountAndCharge>(keys);
  options.models.watch = metrics;
  std::unique_ptr<Server> server(new Server(std::move(options)));
  server->keys_ = keys;
  std::vector<Route> routes = openai_routes(server->pool_);
  append(routes, openai_embedding_routes(server->pool_));
  append(routes, anthropic_routes(server->pool_));
  append(routes, ollama_routes(server->pool_));
  append(routes, token_routes(server->pool_));
  append(routes, health_routes(server->pool_,
                               [server = server.get()] { return server->http_->draining(); }));
  append(routes, live_status_routes(server->pool_));
  append(routes, page_routes());
  append(routes, metrics_routes(server->pool_, metrics, [server = server.get(), log] {
           return DoorFigures{.connections = server->http_->connections(),
                              .log_lines_lost = log ? log->lost() : 0};
         }));
  std::vector<DialectErrors> errors = {{"/v1/messages", anthropic_http_error, "AnthropicError"},
                                       {"/api/", ollama_http_error, "OllamaError"},
                                       {"", openai_http_error, "OpenAiError"}};
  append_openapi_route(routes, errors);
  HADAL_TRY(server->http_,
            HttpServer::open(std::move(http), Router(std::move(routes), std::move(errors)),
                             make_gate(std::move(hosts), keys)));
  return server;
}

Server::~Server() = default;

Status Server::run() {
  if (preload_) {
    pool_.preload([this](bool loaded) {
      if (!loaded) return http_->drain();
      if (!http_->draining()) on_ready_();
    });
  } else {
    on_ready_();
  }
  http_->run();
  const std::string error = pool_.load_error();
  pool_.stop_loading();  // what is told of a load speaks to the door, which must still be there
  if (!error.empty()) return fail("{}", error);
  if (const size_t cut = http_->answers_cut(); cut > 0) {
    return fail("{} {} not finished when the time to end was over (--drain), and cut off", cut,
                cut == 1 ? "answer was" : "answers were");
  }
  return {};
}

}  // namespace hadal
