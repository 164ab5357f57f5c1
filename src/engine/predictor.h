// Guesses by the model's own prediction layer (multi-token prediction: Model::draft). The layer
// reads the hidden states of every token and keeps a cache of its own, so it follows each step,
// prompts too: a position's row is written as soon as it is known which token comes behind it, and
// guesses that were refused leave no trace. Where two texts part at the end of a block that both
// share, the row of the block's last place speaks of the text that came first: that may cost a
// guess.
//
// Engine thread. Allocates nothing behind its constructor.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/drafter.h"
#include "engine/scheduler.h"

namespace hadal {

// How the layer is run. Logits and states stay until the next call of either.
class DraftRunner {
 public:
  virtual ~DraftRunner() = default;
  // hidden_rows: for each token of the batch, where in the last step that was computed the token
  // before it stood. Gives the logits [logit_rows, vocabulary]; what the layer made of the i-th
  // logit row is kept as state i.
  virtual Result<std::span<const float>> draft(const Batch& batch,
                                               std::span<const uint32_t> hidden_rows) = 0;
  // One token behind a state, which gives way to what the layer makes of it.
  virtual Result<std::span<const float>> draft_further(const Batch& batch, uint32_t state) = 0;
};

class PredictionDrafter;

class Predictor {
 public:
  Predictor(DraftRunner& runner, uint32_t vocabulary, const SchedulerOptions& options);

  // A step was computed and what follows is known: begin(), follow() for each of its sequences, in
  // their order, end(). The step's views must stay good until then.
  void begin(const Step& step);
  // The first `rows` tokens of the step's sequence `index` stay, and `next` follows them (none: it
  // is not known). drafter: gets a guess of what comes behind `next`; null: none is wanted.
  void follow(size_t index, uint32_t rows, std::optional<TokenId> next, PredictionDrafter* drafter);
  // Runs the layer. An error means that the device can be used no more. guesses: how many were
  // made.
  Status end();
  uint32_t guesses() const { return static_cast<uint32_t>(drafters_.size()); }
  uint32_t tokens() const { return static_cast<uint32_t>(tokens_.size()); }

 private:
  friend class PredictionDrafter;
  Result<TokenId> guess_further(uint32_t state, const DraftRoom& room, size_t position,
                                TokenId token);

  DraftRunner& runner_;
  const uint32_t vocabulary_;
  uint64_t round_ = 0;  // counts end()
  Step step_;
  std::vector<int32_t> tokens_, positions_;
  std::vector<uint32_t> starts_, tables_, logit_rows_, hidden_rows_;
  std::vector<PredictionDrafter*> drafters_;  // of the logit rows
};

// Of one sequence. Guesses are good for the step behind the one the predictor has followed. The
// grade says how sure the layer is of its first guess.
class PredictionDrafter : public Drafter {
 public:
  explicit PredictionDrafter(Predictor& predictor) : predictor_(predictor) {}
  Draft propose(std::span<const TokenId> history, std::span<TokenId> into) override;
  Status complete(const DraftRoom& room, std::span<TokenId> into) override;

 private:
  friend class Predictor;
  Predictor& predictor_;
  uint64_t round_ = 0;  // of the predictor, in which the guess was made
  TokenId token_ = 0;
  uint32_t grade_ = 0, state_ = 0;
};

// The token of the greatest logit (the first of equals), graded by its probability.
struct Guess {
  TokenId token = 0;
  uint32_t grade = 0;
};
Guess best_guess(std::span<const float> logits);

}  // namespace hadal
