#include "base/memory_limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/cgroup.h"

namespace hadal {
namespace {

std::optional<uint64_t> parse_after(std::string_view text, size_t position) {
  while (position < text.size() && text[position] == ' ') ++position;
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data() + position, text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::optional<uint64_t> system_available(const std::filesystem::path& root) {
  const std::string text = read_system_file(root / "proc/meminfo");
  constexpr std::string_view kKey = "MemAvailable:";
  const size_t found = text.find(kKey);
  if (found == text.npos) return std::nullopt;
  const auto kibibytes = parse_after(text, found + kKey.size());
  if (!kibibytes) return std::nullopt;
  return *kibibytes * 1024;
}

uint64_t limit_left(int resource, uint64_t used) {
  rlimit limit;
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY) {
    return std::numeric_limits<uint64_t>::max();
  }
  return limit.rlim_cur - std::min<uint64_t>(limit.rlim_cur, used);
}

}  // namespace

uint64_t available_memory_bytes(const std::filesystem::path& root) {
  uint64_t least = system_available(root).value_or(std::numeric_limits<uint64_t>::max());
  if (const auto left = cgroup_memory_left(root)) least = std::min(least, *left);
  // "size resident shared text lib data dirty", in pages; always the real process.
  const std::string pages = read_system_file("/proc/self/statm", 256);
  uint64_t fields[6] = {};
  size_t position = 0;
  for (uint64_t& field : fields) {
    field = parse_after(pages, position).value_or(0);
    position = pages.find(' ', position);
    if (position == pages.npos) break;
    ++position;
  }
  const uint64_t page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  least = std::min(least, limit_left(RLIMIT_AS, fields[0] * page_bytes));
  return std::min(least, limit_left(RLIMIT_DATA, fields[5] * page_bytes));
}

}  // namespace hadal
