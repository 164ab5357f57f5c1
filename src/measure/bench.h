// How fast a model runs here, beside what the machine can do: prompt and decode speed by the engine
// itself, and the device's read bandwidth by its own loops in the same run, so that every figure is
// also a ratio.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace hadal {

struct BenchOptions {
  uint32_t prompt_tokens = 512;  // 0: no prompt run
  uint32_t decode_tokens = 128;  // 0: no decode run; at least 2
  uint32_t repetitions = 3;
};

// Of the repetitions.
struct Spread {
  double median = 0, least = 0, most = 0;
};
Spread spread_of(std::vector<double> samples);  // at least one sample

struct BenchReport {
  uint32_t prompt_tokens = 0, decode_tokens = 0, repetitions = 0;
  Spread prompt_tokens_per_s, decode_tokens_per_s, time_to_first_token_s;
  uint32_t drafted_tokens = 0, accepted_tokens = 0;  // of all decode runs (Usage)
  // Bytes a decode step must read: weights, and the keys and values of the context so far, on the
  // mean over the steps; divided by the tokens a step gave, where guesses were accepted.
  double decode_bytes_per_token = 0;
  double decode_bytes_per_s = 0;  // at the median speed
  double bandwidth_percent = 0;   // of read_bytes_per_s
  Spread read_bytes_per_s;        // the device's, measured after each repetition
  // Of this process, mapped file pages included; without the block that the bandwidth is measured
  // on.
  uint64_t peak_memory_bytes = 0;
};

struct BenchProgress {
  std::string_view stage;  // what runs now
  double done = 0;         // share of the stages that are behind, in [0, 1)
};

Result<BenchReport> bench(Engine& engine, const BenchOptions& options,
                          const std::function<void(const BenchProgress&)>& progress = {});

// Resident memory of this process at its highest (VmHWM), mapped file pages included; 0 where the
// system does not say.
uint64_t peak_memory_bytes();
void forget_peak_memory();  // counts anew from here, where the system lets it

// Bytes a decode step reads at a context of `tokens`.
double decode_bytes(const EngineInfo& info, double tokens);

}  // namespace hadal
