#include "server/access/key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace hadal {
namespace {

constexpr std::string_view kKeyBeginning = "hadal-";

template <size_t kBytes>
std::string hex(const std::array<uint8_t, kBytes>& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

int value_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

KeyDigest sha256(std::string_view bytes) {
  KeyDigest digest{};
  unsigned size = 0;
  CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1);
  return digest;
}

}  // namespace

bool is_key_name(std::string_view name) {
  return !name.empty() && name.size() <= kKeyNameBytesMax && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

Result<std::string> make_key() {
  std::array<uint8_t, 32> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return fail("the system gives no random numbers for a key");
  }
  return std::string(kKeyBeginning) + hex(bytes);
}

KeyDigest digest_of_key(std::string_view key) {
  return sha256(key);
}

std::string to_hex(const KeyDigest& digest) {
  return hex(digest);
}

bool from_hex(std::string_view text, KeyDigest& digest) {
  if (text.size() != 2 * digest.size()) return false;
  for (size_t i = 0; i < digest.size(); ++i) {
    const int high = value_of(text[2 * i]), low = value_of(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    digest[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

bool same_digest(const KeyDigest& a, const KeyDigest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

uint64_t cache_salt_of(const KeyDigest& digest) {
  const KeyDigest mixed = sha256("cache salt " + to_hex(digest));
  uint64_t salt = 0;
  std::memcpy(&salt, mixed.data(), sizeof(salt));
  return std::max<uint64_t>(salt, 1);
}

}  // namespace hadal
