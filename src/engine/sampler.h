// From logits to a token. Deterministic: the same logits, options, history and draw give the same
// token, on every machine; equal scores go to the lowest id. Allocates nothing after construction.
// One sampler a sequence; not shared between threads.
//
// Order: what the mask forbids, biases, penalties, then temperature 0 = greedy; else the
// temperature, top-k, top-p, min-p, then one draw. top-p and min-p look at the temperature's
// distribution (as Hugging Face has it); top-p's share is of what top-k left; the most likely token
// always stays.
//
// The draw is a function of the seed and of how many tokens the answer has (engine/random.h), so it
// does not depend on the batch, and a forced token costs one draw like any other.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace hadal {

struct SamplingOptions {
  float temperature = 0.6f;         // 0: greedy; at most 100
  uint32_t top_k = 0;               // 0: all
  float top_p = 0.95f;              // (0, 1]
  float min_p = 0.0f;               // [0, 1)
  float repetition_penalty = 1.0f;  // (0, 100]; divides positive and multiplies negative logits of
                                    // seen tokens (arXiv 1909.05858)
  float presence_penalty =
      0.0f;  // [-2, 2], subtracted once from the logits of tokens of this answer
  float frequency_penalty = 0.0f;  // [-2, 2], subtracted once an occurrence
  uint64_t seed = 0;
  // Names the option, its value and its range.
  Status validate() const;
};

struct LogitBias {
  TokenId token = 0;
  float bias = 0;  // -100 as good as forbids a token, 100 as good as asks for it
};

class Sampler {
 public:
  static constexpr TokenId kNoToken = -1;
  static constexpr size_t kBiasesMost = 1024;
  static constexpr float kBiasLargest = 100;

  // logit_bias: as check_bias wants it; a token named twice gets both.
  Sampler(const SamplingOptions& options, uint32_t vocabulary,
          std::vector<LogitBias> logit_bias = {});
  ~Sampler();

  // Errors: too many, a token outside the vocabulary, a bias beyond kBiasLargest; with the figures.
  static Status check_bias(std::span<const LogitBias> logit_bias, uint32_t vocabulary);

  void add_prompt(std::span<const TokenId> tokens);  // history for the repetition penalty
  void add(TokenId token);                           // a token of the answer, sampled or forced
  // logits: [vocabulary]. allowed: a bit a token as in TokenMask::allowed; empty: all. Does not
  // add. NaN and -infinity are never chosen, nor what is not allowed; kNoToken when there is
  // nothing else.
  TokenId sample(std::span<const float> logits, std::span<const uint32_t> allowed = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hadal
