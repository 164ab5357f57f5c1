// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace hadal {

// The least of what the system has available (MemAvailable), what the container's limit leaves
// (cgroup v1 and v2), and what the limits on address space and data leave (ulimit -v, -d). A
// figure of this moment: others take memory too. `root` stands for "/" (tests); the process's own
// limits are always the real ones. Thread-safe.
uint64_t available_memory_bytes(const std::filesystem::path& root = "/");

}  // namespace hadal
