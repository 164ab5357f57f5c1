#include "server/metrics/machine.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

namespace hadal {
namespace {

namespace fs = std::filesystem;

// The beginning of a small file of the kernel's; "": there is none, or it may not be read.
std::string read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<double> parse(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<double> read_number(const fs::path& path) {
  return parse(read_line(path));
}

std::optional<double> field(std::string_view text, size_t index) {
  while (index > 0) {
    const size_t space = text.find(' ');
    if (space == text.npos) return std::nullopt;
    text.remove_prefix(space + 1);
    --index;
  }
  return parse(text);
}

std::optional<double> scaled(std::optional<double> value, double factor) {
  return value ? std::optional(*value * factor) : std::nullopt;
}

// each(name) for what lies in `folder`; false: it cannot be read. By the C library's calls:
// std::filesystem's iterator ends the process where memory lacks.
template <typename Each>
bool for_each_name(const fs::path& folder, const Each& each) {
  const auto close = [](DIR* folder_read) { closedir(folder_read); };
  const std::unique_ptr<DIR, decltype(close)> entries(opendir(folder.c_str()), close);
  if (!entries) return false;
  while (const dirent* const entry = readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") each(name);
  }
  return true;
}

// each(path) for what lies in `folder` and begins with `beginning`.
template <typename Each>
void for_each_path(const fs::path& folder, std::string_view beginning, const Each& each) {
  for_each_name(folder, [&](std::string_view name) {
    if (name.starts_with(beginning)) each(folder / name);
  });
}

void read_process(const fs::path& proc, MachineFigures& figures) {
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  const std::string pages = read_line(proc / "self/statm");
  figures.virtual_bytes = scaled(field(pages, 0), page);
  figures.resident_bytes = scaled(field(pages, 1), page);
  // "PID (name, which may hold anything) S ..."; times are the 12th and 13th word behind it.
  const std::string stat = read_line(proc / "self/stat");
  const size_t name_end = stat.rfind(") ");
  if (name_end != stat.npos) {
    const std::string_view rest = std::string_view(stat).substr(name_end + 2);
    const auto user = field(rest, 11), system = field(rest, 12);
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    if (user && system) figures.cpu_seconds = (*user + *system) / ticks;
  }
  double count = 0;
  if (for_each_name(proc / "self/fd", [&](std::string_view) { ++count; })) {
    figures.open_files = count;
  }
}

std::optional<double> available_memory(const fs::path& proc) {
  constexpr std::string_view kName = "MemAvailable:";
  std::ifstream file(proc / "meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(kName)) continue;
    const size_t digit = line.find_first_of("0123456789");
    if (digit != line.npos) return scaled(parse(std::string_view(line).substr(digit)), 1024);
  }
  return std::nullopt;
}

std::optional<double> processor_temperature(const fs::path& sys) {
  std::optional<double> hottest;
  const auto take = [&hottest](std::optional<double> millidegrees) {
    if (millidegrees) hottest = std::max(hottest.value_or(-1e9), *millidegrees / 1000);
  };
  for_each_path(sys / "class/hwmon", "hwmon", [&](const fs::path& sensor) {
    const std::string name = read_line(sensor / "name");
    if (name != "coretemp" && name != "k10temp" && name != "zenpower" && name != "cpu_thermal")
      return;
    for_each_path(sensor, "temp", [&](const fs::path& file) {
      if (file.filename().string().ends_with("_input")) take(read_number(file));
    });
  });
  if (hottest) return hottest;
  for_each_path(sys / "class/thermal", "thermal_zone", [&](const fs::path& zone) {
    const std::string type = read_line(zone / "type");
    if (type == "x86_pkg_temp" || type.starts_with("cpu")) take(read_number(zone / "temp"));
  });
  return hottest;
}

std::optional<double> processor_energy(const fs::path& sys) {
  std::optional<double> joules;
  for_each_path(sys / "class/powercap", "intel-rapl:", [&](const fs::path& zone) {
    if (!read_line(zone / "name").starts_with("package")) return;
    if (const auto micro = read_number(zone / "energy_uj")) {
      joules = joules.value_or(0) + *micro / 1e6;
    }
  });
  return joules;
}

std::optional<double> processor_clock(const fs::path& sys) {
  double sum = 0, count = 0;
  for_each_path(sys / "devices/system/cpu", "cpu", [&](const fs::path& core) {
    if (const auto kilohertz = read_number(core / "cpufreq/scaling_cur_freq")) {
      sum += *kilohertz * 1000;
      ++count;
    }
  });
  if (count == 0) return std::nullopt;
  return sum / count;
}

}  // namespace

MachineFigures read_machine(const fs::path& proc, const fs::path& sys) {
  MachineFigures figures;
  read_process(proc, figures);
  figures.memory_available_bytes = available_memory(proc);
  figures.temperature_celsius = processor_temperature(sys);
  figures.energy_joules = processor_energy(sys);
  figures.clock_hertz = processor_clock(sys);
  return figures;
}

}  // namespace hadal
