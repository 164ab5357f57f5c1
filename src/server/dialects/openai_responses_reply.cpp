#include "server/dialects/openai_responses_reply.h"

#include <chrono>

#include "base/json.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/openai_logprobs.h"
#include "server/dialects/wire.h"
#include "server/http/event_stream.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

Json usage_json(const ChatUsage& usage) {
  return {
      {"input_tokens", usage.prompt_tokens},
      {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", 0}}},
      {"output_tokens", usage.answer_tokens},
      {"output_tokens_details", {{"reasoning_tokens", usage.thinking_tokens}}},
      {"total_tokens", usage.prompt_tokens + usage.answer_tokens}};
}

// The job's own names of fields that are called otherwise here.
RequestError in_our_words(RequestError error) {
  if (error.field == "messages") error.field = "input";
  if (error.field == "response_format") error.field = "text.format";
  return error;
}

// A response grows item by item; where it is streamed, each step of that is an event.
class ResponsesReply : public ChatReader {
 public:
  ResponsesReply(const ResponsesRequest& request, std::shared_ptr<Exchange> exchange)
      : stream_(request.stream),
        logprobs_(request.logprobs),
        exchange_(std::move(exchange)),
        repeated_(request.repeated) {}

  void on_start(const ChatStart& start) override {
    model_ = start.model;
    if (!stream_) return;
    exchange_->begin({.heartbeat = std::string(kEventStreamHeartbeat)});
    tell("response.created", {{"response", response("in_progress")}});
    tell("response.in_progress", {{"response", response("in_progress")}});
  }

  bool on_delta(uint32_t, const ChatDelta& delta) override {
    if (!delta.thinking.empty()) {
      open(Item::kReasoning);
      append(delta.thinking, Json());
    }
    if (!delta.text.empty() || !delta.logprobs.empty()) {
      open(Item::kMessage);
      append(delta.text, logprobs_ ? token_logprobs_json(delta.logprobs) : Json::array());
    }
    for (const ToolCall& call : delta.calls) add_call(call);
    return wanted_;
  }

  void on_finish(uint32_t, ChatFinish finish, const std::string&) override { finish_ = finish; }

  void on_end(const ChatUsage& usage) override {
    if (output_.empty()) open(Item::kMessage);  // clients look for one
    const bool cut = finish_ == ChatFinish::kLength;
    close(cut ? "incomplete" : "completed");
    Json whole = response(cut ? "incomplete" : "completed");
    if (cut) whole["incomplete_details"] = {{"reason", "max_output_tokens"}};
    whole["usage"] = usage_json(usage);
    if (!stream_) return exchange_->reply(json_reply(whole));
    tell(cut ? "response.incomplete" : "response.completed", {{"response", std::move(whole)}});
    exchange_->end();
  }

  void on_error(const RequestError& given) override {
    const RequestError error = in_our_words(given);
    if (!exchange_->begun()) return exchange_->reply(openai_error_reply(error));
    close("incomplete");
    Json whole = response("failed");
    whole["error"] = {{"code", "server_error"}, {"message", error.message}};
    tell("response.failed", {{"response", std::move(whole)}});
    exchange_->end();
  }

 private:
  enum class Item : uint8_t { kNone, kReasoning, kMessage };

  Json response(const char* status) const {
    Json body = {{"id", id_},        {"object", "response"}, {"created_at", created_},
                 {"status", status}, {"error", nullptr},     {"incomplete_details", nullptr},
                 {"model", model_},  {"output", output_}};
    body.update(repeated_);
    body["usage"] = nullptr;
    return body;
  }

  // Fields that say where in the output something is.
  Json place(Json fields) const {
    Json all = {{"item_id", output_.back()["id"]}, {"output_index", output_.size() - 1}};
    if (open_ != Item::kNone) all["content_index"] = 0;
    all.update(fields);
    return all;
  }

  // An item counts as open once it is whole: where memory runs out before, none is.
  void open(Item item) {
    if (open_ == item) return;
    close("completed");
    const bool thinks = item == Item::kReasoning;
    Json part = {{"type", thinks ? "reasoning_text" : "output_text"}, {"text", ""}};
    Json shown = {{"id", random_id(thinks ? "rs_" : "msg_")},
                  {"type", thinks ? "reasoning" : "message"},
                  {"status", "in_progress"}};
    if (thinks) {
      shown["summary"] = Json::array();
    } else {
      shown["role"] = "assistant";
      part["annotations"] = Json::array();
      part["logprobs"] = Json::array();
    }
    shown["content"] = Json::array();
    Json whole = shown;
    whole["content"].push_back(part);
    output_.push_back(std::move(whole));
    open_ = item;
    tell("response.output_item.added",
         {{"output_index", output_.size() - 1}, {"item", std::move(shown)}});
    tell("response.content_part.added", place({{"part", std::move(part)}}));
  }

  void append(const std::string& text, const Json& logprobs) {
    Json& part = output_.back()["content"][0];
    part["text"].get_ref<std::string&>() += text;
    Json fields = {{"delta", text}};
    if (open_ == Item::kMessage) {
      part["logprobs"].insert(part["logprobs"].end(), logprobs.begin(), logprobs.end());
      fields["logprobs"] = logprobs;
    }
    tell(open_ == Item::kMessage ? "response.output_text.delta" : "response.reasoning_text.delta",
         place(std::move(fields)));
  }

  void close(const char* status) {
    if (open_ == Item::kNone) return;
    output_.back()["status"] = status;
    const Json& part = output_.back()["content"][0];
    Json fields = {{"text", part["text"]}};
    if (open_ == Item::kMessage) fields["logprobs"] = part["logprobs"];
    tell(open_ == Item::kMessage ? "response.output_text.done" : "response.reasoning_text.done",
         place(std::move(fields)));
    tell("response.content_part.done", place({{"part", part}}));
    tell_item("response.output_item.done");
    open_ = Item::kNone;
  }

  void add_call(const ToolCall& call) {
    close("completed");
    output_.push_back({{"id", random_id("fc_")},
                       {"type", "function_call"},
                       {"status", "in_progress"},
                       {"call_id", random_id("call_")},
                       {"name", call.name},
                       {"arguments", ""}});
    tell_item("response.output_item.added");
    tell("response.function_call_arguments.delta", place({{"delta", call.arguments}}));
    tell("response.function_call_arguments.done",
         place({{"name", call.name}, {"arguments", call.arguments}}));
    output_.back()["arguments"] = call.arguments;
    output_.back()["status"] = call.cut ? "incomplete" : "completed";
    tell_item("response.output_item.done");
  }

  void tell_item(const char* type) {
    tell(type, {{"output_index", output_.size() - 1}, {"item", output_.back()}});
  }
  void tell(const char* type, const Json& fields) {
    if (!stream_) return;
    Json data = {{"type", type}, {"sequence_number", events_++}};
    data.update(fields);
    wanted_ = exchange_->write(event(wire_text(data), type));
  }

  const bool stream_, logprobs_;
  const std::shared_ptr<Exchange> exchange_;
  const Json repeated_;
  const std::string id_ = random_id("resp_");
  const int64_t created_ = std::chrono::duration_cast<std::chrono::seconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  std::string model_;
  Json output_ = Json::array();
  Item open_ = Item::kNone;  // the last of the output, if it still grows
  ChatFinish finish_ = ChatFinish::kStop;
  uint64_t events_ = 0;
  bool wanted_ = true;
};

}  // namespace

std::shared_ptr<ChatReader> make_responses_reply(const ResponsesRequest& request,
                                                 std::shared_ptr<Exchange> exchange) {
  return std::make_shared<ResponsesReply>(request, std::move(exchange));
}

}  // namespace hadal
