// Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/): what a
// scrape of /metrics reads. Pure values; one thread at a time.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// How often a value was at most each of some bounds. Not synchronised.
class Histogram {
 public:
  // bounds: ascending; outlive the histogram. One for everything above is added.
  explicit Histogram(std::span<const double> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1) {}
  void observe(double value);

  std::span<const double> bounds() const { return bounds_; }
  const std::vector<uint64_t>& counts() const { return counts_; }  // of each bucket alone
  double sum() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

class PrometheusText {
 public:
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };

  // Begins a metric; its samples follow.
  void begin(std::string_view name, Type type, std::string_view help);
  void sample(const MetricLabels& labels, double value);
  void sample(const MetricLabels& labels, const Histogram& histogram);

  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, const MetricLabels& labels, std::string_view value,
            std::string_view bound = {});

  std::string name_, text_;
};

}  // namespace hadal
