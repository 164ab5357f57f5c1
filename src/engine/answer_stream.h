// The reader of one answer: tokens become text for a caller and an Answer at the end; stop strings
// and the thinking budget are acted on. Lives as long as its request.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/generation.h"
#include "text/text_stream.h"
#include "text/tokenizer.h"

namespace hadal {

class AnswerStream : public TokenSink {
 public:
  // thinking_close: the tokens a used-up thinking budget forces. tokenizer, options and on_delta
  // outlive the stream.
  AnswerStream(const Tokenizer& tokenizer, bool thinking_open, const GenerationOptions& options,
               std::vector<TokenId> thinking_close,
               const std::function<bool(const TextDelta&)>& on_delta);

  TokenDecision on_token(TokenId token) override;
  void on_finish(FinishReason reason, const Usage& usage, std::string_view error) override;

  bool finished() const { return finished_; }
  bool still_wanted();  // asks the caller, with an empty delta
  const std::string& error() const { return error_; }
  Answer take_answer() { return std::move(answer_); }

 private:
  std::string_view visible_bytes(TokenId token) const;
  void hand_out(const TextDelta& delta);

  const Tokenizer& tokenizer_;
  const std::optional<uint32_t> thinking_budget_;
  const std::function<bool(const TextDelta&)>& on_delta_;
  std::vector<TokenId> thinking_close_;
  TextStream stream_;
  Answer answer_;
  std::string error_;
  bool unwanted_ = false;  // the caller said so
  bool closed_by_budget_ = false;
  bool finished_ = false;
};

}  // namespace hadal
