#include "file/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "base/file_descriptor.h"
#include "base/sizes.h"
#include "file/file_kind.h"

namespace hadal {
namespace {

Result<std::string> read_open_file(int file, const std::string& name, uint64_t bytes_max) {
  struct stat status {};
  if (fstat(file, &status) != 0)
    return fail("{}: cannot be examined: {}", name, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail("{}: is not a regular file", name);
  if (static_cast<uint64_t>(status.st_size) > bytes_max) {
    return fail("{}: has {}; at most {} are read", name,
                format_bytes(static_cast<uint64_t>(status.st_size)), format_bytes(bytes_max));
  }
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = read(file, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("{}: cannot be read: {}", name, std::strerror(errno));
    if (count == 0) return fail("{}: was cut while it was read", name);
    done += static_cast<size_t>(count);
  }
  return text;
}

}  // namespace

Result<std::optional<std::string>> read_text_file(const std::filesystem::path& path,
                                                  uint64_t bytes_max) {
  const std::string name = path.string();
  const FileDescriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.open()) {
    if (errno == ENOENT) return std::nullopt;
    return fail("{}: cannot be opened: {}", name, std::strerror(errno));
  }
  auto text = read_open_file(file.number(), name, bytes_max);
  if (!text) return forward_error(text);
  if (text->starts_with("version https://git-lfs.github.com/spec/")) {
    return fail("{}: {}", name, describe_foreign_file(std::as_bytes(std::span(*text))));
  }
  return std::optional<std::string>(std::move(*text));
}

}  // namespace hadal
