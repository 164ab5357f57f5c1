#include "server/dialects/openai_responses_request.h"

#include <gtest/gtest.h>

#include "server/chat/fields.h"

namespace hadal {
namespace {

RequestResult<ResponsesRequest> read_with(const std::string& field, const std::string& value) {
  Json body = {{"model", "m"}, {"input", "hi"}};
  body[field] = Json::parse(value);
  return read_responses_request(body.dump());
}
std::string messages_of(const std::string& input) {
  const auto request = read_with("input", input);
  return request ? request->job.messages->dump() : request.error().field;
}

TEST(ResponsesRequest, ReadsARequest) {
  const auto request = read_responses_request(R"({
    "model": "m", "input": "hi", "instructions": "be brief", "stream": true, "store": false,
    "max_output_tokens": 7, "temperature": 0, "top_p": 0.5, "seed": -1, "top_logprobs": 2,
    "metadata": {"a": "b"}, "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "integer"},
                        "strict": true}},
    "include": ["reasoning.encrypted_content"], "truncation": "disabled", "background": false,
    "previous_response_id": null, "user": "me", "stream_options": {"include_obfuscation": false}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_TRUE(request->stream);
  EXPECT_TRUE(request->logprobs);
  const ChatJob& job = request->job;
  EXPECT_EQ(job.model, "m");
  EXPECT_EQ(job.max_tokens, 7u);
  EXPECT_EQ(job.temperature, 0.0);
  EXPECT_EQ(job.seed, UINT64_MAX);
  EXPECT_EQ(job.top_logprobs, 2u);
  EXPECT_EQ(job.thinking, Thinking::kOn);
  EXPECT_EQ(job.thinking_budget, 1024u);
  EXPECT_EQ(job.schema, R"({"type":"integer"})");
  EXPECT_EQ(job.messages->dump(),
            R"([{"role":"system","content":"be brief"},{"role":"user","content":"hi"}])");
  const Json& repeated = request->repeated;
  EXPECT_EQ(repeated["metadata"], Json({{"a", "b"}}));
  EXPECT_EQ(repeated["instructions"], "be brief");
  EXPECT_EQ(repeated["max_output_tokens"], 7);
  EXPECT_EQ(repeated["store"], false);
  EXPECT_EQ(repeated["reasoning"]["effort"], "low");
  EXPECT_EQ(repeated["text"]["format"]["name"], "n");
  EXPECT_EQ(repeated["tool_choice"], "auto");
  EXPECT_EQ(repeated["previous_response_id"], nullptr);
}

TEST(ResponsesRequest, WhatIsNotSaidIsUsual) {
  const auto request = read_responses_request(R"({"input": "hi"})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_FALSE(request->stream);
  EXPECT_FALSE(request->job.top_logprobs);
  EXPECT_EQ(request->job.thinking, Thinking::kModelDefault);
  EXPECT_EQ(request->repeated["text"], Json::parse(R"({"format": {"type": "text"}})"));
  EXPECT_EQ(request->repeated["store"], false);
  EXPECT_EQ(request->repeated["parallel_tool_calls"], true);
  EXPECT_EQ(request->repeated["metadata"], Json::object());
  EXPECT_TRUE(read_with("include", R"(["message.output_text.logprobs"])")->job.top_logprobs);
}

TEST(ResponsesRequest, ItemsBecomeMessages) {
  EXPECT_EQ(
      messages_of(R"([
    {"role": "developer", "content": "a"},
    {"type": "message", "role": "user", "id": "msg_1", "status": "completed", "content":
      [{"type": "input_text", "text": "b"}, {"type": "input_text", "text": "c"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [],
     "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "message", "role": "assistant", "id": "msg_2", "status": "completed", "phase": null,
     "content": [{"type": "output_text", "text": "d", "annotations": [], "logprobs": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
     "arguments": "{\"x\":1}", "status": "completed"},
    {"type": "function_call_output", "call_id": "call_1", "output": "31"},
    {"role": "user", "content": "e"}])"),
      R"([{"role":"system","content":"a"},{"role":"user","content":"b\nc"},)"
      R"({"role":"assistant","content":"d","reasoning_content":"hm","tool_calls":[)"
      R"({"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},)"
      R"({"role":"tool","tool_call_id":"call_1","name":"f","content":"31"},)"
      R"({"role":"user","content":"e"}])");
  EXPECT_EQ(messages_of(R"([{"type": "reasoning", "id": "r", "content": null,
                             "summary": [{"type": "summary_text", "text": "in short"}]},
                            {"type": "function_call_output", "call_id": "c",
                             "output": [{"type": "input_text", "text": "x"}]}])"),
            R"([{"role":"assistant","content":"","reasoning_content":"in short"},)"
            R"({"role":"tool","tool_call_id":"c","content":"x"}])");
}

TEST(ResponsesRequest, WhatIsNoInputIsRefusedByItsPlace) {
  const std::pair<const char*, const char*> kCases[] = {
      {"3", "input"},
      {"[]", "input"},
      {"[3]", "input[0]"},
      {R"([{"role": "user"}])", "input[0].content"},
      {R"([{"role": "narrator", "content": "x"}])", "input[0].role"},
      {R"([{"content": "x"}])", "input[0].role"},
      {R"([{"role": "user", "content": 3}])", "input[0].content"},
      {R"([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}])",
       "input[0].content[0].type"},
      {R"([{"role": "user", "content": [{"text": "x"}]}])", "input[0].content[0]"},
      {R"([{"role": "user", "content": "x", "unheard": 1}])", "input[0].unheard"},
      {R"([{"type": "item_reference", "id": "msg_1"}])", "input[0].type"},
      {R"([{"type": "web_search_call", "id": "ws_1"}])", "input[0].type"},
      {R"([{"type": 3}])", "input[0].type"},
      {R"([{"type": "function_call", "name": "f"}])", "input[0]"},
      {R"([{"type": "function_call_output", "call_id": "c"}])", "input[0]"},
      {R"([{"type": "reasoning", "encrypted_content": "AAAA"}])", "input[0].encrypted_content"},
  };
  for (const auto& [input, field] : kCases) EXPECT_EQ(messages_of(input), field) << input;
  EXPECT_EQ(read_responses_request("{}").error().field, "input");
}

TEST(ResponsesRequest, WhatNeedsMemoryOrOthersIsRefusedByName) {
  const struct {
    const char *field, *value, *names;
  } kCases[] = {
      {"store", "true", "store"},
      {"background", "true", "background"},
      {"previous_response_id", "\"resp_1\"", "previous_response_id"},
      {"conversation", "\"conv_1\"", "conversation"},
      {"prompt", R"({"id": "pmpt_1"})", "prompt"},
      {"truncation", "\"auto\"", "truncation"},
      {"include", R"(["file_search_call.results"])", "include"},
      {"tools", R"([{"type": "web_search"}])", "tools[0].type"},
      {"tools", R"([{"type": "function"}])", "tools[0].name"},
      {"tools", R"([{"type": "function", "name": "f"}, {"type": "function", "name": "f"}])",
       "tools[1]"},
      {"tool_choice", "\"required\"", "tool_choice"},
      {"tool_choice", R"({"type": "function", "name": "f"})", "tool_choice"},
      {"tool_choice", R"({"type": "file_search"})", "tool_choice.type"},
      {"tool_choice", "\"any\"", "tool_choice"},
      {"text", R"({"verbosity": "low"})", "text.verbosity"},
      {"text", R"({"format": {"type": "yaml"}})", "text.format.type"},
      {"text", R"({"format": {"type": "json_schema"}})", "text.format.schema"},
      {"reasoning", R"({"effort": "deep"})", "reasoning.effort"},
      {"reasoning", R"({"summary": "detailed"})", "reasoning.summary"},
      {"metadata", R"({"a": 1})", "metadata"},
      {"max_output_tokens", "0", "max_output_tokens"},
      {"temperature", "2.1", "temperature"},
      {"top_logprobs", "21", "top_logprobs"},
      {"unheard", "1", "unheard"},
  };
  for (const auto& [field, value, names] : kCases) {
    const auto request = read_with(field, value);
    ASSERT_FALSE(request) << field << ' ' << value;
    EXPECT_EQ(request.error().field, names) << field << ' ' << value;
  }
  Json many = Json::object();
  for (int i = 0; i < 17; ++i) many[std::to_string(i)] = "x";
  EXPECT_EQ(read_with("metadata", many.dump()).error().field, "metadata");
}

TEST(ResponsesRequest, Tools) {
  const std::string tools = R"([{"type": "function", "name": "f", "description": "d",
                                 "parameters": {"type": "object"}, "strict": true}])";
  const auto with_choice = [&](const std::string& choice) {
    return read_responses_request(fmt::format(
        R"({{"input": "hi", "tools": {}, "tool_choice": {}, "parallel_tool_calls": false}})", tools,
        choice));
  };
  const auto free = with_choice("\"auto\"");
  ASSERT_TRUE(free) << free.error().message;
  EXPECT_EQ(free->job.tools.dump(),
            R"([{"type":"function","function":{"name":"f","description":"d",)"
            R"("parameters":{"type":"object"}}}])");
  EXPECT_TRUE(free->job.one_call_only);
  EXPECT_EQ(free->repeated["tools"], Json::parse(tools));
  EXPECT_TRUE(with_choice("\"none\"")->job.tools.is_null());
  EXPECT_EQ(with_choice("\"required\"")->job.tool_choice, ChatJob::ToolChoice::kRequired);
  const auto named = with_choice(R"({"type": "function", "name": "f"})");
  EXPECT_EQ(named->job.named_tool, "f");
  EXPECT_EQ(with_choice(R"({"type": "function", "name": "g"})").error().field, "tool_choice");
}

}  // namespace
}  // namespace hadal
