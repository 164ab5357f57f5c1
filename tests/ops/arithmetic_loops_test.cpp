#include "device/cpu/arithmetic_loops.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hadal::cpu {
namespace {

constexpr CpuFeatures kAll{
    .avx2 = true, .avx512 = true, .avx512_vnni = true, .avx512_bf16 = true, .avx_vnni = true};

TEST(ArithmeticLoops, OfTheInstructionSetThatWasChosenAndTheProcessorHas) {
  const auto count = [](const CpuFeatures& features, std::string_view name) {
    return arithmetic_loops(features, name).size();
  };
  EXPECT_EQ(count(kAll, "avx2"), 1u);
  EXPECT_EQ(count(kAll, "avx_vnni"), 1u);
  EXPECT_EQ(count(kAll, "avx512"), 1u);
  EXPECT_EQ(count(kAll, "avx512_vnni"), 2u);
  EXPECT_EQ(count({.avx2 = true, .avx512 = true, .avx512_vnni = true}, "avx512_vnni"), 1u);
  EXPECT_EQ(count({}, "avx512_vnni"), 0u);
  EXPECT_EQ(count(kAll, "another"), 0u);
}

TEST(ArithmeticLoops, CountWhatTheyDo) {
  const CpuFeatures here = detect_cpu_features();
  for (const char* name : {"avx2", "avx_vnni", "avx512", "avx512_vnni"}) {
    for (const ArithmeticLoop& loop : arithmetic_loops(here, name)) {
      EXPECT_EQ(loop.run(0), 0u) << name;
      const uint64_t once = loop.run(1);
      EXPECT_GT(once, 0u) << name;
      EXPECT_EQ(loop.run(1000), 1000 * once) << name << " " << loop.type;
      EXPECT_EQ(loop.integers, loop.type == "int8");
    }
  }
}

}  // namespace
}  // namespace hadal::cpu
