#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "base/sizes.h"
#include "support/op_cases.h"
#include "support/workbench.h"

namespace hadal {
namespace {

struct Span {  // of one sequence: tokens in the cache before, tokens of this batch
  uint32_t past, now;
};

// How a file holds the matrices that take a latent to a head's keys and values.
enum class Form {
  kFused,   // one matrix, of each head the keys' rows and then the values' (Hugging Face)
  kStacks,  // a stack for the keys, transposed, and one for the values (GGUF)
  kFlat,    // the same with all heads' rows in one matrix
};

struct LatentCase {
  QuantType cache = QuantType::kBF16, keys = QuantType::kF32, values = QuantType::kF32;
  Form form = Form::kFused;
  uint32_t heads = 1, latent = 1, nope = 1, rope = 2, value = 1;
  std::vector<Span> sequences;
  uint32_t block_tokens = 32;
  float query_magnitude = 1;
  bool strided = false;
  uint32_t scale_block = 0;  // of FP8
};

struct LatentData {
  LatentCase c;
  std::vector<Matrix> rows;  // by sequence: [past + now, latent + rope]
  std::vector<Matrix> kept;  // what the cache makes of them
  Matrix query;              // [tokens of this batch, heads * (nope + rope)]
  // kFused: one, [heads * (nope + value), latent]. Else by head: keys [latent, nope], values
  // [value, latent]; flat: one each, of all heads' rows.
  std::vector<StoredWeight> keys, values;
  std::vector<uint32_t> tables;
  uint32_t blocks = 0, blocks_per_sequence_max = 0;

  // K_h[r][c] and V_h[r][c]
  float key(uint32_t head, uint32_t r, uint32_t column) const {
    if (c.form == Form::kFused) return keys[0].decoded.at(head * (c.nope + c.value) + r, column);
    if (c.form == Form::kFlat) return keys[0].decoded.at(head * c.latent + column, r);
    return keys[head].decoded.at(column, r);
  }
  float value(uint32_t head, uint32_t r, uint32_t column) const {
    if (c.form == Form::kFused) {
      return keys[0].decoded.at(head * (c.nope + c.value) + c.nope + r, column);
    }
    if (c.form == Form::kFlat) return values[0].decoded.at(head * c.value + r, column);
    return values[head].decoded.at(r, column);
  }
  float cached(size_t s, uint32_t p, uint32_t column) const { return kept[s].at(p, column); }
};

LatentData make_data(const LatentCase& c, Random& random) {
  LatentData data{.c = c};
  uint32_t tokens = 0;
  for (const Span& sequence : c.sequences) {
    tokens += sequence.now;
    const uint32_t length = sequence.past + sequence.now;
    data.rows.push_back(random_matrix(random, length, c.latent + c.rope));
    data.kept.push_back(kept_by_cache(c.cache, data.rows.back()));
    data.blocks_per_sequence_max = std::max(
        data.blocks_per_sequence_max, static_cast<uint32_t>(divide_up(length, c.block_tokens)));
  }
  data.query = random_matrix(random, tokens, c.heads * (c.nope + c.rope), c.query_magnitude);
  data.blocks = static_cast<uint32_t>(c.sequences.size()) * data.blocks_per_sequence_max + 2;
  std::vector<uint32_t> free(data.blocks);
  std::iota(free.begin(), free.end(), 0);
  std::shuffle(free.begin(), free.end(), random);
  data.tables.assign(c.sequences.size() * data.blocks_per_sequence_max, 0xffffffffu);
  for (size_t s = 0; s < c.sequences.size(); ++s) {
    for (uint32_t block = 0; block < divide_up(data.rows[s].rows, c.block_tokens); ++block) {
      data.tables[s * data.blocks_per_sequence_max + block] = free.back();
      free.pop_back();
    }
  }
  const auto weight = [&](QuantType type, uint32_t rows, uint32_t columns) {
    // About one over the root of what is summed.
    const bool plain =
        type == QuantType::kF32 || type == QuantType::kF16 || type == QuantType::kBF16;
    if (c.scale_block == 0) return random_weight(random, type, rows, columns, plain ? 0.2f : 0.01f);
    return random_scaled_weight(random, rows, columns, c.scale_block, c.scale_block);
  };
  if (c.form == Form::kFused) {
    data.keys.push_back(weight(c.keys, c.heads * (c.nope + c.value), c.latent));
  } else {
    const uint32_t count = c.form == Form::kFlat ? 1 : c.heads, rows = c.heads / count;
    for (uint32_t i = 0; i < count; ++i) {
      data.keys.push_back(weight(c.keys, rows * c.latent, c.nope));
      data.values.push_back(weight(c.values, rows * c.value, c.latent));
    }
  }
  return data;
}

struct Part {
  Matrix rows;
  std::vector<int32_t> positions;
  std::vector<uint32_t> starts = {0};
};

Part make_part(const LatentData& data, bool past) {
  Part part{{0, data.rows[0].columns, {}}, {}};
  for (size_t s = 0; s < data.rows.size(); ++s) {
    const Span& sequence = data.c.sequences[s];
    const uint32_t first = past ? 0 : sequence.past;
    const uint32_t count = past ? sequence.past : sequence.now;
    for (uint32_t i = first; i < first + count; ++i) {
      const auto row = data.rows[s].row(i);
      part.rows.values.insert(part.rows.values.end(), row.begin(), row.end());
      part.positions.push_back(static_cast<int32_t>(i));
    }
    part.rows.rows += count;
    part.starts.push_back(part.starts.back() + count);
  }
  return part;
}

float score_scale(const LatentCase& c) {
  return 1.3f / std::sqrt(static_cast<float>(c.nope + c.rope));
}

struct LatentMatrices {
  HeadMatrices keys, values;
};

LatentMatrices load_matrices(const LatentData& data, Workbench& bench) {
  const LatentCase& c = data.c;
  if (c.form == Form::kFused) {
    const Weight weight = bench.matrix(data.keys[0]);
    const uint32_t step = c.nope + c.value;
    return {{.weight = weight, .first_row = 0, .rows = c.nope, .row_step = step},
            {.weight = weight, .first_row = c.nope, .rows = c.value, .row_step = step}};
  }
  using enum Workbench::Stacking;
  return {{.weight = bench.stack(data.keys, kOne),
           .first_row = 0,
           .rows = c.latent,
           .row_step = c.latent,
           .transposed = true},
          {.weight = bench.stack(data.values, kOne),
           .first_row = 0,
           .rows = c.value,
           .row_step = c.value}};
}

Result<std::vector<float>> run_latent(const LatentData& data, Device& device) {
  const LatentCase& c = data.c;
  Workbench bench(device);
  const PagedKv cache{.keys = bench.blank_of(c.cache, data.blocks * c.block_tokens,
                                             cache_columns(c.cache, c.latent + c.rope)),
                      .values = {},
                      .block_tokens = c.block_tokens};
  for (const bool past : {true, false}) {
    const Part part = make_part(data, past);
    if (part.rows.rows == 0) continue;
    const Tensor rows = bench.tensor(part.rows, c.strided ? part.rows.columns + 9 : 0);
    device.ops().store_kv(
        {rows,
         {},
         cache,
         {part.positions, part.starts, data.tables, data.blocks_per_sequence_max}});
  }
  const Part now = make_part(data, false);
  const LatentMatrices matrices = load_matrices(data, bench);
  const uint32_t columns = c.heads * c.value;
  const Tensor out = bench.blank(data.query.rows, columns, c.strided ? columns + 3 : 0);
  device.ops().latent_attention(
      {.query = bench.tensor(data.query, c.strided ? data.query.columns + 12 : 0),
       .cache = cache,
       .layout = {now.positions, now.starts, data.tables, data.blocks_per_sequence_max},
       .keys = matrices.keys,
       .values = matrices.values,
       .heads = c.heads,
       .scale = score_scale(c),
       .out = out});
  return bench.finish(out);
}

// One token's one head in the expanded form: keys and values are made, then attended to.
void expect_head(const LatentData& data, size_t s, uint32_t position, uint32_t head,
                 std::span<const float> query, OpExpectation& expected) {
  const LatentCase& c = data.c;
  const double scale = double{score_scale(c)};
  std::vector<double> weights(position + 1);
  double greatest = -INFINITY, score_size = 0;
  for (uint32_t p = 0; p <= position; ++p) {
    double score = 0, squares = 0;
    for (uint32_t r = 0; r < c.nope; ++r) {
      double key = 0;
      for (uint32_t i = 0; i < c.latent; ++i) {
        const double term = double{data.key(head, r, i)} * double{data.cached(s, p, i)};
        key += term;
        squares += term * term * double{query[r]} * double{query[r]};
      }
      score += double{query[r]} * key;
    }
    for (uint32_t i = 0; i < c.rope; ++i) {
      const double term = double{query[c.nope + i]} * double{data.cached(s, p, c.latent + i)};
      score += term;
      squares += term * term;
    }
    weights[p] = scale * score;
    greatest = std::max(greatest, weights[p]);
    score_size = std::max(score_size, scale * std::sqrt(squares));
  }
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - greatest);
  for (uint32_t r = 0; r < c.value; ++r) {
    double sum = 0, size = 0;
    for (uint32_t p = 0; p <= position; ++p) {
      double value = 0, squares = 0;
      for (uint32_t i = 0; i < c.latent; ++i) {
        const double term = double{data.value(head, r, i)} * double{data.cached(s, p, i)};
        value += term;
        squares += term * term;
      }
      sum += weights[p] / total * value;
      size = std::max(size, std::sqrt(squares));
    }
    expected.values.push_back(sum);
    expected.scales.push_back(size * (1 + score_size));
  }
}

OpExpectation expect_latent(const LatentData& data) {
  OpExpectation expected;
  size_t token = 0;
  const size_t width = data.c.nope + data.c.rope;
  for (size_t s = 0; s < data.c.sequences.size(); ++s) {
    for (uint32_t i = 0; i < data.c.sequences[s].now; ++i, ++token) {
      for (uint32_t head = 0; head < data.c.heads; ++head) {
        expect_head(data, s, data.c.sequences[s].past + i, head,
                    data.query.row(token).subspan(head * width, width), expected);
      }
    }
  }
  return expected;
}

std::string name_of(const LatentCase& c) {
  const char* form = c.form == Form::kFused ? "fused" : c.form == Form::kFlat ? "flat" : "stacks";
  std::string name = fmt::format(
      "{} cache, {} {} {}, {} heads, {} + {} to {}, latent {}, blocks of {}, sequences",
      quant_format(c.cache).name, quant_format(c.keys).name, quant_format(c.values).name, form,
      c.heads, c.nope, c.rope, c.value, c.latent, c.block_tokens);
  for (const Span& sequence : c.sequences) {
    name += fmt::format(" {}+{}", sequence.past, sequence.now);
  }
  if (c.query_magnitude != 1) name += fmt::format(", queries of {}", c.query_magnitude);
  if (c.scale_block) name += fmt::format(", scales of {}", c.scale_block);
  if (c.strided) name += ", strided";
  return name;
}

std::vector<LatentCase> list_cases() {
  const std::vector<Span> some = {{9, 1}, {0, 5}, {33, 2}};
  std::vector<LatentCase> list;
  for (const QuantType cache :
       {QuantType::kBF16, QuantType::kF16, QuantType::kF32, QuantType::kQ8_0, QuantType::kQ4_0}) {
    for (const Form form : {Form::kFused, Form::kStacks, Form::kFlat}) {
      LatentCase c{.cache = cache,
                   .form = form,
                   .heads = 3,
                   .latent = 33,
                   .nope = 12,
                   .rope = 4,
                   .value = 9,
                   .sequences = {{0, 1}}};
      list.push_back(c);
      c.sequences = some;
      list.push_back(c);
      c.strided = true;
      list.push_back(c);
      c.query_magnitude = 30;
      c.block_tokens = 5;
      list.push_back(c);
    }
  }
  for (const QuantFormat& format : quant_formats()) {
    const uint32_t block = format.block_values == 1 ? 20u : format.block_values;
    LatentCase c{.keys = format.type,
                 .values = format.type,
                 .heads = 2,
                 .latent = 2 * block,
                 .nope = block,
                 .rope = 6,
                 .value = 24,
                 .sequences = some};
    list.push_back(c);
    c.form = Form::kStacks;
    list.push_back(c);
    c.values = QuantType::kF16;
    c.form = Form::kFlat;
    list.push_back(c);
  }
  for (const uint32_t scale_block : {128u, 16u}) {
    LatentCase c{.keys = QuantType::kF8_E4M3,
                 .values = QuantType::kF8_E4M3,
                 .heads = 5,
                 .latent = 130,
                 .nope = 30,
                 .rope = 8,
                 .value = 23,
                 .sequences = some,
                 .scale_block = scale_block};
    list.push_back(c);
    c.form = Form::kStacks;
    list.push_back(c);
  }
  // The published widths, and lengths on both sides of where a device may turn to the expanded
  // form.
  LatentCase wide{.keys = QuantType::kBF16,
                  .values = QuantType::kBF16,
                  .heads = 4,
                  .latent = 512,
                  .nope = 128,
                  .rope = 64,
                  .value = 128,
                  .sequences = {{70, 1}}};
  list.push_back(wide);
  wide.sequences = {{0, 40}};
  list.push_back(wide);
  LatentCase lengthy{.keys = QuantType::kF16,
                     .values = QuantType::kF16,
                     .heads = 2,
                     .latent = 40,
                     .nope = 16,
                     .rope = 8,
                     .value = 20,
                     .sequences = {{1200, 3}, {0, 150}, {4, 0}, {700, 1}}};
  list.push_back(lengthy);
  lengthy.form = Form::kStacks;
  list.push_back(lengthy);
  lengthy.heads = 1;
  lengthy.nope = 8;
  lengthy.latent = 24;
  lengthy.sequences = {{450, 130}, {20, 1}};
  lengthy.strided = true;
  list.push_back(lengthy);
  lengthy.cache = QuantType::kQ8_0;
  lengthy.form = Form::kFused;
  list.push_back(lengthy);
  list.push_back({.heads = 1, .latent = 1, .nope = 1, .rope = 2, .value = 1, .sequences = some});
  list.push_back({.heads = 7, .latent = 5, .nope = 3, .rope = 2, .value = 17, .sequences = some});
  return list;
}

}  // namespace

std::vector<OpCase> latent_cases() {
  std::vector<OpCase> cases;
  Random random(51);
  for (const LatentCase& c : list_cases()) {
    const auto data = std::make_shared<const LatentData>(make_data(c, random));
    const auto is_float = [](QuantType type) { return quant_format(type).block_values == 1; };
    uint32_t tokens = 0;
    for (const Span& sequence : c.sequences) tokens += sequence.now;
    cases.push_back({"latent_attention", name_of(c),
                     is_float(c.keys) && is_float(c.values) ? "latent float"
                     : tokens <= kShortStepTokens           ? "latent quantized"
                                                            : "latent quantized, many",
                     [data](Device& device) { return run_latent(*data, device); },
                     [data] { return expect_latent(*data); }});
  }
  return cases;
}

}  // namespace hadal
