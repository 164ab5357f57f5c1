#include "quant/format.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "quant/blocks.h"
#include "quant/decode.h"

namespace hadal {
namespace {

template <typename Block>
constexpr QuantFormat row(QuantType type, std::string_view name, uint16_t block_values,
                          void (*decode)(const void*, float*, size_t)) {
  return {type, name, block_values, sizeof(Block), decode};
}

// The one table.
constexpr std::array kFormats = {
    row<float>(QuantType::kF32, "f32", 1, decode_f32),
    row<uint16_t>(QuantType::kF16, "f16", 1, decode_f16),
    row<uint16_t>(QuantType::kBF16, "bf16", 1, decode_bf16),
    row<uint8_t>(QuantType::kF8_E4M3, "f8_e4m3", 1, decode_f8_e4m3),
    row<BlockQ4_0>(QuantType::kQ4_0, "q4_0", kSmallBlockValues, decode_q4_0),
    row<BlockQ4_1>(QuantType::kQ4_1, "q4_1", kSmallBlockValues, decode_q4_1),
    row<BlockQ5_0>(QuantType::kQ5_0, "q5_0", kSmallBlockValues, decode_q5_0),
    row<BlockQ5_1>(QuantType::kQ5_1, "q5_1", kSmallBlockValues, decode_q5_1),
    row<BlockQ8_0>(QuantType::kQ8_0, "q8_0", kSmallBlockValues, decode_q8_0),
    row<BlockQ2_K>(QuantType::kQ2_K, "q2_k", kSuperBlockValues, decode_q2_k),
    row<BlockQ3_K>(QuantType::kQ3_K, "q3_k", kSuperBlockValues, decode_q3_k),
    row<BlockQ4_K>(QuantType::kQ4_K, "q4_k", kSuperBlockValues, decode_q4_k),
    row<BlockQ5_K>(QuantType::kQ5_K, "q5_k", kSuperBlockValues, decode_q5_k),
    row<BlockQ6_K>(QuantType::kQ6_K, "q6_k", kSuperBlockValues, decode_q6_k),
    row<BlockIQ1_S>(QuantType::kIQ1_S, "iq1_s", kSuperBlockValues, decode_iq1_s),
    row<BlockIQ1_M>(QuantType::kIQ1_M, "iq1_m", kSuperBlockValues, decode_iq1_m),
    row<BlockIQ2_XXS>(QuantType::kIQ2_XXS, "iq2_xxs", kSuperBlockValues, decode_iq2_xxs),
    row<BlockIQ2_XS>(QuantType::kIQ2_XS, "iq2_xs", kSuperBlockValues, decode_iq2_xs),
    row<BlockIQ2_S>(QuantType::kIQ2_S, "iq2_s", kSuperBlockValues, decode_iq2_s),
    row<BlockIQ3_XXS>(QuantType::kIQ3_XXS, "iq3_xxs", kSuperBlockValues, decode_iq3_xxs),
    row<BlockIQ3_S>(QuantType::kIQ3_S, "iq3_s", kSuperBlockValues, decode_iq3_s),
    row<BlockIQ4_NL>(QuantType::kIQ4_NL, "iq4_nl", kSmallBlockValues, decode_iq4_nl),
    row<BlockIQ4_XS>(QuantType::kIQ4_XS, "iq4_xs", kSuperBlockValues, decode_iq4_xs),
    row<BlockMXFP4>(QuantType::kMXFP4, "mxfp4", kSmallBlockValues, decode_mxfp4),
};

// Of tensors alone.
constexpr QuantFormat kWholeNumbers = row<int32_t>(QuantType::kI32, "i32", 1, nullptr);

const QuantFormat* find_type(uint32_t type) {
  const auto* const found = std::find_if(
      kFormats.begin(), kFormats.end(),
      [&](const QuantFormat& format) { return static_cast<uint32_t>(format.type) == type; });
  return found == kFormats.end() ? nullptr : found;
}

}  // namespace

std::span<const QuantFormat> quant_formats() {
  return kFormats;
}

const QuantFormat& quant_format(QuantType type) {
  if (type == QuantType::kI32) return kWholeNumbers;
  const QuantFormat* format = find_type(static_cast<uint32_t>(type));
  CHECK(format != nullptr);
  return *format;
}

const QuantFormat* find_quant_format(std::string_view name) {
  const auto* const found =
      std::find_if(kFormats.begin(), kFormats.end(),
                   [&](const QuantFormat& format) { return format.name == name; });
  return found == kFormats.end() ? nullptr : found;
}

const QuantFormat* find_gguf_format(uint32_t gguf_type) {
  constexpr uint32_t kOurOwn = static_cast<uint32_t>(QuantType::kF8_E4M3);  // no GGUF number
  return gguf_type == kOurOwn ? nullptr : find_type(gguf_type);
}

std::string_view gguf_type_name(uint32_t gguf_type) {
  if (const QuantFormat* format = find_gguf_format(gguf_type)) return format->name;
  switch (gguf_type) {
    case 4:
      return "q4_2";  // 4, 5, 31-33, 36-38: given up by their makers
    case 5:
      return "q4_3";
    case 9:
      return "q8_1";
    case 15:
      return "q8_k";
    case 24:
      return "i8";
    case 25:
      return "i16";
    case 26:
      return "i32";
    case 27:
      return "i64";
    case 28:
      return "f64";
    case 31:
      return "q4_0_4_4";
    case 32:
      return "q4_0_4_8";
    case 33:
      return "q4_0_8_8";
    case 34:
      return "tq1_0";
    case 35:
      return "tq2_0";
    case 36:
      return "iq4_nl_4_4";
    case 37:
      return "iq4_nl_4_8";
    case 38:
      return "iq4_nl_8_8";
    case 40:
      return "nvfp4";
    default:
      return "";
  }
}

size_t row_bytes(QuantType type, size_t columns) {
  const QuantFormat& format = quant_format(type);
  CHECK(columns % format.block_values == 0);
  return columns / format.block_values * format.block_bytes;
}

}  // namespace hadal
