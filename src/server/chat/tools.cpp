#include "server/chat/tools.h"

#include <fmt/format.h>

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

std::vector<GrammarPart> forced_calls(const ChatJob& job, std::string_view chat_template) {
  std::vector<GrammarPart> calls;
  for (const Json& tool : job.tools) {
    const Json& function = tool["function"];
    const auto& name = function["name"].get_ref<const std::string&>();
    if (job.tool_choice == ChatJob::ToolChoice::kNamed && name != job.named_tool) continue;
    Json parameters = Json::object({{"type", "object"}});
    if (const auto given = function.find("parameters"); given != function.end()) {
      parameters = *given;
      if (!parameters.contains("type")) parameters["type"] = "object";
    }
    auto frame = call_frame(chat_template, name);
    if (!frame) frame = {R"({"name": )" + Json(name).dump() + R"(, "arguments": )", "}"};
    calls.push_back({.schema = parameters.dump(),
                     .before = std::move(frame->before),
                     .behind = std::move(frame->behind),
                     .owner = fmt::format("the parameters of {}: ", name)});
  }
  return calls;
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
