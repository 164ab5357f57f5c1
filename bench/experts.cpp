// How near a mixture of experts and latent attention come to the machine's limits, at the widths of
// DeepSeek-V2-Lite. Experts: decode as GB/s of the weights that were chosen and their share of the
// read bandwidth measured beside it, prefill as multiply-adds a second. Latent attention:
// milliseconds a layer, and the bytes of the cache and the float multiply-adds of the absorbed form
// a second.
//
//   bench_experts [--formats q4_0,q8_0] [--isa avx2] [--threads N] [--tokens 1,8,512]
//                 [--shapes 1@512,1@4096,1@32768,512@512,512@4096] [--repeats 5]
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/ops.h"
#include "device/registry.h"
#include "tools.h"

namespace {

using namespace hadal;

constexpr uint32_t kExperts = 64, kTopK = 6, kWidth = 2048, kInner = 1408;
constexpr uint32_t kHeads = 16, kNope = 128, kRope = 64, kLatent = 512, kValue = 128;
constexpr uint32_t kBlockTokens = 32;

struct Options {
  std::vector<std::string> formats = {"q4_0", "q8_0"};
  std::vector<std::string> tokens = {"1", "8", "512"};
  std::vector<std::string> shapes = {"1@512", "1@4096", "1@32768", "512@512", "512@4096"};
  std::string isa;
  uint32_t threads = 0, repeats = 5;
};

uint32_t number(const std::string& text) {
  return static_cast<uint32_t>(std::atoi(text.c_str()));
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = words[i], value = words[i + 1];
    if (name == "--formats") options.formats = split(value);
    if (name == "--tokens") options.tokens = split(value);
    if (name == "--shapes") options.shapes = split(value);
    if (name == "--isa") options.isa = value;
    if (name == "--threads") options.threads = number(value);
    if (name == "--repeats") options.repeats = number(value);
  }
  return options;
}

// The median of the repeats behind the first, and the least.
struct Times {
  double median, least;
};
template <typename Body>
Times time_of(uint32_t repeats, Body&& body) {
  std::vector<double> times;
  for (uint32_t i = 0; i <= repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    if (i != 0) times.push_back(seconds_since(start));
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

class Bench {
 public:
  Bench(const Options& options, Device& device) : options_(options), device_(device) {
    const size_t weights = size_t{3} * kExperts * kInner * kWidth * 17 / 16;  // of 8.5 bits at most
    data_ = map_random_file(weights);
  }

  void experts(const QuantFormat& format) {
    const Weight gate = stack(format.type, 0, kInner, kWidth);
    const Weight up = stack(format.type, 1, kInner, kWidth);
    const Weight down = stack(format.type, 2, kWidth, kInner);
    const double read = or_exit(device_.measure_speeds()).read_bytes_per_s;
    const double expert_bytes = static_cast<double>(3 * kInner * row_bytes(format.type, kWidth));
    fmt::print("experts {:6} read {:5.1f} GB/s", format.name, read / 1e9);
    for (const std::string& text : options_.tokens) {
      const uint32_t tokens = number(text);
      const Tensor in = normal(tokens, kWidth), out = normal(tokens, kWidth);
      const Tensor weights = normal(tokens, kTopK);
      const Tensor chosen = tensor(QuantType::kI32, tokens, kTopK);
      double touched = 0, seconds = 1e9;
      for (uint32_t repeat = 0; repeat <= 4 * options_.repeats; ++repeat) {
        const uint32_t distinct = choose(tokens, chosen);  // others each time: from memory
        const auto start = std::chrono::steady_clock::now();
        device_.ops().experts({in, chosen, weights, gate, up, down, out});
        const double now = seconds_since(start);
        if (repeat == 0 || now / distinct > seconds / std::max(touched, 1.0)) continue;
        seconds = now;
        touched = distinct;
      }
      const double bandwidth = touched * expert_bytes / seconds;
      const double products = 1.0 * tokens * kTopK * 3 * kInner * kWidth / seconds;
      fmt::print(" | {} tok: {:7.2f} ms {:5.1f} GB/s {:3.0f}% {:5.0f} G multiply-adds/s", tokens,
                 seconds * 1e3, bandwidth / 1e9, 100 * bandwidth / read, products / 1e9);
      buffers_.clear();
    }
    fmt::print("\n");
    std::fflush(stdout);
  }

  void latent(const QuantFormat& format, const std::string& shape) {
    const size_t at = shape.find('@');
    if (at == std::string::npos) return;
    const uint32_t tokens = number(shape.substr(0, at));
    const uint32_t depth = std::max(tokens, number(shape.substr(at + 1)));
    const WeightPiece piece = piece_at(format.type, 0, 1, kHeads * (kNope + kValue), kLatent);
    const LoadedWeight weight = or_exit(device_.upload({.name = "kv_b", .pieces = {&piece, 1}}));
    const uint32_t blocks = (depth + kBlockTokens - 1) / kBlockTokens;
    const PagedKv cache = {
        tensor(QuantType::kBF16, blocks * kBlockTokens, kLatent + kRope), {}, kBlockTokens};
    std::vector<int32_t> positions(depth);
    std::iota(positions.begin(), positions.end(), 0);
    std::vector<uint32_t> tables(blocks);
    std::iota(tables.begin(), tables.end(), 0);
    const std::vector<uint32_t> all = {0, depth}, now = {0, tokens};
    device_.ops().store_kv(
        {normal(depth, kLatent + kRope), {}, cache, {positions, all, tables, blocks}});
    const std::span<const int32_t> last = std::span(positions).last(tokens);
    const Tensor query = normal(tokens, kHeads * (kNope + kRope));
    const Tensor out = tensor(QuantType::kF32, tokens, kHeads * kValue);
    const uint32_t step = kNope + kValue;
    const Times times = time_of(options_.repeats, [&] {
      device_.ops().latent_attention(
          {.query = query,
           .cache = cache,
           .layout = {last, now, tables, blocks},
           .keys = {.weight = weight.view, .first_row = 0, .rows = kNope, .row_step = step},
           .values = {.weight = weight.view, .first_row = kNope, .rows = kValue, .row_step = step},
           .heads = kHeads,
           .scale = 0.003f,  // with random weights: scores of about 1
           .out = out});
    });
    double seen = 0;
    for (const int32_t position : last) seen += position + 1;
    const double products =
        seen * kHeads * (2 * kLatent + kRope) + 1.0 * tokens * kHeads * kLatent * (kNope + kValue);
    fmt::print(
        "latent {:6} {:9}: {:8.2f} ms (least {:8.2f}), {:5.1f} GB/s of cache, {:5.0f} G "
        "absorbed multiply-adds/s\n",
        format.name, shape, times.median * 1e3, times.least * 1e3,
        1.0 * depth * (kLatent + kRope) * 2 / times.median / 1e9, products / times.median / 1e9);
    std::fflush(stdout);
    buffers_.clear();
  }

 private:
  Tensor tensor(QuantType type, uint32_t rows, uint32_t columns) {
    buffers_.push_back(or_exit(device_.allocate(rows * row_bytes(type, columns))));
    return buffers_.back()->tensor(type, rows, columns, 0);
  }
  Tensor normal(uint32_t rows, uint32_t columns) {
    const Tensor made = tensor(QuantType::kF32, rows, columns);
    std::normal_distribution<float> bell;
    std::vector<float> values(size_t{rows} * columns);
    for (float& value : values) value = bell(random_);
    device_.write(values.data(), made);
    return made;
  }
  WeightPiece piece_at(QuantType type, size_t first, uint32_t experts, uint32_t rows,
                       uint32_t columns) {
    const size_t bytes = size_t{experts} * rows * row_bytes(type, columns);
    return {type, experts, rows, columns, {data_ + first * bytes, bytes}, {}};
  }
  Weight stack(QuantType type, size_t index, uint32_t rows, uint32_t columns) {
    const WeightPiece piece = piece_at(type, index, kExperts, rows, columns);
    weights_.push_back(or_exit(device_.upload({.name = "stack", .pieces = {&piece, 1}})));
    return weights_.back().view;
  }
  // kTopK different experts for each token; how many in all.
  uint32_t choose(uint32_t tokens, const Tensor& chosen) {
    std::vector<int32_t> all(kExperts), choices;
    std::iota(all.begin(), all.end(), 0);
    std::vector<bool> touched(kExperts, false);
    for (uint32_t token = 0; token < tokens; ++token) {
      std::shuffle(all.begin(), all.end(), random_);
      choices.insert(choices.end(), all.begin(), all.begin() + kTopK);
      for (uint32_t k = 0; k < kTopK; ++k) touched[static_cast<size_t>(all[k])] = true;
    }
    device_.write(choices.data(), chosen);
    return static_cast<uint32_t>(std::count(touched.begin(), touched.end(), true));
  }

  const Options& options_;
  Device& device_;
  const std::byte* data_;
  std::mt19937 random_{2};
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<LoadedWeight> weights_;
};

}  // namespace

int main(int count, char** words) {
  const Options options = parse(count, words);
  auto device = or_exit(
      open_device({.name = "cpu", .threads = options.threads, .instruction_set = options.isa}));
  const DeviceSpeeds speeds = or_exit(device->measure_speeds());
  fmt::print("{}: read {:.1f} GB/s, {} {:.0f} G multiply-adds/s\n", device->info().description,
             speeds.read_bytes_per_s / 1e9, speeds.weights.type,
             speeds.weights.multiply_adds_per_s / 1e9);
  Bench bench(options, *device);
  for (const std::string& name : options.formats) {
    const QuantFormat* format = find_quant_format(name);
    if (format == nullptr) continue;
    if (!options.tokens.empty()) bench.experts(*format);
    for (const std::string& shape : options.shapes) bench.latent(*format, shape);
  }
}
