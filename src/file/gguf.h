// One GGUF file, from its bytes: metadata and named tensors. Nothing is copied but names and lists
// of views.
//
// Source: the GGUF specification (ggml, docs/gguf.md), versions 2 and 3, little-endian:
// - "GGUF", u32 version, u64 tensors, u64 keys;
// - keys: string name, u32 type, value (a list: u32 element type, u64 count, elements);
// - tensors: string name, u32 dimensions, u64 each (innermost first), u32 type, u64 offset into the
//   data section;
// - the data section, from the next multiple of general.alignment (32 where the key is absent).
// A string is a u64 length and that many bytes.
//
// Every count, length, dimension and offset is held against the bytes that are there before
// anything is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "file/metadata.h"
#include "file/model_file.h"
#include "file/tensor_index.h"

namespace hadal {

inline constexpr uint64_t kGgufKeysMax = 1 << 16;
inline constexpr uint64_t kGgufTensorsMax = 1
                                            << 20;  // DeepSeek-V3 with its experts single has 91991
inline constexpr uint64_t kGgufNameBytesMax = 65535;  // of a key or tensor
inline constexpr uint64_t kGgufListElementsMax =
    1 << 25;  // of all lists together; 16 bytes each in memory
inline constexpr uint64_t kGgufAlignmentMin = 8, kGgufAlignmentMax = 1 << 20;  // a power of two

struct GgufContents {
  uint32_t version = 0;
  Metadata metadata;
  TensorIndex tensors;
  uint64_t bytes_needed = 0;  // from the file's first byte to the end of its last tensor; more than
                              // bytes.size() only with kHeaderOnly
};

// `bytes` is the whole file and outlives the result, which holds views into it; `file` names it in
// messages.
Result<GgufContents> read_gguf(std::span<const std::byte> bytes, const std::string& file,
                               ReadWhat what);

}  // namespace hadal
