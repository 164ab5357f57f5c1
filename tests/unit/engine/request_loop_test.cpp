#include "engine/request_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/random.h"

namespace hadal {
namespace {

constexpr uint32_t kVocabulary = 10;

// Answers with a script: the n-th logit row of the run says token script[n], then 1 for ever.
class Script : public StepRunner {
 public:
  std::vector<TokenId> tokens;
  std::string error;
  int throw_at = -1, throws = 1;
  int runs = 0;
  bool no_numbers = false;
  std::vector<size_t> steps;  // how many tokens each had
  int runs_with_hidden = 0;

  // Of a token t at position p: [t, p].
  Result<std::span<const float>> run_with_hidden(const Batch& batch) override {
    ++runs_with_hidden;
    hidden_.clear();
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      hidden_.push_back(no_numbers ? std::nanf("") : static_cast<float>(batch.tokens[i]));
      hidden_.push_back(static_cast<float>(batch.layout.positions[i]));
    }
    return run(batch);
  }
  Result<std::span<const float>> hidden(uint32_t first, uint32_t count) override {
    return std::span<const float>(hidden_).subspan(2 * first, 2 * count);
  }
  Result<std::span<const float>> run(const Batch& batch) override {
    const int this_run = runs++;
    steps.push_back(batch.tokens.size());
    if (throw_at >= 0 && this_run >= throw_at && this_run < throw_at + throws) {
      throw std::bad_alloc();
    }
    if (!error.empty()) return fail("{}", error);
    const size_t rows = batch.logit_rows.size();
    logits_.assign(rows * kVocabulary, no_numbers ? std::nanf("") : 0.0f);
    for (size_t row = 0; row < rows && !no_numbers; ++row) {
      const TokenId token = next_ < tokens.size() ? tokens[next_++] : 1;
      logits_[row * kVocabulary + static_cast<size_t>(token)] = 1.0f;
    }
    return std::span<const float>(logits_);
  }

 private:
  std::vector<float> logits_, hidden_;
  size_t next_ = 0;
};

struct Reader : TokenSink {
  std::vector<TokenId> tokens;
  std::map<size_t, TokenDecision> decisions;  // after so many tokens
  int finished = 0;
  FinishReason reason{};
  Usage usage;
  std::string error;
  bool throws = false;
  std::function<void()> at_end;

  void on_embedding(std::span<const float> given) override {
    if (throws) throw std::bad_alloc();
    embedding.assign(given.begin(), given.end());
  }
  std::vector<float> embedding;
  void on_log_probabilities(const LogProbabilities& given) override {
    places.push_back(tokens.size());
    chosen.push_back(given.chosen);
    top.emplace_back(given.top.begin(), given.top.end());
  }
  void on_prompt_log_probabilities(const LogProbabilities& given) override {
    if (throws) throw std::bad_alloc();
    EXPECT_TRUE(tokens.empty());
    prompt.push_back(given.chosen);
    prompt_top.push_back(given.top.empty() ? -1 : given.top[0].token);
  }
  std::vector<TokenProbability> prompt;
  std::vector<TokenId> prompt_top;
  std::vector<size_t> places;  // of which there were log probabilities
  std::vector<TokenProbability> chosen;
  std::vector<std::vector<TokenProbability>> top;

  TokenDecision on_token(TokenId token) override {
    if (throws) throw std::bad_alloc();
    tokens.push_back(token);
    const auto found = decisions.find(tokens.size());
    return found == decisions.end() ? TokenDecision{} : found->second;
  }
  void on_finish(FinishReason why, const Usage& used, std::string_view message) override {
    ++finished;
    reason = why;
    usage = used;
    error = message;
    if (at_end) at_end();
  }
};

class RequestLoopTest : public testing::Test {
 protected:
  RequestLoopTest() { make({}); }

  void make(SchedulerOptions options) {
    options.context_tokens = 16;
    options.block_tokens = 4;
    options.blocks = 4 * options.sequences_max;
    options.step_tokens_max = 8;
    loop = std::make_unique<RequestLoop>(
        RequestLoopOptions{.scheduler = options, .vocabulary = kVocabulary, .hidden_width = 2},
        script, [this] { return time; });
  }

  std::shared_ptr<Reader> submit(Request request) {
    auto reader = std::make_shared<Reader>();
    if (request.prompt.empty()) request.prompt = {2, 3};
    request.sampling.temperature = 0;
    request.sink = reader;
    const Result<RequestId> id = loop->submit(std::move(request));
    EXPECT_TRUE(id) << id.error().message;
    last_id = id.value_or(0);
    return reader;
  }

  void run() {
    for (int i = 0; i < 100; ++i) {
      const Result<bool> worked = loop->step();
      ASSERT_TRUE(worked) << worked.error().message;
      time += 1;
      if (!*worked) return;
    }
    FAIL() << "it goes on and on";
  }

  Script script;
  double time = 0;
  std::unique_ptr<RequestLoop> loop;
  RequestId last_id = 0;
};

TEST_F(RequestLoopTest, WhoHearsOfItsEndFindsItCounted) {
  const auto reader = submit({.max_tokens = 3});
  EngineStatus status;
  reader->at_end = [&] { status = loop->status(); };
  run();
  EXPECT_EQ(status.answer_tokens, 3u);
  EXPECT_EQ(status.running, 0u);
}

TEST_F(RequestLoopTest, EndsAtTheEndTokenWhichNobodySees) {
  script.tokens = {4, 5, 6, 7};
  const auto reader = submit({.end_tokens = {9, 6}});
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{4, 5}));
  EXPECT_EQ(reader->finished, 1);
  EXPECT_EQ(reader->reason, FinishReason::kEndToken);
  EXPECT_EQ(reader->usage.prompt_tokens, 2u);
  EXPECT_EQ(reader->usage.answer_tokens, 3u);
  EXPECT_EQ(reader->usage.prompt_seconds, 0.0);
  EXPECT_EQ(reader->usage.decode_seconds, 2.0);
  EXPECT_TRUE(loop->idle());
}

TEST_F(RequestLoopTest, EndsAfterMaxTokens) {
  const auto reader = submit({.max_tokens = 3});
  run();
  EXPECT_EQ(reader->tokens.size(), 3u);
  EXPECT_EQ(reader->reason, FinishReason::kMaxTokens);
}

TEST_F(RequestLoopTest, EndsWhenTheContextIsFull) {
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->tokens.size(), 14u);
  EXPECT_EQ(reader->reason, FinishReason::kContextFull);
  EXPECT_EQ(reader->usage.prompt_tokens + reader->usage.answer_tokens, 16u);
}

TEST_F(RequestLoopTest, EndsWhenTheReaderSaysSo) {
  auto reader = submit({});
  reader->decisions[2].stop = true;
  run();
  EXPECT_EQ(reader->tokens.size(), 2u);
  EXPECT_EQ(reader->reason, FinishReason::kStopped);
}

TEST_F(RequestLoopTest, ForcedTokensTakeTheSampledOnesPlace) {
  script.tokens = {4, 5, 6};
  auto reader = submit({.max_tokens = 6});
  reader->decisions[1].force = {7, 8};
  reader->decisions[2].force = {3};  // asked for by a forced token: behind the others
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{4, 7, 8, 3, 5, 6}));
  EXPECT_EQ(reader->reason, FinishReason::kMaxTokens);
}

TEST_F(RequestLoopTest, ForcedTokensObeyTheLimits) {
  auto reader = submit({.max_tokens = 2});
  reader->decisions[1].force = {7, 8, 7};
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{1, 7}));
  auto full = submit({});
  full->decisions[1].force.assign(100, 7);
  run();
  EXPECT_EQ(full->reason, FinishReason::kContextFull);
  EXPECT_EQ(full->tokens.size(), 14u);
  auto ended = submit({.end_tokens = {8}});
  ended->decisions[1].force = {7, 8, 7};
  run();
  EXPECT_EQ(ended->reason, FinishReason::kEndToken);
  EXPECT_EQ(ended->tokens, (std::vector<TokenId>{1, 7}));
  auto wrong = submit({});
  wrong->decisions[1].force = {10};
  run();
  EXPECT_EQ(wrong->reason, FinishReason::kFailed);
  EXPECT_NE(wrong->error.find("10"), std::string::npos);
}

TEST_F(RequestLoopTest, RefusesWhatCannotRun) {
  const auto error_of = [&](Request request) {
    request.sink = std::make_shared<Reader>();
    const auto id = loop->submit(std::move(request));
    return id ? std::string("accepted") : id.error().message;
  };
  EXPECT_EQ(error_of({}), "the prompt is empty");
  EXPECT_NE(error_of({.prompt = {3, 10}}).find("token 10"), std::string::npos);
  EXPECT_NE(error_of({.prompt = {-1}}).find("token -1"), std::string::npos);
  const std::string too_long = error_of({.prompt = std::vector<TokenId>(16, 1)});
  EXPECT_NE(too_long.find("16 tokens"), std::string::npos) << too_long;
  EXPECT_NE(error_of({.prompt = {1}, .sampling = {.temperature = -1}}).find("temperature"),
            std::string::npos);
  EXPECT_EQ(error_of({.prompt = std::vector<TokenId>(15, 1)}), "accepted");
}

TEST_F(RequestLoopTest, TheQueueHasALimit) {
  make({.sequences_max = 2, .waiting_max = 3});
  for (int i = 0; i < 5; ++i) submit({.max_tokens = 1});
  const auto refused = loop->submit({.prompt = {1}, .sink = std::make_shared<Reader>()});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("5 requests"), std::string::npos);
  run();
  submit({.max_tokens = 1});
  run();
}

TEST_F(RequestLoopTest, CancelledInEveryState) {
  make({.sequences_max = 1});
  const auto first = submit({});
  const RequestId first_id = last_id;
  const auto second = submit({});
  const RequestId second_id = last_id;
  ASSERT_TRUE(loop->step());
  loop->cancel(second_id);  // waits
  loop->cancel(second_id);
  ASSERT_TRUE(loop->step());
  EXPECT_EQ(second->finished, 1);
  EXPECT_EQ(second->reason, FinishReason::kCancelled);
  EXPECT_TRUE(second->tokens.empty());
  loop->cancel(first_id);  // runs
  const auto third = submit({});
  loop->cancel(last_id);  // has not been seen by a step
  run();
  EXPECT_EQ(first->reason, FinishReason::kCancelled);
  EXPECT_EQ(first->tokens.size(), 2u);
  EXPECT_EQ(third->reason, FinishReason::kCancelled);
  loop->cancel(first_id);  // has ended
  loop->cancel(12345);
  EXPECT_TRUE(loop->idle());
  EXPECT_EQ(loop->scheduler().allocator().held_blocks(), 0u);
}

TEST_F(RequestLoopTest, TheEndOfOneMaySubmitTheNext) {
  const auto first = submit({.max_tokens = 1});
  std::shared_ptr<Reader> second;
  first->at_end = [&] { second = submit({.max_tokens = 2}); };
  run();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->tokens.size(), 2u);
}

TEST_F(RequestLoopTest, AFailedDeviceEndsAllAndTakesNoMore) {
  make({.sequences_max = 1});
  const auto running = submit({});
  const auto waiting = submit({});
  ASSERT_TRUE(loop->step());
  const auto arrived = submit({});
  script.error = "the file changed under us";
  const auto step = loop->step();
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().message, "the file changed under us");
  for (const auto& reader : {running, waiting, arrived}) {
    EXPECT_EQ(reader->finished, 1);
    EXPECT_EQ(reader->reason, FinishReason::kFailed);
    EXPECT_EQ(reader->error, "the file changed under us");
  }
  EXPECT_FALSE(loop->step());
  EXPECT_FALSE(loop->submit({.prompt = {1}, .sink = std::make_shared<Reader>()}));
}

TEST_F(RequestLoopTest, AStepThatLacksMemoryIsTriedAgain) {
  make({.sequences_max = 2});
  script.tokens = {4, 5, 6, 7, 8, 9};
  const auto first = submit({.max_tokens = 3});
  const auto second = submit({.max_tokens = 3});
  script.throw_at = 1;
  run();
  EXPECT_EQ(first->reason, FinishReason::kMaxTokens);
  EXPECT_EQ(second->reason, FinishReason::kMaxTokens);
  EXPECT_EQ(first->tokens, (std::vector<TokenId>{4, 6, 8}));
  EXPECT_EQ(second->tokens, (std::vector<TokenId>{5, 7, 9}));
}

TEST_F(RequestLoopTest, MemoryThatStaysAwayEndsTheYoungestFirst) {
  make({.sequences_max = 3});
  const auto first = submit({.max_tokens = 2});
  const auto second = submit({.max_tokens = 2});
  const auto third = submit({.max_tokens = 2});
  script.throw_at = 0;
  script.throws = 3;
  run();
  EXPECT_EQ(first->reason, FinishReason::kMaxTokens);
  EXPECT_EQ(second->reason, FinishReason::kFailed);
  EXPECT_NE(second->error.find("memory"), std::string::npos);
  EXPECT_EQ(third->reason, FinishReason::kFailed);
  EXPECT_EQ(loop->scheduler().allocator().held_blocks(), 0u);
}

TEST_F(RequestLoopTest, AReaderWithoutMemoryEndsAlone) {
  make({.sequences_max = 2});
  const auto first = submit({});
  first->throws = true;
  const auto second = submit({.max_tokens = 2});
  run();
  EXPECT_EQ(first->reason, FinishReason::kFailed);
  EXPECT_EQ(second->reason, FinishReason::kMaxTokens);
}

TEST_F(RequestLoopTest, LogitsWithoutNumbersAreAnError) {
  script.no_numbers = true;
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->reason, FinishReason::kFailed);
  EXPECT_FALSE(reader->error.empty());
}

TEST_F(RequestLoopTest, ClosingEndsWhatRuns) {
  const auto reader = submit({});
  ASSERT_TRUE(loop->step());
  const auto arrived = submit({});
  loop.reset();
  EXPECT_EQ(reader->finished, 1);
  EXPECT_EQ(reader->reason, FinishReason::kCancelled);
  EXPECT_EQ(arrived->finished, 1);
}

TEST_F(RequestLoopTest, ASecondTurnReportsWhatItFoundInTheCache) {
  const auto first = submit({.prompt = {2, 3, 4, 5, 6}, .max_tokens = 4});
  run();
  EXPECT_EQ(first->usage.cached_tokens, 0u);
  const auto second = submit({.prompt = {2, 3, 4, 5, 6, 1, 1, 1, 1, 8}, .max_tokens = 1});
  run();
  EXPECT_EQ(second->usage.cached_tokens, 8u);
}

// Allows what a list says, place by place; behind its end nothing. May end at the places named.
class ListedMask : public TokenMask {
 public:
  std::vector<std::vector<TokenId>> places;
  std::vector<size_t> ends;
  std::vector<TokenId> accepted;
  bool throws = false;

  void allowed(std::span<uint32_t> bits) override {
    if (throws) throw std::bad_alloc();
    std::ranges::fill(bits, 0u);
    // Ids behind the vocabulary are asked for, too: nobody may draw them.
    bits.back() = ~((1u << kVocabulary) - 1);
    if (accepted.size() >= places.size()) return;
    for (const TokenId token : places[accepted.size()]) bits[0] |= 1u << token;
  }
  void accept(TokenId token) override { accepted.push_back(token); }
  bool may_end() const override { return std::ranges::find(ends, accepted.size()) != ends.end(); }
};

TEST_F(RequestLoopTest, AMaskDecidesWhatMayCome) {
  const auto mask = std::make_shared<ListedMask>();
  mask->places = {{3, 5}, {4}, {2, 6, 7}};
  mask->ends = {3};
  script.tokens = {5, 9, 7, 8};  // the second and the last are not allowed
  const auto reader = submit({.end_tokens = {8}, .mask = mask});
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{5, 4, 7}));
  EXPECT_EQ(mask->accepted, reader->tokens);
  EXPECT_EQ(reader->reason, FinishReason::kEndToken) << reader->error;
}

TEST_F(RequestLoopTest, EndTokensAreAllowedOnlyWhereTheMaskMayEnd) {
  const auto mask = std::make_shared<ListedMask>();
  mask->places.assign(10, {2, 3, 8});  // 8 is the end: not the mask's to allow
  mask->ends = {2, 3};
  script.tokens = {8, 8, 3, 8};
  const auto reader = submit({.end_tokens = {8, 100}, .mask = mask});
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{2, 2, 3}));
  EXPECT_EQ(reader->reason, FinishReason::kEndToken);
  EXPECT_EQ(reader->usage.answer_tokens, 4u);
}

TEST_F(RequestLoopTest, AMaskThatAllowsNothingIsAnErrorOfItsRequestAlone) {
  make({.sequences_max = 2});
  const auto mask = std::make_shared<ListedMask>();
  mask->places = {{3}};
  const auto stuck = submit({.mask = mask});
  const auto broken_mask = std::make_shared<ListedMask>();
  broken_mask->throws = true;
  const auto broken = submit({.mask = broken_mask});
  const auto other = submit({.max_tokens = 4});
  run();
  EXPECT_EQ(stuck->reason, FinishReason::kFailed);
  EXPECT_NE(stuck->error.find("form"), std::string::npos);
  EXPECT_EQ(stuck->tokens.size(), 1u);
  EXPECT_EQ(broken->reason, FinishReason::kFailed);
  EXPECT_EQ(other->reason, FinishReason::kMaxTokens);
}

TEST_F(RequestLoopTest, ForcedTokensAreToldToTheMask) {
  const auto mask = std::make_shared<ListedMask>();
  mask->places = {{3}, {4}, {4}, {5}};
  mask->ends = {4};
  const auto reader = submit({.mask = mask});
  reader->decisions[1].force = {7, 8};
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{3, 7, 8, 5}));
  EXPECT_EQ(mask->accepted, reader->tokens);
}

TEST_F(RequestLoopTest, LogProbabilitiesGoWithTheDrawnTokens) {
  script.tokens = {4, 5, 6, 7};
  const auto plain = submit({.max_tokens = 2});
  run();
  EXPECT_TRUE(plain->chosen.empty());
  script = {};
  script.tokens = {4, 5, 6, 9};
  const auto mask = std::make_shared<ListedMask>();
  mask->places.assign(8, {3, 5, 6, 7});
  mask->ends = {5};
  auto reader = submit(
      {.end_tokens = {9}, .logit_bias = {{6, -50}}, .top_log_probabilities = 3, .mask = mask});
  reader->decisions[2].force = {7, 7};
  run();
  // 4 was not allowed, 6 was as good as forbidden; 9 ends it.
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{3, 5, 7, 7, 3}));
  EXPECT_EQ(reader->places, (std::vector<size_t>{0, 1, 4}));  // not of what was forced
  const float likeliest = 1 - std::log(std::exp(1.0f) + 9), others = likeliest - 1;
  ASSERT_EQ(reader->chosen.size(), 3u);
  EXPECT_EQ(reader->chosen[0].token, 3);
  EXPECT_NEAR(reader->chosen[0].log_probability, others, 1e-6);
  EXPECT_NEAR(reader->chosen[1].log_probability, likeliest, 1e-6);
  ASSERT_EQ(reader->top[0].size(), 3u);
  EXPECT_EQ(reader->top[0][0].token, 4);  // the model's own opinion
  EXPECT_EQ(reader->top[0][1].token, 0);
  EXPECT_EQ(reader->top[2][0].token, 6);
  EXPECT_NEAR(reader->top[2][0].log_probability, likeliest, 1e-6);
}

// The n-th row of logits says script[n]: so the order of the rows shows.
TEST_F(RequestLoopTest, LogProbabilitiesOfThePromptComeFirst) {
  make({.sequences_max = 2, .logit_rows_max = 4});
  script.tokens = {3, 0, 5, 6, 7, 8, 2};
  const auto reader = submit({.prompt = {2, 3, 4, 5, 6, 7},
                              .max_tokens = 2,
                              .top_log_probabilities = 1,
                              .prompt_log_probabilities = true});
  run();
  EXPECT_EQ(script.steps, (std::vector<size_t>{4, 2, 1}));
  const float likeliest = 1 - std::log(std::exp(1.0f) + 9), others = likeliest - 1;
  ASSERT_EQ(reader->prompt.size(), 5u);
  EXPECT_EQ(reader->prompt_top, (std::vector<TokenId>{3, 0, 5, 6, 7}));
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(reader->prompt[i].token, static_cast<TokenId>(3 + i));
    EXPECT_NEAR(reader->prompt[i].log_probability, i == 1 ? others : likeliest, 1e-6);
  }
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{8, 2}));
  EXPECT_EQ(reader->chosen.size(), 2u);
  EXPECT_FALSE(loop->submit(
      {.prompt = {2}, .sink = std::make_shared<Reader>(), .prompt_log_probabilities = true}));
}

TEST_F(RequestLoopTest, APromptAloneHasNoAnswer) {
  const auto plain = submit({.prompt = {2, 3}, .prompt_only = true});
  const auto scored = submit({.prompt = {2, 3, 4},
                              .top_log_probabilities = 0,
                              .prompt_log_probabilities = true,
                              .prompt_only = true});
  run();
  for (const auto& reader : {plain, scored}) {
    EXPECT_EQ(reader->reason, FinishReason::kMaxTokens);
    EXPECT_TRUE(reader->tokens.empty());
    EXPECT_EQ(reader->usage.answer_tokens, 0u);
  }
  EXPECT_EQ(scored->prompt.size(), 2u);
  script.no_numbers = true;
  const auto damaged = submit({.prompt = {2, 3}, .prompt_only = true});
  run();
  EXPECT_EQ(damaged->reason, FinishReason::kFailed);
}

// In the middle of its prompt, or with the step that ends it.
TEST_F(RequestLoopTest, WhoHasNoMemoryForItsPromptsLogProbabilitiesFailsAlone) {
  for (const size_t length : {13u, 3u}) {
    make({.sequences_max = 2});
    const auto forgetful = submit({.prompt = std::vector<TokenId>(length, 2),
                                   .top_log_probabilities = 0,
                                   .prompt_log_probabilities = true});
    forgetful->throws = true;
    const auto other = submit({.prompt = {2, 3}, .max_tokens = 3});
    run();
    EXPECT_EQ(forgetful->reason, FinishReason::kFailed);
    EXPECT_NE(forgetful->error.find("memory"), std::string::npos) << forgetful->error;
    EXPECT_EQ(forgetful->finished, 1);
    EXPECT_EQ(other->reason, FinishReason::kMaxTokens);
    EXPECT_TRUE(loop->idle());
    EXPECT_EQ(loop->scheduler().allocator().held_blocks(), 0u);
  }
}

// In company, in chunks, with its beginning in the cache: always the mean of all its states.
TEST_F(RequestLoopTest, AnEmbeddingIsTheMeanOfThePromptsStates) {
  make({.sequences_max = 3});
  const auto answer = submit({.prompt = {2, 3, 4, 5, 6}, .max_tokens = 6});
  ASSERT_TRUE(loop->step());
  EXPECT_EQ(script.runs_with_hidden, 0);
  const auto first = submit({.prompt = {2, 3, 4, 5, 6, 7, 8, 9, 9}, .embedding = true});
  const auto second = submit({.prompt = {4}, .embedding = true});
  run();
  EXPECT_EQ(first->embedding, (std::vector<float>{53.0f / 9, 4.0f}));
  EXPECT_EQ(second->embedding, (std::vector<float>{4, 0}));
  for (const auto& reader : {first, second}) {
    EXPECT_EQ(reader->reason, FinishReason::kEndToken);
    EXPECT_TRUE(reader->tokens.empty());
    EXPECT_EQ(reader->usage.cached_tokens, 0u);
    EXPECT_EQ(reader->usage.answer_tokens, 0u);
  }
  EXPECT_EQ(answer->tokens.size(), 6u);
  EXPECT_TRUE(answer->embedding.empty());
  const int runs = script.runs_with_hidden;
  submit({.max_tokens = 3});
  run();
  EXPECT_EQ(script.runs_with_hidden, runs);
}

TEST_F(RequestLoopTest, AnEmbeddingMayFailAlone) {
  make({.sequences_max = 3});
  auto forgetful = submit({.prompt = {2, 3}, .embedding = true});
  forgetful->throws = true;
  const auto other = submit({.prompt = {2, 3}, .embedding = true});
  run();
  EXPECT_EQ(forgetful->reason, FinishReason::kFailed);
  EXPECT_EQ(other->reason, FinishReason::kEndToken);
  script.no_numbers = true;
  const auto damaged = submit({.prompt = {2, 3}, .embedding = true});
  run();
  EXPECT_EQ(damaged->reason, FinishReason::kFailed);
  EXPECT_NE(damaged->error.find("no number"), std::string::npos);
}

TEST_F(RequestLoopTest, RefusalsHaveAKind) {
  make({.sequences_max = 1, .waiting_max = 1});
  const auto kind_of = [&](Request request) {
    request.sink = std::make_shared<Reader>();
    const auto id = loop->submit(std::move(request));
    EXPECT_FALSE(id);
    return id ? RefusalKind::kClosed : id.error().kind;
  };
  EXPECT_EQ(kind_of({}), RefusalKind::kInvalid);
  EXPECT_EQ(kind_of({.prompt = {1}, .logit_bias = {{10, 1}}}), RefusalKind::kInvalid);
  EXPECT_EQ(kind_of({.prompt = {1}, .top_log_probabilities = 21}), RefusalKind::kInvalid);
  EXPECT_EQ(kind_of({.prompt = std::vector<TokenId>(16, 1)}), RefusalKind::kPromptTooLong);
  submit({});
  submit({.top_log_probabilities = 20});
  EXPECT_EQ(kind_of({.prompt = {1}}), RefusalKind::kQueueFull);
  script.error = "gone";
  EXPECT_FALSE(loop->step());
  EXPECT_EQ(kind_of({.prompt = {1}}), RefusalKind::kClosed);
}

TEST_F(RequestLoopTest, TheStatusSaysHowThingsStand) {
  make({.sequences_max = 1});
  EXPECT_EQ(loop->status().blocks_total, 4u);
  submit({.prompt = {2, 3, 4, 5, 6}, .max_tokens = 3});
  submit({.prompt = {2, 3, 4, 5, 7}, .max_tokens = 2});
  EXPECT_EQ(loop->status().waiting, 2u);
  EXPECT_EQ(loop->status().requests_accepted, 2u);
  ASSERT_TRUE(loop->step());
  time += 5;
  EngineStatus status = loop->status();
  EXPECT_EQ(status.running, 1u);
  EXPECT_EQ(status.waiting, 1u);
  EXPECT_EQ(status.blocks_held, 2u);
  EXPECT_EQ(status.steps, 1u);
  EXPECT_EQ(status.last_step_tokens, 5u);
  EXPECT_EQ(status.prompt_tokens, 5u);
  EXPECT_EQ(status.answer_tokens, 1u);
  run();
  status = loop->status();
  EXPECT_EQ(status.running + status.waiting, 0u);
  EXPECT_EQ(status.blocks_held, 0u);
  EXPECT_GT(status.blocks_cached, 0u);
  EXPECT_EQ(status.prompt_tokens, 10u);
  EXPECT_EQ(status.cached_tokens, 4u);
  EXPECT_EQ(status.answer_tokens, 5u);
  EXPECT_EQ(status.steps, 5u);
  EXPECT_EQ(status.step_sequences, 5u);
  EXPECT_EQ(status.step_tokens, 5u + 2 + 1 + 1);
  EXPECT_EQ(status.requests_finished[static_cast<size_t>(FinishReason::kMaxTokens)], 2u);
}

TEST_F(RequestLoopTest, UsageSaysHowLongItWaited) {
  make({.sequences_max = 1});
  const auto first = submit({.max_tokens = 3});
  const auto second = submit({.max_tokens = 1});
  run();
  EXPECT_EQ(first->usage.queue_seconds, 0.0);
  EXPECT_EQ(second->usage.queue_seconds, 3.0);
  EXPECT_EQ(second->usage.prompt_seconds, 3.0);
}

// Counts: behind token n comes n + 1, behind the last 2 again. Takes a second, and `token_seconds`
// more for each token beyond the first.
class Counter : public StepRunner {
 public:
  double time = 0, token_seconds = 0;
  TokenId strange_behind = -1, strange = -1;  // an exception to the rule
  bool erratic = false;                       // no rule at all, but a place has its token
  std::vector<size_t> steps;                  // how many tokens each had

  Result<std::span<const float>> run(const Batch& batch) override {
    steps.push_back(batch.tokens.size());
    time += 1 + token_seconds * static_cast<double>(batch.tokens.size() - 1);
    const size_t rows = batch.logit_rows.size();
    logits_.assign(rows * kVocabulary, 0.0f);
    for (size_t row = 0; row < rows; ++row) {
      const uint32_t place = batch.logit_rows[row];
      const TokenId token = batch.tokens[place];
      TokenId next = token == strange_behind ? strange : token == 9 ? 2 : token + 1;
      if (erratic) {
        const auto position = static_cast<uint64_t>(batch.layout.positions[place]);
        next = static_cast<TokenId>(mix_bits(position) % kVocabulary);
      }
      logits_[row * kVocabulary + static_cast<size_t>(next)] = 1.0f;
    }
    return std::span<const float>(logits_);
  }

 private:
  std::vector<float> logits_;
};

class SpeculatingLoopTest : public testing::Test {
 protected:
  SpeculatingLoopTest() { make(Speculation::kNgramAlways); }

  void make(Speculation speculation, uint32_t context = 256, uint32_t sequences = 1) {
    loop = std::make_unique<RequestLoop>(
        RequestLoopOptions{.scheduler = {.step_tokens_max = 32,
                                         .sequences_max = sequences,
                                         .context_tokens = context,
                                         .blocks = context / 4 * sequences,
                                         .block_tokens = 4,
                                         .logit_rows_max = 32},
                           .vocabulary = kVocabulary,
                           .speculation = speculation},
        counter, [this] { return counter.time; });
  }

  std::shared_ptr<Reader> submit(Request request) {
    auto reader = std::make_shared<Reader>();
    if (request.prompt.empty()) request.prompt = {2, 3, 4, 5, 6, 7, 8, 9, 2, 3};
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

TEST_F(SpeculatingLoopTest, SeveralTokensAStep) {
  const auto reader = submit({.max_tokens = 19});
  run();
  std::vector<TokenId> expected;
  for (int i = 0; i < 19; ++i) expected.push_back(2 + (2 + i) % 8);
  EXPECT_EQ(reader->tokens, expected);
  EXPECT_EQ(reader->reason, FinishReason::kMaxTokens);
  EXPECT_EQ(counter.steps, (std::vector<size_t>{10, 9, 9}));  // the prompt, then 9 tokens a step
  EXPECT_EQ(reader->usage.answer_tokens, 19u);
  EXPECT_EQ(reader->usage.drafted_tokens, 16u);
  EXPECT_EQ(reader->usage.accepted_tokens, 16u);
  EXPECT_EQ(reader->usage.prompt_seconds, 1.0);
  EXPECT_EQ(reader->usage.decode_seconds, 2.0);
}

TEST_F(SpeculatingLoopTest, AWrongGuessCostsNothingButItself) {
  counter.strange_behind = 6;
  counter.strange = 3;
  const auto reader = submit({.max_tokens = 12});
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{4, 5, 6, 3, 4, 5, 6, 3, 4, 5, 6, 3}));
  EXPECT_LT(reader->usage.accepted_tokens, reader->usage.drafted_tokens);
  EXPECT_LT(counter.steps.size(), 6u);
}

TEST_F(SpeculatingLoopTest, EndsWhereverAnAcceptedRunSaysSo) {
  const auto ended = submit({.end_tokens = {7}});
  run();
  EXPECT_EQ(ended->tokens, (std::vector<TokenId>{4, 5, 6}));
  EXPECT_EQ(ended->reason, FinishReason::kEndToken);
  EXPECT_EQ(ended->usage.answer_tokens, 4u);
  for (const uint32_t max_tokens : {1u, 2u, 5u, 10u, 11u}) {
    const auto limited = submit({.max_tokens = max_tokens});
    run();
    EXPECT_EQ(limited->tokens.size(), max_tokens);
    EXPECT_EQ(limited->reason, FinishReason::kMaxTokens);
  }
  auto stopped = submit({});
  stopped->decisions[4].stop = true;
  run();
  EXPECT_EQ(stopped->tokens, (std::vector<TokenId>{4, 5, 6, 7}));
  EXPECT_EQ(stopped->reason, FinishReason::kStopped);
  make(Speculation::kNgramAlways, 24);
  const auto full = submit({});
  run();
  EXPECT_EQ(full->tokens.size(), 14u);
  EXPECT_EQ(full->reason, FinishReason::kContextFull);
  EXPECT_EQ(loop->scheduler().allocator().held_blocks(), 0u);
}

// A guess that the mask forbids is as wrong as any other.
TEST_F(SpeculatingLoopTest, AMaskHoldsInsideGuesses) {
  for (const Speculation speculation : {Speculation::kOff, Speculation::kNgramAlways}) {
    make(speculation);
    const auto mask = std::make_shared<ListedMask>();
    mask->places.assign(40, {2, 3, 4, 5, 7, 8, 9});  // never 6
    mask->ends = {30};
    mask->places.resize(30);
    const auto reader = submit({.end_tokens = {1}, .top_log_probabilities = 2, .mask = mask});
    run();
    std::vector<TokenId> expected;
    for (size_t i = 0; i < 30; ++i) {
      expected.push_back(i < 2 ? static_cast<TokenId>(4 + i)
                               : static_cast<TokenId>(2 + (i - 2) % 4));
    }
    EXPECT_EQ(reader->tokens, expected);
    EXPECT_EQ(mask->accepted, expected);
    EXPECT_EQ(reader->chosen.size(), 30u);
    EXPECT_EQ(reader->reason, FinishReason::kEndToken) << reader->error;
    EXPECT_EQ(reader->usage.drafted_tokens > 0, speculation != Speculation::kOff);
    EXPECT_EQ(reader->usage.accepted_tokens > 8, speculation != Speculation::kOff);
  }
}

TEST_F(SpeculatingLoopTest, EmbeddingsWantHiddenStates) {
  const auto refused =
      loop->submit({.prompt = {1}, .sink = std::make_shared<Reader>(), .embedding = true});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, RefusalKind::kInvalid);
}

// A step takes a second, and a tenth more for each token beyond the first.
TEST_F(SpeculatingLoopTest, ATargetKeepsPromptsInBounds) {
  counter.token_seconds = 0.1;
  loop = std::make_unique<RequestLoop>(RequestLoopOptions{.scheduler = {.step_tokens_max = 64,
                                                                        .sequences_max = 4,
                                                                        .context_tokens = 2048,
                                                                        .blocks = 2048,
                                                                        .block_tokens = 4},
                                                          .vocabulary = kVocabulary,
                                                          .step_seconds_target = 4},
                                       counter, [this] { return counter.time; });
  const auto answering = submit({.max_tokens = 300});
  ASSERT_TRUE(loop->step());
  std::vector<TokenId> prompt(1500);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<TokenId>(mix_bits(i) % 8);
  const auto late = submit({.prompt = prompt, .max_tokens = 1});
  run();
  EXPECT_EQ(answering->tokens.size(), 300u);
  EXPECT_EQ(late->tokens.size(), 1u);
  const auto chunks = std::span(counter.steps).subspan(8, 20);
  for (const size_t tokens : chunks) {
    EXPECT_LE(tokens, 40u);
    EXPECT_GE(tokens, 17u);
  }
}

TEST_F(SpeculatingLoopTest, ForcedTokensEndARun) {
  auto reader = submit({.max_tokens = 10});
  reader->decisions[3].force = {2, 3};  // not what was guessed
  run();
  EXPECT_EQ(reader->tokens, (std::vector<TokenId>{4, 5, 6, 2, 3, 4, 5, 6, 7, 8}));
  auto same = submit({.max_tokens = 10});
  same->decisions[3].force = {7, 8};  // exactly what was guessed
  run();
  EXPECT_EQ(same->tokens, (std::vector<TokenId>{4, 5, 6, 7, 8, 9, 2, 3, 4, 5}));
  auto wrong = submit({});
  wrong->decisions[3].force.assign(40, 5);
  wrong->decisions[3].force.push_back(10);
  run();
  EXPECT_EQ(wrong->reason, FinishReason::kFailed);
  EXPECT_EQ(wrong->tokens.size(), 3u);
}

// What trying costs, where it does not pay: two in a hundred at most.
TEST_F(SpeculatingLoopTest, OffWhereATokenCostsMoreThanAStep) {
  make(Speculation::kNgram, 2048);
  counter.token_seconds = 1.5;
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->reason, FinishReason::kContextFull);
  EXPECT_GT(reader->usage.drafted_tokens, 0u);
  EXPECT_LT(reader->usage.decode_seconds, 1.02 * 2037) << reader->usage.drafted_tokens;
}

TEST_F(SpeculatingLoopTest, OffWhereGuessesAreWrong) {
  make(Speculation::kNgram, 2048);
  counter.token_seconds = 0.3;
  counter.erratic = true;
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->reason, FinishReason::kContextFull);
  EXPECT_GT(reader->usage.drafted_tokens, reader->usage.accepted_tokens);
  EXPECT_LT(reader->usage.decode_seconds, 1.02 * 2037) << reader->usage.drafted_tokens;
}

TEST_F(SpeculatingLoopTest, OnWhereAStepCostsTheSame) {
  make(Speculation::kNgram, 2048);
  counter.token_seconds = 0.02;
  const auto reader = submit({});
  run();
  EXPECT_EQ(reader->reason, FinishReason::kContextFull);
  EXPECT_LT(counter.time, 2038 / 6.0);
}

TEST_F(SpeculatingLoopTest, NoGuessesWhileAPromptIsRead) {
  make(Speculation::kNgram, 256, 2);
  counter.token_seconds = 0.02;
  const auto first = submit({.max_tokens = 200});
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(loop->step());
  ASSERT_GT(counter.steps.back(), 1u);
  const auto second = submit({.prompt = std::vector<TokenId>(40, 4), .max_tokens = 2});
  ASSERT_TRUE(loop->step());
  EXPECT_EQ(counter.steps.back(), 32u);  // one answering token, a chunk of 31
  ASSERT_TRUE(loop->step());
  EXPECT_EQ(counter.steps.back(), 10u);  // one, and the other 9: room for guesses, and none made
  run();
  EXPECT_EQ(first->tokens.size(), 200u);
  EXPECT_EQ(second->tokens.size(), 2u);
}

}  // namespace
}  // namespace hadal
