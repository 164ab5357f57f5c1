// What an answer that must have a form may go on with: which tokens of the vocabulary, at each
// place. Made by a grammar (JSON Schema); read by the engine's sampler before each draw.
//
// One mask an answer: it is the answer's place in its grammar. Used by one thread at a time (the
// engine's). Its methods may throw bad_alloc, which ends this answer alone; allowed() and accept()
// should not allocate once the first tokens have been seen, and cost little beside a model's step.
#pragma once

#include <cstdint>
#include <span>

#include "text/tokenizer.h"

namespace hadal {

class TokenMask {
 public:
  virtual ~TokenMask() = default;

  // Sets bit `id % 32` of bits[id / 32] for each token that may come next and clears all others.
  // bits: [words_for(vocabulary)], of unknown content. vocabulary: the model's, which may be larger
  // than the tokenizer's (what the tokenizer lacks is never allowed). End tokens are not the mask's
  // affair: the engine allows them where may_end() says so, whatever stands here.
  virtual void allowed(std::span<uint32_t> bits) = 0;

  // This token was put behind the answer. Each is told, in order; the end token is not. A reader
  // may force a token that was not allowed: the mask must bear it (it may allow nothing from there
  // on, or all).
  virtual void accept(TokenId token) = 0;

  // The answer may be complete as it stands. Where nothing is allowed and the answer may end, the
  // engine ends it; where nothing is allowed and it may not, the request fails.
  virtual bool may_end() const = 0;

  static constexpr size_t words_for(size_t vocabulary) { return (vocabulary + 31) / 32; }
};

}  // namespace hadal
