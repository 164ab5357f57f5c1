// What the dense architectures read from a file's metadata, in both dialects, and what they refuse.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "model/decoder_config.h"
#include "model/model.h"

namespace hadal {
namespace {

using Values = std::map<std::string, MetadataValue>;
using Strings = std::vector<std::string_view>;
using Integers = std::vector<int64_t>;

MetadataValue text(std::string_view value) {
  return value;
}
MetadataValue whole(uint64_t value) {
  return value;
}

// The published shape of DeepSeek-R1-Distill-Qwen-1.5B, of a Llama 3.1 8B, of a Qwen3 8B.
Values folder_values(std::string_view architecture) {
  Values values = {
      {"model_type", architecture},
      {"hidden_act", text("silu")},
      {"rms_norm_eps", 1e-6},
      {"max_position_embeddings", whole(131072)},
      {"torch_dtype", text("bfloat16")},
      {"generation.temperature", 0.6},
  };
  const auto shape = [&](uint64_t layers, uint64_t width, uint64_t heads, uint64_t kv_heads,
                         uint64_t feed_forward, uint64_t vocabulary,
                         std::string_view folder_class) {
    values["num_hidden_layers"] = layers;
    values["hidden_size"] = width;
    values["num_attention_heads"] = heads;
    values["num_key_value_heads"] = kv_heads;
    values["intermediate_size"] = feed_forward;
    values["vocab_size"] = vocabulary;
    values["architectures"] = MetadataArray(Strings{folder_class});
  };
  if (architecture == "llama") {
    shape(32, 4096, 32, 8, 14336, 128256, "LlamaForCausalLM");
    values["rope_theta"] = 500000.0;
    values["attention_bias"] = values["mlp_bias"] = false;
    values["pretraining_tp"] = whole(1);
    values["rope_scaling.rope_type"] = text("llama3");
    values["rope_scaling.factor"] = 8.0;
    values["rope_scaling.low_freq_factor"] = 1.0;
    values["rope_scaling.high_freq_factor"] = 4.0;
    values["rope_scaling.original_max_position_embeddings"] = whole(8192);
  } else if (architecture == "qwen2") {
    shape(28, 1536, 12, 2, 8960, 151936, "Qwen2ForCausalLM");
    values["rope_theta"] = whole(10000);
    values["use_sliding_window"] = values["use_mrope"] = false;
    values["sliding_window"] = whole(4096);
    values["max_window_layers"] = whole(21);
    values["tie_word_embeddings"] = false;
  } else {
    shape(36, 4096, 32, 8, 12288, 151936, "Qwen3ForCausalLM");
    values["head_dim"] = whole(128);
    values["rope_theta"] = whole(1000000);
    values["attention_bias"] = false;
    values["rope_scaling.rope_type"] = text("yarn");
    values["rope_scaling.factor"] = 4.0;
    values["rope_scaling.original_max_position_embeddings"] = whole(32768);
    values["rope_scaling.attn_factor"] = 0.8782488562869419;
  }
  return values;
}

Values gguf_values(std::string_view architecture) {
  const std::string prefix = std::string(architecture) + ".";
  return {{"general.architecture", architecture},
          {"tokenizer.ggml.model", text("gpt2")},
          {prefix + "block_count", whole(28)},
          {prefix + "embedding_length", whole(1536)},
          {prefix + "attention.head_count", whole(12)},
          {prefix + "attention.head_count_kv", whole(2)},
          {prefix + "feed_forward_length", whole(8960)},
          {prefix + "context_length", whole(131072)},
          {prefix + "attention.layer_norm_rms_epsilon", 1e-6},
          {prefix + "rope.freq_base", 10000.0},
          {prefix + "vocab_size", whole(151936)}};
}

Result<std::unique_ptr<ModelConfig>> read(std::string_view architecture, Dialect dialect,
                                          const Values& values, const TensorIndex& tensors = {}) {
  Metadata metadata("model", dialect);
  for (const auto& [key, value] : values) metadata.insert(key, value);
  const auto found = find_architecture(architecture);
  if (!found) return forward_error(found);
  return (*found)->read_config(metadata, tensors);
}

DecoderConfig good(std::string_view architecture, Dialect dialect, const Values& values,
                   const TensorIndex& tensors = {}) {
  auto config = read(architecture, dialect, values, tensors);
  if (!config) {
    ADD_FAILURE() << config.error().message;
    return {};
  }
  return static_cast<const DecoderConfig&>(**config);
}

Values changed(Values values, const Values& changes, const std::vector<std::string>& removed = {}) {
  for (const auto& [key, value] : changes) values[key] = value;
  for (const std::string& key : removed) values.erase(key);
  return values;
}

TEST(Config, ReadsTheFolderOfAnR1DistillLlama) {
  const auto c = good("llama", Dialect::kHuggingFace, folder_values("llama"));
  EXPECT_EQ(c.layers, 32u);
  EXPECT_EQ(c.width, 4096u);
  EXPECT_EQ(c.heads, 32u);
  EXPECT_EQ(c.kv_heads, 8u);
  EXPECT_EQ(c.head_width, 128u);
  EXPECT_EQ(c.feed_forward_width, 14336u);
  EXPECT_EQ(c.vocabulary, 128256u);
  EXPECT_EQ(c.context_max, 131072u);
  EXPECT_EQ(c.norm_epsilon, 1e-6f);
  EXPECT_FALSE(c.tied_head);
  EXPECT_EQ(c.rope_pairs, RopePairs::kHalves);
  EXPECT_EQ(c.rope.frequencies.size(), 64u);
  EXPECT_EQ(c.rope.magnitude, 1.0f);
  EXPECT_EQ(c.kv_layout().key_columns, 1024u);
  EXPECT_EQ(c.kv_layout().bytes_per_token(QuantType::kF16), 32u * 2 * 1024 * 2);
  EXPECT_EQ(c.warnings, std::vector<std::string>{});
}

TEST(Config, ReadsTheFolderOfAnR1DistillQwen) {
  const auto c = good("qwen2", Dialect::kHuggingFace, folder_values("qwen2"));
  EXPECT_EQ(c.head_width, 128u);
  EXPECT_EQ(c.kv_heads, 2u);
  EXPECT_EQ(c.warnings, std::vector<std::string>{});
}

TEST(Config, TheYarnFactorOfR1_0528IsOne) {
  const auto c = good("qwen3", Dialect::kHuggingFace, folder_values("qwen3"));
  EXPECT_EQ(c.head_width, 128u);
  EXPECT_NEAR(c.rope.magnitude, 1.0, 1e-6);
  EXPECT_EQ(c.context_max, 131072u);
  EXPECT_EQ(c.warnings, std::vector<std::string>{});
}

TEST(Config, ReadsAGguf) {
  for (const std::string_view architecture : {"llama", "qwen2", "qwen3"}) {
    const auto c = good(architecture, Dialect::kGguf, gguf_values(architecture));
    EXPECT_EQ(c.layers, 28u);
    EXPECT_EQ(c.head_width, 128u);
    EXPECT_TRUE(c.tied_head);  // there is no output.weight
    EXPECT_EQ(c.rope_pairs, architecture == "llama" ? RopePairs::kInterleaved : RopePairs::kHalves);
    EXPECT_EQ(c.warnings, std::vector<std::string>{});
  }
}

TEST(Config, AGgufsVocabularyIsThatOfItsEmbeddingWhereItStatesNone) {
  TensorIndex tensors;
  tensors.insert({.name = "token_embd.weight", .rows = 77, .columns = 1536});
  const auto values = changed(gguf_values("qwen2"), {}, {"qwen2.vocab_size"});
  EXPECT_EQ(good("qwen2", Dialect::kGguf, values, tensors).vocabulary, 77u);
}

TEST(Config, AGgufWithAHeadIsNotTied) {
  TensorIndex tensors;
  tensors.insert({.name = "output.weight", .rows = 151936, .columns = 1536});
  EXPECT_FALSE(good("qwen2", Dialect::kGguf, gguf_values("qwen2"), tensors).tied_head);
}

TEST(Config, HeadsThatAreNotGivenFollowFromTheOthers) {
  const auto llama = good("llama", Dialect::kHuggingFace,
                          changed(folder_values("llama"), {}, {"num_key_value_heads"}));
  EXPECT_EQ(llama.kv_heads, 32u);
  const auto gguf = good("llama", Dialect::kGguf,
                         changed(gguf_values("llama"), {}, {"llama.attention.head_count_kv"}));
  EXPECT_EQ(gguf.kv_heads, 12u);
  const auto list =
      good("llama", Dialect::kGguf,
           changed(gguf_values("llama"),
                   {{"llama.attention.head_count_kv", MetadataArray(Integers{4, 4, 4})}}));
  EXPECT_EQ(list.kv_heads, 4u);
}

TEST(Config, NamesUnknownFieldsInAWarning) {
  const auto folder =
      good("qwen2", Dialect::kHuggingFace, changed(folder_values("qwen2"), {{"new_thing", true}}));
  ASSERT_EQ(folder.warnings.size(), 1u);
  EXPECT_EQ(folder.warnings[0], "model: not known to hadal and ignored: 'new_thing'");
  const auto gguf =
      good("qwen2", Dialect::kGguf,
           changed(gguf_values("qwen2"), {{"qwen2.new_thing", true}, {"general.new_thing", true}}));
  ASSERT_EQ(gguf.warnings.size(), 1u);
  EXPECT_EQ(gguf.warnings[0], "model: not known to hadal and ignored: 'qwen2.new_thing'");
  Values many = folder_values("qwen2");
  for (int i = 0; i < 20; ++i) many["unknown" + std::to_string(i)] = true;
  EXPECT_NE(good("qwen2", Dialect::kHuggingFace, many).warnings[0].find("and 12 more fields"),
            std::string::npos);
}

TEST(Config, YarnsContextIsThatAfterTheStretch) {
  const auto c = good("qwen3", Dialect::kHuggingFace,
                      changed(folder_values("qwen3"), {{"max_position_embeddings", whole(32768)}}));
  EXPECT_EQ(c.context_max, 131072u);
}

TEST(Config, RopeParametersSayWhatRopeScalingSaid) {
  Values values = folder_values("qwen3");
  std::erase_if(values, [](const auto& entry) { return entry.first.starts_with("rope"); });
  for (const auto& [key, value] : folder_values("qwen3")) {
    if (key.starts_with("rope_scaling.")) values["rope_parameters." + key.substr(13)] = value;
  }
  values["rope_parameters.rope_theta"] = whole(1000000);
  const auto c = good("qwen3", Dialect::kHuggingFace, values);
  const auto old = good("qwen3", Dialect::kHuggingFace, folder_values("qwen3"));
  EXPECT_EQ(c.rope.frequencies, old.rope.frequencies);
  EXPECT_EQ(c.rope.magnitude, old.rope.magnitude);
}

TEST(Config, GgufYarnMatchesTheFolders) {
  const auto gguf = good(
      "qwen3", Dialect::kGguf,
      changed(gguf_values("qwen3"), {{"qwen3.attention.key_length", whole(128)},
                                     {"qwen3.attention.value_length", whole(128)},
                                     {"qwen3.rope.freq_base", 1000000.0},
                                     {"qwen3.rope.scaling.type", text("yarn")},
                                     {"qwen3.rope.scaling.factor", 4.0},
                                     {"qwen3.rope.scaling.original_context_length", whole(32768)},
                                     {"qwen3.rope.scaling.attn_factor", 0.8782488562869419},
                                     {"qwen3.rope.scaling.finetuned", true}}));
  const auto folder = good("qwen3", Dialect::kHuggingFace, folder_values("qwen3"));
  EXPECT_EQ(gguf.rope.frequencies, folder.rope.frequencies);
  EXPECT_EQ(gguf.rope.magnitude, folder.rope.magnitude);
  EXPECT_EQ(gguf.warnings, std::vector<std::string>{});
}

TEST(Config, AGgufsLinearScalingInBothSpellings) {
  const auto plain = good("llama", Dialect::kGguf, gguf_values("llama"));
  for (const char* key : {"llama.rope.scale_linear", "llama.rope.scaling.factor"}) {
    const auto c = good("llama", Dialect::kGguf, changed(gguf_values("llama"), {{key, 4.0}}));
    EXPECT_FLOAT_EQ(c.rope.frequencies[3], plain.rope.frequencies[3] / 4);
    EXPECT_EQ(c.warnings, std::vector<std::string>{});
  }
}

TEST(Config, AGgufsRopeFactorsDivideTheFrequencies) {
  std::vector<float> divisors(64, 1.0f);
  divisors[63] = 8.0f;
  TensorIndex tensors;
  tensors.insert(
      {.name = "rope_freqs.weight", .columns = 64, .data = std::as_bytes(std::span(divisors))});
  const auto plain = good("llama", Dialect::kGguf, gguf_values("llama"));
  const auto c = good("llama", Dialect::kGguf, gguf_values("llama"), tensors);
  EXPECT_EQ(c.rope.frequencies[0], plain.rope.frequencies[0]);
  EXPECT_FLOAT_EQ(c.rope.frequencies[63], plain.rope.frequencies[63] / 8);

  divisors[5] = 0.0f;
  const auto bad = read("llama", Dialect::kGguf, gguf_values("llama"), tensors);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message,
            "model: tensor rope_freqs.weight holds 0; a divisor of a frequency is positive and "
            "finite");
}

TEST(Config, AWindowAsLongAsTheContextIsNone) {
  good("qwen2", Dialect::kHuggingFace,
       changed(folder_values("qwen2"),
               {{"use_sliding_window", true}, {"sliding_window", whole(131072)}}));
}

TEST(Config, AnUnknownArchitectureIsNamedWithTheKnownOnes) {
  const auto found = find_architecture("mamba\x1b");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message,
            "the model's architecture is 'mamba\\x1b', which hadal does not know; it knows llama, "
            "qwen2, qwen3, deepseek_v2, deepseek_v3, kimi_k2, deepseek2");
}

struct Refusal {
  const char* name;
  const char* architecture;
  Dialect dialect;
  Values changes;
  std::vector<std::string> removed;
  const char* message;  // all of it, or its beginning
};

void PrintTo(const Refusal& c, std::ostream* out) {
  *out << c.name;
}

class RefusedConfig : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedConfig, SaysWhy) {
  const Refusal& c = GetParam();
  const bool folder = c.dialect == Dialect::kHuggingFace;
  const Values values = changed(
      folder ? folder_values(c.architecture) : gguf_values(c.architecture), c.changes, c.removed);
  const auto config = read(c.architecture, c.dialect, values);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().message.substr(0, std::string_view(c.message).size()), c.message);
}

constexpr Dialect kFolder = Dialect::kHuggingFace;
constexpr Dialect kGguf = Dialect::kGguf;
const double kNotANumber = std::numeric_limits<double>::quiet_NaN();

const Refusal kRefusals[] = {
    // Shapes.
    {"NoLayers", "qwen2", kFolder, {}, {"num_hidden_layers"}, "model: the key 'num_hidden_layers'"},
    {"ZeroLayers",
     "qwen2",
     kFolder,
     {{"num_hidden_layers", whole(0)}},
     {},
     "model: num_hidden_layers is 0; it must be between 1 and 1024"},
    {"TooManyLayers",
     "qwen2",
     kGguf,
     {{"qwen2.block_count", whole(1025)}},
     {},
     "model: qwen2.block_count is 1025; it must be between 1 and 1024"},
    {"HugeWidth",
     "qwen2",
     kFolder,
     {{"hidden_size", whole(UINT64_MAX)}},
     {},
     "model: the key 'hidden_size' is 18446744073709551615"},
    {"NegativeWidth",
     "qwen2",
     kFolder,
     {{"hidden_size", int64_t{-8}}},
     {},
     "model: hidden_size is -8; it must be between 1 and 1048576"},
    {"FractionalWidth",
     "qwen2",
     kFolder,
     {{"hidden_size", 1536.5}},
     {},
     "model: the key 'hidden_size' is 1536.5"},
    {"ZeroHeads",
     "llama",
     kFolder,
     {{"num_attention_heads", whole(0)}},
     {},
     "model: num_attention_heads is 0; it must be between 1 and 16384"},
    {"KvHeadsDoNotDivideHeads",
     "llama",
     kFolder,
     {{"num_key_value_heads", whole(5)}},
     {},
     "model: num_key_value_heads is 5, which does not divide num_attention_heads, 32"},
    {"HeadsDoNotDivideWidth",
     "llama",
     kGguf,
     {{"llama.attention.head_count", whole(14)}},
     {},
     "model: llama.attention.head_count is 14, which does not divide llama.embedding_length, 1536, "
     "and llama.attention.key_length is not given"},
    {"HeadsOfSeveralWidths",
     "llama",
     kGguf,
     {{"llama.attention.head_count", MetadataArray(Integers{12, 6})}},
     {},
     "model: llama.attention.head_count is 12 in one layer and 6 in another, which hadal does not "
     "implement"},
    {"EmptyListOfHeads",
     "llama",
     kGguf,
     {{"llama.attention.head_count", MetadataArray(Integers{})}},
     {},
     "model: llama.attention.head_count is an empty list"},
    {"TooWideHeads",
     "qwen3",
     kFolder,
     {{"head_dim", whole(4097)}},
     {},
     "model: head_dim is 4097; it must be between 1 and 4096"},
    {"TooManyHeadValues",
     "qwen3",
     kFolder,
     {{"head_dim", whole(4096)}, {"num_attention_heads", whole(16384)}},
     {},
     "model: 16384 heads of 4096 values are more than hadal takes"},
    {"Qwen3WithoutHeadWidth", "qwen3", kFolder, {}, {"head_dim"}, "model: the key 'head_dim'"},
    {"Qwen2WithoutKvHeads",
     "qwen2",
     kFolder,
     {},
     {"num_key_value_heads"},
     "model: the key 'num_key_value_heads'"},
    {"ZeroFeedForward",
     "qwen2",
     kFolder,
     {{"intermediate_size", whole(0)}},
     {},
     "model: intermediate_size is 0; it must be between 1 and 4194304"},
    {"ZeroVocabulary",
     "qwen2",
     kFolder,
     {{"vocab_size", whole(0)}},
     {},
     "model: vocab_size is 0; it must be between 1 and 16777216"},
    {"NoVocabulary",
     "qwen2",
     kGguf,
     {},
     {"qwen2.vocab_size"},
     "model: the tensor token_embd.weight is missing"},
    {"HugeContext",
     "qwen2",
     kFolder,
     {{"max_position_embeddings", whole(1ull << 31)}},
     {},
     "model: max_position_embeddings is 2147483648; it must be between 1 and 1073741824"},
    {"EpsilonNotANumber",
     "qwen2",
     kFolder,
     {{"rms_norm_eps", kNotANumber}},
     {},
     "model: rms_norm_eps is nan; it must be a finite number of at least 0"},
    {"EpsilonTooLarge",
     "qwen2",
     kFolder,
     {{"rms_norm_eps", 2.0}},
     {},
     "model: rms_norm_eps is 2; it must be between 0 and 1"},
    {"EpsilonAbsent",
     "qwen2",
     kGguf,
     {},
     {"qwen2.attention.layer_norm_rms_epsilon"},
     "model: the key 'qwen2.attention.layer_norm_rms_epsilon'"},
    {"ValuesOfAnotherWidth",
     "llama",
     kGguf,
     {{"llama.attention.value_length", whole(64)}},
     {},
     "model: llama.attention.value_length is 64; for the architecture llama hadal implements only "
     "128"},
    // Mathematics we do not have.
    {"Activation",
     "llama",
     kFolder,
     {{"hidden_act", text("gelu")}},
     {},
     "model: hidden_act is 'gelu'; for the architecture llama hadal implements only 'silu'"},
    {"AttentionBias",
     "llama",
     kFolder,
     {{"attention_bias", true}},
     {},
     "model: attention_bias is true; for the architecture llama hadal implements only false"},
    {"FeedForwardBias",
     "llama",
     kFolder,
     {{"mlp_bias", true}},
     {},
     "model: mlp_bias is true; for the architecture llama hadal implements only false"},
    {"Qwen3Bias",
     "qwen3",
     kFolder,
     {{"attention_bias", true}},
     {},
     "model: attention_bias is true; for the architecture qwen3 hadal implements only false"},
    {"Window",
     "qwen2",
     kFolder,
     {{"use_sliding_window", true}},
     {},
     "model: sliding_window is 4096, less than the context of 131072: hadal does not implement "
     "sliding windows for the architecture qwen2"},
    {"WindowedLayers",
     "qwen2",
     kFolder,
     {{"layer_types", MetadataArray(Strings{"full_attention", "sliding_attention"})}},
     {},
     "model: layer_types is 'sliding_attention'; for the architecture qwen2 hadal implements only "
     "'full_attention'"},
    {"GgufWindow",
     "llama",
     kGguf,
     {{"llama.attention.sliding_window", whole(4096)}},
     {},
     "model: llama.attention.sliding_window is 4096, less than the context of 131072"},
    {"MultimodalRope", "qwen2", kFolder, {{"use_mrope", true}}, {}, "model: use_mrope is true; "},
    {"GgufMultimodalRope",
     "qwen2",
     kGguf,
     {{"qwen2.rope.dimension_sections", MetadataArray(Integers{16, 24})}},
     {},
     "model: has qwen2.rope.dimension_sections, which hadal does not implement for the "
     "architecture qwen2"},
    {"Experts",
     "llama",
     kGguf,
     {{"llama.expert_count", whole(8)}},
     {},
     "model: llama.expert_count is 8; for the architecture llama hadal implements only 0"},
    {"AttentionScale",
     "llama",
     kGguf,
     {{"llama.attention.scale", 0.1}},
     {},
     "model: has llama.attention.scale, which"},
    {"NotCausal",
     "llama",
     kGguf,
     {{"llama.attention.causal", false}},
     {},
     "model: llama.attention.causal is false; "},
    {"SoftCap",
     "llama",
     kGguf,
     {{"llama.final_logit_softcapping", 30.0}},
     {},
     "model: llama.final_logit_softcapping is 30; "},
    {"Classifier",
     "llama",
     kFolder,
     {{"architectures", MetadataArray(Strings{"LlamaForSequenceClassification"})}},
     {},
     "model: architectures is 'LlamaForSequenceClassification'; for the architecture llama hadal "
     "implements only 'LlamaForCausalLM'"},
    {"PackedWeights",
     "qwen2",
     kFolder,
     {{"quantization_config.quant_method", text("gptq")}},
     {},
     "model: quantization_config.quant_method is 'gptq'; for the architecture qwen2 hadal "
     "implements only 'fp8'"},
    {"OtherFp8Blocks",
     "qwen2",
     kFolder,
     {{"quantization_config.quant_method", text("fp8")},
      {"quantization_config.weight_block_size", MetadataArray(Integers{128, 64})}},
     {},
     "model: quantization_config.weight_block_size is 64; "},
    {"MlxWeights",
     "qwen2",
     kFolder,
     {{"quantization.group_size", whole(64)}},
     {},
     "model: has quantization.group_size: weights packed by another program, which hadal does not "
     "implement for the architecture qwen2"},
    // Rope.
    {"DynamicRope",
     "llama",
     kFolder,
     {{"rope_scaling.rope_type", text("dynamic")}},
     {},
     "model: rope_scaling.rope_type is 'dynamic', a rope scaling that hadal does not implement (it "
     "has linear, llama3 and yarn)"},
    {"LongRope",
     "llama",
     kGguf,
     {{"llama.rope.scaling.type", text("longrope")}},
     {},
     "model: llama.rope.scaling.type is 'longrope', a rope scaling"},
    {"TwoRopeTypes",
     "llama",
     kFolder,
     {{"rope_scaling.type", text("linear")}},
     {},
     "model: rope_scaling.rope_type is 'llama3' but rope_scaling.type is 'linear'"},
    {"FactorWithoutType",
     "llama",
     kFolder,
     {},
     {"rope_scaling.rope_type"},
     "model: rope_scaling.factor is given without rope_scaling.rope_type"},
    {"NoFactor",
     "llama",
     kFolder,
     {},
     {"rope_scaling.factor"},
     "model: the key 'rope_scaling.factor'"},
    {"FactorBelowOne",
     "qwen3",
     kFolder,
     {{"rope_scaling.factor", 0.5}},
     {},
     "model: rope_scaling.factor is 0.5; it must be a finite number of at least 1"},
    {"HugeFactor",
     "qwen3",
     kFolder,
     {{"rope_scaling.factor", 1e300}},
     {},
     "model: rope_scaling.factor is 1e+300; hadal takes at most 1000000000000000"},
    {"HighBelowLow",
     "llama",
     kFolder,
     {{"rope_scaling.high_freq_factor", 0.5}},
     {},
     "model: rope_scaling.high_freq_factor is 0.5; it must be greater than "
     "rope_scaling.low_freq_factor, 1"},
    {"FastBelowSlow",
     "qwen3",
     kFolder,
     {{"rope_scaling.beta_fast", 0.5}},
     {},
     "model: rope_scaling.beta_fast is 0.5; it must be at least rope_scaling.beta_slow, 1"},
    {"UnknownRopeField",
     "qwen3",
     kFolder,
     {{"rope_scaling.mrope_section", whole(1)}},
     {},
     "model: 'rope_scaling.mrope_section' is not a field of rope scaling that hadal knows"},
    {"RopeALayerType",
     "qwen3",
     kFolder,
     {{"rope_scaling.full_attention.rope_type", text("x")}},
     {},
     "model: 'rope_scaling.full_attention.rope_type' is not a field"},
    {"OldAndNewRope",
     "qwen3",
     kFolder,
     {{"rope_parameters.rope_type", text("default")}},
     {},
     "model: has both rope_scaling and rope_parameters; hadal cannot tell which is meant"},
    {"TwoBases",
     "qwen3",
     kFolder,
     {{"rope_scaling.rope_theta", 5.0}},
     {},
     "model: rope_theta or partial_rotary_factor is one value beside rope_scaling and another in "
     "it"},
    {"BaseOfOne",
     "llama",
     kFolder,
     {{"rope_theta", 1.0}},
     {},
     "model: the base of the rope frequencies is 1; it must be greater than 1"},
    {"OddRotation",
     "llama",
     kGguf,
     {{"llama.rope.dimension_count", whole(63)}},
     {},
     "model: rope turns 63 of a head's 128 values; it must be an even number of them"},
    {"RotationWiderThanHead",
     "llama",
     kGguf,
     {{"llama.rope.dimension_count", whole(256)}},
     {},
     "model: llama.rope.dimension_count is 256; it must be between 1 and 128"},
    {"NoRotation",
     "llama",
     kFolder,
     {{"partial_rotary_factor", 0.0}},
     {},
     "model: rope turns 0 of a head's 128 values"},
    {"YarnExtension",
     "qwen3",
     kGguf,
     {{"qwen3.rope.scaling.yarn_ext_factor", 0.5}},
     {},
     "model: qwen3.rope.scaling.yarn_ext_factor is 0.5; "},
    {"AttnFactorWithoutYarn",
     "qwen3",
     kGguf,
     {{"qwen3.rope.scaling.attn_factor", 0.9}},
     {},
     "model: qwen3.rope.scaling.attn_factor is 0.9; "},
};

INSTANTIATE_TEST_SUITE_P(Config, RefusedConfig, testing::ValuesIn(kRefusals),
                         [](const testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace hadal
