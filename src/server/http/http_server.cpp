#include "server/http/http_server.h"

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <csignal>
#include <deque>
#include <new>
#include <optional>
#include <random>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "server/http/owed_handler.h"
#include "server/http/peer_socket.h"

namespace hadal {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kSweepInterval{250}, kAcceptPause{100}, kMemoryPause{10};

Result<asio::ip::address> parse_address(const std::string& host) {
  if (host == "localhost") return asio::ip::address_v4::loopback();
  std::string_view text = host;
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  error_code error;
  const auto address = asio::ip::make_address(std::string(text), error);
  if (error) return fail("{} is no numeric address; 127.0.0.1 is this machine alone", host);
  return address;
}

}  // namespace

class HttpServer::State final : public ConnectionHost {
 public:
  State(HttpServerOptions options, Router router, Gate gate)
      : options_(std::move(options)),
        router_(std::move(router)),
        gate_(std::move(gate)),
        body_budget_(std::make_shared<SharedBudget>(options_.limits.bodies_bytes_max)),
        acceptor_(io_),
        accept_pause_(io_),
        sweep_timer_(io_),
        signals_(io_),
        workers_(options_.workers) {}

  Status listen(const asio::ip::address& address) {
    error_code error;
    const tcp::endpoint endpoint(address, options_.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error == asio::error::address_in_use) {
      return fail(
          "port {} of {} is taken by another program; --port takes another one, 0 a free one",
          options_.port, options_.host);
    }
    if (error)
      return fail("cannot listen on {} port {}: {}", options_.host, options_.port, error.message());
    endpoint_ = acceptor_.local_endpoint();
    for (const int signal : options_.end_signals) signals_.add(signal, error);
    if (options_.reload_signal != 0) signals_.add(options_.reload_signal, error);
    return {};
  }

  void run() {
    while (!run_until_drained()) std::this_thread::sleep_for(kMemoryPause);
    workers_.join();
    // One more while the process ends should not become its exit status.
    error_code ignored;
    signals_.clear(ignored);
    for (const int signal : options_.end_signals) std::signal(signal, SIG_IGN);
  }

  // False: there was not enough memory for some step; OpenSSL says so by an exception of Asio's.
  // The sweep ends the connection that it was of when it is overdue; the others go on.
  bool run_until_drained() {
    try {
      accept();
      sweep();
      wait_for_signal();
      io_.run();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  void drain() {
    if (draining_.exchange(true)) return;
    drain_deadline_ = Connection::Clock::now() + std::chrono::seconds(options_.drain_seconds);
    close_all_that([](const Connection& connection) { return connection.idle(); });
    for (const auto& [key, connection] : connections_) owed_.insert(key);
    end_if_drained();
  }
  void post_drain() {
    asio::post(io_, [this] { drain(); });
  }

  const HttpLimits& limits() const override { return options_.limits; }
  const Router& router() const override { return router_; }
  const Gate& gate() const override { return gate_; }
  std::shared_ptr<SharedBudget> body_budget() override { return body_budget_; }
  const TlsContext& tls() const override { return options_.tls; }
  void use_tls(TlsContext tls) {
    if (options_.tls) options_.tls = std::move(tls);
  }
  const std::shared_ptr<RequestLog>& log() const override { return options_.log; }
  std::string next_request_id() override {
    return fmt::format("req_{:08x}{:08x}", request_ids_of_, ++request_ids_);
  }
  asio::io_context& io() override { return io_; }
  void run_on_worker(std::function<void()> work) override { asio::post(workers_, std::move(work)); }
  bool draining() const override { return draining_; }
  void forget(Connection& connection) override {
    connections_.erase(&connection);
    owed_.erase(&connection);
    count_ = connections_.size();
    end_if_drained();
  }

  const tcp::endpoint& endpoint() const { return endpoint_; }
  size_t connections() const { return count_; }
  size_t answers_cut() const { return answers_cut_; }

 private:
  // These three wait for their next turn, unless they do already: where memory lacks they may be
  // asked to again.
  template <typename Work>
  static auto owed(bool& waiting, Work work) {
    return OwedHandler(std::move(work), [&waiting] { waiting = false; });
  }

  void accept() {
    if (accepting_ || leaving_) return;
    accepting_ = true;
    acceptor_.async_accept(owed(accepting_, [this](error_code error, tcp::socket socket) {
      accepting_ = false;
      if (leaving_) return;
      if (error == asio::error::no_descriptors || error == asio::error::no_memory) return pause();
      if (!error) welcome(std::move(socket));
      accept();
    }));
  }

  // Out of descriptors: others will end.
  void pause() {
    accepting_ = true;
    accept_pause_.expires_after(kAcceptPause);
    accept_pause_.async_wait(owed(accepting_, [this](error_code) {
      accepting_ = false;
      accept();
    }));
  }

  void welcome(tcp::socket socket) {
    if (connections_.size() >= options_.limits.connections_max && !close_the_idlest()) return;
    prepare_accepted_socket(socket.native_handle(), options_.limits.send_buffer_bytes);
    const auto connection = make_connection(std::move(socket), *this);
    connections_.emplace(connection.get(), connection);
    count_ = connections_.size();
    if (options_.tls) make_room_for_handshake(connection);
    connection->start();
  }

  bool close_the_idlest() {
    std::shared_ptr<Connection> idlest;
    for (const auto& [key, connection] : connections_) {
      if (!connection->idle()) continue;
      if (!idlest || connection->idle_since() < idlest->idle_since()) idlest = connection;
    }
    if (idlest) idlest->close();
    return idlest != nullptr;
  }

  // Who shakes hands still when so many others came after him makes room.
  void make_room_for_handshake(const std::shared_ptr<Connection>& newest) {
    handshakes_.push_back(newest);
    if (handshakes_.size() <= options_.limits.handshakes_max) return;
    const auto oldest = handshakes_.front().lock();
    handshakes_.pop_front();
    if (oldest && !oldest->greeted()) oldest->close();
  }

  template <typename Condition>
  void close_all_that(const Condition& condition) {
    for (const auto& connection : all_connections()) {
      if (condition(*connection)) connection->close();
    }
  }
  // Which change while something is done to them.
  std::vector<std::shared_ptr<Connection>> all_connections() const {
    std::vector<std::shared_ptr<Connection>> all;
    all.reserve(connections_.size());
    for (const auto& [key, connection] : connections_) all.push_back(connection);
    return all;
  }

  // The drain's time is over: whoever still waits is told so, and gets a moment to hear it.
  void cut_answers(Connection::Clock::time_point now) {
    if (cut_deadline_) return;
    cut_deadline_ = now + std::chrono::seconds(options_.limits.linger_seconds);
    for (const auto& connection : all_connections()) {
      if (connection->cut()) ++answers_cut_;
    }
    close_all_that([](const Connection& connection) { return !connection.answering(); });
  }

  void sweep() {
    if (sweeping_ || ended_) return;
    sweeping_ = true;
    sweep_timer_.expires_after(kSweepInterval);
    sweep_timer_.async_wait(owed(sweeping_, [this](error_code error) {
      sweeping_ = false;
      if (error) return;
      const auto now = Connection::Clock::now();
      for (const auto& connection : all_connections()) connection->sweep(now);
      if (draining_) {
        if (now >= drain_deadline_) cut_answers(now);
        if (cut_deadline_ && now >= *cut_deadline_) close_all_that([](auto&) { return true; });
        end_if_drained();
      }
      sweep();
    }));
  }

  void wait_for_signal() {
    if (waiting_for_signal_ || ended_) return;
    waiting_for_signal_ = true;
    signals_.async_wait(owed(waiting_for_signal_, [this](error_code error, int signal) {
      waiting_for_signal_ = false;
      if (error) return;
      if (signal == options_.reload_signal) {
        options_.on_reload();
        return wait_for_signal();
      }
      if (cut_deadline_) return close_all_that([](auto&) { return true; });
      if (draining_) {
        cut_answers(Connection::Clock::now());
        end_if_drained();
      } else {
        options_.on_drain();
        drain();
      }
      wait_for_signal();
    }));
  }

  void end_if_drained() {
    if (!draining_ || !owed_.empty() || ended_) return;
    error_code ignored;
    if (!std::exchange(leaving_, true)) {
      acceptor_.close(ignored);
      close_all_that([](const Connection& connection) { return !connection.answering(); });
    }
    if (!connections_.empty() || ended_) return;
    ended_ = true;
    sweep_timer_.cancel();
    accept_pause_.cancel();
    signals_.cancel(ignored);
  }

  HttpServerOptions options_;
  const Router router_;
  const Gate gate_;
  std::shared_ptr<SharedBudget> body_budget_;
  bool accepting_ = false, sweeping_ = false, waiting_for_signal_ = false;
  bool leaving_ = false, ended_ = false;  // no more is listened; all is over
  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  tcp::endpoint endpoint_;
  asio::steady_timer accept_pause_, sweep_timer_;
  asio::signal_set signals_;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  std::atomic<size_t> count_ = 0;
  const uint32_t request_ids_of_ = std::random_device{}();  // this server and no earlier one
  uint64_t request_ids_ = 0;
  std::deque<std::weak_ptr<Connection>> handshakes_;  // begun, the oldest first
  std::atomic<bool> draining_ = false;
  std::unordered_set<Connection*> owed_;  // who was not idle when the drain began
  Connection::Clock::time_point drain_deadline_;
  std::optional<Connection::Clock::time_point> cut_deadline_;  // for their last words, if so
  std::atomic<size_t> answers_cut_ = 0;
  asio::thread_pool workers_;
};

Result<bool> is_loopback(const std::string& host) {
  HADAL_TRY(const asio::ip::address address, parse_address(host));
  return address.is_loopback();
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::open(HttpServerOptions options, Router router,
                                                     Gate gate) {
  HADAL_TRY(const asio::ip::address address, parse_address(options.host));
  auto state = std::make_unique<State>(std::move(options), std::move(router), std::move(gate));
  HADAL_TRY_VOID(state->listen(address));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

std::string HttpServer::address() const {
  const std::string host = address_host();
  return fmt::format("{}://{}:{}", state_->tls() ? "https" : "http",
                     host.find(':') != host.npos ? "[" + host + "]" : host, port());
}

std::string HttpServer::address_host() const {
  const auto address = state_->endpoint().address();
  if (!address.is_unspecified()) return address.to_string();
  return address.is_v6() ? "::1" : "127.0.0.1";
}

bool HttpServer::at_all_addresses() const {
  return state_->endpoint().address().is_unspecified();
}

uint16_t HttpServer::port() const {
  return state_->endpoint().port();
}
const Router& HttpServer::router() const {
  return state_->router();
}
void HttpServer::run() {
  state_->run();
}
void HttpServer::drain() {
  state_->post_drain();
}
void HttpServer::use_tls(TlsContext tls) {
  state_->use_tls(std::move(tls));
}
bool HttpServer::draining() const {
  return state_->draining();
}
size_t HttpServer::answers_cut() const {
  return state_->answers_cut();
}
size_t HttpServer::connections() const {
  return state_->connections();
}

}  // namespace hadal
