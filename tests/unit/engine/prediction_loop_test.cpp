// The request loop with guesses of the model's own prediction layer: when they are made, what they
// cost where they do not pay, and what happens when they fail.
#include <gtest/gtest.h>

#include "engine/request_loop.h"

namespace hadal {
namespace {

constexpr uint32_t kVocabulary = 10;

// Counts: behind token n comes n + 1, behind the last 2 again. A step takes a second, and
// `token_seconds` more for each token beyond the first; the prediction layer takes layer_seconds,
// and head_seconds more where a guess is wanted.
class Counter : public StepRunner, public DraftRunner {
 public:
  double time = 0, token_seconds = 0, layer_seconds = 0.02, head_seconds = 0.02;
  bool guesses_wrong = false, guesses_unsure = false;
  bool drafts_throw = false;
  std::string draft_error;
  std::vector<size_t> steps;  // how many tokens each had
  uint64_t guesses = 0, further_guesses = 0;

  Result<std::span<const float>> run(const Batch& batch) override {
    steps.push_back(batch.tokens.size());
    time += 1 + token_seconds * static_cast<double>(batch.tokens.size() - 1);
    return answer(batch, false);
  }
  Result<std::span<const float>> draft(const Batch& batch, std::span<const uint32_t>) override {
    if (drafts_throw) throw std::bad_alloc();
    if (!draft_error.empty()) return fail("{}", draft_error);
    guesses += batch.logit_rows.size();
    time += layer_seconds + (batch.logit_rows.empty() ? 0 : head_seconds);
    return answer(batch, guesses_wrong, guesses_unsure ? 0.1f : 20.0f);
  }
  Result<std::span<const float>> draft_further(const Batch& batch, uint32_t) override {
    if (!draft_error.empty()) return fail("{}", draft_error);
    ++further_guesses;
    time += layer_seconds + head_seconds;
    return answer(batch, guesses_wrong);
  }

 private:
  Result<std::span<const float>> answer(const Batch& batch, bool wrong, float logit = 20) {
    logits_.assign(batch.logit_rows.size() * kVocabulary, 0.0f);
    for (size_t row = 0; row < batch.logit_rows.size(); ++row) {
      const TokenId token = batch.tokens[batch.logit_rows[row]];
      const TokenId next = wrong ? 0 : token == 9 ? 2 : token + 1;
      logits_[row * kVocabulary + static_cast<size_t>(next)] = logit;
    }
    return std::span<const float>(logits_);
  }
  std::vector<float> logits_;
};

struct Reader : TokenSink {
  std::vector<TokenId> tokens;
  FinishReason reason{};
  Usage usage;
  std::string error;
  int finished = 0;
  TokenDecision on_token(TokenId token) override {
    tokens.push_back(token);
    return {};
  }
  void on_finish(FinishReason why, const Usage& used, std::string_view message) override {
    ++finished;
    reason = why;
    usage = used;
    error = message;
  }
};

class PredictionLoopTest : public testing::Test {
 protected:
  void make(Speculation speculation, uint32_t context = 2048) {
    loop = std::make_unique<RequestLoop>(
        RequestLoopOptions{.scheduler = {.step_tokens_max = 32,
                                         .sequences_max = 2,
                                         .context_tokens = context,
                                         .blocks = context / 2,
                                         .block_tokens = 4,
                                         .logit_rows_max = 32},
                           .vocabulary = kVocabulary,
                           .speculation = speculation},
        counter, [this] { return counter.time; }, &counter);
  }
  std::shared_ptr<Reader> submit(Request request) {
    auto reader = std::make_shared<Reader>();
    if (request.prompt.empty()) request.prompt = {2, 7, 3, 5, 2, 6, 4, 2, 8, 3};
    request.sampling.temperature = 0;
    request.sink = reader;
    const Result<RequestId> id = loop->submit(std::move(request));
    EXPECT_TRUE(id) << id.error().message;
    return reader;
  }
  void run() {
    for (int i = 0; i < 100000; ++i) {
      const Result<bool> worked = loop->step();
      ASSERT_TRUE(worked) << worked.error().message;
      if (!*worked) return;
    }
    FAIL() << "it goes on and on";
  }

  Counter counter;
  std::unique_ptr<RequestLoop> loop;
};

TEST_F(PredictionLoopTest, SeveralTokensAStep) {
  make(Speculation::kMtpAlways, 256);
  const auto reader = submit({.max_tokens = 19});
  run();
  std::vector<TokenId> expected;
  for (int i = 0; i < 19; ++i) expected.push_back(2 + (2 + i) % 8);
  EXPECT_EQ(reader->tokens, expected);
  EXPECT_EQ(counter.steps, (std::vector<size_t>{10, 9, 9}));
  EXPECT_EQ(reader->usage.drafted_tokens, 16u);
  EXPECT_EQ(reader->usage.accepted_tokens, 16u);
  EXPECT_EQ(counter.further_guesses, 14u);
}

TEST_F(PredictionLoopTest, AWrongGuessCostsNothingButItself) {
  make(Speculation::kMtpAlways, 256);
  counter.guesses_wrong = true;
  const auto reader = submit({.max_tokens = 9});
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{4, 5, 6, 7, 8, 9, 2, 3, 4}));
  EXPECT_EQ(reader->usage.accepted_tokens, 0u);
}

TEST_F(PredictionLoopTest, OnWhereItPays) {
  make(Speculation::kMtp);
  counter.token_seconds = 0.05;
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->reason, FinishReason::kContextFull);
  EXPECT_LT(reader->usage.decode_seconds, 2038 / 4.0);
}

// What trying costs, where it does not pay, beside the layer that reads along: two in a hundred.
TEST_F(PredictionLoopTest, OffWhereATokenCostsMoreThanAStep) {
  make(Speculation::kMtp);
  counter.token_seconds = 1.5;
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->reason, FinishReason::kContextFull);
  EXPECT_LT(reader->usage.decode_seconds, 1.02 * (1 + counter.layer_seconds) * 2037);
  EXPECT_LT(counter.guesses, 100u) << "nor is the head run";
}

TEST_F(PredictionLoopTest, OffWhereGuessesAreWrong) {
  make(Speculation::kMtp);
  counter.token_seconds = 0.3;
  counter.guesses_wrong = true;
  const auto reader = submit({});
  run();
  EXPECT_LT(reader->usage.decode_seconds, 1.03 * (1 + counter.layer_seconds) * 2037)
      << reader->usage.drafted_tokens << " " << counter.guesses;
}

// Of all grades the layer only ever gives one, and guesses of that are wrong: what others would be
// worth is never known, and must not keep the head busy.
TEST_F(PredictionLoopTest, OffWhereTheLayerIsNeverSure) {
  make(Speculation::kMtp);
  counter.token_seconds = 0.2;
  counter.guesses_wrong = counter.guesses_unsure = true;
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->reason, FinishReason::kContextFull);
  EXPECT_LT(counter.guesses, 200u) << "of 2037 steps";
  EXPECT_LT(reader->usage.decode_seconds, 1.03 * (1 + counter.layer_seconds) * 2037);
}

TEST_F(PredictionLoopTest, OffWhereTheGuessesThemselvesTakeTooLong) {
  make(Speculation::kMtp);
  counter.token_seconds = 0.05;
  counter.head_seconds = 1.2;
  const auto reader = submit({});
  run();
  EXPECT_LT(reader->usage.decode_seconds, 1.08 * 2037) << counter.guesses;
}

TEST_F(PredictionLoopTest, ADeviceThatFailsWhileItGuessesEndsAll) {
  make(Speculation::kMtpAlways, 256);
  const auto reader = submit({});
  ASSERT_TRUE(loop->step());
  counter.draft_error = "the device is gone";
  const auto worked = loop->step();
  ASSERT_FALSE(worked);
  EXPECT_EQ(worked.error().message, "the device is gone");
  EXPECT_EQ(reader->finished, 1);
  EXPECT_EQ(reader->reason, FinishReason::kFailed);
  EXPECT_EQ(reader->error, "the device is gone");
  EXPECT_EQ(loop->scheduler().allocator().held_blocks(), 0u);
  EXPECT_FALSE(loop->step());
}

TEST_F(PredictionLoopTest, ADeviceThatFailsWhileItFollowsEndsAll) {
  make(Speculation::kMtpAlways, 256);
  const auto ended = submit({.max_tokens = 1});
  const auto reader = submit({});
  counter.draft_error = "the device is gone";
  ASSERT_FALSE(loop->step());
  EXPECT_EQ(ended->reason, FinishReason::kMaxTokens);
  EXPECT_EQ(reader->reason, FinishReason::kFailed);
  EXPECT_EQ(loop->scheduler().allocator().held_blocks(), 0u);
}

TEST_F(PredictionLoopTest, WithoutMemoryThereAreNoGuesses) {
  make(Speculation::kMtpAlways, 256);
  counter.drafts_throw = true;
  const auto reader = submit({.max_tokens = 9});
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{4, 5, 6, 7, 8, 9, 2, 3, 4}));
  EXPECT_EQ(reader->usage.drafted_tokens, 0u);
}

}  // namespace
}  // namespace hadal
