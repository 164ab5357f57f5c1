#include "server/dialects/openai_reply.h"

#include <gtest/gtest.h>

#include "told.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

std::string completion(const std::string& request, const std::function<void(ChatReader&)>& tell) {
  const auto read = read_openai_completion(request);
  EXPECT_TRUE(read) << read.error().message;
  return told([&](auto exchange) { return make_openai_reply(*read, std::move(exchange)); }, tell);
}

// "深 b" as a beginning token, two halves of the first character and " b"; then "c".
void tell_scored(ChatReader& reader) {
  reader.on_start({.model = "m", .prompt_tokens = 4, .echoed = {"深 b"}});
  const ChatLogprob rare = {"x", -9}, likely = {"y", -1};
  reader.on_delta(
      0, {.prompt_logprobs = {
              {.chosen = {"<s>", 0}, .top = {}, .foretold = false},
              {.chosen = {"\xe6\xb7", -2}, .top = {likely, {"\xe6\xb7", -2}}, .characters = 1}}});
  reader.on_delta(0, {.prompt_logprobs = {
                          {.chosen = {"\xb1", -3}, .top = {likely, rare}},
                          {.chosen = {" b", -4}, .top = {likely, {"y", -5}}, .characters = 2}}});
  reader.on_delta(
      0, {.text = "c", .logprobs = {{.chosen = {"c", -7}, .top = {likely}, .characters = 1}}});
  reader.on_finish(0, ChatFinish::kLength, "");
  reader.on_end({.prompt_tokens = 4, .answer_tokens = 1});
}

// Prompt and answer in one list; of the first token nothing is known; the token that stands there
// is among the likeliest, or one more.
void expect_scored(const std::string& text, const Json& logprobs) {
  EXPECT_EQ(text, "深 bc");
  EXPECT_EQ(logprobs["token_logprobs"].dump(), "[null,-2.0,-3.0,-4.0,-7.0]");
  EXPECT_EQ(logprobs["text_offset"].dump(), "[0,0,1,1,3]");
  EXPECT_EQ(logprobs["tokens"].size(), 5u);
  EXPECT_EQ(logprobs["tokens"][0], "<s>");
  const Json& top = logprobs["top_logprobs"];
  ASSERT_EQ(top.size(), 5u);
  EXPECT_TRUE(top[0].is_null());
  EXPECT_EQ(top[1].size(), 2u);
  EXPECT_EQ(top[2].size(), 3u);
  EXPECT_EQ(top[3].dump(), R"({"y":-1.0," b":-4.0})") << "of tokens spelled alike the likelier";
  EXPECT_EQ(top[4].dump(), R"({"y":-1.0,"c":-7.0})");
}

TEST(OpenAiReply, AnEchoHasTheLogProbabilitiesOfThePrompt) {
  const std::string request = R"({"prompt": "深 b", "echo": true, "logprobs": 2)";
  const Json whole = Json::parse(completion(request + "}", tell_scored))["choices"][0];
  expect_scored(whole["text"], whole["logprobs"]);
  EXPECT_EQ(whole["finish_reason"], "length");

  std::string text;
  Json logprobs = {{"tokens", Json::array()},
                   {"token_logprobs", Json::array()},
                   {"top_logprobs", Json::array()},
                   {"text_offset", Json::array()}};
  for (const auto& event : told_events(completion(request + R"(, "stream": true})", tell_scored))) {
    if (!event.data.is_object()) continue;
    const Json& choice = event.data["choices"][0];
    text += choice["text"].get<std::string>();
    for (auto& [name, list] : logprobs.items()) {
      if (!choice["logprobs"].is_object()) continue;
      const Json& more = choice["logprobs"][name];
      list.insert(list.end(), more.begin(), more.end());
    }
  }
  expect_scored(text, logprobs);
}

TEST(OpenAiReply, WithoutEchoTheTextBeginsWithTheAnswer) {
  const auto tell = [](ChatReader& reader) {
    reader.on_start({.model = "m"});
    reader.on_delta(
        0, {.text = "c", .logprobs = {{.chosen = {"c", -7}, .top = {{"y", -1}}, .characters = 1}}});
    reader.on_finish(0, ChatFinish::kStop, "");
    reader.on_end({});
  };
  const std::string body = completion(R"({"prompt": "a", "logprobs": 1})", tell);
  const Json choice = Json::parse(body)["choices"][0];
  EXPECT_EQ(choice["text"], "c");
  EXPECT_EQ(choice["logprobs"]["text_offset"].dump(), "[0]");
  EXPECT_EQ(choice["logprobs"]["top_logprobs"].dump(), R"([{"y":-1.0,"c":-7.0}])");
}

// Parts of characters are all spelled alike: of these, too, one name stands there, once.
TEST(OpenAiReply, PartsOfCharactersAreOneName) {
  const auto tell = [](ChatReader& reader) {
    reader.on_start({.model = "m"});
    reader.on_delta(0, {.text = "c",
                        .logprobs = {{.chosen = {"\xe6", -7},
                                      .top = {{"\xe5", -1}, {"\xe4", -2}, {"x", -3}},
                                      .characters = 1}}});
    reader.on_finish(0, ChatFinish::kStop, "");
    reader.on_end({});
  };
  const std::string body = completion(R"({"prompt": "a", "logprobs": 3})", tell);
  EXPECT_NE(body.find("\"top_logprobs\":[{\"\xEF\xBF\xBD\":-1.0,\"x\":-3.0}]"), body.npos) << body;
}

// A chat's list is exactly as long as was asked for.
TEST(OpenAiReply, AChatsLikeliestAreAsManyAsWereAskedFor) {
  const auto read = read_openai_chat(
      R"({"messages": [{"role": "user", "content": "x"}], "logprobs": true, "top_logprobs": 1})");
  ASSERT_TRUE(read);
  const std::string body = told(
      [&](auto exchange) { return make_openai_reply(*read, std::move(exchange)); },
      [](ChatReader& reader) {
        reader.on_start({.model = "m"});
        reader.on_delta(0, {.text = "c", .logprobs = {{.chosen = {"c", -7}, .top = {{"y", -1}}}}});
        reader.on_finish(0, ChatFinish::kStop, "");
        reader.on_end({});
      });
  const Json token = Json::parse(body)["choices"][0]["logprobs"]["content"][0];
  EXPECT_EQ(token["top_logprobs"].size(), 1u);
  EXPECT_EQ(token["top_logprobs"][0]["token"], "y");
}

TEST(OpenAiReply, ACutCallComesAsFarAsItGot) {
  for (const char* stream : {"false", "true"}) {
    const auto read = read_openai_chat(fmt::format(
        R"({{"messages": [{{"role": "user", "content": "x"}}], "stream": {}}})", stream));
    ASSERT_TRUE(read);
    const std::string body = told(
        [&](auto exchange) { return make_openai_reply(*read, std::move(exchange)); },
        [](ChatReader& reader) {
          reader.on_start({.model = "m"});
          reader.on_delta(0, {.calls = {{.name = "f", .arguments = R"({"x": "a)", .cut = true}}});
          reader.on_finish(0, ChatFinish::kLength, "");
          reader.on_end({});
        });
    EXPECT_NE(body.find(R"({"name":"f","arguments":"{\"x\": \"a"})"), body.npos) << body;
    EXPECT_NE(body.find(R"("finish_reason":"length")"), body.npos) << body;
  }
}

}  // namespace
}  // namespace hadal
