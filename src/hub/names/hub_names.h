// What hubs and people call things, checked before it touches an address, the file system or a
// terminal. Everything that comes from a hub is taken for hostile: a path must not leave its
// folder, and a name must be nothing that a shell or a terminal would obey. Pure functions; any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal {

inline constexpr size_t kRepositoryPartBytesMax =
    96;  // of an owner's or repository's name, as on the hubs
inline constexpr size_t kPathBytesMax = 512;
inline constexpr size_t kPathDepthMax = 8;
inline constexpr size_t kNameBytesMax =
    200;  // of one part of a path: Linux takes 255, and hadal appends endings
inline constexpr uint64_t kFileBytesMax =
    1ull << 44;  // 17.6 TB: more than any model, less than what overflows

enum class DigestKind : uint8_t {
  kNone,
  kSha256,   // of the bytes
  kGitSha1,  // git's own for small files: SHA-1 of "blob SIZE\0" and the bytes
};
struct Digest {
  DigestKind kind = DigestKind::kNone;
  std::string hex;  // lower case; 64 or 40 digits; empty for kNone
  bool operator==(const Digest&) const = default;
};

// Hexadecimal digits of the right number, made lower case; else an error that shows them.
Result<Digest> make_digest(DigestKind kind, std::string_view hex);

// "owner/name": letters, digits, '-', '_', '.'; neither part begins with '.' or '-'; no "--" and no
// "..", which the caches of the hubs use for themselves.
Status check_repository(std::string_view repository);

// A branch, tag or commit: as a repository's parts, with '/' between them.
Status check_revision(std::string_view revision);
// 40 hexadecimal digits in lower case.
bool is_commit(std::string_view text);

// A file in a repository: relative, parts between single '/', none of them "." or "..", none
// beginning with '-' or '~'; letters, digits and "._-+=@," of ASCII, and letters of other scripts.
Status check_repository_path(std::string_view path);

// The name under which a pulled model is listed and that becomes a file's name: as a path's part,
// with ':' and '/' (stored as "--") too.
Status check_model_name(std::string_view name);

// In quotes for a message, cut at 80 bytes, with what is not printable ASCII or UTF-8 replaced.
std::string shown(std::string_view text);

}  // namespace hadal
