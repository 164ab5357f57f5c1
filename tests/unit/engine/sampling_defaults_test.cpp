#include "engine/sampling_defaults.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

Metadata metadata(Dialect dialect, std::vector<std::pair<std::string, MetadataValue>> values) {
  Metadata result("test", dialect);
  for (auto& [key, value] : values) EXPECT_TRUE(result.insert(key, std::move(value)));
  return result;
}

TEST(SamplingDefaults, NothingStatedIsTheRecommendation) {
  for (const Dialect dialect : {Dialect::kGguf, Dialect::kHuggingFace}) {
    const SamplingOptions options = sampling_defaults(metadata(dialect, {}));
    EXPECT_EQ(options.temperature, 0.6f);
    EXPECT_EQ(options.top_p, 0.95f);
    EXPECT_EQ(options.top_k, 0u);
  }
}

TEST(SamplingDefaults, AGgufSaysItItsWay) {
  const SamplingOptions options =
      sampling_defaults(metadata(Dialect::kGguf, {{"general.sampling.temp", 0.7},
                                                  {"general.sampling.top_k", int64_t{20}},
                                                  {"general.sampling.top_p", 0.8},
                                                  {"general.sampling.min_p", 0.05},
                                                  {"general.sampling.penalty_repeat", 1.05}}));
  EXPECT_EQ(options.temperature, 0.7f);
  EXPECT_EQ(options.top_k, 20u);
  EXPECT_EQ(options.top_p, 0.8f);
  EXPECT_EQ(options.min_p, 0.05f);
  EXPECT_EQ(options.repetition_penalty, 1.05f);
}

TEST(SamplingDefaults, AFolderSaysItItsWay) {
  const SamplingOptions options =
      sampling_defaults(metadata(Dialect::kHuggingFace, {{"generation.do_sample", true},
                                                         {"generation.temperature", uint64_t{1}},
                                                         {"generation.top_k", uint64_t{50}},
                                                         {"generation.top_p", 1.0},
                                                         {"generation.repetition_penalty", 1.1}}));
  EXPECT_EQ(options.temperature, 1.0f);
  EXPECT_EQ(options.top_k, 50u);
  EXPECT_EQ(options.top_p, 1.0f);
  EXPECT_EQ(options.repetition_penalty, 1.1f);
}

TEST(SamplingDefaults, NotSamplingIsGreedyUnlessATemperatureIsStated) {
  EXPECT_EQ(sampling_defaults(metadata(Dialect::kHuggingFace, {{"generation.do_sample", false}}))
                .temperature,
            0.0f);
  EXPECT_EQ(sampling_defaults(metadata(Dialect::kHuggingFace, {{"generation.do_sample", false},
                                                               {"generation.temperature", 0.6}}))
                .temperature,
            0.6f);
}

TEST(SamplingDefaults, NonsenseIsPassedOver) {
  const SamplingOptions options = sampling_defaults(
      metadata(Dialect::kHuggingFace, {{"generation.temperature", -3.0},
                                       {"generation.top_k", 1e20},
                                       {"generation.top_p", std::string_view("much")},
                                       {"generation.min_p", 1.5},
                                       {"generation.repetition_penalty", 0.0}}));
  EXPECT_EQ(options.temperature, 0.6f);
  EXPECT_EQ(options.top_k, 0u);
  EXPECT_EQ(options.top_p, 0.95f);
  EXPECT_EQ(options.min_p, 0.0f);
  EXPECT_EQ(options.repetition_penalty, 1.0f);
}

TEST(GenerationEndTokens, OneOrSeveral) {
  EXPECT_TRUE(generation_end_tokens(metadata(Dialect::kHuggingFace, {})).empty());
  EXPECT_EQ(generation_end_tokens(
                metadata(Dialect::kHuggingFace, {{"generation.eos_token_id", uint64_t{7}}})),
            (std::vector<TokenId>{7}));
  EXPECT_EQ(generation_end_tokens(metadata(
                Dialect::kHuggingFace,
                {{"generation.eos_token_id", MetadataArray(std::vector<int64_t>{7, -1, 9})}})),
            (std::vector<TokenId>{7, 9}));
}

}  // namespace
}  // namespace hadal
