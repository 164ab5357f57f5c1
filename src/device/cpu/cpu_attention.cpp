// The paged cache and attention over it. Work is cut by sequence, tile of tokens and key-value
// head: all query heads of a group read each key and value once. Where that leaves threads idle
// (decode of few sequences) the past is cut too, and the parts are joined at the end. Few rows are
// bound by memory, where the heads of a position lie beside one another: there one thread takes all
// heads of a run of positions before the next run, so that it reads on and on.
#include <cmath>
#include <cstring>

#include "base/sizes.h"
#include "device/cpu/arena.h"
#include "device/cpu/cache_kernels.h"
#include "device/cpu/cache_rows.h"
#include "device/cpu/cpu_ops.h"
#include "device/paged_rows.h"
#include "quant/encode.h"

namespace hadal::cpu {
namespace {

constexpr uint32_t kTileRows = 64;  // query rows that read a key at once, unless a group is larger
constexpr uint32_t kPartLeast = 256;     // positions: fewer are not worth a part of their own
constexpr uint32_t kItemsPerThread = 2;  // wanted, before the past is cut
constexpr uint32_t kFewRows = 8;         // of a tile: more are bound by arithmetic

}  // namespace

void CpuOps::store_kv(const StoreKvArgs& args) {
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
  const auto store_row = [&](const Tensor& from, uint32_t token, const Tensor& cache, size_t row) {
    const float* values = static_cast<const float*>(from.data) + size_t{token} * from.row_stride;
    std::byte* to = CacheRows(cache).row(row);
    if (cache.type == QuantType::kF32) {
      std::memcpy(to, values, from.columns * sizeof(float));
    } else if (cache.type == QuantType::kQ8_0) {
      encode_q8_0(values, from.columns, to);
    } else if (cache.type == QuantType::kQ4_0) {
      encode_q4_0(values, from.columns, to);
    } else {
      const auto round = cache.type == QuantType::kF16 ? kernels_.to_f16 : kernels_.to_bf16;
      round(values, from.columns, reinterpret_cast<uint16_t*>(to));
    }
  };
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

struct CpuOps::AttentionPlan {
  const AttentionArgs& args;
  CacheRows keys, values;
  uint32_t key_width = 0, value_width = 0, group = 0;
  uint32_t tile_tokens = 0;    // of one item
  uint32_t parts = 1;          // that the past is cut into
  uint32_t heads_at_once = 1;  // key-value heads that a thread takes together: all or one
  size_t items = 0;
  size_t rows_max = 0, sum_stride = 0;
  // A thread's scratch, and what the parts leave: maximum, total and sums of each row.
  std::byte* threads = nullptr;
  size_t thread_bytes = 0;
  float* partial = nullptr;  // [items][rows_max][2 + sum_stride]

  size_t partial_stride() const { return 2 + sum_stride; }
};

// What one thread does at once: a tile of a sequence's tokens, one key-value head, a part of the
// past.
struct CpuOps::AttentionItem {
  uint32_t sequence, first_token, tokens, kv_head, part;
};

void CpuOps::attention(const AttentionArgs& args) {
  AttentionPlan plan{.args = args};
  plan_attention(plan);
  if (plan.items == 0 || !reserve_attention(plan)) return;
  parallel(plan.items / plan.heads_at_once, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t work = first; work < last; ++work) attend_heads(plan, work, thread);
  });
  if (plan.parts > 1) join_parts(plan);
}

void CpuOps::plan_attention(AttentionPlan& plan) const {
  const AttentionArgs& args = plan.args;
  check(args.query);
  check(args.out);
  check_layout(args.layout, args.query.rows);
  CHECK(args.kv_heads > 0 && args.heads > 0 && args.heads % args.kv_heads == 0);
  CHECK(args.query.columns % args.heads == 0 && args.out.columns % args.heads == 0);
  CHECK(args.out.rows == args.query.rows && args.cache.block_tokens > 0);
  plan.key_width = args.query.columns / args.heads;
  plan.value_width = args.out.columns / args.heads;
  plan.group = args.heads / args.kv_heads;
  check_cache(args.cache.keys, device_, args.kv_heads, plan.key_width);
  check_cache(args.cache.values, device_, args.kv_heads, plan.value_width);
  plan.keys = CacheRows(args.cache.keys);
  plan.values = CacheRows(args.cache.values);

  plan.tile_tokens = std::max(1u, kTileRows / plan.group);
  plan.sum_stride = round_up(plan.value_width, kernels_.float_panel_rows);
  size_t tiles = 0;
  int32_t last = 0;
  uint32_t tokens_max = 0;
  for (uint32_t s = 0; s < args.layout.sequences(); ++s) {
    const uint32_t tokens = args.layout.sequence_starts[s + 1] - args.layout.sequence_starts[s];
    tiles += divide_up(tokens, plan.tile_tokens);
    tokens_max = std::max(tokens_max, tokens);
  }
  for (const int32_t position : args.layout.positions) {
    CHECK(position >= 0);
    last = std::max(last, position);
  }
  plan.rows_max = size_t{std::min(tokens_max, plan.tile_tokens)} * plan.group;
  const size_t wanted = size_t{pool_.threads()} * kItemsPerThread;
  const size_t parts_max = static_cast<size_t>(last) / kPartLeast + 1;
  if (plan.rows_max <= kFewRows && tiles * parts_max >= pool_.threads()) {
    plan.heads_at_once = args.kv_heads;
  }
  plan.items = tiles * args.kv_heads;
  const size_t work = plan.items / plan.heads_at_once;
  if (pool_.threads() > 1 && work != 0 && work < wanted) {
    plan.parts = static_cast<uint32_t>(std::min(divide_up(wanted, work), parts_max));
    plan.items *= plan.parts;
  }
}

bool CpuOps::reserve_attention(AttentionPlan& plan) {
  Arena one;
  for (uint32_t head = 0; head < plan.heads_at_once; ++head) {
    static_cast<void>(one.take<HeadAttention>(1));
    thread_tile(plan, one);
  }
  plan.thread_bytes = one.used();
  return cut_scratch(scratch_, [&](Arena& all) {
    plan.threads = all.take<std::byte>(plan.thread_bytes * pool_.threads());
    if (plan.parts > 1) {
      plan.partial = all.take<float>(plan.items * plan.rows_max * plan.partial_stride());
    }
  });
}

// The scratch of one thread; with an arena that has not started, only its size.
AttentionTile CpuOps::thread_tile(const AttentionPlan& plan, Arena& arena) {
  AttentionTile tile = {};
  tile.key_width = plan.key_width;
  tile.value_width = plan.value_width;
  tile.value_bytes = plan.values.bytes(plan.value_width);
  tile.query_stride = plan.key_width;
  tile.sum_stride = plan.sum_stride;
  tile.queries = arena.take<float>(plan.rows_max * plan.key_width);
  tile.limits = arena.take<uint32_t>(plan.rows_max);
  tile.maxima = arena.take<float>(plan.rows_max);
  tile.totals = arena.take<float>(plan.rows_max);
  tile.sums = arena.take<float>(plan.rows_max * plan.sum_stride);
  tile.scores = arena.take<float>(plan.rows_max * kAttentionRun);
  tile.panel = arena.take<float>(kAttentionRun * std::max<size_t>(plan.key_width, plan.sum_stride));
  return tile;
}

// Items count parts fastest, then heads, then tiles; the last tiles, which see most, come first.
CpuOps::AttentionItem CpuOps::attention_item(const AttentionPlan& plan, size_t index) {
  const SequenceLayout& layout = plan.args.layout;
  AttentionItem item = {};
  item.part = static_cast<uint32_t>(index % plan.parts);
  index /= plan.parts;
  item.kv_head = static_cast<uint32_t>(index % plan.args.kv_heads);
  size_t tile = index / plan.args.kv_heads;
  for (uint32_t s = layout.sequences(); s-- > 0;) {
    const uint32_t start = layout.sequence_starts[s];
    const uint32_t tokens = layout.sequence_starts[s + 1] - start;
    const size_t tiles = divide_up(tokens, plan.tile_tokens);
    if (tile >= tiles) {
      tile -= tiles;
      continue;
    }
    const uint32_t first = static_cast<uint32_t>(tiles - 1 - tile) * plan.tile_tokens;
    item.sequence = s;
    item.first_token = start + first;
    item.tokens = std::min(plan.tile_tokens, tokens - first);
    return item;
  }
  CHECK(!"an item of no tile");
  return item;
}

// A tile of one head, and where its runs lie.
struct CpuOps::HeadAttention {
  AttentionItem item;
  size_t index;  // of the item
  AttentionTile tile;
};

void CpuOps::attend_heads(const AttentionPlan& plan, size_t work, uint32_t thread) const {
  const AttentionArgs& args = plan.args;
  Arena arena;
  arena.start(plan.threads + thread * plan.thread_bytes);
  auto* heads = arena.take<HeadAttention>(plan.heads_at_once);
  uint32_t length = 0;  // positions that some row sees
  for (uint32_t i = 0; i < plan.heads_at_once; ++i) {
    // Items count parts fastest, then heads.
    const size_t index =
        plan.heads_at_once == 1
            ? work
            : (work / plan.parts * args.kv_heads + i) * plan.parts + work % plan.parts;
    heads[i] = {attention_item(plan, index), index, thread_tile(plan, arena)};
    length = start_tile(plan, heads[i].item, heads[i].tile);
  }
  const auto runs = static_cast<uint32_t>(divide_up(length, kAttentionRun));
  const uint32_t part = heads[0].item.part;
  const uint32_t last_run = runs * (part + 1) / plan.parts;
  const Attend attend(kernels_, args.cache.keys.type, args.cache.values.type);
  for (uint32_t run = runs * part / plan.parts; run < last_run; ++run) {
    for (uint32_t i = 0; i < plan.heads_at_once; ++i) {
      attend(heads[i].tile, find_run(plan, heads[i].item, run, length));
    }
  }
  for (uint32_t i = 0; i < plan.heads_at_once; ++i) {
    finish_item(plan, heads[i].item, heads[i].tile, heads[i].index);
  }
}

// Queries and limits of a tile that has seen nothing; returns the positions that some row sees.
uint32_t CpuOps::start_tile(const AttentionPlan& plan, const AttentionItem& item,
                            AttentionTile& tile) {
  const AttentionArgs& args = plan.args;
  tile.rows = size_t{item.tokens} * plan.group;
  auto* queries = const_cast<float*>(tile.queries);
  auto* limits = const_cast<uint32_t*>(tile.limits);
  uint32_t length = 0;
  for (size_t row = 0; row < tile.rows; ++row) {
    const size_t token = item.first_token + row / plan.group;
    const size_t head = size_t{item.kv_head} * plan.group + row % plan.group;
    limits[row] = static_cast<uint32_t>(args.layout.positions[token]) + 1;
    length = std::max(length, limits[row]);
    const float* query = static_cast<const float*>(args.query.data) +
                         token * args.query.row_stride + head * plan.key_width;
    float* to = queries + row * plan.key_width;
    for (uint32_t i = 0; i < plan.key_width; ++i) to[i] = query[i] * args.scale;
    tile.maxima[row] = kNoScore;
    tile.totals[row] = 0;
  }
  std::memset(tile.sums, 0, tile.rows * tile.sum_stride * sizeof(float));
  return length;
}

// Where the keys and values of a run lie: one behind the other in each block of the cache.
AttentionRun CpuOps::find_run(const AttentionPlan& plan, const AttentionItem& item, uint32_t index,
                              uint32_t length) {
  const AttentionArgs& args = plan.args;
  AttentionRun run;
  run.first = size_t{index} * kAttentionRun;
  run.count = std::min<size_t>(kAttentionRun, length - run.first);
  const auto row_of = [&](size_t p) {
    return cache_row(args.cache, args.layout, item.sequence, static_cast<uint32_t>(run.first + p));
  };
  for (size_t p = 0; p < run.count;) {
    const size_t behind = (run.first + p) % args.cache.block_tokens;
    const size_t count = std::min(args.cache.block_tokens - behind, run.count - p);
    const size_t row = row_of(p);
    CHECK(row_of(p + count - 1) == row + count - 1);
    const uint8_t* key = plan.keys.place(row, size_t{item.kv_head} * plan.key_width);
    const uint8_t* value = plan.values.place(row, size_t{item.kv_head} * plan.value_width);
    for (const size_t end = p + count; p < end; ++p) {
      run.keys[p] = key;
      run.values[p] = value;
      key += plan.keys.stride();
      value += plan.values.stride();
    }
  }
  return run;
}

void CpuOps::finish_item(const AttentionPlan& plan, const AttentionItem& item,
                         const AttentionTile& tile, size_t index) const {
  const AttentionArgs& args = plan.args;
  for (size_t row = 0; row < tile.rows; ++row) {
    const float* sums = tile.sums + row * tile.sum_stride;
    if (plan.parts > 1) {
      float* to = plan.partial + (index * plan.rows_max + row) * plan.partial_stride();
      to[0] = tile.maxima[row];
      to[1] = tile.totals[row];
      std::memcpy(to + 2, sums, plan.value_width * sizeof(float));
      continue;
    }
    const size_t token = item.first_token + row / plan.group;
    const size_t head = size_t{item.kv_head} * plan.group + row % plan.group;
    float* out =
        static_cast<float*>(args.out.data) + token * args.out.row_stride + head * plan.value_width;
    const float inverse = 1.0f / tile.totals[row];
    for (uint32_t i = 0; i < plan.value_width; ++i) out[i] = sums[i] * inverse;
  }
}

// The parts of a row, each relative to its own maximum, become one.
void CpuOps::join_parts(const AttentionPlan& plan) const {
  const AttentionArgs& args = plan.args;
  for (size_t index = 0; index < plan.items; index += plan.parts) {
    const AttentionItem item = attention_item(plan, index);
    for (size_t row = 0; row < size_t{item.tokens} * plan.group; ++row) {
      const auto part = [&](size_t i) {
        return plan.partial + ((index + i) * plan.rows_max + row) * plan.partial_stride();
      };
      float maximum = kNoScore, total = 0;
      for (size_t i = 0; i < plan.parts; ++i) maximum = std::max(maximum, part(i)[0]);
      for (size_t i = 0; i < plan.parts; ++i) total += part(i)[1] * std::exp(part(i)[0] - maximum);
      const size_t token = item.first_token + row / plan.group;
      const size_t head = size_t{item.kv_head} * plan.group + row % plan.group;
      float* out = static_cast<float*>(args.out.data) + token * args.out.row_stride +
                   head * plan.value_width;
      std::fill_n(out, plan.value_width, 0.0f);
      for (size_t i = 0; i < plan.parts; ++i) {
        const float weight = std::exp(part(i)[0] - maximum) / total;
        for (uint32_t v = 0; v < plan.value_width; ++v) out[v] += weight * part(i)[2 + v];
      }
    }
  }
}

}  // namespace hadal::cpu
