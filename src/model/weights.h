// The parameters of one model, on their devices: found in the file by the manifest, checked against
// it, uploaded.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "file/model_file.h"
#include "model/manifest.h"

namespace hadal {

struct LoadProgress {
  uint64_t bytes_done, bytes_total;
};

// Holds a file's tensors against a manifest, by their headers alone. Errors name the tensor: one
// that is required and absent, of another shape (both said), FP8 without its grid of scales, and
// one that is there but that the architecture would not read (a bias it does not have): its result
// would be wrong without it.
Status check_tensors(const Manifest& manifest, const TensorIndex& tensors);

class Weights {
 public:
  // devices: one for each entry of the manifest; all of a layer on one (CHECKed). A tensor listed
  // twice on one device is uploaded once. The file must outlive the weights (devices may use its
  // mapping). progress: after each tensor; false: the load is no longer wanted. Errors: those of
  // check_tensors, a type its device declines, what the device says, a load that was given up.
  static Result<Weights> load(const Manifest& manifest, const ModelFile& file,
                              std::span<Device* const> devices,
                              const std::function<bool(const LoadProgress&)>& progress = {});

  // An empty Weight where the file has none (a bias the model lacks).
  const Weight& get(Role role, int16_t layer = kNoLayer) const;
  Device& layer_device(uint32_t layer) const { return *layer_devices_[layer]; }
  std::span<Device* const> layer_devices() const { return layer_devices_; }  // [layers]

 private:
  struct Entry {
    LoadedWeight loaded;
    std::vector<std::vector<float>> scales;  // of FP8, a piece each, row-major; pointed into
  };
  static Result<Entry> load_one(const TensorSpec& spec, std::span<const TensorInfo* const> infos,
                                const TensorIndex& tensors, Device& device);

  std::vector<Entry> entries_;
  std::map<std::pair<Role, int16_t>, Weight> views_;
  std::vector<Device*> layer_devices_;
};

}  // namespace hadal
