#include "server/dialects/ollama_messages.h"

#include <algorithm>

#include "server/dialects/job_fields.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kLimits;
constexpr double kNameBytesMost = 256;

struct Call {
  std::string id, name;
  const Json* function = nullptr;
  const Json* arguments = nullptr;
};
using CallFields = JobFields<Call>;
constexpr Field<Call> kCallFields[] = {
    {{"function", FieldType::kObject, 0, 0, "OllamaCalledFunction"},
     CallFields::later<&Call::function>},
    {{"id", FieldType::kText, 0, kNameBytesMost}, CallFields::text<&Call::id>},
    {{"type", FieldType::kText, 0, 64}},
};
constexpr Field<Call> kFunctionFields[] = {
    {{"name", FieldType::kText, 1, kNameBytesMost}, CallFields::text<&Call::name>},
    {{"arguments", FieldType::kObject}, CallFields::later<&Call::arguments>},
    {{"index", FieldType::kWhole, 0, 1e6}},
    {{"description", FieldType::kText, 0, kTextFieldMost}},
};

struct Message {
  std::string path, role;
  Json out = Json::object();
};

template <const char* const* Name>
RequestResult<void> set_same(Message& message, const Json& value) {
  message.out[*Name] = value;
  return {};
}
constexpr const char* kContent = "content";
constexpr const char* kReasoning = "reasoning_content";
constexpr const char* kToolName = "name";
constexpr const char* kToolCallId = "tool_call_id";

RequestResult<void> set_calls(Message& message, const Json& value) {
  Json calls = Json::array();
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string path = fmt::format("{}.tool_calls[{}]", message.path, i);
    if (!value[i].is_object()) {
      return refuse_field(ErrorKind::kInvalid, path, path + " must be an object");
    }
    Call call;
    auto read = read_fields<Call>(value[i], kCallFields, call, path);
    if (read && call.function != nullptr) {
      read = read_fields<Call>(*call.function, kFunctionFields, call, path + ".function");
    }
    if (!read) return read;
    if (call.name.empty()) {
      return refuse_field(ErrorKind::kInvalid, path, path + " has no function with a name");
    }
    Json entry = Json::object();
    if (!call.id.empty()) entry["id"] = call.id;
    entry["type"] = "function";
    entry["function"] = {{"name", call.name},
                         {"arguments", call.arguments != nullptr ? call.arguments->dump() : "{}"}};
    calls.push_back(std::move(entry));
  }
  if (!calls.empty()) message.out["tool_calls"] = std::move(calls);
  return {};
}

using MessageFields = JobFields<Message>;
constexpr Field<Message> kFields[] = {
    {{"role", FieldType::kText, 1, 64, "OllamaRole"}, MessageFields::text<&Message::role>},
    {{"content", FieldType::kText, 0, kTextFieldMost}, set_same<&kContent>},
    {{"thinking", FieldType::kText, 0, kTextFieldMost}, set_same<&kReasoning>},
    {{"tool_calls", FieldType::kList, 0, kLimits.tools_max, "OllamaPastCall"}, set_calls},
    {{"tool_name", FieldType::kText, 0, kNameBytesMost}, set_same<&kToolName>},
    {{"tool_call_id", FieldType::kText, 0, kNameBytesMost}, set_same<&kToolCallId>},
    {{"images", FieldType::kList, 0, 0}},  // none can be seen
};

constexpr std::string_view kRoles[] = {"system", "user", "assistant", "tool"};

}  // namespace

void append_ollama_message_forms(std::vector<FieldForm>& forms) {
  forms.push_back(field_form("OllamaMessage", kFields, {"role"}));
  forms.push_back(field_form("OllamaPastCall", kCallFields, {"function"}));
  forms.push_back(field_form("OllamaCalledFunction", kFunctionFields, {"name"}));
}

RequestResult<Json> read_ollama_messages(const Json& messages) {
  Json result = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    Message message{.path = fmt::format("messages[{}]", i)};
    if (!messages[i].is_object()) {
      return refuse_field(ErrorKind::kInvalid, message.path, message.path + " must be an object");
    }
    if (auto read = read_fields<Message>(messages[i], kFields, message, message.path); !read) {
      return tl::unexpected(read.error());
    }
    if (std::ranges::find(kRoles, message.role) == std::end(kRoles)) {
      const std::string field = field_path(message.path, "role");
      return refuse_field(ErrorKind::kInvalid, field,
                          field + " must be system, user, assistant or tool");
    }
    Json out = {{"role", message.role}, {"content", ""}};
    out.update(message.out);
    result.push_back(std::move(out));
  }
  return result;
}

}  // namespace hadal
