// The parameters of one model, on their devices: found in the file by the manifest, checked against
// it, uploaded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "file/model_file.h"
#include "model/manifest.h"

namespace hadal {

struct LoadProgress {
  uint64_t bytes_done, bytes_total;
};

class Weights {
 public:
  // devices: one for each entry of the manifest. The file must outlive the weights (devices may use
  // its mapping). Errors name the tensor: absent, of another shape (both said), of a type its
  // device declines, missing its FP8 scales.
  static Result<Weights> load(const Manifest& manifest, const ModelFile& file,
                              std::span<Device* const> devices,
                              const std::function<void(const LoadProgress&)>& progress = {});

  // An empty Weight where the manifest has none (a bias the model lacks).
  const Weight& get(Role role, int16_t layer = kNoLayer) const;
  Device& layer_device(uint32_t layer) const;  // of all the layer's tensors
  std::span<Device* const> layer_devices() const { return layer_devices_; }

 private:
  struct Entry {
    Role role;
    int16_t layer;
    LoadedWeight loaded;
    std::unique_ptr<ScaleGrid> scales;
  };
  std::vector<Entry> entries_;
  std::vector<Device*> layer_devices_;
};

}  // namespace hadal
