// Formats that are written too: by caches, so far.
#pragma once

#include <cstddef>

namespace hadal {

// Blocks of 32 values: scale = the greatest |value| / 127, kept as f16; each value becomes the
// nearest whole number, ties to even, of value * (127 / greatest). The last block of a count that
// is no multiple of 32 ends in zeros.
void encode_q8_0(const float* values, size_t count, void* blocks);

// Blocks of 32 values: scale = minus an eighth of the value that is greatest without its sign (the
// first of equals), kept as f16, so that this value becomes 0 of 0..15; the others become the
// nearest whole number, halves up, of 8 + value / scale. Ends as above.
void encode_q4_0(const float* values, size_t count, void* blocks);

}  // namespace hadal
