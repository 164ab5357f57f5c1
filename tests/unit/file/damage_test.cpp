// Thousands of random damages of sound files: each ends in a result, soon and in bounded memory,
// and what it describes lies inside the file. (The sanitizer builds hold the same loop to more.)
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <random>
#include <span>
#include <sstream>
#include <string>

#include "file/gguf.h"
#include "file/json_config.h"
#include "file/safetensors.h"
#include "support/gguf_builder.h"
#include "support/safetensors_builder.h"

namespace hadal {
namespace {

using Random = std::mt19937_64;

size_t below(Random& random, size_t limit) {
  return limit == 0 ? 0 : random() % limit;
}

// Damage falls mostly on the first bytes: behind the header nothing can go wrong.
void damage(Random& random, std::string& bytes, size_t header_bytes) {
  const size_t reach = random() % 8 == 0 ? bytes.size() : std::min(bytes.size(), header_bytes);
  if (reach == 0) return;
  const size_t at = below(random, reach);
  switch (random() % 7) {
    case 0:  // one bit
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
      break;
    case 1:  // one byte
      bytes[at] = static_cast<char>(random());
      break;
    case 2: {  // a word that looks like a count, a length or an offset
      static constexpr uint64_t kWords[] = {0,
                                            1,
                                            0x7fffffff,
                                            0x80000000,
                                            0xffffffff,
                                            uint64_t{1} << 32,
                                            uint64_t{1} << 62,
                                            UINT64_MAX,
                                            UINT64_MAX - 31};
      const uint64_t word = kWords[random() % std::size(kWords)];
      for (size_t i = 0; i < 8 && at + i < bytes.size(); ++i)
        bytes[at + i] = static_cast<char>(word >> (8 * i));
      break;
    }
    case 3:  // cut
      bytes.resize(at);
      break;
    case 4:  // bytes taken out
      bytes.erase(at, 1 + below(random, 64));
      break;
    case 5: {  // a piece of the file in another place
      const std::string piece = bytes.substr(below(random, reach), 1 + below(random, 64));
      bytes.insert(at, piece);
      break;
    }
    case 6: {  // a run of one byte
      const size_t length = std::min(bytes.size() - at, 1 + below(random, 32));
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length,
                  static_cast<char>(random()));
      break;
    }
  }
}

void expect_inside(const TensorIndex& tensors, const std::string& bytes) {
  for (const auto& [name, tensor] : tensors.tensors()) {
    if (tensor.data.empty()) continue;
    const char* begin = reinterpret_cast<const char*>(tensor.data.data());
    ASSERT_GE(begin, bytes.data()) << name;
    ASSERT_LE(begin + tensor.data.size(), bytes.data() + bytes.size()) << name;
    ASSERT_EQ(tensor.data.size(),
              size_t{tensor.experts} * tensor.rows * row_bytes(tensor.type, tensor.columns))
        << name;
  }
}

// read returns whether the bytes were accepted. Returns how many were.
size_t damage_many(const std::string& sound, size_t header_bytes, int rounds,
                   const std::function<bool(const std::string&)>& read) {
  EXPECT_TRUE(read(sound));
  Random random(20250101);
  size_t accepted = 0;
  double slowest_ms = 0;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = sound;
    const size_t damages = 1 + random() % 4;
    for (size_t i = 0; i < damages; ++i) damage(random, bytes, header_bytes);
    const auto start = std::chrono::steady_clock::now();
    accepted += read(bytes) ? 1 : 0;
    slowest_ms =
        std::max(slowest_ms,
                 std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
                     .count());
    if (::testing::Test::HasFatalFailure()) break;
  }
  EXPECT_LT(slowest_ms, 2000);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 3L << 20) << "kB at the peak";
  return accepted;
}

size_t damage_gguf(const std::string& sound, size_t header_bytes, int rounds) {
  return damage_many(sound, header_bytes, rounds, [](const std::string& bytes) {
    const std::span<const std::byte> span = std::as_bytes(std::span(bytes));
    const auto header = read_gguf(span, "model.gguf", ReadWhat::kHeaderOnly);
    if (header) expect_inside(header->tensors, bytes);
    const auto everything = read_gguf(span, "model.gguf", ReadWhat::kEverything);
    if (!everything) {
      EXPECT_TRUE(everything.error().message.starts_with("model.gguf: "));
      return false;
    }
    EXPECT_TRUE(header) << "what is whole has a header";
    expect_inside(everything->tensors, bytes);
    for (const auto& [name, tensor] : everything->tensors.tensors())
      EXPECT_FALSE(tensor.data.empty()) << name;
    return true;
  });
}

TEST(Damage, SmallGguf) {
  GgufBuilder file;
  file.set_string("general.architecture", "llama")
      .set_u32("general.alignment", 32)
      .set_strings("tokenizer.ggml.tokens", {"<s>", "a", "你好", ""})
      .set_f32s("tokenizer.ggml.scores", {0, -1, -2, -3})
      .set_i32s("tokenizer.ggml.token_type", {3, 1, 1, 1})
      .set_bool("tokenizer.ggml.add_bos_token", true)
      .add_tensor("token_embd.weight", {32, 4}, QuantType::kQ8_0)
      .add_tensor("blk.0.attn_q.weight", {256, 2}, QuantType::kQ4_K)
      .add_tensor("blk.0.ffn_up_exps.weight", {32, 2, 3}, QuantType::kMXFP4)
      .add_tensor("output_norm.weight", {32}, QuantType::kF32);
  const size_t accepted = damage_gguf(file.build(), file.header_bytes(), 20000);
  EXPECT_GT(accepted, 100u) << "damage to names and values is not to be seen";
  EXPECT_LT(accepted, 15000u);
}

TEST(Damage, RealGguf) {
  std::ifstream in(std::string(HADAL_TEST_DATA) + "/models/stories260K.gguf", std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  ASSERT_GT(bytes.str().size(), 100000u);
  damage_gguf(bytes.str(), 24000, 1000);
}

TEST(Damage, Safetensors) {
  const std::string sound = SafetensorsBuilder()
                                .add("a", "F32", {2, 4})
                                .add("b", "BF16", {4})
                                .add("c", "F8_E4M3", {2, 2, 8})
                                .build();
  damage_many(sound, sound.size() - 72, 20000, [](const std::string& bytes) {
    const auto contents =
        read_safetensors(std::as_bytes(std::span(bytes)), "m", ReadWhat::kHeaderOnly);
    if (contents) expect_inside(contents->tensors, bytes);
    return contents.has_value();
  });
}

TEST(Damage, Config) {
  const std::string sound =
      R"({"model_type": "qwen3", "rope_scaling": {"type": "yarn", "factor": 4.0}, "eos_token_id": [1, 2], "a": [null, [{}], "x"]})";
  damage_many(sound, sound.size(), 20000, [](const std::string& bytes) {
    Metadata metadata("config.json", Dialect::kHuggingFace);
    std::vector<std::unique_ptr<std::string>> owned;
    std::vector<std::string> warnings;
    return add_json_config(bytes, "config.json", "", metadata, owned, warnings).has_value();
  });
}

}  // namespace
}  // namespace hadal
