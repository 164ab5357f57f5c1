// The laws of batching on the reference device's arithmetic, bit for bit: a token's result depends
// on that token's own inputs, never on what shares its batch, its chunk or its blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "device/ops.h"
#include "device/reference/reference_device.h"
#include "support/test_devices.h"
#include "support/workbench.h"

namespace hadal {
namespace {

class LawTest : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Device> device_ = open_test_device(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Devices, LawTest, testing::Values("reference", "guarded"),
                         [](const auto& info) { return info.param; });

Matrix rows_of(const Matrix& from, uint32_t first, uint32_t count) {
  return {count,
          from.columns,
          {from.values.begin() + size_t{first} * from.columns,
           from.values.begin() + size_t{first + count} * from.columns}};
}

TEST_P(LawTest, AProductAloneIsTheProductInABatch) {
  Random random(1);
  for (const QuantFormat& format : quant_formats()) {
    SCOPED_TRACE(format.name);
    const uint32_t columns = format.block_values == 1 ? 45 : 2u * format.block_values;
    const StoredWeight weight = random_weight(random, format.type, 35, columns);
    const Matrix in = random_matrix(random, 13, columns);
    Workbench bench(*device_);
    const Weight loaded = bench.matrix(weight);
    const auto product = [&](const Matrix& tokens) {
      const Tensor out = bench.blank(tokens.rows, 35);
      device_->ops().matmul({bench.tensor(tokens), {{loaded, {}, out}}});
      return require(bench.finish(out));
    };
    const std::vector<float> whole = product(in);
    for (const uint32_t chunk : {1u, 2u, 5u}) {
      std::vector<float> parts;
      for (uint32_t first = 0; first < in.rows; first += chunk) {
        const auto part = product(rows_of(in, first, std::min(chunk, in.rows - first)));
        parts.insert(parts.end(), part.begin(), part.end());
      }
      EXPECT_EQ(parts, whole) << "chunks of " << chunk;
    }
  }
}

TEST_P(LawTest, ThreadsChangeNothing) {
  Random random(2);
  const StoredWeight weight = random_weight(random, QuantType::kQ4_K, 101, 512);
  const Matrix in = random_matrix(random, 9, 512);
  const auto product = [&](Device& device) {
    Workbench bench(device);
    const Tensor out = bench.blank(9, 101);
    device.ops().matmul({bench.tensor(in), {{bench.matrix(weight), {}, out}}});
    return require(bench.finish(out));
  };
  const std::vector<float> here = product(*device_);
  for (const uint32_t threads : {1u, 3u, 8u}) {
    EXPECT_EQ(product(*open_test_device(GetParam(), threads)), here) << threads;
  }
}

// ---- Attention: some sequences, run in steps of any make-up, over any blocks.

constexpr uint32_t kHeads = 6, kKvHeads = 2, kWidth = 20;

struct Sequence {
  Matrix query, keys, values;  // [length, ...]
};

std::vector<Sequence> make_sequences(Random& random) {
  std::vector<Sequence> sequences;
  for (const uint32_t length : {50u, 1u, 33u, 64u}) {
    sequences.push_back({random_matrix(random, length, kHeads * kWidth),
                         random_matrix(random, length, kKvHeads * kWidth),
                         random_matrix(random, length, kKvHeads * kWidth)});
  }
  return sequences;
}

struct Paging {
  uint32_t block_tokens;
  bool scattered;
};

class Runner {
 public:
  Runner(Device& device, const std::vector<Sequence>& sequences, QuantType type, Paging paging)
      : device_(device), bench_(device), sequences_(sequences), results_(sequences.size()) {
    blocks_per_sequence_ = (64 + paging.block_tokens - 1) / paging.block_tokens;
    const uint32_t count = static_cast<uint32_t>(sequences.size());
    const uint32_t rows = count * blocks_per_sequence_ * paging.block_tokens;
    tables_.resize(size_t{count} * blocks_per_sequence_);
    std::iota(tables_.begin(), tables_.end(), 0);
    Random random(77);
    if (paging.scattered) std::shuffle(tables_.begin(), tables_.end(), random);
    const auto blank = [&] { return bench_.blank_of(type, rows, kKvHeads * kWidth); };
    cache_ = {blank(), blank(), paging.block_tokens};
    done_.resize(count);
  }

  // Runs the next `counts[s]` tokens of every sequence s as one batch.
  void step(const std::vector<uint32_t>& counts) {
    Matrix query{0, kHeads * kWidth, {}}, keys{0, kKvHeads * kWidth, {}}, values = keys;
    std::vector<int32_t> positions;
    std::vector<uint32_t> starts = {0}, tables;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const uint32_t count = std::min(counts[s], sequences_[s].query.rows - done_[s]);
      if (count == 0) continue;
      const auto append = [&](Matrix& to, const Matrix& from) {
        const Matrix part = rows_of(from, done_[s], count);
        to.values.insert(to.values.end(), part.values.begin(), part.values.end());
        to.rows += count;
      };
      append(query, sequences_[s].query);
      append(keys, sequences_[s].keys);
      append(values, sequences_[s].values);
      for (uint32_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(done_[s] + i));
      starts.push_back(starts.back() + count);
      const auto table = tables_.begin() + static_cast<ptrdiff_t>(s * blocks_per_sequence_);
      tables.insert(tables.end(), table, table + blocks_per_sequence_);
    }
    if (query.rows == 0) return;
    const SequenceLayout layout{positions, starts, tables, blocks_per_sequence_};
    const Tensor out = bench_.blank(query.rows, kHeads * kWidth);
    device_.ops().store_kv({bench_.tensor(keys), bench_.tensor(values), cache_, layout});
    device_.ops().attention({bench_.tensor(query), cache_, layout, kHeads, kKvHeads, 0.2f, out});
    const std::vector<float> got = require(bench_.finish(out));
    size_t token = 0;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const uint32_t count = std::min(counts[s], sequences_[s].query.rows - done_[s]);
      const auto from = got.begin() + static_cast<ptrdiff_t>(token * kHeads * kWidth);
      results_[s].insert(results_[s].end(), from, from + count * kHeads * kWidth);
      token += count;
      done_[s] += count;
    }
  }

  const std::vector<std::vector<float>>& results() const { return results_; }

 private:
  Device& device_;
  Workbench bench_;
  const std::vector<Sequence>& sequences_;
  std::vector<std::vector<float>> results_;
  std::vector<uint32_t> tables_, done_;
  uint32_t blocks_per_sequence_;
  PagedKv cache_;
};

class AttentionLaw : public LawTest {
 protected:
  // All of every sequence in one batch, one sequence after the other in one contiguous cache.
  std::vector<std::vector<float>> whole(QuantType type) {
    Runner runner(*device_, sequences_, type, {64, false});
    runner.step({64, 64, 64, 64});
    return runner.results();
  }

  Random random_{5};
  std::vector<Sequence> sequences_ = make_sequences(random_);
};

INSTANTIATE_TEST_SUITE_P(Devices, AttentionLaw, testing::Values("reference", "guarded"),
                         [](const auto& info) { return info.param; });

TEST_P(AttentionLaw, PagedIsContiguous) {
  for (const QuantType type : {QuantType::kF32, QuantType::kF16}) {
    for (const uint32_t block_tokens : {1u, 7u, 16u, 32u}) {
      Runner runner(*device_, sequences_, type, {block_tokens, true});
      runner.step({64, 64, 64, 64});
      EXPECT_EQ(runner.results(), whole(type)) << "blocks of " << block_tokens;
    }
  }
}

TEST_P(AttentionLaw, ChunkedIsWhole) {
  for (const QuantType type : {QuantType::kF32, QuantType::kF16}) {
    for (const uint32_t chunk : {1u, 3u, 32u}) {
      Runner runner(*device_, sequences_, type, {32, true});
      for (uint32_t i = 0; i < 64; i += chunk) runner.step({chunk, chunk, chunk, chunk});
      EXPECT_EQ(runner.results(), whole(type)) << "chunks of " << chunk;
    }
  }
}

TEST_P(AttentionLaw, AloneIsInABatch) {
  for (const QuantType type : {QuantType::kF32, QuantType::kF16}) {
    Runner runner(*device_, sequences_, type, {32, true});
    runner.step({0, 0, 64, 0});
    runner.step({64, 0, 0, 0});
    runner.step({0, 0, 0, 64});
    runner.step({0, 64, 0, 0});
    EXPECT_EQ(runner.results(), whole(type));
  }
}

TEST_P(AttentionLaw, AnyWeatherIsWhole) {
  for (int round = 0; round < 5; ++round) {
    Runner runner(*device_, sequences_, QuantType::kF16, {16, true});
    for (int i = 0; i < 40; ++i) {
      std::vector<uint32_t> counts(4);
      for (uint32_t& count : counts) count = static_cast<uint32_t>(random_() % 6);
      runner.step(counts);
    }
    runner.step({64, 64, 64, 64});
    EXPECT_EQ(runner.results(), whole(QuantType::kF16));
  }
}

}  // namespace
}  // namespace hadal
