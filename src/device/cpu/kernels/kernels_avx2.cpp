#include "device/cpu/kernels/simd_avx2.h"
// The vector types come first: the bodies are written in them.
#include "device/cpu/kernels/speed_kernels.h"
#include "device/cpu/kernels/table.h"
#include "device/cpu/kernels/vector_kernels.h"

namespace hadal::cpu {
namespace {

constexpr KernelTable kTable = {
    .name = "avx2",
    .title = "AVX2",
    .dot = dot,
    .read = read,
    .multiply_adds = multiply_adds,
};

}  // namespace

const KernelTable& kernels_avx2() {
  return kTable;
}

}  // namespace hadal::cpu
