#include "server/dialects/openai_messages.h"

#include "base/json.h"
#include "server/chat/fields.h"
#include "server/dialects/openai_tools.h"

namespace hadal {
namespace {

struct Message {
  std::string path;  // "messages[3]"
  Json out = Json::object();
};

RequestResult<void> set_role(Message& message, const Json& value) {
  static constexpr std::pair<std::string_view, std::string_view> kRoles[] = {
      {"system", "system"},       {"developer", "system"}, {"user", "user"},
      {"assistant", "assistant"}, {"tool", "tool"},
  };
  const auto& given = value.get_ref<const std::string&>();
  for (const auto& [name, role] : kRoles) {
    if (given != name) continue;
    message.out["role"] = role;
    return {};
  }
  const std::string path = field_path(message.path, "role");
  return refuse_field(ErrorKind::kInvalid, path,
                      fmt::format("{} must be system, developer, user, assistant or tool", path));
}

// A string, or a list of {"type": "text", "text": "..."}.
RequestResult<void> set_content(Message& message, const Json& value) {
  const std::string path = field_path(message.path, "content");
  if (value.is_string()) {
    message.out["content"] = value;
    return {};
  }
  if (!value.is_array()) {
    return refuse_field(ErrorKind::kInvalid, path,
                        fmt::format("{} must be a string or a list of text parts", path));
  }
  std::string text;
  for (size_t i = 0; i < value.size(); ++i) {
    const Json& part = value[i];
    const std::string part_path = fmt::format("{}[{}]", path, i);
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || !type->is_string()) {
      return refuse_field(ErrorKind::kInvalid, part_path,
                          fmt::format("{} must be an object with a type", part_path));
    }
    if (*type != "text") {
      return refuse_field(ErrorKind::kUnsupported, field_path(part_path, "type"),
                          fmt::format("{} must be \"text\": this server reads no other parts",
                                      field_path(part_path, "type")));
    }
    const auto words = part.find("text");
    if (words == part.end() || !words->is_string()) {
      return refuse_field(ErrorKind::kInvalid, field_path(part_path, "text"),
                          fmt::format("{} must be a string", field_path(part_path, "text")));
    }
    text += words->get_ref<const std::string&>();
  }
  message.out["content"] = text;
  return {};
}

RequestResult<void> set_tool_calls(Message& message, const Json& value) {
  auto calls = read_past_calls(value, field_path(message.path, "tool_calls"));
  if (!calls) return tl::unexpected(calls.error());
  message.out["tool_calls"] = std::move(*calls);
  return {};
}

template <const char* const* Name>
RequestResult<void> set_same(Message& message, const Json& value) {
  message.out[*Name] = value;
  return {};
}
constexpr const char* kName = "name";
constexpr const char* kToolCallId = "tool_call_id";
constexpr const char* kReasoning = "reasoning_content";

constexpr double kTextBytesMax = 1ull << 40;  // the body's limit is the real one

constexpr Field<Message> kFields[] = {
    {{"role", FieldType::kText, 0, 64, "OpenAiRole"}, set_role},
    {{"content", FieldType::kAny, 0, 0, "OpenAiContent"}, set_content},
    {{"name", FieldType::kText, 0, 256}, set_same<&kName>},
    {{"tool_calls", FieldType::kList, 0, 128, "OpenAiPastCall"}, set_tool_calls},
    {{"tool_call_id", FieldType::kText, 0, 256}, set_same<&kToolCallId>},
    {{"reasoning_content", FieldType::kText, 0, kTextBytesMax}, set_same<&kReasoning>},
    // What a client sends back of our own answers.
    {{"refusal", FieldType::kText, 0, kTextBytesMax}},
    {{"annotations", FieldType::kList, 0, 1024}},
};

}  // namespace

void append_openai_message_forms(std::vector<FieldForm>& forms) {
  forms.push_back(field_form("OpenAiMessage", kFields, {"role"}));
}

RequestResult<nlohmann::ordered_json> read_openai_messages(const nlohmann::ordered_json& messages) {
  Json result = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    Message message{.path = fmt::format("messages[{}]", i)};
    if (!messages[i].is_object()) {
      return refuse_field(ErrorKind::kInvalid, message.path,
                          fmt::format("{} must be an object", message.path));
    }
    if (auto read = read_fields<Message>(messages[i], kFields, message, message.path); !read) {
      return tl::unexpected(read.error());
    }
    if (!message.out.contains("role")) {
      return refuse_field(ErrorKind::kInvalid, field_path(message.path, "role"),
                          fmt::format("{} has no role", message.path));
    }
    if (!message.out.contains("content")) {
      if (message.out["role"] != "assistant" || !message.out.contains("tool_calls")) {
        return refuse_field(ErrorKind::kInvalid, field_path(message.path, "content"),
                            fmt::format("{} has no content", message.path));
      }
      message.out["content"] = "";
    }
    result.push_back(std::move(message.out));
  }
  return result;
}

}  // namespace hadal
