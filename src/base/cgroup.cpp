#include "base/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>
#include <vector>

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kGroupDepthMax = 64;  // folders walked up from a group to the root

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;  // "max", "-1", ""
  return value;
}

std::optional<uint64_t> read_number(const fs::path& path) {
  return parse_number(read_system_file(path, 64));
}

// The value behind `key` in lines "key value".
uint64_t find_value(std::string_view text, std::string_view key) {
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      return parse_number(line.substr(key.size() + 1)).value_or(0);
    }
    start = end + 1;
  }
  return 0;
}

// Whether a comma-separated list holds `name`.
bool lists(std::string_view list, std::string_view name) {
  for (size_t start = 0; start <= list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    if (list.substr(start, end - start) == name) return true;
    start = end + 1;
  }
  return false;
}

// This process's group under `mount` and all groups around it. Inside a container the path may be
// the host's while the mount shows the container's own group as its root; folders that are not
// there are no limit, and the root is always among them.
std::vector<fs::path> group_folders(const fs::path& mount, std::string_view group) {
  std::vector<fs::path> folders = {mount};
  fs::path folder = mount;
  for (const fs::path& part : fs::path(group).relative_path()) {
    if (part == ".." || folders.size() >= kGroupDepthMax) break;
    folder /= part;
    folders.push_back(folder);
  }
  return folders;
}

// The folders of the hierarchy that counts `controller`: v1's own, and v2's one for all.
struct Groups {
  std::vector<fs::path> version_1, version_2;
};

Groups find_groups(const fs::path& root, std::string_view controller) {
  Groups groups;
  const std::string text = read_system_file(root / "proc/self/cgroup");
  const fs::path mount = root / "sys/fs/cgroup";
  for (size_t start = 0; start < text.size();) {  // "4:cpu,cpuacct:/path", v2: "0::/path"
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = std::string_view(text).substr(start, end - start);
    start = end + 1;
    const size_t first = line.find(':');
    const size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string_view group = line.substr(second + 1);
    if (controllers.empty()) {
      groups.version_2 = group_folders(mount, group);
    } else if (lists(controllers, controller)) {
      groups.version_1 = group_folders(mount / controller, group);
    }
  }
  return groups;
}

void lower(std::optional<uint64_t>& least, std::optional<uint64_t> limit,
           std::optional<uint64_t> use, uint64_t reclaimable) {
  if (!limit || !use) return;
  const uint64_t held = *use - std::min(*use, reclaimable);
  const uint64_t left = *limit - std::min(*limit, held);
  least = std::min(least.value_or(left), left);
}

}  // namespace

std::optional<uint64_t> cgroup_memory_left(const fs::path& root) {
  std::optional<uint64_t> least;
  const Groups groups = find_groups(root, "memory");
  for (const fs::path& folder : groups.version_1) {
    const std::string statistics = read_system_file(folder / "memory.stat");
    lower(least, read_number(folder / "memory.limit_in_bytes"),
          read_number(folder / "memory.usage_in_bytes"),
          find_value(statistics, "total_inactive_file") +
              find_value(statistics, "total_active_file"));
  }
  for (const fs::path& folder : groups.version_2) {
    const std::string statistics = read_system_file(folder / "memory.stat");
    lower(least, read_number(folder / "memory.max"), read_number(folder / "memory.current"),
          find_value(statistics, "inactive_file") + find_value(statistics, "active_file"));
  }
  return least;
}

std::optional<double> cgroup_cpu_quota(const fs::path& root) {
  std::optional<double> least;
  const auto lower_quota = [&](std::optional<uint64_t> quota, std::optional<uint64_t> period) {
    if (!quota || !period || *period == 0) return;
    const double cpus = static_cast<double>(*quota) / static_cast<double>(*period);
    least = std::min(least.value_or(cpus), cpus);
  };
  const Groups groups = find_groups(root, "cpu");
  for (const fs::path& folder : groups.version_1) {
    lower_quota(read_number(folder / "cpu.cfs_quota_us"),
                read_number(folder / "cpu.cfs_period_us"));
  }
  for (const fs::path& folder : groups.version_2) {  // "150000 100000" or "max 100000"
    const std::string text = read_system_file(folder / "cpu.max", 64);
    const size_t space = text.find(' ');
    if (space == text.npos) continue;
    lower_quota(parse_number(text), parse_number(std::string_view(text).substr(space + 1)));
  }
  return least;
}

std::string read_system_file(const fs::path& path, size_t bytes_max) {
  std::ifstream file(path, std::ios::binary);
  std::string text(bytes_max, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(bytes_max)) && file.bad()) return "";
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

}  // namespace hadal
