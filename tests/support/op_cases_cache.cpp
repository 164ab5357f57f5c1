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

struct CacheCase {
  QuantType key_type = QuantType::kF32, value_type = QuantType::kF32;  // of the cache
  uint32_t heads = 1, kv_heads = 1, key_width = 1, value_width = 1;
  uint32_t block_tokens = 32;
  std::vector<Span> sequences;
  uint32_t shared_blocks = 0;  // whose first blocks are those of sequence 0, as are their contents
  float query_magnitude = 1, value_magnitude = 1;
  bool strided = false;  // query, keys and values lie side by side, as one projection writes them
};

// The data of a case: the whole of every sequence, and where its blocks lie.
struct CacheData {
  CacheCase c;
  std::vector<Matrix> keys, values;            // by sequence: [past + now, kv_heads * width]
  std::vector<Matrix> kept_keys, kept_values;  // what the cache makes of them
  Matrix query;                                // [tokens of this batch, heads * key_width]
  std::vector<uint32_t> tables;
  uint32_t blocks = 0, blocks_per_sequence_max = 0;
};

CacheData make_data(const CacheCase& c, Random& random) {
  CacheData data{.c = c};
  uint32_t tokens = 0;
  for (const Span& sequence : c.sequences) {
    tokens += sequence.now;
    const uint32_t length = sequence.past + sequence.now;
    data.keys.push_back(random_matrix(random, length, c.kv_heads * c.key_width));
    data.values.push_back(
        random_matrix(random, length, c.kv_heads * c.value_width, c.value_magnitude));
    data.blocks_per_sequence_max = std::max(
        data.blocks_per_sequence_max, static_cast<uint32_t>(divide_up(length, c.block_tokens)));
  }
  data.query = random_matrix(random, tokens, c.heads * c.key_width, c.query_magnitude);
  const uint32_t sequences = static_cast<uint32_t>(c.sequences.size());
  // Scattered, with blocks between that belong to nobody; entries behind a sequence's end are wild.
  data.blocks = sequences * data.blocks_per_sequence_max + 3;
  std::vector<uint32_t> free(data.blocks);
  std::iota(free.begin(), free.end(), 0);
  std::shuffle(free.begin(), free.end(), random);
  data.tables.assign(size_t{sequences} * data.blocks_per_sequence_max, 0xffffffffu);
  for (uint32_t s = 0; s < sequences; ++s) {
    const uint32_t length = c.sequences[s].past + c.sequences[s].now;
    uint32_t* table = data.tables.data() + size_t{s} * data.blocks_per_sequence_max;
    for (uint32_t block = 0; block < divide_up(length, c.block_tokens); ++block) {
      const bool shared = s > 0 && block < c.shared_blocks;
      table[block] = shared ? data.tables[block] : free.back();
      if (!shared) free.pop_back();
    }
    if (s > 0) {
      const size_t same = size_t{c.shared_blocks} * c.block_tokens;
      CHECK(same <= c.sequences[s].past && same <= c.sequences[0].past);
      std::copy_n(data.keys[0].values.begin(), same * data.keys[0].columns,
                  data.keys[s].values.begin());
      std::copy_n(data.values[0].values.begin(), same * data.values[0].columns,
                  data.values[s].values.begin());
    }
  }
  for (size_t s = 0; s < data.keys.size(); ++s) {
    data.kept_keys.push_back(kept_by_cache(c.key_type, data.keys[s]));
    data.kept_values.push_back(kept_by_cache(c.value_type, data.values[s]));
  }
  return data;
}

// The part of every sequence that is past, or of this batch.
struct Part {
  Matrix keys, values;
  std::vector<int32_t> positions;
  std::vector<uint32_t> starts = {0};
};

Part make_part(const CacheData& data, bool past) {
  Part part{{0, data.keys[0].columns, {}}, {0, data.values[0].columns, {}}, {}};
  for (size_t s = 0; s < data.keys.size(); ++s) {
    const Span& sequence = data.c.sequences[s];
    const uint32_t first = past ? 0 : sequence.past;
    const uint32_t count = past ? sequence.past : sequence.now;
    const auto append = [&](Matrix& to, const Matrix& from) {
      to.values.insert(to.values.end(), from.values.begin() + size_t{first} * from.columns,
                       from.values.begin() + size_t{first + count} * from.columns);
      to.rows += count;
    };
    append(part.keys, data.keys[s]);
    append(part.values, data.values[s]);
    for (uint32_t i = 0; i < count; ++i) {
      part.positions.push_back(static_cast<int32_t>(first + i));
    }
    part.starts.push_back(part.starts.back() + count);
  }
  return part;
}

SequenceLayout layout_of(const CacheData& data, const Part& part) {
  return {part.positions, part.starts, data.tables, data.blocks_per_sequence_max};
}

PagedKv fill_cache(const CacheData& data, Workbench& bench, Device& device) {
  const uint32_t rows = data.blocks * data.c.block_tokens;
  const auto part = [&](QuantType type, uint32_t columns) {
    return bench.blank_of(type, rows, cache_columns(type, columns));
  };
  const PagedKv cache{part(data.c.key_type, data.keys[0].columns),
                      part(data.c.value_type, data.values[0].columns), data.c.block_tokens};
  for (const bool past : {true, false}) {
    const Part part = make_part(data, past);
    if (part.keys.rows == 0) continue;
    const uint32_t gap = data.c.strided ? 24 : 0;
    device.ops().store_kv({bench.tensor(part.keys, gap ? part.keys.columns + gap : 0),
                           bench.tensor(part.values, gap ? part.values.columns + gap : 0), cache,
                           layout_of(data, part)});
  }
  return cache;
}

// The cache itself. Rows nobody wrote still hold NaN, which is shown as 12345.
Result<std::vector<float>> run_store(const CacheData& data, Device& device) {
  Workbench bench(device);
  const PagedKv cache = fill_cache(data, bench, device);
  HADAL_TRY(auto keys, bench.finish(cache.keys));
  HADAL_TRY(const auto values, bench.finish(cache.values));
  keys.insert(keys.end(), values.begin(), values.end());
  for (float& value : keys) {
    if (std::isnan(value)) value = 12345;
  }
  return keys;
}

OpExpectation expect_store(const CacheData& data) {
  OpExpectation expected;
  const auto add = [&](QuantType type, const std::vector<Matrix>& parts) {
    const uint32_t columns = cache_columns(type, parts[0].columns);
    std::vector<double> cache(size_t{data.blocks} * data.c.block_tokens * columns, 12345);
    for (size_t s = 0; s < parts.size(); ++s) {
      for (uint32_t p = 0; p < parts[s].rows; ++p) {
        const uint32_t block =
            data.tables[s * data.blocks_per_sequence_max + p / data.c.block_tokens];
        const size_t row = size_t{block} * data.c.block_tokens + p % data.c.block_tokens;
        for (uint32_t i = 0; i < columns; ++i) {
          cache[row * columns + i] = i < parts[s].columns ? double{parts[s].at(p, i)} : 0;
        }
      }
    }
    expected.values.insert(expected.values.end(), cache.begin(), cache.end());
  };
  add(data.c.key_type, data.kept_keys);
  add(data.c.value_type, data.kept_values);
  expected.scales.assign(expected.values.size(), 0.0);
  return expected;
}

float score_scale(const CacheCase& c) {
  return 1.0f / std::sqrt(static_cast<float>(c.key_width));
}

Result<std::vector<float>> run_attention(const CacheData& data, Device& device) {
  const CacheCase& c = data.c;
  Workbench bench(device);
  const PagedKv cache = fill_cache(data, bench, device);
  const Part now = make_part(data, false);
  const Tensor query = bench.tensor(data.query, c.strided ? data.query.columns + 40 : 0);
  const uint32_t columns = c.heads * c.value_width;
  const Tensor out = bench.blank(data.query.rows, columns, c.strided ? columns + 5 : 0);
  device.ops().attention(
      {query, cache, layout_of(data, now), c.heads, c.kv_heads, score_scale(c), out});
  return bench.finish(out);
}

// One token's one head, straight from the definition.
void expect_head(const CacheData& data, size_t s, uint32_t position, uint32_t head,
                 std::span<const float> query, OpExpectation& expected) {
  const CacheCase& c = data.c;
  const uint32_t kv_head = head / (c.heads / c.kv_heads);
  const double scale = double{score_scale(c)};
  std::vector<double> weights(position + 1);
  double greatest = -INFINITY, query_length = 0, key_length = 0;
  for (uint32_t i = 0; i < c.key_width; ++i) query_length += double{query[i]} * double{query[i]};
  for (uint32_t p = 0; p <= position; ++p) {
    double dot = 0, length = 0;
    for (uint32_t i = 0; i < c.key_width; ++i) {
      const double key = double{data.kept_keys[s].at(p, kv_head * c.key_width + i)};
      dot += double{query[i]} * key;
      length += key * key;
    }
    weights[p] = scale * dot;
    greatest = std::max(greatest, weights[p]);
    key_length = std::max(key_length, length);
  }
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - greatest);
  for (uint32_t i = 0; i < c.value_width; ++i) {
    double sum = 0, value_greatest = 0;
    for (uint32_t p = 0; p <= position; ++p) {
      const double value = double{data.kept_values[s].at(p, kv_head * c.value_width + i)};
      sum += weights[p] / total * value;
      value_greatest = std::max(value_greatest, std::abs(value));
    }
    expected.values.push_back(sum);
    expected.scales.push_back(value_greatest * (1 + scale * std::sqrt(query_length * key_length)));
  }
}

OpExpectation expect_attention(const CacheData& data) {
  OpExpectation expected;
  size_t token = 0;
  for (size_t s = 0; s < data.c.sequences.size(); ++s) {
    for (uint32_t i = 0; i < data.c.sequences[s].now; ++i, ++token) {
      for (uint32_t head = 0; head < data.c.heads; ++head) {
        expect_head(data, s, data.c.sequences[s].past + i, head,
                    data.query.row(token).subspan(size_t{head} * data.c.key_width), expected);
      }
    }
  }
  return expected;
}

std::string name_of(const CacheCase& c) {
  std::string name = fmt::format("{} {}, {} heads over {}, widths {} {}, blocks of {}, sequences",
                                 quant_format(c.key_type).name, quant_format(c.value_type).name,
                                 c.heads, c.kv_heads, c.key_width, c.value_width, c.block_tokens);
  for (const Span& sequence : c.sequences) {
    name += fmt::format(" {}+{}", sequence.past, sequence.now);
  }
  if (c.shared_blocks) name += fmt::format(", {} shared", c.shared_blocks);
  if (c.query_magnitude != 1) name += fmt::format(", queries of {}", c.query_magnitude);
  if (c.value_magnitude != 1) name += fmt::format(", values of {}", c.value_magnitude);
  if (c.strided) name += ", strided";
  return name;
}

std::vector<CacheCase> list_cache_cases() {
  std::vector<CacheCase> list;
  struct Heads {
    uint32_t heads, kv_heads;
  };
  struct Types {
    QuantType keys, values;
  };
  using enum QuantType;
  for (const Types types :
       {Types{kF32, kF32}, Types{kF16, kF16}, Types{kBF16, kBF16}, Types{kQ8_0, kQ8_0},
        Types{kQ4_0, kQ4_0}, Types{kQ8_0, kQ4_0}, Types{kF16, kQ8_0}, Types{kQ4_0, kBF16}}) {
    const bool blocks = std::max(quant_format(types.keys).block_values,
                                 quant_format(types.values).block_values) > 1;
    for (const Heads heads : {Heads{2, 2}, Heads{9, 3}, Heads{8, 1}, Heads{1, 1}}) {
      for (const uint32_t width : {20u, 64u, 128u}) {
        if (blocks && heads.kv_heads > 1 && width % 32 != 0) continue;
        CacheCase c{.key_type = types.keys,
                    .value_type = types.values,
                    .heads = heads.heads,
                    .kv_heads = heads.kv_heads,
                    .key_width = width,
                    .value_width = width};
        c.sequences = {{0, 1}};
        list.push_back(c);
        c.sequences = {{100, 1}};
        list.push_back(c);
        c.sequences = {{0, 70}};
        list.push_back(c);
        c.sequences = {{37, 1}, {0, 33}, {64, 5}, {31, 1}};
        list.push_back(c);
      }
    }
    CacheCase c{.key_type = types.keys,
                .value_type = types.values,
                .heads = 4,
                .kv_heads = 2,
                .key_width = 32,
                .value_width = 32};
    for (const uint32_t block_tokens : {1u, 5u, 16u, 64u}) {
      c.block_tokens = block_tokens;
      c.sequences = {{64, 3}, {63, 2}, {0, 1}};
      list.push_back(c);
    }
    c.block_tokens = 32;
    c.sequences = {{96, 1}, {70, 1}, {64, 9}};
    c.shared_blocks = 2;
    list.push_back(c);
    c.shared_blocks = 0;
    c.sequences = {{500, 20}, {1000, 1}};
    list.push_back(c);
    c.sequences = {{20, 3}, {0, 0}, {5, 2}};  // a sequence that has no token in this batch
    list.push_back(c);
    c.sequences = {{50, 4}, {0, 9}};
    c.query_magnitude = 40;  // scores spread over hundreds: one position takes nearly all
    list.push_back(c);
    c.query_magnitude = 1;
    c.value_magnitude = 3e3f;
    c.strided = true;
    list.push_back(c);
    if (blocks) continue;  // heads are whole ones
    c = {.key_type = types.keys,
         .value_type = types.values,
         .heads = 6,
         .kv_heads = 2,
         .key_width = 48,
         .value_width = 24};
    c.sequences = {{40, 7}, {3, 1}};
    list.push_back(c);
    c.key_width = 7;
    c.value_width = 5;
    list.push_back(c);
  }
  return list;
}

}  // namespace

std::vector<OpCase> cache_cases() {
  std::vector<OpCase> cases;
  Random random(31);
  for (const CacheCase& c : list_cache_cases()) {
    const auto data = std::make_shared<const CacheData>(make_data(c, random));
    cases.push_back({"store_kv", name_of(c), "exact",
                     [data](Device& device) { return run_store(*data, device); },
                     [data] { return expect_store(*data); }});
    cases.push_back({"attention", name_of(c), "attention",
                     [data](Device& device) { return run_attention(*data, device); },
                     [data] { return expect_attention(*data); }});
  }
  return cases;
}

}  // namespace hadal
