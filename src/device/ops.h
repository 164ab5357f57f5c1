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
// frequencies[i]; cos and sin are multiplied by `magnitude` (YaRN). Values behind the rotated ones
// stay.
enum class RopePairs : uint8_t {
  kHalves,       // pair i = values i and i + width/2 (Hugging Face layout)
  kInterleaved,  // pair i = values 2i and 2i + 1 (the paper's; GGUF's llama)
};
struct RopeArgs {
  Tensor x;  // [tokens, heads * head_width]
  uint32_t head_width;
  RopePairs pairs;
  std::span<const int32_t> positions;  // [tokens]
  std::span<const float> frequencies;  // [rotated width / 2]
  float magnitude = 1.0f;
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

// One layer's part of a paged cache (vLLM's layout, arXiv 2309.06180). f32 or f16.
struct PagedKv {
  Tensor keys;    // [blocks * block_tokens, kv_heads * key_width]
  Tensor values;  // [blocks * block_tokens, kv_heads * value_width]
  uint32_t block_tokens = 0;
};

// Puts the keys and values of a batch's tokens into the cache, at their positions.
struct StoreKvArgs {
  Tensor keys, values;  // [tokens, kv_heads * width]
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
  virtual void swiglu(const SwigluArgs&) = 0;
  virtual void gather_rows(const GatherRowsArgs&) = 0;
};

}  // namespace hadal
