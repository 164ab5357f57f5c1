// Tools on their way to a model and its calls on their way back, the same for all dialects.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/chat/chat_job.h"
#include "text/grammar/grammar.h"
#include "text/tool_calls.h"

namespace hadal {

// Past calls in messages carry their arguments as JSON text. Templates that print them with tojson
// want the value itself; this puts it there for them. What is no object, or none within the limits
// of a request's own JSON (chat/json_text), stays text.
void shape_past_calls(nlohmann::ordered_json& messages, std::string_view chat_template);

// tools: as in a ChatJob.
bool has_tool(const nlohmann::ordered_json& tools, const std::string& name);

// What an answer is that must be a call: one of these. In the model's own form, as its chat
// template has it, or else as plain JSON: {"name": "...", "arguments": {...}}. job.tool_choice is
// not kAuto.
std::vector<GrammarPart> forced_calls(const ChatJob& job, std::string_view chat_template);
// The call that such an answer is. Where the answer ended too early, what there is of it: its
// arguments as far as they came, none if not even they began. nullopt: it had not said yet what is
// called.
std::optional<ToolCall> read_forced_call(const ChatJob& job, std::string_view chat_template,
                                         std::string_view answer);

// A call's arguments as an object: of one that was cut, all members and entries that came whole.
nlohmann::ordered_json arguments_of(const ToolCall& call);

}  // namespace hadal
