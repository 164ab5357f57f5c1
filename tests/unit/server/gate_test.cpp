// Who is let in: keys, their limits, Host and Origin, CORS.
#include "server/access/gate.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "server/server.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class GateTest : public testing::Test {
 protected:
  GateTest() {
    std::string pattern = (fs::temp_directory_path() / "hadal-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~GateTest() override { fs::remove_all(folder_); }
  fs::path path() const { return folder_ / "keys.json"; }
  void add(const std::string& name, const std::string& key, KeyLimits limits = {}) {
    ASSERT_TRUE(change_keys(path(), [&](std::vector<StoredKey>& keys) -> Status {
      keys.push_back({.name = name, .digest = digest_of_key(key), .limits = limits});
      return {};
    }));
  }
  void remove_all() {
    ASSERT_TRUE(change_keys(path(), [](std::vector<StoredKey>& keys) -> Status {
      keys.clear();
      return {};
    }));
  }
  std::shared_ptr<KeyRing> ring() { return *KeyRing::open(path()); }

  fs::path folder_;
};

WebRequest request(WebHeaders headers, std::string method = "POST") {
  headers.emplace_back("host", "localhost:8080");
  return {
      .method = std::move(method), .path = "/v1/chat/completions", .headers = std::move(headers)};
}
unsigned status(const Gate& gate, WebRequest head, const Route& route) {
  const auto refusal = gate(head, &route);
  return refusal ? refusal->status : 200;
}
const Route kWork{.method = "POST", .path = "/v1/chat/completions"};

TEST_F(GateTest, WithoutKeysNobodyIsAskedForOne) {
  const Gate gate = make_gate({}, ring());
  EXPECT_EQ(status(gate, request({}), kWork), 200u);
  EXPECT_EQ(status(gate, request({{"authorization", "Bearer anything"}}), kWork), 200u);
}

TEST_F(GateTest, AKeyOpensInEitherHeader) {
  add("one", "secret");
  const Gate gate = make_gate({}, ring());
  WebRequest head = request({{"authorization", "bEaReR  secret"}});
  EXPECT_FALSE(gate(head, &kWork));
  EXPECT_EQ(head.caller.name, "one");
  EXPECT_EQ(head.caller.cache_salt, cache_salt_of(digest_of_key("secret")));
  EXPECT_EQ(status(gate, request({{"x-api-key", "secret"}}), kWork), 200u);
  for (const WebHeaders& wrong : {WebHeaders{},
                                  {{"authorization", "Bearer"}},
                                  {{"authorization", "Bearer "}},
                                  {{"authorization", "Bearer secre"}},
                                  {{"authorization", "Bearer secret2"}},
                                  {{"authorization", "Basic secret"}},
                                  {{"x-api-key", ""}},
                                  {{"x-api-key", "one"}},
                                  {{"x-api-key", to_hex(digest_of_key("secret"))}}}) {
    WebRequest refused = request(wrong);
    const auto refusal = gate(refused, &kWork);
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->status, 401u);
    EXPECT_EQ(refusal->message.find("secre"), std::string::npos);
    EXPECT_EQ(refused.caller.cache_salt, 0u);
  }
}

TEST_F(GateTest, AnAddressThatIsNoneWantsAKeyToo) {
  add("one", "secret");
  const Gate gate = make_gate({}, ring());
  WebRequest head = request({});
  const auto refusal = gate(head, nullptr);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->status, 401u);
}

TEST_F(GateTest, KeysComeAndGoWhileItRuns) {
  const Gate gate = make_gate({}, ring());
  const WebRequest with_key = request({{"x-api-key", "secret"}});
  EXPECT_EQ(status(gate, request({}), kWork), 200u);
  add("one", "secret");
  EXPECT_EQ(status(gate, request({}), kWork), 401u);
  EXPECT_EQ(status(gate, with_key, kWork), 200u);
  remove_all();
  EXPECT_EQ(status(gate, with_key, kWork), 401u);
  EXPECT_EQ(status(gate, request({}), kWork), 401u) << "it opened to all";
}

TEST_F(GateTest, AFileThatBreaksOrGoesOpensNothing) {
  add("one", "secret");
  const Gate gate = make_gate({}, ring());
  std::ofstream(path()) << "{";
  EXPECT_EQ(status(gate, request({}), kWork), 401u);
  EXPECT_EQ(status(gate, request({{"x-api-key", "secret"}}), kWork), 200u);
  fs::remove(path());
  EXPECT_EQ(status(gate, request({}), kWork), 401u);
}

TEST_F(GateTest, AFirstFileThatCannotBeReadOpensNothing) {
  const Gate gate = make_gate({}, ring());
  EXPECT_EQ(status(gate, request({}), kWork), 200u);
  std::ofstream(path()) << "{";
  EXPECT_EQ(status(gate, request({}), kWork), 401u);
  fs::remove(path());
  EXPECT_EQ(status(gate, request({}), kWork), 401u) << "it opened to all";
  add("one", "secret");
  EXPECT_EQ(status(gate, request({{"x-api-key", "secret"}}), kWork), 200u);
}

TEST_F(GateTest, AFileThatCannotBeLookedAtStartsNothing) {
  fs::create_symlink("keys.json", path());  // to itself
  EXPECT_FALSE(KeyRing::open(path()));
}

TEST_F(GateTest, AFolderOfKeysThatIsNoneStartsNothing) {
  std::ofstream(folder_ / "file") << "x";
  const auto ring = KeyRing::open(folder_ / "file/keys.json");
  ASSERT_FALSE(ring);
  EXPECT_NE(ring.error().message.find("no folder"), std::string::npos);
}

TEST_F(GateTest, AFileThatBreaksIsToldOnceAndOnceWhenItIsMended) {
  add("one", "secret");
  std::vector<std::string> told;
  const auto ring =
      KeyRing::open(path(), [&](const std::string& what) { told.push_back(what); }).value();
  const Gate gate = make_gate({}, ring);
  const WebRequest head = request({{"x-api-key", "secret"}});
  fs::rename(path(), folder_ / "kept");
  std::ofstream(path()) << "{";
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status(gate, head, kWork), 200u);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("keys.json"), std::string::npos) << told[0];
  EXPECT_NE(told[0].find("stay as they were"), std::string::npos) << told[0];
  fs::rename(folder_ / "kept", path());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status(gate, head, kWork), 200u);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_NE(told[1].find("in order again: 1 key"), std::string::npos) << told[1];
}

TEST_F(GateTest, AFirstFileThatCannotBeReadIsToldToo) {
  std::vector<std::string> told;
  const auto ring =
      KeyRing::open(path(), [&](const std::string& what) { told.push_back(what); }).value();
  const Gate gate = make_gate({}, ring);
  fs::create_directory(path());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status(gate, request({}), kWork), 401u);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("nobody is let in"), std::string::npos) << told[0];
}

TEST_F(GateTest, EveryRouteButTheOpenOnesWantsAKey) {
  add("one", "secret");
  ServerOptions options;
  options.http.port = 0;
  options.keys = path();
  const auto server = Server::open(std::move(options));
  ASSERT_TRUE(server) << server.error().message;
  const Gate gate = make_gate({}, ring());
  std::set<std::string> open;
  for (const Route& route : (*server)->http().router().routes()) {
    const unsigned answer = status(gate, request({}, route.method), route);
    EXPECT_TRUE(answer == 200 || answer == 401) << route.path;
    if (answer == 200) open.insert(route.method + " " + route.path);
  }
  // The page's own files are the same for everybody; what they ask for is not.
  const std::set<std::string> may_be{"GET /health", "GET /ready", "GET /", "GET /page/*"};
  for (const std::string& route : open) EXPECT_TRUE(may_be.contains(route)) << route;
  EXPECT_TRUE(open.contains("GET /health") && open.contains("GET /ready"));
}

TEST_F(GateTest, OtherMachinesNeedKeysOrTheFlag) {
  const auto open = [this](bool open_to_all) {
    ServerOptions options;
    options.http.host = "0.0.0.0";
    options.http.port = 0;
    options.keys = path();
    options.open_to_all = open_to_all;
    return Server::open(std::move(options));
  };
  const auto refused = open(false);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("hadal key add"), std::string::npos);
  EXPECT_TRUE(open(true));
  add("one", "secret");
  EXPECT_TRUE(open(false));
}

TEST_F(GateTest, LimitsAreTold) {
  add("one", "secret", {.requests_per_minute = 2});
  add("two", "other");
  const Gate gate = make_gate({}, ring());
  const WebRequest head = request({{"x-api-key", "secret"}});
  EXPECT_EQ(status(gate, head, kWork), 200u);
  EXPECT_EQ(status(gate, head, kWork), 200u);
  WebRequest third = head;
  const auto refusal = gate(third, &kWork);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->status, 429u);
  ASSERT_EQ(refusal->headers.size(), 1u);
  EXPECT_EQ(refusal->headers[0].first, "Retry-After");
  EXPECT_GT(std::stoi(refusal->headers[0].second), 0);
  EXPECT_EQ(status(gate, request({{"x-api-key", "secret"}}, "GET"), kWork), 200u);
  EXPECT_EQ(status(gate, request({{"x-api-key", "other"}}), kWork), 200u);
}

TEST_F(GateTest, OriginsThatWereLetInAreToldSo) {
  add("one", "secret");
  const Gate gate = make_gate({.origins = {"https://chat.example"}}, ring());
  WebRequest asks = request({{"origin", "https://chat.example"},
                             {"access-control-request-method", "POST"},
                             {"access-control-request-headers", "authorization, x-stainless-os"}},
                            "OPTIONS");
  const auto answer = gate(asks, nullptr);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 204u);
  EXPECT_EQ(asks.reply_headers[0].second, "https://chat.example");
  EXPECT_EQ(status(gate, request({{"origin", "https://chat.example"}}), kWork), 401u);
  EXPECT_EQ(
      status(gate, request({{"origin", "https://chat.example"}, {"x-api-key", "secret"}}), kWork),
      200u);
  WebRequest foreign = request({{"origin", "https://evil.example"},
                                {"access-control-request-method", "POST"},
                                {"x-api-key", "secret"}},
                               "OPTIONS");
  EXPECT_EQ(gate(foreign, nullptr)->status, 403u);
  EXPECT_TRUE(foreign.reply_headers.empty());
}

TEST(HostRules, KnowsAnOrigin) {
  for (const char* good : {"https://chat.example", "http://127.0.0.1:3000", "http://[::1]:80",
                           "chrome-extension://abcdef"})
    EXPECT_TRUE(is_origin(good)) << good;
  for (const char* bad : {"", "*", "null", "chat.example", "https://", "https://a/b", "https://a:x",
                          "https://A", "https://a b", "://a"})
    EXPECT_FALSE(is_origin(bad)) << bad;
}

TEST(KeyLimiter, SavesUpForAMinuteAndOwes) {
  const auto begin = MinuteAllowance::Clock::now();
  MinuteAllowance allowance;
  allowance.set(60, begin);
  allowance.take(60, begin);
  EXPECT_EQ(allowance.wait_seconds(begin), 1u);
  EXPECT_EQ(allowance.wait_seconds(begin + 1s), 0u);
  allowance.take(31, begin + 1s);
  EXPECT_EQ(allowance.wait_seconds(begin + 1s), 31u);
  EXPECT_EQ(allowance.wait_seconds(begin + 10h), 0u);
  allowance.take(61, begin + 10h);
  EXPECT_GT(allowance.wait_seconds(begin + 10h), 0u) << "more than a minute was saved up";
  allowance.take(UINT64_MAX, begin + 10h);
  EXPECT_LE(allowance.wait_seconds(begin + 10h), 86'400u);
}

TEST(KeyLimiter, CountsWhatIsUnderWay) {
  const auto limiter = std::make_shared<KeyLimiter>();
  const auto now = KeyLimiter::Clock::now();
  limiter->set({.tokens_per_minute = 100, .concurrent = 2}, now);
  std::shared_ptr<void> a, b, c;
  EXPECT_FALSE(limiter->admit(now, a));
  EXPECT_FALSE(limiter->admit(now, b));
  EXPECT_TRUE(limiter->admit(now, c));
  a.reset();
  EXPECT_FALSE(limiter->admit(now, c));
  b.reset();
  limiter->charge(150, now);
  const auto refusal = limiter->admit(now, b);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->retry_after_seconds, 31u);
  limiter->set({.tokens_per_minute = 100, .concurrent = 2}, now);
  EXPECT_TRUE(limiter->admit(now, b)) << "the same limits forgave what was owed";
}

}  // namespace
}  // namespace hadal
