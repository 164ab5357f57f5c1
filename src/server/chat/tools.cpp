#include "server/chat/tools.h"

#include <algorithm>

#include "base/json.h"

namespace hadal {

namespace {

using Json = nlohmann::ordered_json;

bool prints_arguments_itself(std::string_view chat_template) {
  for (const std::string_view form : {"arguments | tojson", "arguments|tojson"}) {
    if (chat_template.find(form) != chat_template.npos) return true;
  }
  return false;
}

}  // namespace

void shape_past_calls(Json& messages, std::string_view chat_template) {
  if (!prints_arguments_itself(chat_template)) return;
  for (Json& message : messages) {
    const auto calls = message.find("tool_calls");
    if (calls == message.end()) continue;
    for (Json& call : *calls) {
      Json& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) continue;
      Json value = Json::parse(arguments.get_ref<const std::string&>(), nullptr, false);
      if (value.is_object()) arguments = std::move(value);
    }
  }
}

bool has_tool(const Json& tools, const std::string& name) {
  return std::ranges::any_of(tools,
                             [&](const Json& tool) { return tool["function"]["name"] == name; });
}

std::string call_schema(const ChatJob& job) {
  Json calls = Json::array();
  for (const Json& tool : job.tools) {
    const Json& function = tool["function"];
    if (job.tool_choice == ChatJob::ToolChoice::kNamed && function["name"] != job.named_tool) {
      continue;
    }
    Json parameters = Json::object({{"type", "object"}});
    if (const auto given = function.find("parameters"); given != function.end()) {
      parameters = *given;
      if (!parameters.contains("type")) parameters["type"] = "object";
    }
    Json properties = Json::object();
    properties["name"] = Json::object({{"const", function["name"]}});
    properties["arguments"] = std::move(parameters);
    Json call = Json::object();
    call["type"] = "object";
    call["properties"] = std::move(properties);
    call["required"] = Json::array({"name", "arguments"});
    call["additionalProperties"] = false;
    calls.push_back(std::move(call));
  }
  if (calls.size() == 1) return calls[0].dump();
  Json schema = Json::object();
  schema["anyOf"] = std::move(calls);
  return schema.dump();
}

std::optional<ToolCall> read_call(std::string_view answer) {
  const Json value = Json::parse(answer, nullptr, false);
  if (!value.is_object() || !value.contains("name") || !value.contains("arguments") ||
      !value["name"].is_string()) {
    return std::nullopt;
  }
  return ToolCall{.name = value["name"].get<std::string>(), .arguments = value["arguments"].dump()};
}

}  // namespace hadal
