#include "model/common_config.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace hadal {
namespace {

Status read_vocabulary(ConfigFields& fields, const TensorIndex& tensors, ModelConfig& config) {
  const bool gguf = fields.dialect() == Dialect::kGguf;
  const std::string_view name = gguf ? "token_embd.weight" : "model.embed_tokens.weight";
  const TensorInfo* embedding = tensors.find(name);
  if (!gguf || fields.has("vocab_size")) {
    HADAL_TRY(config.vocabulary, fields.count("vocab_size", kVocabularyMax));
  } else if (embedding == nullptr) {
    return fail("{}: the tensor {} is missing", fields.file(), name);
  } else if (embedding->rows > kVocabularyMax) {
    return fail("{}: tensor {} has {} rows; hadal takes at most {}", fields.file(), name,
                embedding->rows, kVocabularyMax);
  } else {
    config.vocabulary = embedding->rows;
  }
  return {};
}

}  // namespace

Status read_common_config(ConfigFields& fields, const TensorIndex& tensors, CommonConfig& config) {
  const bool gguf = fields.dialect() == Dialect::kGguf;
  HADAL_TRY(config.layers, fields.count(gguf ? "block_count" : "num_hidden_layers", kLayersMax));
  HADAL_TRY(config.width, fields.count(gguf ? "embedding_length" : "hidden_size", kWidthMax));
  const std::string_view epsilon_key = gguf ? "attention.layer_norm_rms_epsilon" : "rms_norm_eps";
  HADAL_TRY(const double epsilon, fields.number(epsilon_key, 0));
  if (epsilon > 1) {
    return fail("{}: {} is {}; it must be between 0 and 1", fields.file(),
                fields.full_key(epsilon_key), epsilon);
  }
  config.norm_epsilon = static_cast<float>(epsilon);
  HADAL_TRY_VOID(read_vocabulary(fields, tensors, config));
  if (gguf) {
    config.tied_head = !tensors.has("output.weight");
  } else {
    HADAL_TRY(config.tied_head, fields.flag_or("tie_word_embeddings", false));
  }
  HADAL_TRY(config.context_max,
            fields.count(gguf ? "context_length" : "max_position_embeddings", kContextMax));
  return {};
}

uint32_t stretched_context(const RopeScaling& scaling, uint32_t stated) {
  if (scaling.kind != RopeScalingKind::kYarn) return stated;
  const double stretched = std::floor(scaling.factor * scaling.original_context);
  return std::max(stated, static_cast<uint32_t>(std::min<double>(stretched, kContextMax)));
}

Status check_common_gguf_fields(ConfigFields& fields) {
  HADAL_TRY_VOID(fields.only({{"attention.causal", true},
                              {"use_parallel_residual", false},
                              {"attention.clamp_kqv", 0.0},
                              {"attention.max_alibi_bias", 0.0},
                              {"logit_scale", 1.0},
                              {"residual_scale", 1.0},
                              {"embedding_scale", 1.0},
                              {"attn_logit_softcapping", 0.0},
                              {"final_logit_softcapping", 0.0}}));
  for (const char* key : {"attention.scale", "rope.dimension_sections"}) {
    if (fields.has(key)) {
      return fail("{}: has {}, which hadal does not implement for the architecture {}",
                  fields.file(), fields.full_key(key), fields.architecture());
    }
  }
  fields.harmless({"tensor_data_layout", "attention.layer_norm_epsilon", "pooling_type"});
  return {};
}

Status check_common_folder_fields(ConfigFields& fields, std::string_view folder_class) {
  HADAL_TRY_VOID(
      fields.only({{"architectures", folder_class},
                   {"hidden_act", std::string_view("silu")},
                   {"attention_bias", false},
                   {"mlp_bias", false},
                   {"use_mrope", false},
                   {"is_encoder_decoder", false},
                   {"quantization_config.quant_method", std::string_view("fp8")},
                   {"quantization_config.fmt", std::string_view("e4m3")},
                   {"quantization_config.activation_scheme", std::string_view("dynamic")},
                   {"quantization_config.weight_block_size", 128.0}}));
  HADAL_TRY_VOID(fields.refuse_section("quantization", "weights packed by another program"));
  HADAL_TRY_VOID(fields.refuse_section("text_config", "a model of more than text"));
  fields.harmless_section("quantization_config");  // which modules are stored how, the tensors say
  fields.harmless_section("generation");
  fields.harmless({"model_type", "torch_dtype", "dtype", "transformers_version", "_name_or_path",
                   "bos_token_id", "eos_token_id", "pad_token_id", "use_cache", "initializer_range",
                   "attention_dropout",  // of training
                   "pretraining_tp",     // the same product in slices
                   "output_attentions", "output_hidden_states", "return_dict"});
  return {};
}

void finish_config(const ConfigFields& fields, ModelConfig& config) {
  for (std::string& warning : fields.warnings()) config.warnings.push_back(std::move(warning));
}

}  // namespace hadal
