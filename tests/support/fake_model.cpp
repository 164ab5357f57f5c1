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

TokenId answer_to(uint64_t hash, uint32_t vocabulary) {
  return static_cast<TokenId>(mix_bits(hash) % vocabulary);
}

}  // namespace

FakeModel::FakeModel(const FakeModelOptions& options)
    : options_(options),
      slots_(size_t{options.blocks} * options.block_tokens),
      token_hashes_(options.step_tokens_max),
      written_in_(slots_.size()),
      logits_(size_t{std::max(options.sequences_max, options.logit_rows_max)} *
              options.vocabulary) {}

TokenId FakeModel::next_token(std::span<const TokenId> tokens, uint32_t vocabulary, bool repeats) {
  if (repeats) return answer_to(extend(kEmptyHash, tokens.back()), vocabulary);
  uint64_t hash = kEmptyHash;
  for (const TokenId token : tokens) hash = extend(hash, token);
  return answer_to(hash, vocabulary);
}

Result<std::span<const float>> FakeModel::run(const Batch& batch) {
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
    slots_[slot] = {extend(past, batch.tokens[i]), batch.tokens[i]};
    token_hashes_[i] = slots_[slot].hash;
  }
  return check_past(table, static_cast<uint32_t>(layout.positions[end - 1]) + 1);
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
