// The reference device: what every op means, in the plainest loops. All other devices are held to
// it (tests/ops).
//
// Sums run in double, in one fixed order, and are rounded to float32 once at the end; a product of
// two floats is exact in double. A result depends on its own inputs alone, never on what else is in
// the batch, on chunk or block borders, or on the number of threads: the laws "alone = in a batch",
// "chunked = whole" and "paged = contiguous" hold bit for bit.
//
// Weights stay where they are mapped; a row is decoded when it is needed. Ops are done when they
// return. Its tensors lie in ordinary memory.
#pragma once

#include <memory>

#include "device/device.h"

namespace hadal {

struct ReferenceOptions {
  uint32_t threads = 0;  // 0: one a physical core this process may use
};

std::unique_ptr<Device> make_reference_device(const ReferenceOptions& options = {});

}  // namespace hadal
