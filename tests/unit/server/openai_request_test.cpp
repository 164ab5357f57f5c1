#include "server/dialects/openai_request.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

RequestResult<OpenAiRequest> read_with(const std::string& field, const std::string& value) {
  return read_openai_chat(fmt::format(
      R"({{"messages": [{{"role": "user", "content": "hi"}}], "{}": {}}})", field, value));
}

TEST(OpenAiRequest, ReadsAChat) {
  const auto request = read_openai_chat(R"({
    "model": "m", "stream": true, "stream_options": {"include_usage": true}, "n": 2, "seed": -1,
    "temperature": 0, "top_p": 0.5, "max_completion_tokens": 7, "stop": ["a", "b"], "user": "me",
    "messages": [{"role": "developer", "content": "be brief"},
                 {"role": "user", "content": [{"type": "text", "text": "你"},
                                              {"type": "text", "text": "好"}]}]})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_TRUE(request->stream);
  EXPECT_TRUE(request->include_usage);
  const ChatJob& job = request->job;
  EXPECT_EQ(job.model, "m");
  EXPECT_EQ(job.choices, 2u);
  EXPECT_EQ(job.max_tokens, 7u);
  EXPECT_EQ(job.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(job.messages->dump(),
            R"([{"role":"system","content":"be brief"},{"role":"user","content":"你好"}])");
  const GenerationOptions options = job.generation({});
  EXPECT_EQ(options.sampling.temperature, 0.0f);
  EXPECT_EQ(options.sampling.top_p, 0.5f);
  EXPECT_EQ(options.sampling.seed, UINT64_MAX);
}

TEST(OpenAiRequest, WhatIsNotSaidIsTheModels) {
  const auto request = read_with("temperature", "null");
  ASSERT_TRUE(request);
  const GenerationOptions options = request->job.generation({.temperature = 0.3f, .top_k = 5});
  EXPECT_EQ(options.sampling.temperature, 0.3f);
  EXPECT_EQ(options.sampling.top_k, 5u);
  EXPECT_EQ(options.max_tokens, 0u);
  EXPECT_FALSE(request->job.seed);
}

// Below the least, above the most, of another type, and what JSON cannot say.
TEST(OpenAiRequest, EachFieldHasItsBounds) {
  const struct {
    const char* field;
    std::vector<const char*> good, bad;
  } kCases[] = {
      {"temperature", {"0", "2", "0.7"}, {"-0.01", "2.01", "\"1\"", "true", "[]", "1e308", "NaN"}},
      {"top_p", {"0.0001", "1"}, {"0", "1.01", "-1", "{}"}},
      {"top_k", {"0", "40", "1000000"}, {"-1", "1000001", "1.5"}},
      {"min_p", {"0", "0.999"}, {"-0.1", "1"}},
      {"presence_penalty", {"-2", "2"}, {"-2.01", "2.01", "\"0\""}},
      {"frequency_penalty", {"-2", "2"}, {"-2.01", "2.01", "1e999"}},
      {"repetition_penalty", {"0.01", "100"}, {"0", "100.1"}},
      {"n", {"1", "16"}, {"0", "17", "-1", "1.5", "1e308", "4294967297"}},
      {"max_tokens", {"1", "16777216"}, {"0", "-1", "16777217", "1.5", "\"7\""}},
      {"max_completion_tokens", {"1"}, {"0", "1e30"}},
      {"seed", {"0", "-5", "9007199254740992"}, {"0.5", "1e300", "\"1\""}},
      {"stream", {"true", "false"}, {"1", "\"true\""}},
      {"stream_options",
       {"{}", "{\"include_usage\": null}"},
       {"{\"include_usage\": 1}", "[]", "{\"other\": true}"}},
      {"stop", {"\"x\"", "[\"x\"]", "[]"}, {"\"\"", "[\"\"]", "[1]", "3", "{}"}},
      {"model", {"\"x\""}, {"1", "[]"}},
      {"user", {"\"x\""}, {"1"}},
  };
  for (const auto& row : kCases) {
    for (const char* value : row.good) {
      const auto request = read_with(row.field, value);
      EXPECT_TRUE(request) << row.field << " " << value << ": " << request.error().message;
    }
    for (const char* value : row.bad) {
      const auto request = read_with(row.field, value);
      ASSERT_FALSE(request) << row.field << " " << value;
      EXPECT_EQ(http_status(request.error().kind), 400u);
    }
    EXPECT_TRUE(read_with(row.field, "null")) << row.field;
  }
}

TEST(OpenAiRequest, StopStringsAreBounded) {
  const std::string longest(1024, 'x');
  EXPECT_TRUE(read_with("stop", Json(longest).dump()));
  EXPECT_FALSE(read_with("stop", Json(longest + 'x').dump()));
  EXPECT_TRUE(read_with("stop", Json(std::vector<std::string>(16, "a")).dump()));
  EXPECT_FALSE(read_with("stop", Json(std::vector<std::string>(17, "a")).dump()));
}

TEST(OpenAiRequest, UnknownFieldsAreRefusedByName) {
  const auto request = read_with("best_off", "3");
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(request.error().field, "best_off");
  EXPECT_NE(request.error().message.find("best_off"), std::string::npos);
}

TEST(OpenAiRequest, MessagesAreChecked) {
  const auto read = [](const std::string& messages) {
    return read_openai_chat(R"({"messages": )" + messages + "}");
  };
  const struct {
    const char* messages;
    const char* field;
  } kCases[] = {
      {"null", "messages"},
      {"[]", "messages"},
      {"\"hi\"", "messages"},
      {"[3]", "messages[0]"},
      {R"([{"content": "x"}])", "messages[0].role"},
      {R"([{"role": "user"}])", "messages[0].content"},
      {R"([{"role": "user", "content": null}])", "messages[0].content"},
      {R"([{"role": "assistant", "content": null}])", "messages[0].content"},
      {R"([{"role": "user", "content": "x"}, {"role": "root", "content": "x"}])",
       "messages[1].role"},
      {R"([{"role": 3, "content": "x"}])", "messages[0].role"},
      {R"([{"role": "user", "content": 3}])", "messages[0].content"},
      {R"([{"role": "user", "content": [3]}])", "messages[0].content[0]"},
      {R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])",
       "messages[0].content[0].type"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "messages[0].content[0].text"},
      {R"([{"role": "user", "content": "x", "mood": "sad"}])", "messages[0].mood"},
  };
  for (const auto& row : kCases) {
    const auto request = read(row.messages);
    ASSERT_FALSE(request) << row.messages;
    EXPECT_EQ(request.error().field, row.field) << request.error().message;
  }
  EXPECT_FALSE(read_openai_chat("{}"));
}

TEST(OpenAiRequest, ReadsACompletion) {
  const auto request = read_openai_completion(R"({"prompt": "Once", "echo": true})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->job.prompt, "Once");
  EXPECT_FALSE(request->chat);
  EXPECT_FALSE(request->job.messages);
  const auto tokens = read_openai_completion(R"({"prompt": [1, 2, 3]})");
  ASSERT_TRUE(tokens);
  EXPECT_EQ(tokens->job.prompt_tokens, (std::vector<TokenId>{1, 2, 3}));
  for (const char* prompt : {"\"\"", "[]", "[-1]", "[1.5]", "[\"a\", \"b\"]", "[4294967296]", "{}",
                             "3", "null", "[[]]", "[[\"a\", 1]]"}) {
    EXPECT_FALSE(read_openai_completion(fmt::format(R"({{"prompt": {}}})", prompt))) << prompt;
  }
  EXPECT_FALSE(read_openai_completion(R"({"prompt": "x", "messages": []})"));
}

}  // namespace
}  // namespace hadal
