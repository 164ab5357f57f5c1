// The readers: what each key of a GGUF and each part of a Hugging Face folder means, and what they
// refuse.
#include <gtest/gtest.h>

#include <map>

#include "base/json.h"
#include "text/tokenizer/tokenizer_json_text.h"
#include "text/tokenizer/tokenizer_readers.h"
#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

// ---- GGUF

using Strings = std::vector<std::string_view>;

struct GgufKeys {
  std::map<std::string, MetadataValue> values;
  GgufKeys() {
    values["tokenizer.ggml.model"] = std::string_view("gpt2");
    values["tokenizer.ggml.pre"] = std::string_view("gpt-2");
    values["tokenizer.ggml.tokens"] =
        MetadataArray(Strings{"a", "b", "ab", "Ġ", "<e>", "<|im_end|>"});
    values["tokenizer.ggml.token_type"] = MetadataArray(std::vector<int64_t>{1, 1, 1, 1, 4, 3});
    values["tokenizer.ggml.merges"] = MetadataArray(Strings{"a b"});
  }
  Result<VocabularySource> read() const {
    Metadata metadata("model.gguf", Dialect::kGguf);
    for (const auto& [key, value] : values) EXPECT_TRUE(metadata.insert(key, value));
    return read_gguf_vocabulary(metadata);
  }
  std::string error() const {
    const auto source = read();
    if (!source) return source.error().message;
    const auto tokenizer = make_tokenizer(*source);
    return tokenizer ? "" : tokenizer.error().message;
  }
};

TEST(TokenizerGguf, ByteLevelDefaults) {
  const auto source = GgufKeys().read();
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ(source->spelling, Spelling::kByteAlphabet);
  EXPECT_EQ(source->pre_tokenizer.name(), "gpt-2");
  EXPECT_FALSE(source->adds_bos);
  EXPECT_FALSE(source->adds_eos);
  EXPECT_FALSE(source->ignore_merges);
  EXPECT_EQ(source->bos, std::nullopt);
  EXPECT_EQ(source->eos, std::nullopt);
  EXPECT_EQ(source->space_prefix, SpacePrefix::kNever);
  const auto tokenizer = make_tokenizer(*source);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(*(*tokenizer)->encode("ab a<e>", SpecialTokens::kAsText), (Ids{2, 3, 0, 4}));
  EXPECT_EQ((*tokenizer)->end_tokens().size(), 1u);
}

TEST(TokenizerGguf, SaysWhatItIs) {
  GgufKeys keys;
  keys.values["tokenizer.ggml.bos_token_id"] = uint64_t{4};
  keys.values["tokenizer.ggml.eos_token_id"] = uint64_t{5};
  keys.values["tokenizer.ggml.eot_token_id"] = uint64_t{4};
  keys.values["tokenizer.ggml.add_bos_token"] = true;
  keys.values["tokenizer.ggml.add_eos_token"] = true;
  const auto source = keys.read();
  ASSERT_TRUE(source);
  EXPECT_EQ(source->bos, 4);
  EXPECT_EQ(source->eos, 5);
  EXPECT_EQ(source->ends, (Ids{4}));
  EXPECT_TRUE(source->adds_bos);
  EXPECT_TRUE(source->adds_eos);
}

TEST(TokenizerGguf, DefaultsOfPreTokenizers) {
  GgufKeys keys;
  keys.values["tokenizer.ggml.pre"] = std::string_view("llama3");
  auto source = keys.read();
  ASSERT_TRUE(source);
  EXPECT_TRUE(source->ignore_merges);
  EXPECT_TRUE(source->adds_bos);
  EXPECT_EQ(source->pre_tokenizer_name, "llama3");
  keys.values["tokenizer.ggml.add_bos_token"] = false;
  EXPECT_FALSE(keys.read()->adds_bos);
  keys.values.erase("tokenizer.ggml.pre");
  EXPECT_EQ(keys.read()->pre_tokenizer_name, "default");
  keys.values["tokenizer.ggml.bos_token_id"] = uint64_t{UINT32_MAX};
  EXPECT_EQ(keys.read()->bos, std::nullopt);
}

TEST(TokenizerGguf, SentencePieceDefaults) {
  GgufKeys keys;
  keys.values["tokenizer.ggml.model"] = std::string_view("llama");
  keys.values["tokenizer.ggml.tokens"] =
      MetadataArray(Strings{"<unk>", "<s>", "</s>", "▁", "a", "▁a"});
  keys.values["tokenizer.ggml.token_type"] = MetadataArray(std::vector<int64_t>{2, 3, 3, 1, 1, 1});
  keys.values["tokenizer.ggml.scores"] = MetadataArray(std::vector<double>{0, 0, 0, -1, -2, -3});
  const auto source = keys.read();
  ASSERT_TRUE(source) << source.error().message;
  EXPECT_EQ(source->bos, 1);
  EXPECT_EQ(source->eos, 2);
  EXPECT_EQ(source->unknown, 0);
  EXPECT_TRUE(source->adds_bos);
  EXPECT_EQ(source->space_prefix, SpacePrefix::kEach);
  EXPECT_EQ(*(*make_tokenizer(*source))->encode("a a", SpecialTokens::kAsText), (Ids{5, 5}));
  keys.values["tokenizer.ggml.add_space_prefix"] = false;
  EXPECT_EQ(*(*make_tokenizer(*keys.read()))->encode("a a", SpecialTokens::kAsText), (Ids{4, 5}));
}

TEST(TokenizerGguf, Refuses) {
  const auto error = [](const std::string& key, std::optional<MetadataValue> value) {
    GgufKeys keys;
    if (value) {
      keys.values["tokenizer.ggml." + key] = *value;
    } else {
      keys.values.erase("tokenizer.ggml." + key);
    }
    const std::string message = keys.error();
    EXPECT_NE(message.find("model.gguf"), std::string::npos) << key << ": " << message;
    return message;
  };
  EXPECT_NE(error("model", {}).find("no tokenizer"), std::string::npos);
  EXPECT_NE(error("model", std::string_view("bert")).find("'bert' is not supported"),
            std::string::npos);
  EXPECT_NE(error("pre", std::string_view("odd")).find("'odd' is not known"), std::string::npos);
  error("pre", true);
  error("tokens", {});
  error("tokens", MetadataArray(std::vector<int64_t>{1}));
  error("tokens", MetadataArray(Strings{}));
  EXPECT_NE(error("tokens", MetadataArray(Strings{"a", "b", "ab", "a", "c", "d"})).find("both 'a'"),
            std::string::npos);
  EXPECT_NE(error("token_type", MetadataArray(std::vector<int64_t>{1})).find("1 entries for 6"),
            std::string::npos);
  error("merges", {});
  EXPECT_NE(error("merges", MetadataArray(Strings{"ab"})).find("entry 0"), std::string::npos);
  error("merges", MetadataArray(Strings{"a "}));
  EXPECT_NE(error("merges", MetadataArray(Strings{"b a"})).find("'ba'"), std::string::npos);
  EXPECT_NE(error("bos_token_id", uint64_t{6}).find("is 6"), std::string::npos);
  error("eos_token_id", uint64_t{1} << 40);
  error("eot_token_id", uint64_t{3000000000});
  error("add_bos_token", std::string_view("yes"));
}

// ---- Hugging Face

struct Folder {
  std::map<std::string, std::string, std::less<>> files;
  Result<VocabularySource> read() const {
    return read_folder_vocabulary(
        [&](std::string_view name) -> Result<std::optional<std::string>> {
          const auto found = files.find(name);
          if (found == files.end()) return std::nullopt;
          return found->second;
        },
        "folder");
  }
  std::unique_ptr<Tokenizer> open() const {
    const auto source = read();
    EXPECT_TRUE(source) << source.error().message;
    auto tokenizer = make_tokenizer(*source);
    EXPECT_TRUE(tokenizer) << tokenizer.error().message;
    return std::move(*tokenizer);
  }
  std::string error() const {
    const auto source = read();
    if (!source) return source.error().message;
    const auto tokenizer = make_tokenizer(*source);
    return tokenizer ? "" : tokenizer.error().message;
  }
};

json small_tokenizer() {
  return json::parse(R"({
    "version": "1.0",
    "added_tokens": [
      {"id": 6, "content": "<s>", "special": true},
      {"id": 7, "content": "<m>", "special": false, "lstrip": true}
    ],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {
      "type": "BPE", "ignore_merges": false,
      "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ã": 4, "©": 5},
      "merges": ["a b"]
    }
  })");
}

Folder with_json(const json& tokenizer) {
  return {{{"tokenizer.json", tokenizer.dump()}}};
}

TEST(TokenizerJson, Alone) {
  const auto tokenizer = with_json(small_tokenizer()).open();
  EXPECT_EQ(tokenizer->pre_tokenizer(), "gpt-2");
  EXPECT_EQ(tokenizer->vocabulary_size(), 8u);
  EXPECT_EQ(*tokenizer->encode("ab a <m><s>", SpecialTokens::kParsed), (Ids{2, 3, 0, 7, 6}));
  EXPECT_EQ(*tokenizer->encode("é", SpecialTokens::kAsText), (Ids{4, 5}));
  EXPECT_TRUE(tokenizer->is_special(6));
  EXPECT_FALSE(tokenizer->is_special(7));
  EXPECT_EQ(tokenizer->bos(), std::nullopt);
}

TEST(TokenizerJson, MergesAsPairsAndEscapes) {
  json tokenizer = small_tokenizer();
  tokenizer["model"]["merges"] = json::parse(R"([["a", "b"]])");
  EXPECT_EQ(*with_json(tokenizer).open()->encode("ab", SpecialTokens::kAsText), (Ids{2}));
  Folder escaped;
  escaped.files["tokenizer.json"] = tokenizer.dump(-1, ' ', /*ensure_ascii=*/true);
  EXPECT_NE(escaped.files["tokenizer.json"].find("\\u0120"), std::string::npos);
  EXPECT_EQ(*escaped.open()->encode(" ab", SpecialTokens::kAsText), (Ids{3, 2}));
}

TEST(TokenizerJson, IgnoreMerges) {
  json tokenizer = small_tokenizer();
  tokenizer["model"]["merges"] = json::array();
  EXPECT_EQ(with_json(tokenizer).open()->encode("ab", SpecialTokens::kAsText)->size(), 2u);
  tokenizer["model"]["ignore_merges"] = true;
  EXPECT_EQ(*with_json(tokenizer).open()->encode("ab", SpecialTokens::kAsText), (Ids{2}));
}

TEST(TokenizerJson, PreTokenizersInSequence) {
  json tokenizer = small_tokenizer();
  tokenizer["model"]["vocab"] = {{"a", 0}, {"1", 1}, {"11", 2}, {"Ġ", 3}, {"Ġa", 4}, {"a1", 5}};
  tokenizer["model"]["merges"] = {"1 1", "a 1", "Ġ a"};
  const auto with = [&](const char* pre) {
    tokenizer["pre_tokenizer"] = json::parse(pre);
    return *with_json(tokenizer).open()->encode("a a11", SpecialTokens::kAsText);
  };
  const char* byte_level =
      R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";
  const auto sequence = [&](const std::string& part) {
    return R"({"type": "Sequence", "pretokenizers": [)" + part + ", " + byte_level + "]}";
  };
  EXPECT_EQ(with(byte_level), (Ids{0, 4, 2}));
  EXPECT_EQ(with(sequence(R"({"type": "Digits", "individual_digits": true})").c_str()),
            (Ids{0, 4, 1, 1}));
  EXPECT_EQ(with(sequence(R"({"type": "Digits", "individual_digits": false})").c_str()),
            (Ids{0, 4, 2}));
  EXPECT_EQ(with(sequence(R"({"type": "Split", "pattern": {"String": "a"}, "behavior":
                          "MergedWithPrevious", "invert": false})")
                     .c_str()),
            (Ids{0, 4, 2}));
  EXPECT_EQ(
      with(sequence(R"({"type": "Split", "pattern": {"Regex": "a1"}, "behavior": "Isolated"})")
               .c_str()),
      (Ids{0, 3, 5, 1}));
  EXPECT_EQ(with(sequence(R"({"type": "Split", "pattern": {"String": " "}, "behavior": "Removed"})")
                     .c_str()),
            (Ids{0, 0, 2}));
  EXPECT_EQ(with(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true})"),
            (Ids{4, 4, 2}));
}

TEST(TokenizerJson, Normalizers) {
  json tokenizer = small_tokenizer();
  tokenizer["normalizer"] = json::parse(R"({"type": "NFC"})");
  EXPECT_EQ(*with_json(tokenizer)
                 .open()
                 ->encode("e\u0301\xff", SpecialTokens::kAsText)
                 .or_else([](const Error&) -> Result<Ids> { return Ids{}; }),
            Ids());  // the byte FF has no token here
  EXPECT_EQ(*with_json(tokenizer).open()->encode("e\u0301", SpecialTokens::kAsText), (Ids{4, 5}));
  tokenizer["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "Replace", "pattern": {"String": "x"}, "content": "ab"},
      {"type": "Prepend", "prepend": "a"}]})");
  EXPECT_EQ(*with_json(tokenizer).open()->encode("x<s>x", SpecialTokens::kParsed),
            (Ids{0, 2, 6, 0, 2}));
}

// How many tokens a text has at least is known where no step can shrink it without bound.
TEST(TokenizerJson, LeastTokens) {
  json tokenizer = small_tokenizer();  // a token of it takes all spaces before it
  EXPECT_EQ(with_json(tokenizer).open()->least_tokens(8000), 0u);
  tokenizer["added_tokens"][1]["lstrip"] = false;
  const uint64_t plain = with_json(tokenizer).open()->least_tokens(8000);
  EXPECT_GT(plain, 0u);
  tokenizer["normalizer"] = json::parse(R"({"type": "NFC"})");
  EXPECT_EQ(with_json(tokenizer).open()->least_tokens(8000), plain / 8);
  tokenizer["normalizer"] =
      json::parse(R"({"type": "Replace", "pattern": {"String": "xx"}, "content": ""})");
  EXPECT_EQ(with_json(tokenizer).open()->least_tokens(8000), 0u);
}

// Llama 2 as tokenizer.json: no pre-tokenizer, spaces become "▁", bytes as a last resort.
TEST(TokenizerJson, SentencePiece) {
  json tokenizer = small_tokenizer();
  tokenizer["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  tokenizer["pre_tokenizer"] = nullptr;
  tokenizer["model"] = json::parse(R"({"type": "BPE", "byte_fallback": true, "fuse_unk": true,
      "unk_token": "<unk>",
      "vocab": {"<unk>": 0, "a": 1, "▁": 2, "▁a": 3, "<0xC3>": 4, "<0xA9>": 5},
      "merges": ["▁ a"]})");
  const auto opened = with_json(tokenizer).open();
  EXPECT_EQ(opened->kind(), "SentencePiece BPE");
  EXPECT_EQ(*opened->encode("a aé", SpecialTokens::kAsText), (Ids{3, 3, 4, 5}));
  EXPECT_EQ(opened->decode(Ids{3, 3, 4, 5}, SpecialTokens::kAsText), "a aé");
  EXPECT_EQ(*opened->encode("öa<s>a", SpecialTokens::kParsed), (Ids{2, 0, 1, 6, 3}));
  EXPECT_EQ(opened->token_bytes(4), "\xc3");

  // The newer form says the same with a Metaspace pre-tokenizer, which puts no second space in
  // front.
  tokenizer["normalizer"] = nullptr;
  tokenizer["pre_tokenizer"] = json::parse(
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})");
  const auto newer = with_json(tokenizer).open();
  EXPECT_EQ(*newer->encode("a a<s>a", SpecialTokens::kParsed), (Ids{3, 3, 6, 1}));
  EXPECT_EQ(*newer->encode(" a", SpecialTokens::kAsText), (Ids{3}));
}

Ids ends(const Folder& folder) {
  const auto tokenizer = folder.open();
  return Ids(tokenizer->end_tokens().begin(), tokenizer->end_tokens().end());
}

TEST(TokenizerJson, TemplateProcessorAndConfigSayWhatIsAdded) {
  json tokenizer = small_tokenizer();
  tokenizer["post_processor"] = json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel"},
      {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}]})");
  Folder folder = with_json(tokenizer);
  EXPECT_TRUE(folder.open()->adds_bos());
  EXPECT_EQ(folder.open()->bos(), 6);
  EXPECT_FALSE(folder.open()->adds_eos());
  folder.files["tokenizer_config.json"] =
      R"({"add_bos_token": false, "add_eos_token": true, "eos_token": {"content": "<m>"}})";
  EXPECT_FALSE(folder.open()->adds_bos());
  EXPECT_TRUE(folder.open()->adds_eos());
  EXPECT_EQ(ends(folder), (Ids{7}));
}

TEST(TokenizerFolder, EndsFromEveryFile) {
  Folder folder = with_json(small_tokenizer());
  EXPECT_EQ(ends(folder), Ids());
  folder.files["generation_config.json"] = R"({"eos_token_id": [6, 2, 5000]})";
  EXPECT_EQ(ends(folder), (Ids{2, 6}));
  folder.files["generation_config.json"] = R"({"eos_token_id": 6})";
  folder.files["config.json"] = R"({"eos_token_id": 1, "bos_token_id": 0, "model_type": "llama"})";
  EXPECT_EQ(ends(folder), (Ids{1, 6}));
  EXPECT_EQ(folder.open()->bos(), 0);
  EXPECT_FALSE(folder.open()->adds_bos());
  folder.files["special_tokens_map.json"] = R"({"bos_token": "<s>"})";
  EXPECT_EQ(folder.open()->bos(), 6);
}

Folder two_files(const char* vocabulary = "vocab.json", const char* merges = "merges.txt") {
  Folder folder;
  folder.files[vocabulary] = R"({"a": 0, "b": 1, "ab": 2, "Ã": 3, "©": 4, "1": 5, "11": 6})";
  folder.files[merges] = "#version: 0.2\na b\r\n1 1\n";
  return folder;
}

TEST(TokenizerFolder, VocabularyAndMerges) {
  Folder folder = two_files();
  EXPECT_EQ(folder.open()->pre_tokenizer(), "gpt-2");
  EXPECT_EQ(*folder.open()->encode("ab11", SpecialTokens::kAsText), (Ids{2, 6}));
  folder.files["tokenizer_config.json"] = R"({"tokenizer_class": "Qwen2Tokenizer",
      "added_tokens_decoder": {"7": {"content": "<|im_end|>", "special": true},
                               "8": {"content": "<t>", "special": false}}})";
  folder.files["added_tokens.json"] = R"({"<|im_end|>": 7, "<x>": 9})";
  const auto qwen = folder.open();
  EXPECT_EQ(qwen->pre_tokenizer(), "qwen2");
  EXPECT_EQ(*qwen->encode("e\u0301"
                          "11<t><|im_end|>",
                          SpecialTokens::kAsText)
                 .or_else([](const Error&) -> Result<Ids> { return Ids{}; }),
            Ids());  // "<" has no token here
  EXPECT_EQ(*qwen->encode("e\u0301"
                          "11<t>",
                          SpecialTokens::kAsText),
            (Ids{3, 4, 5, 5, 8}));
  EXPECT_EQ(*qwen->encode("<|im_end|><x>", SpecialTokens::kParsed), (Ids{7, 9}));
  EXPECT_TRUE(qwen->is_special(9));

  Folder older = two_files("encoder.json", "vocab.bpe");
  older.files["config.json"] = R"({"model_type": "llama"})";
  EXPECT_EQ(older.open()->pre_tokenizer(), "llama-bpe");
}

TEST(TokenizerFolder, Refuses) {
  EXPECT_NE(Folder().error().find("neither tokenizer.json"), std::string::npos);
  const Folder model{{{"tokenizer.model", "x"}}};
  EXPECT_NE(model.error().find("tokenizer.model alone"), std::string::npos);
  Folder half = two_files();
  half.files.erase("merges.txt");
  EXPECT_NE(half.error().find("merges.txt"), std::string::npos);
  Folder merges = two_files();
  merges.files["merges.txt"] = "a b c\n";
  EXPECT_NE(merges.error().find("merge 0 is 'a b c'"), std::string::npos) << merges.error();
  Folder config = two_files();
  config.files["tokenizer_config.json"] = "[]";
  EXPECT_NE(config.error().find("tokenizer_config.json"), std::string::npos);
  config.files["tokenizer_config.json"] = R"({"added_tokens_decoder": {"x": {"content": "y"}}})";
  EXPECT_NE(config.error().find("'x'"), std::string::npos);
  config.files["tokenizer_config.json"] =
      R"({"added_tokens_decoder": {"999999999": {"content": "y"}}})";
  EXPECT_NE(config.error().find("999999999"), std::string::npos);
  config = two_files();
  config.files["added_tokens.json"] = R"({"y": -1})";
  EXPECT_NE(config.error().find("'y'"), std::string::npos);
}

TEST(TokenizerJson, Refuses) {
  const auto error = [](const std::function<void(json&)>& change) {
    json tokenizer = small_tokenizer();
    change(tokenizer);
    const std::string message = with_json(tokenizer).error();
    EXPECT_NE(message.find("folder/tokenizer.json"), std::string::npos) << message;
    return message;
  };
  const auto has = [](const std::string& message, const char* part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  has(error([](json& t) { t.erase("model"); }), "no tokenizer model");
  has(error([](json& t) { t["model"]["type"] = "Unigram"; }), "Unigram");
  has(error([](json& t) { t["model"].erase("merges"); }), "merges");
  has(error([](json& t) { t["model"]["vocab"] = json::array(); }), "vocabulary");
  has(error([](json& t) { t["model"]["vocab"]["c"] = 0; }), "both have the id 0");
  has(error([](json& t) { t["model"]["vocab"]["c"] = 4000000000; }), "far beyond");
  has(error([](json& t) { t["model"]["vocab"]["c"] = -1; }), "a token id");
  has(error([](json& t) { t["model"]["vocab"]["c"] = 9.5; }), "',' or '}'");
  has(error([](json& t) { t["model"]["vocab"][""] = 9; }), "empty");
  has(error([](json& t) { t["model"]["merges"].push_back("a"); }), "merge 1");
  has(error([](json& t) { t["model"]["merges"].push_back("a  b"); }), "merge 1");
  has(error([](json& t) { t["model"]["merges"].push_back("b a"); }), "'ba'");
  has(error([](json& t) { t["model"]["merges"].push_back({"a", "b", "c"}); }), "']'");
  has(error([](json& t) { t["model"]["merges"].push_back(1); }), "a string");
  has(error([](json& t) { t["model"]["end_of_word_suffix"] = "</w>"; }), "end_of_word_suffix");
  has(error([](json& t) { t["added_tokens"] = 5; }), "no list");
  has(error([](json& t) { t["added_tokens"].push_back({{"id", 9}}); }), "no content");
  has(error([](json& t) { t["added_tokens"][0]["id"] = 2; }), "'ab' in the vocabulary");
  has(error([](json& t) { t["added_tokens"][0]["id"] = 100000000; }), "far beyond");
  has(error([](json& t) { t["normalizer"] = {{"type", "Nmt"}}; }), "Nmt");
  has(error([](json& t) {
        t["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "a"}}}, {"content", ""}};
      }),
      "regular expression");
  has(error([](json& t) { t["pre_tokenizer"] = {{"type", "BertPreTokenizer"}}; }), "Bert");
  has(error([](json& t) {
        t["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "("}}}};
      }),
      "cannot be used");
  has(error([](json& t) { t["pre_tokenizer"] = {{"type", "Split"}}; }), "no pattern");
  has(error([](json& t) {
        t["pre_tokenizer"] = {
            {"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Odd"}};
      }),
      "'Odd'");
  has(error([](json& t) {
        json many = json::array();
        for (int i = 0; i < 100; ++i) many.push_back({{"type", "NFC"}});
        t["normalizer"] = {{"type", "Sequence"}, {"normalizers", many}};
      }),
      "more than 64");
}

TEST(TokenizerJson, RefusesWhatIsNoJson) {
  const auto error = [](std::string text) {
    const std::string message = Folder{{{"tokenizer.json", std::move(text)}}}.error();
    EXPECT_NE(message, "");
    return message;
  };
  const std::string good = small_tokenizer().dump();
  for (size_t size = 0; size < good.size(); ++size) error(good.substr(0, size));
  error(good + "x");
  error("[]");
  error("null");
  EXPECT_NE(error("\xff").find("not UTF-8"), std::string::npos);
  EXPECT_NE(error(R"({"model": 1, "model": 2})").find("twice"), std::string::npos);
  EXPECT_NE(error(R"({"x": )" + std::string(100000, '[') + "}").find("nested"), std::string::npos);
  error(R"({"model": {"vocab": {"\ud800": 0}, "merges": []}})");
  error(R"({"model": {"vocab": {"\u12": 0}, "merges": []}})");
  error(R"({"model": {"vocab": {"\q": 0}, "merges": []}})");
  error("{\"model\": {\"vocab\": {\"\n\": 0}, \"merges\": []}}");
}

TEST(TokenizerJsonText, Escapes) {
  VocabularySource source;
  JsonCursor cursor(R"({"\"\\\/\b\f\n\r\t": 0, "\u00e9\u4e2d\ud83d\ude00": 1, "plain": 2})",
                    "text");
  const Status status = read_vocabulary_object(cursor, source);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(source.tokens[0], "\"\\/\b\f\n\r\t");
  EXPECT_EQ(source.tokens[1], "é中😀");
  EXPECT_EQ(source.tokens[2], "plain");
}

// Damaged files end in a tokenizer or a sentence.
TEST(TokenizerJson, SurvivesDamage) {
  const std::string good = small_tokenizer().dump();
  testing::RandomText random(9);
  size_t opened = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (uint32_t n = 1 + random.below(3); n > 0; --n) {
      const size_t at = random.below(static_cast<uint32_t>(text.size()));
      switch (random.below(3)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.erase(at, 1 + random.below(6));
          break;
        default:
          text.insert(at, text.substr(random.below(static_cast<uint32_t>(text.size())),
                                      1 + random.below(12)));
      }
    }
    const auto source = Folder{{{"tokenizer.json", text}}}.read();
    if (!source) continue;
    const auto tokenizer = make_tokenizer(*source);
    if (!tokenizer) continue;
    ++opened;
    (void)(*tokenizer)->encode("ab a<s><m> \xff", SpecialTokens::kParsed);
  }
  EXPECT_GT(opened, 1000u);
}

}  // namespace
}  // namespace hadal
