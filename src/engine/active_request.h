// One request from submit() to its end: what it was given, what it is owed, and what a step's
// logits mean for it. The loop's own; engine thread but for its making and `cancelled`.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer_mask.h"
#include "engine/draft_pace.h"
#include "engine/drafter.h"
#include "engine/engine.h"
#include "engine/log_probabilities.h"
#include "engine/mean_pool.h"
#include "engine/predictor.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace hadal {

struct ActiveRequest {
  // What the loop adds to a request.
  struct Terms {
    RequestId id = 0;
    uint32_t vocabulary = 0, context_tokens = 0;
    uint32_t hidden_width = 0;  // where it asks for an embedding
    Speculation speculation = Speculation::kOff;
    Predictor* predictor = nullptr;
    double now = 0;  // seconds
  };
  ActiveRequest(Request&& given, const Terms& terms);

  // Of a token of its prompt, the logits of the token before. False: memory lacked, it has failed.
  bool tell_prompt(std::span<const float> logits, TokenId token);
  // What a step's logits mean for it. logits: [1 + drafts, vocabulary]. Lack of memory ends it.
  void decide(std::span<const float> logits, std::span<const TokenId> drafts, double time,
              Continuation& next_tokens);
  // Allocates nothing that it could not do without.
  void fail_with(std::string_view message);

  const RequestId id;
  const uint32_t vocabulary;
  std::vector<TokenId> prompt;  // until the scheduler has it
  std::vector<TokenId> end_tokens;
  std::shared_ptr<TokenSink> sink;
  Sampler sampler;
  const uint32_t max_tokens;
  const uint32_t room;  // tokens that the context has for the answer
  const uint64_t cache_salt, fairness_key;
  std::optional<LogProbabilityReport> report;
  const bool wants_prompt_logits;
  const bool prompt_only;
  std::optional<AnswerMask> mask;
  std::optional<MeanPool> pool;  // of one that asks for an embedding, and for no answer
  double submitted, first_token = 0;
  Usage usage;
  FinishReason reason = FinishReason::kCancelled;
  std::string error;
  std::vector<TokenId> next;                // of this step
  std::unique_ptr<Drafter> drafter;         // null: no speculation
  PredictionDrafter* prediction = nullptr;  // the drafter, where it is one
  DraftAcceptance acceptance;
  uint32_t draft_grade = 0;       // of this step's drafts
  double guesses_used = 1;        // how many of the predictor's last ones were worth trying
  uint32_t guesses_left_out = 0;  // steps since then
  bool cancelled = false;         // under the loop's mutex

 private:
  void take_rows(std::span<const float> logits, std::span<const TokenId> drafts, double time,
                 Continuation& next_tokens);
  TokenId draw(std::span<const float> logits, Continuation& next_tokens);
  void take_tokens(size_t first, std::span<const float> logits, Continuation& next_tokens);
  void give_embedding();
  void end_prompt(std::span<const float> logits, double time);
};

}  // namespace hadal
