// The real scheduler and allocator under weather: sequences come, grow, meet in prefixes, are
// cancelled, and there is never quite enough memory. A model that hashes (support/fake_model.h)
// notices any wrong past; the test notices anyone who is forgotten.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
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
  uint32_t keys = 1;        // users; the first sends as many as all others together
  uint32_t salts = 1;
  bool bounds = false;  // of steps change as they like
  uint32_t waiting_max = 30;
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
                    .waiting_max = weather.waiting_max,
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
      ASSERT_LT(step, steps_to_begin_most()) << "somebody never ends";
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
  uint64_t prompt_rows() const { return prompt_rows_; }
  uint64_t steps_waited() const { return steps_waited_; }

 private:
  struct Living {
    std::vector<TokenId> tokens;
    uint32_t end_at;  // tokens, prompt included
    uint64_t key = 0, salt = 0;
    uint32_t rows_wanted = 0, rows_seen = 0;  // of its prompt
    uint32_t own_before = 0;                  // of the same key, that waited when it came
    uint64_t came_at = 0;                     // step
    uint64_t begun_before = 0;                // others, while its own key had no prompt in work
    uint64_t order = 0;                       // of those that were begun, from 1 on; 0: waits
  };

  // The oldest gets a token further in every step that counts, and has at most a context of them;
  // nobody waits for more than all who were there or were begun before him.
  uint64_t steps_to_begin_most() const {
    return uint64_t{weather_.waiting_max + weather_.sequences_max + 2} * 2 *
           weather_.context_tokens * std::min(weather_.keys, 4u);
  }

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
    const uint64_t key = below(2) == 0 ? 0 : below(weather_.keys);
    const uint64_t salt = below(weather_.salts);
    const bool scored = below(5) == 0;
    if (!scheduler_.add(id, prompt,
                        {.answer_max = answer,
                         .cache_salt = salt,
                         .fairness_key = key,
                         .wants_prompt_logits = scored})) {
      return;
    }
    ++next_id_;
    ++arrived_;
    Living sequence{.tokens = std::move(prompt), .end_at = size + answer, .key = key, .salt = salt};
    if (scored) sequence.rows_wanted = size - 1;
    for (const auto& [other_id, other] : living_) {
      sequence.own_before += other.key == key && other.order == 0;
    }
    sequence.came_at = steps_;
    living_[id] = std::move(sequence);
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
    StepBounds bounds;
    if (weather_.bounds) {
      bounds = {.prompt_tokens_max = 1 + below(weather_.step_tokens_max),
                .sequences_max = 1 + below(weather_.sequences_max)};
    }
    const Step step = scheduler_.next_step(weather_.draft_rows > 0 ? this : nullptr, bounds);
    ASSERT_EQ(step.empty(), living_.empty());
    if (step.empty()) return;
    ++steps_;
    see_who_begins(step);
    if (testing::Test::HasFatalFailure()) return;
    check_rows(step);
    if (testing::Test::HasFatalFailure()) return;
    const Result<std::span<const float>> logits = model_.run(step.batch);
    ASSERT_TRUE(logits) << logits.error().message;
    for (const SequenceId id : step.sequences) trace_ = mix_bits(trace_ ^ id);
    for (const uint32_t block : step.batch.layout.block_tables) trace_ = mix_bits(trace_ ^ block);
    if (below(200) == 0) {
      scheduler_.abort_step();  // the same must come again
      return;
    }
    see_prompt_rows(step, *logits);
    if (testing::Test::HasFatalFailure()) return;
    continuations_.assign(step.samples.size(), {});
    next_tokens_.assign(step.samples.size(), {});
    for (size_t i = 0; i < step.samples.size(); ++i) answer(step, i, *logits);
    scheduler_.commit(continuations_);
  }

  // Every row is somebody's.
  void check_rows(const Step& step) {
    ASSERT_LE(step.batch.logit_rows.size(), weather_.sequences_max + weather_.draft_rows);
    ASSERT_EQ(step.prompt_rows.size(), step.sequences.size());
    ASSERT_EQ(step.sample_rows.size(), step.samples.size());
    uint32_t next = 0;
    for (size_t i = 0, sample = 0; i < step.sequences.size(); ++i) {
      ASSERT_EQ(step.prompt_rows[i].first, next);
      next += step.prompt_rows[i].count;
      if (sample == step.samples.size() || step.samples[sample] != step.sequences[i]) continue;
      ASSERT_EQ(step.sample_rows[sample].first, next);
      next += step.sample_rows[sample++].count;
    }
    ASSERT_EQ(next, step.batch.logit_rows.size());
  }

  // Who wants the logits of its prompt gets each once, in order, of its own past, before its first
  // token.
  void see_prompt_rows(const Step& step, std::span<const float> logits) {
    for (size_t i = 0; i < step.sequences.size(); ++i) {
      const auto [first, rows] = step.prompt_rows[i];
      Living& sequence = living_.at(step.sequences[i]);
      ASSERT_TRUE(rows == 0 || sequence.rows_wanted > 0);
      for (uint32_t row = first; row < first + rows; ++row) {
        const int32_t position = step.batch.layout.positions[step.batch.logit_rows[row]];
        ASSERT_EQ(position, static_cast<int32_t>(sequence.rows_seen++));
        ASSERT_EQ(likeliest(logits, row),
                  FakeModel::next_token(std::span(sequence.tokens).first(sequence.rows_seen),
                                        kVocabulary));
        ++prompt_rows_;
      }
      const bool sampled = std::ranges::count(step.samples, step.sequences[i]) > 0;
      ASSERT_TRUE(!sampled || sequence.rows_seen == sequence.rows_wanted);
    }
  }

  static TokenId likeliest(std::span<const float> logits, uint32_t row) {
    const auto of_row = logits.subspan(size_t{row} * kVocabulary, kVocabulary);
    return static_cast<TokenId>(std::max_element(of_row.begin(), of_row.end()) - of_row.begin());
  }

  // Whoever came first of those that were begun is served in every step: so everyone becomes the
  // first, and ends. And nobody is begun late: as the scheduler's header promises.
  void see_who_begins(const Step& step) {
    for (const SequenceId id : step.begun) {
      Living& sequence = living_.at(id);
      sequence.order = ++begun_;
      if (weather_.keys == 1) {
        ASSERT_EQ(sequence.order, begun_order_of(id));
      }
      steps_waited_ = std::max(steps_waited_, steps_ - sequence.came_at);
      ASSERT_LE(steps_ - sequence.came_at, steps_to_begin_most());
      ASSERT_LE(sequence.begun_before, uint64_t{sequence.own_before + 2} * weather_.keys);
    }
    uint64_t first = UINT64_MAX;
    for (const auto& [id, sequence] : living_) {
      if (sequence.order > 0) first = std::min(first, sequence.order);
    }
    ASSERT_EQ(living_.at(step.sequences.front()).order, first);
    ASSERT_TRUE(std::ranges::is_sorted(step.sequences, {},
                                       [&](SequenceId id) { return living_.at(id).order; }));

    busy_keys_.clear();  // those with prompts in work: their next ones may be passed over
    for (size_t i = 0; i < step.sequences.size(); ++i) {
      const auto& starts = step.batch.layout.sequence_starts;
      if (starts[i + 1] - starts[i] > 1) busy_keys_.push_back(living_.at(step.sequences[i]).key);
    }
    for (auto& [id, waiting] : living_) {
      if (waiting.order > 0) continue;
      if (std::ranges::count(busy_keys_, waiting.key) > 0) continue;
      waiting.begun_before += step.begun.size();
    }
  }

  // Of one key: in the order they came, but for those that were cancelled before.
  uint64_t begun_order_of(SequenceId id) {
    for (const auto& [other, sequence] : living_) {
      if (other < id && sequence.order == 0) return 0;
    }
    return begun_;
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
    const uint32_t first = step.sample_rows[sample].first;
    const uint32_t end = first + step.sample_rows[sample].count;
    for (uint32_t row = first; row < end; ++row) {
      const TokenId token = likeliest(logits, row);
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
  uint64_t drafted_ = 0, accepted_ = 0, prompt_rows_ = 0;
  uint64_t steps_ = 0, begun_ = 0, steps_waited_ = 0;
  std::vector<uint64_t> busy_keys_;
};

class SchedulerWeather : public testing::TestWithParam<Weather> {};

TEST_P(SchedulerWeather, NobodyStarvesNothingLeaksNoPastIsMixed) {
  uint64_t finished = 0, preemptions = 0, cached = 0, drafted = 0, accepted = 0, prompt_rows = 0;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Simulation simulation(GetParam(), seed);
    simulation.run();
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
    finished += simulation.finished();
    preemptions += simulation.preemptions();
    cached += simulation.cached();
    drafted += simulation.drafted();
    accepted += simulation.accepted();
    prompt_rows += simulation.prompt_rows();
  }
  EXPECT_GT(finished, 1000u);
  EXPECT_GT(cached, 1000u);
  if (std::string_view(GetParam().name).starts_with("scarce")) {
    EXPECT_GT(preemptions, 100u);
  }
  EXPECT_EQ(accepted > 1000, GetParam().draft_rows > 0);
  EXPECT_LE(accepted, drafted);
  EXPECT_GT(prompt_rows, 1000u);
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
    {.name = "scarce_with_many_users",
     .sequences_max = 6,
     .step_tokens_max = 24,
     .context_tokens = 64,
     .blocks = 25,
     .block_tokens = 4,
     .arrivals = 0.2,
     .cancels = 0.02,
     .steps = 40000,
     .keys = 5,
     .salts = 2,
     .bounds = true},
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

// A server's load, for as many steps as HADAL_SIM_STEPS says; a million by hand:
//   HADAL_SIM_STEPS=1000000 test_sim --gtest_filter='SchedulerLongRun.*'
TEST(SchedulerLongRun, AServersLoad) {
  const char* wanted = std::getenv("HADAL_SIM_STEPS");
  Weather weather{.name = "server",
                  .sequences_max = 12,
                  .step_tokens_max = 48,
                  .context_tokens = 96,
                  .blocks = 60,
                  .block_tokens = 4,
                  .arrivals = 0.3,
                  .cancels = 0.05,
                  .steps = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 20000,
                  .draft_rows = 12,
                  .keys = 6,
                  .salts = 3,
                  .bounds = true,
                  .waiting_max = 60};
  ASSERT_GT(weather.steps, 0u) << "HADAL_SIM_STEPS is no number";
  Simulation first(weather, 21), second(weather, 21);
  first.run();
  ASSERT_FALSE(HasFatalFailure());
  second.run();
  EXPECT_EQ(first.trace(), second.trace());
  EXPECT_GT(first.finished(), weather.steps / 20);
  EXPECT_GT(first.preemptions(), weather.steps / 200);
  EXPECT_GT(first.cached(), weather.steps / 20);
  EXPECT_GT(first.accepted(), weather.steps / 20);
  std::cout << weather.steps << " steps: " << first.finished() << " finished, "
            << first.preemptions() << " sent back, " << first.steps_waited()
            << " steps waited at most\n";
}

INSTANTIATE_TEST_SUITE_P(All, SchedulerWeather, testing::ValuesIn(kWeathers),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hadal
