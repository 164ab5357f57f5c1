// The vector types come first: the bodies are written in them.
#include "device/cpu/kernels/simd_avx2.h"
//
#include "device/cpu/kernels/make_table.h"

namespace hadal::cpu {
namespace {

constexpr KernelTable kTable = make_table("avx2", "AVX2");

}  // namespace

const KernelTable& kernels_avx2() {
  return kTable;
}

}  // namespace hadal::cpu
