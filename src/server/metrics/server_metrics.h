// What happened in this server, counted: for Prometheus, under the names that vLLM made usual, with
// `hadal:` before them. Times are of one monotonic clock. Any thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "server/metrics/machine.h"
#include "server/metrics/prometheus_text.h"
#include "server/models/answer_watch.h"
#include "server/models/model_pool.h"

namespace hadal {

struct DoorFigures {
  size_t connections = 0;
  uint64_t log_lines_lost = 0;
};

class ServerMetrics : public AnswerWatch {
 public:
  ServerMetrics();

  void on_first(std::string_view model, double seconds) override;
  void on_next(std::string_view model, double seconds) override;
  void on_finish(const FinishedAnswer& answer) override;

  // The whole page of /metrics.
  std::string text(const std::vector<ModelStatus>& models, const MachineFigures& machine,
                   const DoorFigures& door) const;

 private:
  struct Counts {
    Counts();
    std::array<uint64_t, kFinishReasons> finished{};
    Histogram first, next, whole, queue, prefill, decode, prompt_tokens, answer_tokens;
  };
  using Page = PrometheusText;

  Counts& counts_of(std::string_view model);
  void write_answers(Page& page) const;

  const std::chrono::system_clock::time_point start_ = std::chrono::system_clock::now();
  mutable std::mutex mutex_;                           // guards what follows
  std::map<std::string, Counts, std::less<>> counts_;  // by model
};

}  // namespace hadal
