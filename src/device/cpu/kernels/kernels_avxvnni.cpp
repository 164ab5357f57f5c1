// The vector types come first: the bodies are written in them.
#include "device/cpu/kernels/simd_avx2.h"
//
#include "device/cpu/kernels/make_table.h"

namespace hadal::cpu {
namespace {

constexpr KernelTable kTable = make_table("avx_vnni", "AVX-VNNI");

}  // namespace

const KernelTable& kernels_avxvnni() {
  return kTable;
}

}  // namespace hadal::cpu
