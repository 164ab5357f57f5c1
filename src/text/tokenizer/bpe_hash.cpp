#include "text/tokenizer/bpe_hash.h"

#include <sys/random.h>

#include <chrono>

namespace hadal {

uint64_t hash_seed() {
  static const uint64_t seed = [] {
    uint64_t drawn = 0;
    if (getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != sizeof drawn) {
      drawn = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    }
    return hash_mix(drawn ^ kHashOdd2, kHashOdd1) | 1;
  }();
  return seed;
}

}  // namespace hadal
