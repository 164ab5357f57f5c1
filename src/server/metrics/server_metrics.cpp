#include "server/metrics/server_metrics.h"

#include <functional>
#include <optional>

namespace hadal {
namespace {

using Type = PrometheusText::Type;

// As vLLM has them, so that its dashboards fit; smaller ones before them for small models.
constexpr double kFirstBounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                   0.25,  0.5,   0.75, 1.0,  2.5,  5,    7.5,  10,
                                   20,    40,    80,   160,  640,  2560};
constexpr double kNextBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                  0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5,
                                  5,     7.5,    10,    20,   40,    80};
constexpr double kRequestBounds[] = {0.01, 0.03, 0.1, 0.3, 0.5, 0.8, 1,    1.5,
                                     2,    2.5,  5,   10,  15,  20,  30,   40,
                                     50,   60,   120, 240, 480, 960, 1920, 7680};
constexpr double kTokenBounds[] = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                                   1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};

// Of vLLM's reasons.
std::string_view reason_word(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
    case FinishReason::kStopped:
      return "stop";
    case FinishReason::kMaxTokens:
    case FinishReason::kContextFull:
      return "length";
    case FinishReason::kCancelled:
      return "abort";
    case FinishReason::kFailed:
      return "error";
  }
  return "error";
}

bool is_loaded(const ModelStatus& model) {
  return model.state == ModelState::kLoaded;
}

MetricLabels of_model(const std::string& name) {
  return {{"model_name", name}};
}

// A metric that each loaded model's engine knows.
struct EngineMetric {
  const char* name;
  Type type;
  const char* help;
  double (*value)(const EngineStatus&);
};

template <auto kMember>
double member(const EngineStatus& status) {
  return static_cast<double>(status.*kMember);
}

constexpr EngineMetric kEngineMetrics[] = {
    {"hadal:num_requests_running", Type::kGauge, "Requests that are being computed.",
     member<&EngineStatus::running>},
    {"hadal:num_requests_waiting", Type::kGauge, "Requests that wait for their turn.",
     member<&EngineStatus::waiting>},
    {"hadal:kv_cache_usage_perc", Type::kGauge, "Share of the KV cache that requests hold, 0 to 1.",
     [](const EngineStatus& status) {
       return status.blocks_total == 0
                  ? 0.0
                  : static_cast<double>(status.blocks_held) / status.blocks_total;
     }},
    {"hadal:kv_cache_prefix_perc", Type::kGauge,
     "Share of the KV cache that keeps prefixes for later requests, 0 to 1.",
     [](const EngineStatus& status) {
       return status.blocks_total == 0
                  ? 0.0
                  : static_cast<double>(status.blocks_cached) / status.blocks_total;
     }},
    {"hadal:prefix_cache_queries_total", Type::kCounter,
     "Prompt tokens looked up in the prefix cache.", member<&EngineStatus::prompt_tokens>},
    {"hadal:prefix_cache_hits_total", Type::kCounter, "Prompt tokens found in the prefix cache.",
     member<&EngineStatus::cached_tokens>},
    {"hadal:num_preemptions_total", Type::kCounter, "Requests sent back to wait for lack of cache.",
     member<&EngineStatus::preemptions>},
    {"hadal:prompt_tokens_total", Type::kCounter, "Tokens of prompts, cached ones too.",
     member<&EngineStatus::prompt_tokens>},
    {"hadal:generation_tokens_total", Type::kCounter, "Tokens of answers.",
     member<&EngineStatus::answer_tokens>},
    {"hadal:spec_decode_num_draft_tokens_total", Type::kCounter, "Tokens guessed by speculation.",
     member<&EngineStatus::drafted_tokens>},
    {"hadal:spec_decode_num_accepted_tokens_total", Type::kCounter, "Guesses that were right.",
     member<&EngineStatus::accepted_tokens>},
    {"hadal:steps_total", Type::kCounter, "Steps of the model.", member<&EngineStatus::steps>},
    {"hadal:step_tokens_total", Type::kCounter, "Tokens that steps computed.",
     member<&EngineStatus::step_tokens>},
    {"hadal:step_sequences_total", Type::kCounter,
     "Sequences in steps: by steps_total, the mean batch.", member<&EngineStatus::step_sequences>},
    {"hadal:step_seconds_total", Type::kCounter, "Time spent in steps.",
     member<&EngineStatus::step_seconds>},
    {"hadal:last_step_sequences", Type::kGauge, "Sequences in the last step: the batch now.",
     member<&EngineStatus::last_step_sequences>},
};

void write_engines(PrometheusText& page, const std::vector<ModelStatus>& models) {
  for (const EngineMetric& metric : kEngineMetrics) {
    page.begin(metric.name, metric.type, metric.help);
    for (const ModelStatus& model : models) {
      if (is_loaded(model)) page.sample(of_model(model.entry.name), metric.value(model.engine));
    }
  }
}

void write_models(PrometheusText& page, const std::vector<ModelStatus>& models) {
  page.begin("hadal:model_loaded", Type::kGauge, "1: the model is loaded.");
  for (const ModelStatus& model : models) {
    page.sample(of_model(model.entry.name), is_loaded(model) ? 1 : 0);
  }
  page.begin("hadal:model_load_seconds", Type::kGauge, "How long loading the model took.");
  for (const ModelStatus& model : models) {
    if (is_loaded(model)) page.sample(of_model(model.entry.name), model.load_seconds);
  }
  page.begin("hadal:model_weight_bytes", Type::kGauge, "Bytes of the loaded model's weights.");
  for (const ModelStatus& model : models) {
    if (is_loaded(model)) {
      page.sample(of_model(model.entry.name), static_cast<double>(model.weight_bytes));
    }
  }
}

void write_machine(PrometheusText& page, const MachineFigures& machine) {
  const auto put = [&page](const char* name, Type type, const char* help,
                           const std::optional<double>& value) {
    if (!value) return;
    page.begin(name, type, help);
    page.sample({}, *value);
  };
  put("process_resident_memory_bytes", Type::kGauge, "Memory of this process.",
      machine.resident_bytes);
  put("process_virtual_memory_bytes", Type::kGauge, "Address space of this process.",
      machine.virtual_bytes);
  put("process_cpu_seconds_total", Type::kCounter, "Processor time this process has used.",
      machine.cpu_seconds);
  put("process_open_fds", Type::kGauge, "Open file descriptors.", machine.open_files);
  put("hadal:memory_available_bytes", Type::kGauge, "Memory the machine could still give.",
      machine.memory_available_bytes);
  put("hadal:cpu_temperature_celsius", Type::kGauge, "The processor's hottest sensor.",
      machine.temperature_celsius);
  put("hadal:cpu_energy_joules_total", Type::kCounter,
      "Energy the processor used: its rate is the power in watts.", machine.energy_joules);
  put("hadal:cpu_clock_hertz", Type::kGauge, "Mean clock of the processor's cores.",
      machine.clock_hertz);
}

}  // namespace

ServerMetrics::Counts::Counts()
    : first(kFirstBounds),
      next(kNextBounds),
      whole(kRequestBounds),
      queue(kRequestBounds),
      prefill(kRequestBounds),
      decode(kRequestBounds),
      prompt_tokens(kTokenBounds),
      answer_tokens(kTokenBounds) {}

ServerMetrics::ServerMetrics() = default;

// Few: models of this server, not what clients call them.
ServerMetrics::Counts& ServerMetrics::counts_of(std::string_view model) {
  const auto found = counts_.find(model);
  if (found != counts_.end()) return found->second;
  return counts_.try_emplace(std::string(model)).first->second;
}

void ServerMetrics::on_first(std::string_view model, double seconds) {
  std::lock_guard lock(mutex_);
  counts_of(model).first.observe(seconds);
}

void ServerMetrics::on_next(std::string_view model, double seconds) {
  std::lock_guard lock(mutex_);
  counts_of(model).next.observe(seconds);
}

void ServerMetrics::on_finish(const FinishedAnswer& answer) {
  std::lock_guard lock(mutex_);
  Counts& counts = counts_of(answer.model);
  ++counts.finished[static_cast<size_t>(answer.reason)];
  counts.whole.observe(answer.seconds);
  counts.queue.observe(answer.usage.queue_seconds);
  if (answer.usage.answer_tokens > 0) {
    counts.prefill.observe(answer.usage.prompt_seconds - answer.usage.queue_seconds);
    counts.decode.observe(answer.usage.decode_seconds);
  }
  counts.prompt_tokens.observe(answer.usage.prompt_tokens);
  counts.answer_tokens.observe(answer.usage.answer_tokens);
}

void ServerMetrics::write_answers(Page& page) const {
  page.begin("hadal:request_success_total", Type::kCounter, "Answers that ended, by how.");
  for (const auto& [model, counts] : counts_) {
    std::map<std::string_view, uint64_t> sums;
    for (size_t i = 0; i < kFinishReasons; ++i) {
      sums[reason_word(static_cast<FinishReason>(i))] += counts.finished[i];
    }
    for (const auto& [reason, count] : sums) {
      page.sample({{"model_name", model}, {"finished_reason", std::string(reason)}},
                  static_cast<double>(count));
    }
  }
  const auto put = [&](const char* name, const char* help, Histogram Counts::*histogram) {
    page.begin(name, Type::kHistogram, help);
    for (const auto& [model, counts] : counts_) page.sample(of_model(model), counts.*histogram);
  };
  put("hadal:time_to_first_token_seconds", "From submission to the first piece of the answer.",
      &Counts::first);
  put("hadal:inter_token_latency_seconds", "Between one piece of an answer and the next.",
      &Counts::next);
  put("hadal:e2e_request_latency_seconds", "From submission to the answer's end.", &Counts::whole);
  put("hadal:request_queue_time_seconds", "Waiting until the first step.", &Counts::queue);
  put("hadal:request_prefill_time_seconds", "From the first step to the first token.",
      &Counts::prefill);
  put("hadal:request_decode_time_seconds", "From the first token to the last.", &Counts::decode);
  put("hadal:request_prompt_tokens", "Tokens of a prompt.", &Counts::prompt_tokens);
  put("hadal:request_generation_tokens", "Tokens of an answer.", &Counts::answer_tokens);
}

std::string ServerMetrics::text(const std::vector<ModelStatus>& models,
                                const MachineFigures& machine, const DoorFigures& door) const {
  Page page;
  write_engines(page, models);
  {
    std::lock_guard lock(mutex_);
    write_answers(page);
  }
  write_models(page, models);
  page.begin("hadal:http_connections", Type::kGauge, "Connections of clients.");
  page.sample({}, static_cast<double>(door.connections));
  page.begin("hadal:access_log_lines_lost_total", Type::kCounter,
             "Requests that the access log has no line for: its disk is full or too slow.");
  page.sample({}, static_cast<double>(door.log_lines_lost));
  page.begin("process_start_time_seconds", Type::kGauge, "When the server began, Unix time.");
  page.sample({}, std::chrono::duration<double>(start_.time_since_epoch()).count());
  write_machine(page, machine);
  return page.take();
}

}  // namespace hadal
