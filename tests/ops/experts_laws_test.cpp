// The laws of batching for experts and latent attention on every device. The order in which a
// token's experts are named changes nothing, bit for bit; what else is in the batch changes only
// which kernel multiplies, so results agree to the last places of a float.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "device/ops.h"
#include "support/test_devices.h"
#include "support/workbench.h"

namespace hadal {
namespace {

// Of the greatest output: sums of a few hundred float products in another order.
constexpr double kOtherOrder = 4e-6;
// The same where such sums are quantised behind it: one that lay at the border of two steps, each
// 1/16256 of the greatest beside it, may have come to the other one. One term of dozens moves.
constexpr double kOtherStep = 4e-5;
// The same numbers to 15 bits of the greatest of 32 and of the greatest of 256: all terms move, by
// up to half a step.
constexpr double kOtherGroups = 3e-4;
// Where sums are quantised to the long steps of many tokens, 128 times as long at most.
constexpr double kOtherLongStep = 128 * kOtherStep;
// The same numbers in short steps and in long ones: all terms move, by up to half a step of five
// times the mean / 127 each, as chance will have it.
constexpr double kOtherSteps = 4e-2;

void expect_near(const std::vector<float>& a, const std::vector<float>& b, double allowed) {
  ASSERT_EQ(a.size(), b.size());
  double greatest = 0, difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    greatest = std::max(greatest, std::abs(double{a[i]}));
    const double here = std::abs(double{a[i]} - double{b[i]});
    difference = std::isnan(here) ? INFINITY : std::max(difference, here);
  }
  EXPECT_GT(greatest, 0);
  EXPECT_LE(difference, allowed * greatest);
}

bool is_float(QuantType type) {
  return quant_format(type).block_values == 1;
}

std::vector<float> part_of(const std::vector<float>& values, size_t first, size_t count) {
  return {values.begin() + static_cast<ptrdiff_t>(first),
          values.begin() + static_cast<ptrdiff_t>(first + count)};
}

class DeviceLaw : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Device> device_ = open_test_device(GetParam(), 3);
};

INSTANTIATE_TEST_SUITE_P(Devices, DeviceLaw, testing::ValuesIn(test_device_names()),
                         [](const auto& info) { return info.param; });

// A mixture of eight experts, and 13 tokens that choose three each.
struct Mixture {
  static constexpr uint32_t kExperts = 8, kTopK = 3, kTokens = 13, kWidth = 256, kInner = 288;

  explicit Mixture(QuantType inner_type, QuantType down_type) {
    for (uint32_t e = 0; e < kExperts; ++e) {
      gate.push_back(random_weight(random, inner_type, kInner, kWidth));
      up.push_back(random_weight(random, inner_type, kInner, kWidth));
      down.push_back(random_weight(random, down_type, kWidth, kInner));
    }
    std::vector<int32_t> all(kExperts);
    std::iota(all.begin(), all.end(), 0);
    for (uint32_t token = 0; token < kTokens; ++token) {
      std::shuffle(all.begin(), all.end(), random);
      chosen.insert(chosen.end(), all.begin(), all.begin() + kTopK);
    }
  }

  std::vector<float> run(Device& device, uint32_t first, uint32_t count) const {
    Workbench bench(device);
    const auto rows = [&](const Matrix& from) {
      return bench.tensor(
          {count, from.columns,
           part_of(from.values, size_t{first} * from.columns, size_t{count} * from.columns)});
    };
    const Tensor out = rows(in);  // anything that is there before
    device.ops().experts(
        {.in = rows(in),
         .chosen = bench.whole_numbers(
             count, kTopK, std::span(chosen).subspan(size_t{first} * kTopK, count * kTopK)),
         .weights = rows(weights),
         .gate = bench.stack(gate, Workbench::Stacking::kOne),
         .up = bench.stack(up, Workbench::Stacking::kPieces),
         .down = bench.stack(down, Workbench::Stacking::kOne),
         .out = out});
    return require(bench.finish(out));
  }

  Random random{61};
  std::vector<StoredWeight> gate, up, down;
  std::vector<int32_t> chosen;
  Matrix in = random_matrix(random, kTokens, kWidth);
  Matrix weights = random_matrix(random, kTokens, kTopK);
};

// Among many tokens a product is that of the token, whatever lies beside it: outliers of one, which
// make a device multiply digits that the others lack or have few of, change nothing for these.
TEST_P(DeviceLaw, AProductOfManyTokensIsThatBesideOthers) {
  Random random(63);
  for (const QuantFormat& format : quant_formats()) {
    SCOPED_TRACE(format.name);
    const uint32_t columns = 1376 / format.block_values * format.block_values;
    const StoredWeight weight = random_weight(random, format.type, 40, columns);
    Matrix in = random_matrix(random, 25, columns);
    for (uint32_t token = 1; token < in.rows; token += 6) {
      for (uint32_t i = token; i < columns; i += 300) in.at(token, i) = 50;
    }
    Workbench bench(*device_);
    const Weight loaded = bench.matrix(weight);
    const auto product = [&](const Matrix& tokens) {
      const Tensor out = bench.blank(tokens.rows, 40);
      device_->ops().matmul({bench.tensor(tokens), {{loaded, {}, out}}});
      return require(bench.finish(out));
    };
    const std::vector<float> before = product(in);
    Matrix others = in;
    for (uint32_t token = 0; token < in.rows; ++token) {
      if (token % 3 == 1) continue;
      for (uint32_t i = token % 7; i < columns; i += 11) others.at(token, i) = 200;
    }
    const std::vector<float> after = product(others);
    for (uint32_t token = 1; token < in.rows; token += 3) {
      EXPECT_EQ(part_of(before, size_t{token} * 40, 40), part_of(after, size_t{token} * 40, 40));
    }
    EXPECT_NE(before, after);
  }
}

TEST_P(DeviceLaw, ExpertsOfATokenAloneAreThoseInABatch) {
  for (const auto& [inner, down] :
       {std::pair{QuantType::kQ4_0, QuantType::kQ8_0}, std::pair{QuantType::kQ4_K, QuantType::kF16},
        std::pair{QuantType::kBF16, QuantType::kQ5_1},
        std::pair{QuantType::kF16, QuantType::kBF16}}) {
    SCOPED_TRACE(fmt::format("{} {}", quant_format(inner).name, quant_format(down).name));
    const Mixture mixture(inner, down);
    const auto in_chunks = [&](uint32_t chunk) {
      std::vector<float> parts;
      for (uint32_t first = 0; first < Mixture::kTokens; first += chunk) {
        const auto part = mixture.run(*device_, first, std::min(chunk, Mixture::kTokens - first));
        parts.insert(parts.end(), part.begin(), part.end());
      }
      return parts;
    };
    const bool exact = is_float(inner) && is_float(down);
    const std::vector<float> alone = in_chunks(1);
    expect_near(alone, in_chunks(6), exact ? kOtherOrder : kOtherGroups);
    expect_near(alone, in_chunks(Mixture::kTokens), exact ? kOtherOrder : kOtherSteps);
  }
}

TEST_P(DeviceLaw, TheOrderOfATokensExpertsChangesNothing) {
  Mixture mixture(QuantType::kQ4_0, QuantType::kQ8_0);
  const std::vector<float> whole = mixture.run(*device_, 0, Mixture::kTokens);
  for (uint32_t token = 0; token < Mixture::kTokens; ++token) {
    const auto at = static_cast<ptrdiff_t>(token * Mixture::kTopK);
    std::rotate(mixture.chosen.begin() + at, mixture.chosen.begin() + at + 1,
                mixture.chosen.begin() + at + Mixture::kTopK);
    std::rotate(mixture.weights.values.begin() + at, mixture.weights.values.begin() + at + 1,
                mixture.weights.values.begin() + at + Mixture::kTopK);
  }
  EXPECT_EQ(mixture.run(*device_, 0, Mixture::kTokens), whole);
}

// Sequences of latents, attended to in chunks of any size, together or alone.
struct Latents {
  static constexpr uint32_t kHeads = 5, kLatent = 64, kNope = 32, kRope = 8, kValue = 24;
  static constexpr uint32_t kBlockTokens = 16;

  Latents(QuantType type, uint32_t sequence_length)
      : length(sequence_length),
        blocks((sequence_length + kBlockTokens - 1) / kBlockTokens),
        weight(random_weight(random, type, kHeads * (kNope + kValue), kLatent)) {}

  // The outputs of all positions of `sequences` sequences, chunk by chunk.
  std::vector<float> run(Device& device, uint32_t first, uint32_t sequences, uint32_t chunk) const {
    Workbench bench(device);
    const Weight loaded = bench.matrix(weight);
    const PagedKv cache = {
        bench.blank_of(QuantType::kBF16, sequences * blocks * kBlockTokens, kLatent + kRope),
        {},
        kBlockTokens};
    std::vector<uint32_t> tables(size_t{sequences} * blocks);
    std::iota(tables.rbegin(), tables.rend(), 0);
    std::vector<float> results(size_t{sequences} * length * kHeads * kValue);
    for (uint32_t from = 0; from < length; from += chunk) {
      const uint32_t count = std::min(chunk, length - from);
      Matrix stored{sequences * count, kLatent + kRope, {}};
      Matrix asked{sequences * count, kHeads * (kNope + kRope), {}};
      std::vector<int32_t> positions;
      std::vector<uint32_t> starts = {0};
      for (uint32_t s = first; s < first + sequences; ++s) {
        const auto append = [&](Matrix& to, const Matrix& source) {
          const auto part = part_of(source.values, size_t{s * length + from} * to.columns,
                                    size_t{count} * to.columns);
          to.values.insert(to.values.end(), part.begin(), part.end());
        };
        append(stored, rows);
        append(asked, query);
        for (uint32_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(from + i));
        starts.push_back(starts.back() + count);
      }
      const SequenceLayout layout = {positions, starts, tables, blocks};
      device.ops().store_kv({bench.tensor(stored), {}, cache, layout});
      const Tensor out = bench.blank(stored.rows, kHeads * kValue);
      constexpr uint32_t kStep = kNope + kValue;
      device.ops().latent_attention(
          {.query = bench.tensor(asked),
           .cache = cache,
           .layout = layout,
           .keys = {.weight = loaded, .first_row = 0, .rows = kNope, .row_step = kStep},
           .values = {.weight = loaded, .first_row = kNope, .rows = kValue, .row_step = kStep},
           .heads = kHeads,
           .scale = 0.2f,
           .out = out});
      const std::vector<float> got = require(bench.finish(out));
      const size_t width = size_t{kHeads} * kValue;
      for (uint32_t s = 0; s < sequences; ++s) {
        std::copy_n(got.begin() + static_cast<ptrdiff_t>(s * count * width), count * width,
                    results.begin() + static_cast<ptrdiff_t>((s * length + from) * width));
      }
    }
    return results;
  }

  Random random{62};
  uint32_t length, blocks;
  StoredWeight weight;
  Matrix rows = random_matrix(random, 3 * length, kLatent + kRope);
  Matrix query = random_matrix(random, 3 * length, kHeads*(kNope + kRope));
};

TEST_P(DeviceLaw, LatentAttentionInChunksAndAloneIsThatOfTheWhole) {
  for (const QuantType type : {QuantType::kBF16, QuantType::kQ4_0}) {
    SCOPED_TRACE(quant_format(type).name);
    const Latents latents(type, 90);
    const std::vector<float> whole = latents.run(*device_, 0, 3, latents.length);
    const double allowed = is_float(type) ? kOtherOrder : kOtherLongStep;
    expect_near(whole, latents.run(*device_, 0, 3, 1), is_float(type) ? kOtherOrder : kOtherSteps);
    expect_near(whole, latents.run(*device_, 0, 3, 37), allowed);
    const size_t one = whole.size() / 3;
    expect_near(part_of(whole, one, one), latents.run(*device_, 1, 1, 64), allowed);
  }
}

// A step of many tokens may expand keys and values where one of few absorbs (arXiv 2405.04434,
// appendix C): the lengths are such that a device which does both does both here, the expanded form
// in more than one block of positions. What is rounded to digits is the query in one form and the
// latent in the other.
TEST_P(DeviceLaw, LatentAttentionAbsorbedIsThatExpanded) {
  for (const QuantType type : {QuantType::kBF16, QuantType::kQ4_0}) {
    SCOPED_TRACE(quant_format(type).name);
    const Latents latents(type, 700);
    const std::vector<float> absorbed = latents.run(*device_, 0, 1, 20);
    const double allowed = is_float(type) ? kOtherOrder : kOtherSteps;
    expect_near(absorbed, latents.run(*device_, 0, 1, 700), allowed);
    expect_near(absorbed, latents.run(*device_, 0, 1, 350), allowed);
  }
}

// A damaged file's scale must show in what is answered, never become a plain number.
TEST_P(DeviceLaw, AScaleThatIsNoNumberShows) {
  constexpr uint32_t kRows = 70, kColumns = 512, kNan = 3, kInfinite = 66;
  Random random(5);
  for (const QuantType type : {QuantType::kQ4_0, QuantType::kQ8_0, QuantType::kQ4_K}) {
    StoredWeight weight = random_weight(random, type, kRows, kColumns);
    const size_t row_bytes = weight.bytes.size() / kRows;
    for (const auto& [row, high_byte] : {std::pair{kNan, 0x7e}, std::pair{kInfinite, 0x7c}}) {
      // The f16 that the row's second half starts with.
      weight.bytes[row * row_bytes + row_bytes / 2] = std::byte{0};
      weight.bytes[row * row_bytes + row_bytes / 2 + 1] = static_cast<std::byte>(high_byte);
    }
    for (const uint32_t tokens : {1u, 13u}) {
      SCOPED_TRACE(std::string(quant_format(type).name) + ", " + std::to_string(tokens));
      Workbench bench(*device_);
      const Tensor out = bench.blank(tokens, kRows);
      device_->ops().matmul({.in = bench.tensor(random_matrix(random, tokens, kColumns)),
                             .projections = {{bench.matrix(weight), {}, out}}});
      const std::vector<float> got = require(bench.finish(out));
      for (size_t i = 0; i < got.size(); ++i) {
        const size_t row = i % kRows;
        EXPECT_EQ(std::isfinite(got[i]), row != kNan && row != kInfinite) << "row " << row;
      }
    }
  }
}

}  // namespace
}  // namespace hadal
