#include "model/weights.h"

#include <algorithm>
#include <set>
#include <string>

#include "base/check.h"
#include "base/sizes.h"
#include "base/utf8.h"

namespace hadal {
namespace {

// DeepSeek's FP8: one scale for each 128 x 128 values, in a tensor beside the weight.
constexpr uint32_t kScaleBlock = 128;
constexpr std::string_view kScaleSuffix = "_scale_inv";

std::string scale_name(const TensorInfo& info) {
  return info.name + std::string(kScaleSuffix);
}

// Tensors that are in files and that no forward needs.
bool is_superfluous(std::string_view name, bool tied_head) {
  // Frequencies that follow from the configuration, kept by old exporters.
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  // A tied model saved with its head: the configuration says that the embedding is used.
  return tied_head && name == "lm_head.weight";
}

Status check_scales(const TensorInfo& info, const TensorIndex& tensors) {
  const TensorInfo* scales = tensors.find(scale_name(info));
  if (scales == nullptr) {
    return fail("tensor {} is FP8, and its scales, {}, are missing", info.name, scale_name(info));
  }
  const uint64_t rows = divide_up(info.rows, kScaleBlock);
  const uint64_t columns = divide_up(info.columns, kScaleBlock);
  if (info.experts != 1 || scales->experts != 1 || scales->rows != rows ||
      scales->columns != columns) {
    return fail("tensor {} has {} x {} x {} values, expected {} x {}: one for each {} x {} of {}",
                scales->name, scales->experts, scales->rows, scales->columns, rows, columns,
                kScaleBlock, kScaleBlock, info.name);
  }
  if (scales->type != QuantType::kF32 && scales->type != QuantType::kBF16 &&
      scales->type != QuantType::kF16) {
    return fail("tensor {} is {}; scales are f32, bf16 or f16", scales->name,
                quant_format(scales->type).name);
  }
  return {};
}

Status check_shape(const TensorSpec& spec, const TensorInfo& info) {
  const uint32_t experts = spec.experts / spec.pieces;
  if (info.experts == experts && info.rows == spec.rows && info.columns == spec.columns) {
    return {};
  }
  const auto words = [](uint32_t experts, uint32_t rows, uint32_t columns) {
    return experts == 1 ? fmt::format("{} x {}", rows, columns)
                        : fmt::format("{} x {} x {}", experts, rows, columns);
  };
  return fail(
      "tensor {} has {} values (rows x columns), but by the model's configuration it has {}",
      info.name, words(info.experts, info.rows, info.columns),
      words(experts, spec.rows, spec.columns));
}

// A spec's tensors that are in the file, each held against it.
Result<std::vector<const TensorInfo*>> check_pieces(const TensorSpec& spec,
                                                    const TensorIndex& tensors) {
  std::vector<const TensorInfo*> found;
  for (uint32_t piece = 0; piece < spec.pieces; ++piece) {
    const std::string name = piece_name(spec, piece);
    const TensorInfo* info = tensors.find(name);
    if (info == nullptr && (spec.required || piece > 0)) {
      return fail("the tensor {} is missing", name);
    }
    if (info == nullptr) return found;
    if (spec.role != Role::kSkipped) HADAL_TRY_VOID(check_shape(spec, *info));
    if (spec.role != Role::kSkipped && info->type == QuantType::kF8_E4M3) {
      HADAL_TRY_VOID(check_scales(*info, tensors));
    }
    found.push_back(info);
  }
  return found;
}

}  // namespace

Status check_tensors(const Manifest& manifest, const TensorIndex& tensors) {
  std::set<std::string, std::less<>> read;
  bool tied_head = false;
  for (const TensorSpec& spec : manifest) {
    HADAL_TRY(const auto pieces, check_pieces(spec, tensors));
    for (const TensorInfo* info : pieces) {
      if (!read.insert(info->name).second && spec.role == Role::kHead) tied_head = true;
      if (info->type == QuantType::kF8_E4M3) read.insert(scale_name(*info));
    }
  }
  for (const auto& [name, info] : tensors.tensors()) {
    if (!read.contains(name) && !is_superfluous(name, tied_head)) {
      return fail(
          "the tensor {} is none that hadal knows in this architecture; the model would be "
          "computed wrongly without it",
          quote(name));
    }
  }
  return {};
}

Result<Weights::Entry> Weights::load_one(const TensorSpec& spec,
                                         std::span<const TensorInfo* const> infos,
                                         const TensorIndex& tensors, Device& device) {
  Entry entry;
  std::vector<WeightPiece> pieces;
  for (const TensorInfo* info : infos) {
    if (!device.supports(info->type)) {
      return fail("tensor {} is {}, which the device {} does not take", info->name,
                  quant_format(info->type).name, device.info().name);
    }
    pieces.push_back({.type = info->type,
                      .experts = info->experts,
                      .rows = info->rows,
                      .columns = info->columns,
                      .data = info->data});
    if (info->type != QuantType::kF8_E4M3) continue;
    // Copied: the file's are not aligned as floats have to be, and may be bf16.
    const TensorInfo& scales = *tensors.find(scale_name(*info));
    std::vector<float>& copy = entry.scales.emplace_back(size_t{scales.rows} * scales.columns);
    quant_format(scales.type).decode(scales.data.data(), copy.data(), copy.size());
    pieces.back().scales = {
        .data = copy.data(), .rows_per_scale = kScaleBlock, .columns_per_scale = kScaleBlock};
  }
  HADAL_TRY(entry.loaded, device.upload({.name = spec.name, .use = spec.use, .pieces = pieces}));
  return entry;
}

Result<Weights> Weights::load(const Manifest& manifest, const ModelFile& file,
                              std::span<Device* const> devices,
                              const std::function<bool(const LoadProgress&)>& progress) {
  CHECK(devices.size() == manifest.size());
  const TensorIndex& tensors = file.tensors();
  if (Status checked = check_tensors(manifest, tensors); !checked) {
    return fail("{}: {}", file.path().string(), checked.error().message);
  }

  LoadProgress done{0, 0};
  for (const TensorSpec& spec : manifest) {
    if (spec.role == Role::kSkipped) continue;
    for (const TensorInfo* info : find_pieces(spec, tensors)) {
      if (info->data.empty()) {
        return fail("{}: the bytes of tensor {} are not in the file", file.path().string(),
                    info->name);
      }
      done.bytes_total += info->data.size();
    }
  }

  Weights weights;
  std::map<std::pair<std::string_view, Device*>, Weight> uploaded;
  for (size_t i = 0; i < manifest.size(); ++i) {
    const TensorSpec& spec = manifest[i];
    const std::vector<const TensorInfo*> infos = find_pieces(spec, tensors);
    if (infos.empty() || spec.role == Role::kSkipped) continue;
    Device& device = *devices[i];
    if (spec.layer != kNoLayer) {
      auto& layers = weights.layer_devices_;
      layers.resize(std::max(layers.size(), size_t{static_cast<uint16_t>(spec.layer)} + 1));
      Device*& layer_device = layers[static_cast<size_t>(spec.layer)];
      CHECK(layer_device == nullptr || layer_device == &device);
      layer_device = &device;
    }
    Weight& view = uploaded[{spec.name, &device}];
    if (!view) {
      auto entry = load_one(spec, infos, tensors, device);
      if (!entry) return fail("{}: {}", file.path().string(), entry.error().message);
      view = entry->loaded.view;
      weights.entries_.push_back(std::move(*entry));
    }
    weights.views_[{spec.role, spec.layer}] = view;
    for (const TensorInfo* info : infos) done.bytes_done += info->data.size();
    if (progress && !progress(done)) return fail("{}: no longer wanted", file.path().string());
  }
  return weights;
}

const Weight& Weights::get(Role role, int16_t layer) const {
  static const Weight kNone;
  const auto found = views_.find({role, layer});
  return found == views_.end() ? kNone : found->second;
}

}  // namespace hadal
