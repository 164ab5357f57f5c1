// The CPU device's ops: shapes checked, work cut for the threads, kernels called.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "device/cpu/arena.h"
#include "device/cpu/product.h"
#include "device/cpu/scratch.h"
#include "device/ops.h"

namespace hadal::cpu {

class CpuOps final : public Ops {
 public:
  CpuOps(Device& device, const KernelTable& kernels, uint32_t threads);
  ~CpuOps() override;

  void embed(const EmbedArgs& args) override;
  void rms_norm(const RmsNormArgs& args) override;
  void matmul(const MatmulArgs& args) override;
  void rope(const RopeArgs& args) override;
  void store_kv(const StoreKvArgs& args) override;
  void attention(const AttentionArgs& args) override;
  void latent_attention(const LatentAttentionArgs& args) override;
  void swiglu(const SwigluArgs& args) override;
  void route(const RouteArgs& args) override;
  void experts(const ExpertsArgs& args) override;
  void gather_rows(const GatherRowsArgs& args) override;

  ThreadPool& pool() { return pool_; }
  const KernelTable& kernels() const { return kernels_; }
  // The first failure since the last call, for Device::wait.
  Status take_failure();

 private:
  void check(const Tensor& tensor) const;
  void check(const Weight& weight) const;
  void check_whole(const Tensor& tensor) const;        // i32
  std::byte* reserve(Scratch& scratch, size_t bytes);  // null: failed, and remembered

  // cut(arena) takes the arrays of an op: once to know the size, once to have the places. false:
  // failed, and remembered.
  template <typename Cut>
  bool cut_scratch(Scratch& scratch, Cut&& cut) {
    Arena arena;
    cut(arena);
    std::byte* memory = reserve(scratch, arena.used());
    if (memory == nullptr) return false;
    arena.start(memory);
    cut(arena);
    return true;
  }

  // body(first, last, thread) over [0, count) in stretches handed to whichever thread is free: a
  // thread that another program holds up delays nobody. The first are long, as memory is read
  // fastest in one direction; each takes its share of half of what is left, down to `grain`, so
  // that all end together. One stretch: the caller alone.
  template <typename Body>
  void parallel(size_t count, size_t grain, Body&& body) {
    if (count <= grain || pool_.threads() == 1) {
      if (count != 0) body(size_t{0}, count, uint32_t{0});
      return;
    }
    std::atomic<size_t> next{0};
    pool_.run([&](uint32_t thread) {
      for (size_t first = next.load(std::memory_order_relaxed); first < count;) {
        const size_t share = (count - first) / (2 * pool_.threads());
        const size_t last = std::min(count, first + std::max(grain, share));
        if (!next.compare_exchange_weak(first, last, std::memory_order_relaxed)) continue;
        body(first, last, thread);
        first = next.load(std::memory_order_relaxed);
      }
    });
  }

  // matmul, in the order of its steps.
  struct Product;
  struct MatmulPlan;
  void plan_matmul(const MatmulArgs& args, MatmulPlan& plan) const;
  bool reserve_matmul(MatmulPlan& plan);
  void multiply_runs(const MatmulPlan& plan, size_t first, size_t last, uint32_t thread) const;
  void quantize_rows(const Tensor& in, const Activations& to);

  // experts, in the order of its steps.
  struct ExpertGroup;
  struct ExpertsPlan;
  void plan_experts(ExpertsPlan& plan);
  void group_tokens(const ExpertsArgs& args);
  bool reserve_experts(ExpertsPlan& plan);
  void gather_place(const ExpertsPlan& plan, size_t place) const;
  void gate_run(const ExpertsPlan& plan, size_t run, uint32_t thread) const;
  void down_run(const ExpertsPlan& plan, size_t run, uint32_t thread) const;

  // latent attention, in the order of its steps.
  struct HeadProducts;
  struct ExpandedPlan;
  void check_latent(const LatentAttentionArgs& args) const;
  LatentAttentionArgs sequences_of(const LatentAttentionArgs& args, uint32_t first, uint32_t last);
  void attend_absorbed(const LatentAttentionArgs& args);
  void attend_expanded(const LatentAttentionArgs& args);
  bool reserve_expanded(ExpandedPlan& plan);
  static AttentionTile expanded_tile(const ExpandedPlan& plan, Arena& arena);
  void expand_block(ExpandedPlan& plan);
  void attend_tile(const ExpandedPlan& plan, size_t index, uint32_t thread) const;
  void finish_expanded(const ExpandedPlan& plan);
  void multiply_heads(const HeadProducts& products);
  void multiply_rows(const HeadProducts& products);
  void multiply_columns(const HeadProducts& products);
  void multiply_tile(const HeadProducts& products, size_t head, size_t first, size_t last,
                     float* rows) const;

  // attention, in the order of its steps.
  struct AttentionPlan;
  struct AttentionItem;
  struct HeadAttention;
  void plan_attention(AttentionPlan& plan) const;
  bool reserve_attention(AttentionPlan& plan);
  static AttentionTile thread_tile(const AttentionPlan& plan, Arena& arena);
  static AttentionItem attention_item(const AttentionPlan& plan, size_t index);
  void attend_heads(const AttentionPlan& plan, size_t work, uint32_t thread) const;
  static uint32_t start_tile(const AttentionPlan& plan, const AttentionItem& item,
                             AttentionTile& tile);
  static AttentionRun find_run(const AttentionPlan& plan, const AttentionItem& item, uint32_t index,
                               uint32_t length);
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
  Scratch latent_scratch_;  // what latent attention keeps while its parts have scratch_
  std::vector<uint32_t> latent_starts_;  // of the sequences that take one of its forms
  std::vector<uint32_t> expert_starts_,
      expert_tokens_;  // a batch's choices in the order of experts
  std::vector<float> expert_weights_;
  std::vector<ExpertGroup> expert_groups_;
  RopeTable rope_;
  Status failure_;
};

}  // namespace hadal::cpu
