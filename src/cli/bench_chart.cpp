#include "cli/bench_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <vector>

namespace hadal {
namespace {

constexpr uint32_t kBarColumnsMost = 60;

// The same thing measured at several depths.
struct Series {
  std::string title;
  std::vector<const BenchRow*> rows;  // by depth
  double most = 0;                    // tokens/s
};

std::vector<Series> series_of(const BenchReport& report) {
  std::map<std::tuple<BenchKind, uint32_t, uint32_t>, Series> found;
  for (const BenchRow& row : report.rows) {
    Series& series = found[{row.kind, row.tokens, row.sequences}];
    series.rows.push_back(&row);
    series.most = std::max(series.most, row.tokens_per_s.median);
  }
  std::vector<Series> kept;
  for (auto& [key, series] : found) {
    const auto& [kind, tokens, sequences] = key;
    if (series.rows.size() < 2 || series.most <= 0) continue;
    std::ranges::sort(series.rows, {}, &BenchRow::depth);
    series.title = fmt::format("{} {}", kind == BenchKind::kPrompt ? "prompt" : "decode", tokens);
    if (sequences > 1) series.title += fmt::format(", {} together", sequences);
    kept.push_back(std::move(series));
  }
  return kept;
}

// Full blocks, then an eighth's step of one.
std::string bar(double share, uint32_t cells) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<uint32_t>(std::lround(std::clamp(share, 0.0, 1.0) * cells * 8));
  std::string text;
  for (uint32_t i = 0; i < eighths / 8; ++i) text += "█";
  return text + kEighths[eighths % 8];
}

constexpr double kWidth = 640, kHeight = 240, kLeft = 60, kRight = 20, kTop = 16, kBottom = 40;

double x_of(const Series& series, const BenchRow& row) {
  return kLeft + (kWidth - kLeft - kRight) * row.depth / series.rows.back()->depth;
}
double y_of(const Series& series, double tokens_per_s) {
  return kHeight - kBottom - (kHeight - kTop - kBottom) * tokens_per_s / series.most;
}

// A line through the medians, a stroke from the least to the most at each.
std::string svg_of(const Series& series) {
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}: tokens/s over depth\">\n", kWidth,
      kHeight, html_text(series.title));
  for (const double share : {0.0, 0.5, 1.0}) {
    const double y = y_of(series, share * series.most);
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.3g}</text>\n",
        kLeft, kWidth - kRight, y, y, kLeft - 6, y + 4, share * series.most);
  }
  std::string points;
  double label_end = -1e9;
  for (const BenchRow* row : series.rows) {
    const double x = x_of(series, *row);
    points += fmt::format("{:.1f},{:.1f} ", x, y_of(series, row->tokens_per_s.median));
    svg += fmt::format(
        "<line class=\"spread\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", x, x,
        y_of(series, row->tokens_per_s.least),
        y_of(series, std::min(row->tokens_per_s.most, series.most)));
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>depth {}: {:.1f} "
        "tokens/s</title></circle>\n",
        x, y_of(series, row->tokens_per_s.median), row->depth, row->tokens_per_s.median);
    constexpr double kLabelWidth = 44;
    if (x - label_end < kLabelWidth) continue;  // labels do not lie on each other
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", x,
                       kHeight - kBottom + 16, row->depth);
    label_end = x;
  }
  return svg + fmt::format(
                   "<polyline points=\"{}\"/>\n<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">"
                   "tokens in the cache</text>\n</svg>\n",
                   points, (kLeft + kWidth - kRight) / 2, kHeight - 6);
}

constexpr const char* kPageHead =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<style>\n"
    ":root{color-scheme:light dark}\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\n"
    "pre{overflow-x:auto;line-height:1.35}\n"
    "svg{width:100%;max-width:40rem;height:auto;font:11px sans-serif;fill:currentColor}\n"
    ".grid{stroke:currentColor;opacity:.2}.spread{stroke:#3b7dd8;stroke-width:2;opacity:.5}\n"
    "polyline{fill:none;stroke:#3b7dd8;stroke-width:2}circle{fill:#3b7dd8}\n"
    "</style>\n";

}  // namespace

std::string bench_chart(const BenchReport& report, uint32_t columns) {
  std::string text;
  columns = std::max(columns, kChartColumnsLeast);
  for (const Series& series : series_of(report)) {
    text += fmt::format("\n{}: tokens/s over depth\n", series.title);
    for (const BenchRow* row : series.rows) {
      const std::string depth = fmt::format("{:>8} ", row->depth);
      const std::string speed = fmt::format(" {:.1f}", row->tokens_per_s.median);
      const auto taken = static_cast<uint32_t>(depth.size() + speed.size());
      const uint32_t room = columns > taken ? columns - taken : 1;
      text += depth + bar(row->tokens_per_s.median / series.most, std::min(room, kBarColumnsMost)) +
              speed + "\n";
    }
  }
  return text;
}

std::string html_text(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string bench_page(const BenchReport& report, const BenchSubject& subject) {
  const std::string name = html_text(subject.model);
  std::string page =
      fmt::format("{}<title>{}: speed</title></head>\n<body>\n<h1>{}</h1>\n<pre>{}</pre>\n",
                  kPageHead, name, name, html_text(bench_text(report, subject)));
  for (const Series& series : series_of(report)) {
    page += fmt::format("<h2>{}</h2>\n{}", html_text(series.title), svg_of(series));
  }
  return page + "</body></html>\n";
}

}  // namespace hadal
