#include "engine/answer_stream.h"

#include "engine/chat_prompt.h"
#include "text/tool_calls.h"

namespace hadal {

namespace {

TextStreamOptions stream_options(const GenerationOptions& options, bool thinking_open) {
  TextStreamOptions result;
  result.stop = options.stop;
  result.thinking_open = thinking_open;
  result.parse_thinking = options.parse_thinking;
  result.think_begin = kThinkBegin;
  result.think_end = kThinkEnd;
  return result;
}

}  // namespace

AnswerStream::AnswerStream(const Tokenizer& tokenizer, bool thinking_open,
                           const GenerationOptions& options, std::vector<TokenId> thinking_close,
                           std::shared_ptr<AnswerSink> sink)
    : tokenizer_(tokenizer),
      thinking_budget_(options.thinking_budget),
      thinking_close_(std::move(thinking_close)),
      sink_(std::move(sink)),
      stream_(stream_options(options, thinking_open)) {}

void AnswerStream::on_prompt_log_probabilities(const LogProbabilities& given) {
  sink_->on_prompt_log_probabilities(given);
}

void AnswerStream::on_log_probabilities(const LogProbabilities& given) {
  sink_->on_log_probabilities(given, before_answer());
}

TokenDecision AnswerStream::on_token(TokenId token) {
  // A token counts as thinking if thinking was open before it; the one that closes it does, too.
  if (stream_.in_thinking()) ++answer_.thinking_tokens;
  hand_out(stream_.push(visible_bytes(token)));
  closing_tokens_ -= closing_tokens_ > 0;
  TokenDecision decision;
  decision.stop = unwanted_ || stream_.stopped();
  if (thinking_budget_ && stream_.in_thinking() && !closed_by_budget_ &&
      answer_.thinking_tokens >= *thinking_budget_) {
    closed_by_budget_ = true;
    closing_tokens_ = thinking_close_.size();
    decision.force = thinking_close_;
  }
  return decision;
}

void AnswerStream::on_finish(FinishReason reason, const Usage& usage, std::string_view error) {
  unwanted_ = unwanted_ || reason == FinishReason::kCancelled;
  if (!unwanted_) hand_out(stream_.finish());
  answer_.reason = unwanted_ ? FinishReason::kCancelled : reason;
  answer_.usage = usage;
  // A stop string can also be met in what the end lets go.
  if (stream_.stopped() && !unwanted_) {
    answer_.reason = FinishReason::kStopped;
    answer_.stop_string = stream_.stop_string();
  }
  sink_->on_finish(std::move(answer_), error);
}

// Control tokens are no text, but for those that mark thinking and tool calls.
std::string_view AnswerStream::visible_bytes(TokenId token) const {
  const std::string_view bytes = tokenizer_.token_bytes(token);
  const bool text = !tokenizer_.is_special(token) || bytes == kThinkBegin || bytes == kThinkEnd ||
                    ToolCallStream::is_mark(bytes);
  return text ? bytes : std::string_view();
}

void AnswerStream::hand_out(const TextDelta& delta) {
  answer_.thinking += delta.thinking;
  answer_.text += delta.answer;
  if (delta.thinking.empty() && delta.answer.empty()) return;
  if (!unwanted_ && !sink_->on_delta(delta)) unwanted_ = true;
}

}  // namespace hadal
