// Laws of experts and latent attention on the reference device's arithmetic, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "device/ops.h"
#include "support/test_devices.h"
#include "support/workbench.h"

namespace hadal {
namespace {

class ExpertLaws : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Device> device_ = open_test_device(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Devices, ExpertLaws, testing::Values("reference", "guarded"),
                         [](const auto& info) { return info.param; });

Matrix rows_of(const Matrix& from, uint32_t first, uint32_t count) {
  return {count,
          from.columns,
          {from.values.begin() + size_t{first} * from.columns,
           from.values.begin() + size_t{first + count} * from.columns}};
}

constexpr uint32_t kWidth = 21, kInner = 13, kExperts = 9, kTopK = 4, kTokens = 11;

struct Stack {
  std::vector<StoredWeight> gate, up, down;
};

Stack make_stack(Random& random, uint32_t experts) {
  Stack stack;
  for (uint32_t e = 0; e < experts; ++e) {
    stack.gate.push_back(random_weight(random, QuantType::kBF16, kInner, kWidth, 0.3f));
    stack.up.push_back(random_weight(random, QuantType::kBF16, kInner, kWidth, 0.3f));
    stack.down.push_back(random_weight(random, QuantType::kBF16, kWidth, kInner, 0.3f));
  }
  return stack;
}

std::vector<float> mix(Device& device, const Stack& stack, const Matrix& in, const Matrix& old,
                       const Matrix& weights, std::span<const int32_t> chosen,
                       Workbench::Stacking stacking = Workbench::Stacking::kOne) {
  Workbench bench(device);
  const Tensor out = bench.tensor(old);
  device.ops().experts({.in = bench.tensor(in),
                        .chosen = bench.whole_numbers(in.rows, weights.columns, chosen),
                        .weights = bench.tensor(weights),
                        .gate = bench.stack(stack.gate, stacking),
                        .up = bench.stack(stack.up, stacking),
                        .down = bench.stack(stack.down, stacking),
                        .out = out});
  return require(bench.finish(out));
}

struct Mixture {
  Stack stack;
  Matrix in, old, weights;
  std::vector<int32_t> chosen;
};

Mixture make_mixture() {
  Random random(3);
  Mixture m{make_stack(random, kExperts),
            random_matrix(random, kTokens, kWidth),
            random_matrix(random, kTokens, kWidth),
            random_matrix(random, kTokens, kTopK),
            {}};
  for (uint32_t token = 0; token < kTokens; ++token) {
    std::vector<int32_t> all(kExperts);
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random);
    m.chosen.insert(m.chosen.end(), all.begin(), all.begin() + kTopK);
  }
  return m;
}

TEST_P(ExpertLaws, TheOrderOfTheChosenDoesNotMatter) {
  Mixture m = make_mixture();
  const auto before = mix(*device_, m.stack, m.in, m.old, m.weights, m.chosen);
  for (uint32_t token = 0; token < kTokens; ++token) {
    std::reverse(m.chosen.begin() + token * kTopK, m.chosen.begin() + (token + 1) * kTopK);
    std::reverse(m.weights.values.begin() + token * kTopK,
                 m.weights.values.begin() + (token + 1) * kTopK);
  }
  EXPECT_EQ(mix(*device_, m.stack, m.in, m.old, m.weights, m.chosen), before);
}

TEST_P(ExpertLaws, ATokenAloneIsTheTokenInABatch) {
  const Mixture m = make_mixture();
  const auto whole = mix(*device_, m.stack, m.in, m.old, m.weights, m.chosen);
  std::vector<float> alone;
  for (uint32_t token = 0; token < kTokens; ++token) {
    const auto one =
        mix(*device_, m.stack, rows_of(m.in, token, 1), rows_of(m.old, token, 1),
            rows_of(m.weights, token, 1), std::span(m.chosen).subspan(token * kTopK, kTopK));
    alone.insert(alone.end(), one.begin(), one.end());
  }
  EXPECT_EQ(alone, whole);
}

TEST_P(ExpertLaws, PiecesAreTheStack) {
  const Mixture m = make_mixture();
  EXPECT_EQ(mix(*device_, m.stack, m.in, m.old, m.weights, m.chosen, Workbench::Stacking::kPieces),
            mix(*device_, m.stack, m.in, m.old, m.weights, m.chosen, Workbench::Stacking::kOne));
}

// One latent attention of `now` tokens behind `past`, both in steps of `chunk`.
struct Latents {
  static constexpr uint32_t kHeads = 3, kLatent = 19, kNope = 10, kRope = 4, kValue = 7;
  static constexpr uint32_t kLength = 70;
  Matrix rows, query;
  StoredWeight fused;
  std::vector<StoredWeight> keys, values;  // the same numbers apart
};

Latents make_latents() {
  using L = Latents;
  Random random(9);
  Latents l{
      random_matrix(random, L::kLength, L::kLatent + L::kRope),
      random_matrix(random, L::kLength, L::kHeads * (L::kNope + L::kRope)),
      random_weight(random, QuantType::kF32, L::kHeads * (L::kNope + L::kValue), L::kLatent, 0.3f),
      {},
      {}};
  for (uint32_t head = 0; head < L::kHeads; ++head) {
    Matrix key{L::kLatent, L::kNope, std::vector<float>(L::kLatent * L::kNope)};
    Matrix value{L::kValue, L::kLatent, {}};
    const uint32_t first = head * (L::kNope + L::kValue);
    for (uint32_t r = 0; r < L::kNope; ++r) {
      for (uint32_t c = 0; c < L::kLatent; ++c) key.at(c, r) = l.fused.decoded.at(first + r, c);
    }
    for (uint32_t r = 0; r < L::kValue; ++r) {
      const auto row = l.fused.decoded.row(first + L::kNope + r);
      value.values.insert(value.values.end(), row.begin(), row.end());
    }
    for (const auto& [from, to] : {std::pair{&key, &l.keys}, std::pair{&value, &l.values}}) {
      StoredWeight stored = stored_vector(QuantType::kF32, from->values);
      stored.decoded = *from;
      to->push_back(std::move(stored));
    }
  }
  return l;
}

enum class Up { kFused, kApart };

std::vector<float> attend(Device& device, const Latents& l, Up up, uint32_t chunk,
                          uint32_t block_tokens) {
  using L = Latents;
  Workbench bench(device);
  const uint32_t blocks = (L::kLength + block_tokens - 1) / block_tokens;
  std::vector<uint32_t> table(blocks);
  std::iota(table.rbegin(), table.rend(), 0);
  const PagedKv cache{
      bench.blank_of(QuantType::kBF16, blocks * block_tokens, L::kLatent + L::kRope),
      {},
      block_tokens};
  HeadMatrices keys, values;
  if (up == Up::kFused) {
    const Weight weight = bench.matrix(l.fused);
    keys = {.weight = weight, .rows = L::kNope, .row_step = L::kNope + L::kValue};
    values = {.weight = weight,
              .first_row = L::kNope,
              .rows = L::kValue,
              .row_step = L::kNope + L::kValue};
  } else {
    keys = {.weight = bench.stack(l.keys, Workbench::Stacking::kPieces),
            .rows = L::kLatent,
            .row_step = L::kLatent,
            .transposed = true};
    values = {.weight = bench.stack(l.values, Workbench::Stacking::kPieces),
              .rows = L::kValue,
              .row_step = L::kValue};
  }
  std::vector<float> all;
  for (uint32_t first = 0; first < L::kLength; first += chunk) {
    const uint32_t count = std::min(chunk, L::kLength - first);
    std::vector<int32_t> positions(count);
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
    const std::vector<uint32_t> starts = {0, count};
    const SequenceLayout layout{positions, starts, table, blocks};
    device.ops().store_kv({bench.tensor(rows_of(l.rows, first, count)), {}, cache, layout});
    const Tensor out = bench.blank(count, L::kHeads * L::kValue);
    device.ops().latent_attention({bench.tensor(rows_of(l.query, first, count)), cache, layout,
                                   keys, values, L::kHeads, 0.25f, out});
    const auto values_of_chunk = require(bench.finish(out));
    all.insert(all.end(), values_of_chunk.begin(), values_of_chunk.end());
  }
  return all;
}

TEST_P(ExpertLaws, LatentAttentionInChunksIsThatOfTheWhole) {
  const Latents l = make_latents();
  const auto whole = attend(*device_, l, Up::kFused, Latents::kLength, 32);
  for (const uint32_t chunk : {1u, 7u, 32u}) {
    EXPECT_EQ(attend(*device_, l, Up::kFused, chunk, 32), whole) << "chunks of " << chunk;
  }
  EXPECT_EQ(attend(*device_, l, Up::kFused, Latents::kLength, 5), whole) << "blocks of 5";
}

// Another order of sums: the last place may differ.
TEST_P(ExpertLaws, UpProjectionsApartAreThoseFused) {
  const Latents l = make_latents();
  const auto fused = attend(*device_, l, Up::kFused, 32, 32);
  const auto apart = attend(*device_, l, Up::kApart, 32, 32);
  ASSERT_EQ(fused.size(), apart.size());
  for (size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(fused[i], apart[i], 1e-6) << i;
}

}  // namespace
}  // namespace hadal
