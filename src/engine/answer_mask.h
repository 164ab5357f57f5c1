// A request's TokenMask as the sampler needs it: bits of a fixed place, with the end tokens where
// the answer may end. Allocates nothing behind its constructor, but for what the mask does.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "text/grammar/token_mask.h"

namespace hadal {

class AnswerMask {
 public:
  // end_tokens: those outside the vocabulary are nobody's.
  AnswerMask(std::shared_ptr<TokenMask> mask, std::span<const TokenId> end_tokens,
             uint32_t vocabulary);

  enum class Next : uint8_t {
    kToken,    // allowed() says which, end tokens included
    kEnd,      // nothing may follow, and the answer is complete
    kNothing,  // nothing may follow, and it is not
  };
  // Asks the mask what may come now.
  Next look();
  std::span<const uint32_t> allowed() const { return bits_; }  // of the last look()
  void accept(TokenId token) { mask_->accept(token); }

 private:
  std::shared_ptr<TokenMask> mask_;
  std::vector<TokenId> end_tokens_;
  std::vector<uint32_t> bits_;
  uint32_t last_word_;  // which bits of the last word are tokens
};

}  // namespace hadal
