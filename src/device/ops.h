// The vocabulary of a transformer: few, large ops, every device speaks them all. The reference
// device (device/reference) says what each means, in the plainest loops; every other device is held
// to it (tests/ops), within the bound that tests/ops lists per op and type.
//
// Activations are float32 tensors on the op's device. Outputs do not overlap inputs unless an op
// says so. Shapes are CHECKed: a wrong one is a programmer's error (files are validated before any
// op runs). Host spans are read before the call returns.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "device/tensor.h"

namespace hadal {

// out[t] = row tokens[t] of table. Ids are in range (the engine's promise).
struct EmbedArgs {
  Weight table;  // [vocabulary, width]
  std::span<const int32_t> tokens;
  Tensor out;  // [tokens, width]
};

// out = x / sqrt(mean(x^2) + epsilon) * gain, row by row (arXiv 1910.07467). out may be in.
struct RmsNormArgs {
  Tensor in;    // [rows, width]
  Weight gain;  // [width]
  float epsilon;
  Tensor out;
};

struct Projection {
  Weight weight;  // [rows, columns]
  Weight bias;    // [rows], or none
  Tensor out;     // [tokens, rows]
};

// Up to four projections of one input: a device quantizes the input once and crosses one barrier.
class Projections {
 public:
  Projections(std::initializer_list<Projection> list) {
    CHECK(list.size() <= items_.size());
    for (const Projection& projection : list) items_[count_++] = projection;
  }
  const Projection* begin() const { return items_.data(); }
  const Projection* end() const { return items_.data() + count_; }
  uint32_t size() const { return count_; }
  const Projection& operator[](uint32_t i) const { return items_[i]; }

 private:
  std::array<Projection, 4> items_;
  uint32_t count_ = 0;
};

enum class Store : uint8_t { kReplace, kAdd };

// out[t, r] (= or +=) bias[r] + sum over c of weight[r, c] * in[t, c]
struct MatmulArgs {
  Tensor in;  // [tokens, columns]
  Projections projections;
  Store store = Store::kReplace;
};

// Rotary position embedding (arXiv 2104.09864), in place. Pair i of a head turns by positions[t] *
// frequencies[i]; cos and sin are multiplied by `magnitude` (YaRN). The rotated values of a head
// begin at `first`; those before and behind them stay.
enum class RopePairs : uint8_t {
  kHalves,       // pair i = values i and i + width/2 (Hugging Face layout)
  kInterleaved,  // pair i = values 2i and 2i + 1 (the paper's; GGUF's llama; DeepSeek's)
};
struct RopeArgs {
  Tensor x;  // [tokens, heads * head_width]
  uint32_t head_width;
  RopePairs pairs;
  std::span<const int32_t> positions;  // [tokens]
  std::span<const float> frequencies;  // [rotated width / 2]
  float magnitude = 1.0f;
  uint32_t first = 0;  // first + rotated width <= head_width
};

// How the tokens of a batch belong to sequences, and where each sequence's past lies. Tokens of a
// sequence are consecutive and in order. Position p of sequence s lies in row block_tables[s][p /
// block_tokens] * block_tokens + p % block_tokens.
struct SequenceLayout {
  std::span<const int32_t> positions;  // [tokens], place of each token in its sequence, from 0
  std::span<const uint32_t>
      sequence_starts;  // [sequences + 1], first token of each sequence; the last is tokens
  std::span<const uint32_t> block_tables;  // [sequences, blocks_per_sequence_max]
  uint32_t blocks_per_sequence_max = 0;
  uint32_t sequences() const { return static_cast<uint32_t>(sequence_starts.size()) - 1; }
};

// One layer's part of a paged cache (vLLM's layout, arXiv 2309.06180). f32, f16 or bf16, rounded to
// nearest, ties to even; or q8_0 or q4_0 as quant/encode.h makes them, whose rows are filled up
// with zeros to whole blocks and whose heads, where there are several, are whole blocks. Keys and
// values may be of different types. A cache of latents (LatentAttentionArgs) has keys alone.
struct PagedKv {
  Tensor keys;    // [blocks * block_tokens, cache_columns(type, kv_heads * key_width)]
  Tensor values;  // [blocks * block_tokens, cache_columns(type, kv_heads * value_width)], or none
  uint32_t block_tokens = 0;
};

constexpr bool is_cache_type(QuantType type) {
  return type == QuantType::kF32 || type == QuantType::kF16 || type == QuantType::kBF16 ||
         type == QuantType::kQ8_0 || type == QuantType::kQ4_0;
}
// What a row of so many values takes, in values.
inline uint32_t cache_columns(QuantType type, uint32_t columns) {
  const uint32_t block = quant_format(type).block_values;
  return (columns + block - 1) / block * block;
}

// Puts the keys and values of a batch's tokens into the cache, at their positions.
struct StoreKvArgs {
  Tensor keys, values;  // [tokens, kv_heads * width]; values: none where the cache has none
  PagedKv cache;
  SequenceLayout layout;
};

// Causal attention over the cache, which already holds this batch's tokens: token t sees positions
// 0 .. positions[t] of its sequence. Query head h reads key-value head h / (heads / kv_heads)
// (grouped queries, arXiv 2305.13245). out[t, h] = sum over p of softmax_p(scale * query[t, h] .
// keys[p]) values[p]
struct AttentionArgs {
  Tensor query;  // [tokens, heads * key_width]
  PagedKv cache;
  SequenceLayout layout;
  uint32_t heads, kv_heads;
  float scale;
  Tensor out;  // [tokens, heads * value_width]
};

// One matrix for each head, as rows of a stored weight whose experts' rows are counted through: row
// i is row i % weight.rows of expert i / weight.rows. Head h has the `rows` rows from first_row + h
// * row_step on. A projection fused with others and a stack of heads are both read where they are.
struct HeadMatrices {
  Weight weight;
  uint32_t first_row = 0, rows = 0, row_step = 0;
  // false: a row gives one output, y[r] = sum over c of row[r][c] x[c]. true: a row belongs to one
  // input, y[c] = sum over r of row[r][c] x[r].
  bool transposed = false;

  uint32_t inputs() const { return transposed ? rows : weight.columns; }
  uint32_t outputs() const { return transposed ? weight.columns : rows; }
};

// Causal multi-head latent attention (arXiv 2405.04434, section 2.1) over the cache, which already
// holds this batch's tokens: token t sees positions 0 .. positions[t] of its sequence. A row of the
// cache is a position's latent (normed), then its key part that all heads share (rotated). With K_h
// = keys of head h, [nope, latent], and V_h = values of head h, [value_width, latent]:
//
//   score[p] = scale * (q_nope . (K_h latent[p]) + q_rope . shared[p]),   q = query[t, h]
//   out[t, h] = V_h (sum over p of softmax_p(score) latent[p])
//
// This, the absorbed form, equals attention with keys K_h latent[p] | shared[p] and values V_h
// latent[p]. A device may compute either. Which one is a function of how many tokens the sequence
// has in the batch and of its length (its greatest position), never of what else is in the batch:
// one token against a long past is cheaper absorbed, a chunk of a prompt expanded, and both reach
// the same length. So a sequence's outputs may depend on how it is cut into steps, within rounding.
struct LatentAttentionArgs {
  Tensor query;   // [tokens, heads * (nope + rope)], of each head the last rope values rotated
  PagedKv cache;  // keys: of latent + rope values; no values
  SequenceLayout layout;
  HeadMatrices keys;    // latent -> nope; may be transposed
  HeadMatrices values;  // latent -> value_width; not transposed
  uint32_t heads;
  float scale;
  Tensor out;  // [tokens, heads * value_width]
};

// What a router makes of its scores: which experts a token goes to, and with what weights. All
// experts' scores are
//   kSoftmax: exp(logit[e] - greatest) / sum of these over e, in the order of e
//   kSigmoid: 1 / (1 + exp(-logit[e]))
// computed in double and rounded to float32 once. Experts are compared by their choice value:
// score[e] + bias[e], one float32 addition; without a bias the score. A choice value or a group's
// value that is NaN counts as minus infinity. Equal values: the lowest index first, of groups as of
// experts. So the choice is exact given the logits, on every device.
//
// Experts [g * experts / groups, (g + 1) * experts / groups) are group g. A group's value is
//   kGreatest: the greatest of its choice values (arXiv 2405.04434, section 2.2.2)
//   kTopTwo: the sum, in float32, of its two greatest (DeepSeek-V3's published gate)
// and only experts of the groups_kept groups of the greatest value may be chosen, whatever the sign
// of their values. Chosen are the top_k of those with the greatest choice values, greatest first.
//
// weights[t, k] = scaling * score of the k-th chosen (never the biased value), divided before by
// (sum over k of the chosen's scores + 1e-20) where they are normalised; in double, rounded once.
enum class RouterScores : uint8_t { kSoftmax, kSigmoid };
enum class GroupValue : uint8_t { kGreatest, kTopTwo };
enum class RouterWeights : uint8_t { kPlain, kNormalised };
struct RouteArgs {
  Tensor logits;  // [tokens, experts]
  Weight bias;    // [experts], or none
  RouterScores scores = RouterScores::kSoftmax;
  GroupValue group_value = GroupValue::kGreatest;
  RouterWeights normalise = RouterWeights::kPlain;
  uint32_t groups = 1, groups_kept = 1;  // groups divides experts; with kTopTwo two experts a group
  float scaling = 1.0f;
  Tensor chosen;   // [tokens, top_k], i32; top_k <= experts / groups * groups_kept
  Tensor weights;  // [tokens, top_k]
};

// A mixture of SwiGLU experts: out[t] += sum over k of weights[t, k] * expert chosen[t, k] of
// in[t], expert e: down[e] (silu(gate[e] x) * (up[e] x)), silu(g) = g / (1 + exp(-g)). A token's
// experts are added in the order of their indices (one that stands twice: by k), whatever their
// order in `chosen` and whatever other tokens chose. out may not be in.
struct ExpertsArgs {
  Tensor in;        // [tokens, width]
  Tensor chosen;    // [tokens, top_k], i32, each in [0, experts)
  Tensor weights;   // [tokens, top_k]
  Weight gate, up;  // [experts, expert_width, width]
  Weight down;      // [experts, width, expert_width]
  Tensor out;       // [tokens, width]
};

// out = gate / (1 + exp(-gate)) * up (SwiGLU's product, arXiv 2002.05202). out may be gate or up.
struct SwigluArgs {
  Tensor gate, up, out;  // [tokens, width]
};

// to[i] = from[rows[i]]
struct GatherRowsArgs {
  Tensor from;
  std::span<const uint32_t> rows;
  Tensor to;
};

class Ops {
 public:
  virtual ~Ops() = default;
  virtual void embed(const EmbedArgs&) = 0;
  virtual void rms_norm(const RmsNormArgs&) = 0;
  virtual void matmul(const MatmulArgs&) = 0;
  virtual void rope(const RopeArgs&) = 0;
  virtual void store_kv(const StoreKvArgs&) = 0;
  virtual void attention(const AttentionArgs&) = 0;
  virtual void latent_attention(const LatentAttentionArgs&) = 0;
  virtual void swiglu(const SwigluArgs&) = 0;
  virtual void route(const RouteArgs&) = 0;
  virtual void experts(const ExpertsArgs&) = 0;
  virtual void gather_rows(const GatherRowsArgs&) = 0;
};

}  // namespace hadal
