#include "cli/bench_chart.h"

#include <gtest/gtest.h>

#include <sstream>

#include "text/unicode.h"

namespace hadal {
namespace {

BenchReport ladder() {
  BenchReport report;
  for (const auto& [depth, speed] : {std::pair{512u, 50.0}, {0u, 100.0}}) {
    report.rows.push_back({.kind = BenchKind::kDecode,
                           .tokens = 128,
                           .depth = depth,
                           .tokens_per_s = {speed, speed - 1, speed + 1}});
  }
  return report;
}

TEST(BenchChart, BarsAreAsLongAsSpeedsAreHigh) {
  const std::string full = bench_chart(ladder(), 40);
  std::string blocks;
  for (int i = 0; i < 25; ++i) blocks += "█";
  EXPECT_EQ(full.substr(0, full.find('\n', 40)),
            "\ndecode 128: tokens/s over depth\n       0 " + blocks + " 100.0");
  EXPECT_NE(full.find("     512 █████████████ 50.0\n"), std::string::npos) << full;
}

TEST(BenchChart, NoLineIsWiderThanTheTerminal) {
  for (const uint32_t columns : {0u, 40u, 57u, 80u, 500u}) {
    std::istringstream lines(bench_chart(ladder(), columns));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(display_width(line), std::max(columns, kChartColumnsLeast)) << line;
    }
  }
}

TEST(BenchChart, OneDepthIsNoChart) {
  BenchReport report = ladder();
  report.rows.pop_back();
  EXPECT_EQ(bench_chart(report, 80), "");
}

TEST(BenchPage, NamesCannotBecomeMarkup) {
  EngineInfo info;
  DeviceInfo device{.name = "cpu", .description = "<script>alert(1)</script>"};
  const std::string page = bench_page(
      ladder(), {.model = "<img src=x onerror=\"1\">&'.gguf", .info = info, .device = device});
  EXPECT_NE(page.find("<title>&lt;img src=x onerror=&quot;1&quot;&gt;&amp;&#39;.gguf: speed"),
            std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(page.find("http://"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("<title>depth 512: 50.0 tokens/s</title>"), std::string::npos);
}

}  // namespace
}  // namespace hadal
