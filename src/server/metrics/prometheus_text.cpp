#include "server/metrics/prometheus_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace hadal {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || c == '"') result += '\\';
    if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result;
}

std::string_view word(PrometheusText::Type type) {
  switch (type) {
    case PrometheusText::Type::kCounter:
      return "counter";
    case PrometheusText::Type::kGauge:
      return "gauge";
    case PrometheusText::Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

}  // namespace

void Histogram::observe(double value) {
  const auto place = std::ranges::lower_bound(bounds_, value);
  ++counts_[static_cast<size_t>(place - bounds_.begin())];
  sum_ += value;
}

void PrometheusText::begin(std::string_view name, Type type, std::string_view help) {
  name_ = name;
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, word(type));
}

void PrometheusText::sample(const MetricLabels& labels, double value) {
  line("", labels, number(value));
}

void PrometheusText::sample(const MetricLabels& labels, const Histogram& histogram) {
  uint64_t count = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    count += histogram.counts()[i];
    const bool last = i == histogram.bounds().size();
    line("_bucket", labels, fmt::format("{}", count),
         last ? "+Inf" : number(histogram.bounds()[i]));
  }
  line("_sum", labels, number(histogram.sum()));
  line("_count", labels, fmt::format("{}", count));
}

void PrometheusText::line(std::string_view suffix, const MetricLabels& labels,
                          std::string_view value, std::string_view bound) {
  text_ += name_;
  text_ += suffix;
  std::string inside;
  const auto put = [&inside](std::string_view name, std::string_view text) {
    inside += fmt::format("{}{}=\"{}\"", inside.empty() ? "" : ",", name, escaped(text));
  };
  for (const auto& [name, text] : labels) put(name, text);
  if (!bound.empty()) put("le", bound);
  if (!inside.empty()) text_ += "{" + inside + "}";
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

}  // namespace hadal
