// What a job is for the model: tokens. Any thread but the engine's; takes as long as the template
// and the tokenizer need.
#pragma once

#include <string>

#include "server/chat/chat_job.h"
#include "server/models/model_pool.h"
#include "server/request_error.h"

namespace hadal {

// Renders and tokenizes the messages, or the prompt of that index; past calls in the job's messages
// get the shape that the template wants. What is sure to have more than tokens_max tokens need not
// be tokenized (Prompt::tokens_least). Errors: the template's own; tools, or thinking, for a model
// that was not made for them.
RequestResult<Prompt> render_prompt(const ServedModel& model, ChatJob& job, size_t index = 0,
                                    uint32_t tokens_max = UINT32_MAX);
// A text without a template. field: what the client calls it, for errors.
RequestResult<Prompt> prompt_of(const ServedModel& model, const PromptText& text, const char* field,
                                uint32_t tokens_max = UINT32_MAX);
// Error: the vocabulary has no such token.
RequestResult<void> check_token(const ServedModel& model, TokenId token, const char* field);

// How many tokens of a prompt are worth counting, to say how far it is too long (ChatLimits).
uint32_t tokens_counted(uint32_t context);

// Of a text of which tokens_max tokens are enough: the bytes of its beginning that holds as many,
// and little more as far as is known without reading it. Whole characters.
size_t beginning_to_count(const Tokenizer& tokenizer, std::string_view text, uint32_t tokens_max);

// Tokens that the context holds where a client wants at most `most` of them (0: all there are).
// Error: it wants more.
RequestResult<uint32_t> context_for(const ServedModel& model, uint32_t most);

// As ModelPool::acquire; where there is not enough memory for what `then` does, it is called again,
// with that error.
void with_model(ModelPool& pool, const std::string& name, ModelPool::Then then);

}  // namespace hadal
