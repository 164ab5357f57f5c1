// The ops on rows: little arithmetic a value, so most run on the caller alone.
#include "device/cpu/cpu_ops.h"

#include <cmath>
#include <cstring>
#include <utility>

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

void CpuOps::check_whole(const Tensor& tensor) const {
  CHECK(tensor && tensor.device == &device_);
  CHECK(tensor.type == QuantType::kI32 && tensor.row_stride >= tensor.columns);
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
      kernels_.rms_norm(row_of(args.in, row), gain.data(), width, args.epsilon,
                        row_of(args.out, row));
    }
  });
}

bool CpuOps::RopeTable::serves(const RopeArgs& args) const {
  return magnitude == args.magnitude && pairs == args.pairs &&
         std::ranges::equal(positions, args.positions) &&
         std::ranges::equal(frequencies, args.frequencies);
}

void CpuOps::fill_rope_table(const RopeArgs& args) {
  rope_.positions.assign(args.positions.begin(), args.positions.end());
  rope_.frequencies.assign(args.frequencies.begin(), args.frequencies.end());
  rope_.magnitude = args.magnitude;
  rope_.pairs = args.pairs;
  const size_t copies = args.pairs == RopePairs::kInterleaved ? 2 : 1;
  rope_.width = args.frequencies.size() * copies;
  rope_.cosines.resize(args.positions.size() * rope_.width);
  rope_.sines.resize(args.positions.size() * rope_.width);
  parallel(args.positions.size(), 16, [&](size_t first, size_t last, uint32_t) {
    for (size_t token = first; token < last; ++token) {
      for (size_t i = 0; i < rope_.width; ++i) {
        const double angle = double(rope_.positions[token]) * double{rope_.frequencies[i / copies]};
        const double magnitude = double{rope_.magnitude};
        rope_.cosines[token * rope_.width + i] = static_cast<float>(std::cos(angle) * magnitude);
        rope_.sines[token * rope_.width + i] = static_cast<float>(std::sin(angle) * magnitude);
      }
    }
  });
}

void CpuOps::rope(const RopeArgs& args) {
  check(args.x);
  const size_t pairs = args.frequencies.size();
  CHECK(args.head_width > 0 && args.x.columns % args.head_width == 0);
  CHECK(args.first <= args.head_width && 2 * pairs <= args.head_width - args.first);
  CHECK(args.positions.size() == args.x.rows);
  if (!rope_.serves(args)) fill_rope_table(args);
  const auto rotate =
      args.pairs == RopePairs::kHalves ? kernels_.rotate_halves : kernels_.rotate_pairs;
  parallel(args.x.rows, rows_at_once(args.x.columns), [&](size_t first, size_t last, uint32_t) {
    for (size_t token = first; token < last; ++token) {
      float* row = row_of(args.x, token);
      const size_t at = token * rope_.width;
      for (float* head = row; head != row + args.x.columns; head += args.head_width) {
        rotate(head + args.first, rope_.cosines.data() + at, rope_.sines.data() + at, pairs);
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
      kernels_.swiglu(row_of(args.gate, row), row_of(args.up, row), width, row_of(args.out, row));
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
