// The request loop under weather: requests from several threads, readers that stop, force and give
// up, memory that fails at any allocation. Everyone who was accepted is told the end once, and what
// they read is what the model would have said to them alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <thread>

#include "engine/random.h"
#include "support/failing_new.h"
#include "support/fake_model.h"

namespace hadal {
namespace {

constexpr uint32_t kVocabulary = 30;

SchedulerOptions scheduler_options() {
  return {.step_tokens_max = 24,
          .sequences_max = 5,
          .waiting_max = 40,
          .context_tokens = 48,
          .blocks = 20,
          .block_tokens = 4,
          .logit_rows_max = 16};
}

// Guesses come true only where answers repeat themselves.
FakeModelOptions model_options(Speculation speculation) {
  const SchedulerOptions scheduler = scheduler_options();
  return {.vocabulary = kVocabulary,
          .blocks = scheduler.blocks,
          .block_tokens = scheduler.block_tokens,
          .step_tokens_max = scheduler.step_tokens_max,
          .sequences_max = scheduler.sequences_max,
          .logit_rows_max = scheduler.logit_rows_max,
          .repeats = speculation != Speculation::kOff};
}

// Allows half of the vocabulary, another half at each place, and lets the answer end at one place
// alone, where nothing else may come.
class DiceMask : public TokenMask {
 public:
  explicit DiceMask(uint64_t seed) : seed_(seed), end_(1 + seed % 12) {}

  bool allows(TokenId token) const {
    return place_ < end_ &&
           mix_bits(seed_ ^ mix_bits(place_ * kVocabulary + static_cast<uint64_t>(token))) % 2 == 0;
  }
  void allowed(std::span<uint32_t> bits) override {
    bits[0] = 0;
    for (TokenId token = 0; token < TokenId{kVocabulary}; ++token) {
      if (allows(token)) bits[0] |= 1u << token;
    }
  }
  void accept(TokenId) override { ++place_; }
  bool may_end() const override { return place_ >= end_; }

 private:
  uint64_t seed_, place_ = 0, end_;
};

// What a request asks for beside its answer.
struct Wishes {
  std::optional<TokenId> bias;      // this token is as good as asked for
  std::optional<uint64_t> mask;     // the seed of a DiceMask
  std::vector<TokenId> end_tokens;  // which no mask allows before its end
  bool log_probabilities = false;
  bool embedding = false;
  bool scored = false;       // log probabilities of the prompt, too
  bool prompt_only = false;  // no answer
};

// Checks each token against the model's answer to this prompt alone; stops and forces as the seed
// says.
class Reader : public TokenSink {
 public:
  Reader(std::vector<TokenId> prompt, uint64_t seed, bool repeats, const Wishes& wishes)
      : tokens_(std::move(prompt)), random_(seed), repeats_(repeats), wishes_(wishes) {
    tokens_.reserve(64);
    if (wishes.mask) mask_.emplace(*wishes.mask);
    prompt_tokens_ = tokens_.size();
    if (wishes.embedding) mean_ = FakeModel::mean_of_hidden(tokens_);
  }

  void on_embedding(std::span<const float> given) override {
    if (!std::ranges::equal(given, mean_)) wrong = "another embedding";
    embedded = true;
  }

  void on_prompt_log_probabilities(const LogProbabilities& given) override {
    if (!wishes_.scored) wrong = "log probabilities that nobody wanted";
    const std::span past(tokens_.data(), ++scored);
    if (scored >= prompt_tokens_ || tokens_.size() > prompt_tokens_) {
      wrong = "too many of the prompt";
    } else if (given.chosen.token != tokens_[scored]) {
      wrong = "another token of the prompt";
    } else if (given.top[0].token != FakeModel::next_token(past, kVocabulary, repeats_)) {
      wrong = "another likeliest token in the prompt";
    }
  }

  void on_log_probabilities(const LogProbabilities& given) override {
    if (forced_ > 0) wrong = "log probabilities of a forced token";
    if (given.top.size() != 2) wrong = "not the log probabilities that were asked for";
    if (given.top[0].token != FakeModel::next_token(tokens_, kVocabulary, repeats_)) {
      wrong = "another likeliest token";
    }
    reported_ = given.chosen.token;
  }

  TokenDecision on_token(TokenId token) override {
    if (finished > 0) wrong = "a token behind the end";
    TokenId expected;
    if (forced_ > 0) {
      expected = kForced;
      --forced_;
    } else {
      expected = expected_token();
      if (wishes_.log_probabilities && reported_ != token) wrong = "no log probability";
    }
    if (token != expected) wrong = "another token";
    if (wishes_.embedding || wishes_.prompt_only) wrong = "a token where none was wanted";
    if (wishes_.scored && scored + 1 != prompt_tokens_) wrong = "a token before the prompt's";
    tokens_.push_back(token);
    reported_.reset();
    if (mask_) mask_->accept(token);
    TokenDecision decision;
    const auto dice = random_() % 64;
    decision.stop = dice == 0;
    if (dice >= 1 && dice <= 3 && forced_ == 0) {
      decision.force.assign(dice, kForced);
      forced_ = static_cast<uint32_t>(dice);
    }
    return decision;
  }

  void on_finish(FinishReason why, const Usage& used, std::string_view) override {
    ++finished;
    reason = why;
    usage = used;
    if (used.prompt_tokens + used.answer_tokens > 48) wrong = "more than the context";
    if (wishes_.embedding && why == FinishReason::kEndToken && !embedded) wrong = "no embedding";
  }

  std::atomic<int> finished = 0;
  FinishReason reason{};
  Usage usage;
  std::string_view wrong;
  bool embedded = false;
  size_t scored = 0;  // tokens of the prompt

 private:
  // Greedy: the model's token, or else the first of all others, which are equal.
  TokenId expected_token() const {
    const auto may_come = [&](TokenId token) {
      if (!mask_) return true;
      return mask_->allows(token) && std::ranges::count(wishes_.end_tokens, token) == 0;
    };
    if (wishes_.bias && may_come(*wishes_.bias)) return *wishes_.bias;
    const TokenId next = FakeModel::next_token(tokens_, kVocabulary, repeats_);
    if (may_come(next)) return next;
    TokenId first = 0;
    while (!may_come(first)) ++first;
    return first;
  }

  static constexpr TokenId kForced = 7;
  std::vector<TokenId> tokens_;
  size_t prompt_tokens_ = 0;
  std::mt19937_64 random_;
  bool repeats_;
  Wishes wishes_;
  std::optional<DiceMask> mask_;
  std::vector<float> mean_;
  std::optional<TokenId> reported_;
  uint32_t forced_ = 0;
};

struct Sent {
  std::shared_ptr<Reader> reader;
  RequestId id = 0;
};

struct Order {
  Request request;
  std::shared_ptr<Reader> reader;
};

Order random_order(std::mt19937_64& random, Speculation speculation) {
  std::vector<TokenId> prompt(1 + random() % 36, static_cast<TokenId>(random() % 3));
  prompt.back() = static_cast<TokenId>(random() % kVocabulary);
  Wishes wishes;
  wishes.end_tokens = {static_cast<TokenId>(random() % kVocabulary)};
  if (random() % 10 == 0) wishes.bias = static_cast<TokenId>(random() % kVocabulary);
  if (random() % 10 == 0) wishes.mask = random();
  wishes.log_probabilities = random() % 4 == 0;
  wishes.embedding = random() % 10 == 0;
  wishes.scored = wishes.log_probabilities && !wishes.embedding && random() % 3 == 0;
  wishes.prompt_only = !wishes.embedding && random() % 12 == 0;
  Order order;
  order.reader =
      std::make_shared<Reader>(prompt, random(), speculation != Speculation::kOff, wishes);
  order.request = {.prompt = std::move(prompt),
                   .sampling = {.temperature = random() % 2 || wishes.mask ? 0.0f : 0.6f},
                   .max_tokens = static_cast<uint32_t>(random() % 30),
                   .end_tokens = wishes.end_tokens,
                   .sink = order.reader,
                   .cache_salt = random() % 3,
                   .fairness_key = random() % 4,
                   .embedding = wishes.embedding};
  if (wishes.bias) order.request.logit_bias = {{*wishes.bias, 100}};
  if (wishes.mask) order.request.mask = std::make_shared<DiceMask>(*wishes.mask);
  if (wishes.log_probabilities) order.request.top_log_probabilities = 2;
  order.request.prompt_log_probabilities = wishes.scored;
  order.request.prompt_only = wishes.prompt_only;
  return order;
}

void expect_all_ended(const std::vector<Sent>& sent) {
  for (const Sent& each : sent) {
    ASSERT_EQ(each.reader->finished, 1) << "request " << each.id;
    ASSERT_EQ(each.reader->wrong, "") << "request " << each.id;
  }
}

RequestLoopOptions loop_options(Speculation speculation) {
  return {.scheduler = scheduler_options(),
          .vocabulary = kVocabulary,
          .speculation = speculation,
          .hidden_width = FakeModel::kHiddenWidth};
}

DraftRunner* drafting(FakeModel& model, Speculation speculation) {
  return is_mtp(speculation) ? &model : nullptr;
}

// A step takes a second, and a twentieth more for each of its tokens; a draft a twentieth.
std::function<double()> clock_of(const FakeModel& model) {
  return [&model] {
    return static_cast<double>(model.runs()) +
           0.05 * static_cast<double>(model.tokens_computed() + model.drafts());
  };
}

class RequestLoopSim : public testing::TestWithParam<Speculation> {};

TEST_P(RequestLoopSim, EveryReaderHearsItsOwnAnswer) {
  FakeModel model(model_options(GetParam()));
  RequestLoopOptions options = loop_options(GetParam());
  options.step_seconds_target = 1.5;  // of the clock's
  RequestLoop loop(options, model, clock_of(model), drafting(model, GetParam()));
  std::mt19937_64 random(3);
  std::vector<Sent> sent;
  uint64_t stopped = 0;
  for (int step = 0; step < 50000; ++step) {
    if (random() % 6 == 0) {
      Order order = random_order(random, GetParam());
      const auto id = loop.submit(std::move(order.request));
      if (id) sent.push_back({order.reader, *id});
    }
    if (!sent.empty() && random() % 50 == 0) loop.cancel(sent[random() % sent.size()].id);
    const auto worked = loop.step();
    ASSERT_TRUE(worked) << worked.error().message;
  }
  while (true) {
    const auto worked = loop.step();
    ASSERT_TRUE(worked) << worked.error().message;
    if (!*worked) break;
  }
  expect_all_ended(sent);
  EXPECT_TRUE(loop.idle());
  EXPECT_EQ(loop.scheduler().allocator().held_blocks(), 0u);
  for (const Sent& each : sent) stopped += each.reader->reason == FinishReason::kStopped;
  EXPECT_GT(stopped, 100u);
  EXPECT_GT(loop.scheduler().preemptions(), 50u);
  uint64_t drafted = 0, accepted = 0;
  for (const Sent& each : sent) {
    drafted += each.reader->usage.drafted_tokens;
    accepted += each.reader->usage.accepted_tokens;
  }
  EXPECT_EQ(drafted > 0, GetParam() != Speculation::kOff);
  EXPECT_EQ(accepted > drafted / 8, GetParam() != Speculation::kOff);
  EXPECT_LE(accepted, drafted);

  const EngineStatus status = loop.status();
  uint64_t finished = 0, tokens = 0, embedded = 0, scored = 0;
  for (const uint64_t count : status.requests_finished) finished += count;
  for (const Sent& each : sent) {
    tokens += each.reader->usage.answer_tokens;
    embedded += each.reader->embedded;
    scored += each.reader->scored;
  }
  EXPECT_EQ(finished, sent.size());
  EXPECT_EQ(status.requests_accepted, sent.size());
  EXPECT_EQ(status.answer_tokens, tokens);
  EXPECT_EQ(status.drafted_tokens, drafted);
  EXPECT_EQ(status.accepted_tokens, accepted);
  EXPECT_EQ(status.running + status.waiting + status.blocks_held, 0u);
  EXPECT_EQ(status.steps, model.runs());
  EXPECT_EQ(status.step_tokens, model.tokens_computed());
  EXPECT_GT(status.cached_tokens, 1000u);
  EXPECT_GT(embedded, 100u);
  EXPECT_GT(scored, 1000u);
}

TEST_P(RequestLoopSim, RequestsAndCancelsFromManyThreads) {
  FakeModel model(model_options(GetParam()));
  RequestLoop loop(
      loop_options(GetParam()), model, [] { return 0.0; }, drafting(model, GetParam()));
  constexpr int kThreads = 4, kRequests = 400;
  std::vector<std::vector<Sent>> sent(kThreads);
  std::atomic<int> working = kThreads;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 random(static_cast<uint64_t>(i));
      auto& mine = sent[static_cast<size_t>(i)];
      for (int n = 0; n < kRequests; ++n) {
        Order order = random_order(random, GetParam());
        const auto id = loop.submit(std::move(order.request));
        if (id) mine.push_back({order.reader, *id});
        if (random() % 3 == 0 && !mine.empty()) loop.cancel(mine[random() % mine.size()].id);
        if (random() % 8 == 0) std::this_thread::yield();
      }
      --working;
    });
  }
  std::string error;
  while (error.empty()) {
    const bool last = working == 0;
    const auto worked = loop.step();
    if (!worked) error = worked.error().message;
    if (worked && !*worked && last) break;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(error, "");
  for (const auto& each : sent) {
    EXPECT_FALSE(each.empty());
    expect_all_ended(each);
  }
  EXPECT_TRUE(loop.idle());
  EXPECT_EQ(loop.scheduler().allocator().held_blocks(), 0u);
}

// The n-th allocation fails, for all n until none is left to fail: one request may be refused or
// fail of it, all others get their own answer, nothing leaks, and the loop goes on.
TEST_P(RequestLoopSim, AnyAllocationMayFail) {
  uint64_t n = 0, failures = 0;
  for (bool failed = true; failed; ++n) {
    FakeModel model(model_options(GetParam()));
    RequestLoop loop(
        loop_options(GetParam()), model, [] { return 0.0; }, drafting(model, GetParam()));
    std::mt19937_64 random(11);
    std::vector<Order> orders;
    for (int i = 0; i < 12; ++i) orders.push_back(random_order(random, GetParam()));
    std::vector<Sent> sent;
    sent.reserve(orders.size());
    bool broken = false;
    {
      FailingNew failing(n);
      for (Order& order : orders) {
        const auto id = loop.submit(std::move(order.request));
        if (id) sent.push_back({order.reader, *id});
        const auto worked = loop.step();
        if (!worked) broken = true;
      }
      for (bool worked = true; worked && !broken;) {
        const auto result = loop.step();
        broken = !result;
        worked = result.value_or(false);
      }
      failed = failing.failed();
    }
    failures += failed;
    ASSERT_FALSE(broken) << "allocation " << n;
    expect_all_ended(sent);
    size_t harmed = orders.size() - sent.size();
    for (const Sent& each : sent) harmed += each.reader->reason == FinishReason::kFailed;
    ASSERT_LE(harmed, failed ? 1u : 0u) << "allocation " << n;
    ASSERT_TRUE(loop.idle());
    ASSERT_EQ(loop.scheduler().allocator().held_blocks(), 0u) << "allocation " << n;
    ASSERT_TRUE(loop.scheduler().allocator().consistent());
    Order after = random_order(random, GetParam());
    ASSERT_TRUE(loop.submit(std::move(after.request)));
    while (loop.step().value_or(false)) continue;
    ASSERT_EQ(after.reader->finished, 1);
  }
  EXPECT_GT(failures, 50u);
}

// Once requests run, tokens cost no memory.
TEST_P(RequestLoopSim, TheTokenPathAllocatesNothing) {
  FakeModel model(model_options(GetParam()));
  RequestLoop loop(
      loop_options(GetParam()), model, [] { return 0.0; }, drafting(model, GetParam()));
  struct Silent : TokenSink {
    TokenDecision on_token(TokenId) override { return {}; }
    void on_log_probabilities(const LogProbabilities&) override { ++reported; }
    void on_finish(FinishReason, const Usage&, std::string_view) override { ++finished; }
    int finished = 0, reported = 0;
  };
  const auto sink = std::make_shared<Silent>();
  for (int i = 0; i < 8; ++i) {  // some run, some wait, and memory is short
    ASSERT_TRUE(loop.submit({.prompt = std::vector<TokenId>(8 + static_cast<size_t>(i), i),
                             .sampling = {.repetition_penalty = 1.1f},
                             .sink = sink,
                             .logit_bias = {{3, 1}, {4, -1}},
                             .top_log_probabilities = 20,
                             .mask = i % 2 ? std::make_shared<DiceMask>(11) : nullptr,
                             .cache_salt = static_cast<uint64_t>(i),
                             .fairness_key = static_cast<uint64_t>(i % 3),
                             .embedding = i == 7}));
  }
  ASSERT_TRUE(loop.step());  // takes the orders
  uint64_t allocations = 0;
  {
    FailingNew counting(UINT64_MAX);
    while (loop.step().value_or(false)) continue;
    allocations = counting.allocations();
  }
  EXPECT_EQ(sink->finished, 8);
  EXPECT_GT(loop.scheduler().preemptions(), 0u);
  EXPECT_GT(sink->reported, 100);
  EXPECT_EQ(allocations, 0u);
}

std::string name_of(const testing::TestParamInfo<Speculation>& info) {
  constexpr const char* kNames[] = {"off", "ngram", "ngram_always", "mtp", "mtp_always"};
  return kNames[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(All, RequestLoopSim,
                         testing::Values(Speculation::kOff, Speculation::kNgram,
                                         Speculation::kNgramAlways, Speculation::kMtp,
                                         Speculation::kMtpAlways),
                         name_of);

}  // namespace
}  // namespace hadal
