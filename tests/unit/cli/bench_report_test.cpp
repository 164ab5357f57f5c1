#include "cli/bench_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"

namespace hadal {
namespace {

class BenchReportTest : public testing::Test {
 protected:
  void SetUp() override {
    info_.architecture = "llama";
    info_.weight_bytes = 2'000'000'000;
    device_ = {.name = "cpu",
               .description = "2 threads, AVX-512",
               .instruction_set = "avx512",
               .threads = 2};
    report_.repetitions = 3;
    report_.read_bytes_per_s = {20e9, 19e9, 21e9};
    report_.multiply_adds_per_s = {300e9, 290e9, 310e9};
    report_.attention_multiply_adds_per_s = {200e9, 190e9, 210e9};
    report_.multiply_adds_type = "int8";
    report_.attention_type = "bf16";
    report_.peak_memory_bytes = 3'000'000'000;
    report_.rows = {{.kind = BenchKind::kPrompt,
                     .tokens = 512,
                     .tokens_per_s = {100, 90, 110},
                     .roof_tokens_per_s = 250,
                     .roof_percent = 40,
                     .time_to_first_token_s = {5.12, 5, 6},
                     .multiply_adds_per_s = 150e9,
                     .peak_percent = 50,
                     .logits_hash = 0x1234},
                    {.kind = BenchKind::kDecode,
                     .tokens = 128,
                     .depth = 4096,
                     .sequences = 8,
                     .tokens_per_s = {40, 39, 41},
                     .roof_tokens_per_s = 50,
                     .roof_percent = 80,
                     .between_tokens_s = {0.2, 0.21, 0.3},
                     .bytes_per_token = 0.25e9,
                     .bytes_per_s = 10e9,
                     .bandwidth_percent = 50}};
  }
  BenchSubject subject() const {
    return {.model = "a,\"b\"|c.gguf", .info = info_, .device = device_};
  }
  EngineInfo info_;
  DeviceInfo device_;
  BenchReport report_;
};

TEST_F(BenchReportTest, TextLinesUpAndLeavesOutWhatNoRowHas) {
  const std::string text = bench_text(report_, subject());
  EXPECT_NE(text.find("device                cpu: 2 threads, AVX-512 (avx512)\n"
                      "its read bandwidth    20.0 GB/s (19.0 - 21.0)\n"
                      "its peak, weights     300.0 GMAC/s of int8 (290.0 - 310.0)\n"
                      "its peak, attention   200.0 GMAC/s of bf16 (190.0 - 210.0)\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("logits of 512         0x0000000000001234\n"), std::string::npos) << text;
  EXPECT_NE(text.find("        tokens  tokens/s     from - to  first token ms  GMAC/s  % of peak\n"
                      "prompt     512     100.0  90.0 - 110.0          5120.0   150.0        50%\n"
                      "\n"
                      "        tokens  % of roof\n"
                      "prompt     512        40%\n"),
            std::string::npos)
      << text;
  EXPECT_NE(
      text.find("        tokens  depth  sequences  tokens/s    from - to  each  p50 ms    p90\n"
                "decode     128   4096          8      40.0  39.0 - 41.0   5.0   200.0  210.0\n"
                "\n"
                "        tokens  depth  sequences    p99  GB/s  % of read  % of roof\n"
                "decode     128   4096          8  300.0  10.0        50%        80%\n"),
      std::string::npos)
      << text;
  EXPECT_EQ(text.find("J/token"), std::string::npos);
  report_.rows.pop_back();
  EXPECT_EQ(bench_text(report_, subject()).find("decode"), std::string::npos);
}

TEST_F(BenchReportTest, TextFitsATerminal) {
  BenchRow &prompt = report_.rows[0], &decode = report_.rows[1];
  for (BenchRow* row : {&prompt, &decode}) {
    row->tokens = 1'000'000;
    row->depth = 10'000'000;
    row->tokens_per_s = {12345.6, 12000.1, 13000.2};
    row->joules_per_token = 123.456;
  }
  const std::string text = bench_text(report_, subject());
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    EXPECT_LE(end - begin, 80u) << text.substr(begin, end - begin);
  }
}

TEST_F(BenchReportTest, MarkdownIsATableAndNamesCannotBreakIt) {
  report_.rows[1].joules_per_token = 1.25;
  const std::string text = bench_markdown(report_, subject());
  EXPECT_NE(text.find("a,\"b\"\\|c.gguf"), std::string::npos) << text;
  EXPECT_NE(
      text.find("|        | tokens | tokens/s |    from - to | first token ms | GMAC/s | % of "
                "peak | % of roof |\n"
                "|:-------|-------:|---------:|-------------:|---------------:|-------:|------"
                "----:|----------:|\n"
                "| prompt |    512 |    100.0 | 90.0 - 110.0 |         5120.0 |  150.0 |       "
                "50% |       40% |\n"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("J/token"), std::string::npos);
}

TEST_F(BenchReportTest, CsvHasTheSameColumnsInEveryRow) {
  const std::string text = bench_csv(report_, subject());
  std::vector<std::string> lines;
  for (size_t begin = 0, end; (end = text.find("\r\n", begin)) != std::string::npos;
       begin = end + 2) {
    lines.push_back(text.substr(begin, end - begin));
  }
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_TRUE(lines[0].starts_with("model,device,instruction_set,threads,")) << lines[0];
  const std::string model = "\"a,\"\"b\"\"|c.gguf\"";
  for (size_t row : {1, 2}) {
    ASSERT_TRUE(lines[row].starts_with(model + ",cpu,avx512,2,3,20,300,3000000000,")) << lines[row];
    EXPECT_EQ(std::ranges::count(lines[row].substr(model.size()), ','),
              std::ranges::count(lines[0], ','));
  }
  EXPECT_TRUE(
      lines[1].ends_with(",prompt,512,0,1,100,90,110,100,5120,,,,,,150,50,40,,"
                         "0x0000000000001234"))
      << lines[1];
  EXPECT_TRUE(lines[2].ends_with(",decode,128,4096,8,40,39,41,5,,200,210,300,10,50,,,80,,"))
      << lines[2];
}

TEST_F(BenchReportTest, JsonHasTheRowsAndTheFirstOfEachKindAgain) {
  const nlohmann::json json = bench_json(report_, subject());
  ASSERT_EQ(json["rows"].size(), 2u);
  EXPECT_EQ(json["prompt"], json["rows"][0]);
  EXPECT_EQ(json["decode"], json["rows"][1]);
  EXPECT_EQ(json["prompt"]["logits_hash"], "0x0000000000001234");
  EXPECT_EQ(json["decode"]["tokens_per_s_each"], 5);
  EXPECT_EQ(json["decode"]["roof_percent"], 80);
  EXPECT_EQ(json["peak_multiply_adds_type"], "int8");
  EXPECT_EQ(json["attention_peak_multiply_adds_type"], "bf16");
  EXPECT_EQ(json["decode"]["between_tokens_s"]["p99"], 0.3);
  EXPECT_FALSE(json["decode"].contains("joules_per_token"));
  report_.rows[1].bytes_per_token.reset();
  EXPECT_FALSE(bench_json(report_, subject())["decode"].contains("bandwidth_percent"));
}

}  // namespace
}  // namespace hadal
