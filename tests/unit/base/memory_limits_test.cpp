#include "base/memory_limits.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/cgroup.h"
#include "support/sanitizers.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

// A machine of our own making: the files of /proc and /sys/fs/cgroup that the limits are read from.
class FakeMachine : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("hadal_limits_" + std::to_string(getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void put(const std::string& path, const std::string& text) {
    const fs::path file = root_ / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  fs::path root_;
};

constexpr uint64_t kMiB = 1 << 20;

TEST_F(FakeMachine, NothingKnownIsNoLimit) {
  EXPECT_FALSE(cgroup_memory_left(root_));
  EXPECT_FALSE(cgroup_cpu_quota(root_));
}

TEST_F(FakeMachine, TheSystemsAvailableMemory) {
  put("proc/meminfo", "MemTotal: 9999 kB\nMemAvailable:    2048 kB\n");
  EXPECT_EQ(available_memory_bytes(root_), 2 * kMiB);
}

TEST_F(FakeMachine, AContainersLimitOfVersion2) {
  put("proc/meminfo", "MemAvailable: 1000000 kB\n");
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "104857600\n");
  put("sys/fs/cgroup/memory.current", "41943040\n");
  EXPECT_EQ(available_memory_bytes(root_), 60 * kMiB);
  // Pages of files count as used, but are given back before anyone is refused.
  put("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 10485760\nactive_file 20971520\n");
  EXPECT_EQ(cgroup_memory_left(root_), 90 * kMiB);
}

TEST_F(FakeMachine, TheTightestGroupAroundCounts) {
  put("proc/self/cgroup", "0::/outer/inner\n");
  put("sys/fs/cgroup/outer/memory.max", "20971520\n");
  put("sys/fs/cgroup/outer/memory.current", "10485760\n");
  put("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  put("sys/fs/cgroup/outer/inner/memory.current", "5\n");
  put("sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
  put("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_memory_left(root_), 10 * kMiB);
  EXPECT_DOUBLE_EQ(cgroup_cpu_quota(root_).value_or(0), 1.5);
}

TEST_F(FakeMachine, AContainersLimitOfVersion1WithTheHostsPath) {
  put("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n1:name=systemd:/x\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "31457280\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "20971520\n");
  put("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 1048576\n");
  put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_memory_left(root_), 11 * kMiB);
  EXPECT_DOUBLE_EQ(cgroup_cpu_quota(root_).value_or(0), 0.5);
}

TEST_F(FakeMachine, MoreUsedThanAllowedLeavesNothing) {
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "10\n");
  put("sys/fs/cgroup/memory.current", "20\n");
  EXPECT_EQ(cgroup_memory_left(root_), 0u);
}

TEST_F(FakeMachine, NonsenseIsNoLimit) {
  put("proc/self/cgroup", "0\n::\nx:y\n0::/../../etc\n");
  put("sys/fs/cgroup/memory.max", "-1\n");
  put("sys/fs/cgroup/memory.current", "\n");
  put("sys/fs/cgroup/cpu.max", "100000");
  EXPECT_FALSE(cgroup_memory_left(root_));
  EXPECT_FALSE(cgroup_cpu_quota(root_));
}

TEST(AvailableMemory, ThisMachineHasSome) {
  EXPECT_GT(available_memory_bytes(), kMiB);
}

TEST(AvailableMemory, KeepsToTheLimitOnAddressSpace) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own address space is beyond any limit";
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &old), 0);
  rlimit tight = old;
  tight.rlim_cur = 512 * kMiB;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  const uint64_t left = available_memory_bytes();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &old), 0);
  EXPECT_LT(left, 512 * kMiB);
  EXPECT_GT(left, 256 * kMiB);  // this small program has not taken half of it
}

}  // namespace
}  // namespace hadal
