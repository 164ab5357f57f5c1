#include "measure/bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>

#include "base/sizes.h"
#include "measure/energy.h"
#include "measure/roof.h"
#include "model/kv_cache.h"

namespace hadal {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct TimingSink : TokenSink {
  explicit TimingSink(uint32_t tokens) { times.reserve(tokens); }
  TokenDecision on_token(TokenId) override {
    times.push_back(steady_seconds());
    return {};
  }
  void on_finish(FinishReason finish, const Usage& finished, std::string_view message) override {
    done = true;
    reason = finish;
    usage = finished;
    error = message;
  }
  std::vector<double> times;  // of each token
  bool done = false;
  FinishReason reason = FinishReason::kEndToken;
  Usage usage;
  std::string error;
};

// Arbitrary ids, another sequence for each seed; a longer one begins with the shorter one's.
std::vector<TokenId> arbitrary_tokens(uint32_t count, uint32_t vocabulary, uint64_t seed) {
  std::vector<TokenId> tokens(count);
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (TokenId& token : tokens) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;  // Knuth's MMIX generator
    token = static_cast<TokenId>((state >> 33) % vocabulary);
  }
  return tokens;
}

// FNV-1a (draft-eastlake-fnv), 64 bits.
constexpr uint64_t kHashBegin = 0xcbf29ce484222325ull, kHashFactor = 0x100000001b3ull;

uint64_t hash_of(std::span<const float> values) {
  uint64_t hash = kHashBegin;
  for (const std::byte byte : std::as_bytes(values)) {
    hash = (hash ^ static_cast<uint64_t>(byte)) * kHashFactor;
  }
  return hash;
}

// No two runs may find each other's prompts in the prefix cache, but for the past they share.
uint64_t seed_of(std::initializer_list<uint64_t> parts) {
  uint64_t seed = kHashBegin;
  for (const uint64_t part : parts) seed = (seed ^ part) * kHashFactor;
  return seed;
}
uint64_t past_seed(uint32_t sequence) {
  return seed_of({sequence});
}
uint64_t run_seed(const BenchRow& row, uint32_t repetition, uint32_t sequence) {
  return seed_of({static_cast<uint64_t>(row.kind), row.tokens, row.depth, row.sequences, repetition,
                  sequence});
}

std::vector<uint32_t> without_repeats(const std::vector<uint32_t>& list) {
  std::vector<uint32_t> kept;
  for (const uint32_t value : list) {
    if (std::ranges::count(kept, value) == 0) kept.push_back(value);
  }
  return kept;
}

BenchOptions tidied(BenchOptions options) {
  for (uint32_t& depth : options.depths) depth = depth_in_cache(depth);
  for (auto* list : {&options.prompt_tokens, &options.depths, &options.sequences}) {
    *list = without_repeats(*list);
  }
  return options;
}

double read_of(const DeviceSpeeds& speeds) {
  return speeds.read_bytes_per_s;
}
double weights_of(const DeviceSpeeds& speeds) {
  return speeds.weights.multiply_adds_per_s;
}
double attention_of(const DeviceSpeeds& speeds) {
  return speeds.attention.multiply_adds_per_s;
}

Spread spread_over(const std::vector<DeviceSpeeds>& speeds, double (*figure)(const DeviceSpeeds&)) {
  std::vector<double> figures;
  for (const DeviceSpeeds& one : speeds) figures.push_back(figure(one));
  return spread_of(std::move(figures));
}

// What the repetitions of one row gave.
struct Samples {
  BenchRow row;
  std::vector<double> speeds, first_token_times, between_tokens, joules;
};

class Measurement {
 public:
  Measurement(Engine& engine, const BenchOptions& options,
              const std::function<void(const BenchProgress&)>& progress)
      : engine_(engine), info_(engine.info()), options_(tidied(options)), progress_(progress) {}

  Result<BenchReport> run();

 private:
  using Sinks = std::vector<std::shared_ptr<TimingSink>>;

  std::vector<Samples> rows_at(uint32_t depth) const;
  Status warm_up();
  Status measure_depth(uint32_t depth);
  Status measure(Samples& samples, uint32_t repetition);
  Result<DeviceSpeeds> measure_machine();
  Result<uint64_t> logits_hash(const BenchRow& row);
  std::vector<TokenId> past(const BenchRow& row, uint32_t sequence, uint32_t more) const;
  Result<Sinks> run_together(std::vector<std::vector<TokenId>> prompts, uint32_t new_tokens);
  void finish_row(Samples& samples, const MachineSpeeds& machine) const;
  void begin_stage(std::string_view stage);

  Engine& engine_;
  const EngineInfo& info_;
  const BenchOptions options_;
  const std::function<void(const BenchProgress&)>& progress_;
  EnergyMeter energy_;
  BenchReport report_;
  std::vector<DeviceSpeeds> speeds_;  // of the whole run
  double stages_ = 1;
  uint32_t stages_done_ = 0;
};

Result<BenchReport> Measurement::run() {
  for (const uint32_t depth : options_.depths) {
    stages_ += static_cast<double>(rows_at(depth).size() + 1) * options_.repetitions;
  }
  report_.repetitions = options_.repetitions;
  HADAL_TRY_VOID(warm_up());
  for (const uint32_t depth : options_.depths) HADAL_TRY_VOID(measure_depth(depth));
  report_.read_bytes_per_s = spread_over(speeds_, read_of);
  report_.multiply_adds_per_s = spread_over(speeds_, weights_of);
  report_.attention_multiply_adds_per_s = spread_over(speeds_, attention_of);
  report_.multiply_adds_type = speeds_.back().weights.type;
  report_.attention_type = speeds_.back().attention.type;
  return report_;
}

std::vector<Samples> Measurement::rows_at(uint32_t depth) const {
  std::vector<Samples> rows;
  for (const uint32_t tokens : options_.prompt_tokens) {
    if (tokens == 0) continue;
    rows.push_back({.row = {.kind = BenchKind::kPrompt, .tokens = tokens, .depth = depth}});
  }
  if (options_.decode_tokens == 0) return rows;
  for (const uint32_t sequences : options_.sequences) {
    rows.push_back({.row = {.kind = BenchKind::kDecode,
                            .tokens = options_.decode_tokens,
                            .depth = depth,
                            .sequences = sequences}});
  }
  return rows;
}

// The first run pays for page faults and for memory the engine takes once; it is not counted.
Status Measurement::warm_up() {
  begin_stage("warm-up");
  HADAL_TRY([[maybe_unused]] const Sinks warm,
            run_together({arbitrary_tokens(8, info_.vocabulary, past_seed(UINT32_MAX))}, 4));
  return {};
}

// Repetitions of one row are apart, so that a busy moment of the machine does not hit all of one.
Status Measurement::measure_depth(uint32_t depth) {
  std::vector<Samples> rows = rows_at(depth);
  std::vector<DeviceSpeeds> speeds;
  for (uint32_t repetition = 1; repetition <= options_.repetitions; ++repetition) {
    for (Samples& samples : rows) HADAL_TRY_VOID(measure(samples, repetition));
    HADAL_TRY(const DeviceSpeeds now, measure_machine());
    speeds.push_back(now);
  }
  const MachineSpeeds machine{
      .read_bytes_per_s = spread_over(speeds, read_of).median,
      .weights_multiply_adds_per_s = spread_over(speeds, weights_of).median,
      .attention_multiply_adds_per_s = spread_over(speeds, attention_of).median};
  for (Samples& samples : rows) {
    finish_row(samples, machine);
    if (samples.row.kind == BenchKind::kPrompt && depth == 0) {
      HADAL_TRY(samples.row.logits_hash, logits_hash(samples.row));
    }
    report_.rows.push_back(samples.row);
  }
  speeds_.insert(speeds_.end(), speeds.begin(), speeds.end());
  return {};
}

Status Measurement::measure(Samples& samples, uint32_t repetition) {
  BenchRow& row = samples.row;
  const bool prompt = row.kind == BenchKind::kPrompt;
  begin_stage(prompt ? "prompt" : "decode");
  std::vector<std::vector<TokenId>> prompts;
  const uint32_t more = prompt ? row.tokens : 1;
  for (uint32_t sequence = 0; sequence < row.sequences; ++sequence) {
    if (row.depth > 0) {  // at once done where the cache still has it
      HADAL_TRY([[maybe_unused]] const Sinks filled, run_together({past(row, sequence, 1)}, 1));
    }
    prompts.push_back(past(row, sequence, 0));
    const auto own = arbitrary_tokens(more, info_.vocabulary, run_seed(row, repetition, sequence));
    prompts.back().insert(prompts.back().end(), own.begin(), own.end());
  }
  energy_.start();
  HADAL_TRY(const Sinks sinks, run_together(std::move(prompts), prompt ? 1 : row.tokens));
  const auto joules = energy_.joules();
  double begin = 0, end = 0;
  for (const auto& sink : sinks) {
    if (sink->usage.cached_tokens != row.depth) {
      return fail("{} tokens were to be in the cache, and {} were", row.depth,
                  sink->usage.cached_tokens);
    }
    begin = std::max(begin, sink->times.front());
    end = std::max(end, sink->times.back());
    row.drafted_tokens += sink->usage.drafted_tokens;
    row.accepted_tokens += sink->usage.accepted_tokens;
    for (size_t i = 1; i < sink->times.size(); ++i) {
      samples.between_tokens.push_back(sink->times[i] - sink->times[i - 1]);
    }
  }
  if (joules) samples.joules.push_back(*joules / (double{1} * row.tokens * row.sequences));
  if (prompt) {
    const double seconds = sinks.front()->usage.prompt_seconds;
    samples.speeds.push_back(row.tokens / seconds);
    samples.first_token_times.push_back(seconds);
  } else {
    const double tokens = static_cast<double>(row.tokens - 1) * row.sequences;
    samples.speeds.push_back(tokens / (end - begin));
  }
  return {};
}

Result<DeviceSpeeds> Measurement::measure_machine() {
  report_.peak_memory_bytes = std::max(report_.peak_memory_bytes, peak_memory_bytes());
  begin_stage("the machine's own speed");
  auto speeds = engine_.devices().front()->measure_speeds();
  forget_peak_memory();
  return speeds;
}

Result<uint64_t> Measurement::logits_hash(const BenchRow& row) {
  uint64_t hash = 0;
  const auto tokens = arbitrary_tokens(row.tokens, info_.vocabulary, run_seed(row, 1, 0));
  HADAL_TRY_VOID(engine_.score(
      tokens,
      [&](uint32_t, std::span<const float> logits) {
        hash = hash_of(logits);
        return true;
      },
      row.tokens - 1));
  return hash;
}

std::vector<TokenId> Measurement::past(const BenchRow& row, uint32_t sequence,
                                       uint32_t more) const {
  return arbitrary_tokens(row.depth + more, info_.vocabulary, past_seed(sequence));
}

Result<Measurement::Sinks> Measurement::run_together(std::vector<std::vector<TokenId>> prompts,
                                                     uint32_t new_tokens) {
  Sinks sinks;
  for (auto& prompt : prompts) {
    sinks.push_back(std::make_shared<TimingSink>(new_tokens));
    Request request;
    request.prompt = std::move(prompt);
    request.sampling.temperature = 0;
    request.max_tokens = new_tokens;
    request.sink = sinks.back();
    HADAL_TRY([[maybe_unused]] const RequestId id, engine_.submit(std::move(request)));
  }
  const auto done = [](const auto& sink) { return sink->done; };
  while (!std::all_of(sinks.begin(), sinks.end(), done)) {
    HADAL_TRY([[maybe_unused]] const bool worked, engine_.step());
  }
  for (const auto& sink : sinks) {
    if (sink->reason != FinishReason::kMaxTokens) {
      return fail("the benchmark's run ended early{}{}", sink->error.empty() ? "" : ": ",
                  sink->error);
    }
  }
  return sinks;
}

void Measurement::finish_row(Samples& samples, const MachineSpeeds& machine) const {
  BenchRow& row = samples.row;
  row.tokens_per_s = spread_of(samples.speeds);
  const bool prompt = row.kind == BenchKind::kPrompt;
  const double least_seconds = prompt ? prompt_roof_seconds(info_, machine, row.tokens, row.depth)
                                      : decode_roof_seconds(info_, machine, row.sequences,
                                                            row.depth + (row.tokens + 1) / 2.0);
  if (least_seconds > 0) {
    row.roof_tokens_per_s = (prompt ? row.tokens : row.sequences) / least_seconds;
    row.roof_percent = 100 * row.tokens_per_s.median / row.roof_tokens_per_s;
  }
  if (!samples.joules.empty()) row.joules_per_token = spread_of(samples.joules).median;
  if (prompt) {
    row.time_to_first_token_s = spread_of(samples.first_token_times);
    const double of_prompt = static_cast<double>(info_.token_multiply_adds) * row.tokens +
                             static_cast<double>(info_.logits_multiply_adds);
    row.multiply_adds_per_s = of_prompt / row.tokens * row.tokens_per_s.median;
    if (machine.weights_multiply_adds_per_s > 0) {
      row.peak_percent = 100 * row.multiply_adds_per_s / machine.weights_multiply_adds_per_s;
    }
    return;
  }
  row.between_tokens_s = percentiles_of(std::move(samples.between_tokens));
  if (row.sequences > 1 && info_.decode_expert_bytes > 0) return;
  const double tokens = static_cast<double>(row.tokens) * options_.repetitions * row.sequences;
  const double context = row.depth + (row.tokens + 1) / 2.0;
  const double step_bytes = decode_bytes(info_, context * row.sequences);
  row.bytes_per_token = step_bytes / row.sequences * (tokens - row.accepted_tokens) / tokens;
  row.bytes_per_s = *row.bytes_per_token * row.tokens_per_s.median;
  if (machine.read_bytes_per_s > 0) {
    row.bandwidth_percent = 100 * row.bytes_per_s / machine.read_bytes_per_s;
  }
}

void Measurement::begin_stage(std::string_view stage) {
  if (progress_) progress_({.stage = stage, .done = stages_done_ / stages_});
  ++stages_done_;
}

uint32_t greatest(const std::vector<uint32_t>& list) {
  return list.empty() ? 0 : *std::max_element(list.begin(), list.end());
}

}  // namespace

uint32_t depth_in_cache(uint32_t depth) {
  return static_cast<uint32_t>(round_up(uint64_t{depth}, kBlockTokens));
}

uint64_t longest_run(const BenchOptions& options) {
  const uint32_t run = std::max(greatest(options.prompt_tokens), options.decode_tokens);
  return uint64_t{depth_in_cache(greatest(options.depths))} + run + 1;
}

uint32_t most_sequences(const BenchOptions& options) {
  return options.decode_tokens == 0 ? 1 : std::max(greatest(options.sequences), 1u);
}

Status check_bench(const BenchOptions& options, uint32_t context_tokens) {
  const uint32_t prompt = greatest(options.prompt_tokens);
  if (prompt == 0 && options.decode_tokens == 0) {
    return fail("nothing to measure: both the prompt and the decode length are 0");
  }
  if (options.decode_tokens == 1) return fail("decode speed needs at least 2 tokens");
  if (options.repetitions == 0) return fail("nothing to measure: 0 repetitions");
  if (options.depths.empty()) return fail("nothing to measure: no depth is given");
  if (options.decode_tokens > 0 &&
      (options.sequences.empty() || std::ranges::count(options.sequences, 0u) > 0)) {
    return fail("nothing to measure: 0 sequences");
  }
  for (const auto* list : {&options.prompt_tokens, &options.depths, &options.sequences}) {
    if (list->size() > kBenchListMax) {
      return fail("a list of {} numbers is too long: at most {}", list->size(), kBenchListMax);
    }
  }
  const uint64_t longest = longest_run(options);
  if (longest > context_tokens) {
    const bool decodes_longer = options.decode_tokens > prompt;
    return fail("a depth of {}, {} of {} tokens and one more take {} tokens; the context holds {}",
                depth_in_cache(greatest(options.depths)), decodes_longer ? "an answer" : "a prompt",
                decodes_longer ? options.decode_tokens : prompt, longest, context_tokens);
  }
  return {};
}

std::vector<uint32_t> ladder_depths(uint32_t deepest) {
  constexpr uint64_t kFirstRung = 512;
  std::vector<uint32_t> depths = {0};
  for (uint64_t depth = kFirstRung; depth < deepest; depth *= 2) {
    depths.push_back(static_cast<uint32_t>(depth));
  }
  if (deepest > 0) depths.push_back(deepest);
  return depths;
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
  HADAL_TRY_VOID(check_bench(options, engine.info().context_tokens));
  if (most_sequences(options) > engine.info().sequences_max) {
    return fail("{} sequences are to decode together; the engine takes {} at once",
                most_sequences(options), engine.info().sequences_max);
  }
  return Measurement(engine, options, progress).run();
}

}  // namespace hadal
