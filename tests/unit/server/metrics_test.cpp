#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "server/metrics/server_metrics.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

TEST(PrometheusText, EscapesAndEnds) {
  PrometheusText page;
  page.begin("a_total", PrometheusText::Type::kCounter, "What it is.");
  page.sample({}, 3);
  page.sample({{"model_name", "a\"b\\c\nd"}}, 0.5);
  EXPECT_EQ(page.take(),
            "# HELP a_total What it is.\n# TYPE a_total counter\na_total 3\n"
            "a_total{model_name=\"a\\\"b\\\\c\\nd\"} 0.5\n");
}

TEST(PrometheusText, BucketsAddUp) {
  static constexpr double kBounds[] = {1, 2.5};
  Histogram histogram(kBounds);
  for (const double value : {0.5, 1.0, 2.0, 3.0}) histogram.observe(value);
  PrometheusText page;
  page.begin("h", PrometheusText::Type::kHistogram, "H.");
  page.sample({{"m", "x"}}, histogram);
  EXPECT_EQ(page.take(),
            "# HELP h H.\n# TYPE h histogram\nh_bucket{m=\"x\",le=\"1\"} 2\n"
            "h_bucket{m=\"x\",le=\"2.5\"} 3\nh_bucket{m=\"x\",le=\"+Inf\"} 4\nh_sum{m=\"x\"} 6.5\n"
            "h_count{m=\"x\"} 4\n");
}

TEST(ServerMetrics, CountsWhatEndsByReason) {
  ServerMetrics metrics;
  metrics.on_first("m", 0.25);
  metrics.on_next("m", 0.01);
  metrics.on_finish({.model = "m",
                     .reason = FinishReason::kStopped,
                     .usage = {.prompt_tokens = 7, .answer_tokens = 3},
                     .seconds = 1});
  metrics.on_finish({.model = "m", .reason = FinishReason::kCancelled, .seconds = 1});
  const std::string text = metrics.text({}, {}, {.connections = 5, .log_lines_lost = 3});
  for (const char* line :
       {"hadal:request_success_total{model_name=\"m\",finished_reason=\"stop\"} 1\n",
        "hadal:request_success_total{model_name=\"m\",finished_reason=\"abort\"} 1\n",
        "hadal:request_success_total{model_name=\"m\",finished_reason=\"error\"} 0\n",
        "hadal:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.25\"} 1\n",
        "hadal:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.1\"} 0\n",
        "hadal:inter_token_latency_seconds_count{model_name=\"m\"} 1\n",
        "hadal:request_decode_time_seconds_count{model_name=\"m\"} 1\n",
        "hadal:request_generation_tokens_sum{model_name=\"m\"} 3\n", "hadal:http_connections 5\n",
        "hadal:access_log_lines_lost_total 3\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  EXPECT_EQ(text.find("cpu_temperature"), std::string::npos) << "what is not known is not there";
}

class Machine : public testing::Test {
 protected:
  Machine() {
    std::string pattern = (fs::temp_directory_path() / "hadal-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~Machine() override { fs::remove_all(folder_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text << "\n";
  }
  MachineFigures read() const { return read_machine(folder_ / "proc", folder_ / "sys"); }
  fs::path folder_;
};

TEST_F(Machine, WhatIsNotThereIsNone) {
  const MachineFigures figures = read();
  EXPECT_FALSE(figures.resident_bytes || figures.cpu_seconds || figures.temperature_celsius ||
               figures.energy_joules || figures.clock_hertz || figures.memory_available_bytes);
}

TEST_F(Machine, ReadsSensors) {
  write("proc/self/stat", "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0");
  write("proc/self/statm", "100 40 3");
  write("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    2 kB");
  write("sys/class/hwmon/hwmon0/name", "nvme");
  write("sys/class/hwmon/hwmon0/temp1_input", "99000");
  write("sys/class/hwmon/hwmon1/name", "coretemp");
  write("sys/class/hwmon/hwmon1/temp1_input", "41000");
  write("sys/class/hwmon/hwmon1/temp2_input", "47500");
  write("sys/class/hwmon/hwmon1/temp2_max", "100000");
  write("sys/class/powercap/intel-rapl:0/name", "package-0");
  write("sys/class/powercap/intel-rapl:0/energy_uj", "2500000");
  write("sys/class/powercap/intel-rapl:0:0/name", "core");
  write("sys/class/powercap/intel-rapl:0:0/energy_uj", "9000000");
  write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1000000");
  write("sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "3000000");
  const MachineFigures figures = read();
  EXPECT_EQ(figures.cpu_seconds, 200.0 / static_cast<double>(sysconf(_SC_CLK_TCK)));
  EXPECT_EQ(figures.resident_bytes, 40.0 * static_cast<double>(sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(figures.memory_available_bytes, 2048);
  EXPECT_EQ(figures.temperature_celsius, 47.5);
  EXPECT_EQ(figures.energy_joules, 2.5);
  EXPECT_EQ(figures.clock_hertz, 2e9);
}

TEST_F(Machine, BrokenFilesAreNone) {
  write("proc/self/stat", "12 (a S");
  write("proc/self/statm", "x");
  write("proc/meminfo", "MemAvailable: none");
  write("sys/class/hwmon/hwmon1/name", "coretemp");
  write("sys/class/hwmon/hwmon1/temp1_input", "");
  const MachineFigures figures = read();
  EXPECT_FALSE(figures.resident_bytes || figures.cpu_seconds || figures.temperature_celsius ||
               figures.memory_available_bytes);
}

TEST(Process, HasFiguresHere) {
  const MachineFigures figures = read_machine();
  EXPECT_GT(figures.resident_bytes.value_or(0), 1e6);
  EXPECT_GT(figures.open_files.value_or(0), 2);
  EXPECT_TRUE(figures.cpu_seconds && figures.memory_available_bytes);
}

}  // namespace
}  // namespace hadal
