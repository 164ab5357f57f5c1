#include "model/rope_frequencies.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace hadal {
namespace {

TEST(RopeFrequencies, FallFromOneByEqualRatios) {
  const auto rope = rope_frequencies({.rotated_width = 8, .base = 10000});
  EXPECT_EQ(rope.frequencies, (std::vector<float>{1.0f, 0.1f, 0.01f, 0.001f}));
  EXPECT_EQ(rope.magnitude, 1.0f);
}

TEST(RopeFrequencies, LinearDividesAll) {
  const auto rope = rope_frequencies({.rotated_width = 4,
                                      .base = 100,
                                      .scaling = {.kind = RopeScalingKind::kLinear, .factor = 4}});
  EXPECT_EQ(rope.frequencies, (std::vector<float>{0.25f, 0.025f}));
}

TEST(RopeFrequencies, DivisorsDivideEachPair) {
  const auto rope = rope_frequencies({.rotated_width = 4, .base = 100, .divisors = {1.0f, 8.0f}});
  EXPECT_EQ(rope.frequencies, (std::vector<float>{1.0f, 0.0125f}));
}

// Llama 3.1: wavelengths above 8192 tokens are stretched eightfold, those below 2048 stay, between
// them the two are blended by how many turns fit into the original context.
TEST(RopeFrequencies, Llama3StretchesLongWavesAlone) {
  const RopeSettings plain = {.rotated_width = 128, .base = 500000};
  RopeSettings scaled = plain;
  scaled.scaling = {.kind = RopeScalingKind::kLlama3,
                    .factor = 8,
                    .original_context = 8192,
                    .low_frequency_factor = 1,
                    .high_frequency_factor = 4};
  const auto before = rope_frequencies(plain).frequencies;
  const auto after = rope_frequencies(scaled).frequencies;
  int kept = 0, blended = 0, stretched = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const double wavelength = 2 * M_PI / before[i];
    if (wavelength < 2048) {
      EXPECT_EQ(after[i], before[i]) << i;
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_FLOAT_EQ(after[i], before[i] / 8) << i;
      ++stretched;
    } else {
      const double part = (8192 / wavelength - 1) / 3;
      EXPECT_NEAR(after[i], before[i] * (part + (1 - part) / 8), 1e-9) << i;
      ++blended;
    }
  }
  EXPECT_GT(kept, 20);
  EXPECT_GT(blended, 3);
  EXPECT_GT(stretched, 20);
}

RopeSettings yarn(uint32_t width, double base, uint32_t original_context) {
  return {.rotated_width = width,
          .base = base,
          .scaling = {
              .kind = RopeScalingKind::kYarn, .factor = 4, .original_context = original_context}};
}

// R1-0528-Qwen3-8B: the borders lie at 128 ln(32768 / (2 pi 32)) / (2 ln 10^6) = 23.6 and, for one
// turn, 39.6; widened to whole pairs, 23 and 40.
TEST(RopeFrequencies, YarnBlendsBetweenItsBorders) {
  const auto scaled = rope_frequencies(yarn(128, 1e6, 32768)).frequencies;
  const auto plain = rope_frequencies({.rotated_width = 128, .base = 1e6}).frequencies;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double stretched = i <= 23 ? 0 : i >= 40 ? 1 : (i - 23.0) / 17;
    EXPECT_NEAR(scaled[i] / plain[i], 1 - stretched * 0.75, 1e-6) << i;
  }
}

TEST(RopeFrequencies, YarnsBordersMayStayBetweenPairs) {
  RopeSettings settings = yarn(128, 1e6, 32768);
  settings.scaling.truncate = false;
  const auto scaled = rope_frequencies(settings).frequencies;
  const auto plain = rope_frequencies({.rotated_width = 128, .base = 1e6}).frequencies;
  const double first = 64 * std::log(32768 / (2 * M_PI * 32)) / std::log(1e6);
  const double last = 64 * std::log(32768 / (2 * M_PI)) / std::log(1e6);
  EXPECT_NEAR(scaled[30] / plain[30], 1 - (30 - first) / (last - first) * 0.75, 1e-6);
  EXPECT_EQ(scaled[23], plain[23]);
}

TEST(RopeFrequencies, YarnsMagnitude) {
  RopeSettings settings = yarn(128, 1e6, 32768);
  const float own = static_cast<float>(0.1 * std::log(4.0) + 1);
  EXPECT_EQ(rope_frequencies(settings).magnitude, own);
  settings.scaling.attn_factor = 0.8782488562869419;  // R1-0528-Qwen3-8B
  EXPECT_NEAR(rope_frequencies(settings).magnitude, 1.0, 1e-7);
  settings.scaling.attention_factor = 1.25;  // given: nothing else counts
  EXPECT_EQ(rope_frequencies(settings).magnitude, 1.25f);
  settings = yarn(128, 1e6, 32768);
  settings.scaling.mscale = 0.707;
  settings.scaling.mscale_all_dimensions = 1.0;
  EXPECT_NEAR(rope_frequencies(settings).magnitude,
              (0.0707 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1), 1e-6);
}

// One token of original context: the borders leave the pairs on both sides, nothing may become NaN.
TEST(RopeFrequencies, YarnOfAbsurdContextsStaysFinite) {
  for (const uint32_t context : {1u, 2u, 100u, 1u << 30}) {
    for (const uint32_t width : {2u, 4u, 128u}) {
      for (const double base : {1.000001, 10000.0, 1e15}) {
        for (const float frequency : rope_frequencies(yarn(width, base, context)).frequencies) {
          EXPECT_TRUE(std::isfinite(frequency) && frequency >= 0) << context << " " << width;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hadal
