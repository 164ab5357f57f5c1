// The kernels of one instruction set, as a table. A body: included last by each kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/attention.h"
#include "device/cpu/kernels/decode.h"
#include "device/cpu/kernels/float_matmul.h"
#include "device/cpu/kernels/formats_grid.h"
#include "device/cpu/kernels/integer_gemv.h"
#include "device/cpu/kernels/quantize.h"
#include "device/cpu/kernels/speed_kernels.h"
#include "device/cpu/kernels/table.h"
#include "device/cpu/kernels/vector_kernels.h"

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#include "device/cpu/kernels/integer_gemm_vnni.h"
#else
#include "device/cpu/kernels/group_tile.h"
#endif

namespace {

using namespace hadal::cpu;

template <class F>
constexpr IntegerKernels integer_kernels() {
  return {.gemv = integer_gemv<F>, .gemm = integer_gemm<F>, .decode = decode_integer<F>};
}
template <class F>
constexpr FloatKernels float_kernels() {
  return {.gemv = float_gemv<F>, .gemm = float_gemm<F>, .decode = decode_float<F>};
}

constexpr KernelTable make_table(const char* name, const char* title) {
  KernelTable table = {};
  table.name = name;
  table.title = title;
  table.integer[kInt_Q4_0] = integer_kernels<Q4_0>();
  table.integer[kInt_Q4_1] = integer_kernels<Q4_1>();
  table.integer[kInt_Q5_0] = integer_kernels<Q5_0>();
  table.integer[kInt_Q5_1] = integer_kernels<Q5_1>();
  table.integer[kInt_Q8_0] = integer_kernels<Q8_0>();
  table.integer[kInt_Q2_K] = integer_kernels<Q2_K>();
  table.integer[kInt_Q3_K] = integer_kernels<Q3_K>();
  table.integer[kInt_Q4_K] = integer_kernels<Q4_K>();
  table.integer[kInt_Q5_K] = integer_kernels<Q5_K>();
  table.integer[kInt_Q6_K] = integer_kernels<Q6_K>();
  table.integer[kInt_IQ4_NL] = integer_kernels<IQ4_NL>();
  table.integer[kInt_IQ4_XS] = integer_kernels<IQ4_XS>();
  table.integer[kInt_MXFP4] = integer_kernels<MXFP4>();
  table.integer[kInt_IQ1_S] = integer_kernels<IQ1_S>();
  table.integer[kInt_IQ1_M] = integer_kernels<IQ1_M>();
  table.integer[kInt_IQ2_XXS] = integer_kernels<IQ2_XXS>();
  table.integer[kInt_IQ2_XS] = integer_kernels<IQ2_XS>();
  table.integer[kInt_IQ2_S] = integer_kernels<IQ2_S>();
  table.integer[kInt_IQ3_XXS] = integer_kernels<IQ3_XXS>();
  table.integer[kInt_IQ3_S] = integer_kernels<IQ3_S>();
  table.floating[kFloat_F32] = float_kernels<F32>();
  table.floating[kFloat_F16] = float_kernels<F16>();
  table.floating[kFloat_BF16] = float_kernels<BF16>();
  table.floating[kFloat_F8] = float_kernels<F8>();
  static_assert(kIntegerRows % kPanelRows == 0);
  table.panel_rows = kIntegerRows;
  table.float_panel_rows = kPanelRows;
  table.integer_panel_bytes = kPanelBytes;
  table.float_panel_bytes = kFloatPanelColumns * kPanelRows * sizeof(float);
  table.quantize_fine = quantize_fine;
  table.quantize_sparse = quantize_sparse;
  table.dot = dot;
  table.cache_f32 = cache_kernels<CacheF32>();
  table.cache_f16 = cache_kernels<CacheF16>();
  table.cache_bf16 = cache_kernels<CacheBF16>();
  table.cache_q8_0 = cache_kernels<CacheQ8_0>();
  table.cache_q4_0 = cache_kernels<CacheQ4_0>();
  table.soften = soften;
  table.multiply_floats = multiply_matrices;
  table.rms_norm = rms_norm;
  table.swiglu = swiglu;
  table.rotate_halves = rotate_halves;
  table.rotate_pairs = rotate_pairs;
  table.to_f16 = to_f16;
  table.to_bf16 = to_bf16;
  table.add_scaled = add_scaled;
  table.read = read;
  table.multiply_adds = multiply_adds;
  return table;
}

}  // namespace
