// What Tokenizer promises, on small vocabularies that each case spells out, and on the real ones.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include "text/tokenizer/tokenizer_added.h"
#include "text/tokenizer/tokenizer_source.h"
#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal {
namespace {

using testing::open_vocabulary;
using testing::RandomText;
using Ids = std::vector<TokenId>;

// Byte-level: all 256 bytes (ids 0 to 255), then what the case adds.
struct ByteLevel {
  VocabularySource source;
  ByteLevel() {
    source.file = "small";
    source.spelling = Spelling::kByteAlphabet;
    source.pre_tokenizer = *PreTokenizer::named("gpt-2");
    for (uint32_t byte = 0; byte < 256; ++byte) {
      std::string& spelled = source.owned.emplace_back();
      const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
      append_code_point(spelled, printable ? byte : 0x100 + others_++);
      source.tokens.push_back(spelled);
    }
    source.kinds.assign(256, TokenKind::kNormal);
  }
  TokenId add(std::string_view token, TokenKind kind, AddedTokenRule rule = {}) {
    source.tokens.push_back(token);
    source.kinds.push_back(kind);
    rule.id = static_cast<TokenId>(source.tokens.size() - 1);
    source.added_rules.push_back(rule);
    return rule.id;
  }
  TokenId merge(std::string_view left, std::string_view right) {
    source.merges.emplace_back(left, right);
    const std::string& both = source.owned.emplace_back(std::string(left) + std::string(right));
    source.tokens.push_back(both);
    source.kinds.push_back(TokenKind::kNormal);
    return static_cast<TokenId>(source.tokens.size() - 1);
  }
  std::unique_ptr<Tokenizer> make() const {
    auto tokenizer = make_tokenizer(source);
    EXPECT_TRUE(tokenizer) << tokenizer.error().message;
    return std::move(*tokenizer);
  }
  std::string error() const {
    const auto tokenizer = make_tokenizer(source);
    EXPECT_FALSE(tokenizer);
    return tokenizer ? "" : tokenizer.error().message;
  }

 private:
  uint32_t others_ = 0;
};

Ids encode(const Tokenizer& tokenizer, std::string_view text,
           SpecialTokens special = SpecialTokens::kAsText) {
  auto ids = tokenizer.encode(text, special);
  EXPECT_TRUE(ids) << ids.error().message;
  return ids ? *ids : Ids();
}

Ids encode(const Tokenizer& tokenizer, const std::vector<TextPiece>& pieces) {
  auto ids = tokenizer.encode(pieces);
  EXPECT_TRUE(ids) << ids.error().message;
  return ids ? *ids : Ids();
}

TEST(Tokenizer, ControlTokensOnlyInSpecialText) {
  ByteLevel vocabulary;
  const TokenId end = vocabulary.add("<|e|>", TokenKind::kControl);
  const TokenId mark = vocabulary.add("<m>", TokenKind::kUserDefined);
  const auto tokenizer = vocabulary.make();
  EXPECT_EQ(encode(*tokenizer, "a<|e|>"), (Ids{'a', '<', '|', 'e', '|', '>'}));
  EXPECT_EQ(encode(*tokenizer, "a<|e|>", SpecialTokens::kParsed), (Ids{'a', end}));
  EXPECT_EQ(encode(*tokenizer, "a<m>b"), (Ids{'a', mark, 'b'}));
  EXPECT_TRUE(tokenizer->is_special(end));
  EXPECT_FALSE(tokenizer->is_special(mark));
  EXPECT_FALSE(tokenizer->is_special('a'));
  EXPECT_FALSE(tokenizer->is_special(-1));
  EXPECT_FALSE(tokenizer->is_special(100000));
}

TEST(Tokenizer, InPiecesControlTokensLieWhollyInSpecialPieces) {
  ByteLevel vocabulary;
  const TokenId end = vocabulary.add("<|e|>", TokenKind::kControl);
  const TokenId mark = vocabulary.add("<m>", TokenKind::kUserDefined);
  const auto tokenizer = vocabulary.make();
  const Ids as_text{'<', '|', 'e', '|', '>'};
  EXPECT_EQ(encode(*tokenizer, {{"<|e|>", true}}), (Ids{end}));
  EXPECT_EQ(encode(*tokenizer, {{"<|e|>", false}}), as_text);
  EXPECT_EQ(encode(*tokenizer, {{"<|", true}, {"e|>", true}}), (Ids{end}));
  EXPECT_EQ(encode(*tokenizer, {{"<|", true}, {"", false}, {"e|>", true}}), (Ids{end}));
  EXPECT_EQ(encode(*tokenizer, {{"<|", true}, {"e", false}, {"|>", true}}), as_text);
  EXPECT_EQ(encode(*tokenizer, {{"<|e", false}, {"|>", true}}), as_text);
  EXPECT_EQ(encode(*tokenizer, {{"<|e|", true}, {">", false}}), as_text);
  EXPECT_EQ(encode(*tokenizer, {{"<", true}, {"m", false}, {">", true}}), (Ids{mark}));
  EXPECT_EQ(encode(*tokenizer, {{"<|e|>", true}, {"<|e|>", false}, {"<|e|>", true}}),
            (Ids{end, '<', '|', 'e', '|', '>', end}));
  EXPECT_EQ(encode(*tokenizer, std::vector<TextPiece>()), Ids());
}

TEST(Tokenizer, ABorderBetweenPiecesChangesNothingElse) {
  const Tokenizer& tokenizer = open_vocabulary("qwen2");
  RandomText random(11);
  for (int i = 0; i < 200; ++i) {
    const std::string text = random.mixed(60);
    std::vector<TextPiece> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min<size_t>(text.size() - at, random.below(12));
      pieces.push_back({text.substr(at, size), random.below(2) == 0});
      at += size;
    }
    ASSERT_EQ(encode(tokenizer, pieces), encode(tokenizer, text)) << text;
  }
}

TEST(Tokenizer, TheLongestAddedTokenFromTheLeft) {
  ByteLevel vocabulary;
  const TokenId ab = vocabulary.add("<ab", TokenKind::kUserDefined);
  const TokenId abc = vocabulary.add("<abc>", TokenKind::kUserDefined);
  const TokenId bc = vocabulary.add("bc", TokenKind::kUserDefined);
  const TokenId control = vocabulary.add("<abc>d", TokenKind::kControl);
  const auto tokenizer = vocabulary.make();
  EXPECT_EQ(encode(*tokenizer, "<abc>"), (Ids{abc}));
  EXPECT_EQ(encode(*tokenizer, "<abc"), (Ids{ab, 'c'}));
  EXPECT_EQ(encode(*tokenizer, "x<abbc"), (Ids{'x', ab, bc}));
  EXPECT_EQ(encode(*tokenizer, "<abc>d"), (Ids{abc, 'd'}));
  EXPECT_EQ(encode(*tokenizer, "<abc>d", SpecialTokens::kParsed), (Ids{control}));
}

TEST(Tokenizer, AddedTokensTakeTheSpaceTheyAskFor) {
  ByteLevel vocabulary;
  const TokenId left = vocabulary.add("<l>", TokenKind::kUserDefined, {.strip_left = true});
  const TokenId right = vocabulary.add("<r>", TokenKind::kUserDefined, {.strip_right = true});
  const TokenId word = vocabulary.add("wo", TokenKind::kUserDefined, {.single_word = true});
  const auto tokenizer = vocabulary.make();
  EXPECT_EQ(encode(*tokenizer, "a \u3000\n<l>b"), (Ids{'a', left, 'b'}));
  EXPECT_EQ(encode(*tokenizer, "a<r> \t b"), (Ids{'a', right, 'b'}));
  EXPECT_EQ(encode(*tokenizer, "<r>  <l>"), (Ids{right, left}));
  EXPECT_EQ(encode(*tokenizer, "wo!"), (Ids{word, '!'}));
  EXPECT_EQ(encode(*tokenizer, "wow"), (Ids{'w', 'o', 'w'}));
  EXPECT_EQ(encode(*tokenizer, "two"), (Ids{'t', 'w', 'o'}));
  EXPECT_EQ(encode(*tokenizer, "_wo"), (Ids{'_', 'w', 'o'}));
  EXPECT_EQ(encode(*tokenizer, "\u00e9wo").size(), 4u);
  EXPECT_EQ(encode(*tokenizer, "wo-wo"), (Ids{word, '-', word}));
}

TEST(Tokenizer, TextAroundAddedTokensIsSplitOnItsOwn) {
  // "  x": the last space goes with the x; before a token there is no x.
  ByteLevel vocabulary;
  const TokenId space_x = vocabulary.merge("Ġ", "x");
  const TokenId spaces = vocabulary.merge("Ġ", "Ġ");
  const TokenId mark = vocabulary.add("<m>", TokenKind::kUserDefined);
  const auto tokenizer = vocabulary.make();
  EXPECT_EQ(encode(*tokenizer, "  x"), (Ids{' ', space_x}));
  EXPECT_EQ(encode(*tokenizer, "  <m>x"), (Ids{spaces, mark, 'x'}));
}

TEST(Tokenizer, ManyAddedTokensCostNothing) {
  ByteLevel vocabulary;
  for (int i = 0; i < 5000; ++i) {
    vocabulary.add(vocabulary.source.owned.emplace_back("<|reserved_" + std::to_string(i) + "|>"),
                   TokenKind::kControl);
  }
  const auto tokenizer = vocabulary.make();
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "<|reserved_" + std::to_string(4999 - i) + "|>";
  const Ids ids = encode(*tokenizer, text, SpecialTokens::kParsed);
  ASSERT_EQ(ids.size(), 5000u);
  EXPECT_EQ(tokenizer->token_bytes(ids[0]), "<|reserved_4999|>");
  EXPECT_EQ(encode(*tokenizer, std::string(1 << 20, '<'), SpecialTokens::kParsed).size(), 1u << 20);
}

TEST(Tokenizer, MergesByRank) {
  ByteLevel vocabulary;
  vocabulary.merge("b", "c");
  vocabulary.merge("a", "b");
  vocabulary.merge("a", "bc");
  const auto tokenizer = vocabulary.make();
  EXPECT_EQ(encode(*tokenizer, "abc"), (Ids{258}));
  EXPECT_EQ(encode(*tokenizer, "abab"), (Ids{257, 257}));
  EXPECT_EQ(encode(*tokenizer, "abbc"), (Ids{257, 256}));
}

TEST(Tokenizer, IgnoreMergesTakesWholeWords) {
  ByteLevel vocabulary;
  vocabulary.source.tokens.push_back("xyz");  // no merges lead to it
  vocabulary.source.kinds.push_back(TokenKind::kNormal);
  EXPECT_EQ(encode(*vocabulary.make(), "xyz").size(), 3u);
  vocabulary.source.ignore_merges = true;
  EXPECT_EQ(encode(*vocabulary.make(), "xyz"), (Ids{256}));
  EXPECT_EQ(encode(*vocabulary.make(), "xyzx").size(), 4u);
}

TEST(Tokenizer, AByteNoTokenSpells) {
  ByteLevel vocabulary;
  vocabulary.source.tokens[0xfe] = "";
  const auto tokenizer = vocabulary.make();
  const auto ids = tokenizer->encode("a\xfe", SpecialTokens::kAsText);
  ASSERT_FALSE(ids);
  EXPECT_NE(ids.error().message.find("FE"), std::string::npos) << ids.error().message;
  vocabulary.source.unknown = vocabulary.add("<unk>", TokenKind::kUnknown);
  EXPECT_EQ(encode(*vocabulary.make(), "a\xfe"), (Ids{'a', *vocabulary.source.unknown}));
}

TEST(Tokenizer, AUserDefinedTokenIsItsCharacterNotAByte) {
  // DeepSeek-LLM's vocabulary has no byte F5 but a user-defined "õ", which the byte alphabet would
  // take for it.
  ByteLevel vocabulary;
  vocabulary.source.kinds[0xf5] = TokenKind::kUserDefined;
  const auto tokenizer = vocabulary.make();
  EXPECT_EQ(encode(*tokenizer, "õ"), (Ids{0xf5}));
  EXPECT_EQ(tokenizer->token_bytes(0xf5), "õ");
  EXPECT_FALSE(tokenizer->encode("\xf5", SpecialTokens::kAsText));
}

TEST(Tokenizer, RefusesTextBeyondTheLimit) {
  const auto tokenizer = ByteLevel().make();
  const std::string text(Tokenizer::kTextBytesMax + 1, 'a');
  const auto ids = tokenizer->encode(text, SpecialTokens::kAsText);
  ASSERT_FALSE(ids);
  EXPECT_NE(ids.error().message.find(std::to_string(Tokenizer::kTextBytesMax)), std::string::npos);
}

TEST(Tokenizer, NamesWhatIsWrongWithAVocabulary) {
  ByteLevel twice;
  twice.add("a", TokenKind::kNormal);
  EXPECT_NE(twice.error().find("tokens " + std::to_string('a') + " and 256 are both 'a'"),
            std::string::npos)
      << twice.error();
  ByteLevel types;
  types.source.kinds.pop_back();
  EXPECT_NE(types.error().find("256 tokens but 255"), std::string::npos);
  ByteLevel scores;
  scores.source.scores = {1.0f};
  EXPECT_NE(scores.error().find("scores"), std::string::npos);
  ByteLevel ids;
  ids.source.bos = 256;
  EXPECT_NE(ids.error().find("beginning-of-sequence token is 256"), std::string::npos);
  ByteLevel rule;
  rule.source.added_rules.push_back({.id = 999});
  EXPECT_NE(rule.error().find("999"), std::string::npos);
  ByteLevel long_token;
  long_token.add(long_token.source.owned.emplace_back(AddedTokens::kBytesMax + 1, 'x'),
                 TokenKind::kControl);
  EXPECT_NE(long_token.error().find("limit of 512"), std::string::npos);
  EXPECT_FALSE(make_tokenizer(VocabularySource{.file = "empty"}));
}

TEST(Tokenizer, BytesOfTokens) {
  ByteLevel vocabulary;
  const TokenId the = vocabulary.merge("Ġ", "t");
  const TokenId end = vocabulary.add("<|e|>", TokenKind::kControl);
  const auto tokenizer = vocabulary.make();
  EXPECT_EQ(tokenizer->token_bytes(the), " t");
  EXPECT_EQ(tokenizer->token_bytes(end), "<|e|>");
  EXPECT_EQ(tokenizer->token_bytes(-1), "");
  EXPECT_EQ(tokenizer->token_bytes(5000), "");
  EXPECT_EQ(tokenizer->find("Ġt"), the);
  EXPECT_EQ(tokenizer->find("<|e|>"), end);
  EXPECT_EQ(tokenizer->find("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer->find(""), std::nullopt);
  const Ids ids{the, end, 'x', 99999};
  EXPECT_EQ(tokenizer->decode(ids, SpecialTokens::kAsText), " tx");
  EXPECT_EQ(tokenizer->decode(ids, SpecialTokens::kParsed), " t<|e|>x");
}

TEST(Tokenizer, EndTokensAreAllThatCanEndAnAnswer) {
  ByteLevel vocabulary;
  const TokenId eos = vocabulary.add("<stop>", TokenKind::kControl);
  const TokenId turn = vocabulary.add("<turn>", TokenKind::kControl);
  const TokenId im_end = vocabulary.add("<|im_end|>", TokenKind::kControl);
  vocabulary.add("<|eot_id|>", TokenKind::kUserDefined);  // spelled like one, but no control token
  vocabulary.source.eos = eos;
  vocabulary.source.ends = {turn, turn};
  const auto tokenizer = vocabulary.make();
  const auto ends = tokenizer->end_tokens();
  EXPECT_EQ(Ids(ends.begin(), ends.end()), (Ids{eos, turn, im_end}));
}

// SentencePiece: bytes, letters, and a few pieces with scores.
VocabularySource sentence_piece() {
  VocabularySource source;
  source.file = "spm";
  source.spelling = Spelling::kSpaceMarker;
  source.space_prefix = SpacePrefix::kEach;
  source.byte_fallback = true;
  source.normalizer = {{.kind = NormalizerStep::Kind::kReplace, .what = " ", .with = "▁"}};
  const auto add = [&](std::string token, TokenKind kind, float score) {
    source.tokens.push_back(source.owned.emplace_back(std::move(token)));
    source.kinds.push_back(kind);
    source.scores.push_back(score);
  };
  add("<unk>", TokenKind::kUnknown, 0);
  add("<s>", TokenKind::kControl, 0);
  for (int byte = 0; byte < 256; ++byte) {
    add(fmt::format("<0x{:02X}>", byte), TokenKind::kByte, 0);
  }
  for (const char* piece : {"▁", "a", "b", "▁a", "ab", "▁ab", "▁▁"}) {
    add(piece, TokenKind::kNormal, -static_cast<float>(source.tokens.size()));
  }
  source.unknown = 0;
  return source;
}

TEST(Tokenizer, SentencePiecePutsASpaceInFrontAndTakesItAway) {
  const VocabularySource source = sentence_piece();
  const auto tokenizer = make_tokenizer(source);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto id = [&](std::string_view piece) { return *(*tokenizer)->find(piece); };
  EXPECT_EQ(encode(**tokenizer, "ab"), (Ids{id("▁ab")}));
  EXPECT_EQ(encode(**tokenizer, " ab"), (Ids{id("▁"), id("▁ab")}));  // "▁▁" has a worse score
  EXPECT_EQ(encode(**tokenizer, "b a"), (Ids{id("▁"), id("b"), id("▁a")}));
  EXPECT_EQ(encode(**tokenizer, ""), Ids());
  EXPECT_EQ((*tokenizer)->token_bytes(id("▁ab")), " ab");
  EXPECT_EQ((*tokenizer)->token_bytes(id("<0xE4>")), "\xe4");
  EXPECT_EQ(encode(**tokenizer, "ä"), (Ids{id("▁"), id("<0xC3>"), id("<0xA4>")}));
  EXPECT_EQ(encode(**tokenizer, "\xff"), (Ids{id("▁"), id("<0xFF>")}));
  const Ids with_special = encode(**tokenizer, "a<s> b", SpecialTokens::kParsed);
  EXPECT_EQ(with_special, (Ids{id("▁a"), id("<s>"), id("▁▁"), id("b")}));
  EXPECT_EQ((*tokenizer)->decode(with_special, SpecialTokens::kParsed), "a<s> b");
  EXPECT_EQ((*tokenizer)->decode(with_special, SpecialTokens::kAsText), "a b");
  EXPECT_EQ((*tokenizer)->kind(), "SentencePiece BPE");
  EXPECT_EQ((*tokenizer)->pre_tokenizer(), "");
}

TEST(Tokenizer, SentencePieceWithoutBytesHasTheUnknown) {
  VocabularySource source = sentence_piece();
  source.byte_fallback = false;
  EXPECT_EQ(encode(**make_tokenizer(source), "äöa").size(), 4u);  // ▁, unknown twice, a
  source.fuse_unknown = true;
  EXPECT_EQ(encode(**make_tokenizer(source), "ä").size(), 2u);
  source.unknown.reset();
  EXPECT_FALSE((*make_tokenizer(source))->encode("ä", SpecialTokens::kAsText));
}

// The law: decode(encode(x)) = x, for all byte strings where the tokenizer allows it.
class RoundTrip : public ::testing::TestWithParam<std::string> {};

TEST_P(RoundTrip, DecodeGivesBackTheBytes) {
  const Tokenizer& tokenizer = open_vocabulary(GetParam(), GetParam() == "qwen2" ? "qwen2" : "");
  const bool sentence_piece = tokenizer.kind() == "SentencePiece BPE";
  RandomText random(5);
  size_t refused = 0;
  for (int i = 0; i < 600; ++i) {
    std::string text = i % 3 == 0   ? random.bytes(1 + random.below(300))
                       : i % 3 == 1 ? random.characters(1 + random.below(200))
                                    : random.mixed(1 + random.below(300));
    if (i % 7 == 0) text += "  \n " + std::string(random.below(5), ' ');
    // "▁" is how SentencePiece writes a space: it cannot come back.
    if (sentence_piece && text.find("▁") != std::string::npos) continue;
    const auto ids = tokenizer.encode(text, SpecialTokens::kAsText);
    if (!ids) {  // a vocabulary may lack bytes that UTF-8 never has
      ++refused;
      continue;
    }
    ASSERT_EQ(tokenizer.decode(*ids, SpecialTokens::kAsText), text);
    std::string joined;
    for (const TokenId id : *ids) joined += tokenizer.token_bytes(id);
    ASSERT_EQ(sentence_piece ? joined.substr(1) : joined, text);
  }
  const bool lacks_bytes = GetParam().find("deepseek-") != std::string::npos;
  EXPECT_TRUE(lacks_bytes || refused == 0) << refused;
  EXPECT_LT(refused, 400u);
}

INSTANTIATE_TEST_SUITE_P(
    Vocabularies, RoundTrip,
    ::testing::Values("deepseek-v3", "qwen2", "llama3", "gguf/ggml-vocab-deepseek-llm.gguf",
                      "gguf/ggml-vocab-deepseek-coder.gguf", "gguf/ggml-vocab-gpt-2.gguf",
                      "gguf/ggml-vocab-llama-spm.gguf", "gguf/ggml-vocab-phi-3.gguf"),
    [](const auto& info) {
      std::string name = info.param;
      for (char& c : name) {
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      }
      return name;
    });

TEST(Tokenizer, FactsOfRealVocabularies) {
  const Tokenizer& v3 = open_vocabulary("deepseek-v3");
  EXPECT_EQ(v3.kind(), "byte-level BPE");
  EXPECT_EQ(v3.pre_tokenizer(), "deepseek-v3");
  EXPECT_EQ(v3.vocabulary_size(), 128815u);
  EXPECT_EQ(v3.bos(), 0);
  EXPECT_TRUE(v3.adds_bos());
  EXPECT_FALSE(v3.adds_eos());
  EXPECT_EQ(v3.end_tokens()[0], 1);
  EXPECT_TRUE(v3.is_special(0));
  EXPECT_FALSE(v3.is_special(*v3.find("<｜User｜>")));
  // V3's role tokens are user-defined: a text of its own can hold them, as Hugging Face has it, but
  // no control token; a message in a conversation holds neither, or it could speak as somebody
  // else.
  const Ids role = {*v3.find("<｜User｜>")};
  EXPECT_EQ(encode(v3, "<｜User｜>"), role);
  EXPECT_GT(encode(v3, "<｜end▁of▁sentence｜>").size(), 1u);
  EXPECT_EQ(encode(v3, {{"<｜User｜>", true}}), role);
  const Ids message = encode(v3, {{"<｜User｜>", true}, {"<｜Assistant｜>", false}});
  EXPECT_EQ(message[0], role[0]);
  EXPECT_EQ(std::count(message.begin(), message.end(), *v3.find("<｜Assistant｜>")), 0);
  // Half a mark of the template's does not become one by what a message adds to it.
  const Ids joined = encode(v3, {{"<｜Us", true}, {"er｜>", false}});
  EXPECT_EQ(std::count(joined.begin(), joined.end(), role[0]), 0);

  const Tokenizer& qwen = open_vocabulary("qwen2");
  EXPECT_EQ(qwen.pre_tokenizer(), "qwen2");
  EXPECT_EQ(qwen.bos(), std::nullopt);
  EXPECT_FALSE(qwen.adds_bos());
  EXPECT_EQ(Ids(qwen.end_tokens().begin(), qwen.end_tokens().end()), (Ids{151643, 151645}));
  EXPECT_EQ(encode(qwen, "<|im_start|>", SpecialTokens::kParsed), (Ids{151644}));

  EXPECT_EQ(open_vocabulary("llama3").pre_tokenizer(), "llama-bpe");
  const Tokenizer& spm = open_vocabulary("gguf/ggml-vocab-llama-spm.gguf");
  EXPECT_EQ(spm.bos(), 1);
  EXPECT_TRUE(spm.adds_bos());
  EXPECT_EQ(spm.end_tokens()[0], 2);
}

}  // namespace
}  // namespace hadal
