#include "server/dialects/conversation.h"

#include <utility>

namespace hadal {

using Json = nlohmann::ordered_json;

void append_line(std::string& text, const std::string& line) {
  if (!text.empty()) text += '\n';
  text += line;
}

void Conversation::add_text(const char* role, const char* key, const std::string& text) {
  Json& message = last(role);
  if (!message.contains(key)) message[key] = "";
  append_line(message[key].get_ref<std::string&>(), text);
}

void Conversation::add_call(const std::string& id, const std::string& name, std::string arguments) {
  names_[id] = name;
  last("assistant")["tool_calls"].push_back(
      {{"id", id},
       {"type", "function"},
       {"function", {{"name", name}, {"arguments", std::move(arguments)}}}});
}

void Conversation::add_result(const std::string& id, std::string text) {
  Json message = {{"role", "tool"}, {"tool_call_id", id}};
  if (const auto name = names_.find(id); name != names_.end()) message["name"] = name->second;
  message["content"] = std::move(text);
  messages_.push_back(std::move(message));
}

bool Conversation::ends_with(const char* role) const {
  return !messages_.empty() && messages_.back()["role"] == role;
}

Json& Conversation::last(const char* role) {
  if (!ends_with(role)) messages_.push_back({{"role", role}, {"content", ""}});
  return messages_.back();
}

}  // namespace hadal
