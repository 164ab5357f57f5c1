#include "server/dialects/openai_responses_input.h"

#include "server/dialects/conversation.h"
#include "server/dialects/job_fields.h"
#include "server/limits.h"

namespace hadal {
namespace {

constexpr ChatLimits kLimits;
constexpr double kIdBytesMost = 256;

// What a part of an item's content may be.
struct Part {
  std::string type, text;
};
using PartField = Field<Part>;
constexpr PartField kPartType = {{"type", FieldType::kText, 1, 64},
                                 JobFields<Part>::text<&Part::type>};
constexpr PartField kPartText = {{"text", FieldType::kText, 0, kTextFieldMost},
                                 JobFields<Part>::text<&Part::text>};
constexpr PartField kPlainPart[] = {kPartType, kPartText};
// As our own answers have it.
constexpr PartField kOutputPart[] = {kPartType,
                                     kPartText,
                                     {{"annotations", FieldType::kList, 0, 1024}},
                                     {{"logprobs", FieldType::kList, 0, kTokensFieldMost}}};
constexpr PartField kRefusalPart[] = {
    kPartType,
    {{"refusal", FieldType::kText, 0, kTextFieldMost}, JobFields<Part>::text<&Part::text>}};

struct PartType {
  std::string_view name;
  std::span<const PartField> fields;
};
constexpr PartType kMessageParts[] = {
    {"input_text", kPlainPart}, {"output_text", kOutputPart}, {"refusal", kRefusalPart}};
constexpr PartType kResultParts[] = {{"input_text", kPlainPart}};
constexpr PartType kThoughtParts[] = {{"reasoning_text", kPlainPart}};
constexpr PartType kSummaryParts[] = {{"summary_text", kPlainPart}};

// Of an item or a part; nullptr: it has none.
const std::string* type_of(const Json& value) {
  const auto type = value.is_object() ? value.find("type") : value.end();
  if (!value.is_object() || type == value.end() || !type->is_string()) return nullptr;
  return &type->get_ref<const std::string&>();
}

template <typename Type>
tl::unexpected<RequestError> refuse_type(std::span<const Type> types, const std::string& path) {
  std::string known;
  for (const Type& type : types) {
    known += known.empty() ? "" : ", ";
    known += type.name;
  }
  const std::string field = field_path(path, "type");
  return refuse_field(
      ErrorKind::kUnsupported, field,
      fmt::format("{} is none of those that this server reads here: {}", field, known));
}

RequestResult<Part> read_part(const Json& value, std::span<const PartType> types,
                              const std::string& path) {
  const std::string* const type = type_of(value);
  if (type == nullptr) {
    return refuse_field(ErrorKind::kInvalid, path,
                        fmt::format("{} must be an object with a type", path));
  }
  for (const PartType& candidate : types) {
    if (*type != candidate.name) continue;
    Part part;
    if (auto read = read_fields<Part>(value, candidate.fields, part, path); !read) {
      return tl::unexpected(read.error());
    }
    return part;
  }
  return refuse_type(types, path);
}

// A string, or a list of parts: a line each.
RequestResult<std::string> read_text(const Json& content, std::span<const PartType> types,
                                     const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    return refuse_field(ErrorKind::kInvalid, path,
                        fmt::format("{} must be a string or a list of parts", path));
  }
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    auto part = read_part(content[i], types, fmt::format("{}[{}]", path, i));
    if (!part) return tl::unexpected(part.error());
    append_line(text, part->text);
  }
  return text;
}

struct Item {
  std::string type, role, name, call_id;
  std::string arguments = "{}";
  const Json* content = nullptr;  // of a message; of thinking
  const Json* summary = nullptr;  // of thinking
  const Json* output = nullptr;   // of a call
};
using Fields = JobFields<Item>;
using ItemField = Field<Item>;

constexpr ItemField kType = {{"type", FieldType::kText, 1, 64}, Fields::text<&Item::type>};
constexpr ItemField kId = {{"id", FieldType::kText, 0, kIdBytesMost}};
constexpr ItemField kStatus = {{"status", FieldType::kText, 0, 64}};
constexpr ItemField kCallId = {{"call_id", FieldType::kText, 1, kIdBytesMost},
                               Fields::text<&Item::call_id>};

constexpr ItemField kMessageFields[] = {
    kType,
    kId,
    kStatus,
    {{"role", FieldType::kText, 1, 64, "OpenAiResponsesRole"}, Fields::text<&Item::role>},
    {{"content", FieldType::kAny, 0, 0, "OpenAiResponsesContent"}, Fields::later<&Item::content>},
    {{"phase", FieldType::kText, 0, 64}},
};
constexpr ItemField kCallFields[] = {
    kType,
    kId,
    kStatus,
    kCallId,
    {{"name", FieldType::kText, 1, kIdBytesMost}, Fields::text<&Item::name>},
    {{"arguments", FieldType::kText, 0, kTextFieldMost}, Fields::text<&Item::arguments>},
};
constexpr ItemField kResultFields[] = {
    kType,
    kId,
    kStatus,
    kCallId,
    {{"output", FieldType::kAny, 0, 0, "OpenAiResponsesContent"}, Fields::later<&Item::output>},
};
constexpr ItemField kThoughtFields[] = {
    kType,
    kId,
    kStatus,
    {{"content", FieldType::kList, 0, 1024, "OpenAiResponsesPart"}, Fields::later<&Item::content>},
    {{"summary", FieldType::kList, 0, 1024, "OpenAiResponsesPart"}, Fields::later<&Item::summary>},
    {{"encrypted_content", FieldType::kText, 0, 0}},  // ours has none
};

RequestResult<void> add_message(Conversation& conversation, const Item& item,
                                const std::string& path) {
  static constexpr std::pair<std::string_view, const char*> kRoles[] = {
      {"user", "user"}, {"assistant", "assistant"}, {"system", "system"}, {"developer", "system"}};
  for (const auto& [name, role] : kRoles) {
    if (item.role != name) continue;
    const std::string field = field_path(path, "content");
    if (item.content == nullptr) {
      return refuse_field(ErrorKind::kInvalid, field, field + " is missing");
    }
    auto text = read_text(*item.content, kMessageParts, field);
    if (!text) return tl::unexpected(text.error());
    conversation.add_text(role, "content", *text);
    return {};
  }
  const std::string field = field_path(path, "role");
  return refuse_field(ErrorKind::kInvalid, field,
                      field + " must be user, assistant, system or developer");
}

RequestResult<void> add_call(Conversation& conversation, const Item& item,
                             const std::string& path) {
  if (item.call_id.empty() || item.name.empty()) {
    return refuse_field(ErrorKind::kInvalid, path, path + " must have a call_id and a name");
  }
  conversation.add_call(item.call_id, item.name, item.arguments);
  return {};
}

RequestResult<void> add_result(Conversation& conversation, const Item& item,
                               const std::string& path) {
  if (item.call_id.empty() || item.output == nullptr) {
    return refuse_field(ErrorKind::kInvalid, path, path + " must have a call_id and an output");
  }
  auto text = read_text(*item.output, kResultParts, field_path(path, "output"));
  if (!text) return tl::unexpected(text.error());
  conversation.add_result(item.call_id, std::move(*text));
  return {};
}

// The thought itself; where a client kept none but its summary, that.
RequestResult<void> add_thought(Conversation& conversation, const Item& item,
                                const std::string& path) {
  RequestResult<std::string> text = "";
  if (item.content != nullptr) {
    text = read_text(*item.content, kThoughtParts, field_path(path, "content"));
  }
  if (text && text->empty() && item.summary != nullptr) {
    text = read_text(*item.summary, kSummaryParts, field_path(path, "summary"));
  }
  if (!text) return tl::unexpected(text.error());
  if (!text->empty()) conversation.add_text("assistant", "reasoning_content", *text);
  return {};
}

struct ItemType {
  std::string_view name;
  std::span<const ItemField> fields;
  RequestResult<void> (*add)(Conversation&, const Item&, const std::string& path);
};
constexpr ItemType kItems[] = {
    {"message", kMessageFields, add_message},
    {"function_call", kCallFields, add_call},
    {"function_call_output", kResultFields, add_result},
    {"reasoning", kThoughtFields, add_thought},
};

RequestResult<void> add_item(Conversation& conversation, const Json& value,
                             const std::string& path) {
  if (!value.is_object()) {
    return refuse_field(ErrorKind::kInvalid, path, path + " must be an object");
  }
  const std::string* const type = type_of(value);
  if (type == nullptr && value.contains("type")) {
    return refuse_field(ErrorKind::kInvalid, field_path(path, "type"),
                        field_path(path, "type") + " must be a string");
  }
  for (const ItemType& candidate : kItems) {
    if (candidate.name != (type != nullptr ? std::string_view(*type) : "message")) continue;
    Item item;
    if (auto read = read_fields<Item>(value, candidate.fields, item, path); !read) return read;
    return candidate.add(conversation, item, path);
  }
  return refuse_type(std::span<const ItemType>(kItems), path);
}

}  // namespace

void append_responses_input_forms(std::vector<FieldForm>& forms) {
  forms.push_back(field_form("OpenAiMessageItem", kMessageFields, {"role", "content"}));
  forms.push_back(field_form("OpenAiCallItem", kCallFields, {"type", "call_id", "name"}));
  forms.push_back(field_form("OpenAiCallOutputItem", kResultFields, {"type", "call_id", "output"}));
  forms.push_back(field_form("OpenAiReasoningItem", kThoughtFields, {"type"}));
  forms.push_back(field_form("OpenAiResponsesPart", kOutputPart, {"type"}));
  forms.push_back(field_form("OpenAiRefusalPart", kRefusalPart, {"type"}));
}

RequestResult<Json> read_responses_input(const Json& input, const std::string& instructions) {
  Conversation conversation;
  if (!instructions.empty()) conversation.add_text("system", "content", instructions);
  if (input.is_string()) {
    conversation.add_text("user", "content", input.get<std::string>());
    return conversation.take();
  }
  if (!input.is_array() || input.empty() || input.size() > kLimits.messages_max) {
    return refuse_field(
        ErrorKind::kInvalid, "input",
        fmt::format("input must be a string or a list of 1 to {} items", kLimits.messages_max));
  }
  for (size_t i = 0; i < input.size(); ++i) {
    auto added = add_item(conversation, input[i], fmt::format("input[{}]", i));
    if (!added) return tl::unexpected(added.error());
  }
  return conversation.take();
}

}  // namespace hadal
