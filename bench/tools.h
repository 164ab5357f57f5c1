// What the programs of this folder share.
#pragma once

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hadal {

template <typename T>
T or_exit(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(1);
}

// Random bytes in a file that has no name any more. Each 16 bits of it are an ordinary f16 or bf16
// of middling size, wherever a format looks for its scales.
inline const std::byte* map_random_file(size_t bytes) {
  char path[] = "/tmp/hadal-bench-XXXXXX";
  const int file = mkstemp(path);
  unlink(path);
  std::mt19937_64 random(1);
  std::vector<uint64_t> chunk(1 << 17);
  for (size_t done = 0; done < bytes; done += chunk.size() * 8) {
    for (uint64_t& word : chunk) word = (random() & 0xbfffbfffbfffbfffull) | 0x2000200020002000ull;
    const size_t count = std::min(bytes - done, chunk.size() * 8);
    if (write(file, chunk.data(), count) != static_cast<ssize_t>(count)) std::exit(1);
  }
  void* data = mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
  close(file);
  if (data == MAP_FAILED) std::exit(1);
  return static_cast<const std::byte*>(data);
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace hadal
