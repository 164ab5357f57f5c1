// A key that lets a client in: how it is made, and the little of it that is kept.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal {

// 0: no limit.
struct KeyLimits {
  uint32_t requests_per_minute = 0;
  uint32_t tokens_per_minute = 0;  // of prompts and answers
  uint32_t concurrent = 0;         // requests under way at once
  bool operator==(const KeyLimits&) const = default;
};

using KeyDigest = std::array<uint8_t, 32>;

// The key itself is nowhere: it is 256 random bits, so its SHA-256 alone leads nobody back to it.
struct StoredKey {
  std::string name;
  KeyDigest digest{};
  KeyLimits limits;
  int64_t created_unix_seconds = 0;
};

inline constexpr size_t kKeyNameBytesMax = 64;

// 1 to kKeyNameBytesMax of letters, digits, '.', '_', '-'.
bool is_key_name(std::string_view name);

// "hadal-" and 64 hexadecimal digits. An error where the system has no random numbers.
Result<std::string> make_key();

KeyDigest digest_of_key(std::string_view key);
std::string to_hex(const KeyDigest& digest);
bool from_hex(std::string_view text, KeyDigest& digest);

// Takes as long wherever they differ.
bool same_digest(const KeyDigest& a, const KeyDigest& b);

// What requests of this key share their cached prompts by, and wait in turn by: never 0, not to be
// guessed from outside.
uint64_t cache_salt_of(const KeyDigest& digest);

}  // namespace hadal
