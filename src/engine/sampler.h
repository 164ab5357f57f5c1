// From logits to a token. Deterministic: the same logits, options, history and draw give the same
// token, on every machine; equal scores go to the lowest id. Allocates nothing after construction.
// One sampler a sequence; not shared between threads.
//
// Order (the one llama.cpp and Hugging Face users know): penalties, then temperature 0 = greedy;
// else top-k, top-p, min-p on the temperature's distribution, then one draw.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "text/tokenizer.h"

namespace hadal {

struct SamplingOptions {
  float temperature = 0.6f;         // 0: greedy; at most 100
  uint32_t top_k = 0;               // 0: all
  float top_p = 0.95f;              // (0, 1]
  float min_p = 0.0f;               // [0, 1)
  float repetition_penalty = 1.0f;  // > 0; divides positive and multiplies negative logits of seen
                                    // tokens (arXiv 1909.05858)
  float presence_penalty =
      0.0f;  // [-2, 2], subtracted once from the logits of tokens of this answer
  float frequency_penalty = 0.0f;  // [-2, 2], subtracted once an occurrence
  uint64_t seed = 0;
  // Names the option, its value and its range.
  Status validate() const;
};

class Sampler {
 public:
  Sampler(const SamplingOptions& options, uint32_t vocabulary);
  ~Sampler();

  void add_prompt(std::span<const TokenId> tokens);  // history for the repetition penalty
  void add(TokenId token);                           // a token of the answer, sampled or forced
  TokenId sample(std::span<const float> logits);     // does not add. NaN logits are never chosen

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hadal
