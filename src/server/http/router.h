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

// What /openapi.json (openapi/document.h) says of a route beside its method, path and access. Forms
// are names of its schemas.
struct RouteAbout {
  std::string group;    // whose clients ask here: "OpenAI"
  std::string summary;  // a few words
  std::string rest;     // what the path's '*' stands for: "model"
  std::string body;     // the form of the request's body; "": it has none
  std::string reply;    // the form of a whole answer; "": it is text
  std::string reply_type = "application/json";
  std::string stream_type;  // of an answer that the body's `stream` asks for; "": there is none
  std::string event;        // the form of one piece of that: an event's data, or a line
};

struct Route {
  std::string method;
  std::string path;  // "/v1/models"; "/v1/models/*" has at least one character more
  Access access = Access::kKey;
  RunsOn runs_on = RunsOn::kWorker;
  Handler handler;
  RouteAbout about = {};
  bool while_ending = false;  // answered to the last; other requests are refused then (503)
};

// The errors of a dialect, for the paths that begin so.
struct DialectErrors {
  std::string beginning;
  ErrorBody body;
  std::string form = {};  // its schema in /openapi.json
};

class Router {
 public:
  // errors: the first whose beginning fits; the last should be of "".
  Router(std::vector<Route> routes, std::vector<DialectErrors> errors);

  // A route whose GET also answers HEAD. Else what to reply: 404, or 405 with the methods.
  // request.rest is filled in.
  std::variant<const Route*, WebReply> find(WebRequest& request) const;

  const std::vector<Route>& routes() const { return routes_; }
  WebReply error(std::string_view path, unsigned status, std::string_view message) const;

 private:
  std::vector<Route> routes_;
  std::vector<DialectErrors> errors_;
};

}  // namespace hadal
