// A whole server, asked over sockets while memory runs out: the n-th allocation of all its threads
// fails, for every n (further apart as n grows), alone and with a crowd behind it. Whatever is hit,
// its client hears an error or an end, the next one is answered as ever, and nothing is kept.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "device/registry.h"
#include "server/server.h"
#include "support/failing_new.h"

namespace hadal {
namespace {

constexpr const char* kTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}";
constexpr size_t kAnswerBytesMax = 256 << 10;

Result<OpenedModel> open_tiny(const ModelEntry& entry) {
  HADAL_TRY(auto device, open_device({.threads = 1}));
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(device));
  GeneratorOptions options{.chat_template = kTemplate};
  options.engine = {.context_tokens = 128, .sequences_max = 4, .embeddings = true};
  HADAL_TRY(auto generator, Generator::open(entry.path, std::move(devices), options));
  return OpenedModel{.generator = std::move(generator), .sampling = {.temperature = 0}};
}

std::string post(const std::string& path, const std::string& body) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

struct Case {
  const char* name;
  const char* path;  // asked with GET where there is no body
  const char* body;
  const char* ending;  // of a whole answer
};

constexpr const char* kPlain = R"({"prompt": "Once upon a time", "max_tokens": 6})";

constexpr Case kCases[] = {
    {"completion", "/v1/completions",
     R"({"prompt": "Once upon a time", "max_tokens": 6, "n": 2, "logprobs": 2, "stop": ["zzz"]})",
     "\"usage\""},
    {"chat_stream", "/v1/chat/completions",
     R"({"messages": [{"role": "user", "content": "Once"}], "max_tokens": 6, "stream": true,)"
     R"( "stream_options": {"include_usage": true}})",
     "[DONE]"},
    {"chat_schema", "/v1/chat/completions",
     R"({"messages": [{"role": "user", "content": "Once"}], "max_tokens": 6, "stream": true,)"
     R"( "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema":)"
     R"( {"type": "object", "properties": {"a": {"type": "integer"}}}}}})",
     "[DONE]"},
    {"anthropic", "/v1/messages",
     R"({"model": "tiny", "messages": [{"role": "user", "content": "Once"}], "max_tokens": 6,)"
     R"( "stream": true})",
     "message_stop"},
    {"ollama", "/api/chat",
     R"({"model": "tiny", "messages": [{"role": "user", "content": "Once"}],)"
     R"( "options": {"num_predict": 6}})",
     "\"done\":true"},
    {"tokenize", "/tokenize", R"({"prompt": "Once upon a time"})", "\"tokens\""},
    {"responses", "/v1/responses",
     R"({"input": [{"role": "user", "content": "Once"}], "max_output_tokens": 6, "stream": true})",
     "\"usage\""},
    {"embeddings", "/v1/embeddings", R"({"input": ["Once", "upon", "a", "time", "there"]})",
     "\"usage\""},
    {"bad_request", "/v1/completions", R"({"prompt": 5, "max_tokens": "six"})", "\"error\""},
    {"models", "/v1/models", "", "\"data\""},
    {"metrics", "/metrics", "", "hadal:"},
};

class AllocationFailures : public testing::TestWithParam<Case> {
 protected:
  AllocationFailures() {
    ServerOptions options;
    options.http.port = 0;
    options.http.limits.bodies_bytes_max = 16 << 10;  // what is not given back is soon missed
    options.models.models = {{.name = "tiny", .path = HADAL_TEST_DATA "/models/stories260K.gguf"}};
    options.models.default_model = "tiny";
    options.models.open = open_tiny;
    options.models.keep_alive = std::nullopt;
    auto opened = Server::open(std::move(options));
    EXPECT_TRUE(opened) << opened.error().message;
    server_ = std::move(*opened);
    thread_ = std::thread([this] { EXPECT_TRUE(server_->run()); });
    answer_.reserve(kAnswerBytesMax);
    plain_ = post("/v1/completions", kPlain);
    const Case& c = GetParam();
    request_ = *c.body != 0 ? post(c.path, c.body)
                            : std::string("GET ") + c.path +
                                  " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    ask(plain_);
    text_ = text_of(answer_);
    EXPECT_FALSE(text_.empty()) << answer_;
  }
  ~AllocationFailures() override {
    server_->drain();
    thread_.join();
  }

  // False: nothing came for a long time.
  bool ask(const std::string& request) {
    answer_.clear();
    const int handle = socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{.tv_sec = 20};
    setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(server_->http().port())};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool ended = false;
    if (connect(handle, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
      send(handle, request.data(), request.size(), MSG_NOSIGNAL);
      char piece[4096];
      ssize_t bytes;
      while ((bytes = recv(handle, piece, sizeof(piece), 0)) > 0) answer_.append(piece, bytes);
      ended = bytes == 0 || errno == ECONNRESET;
    }
    close(handle);
    return ended;
  }

  static std::string text_of(const std::string& answer) {
    const size_t begin = answer.find("\"text\":");
    return begin == answer.npos ? "" : answer.substr(begin, answer.find("\",", begin) - begin);
  }

  // An error, a whole answer, or one that visibly breaks off.
  bool is_honest() const {
    if (answer_.empty()) return true;
    const int status = answer_.size() > 12 ? std::atoi(&answer_[9]) : 0;
    if (status >= 400)
      return status == 500 || status == 503 || GetParam().name == std::string_view("bad_request");
    if (status != 200) return false;
    const bool chunked = answer_.find("\r\nTransfer-Encoding: chunked\r\n") != answer_.npos;
    if (chunked && !answer_.ends_with("\r\n0\r\n\r\n")) return true;
    return answer_.find(GetParam().ending) != answer_.npos ||
           answer_.find("\"error\"") != answer_.npos;
  }

  bool nothing_is_left() const {
    for (int i = 0; i < 2000; ++i) {
      const auto model = server_->models().find("tiny");
      if (model->answers == 0 && model->engine.blocks_held == 0 &&
          model->engine.running + model->engine.waiting == 0 &&
          server_->http().connections() == 0) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  void fail_each(uint64_t count) {
    uint64_t failures = 0;
    for (uint64_t n = 0; n < 1'000'000; n += 1 + n / 64) {
      bool ended = false, failed = false;
      {
        const FailingNew failing(n, FailingNew::Threads::kOthers, count);
        ended = ask(request_);
        failed = failing.failed();
      }
      ASSERT_TRUE(ended) << "allocation " << n << ": nobody answers; so far: " << answer_;
      ASSERT_TRUE(is_honest()) << "allocation " << n << ": " << answer_;
      ASSERT_TRUE(nothing_is_left()) << "allocation " << n;
      ASSERT_TRUE(ask(plain_)) << "after allocation " << n;
      ASSERT_EQ(text_of(answer_), text_) << "after allocation " << n << ": " << answer_;
      failures += failed;
      if (!failed) break;
    }
    EXPECT_GT(failures, 20u);
  }

  std::unique_ptr<Server> server_;
  std::thread thread_;
  std::string request_, plain_, answer_, text_;
};

TEST_P(AllocationFailures, One) {
  fail_each(1);
}
TEST_P(AllocationFailures, ACrowd) {
  fail_each(12);
}

INSTANTIATE_TEST_SUITE_P(All, AllocationFailures, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace hadal
