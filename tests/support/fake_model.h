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

class FakeModel : public StepRunner {
 public:
  explicit FakeModel(const FakeModelOptions& options);

  // Errors: the first thing in the batch that is not as it must be, or what fail_next() said.
  Result<std::span<const float>> run(const Batch& batch) override;

  // The token that follows `tokens`.
  static TokenId next_token(std::span<const TokenId> tokens, uint32_t vocabulary,
                            bool repeats = false);

  void fail_next(std::string error) { error_ = std::move(error); }
  void throw_next() { throws_ = true; }  // bad_alloc
  uint64_t tokens_computed() const { return tokens_computed_; }
  uint64_t runs() const { return runs_; }

 private:
  struct Slot {
    uint64_t hash = 0;
    TokenId token = -1;
  };
  Status check_shape(const Batch& batch) const;
  Status compute(const Batch& batch, uint32_t sequence);
  Status check_past(std::span<const uint32_t> table, uint32_t tokens) const;
  size_t slot_of(std::span<const uint32_t> table, uint32_t position) const {
    return size_t{table[position / options_.block_tokens]} * options_.block_tokens +
           position % options_.block_tokens;
  }

  FakeModelOptions options_;
  std::vector<Slot> slots_;
  std::vector<uint64_t> token_hashes_;  // of the batch
  std::vector<uint64_t> written_in_;    // [slots] the last run that wrote each
  std::vector<float> logits_;
  uint64_t runs_ = 0, tokens_computed_ = 0;
  std::string error_;
  bool throws_ = false;
};

}  // namespace hadal
