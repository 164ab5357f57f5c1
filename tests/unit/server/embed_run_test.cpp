// Requests for embeddings together with the pool and an engine thread, on a tiny real model.
#include "server/chat/embed_run.h"

#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <future>
#include <thread>

#include "base/json.h"
#include "base/utf8.h"
#include "device/registry.h"
#include "file/model_file.h"
#include "server/chat/job_prompt.h"

namespace hadal {
namespace {

constexpr const char* kModel = HADAL_TEST_DATA "/models/stories260K.gguf";
constexpr uint32_t kContext = 256;

Result<OpenedModel> open_tiny(const ModelEntry& entry) {
  HADAL_TRY(auto device, open_device({.name = "reference", .threads = 1}));
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(device));
  GeneratorOptions options;
  options.engine = {
      .context_tokens = kContext, .sequences_max = 3, .embeddings = entry.name != "chat"};
  HADAL_TRY(auto generator, Generator::open(entry.path, std::move(devices), options));
  return OpenedModel{.generator = std::move(generator), .sampling = {.temperature = 0}};
}

// Counts what the engine tells of.
struct Watch : AnswerWatch {
  void on_first(std::string_view, double) override {}
  void on_next(std::string_view, double) override {}
  void on_finish(const FinishedAnswer& answer) override {
    ++finished;
    tokens += answer.usage.prompt_tokens;
    key = answer.fairness_key;
  }
  std::atomic<uint32_t> finished = 0, tokens = 0;
  std::atomic<uint64_t> key = 0;
};

class EmbedRuns : public testing::Test {
 protected:
  EmbedRuns() : watch_(std::make_shared<Watch>()), pool_(options(watch_)) {}

  static ModelPoolOptions options(std::shared_ptr<AnswerWatch> watch) {
    ModelPoolOptions options;
    options.models = {{.name = "tiny", .path = kModel}, {.name = "chat", .path = kModel}};
    options.default_model = "tiny";
    options.open = open_tiny;
    options.answers_max = 4;
    options.watch = std::move(watch);
    return options;
  }

  RequestResult<Embeddings> embed(EmbedJob job) {
    std::promise<RequestResult<Embeddings>> promise;
    EmbedRun::start(pool_, std::move(job),
                    [&](RequestResult<Embeddings> made) { promise.set_value(std::move(made)); });
    return promise.get_future().get();
  }
  static EmbedJob job(std::vector<PromptText> inputs) {
    EmbedJob job;
    job.inputs = std::move(inputs);
    return job;
  }
  bool becomes_idle() {
    for (int i = 0; i < 6000; ++i) {
      if (pool_.find("tiny")->answers == 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  std::shared_ptr<Watch> watch_;
  ModelPool pool_;
};

std::vector<float> numbers(const std::string& vector) {
  return nlohmann::json::parse(vector).get<std::vector<float>>();
}
double length(const std::vector<float>& vector) {
  double square = 0;
  for (const float value : vector) square += double{value} * value;
  return std::sqrt(square);
}

TEST_F(EmbedRuns, OneTextAmongManyIsAsAlone) {
  std::vector<PromptText> texts;
  for (int i = 0; i < 20; ++i) texts.emplace_back(std::string("a") + std::string(i, 'b'));
  EmbedJob many = job(texts);
  many.cache_salt = 9;
  const auto together = embed(many);
  ASSERT_TRUE(together) << together.error().message;
  ASSERT_EQ(together->vectors.size(), 20u);
  EXPECT_EQ(together->model, "tiny");
  EXPECT_EQ(watch_->finished, 20u);
  EXPECT_EQ(watch_->tokens, together->tokens);
  EXPECT_EQ(watch_->key, 9u);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto alone = embed(job({texts[i]}));
    ASSERT_TRUE(alone);
    EXPECT_EQ(alone->vectors[0], together->vectors[i]) << "on the reference device bit for bit";
    EXPECT_NEAR(length(numbers(alone->vectors[0])), 1, 1e-6);
    EXPECT_EQ(numbers(alone->vectors[0]).size(), 64u);
  }
  EXPECT_NE(together->vectors[1], together->vectors[2]);
  EXPECT_TRUE(becomes_idle());
}

TEST_F(EmbedRuns, TokensAreTheText) {
  const auto text = embed(job({"Once upon a time"}));
  ASSERT_TRUE(text);
  std::vector<TokenId> tokens;
  pool_.acquire("tiny", [&](RequestResult<ModelLease> lease) {
    tokens = std::as_const(**lease).generator().raw_prompt("Once upon a time")->tokens;
  });
  EmbedJob same = job({tokens});
  same.unit_length = false;
  const auto raw = embed(same);
  ASSERT_TRUE(raw);
  EXPECT_EQ(raw->tokens, text->tokens);
  const auto scaled = numbers(text->vectors[0]), mean = numbers(raw->vectors[0]);
  ASSERT_GT(length(mean), 1.5) << "as the model gives it";
  for (size_t i = 0; i < mean.size(); ++i) {
    EXPECT_NEAR(scaled[i] * length(mean), mean[i], 1e-5);
  }
}

TEST_F(EmbedRuns, TooLongIsAnErrorOrCut) {
  EmbedJob longer = job({"short", std::string(1000, 'x')});
  const auto refused = embed(longer);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kTooLong);
  EXPECT_EQ(refused.error().context_tokens, kContext);
  EXPECT_GT(refused.error().prompt_tokens, kContext);
  longer.truncate = true;
  const auto cut = embed(longer);
  ASSERT_TRUE(cut) << cut.error().message;
  EXPECT_EQ(cut->truncated, std::vector<uint32_t>{1});
  longer.context_most = 10;
  EXPECT_LT(embed(longer)->tokens, cut->tokens);
  longer.context_most = kContext + 1;
  EXPECT_EQ(embed(longer).error().field, "num_ctx");
  EXPECT_TRUE(becomes_idle());
}

// Of what is cut only the beginning is tokenized.
TEST_F(EmbedRuns, ABeginningIsEnough) {
  const auto file = ModelFile::open(kModel).value();
  const auto tokenizer = Tokenizer::open(*file).value();
  for (const std::string piece : {"word ", "我", "xyz\n"}) {
    std::string text;
    while (text.size() < (8 << 20)) text += piece;
    for (const uint32_t enough : {1u, 1000u}) {
      const size_t bytes = beginning_to_count(*tokenizer, text, enough);
      EXPECT_LT(bytes, 256 * (enough + 1));
      const std::string beginning = text.substr(0, bytes);
      EXPECT_TRUE(is_utf8(beginning));
      EXPECT_GE(tokenizer->encode(beginning, SpecialTokens::kAsText)->size(), enough);
    }
  }
  EXPECT_EQ(beginning_to_count(*tokenizer, "short", 1000), 5u);
  EXPECT_EQ(beginning_to_count(*tokenizer, "", 0), 0u);

  EmbedJob small = job({std::string(100'000, 'x')}), large = job({std::string(8 << 20, 'x')});
  small.truncate = large.truncate = true;
  const auto expected = embed(small), found = embed(large);
  ASSERT_TRUE(expected && found);
  EXPECT_EQ(found->vectors, expected->vectors);
  EXPECT_EQ(found->truncated, std::vector<uint32_t>{0});
}

TEST_F(EmbedRuns, WhatCannotBeIsRefused) {
  EmbedJob other = job({"x"});
  other.model = "other";
  EXPECT_EQ(embed(other).error().kind, ErrorKind::kNotFound);
  other.model = "chat";
  EXPECT_EQ(embed(other).error().kind, ErrorKind::kUnsupported);
  EmbedJob shorter = job({"x"});
  shorter.dimensions = 63;
  EXPECT_EQ(embed(shorter).error().field, "dimensions");
  shorter.dimensions = 64;
  EXPECT_TRUE(embed(shorter));
  EXPECT_EQ(embed(job({std::vector<TokenId>{1, 1 << 30}})).error().field, "input");
  const std::vector<TokenId> long_text(200, 1);
  const auto tokens = embed(job(std::vector<PromptText>(2000, long_text)));
  ASSERT_FALSE(tokens);
  EXPECT_NE(tokens.error().message.find("300000 tokens"), std::string::npos);
  const auto values = embed(job(std::vector<PromptText>(70'000, "x")));
  ASSERT_FALSE(values);
  EXPECT_NE(values.error().message.find("only 65536"), std::string::npos);
  EXPECT_EQ(watch_->finished, 1u) << "refused before anything is computed";
  EXPECT_TRUE(becomes_idle());
}

TEST_F(EmbedRuns, NothingToSayOnlyLoads) {
  const auto loaded = embed(job({}));
  ASSERT_TRUE(loaded);
  EXPECT_TRUE(loaded->vectors.empty());
  EXPECT_TRUE(becomes_idle());
}

TEST_F(EmbedRuns, WhoLeavesFreesTheirPlaces) {
  for (int i = 0; i < 10; ++i) {
    std::vector<PromptText> texts(500, "Once upon a time");
    const auto run = EmbedRun::start(pool_, job(texts), [](const auto&) {});
    run->cancel();
  }
  EXPECT_TRUE(becomes_idle());
  EXPECT_LT(watch_->finished, 5000u);
}

TEST_F(EmbedRuns, AFullQueueIsToldSo) {
  std::vector<PromptText> texts(2000, "Once upon a time");
  auto first = EmbedRun::start(pool_, job(texts), [](const auto&) {});
  while (pool_.find("tiny")->answers == 0) std::this_thread::yield();
  const auto second = embed(job({"a", "b"}));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::kOverloaded);
  EXPECT_GT(second.error().retry_after_seconds, 0u);
  first->cancel();
  first.reset();
  EXPECT_TRUE(becomes_idle());
}

}  // namespace
}  // namespace hadal
