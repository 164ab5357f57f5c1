#include "server/http/event_stream.h"

namespace hadal {

std::string event(std::string_view data, std::string_view name) {
  std::string text;
  text.reserve(data.size() + name.size() + 16);
  if (!name.empty()) {
    text += "event: ";
    text += name;
    text += '\n';
  }
  text += "data: ";
  text += data;
  text += "\n\n";
  return text;
}

}  // namespace hadal
