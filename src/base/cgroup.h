// What the control groups of this process allow it (cgroup v1 and v2): a container's limits.
//
// Every function takes the folder that stands for "/", so that a test can show it a machine of its
// own making. A file that is absent, unreadable or says nothing is no limit. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace hadal {

// The least, over this process's groups and all groups around them, of limit minus use. Clean file
// pages count as free: the kernel drops them before it refuses memory.
std::optional<uint64_t> cgroup_memory_left(const std::filesystem::path& root = "/");

// CPUs' worth of time a period allows: 1.5 = one and a half cores. The least over all groups.
std::optional<double> cgroup_cpu_quota(const std::filesystem::path& root = "/");

// The first `bytes_max` bytes of a small file of /proc or /sys; empty where it cannot be read.
std::string read_system_file(const std::filesystem::path& path, size_t bytes_max = 1 << 16);

}  // namespace hadal
