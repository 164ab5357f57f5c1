#include "eval/perplexity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "device/registry.h"

namespace hadal {
namespace {

std::filesystem::path data() {
  return HADAL_TEST_DATA;
}

class PerplexityTest : public testing::Test {
 protected:
  void SetUp() override {
    auto file = ModelFile::open(data() / "models/stories260K.gguf");
    ASSERT_TRUE(file) << file.error().message;
    auto tokenizer = Tokenizer::open(**file);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    tokenizer_ = std::move(*tokenizer);
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::move(*open_device({.name = "reference", .threads = 2})));
    auto engine = Engine::open(std::move(*file), std::move(devices), {.step_tokens_max = 48});
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = std::move(*engine);
  }

  // -ln p of each token behind the first, by the definition.
  std::vector<double> surprises(const std::vector<TokenId>& tokens) {
    std::vector<double> result;
    EXPECT_TRUE(engine_->score(tokens, [&](uint32_t position, std::span<const float> logits) {
      if (position + 1 == tokens.size()) return false;
      double sum = 0;
      for (const float logit : logits) sum += std::exp(double{logit});
      result.push_back(std::log(sum) - double{logits[static_cast<size_t>(tokens[position + 1])]});
      return true;
    }));
    return result;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
};

constexpr std::string_view kText =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high. Lily's mom "
    "said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She said, "
    "\"I want to play with your ball, but I can't find it.\"";

TEST_F(PerplexityTest, IsTheDefinition) {
  ASSERT_TRUE(tokenizer_->adds_bos());
  auto tokens = tokenizer_->encode(kText, SpecialTokens::kAsText);
  ASSERT_TRUE(tokens);
  tokens->insert(tokens->begin(), *tokenizer_->bos());
  constexpr uint32_t kChunk = 33;
  const size_t chunks = tokens->size() / kChunk;
  ASSERT_GT(chunks, 2u);
  double sum = 0;
  uint64_t count = 0;
  for (size_t i = 0; i < chunks; ++i) {
    const auto begin = tokens->begin() + static_cast<ptrdiff_t>(i * kChunk);
    std::vector<TokenId> chunk(begin, begin + kChunk);
    chunk[0] = *tokenizer_->bos();
    const std::vector<double> all = surprises(chunk);
    ASSERT_EQ(all.size(), kChunk - 1);
    for (size_t position = kChunk / 2; position < all.size(); ++position) {
      sum += all[position];
      ++count;
    }
  }
  std::vector<PerplexityProgress> progress;
  const auto result = measure_perplexity(
      *engine_, *tokenizer_, kText,
      {.chunk_tokens = kChunk,
       .progress = [&](const PerplexityProgress& each) { progress.push_back(each); }});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->chunks, chunks);
  EXPECT_EQ(result->tokens, count);
  EXPECT_NEAR(result->perplexity, std::exp(sum / static_cast<double>(count)), 1e-4);
  EXPECT_GT(result->perplexity, 1.5);
  EXPECT_LT(result->perplexity, 12);  // the model knows such stories; chance is 512
  EXPECT_GT(result->seconds, 0);
  ASSERT_EQ(progress.size(), chunks);
  EXPECT_EQ(progress.back().chunks_done, chunks);
  EXPECT_EQ(progress.back().perplexity, result->perplexity);
}

TEST_F(PerplexityTest, RefusesWhatItCannotScore) {
  const auto error = [&](std::string_view text, uint32_t chunk) {
    const auto result = measure_perplexity(*engine_, *tokenizer_, text, {.chunk_tokens = chunk});
    return result ? std::string("measured") : result.error().message;
  };
  EXPECT_NE(error("Too short.", 64).find("one chunk is 64"), std::string::npos);
  EXPECT_NE(error("", 64).find("too few"), std::string::npos);
  EXPECT_NE(error(kText, 3).find("chunks of 3"), std::string::npos);
  EXPECT_NE(error(kText, 100000).find("chunks of 100000"), std::string::npos);
  EXPECT_EQ(error(kText, 4), "measured");
}

TEST_F(PerplexityTest, LogitsAreTheGoldenOnes) {
  std::vector<TokenId> tokens;
  std::ifstream list(data() / "golden/stories260K/tokens.txt");
  for (TokenId token; list >> token;) tokens.push_back(token);
  ASSERT_FALSE(tokens.empty());
  const auto path =
      std::filesystem::path(testing::TempDir()) / ("logits_" + std::to_string(getpid()) + ".npy");
  const Status status = write_logits(*engine_, tokens, path);
  ASSERT_TRUE(status) << status.error().message;

  const auto floats = [](const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    const std::string bytes = text.str();
    const size_t header = bytes.size() < 10 ? 0
                                            : 10 + static_cast<unsigned char>(bytes[8]) +
                                                  256 * static_cast<unsigned char>(bytes[9]);
    std::vector<float> values((bytes.size() - header) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + header, values.size() * sizeof(float));
    return values;
  };
  const std::vector<float> found = floats(path);
  const std::vector<float> golden = floats(data() / "golden/stories260K/logits.npy");
  std::filesystem::remove(path);
  ASSERT_EQ(found.size(), tokens.size() * engine_->info().vocabulary);
  // The golden may leave out the last tokens' rows.
  ASSERT_GE(found.size(), golden.size());
  ASSERT_FALSE(golden.empty());
  float worst = 0;
  for (size_t i = 0; i < golden.size(); ++i)
    worst = std::max(worst, std::abs(found[i] - golden[i]));
  EXPECT_LT(worst, 0.05f);
}

TEST_F(PerplexityTest, LogitsOfNothingAreAnError) {
  EXPECT_FALSE(write_logits(*engine_, {}, "unused.npy"));
  const std::vector<TokenId> unknown = {1, 100000};
  const auto path = std::filesystem::path(testing::TempDir()) / "unknown_token.npy";
  const Status status = write_logits(*engine_, unknown, path);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("100000"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace hadal
