// A whole server, asked over sockets while memory runs out: the n-th allocation of all its threads
// fails, OpenSSL's too, for every n (further apart as n grows; each where HADAL_EVERY_ALLOCATION is
// set), alone and with a crowd behind it. Whatever is hit, its client hears an error or an end, the
// next one is answered as ever, and nothing is kept.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "device/registry.h"
#include "server/server.h"
#include "support/failing_new.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

// OpenSSL takes these before it has allocated anything, or never.
[[gnu::constructor(101)]] void make_openssl_fail_too() {
  CRYPTO_set_mem_functions(
      [](size_t bytes, const char*, int) { return FailingNew::malloc(bytes); },
      [](void* old, size_t bytes, const char*, int) { return FailingNew::realloc(old, bytes); },
      [](void* memory, const char*, int) { std::free(memory); });
}

// Knows of tools, so that requests may have some.
constexpr const char* kTemplate =
    "{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}.{% endif %}";
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
  bool tls = false;
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
    {"chat_tool", "/v1/chat/completions",
     R"({"messages": [{"role": "user", "content": "Once"}], "max_tokens": 6, "tools": [{"type":)"
     R"( "function", "function": {"name": "f"}}], "tool_choice": "required"})",
     "\"usage\""},
    {"anthropic_count", "/v1/messages/count_tokens",
     R"({"model": "tiny", "messages": [{"role": "user", "content": "Once"}]})", "input_tokens"},
    {"ollama_generate", "/api/generate",
     R"({"model": "tiny", "prompt": "Once", "stream": false, "options": {"num_predict": 6}})",
     "\"done\":true"},
    {"ollama_embed", "/api/embed", R"({"model": "tiny", "input": ["Once", "upon"]})",
     "\"embeddings\""},
    {"ollama_show", "/api/show", R"({"model": "tiny"})", "\"details\""},
    {"ollama_tags", "/api/tags", "", "\"models\""},
    {"detokenize", "/detokenize", R"({"tokens": [260, 261, 262]})", "\"prompt\""},
    {"tokenize", "/tokenize", R"({"prompt": "Once upon a time"})", "\"tokens\""},
    {"responses", "/v1/responses",
     R"({"input": [{"role": "user", "content": "Once"}], "max_output_tokens": 6, "stream": true})",
     "\"usage\""},
    {"embeddings", "/v1/embeddings", R"({"input": ["Once", "upon", "a", "time", "there"]})",
     "\"usage\""},
    {"bad_request", "/v1/completions", R"({"prompt": 5, "max_tokens": "six"})", "\"error\""},
    {"models", "/v1/models", "", "\"data\""},
    {"metrics", "/metrics", "", "hadal:"},
    {"openapi", "/openapi.json", "", "\"paths\""},
    {"page", "/", "", "</html>"},
    {"tls", "/v1/completions", kPlain, "\"usage\"", true},
    {"tls_stream", "/v1/completions",
     R"({"prompt": "Once upon a time", "max_tokens": 6, "stream": true})", "[DONE]", true},
};

// A key, and a certificate of it that it signed itself.
TlsFiles make_identity(const std::filesystem::path& folder) {
  TlsFiles files{.certificate = folder / "crt.pem", .key = folder / "key.pem"};
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = X509_new();
  X509_set_version(certificate, 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
  X509_set_pubkey(certificate, key);
  EXPECT_GT(X509_sign(certificate, key, EVP_sha256()), 0);
  FILE* file = fopen(files.certificate.c_str(), "w");
  EXPECT_EQ(PEM_write_X509(file, certificate), 1);
  fclose(file);
  file = fopen(files.key.c_str(), "w");
  EXPECT_EQ(PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
  fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return files;
}

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
    if (GetParam().tls) {
      std::signal(SIGPIPE, SIG_IGN);  // OpenSSL's client writes to who may have gone
      options.http.tls = read_tls_identity(make_identity(folder_.path())).value().context;
      client_.reset(SSL_CTX_new(TLS_client_method()));
    }
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

  // -1: nobody listens.
  int connect_to_server() {
    const int handle = socket(AF_INET, SOCK_STREAM, 0);
    const timeval patience{.tv_sec = 20};
    setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(server_->http().port())};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(handle, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return handle;
    close(handle);
    return -1;
  }

  // False: nothing came for a long time.
  bool ask(const std::string& request) {
    answer_.clear();
    const int handle = connect_to_server();
    if (handle < 0) return false;
    const bool ended =
        GetParam().tls ? ask_over_tls(handle, request) : ask_plainly(handle, request);
    close(handle);
    return ended;
  }

  bool ask_plainly(int handle, const std::string& request) {
    send(handle, request.data(), request.size(), MSG_NOSIGNAL);
    char piece[4096];
    ssize_t bytes;
    while ((bytes = recv(handle, piece, sizeof(piece), 0)) > 0) answer_.append(piece, bytes);
    return bytes == 0 || errno == ECONNRESET;
  }

  bool ask_over_tls(int handle, const std::string& request) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> tls(SSL_new(client_.get()), SSL_free);
    SSL_set_fd(tls.get(), handle);
    errno = 0;
    if (SSL_connect(tls.get()) == 1) {
      SSL_write(tls.get(), request.data(), static_cast<int>(request.size()));
      char piece[4096];
      int bytes;
      while ((bytes = SSL_read(tls.get(), piece, sizeof(piece))) > 0) answer_.append(piece, bytes);
    }
    return errno != EAGAIN;  // the patience is over
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
    const bool every = std::getenv("HADAL_EVERY_ALLOCATION") != nullptr;
    for (uint64_t n = 0; n < 1'000'000; n += every ? 1 : 1 + n / 64) {
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

  const TempFolder folder_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> client_{nullptr, SSL_CTX_free};
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

// Asio needs memory where there are more connections at once than there ever were.
class NewPeaks : public AllocationFailures {};

TEST_P(NewPeaks, TheNextIsAccepted) {
  std::vector<int> held;
  for (uint64_t n = 0; n < 60; ++n) {
    {
      const FailingNew failing(n % 20, FailingNew::Threads::kOthers, 1 + n / 20);
      for (int i = 0; i < 3; ++i) held.push_back(connect_to_server());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ASSERT_TRUE(ask(plain_)) << "after " << n;
    ASSERT_EQ(text_of(answer_), text_) << "after " << n;
  }
  for (const int handle : held) close(handle);
  EXPECT_TRUE(nothing_is_left());
}

INSTANTIATE_TEST_SUITE_P(All, NewPeaks,
                         testing::ValuesIn(std::begin(kCases), std::begin(kCases) + 1),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(All, AllocationFailures, testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace hadal
