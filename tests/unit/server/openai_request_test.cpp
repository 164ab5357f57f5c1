#include "server/dialects/openai_request.h"

#include <gtest/gtest.h>

#include "server/chat/tools.h"
#include "text/grammar/token_trie.h"

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

TEST(OpenAiRequest, TwoNamesOfOneLimitSayOneThing) {
  const auto same = read_with("max_tokens", R"(7, "max_completion_tokens": 7)");
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_EQ(same->job.max_tokens, 7u);
  for (const char* both :
       {R"(7, "max_completion_tokens": 8)", R"(8, "max_completion_tokens": 7)"}) {
    const auto refused = read_with("max_tokens", both);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().field, "max_tokens");
    EXPECT_NE(refused.error().message.find("max_completion_tokens"), std::string::npos);
  }
}

TEST(OpenAiRequest, SaysWhichSwitchAskedForThinking) {
  const struct {
    const char *field, *value, *called;
  } kCases[] = {
      {"reasoning_effort", "\"low\"", "reasoning_effort"},
      {"enable_thinking", "true", "enable_thinking"},
      {"thinking", R"({"type": "enabled"})", "thinking"},
      {"chat_template_kwargs", R"({"thinking": true})", "chat_template_kwargs.thinking"},
      {"chat_template_kwargs", R"({"enable_thinking": true})",
       "chat_template_kwargs.enable_thinking"},
  };
  for (const auto& [field, value, called] : kCases) {
    const auto request = read_with(field, value);
    ASSERT_TRUE(request) << field;
    EXPECT_EQ(request->job.thinking, Thinking::kOn);
    EXPECT_STREQ(request->job.thinking_field, called);
  }
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
      {"seed", {"0", "-5", "9007199254740991"}, {"9007199254740993", "0.5", "1e300", "\"1\""}},
      {"stream", {"true", "false"}, {"1", "\"true\""}},
      {"stream_options",
       {"{}", "{\"include_usage\": null}"},
       {"{\"include_usage\": 1}", "[]", "{\"other\": true}"}},
      {"stop", {"\"x\"", "[\"x\"]", "[]"}, {"\"\"", "[\"\"]", "[1]", "3", "{}"}},
      {"model", {"\"x\""}, {"1", "[]"}},
      {"user", {"\"x\""}, {"1"}},
      {"logprobs", {"true", "false"}, {"1", "\"x\""}},
      {"top_logprobs", {}, {"-1", "21", "5"}},  // without logprobs
      {"logit_bias",
       {"{}", "{\"5\": -100, \"6\": 100}"},
       {"[]", "{\"x\": 1}", "{\"-1\": 1}", "{\"1.5\": 1}", "{\"5\": 100.1}", "{\"5\": -101}",
        "{\"5\": null}", "{\"99999999999\": 1}", "{\"\": 1}"}},
      {"reasoning_effort", {"\"none\"", "\"low\"", "\"high\""}, {"\"max\"", "1"}},
      {"thinking",
       {"{\"type\": \"enabled\"}", "{\"type\": \"disabled\", \"budget_tokens\": 5}"},
       {"true", "{\"type\": \"x\"}", "{\"budget_tokens\": -1}", "{\"mood\": 1}"}},
      {"thinking_budget", {"0", "16777216"}, {"-1", "16777217", "0.5"}},
      {"enable_thinking", {"true"}, {"1"}},
      {"chat_template_kwargs",
       {"{}", "{\"enable_thinking\": false}", "{\"thinking\": true}"},
       {"[]", "{\"enable_thinking\": 1}", "{\"messages\": []}", "{\"bos_token\": \"x\"}"}},
      {"store", {"false"}, {"true", "1"}},
      {"modalities", {"[\"text\"]"}, {"[\"audio\"]", "[\"text\", \"audio\"]", "[]", "\"text\""}},
      {"ignore_eos", {"true"}, {"1"}},
      {"parallel_tool_calls", {"true", "false"}, {"1"}},
      {"tools",
       {"[]"},
       {"{}", "[3]", "[{}]", "[{\"type\": \"function\"}]",
        "[{\"type\": \"web\", \"function\": {\"name\": \"f\"}}]",
        "[{\"type\": \"function\", \"function\": {\"name\": \"\"}}]",
        "[{\"type\": \"function\", \"function\": {\"name\": 3}}]",
        "[{\"function\": {\"name\": \"f\"}}, {\"function\": {\"name\": \"f\"}}]"}},
      {"tool_choice",
       {"\"none\"", "\"auto\""},
       {"\"required\"", "\"x\"", "3", "{}",
        "{\"type\": \"function\", \"function\": {\"name\": \"f\"}}"}},
      {"response_format",
       {"{\"type\": \"text\"}", "{\"type\": \"json_object\"}",
        "{\"type\": \"json_schema\", \"json_schema\": {\"name\": \"x\", \"schema\": {}}}"},
       {"{}", "\"json\"", "{\"type\": \"xml\"}", "{\"type\": \"json_schema\"}",
        "{\"type\": \"json_schema\", \"json_schema\": {\"schema\": 3}}",
        "{\"type\": \"json_schema\", \"json_schema\": {\"name\": \"x\"}}"}},
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

TEST(OpenAiRequest, ThinkingCanBeAskedForInManyWays) {
  const auto thinking = [](const std::string& field, const std::string& value) {
    const auto request = read_with(field, value);
    return request ? std::pair(request->job.thinking, request->job.thinking_budget.value_or(0))
                   : std::pair(Thinking::kModelDefault, UINT32_MAX);
  };
  using Asked = std::pair<Thinking, uint32_t>;
  EXPECT_EQ(thinking("reasoning_effort", "\"none\""), Asked(Thinking::kOff, 0));
  EXPECT_EQ(thinking("reasoning_effort", "\"low\""), Asked(Thinking::kOn, 1024));
  EXPECT_EQ(thinking("reasoning_effort", "\"high\""), Asked(Thinking::kOn, 0));
  EXPECT_EQ(thinking("thinking", "{\"type\": \"enabled\", \"budget_tokens\": 7}"),
            Asked(Thinking::kOn, 7));
  EXPECT_EQ(thinking("enable_thinking", "false"), Asked(Thinking::kOff, 0));
  EXPECT_EQ(thinking("chat_template_kwargs", "{\"thinking\": false}"), Asked(Thinking::kOff, 0));
  EXPECT_EQ(thinking("thinking_budget", "9"), Asked(Thinking::kModelDefault, 9));
  EXPECT_EQ(thinking("user", "\"x\""), Asked(Thinking::kModelDefault, 0));
}

TEST(OpenAiRequest, SwitchesOfThinkingSayOneThing) {
  // Whatever the order: an object has none.
  for (const char* both :
       {R"(true, "thinking": {"type": "disabled"})", R"(false, "thinking": {"type": "enabled"})",
        R"(false, "reasoning_effort": "low")",
        R"(true, "chat_template_kwargs": {"enable_thinking": false})"}) {
    const auto refused = read_with("enable_thinking", both);
    ASSERT_FALSE(refused) << both;
    EXPECT_NE(refused.error().message.find("enable_thinking and "), std::string::npos);
  }
  EXPECT_TRUE(read_with("enable_thinking", R"(true, "reasoning_effort": "low")"));
  for (const char* both :
       {R"(7, "reasoning_effort": "low")", R"(7, "thinking": {"budget_tokens": 7})"}) {
    const auto request = read_with("thinking_budget", both);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->job.thinking_budget, 7u) << both;
  }
  EXPECT_EQ(read_with("reasoning_effort", R"("low", "thinking_budget": 7)")->job.thinking_budget,
            7u);
  EXPECT_FALSE(read_with("thinking_budget", R"(7, "thinking": {"budget_tokens": 8})"));
}

constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "f", "strict": true, "parameters":
        {"properties": {"x": {"type": "integer"}}}}},
        {"type": "function", "function": {"name": "g"}}])";

RequestResult<OpenAiRequest> read_with_tools(const std::string& more) {
  return read_openai_chat(fmt::format(
      R"({{"messages": [{{"role": "user", "content": "hi"}}], "tools": {}{}}})", kTools, more));
}

TEST(OpenAiRequest, ToolsAreReadAndChosen) {
  const auto free = read_with_tools("");
  ASSERT_TRUE(free) << free.error().message;
  EXPECT_EQ(free->job.tools.size(), 2u);
  EXPECT_EQ(free->job.tools[1].dump(), R"({"type":"function","function":{"name":"g"}})");
  EXPECT_EQ(free->job.tool_choice, ChatJob::ToolChoice::kAuto);
  EXPECT_FALSE(free->job.one_call_only);

  const auto none = read_with_tools(R"(, "tool_choice": "none")");
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->job.tools.is_null());

  const auto required = read_with_tools(R"(, "tool_choice": "required")");
  ASSERT_TRUE(required);
  EXPECT_EQ(required->job.tool_choice, ChatJob::ToolChoice::kRequired);
  EXPECT_EQ(forced_calls(required->job, "").size(), 2u);

  const auto named = read_with_tools(
      R"(, "tool_choice": {"type": "function", "function": {"name": "f"}},
           "parallel_tool_calls": false)");
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_TRUE(named->job.one_call_only);
  const auto calls = forced_calls(named->job, "");
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].schema, R"({"properties":{"x":{"type":"integer"}},"type":"object"})");
  EXPECT_EQ(calls[0].before, R"({"name": "f", "arguments": )");
  EXPECT_EQ(calls[0].behind, "}");
  const auto own = forced_calls(named->job, "... <tool_call> ...");
  EXPECT_EQ(own[0].before, TokenTrie::mark("<tool_call>") + "\n{\"name\": \"f\", \"arguments\": ");
  EXPECT_EQ(own[0].behind, "}\n" + TokenTrie::mark("</tool_call>"));

  EXPECT_FALSE(
      read_with_tools(R"(, "tool_choice": {"type": "function", "function": {"name": "h"}})"));
  EXPECT_FALSE(read_with_tools(R"(, "response_format": {"type": "json_object"})"));
}

TEST(OpenAiRequest, PastCallsAreShapedAsTheTemplateWants) {
  const auto request = read_openai_chat(R"({"messages": [{"role": "assistant", "content": null,
    "tool_calls": [{"id": "c", "type": "function", "index": 0,
                    "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}}]},
    {"role": "tool", "tool_call_id": "c", "content": "3"}]})");
  ASSERT_TRUE(request) << request.error().message;
  Json messages = *request->job.messages;
  EXPECT_EQ(messages[0]["content"], "");
  EXPECT_EQ(messages[0]["tool_calls"][0]["function"]["arguments"], "{\"b\": 1, \"a\": 2}");
  shape_past_calls(messages, "{{ call.function.arguments }}");
  EXPECT_TRUE(messages[0]["tool_calls"][0]["function"]["arguments"].is_string());
  shape_past_calls(messages, "{{ call.function.arguments | tojson }}");
  EXPECT_EQ(messages[0]["tool_calls"][0]["function"]["arguments"].dump(), R"({"b":1,"a":2})");
  // What no request's own JSON may be stays text: building it would take a minute, or a stack.
  std::string many = "{", deep = "{\"a\":" + std::string(500'000, '[') + std::string(500'000, ']');
  for (int i = 0; i < 90'000; ++i) many += fmt::format("\"{}\":1,", i);
  for (const std::string& arguments : {many + "\"a\":1}", deep + "}"}) {
    messages[0]["tool_calls"][0]["function"]["arguments"] = arguments;
    shape_past_calls(messages, "{{ call.function.arguments | tojson }}");
    EXPECT_TRUE(messages[0]["tool_calls"][0]["function"]["arguments"].is_string());
  }
  for (const char* calls : {"3", "[3]", "[{}]", R"([{"function": {"name": "f", "arguments": {}}}])",
                            R"([{"function": {"arguments": "{}"}}])"}) {
    EXPECT_FALSE(read_openai_chat(fmt::format(
        R"({{"messages": [{{"role": "assistant", "content": "", "tool_calls": {}}}]}})", calls)));
  }
}

// Wherever it is cut off: whole, or as much of a call as there is, or nothing; never anything else.
TEST(Tools, ACallThatMustBeMadeIsRead) {
  ChatJob job;
  job.tools = Json::parse(R"([{"function": {"name": "f"}}, {"function": {"name": "fg"}}])");
  job.tool_choice = ChatJob::ToolChoice::kRequired;
  ChatJob named = job;
  named.tool_choice = ChatJob::ToolChoice::kNamed;
  named.named_tool = "fg";
  const std::string arguments = R"({"x": {"a": "}\"]", "b": [1, 2]}, "y": null})";
  for (const char* form :
       {"", "<tool_call>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁begin｜> ```json"}) {
    const auto parts = forced_calls(named, form);
    ASSERT_EQ(parts.size(), 1u);
    const std::string before = TokenTrie::unmarked(parts[0].before);
    const std::string answer = before + arguments + TokenTrie::unmarked(parts[0].behind);
    const auto whole = read_forced_call(job, form, answer);
    ASSERT_TRUE(whole) << answer;
    EXPECT_EQ(whole->name, "fg");
    EXPECT_EQ(Json::parse(whole->arguments), Json::parse(arguments));
    EXPECT_FALSE(whole->cut);
    for (size_t size = 0; size < answer.size(); ++size) {
      const std::string begun = answer.substr(0, size);
      const auto call = read_forced_call(named, form, begun);
      ASSERT_EQ(call.has_value(), size > 0) << begun;
      if (!call) continue;
      EXPECT_TRUE(call->cut) << begun;
      EXPECT_EQ(call->name, "fg");
      EXPECT_EQ(call->arguments,
                size < before.size() ? "" : arguments.substr(0, size - before.size()))
          << begun;
      // Of two, the name must have come.
      const auto either = read_forced_call(job, form, begun);
      if (size >= before.size()) {
        ASSERT_TRUE(either) << begun;
      }
      if (either) {
        EXPECT_EQ(either->name, "fg") << begun;
      }
      if (size < before.find("fg") + 2) {
        EXPECT_FALSE(either) << begun;
      }
    }
  }
}

TEST(Tools, OfCutArgumentsWhatCameWholeIsAnObject) {
  const struct {
    const char *begun, *is;
  } kCases[] = {
      {"", "{}"},
      {"{", "{}"},
      {R"({"ci)", "{}"},
      {R"({"city")", "{}"},
      {R"({"city": )", "{}"},
      {R"({"city": "Par)", "{}"},
      {R"({"city": "Par\)", "{}"},
      {R"({"city": "Paris")", R"({"city":"Paris"})"},
      {R"({"city": "a\"b,}", "n": 1)", R"({"city":"a\"b,}"})"},
      {R"({"n": 12,)", R"({"n":12})"},
      {R"({"n": 12, "m": tr)", R"({"n":12})"},
      {R"({"list": [1, 2)", R"({"list":[1]})"},
      {R"({"list": ["a", {"b": [], "c": {"d")", R"({"list":["a",{"b":[],"c":{}}]})"},
      {R"({"a": {"b": 1}, "c")", R"({"a":{"b":1}})"},
      {"}]", "{}"},
      {R"("x")", "{}"},
  };
  for (const auto& [begun, is] : kCases) {
    EXPECT_EQ(arguments_of({.name = "f", .arguments = begun, .cut = true}).dump(), is) << begun;
  }
  EXPECT_EQ(arguments_of({.name = "f", .arguments = R"({"a": 1})"}).dump(), R"({"a":1})");
  EXPECT_EQ(arguments_of({.name = "f", .arguments = "3"}).dump(), "{}");
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
  EXPECT_TRUE(read_with("best_off", "null")) << "it says nothing";
}

// As OpenAI's Python client prints a message of an answer (model_dump).
TEST(OpenAiRequest, AnAnswersMessageIsReadAsItsClientPrintsIt) {
  const auto request = read_openai_chat(R"({"messages": [{"role": "user", "content": "hi"},
    {"content": "Hello.", "refusal": null, "role": "assistant", "annotations": null,
     "audio": null, "function_call": null, "tool_calls": null}]})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ((*request->job.messages)[1].dump(), R"({"content":"Hello.","role":"assistant"})");
  EXPECT_FALSE(read_openai_chat(R"({"messages": [{"role": "assistant", "content": "Hello.",
    "function_call": {"name": "f", "arguments": "{}"}}]})"));
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
  EXPECT_TRUE(request->job.echo);
  EXPECT_FALSE(request->job.scores_prompts() || request->job.prompt_only);
  const auto scored =
      read_openai_completion(R"({"prompt": [1], "echo": true, "logprobs": 0, "max_tokens": 0})");
  ASSERT_TRUE(scored) << scored.error().message;
  EXPECT_TRUE(scored->job.scores_prompts() && scored->job.prompt_only);
  EXPECT_EQ(read_with("max_tokens", "0").error().field, "max_tokens") << "a chat is to be answered";
  EXPECT_EQ(request->job.prompts, std::vector<PromptText>{"Once"});
  EXPECT_FALSE(request->chat);
  EXPECT_FALSE(request->job.messages);
  const auto tokens = read_openai_completion(R"({"prompt": [1, 2, 3]})");
  ASSERT_TRUE(tokens);
  EXPECT_EQ(tokens->job.prompts, (std::vector<PromptText>{std::vector<TokenId>{1, 2, 3}}));
  const auto several = read_openai_completion(R"({"prompt": ["a", "b"], "n": 2})");
  ASSERT_TRUE(several) << several.error().message;
  EXPECT_EQ(several->job.prompts, (std::vector<PromptText>{"a", "b"}));
  Json many = {{"prompt", std::vector<std::string>(128, "a")}};
  EXPECT_TRUE(read_openai_completion(many.dump()));
  many["prompt"].push_back("a");
  EXPECT_EQ(read_openai_completion(many.dump()).error().field, "prompt");
  for (const char* prompt : {"\"\"", "[]", "[-1]", "[1.5]", "[\"a\", \"\"]", "[4294967296]", "{}",
                             "3", "null", "[[]]", "[[\"a\", 1]]"}) {
    EXPECT_FALSE(read_openai_completion(fmt::format(R"({{"prompt": {}}})", prompt))) << prompt;
  }
  EXPECT_FALSE(read_openai_completion(R"({"prompt": "x", "messages": []})"));
}

}  // namespace
}  // namespace hadal
