// Attention of a tile of query rows to a run of positions, with the running maximum and total of an
// online softmax (arXiv 1805.02867), as FlashAttention does it (arXiv 2205.14135): the scores of a
// run never leave the cache. A body: included by kernels_*.cpp after their vector types.
#pragma once

#include <type_traits>

#include "device/cpu/kernels/float_matmul.h"
#include "device/cpu/kernels/table.h"
#include "device/cpu/kernels/vector_kernels.h"
#include "quant/blocks.h"

namespace {

using namespace hadal::cpu;

// With so many query rows unpacking keys and values to float panels pays; fewer read them as they
// are.
constexpr size_t kPanelQueries = 12;

// What a cache holds, seen as floats from value i of a head's part on; load8 where i is a multiple
// of eight. Nothing behind `count` values is read.
struct CacheF32 {
  static constexpr size_t bytes(size_t values) { return values * sizeof(float); }
  static Floats load(const uint8_t* p, size_t i) { return ::load(at(p, i)); }
  static Floats load_some(const uint8_t* p, size_t i, size_t count) {
    return load_part(at(p, i), count);
  }
  static __m256 load8(const uint8_t* p, size_t i, size_t count) {
    return load8_or_some<F32>(p + bytes(i), count);
  }
  static const float* at(const uint8_t* p, size_t i) {
    return reinterpret_cast<const float*>(p) + i;
  }
};

struct CacheF16 {
  static constexpr size_t bytes(size_t values) { return values * sizeof(uint16_t); }
  static Floats load(const uint8_t* p, size_t i) { return load_f16(p + bytes(i)); }
  static Floats load_some(const uint8_t* p, size_t i, size_t count) {
    return load_f16_part(p + bytes(i), count);
  }
  static __m256 load8(const uint8_t* p, size_t i, size_t count) {
    return load8_or_some<F16>(p + bytes(i), count);
  }
};

struct CacheBF16 {
  static constexpr size_t bytes(size_t values) { return values * sizeof(uint16_t); }
  static Floats load(const uint8_t* p, size_t i) { return load_bf16(p + bytes(i)); }
  static Floats load_some(const uint8_t* p, size_t i, size_t count) {
    return load_bf16_part(p + bytes(i), count);
  }
  static __m256 load8(const uint8_t* p, size_t i, size_t count) {
    return load8_or_some<BF16>(p + bytes(i), count);
  }
};

// Blocks are whole: what follows a row's last value is there, and zero.
struct CacheQ8_0 {
  static constexpr size_t bytes(size_t values) { return values * sizeof(BlockQ8_0) / 32; }
  static Floats load(const uint8_t* p, size_t i) {
    const uint8_t* block = p + i / 32 * sizeof(BlockQ8_0);
    return floats_of_signed_bytes(load_lane_bytes(block + offsetof(BlockQ8_0, quants) + i % 32)) *
           broadcast(f16_at(block));
  }
  static Floats load_some(const uint8_t* p, size_t i, size_t) { return load(p, i); }
  static __m256 load8(const uint8_t* p, size_t i, size_t) {
    const uint8_t* block = p + i / 32 * sizeof(BlockQ8_0);
    const __m128i eight = _mm_loadl_epi64(
        reinterpret_cast<const __m128i*>(block + offsetof(BlockQ8_0, quants) + i % 32));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)),
                         _mm256_set1_ps(f16_at(block)));
  }
};

// Blocks are whole here too. The low halves of a block's bytes are its first 16 values.
struct CacheQ4_0 {
  static constexpr size_t bytes(size_t values) { return values * sizeof(BlockQ4_0) / 32; }
  static Floats load(const uint8_t* p, size_t i) {
    const uint8_t* block = p + i / 32 * sizeof(BlockQ4_0);
    return floats_of_signed_bytes(
               halves(load_lane_bytes(block + offsetof(BlockQ4_0, quants) + i % 16), i)) *
           broadcast(f16_at(block));
  }
  static Floats load_some(const uint8_t* p, size_t i, size_t) { return load(p, i); }
  static __m256 load8(const uint8_t* p, size_t i, size_t) {
    const uint8_t* block = p + i / 32 * sizeof(BlockQ4_0);
    const __m128i eight = _mm_loadl_epi64(
        reinterpret_cast<const __m128i*>(block + offsetof(BlockQ4_0, quants) + i % 16));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(halves(eight, i))),
                         _mm256_set1_ps(f16_at(block)));
  }
  // Of bytes that hold value i of a block and those behind it, the numbers -8 to 7.
  static __m128i halves(__m128i bytes, size_t i) {
    const __m128i shifted = i % 32 < 16 ? bytes : _mm_srli_epi16(bytes, 4);
    return _mm_sub_epi8(_mm_and_si128(shifted, _mm_set1_epi8(15)), _mm_set1_epi8(8));
  }
};

// So many rows read a key or a value at once, as it lies in the cache.
constexpr size_t kRowsAtOnce = 8;

// `work` with the number of rows as a type and the first one, for all rows in about equal parts.
template <typename Work>
inline void for_rows(size_t rows, const Work& work) {
  for (size_t first = 0; first < rows;) {
    const size_t left = rows - first;
    const size_t count = left <= kRowsAtOnce      ? left
                         : left < 2 * kRowsAtOnce ? (left + 1) / 2
                                                  : kRowsAtOnce;
    const auto take = [&](auto number) { work(number, first); };
    switch (count) {
      case 1:
        take(std::integral_constant<int, 1>());
        break;
      case 2:
        take(std::integral_constant<int, 2>());
        break;
      case 3:
        take(std::integral_constant<int, 3>());
        break;
      case 4:
        take(std::integral_constant<int, 4>());
        break;
      case 5:
        take(std::integral_constant<int, 5>());
        break;
      case 6:
        take(std::integral_constant<int, 6>());
        break;
      case 7:
        take(std::integral_constant<int, 7>());
        break;
      default:
        take(std::integral_constant<int, 8>());
        break;
    }
    first += count;
  }
}

// scores[r, p] of rows first .. first + kRows - 1 against every key.
template <class Cache, int kRows>
void score_rows(const AttentionTile& tile, const AttentionRun& run, size_t first) {
  const float* query[kRows];
  for (size_t r = 0; r < kRows; ++r) query[r] = tile.queries + (first + r) * tile.query_stride;
  for (size_t p = 0; p < run.count; ++p) {
    const uint8_t* key = run.keys[p];
    if (first == 0) {  // keys soon, values after them; the next rows find them in the cache
      if (p + 4 < run.count) prefetch_lines(run.keys[p + 4], Cache::bytes(tile.key_width));
      prefetch_lines(run.values[p], tile.value_bytes);
    }
    Floats sums[kRows];
    for (Floats& sum : sums) sum = zeros();
    for_vectors(
        tile.key_width,
        [&](size_t i) {
          const Floats k = Cache::load(key, i);
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r) sums[r] = multiply_add(k, load(query[r] + i), sums[r]);
        },
        [&](size_t i, size_t n) {
          const Floats k = Cache::load_some(key, i, n);
          for (int r = 0; r < kRows; ++r)
            sums[r] = multiply_add(k, load_part(query[r] + i, n), sums[r]);
        });
#pragma GCC unroll 2
    for (int r = 0; r < kRows; r += 4) {
      const auto folded = [&](int i) { return fold(r + i < kRows ? sums[r + i] : zeros()); };
      float four[4];
      _mm_storeu_ps(four, sum_of_four(folded(0), folded(1), folded(2), folded(3)));
      for (int i = 0; i < 4 && r + i < kRows; ++i) {
        tile.scores[(first + static_cast<size_t>(r + i)) * kAttentionRun + p] = four[i];
      }
    }
  }
}

// Keys as a panel [key_width][kAttentionRun]: lanes are positions. Behind the last key it repeats.
template <class Cache>
void unpack_keys(const AttentionTile& tile, const AttentionRun& run, float* panel) {
  for (size_t eight = 0; eight < run.count; eight += 8) {
    const uint8_t* keys[8];
    for (size_t i = 0; i < 8; ++i) {
      keys[i] = run.keys[eight + i < run.count ? eight + i : run.count - 1];
    }
    for (size_t c = 0; c < tile.key_width; c += 8) {
      const size_t count = tile.key_width - c < 8 ? tile.key_width - c : 8;
      __m256i values[8];
      for (size_t i = 0; i < 8; ++i) {
        values[i] = _mm256_castps_si256(Cache::load8(keys[i], c, count));
      }
      transpose_words(values);
      for (size_t i = 0; i < count; ++i) {
        _mm256_store_ps(panel + (c + i) * kAttentionRun + eight, _mm256_castsi256_ps(values[i]));
      }
    }
  }
}

template <class Cache>
void unpack_values(const AttentionTile& tile, const AttentionRun& run, float* panel) {
  for (size_t p = 0; p < run.count; ++p) {
    float* to = panel + p * tile.sum_stride;
    for_vectors(
        tile.value_width, [&](size_t i) { store(to + i, Cache::load(run.values[p], i)); },
        [&](size_t i, size_t n) { store(to + i, Cache::load_some(run.values[p], i, n)); });
  }
}

// c[t, n] (= or +=) sum over k of a[t, k] b[k, n], for `columns` a multiple of kPanelRows.
template <int kRows>
inline void multiply_rows(const float* a, size_t a_stride, const float* b, size_t b_stride,
                          size_t depth, size_t columns, float* c, size_t c_stride, bool add) {
  const float* rows[kRows];
  for (int t = 0; t < kRows; ++t) rows[t] = a + t * a_stride;
  for (size_t n = 0; n < columns; n += kPanelRows) {
    Floats totals[kPanelVectors][kRows];
    multiply_float_panel<kRows>(b + n, b_stride, rows, depth, totals);
    for (int t = 0; t < kRows; ++t) {
      for (int v = 0; v < kPanelVectors; ++v) {
        float* to = c + t * c_stride + n + v * Floats::kWidth;
        store(to, add ? totals[v][t] + load(to) : totals[v][t]);
      }
    }
  }
}

void multiply_matrices(size_t count, const float* a, size_t a_stride, const float* b,
                       size_t b_stride, size_t depth, size_t columns, float* c, size_t c_stride,
                       bool add) {
  size_t row = 0;
  for (; row + kTileTokens <= count; row += kTileTokens) {
    multiply_rows<kTileTokens>(a + row * a_stride, a_stride, b, b_stride, depth, columns,
                               c + row * c_stride, c_stride, add);
  }
  for (; row + 4 <= count; row += 4) {  // few rows are bound by the latency of their sums
    multiply_rows<4>(a + row * a_stride, a_stride, b, b_stride, depth, columns, c + row * c_stride,
                     c_stride, add);
  }
  for (; row + 2 <= count; row += 2) {
    multiply_rows<2>(a + row * a_stride, a_stride, b, b_stride, depth, columns, c + row * c_stride,
                     c_stride, add);
  }
  for (; row < count; ++row) {
    multiply_rows<1>(a + row * a_stride, a_stride, b, b_stride, depth, columns, c + row * c_stride,
                     c_stride, add);
  }
}

// A weight of less than this power of e is none: a sum of a billion of them does not reach the last
// place of a float, while products of the smallest floats take a processor a hundred times as long.
constexpr float kLeastPower = -60;

void soften_row(const AttentionTile& tile, const AttentionRun& run, size_t row) {
  float* scores = tile.scores + row * kAttentionRun;
  const size_t limit = tile.limits[row];
  const size_t visible = limit <= run.first              ? 0
                         : limit - run.first < run.count ? limit - run.first
                                                         : run.count;
  for (size_t p = visible; p < kAttentionRun; ++p) scores[p] = -INFINITY;
  Floats most = load(scores);
  for (size_t p = Floats::kWidth; p < kAttentionRun; p += Floats::kWidth) {
    most = greater(most, load(scores + p));
  }
  const float run_most = greatest(most), before = tile.maxima[row];
  const float maximum = run_most > before ? run_most : before;
  Floats total = zeros();
  for (size_t p = 0; p < kAttentionRun; p += Floats::kWidth) {
    const Floats power = load(scores + p) - broadcast(maximum);
    const Floats weight = zero_below(exponential(power), power, broadcast(kLeastPower));
    store(scores + p, weight);
    total = total + weight;
  }
  tile.maxima[row] = maximum;
  if (maximum > before) {
    const Floats shrink = exponential(broadcast(before - maximum));
    float factor[Floats::kWidth];
    store(factor, shrink);
    tile.totals[row] *= factor[0];
    float* sums = tile.sums + row * tile.sum_stride;
    for (size_t i = 0; i < tile.sum_stride; i += Floats::kWidth) {
      store(sums + i, load(sums + i) * shrink);
    }
  }
  tile.totals[row] += sum(total);
}

// sums[r] += weights . values for rows first .. first + kRows - 1.
template <class Cache, int kRows>
void add_values_of_rows(const AttentionTile& tile, const AttentionRun& run, size_t first) {
  const float* weights[kRows];
  float* sums[kRows];
  for (size_t r = 0; r < kRows; ++r) {
    weights[r] = tile.scores + (first + r) * kAttentionRun;
    sums[r] = tile.sums + (first + r) * tile.sum_stride;
  }
  const auto add = [&](size_t i, auto load_value) {
    Floats total[kRows];
    for (int r = 0; r < kRows; ++r) total[r] = load(sums[r] + i);
    for (size_t p = 0; p < run.count; ++p) {
      const Floats value = load_value(run.values[p], i);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        total[r] = multiply_add(value, broadcast(weights[r][p]), total[r]);
    }
    for (int r = 0; r < kRows; ++r) store(sums[r] + i, total[r]);
  };
  for_vectors(
      tile.value_width,
      [&](size_t i) { add(i, [](const uint8_t* p, size_t at) { return Cache::load(p, at); }); },
      [&](size_t i, size_t n) {
        add(i, [n](const uint8_t* p, size_t at) { return Cache::load_some(p, at, n); });
      });
}

template <class Cache>
void score(const AttentionTile& tile, const AttentionRun& run) {
  if (tile.rows >= kPanelQueries) {
    unpack_keys<Cache>(tile, run, tile.panel);
    multiply_matrices(tile.rows, tile.queries, tile.query_stride, tile.panel, kAttentionRun,
                      tile.key_width, kAttentionRun, tile.scores, kAttentionRun, false);
  } else {
    for_rows(tile.rows, [&](auto rows, size_t first) {
      score_rows<Cache, decltype(rows)::value>(tile, run, first);
    });
  }
}

void soften(const AttentionTile& tile, const AttentionRun& run) {
  for (size_t row = 0; row < tile.rows; ++row) soften_row(tile, run, row);
}

template <class Cache>
void add_values(const AttentionTile& tile, const AttentionRun& run) {
  if (tile.rows >= kPanelQueries) {
    unpack_values<Cache>(tile, run, tile.panel);
    multiply_matrices(tile.rows, tile.scores, kAttentionRun, tile.panel, tile.sum_stride, run.count,
                      tile.sum_stride, tile.sums, tile.sum_stride, true);
  } else {
    for_rows(tile.rows, [&](auto rows, size_t first) {
      add_values_of_rows<Cache, decltype(rows)::value>(tile, run, first);
    });
  }
}

template <class Cache>
constexpr CacheKernels cache_kernels() {
  return {score<Cache>, add_values<Cache>};
}

}  // namespace
