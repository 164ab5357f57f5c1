// What attention costs a model, for figures.
#pragma once

#include <cstdint>

namespace hadal {

// Multiply-adds of attention proper (queries with keys, weights with values) over all layers.
struct AttentionWork {
  uint64_t pair = 0;  // of a token with one position that it sees
  // A latent cache has a second form, in which the positions are first expanded to keys and values
  // (0: none): cheaper for many tokens.
  uint64_t expanded_pair = 0, expanded_position = 0;
};

}  // namespace hadal
