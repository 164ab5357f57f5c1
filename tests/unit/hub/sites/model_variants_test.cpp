#include "hub/sites/model_variants.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

Listing listing_of(const std::vector<std::pair<std::string, uint64_t>>& files) {
  Listing listing;
  for (const auto& [path, bytes] : files) EXPECT_TRUE(listing.add({.path = path, .bytes = bytes}));
  return listing;
}

std::vector<std::string> formats_of(const std::vector<ModelVariant>& variants) {
  std::vector<std::string> formats;
  for (const ModelVariant& variant : variants) formats.push_back(variant.format);
  return formats;
}

TEST(ModelVariantsTest, FormatsInNames) {
  const std::pair<const char*, const char*> cases[] = {
      {"DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf", "q4_k_m"},
      {"DeepSeek-R1-Distill-Qwen-7B.Q8_0.gguf", "q8_0"},
      {"DeepSeek-R1-UD-IQ1_S/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", "ud-iq1_s"},
      {"BF16/model-00001-of-00002.gguf", "bf16"},
      {"model-f16.gguf", "f16"},
      {"gpt-MXFP4_MOE.gguf", "mxfp4_moe"},
      {"SmolLM2-135M-Instruct.Q4_1.gguf", "q4_1"},
      {"Qwen3-TQ1_0.gguf", "tq1_0"},
      {"Qwen2-7B.gguf", ""},
      {"q-model.gguf", ""},
      {"R1-Q.gguf", ""}};
  for (const auto& [path, format] : cases) EXPECT_EQ(format_of_file(path), format) << path;
}

TEST(ModelVariantsTest, SplitNames) {
  const auto split = parse_split_name("a/b-00002-of-00005.gguf");
  ASSERT_TRUE(split);
  EXPECT_EQ(split->stem, "a/b");
  EXPECT_EQ(split->part, 2u);
  EXPECT_EQ(split->parts, 5u);
  for (const char* name :
       {"b-0002-of-00005.gguf", "-00001-of-00002", "b-00002-of-0000x.gguf", "b.gguf"})
    EXPECT_FALSE(parse_split_name(name)) << name;
}

TEST(ModelVariantsTest, FilesOfARepository) {
  const auto variants = find_variants(listing_of({{"m-Q8_0.gguf", 80},
                                                  {"Q4/m-Q4_K_M-00001-of-00002.gguf", 20},
                                                  {"Q4/m-Q4_K_M-00002-of-00002.gguf", 21},
                                                  {"m-Q2_K-00001-of-00002.gguf", 5},
                                                  {"mmproj-F16.gguf", 9},
                                                  {"m.imatrix.gguf", 9},
                                                  {"README.md", 1},
                                                  {"z-00000-of-00001.gguf", 3}}));
  EXPECT_EQ(formats_of(variants), (std::vector<std::string>{"q8_0", "q4_k_m"}));
  EXPECT_EQ(variants[1].bytes, 41u);
  EXPECT_EQ(variants[1].files[0].path, "Q4/m-Q4_K_M-00001-of-00002.gguf");
}

TEST(ModelVariantsTest, AFolderOfSafetensors) {
  const auto variants = find_variants(listing_of({{"model-00001-of-00002.safetensors", 50},
                                                  {"model-00002-of-00002.safetensors", 50},
                                                  {"config.json", 1},
                                                  {"tokenizer.json", 2},
                                                  {"modeling_deepseek.py", 3},
                                                  {"pytorch_model.bin", 100},
                                                  {"original/x.safetensors", 7},
                                                  {"LICENSE", 4},
                                                  {"README.md", 9}}));
  ASSERT_EQ(variants.size(), 1u);
  EXPECT_TRUE(variants[0].folder);
  EXPECT_EQ(variants[0].bytes, 107u);
  EXPECT_EQ(variants[0].files.back().path, "model-00002-of-00002.safetensors")
      << "small files first";
  EXPECT_TRUE(find_variants(listing_of({{"model.safetensors", 50}})).empty())
      << "nothing to run without a config.json";
}

TEST(ModelVariantsTest, NamesThatShareAFormatGoByTheirFiles) {
  const auto variants = find_variants(listing_of({{"a-Q8_0.gguf", 2}, {"b-Q8_0.gguf", 1}}));
  EXPECT_EQ(formats_of(variants), (std::vector<std::string>{"a-q8_0.gguf", "b-q8_0.gguf"}));
  const auto choice = choose_variant(variants, {.format = "B-Q8_0"}, "x");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->variant->bytes, 1u);
  EXPECT_EQ(formats_of(find_variants(listing_of({{"only.gguf", 2}}))),
            std::vector<std::string>{"gguf"});
}

class ChooseVariantTest : public testing::Test {
 protected:
  std::vector<ModelVariant> variants_ = find_variants(listing_of({{"m-BF16.gguf", 16000},
                                                                  {"m-Q8_0.gguf", 8000},
                                                                  {"m-Q4_K_M.gguf", 4500},
                                                                  {"m-Q2_K.gguf", 2500}}));
  // 10 bytes of KV a token are 40960 for 4096; so the memory is counted from there.
  Result<VariantChoice> choose(uint64_t for_weights, std::string format = "") {
    return choose_variant(variants_,
                          {.format = std::move(format),
                           .memory_bytes = 40960 + for_weights,
                           .kv_bytes_per_token = 10},
                          "name");
  }
};

TEST_F(ChooseVariantTest, TheBestThatFits) {
  EXPECT_EQ(choose(100000)->variant->format, "q8_0");
  EXPECT_EQ(choose(8000)->variant->format, "q8_0");
  EXPECT_EQ(choose(7999)->variant->format, "q4_k_m");
  EXPECT_EQ(choose(2500)->variant->format, "q2_k");
  EXPECT_NE(choose(8000)->why.find("q8_0 is the best format that fits"), std::string::npos);
  const auto none = choose(2499);
  ASSERT_FALSE(none);
  for (const char* word : {"q2_k", "hadal pull name:q2_k", "4096"})
    EXPECT_NE(none.error().message.find(word), std::string::npos) << word;
}

TEST_F(ChooseVariantTest, TheOneAskedForWhateverItTakes) {
  EXPECT_EQ(choose(0, "BF16")->variant->format, "bf16");
  const auto none = choose(0, "q5_0");
  ASSERT_FALSE(none);
  for (const char* word : {"'q5_0'", "bf16", "q2_k"})
    EXPECT_NE(none.error().message.find(word), std::string::npos) << word;
}

TEST_F(ChooseVariantTest, PreferencesOfTheCatalogue) {
  const auto choice = choose_variant(
      variants_, {.format = "", .preferences = {"q2_k", "q8_0"}, .memory_bytes = 1 << 20}, "name");
  EXPECT_EQ(choice->variant->format, "q2_k");
  EXPECT_FALSE(choose_variant({}, {}, "name"));
}

}  // namespace
}  // namespace hadal
