// A form that the answer must have holds from where the thinking ends: until then everything is
// allowed but the end, and the form is told nothing.
#pragma once

#include <memory>

#include "engine/answer_stream.h"
#include "text/grammar/token_mask.h"

namespace hadal {

class ThinkingMask : public TokenMask {
 public:
  // stream: the reader of the same request's tokens.
  ThinkingMask(std::shared_ptr<TokenMask> form, std::shared_ptr<const AnswerStream> stream)
      : form_(std::move(form)), stream_(std::move(stream)) {}

  void allowed(std::span<uint32_t> bits) override;
  void accept(TokenId token) override;
  bool may_end() const override;

 private:
  std::shared_ptr<TokenMask> form_;
  std::shared_ptr<const AnswerStream> stream_;
};

}  // namespace hadal
