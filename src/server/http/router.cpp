#include "server/http/router.h"

#include <fmt/format.h>

namespace hadal {
namespace {

// True: the path is this route's; rest: what its '*' stands for.
bool fits(const Route& route, std::string_view path, std::string& rest) {
  if (!route.path.ends_with('*')) return route.path == path;
  const std::string_view beginning(route.path.data(), route.path.size() - 1);
  if (!path.starts_with(beginning) || path.size() == beginning.size()) return false;
  rest = path.substr(beginning.size());
  return true;
}

}  // namespace

Router::Router(std::vector<Route> routes, std::vector<DialectErrors> errors)
    : routes_(std::move(routes)), errors_(std::move(errors)) {}

std::variant<const Route*, WebReply> Router::find(WebRequest& request) const {
  std::string allowed;
  for (const Route& route : routes_) {
    if (!fits(route, request.path, request.rest)) continue;
    if (route.method == request.method) return &route;
    if (route.method == "GET" && request.method == "HEAD") return &route;
    if (!allowed.empty()) allowed += ", ";
    allowed += route.method;
  }
  if (allowed.empty()) return error(request.path, 404, "there is no such address");
  WebReply reply = error(request.path, 405, fmt::format("this address takes {} only", allowed));
  reply.headers.emplace_back("Allow", allowed);
  return reply;
}

WebReply Router::error(std::string_view path, unsigned status, std::string_view message) const {
  WebReply reply{.status = status};
  for (const DialectErrors& errors : errors_) {
    if (!path.starts_with(errors.beginning)) continue;
    reply.body = errors.body(status, message);
    break;
  }
  return reply;
}

}  // namespace hadal
