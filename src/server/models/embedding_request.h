// A text's way through the engine to its embedding: tells the watch what became of it, and whoever
// asked what it is. Lives as long as the engine's request.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/models/answer_watch.h"
#include "server/request_error.h"

namespace hadal {

struct EmbeddingOptions {
  uint64_t cache_salt = 0, fairness_key = 0;  // as in Request
};

// mean: as TokenSink::on_embedding has it.
struct TextEmbedding {
  std::vector<float> mean;
  uint32_t tokens = 0;
};

// Called once, on the engine thread; may submit the next text.
using EmbeddingDone = std::function<void(RequestResult<TextEmbedding>)>;

class EmbeddingRequest : public TokenSink {
 public:
  // watch: null, or outlives the engine thread. model: outlives this.
  EmbeddingRequest(AnswerWatch* watch, const std::string& model, uint64_t fairness_key,
                   EmbeddingDone done)
      : watch_(watch), model_(model), fairness_key_(fairness_key), done_(std::move(done)) {}

  void on_embedding(std::span<const float> mean) override {
    result_.mean.assign(mean.begin(), mean.end());
  }
  TokenDecision on_token(TokenId) override { return {.stop = true}; }  // there are none
  void on_finish(FinishReason reason, const Usage& usage, std::string_view error) override;

 private:
  using Clock = std::chrono::steady_clock;

  AnswerWatch* const watch_;
  const std::string& model_;
  const uint64_t fairness_key_;
  const EmbeddingDone done_;
  const Clock::time_point begin_ = Clock::now();
  TextEmbedding result_;
};

}  // namespace hadal
