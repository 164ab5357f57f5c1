#include "measure/bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "base/check.h"

namespace hadal {
namespace {

struct TimingSink : TokenSink {
  TokenDecision on_token(TokenId) override { return {}; }
  void on_finish(FinishReason finish, const Usage& finished, std::string_view message) override {
    done = true;
    reason = finish;
    usage = finished;
    error = message;
  }
  bool done = false;
  FinishReason reason = FinishReason::kEndToken;
  Usage usage;
  std::string error;
};

// Arbitrary ids, another sequence for each seed, so that no repetition finds its prompt in the
// prefix cache.
std::vector<TokenId> arbitrary_tokens(uint32_t count, uint32_t vocabulary, uint64_t seed) {
  std::vector<TokenId> tokens(count);
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (TokenId& token : tokens) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;  // Knuth's MMIX generator
    token = static_cast<TokenId>((state >> 33) % vocabulary);
  }
  return tokens;
}

Result<Usage> run_once(Engine& engine, std::vector<TokenId> prompt, uint32_t new_tokens) {
  auto sink = std::make_shared<TimingSink>();
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = new_tokens;
  request.sink = sink;
  HADAL_TRY([[maybe_unused]] const RequestId id, engine.submit(std::move(request)));
  while (!sink->done) {
    HADAL_TRY([[maybe_unused]] const bool worked, engine.step());
  }
  if (sink->reason != FinishReason::kMaxTokens) {
    return fail("the benchmark's run ended early{}{}", sink->error.empty() ? "" : ": ",
                sink->error);
  }
  return sink->usage;
}

Status check_options(const BenchOptions& options, const EngineInfo& info) {
  if (options.prompt_tokens == 0 && options.decode_tokens == 0) {
    return fail("nothing to measure: both the prompt and the decode length are 0");
  }
  if (options.decode_tokens == 1) return fail("decode speed needs at least 2 tokens");
  if (options.repetitions == 0) return fail("nothing to measure: 0 repetitions");
  const uint64_t longest =
      std::max<uint64_t>(uint64_t{options.prompt_tokens} + 1, uint64_t{options.decode_tokens} + 1);
  if (longest > info.context_tokens) {
    return fail("a run of {} tokens does not fit the context of {}; give --context {}", longest,
                info.context_tokens, longest);
  }
  return {};
}

}  // namespace

Spread spread_of(std::vector<double> samples) {
  CHECK(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  return {median, samples.front(), samples.back()};
}

double decode_bytes(const EngineInfo& info, double tokens) {
  return static_cast<double>(info.decode_weight_bytes) +
         tokens * static_cast<double>(info.kv_bytes_per_token);
}

uint64_t peak_memory_bytes() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

void forget_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets VmHWM
}

Result<BenchReport> bench(Engine& engine, const BenchOptions& options,
                          const std::function<void(const BenchProgress&)>& progress) {
  HADAL_TRY_VOID(check_options(options, engine.info()));
  const EngineInfo& info = engine.info();
  const uint32_t kinds =
      (options.prompt_tokens > 0 ? 1 : 0) + (options.decode_tokens > 0 ? 1 : 0) + 1;
  const double stages = 1.0 + static_cast<double>(uint64_t{kinds} * options.repetitions);
  uint32_t stages_done = 0;
  const auto begin_stage = [&](std::string_view stage) {
    if (progress) progress({.stage = stage, .done = stages_done / stages});
    ++stages_done;
  };
  std::vector<double> prompt_speeds, decode_speeds, first_token_times, bandwidths;
  uint64_t peak = 0;
  uint32_t drafted = 0, accepted = 0;
  // The first run pays for page faults and for memory the engine takes once; it is not counted.
  begin_stage("warm-up");
  HADAL_TRY([[maybe_unused]] const Usage warm,
            run_once(engine, arbitrary_tokens(8, info.vocabulary, 0), 4));
  for (uint32_t repetition = 1; repetition <= options.repetitions; ++repetition) {
    if (options.prompt_tokens > 0) {
      begin_stage("prompt");
      HADAL_TRY(const Usage usage,
                run_once(engine,
                         arbitrary_tokens(options.prompt_tokens, info.vocabulary, repetition), 1));
      prompt_speeds.push_back(options.prompt_tokens / usage.prompt_seconds);
      first_token_times.push_back(usage.prompt_seconds);
    }
    if (options.decode_tokens > 0) {
      begin_stage("decode");
      HADAL_TRY(const Usage usage,
                run_once(engine, arbitrary_tokens(1, info.vocabulary, repetition),
                         options.decode_tokens));
      decode_speeds.push_back((options.decode_tokens - 1) / usage.decode_seconds);
      drafted += usage.drafted_tokens;
      accepted += usage.accepted_tokens;
    }
    if (repetition == 1) peak = peak_memory_bytes();
    begin_stage("memory bandwidth");
    HADAL_TRY(const DeviceSpeeds speeds, engine.devices().front()->measure_speeds());
    bandwidths.push_back(speeds.read_bytes_per_s);
  }

  BenchReport report{.prompt_tokens = options.prompt_tokens,
                     .decode_tokens = options.decode_tokens,
                     .repetitions = options.repetitions};
  report.read_bytes_per_s = spread_of(bandwidths);
  if (!prompt_speeds.empty()) {
    report.prompt_tokens_per_s = spread_of(prompt_speeds);
    report.time_to_first_token_s = spread_of(first_token_times);
  }
  if (!decode_speeds.empty()) {
    report.decode_tokens_per_s = spread_of(decode_speeds);
    report.drafted_tokens = drafted;
    report.accepted_tokens = accepted;
    const double tokens = static_cast<double>(options.decode_tokens) * options.repetitions;
    report.decode_bytes_per_token =
        decode_bytes(info, (options.decode_tokens + 1) / 2.0) * (tokens - accepted) / tokens;
    report.decode_bytes_per_s = report.decode_bytes_per_token * report.decode_tokens_per_s.median;
    if (report.read_bytes_per_s.median > 0) {
      report.bandwidth_percent = 100 * report.decode_bytes_per_s / report.read_bytes_per_s.median;
    }
  }
  report.peak_memory_bytes = peak;
  return report;
}

}  // namespace hadal
