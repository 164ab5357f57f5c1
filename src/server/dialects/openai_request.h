// OpenAI's chat and completion requests -> ChatJob
// (https://platform.openai.com/docs/api-reference/chat/create, .../completions/create), with the
// fields beyond them that clients of llama-server, vLLM and DeepSeek's own API send. The tables in
// openai_request.cpp are the list of what is honoured; everything else is refused by its name.
#pragma once

#include <optional>
#include <string_view>

#include "server/chat/chat_job.h"
#include "server/chat/fields.h"
#include "server/limits.h"
#include "server/request_error.h"

namespace hadal {

struct OpenAiRequest {
  ChatJob job;
  bool chat = true;  // false: a completion
  bool stream = false;
  bool include_usage = false;  // in a stream, as its last event
  bool logprobs = false;       // chat: wanted, as many beside them as job.top_logprobs says

  // What reasoning_effort allows; a budget that is said itself goes before it.
  std::optional<uint32_t> effort_budget;

  // Read when all else is: what they mean depends on other fields.
  nlohmann::ordered_json tools, tool_choice;
};

RequestResult<OpenAiRequest> read_openai_chat(std::string_view body);
RequestResult<OpenAiRequest> read_openai_completion(std::string_view body);
// All tables, those of what lies in the requests, too.
std::vector<FieldForm> openai_forms();

}  // namespace hadal
