// How fast each pair of a head's values turns with the position (rotary embedding, arXiv
// 2104.09864), and how models stretch that beyond the context they were first trained on: linear
// (position interpolation, arXiv 2306.15595), Llama 3 (as the model's reference code does it), YaRN
// (arXiv 2309.00071).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace hadal {

enum class RopeScalingKind : uint8_t { kNone, kLinear, kLlama3, kYarn };

struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1;              // >= 1: how many times longer the context becomes
  uint32_t original_context = 0;  // kLlama3, kYarn: tokens before the stretch
  // kLlama3: wavelengths above original_context / low are stretched, those below / high stay.
  double low_frequency_factor = 1, high_frequency_factor = 4;
  // kYarn: turns within the original context above which a pair stays, below which it is stretched.
  double beta_fast = 32, beta_slow = 1;
  bool truncate = true;  // kYarn: the two borders are widened to whole pairs
  // kYarn, what cos and sin are multiplied by: attention_factor where it is given, else
  // magnitude(mscale) / magnitude(mscale_all_dimensions), or magnitude(1) where those are not
  // given, times attn_factor; magnitude(m) = 0.1 m ln(factor) + 1.
  std::optional<double> attention_factor, mscale, mscale_all_dimensions;
  double attn_factor = 1;

  bool operator==(const RopeScaling&) const = default;
};

struct RopeSettings {
  uint32_t rotated_width = 0;  // values of a head that turn, even
  double base = 10000;         // > 1
  RopeScaling scaling;
  std::vector<float> divisors;  // [rotated_width / 2] (GGUF's rope_freqs.weight), or empty

  bool operator==(const RopeSettings&) const = default;
};

struct RopeFrequencies {
  std::vector<float> frequencies;  // [rotated_width / 2], radians a position
  float magnitude = 1.0f;          // of cos and sin
};

RopeFrequencies rope_frequencies(const RopeSettings& settings);

// magnitude(m) of a scaling (RopeScaling): 0.1 m ln(factor) + 1.
double rope_magnitude(const RopeScaling& scaling, double m);

}  // namespace hadal
