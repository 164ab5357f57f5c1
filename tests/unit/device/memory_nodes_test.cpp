// The CPU device on a machine of several memory nodes: a simulated one, whose second node this
// machine need not have.
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

#include "device/cpu/cpu_device.h"
#include "device/registry.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

void put(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

std::string made_of(const std::string& nodes) {
  return "Cpus_allowed_list:\t0-3\nMems_allowed_list:\t" + nodes + "\n";
}

int policy_of(void* address) {
  int policy = -1;
  const long flags = address == nullptr ? 0 : MPOL_F_ADDR;
  return syscall(SYS_get_mempolicy, &policy, nullptr, 0, address, flags) == 0 ? policy : -1;
}

TEST(MemoryNodes, BuffersLieOnSeveralByTurnsAndOnOneAsEver) {
  if (cpu_instruction_sets().empty()) GTEST_SKIP() << "this processor has no AVX2";
  if (policy_of(nullptr) != MPOL_DEFAULT) GTEST_SKIP() << "no memory policies, or one is set";
  const TempFolder folder;
  const fs::path nodes = folder.path() / "sys/devices/system/node";
  put(nodes / "has_memory", "0-1\n");
  put(nodes / "node0/cpulist", "0-1\n");
  put(nodes / "node1/cpulist", "2-3\n");
  for (const bool several : {false, true}) {
    put(folder.path() / "proc/self/status", made_of(several ? "0-1" : "0"));
    const auto device = make_cpu_device({.threads = 2, .root = folder.path()});
    ASSERT_TRUE(device) << device.error().message;
    const std::string& text = (*device)->info().description;
    if (several && text.find("(not by turns") != text.npos) GTEST_SKIP() << text;
    EXPECT_EQ(text.ends_with(", memory on 2 nodes by turns"), several) << text;
    EXPECT_EQ(text.find("nodes") != text.npos, several) << text;
    for (const size_t bytes : {size_t{100}, size_t{8} << 20}) {
      const auto buffer = (*device)->allocate(bytes);
      ASSERT_TRUE(buffer) << buffer.error().message;
      void* data = (*buffer)->tensor(QuantType::kF32, 1, 1).data;
      EXPECT_EQ(policy_of(data), several ? MPOL_INTERLEAVE : MPOL_DEFAULT) << bytes;
    }
    EXPECT_EQ(policy_of(nullptr), MPOL_DEFAULT) << "the caller's thread stays as it is";
  }
}

}  // namespace
}  // namespace hadal
