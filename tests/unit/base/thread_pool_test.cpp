#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "support/temp_folder.h"

namespace hadal {
namespace {

TEST(ThreadPool, CallsTheBodyOnceOnEachThread) {
  for (const uint32_t threads : {1u, 2u, 3u, 7u}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    std::vector<int> calls(threads, 0);
    for (int region = 1; region <= 200; ++region) {
      pool.run([&](uint32_t thread) { ++calls.at(thread); });
      ASSERT_EQ(calls, std::vector<int>(threads, region));
    }
  }
}

TEST(ThreadPool, TheCallerIsThreadZeroAndTheOthersAreNot) {
  ThreadPool pool(3);
  std::vector<std::thread::id> ids(3);
  pool.run([&](uint32_t thread) { ids[thread] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_NE(ids[1], ids[0]);
  EXPECT_NE(ids[2], ids[0]);
  EXPECT_NE(ids[1], ids[2]);
}

// Plain memory, written in one region by one thread and read in the next by another: a race here
// is one the thread sanitizer sees.
TEST(ThreadPool, ARegionSeesWhatTheOneBeforeWrote) {
  constexpr uint32_t kThreads = 4;
  ThreadPool pool(kThreads);
  std::vector<uint64_t> values(kThreads), next(kThreads);
  std::iota(values.begin(), values.end(), 0);
  for (int region = 0; region < 2000; ++region) {
    pool.run([&](uint32_t thread) { next[thread] = values[(thread + 1) % kThreads] + 1; });
    values.swap(next);
  }
  const uint64_t sum = std::accumulate(values.begin(), values.end(), uint64_t{0});
  EXPECT_EQ(sum, 0u + 1 + 2 + 3 + 2000 * kThreads);
}

TEST(ThreadPool, WakesWorkersThatFellAsleep) {
  ThreadPool pool(2);
  int total = 0;
  for (int region = 0; region < 5; ++region) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // far beyond the spinning
    int calls[2] = {};
    pool.run([&](uint32_t thread) {
      // The other way round: the caller waits asleep for a slow worker.
      if (thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      calls[thread] = 1;
    });
    total += calls[0] + calls[1];
  }
  EXPECT_EQ(total, 10);
}

TEST(ThreadPool, ManyPoolsStartAndStop) {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(1 + i % 4);
    if (i % 2 == 0) pool.run([](uint32_t) {});
  }
}

TEST(DefaultThreadCount, KeepsToTheAffinityMask) {
  cpu_set_t whole;
  ASSERT_EQ(sched_getaffinity(0, sizeof(whole), &whole), 0);
  EXPECT_GE(default_thread_count(), 1u);
  EXPECT_LE(default_thread_count(), static_cast<uint32_t>(CPU_COUNT(&whole)));
  int first = 0;
  while (!CPU_ISSET(first, &whole)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  const uint32_t alone = default_thread_count();
  ASSERT_EQ(sched_setaffinity(0, sizeof(whole), &whole), 0);
  EXPECT_EQ(alone, 1u);
}

// A machine of our own making around the CPUs that this process really may use.
TEST(DefaultThreadCount, KeepsToAContainersQuotaAndToCores) {
  cpu_set_t mask;
  ASSERT_EQ(sched_getaffinity(0, sizeof(mask), &mask), 0);
  const auto cpus = static_cast<uint32_t>(CPU_COUNT(&mask));
  if (cpus < 2) GTEST_SKIP() << "one CPU leaves nothing to limit";
  const TempFolder folder;
  const auto put = [&](const std::string& name, const std::string& text) {
    const std::filesystem::path file = folder.path() / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  };
  EXPECT_EQ(default_thread_count(folder.path()), cpus) << "nothing known is no limit";
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/cpu.max", "190000 100000\n");
  EXPECT_EQ(default_thread_count(folder.path()), 1u) << "whole CPUs";
  put("sys/fs/cgroup/cpu.max", "20000 100000\n");
  EXPECT_EQ(default_thread_count(folder.path()), 1u) << "one at least";
  put("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(default_thread_count(folder.path()), cpus);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    put("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/core_cpus_list", "0-99\n");
  }
  EXPECT_EQ(default_thread_count(folder.path()), 1u) << "threads of one core";
}

}  // namespace
}  // namespace hadal
