#include "server/models/embedding_request.h"

namespace hadal {

void EmbeddingRequest::on_finish(FinishReason reason, const Usage& usage, std::string_view error) {
  if (watch_ != nullptr) {
    watch_->on_finish({.model = model_,
                       .fairness_key = fairness_key_,
                       .reason = reason,
                       .usage = usage,
                       .seconds = std::chrono::duration<double>(Clock::now() - begin_).count(),
                       .first_seconds = {}});
  }
  if (reason == FinishReason::kFailed) return done_(refuse(ErrorKind::kFailed, "{}", error));
  if (reason != FinishReason::kEndToken) {  // the engine closes, or nobody wants it any more
    return done_(refuse(ErrorKind::kUnavailable, "the embedding was cancelled"));
  }
  result_.tokens = usage.prompt_tokens;
  done_(std::move(result_));
}

}  // namespace hadal
