// Latent attention: which of its two forms a sequence takes, and the absorbed one. There queries
// are taken through their head's key matrix, then all heads attend to the latents as to one
// key-value head whose values are the heads of its keys (cpu_attention.cpp), and each head's value
// matrix is applied to what it has mixed.
#include <cstring>

#include "base/sizes.h"
#include "device/cpu/latent_attention.h"
#include "device/paged_rows.h"

namespace hadal::cpu {
namespace {

// Absorbed queries and mixed latents of this many bytes are held at once: heads of a large batch
// are done in groups.
constexpr size_t kHeldBytes = size_t{64} << 20;
// A sequence of so many tokens in a step is expanded: a position costs a head of DeepSeek's widths
// 2 * 512 + 64 products a token absorbed and 192 + 128 expanded, after 512 * 256 once, so that from
// 171 tokens on expanding pays at any length. docs/numbers.md has the measured crossover.
constexpr uint32_t kExpandedTokens = 128;

void check_matrices(const HeadMatrices& matrices, uint32_t heads) {
  CHECK(matrices.rows > 0);
  const uint64_t last =
      matrices.first_row + uint64_t{heads - 1} * matrices.row_step + matrices.rows;
  CHECK(last <= uint64_t{matrices.weight.experts} * matrices.weight.rows);
}

}  // namespace

void CpuOps::latent_attention(const LatentAttentionArgs& args) {
  check_latent(args);
  const auto starts = args.layout.sequence_starts;
  const auto expanded = [&](uint32_t s) { return starts[s + 1] - starts[s] >= kExpandedTokens; };
  for (uint32_t first = 0, last; first < args.layout.sequences(); first = last) {
    last = first + 1;
    if (expanded(first)) {
      attend_expanded(sequences_of(args, first, last));
      continue;
    }
    while (last < args.layout.sequences() && !expanded(last)) ++last;
    attend_absorbed(sequences_of(args, first, last));
  }
}

void CpuOps::check_latent(const LatentAttentionArgs& args) const {
  check(args.query);
  check(args.out);
  check(args.keys.weight);
  check(args.values.weight);
  check_layout(args.layout, args.query.rows);
  CHECK(args.heads > 0 && args.cache.block_tokens > 0);
  check_matrices(args.keys, args.heads);
  check_matrices(args.values, args.heads);
  const LatentWidths widths(args);
  CHECK(args.query.columns == size_t{args.heads} * widths.query());
  CHECK(args.out.rows == args.query.rows);
  CHECK(args.out.columns == size_t{args.heads} * widths.value);
  CHECK(args.values.inputs() == widths.latent && !args.values.transposed && !args.cache.values);
  check_cache(args.cache.keys, device_, 1, widths.row());
}

// Sequences [first, last) as a batch of their own.
LatentAttentionArgs CpuOps::sequences_of(const LatentAttentionArgs& args, uint32_t first,
                                         uint32_t last) {
  const SequenceLayout& layout = args.layout;
  const uint32_t token = layout.sequence_starts[first];
  const uint32_t tokens = layout.sequence_starts[last] - token;
  latent_starts_.clear();
  for (uint32_t s = first; s <= last; ++s) {
    latent_starts_.push_back(layout.sequence_starts[s] - token);
  }
  const size_t blocks = layout.blocks_per_sequence_max;
  LatentAttentionArgs part = args;
  part.query = args.query.row_range(token, tokens);
  part.out = args.out.row_range(token, tokens);
  part.layout.positions = layout.positions.subspan(token, tokens);
  part.layout.sequence_starts = latent_starts_;
  part.layout.block_tables = layout.block_tables.subspan(first * blocks, (last - first) * blocks);
  return part;
}

void CpuOps::attend_absorbed(const LatentAttentionArgs& args) {
  const LatentWidths widths(args);
  const uint32_t tokens = args.query.rows;
  if (tokens == 0) return;
  const size_t head_bytes = tokens * (widths.row() + widths.latent) * sizeof(float);
  const auto at_once =
      static_cast<uint32_t>(std::clamp<size_t>(kHeldBytes / head_bytes, 1, args.heads));
  Tensor queries, mixed;
  if (!cut_scratch(latent_scratch_, [&](Arena& arena) {
        queries = take_tensor(arena, device_, tokens, size_t{at_once} * widths.row());
        mixed = take_tensor(arena, device_, tokens, size_t{at_once} * widths.latent);
      })) {
    return;
  }
  HeadMatrices to_latent = args.keys;
  to_latent.transposed = !args.keys.transposed;
  const Tensor& cache = args.cache.keys;
  const Tensor latents = cache.column_range(0, cache_columns(cache.type, widths.latent));
  for (uint32_t first = 0; first < args.heads; first += at_once) {
    const uint32_t heads = std::min(at_once, args.heads - first);
    const auto columns_of = [&](const Tensor& all, uint32_t width) {
      return all.column_range(first * width, heads * width);
    };
    const Tensor query = columns_of(args.query, widths.query());
    queries.columns = heads * widths.row();
    mixed.columns = heads * widths.latent;
    multiply_heads({to_latent, first, heads, query, widths.query(), queries, widths.row()});
    for (size_t token = 0; token < tokens; ++token) {
      for (size_t h = 0; h < heads; ++h) {  // the rotated part stays as it is
        std::memcpy(row_of(queries, token) + h * widths.row() + widths.latent,
                    row_of(query, token) + h * widths.query() + widths.nope,
                    widths.shared * sizeof(float));
      }
    }
    attention({.query = queries,
               .cache = {cache, latents, args.cache.block_tokens},
               .layout = args.layout,
               .heads = heads,
               .kv_heads = 1,
               .scale = args.scale,
               .out = mixed});
    multiply_heads({args.values, first, heads, mixed, widths.latent,
                    columns_of(args.out, widths.value), widths.value});
  }
}

}  // namespace hadal::cpu
