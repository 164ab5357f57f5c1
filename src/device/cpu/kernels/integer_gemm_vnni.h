// Many tokens times rows of quantised weights with VNNI. A body: included by kernels_*.cpp.
#pragma once

#include "device/cpu/kernels/byte_tile.h"
#if defined(__AVX512VNNI__)
#include "device/cpu/kernels/nibble_tile.h"
#endif

namespace {

using namespace hadal::cpu;

constexpr size_t kPanelBytes = kTotalsBytes + kBlockBytes;

#if defined(__AVX512VNNI__)
// Unpacked as they are weights are there sooner, rounded to bytes they are multiplied faster: so
// many tokens take as long either way (docs/numbers.md).
constexpr size_t kNibbleTokensMax = 32;
static_assert(NibblePanel::kBytes <= kBlockBytes);
#endif

template <class F>
void integer_gemm(const WeightRows& w, const DigitTokens& x, size_t tokens, uint8_t* memory,
                  const Destination& to) {
#if defined(__AVX512VNNI__)
  if constexpr (kIsNibbles<F>) {
    if (tokens <= kNibbleTokensMax) {
      return gemm_by_blocks<F, NibbleBlocks<F>>(w, x, tokens, memory, to);
    }
  }
#endif
  gemm_by_blocks<F, ByteBlocks<F>>(w, x, tokens, memory, to);
}

}  // namespace
