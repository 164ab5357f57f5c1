// The list of op cases: every op, on every format, at odd shapes. A case runs on any device; what
// it must give is also computed here, in double, from the ops' definitions alone (device/ops.h) and
// the formats' decodes, by code that shares nothing with a device.
//
// An output is judged against a scale of its own: the size of what was summed to make it. The error
// of a case is the root mean square, and the greatest, of error / scale over its outputs; a bound
// limits both (op_bounds, below). An output whose scale is 0 must be exact.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace hadal {

struct OpExpectation {
  std::vector<double> values, scales;
  std::vector<double> rounded;  // scales of devices that round activations, where others; or empty
  std::vector<double> rounded_weights;  // and of those that round weights with them
};

struct OpCase {
  std::string_view op;     // "matmul"
  std::string name;        // "q4_k, 7 tokens, 96 x 256, bias"
  std::string_view bound;  // a row of the table of bounds
  // The outputs, packed; an error where the device failed or wrote where it must not.
  std::function<Result<std::vector<float>>(Device&)> run;
  std::function<OpExpectation()> expect;
  uint32_t draws = 1;  // independent inputs whose rounding is a matter of chance: the tokens
};

std::span<const std::string_view> op_names();
std::vector<OpCase> op_cases(std::string_view op);

// How far a device may be from the truth.
struct OpBound {
  double root_mean_square, greatest;
  bool of_chance = false;  // root_mean_square is a standard deviation, to be met by many draws
};
enum class Arithmetic {
  kReference,  // double sums, rounded once
  kFloat32,    // sums of float32 in any order, and activations quantised where the format's are
};
OpBound op_bound(const OpCase& one, Arithmetic arithmetic);

// Empty if `got` keeps the bound; else a sentence with the worst output and both errors.
std::string judge(const OpExpectation& expected, std::span<const float> got, const OpBound& bound);

// The parts of the list.
std::vector<OpCase> matmul_cases();
std::vector<OpCase> cache_cases();  // store_kv and attention
std::vector<OpCase> latent_cases();
std::vector<OpCase> route_cases();
std::vector<OpCase> experts_cases();

// With more tokens than this a device may take longer steps.
constexpr uint32_t kShortStepTokens = 8;
// Root of the sum over blocks of columns of (16256 steps)^2 |w|^2: the size of a product of a row
// of a weight and activations, of which a block may share a step. 16256 steps are the greatest |x|;
// the long ones 16256 / 127 times as much as the lesser of that and five times the mean of |x|.
// kLongOfBytes: weights are bytes as well, of which a row's block shares a step.
enum class Steps { kShort, kLong, kLongOfBytes };
double product_scale(std::span<const float> in, std::span<const float> weight,
                     Steps steps = Steps::kShort);

}  // namespace hadal
