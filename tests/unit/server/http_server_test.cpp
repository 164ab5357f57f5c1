// The door with real sockets: what one connection is told, request after request.
#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace hadal {
namespace {

std::string no_error(unsigned, std::string_view) {
  return "{}";
}

constexpr HttpLimits kLimits{.write_seconds = 1};

// Answers each request with its path and the length of its body; /later when the test says so,
// /flood with more than any buffer holds.
class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() {
    const Handler handler = [](const WebRequest& request,
                               const std::shared_ptr<Exchange>& exchange) {
      exchange->reply(
          {.body = "[" + request.path + " " + std::to_string(request.body.size()) + "]"});
    };
    const Handler keep = [this](const WebRequest&, const std::shared_ptr<Exchange>& exchange) {
      exchange->on_gone([this] { gone_ = true; });
      kept_ = exchange;
      arrived_ = true;
    };
    const Handler flood = [](const WebRequest&, const std::shared_ptr<Exchange>& exchange) {
      exchange->reply({.body = std::string(16 << 20, 'f')});
    };
    std::vector<Route> routes = {{"GET", "/later", Access::kOpen, RunsOn::kIoThread, keep},
                                 {"GET", "/flood", Access::kOpen, RunsOn::kIoThread, flood},
                                 {"GET", "/here/*", Access::kOpen, RunsOn::kIoThread, handler},
                                 {"POST", "/there/*", Access::kOpen, RunsOn::kWorker, handler}};
    auto opened = HttpServer::open(
        {.port = 0, .limits = kLimits}, Router(std::move(routes), {{"", no_error}}),
        [](WebRequest&, const Route*) { return std::optional<GateRefusal>(); });
    server_ = std::move(opened.value());
    thread_ = std::thread([this] { server_->run(); });
    socket_ = socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{.tv_sec = 20};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(server_->port())};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~HttpServerTest() override {
    close(socket_);
    server_->drain();
    thread_.join();
  }

  static bool soon(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return condition();
  }
  bool closed() {
    return soon([this] { return server_->connections() == 0; });
  }

  void send_text(const std::string& text) {
    EXPECT_EQ(send(socket_, text.data(), text.size(), MSG_NOSIGNAL), ssize_t(text.size()));
  }
  // The bodies of so many answers.
  std::string answers(int count) {
    std::string bodies;
    while (std::ranges::count(bodies, ']') < count) {
      char piece[4096];
      const ssize_t bytes = recv(socket_, piece, sizeof(piece), 0);
      if (bytes <= 0) return bodies + " and then nothing";
      unread_.append(piece, bytes);
      for (size_t end; (end = unread_.find(']')) != std::string::npos;) {
        const size_t begin = unread_.rfind("\r\n\r\n", end) + 4;
        bodies += unread_.substr(begin, end + 1 - begin);
        unread_.erase(0, end + 1);
      }
    }
    return bodies;
  }

  std::atomic<bool> arrived_ = false, gone_ = false;
  std::shared_ptr<Exchange> kept_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  int socket_ = -1;
  std::string unread_;
};

TEST_F(HttpServerTest, ManyRequestsOneAfterAnother) {
  for (int i = 0; i < 50; ++i) {
    const std::string path = "/here/" + std::to_string(i);
    send_text("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_EQ(answers(1), "[" + path + " 0]");
  }
}

TEST_F(HttpServerTest, BodiesOfAllLengths) {
  for (const size_t length : {0, 1, 1000, 5000, 100'000, 1'000'000, 3}) {
    const std::string size = std::to_string(length);
    send_text("POST /there/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + size + "\r\n\r\n" +
              std::string(length, 'b'));
    ASSERT_EQ(answers(1), "[/there/x " + size + "]");
  }
}

TEST_F(HttpServerTest, RequestsThatCameEarly) {
  std::string all, expected;
  for (int i = 0; i < 20; ++i) {
    const std::string path = "/here/" + std::to_string(i);
    all += "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    expected += "[" + path + " 0]";
  }
  const size_t cut = all.size() - 30;  // the last one comes in two pieces
  send_text(all.substr(0, cut));
  EXPECT_EQ(answers(19), expected.substr(0, expected.size() - std::string("[/here/19 0]").size()));
  send_text(all.substr(cut));
  EXPECT_EQ(answers(1), "[/here/19 0]");
  send_text("GET /here/last HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(answers(1), "[/here/last 0]");
}

TEST_F(HttpServerTest, WhoSendsNoMoreIsStillAnswered) {
  send_text(
      "GET /here/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "GET /here/2 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he");
  shutdown(socket_, SHUT_WR);
  ASSERT_TRUE(soon([this] { return arrived_.load(); }));
  EXPECT_EQ(answers(1), "[/here/1 0]");
  EXPECT_FALSE(gone_);
  kept_->reply({.body = "[late]"});
  EXPECT_EQ(answers(3), "[late][/here/2 0] and then nothing");
  EXPECT_TRUE(closed());
}

TEST_F(HttpServerTest, WhoSendsNoMoreAndAskedForNothingIsClosed) {
  send_text("GET /here/1 HTTP/1.1\r\n");
  shutdown(socket_, SHUT_WR);
  EXPECT_TRUE(closed());
}

// Its end looks like half an end, until something is sent to it.
TEST_F(HttpServerTest, WhoIsGoneIsNoticedBeforeTheAnswer) {
  send_text("GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ASSERT_TRUE(soon([this] { return arrived_.load(); }));
  close(socket_);
  socket_ = -1;
  EXPECT_TRUE(soon([this] { return gone_.load(); }));
  EXPECT_TRUE(closed());
}

TEST_F(HttpServerTest, WhoEndedItsHalfAndIsGoneThenIsNoticed) {
  send_text("GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
  shutdown(socket_, SHUT_WR);
  ASSERT_TRUE(soon([this] { return arrived_.load(); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(gone_);
  close(socket_);  // with the answer's first byte unread: the system resets the connection
  socket_ = -1;
  EXPECT_TRUE(soon([this] { return gone_.load(); }));
}

// With so much sent ahead that its end is not read.
TEST_F(HttpServerTest, WhoIsGoneBehindManyRequestsIsNoticed) {
  send_text("GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ASSERT_TRUE(soon([this] { return arrived_.load(); }));
  send_text(std::string(kLimits.pipelined_bytes_max + (16 << 10), 'G'));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(gone_);
  close(socket_);
  socket_ = -1;
  EXPECT_TRUE(soon([this] { return gone_.load(); }));
}

// Its own system has nothing unread to complain about when it leaves: only what is sent then is.
TEST_F(HttpServerTest, WhoReadAllAndIsGoneAfterItsHalfIsNoticed) {
  send_text("GET /later HTTP/1.0\r\nHost: localhost\r\n\r\n");
  shutdown(socket_, SHUT_WR);
  char byte = 0;
  ASSERT_EQ(recv(socket_, &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'H');
  EXPECT_FALSE(gone_);
  close(socket_);
  socket_ = -1;
  EXPECT_TRUE(soon([this] { return gone_.load(); }));
}

TEST_F(HttpServerTest, WhoTakesAByteNowAndThenIsGivenUp) {
  send_text("GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ASSERT_TRUE(soon([this] { return server_->connections() == 1; }));
  const auto begin = std::chrono::steady_clock::now();
  char byte;
  while (server_->connections() > 0 &&
         std::chrono::steady_clock::now() - begin < std::chrono::seconds(20)) {
    recv(socket_, &byte, 1, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(server_->connections(), 0u);
  EXPECT_GT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(900));
}

TEST_F(HttpServerTest, WhoIsMerelySlowGetsAll) {
  send_text("GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::vector<char> piece(2 << 20);
  size_t bytes = 0;
  while (bytes < (16 << 20)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // less than a second's patience
    const ssize_t more = recv(socket_, piece.data(), piece.size(), 0);
    ASSERT_GT(more, 0) << bytes;
    bytes += more;
  }
}

}  // namespace
}  // namespace hadal
