// The table of routes: method and path -> handler. Immutable once made; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/http/exchange.h"
#include "server/http/message.h"

namespace hadal {

enum class Access : uint8_t {
  kOpen,  // whoever reaches the port
  kKey,   // once there are keys, only who has one
};
enum class RunsOn : uint8_t {
  kIoThread,  // answers within microseconds
  kWorker,    // may parse, render, tokenize
};
using Handler = std::function<void(const WebRequest&, std::shared_ptr<Exchange>)>;
// An error's body as the clients of a dialect expect it: JSON.
using ErrorBody = std::string (*)(unsigned status, std::string_view message);

struct Route {
  std::string method;
  std::string path;  // "/v1/models"; "/v1/models/*" has at least one character more
  Access access = Access::kKey;
  RunsOn runs_on = RunsOn::kWorker;
  Handler handler;
};

class Router {
 public:
  // errors: by the path's beginning, the first that fits; the last should be "".
  Router(std::vector<Route> routes, std::vector<std::pair<std::string, ErrorBody>> errors);

  // A route whose GET also answers HEAD. Else what to reply: 404, or 405 with the methods.
  // request.rest is filled in.
  std::variant<const Route*, WebReply> find(WebRequest& request) const;

  const std::vector<Route>& routes() const { return routes_; }
  WebReply error(std::string_view path, unsigned status, std::string_view message) const;

 private:
  std::vector<Route> routes_;
  std::vector<std::pair<std::string, ErrorBody>> errors_;
};

}  // namespace hadal
