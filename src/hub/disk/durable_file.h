// Writing that survives power loss and that a reader never sees half done; and what an error of
// writing means for a person. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal {

// What an errno of writing means for a person, and what to type next: a full disk, a quota, a
// limit, a read-only place. A full disk is told with what is free there and, where the caller knows
// it, with what is missing.
std::string describe_write_error(int error, const std::filesystem::path& path,
                                 std::optional<uint64_t> bytes_missing = {});

Status make_folders(const std::filesystem::path& folder);
Status write_all(int file, std::span<const std::byte> bytes, uint64_t at,
                 const std::filesystem::path& path, std::optional<uint64_t> bytes_missing = {});

// Moves `from` over `to` (same file system) so that it survives power loss.
Status move_durably(const std::filesystem::path& from, const std::filesystem::path& to);

// Writes a small file as a whole: as `beside` (same file system), flushed, then moved over `path`.
// `beside` has one name whoever writes: writers of it wait for each other, and what a killed one
// left is used by the next.
Status write_durably(const std::filesystem::path& path, const std::filesystem::path& beside,
                     std::string_view text);

// Lets the system forget what it keeps of a flushed file in memory. Bytes that came in a network's
// small pieces lie there in small pages; read again through MappedFile they come in huge ones,
// which a model is read from a sixth faster (docs/numbers.md).
void forget_cached_pages(const std::filesystem::path& path);

// Free bytes of the file system that `folder` (or its nearest parent that exists) lies on.
Result<uint64_t> free_disk_bytes(const std::filesystem::path& folder);

}  // namespace hadal
