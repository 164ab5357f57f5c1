// Kernels on rows of floats. A body: included by each kernels_*.cpp after its vector types.
#pragma once

#include <stddef.h>

namespace {

float dot(const float* a, const float* b, size_t count) {
  Floats sum0 = zeros(), sum1 = zeros();
  size_t i = 0;
  for (; i + 2 * Floats::kWidth <= count; i += 2 * Floats::kWidth) {
    sum0 = multiply_add(load(a + i), load(b + i), sum0);
    sum1 = multiply_add(load(a + i + Floats::kWidth), load(b + i + Floats::kWidth), sum1);
  }
  float total = sum(sum0 + sum1);
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

}  // namespace
