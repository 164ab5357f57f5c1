#include "server/dialects/ollama_request.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

RequestResult<OllamaRequest> chat_with(const std::string& field, const std::string& value) {
  Json body = {{"model", "m"}, {"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})}};
  body[field] = Json::parse(value);
  return read_ollama_chat(body.dump());
}

TEST(OllamaRequest, ReadsAChat) {
  const auto request = read_ollama_chat(R"({
    "model": "m:latest", "stream": false, "think": true, "keep_alive": "5m", "format": "json",
    "options": {"num_predict": 7, "num_ctx": 512, "temperature": 0, "top_k": 5, "seed": -1,
                "stop": ["a"], "repeat_penalty": 1.1, "num_thread": 4, "mirostat": 0},
    "messages": [{"role": "system", "content": "be brief"},
                 {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                   {"function": {"name": "f", "arguments": {"x": 1}}}]},
                 {"role": "tool", "content": "31", "tool_name": "f"}]})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_FALSE(request->stream);
  EXPECT_FALSE(request->loads_only);
  EXPECT_EQ(request->keep_alive, KeepAlive(std::chrono::minutes(5)));
  const ChatJob& job = request->job;
  EXPECT_EQ(job.max_tokens, 7u);
  EXPECT_EQ(job.context_most, 512u);
  EXPECT_EQ(job.thinking, Thinking::kOn);
  EXPECT_EQ(job.schema, R"({"type":"object"})");
  EXPECT_EQ(job.seed, UINT64_MAX);
  EXPECT_EQ(job.repetition_penalty, 1.1);
  EXPECT_EQ(job.messages->dump(),
            R"([{"role":"system","content":"be brief"},)"
            R"({"role":"assistant","content":"","reasoning_content":"hm","tool_calls":[)"
            R"({"type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},)"
            R"({"role":"tool","content":"31","name":"f"}])");
}

TEST(OllamaRequest, ReadsGenerate) {
  const auto request = read_ollama_generate(
      R"({"model": "m", "prompt": "hi", "system": "be brief", "suffix": "", "images": []})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_TRUE(request->stream);
  EXPECT_FALSE(request->chat);
  EXPECT_EQ(request->job.messages->dump(),
            R"([{"role":"system","content":"be brief"},{"role":"user","content":"hi"}])");
  const auto raw = read_ollama_generate(R"({"model": "m", "prompt": "hi", "raw": true})");
  ASSERT_TRUE(raw);
  EXPECT_FALSE(raw->job.messages);
  EXPECT_EQ(raw->job.prompts, std::vector<PromptText>{"hi"});
  EXPECT_TRUE(read_ollama_generate(R"({"model": "m"})")->loads_only);
  EXPECT_TRUE(read_ollama_chat(R"({"model": "m", "keep_alive": 0})")->loads_only);
  EXPECT_FALSE(read_ollama_generate(R"({"prompt": "hi"})")) << "no model";
}

TEST(OllamaRequest, WhatCannotBeHonouredIsRefusedByName) {
  const struct {
    const char *field, *value, *names;
  } kCases[] = {
      {"images", "[]", "images"},
      {"template", "\"x\"", "template"},
      {"options", R"({"num_predict": 0})", "options.num_predict"},
      {"options", R"({"num_predict": -3})", "options.num_predict"},
      {"options", R"({"num_ctx": 0})", "options.num_ctx"},
      {"options", R"({"repeat_last_n": 64})", "options.repeat_last_n"},
      {"options", R"({"temperature": -1})", "options.temperature"},
      {"options", R"({"stop": [""]})", "options.stop"},
      {"options", "[]", "options"},
      {"format", "\"yaml\"", "format"},
      {"format", "[]", "format"},
      {"think", "\"deeply\"", "think"},
      {"keep_alive", "\"soon\"", "keep_alive"},
      {"keep_alive", "[]", "keep_alive"},
      {"tools", "[3]", "tools[0]"},
      {"messages", R"([{"role": "user", "content": "x", "images": ["AA=="]}])",
       "messages[0].images"},
      {"messages", R"([{"role": "narrator", "content": "x"}])", "messages[0].role"},
      {"messages", R"([{"content": "x"}])", "messages[0].role"},
      {"messages", R"([{"role": "user", "content": 5}])", "messages[0].content"},
      {"messages", R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])",
       "messages[0].tool_calls[0]"},
      {"messages", R"([5])", "messages[0]"},
      {"model", "\"\"", "model"},
      {"stream", "1", "stream"},
  };
  for (const auto& test : kCases) {
    const auto request = chat_with(test.field, test.value);
    ASSERT_FALSE(request) << test.field << ' ' << test.value;
    EXPECT_EQ(request.error().field, test.names) << test.value;
  }
  for (const char* refused : {R"({"mirostat": 1})", R"({"typical_p": 0.5})", R"({"tfs_z": "x"})"}) {
    EXPECT_FALSE(chat_with("options", refused)) << refused;
  }
  const auto picture =
      chat_with("messages", R"([{"role": "user", "content": "x", "images": ["AA=="]}])");
  EXPECT_EQ(picture.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(picture.error().message,
            "messages[0].images cannot be honoured here, but where it is empty");
  EXPECT_FALSE(chat_with("truncate", "true"));
  EXPECT_TRUE(chat_with("truncate", "false"));
}

TEST(OllamaRequest, AFormAndToolsExcludeEachOther) {
  Json body = {{"model", "m"},
               {"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})},
               {"tools", Json::parse(R"([{"type": "function", "function": {"name": "f"}}])")}};
  EXPECT_TRUE(read_ollama_chat(body.dump()));
  body["format"] = "json";
  const auto both = read_ollama_chat(body.dump());
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().field, "format");
}

TEST(OllamaRequest, Durations) {
  const auto seconds = [](const char* text) -> int64_t {
    const auto read = read_keep_alive(Json::parse(text));
    if (!read) return -2;
    return *read ? (*read)->count() : -1;
  };
  const std::pair<const char*, int64_t> kCases[] = {
      {"0", 0},          {"300", 300},   {"-1", -1},      {"\"5m\"", 300}, {"\"1h30m\"", 5400},
      {"\"300ms\"", 1},  {"\"-1\"", -1}, {"\"-1m\"", -1}, {"\"10\"", 10},  {"\"0\"", 0},
      {"\"0s\"", 0},     {"1e300", -1},  {"\"\"", -2},    {"\"m\"", -2},   {"\"5x\"", -2},
      {"\"1e5s\"", -2},  {"\"-\"", -2},  {"\"5m-\"", -2}, {"true", -2},    {"\"nans\"", -2},
      {"\"1.5h\"", 5400}};
  for (const auto& [text, expected] : kCases) EXPECT_EQ(seconds(text), expected) << text;
}

}  // namespace
}  // namespace hadal
