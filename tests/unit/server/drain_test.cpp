// The door while the server ends: who is still answered, who is refused, who is cut off.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "server/http/http_server.h"

namespace hadal {
namespace {

std::string error_text(unsigned status, std::string_view message) {
  return "[" + std::to_string(status) + " " + std::string(message) + "]";
}

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

// /later is answered when the test says so; /stream has begun, and knows how to end in an error;
// /broken has begun and does not; /ready is answered to the last.
class DrainTest : public testing::Test {
 protected:
  void start(uint32_t drain_seconds) {
    const Handler keep = [this](const WebRequest& request,
                                const std::shared_ptr<Exchange>& exchange) {
      if (request.path != "/later") exchange->begin({});
      if (request.path == "/stream") exchange->on_cut([exchange] { exchange->end("[cut]"); });
      kept_ = exchange;
      arrived_ = true;
    };
    const Handler say = [](const WebRequest&, const std::shared_ptr<Exchange>& exchange) {
      exchange->reply({.body = "[here]"});
    };
    std::vector<Route> routes;
    for (const char* path : {"/later", "/stream", "/broken"}) {
      routes.push_back({"GET", path, Access::kOpen, RunsOn::kIoThread, keep});
    }
    routes.push_back({"GET", "/other", Access::kOpen, RunsOn::kIoThread, say});
    routes.push_back({.method = "GET",
                      .path = "/ready",
                      .access = Access::kOpen,
                      .runs_on = RunsOn::kIoThread,
                      .handler = say,
                      .while_ending = true});
    server_ =
        HttpServer::open({.port = 0, .drain_seconds = drain_seconds},
                         Router(std::move(routes), {{"", error_text}}),
                         [](WebRequest&, const Route*) { return std::optional<GateRefusal>(); })
            .value();
    thread_ = std::thread([this] {
      server_->run();
      ended_ = true;
    });
  }
  ~DrainTest() override {
    if (kept_) kept_->reply({.body = "[over]"});
    server_->drain();
    thread_.join();
  }

  static bool soon(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return condition();
  }

  // A connection that has asked; -1: nobody listens.
  int ask(const std::string& request) const {
    const int handle = socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{.tv_sec = 20};
    setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(server_->port())};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(handle, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      close(handle);
      return -1;
    }
    EXPECT_EQ(send(handle, request.data(), request.size(), MSG_NOSIGNAL), ssize_t(request.size()));
    return handle;
  }
  // All that comes until the server closes.
  static std::string rest_of(int handle) {
    std::string text;
    char piece[4096];
    for (ssize_t bytes; (bytes = recv(handle, piece, sizeof(piece), 0)) > 0;) {
      text.append(piece, bytes);
    }
    close(handle);
    return text;
  }
  int ask_and_drain(const std::string& path) {
    const int handle = ask(get(path));
    EXPECT_TRUE(soon([this] { return arrived_.load(); }));
    server_->drain();
    EXPECT_TRUE(soon([this] { return server_->draining(); }));
    return handle;
  }

  std::atomic<bool> arrived_ = false, ended_ = false;
  std::shared_ptr<Exchange> kept_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

TEST_F(DrainTest, NewConnectionsAreToldUntilTheLastAnswerIsDone) {
  start(30);
  const int waiting = ask_and_drain("/later");
  for (int i = 0; i < 3; ++i) {  // over several sweeps
    EXPECT_TRUE(has(rest_of(ask(get("/ready"))), "[here]"));
    const std::string refused = rest_of(ask(get("/other")));
    EXPECT_TRUE(has(refused, "HTTP/1.1 503 ") && has(refused, "Retry-After: ")) << refused;
    EXPECT_TRUE(has(refused, "[503 ")) << refused;
    EXPECT_TRUE(has(rest_of(ask(get("/nowhere"))), "HTTP/1.1 503 "));
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  }
  const int silent = ask("");  // asks for nothing, and holds up nobody
  EXPECT_FALSE(ended_);
  kept_->reply({.body = "[late]"});
  EXPECT_TRUE(has(rest_of(waiting), "[late]"));
  EXPECT_TRUE(soon([this] { return ended_.load(); }));
  EXPECT_EQ(rest_of(silent), "");
  EXPECT_EQ(ask(get("/ready")), -1);
  EXPECT_EQ(server_->answers_cut(), 0u);
}

TEST_F(DrainTest, WhatIsCutOffEndsInItsError) {
  start(0);
  EXPECT_TRUE(has(rest_of(ask_and_drain("/stream")), "[cut]\r\n0\r\n\r\n"));
  EXPECT_TRUE(soon([this] { return ended_.load(); }));
  EXPECT_EQ(server_->answers_cut(), 1u);
}

TEST_F(DrainTest, WhatHadNotBegunIsRefused) {
  start(0);
  const std::string answer = rest_of(ask_and_drain("/later"));
  EXPECT_TRUE(has(answer, "HTTP/1.1 503 ") && has(answer, "Retry-After: ")) << answer;
  EXPECT_TRUE(soon([this] { return ended_.load(); }));
  EXPECT_EQ(server_->answers_cut(), 1u);
}

TEST_F(DrainTest, WhatCannotSayItBreaksOff) {
  start(0);
  const std::string answer = rest_of(ask_and_drain("/broken"));
  EXPECT_TRUE(has(answer, "HTTP/1.1 200 ") && !has(answer, "0\r\n\r\n")) << answer;
  EXPECT_TRUE(soon([this] { return ended_.load(); }));
  EXPECT_EQ(server_->answers_cut(), 1u);
}

TEST_F(DrainTest, WithNothingUnderWayItIsOverAtOnce) {
  start(30);
  const int idle = ask("");
  server_->drain();
  EXPECT_TRUE(soon([this] { return ended_.load(); }));
  EXPECT_EQ(rest_of(idle), "");
}

}  // namespace
}  // namespace hadal
