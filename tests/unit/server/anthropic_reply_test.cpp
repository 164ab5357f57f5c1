#include "server/dialects/anthropic_reply.h"

#include <gtest/gtest.h>

#include "server/dialects/anthropic_errors.h"
#include "told.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

MakeReply make(bool stream, bool shows_thinking = true) {
  AnthropicRequest request;
  request.stream = stream;
  request.shows_thinking = shows_thinking;
  return [request](std::shared_ptr<Exchange> exchange) {
    return make_anthropic_reply(request, std::move(exchange));
  };
}

// What a client puts together of a stream.
Json gathered(const std::vector<ToldEvent>& events) {
  Json message;
  std::vector<std::string> inputs;
  for (const auto& [name, data] : events) {
    EXPECT_EQ(data["type"], name);
    if (name == "message_start") message = data["message"];
    if (name == "content_block_start") {
      EXPECT_EQ(data["index"], message["content"].size());
      message["content"].push_back(data["content_block"]);
      inputs.emplace_back();
    }
    if (name == "content_block_delta") {
      EXPECT_EQ(data["index"], message["content"].size() - 1);
      Json& block = message["content"].back();
      for (const auto& [key, value] : data["delta"].items()) {
        if (key == "type") continue;
        if (key == "partial_json") {
          inputs.back() += value.get<std::string>();
          block["input"] = Json::parse(inputs.back());
        } else {
          block[key] = block[key].get<std::string>() + value.get<std::string>();
        }
      }
    }
    if (name != "message_delta") continue;
    message.update(data["delta"]);
    message["usage"] = data["usage"];
  }
  return message;
}

void forget_ids(Json& message) {
  EXPECT_TRUE(message["id"].get<std::string>().starts_with("msg_"));
  message.erase("id");
  for (Json& block : message["content"]) {
    if (block["type"] == "tool_use") block.erase("id");
  }
}

TEST(AnthropicReply, AStreamIsTheWholeMessageInPieces) {
  Json whole = Json::parse(told(make(false), tell_all_kinds));
  const auto events = told_events(told(make(true), tell_all_kinds));
  Json streamed = gathered(events);
  forget_ids(whole);
  forget_ids(streamed);
  EXPECT_EQ(streamed.dump(), whole.dump());
  EXPECT_EQ(whole.dump(),
            R"({"type":"message","role":"assistant","model":"m","content":[)"
            R"({"type":"thinking","thinking":"let me see","signature":"aGFkYWw="},)"
            R"({"type":"text","text":"你好 \"you\""},)"
            R"({"type":"tool_use","name":"f","input":{"x":1}},)"
            R"({"type":"tool_use","name":"g","input":{}},{"type":"text","text":"done"}],)"
            R"("stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":5,)"
            R"("cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":7}})");
  std::vector<std::string> names;
  for (const auto& event : events) names.push_back(event.name);
  const std::vector<std::string> begins(names.begin(), names.begin() + 4);
  EXPECT_EQ(begins, (std::vector<std::string>{"message_start", "ping", "content_block_start",
                                              "content_block_delta"}));
  const std::vector<std::string> ends(names.end() - 3, names.end());
  EXPECT_EQ(ends,
            (std::vector<std::string>{"content_block_stop", "message_delta", "message_stop"}));
  EXPECT_EQ(events[0].data["message"]["usage"]["input_tokens"], 9);
}

TEST(AnthropicReply, OmittedThinkingIsEmpty) {
  EXPECT_EQ(Json::parse(told(make(false, false), tell_all_kinds))["content"][0]["thinking"], "");
  EXPECT_EQ(
      gathered(told_events(told(make(true, false), tell_all_kinds)))["content"][0]["thinking"], "");
}

TEST(AnthropicReply, ACutCallSaysWhatCame) {
  const auto tell = [](ChatReader& reader) {
    reader.on_start({.model = "m"});
    reader.on_delta(0, {.calls = {{.name = "f", .arguments = R"({"x": 1, "y": "a)", .cut = true}}});
    reader.on_finish(0, ChatFinish::kLength, "");
    reader.on_end({});
  };
  const Json message = Json::parse(told(make(false), tell));
  EXPECT_EQ(message["stop_reason"], "max_tokens");
  ASSERT_EQ(message["content"].size(), 1u);
  EXPECT_EQ(message["content"][0]["input"].dump(), R"({"x":1})");
  std::string json;
  for (const auto& [name, data] : told_events(told(make(true), tell))) {
    if (name != "content_block_delta") continue;
    EXPECT_EQ(data["delta"]["type"], "input_json_delta");
    json += data["delta"]["partial_json"].get<std::string>();
  }
  EXPECT_EQ(json, R"({"x": 1, "y": "a)");
}

TEST(AnthropicReply, WhyItEnds) {
  const std::pair<ChatFinish, const char*> kEnds[] = {{ChatFinish::kStop, "end_turn"},
                                                      {ChatFinish::kStopText, "stop_sequence"},
                                                      {ChatFinish::kLength, "max_tokens"}};
  for (const auto& [finish, reason] : kEnds) {
    for (const bool stream : {false, true}) {
      const std::string body = told(make(stream), [finish = finish](ChatReader& reader) {
        reader.on_start({});
        reader.on_finish(0, finish, finish == ChatFinish::kStopText ? "END" : "");
        reader.on_end({});
      });
      const Json message = stream ? gathered(told_events(body)) : Json::parse(body);
      EXPECT_EQ(message["stop_reason"], reason);
      EXPECT_EQ(message["stop_sequence"],
                finish == ChatFinish::kStopText ? Json("END") : Json(nullptr));
      EXPECT_EQ(message["content"].size(), 0u);
    }
  }
}

TEST(AnthropicReply, Errors) {
  const RequestError error{.kind = ErrorKind::kTooLong, .message = "9 of 8"};
  const auto early = [&](ChatReader& reader) { reader.on_error(error); };
  const auto late = [&](ChatReader& reader) {
    reader.on_start({});
    reader.on_delta(0, {.text = "x"});
    reader.on_error(error);
  };
  const std::string body =
      R"({"type":"error","error":{"type":"invalid_request_error","message":"9 of 8"}})";
  EXPECT_EQ(told(make(false), early), body);
  EXPECT_EQ(told(make(true), early), body);
  EXPECT_EQ(told(make(false), late), body);
  const auto events = told_events(told(make(true), late));
  EXPECT_EQ(events.back().name, "error");
  EXPECT_EQ(events.back().data.dump(), body);
  const std::pair<ErrorKind, const char*> kTypes[] = {{ErrorKind::kNotFound, "not_found_error"},
                                                      {ErrorKind::kOverloaded, "rate_limit_error"},
                                                      {ErrorKind::kUnavailable, "overloaded_error"},
                                                      {ErrorKind::kFailed, "api_error"}};
  for (const auto& [kind, type] : kTypes) {
    EXPECT_EQ(Json::parse(anthropic_error_body({.kind = kind}))["error"]["type"], type);
  }
}

}  // namespace
}  // namespace hadal
