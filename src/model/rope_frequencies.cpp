#include "model/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace hadal {
namespace {

double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double turns = scaling.original_context / wavelength;  // within the original context
  if (turns > scaling.high_frequency_factor) return frequency;
  if (turns < scaling.low_frequency_factor) return frequency / scaling.factor;
  const double unstretched = (turns - scaling.low_frequency_factor) /
                             (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - unstretched) * frequency / scaling.factor + unstretched * frequency;
}

// The pairs between which YaRN blends from "stays" to "stretched".
struct YarnRamp {
  double first, last;
  // 0: the pair keeps its frequency; 1: it is divided by the factor.
  double at(uint32_t pair) const {
    // The paper leaves an empty ramp open; the published implementations widen it by a thousandth.
    const double length = std::max(last - first, 0.001);
    return std::clamp((pair - first) / length, 0.0, 1.0);
  }
};

YarnRamp yarn_ramp(const RopeSettings& settings) {
  const RopeScaling& scaling = settings.scaling;
  // The (fractional) pair that makes `turns` turns within the original context: the paper's
  // equation for the wavelength of a pair, solved for the pair.
  const auto pair_of = [&](double turns) {
    return settings.rotated_width *
           std::log(scaling.original_context / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(settings.base));
  };
  YarnRamp ramp{pair_of(scaling.beta_fast), pair_of(scaling.beta_slow)};
  if (scaling.truncate) ramp = {std::floor(ramp.first), std::ceil(ramp.last)};
  return {std::max(ramp.first, 0.0), std::min(ramp.last, settings.rotated_width - 1.0)};
}

double yarn_magnitude(const RopeScaling& scaling) {
  if (scaling.attention_factor) return *scaling.attention_factor;
  const auto magnitude = [&](double m) { return rope_magnitude(scaling, m); };
  const double ratio = scaling.mscale && scaling.mscale_all_dimensions
                           ? magnitude(*scaling.mscale) / magnitude(*scaling.mscale_all_dimensions)
                           : magnitude(1);
  return ratio * scaling.attn_factor;
}

}  // namespace

double rope_magnitude(const RopeScaling& scaling, double m) {
  return 0.1 * m * std::log(scaling.factor) + 1;
}

RopeFrequencies rope_frequencies(const RopeSettings& settings) {
  const uint32_t pairs = settings.rotated_width / 2;
  CHECK(settings.divisors.empty() || settings.divisors.size() == pairs);
  const RopeScaling& scaling = settings.scaling;
  const YarnRamp ramp =
      scaling.kind == RopeScalingKind::kYarn ? yarn_ramp(settings) : YarnRamp{0, 0};

  RopeFrequencies result;
  result.frequencies.reserve(pairs);
  for (uint32_t pair = 0; pair < pairs; ++pair) {
    double frequency = std::pow(settings.base, -2.0 * pair / settings.rotated_width);
    if (!settings.divisors.empty()) frequency /= settings.divisors[pair];
    switch (scaling.kind) {
      case RopeScalingKind::kNone:
        break;
      case RopeScalingKind::kLinear:
        frequency /= scaling.factor;
        break;
      case RopeScalingKind::kLlama3:
        frequency = llama3_frequency(frequency, scaling);
        break;
      case RopeScalingKind::kYarn: {
        const double stretched = ramp.at(pair);
        frequency = stretched * frequency / scaling.factor + (1 - stretched) * frequency;
        break;
      }
    }
    result.frequencies.push_back(static_cast<float>(frequency));
  }
  if (scaling.kind == RopeScalingKind::kYarn) {
    result.magnitude = static_cast<float>(yarn_magnitude(scaling));
  }
  return result;
}

}  // namespace hadal
