// Tools on their way to a model and its calls on their way back, the same for all dialects.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "server/chat/chat_job.h"
#include "text/tool_calls.h"

namespace hadal {

// Past calls in messages carry their arguments as JSON text. Templates that print them with tojson
// want the value itself; this puts it there for them.
void shape_past_calls(nlohmann::ordered_json& messages, std::string_view chat_template);

// tools: as in a ChatJob.
bool has_tool(const nlohmann::ordered_json& tools, const std::string& name);

// A call that must be made is asked for as plain JSON, whatever the model's own form is:
// {"name": "...", "arguments": {...}}. The schema of that; job.tool_choice is not kAuto.
std::string call_schema(const ChatJob& job);
// The call in such an answer. nullopt: it was cut off.
std::optional<ToolCall> read_call(std::string_view answer);

}  // namespace hadal
