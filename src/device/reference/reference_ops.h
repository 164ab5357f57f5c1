// The reference device's ops.
#pragma once

#include <vector>

#include "base/thread_pool.h"
#include "device/ops.h"

namespace hadal {

class ReferenceOps final : public Ops {
 public:
  ReferenceOps(Device& device, uint32_t threads) : device_(device), pool_(threads) {}

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

 private:
  static constexpr size_t kWorkAlone = 1 << 16;

  void check(const Tensor& tensor) const;
  void check(const Weight& weight) const;

  // body(first, last, thread) over [0, count), cut into one run of multiples of `step` a thread.
  // `work` is the additions in all: what is done sooner than a thread wakes, the caller does alone.
  template <typename Body>
  void parallel(size_t count, size_t step, size_t work, Body&& body) {
    if (count == 0) return;
    if (work < kWorkAlone) return body(size_t{0}, count, uint32_t{0});
    const size_t groups = (count + step - 1) / step;
    pool_.run([&](uint32_t thread) {
      const size_t first = groups * thread / pool_.threads() * step;
      const size_t last = groups * (thread + 1) / pool_.threads() * step;
      if (first < count && first < last) body(first, last < count ? last : count, thread);
    });
  }

  void project(const Projection& projection, uint32_t tokens, uint32_t columns, Store store);
  void attend(const AttentionArgs& args, uint32_t sequence);
  void attend_latents(const LatentAttentionArgs& args, uint32_t sequence);

  Device& device_;
  ThreadPool pool_;
  // Scratch, grown to the largest op seen; owned by the caller's thread between parallel regions.
  std::vector<double> inputs_;               // a matmul's input, in tiles of tokens
  std::vector<std::vector<float>> row_;      // by thread: a decoded row
  std::vector<std::vector<double>> rows_;    // by thread: decoded rows of a matmul
  std::vector<std::vector<double>> scores_;  // by thread: one query, its scores, its sums
  std::vector<double> keys_, values_;        // one sequence's, one head's, all positions
  std::vector<std::vector<float>> heads_;    // by thread: one head's matrices of latent attention
  std::vector<double> sums_;                 // what a token's experts add up to
  std::vector<float> hidden_;                // one expert's inner values, for the tokens it has
};

}  // namespace hadal
