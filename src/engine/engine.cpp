#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <optional>

#include "base/check.h"
#include "engine/model_runner.h"
#include "engine/request_loop.h"
#include "model/model.h"
#include "plan/placement.h"

namespace hadal {

namespace {

// Rows of logits a step may have when all are wanted (score): enough for a matrix product to be
// worth its while, and bounded by bytes, for vocabularies are large.
constexpr uint64_t kLogitBytes = 16 << 20;
constexpr uint32_t kLogitRowsLeast = 8, kLogitRowsMost = 64;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint32_t logit_rows_for(uint32_t vocabulary, const EngineOptions& options) {
  const uint64_t rows = std::clamp<uint64_t>(kLogitBytes / (uint64_t{vocabulary} * sizeof(float)),
                                             kLogitRowsLeast, kLogitRowsMost);
  const auto bounded = std::min(static_cast<uint32_t>(rows), options.step_tokens_max);
  return std::max(bounded, options.sequences_max);
}

Status check_options(const EngineOptions& options) {
  if (options.sequences_max == 0 || options.sequences_max > options.step_tokens_max) {
    return fail("{} sequences at once are not possible with steps of {} tokens: from 1 to that",
                options.sequences_max, options.step_tokens_max);
  }
  if (options.step_tokens_max > Engine::kStepTokensMost) {
    return fail("a step of {} tokens is too long: at most {}", options.step_tokens_max,
                uint32_t{Engine::kStepTokensMost});
  }
  if (!(options.target_itl_ms >= 0 && options.target_itl_ms <= Engine::kTargetItlMsMost)) {
    return fail("{} ms between tokens are no target: from 0 (none) to {}", options.target_itl_ms,
                double{Engine::kTargetItlMsMost});
  }
  return {};
}

}  // namespace

// Later members use earlier ones; they end in the opposite order.
struct Engine::State {
  std::shared_ptr<const ModelFile> file;
  std::vector<std::unique_ptr<Device>> devices;
  EngineInfo info;
  StepLimits limits;
  std::unique_ptr<ModelConfig> config;
  std::optional<Weights> weights;
  std::optional<KvCache> cache;
  std::unique_ptr<Model> model;
  std::unique_ptr<ModelRunner> runner;
  std::unique_ptr<RequestLoop> loop;
  KvTypes kv_types = QuantType::kF16;

  Status load(const EngineOptions& options);
  Status choose_prediction(const EngineOptions& options);
  Status build(const Architecture& architecture, const Placement& placement,
               const EngineOptions& options);
  void describe(const Manifest& manifest, const Placement& placement, const EngineOptions& options);
  Status score(std::span<const TokenId> tokens,
               const std::function<bool(uint32_t, std::span<const float>)>& sink, uint32_t first);
};

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::open(std::shared_ptr<const ModelFile> file,
                                             std::vector<std::unique_ptr<Device>> devices,
                                             const EngineOptions& options) {
  CHECK(file != nullptr && !devices.empty());
  const double start = steady_seconds();
  HADAL_TRY_VOID(check_options(options));
  try {
    auto state = std::make_unique<State>();
    state->file = std::move(file);
    state->devices = std::move(devices);
    HADAL_TRY_VOID(state->load(options));
    state->info.load_seconds = steady_seconds() - start;
    return std::unique_ptr<Engine>(new Engine(std::move(state)));
  } catch (const std::bad_alloc&) {
    return fail("there is not enough memory to open the model");
  }
}

const EngineInfo& Engine::info() const {
  return state_->info;
}
std::span<const std::unique_ptr<Device>> Engine::devices() const {
  return state_->devices;
}
tl::expected<RequestId, Refusal> Engine::submit(Request request) {
  return state_->loop->submit(std::move(request));
}
EngineStatus Engine::status() const {
  return state_->loop->status();
}
void Engine::cancel(RequestId id) {
  state_->loop->cancel(id);
}
Result<bool> Engine::step() {
  return state_->loop->step();
}

Status Engine::score(
    std::span<const TokenId> tokens,
    const std::function<bool(uint32_t position, std::span<const float> logits)>& sink,
    uint32_t first_position) {
  State& s = *state_;
  if (tokens.empty()) return fail("there are no tokens to score");
  if (tokens.size() > s.info.context_tokens) {
    return fail("{} tokens are to be scored, but the context holds {}", tokens.size(),
                s.info.context_tokens);
  }
  for (const TokenId token : tokens) {
    if (token < 0 || static_cast<uint32_t>(token) >= s.info.vocabulary) {
      return fail("there is a token {} to score, but the model's vocabulary has {} tokens", token,
                  s.info.vocabulary);
    }
  }
  if (!s.loop->idle()) return fail("tokens cannot be scored while requests run");
  try {
    return s.score(tokens, sink, first_position);
  } catch (const std::bad_alloc&) {
    return fail("there is not enough memory to score {} tokens", tokens.size());
  }
}

Status Engine::State::load(const EngineOptions& options) {
  HADAL_TRY(info.architecture, file->architecture());
  HADAL_TRY(const Architecture* architecture, find_architecture(info.architecture));
  HADAL_TRY(config, architecture->read_config(file->metadata(), file->tensors()));
  HADAL_TRY_VOID(choose_prediction(options));
  HADAL_TRY(kv_types, choose_kv_types(config->kv_layout(), options.key_type, options.value_type));
  const Manifest manifest = architecture->manifest(*config, file->tensors(), file->dialect());
  limits = {.tokens_max = options.step_tokens_max,
            .logit_rows_max = logit_rows_for(config->vocabulary, options)};

  std::vector<DeviceInfo> device_infos;
  for (const auto& device : devices) device_infos.push_back(device->info());
  const uint64_t scratch_bytes =
      architecture->scratch_bytes(*config, limits) +
      ModelRunner::bytes(*config, {.limits = limits, .embeddings = options.embeddings});
  HADAL_TRY(const Placement placement,
            place(*config, scratch_bytes, manifest, file->tensors(), device_infos,
                  {.context_tokens = options.context_tokens,
                   .sequences_max = options.sequences_max,
                   .kv_types = kv_types,
                   .limits = limits,
                   .layer_splits = options.layer_splits}));
  if (placement.context_tokens < kContextTokensLeast) {
    return fail("a context of {} tokens is too short: at least {} are needed",
                placement.context_tokens, uint32_t{kContextTokensLeast});
  }

  std::vector<Device*> tensor_devices(manifest.size(), devices.front().get());
  for (const Place& place : placement.places) {
    tensor_devices[place.tensor] = devices[place.device].get();
  }
  HADAL_TRY(weights, Weights::load(manifest, *file, tensor_devices, options.progress));
  describe(manifest, placement, options);
  return build(*architecture, placement, options);
}

// The prediction layer costs memory, and a little time whether its guesses are used or not: it is
// loaded only where it is asked for.
Status Engine::State::choose_prediction(const EngineOptions& options) {
  if (!is_mtp(options.speculation)) return {};
  if (config->prediction_layers == 0) {
    return fail(
        "{}: the file has no layer that predicts further tokens (MTP), so the model cannot guess "
        "by "
        "itself: without --speculate mtp it runs",
        file->path().string());
  }
  config->predicts = true;
  return {};
}

Status Engine::State::build(const Architecture& architecture, const Placement& placement,
                            const EngineOptions& options) {
  HADAL_TRY(cache, KvCache::create(config->kv_layout(), kv_types, placement.kv_blocks,
                                   weights->layer_devices()));
  HADAL_TRY(model, architecture.build(*config, *weights, limits));
  HADAL_TRY(runner, ModelRunner::make(*model, *config, *cache, devices,
                                      {.limits = limits, .embeddings = options.embeddings}));
  loop = std::make_unique<RequestLoop>(
      RequestLoopOptions{.scheduler = {.step_tokens_max = options.step_tokens_max,
                                       .sequences_max = options.sequences_max,
                                       .waiting_max = options.waiting_max,
                                       .context_tokens = placement.context_tokens,
                                       .blocks = placement.kv_blocks,
                                       .logit_rows_max = limits.logit_rows_max},
                         .vocabulary = config->vocabulary,
                         .speculation = options.speculation,
                         .hidden_width = info.embedding_width,
                         .step_seconds_target = options.target_itl_ms / 1000},
      *runner, steady_seconds, config->predicts ? runner.get() : nullptr);
  return {};
}

void Engine::State::describe(const Manifest& manifest, const Placement& placement,
                             const EngineOptions& options) {
  info.vocabulary = config->vocabulary;
  if (options.embeddings) info.embedding_width = config->width;
  info.context_tokens = placement.context_tokens;
  info.context_max = config->context_max;
  info.sequences_max = options.sequences_max;
  for (const DeviceShare& share : placement.shares) info.weight_bytes += share.weight_bytes;
  for (const TensorSpec& spec : manifest) {
    if (spec.role == Role::kEmbedding || spec.role == Role::kSkipped) continue;
    uint64_t bytes = 0;
    for (const TensorInfo* tensor : find_pieces(spec, file->tensors())) {
      bytes += tensor->data.size();
    }
    if (bytes == 0) continue;
    const uint32_t chosen = spec.experts_per_token != 0 ? spec.experts_per_token : spec.experts;
    if (spec.use == WeightUse::kMatrix) {
      info.matrices.push_back({.bytes = bytes / spec.experts,
                               .multiply_adds = uint64_t{spec.rows} * spec.columns,
                               .experts = spec.experts,
                               .experts_per_token = chosen,
                               .head = spec.role == Role::kHead});
    }
    if (spec.experts_per_token != 0) {
      bytes = bytes / spec.experts * spec.experts_per_token;
      info.decode_expert_bytes += bytes;
    }
    info.decode_weight_bytes += bytes;
    if (spec.use != WeightUse::kMatrix) continue;
    (spec.role == Role::kHead ? info.logits_multiply_adds : info.token_multiply_adds) +=
        chosen * info.matrices.back().multiply_adds;
  }
  info.kv_bytes_per_token = config->kv_layout().bytes_per_token(kv_types);
  info.attention = config->attention_work();
  info.step_tokens_max = options.step_tokens_max;
  info.warnings = file->warnings();
  info.warnings.insert(info.warnings.end(), config->warnings.begin(), config->warnings.end());
}

Status Engine::State::score(std::span<const TokenId> tokens,
                            const std::function<bool(uint32_t, std::span<const float>)>& sink,
                            uint32_t first) {
  // Blocks of its own, given back at the end; nothing of it becomes a prefix of others.
  struct Blocks {
    BlockAllocator& allocator;
    BlockTable table;
    ~Blocks() { allocator.release(table); }
  } blocks{loop->scheduler().allocator(), {}};
  const auto total = static_cast<uint32_t>(tokens.size());
  blocks.table.blocks.reserve(blocks.allocator.blocks_for(total));
  CHECK(blocks.allocator.grow(blocks.table, total));

  std::vector<int32_t> positions(total);
  for (uint32_t i = 0; i < total; ++i) positions[i] = static_cast<int32_t>(i);
  std::vector<uint32_t> rows(limits.logit_rows_max);
  for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;

  for (uint32_t done = 0; done < total;) {
    const bool wanted = done >= first;
    const uint32_t count = wanted ? std::min(total - done, limits.logit_rows_max)
                                  : std::min({total - done, first - done, limits.tokens_max});
    const uint32_t starts[] = {0, count};
    const Batch batch{
        .tokens = tokens.subspan(done, count),
        .layout = {.positions = std::span(positions).subspan(done, count),
                   .sequence_starts = starts,
                   .block_tables = blocks.table.blocks,
                   .blocks_per_sequence_max = static_cast<uint32_t>(blocks.table.blocks.size())},
        .logit_rows = std::span(rows).first(wanted ? count : 0)};
    HADAL_TRY(const std::span<const float> logits, runner->run(batch));
    for (uint32_t i = 0; wanted && i < count; ++i) {
      if (!sink(done + i, logits.subspan(size_t{i} * info.vocabulary, info.vocabulary))) return {};
    }
    done += count;
  }
  return {};
}

}  // namespace hadal
