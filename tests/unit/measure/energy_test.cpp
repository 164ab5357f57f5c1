#include "measure/energy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace hadal {
namespace {

// A powercap folder as the kernel shows it: two packages, a part of one, and the whole platform.
class EnergyTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / ("powercap" + std::to_string(getpid()));
    zone("intel-rapl:0", "package-0", 1000, 5'000'000);
    zone("intel-rapl:0:0", "core", 77, 5'000'000);
    zone("intel-rapl:1", "package-1", 4'900'000, 5'000'000);
    zone("intel-rapl:2", "psys", 77, 5'000'000);
    zone("intel-rapl-mmio:0", "package-0", 77, 5'000'000);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void zone(const std::string& name, const std::string& what, uint64_t counter, uint64_t range) {
    std::filesystem::create_directories(folder_ / name);
    std::ofstream(folder_ / name / "name") << what << "\n";
    std::ofstream(folder_ / name / "max_energy_range_uj") << range << "\n";
    set(name, counter);
  }
  void set(const std::string& name, uint64_t counter) {
    std::ofstream(folder_ / name / "energy_uj") << counter << "\n";
  }
  std::filesystem::path folder_;
};

TEST_F(EnergyTest, SumsPackagesAndUnderstandsACounterThatWentRound) {
  EnergyMeter meter(folder_);
  ASSERT_TRUE(meter.readable());
  EXPECT_FALSE(meter.joules());  // not started
  meter.start();
  set("intel-rapl:0", 2'001'000);
  set("intel-rapl:0:0", 4'000'000);
  set("intel-rapl:1", 400'000);
  set("intel-rapl:2", 4'000'000);
  ASSERT_TRUE(meter.joules());
  EXPECT_DOUBLE_EQ(*meter.joules(), 2.0 + 0.5);
}

TEST_F(EnergyTest, WhereNothingCanBeReadThereIsNoFigure) {
  EnergyMeter none(folder_ / "not-there");
  none.start();
  EXPECT_FALSE(none.readable());
  EXPECT_FALSE(none.joules());
  std::ofstream(folder_ / "intel-rapl:0" / "energy_uj") << "no number\n";
  EnergyMeter damaged(folder_);
  std::ofstream(folder_ / "intel-rapl:1" / "energy_uj") << "";
  damaged.start();
  EXPECT_FALSE(damaged.joules());
}

}  // namespace
}  // namespace hadal
