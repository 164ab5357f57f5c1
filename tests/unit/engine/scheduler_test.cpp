// Single decisions of the scheduler; its life under load is in tests/sim.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace hadal {
namespace {

constexpr SchedulerOptions kSmall{.step_tokens_max = 8,
                                  .sequences_max = 3,
                                  .waiting_max = 2,
                                  .context_tokens = 16,
                                  .blocks = 8,
                                  .block_tokens = 4};

std::vector<TokenId> prompt_of(uint32_t count, TokenId first = 0) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// How many tokens each sequence of the step has.
std::vector<uint32_t> counts(const Step& step) {
  std::vector<uint32_t> result;
  for (uint32_t i = 0; i < step.batch.layout.sequences(); ++i) {
    result.push_back(step.batch.layout.sequence_starts[i + 1] -
                     step.batch.layout.sequence_starts[i]);
  }
  return result;
}

std::vector<SequenceId> ids(std::span<const SequenceId> span) {
  return {span.begin(), span.end()};
}

// Every sampled sequence goes on with this token.
void go_on(Scheduler& scheduler, const Step& step, TokenId token = 99) {
  const std::vector<Continuation> next(step.samples.size(), {.tokens = {&token, 1}});
  scheduler.commit(next);
}

TEST(Scheduler, NothingToDoIsAnEmptyStep) {
  Scheduler scheduler(kSmall);
  EXPECT_TRUE(scheduler.idle());
  EXPECT_TRUE(scheduler.next_step().empty());
}

TEST(Scheduler, APromptComesInChunksAndOnlyItsEndIsSampled) {
  Scheduler scheduler(kSmall);
  ASSERT_TRUE(scheduler.add(1, prompt_of(11), {.answer_max = 4}));
  Step step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{8}));
  EXPECT_TRUE(step.samples.empty());
  scheduler.commit({});
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{3}));
  EXPECT_EQ(step.batch.layout.positions.front(), 8);
  EXPECT_EQ(ids(step.samples), (std::vector<SequenceId>{1}));
  EXPECT_EQ(step.batch.logit_rows.front(), 2u);
  go_on(scheduler, step);
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1}));
  EXPECT_EQ(step.batch.tokens.front(), 99);
  EXPECT_EQ(step.batch.layout.positions.front(), 11);
  const Continuation end[] = {{.finished = true}};
  scheduler.commit(end);
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(scheduler.allocator().held_blocks(), 0u);
}

TEST(Scheduler, ThoseWhoAnswerAreNotHeldUpByAPrompt) {
  Scheduler scheduler(kSmall);
  ASSERT_TRUE(scheduler.add(1, prompt_of(3), {.answer_max = 8}));
  Step step = scheduler.next_step();
  go_on(scheduler, step);
  ASSERT_TRUE(scheduler.add(2, prompt_of(12, 50), {.answer_max = 2}));
  ASSERT_TRUE(scheduler.add(3, prompt_of(2, 80), {.answer_max = 2}));
  step = scheduler.next_step();
  EXPECT_EQ(ids(step.sequences), (std::vector<SequenceId>{1, 2}));
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1, 7}));
  EXPECT_EQ(ids(step.samples), (std::vector<SequenceId>{1}));
  go_on(scheduler, step);
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1, 5, 2}));
  EXPECT_EQ(ids(step.samples), (std::vector<SequenceId>{1, 2, 3}));
  scheduler.abort_step();
}

TEST(Scheduler, ForcedTokensAreComputedTogether) {
  Scheduler scheduler(kSmall);
  ASSERT_TRUE(scheduler.add(1, prompt_of(3), {.answer_max = 8}));
  Step step = scheduler.next_step();
  const TokenId tokens[] = {20, 21, 22};
  const Continuation next[] = {{.tokens = tokens}};
  scheduler.commit(next);
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{3}));
  EXPECT_EQ(step.samples.size(), 1u);
  scheduler.abort_step();
}

TEST(Scheduler, TheQueueHasALimit) {
  Scheduler scheduler(kSmall);
  ASSERT_TRUE(scheduler.add(1, prompt_of(1), {.answer_max = 1}));
  ASSERT_TRUE(scheduler.add(2, prompt_of(1), {.answer_max = 1}));
  EXPECT_FALSE(scheduler.add(3, prompt_of(1), {.answer_max = 1}));
  scheduler.next_step();
  scheduler.abort_step();
  EXPECT_TRUE(scheduler.add(3, prompt_of(1), {.answer_max = 1}));  // two run now
}

TEST(Scheduler, WhoDoesNotFitWaitsAndNobodyOvertakes) {
  SchedulerOptions options = kSmall;
  options.step_tokens_max = 16;
  Scheduler scheduler(options);
  ASSERT_TRUE(
      scheduler.add(1, prompt_of(15), {.answer_max = 1}));  // four blocks, with the next token
  Step step = scheduler.next_step();
  go_on(scheduler, step);
  ASSERT_TRUE(scheduler.add(2, prompt_of(15, 20), {.answer_max = 1}));  // four more
  step = scheduler.next_step();
  EXPECT_EQ(ids(step.sequences), (std::vector<SequenceId>{1, 2}));
  const TokenId token = 99;
  const Continuation next[] = {{.finished = true}, {.tokens = {&token, 1}}};
  scheduler.commit(next);

  Scheduler tight([&] {
    SchedulerOptions fewer = options;
    fewer.blocks = 6;
    return fewer;
  }());
  ASSERT_TRUE(tight.add(1, prompt_of(14), {.answer_max = 1}));
  ASSERT_TRUE(tight.add(2, prompt_of(14, 20), {.answer_max = 1}));
  step = tight.next_step();
  EXPECT_EQ(ids(step.sequences), (std::vector<SequenceId>{1}));
  go_on(tight, step);
  ASSERT_TRUE(tight.add(3, prompt_of(1, 40), {.answer_max = 1}));  // would fit, but came later
  step = tight.next_step();
  EXPECT_EQ(ids(step.sequences), (std::vector<SequenceId>{1}));
  tight.abort_step();
  EXPECT_TRUE(tight.cancel(2));
  step = tight.next_step();
  EXPECT_EQ(ids(step.sequences), (std::vector<SequenceId>{1, 3}));
  tight.abort_step();
}

TEST(Scheduler, TheYoungestGivesWayAndLosesNothing) {
  SchedulerOptions options = kSmall;
  options.blocks = 5;
  Scheduler scheduler(options);
  ASSERT_TRUE(scheduler.add(1, prompt_of(3), {.answer_max = 12}));
  ASSERT_TRUE(scheduler.add(2, prompt_of(3, 50), {.answer_max = 12}));
  std::vector<TokenId> second;  // what was computed for sequence 2, by position
  for (int i = 0; i < 20 && scheduler.preemptions() == 0; ++i) {
    const Step step = scheduler.next_step();
    if (scheduler.preemptions() == 0) go_on(scheduler, step, 60 + i);
  }
  EXPECT_EQ(scheduler.preemptions(), 1u);
  EXPECT_EQ(scheduler.waiting(), 1u);
  scheduler.abort_step();
  ASSERT_TRUE(scheduler.cancel(1));
  for (bool sampled = false; !sampled;) {  // it comes back with all of its tokens
    const Step step = scheduler.next_step();
    for (size_t i = 0; i < step.batch.tokens.size(); ++i) {
      const auto position = static_cast<size_t>(step.batch.layout.positions[i]);
      second.resize(std::max(second.size(), position + 1), -1);
      second[position] = step.batch.tokens[i];
    }
    sampled = !step.samples.empty();
    if (sampled) {
      scheduler.abort_step();
    } else {
      scheduler.commit({});
    }
  }
  ASSERT_GT(second.size(), 4u);
  for (size_t i = scheduler.cached_tokens(2); i < second.size(); ++i) {
    const TokenId expected = static_cast<TokenId>(i < 3 ? 50 + i : 60 + i - 3);
    if (second[i] == -1) continue;  // its block was still cached
    EXPECT_EQ(second[i], expected) << i;
  }
}

TEST(Scheduler, ASecondTurnStartsFromTheFirstOnesBlocks) {
  Scheduler scheduler(kSmall);
  ASSERT_TRUE(scheduler.add(1, prompt_of(7), {.answer_max = 4}));
  Step step = scheduler.next_step();
  go_on(scheduler, step, 7);
  step = scheduler.next_step();
  const Continuation end[] = {{.finished = true}};
  scheduler.commit(end);
  ASSERT_TRUE(scheduler.add(2, prompt_of(12), {.answer_max = 2}));
  step = scheduler.next_step();
  EXPECT_EQ(scheduler.cached_tokens(2), 8u);  // the answer's token 7 as well
  EXPECT_EQ(step.batch.layout.positions.front(), 8);
  scheduler.abort_step();
}

TEST(Scheduler, AnAbortedStepComesAgain) {
  Scheduler scheduler(kSmall);
  ASSERT_TRUE(scheduler.add(1, prompt_of(5), {.answer_max = 4}));
  const Step step = scheduler.next_step();
  const std::vector<int32_t> tokens(step.batch.tokens.begin(), step.batch.tokens.end());
  scheduler.abort_step();
  const Step again = scheduler.next_step();
  EXPECT_TRUE(std::ranges::equal(again.batch.tokens, tokens));
  scheduler.abort_step();
}

// Proposes these tokens to everyone it is asked for.
struct Guesses : DraftSource {
  std::vector<TokenId> tokens;
  std::vector<uint32_t> rooms;  // how many it was asked for
  DraftRoom last;
  explicit Guesses(std::vector<TokenId> given) : tokens(std::move(given)) {}
  uint32_t propose(const DraftRoom& room, std::span<TokenId> into) override {
    last = room;
    rooms.push_back(static_cast<uint32_t>(into.size()));
    const size_t count = std::min(into.size(), tokens.size());
    std::copy_n(tokens.begin(), count, into.begin());
    return static_cast<uint32_t>(count);
  }
};

// One at a time, each of one token: the order in which they are begun.
std::vector<SequenceId> order_of_turns(Scheduler& scheduler) {
  std::vector<SequenceId> order;
  while (true) {
    const Step step = scheduler.next_step();
    if (step.empty()) return order;
    order.insert(order.end(), step.begun.begin(), step.begun.end());
    scheduler.commit(std::vector<Continuation>(step.samples.size(), {.finished = true}));
  }
}

constexpr SchedulerOptions kOneByOne{.step_tokens_max = 8,
                                     .sequences_max = 1,
                                     .waiting_max = 64,
                                     .context_tokens = 16,
                                     .blocks = 8,
                                     .block_tokens = 4};

TEST(SchedulerTurns, KeysGoInTurnAndEachInItsOwnOrder) {
  Scheduler scheduler(kOneByOne);
  const auto add = [&](SequenceId id, uint64_t key) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(2), {.answer_max = 1, .fairness_key = key}));
  };
  for (SequenceId id = 1; id <= 5; ++id) add(id, 7);  // a flood
  add(11, 8);
  add(21, 9);
  add(12, 8);
  EXPECT_EQ(order_of_turns(scheduler), (std::vector<SequenceId>{1, 11, 21, 2, 12, 3, 4, 5}));
}

TEST(SchedulerTurns, OneKeyIsServedInTheOrderItsSequencesCame) {
  Scheduler scheduler(kOneByOne);
  for (SequenceId id = 1; id <= 9; ++id) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(2), {.answer_max = 1}));
  }
  EXPECT_EQ(order_of_turns(scheduler), (std::vector<SequenceId>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

// Whoever comes anew each time a sequence of his ends takes one turn a round, too.
TEST(SchedulerTurns, ComingAgainAndAgainOvertakesNobodyForLong) {
  Scheduler scheduler(kOneByOne);
  for (SequenceId id = 1; id <= 4; ++id) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(2), {.answer_max = 1, .fairness_key = 7}));
  }
  std::vector<SequenceId> order;
  for (SequenceId id = 11; id <= 16; ++id) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(2), {.answer_max = 1, .fairness_key = 8}));
    for (int begun = 0; begun < 1;) {
      const Step step = scheduler.next_step();
      order.insert(order.end(), step.begun.begin(), step.begun.end());
      begun += static_cast<int>(step.begun.size());
      scheduler.commit(std::vector<Continuation>(step.samples.size(), {.finished = true}));
    }
  }
  EXPECT_EQ(order, (std::vector<SequenceId>{1, 11, 2, 12, 3, 13}));
}

TEST(SchedulerTurns, ANewcomerWaitsForOneOfTheFlood) {
  Scheduler scheduler(kOneByOne);
  for (SequenceId id = 1; id <= 50; ++id) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(2), {.answer_max = 1, .fairness_key = 7}));
  }
  for (int i = 0; i < 20; ++i) {
    const Step step = scheduler.next_step();
    scheduler.commit(std::vector<Continuation>(step.samples.size(), {.finished = true}));
  }
  ASSERT_TRUE(scheduler.add(99, prompt_of(2), {.answer_max = 1, .fairness_key = 8}));
  const auto order = order_of_turns(scheduler);
  EXPECT_EQ(std::vector<SequenceId>(order.begin(), order.begin() + 3),
            (std::vector<SequenceId>{21, 99, 22}));
}

// Who was sent back for lack of memory comes before anyone new, whatever his turn.
TEST(SchedulerTurns, SentBackIsNotSentToTheEnd) {
  SchedulerOptions options = kOneByOne;
  options.sequences_max = 2;
  options.context_tokens = 12;
  options.blocks = 3;
  Scheduler scheduler(options);
  ASSERT_TRUE(scheduler.add(1, prompt_of(3), {.answer_max = 8, .fairness_key = 7}));
  ASSERT_TRUE(scheduler.add(2, prompt_of(3, 30), {.answer_max = 8, .fairness_key = 7}));
  go_on(scheduler, scheduler.next_step());
  ASSERT_EQ(scheduler.running(), 2u);
  ASSERT_TRUE(scheduler.add(3, prompt_of(2, 60), {.answer_max = 1, .fairness_key = 8}));
  for (int i = 0; scheduler.preemptions() == 0; ++i) {
    ASSERT_LT(i, 8);
    go_on(scheduler, scheduler.next_step());
  }
  ASSERT_TRUE(scheduler.cancel(1));
  const Step step = scheduler.next_step();
  ASSERT_FALSE(step.empty());
  EXPECT_EQ(step.sequences.front(), 2u);
  for (const SequenceId id : step.begun) EXPECT_NE(id, 2u) << "it has been begun before";
  scheduler.abort_step();
}

TEST(SchedulerTurns, WhoIsCancelledLeavesNoGap) {
  Scheduler scheduler(kOneByOne);
  const auto add = [&](SequenceId id, uint64_t key) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(2), {.answer_max = 1, .fairness_key = key}));
  };
  for (SequenceId id = 1; id <= 5; ++id) add(id, 7);
  for (SequenceId id = 11; id <= 13; ++id) add(id, 8);
  for (SequenceId id = 1; id <= 3; ++id) EXPECT_TRUE(scheduler.cancel(id));
  add(6, 7);
  EXPECT_EQ(order_of_turns(scheduler), (std::vector<SequenceId>{4, 11, 5, 12, 13, 6}));
}

constexpr SchedulerOptions kLong{.step_tokens_max = 8,
                                 .sequences_max = 4,
                                 .waiting_max = 20,
                                 .context_tokens = 64,
                                 .blocks = 64,
                                 .block_tokens = 4};

TEST(SchedulerTurns, ALongPromptHoldsUpNobodyElsesShortOne) {
  Scheduler scheduler(kLong);
  const auto add = [&](SequenceId id, uint32_t tokens, uint64_t key) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(tokens, static_cast<TokenId>(100 * id)),
                              {.answer_max = 8, .fairness_key = key}));
  };
  add(1, 40, 7);
  Step step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{8}));
  go_on(scheduler, step);
  add(2, 40, 7);
  add(3, 3, 8);
  step = scheduler.next_step();
  EXPECT_EQ(ids(step.sequences), (std::vector<SequenceId>{1, 3}));
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{5, 3}));  // the half, and what was left
  EXPECT_EQ(ids(step.begun), (std::vector<SequenceId>{3}));
  EXPECT_EQ(step.prompt_tokens, 8u);
  EXPECT_EQ(step.answering, 0u);
  go_on(scheduler, step);
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{7, 1}));
  EXPECT_EQ(step.prompt_tokens, 7u);
  EXPECT_EQ(step.answering, 1u);
  go_on(scheduler, step);

  // Others of key 8 pass the second of key 7 while its first is computed; then it is its turn.
  std::vector<SequenceId> begun;
  for (SequenceId id = 4; std::ranges::count(begun, 2u) == 0; ++id) {
    ASSERT_LT(id, 20u);
    add(id, 3, 8);
    step = scheduler.next_step();
    begun.insert(begun.end(), step.begun.begin(), step.begun.end());
    std::vector<Continuation> next(step.samples.size(), {.finished = true});
    const TokenId token = 99;
    for (size_t i = 0; i < next.size(); ++i) {
      if (step.samples[i] == 1) next[i] = {.tokens = {&token, 1}};
    }
    scheduler.commit(next);
  }
  EXPECT_GE(begun.size(), 4u);
  // A newcomer waits for one or two of each, whatever the second has missed.
  add(50, 3, 9);
  size_t before = 0;
  for (bool found = false; !found; ++before) {
    ASSERT_LT(before, 5u);
    step = scheduler.next_step();
    found = std::ranges::find(step.begun, 50u) != step.begun.end();
    scheduler.commit(std::vector<Continuation>(step.samples.size(), {.finished = true}));
  }
}

TEST(Scheduler, BoundsHoldWhileAnybodyAnswers) {
  Scheduler scheduler(kLong);
  const StepBounds bounds{.prompt_tokens_max = 3, .sequences_max = 2};
  ASSERT_TRUE(scheduler.add(1, prompt_of(6), {.answer_max = 20}));
  Step step = scheduler.next_step(nullptr, bounds);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{6}));  // nobody waits for a next token yet
  go_on(scheduler, step);
  ASSERT_TRUE(scheduler.add(2, prompt_of(10, 100), {.answer_max = 20}));
  ASSERT_TRUE(scheduler.add(3, prompt_of(2, 200), {.answer_max = 20}));
  for (const uint32_t chunk : {3u, 3u, 3u}) {
    step = scheduler.next_step(nullptr, bounds);
    EXPECT_EQ(counts(step), (std::vector<uint32_t>{1, chunk}));
    go_on(scheduler, step);
  }
  step = scheduler.next_step(nullptr, bounds);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1, 1})) << "the third has to wait";
  scheduler.abort_step();
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1, 1, 2}));
  scheduler.abort_step();
}

TEST(Scheduler, WhoWantsHiddenStatesTakesNothingFromTheCache) {
  Scheduler scheduler(kLong);
  ASSERT_TRUE(scheduler.add(1, prompt_of(8), {.answer_max = 1}));
  scheduler.commit(
      std::vector<Continuation>(scheduler.next_step().samples.size(), {.finished = true}));
  ASSERT_TRUE(scheduler.add(2, prompt_of(8), {.answer_max = 1, .wants_hidden = true}));
  Step step = scheduler.next_step();
  EXPECT_TRUE(step.wants_hidden);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{8}));
  scheduler.commit(std::vector<Continuation>(step.samples.size(), {.finished = true}));
  ASSERT_TRUE(scheduler.add(3, prompt_of(8), {.answer_max = 1}));
  step = scheduler.next_step();
  EXPECT_FALSE(step.wants_hidden);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{4}));
  scheduler.abort_step();
}

// Of how many prompt tokens each sequence of the step gives logits.
std::vector<uint32_t> prompt_rows(const Step& step) {
  std::vector<uint32_t> result;
  for (const RowRange& rows : step.prompt_rows) result.push_back(rows.count);
  return result;
}

TEST(Scheduler, APromptsLogitsComeInChunksOfTheRowsThatAreLeft) {
  SchedulerOptions options = kLong;
  options.logit_rows_max = 6;
  Scheduler scheduler(options);
  ASSERT_TRUE(scheduler.add(1, prompt_of(2, 70), {.answer_max = 8}));
  go_on(scheduler, scheduler.next_step());
  ASSERT_TRUE(scheduler.add(2, prompt_of(8), {.answer_max = 2, .wants_prompt_logits = true}));
  Step step = scheduler.next_step();  // two have a row each, four are left
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1, 5}));
  EXPECT_EQ(prompt_rows(step), (std::vector<uint32_t>{0, 5}));
  EXPECT_EQ(step.sample_rows[0].first, 0u);
  EXPECT_EQ(step.prompt_rows[1].first, 1u);
  scheduler.abort_step();
  step = scheduler.next_step();
  EXPECT_EQ(prompt_rows(step), (std::vector<uint32_t>{0, 5}))
      << "what was not computed comes again";
  go_on(scheduler, step);
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(prompt_rows(step), (std::vector<uint32_t>{0, 2})) << "the last token's is the answer's";
  EXPECT_EQ(step.sample_rows[1].first, 3u);
  EXPECT_EQ(step.batch.logit_rows.size(), 4u);
  go_on(scheduler, step);
  step = scheduler.next_step();
  EXPECT_EQ(prompt_rows(step), (std::vector<uint32_t>{0, 0}));
  scheduler.commit(std::vector<Continuation>(2, {.finished = true}));

  // All of it, though the cache has its beginning; but for a prompt of one token there is nothing.
  ASSERT_TRUE(scheduler.add(3, prompt_of(8), {.answer_max = 1, .wants_prompt_logits = true}));
  ASSERT_TRUE(scheduler.add(4, prompt_of(1), {.answer_max = 1, .wants_prompt_logits = true}));
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{5, 1}));
  EXPECT_EQ(prompt_rows(step), (std::vector<uint32_t>{5, 0}));
  scheduler.abort_step();
}

TEST(Scheduler, WithoutARowToSpareAPromptsLogitsComeOneByOne) {
  SchedulerOptions options = kLong;
  options.logit_rows_max = options.sequences_max;
  Scheduler scheduler(options);
  for (SequenceId id = 1; id < options.sequences_max; ++id) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(2, 70), {.answer_max = 8}));
  }
  go_on(scheduler, scheduler.next_step());
  ASSERT_TRUE(scheduler.add(99, prompt_of(4), {.answer_max = 1, .wants_prompt_logits = true}));
  for (uint32_t rows : {1u, 1u, 1u, 0u}) {
    const Step step = scheduler.next_step();
    EXPECT_EQ(counts(step).back(), 1u);
    EXPECT_EQ(prompt_rows(step).back(), rows);
    EXPECT_EQ(step.samples.back() == 99, rows == 0);
    go_on(scheduler, step);
  }
}

TEST(SchedulerTurns, ASaltKeepsItsPrefixesToItself) {
  Scheduler scheduler(kSmall);
  const auto cached = [&](SequenceId id, uint64_t salt) {
    EXPECT_TRUE(scheduler.add(id, prompt_of(9), {.answer_max = 1, .cache_salt = salt}));
    uint32_t found = 0;
    while (!scheduler.idle()) {
      const Step step = scheduler.next_step();
      found = scheduler.cached_tokens(id);
      scheduler.commit(std::vector<Continuation>(step.samples.size(), {.finished = true}));
    }
    return found;
  };
  EXPECT_EQ(cached(1, 5), 0u);
  EXPECT_EQ(cached(2, 6), 0u);
  EXPECT_EQ(cached(3, 0), 0u);
  EXPECT_EQ(cached(4, 5), 8u);
  EXPECT_EQ(cached(5, 6), 8u);
}

constexpr SchedulerOptions kDrafting{.step_tokens_max = 8,
                                     .sequences_max = 3,
                                     .waiting_max = 4,
                                     .context_tokens = 16,
                                     .blocks = 8,
                                     .block_tokens = 4,
                                     .logit_rows_max = 8};

// A sequence that has its first token.
void begin(Scheduler& scheduler, SequenceId id, uint32_t prompt, uint32_t answer_max,
           TokenId first = 0) {
  ASSERT_TRUE(scheduler.add(id, prompt_of(prompt, first), {.answer_max = answer_max}));
  const Step step = scheduler.next_step();
  go_on(scheduler, step);
}

TEST(SchedulerDrafts, RightGuessesAreComputedWrongOnesComeAgain) {
  Scheduler scheduler(kDrafting);
  begin(scheduler, 1, 3, 12);
  Guesses guesses({20, 21, 22});
  Step step = scheduler.next_step(&guesses);
  EXPECT_EQ(std::vector<int32_t>(step.batch.tokens.begin(), step.batch.tokens.end()),
            (std::vector<int32_t>{99, 20, 21, 22}));
  EXPECT_EQ(step.batch.layout.positions.back(), 6);
  EXPECT_EQ(ids(step.samples), (std::vector<SequenceId>{1}));
  EXPECT_EQ(step.sample_rows[0].first, 0u);
  EXPECT_EQ(step.sample_rows[0].count, 4u);
  EXPECT_EQ(step.batch.logit_rows.size(), 4u);
  EXPECT_EQ(guesses.last.history.size(), 4u);
  EXPECT_EQ(guesses.last.step_tokens, 1u);
  EXPECT_EQ(guesses.last.step_samples, 1u);
  const TokenId tokens[] = {20, 21, 50};
  const Continuation next[] = {{.tokens = tokens}};
  scheduler.commit(next);
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1}));
  EXPECT_EQ(step.batch.tokens.front(), 50);
  EXPECT_EQ(step.batch.layout.positions.front(), 6);
  scheduler.abort_step();
}

TEST(SchedulerDrafts, TheLastTokenIsAlwaysStillToBeComputed) {
  Scheduler scheduler(kDrafting);
  begin(scheduler, 1, 3, 12);
  Guesses guesses({20, 21, 22});
  Step step = scheduler.next_step(&guesses);
  const TokenId tokens[] = {20, 21};  // the second was forced, not sampled
  const Continuation next[] = {{.tokens = tokens}};
  scheduler.commit(next);
  step = scheduler.next_step();
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1}));
  EXPECT_EQ(step.batch.tokens.front(), 21);
  scheduler.abort_step();
}

TEST(SchedulerDrafts, TakeWhatNobodyElseWants) {
  Scheduler scheduler(kDrafting);
  begin(scheduler, 1, 3, 12);
  begin(scheduler, 2, 3, 12, 30);
  Guesses guesses({20, 21, 22, 23, 24, 25, 26, 27, 28});
  Step step = scheduler.next_step(&guesses);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{7, 1}));  // the oldest first
  EXPECT_EQ(ids(step.samples), (std::vector<SequenceId>{1, 2}));
  EXPECT_EQ(step.sample_rows[1].first, 7u);
  scheduler.abort_step();
  ASSERT_TRUE(scheduler.add(3, prompt_of(4, 60), {.answer_max = 2}));
  step = scheduler.next_step(&guesses);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{3, 1, 4})) << "a prompt goes before guesses";
  EXPECT_EQ(guesses.rooms.back(), 2u);
  scheduler.abort_step();

  SchedulerOptions few_rows = kDrafting;
  few_rows.logit_rows_max = 3;
  Scheduler rows(few_rows);
  begin(rows, 1, 3, 12);
  step = rows.next_step(&guesses);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{3}));
  rows.abort_step();

  SchedulerOptions long_steps = kDrafting;
  long_steps.step_tokens_max = 64;
  long_steps.context_tokens = 32;
  long_steps.logit_rows_max = 64;
  Scheduler most(long_steps);
  begin(most, 1, 3, 28);
  step = most.next_step(&guesses);
  EXPECT_EQ(counts(step), (std::vector<uint32_t>{1 + kDraftTokensMax}));
  most.abort_step();
}

TEST(SchedulerDrafts, StayWithinTheAnswerAndTheContext) {
  Guesses guesses({20, 21, 22, 23, 24, 25, 26, 27});
  Scheduler scheduler(kDrafting);
  begin(scheduler, 1, 3, 4);  // three more tokens: two guesses and the one behind them
  EXPECT_EQ(counts(scheduler.next_step(&guesses)), (std::vector<uint32_t>{3}));
  scheduler.abort_step();
  ASSERT_TRUE(scheduler.cancel(1));
  begin(scheduler, 2, 8, 100);  // the context holds seven more
  EXPECT_EQ(counts(scheduler.next_step(&guesses)), (std::vector<uint32_t>{7}));
  scheduler.abort_step();
  ASSERT_TRUE(scheduler.cancel(2));
  begin(scheduler, 3, 3, 1);  // its only token is there: nothing to guess
  EXPECT_EQ(counts(scheduler.next_step(&guesses)), (std::vector<uint32_t>{1}));
  scheduler.abort_step();
}

TEST(SchedulerDrafts, KeepNoBlockAndSendNobodyBack) {
  SchedulerOptions options = kDrafting;
  options.step_tokens_max = 16;
  options.blocks = 5;
  options.context_tokens = 12;
  const TokenId token = 99;
  Guesses guesses({20, 21, 22, 23, 24});
  Scheduler scheduler(options);
  for (SequenceId id = 1; id <= 3; ++id) {
    ASSERT_TRUE(scheduler.add(id, prompt_of(3, static_cast<TokenId>(30 * id)), {.answer_max = 8}));
  }
  go_on(scheduler, scheduler.next_step());
  EXPECT_EQ(scheduler.allocator().held_blocks(), 3u);
  EXPECT_EQ(counts(scheduler.next_step(&guesses)), (std::vector<uint32_t>{6, 1, 1}));
  EXPECT_EQ(scheduler.allocator().held_blocks(), 5u);
  scheduler.commit(std::vector<Continuation>(3, {.tokens = {&token, 1}}));
  EXPECT_EQ(scheduler.allocator().held_blocks(), 4u);  // the oldest needs its second one
  EXPECT_EQ(scheduler.preemptions(), 0u);
  EXPECT_TRUE(scheduler.allocator().consistent());

  options.blocks = 3;
  Scheduler tight(options);
  ASSERT_TRUE(tight.add(1, prompt_of(3), {.answer_max = 8}));
  ASSERT_TRUE(tight.add(2, prompt_of(3, 30), {.answer_max = 8}));
  go_on(tight, tight.next_step());
  ASSERT_EQ(tight.allocator().available_blocks(), 1u);
  // The first gets the last block, and guesses for as much as it holds; the second has none.
  EXPECT_EQ(counts(tight.next_step(&guesses)), (std::vector<uint32_t>{5, 1}));
  EXPECT_EQ(tight.preemptions(), 0u);
  tight.abort_step();
  EXPECT_EQ(tight.allocator().held_blocks(), 2u);
}

TEST(SchedulerDrafts, OnlyWhatIsRightBecomesAPrefix) {
  Scheduler scheduler(kDrafting);
  begin(scheduler, 1, 3, 12);
  Guesses guesses({20, 21, 22, 23, 24, 25, 26});
  scheduler.next_step(&guesses);
  const TokenId tokens[] = {20, 21, 22, 23, 50};
  const Continuation end[] = {{.tokens = tokens, .finished = true}};
  scheduler.commit(end);
  EXPECT_EQ(scheduler.allocator().held_blocks(), 0u);
  const auto cached = [&](std::vector<TokenId> prompt) {
    EXPECT_TRUE(scheduler.add(2, std::move(prompt), {.answer_max = 1}));
    scheduler.next_step();
    const uint32_t found = scheduler.cached_tokens(2);
    scheduler.abort_step();
    EXPECT_TRUE(scheduler.cancel(2));
    return found;
  };
  EXPECT_EQ(cached({0, 1, 2, 99, 20, 21, 22, 23, 24, 25, 26, 27, 28}), 8u);
  EXPECT_EQ(cached({0, 1, 2, 99, 20, 21, 22, 24, 1}), 4u);
}

}  // namespace
}  // namespace hadal
