// A model without mathematics for tests of the engine's bookkeeping: what it writes into a slot of
// the cache is a hash of the sequence up to there, and what it answers is a function of that hash.
// So an answer is known beforehand from the prompt alone, and any slip (a block given twice, a past
// that was evicted under a sequence, a position off by one) is caught at the step that uses it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request_loop.h"

namespace hadal {

struct FakeModelOptions {
  uint32_t vocabulary = 40;
  uint32_t blocks = 16;
  uint32_t block_tokens = kBlockTokens;
  uint32_t step_tokens_max = 64;
  uint32_t sequences_max = 4;
  uint32_t logit_rows_max = 0;  // 0: sequences_max
  // Answers are a function of the last token alone, so they soon go in circles and can be guessed.
  bool repeats = false;
};

// Its prediction layer guesses right but for every third place, and holds the engine to this: each
// hidden state is given it with the token that follows, so that its own part of the cache lacks
// none of the past. (The last row of a block may be of another text that shares the block.)
class FakeModel : public StepRunner, public DraftRunner {
 public:
  explicit FakeModel(const FakeModelOptions& options);

  // Errors: the first thing in the batch that is not as it must be, or what fail_next() said.
  Result<std::span<const float>> run(const Batch& batch) override;

  // Of a token, two small numbers that its whole past has a say in.
  static constexpr uint32_t kHiddenWidth = 2;
  Result<std::span<const float>> run_with_hidden(const Batch& batch) override;
  Result<std::span<const float>> hidden(uint32_t first, uint32_t count) override;
  static std::vector<float> mean_of_hidden(std::span<const TokenId> tokens);

  Result<std::span<const float>> draft(const Batch& batch,
                                       std::span<const uint32_t> hidden_rows) override;
  Result<std::span<const float>> draft_further(const Batch& batch, uint32_t state) override;

  // The token that follows `tokens`.
  static TokenId next_token(std::span<const TokenId> tokens, uint32_t vocabulary,
                            bool repeats = false);

  void fail_next(std::string error) { error_ = std::move(error); }
  void throw_next() { throws_ = true; }  // bad_alloc
  uint64_t tokens_computed() const { return tokens_computed_; }
  uint64_t runs() const { return runs_; }
  uint64_t drafts() const { return drafts_; }

 private:
  struct Slot {
    uint64_t hash = 0;
    TokenId token = -1;
    uint64_t draft_hash = 0;  // of the prediction layer
  };
  Status check_shape(const Batch& batch) const;
  Status compute(const Batch& batch, uint32_t sequence);
  Status draft_token(std::span<const uint32_t> table, uint32_t position, uint64_t hidden,
                     TokenId token);
  Status check_draft_past(std::span<const uint32_t> table, uint32_t positions) const;
  void put_guess(size_t row, uint64_t hash, TokenId token);
  Status check_past(std::span<const uint32_t> table, uint32_t tokens) const;
  size_t slot_of(std::span<const uint32_t> table, uint32_t position) const {
    return size_t{table[position / options_.block_tokens]} * options_.block_tokens +
           position % options_.block_tokens;
  }

  FakeModelOptions options_;
  std::vector<Slot> slots_;
  std::vector<uint64_t> token_hashes_;     // of the batch
  std::vector<int32_t> hidden_positions_;  // of the batch
  std::vector<uint64_t> states_;
  std::vector<uint32_t> state_positions_;  // that of a state's sequence were followed, not guessed
  std::vector<uint64_t> written_in_;       // [slots] the last run that wrote each
  std::vector<float> logits_;
  std::vector<float> hidden_;  // [batch, kHiddenWidth]; empty: the last run was without
  uint64_t runs_ = 0, tokens_computed_ = 0, drafts_ = 0;
  std::string error_;
  bool throws_ = false;
};

}  // namespace hadal
