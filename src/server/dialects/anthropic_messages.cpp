#include "server/dialects/anthropic_messages.h"

#include "base/json.h"
#include "server/dialects/conversation.h"
#include "server/dialects/job_fields.h"

namespace hadal {
namespace {

constexpr double kIdBytesMost = 256;

struct Block {
  std::string type, text, id, name;
  const Json* content = nullptr;  // a tool's result
  const Json* input = nullptr;    // a call's
  bool is_error = false;
};
using Fields = JobFields<Block>;
using BlockField = Field<Block>;

// Asks for a cache that keeps prompts longer; here every prompt is cached.
constexpr BlockField kCacheControl = {{"cache_control", FieldType::kObject}};
constexpr BlockField kType = {{"type", FieldType::kText, 1, 64}, Fields::text<&Block::type>};

constexpr BlockField kTextFields[] = {
    kType,
    kCacheControl,
    {{"text", FieldType::kText, 0, kTextFieldMost}, Fields::text<&Block::text>},
    {{"citations", FieldType::kList, 0, 0}},
};
constexpr BlockField kThinkingFields[] = {
    kType,
    {{"thinking", FieldType::kText, 0, kTextFieldMost}, Fields::text<&Block::text>},
    {{"signature", FieldType::kText, 0, kTextFieldMost}},  // ours says nothing
};
constexpr BlockField kCallFields[] = {
    kType,
    kCacheControl,
    {{"id", FieldType::kText, 1, kIdBytesMost}, Fields::text<&Block::id>},
    {{"name", FieldType::kText, 1, kIdBytesMost}, Fields::text<&Block::name>},
    {{"input", FieldType::kObject}, Fields::later<&Block::input>},
    {{"caller", FieldType::kObject}},
};
constexpr BlockField kResultFields[] = {
    kType,
    kCacheControl,
    {{"tool_use_id", FieldType::kText, 1, kIdBytesMost}, Fields::text<&Block::id>},
    {{"content", FieldType::kAny, 0, 0, "AnthropicText"}, Fields::later<&Block::content>},
    {{"is_error", FieldType::kBoolean}, Fields::flag<&Block::is_error>},
};

struct BlockType {
  std::string_view name;
  std::span<const BlockField> fields;
};
constexpr BlockType kSystemBlocks[] = {{"text", kTextFields}};
constexpr BlockType kUserBlocks[] = {{"text", kTextFields}, {"tool_result", kResultFields}};
constexpr BlockType kAssistantBlocks[] = {
    {"text", kTextFields}, {"thinking", kThinkingFields}, {"tool_use", kCallFields}};

RequestResult<Block> read_block(const Json& value, std::span<const BlockType> types,
                                const std::string& path) {
  const auto type = value.is_object() ? value.find("type") : value.end();
  if (!value.is_object() || type == value.end() || !type->is_string()) {
    return refuse_field(ErrorKind::kInvalid, path,
                        fmt::format("{} must be an object with a type", path));
  }
  std::string known;
  for (const BlockType& candidate : types) {
    known += known.empty() ? "" : ", ";
    known += candidate.name;
    if (*type != candidate.name) continue;
    Block block;
    if (auto read = read_fields<Block>(value, candidate.fields, block, path); !read) {
      return tl::unexpected(read.error());
    }
    return block;
  }
  const std::string field = field_path(path, "type");
  return refuse_field(
      ErrorKind::kUnsupported, field,
      fmt::format("{} is none of those that this server reads here: {}", field, known));
}

// content: a string or a list of blocks.
RequestResult<std::vector<Block>> read_blocks(const Json& content, std::span<const BlockType> types,
                                              const std::string& path) {
  std::vector<Block> blocks;
  if (content.is_string()) {
    blocks.push_back({.type = "text", .text = content.get<std::string>()});
    return blocks;
  }
  if (!content.is_array()) {
    return refuse_field(ErrorKind::kInvalid, path,
                        fmt::format("{} must be a string or a list of blocks", path));
  }
  for (size_t i = 0; i < content.size(); ++i) {
    auto block = read_block(content[i], types, fmt::format("{}[{}]", path, i));
    if (!block) return tl::unexpected(block.error());
    blocks.push_back(std::move(*block));
  }
  return blocks;
}

RequestResult<std::string> read_plain(const Json& content, const std::string& path) {
  auto blocks = read_blocks(content, kSystemBlocks, path);
  if (!blocks) return tl::unexpected(blocks.error());
  std::string joined;
  for (const Block& block : *blocks) append_line(joined, block.text);
  return joined;
}

RequestResult<void> add_system(Conversation& conversation, const Json& system) {
  auto text = read_plain(system, "system");
  if (!text) return tl::unexpected(text.error());
  if (!text->empty()) conversation.add_text("system", "content", *text);
  return {};
}

RequestResult<void> add_result(Conversation& conversation, const Block& block,
                               const std::string& path) {
  if (block.id.empty()) {
    const std::string field = field_path(path, "tool_use_id");
    return refuse_field(ErrorKind::kInvalid, field, field + " is missing");
  }
  std::string text;
  if (block.content != nullptr) {
    auto plain = read_plain(*block.content, field_path(path, "content"));
    if (!plain) return tl::unexpected(plain.error());
    text = std::move(*plain);
  }
  // No template knows the mark; the model must.
  conversation.add_result(block.id, block.is_error ? "Error: " + text : text);
  return {};
}

RequestResult<void> add_user(Conversation& conversation, const Json& content,
                             const std::string& path) {
  auto blocks = read_blocks(content, kUserBlocks, path);
  if (!blocks) return tl::unexpected(blocks.error());
  for (size_t i = 0; i < blocks->size(); ++i) {
    const Block& block = (*blocks)[i];
    if (block.type == "text") {
      conversation.add_text("user", "content", block.text);
      continue;
    }
    auto added = add_result(conversation, block, fmt::format("{}[{}]", path, i));
    if (!added) return added;
  }
  if (blocks->empty()) conversation.add_text("user", "content", "");
  return {};
}

RequestResult<void> add_assistant(Conversation& conversation, const Json& content,
                                  const std::string& path) {
  auto blocks = read_blocks(content, kAssistantBlocks, path);
  if (!blocks) return tl::unexpected(blocks.error());
  if (blocks->empty()) conversation.add_text("assistant", "content", "");
  for (size_t i = 0; i < blocks->size(); ++i) {
    const Block& block = (*blocks)[i];
    if (block.type == "text") conversation.add_text("assistant", "content", block.text);
    if (block.type == "thinking") {
      conversation.add_text("assistant", "reasoning_content", block.text);
    }
    if (block.type != "tool_use") continue;
    if (block.id.empty() || block.name.empty()) {
      const std::string field = fmt::format("{}[{}]", path, i);
      return refuse_field(ErrorKind::kInvalid, field, field + " must have an id and a name");
    }
    conversation.add_call(block.id, block.name,
                          block.input != nullptr ? block.input->dump() : "{}");
  }
  return {};
}

struct Message {
  std::string role;
  const Json* content = nullptr;
};
constexpr Field<Message> kMessageFields[] = {
    {{"role", FieldType::kText, 1, 64, "AnthropicRole"}, JobFields<Message>::text<&Message::role>},
    {{"content", FieldType::kAny, 0, 0, "AnthropicContent"},
     JobFields<Message>::later<&Message::content>},
};

}  // namespace

void append_anthropic_message_forms(std::vector<FieldForm>& forms) {
  forms.push_back(field_form("AnthropicMessage", kMessageFields, {"role", "content"}));
  forms.push_back(field_form("AnthropicTextBlock", kTextFields, {"type"}));
  forms.push_back(field_form("AnthropicThinkingBlock", kThinkingFields, {"type"}));
  forms.push_back(field_form("AnthropicCallBlock", kCallFields, {"type", "id", "name"}));
  forms.push_back(field_form("AnthropicResultBlock", kResultFields, {"type", "tool_use_id"}));
}

RequestResult<Json> read_anthropic_messages(const Json& messages, const Json& system) {
  Conversation conversation;
  if (!system.is_null()) {
    if (auto added = add_system(conversation, system); !added) return tl::unexpected(added.error());
  }
  std::string role;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string path = fmt::format("messages[{}]", i);
    if (!messages[i].is_object()) {
      return refuse_field(ErrorKind::kInvalid, path, path + " must be an object");
    }
    Message message;
    auto done = read_fields<Message>(messages[i], kMessageFields, message, path);
    role = message.role;
    const std::string content = field_path(path, "content");
    if (done && message.content == nullptr) {
      done = refuse_field(ErrorKind::kInvalid, content, content + " is missing");
    } else if (done && role == "user") {
      done = add_user(conversation, *message.content, content);
    } else if (done && role == "assistant") {
      done = add_assistant(conversation, *message.content, content);
    } else if (done) {
      done = refuse_field(ErrorKind::kInvalid, field_path(path, "role"),
                          field_path(path, "role") + " must be user or assistant");
    }
    if (!done) return tl::unexpected(done.error());
  }
  if (role != "user") {
    const std::string field = fmt::format("messages[{}].role", messages.size() - 1);
    return refuse_field(ErrorKind::kUnsupported, field,
                        "the last message must be a user's: an answer that was begun cannot be "
                        "continued here");
  }
  return conversation.take();
}

}  // namespace hadal
