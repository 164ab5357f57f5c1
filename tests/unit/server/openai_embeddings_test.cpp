#include "server/dialects/openai_embeddings.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace hadal {
namespace {

RequestResult<EmbedJob> read_input(const std::string& input) {
  return read_openai_embeddings(fmt::format(R"({{"model": "m", "input": {}}})", input));
}

TEST(OpenAiEmbeddings, ReadsTheFourFormsOfInput) {
  using Tokens = std::vector<TokenId>;
  const auto text = read_input(R"("你好")");
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(text->model, "m");
  EXPECT_EQ(text->inputs, std::vector<PromptText>{"你好"});
  EXPECT_TRUE(text->unit_length);
  EXPECT_FALSE(text->truncate);
  EXPECT_EQ(read_input(R"(["a", "b"])")->inputs, (std::vector<PromptText>{"a", "b"}));
  EXPECT_EQ(read_input("[1, 2]")->inputs, (std::vector<PromptText>{Tokens{1, 2}}));
  EXPECT_EQ(read_input("[[1, 2], [3]]")->inputs,
            (std::vector<PromptText>{Tokens{1, 2}, Tokens{3}}));
}

TEST(OpenAiEmbeddings, WhatIsNoInputIsRefused) {
  for (const char* input :
       {"\"\"", "[]", "[\"\"]", "[\"a\", 1]", "[[]]", "[1, \"a\"]", "[-1]", "[1.5]", "[[1, \"a\"]]",
        "[[[1]]]", "3", "{}", "null", "[4294967296]"}) {
    const auto read = read_input(input);
    ASSERT_FALSE(read) << input;
    EXPECT_EQ(read.error().field, "input") << input;
  }
  EXPECT_TRUE(read_input(nlohmann::json(std::vector<std::string>(2048, "a")).dump()));
  EXPECT_FALSE(read_input(nlohmann::json(std::vector<std::string>(2049, "a")).dump()));
}

TEST(OpenAiEmbeddings, FieldsHaveTheirBounds) {
  const auto with = [](const char* field, const char* value) {
    return read_openai_embeddings(fmt::format(R"({{"input": "a", "{}": {}}})", field, value));
  };
  EXPECT_EQ(with("dimensions", "64")->dimensions, 64u);
  EXPECT_EQ(with("encoding_format", "\"base64\"")->form, VectorForm::kBase64);
  EXPECT_EQ(with("encoding_format", "\"float\"")->form, VectorForm::kNumbers);
  EXPECT_TRUE(with("user", "\"me\""));
  const std::pair<const char*, const char*> kBad[] = {{"dimensions", "0"},
                                                      {"dimensions", "1.5"},
                                                      {"dimensions", "1048577"},
                                                      {"dimensions", "\"1\""},
                                                      {"encoding_format", "\"int8\""},
                                                      {"encoding_format", "1"},
                                                      {"user", "1"},
                                                      {"truncate", "true"},
                                                      {"model", "1"}};
  for (const auto& [field, value] : kBad) {
    const auto read = with(field, value);
    ASSERT_FALSE(read) << field << ' ' << value;
    EXPECT_EQ(read.error().field, field);
  }
}

TEST(OpenAiEmbeddings, TheBody) {
  const std::vector<float> vector = {0.1f, -1e-7f, 1.0f};
  const auto body = nlohmann::json::parse(
      openai_embeddings_body({.model = "a \"model\"",
                              .vectors = {vector_json(vector, VectorForm::kNumbers),
                                          vector_json(vector, VectorForm::kBase64)},
                              .tokens = 7,
                              .truncated = {}}));
  EXPECT_EQ(body["object"], "list");
  EXPECT_EQ(body["model"], "a \"model\"");
  EXPECT_EQ(body["usage"]["prompt_tokens"], 7);
  EXPECT_EQ(body["usage"]["total_tokens"], 7);
  EXPECT_EQ(body["data"][1]["index"], 1);
  EXPECT_EQ(body["data"][0]["object"], "embedding");
  EXPECT_EQ(body["data"][0]["embedding"].get<std::vector<float>>(), vector);
  EXPECT_EQ(body["data"][1]["embedding"], "zczMPZW/1rMAAIA/");  // struct.pack("<3f", ...) in Python
}

}  // namespace
}  // namespace hadal
