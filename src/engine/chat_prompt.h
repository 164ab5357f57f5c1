// From a conversation to the tokens a model answers to: its chat template, thinking switched on or
// off, the beginning-of-sequence token once.
#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/generation.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hadal {

inline constexpr std::string_view kThinkBegin = "<think>", kThinkEnd = "</think>";
// What closes a thinking part as the R1 family writes it.
inline constexpr std::string_view kThinkingClose = "\n</think>\n\n";

// knows_thinking: see generation.h, enum Thinking.
Result<Prompt> make_chat_prompt(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                const nlohmann::ordered_json& messages, const ChatOptions& options,
                                bool knows_thinking);

Result<Prompt> make_raw_prompt(const Tokenizer& tokenizer, std::string_view text,
                               uint32_t tokens_max = UINT32_MAX);

}  // namespace hadal
