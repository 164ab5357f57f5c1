// How fast a model runs here, beside what the machine can do: prompt and decode speed by the engine
// itself, at the depths and numbers of sequences that were asked for, and the device's speeds by
// its own loops in the same run, so that every figure is also a ratio.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "measure/statistics.h"

namespace hadal {

struct BenchOptions {
  std::vector<uint32_t> prompt_tokens = {512};  // 0 or none: no prompt run
  uint32_t decode_tokens = 128;                 // 0: no decode run; at least 2
  // Tokens that are in the cache before a run begins; the cache keeps whole blocks, so each is
  // rounded up to depth_in_cache().
  std::vector<uint32_t> depths = {0};
  // That decode together; each has a past of its own. At most the engine's sequences_max.
  std::vector<uint32_t> sequences = {1};
  uint32_t repetitions = 3;
};
inline constexpr size_t kBenchListMax = 64;  // entries of each list

uint32_t depth_in_cache(uint32_t depth);
// Tokens that the longest run takes: what the engine's context must hold.
uint64_t longest_run(const BenchOptions& options);
uint32_t most_sequences(const BenchOptions& options);
// Whether there is something to measure and a context of so many tokens holds it; the error names
// both numbers.
Status check_bench(const BenchOptions& options, uint32_t context_tokens);
// 0, 512, 1024, 2048 ... doubling, and `deepest` itself.
std::vector<uint32_t> ladder_depths(uint32_t deepest);

enum class BenchKind : uint8_t { kPrompt, kDecode };

// One thing that was measured, `repetitions` times. What a kind does not have is zero or none.
struct BenchRow {
  BenchKind kind = BenchKind::kPrompt;
  uint32_t tokens = 0;  // of the prompt, or that each sequence generates
  uint32_t depth = 0;   // that were in the cache
  uint32_t sequences = 1;
  Spread tokens_per_s;  // of all sequences together
  // What the machine's measured speeds allow (measure/roof.h), and how much of it was reached.
  double roof_tokens_per_s = 0, roof_percent = 0;
  std::optional<double> joules_per_token;  // of the processor's packages (measure/energy.h)

  // Prompt.
  Spread time_to_first_token_s;
  double multiply_adds_per_s = 0;  // in the weights' matrices alone, at the median speed
  double peak_percent = 0;         // of the device's peak for weights, measured beside
  // Of the prompt's last logits, bit for bit, without a past (depth 0 only): equal where the file,
  // the device's kernels and the prompt's length are equal and two builds compute the same.
  std::optional<uint64_t> logits_hash;

  // Decode.
  Percentiles between_tokens_s;                      // of all sequences and repetitions
  uint32_t drafted_tokens = 0, accepted_tokens = 0;  // of all repetitions (Usage)
  // Bytes a decode step must read: weights, and the keys and values of the context so far, on the
  // mean over the steps; divided by the tokens a step gave. None where several sequences choose
  // experts: how many they share is not known.
  std::optional<double> bytes_per_token;
  double bytes_per_s = 0;        // at the median speed
  double bandwidth_percent = 0;  // of read_bytes_per_s, measured beside
};

struct BenchReport {
  uint32_t repetitions = 0;
  std::vector<BenchRow> rows;  // by depth; of a depth prompts first
  // The device's, measured after each repetition of each depth.
  Spread read_bytes_per_s;
  Spread multiply_adds_per_s, attention_multiply_adds_per_s;  // peaks: DeviceSpeeds
  std::string_view multiply_adds_type, attention_type;        // ArithmeticSpeed::type
  // Of this process, mapped file pages included; without the block that the bandwidth is measured
  // on, where the system lets a process forget its peak.
  uint64_t peak_memory_bytes = 0;
};

struct BenchProgress {
  std::string_view stage;  // what runs now
  double done = 0;         // share of the stages that are behind, in [0, 1)
};

// The engine must be fresh: a prompt that it has seen is in its cache, and the run is refused. The
// same options give the same tokens.
Result<BenchReport> bench(Engine& engine, const BenchOptions& options,
                          const std::function<void(const BenchProgress&)>& progress = {});

// Resident memory of this process at its highest (VmHWM), mapped file pages included; 0 where the
// system does not say.
uint64_t peak_memory_bytes();
void forget_peak_memory();  // counts anew from here, where the system lets it

// Bytes a decode step reads at a context of `tokens`.
double decode_bytes(const EngineInfo& info, double tokens);

}  // namespace hadal
