// Formats that are written too: by caches, so far.
#pragma once

#include <cstddef>

namespace hadal {

// Blocks of 32 values: scale = the greatest |value| / 127, kept as f16; each value becomes the
// nearest whole number, ties to even, of value * (127 / greatest). The last block of a count that
// is no multiple of 32 ends in zeros.
void encode_q8_0(const float* values, size_t count, void* blocks);

}  // namespace hadal
