#include "engine/predictor.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace hadal {

namespace {

// Probabilities from which on a guess is of grade 1, 2, 3.
constexpr float kGradeProbabilities[kDraftGrades - 1] = {0.3f, 0.6f, 0.9f};
constexpr float kNegligible = -20;  // a logit so far below the greatest adds nothing

}  // namespace

Predictor::Predictor(DraftRunner& runner, uint32_t vocabulary, const SchedulerOptions& options)
    : runner_(runner), vocabulary_(vocabulary) {
  const uint32_t sequences = options.sequences_max;
  const uint32_t blocks =
      (options.context_tokens + options.block_tokens - 1) / options.block_tokens;
  tokens_.reserve(options.step_tokens_max);
  positions_.reserve(options.step_tokens_max);
  hidden_rows_.reserve(options.step_tokens_max);
  starts_.reserve(size_t{sequences} + 1);
  tables_.reserve(size_t{sequences} * blocks);
  logit_rows_.reserve(sequences);
  drafters_.reserve(sequences);
}

void Predictor::begin(const Step& step) {
  step_ = step;
  ++round_;
  tokens_.clear();
  positions_.clear();
  hidden_rows_.clear();
  starts_.assign(1, 0);
  tables_.clear();
  logit_rows_.clear();
  drafters_.clear();
}

void Predictor::follow(size_t index, uint32_t rows, std::optional<TokenId> next,
                       PredictionDrafter* drafter) {
  const SequenceLayout& layout = step_.batch.layout;
  const uint32_t first = layout.sequence_starts[index];
  CHECK(rows <= layout.sequence_starts[index + 1] - first);
  if (!next) rows -= std::min(rows, 1u);
  if (rows == 0) return;
  for (uint32_t row = first; row < first + rows; ++row) {
    const bool last = next && row + 1 == first + rows;
    tokens_.push_back(last ? *next : step_.batch.tokens[row + 1]);
    positions_.push_back(layout.positions[row]);
    hidden_rows_.push_back(row);
  }
  starts_.push_back(static_cast<uint32_t>(tokens_.size()));
  const auto table = layout.block_tables.subspan(index * layout.blocks_per_sequence_max,
                                                 layout.blocks_per_sequence_max);
  tables_.insert(tables_.end(), table.begin(), table.end());
  if (!next || drafter == nullptr) return;
  logit_rows_.push_back(starts_.back() - 1);
  drafters_.push_back(drafter);
}

Status Predictor::end() {
  if (tokens_.empty()) return {};
  HADAL_TRY(const std::span<const float> logits,
            runner_.draft(
                {.tokens = tokens_,
                 .layout = {.positions = positions_,
                            .sequence_starts = starts_,
                            .block_tables = tables_,
                            .blocks_per_sequence_max = step_.batch.layout.blocks_per_sequence_max},
                 .logit_rows = logit_rows_},
                hidden_rows_));
  CHECK(logits.size() == drafters_.size() * vocabulary_);
  for (uint32_t i = 0; i < drafters_.size(); ++i) {
    const Guess guess = best_guess(logits.subspan(size_t{i} * vocabulary_, vocabulary_));
    PredictionDrafter& drafter = *drafters_[i];
    drafter.round_ = round_;
    drafter.token_ = guess.token;
    drafter.grade_ = guess.grade;
    drafter.state_ = i;
  }
  return {};
}

Result<TokenId> Predictor::guess_further(uint32_t state, const DraftRoom& room, size_t position,
                                         TokenId token) {
  const int32_t tokens[] = {token}, positions[] = {static_cast<int32_t>(position)};
  const uint32_t starts[] = {0, 1}, rows[] = {0};
  HADAL_TRY(const std::span<const float> logits,
            runner_.draft_further(
                {.tokens = tokens,
                 .layout = {.positions = positions,
                            .sequence_starts = starts,
                            .block_tables = room.blocks,
                            .blocks_per_sequence_max = static_cast<uint32_t>(room.blocks.size())},
                 .logit_rows = rows},
                state));
  CHECK(logits.size() == vocabulary_);
  return best_guess(logits).token;
}

Draft PredictionDrafter::propose(std::span<const TokenId>, std::span<TokenId> into) {
  if (round_ != predictor_.round_) return {};
  into[0] = token_;
  return {.tokens = static_cast<uint32_t>(into.size()), .grade = grade_};
}

// The hidden state at the place before the history's last token gave the first guess; each further
// one comes from a place behind.
Status PredictionDrafter::complete(const DraftRoom& room, std::span<TokenId> into) {
  for (size_t i = 1; i < into.size(); ++i) {
    HADAL_TRY(into[i],
              predictor_.guess_further(state_, room, room.history.size() + i - 2, into[i - 1]));
  }
  return {};
}

Guess best_guess(std::span<const float> logits) {
  const auto greatest = std::ranges::max_element(logits);
  float total = 0;
  for (const float logit : logits) {
    if (const float below = logit - *greatest; below > kNegligible) total += std::exp(below);
  }
  const float probability = 1 / total;
  uint32_t grade = 0;
  for (const float least : kGradeProbabilities) grade += probability >= least;
  return {.token = static_cast<TokenId>(greatest - logits.begin()), .grade = grade};
}

}  // namespace hadal
