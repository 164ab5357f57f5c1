#include "base/numa.h"

#include <fmt/format.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>

#include "base/cgroup.h"

namespace hadal {
namespace {

constexpr uint32_t kNodesMax = 1024;  // the kernel's own limit
constexpr uint32_t kCpusMax = 8192;
constexpr uint32_t kBits = 8 * sizeof(unsigned long);

// The kernel's lists: "0-3,8,10-11". What is no number ends the list; from `limit` on is left out.
std::vector<uint32_t> parse_list(std::string_view text, uint32_t limit) {
  std::vector<uint32_t> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    uint32_t first = 0;
    auto read = std::from_chars(at, end, first);
    if (read.ec != std::errc()) break;
    uint32_t last = first;
    if (read.ptr < end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
      if (read.ec != std::errc()) break;
    }
    for (uint32_t i = first; i <= last && i < limit; ++i) numbers.push_back(i);
    if (read.ptr >= end || *read.ptr != ',') break;
    at = read.ptr + 1;
  }
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

// The list behind `key` in /proc/self/status: "Cpus_allowed_list:\t0-3\n".
std::vector<uint32_t> allowed(std::string_view status, std::string_view key, uint32_t limit) {
  const size_t found = status.find(key);
  if (found == status.npos) return {};
  status.remove_prefix(found + key.size());
  while (!status.empty() && (status[0] == '\t' || status[0] == ' ')) status.remove_prefix(1);
  return parse_list(status.substr(0, status.find('\n')), limit);
}

bool share_one(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](uint32_t x) { return std::binary_search(b.begin(), b.end(), x); });
}

// The kernel counts one bit less than it is told.
unsigned long bits_of(const std::vector<unsigned long>& mask) {
  return mask.size() * kBits + 1;
}

bool bind_pages(void* data, size_t bytes, const std::vector<unsigned long>& mask) {
  return syscall(SYS_mbind, data, bytes, MPOL_INTERLEAVE, mask.data(), bits_of(mask), 0) == 0;
}

// Why pages cannot be laid on these nodes: tried with one. Empty: they can.
std::string refusal(const std::vector<unsigned long>& mask) {
  int policy = MPOL_DEFAULT;
  if (syscall(SYS_get_mempolicy, &policy, nullptr, 0, nullptr, 0) == 0 && policy != MPOL_DEFAULT) {
    return "as the program was started";
  }
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* data = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return std::generic_category().message(errno);
  const bool bound = bind_pages(data, page, mask);
  const int error = errno;
  munmap(data, page);
  return bound ? "" : "not by turns: " + std::generic_category().message(error);
}

}  // namespace

std::vector<uint32_t> usable_numa_nodes(const std::filesystem::path& root) {
  const std::string status = read_system_file(root / "proc/self/status");
  const auto cpus = allowed(status, "Cpus_allowed_list:", kCpusMax);
  const auto memory = allowed(status, "Mems_allowed_list:", kNodesMax);
  const std::filesystem::path folder = root / "sys/devices/system/node";
  std::vector<uint32_t> nodes;
  for (const uint32_t node : parse_list(read_system_file(folder / "has_memory"), kNodesMax)) {
    const auto near = parse_list(
        read_system_file(folder / ("node" + std::to_string(node)) / "cpulist"), kCpusMax);
    if (std::binary_search(memory.begin(), memory.end(), node) && share_one(near, cpus)) {
      nodes.push_back(node);
    }
  }
  return nodes;
}

PageInterleaving::PageInterleaving(std::vector<uint32_t> nodes) {
  std::erase_if(nodes, [](uint32_t node) { return node >= kNodesMax; });
  if (nodes.size() < 2) return;
  mask_.assign(kNodesMax / kBits, 0);
  for (const uint32_t node : nodes) mask_[node / kBits] |= 1ul << (node % kBits);
  const std::string why_not = refusal(mask_);
  active_ = why_not.empty();
  text_ = fmt::format("memory on {} nodes {}", nodes.size(),
                      active_ ? std::string("by turns") : "(" + why_not + ")");
}

void PageInterleaving::apply(void* data, size_t bytes) const {
  // A wish: pages that lie elsewhere are slower and no less right.
  if (active_) static_cast<void>(bind_pages(data, bytes, mask_));
}

void PageInterleaving::apply_to_this_thread() const {
  if (active_) {
    static_cast<void>(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, mask_.data(), bits_of(mask_)));
  }
}

}  // namespace hadal
