#include "plan/placement.h"

#include <algorithm>

#include "base/check.h"
#include "base/sizes.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace hadal {
namespace {

// Figures of a plan may be absurd before they are refused; they stop at the top instead of
// wrapping.
uint64_t saturating_multiply(uint64_t a, uint64_t b) {
  return checked_multiply(a, b).value_or(UINT64_MAX);
}
uint64_t saturating_add(uint64_t a, uint64_t b) {
  return checked_add(a, b).value_or(UINT64_MAX);
}

// Default context: a quarter of free memory, raised to this where it fits.
constexpr uint32_t kDefaultContextTokens = 4096;
constexpr uint64_t kDefaultKvPart = 4;
constexpr uint64_t kBlocksMax =
    UINT32_MAX / kBlockTokens;  // rows of a cache are counted in 32 bits

// Devices that share one memory (all that lie in this process's own), or one with its own.
struct Pool {
  std::vector<uint16_t> devices;
  uint64_t memory_bytes = 0;
  uint64_t fixed_bytes = 0;       // weights and scratch
  uint64_t kv_bytes_a_block = 0;  // of all the layers there
  std::string names;

  // Blocks for which `bytes` suffices.
  uint64_t blocks_in(uint64_t bytes) const {
    return kv_bytes_a_block == 0 ? kBlocksMax : std::min(kBlocksMax, bytes / kv_bytes_a_block);
  }
  uint64_t left() const { return memory_bytes - std::min(memory_bytes, fixed_bytes); }
};

Result<std::vector<uint16_t>> device_of_layers(uint32_t layers, size_t devices,
                                               const std::vector<uint32_t>& splits) {
  if (splits.empty()) return std::vector<uint16_t>(layers, 0);
  if (splits.size() != devices) {
    return fail("the layers are split into {} parts, but there are {} devices", splits.size(),
                devices);
  }
  if (splits.back() != layers) {
    return fail("the layers are split up to layer {}, but the model has {}", splits.back(), layers);
  }
  std::vector<uint16_t> result;
  for (size_t device = 0; device < splits.size(); ++device) {
    if (splits[device] < result.size() || splits[device] > layers) {
      return fail(
          "the layers are split at {} after {}; each split must be at least the one before "
          "and at most {}",
          splits[device], result.size(), layers);
    }
    result.resize(splits[device], static_cast<uint16_t>(device));
  }
  return result;
}

// What comes before the layers lies with the first of them, what comes after with the last.
uint16_t device_of(const TensorSpec& spec, const std::vector<uint16_t>& layer_devices) {
  if (spec.layer != kNoLayer) return layer_devices[static_cast<size_t>(spec.layer)];
  const bool behind = spec.role == Role::kFinalNorm || spec.role == Role::kHead;
  return behind ? layer_devices.back() : layer_devices.front();
}

// Places, and the weights' bytes on each device.
void place_tensors(const Manifest& manifest, const TensorIndex& tensors,
                   const std::vector<uint16_t>& layer_devices, Placement& placement) {
  std::vector<std::pair<std::string_view, uint16_t>> counted;  // of tensors listed twice: a few
  for (uint32_t i = 0; i < manifest.size(); ++i) {
    const TensorSpec& spec = manifest[i];
    const std::vector<const TensorInfo*> pieces = find_pieces(spec, tensors);
    if (pieces.empty() || spec.role == Role::kSkipped) continue;
    const uint16_t device = device_of(spec, layer_devices);
    placement.places.push_back({.tensor = i, .device = device});
    if (spec.layer == kNoLayer) {
      const std::pair<std::string_view, uint16_t> place(spec.name, device);
      if (std::find(counted.begin(), counted.end(), place) != counted.end()) continue;
      counted.push_back(place);
    }
    uint64_t& bytes = placement.shares[device].weight_bytes;
    for (const TensorInfo* info : pieces) {
      const uint64_t rows = saturating_multiply(info->experts, info->rows);
      bytes =
          saturating_add(bytes, saturating_multiply(rows, row_bytes(info->type, info->columns)));
    }
  }
}

std::vector<Pool> make_pools(std::span<const DeviceInfo> devices, const Placement& placement,
                             const std::vector<uint64_t>& kv_bytes_a_block) {
  std::vector<Pool> pools;
  size_t host_pool = SIZE_MAX;
  for (uint16_t i = 0; i < devices.size(); ++i) {
    const DeviceInfo& device = devices[i];
    const DeviceShare& share = placement.shares[i];
    if (share.total() == 0) continue;
    size_t pool = pools.size();
    if (device.host_memory && host_pool != SIZE_MAX) {
      pool = host_pool;
    } else {
      pools.push_back({.memory_bytes = device.memory_bytes});
      if (device.host_memory) host_pool = pool;
    }
    Pool& p = pools[pool];
    p.devices.push_back(i);
    p.names += (p.names.empty() ? "" : " and ") + device.name;
    p.memory_bytes = std::min(p.memory_bytes, device.memory_bytes);
    p.fixed_bytes =
        saturating_add(p.fixed_bytes, saturating_add(share.weight_bytes, share.scratch_bytes));
    p.kv_bytes_a_block = saturating_add(p.kv_bytes_a_block, kv_bytes_a_block[i]);
  }
  return pools;
}

// The most blocks a sequence can have, of what `bytes_of(pool)` gives to keys and values.
template <typename BytesOf>
uint64_t blocks_a_sequence(const std::vector<Pool>& pools, uint32_t sequences, BytesOf bytes_of) {
  uint64_t blocks = kBlocksMax;
  for (const Pool& pool : pools) blocks = std::min(blocks, pool.blocks_in(bytes_of(pool)));
  return blocks / sequences;
}

uint32_t default_context(const std::vector<Pool>& pools, uint32_t sequences, uint32_t model_max) {
  const uint64_t fits =
      blocks_a_sequence(pools, sequences, [](const Pool& pool) { return pool.left(); });
  const uint64_t modest = blocks_a_sequence(pools, sequences, [](const Pool& pool) {
    return std::min(pool.left(), pool.memory_bytes / kDefaultKvPart);
  });
  const uint64_t wanted = std::max<uint64_t>(modest, kDefaultContextTokens / kBlockTokens);
  return static_cast<uint32_t>(
      std::min<uint64_t>(model_max, std::min(fits, wanted) * kBlockTokens));
}

std::string pool_figures(const Pool& pool, const Placement& placement, uint64_t blocks) {
  uint64_t weight_bytes = 0, scratch_bytes = 0;
  for (const uint16_t device : pool.devices) {
    weight_bytes = saturating_add(weight_bytes, placement.shares[device].weight_bytes);
    scratch_bytes = saturating_add(scratch_bytes, placement.shares[device].scratch_bytes);
  }
  const uint64_t kv_bytes = saturating_multiply(blocks, pool.kv_bytes_a_block);
  const uint64_t needed = saturating_add(pool.fixed_bytes, kv_bytes);
  return fmt::format("on {} {} needed (weights {}, keys and values {}, scratch {}), {} free",
                     pool.names, format_bytes(needed), format_bytes(weight_bytes),
                     format_bytes(kv_bytes), format_bytes(scratch_bytes),
                     format_bytes(pool.memory_bytes));
}

// The refusal: every device's figures, and what would fit.
tl::unexpected<Error> refuse(const std::vector<Pool>& pools, const Placement& placement,
                             const PlacementOptions& options, uint32_t context, uint64_t blocks) {
  std::string figures;
  for (const Pool& pool : pools) {
    figures += (figures.empty() ? "" : "; ") + pool_figures(pool, placement, blocks);
  }
  const uint64_t fits = blocks_a_sequence(pools, options.sequences_max,
                                          [](const Pool& pool) { return pool.left(); }) *
                        kBlockTokens;
  std::string advice;
  if (fits > 0 && fits < context) {
    advice = fmt::format("--context {} would fit", fits);
  } else if (options.sequences_max > 1) {
    advice = "Fewer sequences, a smaller model or one in a smaller format may fit";
  } else {
    advice = "A smaller model, or this one in a smaller format, may fit";
  }
  return fail(
      "the model does not fit with a context of {} tokens{}: {}. {}", context,
      options.sequences_max > 1 ? fmt::format(" for {} sequences", options.sequences_max) : "",
      figures, advice);
}

}  // namespace

Result<Placement> place(const ModelConfig& config, uint64_t scratch_bytes, const Manifest& manifest,
                        const TensorIndex& tensors, std::span<const DeviceInfo> devices,
                        const PlacementOptions& options) {
  CHECK(!devices.empty() && devices.size() <= UINT16_MAX && options.sequences_max > 0);
  HADAL_TRY_VOID(check_tensors(manifest, tensors));
  if (options.context_tokens > config.context_max) {
    return fail("a context of {} tokens was asked for, but the model is made for {}",
                options.context_tokens, config.context_max);
  }
  HADAL_TRY(auto layer_devices,
            device_of_layers(config.layers, devices.size(), options.layer_splits));
  // A layer that predicts is where the last one is, whose results it reads.
  layer_devices.resize(config.cached_layers(), layer_devices.back());

  Placement placement;
  placement.shares.resize(devices.size());
  place_tensors(manifest, tensors, layer_devices, placement);

  std::vector<uint64_t> kv_bytes_a_block(devices.size(), 0);
  for (size_t device = 0; device < devices.size(); ++device) {
    KvLayout there = config.kv_layout();
    there.layers = static_cast<uint32_t>(
        std::count(layer_devices.begin(), layer_devices.end(), static_cast<uint16_t>(device)));
    kv_bytes_a_block[device] =
        saturating_multiply(there.bytes_per_token(options.kv_types), kBlockTokens);
    DeviceShare& share = placement.shares[device];
    if (share.weight_bytes > 0) share.scratch_bytes = scratch_bytes;
  }

  const std::vector<Pool> pools = make_pools(devices, placement, kv_bytes_a_block);
  uint32_t context = options.context_tokens;
  if (context == 0) context = default_context(pools, options.sequences_max, config.context_max);
  // Where not even a block fits, the refusal speaks of the least that would be useful.
  if (context == 0) context = std::min(config.context_max, kDefaultContextTokens);

  const uint64_t blocks =
      saturating_multiply(divide_up(context, kBlockTokens), options.sequences_max);
  const auto fits = [&](const Pool& pool) {
    return pool.fixed_bytes <= pool.memory_bytes && blocks <= pool.blocks_in(pool.left());
  };
  if (!std::all_of(pools.begin(), pools.end(), fits)) {
    return refuse(pools, placement, options, context, blocks);
  }
  for (size_t device = 0; device < devices.size(); ++device) {
    placement.shares[device].kv_bytes = blocks * kv_bytes_a_block[device];
  }
  placement.context_tokens = context;
  placement.kv_blocks = static_cast<uint32_t>(blocks);
  return placement;
}

}  // namespace hadal
