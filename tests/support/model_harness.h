// A model loaded as the engine loads it, with a trivial block table instead of an engine: for tests
// that want the forward itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "file/model_file.h"
#include "model/kv_cache.h"
#include "model/model.h"
#include "model/weights.h"
#include "plan/placement.h"

namespace hadal {

enum class BlockOrder : uint8_t { kContiguous, kScattered };

struct HarnessOptions {
  std::vector<Device*> devices;        // at least one; must outlive the harness
  std::vector<uint32_t> layer_splits;  // as PlacementOptions has it
  uint32_t context_tokens = 0;         // of each sequence; 0: the model's, at most 4096
  uint32_t sequences_max = 1;
  StepLimits limits = {.tokens_max = 512, .logit_rows_max = 512};
  KvTypes kv_types = QuantType::kF32;
  bool predicts = false;  // the file's prediction layer too: every step drafts behind its forward
  BlockOrder block_order = BlockOrder::kScattered;
};

// What one sequence gets in a step: tokens at the positions that follow its past.
struct SequenceTokens {
  uint32_t sequence = 0;
  std::span<const int32_t> tokens;
};

// Keeps what forward shows, by name; rows of later steps follow those of earlier ones.
class RecordingTap : public Tap {
 public:
  struct Record {
    uint32_t columns = 0;
    std::vector<float> values;
  };
  void on(std::string_view name, const Tensor& value) override;
  const std::map<std::string, Record, std::less<>>& records() const { return records_; }

 private:
  std::map<std::string, Record, std::less<>> records_;
};

class ModelHarness {
 public:
  static Result<std::unique_ptr<ModelHarness>> open(const std::filesystem::path& path,
                                                    const HarnessOptions& options);

  // One step; returns the logits of every token, [tokens, vocabulary]. Errors: what the devices
  // report.
  Result<std::vector<float>> step(std::span<const SequenceTokens> sequences, Tap* tap = nullptr);
  // Sequence 0 alone, in steps of at most `chunk` tokens. With HarnessOptions::predicts all hidden
  // states but the last one's are drafted from too, which the tap hears.
  Result<std::vector<float>> feed(std::span<const int32_t> tokens, uint32_t chunk,
                                  Tap* tap = nullptr);
  void forget();  // every sequence's past

  const ModelConfig& config() const { return *config_; }
  const Manifest& manifest() const { return manifest_; }
  const Placement& placement() const { return placement_; }
  const ModelFile& file() const { return *file_; }

 private:
  ModelHarness() = default;
  Tensor hidden_rows(uint32_t count) const;
  Status draft(uint32_t first, std::span<const int32_t> next, Tap* tap);
  std::span<const uint32_t> blocks_of(uint32_t sequence) const;

  HarnessOptions options_;
  std::unique_ptr<ModelFile> file_;
  std::unique_ptr<ModelConfig> config_;
  Manifest manifest_;
  Placement placement_;
  std::optional<Weights> weights_;
  std::unique_ptr<Model> model_;
  std::optional<KvCache> cache_;
  std::unique_ptr<Buffer> logits_, hidden_;
  std::vector<uint32_t> block_order_;  // [sequences, blocks a sequence]
  std::vector<uint32_t> past_;         // tokens in the cache, one a sequence
};

}  // namespace hadal
