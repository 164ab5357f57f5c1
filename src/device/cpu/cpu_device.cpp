#include "device/cpu/cpu_device.h"

#include <cstring>

#include "base/mapped_file.h"
#include "base/memory_limits.h"
#include "base/numa.h"
#include "device/cpu/cpu_features.h"
#include "device/cpu/cpu_ops.h"
#include "device/cpu/scratch.h"
#include "device/cpu/speeds.h"
#include "device/mapped_weight.h"

namespace hadal {
namespace cpu {
namespace {

constexpr uint32_t kThreadsMax = 1024;

class CpuDevice final : public Device {
 public:
  CpuDevice(const KernelTable& kernels, uint32_t threads, PageInterleaving pages)
      : ops_(*this, kernels, threads), pages_(std::move(pages)) {
    info_.name = "cpu";
    info_.instruction_set = kernels.name;
    info_.threads = ops_.pool().threads();
    info_.description = fmt::format("{} {}, {}", info_.threads,
                                    info_.threads == 1 ? "thread" : "threads", kernels.title);
    if (!pages_.text().empty()) info_.description += ", " + pages_.text();
    if (pages_.active()) {
      // The workers bring in most of a model's file. The caller's thread stays as it is.
      ops_.pool().run([this](uint32_t thread) {
        if (thread != 0) pages_.apply_to_this_thread();
      });
    }
    info_.memory_bytes = available_memory_bytes();
    info_.host_memory = true;
  }

  const DeviceInfo& info() const override { return info_; }
  Result<DeviceSpeeds> measure_speeds() override {
    return cpu::measure_speeds(*this, ops_.pool(), ops_.kernels());
  }
  bool supports(QuantType) const override { return true; }  // every format has its decode
  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override;
  Result<LoadedWeight> upload(const WeightSource& source) override {
    return MappedWeight::load(*this, source);
  }
  Ops& ops() override { return ops_; }
  void copy(const Tensor& from, const Tensor& to) override;
  void read(const Tensor& from, void* host) override;
  void write(const void* host, const Tensor& to) override;
  Status wait() override;

 private:
  DeviceInfo info_;
  CpuOps ops_;
  PageInterleaving pages_;
};

std::byte* row_of(const Tensor& tensor, uint32_t row) {
  return static_cast<std::byte*>(tensor.data) +
         size_t{row} * row_bytes(tensor.type, tensor.row_stride);
}

Result<std::unique_ptr<Buffer>> CpuDevice::allocate(size_t bytes) {
  HADAL_TRY(auto buffer, allocate_host(*this, bytes));
  pages_.apply(buffer->data(), bytes);
  return buffer;
}

void CpuDevice::copy(const Tensor& from, const Tensor& to) {
  CHECK(from.device == this && to.device == this && from.type == to.type);
  CHECK(from.rows == to.rows && from.columns == to.columns);
  const size_t bytes = row_bytes(from.type, from.columns);
  for (uint32_t row = 0; row < from.rows; ++row) {
    std::memmove(row_of(to, row), row_of(from, row), bytes);
  }
}

void CpuDevice::read(const Tensor& from, void* host) {
  CHECK(from.device == this);
  const size_t bytes = row_bytes(from.type, from.columns);
  for (uint32_t row = 0; row < from.rows; ++row) {
    std::memcpy(static_cast<std::byte*>(host) + row * bytes, row_of(from, row), bytes);
  }
}

void CpuDevice::write(const void* host, const Tensor& to) {
  CHECK(to.device == this);
  const size_t bytes = row_bytes(to.type, to.columns);
  for (uint32_t row = 0; row < to.rows; ++row) {
    std::memcpy(row_of(to, row), static_cast<const std::byte*>(host) + row * bytes, bytes);
  }
}

Status CpuDevice::wait() {
  HADAL_TRY_VOID(ops_.take_failure());
  if (MappedFile::any_damaged()) return fail("{}", MappedFile::damage_report());
  return {};
}

const KernelTable& kernels_of(std::string_view instruction_set) {
  if (instruction_set == "avx512_vnni") return kernels_vnni();
  if (instruction_set == "avx512") return kernels_avx512();
  if (instruction_set == "avx_vnni") return kernels_avxvnni();
  CHECK(instruction_set == "avx2");
  return kernels_avx2();
}

}  // namespace
}  // namespace cpu

std::vector<std::string_view> usable_instruction_sets() {
  const cpu::CpuFeatures features = cpu::detect_cpu_features();
  std::vector<std::string_view> usable;
  for (std::string_view name : cpu::known_instruction_sets()) {
    if (cpu::has_instruction_set(features, name)) usable.push_back(name);
  }
  return usable;
}

Result<std::unique_ptr<Device>> make_cpu_device(const CpuOptions& options) {
  const std::vector<std::string_view> usable = usable_instruction_sets();
  if (usable.empty()) {
    return fail(
        "This processor has no AVX2 (or the system does not enable it); the cpu device needs it. "
        "Intel processors have it since 2013, AMD since 2015. The device `reference` runs on this "
        "machine, slowly.");
  }
  std::string_view chosen = usable.back();
  if (!options.instruction_set.empty()) {
    if (std::find(usable.begin(), usable.end(), options.instruction_set) == usable.end()) {
      return fail("instruction set `{}` is not usable here; usable: {}", options.instruction_set,
                  fmt::join(usable, ", "));
    }
    chosen = options.instruction_set;
  }
  if (options.threads > cpu::kThreadsMax) {
    return fail("{} threads; the limit is {}", options.threads, cpu::kThreadsMax);
  }
  const uint32_t threads = options.threads != 0 ? options.threads : default_thread_count();
  return std::make_unique<cpu::CpuDevice>(cpu::kernels_of(chosen), threads,
                                          PageInterleaving(usable_numa_nodes(options.root)));
}

}  // namespace hadal
