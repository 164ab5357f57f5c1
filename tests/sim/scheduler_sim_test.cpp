// The real scheduler and allocator under weather: sequences come, grow, meet in prefixes, are
// cancelled, and there is never quite enough memory. A model that hashes (support/fake_model.h)
// notices any wrong past; the test notices anyone who is forgotten.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ostream>
#include <random>

#include "engine/random.h"
#include "engine/scheduler.h"
#include "support/fake_model.h"

namespace hadal {
namespace {

struct Weather {
  const char* name;
  uint32_t sequences_max, step_tokens_max, context_tokens, blocks, block_tokens;
  double arrivals;  // a step
  double cancels;   // a step
  uint64_t steps;
  uint32_t draft_rows = 0;  // logit rows beside one a sequence; 0: no drafts
};

void PrintTo(const Weather& c, std::ostream* out) {
  *out << c.name;
}

constexpr uint32_t kVocabulary = 40;

// Guesses that are right for as long as the dice say.
class Simulation : private DraftSource {
 public:
  Simulation(const Weather& weather, uint64_t seed)
      : weather_(weather),
        random_(seed),
        scheduler_({.step_tokens_max = weather.step_tokens_max,
                    .sequences_max = weather.sequences_max,
                    .waiting_max = 30,
                    .context_tokens = weather.context_tokens,
                    .blocks = weather.blocks,
                    .block_tokens = weather.block_tokens,
                    .logit_rows_max = weather.sequences_max + weather.draft_rows}),
        model_({.vocabulary = kVocabulary,
                .blocks = weather.blocks,
                .block_tokens = weather.block_tokens,
                .step_tokens_max = weather.step_tokens_max,
                .sequences_max = weather.sequences_max,
                .logit_rows_max = weather.sequences_max + weather.draft_rows}) {}

  void run() {
    for (uint64_t step = 0; step < weather_.steps && !testing::Test::HasFatalFailure(); ++step) {
      if (chance(weather_.arrivals)) arrive();
      if (chance(weather_.cancels)) cancel();
      one_step();
      if (step % 251 == 0) {
        ASSERT_TRUE(scheduler_.allocator().consistent());
      }
    }
    for (uint64_t step = 0; !scheduler_.idle(); ++step) {
      if (testing::Test::HasFatalFailure()) return;
      ASSERT_LT(step, 30u * 2 * weather_.context_tokens) << "somebody never ends";
      one_step();
    }
    EXPECT_TRUE(living_.empty());
    EXPECT_EQ(scheduler_.allocator().held_blocks(), 0u) << "a leak";
    EXPECT_TRUE(scheduler_.allocator().consistent());
    EXPECT_EQ(finished_ + cancelled_, arrived_);
  }

  uint64_t trace() const { return trace_; }
  uint64_t finished() const { return finished_; }
  uint64_t preemptions() const { return scheduler_.preemptions(); }
  uint64_t cached() const { return cached_; }
  uint64_t drafted() const { return drafted_; }
  uint64_t accepted() const { return accepted_; }

 private:
  struct Living {
    std::vector<TokenId> tokens;
    uint32_t end_at;  // tokens, prompt included
  };

  bool chance(double probability) {
    return std::uniform_real_distribution<>(0, 1)(random_) < probability;
  }
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  // Few different beginnings, so that prefixes are shared; sometimes an earlier sequence goes on.
  void arrive() {
    std::vector<TokenId> prompt;
    if (!old_.empty() && below(3) == 0) {
      prompt = old_[below(static_cast<uint32_t>(old_.size()))];
    } else {
      prompt.assign(below(weather_.context_tokens / 2), static_cast<TokenId>(below(3)));
    }
    const uint32_t more = 1 + below(weather_.context_tokens / 4);
    for (uint32_t i = 0; i < more; ++i) prompt.push_back(static_cast<TokenId>(below(kVocabulary)));
    if (prompt.size() >= weather_.context_tokens) prompt.resize(weather_.context_tokens - 1);
    const auto size = static_cast<uint32_t>(prompt.size());
    const uint32_t answer = 1 + below(weather_.context_tokens - size);
    const SequenceId id = next_id_;
    if (!scheduler_.add(id, prompt, {.answer_max = answer})) return;
    ++next_id_;
    ++arrived_;
    living_[id] = {std::move(prompt), size + answer};
  }

  void cancel() {
    if (living_.empty()) return;
    auto victim = living_.begin();
    std::advance(victim, below(static_cast<uint32_t>(living_.size())));
    ASSERT_TRUE(scheduler_.cancel(victim->first));
    ASSERT_FALSE(scheduler_.cancel(victim->first));
    living_.erase(victim);
    ++cancelled_;
  }

  void one_step() {
    const Step step = scheduler_.next_step(weather_.draft_rows > 0 ? this : nullptr);
    ASSERT_EQ(step.empty(), living_.empty());
    if (step.empty()) return;
    // The oldest is always served: so everyone becomes the oldest, and ends.
    ASSERT_EQ(step.sequences.front(), living_.begin()->first);
    ASSERT_TRUE(std::ranges::is_sorted(step.sequences));
    ASSERT_EQ(step.row_starts.back(), step.batch.logit_rows.size());
    const Result<std::span<const float>> logits = model_.run(step.batch);
    ASSERT_TRUE(logits) << logits.error().message;
    for (const SequenceId id : step.sequences) trace_ = mix_bits(trace_ ^ id);
    for (const uint32_t block : step.batch.layout.block_tables) trace_ = mix_bits(trace_ ^ block);
    if (below(200) == 0) {
      scheduler_.abort_step();  // the same must come again
      return;
    }
    continuations_.assign(step.samples.size(), {});
    next_tokens_.assign(step.samples.size(), {});
    for (size_t i = 0; i < step.samples.size(); ++i) answer(step, i, *logits);
    scheduler_.commit(continuations_);
  }

  uint32_t propose(const DraftRoom& room, std::span<TokenId> into) override {
    guesses_.assign(room.history.begin(), room.history.end());
    const uint32_t count = below(static_cast<uint32_t>(into.size()) + 1);
    for (uint32_t i = 0; i < count; ++i) {
      into[i] = below(4) == 0 ? static_cast<TokenId>(below(kVocabulary))
                              : FakeModel::next_token(guesses_, kVocabulary);
      guesses_.push_back(into[i]);
    }
    drafted_ += count;
    return count;
  }

  void answer(const Step& step, size_t sample, std::span<const float> logits) {
    const SequenceId id = step.samples[sample];
    Living& sequence = living_.at(id);
    auto& next = next_tokens_[sample];
    const uint32_t end = step.row_starts[sample + 1];
    for (uint32_t row = step.row_starts[sample]; row < end; ++row) {
      const auto of_row = logits.subspan(size_t{row} * kVocabulary, kVocabulary);
      const auto token =
          static_cast<TokenId>(std::max_element(of_row.begin(), of_row.end()) - of_row.begin());
      ASSERT_EQ(token, FakeModel::next_token(sequence.tokens, kVocabulary)) << "sequence " << id;
      if (sequence.tokens.size() + 1 >= sequence.end_at) return finish(id, sample);
      next.push_back(token);
      sequence.tokens.push_back(token);
      if (row + 1 == end || step.batch.tokens[step.batch.logit_rows[row + 1]] != token) break;
      ++accepted_;
      if (below(30) == 0) break;  // a reader that forces tokens does so in the middle, too
    }
    while (below(20) == 0 && sequence.tokens.size() + 1 < sequence.end_at) {
      next.push_back(static_cast<TokenId>(below(kVocabulary)));  // forced
      sequence.tokens.push_back(next.back());
    }
    continuations_[sample].tokens = next;
  }

  void finish(SequenceId id, size_t sample) {
    continuations_[sample] = {.tokens = next_tokens_[sample], .finished = true};
    cached_ += scheduler_.cached_tokens(id);
    if (old_.size() < 20) old_.emplace_back();
    old_[finished_ % 20 % old_.size()] = living_.at(id).tokens;
    living_.erase(id);
    ++finished_;
  }

  Weather weather_;
  std::mt19937_64 random_;
  Scheduler scheduler_;
  FakeModel model_;
  std::map<SequenceId, Living> living_;
  std::vector<std::vector<TokenId>> old_;
  std::vector<Continuation> continuations_;
  std::vector<std::vector<TokenId>> next_tokens_;
  std::vector<TokenId> guesses_;
  SequenceId next_id_ = 1;
  uint64_t arrived_ = 0, finished_ = 0, cancelled_ = 0, cached_ = 0, trace_ = 0;
  uint64_t drafted_ = 0, accepted_ = 0;
};

class SchedulerWeather : public testing::TestWithParam<Weather> {};

TEST_P(SchedulerWeather, NobodyStarvesNothingLeaksNoPastIsMixed) {
  uint64_t finished = 0, preemptions = 0, cached = 0, drafted = 0, accepted = 0;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Simulation simulation(GetParam(), seed);
    simulation.run();
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
    finished += simulation.finished();
    preemptions += simulation.preemptions();
    cached += simulation.cached();
    drafted += simulation.drafted();
    accepted += simulation.accepted();
  }
  EXPECT_GT(finished, 1000u);
  EXPECT_GT(cached, 1000u);
  if (std::string_view(GetParam().name).starts_with("scarce")) {
    EXPECT_GT(preemptions, 100u);
  }
  EXPECT_EQ(accepted > 1000, GetParam().draft_rows > 0);
  EXPECT_LE(accepted, drafted);
}

TEST_P(SchedulerWeather, TheSameSeedGivesTheSameTrace) {
  Weather weather = GetParam();
  weather.steps = 3000;
  Simulation first(weather, 9), second(weather, 9), other(weather, 10);
  first.run();
  second.run();
  other.run();
  EXPECT_EQ(first.trace(), second.trace());
  EXPECT_NE(first.trace(), other.trace());
}

const Weather kWeathers[] = {
    {.name = "scarce",  // memory for one and a half contexts
     .sequences_max = 6,
     .step_tokens_max = 24,
     .context_tokens = 64,
     .blocks = 25,
     .block_tokens = 4,
     .arrivals = 0.15,
     .cancels = 0.01,
     .steps = 60000},
    {.name = "least",  // exactly one context, tiny steps
     .sequences_max = 3,
     .step_tokens_max = 3,
     .context_tokens = 30,
     .blocks = 15,
     .block_tokens = 2,
     .arrivals = 0.1,
     .cancels = 0.005,
     .steps = 60000},
    {.name = "plenty",
     .sequences_max = 16,
     .step_tokens_max = 128,
     .context_tokens = 96,
     .blocks = 16 * 12,
     .block_tokens = 8,
     .arrivals = 0.4,
     .cancels = 0.05,
     .steps = 20000},
    {.name = "scarce_with_drafts",
     .sequences_max = 6,
     .step_tokens_max = 24,
     .context_tokens = 64,
     .blocks = 25,
     .block_tokens = 4,
     .arrivals = 0.15,
     .cancels = 0.01,
     .steps = 60000,
     .draft_rows = 13},
    {.name = "alone_with_drafts",
     .sequences_max = 1,
     .step_tokens_max = 16,
     .context_tokens = 64,
     .blocks = 16,
     .block_tokens = 4,
     .arrivals = 0.05,
     .cancels = 0.003,
     .steps = 60000,
     .draft_rows = 8},
    {.name = "alone",  // as `hadal run` has it
     .sequences_max = 1,
     .step_tokens_max = 16,
     .context_tokens = 64,
     .blocks = 16,
     .block_tokens = 4,
     .arrivals = 0.05,
     .cancels = 0.003,
     .steps = 60000},
};

INSTANTIATE_TEST_SUITE_P(All, SchedulerWeather, testing::ValuesIn(kWeathers),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hadal
