// What the DeepSeek architectures read from a file's metadata and tensors, in both dialects, and
// what they refuse.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "model/latent_config.h"
#include "model/model.h"
#include "model/weights.h"

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

// The published config.json of DeepSeek-V2-Lite; "deepseek_v3": of DeepSeek-V3.
Values folder_values(std::string_view architecture) {
  const bool v3 = architecture == "deepseek_v3";
  Values values = {{"model_type", architecture},
                   {"architectures",
                    MetadataArray(Strings{v3 ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM"})},
                   {"auto_map.AutoConfig", text("configuration_deepseek.DeepseekConfig")},
                   {"attention_bias", false},
                   {"attention_dropout", 0.0},
                   {"ep_size", whole(1)},
                   {"aux_loss_alpha", 0.001},
                   {"seq_aux", true},
                   {"hidden_act", text("silu")},
                   {"initializer_range", 0.02},
                   {"kv_lora_rank", whole(512)},
                   {"max_position_embeddings", whole(163840)},
                   {"moe_layer_freq", whole(1)},
                   {"pretraining_tp", whole(1)},
                   {"qk_nope_head_dim", whole(128)},
                   {"qk_rope_head_dim", whole(64)},
                   {"v_head_dim", whole(128)},
                   {"rms_norm_eps", 1e-6},
                   {"rope_theta", whole(10000)},
                   {"rope_scaling.type", text("yarn")},
                   {"rope_scaling.factor", whole(40)},
                   {"rope_scaling.beta_fast", whole(32)},
                   {"rope_scaling.beta_slow", whole(1)},
                   {"rope_scaling.original_max_position_embeddings", whole(4096)},
                   {"tie_word_embeddings", false},
                   {"torch_dtype", text("bfloat16")},
                   {"use_cache", true}};
  const Values lite = {
      {"first_k_dense_replace", whole(1)},
      {"hidden_size", whole(2048)},
      {"intermediate_size", whole(10944)},
      {"moe_intermediate_size", whole(1408)},
      {"n_group", whole(1)},
      {"topk_group", whole(1)},
      {"n_routed_experts", whole(64)},
      {"n_shared_experts", whole(2)},
      {"norm_topk_prob", false},
      {"num_attention_heads", whole(16)},
      {"num_experts_per_tok", whole(6)},
      {"num_hidden_layers", whole(27)},
      {"num_key_value_heads", whole(16)},
      {"routed_scaling_factor", 1.0},
      {"scoring_func", text("softmax")},
      {"topk_method", text("greedy")},
      {"vocab_size", whole(102400)},
      {"rope_scaling.mscale", 0.707},
      {"rope_scaling.mscale_all_dim", 0.707},
  };
  const Values full = {
      {"first_k_dense_replace", whole(3)},
      {"hidden_size", whole(7168)},
      {"intermediate_size", whole(18432)},
      {"moe_intermediate_size", whole(2048)},
      {"n_group", whole(8)},
      {"topk_group", whole(4)},
      {"n_routed_experts", whole(256)},
      {"n_shared_experts", whole(1)},
      {"norm_topk_prob", true},
      {"num_attention_heads", whole(128)},
      {"num_experts_per_tok", whole(8)},
      {"num_hidden_layers", whole(61)},
      {"num_key_value_heads", whole(128)},
      {"routed_scaling_factor", 2.5},
      {"scoring_func", text("sigmoid")},
      {"topk_method", text("noaux_tc")},
      {"vocab_size", whole(129280)},
      {"rope_scaling.mscale", 1.0},
      {"rope_scaling.mscale_all_dim", 1.0},
      {"q_lora_rank", whole(1536)},
      {"num_nextn_predict_layers", whole(1)},
      {"quantization_config.quant_method", text("fp8")},
      {"quantization_config.fmt", text("e4m3")},
      {"quantization_config.scale_fmt", text("ue8m0")},
      {"quantization_config.activation_scheme", text("dynamic")},
      {"quantization_config.weight_block_size", MetadataArray(Integers{128, 128})}};
  for (const auto& [key, value] : v3 ? full : lite) values[key] = value;
  return values;
}

// As today's converter writes V3, and as that of 2024 wrote V2-Lite.
Values gguf_values(std::string_view model) {
  Values short_values = {{"embedding_length", whole(7168)},
                         {"block_count", whole(61)},
                         {"feed_forward_length", whole(18432)},
                         {"context_length", whole(163840)},
                         {"attention.head_count", whole(128)},
                         {"attention.head_count_kv", whole(1)},
                         {"attention.layer_norm_rms_epsilon", 1e-6},
                         {"attention.q_lora_rank", whole(1536)},
                         {"attention.kv_lora_rank", whole(512)},
                         {"attention.key_length", whole(576)},
                         {"attention.value_length", whole(512)},
                         {"attention.key_length_mla", whole(192)},
                         {"attention.value_length_mla", whole(128)},
                         {"rope.freq_base", 10000.0},
                         {"rope.dimension_count", whole(64)},
                         {"rope.scaling.type", text("yarn")},
                         {"rope.scaling.factor", 40.0},
                         {"rope.scaling.original_context_length", whole(4096)},
                         {"rope.scaling.yarn_log_multiplier", 0.1},
                         {"rope.scaling.yarn_beta_fast", 32.0},
                         {"rope.scaling.yarn_beta_slow", 1.0},
                         {"vocab_size", whole(129280)},
                         {"leading_dense_block_count", whole(3)},
                         {"expert_count", whole(256)},
                         {"expert_used_count", whole(8)},
                         {"expert_shared_count", whole(1)},
                         {"expert_feed_forward_length", whole(2048)},
                         {"expert_weights_scale", 2.5},
                         {"expert_weights_norm", true},
                         {"expert_gating_func", whole(2)},
                         {"expert_group_count", whole(8)},
                         {"expert_group_used_count", whole(4)}};
  if (model == "v2-lite") {
    for (const char* key : {"attention.q_lora_rank", "attention.key_length_mla",
                            "attention.value_length_mla", "expert_weights_norm",
                            "expert_gating_func", "expert_group_count", "expert_group_used_count",
                            "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"}) {
      short_values.erase(key);
    }
    const Values lite = {{"embedding_length", whole(2048)},
                         {"block_count", whole(27)},
                         {"feed_forward_length", whole(10944)},
                         {"attention.head_count", whole(16)},
                         {"attention.head_count_kv", whole(16)},
                         {"attention.key_length", whole(192)},
                         {"attention.value_length", whole(128)},
                         {"rope.scaling.yarn_log_multiplier", 0.0707},
                         {"vocab_size", whole(102400)},
                         {"leading_dense_block_count", whole(1)},
                         {"expert_count", whole(64)},
                         {"expert_used_count", whole(6)},
                         {"expert_shared_count", whole(2)},
                         {"expert_feed_forward_length", whole(1408)},
                         {"expert_weights_scale", 1.0}};
    for (const auto& [key, value] : lite) short_values[key] = value;
  }
  Values values = {{"general.architecture", text("deepseek2")}};
  for (const auto& [key, value] : short_values) values["deepseek2." + key] = value;
  return values;
}

TensorIndex with_bias(const std::string& name = "blk.3.exp_probs_b.bias") {
  TensorIndex tensors;
  tensors.insert({.name = name, .columns = 256});
  return tensors;
}

Result<std::unique_ptr<ModelConfig>> read(std::string_view architecture, const Values& values,
                                          const TensorIndex& tensors = {}) {
  Metadata metadata("model", architecture == "deepseek2" ? Dialect::kGguf : Dialect::kHuggingFace);
  for (const auto& [key, value] : values) metadata.insert(key, value);
  const auto found = find_architecture(architecture);
  if (!found) return forward_error(found);
  return (*found)->read_config(metadata, tensors);
}

LatentConfig good(std::string_view architecture, const Values& values,
                  const TensorIndex& tensors = {}) {
  auto config = read(architecture, values, tensors);
  if (!config) {
    ADD_FAILURE() << config.error().message;
    return {};
  }
  return static_cast<const LatentConfig&>(**config);
}

Values changed(Values values, const Values& changes, const std::vector<std::string>& removed = {}) {
  for (const auto& [key, value] : changes) values[key] = value;
  for (const std::string& key : removed) values.erase(key);
  return values;
}

void expect_lite(const LatentConfig& c) {
  EXPECT_EQ(c.layers, 27u);
  EXPECT_EQ(c.width, 2048u);
  EXPECT_EQ(c.heads, 16u);
  EXPECT_EQ(c.query_latent, 0u);
  EXPECT_EQ(c.latent, 512u);
  EXPECT_EQ(c.nope, 128u);
  EXPECT_EQ(c.rope_width, 64u);
  EXPECT_EQ(c.value_width, 128u);
  EXPECT_EQ(c.rope_pairs, RopePairs::kInterleaved);
  EXPECT_EQ(c.rope.frequencies.size(), 32u);
  EXPECT_NEAR(c.rope.magnitude, 1.0, 1e-7);
  const double magnitude = 0.1 * 0.707 * std::log(40.0) + 1;  // 1.2608
  EXPECT_NEAR(c.scale, magnitude * magnitude / std::sqrt(192.0), 1e-7);
  EXPECT_EQ(c.feed_forward_width, 10944u);
  EXPECT_EQ(c.dense_layers, 1u);
  EXPECT_FALSE(c.has_experts(0));
  EXPECT_TRUE(c.has_experts(1));
  EXPECT_EQ(c.experts, 64u);
  EXPECT_EQ(c.experts_per_token, 6u);
  EXPECT_EQ(c.expert_width, 1408u);
  EXPECT_EQ(c.shared_width, 2816u);
  EXPECT_EQ(c.routing.scores, RouterScores::kSoftmax);
  EXPECT_EQ(c.routing.groups, 1u);
  EXPECT_EQ(c.routing.normalise, RouterWeights::kPlain);
  EXPECT_EQ(c.routing.scaling, 1.0f);
  EXPECT_FALSE(c.routing.bias);
  EXPECT_EQ(c.context_max, 163840u);
  EXPECT_EQ(c.kv_layout().key_columns, 576u);
  EXPECT_EQ(c.kv_layout().value_columns, 0u);
  EXPECT_EQ(c.kv_layout().type, QuantType::kBF16);
  EXPECT_EQ(c.kv_layout().bytes_per_token(QuantType::kBF16), 27u * 576 * 2);
  EXPECT_EQ(c.warnings, std::vector<std::string>{});
}

void expect_v3(const LatentConfig& c) {
  EXPECT_EQ(c.layers, 61u);
  EXPECT_EQ(c.heads, 128u);
  EXPECT_EQ(c.query_latent, 1536u);
  EXPECT_EQ(c.nope, 128u);
  EXPECT_EQ(c.value_width, 128u);
  const double magnitude = 0.1 * std::log(40.0) + 1;  // 1.3689
  EXPECT_NEAR(c.scale, magnitude * magnitude / std::sqrt(192.0), 1e-7);
  EXPECT_NEAR(c.rope.magnitude, 1.0, 1e-7);
  EXPECT_EQ(c.dense_layers, 3u);
  EXPECT_EQ(c.shared_width, 2048u);
  EXPECT_EQ(c.routing.scores, RouterScores::kSigmoid);
  EXPECT_EQ(c.routing.group_value, GroupValue::kTopTwo);
  EXPECT_EQ(c.routing.normalise, RouterWeights::kNormalised);
  EXPECT_EQ(c.routing.groups, 8u);
  EXPECT_EQ(c.routing.groups_kept, 4u);
  EXPECT_EQ(c.routing.scaling, 2.5f);
  EXPECT_TRUE(c.routing.bias);
}

TEST(DeepSeekConfig, ReadsTheFoldersOfV2LiteAndV3) {
  expect_lite(good("deepseek_v2", folder_values("deepseek_v2")));
  const LatentConfig v3 = good("deepseek_v3", folder_values("deepseek_v3"));
  expect_v3(v3);
  EXPECT_EQ(v3.warnings, std::vector<std::string>{});
}

TEST(DeepSeekConfig, ReadsTheGgufsOfV2LiteAndV3) {
  TensorIndex head;
  expect_lite(good("deepseek2", gguf_values("v2-lite")));
  for (const char* name : {"blk.3.exp_probs_b.bias", "blk.3.exp_probs_b"}) {
    const LatentConfig v3 = good("deepseek2", gguf_values("v3"), with_bias(name));
    expect_v3(v3);
    EXPECT_EQ(v3.warnings, std::vector<std::string>{});
  }
}

TEST(DeepSeekConfig, V2ChoosesFromTheBestGroups) {
  const auto c = good("deepseek_v2", changed(folder_values("deepseek_v2"),
                                             {{"topk_method", text("group_limited_greedy")},
                                              {"n_routed_experts", whole(160)},
                                              {"n_group", whole(8)},
                                              {"topk_group", whole(3)},
                                              {"routed_scaling_factor", 16.0}}));
  EXPECT_EQ(c.routing.groups, 8u);
  EXPECT_EQ(c.routing.groups_kept, 3u);
  EXPECT_EQ(c.routing.group_value, GroupValue::kGreatest);
  EXPECT_EQ(c.routing.scaling, 16.0f);
}

// A greedy choice knows no groups, whatever the file says of them.
TEST(DeepSeekConfig, V2sGreedyChoiceHasNoGroups) {
  const auto c = good("deepseek_v2", changed(folder_values("deepseek_v2"),
                                             {{"n_group", whole(8)}, {"topk_group", whole(3)}}));
  EXPECT_EQ(c.routing.groups, 1u);
  EXPECT_EQ(c.warnings, std::vector<std::string>{});
}

// As DeepSeek's code for V2 has it, unlike that of transformers.
TEST(DeepSeekConfig, V2ScalesOnlyWhatItDoesNotNormalise) {
  const Values values = changed(folder_values("deepseek_v2"),
                                {{"norm_topk_prob", true}, {"routed_scaling_factor", 16.0}});
  const auto c = good("deepseek_v2", values);
  EXPECT_EQ(c.routing.normalise, RouterWeights::kNormalised);
  EXPECT_EQ(c.routing.scaling, 1.0f);
  const auto one = good("deepseek_v2", changed(values, {{"num_experts_per_tok", whole(1)}}));
  EXPECT_EQ(one.routing.normalise, RouterWeights::kPlain);
  EXPECT_EQ(one.routing.scaling, 16.0f);
}

TEST(DeepSeekConfig, ReadsMoonlightAndKimiK2) {
  Values moonlight = changed(folder_values("deepseek_v3"),
                             {{"n_group", whole(1)},
                              {"topk_group", whole(1)},
                              {"n_routed_experts", whole(64)},
                              {"n_shared_experts", whole(2)},
                              {"num_experts_per_tok", whole(6)},
                              {"routed_scaling_factor", 2.446},
                              {"rope_theta", 50000.0},
                              {"rms_norm_eps", 1e-5},
                              {"max_position_embeddings", whole(8192)}},
                             {"q_lora_rank"});
  std::erase_if(moonlight, [](const auto& one) { return one.first.starts_with("rope_scaling"); });
  const auto c = good("deepseek_v3", moonlight);
  EXPECT_EQ(c.query_latent, 0u);
  EXPECT_EQ(c.routing.groups, 1u);
  EXPECT_FLOAT_EQ(c.scale, 1 / std::sqrt(192.0f));
  EXPECT_EQ(c.context_max, 8192u);
  EXPECT_EQ(c.warnings, std::vector<std::string>{});

  const auto kimi =
      good("kimi_k2", changed(folder_values("deepseek_v3"), {{"model_type", text("kimi_k2")},
                                                             {"n_group", whole(1)},
                                                             {"topk_group", whole(1)},
                                                             {"n_routed_experts", whole(384)},
                                                             {"num_attention_heads", whole(64)},
                                                             {"num_nextn_predict_layers", whole(0)},
                                                             {"rope_scaling.factor", 32.0}}));
  EXPECT_EQ(kimi.experts, 384u);
  EXPECT_EQ(kimi.warnings, std::vector<std::string>{});
}

// DeepSeek's code: cos and sin by magnitude(mscale) / magnitude(mscale_all_dim), the scores by
// magnitude(mscale_all_dim)^2; 1 and 0 where they are not given, and magnitude(0) is 1.
TEST(DeepSeekConfig, MagnitudesOfYarn) {
  const Values values = folder_values("deepseek_v3");
  const double grown = 0.1 * std::log(40.0);
  const double plain = 1 / std::sqrt(192.0);
  const auto both = good("deepseek_v3", changed(values, {{"rope_scaling.mscale", 0.5}}));
  EXPECT_NEAR(both.rope.magnitude, (0.5 * grown + 1) / (grown + 1), 1e-6);
  EXPECT_NEAR(both.scale, plain * (grown + 1) * (grown + 1), 1e-6);
  const auto one = good("deepseek_v3", changed(values, {{"rope_scaling.mscale", 0.5}},
                                               {"rope_scaling.mscale_all_dim"}));
  EXPECT_NEAR(one.rope.magnitude, 0.5 * grown + 1, 1e-6);
  EXPECT_NEAR(one.scale, plain, 1e-6);
  const auto none = good(
      "deepseek_v3", changed(values, {}, {"rope_scaling.mscale_all_dim", "rope_scaling.mscale"}));
  EXPECT_NEAR(none.rope.magnitude, grown + 1, 1e-6);
  EXPECT_NEAR(none.scale, plain, 1e-6);
}

TEST(DeepSeekConfig, ExpertsMayStandInSomeLayersOnly) {
  const auto c =
      good("deepseek_v2", changed(folder_values("deepseek_v2"), {{"moe_layer_freq", whole(3)}}));
  EXPECT_FALSE(c.has_experts(0));
  EXPECT_FALSE(c.has_experts(1));
  EXPECT_FALSE(c.has_experts(2));
  EXPECT_TRUE(c.has_experts(3));
  EXPECT_FALSE(c.has_experts(4));
}

TEST(DeepSeekConfig, WithoutExpertsEveryLayerIsDense) {
  for (const char* architecture : {"deepseek_v2", "deepseek_v3"}) {
    const auto c =
        good(architecture, changed(folder_values(architecture), {}, {"n_routed_experts"}));
    EXPECT_FALSE(c.has_experts(5));
    EXPECT_EQ(c.warnings, std::vector<std::string>{}) << architecture;
  }
  const auto gguf = good("deepseek2", changed(gguf_values("v3"), {}, {"deepseek2.expert_count"}));
  EXPECT_FALSE(gguf.has_experts(5));
  EXPECT_EQ(gguf.warnings, std::vector<std::string>{});
}

TEST(DeepSeekConfig, AGgufWithoutAGatingFunctionIsV2OrHasABias) {
  const Values values = changed(gguf_values("v3"), {}, {"deepseek2.expert_gating_func"});
  EXPECT_EQ(good("deepseek2", values, with_bias()).routing.scores, RouterScores::kSigmoid);
  EXPECT_EQ(good("deepseek2", gguf_values("v2-lite")).routing.scores, RouterScores::kSoftmax);
}

TEST(DeepSeekConfig, AGgufWithoutGroupsHasThoseItWasTrainedWith) {
  const std::vector<std::string> groups = {"deepseek2.expert_group_count",
                                           "deepseek2.expert_group_used_count"};
  const auto v3 = good("deepseek2", changed(gguf_values("v3"), {}, groups), with_bias());
  EXPECT_EQ(v3.routing.groups, 8u);
  EXPECT_EQ(v3.routing.groups_kept, 4u);
  ASSERT_EQ(v3.warnings.size(), 1u);
  EXPECT_EQ(v3.warnings[0],
            "model: has no deepseek2.expert_group_count; it is taken as 8, of which 4 are kept, as "
            "DeepSeek published the model of 256 experts");
  const auto v2 = good("deepseek2",
                       changed(gguf_values("v2-lite"), {{"deepseek2.expert_count", whole(160)},
                                                        {"deepseek2.expert_weights_scale", 16.0}}));
  EXPECT_EQ(v2.routing.groups, 8u);
  EXPECT_EQ(v2.routing.groups_kept, 3u);
  EXPECT_EQ(v2.routing.group_value, GroupValue::kGreatest);
  const auto zero =
      good("deepseek2", changed(gguf_values("v3"), {{groups[0], whole(0)}, {groups[1], whole(0)}}),
           with_bias());
  EXPECT_EQ(zero.routing.groups, 1u);
}

uint32_t count_skipped(const Manifest& manifest) {
  uint32_t skipped = 0;
  for (const TensorSpec& spec : manifest) skipped += spec.role == Role::kSkipped;
  return skipped;
}

TEST(DeepSeekConfig, ThePredictionLayerIsSkippedUnlessItIsWanted) {
  TensorIndex tensors;
  for (const char* name : {"model.layers.61.eh_proj.weight", "model.layers.61.embed_tokens.weight",
                           "model.layers.61.shared_head.head.weight",
                           "model.layers.61.mlp.experts.0.up_proj.weight"}) {
    tensors.insert({.name = name, .rows = 3, .columns = 5});
  }
  auto c = good("deepseek_v3", folder_values("deepseek_v3"), tensors);
  EXPECT_TRUE(c.warnings.empty());
  EXPECT_EQ(c.prediction_layers, 1u);
  EXPECT_EQ(c.kv_layout().layers, 61u);
  const Manifest without = latent_manifest(c, tensors, Dialect::kHuggingFace);
  EXPECT_EQ(count_skipped(without), 4u);

  c.predicts = true;
  EXPECT_EQ(c.kv_layout().layers, 62u);
  const Manifest with = latent_manifest(c, tensors, Dialect::kHuggingFace);
  EXPECT_EQ(count_skipped(with), 2u) << "what is the main model's again";
  const auto spec_of = [&](Role role) {
    for (const TensorSpec& spec : with) {
      if (spec.role == role && spec.layer == 61) return spec;
    }
    ADD_FAILURE() << "not in the manifest";
    return TensorSpec{};
  };
  EXPECT_EQ(spec_of(Role::kPredictionEmbeddingNorm).name, "model.layers.61.enorm.weight");
  EXPECT_EQ(spec_of(Role::kPredictionHiddenNorm).name, "model.layers.61.hnorm.weight");
  EXPECT_EQ(spec_of(Role::kPredictionNorm).name, "model.layers.61.shared_head.norm.weight");
  EXPECT_EQ(spec_of(Role::kPredictionInput).rows, 7168u);
  EXPECT_EQ(spec_of(Role::kPredictionInput).columns, 14336u);
  EXPECT_EQ(spec_of(Role::kExpertUp).pieces, 256u);

  tensors.insert({.name = "model.layers.62.eh_proj.weight", .rows = 3, .columns = 5});
  auto two = good("deepseek_v3", folder_values("deepseek_v3"), tensors);
  ASSERT_EQ(two.warnings.size(), 1u);
  EXPECT_EQ(
      two.warnings[0],
      "model: has 2 layers for predicting several tokens at once (MTP); only the first can be "
      "used");
  two.predicts = true;
  EXPECT_EQ(two.kv_layout().layers, 62u);
  EXPECT_EQ(count_skipped(latent_manifest(two, tensors, Dialect::kHuggingFace)), 3u);

  const auto gguf = good("deepseek2",
                         changed(gguf_values("v3"), {{"deepseek2.block_count", whole(62)},
                                                     {"deepseek2.nextn_predict_layers", whole(1)}}),
                         with_bias());
  EXPECT_EQ(gguf.layers, 61u);
}

const TensorSpec* find(const Manifest& manifest, std::string_view name) {
  for (const TensorSpec& spec : manifest) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

TEST(DeepSeekManifest, OfAFolderHasTheExpertsAsPieces) {
  const auto c = good("deepseek_v3", folder_values("deepseek_v3"));
  const Manifest manifest = latent_manifest(c, {}, Dialect::kHuggingFace);
  const TensorSpec* down = find(manifest, "model.layers.60.mlp.experts.*.down_proj.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->pieces, 256u);
  EXPECT_EQ(down->experts, 256u);
  EXPECT_EQ(down->experts_per_token, 8u);
  EXPECT_EQ(down->rows, 7168u);
  EXPECT_EQ(piece_name(*down, 255), "model.layers.60.mlp.experts.255.down_proj.weight");
  const TensorSpec* both = find(manifest, "model.layers.0.self_attn.kv_b_proj.weight");
  ASSERT_NE(both, nullptr);
  EXPECT_EQ(both->rows, 128u * 256);
  EXPECT_NE(find(manifest, "model.layers.3.mlp.gate.e_score_correction_bias"), nullptr);
  EXPECT_EQ(find(manifest, "model.layers.2.mlp.gate.weight"), nullptr);
}

TEST(DeepSeekManifest, OfAGgufHasWhatTheFileHas) {
  TensorIndex tensors;
  const auto stack = [&](std::string name, uint32_t experts, uint32_t rows, uint32_t columns) {
    tensors.insert({.name = std::move(name), .experts = experts, .rows = rows, .columns = columns});
  };
  stack("blk.0.attn_k_b.weight", 128, 512, 128);
  stack("blk.0.attn_v_b.weight", 128, 128, 512);
  stack("blk.0.attn_kv_b.weight", 1, 32768, 512);
  stack("blk.1.attn_k_b.weight", 1, 65536, 128);
  stack("blk.1.attn_v_b.weight", 1, 16384, 512);
  stack("blk.4.exp_probs_b", 1, 1, 256);
  const auto c = good("deepseek2", gguf_values("v3"), tensors);
  const Manifest manifest = latent_manifest(c, tensors, Dialect::kGguf);
  const TensorSpec* apart = find(manifest, "blk.0.attn_k_b.weight");
  ASSERT_NE(apart, nullptr);
  EXPECT_EQ(apart->experts, 128u);
  EXPECT_EQ(apart->rows, 512u);
  EXPECT_EQ(apart->columns, 128u);
  EXPECT_EQ(find(manifest, "blk.0.attn_kv_b.weight")->role, Role::kSkipped);
  const TensorSpec* flat = find(manifest, "blk.1.attn_v_b.weight");
  ASSERT_NE(flat, nullptr);
  EXPECT_EQ(flat->experts, 1u);
  EXPECT_EQ(flat->rows, 16384u);
  EXPECT_EQ(find(manifest, "blk.2.attn_kv_b.weight")->role, Role::kKeyValueUp);
  EXPECT_NE(find(manifest, "blk.3.exp_probs_b.bias"), nullptr);
  EXPECT_NE(find(manifest, "blk.4.exp_probs_b"), nullptr);
  EXPECT_EQ(find(manifest, "blk.3.ffn_up_exps.weight")->pieces, 1u);
}

struct Refusal {
  const char* name;
  const char* architecture;
  Values changes;
  std::vector<std::string> removed;
  const char* message;  // all of it, or its beginning
};

void PrintTo(const Refusal& c, std::ostream* out) {
  *out << c.name;
}

class RefusedDeepSeekConfig : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedDeepSeekConfig, SaysWhy) {
  const Refusal& c = GetParam();
  const bool gguf = std::string_view(c.architecture) == "deepseek2";
  const Values values =
      changed(gguf ? gguf_values("v3") : folder_values(c.architecture), c.changes, c.removed);
  const auto config = read(c.architecture, values, gguf ? with_bias() : TensorIndex());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().message.substr(0, std::string_view(c.message).size()), c.message);
}

const Refusal kRefusals[] = {
    {"NoLatent", "deepseek_v3", {}, {"kv_lora_rank"}, "model: the key 'kv_lora_rank'"},
    {"NoNope",
     "deepseek_v3",
     {{"qk_nope_head_dim", whole(0)}},
     {},
     "model: qk_nope_head_dim is 0; it must be between 1 and 4096"},
    {"HugeLatent",
     "deepseek_v3",
     {{"kv_lora_rank", whole(65537)}},
     {},
     "model: kv_lora_rank is 65537; it must be between 1 and 65536"},
    {"TooManyExperts",
     "deepseek_v3",
     {{"n_routed_experts", whole(16385)}},
     {},
     "model: n_routed_experts is 16385; it must be between 0 and 16384"},
    {"HugeHeads",
     "deepseek_v3",
     {{"num_attention_heads", whole(16384)}, {"v_head_dim", whole(4096)}},
     {},
     "model: 16384 heads of 192 and 4096 values are more than hadal takes (4194304 values in all)"},
    {"HugeShared",
     "deepseek_v3",
     {{"n_shared_experts", whole(16384)}},
     {},
     "model: 16384 shared experts of 2048 values are more than hadal takes (4194304 values in "
     "all)"},
    {"MoreChosenThanThere",
     "deepseek_v3",
     {{"num_experts_per_tok", whole(257)}},
     {},
     "model: num_experts_per_tok is 257; it must be between 1 and 256"},
    {"MoreChosenThanKept",
     "deepseek_v3",
     {{"num_experts_per_tok", whole(129)}},
     {},
     "model: 129 experts are wanted for each token; the groups that are kept have 128"},
    {"UnevenGroups",
     "deepseek_v3",
     {{"n_group", whole(7)}},
     {},
     "model: 256 experts in 7 groups, of which 4 are kept: that cannot be"},
    {"GroupsOfOne",
     "deepseek_v3",
     {{"n_group", whole(256)}, {"topk_group", whole(16)}},
     {},
     "model: 256 experts in 256 groups: a group is judged by its two best experts"},
    {"MoreGroupsKeptThanThere",
     "deepseek_v3",
     {{"topk_group", whole(9)}},
     {},
     "model: topk_group is 9; it must be between 1 and 8"},
    {"NoGroups", "deepseek_v3", {}, {"n_group"}, "model: the key 'n_group'"},
    {"NoScaling",
     "deepseek_v3",
     {},
     {"routed_scaling_factor"},
     "model: the key 'routed_scaling_factor'"},
    {"OtherScores",
     "deepseek_v3",
     {{"scoring_func", text("sqrtsoftplus")}},
     {},
     "model: scoring_func is 'sqrtsoftplus'; for the architecture deepseek_v3 hadal implements "
     "only 'sigmoid'"},
    {"OtherMethod",
     "deepseek_v3",
     {{"topk_method", text("greedy")}},
     {},
     "model: topk_method is 'greedy'; for the architecture deepseek_v3 hadal implements only "
     "'noaux_tc'"},
    {"V2WithSigmoid",
     "deepseek_v2",
     {{"scoring_func", text("sigmoid")}},
     {},
     "model: scoring_func is 'sigmoid'; for the architecture deepseek_v2 hadal implements only "
     "'softmax'"},
    {"V2WithBias",
     "deepseek_v2",
     {{"topk_method", text("noaux_tc")}},
     {},
     "model: topk_method is 'noaux_tc'; for the architecture deepseek_v2 hadal implements only "
     "'greedy'"},
    {"Biases",
     "deepseek_v2",
     {{"attention_bias", true}},
     {},
     "model: attention_bias is true; for the architecture deepseek_v2 hadal implements only false"},
    {"OtherActivation",
     "deepseek_v2",
     {{"hidden_act", text("gelu")}},
     {},
     "model: hidden_act is 'gelu'"},
    {"OtherClass",
     "deepseek_v2",
     {{"architectures", MetadataArray(Strings{"DeepseekVLForCausalLM"})}},
     {},
     "model: architectures is 'DeepseekVLForCausalLM'"},
    {"OtherBlocks",
     "deepseek_v3",
     {{"quantization_config.weight_block_size", MetadataArray(Integers{32, 32})}},
     {},
     "model: quantization_config.weight_block_size is 32"},
    {"AttentionFactor",
     "deepseek_v3",
     {{"rope_scaling.attention_factor", 1.2}},
     {},
     "model: rope_scaling.attention_factor is 1.2; for the architecture deepseek_v3 hadal "
     "implements only 1"},
    {"DynamicRope",
     "deepseek_v3",
     {{"rope_scaling.type", text("dynamic")}},
     {},
     "model: rope_scaling.rope_type is 'dynamic', a rope scaling that hadal does not implement"},
    {"PartialRope",
     "deepseek_v3",
     {{"partial_rotary_factor", 0.5}},
     {},
     "model: rope turns 32 of 64 values; for the architecture deepseek_v3 it turns all of them"},
    {"GgufOtherGating",
     "deepseek2",
     {{"deepseek2.expert_gating_func", whole(4)}},
     {},
     "model: deepseek2.expert_gating_func is 4; hadal implements 1 (softmax) and 2 (sigmoid)"},
    {"GgufAllRope",
     "deepseek2",
     {{"deepseek2.attention.key_length_mla", whole(64)}},
     {},
     "model: deepseek2.attention.key_length_mla is 64; it must be more than "
     "deepseek2.rope.dimension_count, 64"},
    {"GgufOtherRow",
     "deepseek2",
     {{"deepseek2.attention.key_length", whole(640)}},
     {},
     "model: deepseek2.attention.key_length is 640; for the architecture deepseek2 hadal "
     "implements only 576"},
    {"GgufAllPredicting",
     "deepseek2",
     {{"deepseek2.nextn_predict_layers", whole(61)}},
     {},
     "model: deepseek2.nextn_predict_layers is 61, of 61 layers in all"},
    {"GgufNoGroupKept",
     "deepseek2",
     {{"deepseek2.expert_group_used_count", whole(0)}},
     {},
     "model: deepseek2.expert_group_used_count is 0, of 8 groups"},
    {"GgufTemperature",
     "deepseek2",
     {{"deepseek2.attention.temperature_scale", 0.1}},
     {},
     "model: deepseek2.attention.temperature_scale is 0.1"},
    {"GgufNormAndScale",
     "deepseek2",
     {{"deepseek2.expert_gating_func", whole(1)}},
     {},
     "model: deepseek2.expert_weights_norm beside deepseek2.expert_weights_scale for softmax"},
};

INSTANTIATE_TEST_SUITE_P(All, RefusedDeepSeekConfig, testing::ValuesIn(kRefusals),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hadal
