// A device: one memory and one ordered queue of work. Ops may run late; they run in the order they
// were asked for. What the host passes to an op or a copy by span is read before the call returns.
// A device is used by one thread at a time; two devices may be used by two threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/tensor.h"

namespace hadal {

class Ops;

struct DeviceInfo {
  std::string name;         // "cpu", "reference": what --device takes
  std::string description;  // "2 cores, AVX-512": for people
  std::string
      instruction_set;  // of its kernels: "avx2", "avx512", ...; "" where that means nothing
  uint32_t threads = 1;
  uint64_t memory_bytes = 0;  // what this process may still take on it when the device was opened
                              // (least of system, container, limits)
  bool host_memory = false;   // its tensors lie in ordinary memory of this process
};

// How fast numbers of one type are multiplied and added, from registers.
struct ArithmeticSpeed {
  std::string_view type;           // "float32", "bf16", "int8"; static
  double multiply_adds_per_s = 0;  // all threads
};

// By the device's own loops; a few hundred milliseconds to measure.
struct DeviceSpeeds {
  double read_bytes_per_s = 0;  // streaming read of memory much larger than the caches, all threads
  // The most that the device's instruction set could do, whatever type its kernels use today:
  ArithmeticSpeed weights;    // of all types, for activations may be made integers
  ArithmeticSpeed attention;  // of the types of floating point
};

// Memory on a device; freed with the object, after all work that was asked for before has been
// done.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual size_t bytes() const = 0;
  // A contiguous tensor at a byte offset (a multiple of 64); CHECKs that it fits.
  virtual Tensor tensor(QuantType type, uint32_t rows, uint32_t columns, size_t offset = 0) = 0;
};

enum class WeightUse : uint8_t {
  kMatrix,  // matmul, embed
  kVector,  // a gain or a bias: one row, any float type
};

struct WeightPiece {
  QuantType type;
  uint32_t experts, rows, columns;
  std::span<const std::byte> data;  // experts x rows x row_bytes; must outlive the Weight
  ScaleGrid scales = {};            // only with F8_E4M3; must outlive the Weight
};

// One weight from one or more pieces of equal type, rows and columns, stacked along experts.
struct WeightSource {
  std::string_view name;  // for errors
  WeightUse use = WeightUse::kMatrix;
  std::span<const WeightPiece> pieces;
};

struct LoadedWeight {
  Weight view;
  std::unique_ptr<Buffer> memory;  // null where the mapping itself serves
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual Result<DeviceSpeeds> measure_speeds() = 0;
  virtual bool supports(QuantType type) const = 0;

  // Zeroed. Pages may be committed only as they are used. Errors name the bytes wanted and the
  // bytes left.
  virtual Result<std::unique_ptr<Buffer>> allocate(size_t bytes) = 0;
  virtual Result<LoadedWeight> upload(
      const WeightSource& source) = 0;  // the only maker of a Weight

  virtual Ops& ops() = 0;

  // Within this device, queued like an op: equal type, rows and columns.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  // Between this device and the host; raw bytes of a tensor, rows packed without gaps. read() waits
  // for all earlier work; write() has taken the bytes when it returns.
  virtual void read(const Tensor& from, void* host) = 0;
  virtual void write(const void* host, const Tensor& to) = 0;

  // Until all work is done. The one place where a failed op is reported, also "the model file
  // changed under us" (MappedFile::damage_report).
  virtual Status wait() = 0;
};

// Copies between any two devices: after earlier, before later work of both queues.
void copy(const Tensor& from, const Tensor& to);

}  // namespace hadal
