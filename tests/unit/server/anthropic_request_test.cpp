#include "server/dialects/anthropic_request.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

Json basic() {
  return {{"model", "m"},
          {"max_tokens", 9},
          {"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})}};
}

RequestResult<AnthropicRequest> read_with(const std::string& field, const std::string& value) {
  Json body = basic();
  body[field] = Json::parse(value);
  return read_anthropic_request(body.dump());
}

RequestResult<AnthropicRequest> read_conversation(const std::string& messages) {
  return read_with("messages", messages);
}

TEST(AnthropicRequest, ReadsARequest) {
  const auto request = read_anthropic_request(R"({
    "model": "m", "max_tokens": 7, "stream": true, "temperature": 0, "top_p": 0.5, "top_k": 3,
    "stop_sequences": ["a", "b"], "metadata": {"user_id": "me"},
    "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}},
               {"type": "text", "text": "be kind"}],
    "thinking": {"type": "enabled", "budget_tokens": 5},
    "messages": [{"role": "user", "content": [{"type": "text", "text": "你好"}]}]})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_TRUE(request->stream);
  const ChatJob& job = request->job;
  EXPECT_EQ(job.model, "m");
  EXPECT_EQ(job.max_tokens, 7u);
  EXPECT_EQ(job.top_k, 3u);
  EXPECT_EQ(job.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(job.thinking, Thinking::kOn);
  EXPECT_EQ(job.thinking_budget, 5u);
  EXPECT_EQ(
      job.messages->dump(),
      R"([{"role":"system","content":"be brief\nbe kind"},{"role":"user","content":"你好"}])");
}

TEST(AnthropicRequest, BlocksBecomeWhatTemplatesKnow) {
  const auto request = read_conversation(R"([
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "hm", "signature": "x"},
      {"type": "text", "text": "I look"},
      {"type": "tool_use", "id": "t1", "name": "look", "input": {"city": "Paris"}}]},
    {"role": "user", "content": [
      {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny"}]},
      {"type": "tool_result", "tool_use_id": "t1", "content": "lost", "is_error": true},
      {"type": "text", "text": "and?"}]},
    {"role": "user", "content": "well?"}])");
  ASSERT_TRUE(request) << request.error().message;
  const Json& messages = *request->job.messages;
  ASSERT_EQ(messages.size(), 5u);
  EXPECT_EQ(messages[1]["reasoning_content"], "hm");
  EXPECT_EQ(messages[1]["content"], "I look");
  EXPECT_EQ(messages[1]["tool_calls"].dump(),
            R"([{"id":"t1","type":"function","function":{"name":"look",)"
            R"("arguments":"{\"city\":\"Paris\"}"}}])");
  EXPECT_EQ(messages[2].dump(),
            R"({"role":"tool","tool_call_id":"t1","name":"look","content":"sunny"})");
  EXPECT_EQ(messages[3]["content"], "Error: lost");
  EXPECT_EQ(messages[4].dump(), R"({"role":"user","content":"and?\nwell?"})");
}

TEST(AnthropicRequest, ToolsAndTheirChoice) {
  const auto read_choice = [](const std::string& choice) {
    Json body = basic();
    body["tools"] = Json::parse(R"([{"name": "f", "description": "d",
      "input_schema": {"type": "object", "properties": {"x": {"type": "string"}}}},
      {"type": "custom", "name": "g", "input_schema": {"type": "object"}}])");
    body["tool_choice"] = Json::parse(choice);
    return read_anthropic_request(body.dump());
  };
  const auto automatic = read_choice(R"({"type": "auto", "disable_parallel_tool_use": true})");
  ASSERT_TRUE(automatic) << automatic.error().message;
  EXPECT_TRUE(automatic->job.one_call_only);
  EXPECT_EQ(automatic->job.tool_choice, ChatJob::ToolChoice::kAuto);
  EXPECT_EQ(automatic->job.tools[0].dump(),
            R"({"type":"function","function":{"name":"f","description":"d","parameters":)"
            R"({"type":"object","properties":{"x":{"type":"string"}}}}})");
  EXPECT_EQ(read_choice(R"({"type": "any"})")->job.tool_choice, ChatJob::ToolChoice::kRequired);
  EXPECT_TRUE(read_choice(R"({"type": "none"})")->job.tools.is_null());
  const auto named = read_choice(R"({"type": "tool", "name": "g"})");
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->job.named_tool, "g");
  for (const char* bad : {R"({"type": "tool", "name": "h"})", R"({"type": "tool"})", R"({})",
                          R"({"type": "all"})", R"({"type": 3})", R"([])", R"("any")"}) {
    EXPECT_FALSE(read_choice(bad)) << bad;
  }
  EXPECT_FALSE(read_with("tool_choice", R"({"type": "any"})")) << "there are no tools";
}

TEST(AnthropicRequest, WhatCannotBeHonouredIsRefusedByName) {
  const struct {
    const char *field, *value, *names;
  } kCases[] = {
      {"mcp_servers", "[]", "mcp_servers"},
      {"container", "\"x\"", "container"},
      {"tools", R"([{"type": "web_search_20250305", "name": "web_search"}])", "tools[0].type"},
      {"tools", R"([{"name": "f", "cost": 1}])", "tools[0].cost"},
      {"tools", R"([{"name": "f"}, {"name": "f"}])", "tools[1]"},
      {"tools", R"([3])", "tools[0]"},
      {"thinking", R"({"type": "deep"})", "thinking.type"},
      {"thinking", R"({"type": "enabled", "budget_tokens": -1})", "thinking.budget_tokens"},
      {"output_config", R"({"effort": "huge"})", "output_config.effort"},
      {"output_config", R"({"format": {"type": "xml"}})", "output_config.format"},
      {"messages", R"([])", "messages"},
      {"messages", R"([7])", "messages[0]"},
      {"messages", R"([{"role": "user"}])", "messages[0].content"},
      {"messages", R"([{"role": "system", "content": "x"}])", "messages[0].role"},
      {"messages", R"([{"role": "assistant", "content": "x"}])", "messages[0].role"},
      {"messages", R"([{"role": "user", "content": [{"type": "image", "source": {}}]}])",
       "messages[0].content[0].type"},
      {"messages", R"([{"role": "user", "content": [{"type": "tool_result"}]}])",
       "messages[0].content[0].tool_use_id"},
      {"messages", R"([{"role": "user", "content": [{"type": "text", "text": 5}]}])",
       "messages[0].content[0].text"},
      {"messages", R"([{"role": "user", "content": {"type": "text"}}])", "messages[0].content"},
      {"system", "3", "system"},
      {"system", R"([{"type": "image"}])", "system[0].type"},
      {"stop_sequences", R"([""])", "stop_sequences"},
      {"stop_sequences", R"("x")", "stop_sequences"},
      {"max_tokens", "0", "max_tokens"},
      {"max_tokens", "null", "max_tokens"},
      {"max_tokens", "1.5", "max_tokens"},
      {"temperature", "2.01", "temperature"},
      {"top_p", "0", "top_p"},
      {"top_k", "-1", "top_k"},
      {"model", "\"\"", "model"},
      {"stream", "1", "stream"},
  };
  for (const auto& test : kCases) {
    const auto request = read_with(test.field, test.value);
    ASSERT_FALSE(request) << test.field << ' ' << test.value;
    EXPECT_EQ(request.error().field, test.names) << test.value;
    EXPECT_EQ(http_status(request.error().kind), 400u);
  }
}

TEST(AnthropicRequest, AFormAndToolsExcludeEachOther) {
  Json body = basic();
  body["output_config"] =
      Json::parse(R"({"format": {"type": "json_schema", "schema": {"type": "object"}}})");
  EXPECT_TRUE(read_anthropic_request(body.dump()));
  body["tools"] = Json::parse(R"([{"name": "f", "input_schema": {"type": "object"}}])");
  const auto both = read_anthropic_request(body.dump());
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().field, "output_config.format");
  body["tool_choice"] = {{"type", "none"}};
  EXPECT_TRUE(read_anthropic_request(body.dump()));
}

TEST(AnthropicRequest, CountingNeedsNoMaxTokens) {
  Json body = basic();
  body.erase("max_tokens");
  EXPECT_FALSE(read_anthropic_request(body.dump()));
  EXPECT_TRUE(read_anthropic_count(body.dump()));
  for (const char* text : {"", "[]", "{", "{\"messages\": 1e999}", "null"}) {
    EXPECT_FALSE(read_anthropic_count(text));
  }
}

TEST(AnthropicRequest, AnEffortBoundsThinkingAndDoesNotSwitchIt) {
  const auto low = read_with("output_config", R"({"effort": "low"})");
  ASSERT_TRUE(low);
  EXPECT_EQ(low->job.thinking, Thinking::kModelDefault);
  EXPECT_EQ(low->job.thinking_budget, 1024u);
  const auto form = read_with("output_config", R"({"format": {"type": "json_schema",
                              "schema": {"type": "object"}}})");
  ASSERT_TRUE(form);
  EXPECT_EQ(form->job.schema, R"({"type":"object"})");
}

}  // namespace
}  // namespace hadal
