// A conversation as chat templates know it, put together piece by piece: what one role says in a
// row becomes one message, its texts a line each.
#pragma once

#include <map>
#include <string>

#include "base/json.h"

namespace hadal {

class Conversation {
 public:
  // key: "content", "reasoning_content".
  void add_text(const char* role, const char* key, const std::string& text);
  // Of the assistant. arguments: JSON text.
  void add_call(const std::string& id, const std::string& name, std::string arguments);
  // Of a call: a message of its own, of the role tool.
  void add_result(const std::string& id, std::string text);
  bool ends_with(const char* role) const;

  nlohmann::ordered_json take() { return std::move(messages_); }

 private:
  // The last message, if it is of that role; else a new one.
  nlohmann::ordered_json& last(const char* role);

  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  std::map<std::string, std::string> names_;  // of calls, by their ids
};

// A line more.
void append_line(std::string& text, const std::string& line);

}  // namespace hadal
