#include "device/reference/reference_device.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/mapped_file.h"
#include "base/memory_limits.h"
#include "device/host_buffer.h"
#include "device/mapped_weight.h"
#include "device/reference/reference_ops.h"

namespace hadal {
namespace {

class ReferenceDevice final : public Device {
 public:
  explicit ReferenceDevice(uint32_t threads) : ops_(*this, threads) {
    info_.name = "reference";
    info_.threads = ops_.pool().threads();
    info_.description =
        fmt::format("scalar reference, {} thread{}", info_.threads, info_.threads == 1 ? "" : "s");
    info_.memory_bytes = available_memory_bytes();
    info_.host_memory = true;
  }

  const DeviceInfo& info() const override { return info_; }
  Result<DeviceSpeeds> measure_speeds() override;
  bool supports(QuantType type) const override { return quant_format(type).decode != nullptr; }
  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override;
  Result<LoadedWeight> upload(const WeightSource& source) override;
  Ops& ops() override { return ops_; }
  void copy(const Tensor& from, const Tensor& to) override;
  void read(const Tensor& from, void* host) override;
  void write(const void* host, const Tensor& to) override;
  Status wait() override;

 private:
  double measure_read(const std::byte* data, size_t bytes);

  DeviceInfo info_;
  ReferenceOps ops_;
};

std::byte* row_of(const Tensor& tensor, uint32_t row) {
  return static_cast<std::byte*>(tensor.data) +
         size_t{row} * row_bytes(tensor.type, tensor.row_stride);
}

Result<std::unique_ptr<Buffer>> ReferenceDevice::allocate(size_t bytes) {
  return HostBuffer::create(*this, bytes);
}

Result<LoadedWeight> ReferenceDevice::upload(const WeightSource& source) {
  return MappedWeight::load(*this, source);
}

void ReferenceDevice::copy(const Tensor& from, const Tensor& to) {
  CHECK(from.device == this && to.device == this && from.type == to.type);
  CHECK(from.rows == to.rows && from.columns == to.columns);
  const size_t bytes = row_bytes(from.type, from.columns);
  for (uint32_t row = 0; row < from.rows; ++row) {
    std::memmove(row_of(to, row), row_of(from, row), bytes);
  }
}

void ReferenceDevice::read(const Tensor& from, void* host) {
  CHECK(from.device == this);
  const size_t bytes = row_bytes(from.type, from.columns);
  for (uint32_t row = 0; row < from.rows; ++row) {
    std::memcpy(static_cast<std::byte*>(host) + row * bytes, row_of(from, row), bytes);
  }
}

void ReferenceDevice::write(const void* host, const Tensor& to) {
  CHECK(to.device == this);
  const size_t bytes = row_bytes(to.type, to.columns);
  for (uint32_t row = 0; row < to.rows; ++row) {
    std::memcpy(row_of(to, row), static_cast<const std::byte*>(host) + row * bytes, bytes);
  }
}

Status ReferenceDevice::wait() {
  if (MappedFile::any_damaged()) return fail("{}", MappedFile::damage_report());
  return {};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr size_t kMeasureBytes = 256u << 20;  // much larger than the caches
constexpr uint32_t kMeasureTokens = 64, kMeasureRows = 1024, kMeasureColumns = 1024;
constexpr int kMeasureRepeats = 3;

Result<DeviceSpeeds> ReferenceDevice::measure_speeds() {
  HADAL_TRY(auto memory, HostBuffer::create(*this, kMeasureBytes));
  std::memset(memory->data(), 1, kMeasureBytes);  // commits the pages
  DeviceSpeeds speeds;
  for (int repeat = 0; repeat < kMeasureRepeats; ++repeat) {
    speeds.read_bytes_per_s =
        std::max(speeds.read_bytes_per_s, measure_read(memory->data(), kMeasureBytes));
  }
  constexpr size_t kWeightBytes = size_t{kMeasureRows} * kMeasureColumns * sizeof(float);
  std::memset(memory->data(), 0, kWeightBytes);
  const WeightPiece piece{
      QuantType::kF32, 1, kMeasureRows, kMeasureColumns, {memory->data(), kWeightBytes}, {}};
  HADAL_TRY(auto weight, upload({.name = "measurement", .pieces = {&piece, 1}}));
  const Tensor in = memory->tensor(QuantType::kF32, kMeasureTokens, kMeasureColumns, kWeightBytes);
  const Tensor out =
      memory->tensor(QuantType::kF32, kMeasureTokens, kMeasureRows, 2 * kWeightBytes);
  std::memset(in.data, 0, size_t{kMeasureTokens} * kMeasureColumns * sizeof(float));
  for (int repeat = 0; repeat < kMeasureRepeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    ops_.matmul({.in = in, .projections = {{weight.view, {}, out}}});
    const double multiply_adds = double{kMeasureTokens} * kMeasureRows * kMeasureColumns;
    speeds.weights = {"float32", std::max(speeds.weights.multiply_adds_per_s,
                                          multiply_adds / seconds_since(start))};
  }
  speeds.attention = speeds.weights;
  return speeds;
}

double ReferenceDevice::measure_read(const std::byte* data, size_t bytes) {
  const auto start = std::chrono::steady_clock::now();
  const uint64_t* words = reinterpret_cast<const uint64_t*>(data);
  const size_t count = bytes / sizeof(uint64_t);
  std::atomic<uint64_t> total{0};
  ops_.pool().run([&](uint32_t thread) {
    const size_t threads = ops_.pool().threads();
    uint64_t sum = 0;
    for (size_t i = count * thread / threads; i < count * (thread + 1) / threads; ++i) {
      sum += words[i];
    }
    total += sum;  // keeps the loop: the sum is used
  });
  return total.load() == 0 ? 0 : static_cast<double>(bytes) / seconds_since(start);
}

}  // namespace

std::unique_ptr<Device> make_reference_device(const ReferenceOptions& options) {
  return std::make_unique<ReferenceDevice>(options.threads ? options.threads
                                                           : default_thread_count());
}

}  // namespace hadal
