#include "device/cpu/speeds.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/memory_limits.h"
#include "base/sizes.h"
#include "device/cpu/arithmetic_loops.h"
#include "device/cpu/scratch.h"

namespace hadal::cpu {
namespace {

constexpr size_t kReadBytes = size_t{1} << 30;  // four times the largest cache we know of
constexpr size_t kReadBytesLeast = size_t{64} << 20;
constexpr int kReadRepeats = 5;
constexpr int kArithmeticRepeats = 5;
constexpr size_t kRunBytes = size_t{1} << 20;  // taken by a thread at once
constexpr uint64_t kArithmeticRounds = 2'000'000;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double measure_read(ThreadPool& pool, const KernelTable& kernels, const std::byte* data,
                    size_t bytes) {
  std::atomic<size_t> next{0};
  std::atomic<uint32_t> mix{0};
  const auto start = std::chrono::steady_clock::now();
  pool.run([&](uint32_t) {
    uint32_t seen = 0;
    for (size_t first; (first = next.fetch_add(kRunBytes)) < bytes;) {
      seen ^= kernels.read(data + first, std::min(kRunBytes, bytes - first));
    }
    mix ^= seen;  // keeps the loop: what was read is used
  });
  return static_cast<double>(bytes) / seconds_since(start);
}

double measure_arithmetic(ThreadPool& pool, uint64_t (*loop)(uint64_t rounds)) {
  std::atomic<uint64_t> total{0};
  const auto start = std::chrono::steady_clock::now();
  pool.run([&](uint32_t) { total += loop(kArithmeticRounds); });
  return static_cast<double>(total) / seconds_since(start);
}

void measure_peaks(ThreadPool& pool, const KernelTable& kernels, DeviceSpeeds& speeds) {
  std::vector<ArithmeticLoop> loops = arithmetic_loops(detect_cpu_features(), kernels.name);
  loops.push_back({.type = "float32", .run = kernels.multiply_adds});
  for (int repeat = 0; repeat < kArithmeticRepeats; ++repeat) {
    for (const ArithmeticLoop& loop : loops) {
      const ArithmeticSpeed speed{loop.type, measure_arithmetic(pool, loop.run)};
      for (ArithmeticSpeed* best : {&speeds.weights, &speeds.attention}) {
        if (best == &speeds.attention && loop.integers) continue;
        if (speed.multiply_adds_per_s > best->multiply_adds_per_s) *best = speed;
      }
    }
  }
}

}  // namespace

Result<DeviceSpeeds> measure_speeds(Device& device, ThreadPool& pool, const KernelTable& kernels) {
  const size_t left = available_memory_bytes();
  const size_t bytes = std::min(kReadBytes, left / 4 / kRunBytes * kRunBytes);
  if (bytes < kReadBytesLeast) {
    return fail("measuring the read speed takes {} of memory, {} are left",
                format_bytes(4 * kReadBytesLeast), format_bytes(left));
  }
  HADAL_TRY(const auto memory, allocate_host(device, bytes));
  pool.run([&](uint32_t thread) {  // commits the pages, near the threads that read them
    const size_t runs = bytes / kRunBytes, threads = pool.threads();
    const size_t first = runs * thread / threads * kRunBytes;
    const size_t last = runs * (thread + 1) / threads * kRunBytes;
    std::memset(memory->data() + first, 1, last - first);
  });
  DeviceSpeeds speeds;
  for (int repeat = 0; repeat < kReadRepeats; ++repeat) {
    speeds.read_bytes_per_s =
        std::max(speeds.read_bytes_per_s, measure_read(pool, kernels, memory->data(), bytes));
  }
  measure_peaks(pool, kernels, speeds);
  return speeds;
}

}  // namespace hadal::cpu
