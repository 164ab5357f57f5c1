// OpenAI's Responses requests -> ChatJob
// (https://platform.openai.com/docs/api-reference/responses/create), as far as they can be answered
// without keeping anything: the tables in openai_responses_request.cpp and
// openai_responses_input.cpp are the list of what is honoured; everything else is refused by its
// name.
#pragma once

#include <string_view>
#include <vector>

#include "server/chat/chat_job.h"
#include "server/chat/fields.h"
#include "server/request_error.h"

namespace hadal {

struct ResponsesRequest {
  ChatJob job;
  bool stream = false;
  bool logprobs = false;  // wanted beside the text

  // What a response repeats of its request, as the client sent it; null where it said nothing.
  nlohmann::ordered_json repeated;
};

RequestResult<ResponsesRequest> read_responses_request(std::string_view body);

// The tables, for openapi/.
std::vector<FieldForm> responses_forms();

}  // namespace hadal
