// Requests to a real model while memory runs out: the n-th allocation of the engine's thread fails,
// for every n, in submit(), in the model's forward or behind it. One request may hear of it; the
// others' answers are those of an undisturbed run, bit for bit.
#include <gtest/gtest.h>

#include <optional>

#include "device/registry.h"
#include "engine/engine.h"
#include "support/failing_new.h"

namespace hadal {
namespace {

struct Reader : TokenSink {
  Reader() {
    tokens.reserve(64);
    figures.reserve(4096);
  }
  TokenDecision on_token(TokenId token) override {
    tokens.push_back(token);
    return {};
  }
  void on_log_probabilities(const LogProbabilities& given) override {
    for (const TokenProbability& each : given.top) figures.push_back(each.log_probability);
  }
  void on_embedding(std::span<const float> given) override {
    figures.insert(figures.end(), given.begin(), given.end());
  }
  void on_finish(FinishReason why, const Usage&, std::string_view) override { reason = why; }
  std::vector<TokenId> tokens;
  std::vector<float> figures;
  std::optional<FinishReason> reason;
};

constexpr size_t kRequests = 5;

// Allows every third token.
struct ThirdsMask : TokenMask {
  void allowed(std::span<uint32_t> bits) override {
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = 0x49249249u;
  }
  void accept(TokenId) override {}
  bool may_end() const override { return false; }
};

Request request(size_t i, std::shared_ptr<Reader> reader) {
  Request result{.prompt = std::vector<TokenId>(4 + 3 * i, static_cast<TokenId>(5 + i)),
                 .sampling = {.temperature = i % 2 ? 1.0f : 0.0f, .seed = i},
                 .max_tokens = 6,
                 .sink = std::move(reader),
                 .cache_salt = i,
                 .fairness_key = i % 2};
  if (i == 1) result.top_log_probabilities = 5;
  if (i == 2) result.mask = std::make_shared<ThirdsMask>();
  if (i == 3) result.logit_bias = {{9, 2}, {11, -5}};
  result.embedding = i == 4;
  return result;
}

class RequestFailures : public testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  std::unique_ptr<Engine> open() {
    const auto [model, device] = GetParam();
    auto file = ModelFile::open(std::filesystem::path(HADAL_TEST_DATA) / model);
    EXPECT_TRUE(file) << file.error().message;
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(*open_device({.name = device, .threads = 2})));
    auto engine = Engine::open(std::move(*file), std::move(devices),
                               {.context_tokens = 64,
                                .sequences_max = 4,
                                .step_tokens_max = 16,
                                .speculation = Speculation::kNgramAlways,
                                .embeddings = true});
    EXPECT_TRUE(engine) << engine.error().message;
    return engine ? std::move(*engine) : nullptr;
  }

  struct Run {
    std::vector<std::shared_ptr<Reader>> readers;
    size_t refused = 0;
    bool broken = false, failed = false;
  };

  static Run run(Engine& engine, uint64_t failing_allocation) {
    Run result;
    std::vector<Request> requests;
    for (size_t i = 0; i < kRequests; ++i) {
      result.readers.push_back(std::make_shared<Reader>());
      requests.push_back(request(i, result.readers.back()));
    }
    FailingNew failing(failing_allocation);
    for (Request& each : requests) result.refused += !engine.submit(std::move(each));
    while (!result.broken) {
      const auto worked = engine.step();
      result.broken = !worked;
      if (!worked || !*worked) break;
    }
    result.failed = failing.failed();
    return result;
  }
};

TEST_P(RequestFailures, OneMayFailTheOthersAreUnharmed) {
  const auto engine = open();
  ASSERT_NE(engine, nullptr);
  const Run undisturbed = run(*engine, UINT64_MAX);
  for (const auto& reader : undisturbed.readers) {
    ASSERT_TRUE(reader->reason && reader->reason != FinishReason::kFailed);
  }
  uint64_t failures = 0;
  for (uint64_t n = 0; n < 1'000'000; n += 1 + n / 64) {
    const Run disturbed = run(*engine, n);
    ASSERT_FALSE(disturbed.broken) << "allocation " << n;
    size_t harmed = 0;
    for (size_t i = 0; i < kRequests; ++i) {
      const Reader& reader = *disturbed.readers[i];
      if (!reader.reason || reader.reason == FinishReason::kFailed) {
        ++harmed;
        continue;
      }
      ASSERT_EQ(reader.tokens, undisturbed.readers[i]->tokens) << "allocation " << n;
      ASSERT_EQ(reader.figures, undisturbed.readers[i]->figures) << "allocation " << n;
    }
    ASSERT_LE(harmed, disturbed.failed ? 1u : 0u) << "allocation " << n;
    ASSERT_EQ(engine->status().blocks_held, 0u) << "allocation " << n;
    ASSERT_EQ(engine->status().running + engine->status().waiting, 0u) << "allocation " << n;
    failures += disturbed.failed;
    if (!disturbed.failed) break;
  }
  EXPECT_GT(failures, 20u);
}

INSTANTIATE_TEST_SUITE_P(All, RequestFailures,
                         testing::Values(std::pair("golden/llama/model.gguf", "reference"),
                                         std::pair("golden/deepseek-v3-mtp/model.gguf",
                                                   "reference")),
                         [](const auto& info) {
                           const bool latent =
                               std::string_view(info.param.first).find("deepseek") !=
                               std::string_view::npos;
                           return std::string(latent ? "latent_" : "plain_") + info.param.second;
                         });

}  // namespace
}  // namespace hadal
