#include "device/reference/reference_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "device/device.h"
#include "device/mapped_weight.h"

namespace hadal {
namespace {

float* row_of(const Tensor& tensor, size_t row) {
  return static_cast<float*>(tensor.data) + row * tensor.row_stride;
}

void check_float(const Tensor& tensor) {
  CHECK(tensor.type == QuantType::kF32 && tensor.row_stride >= tensor.columns);
}

}  // namespace

void ReferenceOps::check(const Tensor& tensor) const {
  CHECK(tensor && tensor.device == &device_);
  check_float(tensor);
}

void ReferenceOps::check(const Weight& weight) const {
  CHECK(weight && weight.device == &device_);
}

void ReferenceOps::embed(const EmbedArgs& args) {
  check(args.table);
  check(args.out);
  const MappedWeight& table = MappedWeight::of(args.table);
  CHECK(args.out.rows == args.tokens.size() && args.out.columns == table.columns());
  const MappedWeight::Matrix matrix = table.expert(0);
  for (size_t token = 0; token < args.tokens.size(); ++token) {
    const int32_t id = args.tokens[token];
    CHECK(id >= 0 && static_cast<uint32_t>(id) < table.rows());
    table.decode_row(matrix, static_cast<uint32_t>(id), row_of(args.out, token));
  }
}

void ReferenceOps::rms_norm(const RmsNormArgs& args) {
  check(args.in);
  check(args.out);
  check(args.gain);
  const std::span<const float> gain = MappedWeight::of(args.gain).vector();
  const uint32_t width = args.in.columns;
  CHECK(gain.size() == width && args.out.columns == width && args.out.rows == args.in.rows);
  for (uint32_t row = 0; row < args.in.rows; ++row) {
    const float* in = row_of(args.in, row);
    float* out = row_of(args.out, row);
    double squares = 0;
    for (uint32_t i = 0; i < width; ++i) squares += double{in[i]} * double{in[i]};
    const double scale = 1.0 / std::sqrt(squares / width + double{args.epsilon});
    for (uint32_t i = 0; i < width; ++i) {
      out[i] = static_cast<float>(in[i] * scale * double{gain[i]});
    }
  }
}

void ReferenceOps::rope(const RopeArgs& args) {
  check(args.x);
  const size_t pairs = args.frequencies.size();
  CHECK(args.head_width > 0 && args.x.columns % args.head_width == 0);
  CHECK(args.first <= args.head_width && 2 * pairs <= args.head_width - args.first);
  CHECK(args.positions.size() == args.x.rows);
  const bool halves = args.pairs == RopePairs::kHalves;
  for (uint32_t token = 0; token < args.x.rows; ++token) {
    float* row = row_of(args.x, token);
    for (size_t pair = 0; pair < pairs; ++pair) {
      const double angle = double(args.positions[token]) * double{args.frequencies[pair]};
      const double cosine = std::cos(angle) * double{args.magnitude};
      const double sine = std::sin(angle) * double{args.magnitude};
      const size_t first = args.first + (halves ? pair : 2 * pair);
      const size_t second = args.first + (halves ? pair + pairs : 2 * pair + 1);
      for (float* head = row; head != row + args.x.columns; head += args.head_width) {
        const double a = head[first], b = head[second];
        head[first] = static_cast<float>(a * cosine - b * sine);
        head[second] = static_cast<float>(a * sine + b * cosine);
      }
    }
  }
}

void ReferenceOps::swiglu(const SwigluArgs& args) {
  check(args.gate);
  check(args.up);
  check(args.out);
  const uint32_t width = args.out.columns;
  CHECK(args.gate.columns == width && args.up.columns == width);
  CHECK(args.gate.rows == args.out.rows && args.up.rows == args.out.rows);
  parallel(args.out.rows, 1, size_t{args.out.rows} * width * 8,
           [&](size_t first, size_t last, uint32_t) {
             for (size_t row = first; row < last; ++row) {
               const float* gate = row_of(args.gate, row);
               const float* up = row_of(args.up, row);
               float* out = row_of(args.out, row);
               for (uint32_t i = 0; i < width; ++i) {
                 const double value = gate[i];
                 out[i] = static_cast<float>(value / (1.0 + std::exp(-value)) * double{up[i]});
               }
             }
           });
}

void ReferenceOps::gather_rows(const GatherRowsArgs& args) {
  check(args.from);
  check(args.to);
  CHECK(args.to.rows == args.rows.size() && args.to.columns == args.from.columns);
  for (size_t i = 0; i < args.rows.size(); ++i) {
    CHECK(args.rows[i] < args.from.rows);
    std::memcpy(row_of(args.to, i), row_of(args.from, args.rows[i]),
                size_t{args.from.columns} * sizeof(float));
  }
}

}  // namespace hadal
