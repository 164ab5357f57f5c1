// The CPU device's ops: shapes checked, work cut for the threads, kernels called.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "device/cpu/arena.h"
#include "device/cpu/kernels/table.h"
#include "device/cpu/scratch.h"
#include "device/ops.h"

namespace hadal::cpu {

class CpuOps final : public Ops {
 public:
  CpuOps(Device& device, const KernelTable& kernels, uint32_t threads)
      : device_(device), kernels_(kernels), pool_(threads) {}

  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void rope(const RopeArgs& args) override;
  void store_kv(const StoreKvArgs& args) override;
  void attention(const AttentionArgs& args) override;
  void swiglu(const SwigluArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;
  void latent_attention(const LatentAttentionArgs&) override { CHECK(!"not written yet"); }
  void route(const RouteArgs&) override { CHECK(!"not written yet"); }
  void experts(const ExpertsArgs&) override { CHECK(!"not written yet"); }

  ThreadPool& pool() { return pool_; }
  const KernelTable& kernels() const { return kernels_; }
  // The first failure since the last call, for Device::wait.
  Status take_failure();

 private:
  void check(const Tensor& tensor) const;
  void check(const Weight& weight) const;
  std::byte* reserve(Scratch& scratch, size_t bytes);  // null: failed, and remembered

  // body(first, last, thread) over [0, count) in runs of at most `grain`, handed to whichever
  // thread is free: a thread that another program holds up delays nobody. One run: the caller
  // alone.
  template <typename Body>
  void parallel(size_t count, size_t grain, Body&& body) {
    if (count <= grain || pool_.threads() == 1) {
      if (count != 0) body(size_t{0}, count, uint32_t{0});
      return;
    }
    std::atomic<size_t> next{0};
    pool_.run([&](uint32_t thread) {
      for (size_t first; (first = next.fetch_add(grain, std::memory_order_relaxed)) < count;) {
        body(first, std::min(count, first + grain), thread);
      }
    });
  }

  // matmul, in the order of its steps.
  struct Product;
  struct MatmulPlan;
  void plan_matmul(const MatmulArgs& args, MatmulPlan& plan) const;
  bool reserve_matmul(MatmulPlan& plan);
  void multiply_run(const MatmulPlan& plan, size_t run, uint32_t thread) const;

  // attention, in the order of its steps.
  struct AttentionPlan;
  struct AttentionItem;
  void plan_attention(AttentionPlan& plan) const;
  bool reserve_attention(AttentionPlan& plan);
  static AttentionTile thread_tile(const AttentionPlan& plan, Arena& arena);
  static AttentionItem attention_item(const AttentionPlan& plan, size_t index);
  void attend_item(const AttentionPlan& plan, size_t index, uint32_t thread) const;
  void finish_item(const AttentionPlan& plan, const AttentionItem& item, const AttentionTile& tile,
                   size_t index) const;
  void join_parts(const AttentionPlan& plan) const;

  // The cosines and sines of a rope, as its kernels take them; kept, as each layer asks for the
  // same.
  struct RopeTable {
    std::vector<int32_t> positions;
    std::vector<float> frequencies;
    float magnitude = 0;
    RopePairs pairs = RopePairs::kHalves;
    std::vector<float> cosines, sines;  // [positions][width]
    size_t width = 0;

    bool serves(const RopeArgs& args) const;
  };
  void fill_rope_table(const RopeArgs& args);

  // Rows so many that the other threads have something to do once they are awake.
  static size_t rows_at_once(uint32_t columns) {
    constexpr size_t kValues = 32768;
    return std::max<size_t>(1, kValues / std::max(1u, columns));
  }

  Device& device_;
  const KernelTable& kernels_;
  ThreadPool pool_;
  Scratch scratch_;
  RopeTable rope_;
  Status failure_;
};

}  // namespace hadal::cpu
