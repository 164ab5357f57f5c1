// hadal's server put together: models, dialects, the gate, the door. What `hadal serve` starts.
//
// Threads: one for I/O, a few workers (JSON, templates, tokens), one that loads models, and an
// engine thread for each loaded model, beside the device's own.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "server/access/host_rules.h"
#include "server/access/key_ring.h"
#include "server/http/http_server.h"
#include "server/metrics/access_log.h"
#include "server/models/model_pool.h"

namespace hadal {

struct ServerOptions {
  HttpServerOptions http;
  HostRules hosts;
  std::filesystem::path keys;      // keys.json; "": there never are any
  KeyRing::Tell on_keys;           // what is wrong with that file while the server runs
  bool open_to_all = false;        // whoever reaches the address may ask, if there are no keys
  std::shared_ptr<AccessLog> log;  // of requests; null: none
  ModelPoolOptions models;
  bool preload = false;  // the default model, before the first request
  // Once requests can be answered: from run(), or on the thread that loads models.
  std::function<void()> on_ready = [] {};
};

class Server {
 public:
  // Errors: the address; one that others can reach, while nothing says who may ask.
  static Result<std::unique_ptr<Server>> open(ServerOptions options);
  ~Server();

  HttpServer& http() { return *http_; }
  const HttpServer& http() const { return *http_; }
  ModelPool& models() { return pool_; }
  // Until it is ended (HttpServerOptions::end_signals) and drained. Errors: the model that
  // was to be preloaded cannot be; answers were cut off (how many).
  Status run();
  bool keys_needed() { return keys_->needed(); }
  void drain() { http_->drain(); }

 private:
  explicit Server(ServerOptions options);

  const bool preload_;
  const std::function<void()> on_ready_;
  std::shared_ptr<KeyRing> keys_;
  ModelPool pool_;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace hadal
