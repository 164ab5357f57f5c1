#include "server/dialects/anthropic_reply.h"

#include "base/json.h"
#include "server/chat/tools.h"
#include "server/dialects/anthropic_errors.h"
#include "server/dialects/wire.h"
#include "server/http/event_stream.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

// Clients send thinking back with the signature it came with. Nothing here depends on whose
// thinking it is, so ours is one word, and what comes back is not looked at.
constexpr const char* kSignature = "aGFkYWw=";

const char* stop_reason(ChatFinish finish) {
  switch (finish) {
    case ChatFinish::kStop:
      return "end_turn";
    case ChatFinish::kStopText:
      return "stop_sequence";
    case ChatFinish::kLength:
      return "max_tokens";
    case ChatFinish::kToolCalls:
      return "tool_use";
  }
  return "end_turn";
}

// Anthropic counts cached tokens apart from the others.
Json usage_json(const ChatUsage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.answer_tokens}};
}

class AnthropicReply : public ChatReader {
 public:
  AnthropicReply(const AnthropicRequest& request, std::shared_ptr<Exchange> exchange)
      : shows_thinking_(request.shows_thinking), exchange_(std::move(exchange)) {}

  void on_start(const ChatStart& start) override { model_ = start.model; }
  void on_finish(uint32_t, ChatFinish finish, const std::string& stop_text) override {
    finish_ = finish;
    if (finish == ChatFinish::kStopText) stop_text_ = stop_text;
  }

 protected:
  Json message_json() const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", model_},
            {"content", Json::array()},
            {"stop_reason", nullptr},
            {"stop_sequence", nullptr}};
  }
  void put_stop(Json& object) const {
    object["stop_reason"] = stop_reason(finish_);
    object["stop_sequence"] = stop_text_;
  }

  const bool shows_thinking_;
  const std::shared_ptr<Exchange> exchange_;

 private:
  const std::string id_ = random_id("msg_");
  std::string model_;
  ChatFinish finish_ = ChatFinish::kStop;
  Json stop_text_;  // null: none was met
};

class WholeReply : public AnthropicReply {
 public:
  using AnthropicReply::AnthropicReply;

  bool on_delta(uint32_t, const ChatDelta& delta) override {
    if (!delta.thinking.empty()) append("thinking", shows_thinking_ ? delta.thinking : "");
    if (!delta.text.empty()) append("text", delta.text);
    for (const ToolCall& call : delta.calls) {
      content_.push_back({{"type", "tool_use"},
                          {"id", random_id("toolu_")},
                          {"name", call.name},
                          {"input", arguments_of(call)}});
    }
    return true;
  }

  void on_end(const ChatUsage& usage) override {
    Json message = message_json();
    message["content"] = std::move(content_);
    put_stop(message);
    message["usage"] = usage_json(usage);
    exchange_->reply(json_reply(message));
  }

  void on_error(const RequestError& error) override {
    exchange_->reply(anthropic_error_reply(error));
  }

 private:
  // type: also the key of its text.
  void append(const char* type, const std::string& text) {
    if (content_.empty() || content_.back()["type"] != type) {
      content_.push_back({{"type", type}, {type, ""}});
      if (std::string_view(type) == "thinking") content_.back()["signature"] = kSignature;
    }
    content_.back()[type].get_ref<std::string&>() += text;
  }

  Json content_ = Json::array();
};

class StreamedReply : public AnthropicReply {
 public:
  using AnthropicReply::AnthropicReply;

  void on_start(const ChatStart& start) override {
    AnthropicReply::on_start(start);
    exchange_->begin({.heartbeat = event(R"({"type":"ping"})", "ping")});
    Json message = message_json();
    message["usage"] = usage_json({.prompt_tokens = start.prompt_tokens});
    send("message_start", {{"message", std::move(message)}});
    send("ping", Json::object());
  }

  bool on_delta(uint32_t, const ChatDelta& delta) override {
    bool wanted = true;
    if (!delta.thinking.empty()) {
      open(Block::kThinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
      if (shows_thinking_) {
        wanted = send_delta({{"type", "thinking_delta"}, {"thinking", delta.thinking}});
      }
    }
    if (!delta.text.empty()) {
      open(Block::kText, {{"type", "text"}, {"text", ""}});
      wanted = send_delta({{"type", "text_delta"}, {"text", delta.text}});
    }
    for (const ToolCall& call : delta.calls) {
      close();
      open(Block::kCall, {{"type", "tool_use"},
                          {"id", random_id("toolu_")},
                          {"name", call.name},
                          {"input", Json::object()}});
      wanted = send_delta({{"type", "input_json_delta"}, {"partial_json", call.arguments}});
    }
    return wanted;
  }

  void on_end(const ChatUsage& usage) override {
    close();
    Json delta = Json::object();
    put_stop(delta);
    send("message_delta", {{"delta", std::move(delta)}, {"usage", usage_json(usage)}});
    send("message_stop", Json::object());
    exchange_->end();
  }

  void on_error(const RequestError& error) override {
    if (!exchange_->begun()) return exchange_->reply(anthropic_error_reply(error));
    exchange_->write(event(anthropic_error_body(error), "error"));
    exchange_->end();
  }

 private:
  enum class Block : uint8_t { kNone, kThinking, kText, kCall };

  void open(Block block, Json content) {
    if (open_ == block) return;
    close();
    open_ = block;
    send("content_block_start", {{"index", index_}, {"content_block", std::move(content)}});
  }
  void close() {
    if (open_ == Block::kThinking) {
      send_delta({{"type", "signature_delta"}, {"signature", kSignature}});
    }
    if (open_ != Block::kNone) send("content_block_stop", {{"index", index_++}});
    open_ = Block::kNone;
  }
  bool send_delta(Json delta) {
    return send("content_block_delta", {{"index", index_}, {"delta", std::move(delta)}});
  }
  bool send(const char* type, const Json& fields) {
    Json data = {{"type", type}};
    data.update(fields);
    return exchange_->write(event(wire_text(data), type));
  }

  Block open_ = Block::kNone;
  uint32_t index_ = 0;  // of the open block, or the next
};

}  // namespace

std::shared_ptr<ChatReader> make_anthropic_reply(const AnthropicRequest& request,
                                                 std::shared_ptr<Exchange> exchange) {
  if (request.stream) return std::make_shared<StreamedReply>(request, std::move(exchange));
  return std::make_shared<WholeReply>(request, std::move(exchange));
}

}  // namespace hadal
