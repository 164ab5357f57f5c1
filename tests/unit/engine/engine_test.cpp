#include "engine/engine.h"

#include <gtest/gtest.h>

#include "device/registry.h"

namespace hadal {
namespace {

Result<std::unique_ptr<Engine>> open(const EngineOptions& options, size_t device_count = 1) {
  auto file = ModelFile::open(std::filesystem::path(HADAL_TEST_DATA) / "golden/llama/model.gguf");
  EXPECT_TRUE(file) << file.error().message;
  std::vector<std::unique_ptr<Device>> devices;
  for (size_t i = 0; i < device_count; ++i) {
    devices.push_back(std::move(*open_device({.name = "reference"})));
  }
  return Engine::open(std::move(*file), std::move(devices), options);
}

std::string error_of(const EngineOptions& options, size_t device_count = 1) {
  const auto engine = open(options, device_count);
  return engine ? std::string("opened") : engine.error().message;
}

TEST(Engine, DescribesItself) {
  uint64_t last_done = 0, total = 0;
  const auto engine = open({.context_tokens = 64, .progress = [&](const LoadProgress& progress) {
                              EXPECT_GE(progress.bytes_done, last_done);
                              last_done = progress.bytes_done;
                              total = progress.bytes_total;
                              return true;
                            }});
  ASSERT_TRUE(engine) << engine.error().message;
  const EngineInfo& info = (*engine)->info();
  EXPECT_EQ(info.architecture, "llama");
  EXPECT_EQ(info.context_tokens, 64u);
  EXPECT_GE(info.context_max, 64u);
  EXPECT_GT(info.vocabulary, 0u);
  EXPECT_GT(info.weight_bytes, info.decode_weight_bytes);  // its embedding is a table of its own
  EXPECT_GT(info.decode_weight_bytes, info.weight_bytes / 2);
  EXPECT_GT(info.kv_bytes_per_token, 0u);
  EXPECT_GT(info.load_seconds, 0.0);
  EXPECT_TRUE(info.warnings.empty());
  EXPECT_EQ(last_done, total);
  EXPECT_GT(total, 0u);
  EXPECT_EQ((*engine)->devices().size(), 1u);
  const auto worked = (*engine)->step();
  ASSERT_TRUE(worked);
  EXPECT_FALSE(*worked);
}

TEST(Engine, RefusesOptionsThatCannotBe) {
  EXPECT_NE(error_of({.sequences_max = 0}).find("0 sequences"), std::string::npos);
  EXPECT_NE(error_of({.sequences_max = 9, .step_tokens_max = 8}).find("9 sequences"),
            std::string::npos);
  EXPECT_NE(error_of({.step_tokens_max = 100000}).find("100000"), std::string::npos);
  EXPECT_NE(error_of({.key_type = QuantType::kQ4_1}).find("q4_1"), std::string::npos);
  EXPECT_NE(error_of({.value_type = QuantType::kQ4_1}).find("q4_1"), std::string::npos);
  EXPECT_EQ(error_of({.key_type = QuantType::kQ8_0, .value_type = QuantType::kQ4_0}), "opened");
  EXPECT_NE(error_of({.context_tokens = 1}).find("context of 1"), std::string::npos);
  EXPECT_NE(error_of({.context_tokens = 100'000'000}).find("100000000"), std::string::npos);
  EXPECT_NE(error_of({.layer_splits = {1, 2, 3}}, 2), "opened");
  EXPECT_EQ(error_of({.context_tokens = 2}), "opened");
  EXPECT_EQ(error_of({.sequences_max = 8, .step_tokens_max = 8}), "opened");
}

TEST(Engine, RefusesTokensItDoesNotHave) {
  const auto engine = open({.context_tokens = 64});
  ASSERT_TRUE(engine);
  const auto sink = [](uint32_t, std::span<const float>) { return true; };
  const auto unknown = static_cast<TokenId>((*engine)->info().vocabulary);
  EXPECT_FALSE((*engine)->score(std::vector<TokenId>{unknown}, sink));
  EXPECT_FALSE((*engine)->score(std::vector<TokenId>{-1}, sink));
  EXPECT_FALSE((*engine)->score({}, sink));
  const Status too_long = (*engine)->score(std::vector<TokenId>(65, 1), sink);
  ASSERT_FALSE(too_long);
  EXPECT_NE(too_long.error().message.find("65"), std::string::npos);
  EXPECT_NE(too_long.error().message.find("64"), std::string::npos);
  EXPECT_TRUE((*engine)->score(std::vector<TokenId>(64, 1), sink));
}

TEST(Engine, ServesRequestsOverTwoDevices) {
  struct Reader : TokenSink {
    std::vector<TokenId> tokens;
    TokenDecision on_token(TokenId token) override {
      tokens.push_back(token);
      return {};
    }
    void on_finish(FinishReason, const Usage&, std::string_view error) override {
      EXPECT_EQ(error, "");
    }
  };
  std::vector<std::vector<TokenId>> answers;
  for (const size_t devices : {1u, 2u}) {
    auto engine =
        open({.context_tokens = 64,
              .layer_splits = devices == 1 ? std::vector<uint32_t>{} : std::vector<uint32_t>{1, 3}},
             devices);
    ASSERT_TRUE(engine) << engine.error().message;
    const auto reader = std::make_shared<Reader>();
    ASSERT_TRUE((*engine)->submit({.prompt = {1, 2, 3, 4, 5},
                                   .sampling = {.temperature = 1, .top_p = 1},
                                   .max_tokens = 20,
                                   .sink = reader}));
    while ((*engine)->step().value_or(false)) continue;
    answers.push_back(reader->tokens);
  }
  EXPECT_EQ(answers[0].size(), 20u);
  EXPECT_EQ(answers[0], answers[1]);
}

}  // namespace
}  // namespace hadal
