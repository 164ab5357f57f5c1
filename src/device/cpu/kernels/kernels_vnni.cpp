// The vector types come first: the bodies are written in them.
#include "device/cpu/kernels/simd_avx512.h"
//
#include "device/cpu/kernels/make_table.h"

namespace hadal::cpu {
namespace {

constexpr KernelTable kTable = make_table("avx512_vnni", "AVX-512 VNNI");

}  // namespace

const KernelTable& kernels_vnni() {
  return kTable;
}

}  // namespace hadal::cpu
