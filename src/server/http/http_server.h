// The server's door: listens, keeps the connections, ends them when the process is asked to. One
// I/O thread (the one that calls run()) for thousands of connections; a few workers for handlers
// that take longer. Memory: a few KiB for an idle connection; request bodies within
// HttpLimits::bodies_bytes_max together; unread_bytes_max for each stream whose reader lags.
//
// Drain: idle connections close, answers under way are finished, for at most drain_seconds; then
// what is left is cut off, with an error as its last word. Until the last of them is done new
// connections are taken: routes that are answered while_ending are, everything else is refused
// (503), so that whoever balances can see it. Then the listener closes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/http/connection.h"
#include "server/http/router.h"
#include "server/http/tls.h"
#include "server/limits.h"

namespace hadal {

struct HttpServerOptions {
  std::string host = "127.0.0.1";  // a numeric address, or "localhost"
  uint16_t port = 8080;            // 0: a free one
  uint32_t workers = 2;
  uint32_t drain_seconds = 30;
  // The first drains, the second cuts off what is left, the third waits for nobody. When run() has
  // returned they are ignored.
  std::vector<int> end_signals;
  std::function<void()> on_drain = [] {};   // when a signal begins a drain; on the I/O thread
  TlsContext tls;                           // null: plain HTTP
  int reload_signal = 0;                    // calls on_reload; 0: none does
  std::function<void()> on_reload = [] {};  // on the I/O thread
  std::shared_ptr<RequestLog> log;          // is told of every request; null: none
  HttpLimits limits;
};

// Whether only this machine can reach the address; an error where it is none.
Result<bool> is_loopback(const std::string& host);

class HttpServer {
 public:
  // Errors: an address that is none or not this machine's, a port that is taken.
  static Result<std::unique_ptr<HttpServer>> open(HttpServerOptions options, Router router,
                                                  Gate gate);
  ~HttpServer();  // not while run() runs

  // "http://127.0.0.1:8080", or https. As this machine reaches it: where it listens at all
  // addresses, by the loopback one.
  std::string address() const;
  std::string address_host() const;  // of it: "127.0.0.1", "::1"
  bool at_all_addresses() const;     // 0.0.0.0, ::
  uint16_t port() const;
  const Router& router() const;
  // Serves until drained. Clients can connect (and wait) from open() on.
  void run();
  void drain();  // any thread
  // For connections from now on; a server that began without TLS stays so. From on_reload().
  void use_tls(TlsContext tls);
  bool draining() const;
  size_t answers_cut() const;  // by the end of the drain, or the second signal
  size_t connections() const;  // any thread

 private:
  class State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hadal
