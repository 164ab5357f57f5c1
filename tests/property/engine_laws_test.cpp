// The laws as a person meets them: what an answer is does not depend on how long the steps are, who
// else is served, or whether the prompt's beginning was still in the cache. Sampled at temperature
// 1 over the whole vocabulary, so that a changed bit of a logit soon changes the text; on the
// reference device, where equal means equal.
#include <gtest/gtest.h>

#include <random>

#include "device/registry.h"
#include "engine/engine.h"

namespace hadal {
namespace {

struct Reader : TokenSink {
  std::vector<TokenId> tokens;
  FinishReason reason{};
  Usage usage;
  bool finished = false;
  TokenDecision on_token(TokenId token) override {
    tokens.push_back(token);
    return {};
  }
  void on_finish(FinishReason why, const Usage& used, std::string_view error) override {
    EXPECT_EQ(error, "");
    reason = why;
    usage = used;
    finished = true;
  }
};

class EngineLaws : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Engine> open(EngineOptions options) {
    const auto path = std::filesystem::path(HADAL_TEST_DATA) / GetParam();
    auto file = ModelFile::open(path);
    EXPECT_TRUE(file) << file.error().message;
    auto device = open_device({.name = "reference", .threads = 2});
    EXPECT_TRUE(device) << device.error().message;
    if (!file || !device) return nullptr;
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(*device));
    options.context_tokens = 128;
    auto engine = Engine::open(std::move(*file), std::move(devices), options);
    EXPECT_TRUE(engine) << engine.error().message;
    return engine ? std::move(*engine) : nullptr;
  }

  std::shared_ptr<Reader> submit(Engine& engine, std::vector<TokenId> prompt, uint64_t seed) {
    auto reader = std::make_shared<Reader>();
    const auto id = engine.submit({.prompt = std::move(prompt),
                                   .sampling = {.temperature = 1.0f, .top_p = 1.0f, .seed = seed},
                                   .max_tokens = 30,
                                   .sink = reader});
    EXPECT_TRUE(id) << id.error().message;
    return reader;
  }

  void run(Engine& engine) {
    while (true) {
      const auto worked = engine.step();
      ASSERT_TRUE(worked) << worked.error().message;
      if (!*worked) return;
    }
  }

  std::vector<TokenId> prompt_of(const Engine& engine, uint32_t seed, uint32_t count) {
    std::mt19937 random(seed);
    std::vector<TokenId> tokens(count);
    for (TokenId& token : tokens) {
      token = static_cast<TokenId>(random() % engine.info().vocabulary);
    }
    return tokens;
  }
};

TEST_P(EngineLaws, AnAnswerIsTheSameInAnyCompanyAndInAnySteps) {
  std::vector<std::vector<TokenId>> alone;
  {
    auto engine = open({.step_tokens_max = 512});
    ASSERT_TRUE(engine);
    for (uint32_t i = 0; i < 6; ++i) {
      const auto reader = submit(*engine, prompt_of(*engine, i, 3 + 17 * i), i);
      run(*engine);
      ASSERT_TRUE(reader->finished);
      alone.push_back(reader->tokens);
    }
  }
  for (const EngineOptions& options : {EngineOptions{.sequences_max = 6, .step_tokens_max = 512},
                                       EngineOptions{.sequences_max = 3, .step_tokens_max = 3},
                                       EngineOptions{.sequences_max = 4, .step_tokens_max = 37},
                                       EngineOptions{.sequences_max = 1, .step_tokens_max = 5}}) {
    auto engine = open(options);
    ASSERT_TRUE(engine);
    std::vector<std::shared_ptr<Reader>> readers;
    for (uint32_t i = 0; i < 6; ++i) {
      readers.push_back(submit(*engine, prompt_of(*engine, i, 3 + 17 * i), i));
      ASSERT_TRUE(engine->step());
    }
    run(*engine);
    for (uint32_t i = 0; i < 6; ++i) {
      EXPECT_EQ(readers[i]->tokens, alone[i]) << "request " << i << " of " << options.sequences_max
                                              << " sequences, steps of " << options.step_tokens_max;
    }
  }
}

TEST_P(EngineLaws, AKnownPrefixChangesTheTimeAndNothingElse) {
  auto engine = open({});
  ASSERT_TRUE(engine);
  const auto prompt = prompt_of(*engine, 1, 80);
  const auto miss = submit(*engine, prompt, 4);
  run(*engine);
  EXPECT_EQ(miss->usage.cached_tokens, 0u);
  const auto hit = submit(*engine, prompt, 4);
  run(*engine);
  EXPECT_EQ(hit->usage.cached_tokens, 64u);
  EXPECT_EQ(hit->tokens, miss->tokens);

  // The next turn of a chat: the first prompt, its answer, more.
  auto turn = prompt;
  turn.insert(turn.end(), miss->tokens.begin(), miss->tokens.end());
  for (const TokenId token : prompt_of(*engine, 2, 5)) turn.push_back(token);
  const auto second = submit(*engine, turn, 5);
  run(*engine);
  EXPECT_EQ(second->usage.cached_tokens, 96u);  // the answer's tokens, too
  auto fresh = open({});
  ASSERT_TRUE(fresh);
  const auto again = submit(*fresh, turn, 5);
  run(*fresh);
  EXPECT_EQ(again->tokens, second->tokens);
}

// score() and the answers see the same logits: the greedy token is the largest logit.
TEST_P(EngineLaws, ScoredLogitsAreTheAnswersLogits) {
  auto engine = open({.step_tokens_max = 50});
  ASSERT_TRUE(engine);
  auto tokens = prompt_of(*engine, 3, 70);
  auto reader = std::make_shared<Reader>();
  ASSERT_TRUE(engine->submit(
      {.prompt = tokens, .sampling = {.temperature = 0}, .max_tokens = 40, .sink = reader}));
  EXPECT_FALSE(engine->score(tokens, [](uint32_t, std::span<const float>) { return true; }))
      << "requests run";
  run(*engine);
  tokens.insert(tokens.end(), reader->tokens.begin(), reader->tokens.end());

  std::vector<uint32_t> positions;
  std::vector<std::vector<float>> rows;
  ASSERT_TRUE(engine->score(tokens, [&](uint32_t position, std::span<const float> logits) {
    positions.push_back(position);
    rows.emplace_back(logits.begin(), logits.end());
    return true;
  }));
  ASSERT_EQ(positions.size(), tokens.size());
  for (uint32_t i = 0; i < positions.size(); ++i) ASSERT_EQ(positions[i], i);
  for (size_t i = 0; i < reader->tokens.size(); ++i) {
    const auto& row = rows[69 + i];
    EXPECT_EQ(std::max_element(row.begin(), row.end()) - row.begin(), reader->tokens[i]);
  }

  // From a later position on: the same rows.
  size_t later = 0;
  ASSERT_TRUE(engine->score(
      tokens,
      [&](uint32_t position, std::span<const float> logits) {
        EXPECT_EQ(position, 41 + later++);
        EXPECT_TRUE(std::equal(logits.begin(), logits.end(), rows[position].begin()));
        return position < 80;
      },
      41));
  EXPECT_EQ(later, 40u);
}

INSTANTIATE_TEST_SUITE_P(All, EngineLaws,
                         testing::Values("models/stories260K.gguf", "golden/llama/model.gguf",
                                         "golden/qwen2/model.gguf", "golden/qwen3-yarn/model.gguf"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& letter : name) {
                             if (std::isalnum(static_cast<unsigned char>(letter)) == 0) {
                               letter = '_';
                             }
                           }
                           return name;
                         });

}  // namespace
}  // namespace hadal
