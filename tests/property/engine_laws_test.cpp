// The laws as a person meets them: what an answer is does not depend on how long the steps are, who
// else is served, or whether the prompt's beginning was still in the cache. Sampled at temperature
// 1 over the whole vocabulary, so that a changed bit of a logit soon changes the text; on the
// reference device, where equal means equal.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "device/registry.h"
#include "engine/engine.h"
#include "engine/log_probabilities.h"
#include "engine/random.h"

namespace hadal {
namespace {

// Half of the vocabulary, another half at each place.
class HalfMask : public TokenMask {
 public:
  HalfMask(uint64_t seed, uint32_t vocabulary) : seed_(seed), vocabulary_(vocabulary) {}
  bool allows(size_t place, TokenId token) const {
    return mix_bits(seed_ + mix_bits(place * vocabulary_ + static_cast<uint64_t>(token))) % 2 == 0;
  }
  void allowed(std::span<uint32_t> bits) override {
    std::ranges::fill(bits, 0u);
    for (TokenId token = 0; token < static_cast<TokenId>(vocabulary_); ++token) {
      const auto id = static_cast<uint32_t>(token);
      if (allows(place_, token)) bits[id / 32] |= 1u << (id % 32);
    }
  }
  void accept(TokenId) override { ++place_; }
  bool may_end() const override { return false; }

 private:
  uint64_t seed_;
  uint32_t vocabulary_;
  size_t place_ = 0;
};

struct Reader : TokenSink {
  std::vector<TokenId> tokens;
  std::vector<float> log_probabilities;  // chosen and top, one behind the other
  std::vector<float> embedding;
  std::vector<TokenProbability> prompt;  // chosen and top, one behind the other
  void on_prompt_log_probabilities(const LogProbabilities& given) override {
    prompt.push_back(given.chosen);
    prompt.insert(prompt.end(), given.top.begin(), given.top.end());
  }
  void on_log_probabilities(const LogProbabilities& given) override {
    log_probabilities.push_back(given.chosen.log_probability);
    for (const TokenProbability& each : given.top) {
      log_probabilities.push_back(each.log_probability);
      log_probabilities.push_back(static_cast<float>(each.token));
    }
  }
  void on_embedding(std::span<const float> given) override {
    embedding.assign(given.begin(), given.end());
  }
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

// Bit for bit what the logits of the whole text say, which eval's perplexity is made of: alone and
// in company, whatever the steps, though the cache knows the prompt.
TEST_P(EngineLaws, APromptsLogProbabilitiesAreThoseOfItsLogits) {
  constexpr uint32_t kTop = 3;
  for (const uint32_t step_tokens : {512u, 24u, 5u}) {
    auto engine = open({.sequences_max = 5, .step_tokens_max = step_tokens});
    ASSERT_TRUE(engine);
    std::vector<std::vector<TokenId>> prompts;
    std::vector<std::vector<TokenProbability>> expected;
    for (uint32_t i = 0; i < 4; ++i) {
      prompts.push_back(prompt_of(*engine, i, 1 + 29 * i));
      std::vector<TokenProbability>& entries = expected.emplace_back();
      LogProbabilityReport report(kTop);
      const auto& prompt = prompts.back();
      const auto take = [&](uint32_t position, std::span<const float> logits) {
        if (position + 1 == prompt.size()) return false;
        const LogProbabilities given = report.of(logits, prompt[position + 1]);
        entries.push_back(given.chosen);
        entries.insert(entries.end(), given.top.begin(), given.top.end());
        return true;
      };
      ASSERT_TRUE(engine->score(prompt, take));
      ASSERT_EQ(entries.size(), (prompt.size() - 1) * (1 + kTop));
    }
    const auto ask = [&](const std::vector<TokenId>& prompt, bool prompt_only) {
      auto reader = std::make_shared<Reader>();
      const auto id = engine->submit({.prompt = prompt,
                                      .sampling = {.temperature = 0},
                                      .max_tokens = 2,
                                      .sink = reader,
                                      .top_log_probabilities = kTop,
                                      .prompt_log_probabilities = true,
                                      .prompt_only = prompt_only});
      EXPECT_TRUE(id) << id.error().message;
      return reader;
    };
    const auto check = [&](const Reader& reader, size_t i) {
      ASSERT_TRUE(reader.finished);
      ASSERT_EQ(reader.prompt.size(), expected[i].size());
      for (size_t k = 0; k < expected[i].size(); ++k) {
        ASSERT_EQ(reader.prompt[k].token, expected[i][k].token) << i << ", " << k;
        ASSERT_EQ(reader.prompt[k].log_probability, expected[i][k].log_probability);
      }
      EXPECT_EQ(reader.usage.cached_tokens, 0u);
    };
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto reader = ask(prompts[i], true);
      run(*engine);
      check(*reader, i);
      EXPECT_TRUE(reader->tokens.empty());
      EXPECT_EQ(reader->reason, FinishReason::kMaxTokens);
    }
    const auto company = submit(*engine, prompt_of(*engine, 77, 40), 5);
    std::vector<std::shared_ptr<Reader>> readers;
    for (size_t i = 0; i < prompts.size(); ++i) readers.push_back(ask(prompts[i], i % 2 == 0));
    run(*engine);
    for (size_t i = 0; i < prompts.size(); ++i) {
      check(*readers[i], i);
      EXPECT_EQ(readers[i]->tokens.size(), i % 2 == 0 ? 0u : 2u);
    }
    EXPECT_EQ(company->tokens.size(), 30u);
  }
}

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

// With masks, biases, penalties and log probabilities, beside requests for embeddings, guessed or
// not: the same answers and the same figures, bit for bit.
TEST_P(EngineLaws, WhatARequestAsksForIsItsOwnAffair) {
  constexpr uint32_t kRequests = 8;
  const auto submit_kind = [&](Engine& engine, uint32_t i) {
    auto reader = std::make_shared<Reader>();
    Request request = {.prompt = prompt_of(engine, i, 5 + 9 * i),
                       .sampling = {.temperature = i % 3 == 0 ? 0.0f : 1.0f, .seed = i},
                       .max_tokens = 25,
                       .sink = reader,
                       .fairness_key = i % 3};
    if (i % 2 == 1) request.top_log_probabilities = i;
    if (i % 4 < 2) request.mask = std::make_shared<HalfMask>(i, engine.info().vocabulary);
    if (i % 3 != 1) request.logit_bias = {{7, 3.5f}, {static_cast<TokenId>(i), -100}};
    if (i == 5) request.sampling.repetition_penalty = 1.2f;
    request.embedding = i == 4 || i == 6;
    const auto id = engine.submit(std::move(request));
    EXPECT_TRUE(id) << id.error().message;
    return reader;
  };
  std::vector<std::shared_ptr<Reader>> alone;
  for (uint32_t i = 0; i < kRequests; ++i) {
    auto engine = open({.step_tokens_max = 512, .embeddings = true});
    ASSERT_TRUE(engine);
    alone.push_back(submit_kind(*engine, i));
    run(*engine);
    const Reader& reader = *alone.back();
    EXPECT_EQ(reader.embedding.size(), i == 4 || i == 6 ? engine->info().embedding_width : 0);
    EXPECT_EQ(reader.tokens.size(), i == 4 || i == 6 ? 0 : 25);
    const HalfMask mask(i, engine->info().vocabulary);
    for (size_t place = 0; i % 4 < 2 && place < reader.tokens.size(); ++place) {
      ASSERT_TRUE(mask.allows(place, reader.tokens[place]));
    }
  }
  for (const EngineOptions& options :
       {EngineOptions{.sequences_max = 8, .step_tokens_max = 512, .embeddings = true},
        EngineOptions{.sequences_max = 3,
        .step_tokens_max = 11,
        .speculation = Speculation::kNgramAlways,
        .target_itl_ms = 0.001,
        .embeddings = true}}) {
    auto engine = open(options);
    ASSERT_TRUE(engine);
    std::vector<std::shared_ptr<Reader>> readers;
    for (uint32_t i = 0; i < kRequests; ++i) {
      readers.push_back(submit_kind(*engine, i));
      ASSERT_TRUE(engine->step());
    }
    run(*engine);
    for (uint32_t i = 0; i < kRequests; ++i) {
      EXPECT_EQ(readers[i]->tokens, alone[i]->tokens) << "request " << i;
      EXPECT_EQ(readers[i]->log_probabilities, alone[i]->log_probabilities) << "request " << i;
      EXPECT_EQ(readers[i]->embedding, alone[i]->embedding) << "request " << i;
    }
    EXPECT_EQ(engine->status().blocks_held, 0u);
  }
}

// The pooled states are those that the logits come from, and another prompt has others.
TEST_P(EngineLaws, EmbeddingsTellPromptsApart) {
  auto engine = open({.embeddings = true});
  ASSERT_TRUE(engine);
  std::vector<std::vector<float>> embeddings;
  for (const uint32_t seed : {1u, 1u, 2u}) {
    auto reader = std::make_shared<Reader>();
    ASSERT_TRUE(engine->submit(
        {.prompt = prompt_of(*engine, seed, 40), .sink = reader, .embedding = true}));
    run(*engine);
    EXPECT_EQ(reader->reason, FinishReason::kEndToken);
    embeddings.push_back(reader->embedding);
  }
  EXPECT_EQ(embeddings[0], embeddings[1]);
  EXPECT_NE(embeddings[0], embeddings[2]);
  auto plain = open({});
  ASSERT_TRUE(plain);
  const auto refused = plain->submit(
      {.prompt = prompt_of(*plain, 1, 4), .sink = std::make_shared<Reader>(), .embedding = true});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, RefusalKind::kInvalid);
}

TEST_P(EngineLaws, ASaltHidesWhatOthersHaveAsked) {
  auto engine = open({});
  ASSERT_TRUE(engine);
  std::vector<std::shared_ptr<Reader>> readers;
  for (const uint64_t salt : {1u, 2u, 1u, 0u}) {
    auto reader = std::make_shared<Reader>();
    ASSERT_TRUE(engine->submit({.prompt = prompt_of(*engine, 9, 60),
                                .sampling = {.temperature = 1, .seed = 3},
                                .max_tokens = 10,
                                .sink = reader,
                                .cache_salt = salt}));
    run(*engine);
    readers.push_back(reader);
  }
  EXPECT_EQ(readers[0]->usage.cached_tokens, 0u);
  EXPECT_EQ(readers[1]->usage.cached_tokens, 0u);
  EXPECT_GT(readers[2]->usage.cached_tokens, 0u);
  EXPECT_EQ(readers[3]->usage.cached_tokens, 0u);
  for (const auto& reader : readers) EXPECT_EQ(reader->tokens, readers[0]->tokens);
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
                                         "golden/qwen2/model.gguf", "golden/qwen3-yarn/model.gguf",
                                         "golden/deepseek-v3-mtp/model.gguf"),
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
