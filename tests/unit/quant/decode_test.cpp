// Each reference decode against an independent implementation (tests/data/quant/README.md): random
// bits, edge patterns and blocks of real models, to the last bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "quant/format.h"
#include "quant/grids.h"

namespace hadal {
namespace {

struct Vectors {
  uint32_t blocks = 0, block_bytes = 0, block_values = 0;
  std::vector<char> data;
  std::vector<float> values;
};

Vectors read_vectors(std::string_view name) {
  Vectors vectors;
  std::ifstream file(std::string(HADAL_TEST_DATA) + "/quant/" + std::string(name) + ".bin",
                     std::ios::binary);
  uint32_t header[3] = {};
  if (!file.read(reinterpret_cast<char*>(header), sizeof(header))) return vectors;
  vectors.block_bytes = header[1];
  vectors.block_values = header[2];
  vectors.data.resize(size_t{header[0]} * header[1]);
  vectors.values.resize(size_t{header[0]} * header[2]);
  file.read(vectors.data.data(), static_cast<std::streamsize>(vectors.data.size()));
  file.read(reinterpret_cast<char*>(vectors.values.data()),
            static_cast<std::streamsize>(vectors.values.size() * sizeof(float)));
  if (file && file.peek() == std::ifstream::traits_type::eof()) vectors.blocks = header[0];
  return vectors;
}

// The same bits, or both no number: which of the NaNs a conversion makes is nobody's promise.
::testing::AssertionResult same(float expected, float found) {
  if (std::isnan(expected) && std::isnan(found)) return ::testing::AssertionSuccess();
  if (std::bit_cast<uint32_t>(expected) == std::bit_cast<uint32_t>(found))
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "expected " << expected << ", found " << found;
}

TEST(DecodeF32, IsACopy) {
  const float values[] = {0.0f, -0.0f, 1.5f, 1e-45f, -3e38f, INFINITY};
  float decoded[std::size(values)];
  quant_format(QuantType::kF32).decode(values, decoded, std::size(values));
  EXPECT_EQ(std::memcmp(values, decoded, sizeof(values)), 0);
}

TEST(DecodeMxfp4, AScaleThatIsNoNumberMakesNoNumbers) {
  unsigned char block[17] = {0xff};
  float decoded[32];
  quant_format(QuantType::kMXFP4).decode(block, decoded, 32);
  for (const float value : decoded) EXPECT_TRUE(std::isnan(value));
}

class Decode : public ::testing::TestWithParam<QuantFormat> {};

class DecodeVectors : public Decode {};

TEST_P(DecodeVectors, EqualsTheIndependentImplementation) {
  const QuantFormat& format = GetParam();
  const Vectors vectors = read_vectors(format.name);
  ASSERT_GT(vectors.blocks, 0u) << "no complete tests/data/quant/" << format.name << ".bin";
  ASSERT_EQ(vectors.block_bytes, format.block_bytes);
  ASSERT_EQ(vectors.block_values, format.block_values);

  std::vector<float> decoded(vectors.values.size());
  format.decode(vectors.data.data(), decoded.data(), decoded.size());
  for (size_t i = 0; i < decoded.size(); ++i) {
    ASSERT_TRUE(same(vectors.values[i], decoded[i]))
        << "block " << i / format.block_values << ", value " << i % format.block_values;
  }
}

TEST_P(Decode, TakesBlocksAtAnyAlignment) {
  const QuantFormat& format = GetParam();
  const size_t bytes = size_t{format.block_bytes} * 3, count = size_t{format.block_values} * 3;
  std::vector<unsigned char> aligned(bytes), shifted(bytes + 1);
  for (size_t i = 0; i < bytes; ++i) aligned[i] = static_cast<unsigned char>(i * 37 + 11);
  std::memcpy(shifted.data() + 1, aligned.data(), bytes);
  std::vector<float> expected(count), found(count);
  format.decode(aligned.data(), expected.data(), count);
  format.decode(shifted.data() + 1, found.data(), count);
  for (size_t i = 0; i < count; ++i) ASSERT_TRUE(same(expected[i], found[i])) << i;
}

TEST_P(Decode, WritesOnlyItsValues) {
  const QuantFormat& format = GetParam();
  const std::vector<unsigned char> blocks(size_t{format.block_bytes} * 2, 0x5a);
  std::vector<float> values(size_t{format.block_values} * 2 + 1, 42.0f);
  format.decode(blocks.data(), values.data(), values.size() - 1);
  EXPECT_EQ(values.back(), 42.0f);
  format.decode(nullptr, values.data(), 0);  // an empty row
}

// The vectors' random blocks name some of a grid's entries; this holds all. The numbers are zlib's
// crc32 of the packed entries (little endian) of PyPI gguf 0.19's grids.
uint32_t crc32_of(std::span<const uint16_t> grid) {
  uint32_t crc = ~0u;
  const auto add = [&](uint32_t byte) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0u);
  };
  for (const uint16_t entry : grid) {
    add(entry & 255u);
    add(entry >> 8);
  }
  return ~crc;
}

TEST(Grids, AreThoseOfTheIndependentImplementation) {
  EXPECT_EQ(crc32_of(kIq2XxsGrid), 0xd01c53f2u);
  EXPECT_EQ(crc32_of(kIq2XsGrid), 0x622e679au);
  EXPECT_EQ(crc32_of(kIq2SGrid), 0xf8ad4e5eu);
  EXPECT_EQ(crc32_of(kIq3XxsGrid), 0xf68a6a07u);
  EXPECT_EQ(crc32_of(kIq3SGrid), 0xa43c1089u);
  EXPECT_EQ(crc32_of(kIq1Grid), 0xa0911588u);
}

std::string format_name(const ::testing::TestParamInfo<QuantFormat>& test) {
  return std::string(test.param.name);
}

std::vector<QuantFormat> formats_but_f32() {
  std::vector<QuantFormat> formats(quant_formats().begin(), quant_formats().end());
  std::erase_if(formats, [](const QuantFormat& format) { return format.type == QuantType::kF32; });
  return formats;
}

INSTANTIATE_TEST_SUITE_P(AllFormats, Decode,
                         ::testing::ValuesIn(quant_formats().begin(), quant_formats().end()),
                         format_name);
INSTANTIATE_TEST_SUITE_P(AllFormats, DecodeVectors, ::testing::ValuesIn(formats_but_f32()),
                         format_name);

}  // namespace

void PrintTo(const QuantFormat& format, std::ostream* out) {
  *out << format.name;
}

}  // namespace hadal
