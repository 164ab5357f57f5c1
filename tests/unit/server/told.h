// A dialect's reply driven as a ChatRun would: what the client is sent.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "server/chat/chat_run.h"
#include "server/http/exchange.h"

namespace hadal {

using MakeReply = std::function<std::shared_ptr<ChatReader>(std::shared_ptr<Exchange>)>;

// The body, without chunks.
inline std::string told(const MakeReply& make, const std::function<void(ChatReader&)>& tell) {
  const auto outbox = std::make_shared<Outbox>(Outbox::Options{.http_1_0 = true}, [] {});
  tell(*make(std::make_shared<Exchange>(outbox, WebReply{.status = 500, .body = "nothing"})));
  std::string bytes;
  outbox->take(bytes);
  const size_t end = bytes.find("\r\n\r\n");
  return end == std::string::npos ? "no end of headers" : bytes.substr(end + 4);
}

struct ToldEvent {
  std::string name;
  nlohmann::ordered_json data;
};

inline std::vector<ToldEvent> told_events(const std::string& body) {
  std::vector<ToldEvent> events;
  std::string name;
  size_t at = 0;
  for (size_t end = 0; (end = body.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string line = body.substr(at, end - at);
    if (line.starts_with("event: ")) name = line.substr(7);
    if (line.starts_with("data: ")) {
      events.push_back({name, nlohmann::ordered_json::parse(line.substr(6), nullptr, false)});
    }
    if (line.empty()) name.clear();
  }
  return events;
}

// Thinking, text, a call, text; told piece by piece.
inline void tell_all_kinds(ChatReader& reader) {
  reader.on_start({.model = "m", .prompt_tokens = 9});
  for (const char* piece : {"let ", "me see"}) reader.on_delta(0, {.thinking = piece});
  for (const char* piece : {"你", "好 \"you\""}) reader.on_delta(0, {.text = piece});
  reader.on_delta(0, {.calls = {{"f", R"({"x":1})"}, {"g", "{}"}}});
  reader.on_delta(0, {.text = "done"});
  reader.on_finish(0, ChatFinish::kToolCalls, "");
  reader.on_end({.prompt_tokens = 9,
                 .cached_tokens = 4,
                 .answer_tokens = 7,
                 .thinking_tokens = 2,
                 .prompt_seconds = 0.5,
                 .decode_seconds = 0.25});
}

}  // namespace hadal
