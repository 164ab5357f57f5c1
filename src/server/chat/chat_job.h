// What a client wants, whatever dialect it speaks: filled in by a dialect, done by chat_run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/generation.h"
#include "server/chat/prompt_text.h"
#include "server/http/request_record.h"

namespace hadal {

struct ChatJob {
  std::string model;  // "": the server's default

  // Either messages, as chat templates know them (roles system, user, assistant, tool; content a
  // string), or prompts, each continued by itself. With both, the one prompt is for models without
  // a chat template.
  std::optional<nlohmann::ordered_json> messages;
  std::vector<PromptText> prompts;

  nlohmann::ordered_json tools;  // a list, or null: what the model may call, as templates know it
  // How it is held to that: it may, it must, or it must call this one.
  enum class ToolChoice : uint8_t { kAuto, kRequired, kNamed } tool_choice = ToolChoice::kAuto;
  std::string named_tool;
  bool one_call_only = false;

  // The answer's form: JSON Schema text; "": free.
  std::string schema;

  uint32_t choices = 1;  // of each prompt
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<uint32_t> top_k;
  std::optional<uint64_t> seed;  // choice i: seed + i
  uint32_t max_tokens = 0;       // 0: until the context is full
  uint32_t context_most = 0;     // a context smaller than the model's; 0: the model's
  std::vector<std::string> stop;
  std::vector<LogitBias> logit_bias;
  std::optional<uint32_t> top_logprobs;  // none: no log probabilities
  bool ignore_end = false;
  bool echo = false;  // prompts come back, with their tokens' log probabilities where asked for
  bool prompt_only = false;  // no answer

  Thinking thinking = Thinking::kModelDefault;
  const char* thinking_field = "thinking";  // what the client calls it
  std::optional<uint32_t> thinking_budget;
  bool parse_thinking = true;

  uint64_t cache_salt = 0;                // and fairness key: who asks
  std::shared_ptr<RequestRecord> record;  // where its tokens are written down; null: nowhere

  bool scores_prompts() const { return echo && top_logprobs; }
  // The model's own defaults with what the job says put over them.
  GenerationOptions generation(const SamplingOptions& defaults) const;
};

}  // namespace hadal
