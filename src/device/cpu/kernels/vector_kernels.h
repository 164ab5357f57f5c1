// Kernels on rows of floats. A body: included by kernels_*.cpp after their vector types.
#pragma once

#include <math.h>
#include <stddef.h>
#include <string.h>

namespace {

// Calls whole(i) for each full vector of `count` values, then rest(i, n) once for the last n.
template <typename Whole, typename Rest>
inline void for_vectors(size_t count, Whole whole, Rest rest) {
  size_t i = 0;
  for (; i + Floats::kWidth <= count; i += Floats::kWidth) whole(i);
  if (i < count) rest(i, count - i);
}

inline Floats load_part(const float* p, size_t count) {
  float copy[Floats::kWidth] = {};
  memcpy(copy, p, count * sizeof(float));
  return load(copy);
}

inline void store_part(float* p, Floats a, size_t count) {
  float copy[Floats::kWidth];
  store(copy, a);
  memcpy(p, copy, count * sizeof(float));
}

inline Floats load_f16_part(const void* p, size_t count) {
  uint16_t copy[Floats::kWidth] = {};
  memcpy(copy, p, count * sizeof(uint16_t));
  return load_f16(copy);
}

inline Floats load_bf16_part(const void* p, size_t count) {
  uint16_t copy[Floats::kWidth] = {};
  memcpy(copy, p, count * sizeof(uint16_t));
  return load_bf16(copy);
}

// e^x to about two units in the last place. Below -87 (also -infinity) it is 0 or next to it; above
// 88 the last finite value; NaN gives 0 or a large number.
// x = n ln 2 + r, |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 6 (error below 2^-25).
inline Floats exponential(Floats x) {
  x = lesser(greater(x, broadcast(-87.3f)), broadcast(88.0f));
  const Floats n = round(x * broadcast(1.44269504f));
  Floats r = multiply_add(n, broadcast(-0.693359375f), x);  // ln 2 in two parts: the first is exact
  r = multiply_add(n, broadcast(2.12194440e-4f), r);
  Floats sum = broadcast(1.0f / 720);
  sum = multiply_add(sum, r, broadcast(1.0f / 120));
  sum = multiply_add(sum, r, broadcast(1.0f / 24));
  sum = multiply_add(sum, r, broadcast(1.0f / 6));
  sum = multiply_add(sum, r, broadcast(0.5f));
  sum = multiply_add(sum, r, broadcast(1.0f));
  sum = multiply_add(sum, r, broadcast(1.0f));
  return sum * power_of_two(n);
}

float dot(const float* a, const float* b, size_t count) {
  Floats sums[4] = {zeros(), zeros(), zeros(), zeros()};
  size_t i = 0;
  for (; i + 4 * Floats::kWidth <= count; i += 4 * Floats::kWidth) {
    for (size_t k = 0; k < 4; ++k) {
      const size_t at = i + k * Floats::kWidth;
      sums[k] = multiply_add(load(a + at), load(b + at), sums[k]);
    }
  }
  for_vectors(
      count - i,
      [&](size_t k) { sums[0] = multiply_add(load(a + i + k), load(b + i + k), sums[0]); },
      [&](size_t k, size_t n) {
        sums[1] = multiply_add(load_part(a + i + k, n), load_part(b + i + k, n), sums[1]);
      });
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void rms_norm(const float* in, const float* gain, size_t width, float epsilon, float* out) {
  const float mean = dot(in, in, width) / static_cast<float>(width);
  const Floats scale = broadcast(1.0f / sqrtf(mean + epsilon));
  for_vectors(
      width, [&](size_t i) { store(out + i, load(in + i) * scale * load(gain + i)); },
      [&](size_t i, size_t n) {
        store_part(out + i, load_part(in + i, n) * scale * load_part(gain + i, n), n);
      });
}

inline Floats gated(Floats gate, Floats up) {
  return gate / (broadcast(1.0f) + exponential(zeros() - gate)) * up;
}

void swiglu(const float* gate, const float* up, size_t count, float* out) {
  for_vectors(
      count, [&](size_t i) { store(out + i, gated(load(gate + i), load(up + i))); },
      [&](size_t i, size_t n) {
        store_part(out + i, gated(load_part(gate + i, n), load_part(up + i, n)), n);
      });
}

void rotate_halves(float* head, const float* cosines, const float* sines, size_t pairs) {
  const auto turn = [](Floats& a, Floats& b, Floats cosine, Floats sine) {
    const Floats first = a * cosine - b * sine;
    b = a * sine + b * cosine;
    a = first;
  };
  float* other = head + pairs;
  for_vectors(
      pairs,
      [&](size_t i) {
        Floats a = load(head + i), b = load(other + i);
        turn(a, b, load(cosines + i), load(sines + i));
        store(head + i, a);
        store(other + i, b);
      },
      [&](size_t i, size_t n) {
        Floats a = load_part(head + i, n), b = load_part(other + i, n);
        turn(a, b, load_part(cosines + i, n), load_part(sines + i, n));
        store_part(head + i, a, n);
        store_part(other + i, b, n);
      });
}

void rotate_pairs(float* head, const float* cosines, const float* sines, size_t pairs) {
  const auto turned = [](Floats x, Floats cosine, Floats sine) {
    return multiply_subtract_add(x, cosine, swap_pairs(x) * sine);
  };
  for_vectors(
      2 * pairs,
      [&](size_t i) {
        store(head + i, turned(load(head + i), load(cosines + i), load(sines + i)));
      },
      [&](size_t i, size_t n) {
        const Floats x = load_part(head + i, n);
        store_part(head + i, turned(x, load_part(cosines + i, n), load_part(sines + i, n)), n);
      });
}

void to_f16(const float* in, size_t count, uint16_t* out) {
  for_vectors(
      count, [&](size_t i) { store_f16(out + i, load(in + i)); },
      [&](size_t i, size_t n) {
        uint16_t copy[Floats::kWidth];
        store_f16(copy, load_part(in + i, n));
        memcpy(out + i, copy, n * sizeof(uint16_t));
      });
}

// Rounds to nearest, ties to even; NaN stays a quiet NaN.
void to_bf16(const float* in, size_t count, uint16_t* out) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, in + i, sizeof(bits));
    const bool number = (bits & 0x7fffffffu) <= 0x7f800000u;
    const uint32_t rounded = number ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits | 0x400000u;
    out[i] = static_cast<uint16_t>(rounded >> 16);
  }
}

void add_scaled(const float* in, float factor, size_t count, float* out) {
  const Floats scale = broadcast(factor);
  for_vectors(
      count, [&](size_t i) { store(out + i, multiply_add(load(in + i), scale, load(out + i))); },
      [&](size_t i, size_t n) {
        store_part(out + i, multiply_add(load_part(in + i, n), scale, load_part(out + i, n)), n);
      });
}

}  // namespace
