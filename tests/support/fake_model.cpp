#include "support/fake_model.h"

#include <algorithm>
#include <new>

#include "engine/random.h"

namespace hadal {

namespace {

constexpr uint64_t kEmptyHash = 0x5eed;

uint64_t extend(uint64_t hash, TokenId token) {
  return mix_bits(hash ^ static_cast<uint32_t>(token));
}

void put_hidden(uint64_t hash, std::vector<float>& into) {
  into.push_back(static_cast<float>(hash % 1009));
  into.push_back(static_cast<float>(hash / 1009 % 1013));
}

TokenId answer_to(uint64_t hash, uint32_t vocabulary) {
  return static_cast<TokenId>(mix_bits(hash) % vocabulary);
}

}  // namespace

FakeModel::FakeModel(const FakeModelOptions& options)
    : options_(options),
      slots_(size_t{options.blocks} * options.block_tokens),
      token_hashes_(options.step_tokens_max),
      hidden_positions_(options.step_tokens_max),
      states_(std::max(options.sequences_max, options.logit_rows_max)),
      state_positions_(states_.size()),
      written_in_(slots_.size()),
      logits_(size_t{std::max(options.sequences_max, options.logit_rows_max)} *
              options.vocabulary) {
  hidden_.reserve(size_t{options.step_tokens_max} * kHiddenWidth);
}

TokenId FakeModel::next_token(std::span<const TokenId> tokens, uint32_t vocabulary, bool repeats) {
  if (repeats) return answer_to(extend(kEmptyHash, tokens.back()), vocabulary);
  uint64_t hash = kEmptyHash;
  for (const TokenId token : tokens) hash = extend(hash, token);
  return answer_to(hash, vocabulary);
}

Result<std::span<const float>> FakeModel::run_with_hidden(const Batch& batch) {
  HADAL_TRY(const std::span<const float> logits, run(batch));
  for (size_t i = 0; i < batch.tokens.size(); ++i) put_hidden(token_hashes_[i], hidden_);
  return logits;
}

Result<std::span<const float>> FakeModel::hidden(uint32_t first, uint32_t count) {
  if (size_t{first + count} * kHiddenWidth > hidden_.size()) return fail("no hidden states");
  return std::span<const float>(hidden_).subspan(first * kHiddenWidth, count * kHiddenWidth);
}

std::vector<float> FakeModel::mean_of_hidden(std::span<const TokenId> tokens) {
  std::vector<float> states;
  uint64_t hash = kEmptyHash;
  for (const TokenId token : tokens) {
    hash = extend(hash, token);
    put_hidden(hash, states);
  }
  std::vector<float> mean(kHiddenWidth);
  for (size_t column = 0; column < kHiddenWidth; ++column) {
    double sum = 0;
    for (size_t i = column; i < states.size(); i += kHiddenWidth) sum += double{states[i]};
    mean[column] = static_cast<float>(sum / static_cast<double>(tokens.size()));
  }
  return mean;
}

Result<std::span<const float>> FakeModel::run(const Batch& batch) {
  hidden_.clear();
  if (std::exchange(throws_, false)) throw std::bad_alloc();
  if (!error_.empty()) return fail("{}", error_);
  ++runs_;
  tokens_computed_ += batch.tokens.size();
  HADAL_TRY_VOID(check_shape(batch));
  for (uint32_t i = 0; i < batch.layout.sequences(); ++i) HADAL_TRY_VOID(compute(batch, i));
  const size_t rows = batch.logit_rows.size();
  std::fill(logits_.begin(), logits_.end(), 0.0f);
  for (size_t row = 0; row < rows; ++row) {
    const uint32_t last = batch.logit_rows[row];
    const TokenId token = options_.repeats
                              ? next_token(batch.tokens.subspan(last, 1), options_.vocabulary, true)
                              : answer_to(token_hashes_[last], options_.vocabulary);
    logits_[row * options_.vocabulary + static_cast<size_t>(token)] = 50.0f;
  }
  return std::span<const float>(logits_).first(rows * options_.vocabulary);
}

Status FakeModel::check_shape(const Batch& batch) const {
  const SequenceLayout& layout = batch.layout;
  const size_t tokens = batch.tokens.size();
  if (tokens == 0 || tokens > options_.step_tokens_max) return fail("{} tokens a step", tokens);
  if (layout.positions.size() != tokens) return fail("{} positions", layout.positions.size());
  if (layout.sequences() > options_.sequences_max) return fail("{} sequences", layout.sequences());
  if (layout.sequence_starts.front() != 0 || layout.sequence_starts.back() != tokens) {
    return fail("the sequences do not cover the tokens");
  }
  if (layout.block_tables.size() != size_t{layout.sequences()} * layout.blocks_per_sequence_max) {
    return fail("{} entries of block tables", layout.block_tables.size());
  }
  if (batch.logit_rows.size() * options_.vocabulary > logits_.size()) {
    return fail("{} logit rows", batch.logit_rows.size());
  }
  for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
    if (batch.logit_rows[i] >= tokens) return fail("logit row {}", batch.logit_rows[i]);
    if (i > 0 && batch.logit_rows[i] <= batch.logit_rows[i - 1]) return fail("logit rows' order");
  }
  return {};
}

Status FakeModel::compute(const Batch& batch, uint32_t sequence) {
  const SequenceLayout& layout = batch.layout;
  const uint32_t begin = layout.sequence_starts[sequence];
  const uint32_t end = layout.sequence_starts[sequence + 1];
  if (begin >= end) return fail("sequence {} has no tokens", sequence);
  const auto table = layout.block_tables.subspan(size_t{sequence} * layout.blocks_per_sequence_max,
                                                 layout.blocks_per_sequence_max);
  for (uint32_t i = begin; i < end; ++i) {
    const auto position = static_cast<uint32_t>(layout.positions[i]);
    if (i > begin && layout.positions[i] != layout.positions[i - 1] + 1) {
      return fail("sequence {}: position {} behind {}", sequence, layout.positions[i],
                  layout.positions[i - 1]);
    }
    if (position >= options_.block_tokens * layout.blocks_per_sequence_max) {
      return fail("position {} lies behind the block table", position);
    }
    const size_t slot = slot_of(table, position);
    if (slot >= slots_.size()) return fail("slot {} is outside the cache", slot);
    if (std::exchange(written_in_[slot], runs_) == runs_) {
      return fail("slot {} belongs to two sequences", slot);
    }
    const uint64_t past = position == 0 ? kEmptyHash : slots_[slot_of(table, position - 1)].hash;
    slots_[slot].hash = extend(past, batch.tokens[i]);
    slots_[slot].token = batch.tokens[i];
    token_hashes_[i] = slots_[slot].hash;
    hidden_positions_[i] = layout.positions[i];
  }
  return check_past(table, static_cast<uint32_t>(layout.positions[end - 1]) + 1);
}

Result<std::span<const float>> FakeModel::draft(const Batch& batch,
                                                std::span<const uint32_t> hidden_rows) {
  ++drafts_;
  HADAL_TRY_VOID(check_shape(batch));
  if (hidden_rows.size() != batch.tokens.size()) return fail("{} hidden rows", hidden_rows.size());
  const SequenceLayout& layout = batch.layout;
  for (uint32_t sequence = 0; sequence < layout.sequences(); ++sequence) {
    const auto table = layout.block_tables.subspan(
        size_t{sequence} * layout.blocks_per_sequence_max, layout.blocks_per_sequence_max);
    for (uint32_t i = layout.sequence_starts[sequence]; i < layout.sequence_starts[sequence + 1];
         ++i) {
      const uint32_t row = hidden_rows[i];
      if (hidden_positions_[row] != layout.positions[i]) return fail("another's hidden state");
      const auto position = static_cast<uint32_t>(layout.positions[i]);
      if (slots_[slot_of(table, position)].hash != token_hashes_[row]) {
        return fail("the hidden state of position {} is of another text", position);
      }
      HADAL_TRY_VOID(draft_token(table, position, token_hashes_[row], batch.tokens[i]));
      HADAL_TRY_VOID(check_draft_past(table, position + 1));
    }
  }
  std::fill(logits_.begin(), logits_.end(), 0.0f);
  for (size_t row = 0; row < batch.logit_rows.size(); ++row) {
    const uint32_t last = batch.logit_rows[row];
    states_[row] = extend(token_hashes_[hidden_rows[last]], batch.tokens[last]);
    state_positions_[row] = static_cast<uint32_t>(layout.positions[last]) + 1;
    put_guess(row, states_[row], batch.tokens[last]);
  }
  return std::span<const float>(logits_).first(batch.logit_rows.size() * options_.vocabulary);
}

Result<std::span<const float>> FakeModel::draft_further(const Batch& batch, uint32_t state) {
  ++drafts_;
  HADAL_TRY_VOID(check_shape(batch));
  const auto position = static_cast<uint32_t>(batch.layout.positions[0]);
  HADAL_TRY_VOID(draft_token(batch.layout.block_tables, position, states_[state], batch.tokens[0]));
  HADAL_TRY_VOID(check_draft_past(batch.layout.block_tables, state_positions_[state]));
  states_[state] = extend(states_[state], batch.tokens[0]);
  std::fill(logits_.begin(), logits_.end(), 0.0f);
  put_guess(0, states_[state], batch.tokens[0]);
  return std::span<const float>(logits_).first(options_.vocabulary);
}

Status FakeModel::draft_token(std::span<const uint32_t> table, uint32_t position, uint64_t hidden,
                              TokenId token) {
  if (position / options_.block_tokens >= table.size()) {
    return fail("a draft's position {} lies behind the block table", position);
  }
  const size_t slot = slot_of(table, position);
  if (slot >= slots_.size()) return fail("a draft's slot {} is outside the cache", slot);
  slots_[slot].draft_hash = extend(hidden, token);
  return {};
}

// Attention would read them all: each was given its hidden state and the token behind it.
Status FakeModel::check_draft_past(std::span<const uint32_t> table, uint32_t positions) const {
  for (uint32_t position = 0; position + 1 < positions; ++position) {
    const bool seam = position % options_.block_tokens == options_.block_tokens - 1;
    if (slots_[slot_of(table, position)].draft_hash != slots_[slot_of(table, position + 1)].hash &&
        !seam) {
      return fail("the prediction layer's row of position {} is missing", position);
    }
  }
  return {};
}

void FakeModel::put_guess(size_t row, uint64_t hash, TokenId token) {
  const uint32_t vocabulary = options_.vocabulary;
  TokenId guess =
      options_.repeats ? next_token({&token, 1}, vocabulary, true) : answer_to(hash, vocabulary);
  if (hash % 3 == 0) guess = static_cast<TokenId>((guess + 1) % static_cast<TokenId>(vocabulary));
  logits_[row * vocabulary + static_cast<size_t>(guess)] = 50.0f;
}

// Attention would read all of it: every slot must still hold its place's token.
Status FakeModel::check_past(std::span<const uint32_t> table, uint32_t tokens) const {
  uint64_t hash = kEmptyHash;
  for (uint32_t position = 0; position < tokens; ++position) {
    const Slot& slot = slots_[slot_of(table, position)];
    hash = extend(hash, slot.token);
    if (slot.hash != hash) return fail("position {} is no longer what it was", position);
  }
  return {};
}

}  // namespace hadal
