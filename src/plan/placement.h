// What goes where: which device holds which tensor, how many tokens of KV cache there is room for,
// and whether it fits at all. Pure arithmetic over sizes: touches no device and no tensor's bytes,
// so it runs before anything is loaded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "file/tensor_index.h"
#include "model/manifest.h"
#include "model/model.h"

namespace hadal {

struct PlacementOptions {
  uint32_t context_tokens = 0;  // 0: the default (below)
  uint32_t sequences_max = 1;   // each may fill the context
  KvTypes kv_types = QuantType::kF16;
  StepLimits limits;
  // Layers [0, layer_splits[0]) on device 0, [layer_splits[0], layer_splits[1]) on device 1 ...;
  // empty: all on device 0.
  std::vector<uint32_t> layer_splits;
};

struct Place {
  uint32_t tensor;  // index into the manifest
  uint16_t device;  // index into the devices
};

struct DeviceShare {
  uint64_t weight_bytes = 0, kv_bytes = 0, scratch_bytes = 0;
  uint64_t total() const { return weight_bytes + kv_bytes + scratch_bytes; }
};

struct Placement {
  std::vector<Place> places;        // one a manifest entry that the file has
  std::vector<DeviceShare> shares;  // one a device
  uint32_t context_tokens = 0;
  uint32_t kv_blocks = 0;
};

// Default context: the smaller of the model's and what fits in a quarter of free memory, raised to
// 4096 (or the model's, if less) where free memory allows. Errors: per device what is needed
// (weights, KV, scratch), what there is, and the options that would fit (a smaller --context).
Result<Placement> place(const ModelConfig& config, uint64_t scratch_bytes, const Manifest& manifest,
                        const TensorIndex& tensors, std::span<const DeviceInfo> devices,
                        const PlacementOptions& options);

}  // namespace hadal
