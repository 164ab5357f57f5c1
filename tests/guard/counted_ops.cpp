// A fixed piece of work for each kernel that matters, on the cpu device with AVX2 forced and one
// thread: what instructions.py has callgrind count. Prints a line a piece, in the order of the
// calls of hadal_counted_call: name, how many units of work, the unit.
//
//   counted_ops                 exit status 77 and a sentence: this machine has no AVX2
//   counted_ops --built-with    the compiler, and what of the build changes counts
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "device/registry.h"
#include "support/workbench.h"

// The one function that callgrind counts in: a name of its own, that no compiler changes.
extern "C" [[gnu::noinline]] void hadal_counted_call(const std::function<void()>& body) {
  body();
}

namespace hadal {
namespace {

// The width of the 1.5B model; rows and tokens enough that what is done once a call is a small
// part.
constexpr uint32_t kColumns = 1536, kRows = 256, kManyTokens = 64;

constexpr int kUnusable = 77;

class Counter {
 public:
  explicit Counter(Device& device) : device_(device) {}

  void matmul(QuantType type, std::initializer_list<uint32_t> token_counts) {
    const StoredWeight stored = random_weight(random_, type, kRows, kColumns);
    Workbench bench(device_);
    const Weight weight = bench.matrix(stored);
    for (const uint32_t tokens : token_counts) {
      const Tensor in = bench.tensor(random_matrix(random_, tokens, kColumns));
      const Tensor out = bench.blank(tokens, kRows);
      count(fmt::format("matmul {} {}", quant_format(type).name, tokens),
            1.0 * tokens * kRows * kColumns, "multiply-add", [&] {
              device_.ops().matmul({in, {{weight, {}, out}}});
            });
    }
  }

  // `tokens` of one sequence that end at `length`; groups of six heads, as Qwen2 1.5B has them.
  void attention(QuantType type, uint32_t tokens, uint32_t length) {
    constexpr uint32_t kHeads = 12, kKvHeads = 2, kWidth = 128, kBlockTokens = 32;
    Workbench bench(device_);
    const uint32_t blocks = length / kBlockTokens;
    const auto rows = [&] { return bench.blank_of(type, length, kKvHeads * kWidth); };
    const PagedKv cache{rows(), rows(), kBlockTokens};
    std::vector<int32_t> positions(length);
    std::iota(positions.begin(), positions.end(), 0);
    std::vector<uint32_t> table(blocks);
    std::iota(table.begin(), table.end(), 0);
    const std::vector<uint32_t> all = {0, length}, now = {0, tokens};
    const auto past = [&] {
      return bench.tensor(random_matrix(random_, length, kKvHeads * kWidth));
    };
    device_.ops().store_kv({past(), past(), cache, {positions, all, table, blocks}});
    const std::span<const int32_t> last = std::span(positions).last(tokens);
    const Tensor query = bench.tensor(random_matrix(random_, tokens, kHeads * kWidth));
    const Tensor out = bench.blank(tokens, kHeads * kWidth);
    double seen = 0;
    for (const int32_t position : last) seen += position + 1;
    count(fmt::format("attention {} {}@{}", quant_format(type).name, tokens, length),
          seen * kHeads * 2 * kWidth, "multiply-add", [&] {
            device_.ops().attention({.query = query,
                                     .cache = cache,
                                     .layout = {last, now, table, blocks},
                                     .heads = kHeads,
                                     .kv_heads = kKvHeads,
                                     .scale = 1 / std::sqrt(float{kWidth}),
                                     .out = out});
          });
  }

  void vectors() {
    Workbench bench(device_);
    const Tensor in = bench.tensor(random_matrix(random_, kManyTokens, kColumns));
    const Tensor other = bench.tensor(random_matrix(random_, kManyTokens, kColumns));
    const Tensor out = bench.blank(kManyTokens, kColumns);
    const StoredWeight stored =
        stored_vector(QuantType::kF32, random_matrix(random_, 1, kColumns).values);
    const Weight gain = bench.vector(stored);
    constexpr double kValues = double{kManyTokens} * kColumns;
    count("rms_norm", kValues, "value", [&] { device_.ops().rms_norm({in, gain, 1e-6f, out}); });
    count("swiglu", kValues, "value", [&] { device_.ops().swiglu({in, other, out}); });
    constexpr uint32_t kWidth = 128;
    std::vector<int32_t> positions(kManyTokens);
    std::iota(positions.begin(), positions.end(), 0);
    std::vector<float> frequencies(kWidth / 2);
    for (uint32_t i = 0; i < kWidth / 2; ++i) {
      frequencies[i] = std::pow(1e4f, -static_cast<float>(i) / (kWidth / 2));
    }
    for (const auto& [pairs, name] : {std::pair{RopePairs::kHalves, "rope halves"},
                                      std::pair{RopePairs::kInterleaved, "rope interleaved"}}) {
      count(name, kValues, "value", [&] {
        device_.ops().rope({in, kWidth, pairs, positions, frequencies});
      });
    }
  }

 private:
  // The first call takes scratch and makes tables; the second is the one that counts.
  void count(const std::string& name, double units, const char* unit,
             const std::function<void()>& body) {
    body();
    hadal_counted_call(body);
    fmt::print("{}\t{:.0f}\t{}\n", name, units, unit);
  }

  Device& device_;
  Random random_{1};
};

// Counts are a compiler's: the table says whose it holds.
std::string built_with() {
#if defined(__clang__)
  std::string name = fmt::format("clang {}", __clang_major__);
#else
  std::string name = fmt::format("g++ {}", __GNUC__);
#endif
#if !defined(NDEBUG)
  name += ", not the release preset";
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  name += ", sanitized";
#endif
  return name;
}

void count_all(Device& device) {
  Counter counter(device);
  for (const QuantType type :
       {QuantType::kQ4_0, QuantType::kQ4_K, QuantType::kQ6_K, QuantType::kQ8_0}) {
    counter.matmul(type, {1, 4, kManyTokens});
  }
  counter.matmul(QuantType::kF16, {1, kManyTokens});
  counter.matmul(QuantType::kBF16, {1, kManyTokens});
  counter.attention(QuantType::kF16, 1, 1024);
  counter.attention(QuantType::kF16, kManyTokens, 512);
  counter.attention(QuantType::kQ8_0, 1, 1024);
  counter.vectors();
}

}  // namespace
}  // namespace hadal

int main(int argument_count, char**) {
  if (argument_count > 1) {
    fmt::print("{}\n", hadal::built_with());
    return 0;
  }
  const auto device = hadal::open_device({.name = "cpu", .threads = 1, .instruction_set = "avx2"});
  if (!device) {
    fmt::print("{}\n", device.error().message);
    return hadal::kUnusable;
  }
  hadal::count_all(**device);
}
