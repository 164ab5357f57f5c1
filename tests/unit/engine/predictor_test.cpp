#include "engine/predictor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace hadal {
namespace {

TEST(BestGuess, IsTheGreatestAndTheFirstOfEquals) {
  EXPECT_EQ(best_guess(std::vector<float>{1, 3, 2}).token, 1);
  EXPECT_EQ(best_guess(std::vector<float>{3, 1, 3}).token, 0);
  EXPECT_EQ(best_guess(std::vector<float>{-5}).token, 0);
}

TEST(BestGuess, IsGradedByItsProbability) {
  // Of two logits 0 and x the greater has the probability 1 / (1 + exp(-x)).
  const auto grade_at = [](double probability) {
    const auto x = static_cast<float>(std::log(probability / (1 - probability)));
    return best_guess(std::vector<float>{0, x}).grade;
  };
  EXPECT_EQ(grade_at(0.55), 1u);
  EXPECT_EQ(grade_at(0.65), 2u);
  EXPECT_EQ(grade_at(0.95), 3u);
  EXPECT_EQ(best_guess(std::vector<float>(10, 0.0f)).grade, 0u);
  EXPECT_EQ(best_guess(std::vector<float>{90, -90, -1000}).grade, 3u);
}

TEST(BestGuess, OfWhatIsNoNumberIsAToken) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Guess guess = best_guess(std::vector<float>{nan, nan, nan});
  EXPECT_GE(guess.token, 0);
  EXPECT_LT(guess.token, 3);
}

// Notes what it is asked; its guess is always the token behind the last one.
struct Notes : DraftRunner {
  struct Asked {
    std::vector<int32_t> tokens, positions;
    std::vector<uint32_t> starts, tables, rows, hidden;
  };
  std::vector<Asked> asked;
  std::vector<uint32_t> states;
  std::vector<float> logits;
  std::string error;

  Result<std::span<const float>> answer(const Batch& batch, std::span<const uint32_t> hidden) {
    const auto copy = [](auto span) { return std::vector(span.begin(), span.end()); };
    const SequenceLayout& layout = batch.layout;
    asked.push_back({copy(batch.tokens), copy(layout.positions), copy(layout.sequence_starts),
                     copy(layout.block_tables), copy(batch.logit_rows), copy(hidden)});
    if (!error.empty()) return fail("{}", error);
    logits.assign(batch.logit_rows.size() * 10, 0);
    for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
      logits[i * 10 + static_cast<size_t>(batch.tokens[batch.logit_rows[i]] + 1)] = 9;
    }
    return std::span<const float>(logits);
  }
  Result<std::span<const float>> draft(const Batch& batch,
                                       std::span<const uint32_t> hidden_rows) override {
    return answer(batch, hidden_rows);
  }
  Result<std::span<const float>> draft_further(const Batch& batch, uint32_t state) override {
    states.push_back(state);
    return answer(batch, {});
  }
};

// Three sequences: an answer with two guesses of which one was right, a prompt's chunk, an answer
// that has ended.
struct PredictorTest : testing::Test {
  const std::vector<int32_t> tokens = {5, 6, 9, 1, 2, 3, 7};
  const std::vector<int32_t> positions = {11, 12, 13, 4, 5, 6, 20};
  const std::vector<uint32_t> starts = {0, 3, 6, 7}, tables = {1, 2, 3, 4, 5, 6};
  const std::vector<SequenceId> sequences = {1, 2, 3};
  Notes notes;
  Predictor predictor{notes,
                      10,
                      {.step_tokens_max = 16,
                       .sequences_max = 3,
                       .context_tokens = 32,
                       .blocks = 6,
                       .block_tokens = 16}};
  PredictionDrafter drafter{predictor};
  std::vector<TokenId> history = std::vector<TokenId>(15, 0);  // positions 0 to 14
  std::vector<uint32_t> blocks = {1, 2};

  Status follow() {
    Step step;
    step.batch = {.tokens = tokens,
                  .layout = {.positions = positions,
                             .sequence_starts = starts,
                             .block_tables = tables,
                             .blocks_per_sequence_max = 2}};
    step.sequences = sequences;
    predictor.begin(step);
    predictor.follow(0, 2, 7, &drafter);
    predictor.follow(1, 3, 4, nullptr);
    predictor.follow(2, 1, std::nullopt, nullptr);
    return predictor.end();
  }
};

TEST_F(PredictorTest, GivesEachHiddenStateTheTokenThatFollows) {
  ASSERT_TRUE(follow());
  ASSERT_EQ(notes.asked.size(), 1u);
  const Notes::Asked& asked = notes.asked[0];
  EXPECT_EQ(asked.tokens, (std::vector<int32_t>{6, 7, 2, 3, 4}));
  EXPECT_EQ(asked.positions, (std::vector<int32_t>{11, 12, 4, 5, 6}));
  EXPECT_EQ(asked.hidden, (std::vector<uint32_t>{0, 1, 3, 4, 5}));
  EXPECT_EQ(asked.starts, (std::vector<uint32_t>{0, 2, 5}));
  EXPECT_EQ(asked.tables, (std::vector<uint32_t>{1, 2, 3, 4}));
  EXPECT_EQ(asked.rows, (std::vector<uint32_t>{1}));
  EXPECT_EQ(predictor.guesses(), 1u);
}

TEST_F(PredictorTest, GuessesFromItsOwnGuessesAsManyAsAreWanted) {
  ASSERT_TRUE(follow());
  history.resize(14);  // the last token, at position 13, follows the hidden state of position 12
  std::vector<TokenId> into(4, -1);
  const Draft draft = drafter.propose(history, into);
  EXPECT_EQ(draft.tokens, 4u);
  EXPECT_EQ(draft.grade, 3u);
  EXPECT_EQ(into[0], 8);
  const DraftRoom room = {.id = 1, .history = history, .blocks = blocks};
  ASSERT_TRUE(drafter.complete(room, std::span(into).first(2)));
  EXPECT_EQ(into, (std::vector<TokenId>{8, 9, -1, -1}));
  ASSERT_EQ(notes.asked.size(), 2u);
  EXPECT_EQ(notes.asked[1].tokens, (std::vector<int32_t>{8}));
  EXPECT_EQ(notes.asked[1].positions, (std::vector<int32_t>{13}));
  EXPECT_EQ(notes.asked[1].tables, blocks);
  EXPECT_EQ(notes.states, (std::vector<uint32_t>{0}));
}

TEST_F(PredictorTest, AGuessIsGoodForOneStep) {
  ASSERT_TRUE(follow());
  std::vector<TokenId> into(1);
  EXPECT_EQ(drafter.propose(history, into).tokens, 1u);
  predictor.begin({});
  ASSERT_TRUE(predictor.end());
  EXPECT_EQ(drafter.propose(history, into).tokens, 0u);
}

TEST_F(PredictorTest, AFailureIsToldAndLeavesNoGuess) {
  notes.error = "the device is gone";
  const Status failed = follow();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "the device is gone");
  std::vector<TokenId> into(1);
  EXPECT_EQ(drafter.propose(history, into).tokens, 0u);
}

}  // namespace
}  // namespace hadal
