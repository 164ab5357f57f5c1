// What the processor's packages take, where the system tells: Linux's powercap folder (RAPL;
// Documentation/power/powercap/powercap.rst of the kernel). Usually only root may read it; where it
// cannot be read there is no figure. Counts the whole machine, other programs included.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace hadal {

class EnergyMeter {
 public:
  explicit EnergyMeter(const std::filesystem::path& folder = "/sys/class/powercap");

  bool readable() const { return !packages_.empty(); }
  void start();
  // Since start(), of all packages together; a counter that went round once is understood.
  std::optional<double> joules() const;

 private:
  struct Package {
    std::filesystem::path counter;
    uint64_t range = 0;  // microjoules at which the counter starts again
    std::optional<uint64_t> begin;
  };
  std::vector<Package> packages_;
};

}  // namespace hadal
