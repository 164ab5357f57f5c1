#include "server/dialects/openai_reply.h"

#include <chrono>

#include "base/json.h"
#include "server/dialects/openai_errors.h"
#include "server/dialects/openai_logprobs.h"
#include "server/dialects/wire.h"
#include "server/http/event_stream.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

Json finish_word(ChatFinish finish) {
  switch (finish) {
    case ChatFinish::kLength:
      return "length";
    case ChatFinish::kToolCalls:
      return "tool_calls";
    default:
      return "stop";
  }
}

Json usage_json(const ChatUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.answer_tokens},
          {"total_tokens", usage.prompt_tokens + usage.answer_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.thinking_tokens}}}};
}

// What both forms share: id, time, model.
class OpenAiReply : public ChatReader {
 public:
  OpenAiReply(const OpenAiRequest& request, std::shared_ptr<Exchange> exchange)
      : chat_(request.chat),
        logprobs_(request.logprobs),
        choices_each_(request.job.choices),
        choices_(chat_ ? choices_each_ : choices_each_ * request.job.prompts.size()),
        exchange_(std::move(exchange)),
        id_(random_id(chat_ ? "chatcmpl-" : "cmpl-")),
        created_(std::chrono::duration_cast<std::chrono::seconds>(
                     std::chrono::system_clock::now().time_since_epoch())
                     .count()) {}

  void on_start(const ChatStart& start) override {
    model_ = start.model;
    echoed_ = start.echoed;
  }

 protected:
  Json head(const char* object) const {
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
  }

  // Of the tokens given, the first of which begins at that character; null where none were asked
  // for. An echoed prompt's own come first, so places count from its beginning.
  Json logprobs_json(const std::vector<ChatTokenLogprobs>& tokens, size_t offset) const {
    if (!logprobs_) return nullptr;
    if (!chat_) return completion_logprobs_json(tokens, offset);
    return {{"content", token_logprobs_json(tokens)}};
  }

  // What stands in front of a choice's text.
  std::string echo(uint32_t choice) const {
    if (echoed_.empty()) return "";
    return echoed_[choice / choices_each_];
  }
  const bool chat_, logprobs_;
  const size_t choices_each_, choices_;  // of a prompt, of all
  const std::shared_ptr<Exchange> exchange_;

 private:
  const std::string id_;
  const int64_t created_;
  std::string model_;
  std::vector<std::string> echoed_;  // by prompt
};

// All that a piece tells, the prompt's before the answer's.
std::vector<ChatTokenLogprobs> all_logprobs(const ChatDelta& delta) {
  std::vector<ChatTokenLogprobs> all = delta.prompt_logprobs;
  all.insert(all.end(), delta.logprobs.begin(), delta.logprobs.end());
  return all;
}

Json call_json(const ToolCall& call) {
  return {{"id", random_id("call_")},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

class WholeReply : public OpenAiReply {
 public:
  WholeReply(const OpenAiRequest& request, std::shared_ptr<Exchange> exchange)
      : OpenAiReply(request, std::move(exchange)), answers_(choices_) {}

  bool on_delta(uint32_t choice, const ChatDelta& delta) override {
    Answered& answer = answers_[choice];
    answer.thinking += delta.thinking;
    answer.text += delta.text;
    for (const ToolCall& call : delta.calls) answer.calls.push_back(call_json(call));
    for (const auto* list : {&delta.prompt_logprobs, &delta.logprobs}) {
      answer.logprobs.insert(answer.logprobs.end(), list->begin(), list->end());
    }
    return true;
  }

  void on_finish(uint32_t choice, ChatFinish finish, const std::string&) override {
    answers_[choice].finish = finish;
  }

  void on_end(const ChatUsage& usage) override {
    Json body = head(chat_ ? "chat.completion" : "text_completion");
    Json choices = Json::array();
    for (uint32_t i = 0; i < choices_; ++i) choices.push_back(choice_json(i));
    body["choices"] = std::move(choices);
    body["usage"] = usage_json(usage);
    exchange_->reply(json_reply(body));
  }

  void on_error(const RequestError& error) override { exchange_->reply(openai_error_reply(error)); }

 private:
  struct Answered {
    std::string thinking, text;
    Json calls = Json::array();
    std::vector<ChatTokenLogprobs> logprobs;
    ChatFinish finish = ChatFinish::kStop;
  };

  Json choice_json(uint32_t index) {
    Answered& answer = answers_[index];
    Json choice = {{"index", index}};
    if (chat_) {
      Json message = {{"role", "assistant"}, {"content", answer.text}};
      if (!answer.thinking.empty()) message["reasoning_content"] = answer.thinking;
      if (!answer.calls.empty()) {
        if (answer.text.empty()) message["content"] = nullptr;
        message["tool_calls"] = std::move(answer.calls);
      }
      choice["message"] = std::move(message);
    } else {
      choice["text"] = echo(index) + answer.text;
    }
    choice["logprobs"] = logprobs_json(answer.logprobs, 0);
    choice["finish_reason"] = finish_word(answer.finish);
    return choice;
  }

  std::vector<Answered> answers_;
};

class StreamedReply : public OpenAiReply {
 public:
  StreamedReply(const OpenAiRequest& request, std::shared_ptr<Exchange> exchange)
      : OpenAiReply(request, std::move(exchange)),
        include_usage_(request.include_usage),
        told_(choices_) {}

  void on_start(const ChatStart& start) override {
    OpenAiReply::on_start(start);
    exchange_->begin({.heartbeat = std::string(kEventStreamHeartbeat)});
    for (uint32_t i = 0; i < choices_; ++i) {
      if (chat_) send(i, {{"role", "assistant"}, {"content", ""}}, nullptr);
      if (const std::string text = echo(i); !text.empty()) send_text(i, text, nullptr);
    }
  }

  bool on_delta(uint32_t choice, const ChatDelta& delta) override {
    Choice& told = told_[choice];
    const std::vector<ChatTokenLogprobs> tokens = all_logprobs(delta);
    const Json logprobs = logprobs_json(tokens, told.characters);
    for (const ChatTokenLogprobs& token : tokens) told.characters += token.characters;
    if (!chat_) return send_text(choice, delta.text, nullptr, logprobs);
    bool wanted = true;
    if (!delta.thinking.empty()) {
      wanted = send(choice, {{"reasoning_content", delta.thinking}}, nullptr);
    }
    if (!delta.text.empty() || !delta.logprobs.empty()) {
      wanted = send(choice, {{"content", delta.text}}, nullptr, logprobs);
    }
    for (const ToolCall& call : delta.calls) {
      Json entry = {{"index", told.calls++}};
      entry.update(call_json(call));
      wanted = send(choice, {{"tool_calls", Json::array({entry})}}, nullptr);
    }
    return wanted;
  }

  void on_finish(uint32_t choice, ChatFinish finish, const std::string&) override {
    if (chat_) {
      send(choice, Json::object(), finish_word(finish));
    } else {
      send_text(choice, "", finish_word(finish));
    }
  }

  void on_end(const ChatUsage& usage) override {
    if (include_usage_) {
      Json body = head(object());
      body["choices"] = Json::array();
      body["usage"] = usage_json(usage);
      exchange_->write(event(wire_text(body)));
    }
    exchange_->write(event("[DONE]"));
    exchange_->end();
  }

  void on_error(const RequestError& error) override {
    if (!exchange_->begun()) return exchange_->reply(openai_error_reply(error));
    exchange_->write(event(openai_error_body(error)));
    exchange_->end();
  }

 private:
  const char* object() const { return chat_ ? "chat.completion.chunk" : "text_completion"; }

  bool send(uint32_t choice, Json delta, Json finish, Json logprobs = nullptr) {
    return send_choice({{"index", choice},
                        {"delta", std::move(delta)},
                        {"logprobs", std::move(logprobs)},
                        {"finish_reason", std::move(finish)}});
  }
  bool send_text(uint32_t choice, const std::string& text, Json finish, Json logprobs = nullptr) {
    return send_choice({{"index", choice},
                        {"text", text},
                        {"logprobs", std::move(logprobs)},
                        {"finish_reason", std::move(finish)}});
  }
  bool send_choice(Json choice) {
    Json body = head(object());
    body["choices"] = Json::array({std::move(choice)});
    if (include_usage_) body["usage"] = nullptr;
    return exchange_->write(event(wire_text(body)));
  }

  const bool include_usage_;
  struct Choice {
    uint32_t calls = 0;
    size_t characters = 0;  // of the tokens whose log probabilities were told
  };
  std::vector<Choice> told_;
};

}  // namespace

std::shared_ptr<ChatReader> make_openai_reply(const OpenAiRequest& request,
                                              std::shared_ptr<Exchange> exchange) {
  if (request.stream) return std::make_shared<StreamedReply>(request, std::move(exchange));
  return std::make_shared<WholeReply>(request, std::move(exchange));
}

}  // namespace hadal
