#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cgroup.h"
#include "base/check.h"

namespace hadal {
namespace {

// Longer than the caller works alone between two regions of a step, shorter than anyone notices a
// busy core for. Waking a sleeping thread costs 50 to 80 microseconds on a virtual machine, a
// spinning one less than one. By the clock: a `pause` takes 10 to 140 cycles.
constexpr auto kSpinTime = std::chrono::microseconds(200);
constexpr int kPausesPerClockReading = 16;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

uint32_t usable_cpus() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) {
    return std::max(1u, std::thread::hardware_concurrency());  // more CPUs than the mask has bits
  }
  return static_cast<uint32_t>(std::max(1, CPU_COUNT(&mask)));
}

// Distinct physical cores among the CPUs this process may use; all CPUs where /sys does not say.
uint32_t usable_cores(const std::filesystem::path& root) {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) return usable_cpus();
  std::set<std::string> cores;  // the list of a core's threads is its name
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const auto topology = root / ("sys/devices/system/cpu/cpu" + std::to_string(cpu)) / "topology";
    std::string core = read_system_file(topology / "core_cpus_list", 4096);
    if (core.empty()) core = read_system_file(topology / "thread_siblings_list", 4096);
    if (core.empty()) core = "cpu " + std::to_string(cpu);
    cores.insert(core);
  }
  return static_cast<uint32_t>(std::max<size_t>(1, cores.size()));
}

}  // namespace

struct ThreadPool::Shared {
  // Written by the caller before `region` rises, read by workers after they saw it rise.
  Call call = nullptr;
  void* context = nullptr;
  bool stop = false;
  std::chrono::nanoseconds spin_time = kSpinTime;
  alignas(64) std::atomic<uint32_t> region{0};   // rises by one for each parallel region
  alignas(64) std::atomic<uint32_t> working{0};  // workers that have not finished the region
  std::vector<std::thread> workers;

  // Returns once `value` is no longer `old`: spins a while, then sleeps in the kernel.
  void wait_while(const std::atomic<uint32_t>& value, uint32_t old) const {
    const auto until = std::chrono::steady_clock::now() + spin_time;
    do {
      for (int pause = 0; pause < kPausesPerClockReading; ++pause) {
        if (value.load(std::memory_order_acquire) != old) return;
        relax();
      }
    } while (std::chrono::steady_clock::now() < until);
    value.wait(old, std::memory_order_acquire);
  }

  void work(uint32_t thread) {
    for (uint32_t seen = 0;; ++seen) {
      wait_while(region, seen);
      if (stop) return;
      call(context, thread);
      // The read-modify-write orders everything the body wrote before the caller's return.
      if (working.fetch_sub(1, std::memory_order_acq_rel) == 1) working.notify_one();
    }
  }

  void start_region() {
    region.fetch_add(1, std::memory_order_seq_cst);
    region.notify_all();
  }
};

ThreadPool::ThreadPool(uint32_t threads) : threads_(1), shared_(std::make_unique<Shared>()) {
  CHECK(threads >= 1);
  if (threads > usable_cpus())
    shared_->spin_time = {};  // spinning would hold up the thread waited for
  shared_->workers.reserve(threads - 1);
  while (threads_ < threads) {
    try {
      shared_->workers.emplace_back([shared = shared_.get(), id = threads_] { shared->work(id); });
    } catch (const std::system_error&) {
      break;  // the system allows no more threads: fewer do the same work
    }
    ++threads_;
  }
}

ThreadPool::~ThreadPool() {
  shared_->stop = true;
  shared_->start_region();
  for (std::thread& worker : shared_->workers) worker.join();
}

void ThreadPool::run_erased(Call call, void* context) {
  Shared& shared = *shared_;
  if (shared.workers.empty()) return call(context, 0);
  shared.call = call;
  shared.context = context;
  shared.working.store(static_cast<uint32_t>(shared.workers.size()), std::memory_order_relaxed);
  shared.start_region();
  call(context, 0);
  for (uint32_t left; (left = shared.working.load(std::memory_order_acquire)) != 0;) {
    shared.wait_while(shared.working, left);
  }
}

uint32_t default_thread_count(const std::filesystem::path& root) {
  uint32_t threads = usable_cores(root);
  if (const auto quota = cgroup_cpu_quota(root)) {
    // Whole CPUs: a thread more would be throttled, and all others would wait for it.
    threads = std::min(threads, static_cast<uint32_t>(std::clamp(*quota, 1.0, 4096.0)));
  }
  return std::max(1u, threads);
}

}  // namespace hadal
