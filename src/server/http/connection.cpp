#include "server/http/connection.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <new>

#include "server/http/owed_handler.h"
#include "server/http/peer_socket.h"
#include "server/http/reader_patience.h"

namespace hadal {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

// A body as long as what has come of it, whatever length was announced.
struct GrowingBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool Request, typename Fields>
    reader(http::header<Request, Fields>&, std::string& body) : body_(body) {}
    void init(const boost::optional<uint64_t>&, error_code& error) { error = {}; }
    template <typename Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      const size_t before = body_.size(), more = asio::buffer_size(buffers);
      body_.resize(before + more);
      return asio::buffer_copy(asio::buffer(&body_[before], more), buffers);
    }
    void finish(error_code& error) { error = {}; }

   private:
    std::string& body_;
  };
};

// A body's share of what all bodies together may hold.
class BodyCharge {
 public:
  explicit BodyCharge(std::shared_ptr<SharedBudget> budget) : budget_(std::move(budget)) {}
  ~BodyCharge() { budget_->give_back(bytes_); }
  BodyCharge(const BodyCharge&) = delete;
  BodyCharge& operator=(const BodyCharge&) = delete;
  bool grow_to(uint64_t bytes) {
    if (bytes <= bytes_) return true;
    if (!budget_->take(bytes - bytes_)) return false;
    bytes_ = bytes;
    return true;
  }

 private:
  std::shared_ptr<SharedBudget> budget_;
  uint64_t bytes_ = 0;
};

// What goes wrong in a handler stays in its request.
void call(const Handler& handler, const WebRequest& request, std::shared_ptr<Exchange> exchange) {
  try {
    handler(request, std::move(exchange));
  } catch (const std::exception&) {
    // The exchange was dropped on the way here, and has answered.
  }
}

using PlainStream = asio::ip::tcp::socket;
using TlsStream = asio::ssl::stream<asio::ip::tcp::socket>;

// What the two kinds of stream do differently: how they begin,
template <typename Then>
void greet(PlainStream&, Then then) {
  then(error_code());
}
template <typename Then>
void greet(TlsStream& stream, Then then) {
  stream.async_handshake(asio::ssl::stream_base::server, std::move(then));
}
// and how they say that nothing more will come. `self` lives until that is said.
void say_goodbye(PlainStream& stream, std::shared_ptr<Connection>) {
  error_code ignored;
  stream.shutdown(asio::socket_base::shutdown_send, ignored);
}
void say_goodbye(TlsStream& stream, std::shared_ptr<Connection> self) {
  stream.async_shutdown([self = std::move(self)](error_code) {});
}

bool is_plain_http(const error_code& error) {
  return error.category() == asio::error::get_ssl_category() &&
         ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
}

// To who speaks HTTP where TLS is spoken: in his words, though nobody listens for his request.
void say_that_it_is_tls(asio::ip::tcp::socket& socket) {
  static constexpr std::string_view kReply =
      "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 43\r\n"
      "Connection: close\r\n\r\nthis port speaks TLS: ask with https://...\n";
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.send(asio::buffer(kReply), 0, ignored);
  socket.shutdown(asio::socket_base::shutdown_send, ignored);
}

// Stream: PlainStream or TlsStream.
template <typename Stream>
class StreamConnection final : public Connection,
                               public std::enable_shared_from_this<StreamConnection<Stream>> {
 public:
  StreamConnection(Stream stream, ConnectionHost& host)
      : stream_(std::move(stream)),
        host_(host),
        buffer_(host.limits().header_bytes_max + host.limits().pipelined_bytes_max),
        patience_(host.limits()) {}

  void start() override {
    guarded([&] {
      enter(State::kGreeting, host_.limits().handshake_seconds);
      greet(stream_, owed([](auto& self, error_code error) { self.on_greeted(error); }));
    });
  }

  void sweep(Clock::time_point now) override {
    guarded([&] { sweep_within_memory(now); });
  }

  bool idle() const override { return state_ == State::kIdle || state_ == State::kGreeting; }
  bool greeted() const override { return state_ != State::kGreeting; }
  Clock::time_point idle_since() const override { return since_; }
  bool answering() const override {
    return state_ == State::kAnswering || state_ == State::kLingering;
  }

  bool cut() override {
    if (state_ != State::kAnswering) return false;
    bool was_cut = false;
    guarded([&] {
      const std::string& path = route_ != nullptr ? route_->path : request_.path;
      WebReply reply =
          host_.router().error(path, 503, "the server is ending, before this was answered");
      reply.headers = {ending_retry()};
      was_cut = outbox_->cut(reply);
      flush();
    });
    return was_cut;
  }

  void close() override {
    if (state_ == State::kClosed) return;
    const auto self = this->shared_from_this();
    state_ = State::kClosed;
    error_code ignored;
    socket().close(ignored);
    finish_record(Taken::kPart);
    const auto outbox = std::move(outbox_);
    charge_.reset();
    place_.reset();
    host_.forget(*this);
    if (outbox) outbox->leave();
  }

 private:
  enum class State : uint8_t { kGreeting, kIdle, kHead, kBody, kAnswering, kLingering, kClosed };
  static constexpr size_t kReadBytes = 1024, kReadBodyBytes = 64 << 10;
  static constexpr std::chrono::milliseconds kProbePauseMin{250}, kProbePauseMax{16'000};
  static constexpr unsigned kClientLeft = 499;  // in the log, as nginx has it: before any answer

  asio::ip::tcp::socket& socket() {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  // Where memory runs out, this connection ends and not the server.
  template <typename Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (const std::exception&) {
      close();
    }
  }

  // The handler of an operation under way: work(*this, what came of it).
  template <typename Work>
  auto owed(Work work) {
    const auto self = this->shared_from_this();
    return OwedHandler(
        [self, work](auto&&... outcome) { self->guarded([&] { work(*self, outcome...); }); },
        [self] { self->lost_ = true; });
  }

  void sweep_within_memory(Clock::time_point now) {
    if (lost_) return close();
    if (outbox_) outbox_->beat(now, std::chrono::seconds(host_.limits().heartbeat_seconds));
    flush();  // what nobody could be told of for lack of memory
    if (state_ == State::kAnswering) {
      probe(now);
      const uint64_t taken = writing_ ? bytes_taken_by_peer(socket().native_handle()) : 0;
      if (!patience_.holds(now, writing_, taken)) close();
      return;
    }
    if (now < deadline_) return;
    switch (state_) {
      case State::kHead:
        return refuse(408, "the request's headers took too long");
      case State::kBody:
        return refuse(408, "the request's body took too long");
      default:
        close();
    }
  }

  void enter(State state, uint32_t seconds) {
    state_ = state;
    since_ = Clock::now();
    deadline_ = since_ + std::chrono::seconds(seconds);
  }

  void on_greeted(error_code error) {
    if (state_ == State::kClosed) return;
    if (is_plain_http(error)) {
      say_that_it_is_tls(socket());
      return enter(State::kLingering, host_.limits().linger_seconds);
    }
    if (error) return close();
    become_idle();
    read();
  }

  void become_idle() {
    enter(State::kIdle, host_.limits().idle_seconds);
    parser_.reset();
    request_ = {};
    charge_.reset();
    place_.reset();
    route_ = nullptr;
    if (!reading_) incoming_ = {};
    if (buffer_.size() == 0) buffer_.shrink_to_fit();
  }

  // There is always one read under way: it brings requests, and the news that the client left.
  // Where there is nothing more to read, or enough was read ahead, only that news is waited for.
  void read() {
    if (reading_ || state_ == State::kClosed) return;
    const bool enough =
        state_ == State::kAnswering && buffer_.size() >= host_.limits().pipelined_bytes_max;
    if (all_read_ || enough) return watch();
    const size_t room = buffer_.max_size() - buffer_.size();
    if (room == 0) return;
    reading_ = true;
    incoming_.resize(std::min(state_ == State::kBody ? kReadBodyBytes : kReadBytes, room));
    stream_.async_read_some(asio::buffer(incoming_),
                            owed([](auto& self, error_code error, size_t bytes) {
                              self.reading_ = false;
                              self.on_read(error, bytes);
                            }));
  }

  void on_read(error_code error, size_t bytes) {
    if (state_ == State::kClosed) return;
    if (error == asio::error::eof && state_ == State::kAnswering) {
      all_read_ = true;
      probe(Clock::now());
      return read();
    }
    if (error) return close();
    buffer_.commit(asio::buffer_copy(buffer_.prepare(bytes), asio::buffer(incoming_), bytes));
    if (state_ == State::kLingering) buffer_.consume(buffer_.size());
    if (state_ == State::kIdle) begin_head();
    if (state_ == State::kHead || state_ == State::kBody) parse();
    read();
  }

  // Who sends no more may be gone. What is sent once finds that out where all is closed already,
  // and again from time to time where that comes later. An end may also wait behind requests that
  // are not read yet.
  void probe(Clock::time_point now) {
    if (!all_read_ && !(watching_ && peer_sends_no_more(socket().native_handle()))) return;
    if (now < next_probe_) return;
    next_probe_ = now + probe_pause_;
    probe_pause_ = std::min(2 * probe_pause_, kProbePauseMax);
    outbox_->probe();
  }

  void begin_head() {
    enter(State::kHead, host_.limits().header_seconds);
    begun_ = since_;
  }

  void watch() {
    if (watching_) return;
    watching_ = true;
    socket().async_wait(asio::socket_base::wait_error, owed([](auto& self, error_code) {
                          self.watching_ = false;
                          self.close();
                        }));
  }

  void parse() {
    if (!parser_) {
      parser_.emplace();
      parser_->header_limit(static_cast<uint32_t>(host_.limits().header_bytes_max));
      parser_->body_limit(host_.limits().body_bytes_max);
    }
    while (buffer_.size() > 0 && !parser_->is_done()) {
      error_code error;
      const size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      if (error == http::error::need_more) {
        // All that may be kept, and still no end: of a chunk's own line, as heads have their limit.
        if (buffer_.size() == buffer_.max_size()) return refuse_bytes(error);
        break;
      }
      if (error) return refuse_bytes(error);
      if (state_ == State::kHead && parser_->is_header_done() && !take_head()) return;
    }
    if (state_ != State::kBody) return;
    if (!charge_->grow_to(parser_->get().body().size())) return refuse_for_room();
    if (parser_->is_done()) dispatch();
  }

  // Of the request that is being read; also of one that is none.
  void begin_record() {
    request_id_ = host_.next_request_id();
    if (!host_.log()) return;
    record_ = std::make_shared<RequestRecord>(host_.log());
    record_->id = request_id_;
    error_code ignored;
    record_->client = socket().remote_endpoint(ignored).address().to_string();
    record_->key = request_.caller.name;
    record_->method = request_.method;
    record_->path = route_ != nullptr ? route_->path : request_.path;
  }
  enum class Taken : uint8_t { kAll, kPart };
  void finish_record(Taken taken) {
    if (!record_) return;
    const unsigned status = outbox_ ? outbox_->status() : 0;
    record_->status = status != 0 ? status : kClientLeft;
    record_->complete = taken == Taken::kAll;
    record_->seconds = std::chrono::duration<double>(Clock::now() - begun_).count();
    record_.reset();
  }

  // False: the request was refused.
  bool take_head() {
    enter(State::kBody, host_.limits().body_seconds);
    const auto& head = parser_->get();
    const std::string_view target(head.target().data(), head.target().size());
    const size_t mark = target.find('?');
    request_.method = std::string(head.method_string());
    for (const auto& field : head) {
      request_.headers.emplace_back(
          lower_ascii({field.name_string().data(), field.name_string().size()}),
          std::string(field.value()));
    }
    if (mark != target.npos) request_.query = target.substr(mark + 1);
    if (!target.starts_with('/') || !percent_decoded(target.substr(0, mark), request_.path)) {
      return refuse(400, "the request's address is not a path"), false;
    }
    // RFC 9112, 3.2; and who judges by one of two must not be given the other.
    const size_t hosts = request_.count("host");
    if (hosts > 1 || (hosts == 0 && head.version() >= 11)) {
      return refuse(400, "a request has one Host header"), false;
    }
    if (request_.count("origin") > 1) {
      return refuse(400, "a request has at most one Origin header"), false;
    }
    const auto found = host_.router().find(request_);
    const Route* const* route = std::get_if<const Route*>(&found);
    if (const auto refusal = host_.gate()(request_, route != nullptr ? *route : nullptr)) {
      return refuse(refusal->status, refusal->message, refusal->headers), false;
    }
    if (host_.draining() && (route == nullptr || !(*route)->while_ending)) {
      return refuse(503, "the server is ending and takes no more requests", {ending_retry()}),
             false;
    }
    if (route == nullptr) return refuse(std::get<WebReply>(found)), false;
    if (body_is_coded(request_)) {  // RFC 9110, 15.5.16
      return refuse(415, "this server reads bodies as they are: no Content-Encoding but identity",
                    {{"Accept-Encoding", "identity"}}),
             false;
    }
    route_ = *route;
    charge_ = std::make_shared<BodyCharge>(host_.body_budget());
    parser_->eager(true);
    if (!parser_->is_done() && lower_ascii(request_.header("expect")) == "100-continue") {
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      asio::async_write(stream_, asio::buffer(kContinue),
                        [self = this->shared_from_this()](error_code, size_t) {});
    }
    return true;
  }

  void dispatch() {
    request_.body = std::move(parser_->get().body());
    request_.charge = charge_;
    auto exchange = std::make_shared<Exchange>(
        open_outbox(), host_.router().error(request_.path, 500, "the request could not be done"));
    place_ = std::move(request_.caller.place);
    request_.record = record_;
    auto request = std::make_shared<const WebRequest>(std::move(request_));
    charge_.reset();
    if (route_->runs_on == RunsOn::kIoThread) {
      call(route_->handler, *request, std::move(exchange));
    } else {
      host_.run_on_worker(
          [route = route_, request = std::move(request), exchange = std::move(exchange)]() mutable {
            call(route->handler, *request, std::move(exchange));
          });
    }
    flush();
  }

  std::shared_ptr<Outbox> open_outbox() {
    enter(State::kAnswering, 0);
    next_probe_ = {};
    probe_pause_ = kProbePauseMin;
    begin_record();
    Outbox::Options options{.unread_bytes_max = host_.limits().unread_bytes_max,
                            .headers = request_.reply_headers};
    options.headers.emplace_back("X-Request-Id", request_id_);
    if (parser_ && parser_->is_header_done()) {
      options.http_1_0 = parser_->get().version() < 11;
      options.keep_alive = parser_->is_done() && parser_->keep_alive() && !host_.draining();
      options.without_body = parser_->get().method() == http::verb::head;
    } else {
      options.keep_alive = false;
    }
    outbox_ = std::make_shared<Outbox>(options, [&io = host_.io(), weak = this->weak_from_this()] {
      asio::post(io, [weak] {
        if (const auto self = weak.lock()) self->guarded([&] { self->flush(); });
      });
    });
    return outbox_;
  }

  void refuse(unsigned status, std::string_view message, WebHeaders headers = {}) {
    WebReply reply{.status = status};
    if (status >= 300) reply = host_.router().error(request_.path, status, message);
    reply.headers = std::move(headers);
    refuse(reply);
  }
  void refuse(const WebReply& reply) {
    open_outbox()->reply(reply);
    flush();
  }
  std::pair<std::string, std::string> ending_retry() const {
    return {"Retry-After", std::to_string(host_.limits().ending_retry_seconds)};
  }
  void refuse_for_room() {
    refuse(503, "the server has no room for this body now; try again", {{"Retry-After", "1"}});
  }
  void refuse_bytes(error_code error) {
    if (error == http::error::body_limit) {
      return refuse(413, "the request's body is longer than this server takes");
    }
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return refuse(431, "the request's headers are longer than this server takes");
    }
    refuse(400, "this is no HTTP request");
  }

  void flush() {
    if (!outbox_ || state_ != State::kAnswering) return;
    if (outbox_->broken()) return close();  // even while the reader takes a byte now and then
    if (writing_) return;
    out_.clear();
    sent_ = 0;
    if (outbox_->take(out_)) return write_some();
    if (outbox_->done()) finish_answer();
  }

  void write_some() {
    writing_ = true;
    stream_.async_write_some(asio::buffer(out_.data() + sent_, out_.size() - sent_),
                             owed([](auto& self, error_code error, size_t bytes) {
                               self.writing_ = false;
                               self.on_written(error, bytes);
                             }));
  }

  void on_written(error_code error, size_t bytes) {
    if (state_ == State::kClosed) return;
    if (error) return close();
    sent_ += bytes;
    outbox_->written(bytes);
    if (sent_ < out_.size()) return write_some();
    if (out_.capacity() > kReadBodyBytes) out_ = {};
    flush();
  }

  void finish_answer() {
    const bool keep = outbox_->keep_alive() && !host_.draining();
    finish_record(Taken::kAll);
    outbox_->leave();
    outbox_.reset();
    place_.reset();
    if (!keep && all_read_) return close();
    if (!keep) {
      // Closing now would lose the answer if the client is still sending.
      enter(State::kLingering, host_.limits().linger_seconds);
      buffer_.consume(buffer_.size());
      say_goodbye(stream_, this->shared_from_this());
      return read();
    }
    become_idle();
    if (buffer_.size() > 0) {  // the next request came early
      begin_head();
      parse();
    }
    if (all_read_ && state_ != State::kAnswering) return close();
    read();
  }

  Stream stream_;
  ConnectionHost& host_;
  std::string incoming_;       // where the read under way puts its bytes
  beast::flat_buffer buffer_;  // read and not yet parsed
  std::optional<http::request_parser<GrowingBody>> parser_;
  State state_ = State::kGreeting;
  Clock::time_point since_, deadline_;
  Clock::time_point next_probe_;
  std::chrono::milliseconds probe_pause_ = kProbePauseMin;
  WebRequest request_;
  const Route* route_ = nullptr;
  std::shared_ptr<BodyCharge> charge_;
  std::shared_ptr<void> place_;  // among what its key may have under way
  std::shared_ptr<Outbox> outbox_;
  std::shared_ptr<RequestRecord> record_;  // from its dispatch, or refusal, to its end
  std::string request_id_;
  Clock::time_point begun_;  // its head
  std::string out_;          // what is being written
  size_t sent_ = 0;          // of it
  ReaderPatience patience_;
  bool reading_ = false, writing_ = false, watching_ = false;
  bool all_read_ = false;  // the client has ended its half
  bool lost_ = false;      // an operation under way, for lack of memory: the next sweep closes
};

}  // namespace

bool SharedBudget::take(uint64_t bytes) {
  uint64_t before = bytes_;
  do {
    if (bytes > bytes_max_ - std::min(before, bytes_max_)) return false;
  } while (!bytes_.compare_exchange_weak(before, before + bytes));
  return true;
}

std::shared_ptr<Connection> make_connection(asio::ip::tcp::socket socket, ConnectionHost& host) {
  if (!host.tls()) {
    return std::make_shared<StreamConnection<PlainStream>>(std::move(socket), host);
  }
  return std::make_shared<StreamConnection<TlsStream>>(TlsStream(std::move(socket), *host.tls()),
                                                       host);
}

}  // namespace hadal
