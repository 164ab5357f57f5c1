#include "server/dialects/ollama_embed.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(OllamaEmbed, ReadsARequest) {
  const auto request = read_ollama_embed(
      R"({"model": "m:latest", "input": ["a", "b"], "truncate": true, "dimensions": 64,
          "keep_alive": "5m", "options": {"num_ctx": 99, "temperature": 0, "num_thread": 3}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->job.model, "m:latest");
  EXPECT_EQ(request->job.inputs, (std::vector<PromptText>{"a", "b"}));
  EXPECT_TRUE(request->job.truncate);
  EXPECT_TRUE(request->job.unit_length);
  EXPECT_EQ(request->job.dimensions, 64u);
  EXPECT_EQ(request->job.context_most, 99u);
  EXPECT_EQ(request->keep_alive, KeepAlive(std::chrono::minutes(5)));
  EXPECT_FALSE(read_ollama_embed(R"({"model": "m", "input": "a"})")->job.truncate);
  for (const char* nothing :
       {R"({"model": "m"})", R"({"model": "m", "input": ""})", R"({"model": "m", "input": []})"}) {
    EXPECT_TRUE(read_ollama_embed(nothing)->job.inputs.empty()) << "it only loads";
  }
  const auto older = read_ollama_embeddings(R"({"model": "m", "prompt": "a"})");
  ASSERT_TRUE(older) << older.error().message;
  EXPECT_EQ(older->job.inputs, std::vector<PromptText>{"a"});
  EXPECT_FALSE(older->job.unit_length);
}

TEST(OllamaEmbed, WhatCannotBeHonouredIsRefusedByName) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"model": "m", "input": [""]})", "input"},
      {R"({"model": "m", "input": [1]})", "input"},
      {R"({"model": "m", "input": 1})", "input"},
      {R"({"model": "m", "prompt": "a"})", "prompt"},
      {R"({"model": "m", "input": "a", "truncate": 1})", "truncate"},
      {R"({"model": "m", "input": "a", "options": {"unheard": 1}})", "options.unheard"},
      {R"({"model": "m", "input": "a", "keep_alive": "soon"})", "keep_alive"},
      {R"({"input": "a"})", "model"},
  };
  for (const auto& [body, field] : kCases) {
    const auto request = read_ollama_embed(body);
    ASSERT_FALSE(request) << body;
    EXPECT_EQ(request.error().field, field);
  }
  Json many = {{"model", "m"}, {"input", std::vector<std::string>(2049, "a")}};
  EXPECT_EQ(read_ollama_embed(many.dump()).error().field, "input");
}

TEST(OllamaEmbed, TheBodies) {
  const Embeddings made{.model = "m",
                        .vectors = {"[1,2]", "[3,4]"},
                        .tokens = 7,
                        .truncated = {1},
                        .load_seconds = 0.25};
  EXPECT_EQ(ollama_embed_body({}, "m:latest", made, 0.5),
            R"({"model":"m:latest","embeddings":[[1,2],[3,4]],"total_duration":500000000,)"
            R"("load_duration":250000000,"prompt_eval_count":7,"truncated":[1]})");
  OllamaEmbedRequest older;
  older.single = true;
  EXPECT_EQ(ollama_embed_body(older, "m", made, 0.5), R"({"embedding":[1,2]})");
  EXPECT_EQ(ollama_embed_body(older, "m", {}, 0.5), R"({"embedding":[]})");
  EXPECT_EQ(ollama_embed_body({}, "m", {}, 0),
            R"({"model":"m","embeddings":[],)"
            R"("total_duration":0,"load_duration":0,"prompt_eval_count":0})");
}

}  // namespace
}  // namespace hadal
