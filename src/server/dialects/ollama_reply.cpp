#include "server/dialects/ollama_reply.h"

#include <fmt/chrono.h>

#include <algorithm>

#include "base/json.h"
#include "server/chat/tools.h"
#include "server/dialects/wire.h"

namespace hadal {
namespace {

using Clock = std::chrono::steady_clock;

// JSON knows no infinity; a token that cannot be has one.
constexpr float kLeastLogProbability = -9999;

int64_t nanoseconds(double seconds) {
  return static_cast<int64_t>(seconds * 1e9);
}
int64_t nanoseconds(Clock::duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

Json logprob_json(const ChatLogprob& token) {
  return {{"token", token.bytes},
          {"logprob", std::max(token.log_probability, kLeastLogProbability)}};
}
void add_logprobs(Json& list, const std::vector<ChatTokenLogprobs>& tokens) {
  for (const ChatTokenLogprobs& token : tokens) {
    Json entry = logprob_json(token.chosen);
    for (const ChatLogprob& other : token.top) {
      entry["top_logprobs"].push_back(logprob_json(other));
    }
    list.push_back(std::move(entry));
  }
}

Json head(const std::string& name) {
  return {{"model", name}, {"created_at", ollama_time(std::chrono::system_clock::now())}};
}

// A piece, or the whole: in a chat a message, else plain fields.
void put_answer(Json& body, bool chat, const std::string& thinking, const std::string& text,
                Json calls) {
  if (!chat) {
    body["response"] = text;
    if (!thinking.empty()) body["thinking"] = thinking;
    return;
  }
  Json message = {{"role", "assistant"}, {"content", text}};
  if (!thinking.empty()) message["thinking"] = thinking;
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  body["message"] = std::move(message);
}

class OllamaReply : public ChatReader {
 public:
  OllamaReply(const OllamaRequest& request, std::string name, std::shared_ptr<Exchange> exchange)
      : chat_(request.chat), exchange_(std::move(exchange)), name_(std::move(name)) {}

  void on_start(const ChatStart&) override { loaded_ = Clock::now(); }
  void on_finish(uint32_t, ChatFinish finish, const std::string&) override { finish_ = finish; }

 protected:
  Json line() const { return head(name_); }
  Json call_json(const ToolCall& call) {
    return {{"id", random_id("call_")},
            {"function",
             {{"index", calls_++}, {"name", call.name}, {"arguments", arguments_of(call)}}}};
  }
  void put_end(Json& body, const ChatUsage& usage) const {
    body["done"] = true;
    body["done_reason"] = finish_ == ChatFinish::kLength ? "length" : "stop";
    body["total_duration"] = nanoseconds(Clock::now() - asked_);
    body["load_duration"] = nanoseconds(loaded_ - asked_);
    body["prompt_eval_count"] = usage.prompt_tokens;
    body["prompt_eval_duration"] = nanoseconds(usage.prompt_seconds);
    body["eval_count"] = usage.answer_tokens;
    body["eval_duration"] = nanoseconds(usage.decode_seconds);
  }

  const bool chat_;
  const std::shared_ptr<Exchange> exchange_;

 private:
  const std::string name_;
  const Clock::time_point asked_ = Clock::now();
  Clock::time_point loaded_ = asked_;
  ChatFinish finish_ = ChatFinish::kStop;
  uint32_t calls_ = 0;
};

class WholeReply : public OllamaReply {
 public:
  using OllamaReply::OllamaReply;

  bool on_delta(uint32_t, const ChatDelta& delta) override {
    thinking_ += delta.thinking;
    text_ += delta.text;
    for (const ToolCall& call : delta.calls) calls_.push_back(call_json(call));
    add_logprobs(logprobs_, delta.logprobs);
    return true;
  }
  void on_end(const ChatUsage& usage) override {
    Json body = line();
    put_answer(body, chat_, thinking_, text_, std::move(calls_));
    put_end(body, usage);
    if (!logprobs_.empty()) body["logprobs"] = std::move(logprobs_);
    exchange_->reply(json_reply(body));
  }
  void on_error(const RequestError& error) override { exchange_->reply(ollama_error_reply(error)); }

 private:
  std::string thinking_, text_;
  Json calls_ = Json::array(), logprobs_ = Json::array();
};

class StreamedReply : public OllamaReply {
 public:
  using OllamaReply::OllamaReply;

  void on_start(const ChatStart& start) override {
    OllamaReply::on_start(start);
    exchange_->begin({.content_type = kNdjson, .filler = " "});  // JSON may begin with one
  }
  bool on_delta(uint32_t, const ChatDelta& delta) override {
    Json body = line();
    Json calls = Json::array();
    for (const ToolCall& call : delta.calls) calls.push_back(call_json(call));
    put_answer(body, chat_, delta.thinking, delta.text, std::move(calls));
    body["done"] = false;
    if (!delta.logprobs.empty()) {
      body["logprobs"] = Json::array();
      add_logprobs(body["logprobs"], delta.logprobs);
    }
    return exchange_->write(as_line(body));
  }
  void on_end(const ChatUsage& usage) override {
    Json body = line();
    put_answer(body, chat_, "", "", Json::array());
    put_end(body, usage);
    exchange_->end(as_line(body));
  }
  void on_error(const RequestError& error) override {
    if (!exchange_->begun()) return exchange_->reply(ollama_error_reply(error));
    exchange_->end(ollama_error_body(error) + '\n');
  }

 private:
  static std::string as_line(const Json& body) { return wire_text(body) + '\n'; }
};

}  // namespace

std::shared_ptr<ChatReader> make_ollama_reply(const OllamaRequest& request, std::string name,
                                              std::shared_ptr<Exchange> exchange) {
  if (!request.stream) {
    return std::make_shared<WholeReply>(request, std::move(name), std::move(exchange));
  }
  return std::make_shared<StreamedReply>(request, std::move(name), std::move(exchange));
}

std::string ollama_load_body(const OllamaRequest& request, const std::string& name,
                             const char* reason) {
  Json body = head(name);
  put_answer(body, request.chat, "", "", Json::array());
  body["done"] = true;
  body["done_reason"] = reason;
  return wire_text(body);
}

std::string ollama_http_error(unsigned, std::string_view message) {
  return wire_text({{"error", message}});
}

std::string ollama_error_body(const RequestError& error) {
  return wire_text({{"error", error.message}});
}

WebReply ollama_error_reply(const RequestError& error) {
  WebReply reply{.status = http_status(error.kind), .body = ollama_error_body(error)};
  if (error.retry_after_seconds > 0) {
    reply.headers.emplace_back("Retry-After", std::to_string(error.retry_after_seconds));
  }
  return reply;
}

std::string ollama_time(std::chrono::system_clock::time_point time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z",
                     fmt::gmtime(static_cast<std::time_t>(seconds.count())), rest.count());
}

}  // namespace hadal
