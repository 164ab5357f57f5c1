#include "server/dialects/ollama_reply.h"

#include <gtest/gtest.h>

#include "told.h"

namespace hadal {
namespace {

MakeReply make(bool chat, bool stream) {
  OllamaRequest request;
  request.chat = chat;
  request.stream = stream;
  return [request](std::shared_ptr<Exchange> exchange) {
    return make_ollama_reply(request, "m:latest", std::move(exchange));
  };
}

std::vector<Json> lines_of(const std::string& body) {
  std::vector<Json> lines;
  size_t at = 0;
  for (size_t end = 0; (end = body.find('\n', at)) != std::string::npos; at = end + 1) {
    lines.push_back(Json::parse(body.substr(at, end - at)));
  }
  return lines;
}

TEST(OllamaReply, AStreamIsTheWholeAnswerInLines) {
  for (const bool chat : {true, false}) {
    const Json whole = Json::parse(told(make(chat, false), tell_all_kinds));
    const auto lines = lines_of(told(make(chat, true), tell_all_kinds));
    std::string text, thinking;
    Json calls = Json::array();
    for (const Json& line : lines) {
      EXPECT_EQ(line["model"], "m:latest");
      EXPECT_EQ(line["done"], &line == &lines.back());
      const Json& piece = chat ? line["message"] : line;
      text += piece[chat ? "content" : "response"].get<std::string>();
      thinking += piece.value("thinking", "");
      for (const Json& call : piece.value("tool_calls", Json::array())) calls.push_back(call);
    }
    const Json& answer = chat ? whole["message"] : whole;
    EXPECT_EQ(answer[chat ? "content" : "response"], text);
    EXPECT_EQ(text, "你好 \"you\"done");
    EXPECT_EQ(answer["thinking"], thinking);
    if (chat) {
      ASSERT_EQ(calls.size(), 2u);
      EXPECT_EQ(calls[0]["function"].dump(), R"({"index":0,"name":"f","arguments":{"x":1}})");
      EXPECT_EQ(calls[1]["function"]["index"], 1);
      EXPECT_EQ(answer["tool_calls"].size(), 2u);
    }
    for (const Json* end : {&whole, &lines.back()}) {
      EXPECT_EQ((*end)["done_reason"], "stop");
      EXPECT_EQ((*end)["prompt_eval_count"], 9);
      EXPECT_EQ((*end)["eval_count"], 7);
      EXPECT_EQ((*end)["prompt_eval_duration"], 500'000'000);
      EXPECT_EQ((*end)["eval_duration"], 250'000'000);
      EXPECT_GE((*end)["total_duration"], (*end)["load_duration"]);
    }
  }
}

TEST(OllamaReply, ACutCallHasWhatCameWhole) {
  for (const bool stream : {false, true}) {
    const std::string body = told(make(true, stream), [](ChatReader& reader) {
      reader.on_start({.model = "m"});
      reader.on_delta(0,
                      {.calls = {{.name = "f", .arguments = R"({"x": 1, "y": "a)", .cut = true}}});
      reader.on_finish(0, ChatFinish::kLength, "");
      reader.on_end({});
    });
    const Json first = Json::parse(body.substr(0, body.find('\n')));
    const Json& call = first["message"]["tool_calls"][0]["function"];
    EXPECT_EQ(call["name"], "f");
    EXPECT_EQ(call["arguments"].dump(), R"({"x":1})");
    EXPECT_EQ(first["message"]["content"], "");
    EXPECT_NE(body.find(R"("done_reason":"length")"), std::string::npos);
  }
}

TEST(OllamaReply, ErrorsAndLengths) {
  const auto late = [](ChatReader& reader) {
    reader.on_start({});
    reader.on_error({.kind = ErrorKind::kFailed, .message = "lost"});
  };
  EXPECT_EQ(told(make(true, true), late), "{\"error\":\"lost\"}\n");
  EXPECT_EQ(told(make(true, false), late), "{\"error\":\"lost\"}");
  const Json cut = Json::parse(told(make(true, false), [](ChatReader& reader) {
    reader.on_start({});
    reader.on_finish(0, ChatFinish::kLength, "");
    reader.on_end({});
  }));
  EXPECT_EQ(cut["done_reason"], "length");
  EXPECT_EQ(Json::parse(ollama_load_body({}, "m", "load"))["done_reason"], "load");
}

TEST(OllamaReply, Times) {
  using std::chrono::nanoseconds;
  using std::chrono::system_clock;
  const auto at = [](int64_t count) {
    return ollama_time(system_clock::time_point(
        std::chrono::duration_cast<system_clock::duration>(nanoseconds(count))));
  };
  EXPECT_EQ(at(1'700'000'000'000'000'007), "2023-11-14T22:13:20.000000007Z");
  EXPECT_EQ(at(0), "1970-01-01T00:00:00.000000000Z");
}

}  // namespace
}  // namespace hadal
