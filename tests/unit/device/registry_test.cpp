#include "device/registry.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hadal {
namespace {

TEST(Registry, OpensEveryDeviceByName) {
  for (const std::string_view name : device_names()) {
    auto device = open_device({.name = std::string(name), .threads = 2});
    ASSERT_TRUE(device) << name << ": " << device.error().message;
    EXPECT_EQ((*device)->info().name, name);
    EXPECT_GE((*device)->info().threads, 1u);
    EXPECT_GT((*device)->info().memory_bytes, 0u);
    EXPECT_TRUE((*device)->wait());
  }
}

TEST(Registry, UnknownNameListsTheKnownOnes) {
  const auto device = open_device({.name = "gpu"});
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().message, "unknown device `gpu`; known: cpu, reference");
}

TEST(Registry, EveryListedInstructionSetCanBeForced) {
  const auto sets = cpu_instruction_sets();
  if (sets.empty()) GTEST_SKIP() << "this processor has no AVX2";
  for (const std::string_view set : sets) {
    auto device = open_device({.name = "cpu", .instruction_set = std::string(set)});
    ASSERT_TRUE(device) << set << ": " << device.error().message;
    EXPECT_EQ((*device)->info().instruction_set, set);
  }
  const auto best = open_device({.name = "cpu"});
  ASSERT_TRUE(best);
  EXPECT_EQ((*best)->info().instruction_set, sets.back());
}

TEST(Registry, RefusesWhatIsNotThere) {
  const auto unknown = open_device({.name = "cpu", .instruction_set = "neon"});
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("`neon` is not usable here; usable: avx2"),
            std::string::npos)
      << unknown.error().message;
  const auto of_reference = open_device({.name = "reference", .instruction_set = "avx2"});
  ASSERT_FALSE(of_reference);
  const auto threads = open_device({.name = "cpu", .threads = 1'000'000});
  ASSERT_FALSE(threads);
  EXPECT_EQ(threads.error().message, "1000000 threads; the limit is 1024");
}

}  // namespace
}  // namespace hadal
