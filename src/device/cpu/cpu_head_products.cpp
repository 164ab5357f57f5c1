// Latent attention's small products: of each head its own matrix, whose rows lie in a stored weight
// as HeadMatrices says, times that head's part of the tokens.
#include <cstring>

#include "base/sizes.h"
#include "device/cpu/latent_attention.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {
namespace {

constexpr size_t kTileTokens = 64;  // that share the decoding of a head's rows
constexpr size_t kTileRows = 32;    // decoded at once: they stay in the nearest cache
constexpr size_t kRunsPerThread = 4;

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

}  // namespace

void CpuOps::multiply_heads(const HeadProducts& products) {
  if (products.in.rows == 0) return;
  if (products.matrices.transposed) {
    multiply_columns(products);
  } else {
    multiply_rows(products);
  }
}

// A row gives an output: the stored rows are multiplied as they are.
void CpuOps::multiply_rows(const HeadProducts& p) {
  const size_t columns = p.matrices.weight.columns, tokens = p.in.rows;
  const bool quantized = takes_digits(p.matrices.weight.type);
  const size_t inputs = (p.in_step == 0 ? 1 : p.heads) * tokens;  // head by head
  DigitTokens digits = {};
  std::byte* panels = nullptr;
  const size_t bytes = tokens <= kFewTokensMax ? 0 : panel_bytes(kernels_);
  if (!cut_scratch(scratch_, [&](Arena& arena) {
        panels = arena.take<std::byte>(bytes * pool_.threads());
        if (quantized) digits = take_digits(arena, columns, inputs);
      })) {
    return;
  }
  if (quantized) {
    parallel(inputs, rows_at_once(static_cast<uint32_t>(columns)),
             [&](size_t first, size_t last, uint32_t) {
               for (size_t i = first; i < last; ++i) {
                 quantize(kernels_, tokens, row_of(p.in, i % tokens) + i / tokens * p.in_step,
                          columns, digits, i);
               }
             });
  }
  const size_t rows = p.matrices.rows;
  const size_t wanted = divide_up(pool_.threads() * kRunsPerThread, p.heads);
  const size_t rows_a_run = round_up(divide_up(rows, wanted), kernels_.panel_rows);
  const size_t runs = divide_up(rows, rows_a_run);
  parallel(p.heads * runs, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t i = first; i < last; ++i) {
      const size_t head = i / runs, from = i % runs * rows_a_run;
      const size_t input = p.in_step == 0 ? 0 : head * tokens;
      const Activations x = {
          .tokens = tokens,
          .digits = quantized ? digits_from(digits, input) : DigitTokens{},
          .floats = {row_of(p.in, 0) + head * p.in_step, columns, p.in.row_stride}};
      for_rows(kernels_, p.matrices, p.first_head + head, from, std::min(rows, from + rows_a_run),
               [&](const StoredMatrix& matrix, size_t row, size_t end, size_t offset) {
                 float* out = row_of(p.out, 0) + head * p.out_step + offset;
                 matrix.multiply(row, end, x, panels + thread * bytes,
                                 {out, p.out.row_stride, nullptr, false});
               });
    }
  });
}

// A row belongs to an input: tiles of tokens take the rows of their head as floats, which are
// decoded on the way.
void CpuOps::multiply_columns(const HeadProducts& p) {
  const size_t padded = round_up(p.matrices.weight.columns, kernels_.float_panel_rows);
  const size_t bytes = (kTileRows + kTileTokens) * padded * sizeof(float);
  std::byte* threads = nullptr;
  if (!cut_scratch(scratch_, [&](Arena& arena) {
        threads = arena.take<std::byte>(bytes * pool_.threads());
      })) {
    return;
  }
  const size_t tiles = divide_up(p.in.rows, kTileTokens);
  parallel(p.heads * tiles, 1, [&](size_t first, size_t last, uint32_t thread) {
    for (size_t i = first; i < last; ++i) {
      const size_t token = i % tiles * kTileTokens;
      multiply_tile(p, i / tiles, token, std::min<size_t>(p.in.rows, token + kTileTokens),
                    reinterpret_cast<float*>(threads + thread * bytes));
    }
  });
}

// One head's tokens [first, last). rows: decoded ones, then the sums.
void CpuOps::multiply_tile(const HeadProducts& p, size_t head, size_t first, size_t last,
                           float* rows) const {
  const size_t columns = p.matrices.weight.columns;
  const size_t padded = round_up(columns, kernels_.float_panel_rows);
  float* sums = rows + kTileRows * padded;
  const float* in = row_of(p.in, first) + head * p.in_step;
  for (size_t from = 0; from < p.matrices.rows; from += kTileRows) {
    const size_t to = std::min<size_t>(p.matrices.rows, from + kTileRows);
    for_rows(kernels_, p.matrices, p.first_head + head, from, to,
             [&](const StoredMatrix& matrix, size_t row, size_t end, size_t offset) {
               for (float* values = rows + (offset - from) * padded; row < end;
                    ++row, values += padded) {
                 matrix.decode(row, values);
                 std::fill(values + columns, values + padded, 0.0f);
               }
             });
    kernels_.multiply_floats(last - first, in + from, p.in.row_stride, rows, padded, to - from,
                             padded, sums, padded, from != 0);
  }
  for (size_t token = first; token < last; ++token) {
    std::memcpy(row_of(p.out, token) + head * p.out_step, sums + (token - first) * padded,
                columns * sizeof(float));
  }
}

}  // namespace hadal::cpu
