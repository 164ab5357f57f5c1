#include "server/server.h"

#include <iterator>

#include "server/access/gate.h"
#include "server/dialects/anthropic.h"
#include "server/dialects/anthropic_errors.h"
#include "server/dialects/ollama.h"
#include "server/dialects/ollama_reply.h"
#include "server/dialects/openai.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/tokens.h"
#include "server/health.h"
#include "server/live_status.h"
#include "server/page/page_routes.h"

namespace hadal {

namespace {

void append(std::vector<Route>& routes, std::vector<Route> more) {
  routes.insert(routes.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
}

}  // namespace

Server::Server(ServerOptions options)
    : preload_(options.preload), pool_(std::move(options.models)) {}

Result<std::unique_ptr<Server>> Server::open(ServerOptions options) {
  HADAL_TRY(const bool loopback, is_loopback(options.http.host));
  if (!loopback) {
    return fail(
        "{} can be reached from other machines, and this server has no keys yet that say who may "
        "ask. Give --host 127.0.0.1 (the default)",
        options.http.host);
  }
  HttpServerOptions http = std::move(options.http);
  HostRules hosts = std::move(options.hosts);
  std::unique_ptr<Server> server(new Server(std::move(options)));
  std::vector<Route> routes = openai_routes(server->pool_);
  append(routes, anthropic_routes(server->pool_));
  append(routes, ollama_routes(server->pool_));
  append(routes, token_routes(server->pool_));
  append(routes, health_routes(server->pool_,
                               [server = server.get()] { return server->http_->draining(); }));
  append(routes, live_status_routes(server->pool_));
  append(routes, page_routes());
  HADAL_TRY(server->http_,
            HttpServer::open(std::move(http),
                             Router(std::move(routes), {{"/v1/messages", anthropic_http_error},
                                                        {"/api/", ollama_http_error},
                                                        {"", openai_http_error}}),
                             make_gate(std::move(hosts))));
  return server;
}

Server::~Server() = default;

Status Server::run() {
  if (preload_) pool_.preload([this] { http_->drain(); });
  http_->run();
  const std::string error = pool_.load_error();
  if (!error.empty()) return fail("{}", error);
  return {};
}

}  // namespace hadal
