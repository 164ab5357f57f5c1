#include "support/model_harness.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "base/check.h"
#include "base/sizes.h"

namespace hadal {

void RecordingTap::on(std::string_view name, const Tensor& value) {
  Record& record = records_[std::string(name)];
  record.columns = value.columns;
  const size_t before = record.values.size();
  record.values.resize(before + size_t{value.rows} * value.columns);
  value.device->read(value, record.values.data() + before);
}

Result<std::unique_ptr<ModelHarness>> ModelHarness::open(const std::filesystem::path& path,
                                                         const HarnessOptions& options) {
  auto harness = std::unique_ptr<ModelHarness>(new ModelHarness);
  ModelHarness& h = *harness;
  h.options_ = options;
  HADAL_TRY(h.file_, ModelFile::open(path));
  HADAL_TRY(const std::string name, h.file_->architecture());
  HADAL_TRY(const Architecture* architecture, find_architecture(name));
  HADAL_TRY(h.config_, architecture->read_config(h.file_->metadata(), h.file_->tensors()));
  h.config_->predicts = options.predicts;
  h.manifest_ = architecture->manifest(*h.config_, h.file_->tensors(), h.file_->dialect());

  std::vector<DeviceInfo> infos;
  for (Device* device : options.devices) infos.push_back(device->info());
  const uint32_t context = options.context_tokens != 0 ? options.context_tokens
                                                       : std::min(h.config_->context_max, 4096u);
  HADAL_TRY(h.placement_, place(*h.config_, architecture->scratch_bytes(*h.config_, options.limits),
                                h.manifest_, h.file_->tensors(), infos,
                                {.context_tokens = context,
                                 .sequences_max = options.sequences_max,
                                 .kv_types = options.kv_types,
                                 .limits = options.limits,
                                 .layer_splits = options.layer_splits}));
  std::vector<Device*> devices(h.manifest_.size(), options.devices.front());
  for (const Place& place : h.placement_.places) {
    devices[place.tensor] = options.devices[place.device];
  }
  HADAL_TRY(h.weights_, Weights::load(h.manifest_, *h.file_, devices));
  HADAL_TRY(h.model_, architecture->build(*h.config_, *h.weights_, options.limits));
  HADAL_TRY(h.cache_, KvCache::create(h.config_->kv_layout(), options.kv_types,
                                      h.placement_.kv_blocks, h.weights_->layer_devices()));
  const size_t logit_values = size_t{options.limits.logit_rows_max} * h.config_->vocabulary;
  HADAL_TRY(h.logits_, h.model_->head_device().allocate(logit_values * sizeof(float)));
  HADAL_TRY(h.hidden_, h.model_->head_device().allocate(size_t{options.limits.tokens_max} *
                                                        h.config_->width * sizeof(float)));

  h.block_order_.resize(h.placement_.kv_blocks);
  std::iota(h.block_order_.begin(), h.block_order_.end(), 0);
  if (options.block_order == BlockOrder::kScattered) {
    std::shuffle(h.block_order_.begin(), h.block_order_.end(), std::mt19937(7));
  }
  h.forget();
  return harness;
}

Result<std::vector<float>> ModelHarness::step(std::span<const SequenceTokens> sequences, Tap* tap) {
  std::vector<int32_t> tokens, positions;
  std::vector<uint32_t> starts = {0}, tables, rows;
  for (const SequenceTokens& sequence : sequences) {
    CHECK(sequence.sequence < options_.sequences_max);
    uint32_t& past = past_[sequence.sequence];
    CHECK(past + sequence.tokens.size() <= placement_.context_tokens);
    for (const int32_t token : sequence.tokens) {
      rows.push_back(static_cast<uint32_t>(tokens.size()));
      tokens.push_back(token);
      positions.push_back(static_cast<int32_t>(past++));
    }
    starts.push_back(static_cast<uint32_t>(tokens.size()));
    const auto blocks = blocks_of(sequence.sequence);
    tables.insert(tables.end(), blocks.begin(), blocks.end());
  }
  const auto count = static_cast<uint32_t>(rows.size());
  const Tensor logits = logits_->tensor(QuantType::kF32, count, config_->vocabulary);
  model_->forward(
      {.tokens = tokens,
       .layout = {.positions = positions,
                  .sequence_starts = starts,
                  .block_tables = tables,
                  .blocks_per_sequence_max = placement_.kv_blocks / options_.sequences_max},
       .logit_rows = rows},
      *cache_, {.logits = logits, .hidden = hidden_rows(count), .tap = tap});
  for (Device* device : options_.devices) HADAL_TRY_VOID(device->wait());
  std::vector<float> values(size_t{count} * config_->vocabulary);
  logits.device->read(logits, values.data());
  return values;
}

Result<std::vector<float>> ModelHarness::feed(std::span<const int32_t> tokens, uint32_t chunk,
                                              Tap* tap) {
  std::vector<float> logits;
  for (size_t first = 0; first < tokens.size(); first += chunk) {
    const SequenceTokens part = {
        .tokens = tokens.subspan(first, std::min<size_t>(chunk, tokens.size() - first))};
    HADAL_TRY(const auto values, step({&part, 1}, tap));
    logits.insert(logits.end(), values.begin(), values.end());
    const size_t count = std::min(part.tokens.size(), tokens.size() - first - 1);
    if (options_.predicts && count > 0) {
      HADAL_TRY_VOID(draft(static_cast<uint32_t>(first), tokens.subspan(first + 1, count), tap));
    }
  }
  return logits;
}

Tensor ModelHarness::hidden_rows(uint32_t count) const {
  return options_.predicts ? hidden_->tensor(QuantType::kF32, count, config_->width) : Tensor{};
}

// From the hidden states of sequence 0's last step, the first of which is at position `first`.
Status ModelHarness::draft(uint32_t first, std::span<const int32_t> next, Tap* tap) {
  const auto count = static_cast<uint32_t>(next.size());
  std::vector<int32_t> positions(count);
  std::vector<uint32_t> rows(count);
  for (uint32_t i = 0; i < count; ++i) {
    positions[i] = static_cast<int32_t>(first + i);
    rows[i] = i;
  }
  const uint32_t starts[] = {0, count};
  const auto blocks = blocks_of(0);
  model_->draft(
      {.tokens = next,
       .layout = {.positions = positions,
                  .sequence_starts = starts,
                  .block_tables = blocks,
                  .blocks_per_sequence_max = static_cast<uint32_t>(blocks.size())},
       .logit_rows = rows},
      hidden_rows(count), *cache_,
      {.logits = logits_->tensor(QuantType::kF32, count, config_->vocabulary), .tap = tap});
  for (Device* device : options_.devices) HADAL_TRY_VOID(device->wait());
  return {};
}

void ModelHarness::forget() {
  past_.assign(options_.sequences_max, 0);
}

std::span<const uint32_t> ModelHarness::blocks_of(uint32_t sequence) const {
  const size_t blocks = placement_.kv_blocks / options_.sequences_max;
  return std::span(block_order_).subspan(sequence * blocks, blocks);
}

}  // namespace hadal
