// Log probabilities of an answer's tokens as OpenAI has them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>

#include "server/chat/chat_run.h"

namespace hadal {

// Of chats and responses: a list of {"token", "logprob", "bytes", "top_logprobs"}.
nlohmann::ordered_json token_logprobs_json(std::span<const ChatTokenLogprobs> tokens);
// Of completions: lists beside each other; a token that nothing foretold has nulls. Of each place
// the likeliest tokens and the one that stands there, which may be one more. offset: of the first
// token in the text, in characters.
nlohmann::ordered_json completion_logprobs_json(std::span<const ChatTokenLogprobs> tokens,
                                                size_t offset);

}  // namespace hadal
