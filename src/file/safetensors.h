// One safetensors file, from its bytes: named tensors.
//
// Source: the safetensors format (huggingface/safetensors, README "Format"): u64 length of the
// header, little-endian; the header, a JSON object {"NAME": {"dtype", "shape", "data_offsets":
// [begin, end]}, ..., "__metadata__": {strings}}, which may end in spaces; then the data, which the
// offsets count from. The tensors cover the data exactly: no holes, no overlap, nothing behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "file/model_file.h"
#include "file/tensor_index.h"

namespace hadal {

inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;  // the format's own limit
inline constexpr uint64_t kSafetensorsTensorsMax = 1 << 20;

struct SafetensorsContents {
  TensorIndex tensors;
  uint64_t bytes_needed = 0;  // of the whole file; more than bytes.size() only with kHeaderOnly
};

// `bytes` is the whole file and outlives the result; `file` names it in messages. Read are the
// dtypes F32, F16, BF16 and F8_E4M3.
Result<SafetensorsContents> read_safetensors(std::span<const std::byte> bytes,
                                             const std::string& file, ReadWhat what);

}  // namespace hadal
