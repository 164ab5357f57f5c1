// Speed over depth as a picture: bars of block characters for a terminal, and a page for a browser
// that asks no other machine for anything.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/bench_report.h"

namespace hadal {

// For each kind, length and number of sequences that was measured at several depths, a bar for each
// depth; no line is wider than `columns`, from kChartColumnsLeast on. "" where nothing was.
std::string bench_chart(const BenchReport& report, uint32_t columns);
inline constexpr uint32_t kChartColumnsLeast = 40;

// The figures as tables, the same speeds as charts (SVG); no script, and nothing from elsewhere.
std::string bench_page(const BenchReport& report, const BenchSubject& subject);

// Text as HTML shows it: & < > " ' written as entities.
std::string html_text(std::string_view text);

}  // namespace hadal
