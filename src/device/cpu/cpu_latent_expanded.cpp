// Latent attention in the expanded form, for a sequence with many tokens in a step. A block of
// positions after another gets its keys and values, of a group of heads at once; all the step's
// tokens attend to them with the running sums of an online softmax (kernels/attention.h), which
// stay from block to block. So memory is bounded by the block and the step, whatever the length.
#include <cstring>

#include "base/sizes.h"
#include "device/cpu/cache_kernels.h"
#include "device/cpu/cache_rows.h"
#include "device/cpu/latent_attention.h"
#include "device/paged_rows.h"

namespace hadal::cpu {
namespace {

constexpr uint32_t kBlockPositions = 512;         // whose products share a panel of weights
constexpr size_t kGroupBytes = size_t{16} << 20;  // of a group of heads: what it keeps at once
constexpr uint32_t kTileTokens = 96;              // that read a key at once

}  // namespace

struct CpuOps::ExpandedPlan {
  const LatentAttentionArgs& args;  // of one sequence
  LatentWidths widths;
  uint32_t tokens = 0, length = 0;
  uint32_t first_head = 0, heads = 0;  // the group
  uint32_t first = 0, positions = 0;   // the block
  Tensor latents = {};                 // [positions, latent | shared]
  Tensor keys = {}, values = {};       // [positions, heads * width]
  // What the tokens have come to: [heads][tokens], of the sums [sum_stride] each.
  float *maxima = nullptr, *totals = nullptr, *sums = nullptr;
  size_t sum_stride = 0;
  std::byte* threads = nullptr;
  size_t thread_bytes = 0;

  size_t tiles() const { return divide_up(tokens, kTileTokens); }
};

void CpuOps::attend_expanded(const LatentAttentionArgs& args) {
  ExpandedPlan plan{.args = args, .widths = LatentWidths(args), .tokens = args.query.rows};
  for (const int32_t position : args.layout.positions) {
    CHECK(position >= 0);
    plan.length = std::max(plan.length, static_cast<uint32_t>(position) + 1);
  }
  if (!reserve_expanded(plan)) return;
  const uint32_t at_once = plan.heads;
  for (; plan.first_head < args.heads; plan.first_head += at_once) {
    plan.heads = std::min(at_once, args.heads - plan.first_head);
    const size_t rows = size_t{plan.heads} * plan.tokens;
    std::fill_n(plan.maxima, rows, kNoScore);
    std::fill_n(plan.totals, rows, 0.0f);
    std::memset(plan.sums, 0, rows * plan.sum_stride * sizeof(float));
    for (plan.first = 0; plan.first < plan.length; plan.first += kBlockPositions) {
      plan.positions = std::min(kBlockPositions, plan.length - plan.first);
      expand_block(plan);
      parallel(plan.heads * plan.tiles(), 1, [&](size_t first, size_t last, uint32_t thread) {
        for (size_t tile = first; tile < last; ++tile) attend_tile(plan, tile, thread);
      });
    }
    finish_expanded(plan);
  }
}

bool CpuOps::reserve_expanded(ExpandedPlan& plan) {
  const LatentWidths& widths = plan.widths;
  plan.sum_stride = round_up(widths.value, kernels_.float_panel_rows);
  const size_t head_bytes = (size_t{kBlockPositions} * (widths.query() + widths.value) +
                             plan.tokens * (plan.sum_stride + 2)) *
                            sizeof(float);
  plan.heads =
      static_cast<uint32_t>(std::clamp<size_t>(kGroupBytes / head_bytes, 1, plan.args.heads));
  const size_t rows = size_t{plan.heads} * plan.tokens;
  Arena one;
  expanded_tile(plan, one);
  plan.thread_bytes = one.used();
  return cut_scratch(latent_scratch_, [&](Arena& arena) {
    const Tensor& cache = plan.args.cache.keys;
    plan.latents = take_tensor(arena, device_, kBlockPositions, cache.columns);
    plan.keys = take_tensor(arena, device_, kBlockPositions, plan.heads * widths.query());
    plan.values = take_tensor(arena, device_, kBlockPositions, plan.heads * widths.value);
    plan.maxima = arena.take<float>(rows);
    plan.totals = arena.take<float>(rows);
    plan.sums = arena.take<float>(rows * plan.sum_stride);
    plan.threads = arena.take<std::byte>(plan.thread_bytes * pool_.threads());
  });
}

// The scratch of one thread; with an arena that has not started, only its size.
AttentionTile CpuOps::expanded_tile(const ExpandedPlan& plan, Arena& arena) {
  const size_t key_width = plan.widths.query();
  return {.key_width = key_width,
          .value_width = plan.widths.value,
          .queries = arena.take<float>(kTileTokens * key_width),
          .query_stride = key_width,
          .limits = arena.take<uint32_t>(kTileTokens),
          .sum_stride = plan.sum_stride,
          .scores = arena.take<float>(kTileTokens * kAttentionRun),
          .panel = arena.take<float>(kAttentionRun * std::max(key_width, plan.sum_stride))};
}

void CpuOps::expand_block(ExpandedPlan& plan) {
  const LatentAttentionArgs& args = plan.args;
  const LatentWidths& widths = plan.widths;
  const CacheRows cache(args.cache.keys);
  const Tensor latents = plan.latents.first_rows(plan.positions);
  const Tensor keys = plan.keys.first_rows(plan.positions);
  parallel(plan.positions, rows_at_once(latents.columns), [&](size_t from, size_t to, uint32_t) {
    for (size_t p = from; p < to; ++p) {
      const size_t row =
          cache_row(args.cache, args.layout, 0, plan.first + static_cast<uint32_t>(p));
      float* latent = row_of(latents, p);
      decode_row(kernels_, args.cache.keys.type, cache.place(row, 0), latents.columns, latent);
      for (size_t h = 0; h < plan.heads; ++h) {
        std::memcpy(row_of(keys, p) + h * widths.query() + widths.nope, latent + widths.latent,
                    widths.shared * sizeof(float));
      }
    }
  });
  const Tensor compressed = latents.column_range(0, widths.latent);
  multiply_heads({args.keys, plan.first_head, plan.heads, compressed, 0, keys, widths.query()});
  multiply_heads({args.values, plan.first_head, plan.heads, compressed, 0,
                  plan.values.first_rows(plan.positions), widths.value});
}

// Some tokens of one head against the block.
void CpuOps::attend_tile(const ExpandedPlan& plan, size_t index, uint32_t thread) const {
  const LatentAttentionArgs& args = plan.args;
  const LatentWidths& widths = plan.widths;
  const size_t head = index / plan.tiles(), first = index % plan.tiles() * kTileTokens;
  Arena arena;
  arena.start(plan.threads + thread * plan.thread_bytes);
  AttentionTile tile = expanded_tile(plan, arena);
  tile.rows = std::min<size_t>(kTileTokens, plan.tokens - first);
  auto* limits = const_cast<uint32_t*>(tile.limits);
  auto* queries = const_cast<float*>(tile.queries);
  uint32_t end = 0;  // positions that some token sees
  for (size_t row = 0; row < tile.rows; ++row) {
    limits[row] = static_cast<uint32_t>(args.layout.positions[first + row]) + 1;
    end = std::max(end, limits[row]);
  }
  if (end <= plan.first) return;
  for (size_t row = 0; row < tile.rows; ++row) {
    const float* query =
        row_of(args.query, first + row) + (plan.first_head + head) * widths.query();
    for (size_t i = 0; i < widths.query(); ++i) {
      queries[row * tile.query_stride + i] = query[i] * args.scale;
    }
  }
  const size_t state = head * plan.tokens + first;
  tile.maxima = plan.maxima + state;
  tile.totals = plan.totals + state;
  tile.sums = plan.sums + state * plan.sum_stride;
  const size_t seen = std::min(end - plan.first, plan.positions);
  const Attend attend(kernels_, QuantType::kF32, QuantType::kF32);
  for (size_t from = 0; from < seen; from += kAttentionRun) {
    AttentionRun run;
    run.first = plan.first + from;
    run.count = std::min<size_t>(kAttentionRun, seen - from);
    for (size_t p = 0; p < run.count; ++p) {
      const float* key = row_of(plan.keys, from + p) + head * widths.query();
      const float* value = row_of(plan.values, from + p) + head * widths.value;
      run.keys[p] = reinterpret_cast<const uint8_t*>(key);
      run.values[p] = reinterpret_cast<const uint8_t*>(value);
    }
    attend(tile, run);
  }
}

void CpuOps::finish_expanded(const ExpandedPlan& plan) {
  const LatentWidths& widths = plan.widths;
  parallel(plan.tokens, rows_at_once(plan.heads * widths.value),
           [&](size_t from, size_t to, uint32_t) {
             for (size_t token = from; token < to; ++token) {
               float* out = row_of(plan.args.out, token) + size_t{plan.first_head} * widths.value;
               for (size_t h = 0; h < plan.heads; ++h, out += widths.value) {
                 const size_t state = h * plan.tokens + token;
                 const float* sums = plan.sums + state * plan.sum_stride;
                 const float inverse = 1.0f / plan.totals[state];
                 for (size_t i = 0; i < widths.value; ++i) out[i] = sums[i] * inverse;
               }
             }
           });
}

}  // namespace hadal::cpu
