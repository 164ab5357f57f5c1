// The reader of one request's tokens: they become text for an AnswerSink and an Answer at the end;
// stop strings and the thinking budget are acted on. Lives as long as its request.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "engine/generation.h"
#include "text/text_stream.h"
#include "text/tokenizer.h"

namespace hadal {

class AnswerStream : public TokenSink {
 public:
  // thinking_close: the tokens a used-up thinking budget forces. tokenizer outlives the stream.
  AnswerStream(const Tokenizer& tokenizer, bool thinking_open, const GenerationOptions& options,
               std::vector<TokenId> thinking_close, std::shared_ptr<AnswerSink> sink);

  void on_prompt_log_probabilities(const LogProbabilities& given) override;
  void on_log_probabilities(const LogProbabilities& given) override;
  TokenDecision on_token(TokenId token) override;
  void on_finish(FinishReason reason, const Usage& usage, std::string_view error) override;

  // The next token is thought, or what closes it: not of the answer itself.
  bool before_answer() const { return stream_.in_thinking() || closing_tokens_ > 0; }

 private:
  std::string_view visible_bytes(TokenId token) const;
  void hand_out(const TextDelta& delta);

  const Tokenizer& tokenizer_;
  const std::optional<uint32_t> thinking_budget_;
  std::vector<TokenId> thinking_close_;
  std::shared_ptr<AnswerSink> sink_;
  TextStream stream_;
  Answer answer_;
  bool unwanted_ = false;  // the sink said so
  bool closed_by_budget_ = false;
  size_t closing_tokens_ = 0;  // of thinking_close_, are still to come
};

}  // namespace hadal
