// How near the matrix products come to the machine's limits, format by format: decode as GB/s of
// weights and its share of the read bandwidth that the device measures beside it, prefill as
// multiply-adds a second. The weights lie in a mapped file, as a model's do.
//
//   bench_kernels [--formats q4_0,q8_0] [--isa avx2] [--threads N] [--megabytes 600]
//                 [--rows 8960] [--columns 1536] [--tokens 1,4,32,512] [--repeats 5]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/ops.h"
#include "device/registry.h"
#include "tools.h"

namespace {

using namespace hadal;

struct Options {
  std::vector<std::string> formats;
  std::string isa;
  uint32_t threads = 0, rows = 8960, columns = 1536, repeats = 5;
  size_t megabytes = 600;
  std::vector<uint32_t> tokens = {1, 4, 32, 512};
};

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
    const auto number = [&] { return static_cast<uint32_t>(std::atoi(value.c_str())); };
    if (name == "--formats") options.formats = split(value);
    if (name == "--isa") options.isa = value;
    if (name == "--threads") options.threads = number();
    if (name == "--rows") options.rows = number();
    if (name == "--columns") options.columns = number();
    if (name == "--megabytes") options.megabytes = number();
    if (name == "--repeats") options.repeats = number();
    if (name == "--tokens") {
      options.tokens.clear();
      for (const auto& part : split(value)) {
        options.tokens.push_back(static_cast<uint32_t>(std::atoi(part.c_str())));
      }
    }
  }
  if (options.formats.empty()) {
    for (const QuantFormat& format : quant_formats()) options.formats.emplace_back(format.name);
  }
  return options;
}

class Bench {
 public:
  Bench(const Options& options, Device& device)
      : options_(options), device_(device), bytes_(options.megabytes << 20) {
    data_ = map_random_file(bytes_);
    const uint32_t tokens_max = *std::max_element(options.tokens.begin(), options.tokens.end());
    in_memory_ = or_exit(device.allocate(size_t{tokens_max} * options.columns * sizeof(float)));
    out_memory_ = or_exit(device.allocate(size_t{tokens_max} * options.rows * sizeof(float)));
    const Tensor in = in_memory_->tensor(QuantType::kF32, tokens_max, options.columns, 0);
    std::mt19937 random(2);
    std::normal_distribution<float> bell;
    std::vector<float> values(size_t{tokens_max} * options.columns);
    for (float& value : values) value = bell(random);
    device.write(values.data(), in);
  }

  void run(const QuantFormat& format) {
    const size_t weight_bytes = options_.rows * row_bytes(format.type, options_.columns);
    std::vector<LoadedWeight> weights;
    for (size_t at = 0; at + weight_bytes <= bytes_; at += weight_bytes) {
      const WeightPiece piece{
          format.type, 1, options_.rows, options_.columns, {data_ + at, weight_bytes}, {}};
      weights.push_back(or_exit(device_.upload({.name = "weight", .pieces = {&piece, 1}})));
    }
    const double read = or_exit(device_.measure_speeds()).read_bytes_per_s;
    fmt::print("{:8} read {:5.1f} GB/s", format.name, read / 1e9);
    for (const uint32_t tokens : options_.tokens) {
      const Tensor in = in_memory_->tensor(QuantType::kF32, tokens, options_.columns, 0);
      const Tensor out = out_memory_->tensor(QuantType::kF32, tokens, options_.rows, 0);
      // Prefill is arithmetic: a few matrices will do.
      const size_t count = tokens < 16 ? weights.size() : std::min<size_t>(weights.size(), 4);
      double best = 1e9;
      for (uint32_t repeat = 0; repeat <= options_.repeats; ++repeat) {
        const auto start = std::chrono::steady_clock::now();
        for (size_t i = 0; i < count; ++i) {
          device_.ops().matmul({.in = in, .projections = {{weights[i].view, {}, out}}});
        }
        if (repeat != 0) best = std::min(best, seconds_since(start));
      }
      const double bandwidth = static_cast<double>(count * weight_bytes) / best;
      const double operations =
          2.0 * tokens * options_.rows * options_.columns * static_cast<double>(count) / best;
      fmt::print(" | {} tok: {:5.1f} GB/s {:3.0f}% {:6.0f} Gop/s", tokens, bandwidth / 1e9,
                 100 * bandwidth / read, operations / 1e9);
    }
    fmt::print("\n");
    std::fflush(stdout);
  }

 private:
  const Options& options_;
  Device& device_;
  size_t bytes_;
  const std::byte* data_;
  std::unique_ptr<Buffer> in_memory_, out_memory_;
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
    if (const QuantFormat* format = find_quant_format(name)) bench.run(*format);
  }
}
