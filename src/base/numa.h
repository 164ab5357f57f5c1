// Machines whose memory belongs to nodes: a processor reads its own node's fast, another's through
// a link. Pages that lie on all nodes by turns are read at all nodes' speed together, whichever
// thread reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace hadal {

// The nodes with memory that this process may take (cpuset) and with CPUs it may run on (affinity
// mask, cpuset), in order: what /sys and /proc/self/status say. Empty where they say nothing.
// `root` stands for "/" (tests). Thread-safe.
std::vector<uint32_t> usable_numa_nodes(const std::filesystem::path& root = "/");

// Lays pages on nodes by turns. It does nothing with fewer than two nodes, where the kernel refuses
// it (seccomp in containers), and where who started the program has set a policy (numactl): that
// one stays. Thread-safe.
class PageInterleaving {
 public:
  explicit PageInterleaving(std::vector<uint32_t> nodes);

  bool active() const { return active_; }
  // For people, "memory on 2 nodes by turns" or why not; "" with fewer than two nodes.
  const std::string& text() const { return text_; }

  // Pages of this mapping that are not committed yet. data: at a page's start.
  void apply(void* data, size_t bytes) const;
  // What the calling thread commits from now on, pages of files that it brings in too; the threads
  // it starts inherit that.
  void apply_to_this_thread() const;

 private:
  std::vector<unsigned long> mask_;
  bool active_ = false;
  std::string text_;
};

}  // namespace hadal
