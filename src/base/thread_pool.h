// A fixed set of threads that run one parallel region at a time. The caller is thread 0 and works
// too. Between regions the workers spin for a short while (a decode step is hundreds of regions)
// and then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

namespace hadal {

class ThreadPool {
 public:
  // At least 1; 1 means the caller alone. Fewer threads than asked where the system starts no more.
  explicit ThreadPool(uint32_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t threads() const { return threads_; }

  // Calls body(thread) once on each thread, thread in [0, threads()); returns when all are done.
  // Not reentrant; one caller at a time. The body must not throw.
  template <typename Body>
  void run(Body&& body) {
    run_erased([](void* context, uint32_t thread) { (*static_cast<Body*>(context))(thread); },
               &body);
  }

 private:
  using Call = void (*)(void* context, uint32_t thread);
  void run_erased(Call call, void* context);
  struct Shared;
  uint32_t threads_;
  std::unique_ptr<Shared> shared_;
};

// One thread per physical core this process may use (affinity mask and container CPU quota
// respected), at least 1. `root` stands for "/" (tests); the affinity mask is always the real one.
uint32_t default_thread_count(const std::filesystem::path& root = "/");

}  // namespace hadal
