#include "server/dialects/openai_responses_reply.h"

#include <gtest/gtest.h>

#include "told.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

std::string body_of(const std::string& request, const std::function<void(ChatReader&)>& tell) {
  const auto read = read_responses_request(request);
  EXPECT_TRUE(read) << read.error().message;
  return told([&](auto exchange) { return make_responses_reply(*read, std::move(exchange)); },
              tell);
}
constexpr const char* kPlain = R"({"input": "hi", "metadata": {"a": "b"}})";
constexpr const char* kStreamed = R"({"input": "hi", "stream": true})";

TEST(ResponsesReply, AWholeResponse) {
  const Json body = Json::parse(body_of(kPlain, tell_all_kinds));
  EXPECT_EQ(body["object"], "response");
  EXPECT_EQ(body["status"], "completed");
  EXPECT_EQ(body["model"], "m");
  EXPECT_EQ(body["metadata"], Json({{"a", "b"}}));
  EXPECT_TRUE(body["error"].is_null());
  EXPECT_TRUE(body["incomplete_details"].is_null());
  EXPECT_TRUE(body["id"].get<std::string>().starts_with("resp_"));
  const Json& output = body["output"];
  ASSERT_EQ(output.size(), 5u);
  EXPECT_EQ(output[0]["type"], "reasoning");
  EXPECT_EQ(output[0]["summary"], Json::array());
  EXPECT_EQ(output[0]["content"][0]["text"], "let me see");
  EXPECT_EQ(output[1]["type"], "message");
  EXPECT_EQ(output[1]["role"], "assistant");
  EXPECT_EQ(output[1]["content"][0]["type"], "output_text");
  EXPECT_EQ(output[1]["content"][0]["text"], "你好 \"you\"");
  EXPECT_EQ(output[2]["type"], "function_call");
  EXPECT_EQ(output[2]["name"], "f");
  EXPECT_EQ(output[2]["arguments"], R"({"x":1})");
  EXPECT_NE(output[2]["call_id"], output[3]["call_id"]);
  EXPECT_EQ(output[4]["content"][0]["text"], "done");
  for (const Json& item : output) EXPECT_EQ(item["status"], "completed");
  EXPECT_EQ(
      body["usage"].dump(),
      R"({"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},)"
      R"("output_tokens":7,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":16})");
}

// What the events tell, put together as a client does, is the response at the end.
TEST(ResponsesReply, TheEventsMakeTheResponse) {
  const auto events = told_events(body_of(kStreamed, tell_all_kinds));
  ASSERT_GT(events.size(), 10u);
  Json output = Json::array();
  for (size_t i = 0; i < events.size(); ++i) {
    const auto& [name, data] = events[i];
    EXPECT_EQ(data["type"], name);
    EXPECT_EQ(data["sequence_number"], i);
    const size_t at = data.value("output_index", size_t{0});
    if (name == "response.output_item.added") {
      EXPECT_EQ(at, output.size());
      EXPECT_EQ(data["item"]["status"], "in_progress");
      output.push_back(data["item"]);
    }
    if (data.contains("item_id")) {
      EXPECT_EQ(data["item_id"], output[at]["id"]);
    }
    if (name == "response.content_part.added") output[at]["content"].push_back(data["part"]);
    if (name == "response.output_text.delta" || name == "response.reasoning_text.delta") {
      output[at]["content"][0]["text"].get_ref<std::string&>() += data["delta"];
    }
    if (name == "response.output_text.done" || name == "response.reasoning_text.done") {
      EXPECT_EQ(data["text"], output[at]["content"][0]["text"]);
    }
    if (name == "response.function_call_arguments.delta") {
      output[at]["arguments"].get_ref<std::string&>() += data["delta"];
    }
    if (name == "response.output_item.done") {
      output[at]["status"] = "completed";
      EXPECT_EQ(data["item"], output[at]);
    }
  }
  EXPECT_EQ(events[0].name, "response.created");
  EXPECT_EQ(events[0].data["response"]["status"], "in_progress");
  EXPECT_EQ(events[0].data["response"]["output"], Json::array());
  EXPECT_EQ(events[1].name, "response.in_progress");
  EXPECT_EQ(events.back().name, "response.completed");
  EXPECT_EQ(events.back().data["response"]["output"], output);
  EXPECT_EQ(events.back().data["response"]["id"], events[0].data["response"]["id"]);
  EXPECT_EQ(events.back().data["response"]["usage"]["total_tokens"], 16);
}

void tell_cut(ChatReader& reader) {
  reader.on_start({.model = "m", .prompt_tokens = 9});
  reader.on_delta(0, {.text = "so"});
  reader.on_finish(0, ChatFinish::kLength, "");
  reader.on_end({.prompt_tokens = 9, .answer_tokens = 1});
}

TEST(ResponsesReply, ACutAnswerIsIncomplete) {
  const Json body = Json::parse(body_of(kPlain, tell_cut));
  EXPECT_EQ(body["status"], "incomplete");
  EXPECT_EQ(body["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(body["output"][0]["status"], "incomplete");
  const auto events = told_events(body_of(kStreamed, tell_cut));
  EXPECT_EQ(events.back().name, "response.incomplete");
  EXPECT_EQ(events.back().data["response"]["status"], "incomplete");
}

TEST(ResponsesReply, ACutCallIsIncomplete) {
  for (const bool stream : {false, true}) {
    const std::string body = body_of(stream ? kStreamed : kPlain, [](ChatReader& reader) {
      reader.on_start({.model = "m"});
      reader.on_delta(0, {.calls = {{.name = "f", .arguments = R"({"x": "a)", .cut = true}}});
      reader.on_finish(0, ChatFinish::kLength, "");
      reader.on_end({});
    });
    const Json response = stream ? told_events(body).back().data["response"] : Json::parse(body);
    EXPECT_EQ(response["status"], "incomplete");
    ASSERT_EQ(response["output"].size(), 1u);
    const Json& call = response["output"][0];
    EXPECT_EQ(call["type"], "function_call");
    EXPECT_EQ(call["status"], "incomplete");
    EXPECT_EQ(call["arguments"], R"({"x": "a)");
  }
}

TEST(ResponsesReply, AnEmptyAnswerIsAMessageStill) {
  const Json body = Json::parse(body_of(kPlain, [](ChatReader& reader) {
    reader.on_start({.model = "m"});
    reader.on_finish(0, ChatFinish::kStop, "");
    reader.on_end({});
  }));
  EXPECT_EQ(body["output"][0]["content"][0]["text"], "");
  EXPECT_EQ(body["status"], "completed");
}

TEST(ResponsesReply, Errors) {
  const auto fail = [](ChatReader& reader) {
    reader.on_error({.kind = ErrorKind::kTooLong, .message = "too long", .field = "messages"});
  };
  const Json body = Json::parse(body_of(kPlain, fail));
  EXPECT_EQ(body["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(body["error"]["param"], "input");
  const auto events = told_events(body_of(kStreamed, [](ChatReader& reader) {
    reader.on_start({.model = "m"});
    reader.on_delta(0, {.text = "so"});
    reader.on_error({.kind = ErrorKind::kFailed, .message = "broke", .field = {}});
  }));
  EXPECT_EQ(events.back().name, "response.failed");
  EXPECT_EQ(events.back().data["response"]["status"], "failed");
  EXPECT_EQ(events.back().data["response"]["error"]["message"], "broke");
}

TEST(ResponsesReply, LogProbabilities) {
  const ChatTokenLogprobs token{.chosen = {.bytes = "so", .log_probability = -0.5f},
                                .top = {{.bytes = "so", .log_probability = -0.5f}}};
  const Json body =
      Json::parse(body_of(R"({"input": "hi", "top_logprobs": 1})", [&](ChatReader& reader) {
        reader.on_start({.model = "m"});
        reader.on_delta(0, {.text = "so", .logprobs = {token}});
        reader.on_finish(0, ChatFinish::kStop, "");
        reader.on_end({});
      }));
  EXPECT_EQ(body["output"][0]["content"][0]["logprobs"].dump(),
            R"([{"token":"so","logprob":-0.5,"bytes":[115,111],)"
            R"("top_logprobs":[{"token":"so","logprob":-0.5,"bytes":[115,111]}]}])");
}

}  // namespace
}  // namespace hadal
