// Latent attention in the absorbed form: queries are taken through their head's key matrix, then
// all heads attend to the latents as to one key-value head whose values are the heads of its keys
// (cpu_attention.cpp), and each head's value matrix is applied to what it has mixed.
#include <cstring>

#include "base/sizes.h"
#include "device/cpu/cpu_ops.h"
#include "device/device.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {
namespace {

// Absorbed queries and mixed latents of this many bytes are held at once: heads of a large batch
// are done in groups.
constexpr size_t kHeldBytes = size_t{64} << 20;
constexpr size_t kAbsorbTokens = 64;  // that share the decoding of a head's rows
constexpr size_t kAbsorbRows = 32;    // decoded at once: they stay in the nearest cache
constexpr size_t kRunsPerThread = 4;

void check_matrices(const HeadMatrices& matrices, uint32_t heads) {
  CHECK(heads > 0 && matrices.rows > 0);
  const uint64_t last =
      matrices.first_row + uint64_t{heads - 1} * matrices.row_step + matrices.rows;
  CHECK(last <= uint64_t{matrices.weight.experts} * matrices.weight.rows);
}

// body(matrix, first, last, offset) for each piece of a head's rows [from, to) that lies in one
// expert: rows first .. of matrix, which are the head's from `offset` on.
template <typename Body>
void for_rows(const KernelTable& kernels, const HeadMatrices& matrices, size_t head, size_t from,
              size_t to, Body&& body) {
  const MappedWeight& weight = MappedWeight::of(matrices.weight);
  while (from < to) {
    const size_t row = matrices.first_row + head * matrices.row_step + from;
    const size_t first = row % weight.rows();
    const size_t count = std::min(to - from, weight.rows() - first);
    body(StoredMatrix(kernels, weight, static_cast<uint32_t>(row / weight.rows())), first,
         first + count, from);
    from += count;
  }
}

float* row_of(const Tensor& tensor, size_t row) {
  return static_cast<float*>(tensor.data) + row * tensor.row_stride;
}

}  // namespace

struct CpuOps::LatentPlan {
  const LatentAttentionArgs& args;
  uint32_t tokens = 0, latent = 0, nope = 0, shared = 0, value = 0;
  uint32_t heads = 0, first_head = 0;  // at once
  Tensor queries = {};                 // [tokens, heads * (latent + shared)], absorbed
  Tensor mixed = {};                   // [tokens, heads * latent]
  std::byte* absorb = nullptr;         // a thread's is absorb_bytes long
  size_t absorb_bytes = 0, padded = 0;

  uint32_t query_width() const { return nope + shared; }
  uint32_t row_width() const { return latent + shared; }
};

void CpuOps::latent_attention(const LatentAttentionArgs& args) {
  LatentPlan plan{.args = args};
  plan_latent(plan);
  if (plan.tokens == 0 || !reserve_latent(plan)) return;
  const uint32_t heads_at_once = plan.heads;
  for (; plan.first_head < args.heads; plan.first_head += heads_at_once) {
    plan.heads = std::min(heads_at_once, args.heads - plan.first_head);
    plan.queries.columns = plan.heads * plan.row_width();
    plan.mixed.columns = plan.heads * plan.latent;
    absorb_queries(plan);
    attention({.query = plan.queries,
               .cache = {args.cache.keys, args.cache.keys.column_range(0, plan.latent),
                         args.cache.block_tokens},
               .layout = args.layout,
               .heads = plan.heads,
               .kv_heads = 1,
               .scale = args.scale,
               .out = plan.mixed});
    multiply_heads(plan, args.values, plan.mixed, plan.latent,
                   args.out.column_range(plan.first_head * plan.value, plan.heads * plan.value),
                   plan.value);
  }
}

void CpuOps::plan_latent(LatentPlan& plan) const {
  const LatentAttentionArgs& args = plan.args;
  check(args.query);
  check(args.out);
  check(args.keys.weight);
  check(args.values.weight);
  check_matrices(args.keys, args.heads);
  check_matrices(args.values, args.heads);
  CHECK(args.cache.keys && !args.cache.values && !args.values.transposed);
  plan.tokens = args.query.rows;
  plan.latent = args.keys.inputs();
  plan.nope = args.keys.outputs();
  plan.value = args.values.outputs();
  CHECK(args.cache.keys.columns >= plan.latent && args.values.inputs() == plan.latent);
  plan.shared = args.cache.keys.columns - plan.latent;
  CHECK(args.query.columns == size_t{args.heads} * plan.query_width());
  CHECK(args.out.rows == plan.tokens && args.out.columns == size_t{args.heads} * plan.value);
  const size_t head_bytes =
      std::max<size_t>(1, plan.tokens) * (plan.row_width() + plan.latent) * sizeof(float);
  plan.heads = static_cast<uint32_t>(std::clamp<size_t>(kHeldBytes / head_bytes, 1, args.heads));
  plan.padded = round_up(plan.latent, kernels_.panel_rows);
  // Decoded rows, then absorbed queries.
  plan.absorb_bytes = (kAbsorbRows + kAbsorbTokens) * plan.padded * sizeof(float);
}

bool CpuOps::reserve_latent(LatentPlan& plan) {
  const auto tensor = [&](Arena& arena, size_t columns) {
    Tensor tensor = {.device = &device_, .rows = plan.tokens};
    tensor.columns = tensor.row_stride = static_cast<uint32_t>(columns);
    tensor.data = arena.take<float>(plan.tokens * columns);
    return tensor;
  };
  return cut_scratch(latent_scratch_, [&](Arena& arena) {
    plan.queries = tensor(arena, size_t{plan.heads} * plan.row_width());
    plan.mixed = tensor(arena, size_t{plan.heads} * plan.latent);
    plan.absorb = arena.take<std::byte>(plan.absorb_bytes * pool_.threads());
  });
}

// queries[t, h] = K_h^T (nope part of the query) | the rotated part
void CpuOps::absorb_queries(LatentPlan& plan) {
  const LatentAttentionArgs& args = plan.args;
  for (size_t token = 0; token < plan.tokens; ++token) {
    for (uint32_t h = 0; h < plan.heads; ++h) {
      std::memcpy(
          row_of(plan.queries, token) + size_t{h} * plan.row_width() + plan.latent,
          row_of(args.query, token) + size_t{plan.first_head + h} * plan.query_width() + plan.nope,
          plan.shared * sizeof(float));
    }
  }
  if (args.keys.transposed) {
    multiply_heads(plan, args.keys,
                   args.query.column_range(plan.first_head * plan.query_width(),
                                           plan.heads * plan.query_width()),
                   plan.query_width(), plan.queries, plan.row_width());
    return;
  }
  const size_t tiles = divide_up(plan.tokens, kAbsorbTokens);
  parallel(plan.heads * tiles, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t i = first; i < last; ++i) {
      const size_t token = i % tiles * kAbsorbTokens;
      absorb_rows(plan, static_cast<uint32_t>(i / tiles), token,
                  std::min<size_t>(plan.tokens, token + kAbsorbTokens),
                  plan.absorb + thread * plan.absorb_bytes);
    }
  });
}

// One head's queries of tokens [first, last) times its stored rows, which are decoded on the way.
void CpuOps::absorb_rows(const LatentPlan& plan, uint32_t head, size_t first, size_t last,
                         std::byte* scratch) const {
  const LatentAttentionArgs& args = plan.args;
  float* rows = reinterpret_cast<float*>(scratch);
  float* sums = rows + kAbsorbRows * plan.padded;
  const float* query =
      row_of(args.query, first) + size_t{plan.first_head + head} * plan.query_width();
  for (size_t from = 0; from < plan.nope; from += kAbsorbRows) {
    const size_t to = std::min<size_t>(plan.nope, from + kAbsorbRows);
    for_rows(kernels_, args.keys, plan.first_head + head, from, to,
             [&](const StoredMatrix& matrix, size_t row, size_t end, size_t offset) {
               for (float* values = rows + (offset - from) * plan.padded; row < end;
                    ++row, values += plan.padded) {
                 matrix.decode(row, values);
                 std::fill(values + plan.latent, values + plan.padded, 0.0f);
               }
             });
    kernels_.multiply_floats(last - first, query + from, args.query.row_stride, rows, plan.padded,
                             to - from, plan.padded, sums, plan.padded, from != 0);
  }
  for (size_t token = first; token < last; ++token) {
    std::memcpy(row_of(plan.queries, token) + size_t{head} * plan.row_width(),
                sums + (token - first) * plan.padded, plan.latent * sizeof(float));
  }
}

// Each head's rows times its part of `in`, which begins every in_step columns; out likewise.
void CpuOps::multiply_heads(const LatentPlan& plan, const HeadMatrices& matrices, const Tensor& in,
                            size_t in_step, const Tensor& out, size_t out_step) {
  const size_t columns = matrices.weight.columns, tokens = plan.tokens;
  const bool quantized = takes_digits(matrices.weight.type);
  DigitTokens digits = {};  // head by head
  std::byte* panels = nullptr;
  const size_t bytes = tokens <= kGemvTokensMax ? 0 : panel_bytes(kernels_, columns);
  if (!cut_scratch(scratch_, [&](Arena& arena) {
        panels = arena.take<std::byte>(bytes * pool_.threads());
        if (quantized) digits = take_digits(arena, columns, plan.heads * tokens);
      })) {
    return;
  }
  if (quantized) {
    parallel(plan.heads * tokens, rows_at_once(static_cast<uint32_t>(columns)),
             [&](size_t first, size_t last, uint32_t) {
               for (size_t i = first; i < last; ++i) {
                 kernels_.quantize(row_of(in, i % tokens) + i / tokens * in_step, 0, columns,
                                   digits, i);
                 pad_digits(digits, columns, i);
               }
             });
  }
  const size_t wanted = divide_up(pool_.threads() * kRunsPerThread, plan.heads);
  const size_t rows_a_run = round_up(divide_up(matrices.rows, wanted), kernels_.panel_rows);
  const size_t runs = divide_up(matrices.rows, rows_a_run);
  parallel(plan.heads * runs, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t i = first; i < last; ++i) {
      const size_t head = i / runs, from = i % runs * rows_a_run;
      const Activations x = {
          .tokens = tokens,
          .digits = quantized ? digits_from(digits, head * tokens) : DigitTokens{},
          .floats = {row_of(in, 0) + head * in_step, columns, in.row_stride}};
      for_rows(kernels_, matrices, plan.first_head + head, from,
               std::min<size_t>(matrices.rows, from + rows_a_run),
               [&](const StoredMatrix& matrix, size_t row, size_t end, size_t offset) {
                 matrix.multiply(
                     row, end, x, panels + thread * bytes,
                     {row_of(out, 0) + head * out_step + offset, out.row_stride, nullptr, false});
               });
    }
  });
}

}  // namespace hadal::cpu
