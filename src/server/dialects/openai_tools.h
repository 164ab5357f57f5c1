// OpenAI's tools, tool_choice and response_format -> ChatJob
// (https://platform.openai.com/docs/guides/function-calling, .../structured-outputs).
#pragma once

#include <string>
#include <vector>

#include "server/chat/chat_job.h"
#include "server/chat/fields.h"

namespace hadal {

RequestResult<void> read_tools(const nlohmann::ordered_json& tools, ChatJob& job);
// After the tools: a tool_choice, where `name_of` reads the name in one that is an object.
using ChosenName = RequestResult<std::string> (*)(const nlohmann::ordered_json& choice);
RequestResult<void> choose_tool(const nlohmann::ordered_json& choice, ChosenName name_of,
                                ChatJob& job);
RequestResult<void> read_tool_choice(const nlohmann::ordered_json& choice, ChatJob& job);
RequestResult<void> read_response_format(const nlohmann::ordered_json& format, ChatJob& job);
// A past message's tool_calls. path: "messages[3].tool_calls".
RequestResult<nlohmann::ordered_json> read_past_calls(const nlohmann::ordered_json& calls,
                                                      const std::string& path);
void append_openai_tool_forms(std::vector<FieldForm>& forms);

}  // namespace hadal
