// The reference device's latent attention, always in the absorbed form: a head's query is taken
// through its key matrix once, then meets the latents themselves; so does their weighted sum with
// the head's value matrix. All in double, rounded once.
#include <algorithm>
#include <cmath>

#include "device/device.h"
#include "device/mapped_weight.h"
#include "device/reference/reference_cache.h"
#include "device/reference/reference_ops.h"

namespace hadal {
namespace {

struct Widths {
  uint32_t latent, nope, shared, value;
  uint32_t query() const { return nope + shared; }
  uint32_t row() const { return latent + shared; }
};

void check_matrices(const HeadMatrices& matrices, uint32_t heads, const Device& device) {
  CHECK(matrices.weight && matrices.weight.device == &device && matrices.rows > 0);
  const uint64_t last =
      matrices.first_row + uint64_t{heads - 1} * matrices.row_step + matrices.rows;
  CHECK(last <= uint64_t{matrices.weight.experts} * matrices.weight.rows);
}

Widths widths_of(const LatentAttentionArgs& args) {
  CHECK(args.heads > 0);
  const Widths widths{.latent = args.keys.inputs(),
                      .nope = args.keys.outputs(),
                      .shared = args.query.columns / args.heads - args.keys.outputs(),
                      .value = args.values.outputs()};
  CHECK(args.query.columns == size_t{args.heads} * widths.query());
  CHECK(args.values.inputs() == widths.latent && !args.values.transposed);
  CHECK(args.out.rows == args.query.rows);
  CHECK(args.out.columns == size_t{args.heads} * widths.value);
  return widths;
}

// One head's matrix as floats, its stored rows one behind the other.
void decode_head(const HeadMatrices& matrices, uint32_t head, float* values) {
  const MappedWeight& weight = MappedWeight::of(matrices.weight);
  for (uint32_t r = 0; r < matrices.rows; ++r) {
    const uint64_t row = matrices.first_row + uint64_t{head} * matrices.row_step + r;
    weight.decode_row(weight.expert(static_cast<uint32_t>(row / weight.rows())),
                      static_cast<uint32_t>(row % weight.rows()),
                      values + size_t{r} * weight.columns());
  }
}

// absorbed[c] = sum over r of query[r] K[r][c]
void absorb(const HeadMatrices& keys, const float* matrix, const float* query, double* absorbed) {
  const uint32_t columns = keys.weight.columns;
  if (keys.transposed) {
    for (uint32_t r = 0; r < keys.rows; ++r) {
      absorbed[r] = dot(query, matrix + size_t{r} * columns, columns);
    }
    return;
  }
  std::fill_n(absorbed, columns, 0.0);
  for (uint32_t r = 0; r < keys.rows; ++r) {
    const float* row = matrix + size_t{r} * columns;
    for (uint32_t c = 0; c < columns; ++c) absorbed[c] += double{query[r]} * double{row[c]};
  }
}

// One head's query of one token against positions 0 .. positions - 1. absorbed and mixed:
// [latent], scores: [positions].
struct HeadScratch {
  double *absorbed, *mixed, *scores;
};
void attend_head(const Widths& widths, const HeadMatrices& keys, const float* key_matrix,
                 const float* value_matrix, const float* query, const double* rows,
                 uint32_t positions, double scale, const HeadScratch& s, float* out) {
  absorb(keys, key_matrix, query, s.absorbed);
  double greatest = -INFINITY;
  for (uint32_t p = 0; p < positions; ++p) {
    const double* row = rows + size_t{p} * widths.row();
    s.scores[p] = scale * (dot(s.absorbed, row, widths.latent) +
                           dot(query + widths.nope, row + widths.latent, widths.shared));
    greatest = std::max(greatest, s.scores[p]);
  }
  double total = 0;
  std::fill_n(s.mixed, widths.latent, 0.0);
  for (uint32_t p = 0; p < positions; ++p) {
    const double weight = std::exp(s.scores[p] - greatest);
    total += weight;
    const double* row = rows + size_t{p} * widths.row();
    for (uint32_t c = 0; c < widths.latent; ++c) s.mixed[c] += weight * row[c];
  }
  for (uint32_t i = 0; i < widths.value; ++i) {
    out[i] = static_cast<float>(
        dot(s.mixed, value_matrix + size_t{i} * widths.latent, widths.latent) / total);
  }
}

}  // namespace

void ReferenceOps::latent_attention(const LatentAttentionArgs& args) {
  check(args.query);
  check(args.out);
  const Widths widths = widths_of(args);
  check_cache(args.cache.keys, device_, 1, widths.row());
  check_layout(args.layout, args.query.rows);
  check_matrices(args.keys, args.heads, device_);
  check_matrices(args.values, args.heads, device_);
  CHECK(!args.cache.values && args.cache.block_tokens > 0);
  for (uint32_t sequence = 0; sequence < args.layout.sequences(); ++sequence) {
    attend_latents(args, sequence);
  }
}

// A sequence's past is decoded once; then each thread takes whole heads, whose matrices it decodes.
void ReferenceOps::attend_latents(const LatentAttentionArgs& args, uint32_t sequence) {
  const uint32_t first_token = args.layout.sequence_starts[sequence];
  const uint32_t tokens = args.layout.sequence_starts[sequence + 1] - first_token;
  const Widths widths = widths_of(args);
  if (tokens == 0) return;
  const auto positions = args.layout.positions.subspan(first_token, tokens);
  CHECK(*std::min_element(positions.begin(), positions.end()) >= 0);
  const uint32_t length =
      static_cast<uint32_t>(*std::max_element(positions.begin(), positions.end())) + 1;
  keys_.resize(size_t{length} * widths.row());
  for (uint32_t p = 0; p < length; ++p) {
    load_row(args.cache.keys, cache_row(args.cache, args.layout, sequence, p), 0, widths.row(),
             keys_.data() + size_t{p} * widths.row());
  }
  const size_t key_values = size_t{widths.nope} * widths.latent;
  const size_t value_values = size_t{widths.value} * widths.latent;
  heads_.resize(pool_.threads());
  scores_.resize(pool_.threads());
  const auto attend_every = [&](uint32_t first, uint32_t step) {
    std::vector<float>& matrices = heads_[first];
    std::vector<double>& scratch = scores_[first];
    matrices.resize(key_values + value_values);
    scratch.resize(size_t{length} + 2 * size_t{widths.latent});
    const HeadScratch s{scratch.data(), scratch.data() + widths.latent,
                        scratch.data() + 2 * size_t{widths.latent}};
    for (uint32_t head = first; head < args.heads; head += step) {
      decode_head(args.keys, head, matrices.data());
      decode_head(args.values, head, matrices.data() + key_values);
      for (uint32_t token = 0; token < tokens; ++token) {
        const size_t row = first_token + token;
        attend_head(widths, args.keys, matrices.data(), matrices.data() + key_values,
                    static_cast<const float*>(args.query.data) + row * args.query.row_stride +
                        size_t{head} * widths.query(),
                    keys_.data(), static_cast<uint32_t>(positions[token]) + 1, double{args.scale},
                    s,
                    static_cast<float*>(args.out.data) + row * args.out.row_stride +
                        size_t{head} * widths.value);
      }
    }
  };
  const size_t work = args.heads * (key_values + value_values) * (size_t{tokens} + 1) +
                      size_t{tokens} * args.heads * length * widths.row();
  if (work < kWorkAlone) {
    attend_every(0, 1);
  } else {
    pool_.run([&](uint32_t thread) { attend_every(thread, pool_.threads()); });
  }
}

}  // namespace hadal
