// The paged cache and attention over it.
#include <cmath>
#include <cstring>

#include "base/float_types.h"
#include "device/cpu/cpu_ops.h"
#include "device/device.h"

namespace hadal::cpu {
namespace {

void check_layout(const SequenceLayout& layout, uint32_t tokens) {
  const auto& starts = layout.sequence_starts;
  CHECK(starts.size() >= 1 && starts.front() == 0 && starts.back() == tokens);
  CHECK(layout.positions.size() == tokens);
  CHECK(layout.block_tables.size() >= size_t{layout.sequences()} * layout.blocks_per_sequence_max);
  for (uint32_t s = 0; s < layout.sequences(); ++s) CHECK(starts[s] <= starts[s + 1]);
}

void check_cache(const Tensor& cache, const Device& device) {
  CHECK(cache && cache.device == &device && cache.row_stride >= cache.columns);
  CHECK(cache.type == QuantType::kF32 || cache.type == QuantType::kF16);
}

size_t cache_row(const PagedKv& cache, const SequenceLayout& layout, uint32_t sequence,
                 uint32_t position) {
  const uint32_t block = position / cache.block_tokens;
  CHECK(block < layout.blocks_per_sequence_max);
  const size_t row =
      size_t{layout.block_tables[size_t{sequence} * layout.blocks_per_sequence_max + block]} *
          cache.block_tokens +
      position % cache.block_tokens;
  CHECK(row < cache.keys.rows && row < cache.values.rows);
  return row;
}

void store_row(const Tensor& from, uint32_t token, const Tensor& cache, size_t row) {
  const float* values = static_cast<const float*>(from.data) + size_t{token} * from.row_stride;
  if (cache.type == QuantType::kF32) {
    std::memcpy(static_cast<float*>(cache.data) + row * cache.row_stride, values,
                size_t{from.columns} * sizeof(float));
    return;
  }
  f16* halves = static_cast<f16*>(cache.data) + row * cache.row_stride;
  for (uint32_t i = 0; i < from.columns; ++i) halves[i] = float_to_f16(values[i]);
}

float cache_value(const Tensor& cache, size_t row, size_t column) {
  const size_t at = row * cache.row_stride + column;
  if (cache.type == QuantType::kF32) return static_cast<const float*>(cache.data)[at];
  return f16_to_float(static_cast<const f16*>(cache.data)[at]);
}

}  // namespace

void CpuOps::store_kv(const StoreKvArgs& args) {
  check(args.keys);
  check(args.values);
  check_cache(args.cache.keys, device_);
  check_cache(args.cache.values, device_);
  check_layout(args.layout, args.keys.rows);
  CHECK(args.values.rows == args.keys.rows && args.cache.block_tokens > 0);
  CHECK(args.keys.columns == args.cache.keys.columns);
  CHECK(args.values.columns == args.cache.values.columns);
  for (uint32_t sequence = 0; sequence < args.layout.sequences(); ++sequence) {
    for (uint32_t token = args.layout.sequence_starts[sequence];
         token < args.layout.sequence_starts[sequence + 1]; ++token) {
      CHECK(args.layout.positions[token] >= 0);
      const size_t row = cache_row(args.cache, args.layout, sequence,
                                   static_cast<uint32_t>(args.layout.positions[token]));
      store_row(args.keys, token, args.cache.keys, row);
      store_row(args.values, token, args.cache.values, row);
    }
  }
}

void CpuOps::attention(const AttentionArgs& args) {
  check(args.query);
  check(args.out);
  check_cache(args.cache.keys, device_);
  check_cache(args.cache.values, device_);
  check_layout(args.layout, args.query.rows);
  CHECK(args.kv_heads > 0 && args.heads % args.kv_heads == 0 && args.cache.block_tokens > 0);
  const uint32_t key_width = args.cache.keys.columns / args.kv_heads;
  const uint32_t value_width = args.cache.values.columns / args.kv_heads;
  CHECK(args.cache.keys.columns == key_width * args.kv_heads);
  CHECK(args.cache.values.columns == value_width * args.kv_heads);
  CHECK(args.query.columns == args.heads * key_width && args.out.rows == args.query.rows);
  CHECK(args.out.columns == args.heads * value_width);
  const uint32_t group = args.heads / args.kv_heads;
  for (uint32_t sequence = 0; sequence < args.layout.sequences(); ++sequence) {
    const uint32_t first_token = args.layout.sequence_starts[sequence];
    const uint32_t tokens = args.layout.sequence_starts[sequence + 1] - first_token;
    parallel(size_t{tokens} * args.heads, 1, [&](size_t item, size_t, uint32_t) {
      const size_t token = first_token + item / args.heads, head = item % args.heads;
      const size_t kv_head = head / group;
      CHECK(args.layout.positions[token] >= 0);
      const uint32_t length = static_cast<uint32_t>(args.layout.positions[token]) + 1;
      const float* query = static_cast<const float*>(args.query.data) +
                           token * args.query.row_stride + head * key_width;
      float* out =
          static_cast<float*>(args.out.data) + token * args.out.row_stride + head * value_width;
      float greatest = -INFINITY, total = 0;
      std::fill_n(out, value_width, 0.0f);
      for (uint32_t p = 0; p < length; ++p) {
        const size_t row = cache_row(args.cache, args.layout, sequence, p);
        float score = 0;
        for (uint32_t i = 0; i < key_width; ++i) {
          score += query[i] * cache_value(args.cache.keys, row, kv_head * key_width + i);
        }
        score *= args.scale;
        const float rise = std::max(greatest, score);
        const float shrink = std::exp(greatest - rise), weight = std::exp(score - rise);
        greatest = rise;
        total = total * shrink + weight;
        for (uint32_t i = 0; i < value_width; ++i) {
          out[i] = out[i] * shrink +
                   weight * cache_value(args.cache.values, row, kv_head * value_width + i);
        }
      }
      for (uint32_t i = 0; i < value_width; ++i) out[i] /= total;
    });
  }
}

}  // namespace hadal::cpu
