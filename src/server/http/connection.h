// One client's connection: reads requests one after another, within limits; hands each to its
// route; writes what the outbox holds; notices at once when the client leaves. Everything runs on
// the I/O thread, but for handlers that want a worker.
//
// A client may end its half of the connection behind its request and still read the answer. Those
// who are gone look the same until something is sent to them: so something is (Outbox::probe), at
// once and then from time to time, and where nobody is left to read it, the system says so and the
// answer is cancelled.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/http/request_record.h"
#include "server/http/router.h"
#include "server/http/tls.h"
#include "server/limits.h"

namespace hadal {

// Judges a request by its head, before its body is read; may fill in request.caller and
// request.reply_headers. route: null where the path has none. A "refusal" below 300 is an answer
// without a body: nothing more was asked for.
struct GateRefusal {
  unsigned status;
  std::string message;
  WebHeaders headers;
};
using Gate = std::function<std::optional<GateRefusal>(WebRequest& head, const Route* route)>;

// Bytes that all connections together hold.
class SharedBudget {
 public:
  explicit SharedBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  bool take(uint64_t bytes);  // false: there is no room
  void give_back(uint64_t bytes) { bytes_ -= bytes; }

 private:
  const uint64_t bytes_max_;
  std::atomic<uint64_t> bytes_ = 0;
};

class Connection;

// What a connection needs of its server; outlives it.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual const HttpLimits& limits() const = 0;
  virtual const Router& router() const = 0;
  virtual const Gate& gate() const = 0;
  virtual std::shared_ptr<SharedBudget> body_budget() = 0;
  virtual const TlsContext& tls() const = 0;                   // for new connections
  virtual const std::shared_ptr<RequestLog>& log() const = 0;  // null: none
  virtual std::string next_request_id() = 0;
  virtual boost::asio::io_context& io() = 0;
  virtual void run_on_worker(std::function<void()> work) = 0;
  virtual bool draining() const = 0;
  virtual void forget(Connection& connection) = 0;
};

class Connection {
 public:
  using Clock = std::chrono::steady_clock;
  virtual ~Connection() = default;
  virtual void start() = 0;
  virtual void sweep(Clock::time_point now) = 0;  // acts on what is overdue
  virtual bool idle() const = 0;                  // between requests, or not yet greeted
  virtual bool greeted() const = 0;               // its handshake is done, if it needs one
  virtual Clock::time_point idle_since() const = 0;
  virtual bool answering() const = 0;  // an answer is owed, or on its way out
  // Ends the answer under way, if there is one, with its error. False: there is none, or it is
  // whole.
  virtual bool cut() = 0;
  virtual void close() = 0;  // at once; what was asked for is cancelled
};

// Over TLS where the host has a context for it.
std::shared_ptr<Connection> make_connection(boost::asio::ip::tcp::socket socket,
                                            ConnectionHost& host);

}  // namespace hadal
