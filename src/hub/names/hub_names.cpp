#include "hub/names/hub_names.h"

#include <algorithm>

#include "base/utf8.h"

namespace hadal {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_lower_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

// Code points beyond ASCII that are letters to a terminal and nothing else: no C1 controls, no
// separators, no marks that reorder or hide text, no private or unassigned planes.
bool is_plain_beyond_ascii(std::string_view text) {
  if (!is_utf8(text)) return false;
  for (size_t at = 0; at < text.size();) {
    const auto first = static_cast<unsigned char>(text[at]);
    const size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t point = bytes == 1   ? first
                     : bytes == 2 ? first & 0x1f
                     : bytes == 3 ? first & 0x0f
                                  : first & 0x07;
    for (size_t i = 1; i < bytes; ++i) {
      point = point << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3f);
    }
    at += bytes;
    if (point < 0x80) continue;
    const bool steers = point < 0xc0 ||                          // C1 controls, Latin-1 signs
                        (point >= 0x2000 && point <= 0x2bff) ||  // spaces, directions, signs
                        (point >= 0x3000 && point <= 0x3004) ||  // ideographic space and stops
                        (point >= 0xd800 && point <= 0xf8ff) ||  // surrogates, private use
                        (point >= 0xfe00 && point <= 0xfe0f) ||  // variation selectors
                        (point >= 0xfe10 && point <= 0xffff) ||  // forms, specials, byte order mark
                        point >= 0x323b0;  // beyond the ideographs: tags and unassigned
    if (steers) return false;
  }
  return true;
}

Status check_part(std::string_view part, std::string_view allowed, size_t bytes_max) {
  if (part.empty()) return fail("has an empty part");
  if (part == "." || part == "..") return fail("leads out of its folder");
  if (part.size() > bytes_max)
    return fail("has a part of {} bytes; {} is the limit", part.size(), bytes_max);
  if (part.front() == '-' || part.front() == '~')
    return fail("begins with '{}', which a shell obeys", part.front());
  for (const char c : part) {
    if (static_cast<unsigned char>(c) >= 0x80) continue;
    if (!is_letter_or_digit(c) && allowed.find(c) == std::string_view::npos) {
      return fail("has a character that is not used in names here (byte {:#04x})",
                  static_cast<unsigned char>(c));
    }
  }
  if (!is_plain_beyond_ascii(part)) return fail("has characters that no terminal should be given");
  return {};
}

template <typename Check>
Status check_parts(std::string_view text, size_t parts_max, Check check) {
  size_t parts = 0;
  for (;;) {
    const size_t slash = text.find('/');
    HADAL_TRY_VOID(check(text.substr(0, slash)));
    if (++parts > parts_max) return fail("has more than {} parts", parts_max);
    if (slash == std::string_view::npos) return {};
    text.remove_prefix(slash + 1);
  }
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

Status check_plain(std::string_view part) {
  if (!is_ascii(part)) return fail("has letters beyond ASCII");
  if (part.starts_with('.')) return fail("begins with a dot");
  if (part.find("--") != std::string_view::npos || part.find("..") != std::string_view::npos) {
    return fail("contains \"--\" or \"..\"");
  }
  return check_part(part, "._-", kRepositoryPartBytesMax);
}

}  // namespace

Result<Digest> make_digest(DigestKind kind, std::string_view hex) {
  if (kind == DigestKind::kNone) return Digest{};
  const size_t digits = kind == DigestKind::kSha256 ? 64 : 40;
  std::string lower(hex.substr(0, digits + 1));
  for (char& c : lower) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower.size() != digits || !std::all_of(lower.begin(), lower.end(), is_lower_hex)) {
    return fail("{} is no {} digest: {} hexadecimal digits were expected", shown(hex),
                kind == DigestKind::kSha256 ? "sha256" : "git", digits);
  }
  return Digest{kind, std::move(lower)};
}

Status check_repository(std::string_view repository) {
  const Status parts = check_parts(repository, 2, check_plain);
  if (!parts)
    return fail("{} is no name of a repository: it {}", shown(repository), parts.error().message);
  if (std::count(repository.begin(), repository.end(), '/') != 1) {
    return fail("{} is no name of a repository: OWNER/NAME was expected", shown(repository));
  }
  return {};
}

Status check_revision(std::string_view revision) {
  const Status parts = check_parts(revision, 4, check_plain);
  if (parts) return {};
  return fail("{} is no revision: it {}", shown(revision), parts.error().message);
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), is_lower_hex);
}

Status check_repository_path(std::string_view path) {
  if (path.size() > kPathBytesMax) {
    return fail("the path {} has {} bytes; {} is the limit", shown(path), path.size(),
                kPathBytesMax);
  }
  if (path.starts_with('/')) return fail("the path {} is absolute", shown(path));
  const Status parts = check_parts(path, kPathDepthMax, [](std::string_view part) {
    return check_part(part, "._-+=@,", kNameBytesMax);
  });
  if (parts) return {};
  return fail("the path {} {}", shown(path), parts.error().message);
}

Status check_model_name(std::string_view name) {
  const Status parts = name.size() > kNameBytesMax
                           ? Status(fail("is longer than {} bytes", kNameBytesMax))
                           : check_parts(name, kPathDepthMax, [](std::string_view part) -> Status {
                               if (part.starts_with('.'))
                                 return fail("has a part that begins with a dot");
                               return check_part(part, "._-+=@:", kNameBytesMax);
                             });
  if (parts) return {};
  return fail("{} is no name of a model: it {}", shown(name), parts.error().message);
}

std::string shown(std::string_view text) {
  constexpr size_t kShownBytesMax = 80;
  const bool cut = text.size() > kShownBytesMax;
  std::string result = "'";
  for (const char c : text.substr(0, kShownBytesMax)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  return result + (cut ? "...'" : "'");
}

}  // namespace hadal
