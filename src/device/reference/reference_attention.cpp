// The reference device's paged cache and attention.
#include <algorithm>
#include <cmath>

#include "device/device.h"
#include "device/reference/reference_cache.h"
#include "device/reference/reference_ops.h"

namespace hadal {
namespace {

// One query head against positions 0 .. positions - 1. scores: [positions], sums: [value_width].
void attend_head(const double* query, const double* keys, const double* values, uint32_t positions,
                 uint32_t key_width, uint32_t value_width, double scale, double* scores,
                 double* sums, float* out) {
  double greatest = -INFINITY;
  for (uint32_t p = 0; p < positions; ++p) {
    scores[p] = scale * dot(query, keys + size_t{p} * key_width, key_width);
    greatest = std::max(greatest, scores[p]);
  }
  double total = 0;
  std::fill_n(sums, value_width, 0.0);
  for (uint32_t p = 0; p < positions; ++p) {
    const double weight = std::exp(scores[p] - greatest);
    total += weight;
    const double* value = values + size_t{p} * value_width;
    for (uint32_t i = 0; i < value_width; ++i) sums[i] += weight * value[i];
  }
  for (uint32_t i = 0; i < value_width; ++i) out[i] = static_cast<float>(sums[i] / total);
}

}  // namespace

void ReferenceOps::store_kv(const StoreKvArgs& args) {
  check(args.keys);
  check_cache(args.cache.keys, device_, 1, args.keys.columns);
  check_layout(args.layout, args.keys.rows);
  CHECK(args.cache.block_tokens > 0);
  CHECK(bool{args.values} == bool{args.cache.values});
  if (args.values) {
    check(args.values);
    check_cache(args.cache.values, device_, 1, args.values.columns);
    CHECK(args.values.rows == args.keys.rows);
  }
  for (uint32_t sequence = 0; sequence < args.layout.sequences(); ++sequence) {
    for (uint32_t token = args.layout.sequence_starts[sequence];
         token < args.layout.sequence_starts[sequence + 1]; ++token) {
      CHECK(args.layout.positions[token] >= 0);
      const size_t row = cache_row(args.cache, args.layout, sequence,
                                   static_cast<uint32_t>(args.layout.positions[token]));
      store_row(args.keys, token, args.cache.keys, row);
      if (args.values) store_row(args.values, token, args.cache.values, row);
    }
  }
}

void ReferenceOps::attention(const AttentionArgs& args) {
  check(args.query);
  check(args.out);
  check_layout(args.layout, args.query.rows);
  CHECK(args.kv_heads > 0 && args.heads > 0 && args.heads % args.kv_heads == 0);
  CHECK(args.cache.block_tokens > 0);
  check_cache(args.cache.keys, device_, args.kv_heads, args.query.columns / args.heads);
  check_cache(args.cache.values, device_, args.kv_heads, args.out.columns / args.heads);
  CHECK(args.query.columns % args.heads == 0 && args.out.columns % args.heads == 0);
  CHECK(args.out.rows == args.query.rows);
  for (uint32_t sequence = 0; sequence < args.layout.sequences(); ++sequence) {
    attend(args, sequence);
  }
}

// One sequence, one key-value head at a time: its past is decoded once, then every token of the
// batch and every query head of the group reads it.
void ReferenceOps::attend(const AttentionArgs& args, uint32_t sequence) {
  const uint32_t first_token = args.layout.sequence_starts[sequence];
  const uint32_t tokens = args.layout.sequence_starts[sequence + 1] - first_token;
  if (tokens == 0) return;
  const auto positions = args.layout.positions.subspan(first_token, tokens);
  const int32_t last = *std::max_element(positions.begin(), positions.end());
  CHECK(*std::min_element(positions.begin(), positions.end()) >= 0);
  const uint32_t length = static_cast<uint32_t>(last) + 1;
  const uint32_t key_width = args.query.columns / args.heads;
  const uint32_t value_width = args.out.columns / args.heads;
  const uint32_t group = args.heads / args.kv_heads;
  keys_.resize(size_t{length} * key_width);
  values_.resize(size_t{length} * value_width);
  scores_.resize(pool_.threads());
  for (auto& scores : scores_) scores.resize(size_t{length} + value_width + key_width);
  for (uint32_t kv_head = 0; kv_head < args.kv_heads; ++kv_head) {
    parallel(length, 16, size_t{length} * (key_width + value_width),
             [&](size_t from, size_t to, uint32_t) {
               for (size_t p = from; p < to; ++p) {
                 const size_t row =
                     cache_row(args.cache, args.layout, sequence, static_cast<uint32_t>(p));
                 load_row(args.cache.keys, row, size_t{kv_head} * key_width, key_width,
                          keys_.data() + p * key_width);
                 load_row(args.cache.values, row, size_t{kv_head} * value_width, value_width,
                          values_.data() + p * value_width);
               }
             });
    const auto attend_every = [&](size_t first, size_t step, double* scores) {
      for (size_t i = first; i < size_t{tokens} * group; i += step) {
        const size_t token = first_token + i / group;
        const size_t head = size_t{kv_head} * group + i % group;
        const float* floats = static_cast<const float*>(args.query.data) +
                              token * args.query.row_stride + head * key_width;
        double* query = scores + length + value_width;
        std::copy_n(floats, key_width, query);
        attend_head(
            query, keys_.data(), values_.data(), static_cast<uint32_t>(positions[i / group]) + 1,
            key_width, value_width, double{args.scale}, scores, scores + length,
            static_cast<float*>(args.out.data) + token * args.out.row_stride + head * value_width);
      }
    };
    const size_t work = size_t{tokens} * group * length * (key_width + value_width);
    if (work < kWorkAlone) {
      attend_every(0, 1, scores_[0].data());
    } else {  // thread by thread every n-th: later tokens see more, so runs would be unequal
      pool_.run(
          [&](uint32_t thread) { attend_every(thread, pool_.threads(), scores_[thread].data()); });
    }
  }
}

}  // namespace hadal
