// What the kernel tells about this process and this machine, where it lets us read it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace hadal {

struct MachineFigures {
  std::optional<double> resident_bytes, virtual_bytes;  // of this process
  std::optional<double> cpu_seconds;                    // it has used
  std::optional<double> open_files;
  std::optional<double> memory_available_bytes;  // of the machine
  std::optional<double> temperature_celsius;     // the hottest of the processor's sensors
  std::optional<double> energy_joules;  // the processor's counter: it grows, and begins anew
  std::optional<double> clock_hertz;    // mean of all cores now
};

// proc, sys: where those file systems are mounted.
MachineFigures read_machine(const std::filesystem::path& proc = "/proc",
                            const std::filesystem::path& sys = "/sys");

}  // namespace hadal
