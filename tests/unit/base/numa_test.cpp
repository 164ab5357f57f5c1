#include "base/numa.h"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <thread>

#include "support/temp_folder.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Nodes = std::vector<uint32_t>;

// A machine of several nodes of our own making: this one may have a single node.
class SimulatedNodes : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    const fs::path file = root() / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void allow(const std::string& cpus, const std::string& nodes) {
    put("proc/self/status", "Name:\thadal\nCpus_allowed:\tff\nCpus_allowed_list:\t" + cpus +
                                "\nMems_allowed:\t3\nMems_allowed_list:\t" + nodes + "\n");
  }
  // Two sockets of four cores, and a node of memory alone.
  void two_sockets() {
    put("sys/devices/system/node/has_memory", "0-2\n");
    put("sys/devices/system/node/node0/cpulist", "0-3\n");
    put("sys/devices/system/node/node1/cpulist", "4-7\n");
    put("sys/devices/system/node/node2/cpulist", "\n");
  }
  fs::path root() const { return folder_.path(); }

  TempFolder folder_;
};

TEST_F(SimulatedNodes, ThoseWithMemoryAndCpus) {
  two_sockets();
  allow("0-7", "0-2");
  EXPECT_EQ(usable_numa_nodes(root()), (Nodes{0, 1}));
}

TEST_F(SimulatedNodes, TheAffinityMaskCounts) {
  two_sockets();
  allow("4,6", "0-2");
  EXPECT_EQ(usable_numa_nodes(root()), Nodes{1});
  allow("3-4", "0-2");
  EXPECT_EQ(usable_numa_nodes(root()), (Nodes{0, 1}));
}

TEST_F(SimulatedNodes, MemoryThatACpusetWithholdsDoesNot) {
  two_sockets();
  allow("0-7", "0");
  EXPECT_EQ(usable_numa_nodes(root()), Nodes{0});
}

TEST_F(SimulatedNodes, ANodeWithoutMemoryDoesNot) {
  two_sockets();
  put("sys/devices/system/node/has_memory", "1\n");
  allow("0-7", "0-1");
  EXPECT_EQ(usable_numa_nodes(root()), Nodes{1});
}

TEST_F(SimulatedNodes, NothingOrNonsenseSaidIsNone) {
  EXPECT_EQ(usable_numa_nodes(root()), Nodes{});
  two_sockets();
  EXPECT_EQ(usable_numa_nodes(root()), Nodes{});
  allow("0-7", "0-2");
  for (const char* text : {"", "-1", "x", "9-", "4000000000-4294967295", "3-1"}) {
    put("sys/devices/system/node/has_memory", text);
    EXPECT_EQ(usable_numa_nodes(root()), Nodes{}) << text;
  }
  put("sys/devices/system/node/has_memory", "1,0-4294967295");  // more than there can be
  EXPECT_EQ(usable_numa_nodes(root()), (Nodes{0, 1}));
}

TEST(PageInterleaving, WithFewerThanTwoNodesThereIsNothingToDo) {
  for (const Nodes& nodes : {Nodes{}, Nodes{0}, Nodes{0, 5000}}) {
    const PageInterleaving pages(nodes);
    EXPECT_FALSE(pages.active());
    EXPECT_EQ(pages.text(), "");
  }
}

int policy_of(void* address) {
  int policy = -1;
  const long flags = address == nullptr ? 0 : MPOL_F_ADDR;
  return syscall(SYS_get_mempolicy, &policy, nullptr, 0, address, flags) == 0 ? policy : -errno;
}

// Of the nodes asked for the kernel takes those that are there: with one it still keeps the policy.
TEST(PageInterleaving, TheKernelIsAsked) {
  int policy = policy_of(nullptr);
  if (policy != MPOL_DEFAULT) GTEST_SKIP() << "no memory policies here, or one is set: " << policy;
  const PageInterleaving pages(Nodes{0, 1});
  if (!pages.active()) GTEST_SKIP() << pages.text();
  EXPECT_EQ(pages.text(), "memory on 2 nodes by turns");
  constexpr size_t kBytes = 1 << 20;
  void* data = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(data, MAP_FAILED);
  EXPECT_EQ(policy_of(data), MPOL_DEFAULT);
  pages.apply(data, kBytes);
  EXPECT_EQ(policy_of(data), MPOL_INTERLEAVE);
  munmap(data, kBytes);
  std::thread([&] {
    pages.apply_to_this_thread();
    policy = policy_of(nullptr);
    EXPECT_EQ(PageInterleaving(Nodes{0, 1}).text(),
              "memory on 2 nodes (as the program was started)");
  }).join();
  EXPECT_EQ(policy, MPOL_INTERLEAVE);
  EXPECT_EQ(policy_of(nullptr), MPOL_DEFAULT) << "of the other thread alone";
}

TEST(PageInterleaving, WhatTheKernelRefusesIsSaidAndDoesNoHarm) {
  if (policy_of(nullptr) != MPOL_DEFAULT) GTEST_SKIP() << "a memory policy is set";
  const PageInterleaving pages(Nodes{1022, 1023});
  EXPECT_FALSE(pages.active());
  EXPECT_TRUE(pages.text().starts_with("memory on 2 nodes (not by turns: ")) << pages.text();
  pages.apply_to_this_thread();
  EXPECT_EQ(policy_of(nullptr), MPOL_DEFAULT);
}

}  // namespace
}  // namespace hadal
