// The vector types come first: the bodies are written in them.
#include "device/cpu/kernels/simd_avx512.h"
//
#include "device/cpu/kernels/make_table.h"

namespace hadal::cpu {
namespace {

constexpr KernelTable kTable = make_table("avx512", "AVX-512");

}  // namespace

const KernelTable& kernels_avx512() {
  return kTable;
}

}  // namespace hadal::cpu
