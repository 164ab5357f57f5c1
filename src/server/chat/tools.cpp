#include "server/chat/tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "server/chat/json_text.h"
#include "text/grammar/token_trie.h"

namespace hadal {

namespace {

using Json = nlohmann::ordered_json;

bool prints_arguments_itself(std::string_view chat_template) {
  for (const std::string_view form : {"arguments | tojson", "arguments|tojson"}) {
    if (chat_template.find(form) != chat_template.npos) return true;
  }
  return false;
}

CallFrame frame_of(std::string_view chat_template, const std::string& name) {
  auto frame = call_frame(chat_template, name);
  if (frame) return std::move(*frame);
  return {R"({"name": )" + Json(name).dump() + R"(, "arguments": )", "}"};
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
      // Text of a client's that no limit has seen yet.
      auto value = parse_json(arguments.get_ref<const std::string&>());
      if (value && value->is_object()) arguments = std::move(*value);
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
    CallFrame frame = frame_of(chat_template, name);
    calls.push_back({.schema = parameters.dump(),
                     .before = std::move(frame.before),
                     .behind = std::move(frame.behind),
                     .owner = fmt::format("the parameters of {}: ", name)});
  }
  return calls;
}

namespace {

// The call of an answer that is whole.
std::optional<ToolCall> read_whole_call(std::string_view chat_template, std::string_view answer) {
  if (call_frame(chat_template, "")) {
    ToolCallStream stream(chat_template);
    const auto calls = stream.push(answer).calls;
    return calls.empty() ? std::nullopt : std::optional(calls.front());
  }
  const Json value = Json::parse(answer, nullptr, false);
  if (!value.is_object() || !value.contains("name") || !value.contains("arguments") ||
      !value["name"].is_string()) {
    return std::nullopt;
  }
  return ToolCall{.name = value["name"].get<std::string>(), .arguments = value["arguments"].dump()};
}

// Reads JSON that may end anywhere.
struct JsonBeginning {
  explicit JsonBeginning(std::string_view text) {
    std::string open;  // what closes the lists and objects that are open, outermost first
    bool in_string = false, is_name = false, in_value = false;
    // Behind a whole entry or member: what there is could be closed here.
    const auto could_end = [&](size_t at) {
      whole = text.substr(0, at);
      closing.assign(open.rbegin(), open.rend());
    };
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (in_string) {
        if (c == '\\') ++i;
        if (c != '"') continue;
        in_string = false;
        if (!is_name) could_end(i + 1);
        continue;
      }
      if (c == '"') {
        in_string = true;
        is_name = !in_value && open.ends_with('}');
      } else if (c == ':') {
        in_value = true;
      } else if (c == '{' || c == '[') {
        open += c == '{' ? '}' : ']';
        in_value = false;
        could_end(i + 1);
      } else if (c == ',') {
        could_end(i);  // behind a number, true, false or null
        in_value = false;
      } else if ((c == '}' || c == ']') && !open.empty()) {
        open.pop_back();
        could_end(i + 1);
        if (!open.empty()) continue;
        size = i + 1;
        return;
      }
    }
    size = text.size();
  }

  size_t size = 0;         // of the value; of all, if it has no end
  std::string_view whole;  // the longest beginning that `closing` makes a value of
  std::string closing;
};

}  // namespace

std::optional<ToolCall> read_forced_call(const ChatJob& job, std::string_view chat_template,
                                         std::string_view answer) {
  if (auto call = read_whole_call(chat_template, answer)) return call;
  std::optional<ToolCall> cut;
  for (const Json& tool : job.tools) {
    const auto& name = tool["function"]["name"].get_ref<const std::string&>();
    if (job.tool_choice == ChatJob::ToolChoice::kNamed && name != job.named_tool) continue;
    const std::string before = TokenTrie::unmarked(frame_of(chat_template, name).before);
    if (answer.starts_with(before)) {
      const std::string_view rest = answer.substr(before.size());
      return ToolCall{.name = name,
                      .arguments = std::string(rest.substr(0, JsonBeginning(rest).size)),
                      .cut = true};
    }
    if (answer.empty() || !before.starts_with(answer)) continue;
    if (cut) return std::nullopt;  // it could still become another's
    cut = ToolCall{.name = name, .arguments = {}, .cut = true};
  }
  return cut;
}

Json arguments_of(const ToolCall& call) {
  Json arguments = Json::parse(call.arguments, nullptr, false);
  if (!arguments.is_object() && call.cut) {
    const JsonBeginning beginning(call.arguments);
    arguments = Json::parse(std::string(beginning.whole) + beginning.closing, nullptr, false);
  }
  return arguments.is_object() ? arguments : Json::object();
}

}  // namespace hadal
