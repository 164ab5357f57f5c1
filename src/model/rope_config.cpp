#include "model/rope_config.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "model/decoder_config.h"

namespace hadal {
namespace {

constexpr double kDefaultBase = 10000;  // where a file states none, in both dialects
// Above any real value (the largest met is about 1e9); keeps powers and quotients finite.
constexpr double kLargestNumber = 1e15;

Result<double> bounded(ConfigFields& fields, const std::string& key, double minimum,
                       double otherwise) {
  HADAL_TRY(const double value, fields.number_or(key, minimum, otherwise));
  if (value > kLargestNumber) {
    return fail("{}: {} is {}; hadal takes at most {}", fields.file(), fields.full_key(key), value,
                kLargestNumber);
  }
  return value;
}

Result<double> required(ConfigFields& fields, const std::string& key, double minimum) {
  HADAL_TRY_VOID(fields.number(key, minimum));
  return bounded(fields, key, minimum, minimum);
}

Result<RopeScalingKind> scaling_kind(const ConfigFields& fields, const std::string& key,
                                     std::string_view name) {
  if (name == "none" || name == "default") return RopeScalingKind::kNone;
  if (name == "linear") return RopeScalingKind::kLinear;
  if (name == "llama3") return RopeScalingKind::kLlama3;
  if (name == "yarn") return RopeScalingKind::kYarn;
  return fail(
      "{}: {} is {}, a rope scaling that hadal does not implement (it has "
      "linear, llama3 and yarn)",
      fields.file(), fields.full_key(key), quote(name));
}

// Names of the same numbers in the two dialects; an empty name: that dialect has none.
struct ScalingNames {
  std::string factor, original_context, attention_factor, attn_factor, mscale,
      mscale_all_dimensions, low_frequency_factor, high_frequency_factor, beta_fast, beta_slow,
      truncate;
};

Status read_llama3(ConfigFields& fields, const ScalingNames& names, RopeScaling& scaling) {
  HADAL_TRY(scaling.low_frequency_factor, required(fields, names.low_frequency_factor, 1e-6));
  HADAL_TRY(scaling.high_frequency_factor, required(fields, names.high_frequency_factor, 1e-6));
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    return fail("{}: {} is {}; it must be greater than {}, {}", fields.file(),
                names.high_frequency_factor, scaling.high_frequency_factor,
                names.low_frequency_factor, scaling.low_frequency_factor);
  }
  return {};
}

Status read_yarn(ConfigFields& fields, const ScalingNames& names, RopeScaling& scaling) {
  HADAL_TRY(scaling.beta_fast, bounded(fields, names.beta_fast, 1e-6, 32));
  HADAL_TRY(scaling.beta_slow, bounded(fields, names.beta_slow, 1e-6, 1));
  if (scaling.beta_fast < scaling.beta_slow) {
    return fail("{}: {} is {}; it must be at least {}, {}", fields.file(),
                fields.full_key(names.beta_fast), scaling.beta_fast,
                fields.full_key(names.beta_slow), scaling.beta_slow);
  }
  HADAL_TRY(scaling.attn_factor, bounded(fields, names.attn_factor, 1e-6, 1));
  if (fields.dialect() == Dialect::kGguf) return {};

  HADAL_TRY(scaling.truncate, fields.flag_or(names.truncate, true));
  if (fields.has(names.attention_factor)) {
    HADAL_TRY(scaling.attention_factor, required(fields, names.attention_factor, 1e-6));
  }
  HADAL_TRY(const double mscale, bounded(fields, names.mscale, 0, 0));
  HADAL_TRY(const double all_dimensions, bounded(fields, names.mscale_all_dimensions, 0, 0));
  if (mscale != 0 && all_dimensions != 0) {  // zero means "not given" where these come from
    scaling.mscale = mscale;
    scaling.mscale_all_dimensions = all_dimensions;
  }
  return {};
}

// The numbers that belong to scaling.kind.
Status read_scaling_numbers(ConfigFields& fields, const ScalingNames& names, uint32_t context,
                            RopeScaling& scaling) {
  if (scaling.kind == RopeScalingKind::kNone) return {};
  HADAL_TRY(scaling.factor, required(fields, names.factor, 1));
  if (scaling.kind == RopeScalingKind::kLinear) return {};
  HADAL_TRY(scaling.original_context,
            fields.count_or(names.original_context, kContextMax, context));
  if (scaling.kind == RopeScalingKind::kLlama3) return read_llama3(fields, names, scaling);
  return read_yarn(fields, names, scaling);
}

Result<RopeScaling> read_gguf_scaling(ConfigFields& fields, uint32_t context) {
  const std::string section = "rope.scaling.";
  ScalingNames names = {.factor = section + "factor",
                        .original_context = section + "original_context_length",
                        .attn_factor = section + "attn_factor",
                        .beta_fast = section + "yarn_beta_fast",
                        .beta_slow = section + "yarn_beta_slow"};
  // Files of before 2024 state a linear factor alone.
  if (!fields.has(names.factor) && fields.has("rope.scale_linear")) {
    names.factor = "rope.scale_linear";
  }
  HADAL_TRY(const auto kind_name,
            fields.string_or(section + "type", fields.has(names.factor) ? "linear" : "none"));
  RopeScaling scaling;
  HADAL_TRY(scaling.kind, scaling_kind(fields, section + "type", kind_name));
  if (scaling.kind == RopeScalingKind::kLlama3) {  // a GGUF says this by rope_freqs.weight
    return fail("{}: {} is \"llama3\", which a GGUF states by its tensor rope_freqs.weight instead",
                fields.file(), fields.full_key(section + "type"));
  }
  HADAL_TRY_VOID(read_scaling_numbers(fields, names, context, scaling));
  HADAL_TRY_VOID(
      fields.only({{"rope.scaling.yarn_ext_factor", 1.0}, {"rope.scaling.yarn_attn_factor", 1.0}}));
  if (scaling.kind == RopeScalingKind::kYarn) {
    fields.harmless({"rope.scale_linear"});
  } else {
    HADAL_TRY_VOID(fields.only({{"rope.scaling.attn_factor", 1.0}}));
  }
  fields.harmless({"rope.scaling.finetuned", "rope.scaling.original_context_length",
                   "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"});
  if (scaling.kind == RopeScalingKind::kNone) fields.harmless({"rope.scaling.factor"});
  return scaling;
}

// A field of rope_scaling that we do not read would change the rotation: unlike elsewhere, unknown
// ones are refused.
Status refuse_unknown(const ConfigFields& fields, const std::string& section) {
  constexpr std::array<std::string_view, 16> kRead = {"type",
                                                      "rope_type",
                                                      "rope_theta",
                                                      "partial_rotary_factor",
                                                      "factor",
                                                      "original_max_position_embeddings",
                                                      "low_freq_factor",
                                                      "high_freq_factor",
                                                      "attention_factor",
                                                      "attn_factor",
                                                      "beta_fast",
                                                      "beta_slow",
                                                      "mscale",
                                                      "mscale_all_dim",
                                                      "truncate",
                                                      "finetuned"};
  for (const std::string& key : fields.keys_of(section)) {
    if (std::find(kRead.begin(), kRead.end(), key) == kRead.end()) {
      return fail(
          "{}: {} is not a field of rope scaling that hadal knows; the model would be "
          "computed wrongly without it",
          fields.file(), quote(section + "." + key));
    }
  }
  return {};
}

Result<RopeScaling> read_folder_scaling(ConfigFields& fields, const std::string& section,
                                        uint32_t context) {
  HADAL_TRY_VOID(refuse_unknown(fields, section));
  const auto key = [&](std::string_view name) { return section + "." + std::string(name); };
  const ScalingNames names = {.factor = key("factor"),
                              .original_context = key("original_max_position_embeddings"),
                              .attention_factor = key("attention_factor"),
                              .attn_factor = key("attn_factor"),
                              .mscale = key("mscale"),
                              .mscale_all_dimensions = key("mscale_all_dim"),
                              .low_frequency_factor = key("low_freq_factor"),
                              .high_frequency_factor = key("high_freq_factor"),
                              .beta_fast = key("beta_fast"),
                              .beta_slow = key("beta_slow"),
                              .truncate = key("truncate")};
  RopeScaling scaling;
  HADAL_TRY(const auto old_name, fields.string_or(key("type"), ""));
  HADAL_TRY(const auto name, fields.string_or(key("rope_type"), old_name));
  if (!old_name.empty() && name != old_name) {
    return fail("{}: {} is {} but {} is {}", fields.file(), key("rope_type"), quote(name),
                key("type"), quote(old_name));
  }
  const bool scaled = fields.has(names.factor);
  if (name.empty() && scaled) {
    return fail("{}: {} is given without {}", fields.file(), names.factor, key("rope_type"));
  }
  HADAL_TRY(scaling.kind, scaling_kind(fields, key("rope_type"), name.empty() ? "default" : name));
  HADAL_TRY_VOID(read_scaling_numbers(fields, names, context, scaling));
  fields.harmless_section(section);  // the fields of other kinds of scaling
  return scaling;
}

struct BaseAndPart {
  double base, rotated_part;
};

// rope_parameters of transformers 5 hold what used to stand beside rope_scaling.
Result<BaseAndPart> read_folder_base(ConfigFields& fields, const std::string& section) {
  BaseAndPart result;
  HADAL_TRY(const double outer_base, bounded(fields, "rope_theta", 1, kDefaultBase));
  HADAL_TRY(result.base, bounded(fields, section + ".rope_theta", 1, outer_base));
  HADAL_TRY(const double outer_part, bounded(fields, "partial_rotary_factor", 0, 1));
  HADAL_TRY(result.rotated_part,
            bounded(fields, section + ".partial_rotary_factor", 0, outer_part));
  if ((fields.has("rope_theta") && result.base != outer_base) ||
      (fields.has("partial_rotary_factor") && result.rotated_part != outer_part)) {
    return fail("{}: rope_theta or partial_rotary_factor is one value beside {} and another in it",
                fields.file(), section);
  }
  return result;
}

Status read_deepseek_gguf_magnitudes(ConfigFields& fields, RopeScaling& scaling) {
  HADAL_TRY_VOID(fields.only({{"rope.scaling.attn_factor", 1.0}}));
  HADAL_TRY(const double multiplier, bounded(fields, "rope.scaling.yarn_log_multiplier", 0, 0));
  if (scaling.kind == RopeScalingKind::kNone) return {};
  scaling.mscale = scaling.mscale_all_dimensions = multiplier / 0.1;
  return {};
}

Status read_deepseek_folder_magnitudes(ConfigFields& fields, const std::string& section,
                                       RopeScaling& scaling) {
  const std::string attention_factor = section + ".attention_factor";
  const std::string attn_factor = section + ".attn_factor";
  HADAL_TRY_VOID(fields.only({{attention_factor, 1.0}, {attn_factor, 1.0}}));
  if (scaling.kind == RopeScalingKind::kNone) return {};
  scaling.attention_factor.reset();
  HADAL_TRY(scaling.mscale, bounded(fields, section + ".mscale", 0, 1));
  HADAL_TRY(scaling.mscale_all_dimensions, bounded(fields, section + ".mscale_all_dim", 0, 0));
  return {};
}

}  // namespace

Result<RopeSettings> read_rope_settings(ConfigFields& fields, uint32_t head_width, uint32_t context,
                                        RopeMagnitudes magnitudes) {
  const bool deepseek = magnitudes == RopeMagnitudes::kDeepSeek;
  RopeSettings rope;
  if (fields.dialect() == Dialect::kGguf) {
    HADAL_TRY(rope.base, bounded(fields, "rope.freq_base", 1, kDefaultBase));
    HADAL_TRY(rope.rotated_width, fields.count_or("rope.dimension_count", head_width, head_width));
    HADAL_TRY(rope.scaling, read_gguf_scaling(fields, context));
    if (deepseek) {
      HADAL_TRY_VOID(read_deepseek_gguf_magnitudes(fields, rope.scaling));
    } else {
      HADAL_TRY_VOID(fields.only({{"rope.scaling.yarn_log_multiplier", 0.0}}));
    }
  } else {
    const bool old_style = !fields.keys_of("rope_scaling").empty();
    const bool new_style = !fields.keys_of("rope_parameters").empty();
    if (old_style && new_style) {
      return fail("{}: has both rope_scaling and rope_parameters; hadal cannot tell which is meant",
                  fields.file());
    }
    const std::string section = new_style ? "rope_parameters" : "rope_scaling";
    HADAL_TRY(const BaseAndPart read, read_folder_base(fields, section));
    rope.base = read.base;
    rope.rotated_width = static_cast<uint32_t>(head_width * std::min(read.rotated_part, 2.0));
    HADAL_TRY(rope.scaling, read_folder_scaling(fields, section, context));
    if (deepseek) HADAL_TRY_VOID(read_deepseek_folder_magnitudes(fields, section, rope.scaling));
  }
  if (rope.base <= 1) {
    return fail("{}: the base of the rope frequencies is {}; it must be greater than 1",
                fields.file(), rope.base);
  }
  if (rope.rotated_width == 0 || rope.rotated_width % 2 != 0 || rope.rotated_width > head_width) {
    return fail("{}: rope turns {} of a head's {} values; it must be an even number of them",
                fields.file(), rope.rotated_width, head_width);
  }
  return rope;
}

}  // namespace hadal
