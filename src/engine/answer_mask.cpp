#include "engine/answer_mask.h"

#include <algorithm>

namespace hadal {

namespace {

constexpr uint32_t kBits = 32;

uint32_t bit_of(TokenId token) {
  return 1u << (static_cast<uint32_t>(token) % kBits);
}
size_t word_of(TokenId token) {
  return static_cast<uint32_t>(token) / kBits;
}

}  // namespace

AnswerMask::AnswerMask(std::shared_ptr<TokenMask> mask, std::span<const TokenId> end_tokens,
                       uint32_t vocabulary)
    : mask_(std::move(mask)),
      bits_(TokenMask::words_for(vocabulary)),
      last_word_(vocabulary % kBits == 0 ? UINT32_MAX : (1u << (vocabulary % kBits)) - 1) {
  for (const TokenId token : end_tokens) {
    if (token >= 0 && static_cast<uint32_t>(token) < vocabulary) end_tokens_.push_back(token);
  }
}

AnswerMask::Next AnswerMask::look() {
  mask_->allowed(bits_);
  bits_.back() &= last_word_;
  for (const TokenId token : end_tokens_) bits_[word_of(token)] &= ~bit_of(token);
  const bool may_end = mask_->may_end();
  if (std::ranges::all_of(bits_, [](uint32_t word) { return word == 0; })) {
    return may_end ? Next::kEnd : Next::kNothing;
  }
  if (may_end) {
    for (const TokenId token : end_tokens_) bits_[word_of(token)] |= bit_of(token);
  }
  return Next::kToken;
}

}  // namespace hadal
