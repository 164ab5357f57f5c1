// Rows of quantised weights unpacked for many tokens. A body: included by kernels_*.cpp after their
// vector types.
//
// A panel has so few columns that it stays in the cache while all tokens pass. It is interleaved so
// that a lane of the sums is a row: bytes [columns / 4][kIntegerRows][4], then scales
// [columns / group][kIntegerRows], then minimums of the same shape, added, where the format has
// them.
#pragma once

#include "device/cpu/kernels/formats.h"
#include "device/cpu/kernels/integer_gemv.h"
#include "device/cpu/kernels/table.h"

namespace {

using namespace hadal::cpu;

constexpr size_t kIntegerRows = kIntegerVectors * Floats::kWidth;

template <class F>
struct Panel {
  uint8_t* bytes;
  float* scales;
  float* minimums;
  // Of so many columns, and of so many bytes.
  Panel(uint8_t* memory, size_t columns, size_t byte_count)
      : bytes(memory),
        scales(reinterpret_cast<float*>(memory + byte_count)),
        minimums(scales + columns / F::kGroup * kIntegerRows) {}
};

// Scales of a run of eight rows, to their groups' places.
template <class F>
inline void unpack_scales(const uint8_t* const (&rows)[8], size_t at, int parts, size_t first_group,
                          size_t first_row, const Panel<F>& panel) {
  constexpr int kHalves = 256 / F::kGroup / 8;
  Bytes scales[kHalves][8], minimums[kHalves][8];
  const __m256 sign = _mm256_set1_ps(-0.0f);
  for (int i = 0; i < 8; ++i) {
    const Scales of_row = F::scales(rows[i] + at, parts);
    for (int half = 0; half < kHalves; ++half) {
      scales[half][i] = _mm256_castps_si256(of_row.scale[half]);
      if (F::kMinimums) {
        minimums[half][i] = _mm256_castps_si256(_mm256_xor_ps(of_row.minimum[half], sign));
      }
    }
  }
  for (int half = 0; half < kHalves; ++half) {
    const auto put = [&](Bytes(&numbers)[8], float* to) {
      transpose_words(numbers);
      for (size_t g = 0; g < 8; ++g) {
        float* group = to + (first_group + 8 * half + g) * kIntegerRows + first_row;
        _mm256_store_si256(reinterpret_cast<__m256i*>(group), numbers[g]);
      }
    };
    put(scales[half], panel.scales);
    if (F::kMinimums) put(minimums[half], panel.minimums);
  }
}

// Where a panel comes from: `columns`, whole runs, of kIntegerRows rows, or of what is left.
struct PanelRows {
  const uint8_t* data;
  size_t row_bytes, rows, bytes;  // bytes: of a row's chunk

  template <class F>
  static PanelRows of(const WeightRows& w, size_t first_row, size_t first_column, size_t columns) {
    const size_t start = first_column / 256 * kRunBytes<F>, rows = w.rows - first_row;
    const size_t whole = w.row_bytes - start, most = columns / 256 * kRunBytes<F>;
    return {w.data + first_row * w.row_bytes + start, w.row_bytes,
            rows < kIntegerRows ? rows : kIntegerRows, whole < most ? whole : most};
  }
};

// The lines of a panel's rows on their way to the second-level cache, one at each step of other
// work: many at once would wait for one another, and the work for them.
struct LinesAhead {
  const uint8_t *line, *row, *end;  // the next one; where its row begins and ends
  size_t row_bytes, rows_left;      // row_bytes: 0 at the last row, which is fetched again then

  explicit LinesAhead(const PanelRows& from)
      : line(line_of(from.data)),
        row(from.data),
        end(from.data + from.bytes),
        row_bytes(from.row_bytes),
        rows_left(from.rows) {
    if (rows_left <= 1) row_bytes = 0;
  }
  static const uint8_t* line_of(const uint8_t* p) {
    return p - reinterpret_cast<uintptr_t>(p) % 64;
  }
  [[gnu::always_inline]] void fetch_one() {
    _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
    line += 64;
    if (line < end) return;
    row += row_bytes;
    end += row_bytes;
    line = line_of(row);
    if (rows_left != 0 && --rows_left <= 1) row_bytes = 0;
  }
  [[gnu::always_inline]] void fetch_rows(size_t count) {
    for (const size_t left = rows_left < count ? 0 : rows_left - count; rows_left > left;) {
      fetch_one();
    }
  }
};

// Rows from `first` on. Behind the last row that one stands in, and nobody reads the result.
template <size_t kCount>
inline void take_rows(const PanelRows& from, size_t first, const uint8_t* (&rows)[kCount]) {
  for (size_t i = 0; i < kCount; ++i) {
    rows[i] = from.data + (first + i < from.rows ? first + i : from.rows - 1) * from.row_bytes;
  }
}

}  // namespace
