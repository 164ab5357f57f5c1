#include "measure/energy.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <system_error>

namespace hadal {
namespace {

std::optional<uint64_t> read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

// "intel-rapl:0", "intel-rapl:1": a package each. Their parts ("intel-rapl:0:1") are counted in
// them, and "psys" and the memory-mapped twin ("intel-rapl-mmio:0") would count them again.
bool is_package(const std::filesystem::path& zone) {
  constexpr std::string_view kPrefix = "intel-rapl:";
  const std::string name = zone.filename().string();
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) return false;
  if (!std::all_of(name.begin() + kPrefix.size(), name.end(),
                   [](char c) { return c >= '0' && c <= '9'; })) {
    return false;
  }
  std::string what;
  std::ifstream(zone / "name") >> what;
  return what.starts_with("package");
}

}  // namespace

EnergyMeter::EnergyMeter(const std::filesystem::path& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator zones(folder, error), end; !error && zones != end;
       zones.increment(error)) {
    if (!is_package(zones->path())) continue;
    const auto range = read_number(zones->path() / "max_energy_range_uj");
    const auto counter = zones->path() / "energy_uj";
    if (range && read_number(counter)) packages_.push_back({counter, *range, {}});
  }
}

void EnergyMeter::start() {
  for (Package& package : packages_) package.begin = read_number(package.counter);
}

std::optional<double> EnergyMeter::joules() const {
  if (packages_.empty()) return std::nullopt;
  double microjoules = 0;
  for (const Package& package : packages_) {
    const auto now = read_number(package.counter);
    if (!now || !package.begin) return std::nullopt;
    const uint64_t round = *now < *package.begin ? package.range : 0;
    microjoules += static_cast<double>(*now + round - *package.begin);
  }
  return microjoules / 1e6;
}

}  // namespace hadal
