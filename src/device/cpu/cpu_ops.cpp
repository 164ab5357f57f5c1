// The ops on rows: little arithmetic a value, so most run on the caller alone.
#include "device/cpu/cpu_ops.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "base/float_types.h"
#include "device/device.h"
#include "device/mapped_weight.h"

namespace hadal::cpu {
namespace {

float* row_of(const Tensor& tensor, size_t row) {
  return static_cast<float*>(tensor.data) + row * tensor.row_stride;
}

}  // namespace

void CpuOps::check(const Tensor& tensor) const {
  CHECK(tensor && tensor.device == &device_);
  CHECK(tensor.type == QuantType::kF32 && tensor.row_stride >= tensor.columns);
}

void CpuOps::check(const Weight& weight) const {
  CHECK(weight && weight.device == &device_);
}

std::byte* CpuOps::reserve(Scratch& scratch, size_t bytes) {
  auto data = scratch.reserve(device_, bytes);
  if (data) return *data;
  if (failure_) failure_ = fail("scratch of an op: {}", data.error().message);
  return nullptr;
}

Status CpuOps::take_failure() {
  return std::exchange(failure_, Status{});
}

void CpuOps::embed(const EmbedArgs& args) {
  check(args.table);
  check(args.out);
  const MappedWeight& table = MappedWeight::of(args.table);
  CHECK(args.out.rows == args.tokens.size() && args.out.columns == table.columns());
  const MappedWeight::Matrix matrix = table.expert(0);
  parallel(args.tokens.size(), rows_at_once(table.columns()),
           [&](size_t first, size_t last, uint32_t) {
             for (size_t token = first; token < last; ++token) {
               const int32_t id = args.tokens[token];
               CHECK(id >= 0 && static_cast<uint32_t>(id) < table.rows());
               table.decode_row(matrix, static_cast<uint32_t>(id), row_of(args.out, token));
             }
           });
}

void CpuOps::rms_norm(const RmsNormArgs& args) {
  check(args.in);
  check(args.out);
  check(args.gain);
  const std::span<const float> gain = MappedWeight::of(args.gain).vector();
  const uint32_t width = args.in.columns;
  CHECK(gain.size() == width && args.out.columns == width && args.out.rows == args.in.rows);
  parallel(args.in.rows, rows_at_once(width), [&](size_t first, size_t last, uint32_t) {
    for (size_t row = first; row < last; ++row) {
      const float* in = row_of(args.in, row);
      float* out = row_of(args.out, row);
      const float squares = kernels_.dot(in, in, width);
      const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + args.epsilon);
      for (uint32_t i = 0; i < width; ++i) out[i] = in[i] * scale * gain[i];
    }
  });
}

void CpuOps::rope(const RopeArgs& args) {
  check(args.x);
  const size_t pairs = args.frequencies.size();
  CHECK(args.head_width > 0 && args.x.columns % args.head_width == 0);
  CHECK(2 * pairs <= args.head_width && args.positions.size() == args.x.rows);
  const bool halves = args.pairs == RopePairs::kHalves;
  parallel(args.x.rows, rows_at_once(args.x.columns), [&](size_t from, size_t to, uint32_t) {
    for (size_t token = from; token < to; ++token) {
      float* row = row_of(args.x, token);
      for (size_t pair = 0; pair < pairs; ++pair) {
        const double angle = double(args.positions[token]) * double{args.frequencies[pair]};
        const float cosine = static_cast<float>(std::cos(angle)) * args.magnitude;
        const float sine = static_cast<float>(std::sin(angle)) * args.magnitude;
        const size_t first = halves ? pair : 2 * pair;
        const size_t second = halves ? pair + pairs : 2 * pair + 1;
        for (float* head = row; head != row + args.x.columns; head += args.head_width) {
          const float a = head[first], b = head[second];
          head[first] = a * cosine - b * sine;
          head[second] = a * sine + b * cosine;
        }
      }
    }
  });
}

void CpuOps::swiglu(const SwigluArgs& args) {
  check(args.gate);
  check(args.up);
  check(args.out);
  const uint32_t width = args.out.columns;
  CHECK(args.gate.columns == width && args.up.columns == width);
  CHECK(args.gate.rows == args.out.rows && args.up.rows == args.out.rows);
  parallel(args.out.rows, rows_at_once(width), [&](size_t first, size_t last, uint32_t) {
    for (size_t row = first; row < last; ++row) {
      const float* gate = row_of(args.gate, row);
      const float* up = row_of(args.up, row);
      float* out = row_of(args.out, row);
      for (uint32_t i = 0; i < width; ++i) out[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
    }
  });
}

void CpuOps::gather_rows(const GatherRowsArgs& args) {
  check(args.from);
  check(args.to);
  CHECK(args.to.rows == args.rows.size() && args.to.columns == args.from.columns);
  for (size_t i = 0; i < args.rows.size(); ++i) {
    CHECK(args.rows[i] < args.from.rows);
    std::memcpy(row_of(args.to, i), row_of(args.from, args.rows[i]),
                size_t{args.from.columns} * sizeof(float));
  }
}

}  // namespace hadal::cpu
