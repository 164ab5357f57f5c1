// What every kind of tokenizer file comes down to: tokens, merges, and the rules around them. The
// readers (tokenizer_gguf.cpp, tokenizer_folder.cpp, tokenizer_json.cpp) fill it in;
// make_tokenizer() turns it into a Tokenizer.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/unicode.h"

namespace hadal {

// The numbers are those of tokenizer.ggml.token_type.
enum class TokenKind : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // matched in special text only
  kUserDefined = 4,  // matched everywhere
  kUnused = 5,
  kByte = 6,  // "<0x0A>"
};

// How the vocabulary writes text.
enum class Spelling : uint8_t {
  kByteAlphabet,  // each byte is one of 256 printable characters, as GPT-2 does: " the" is "Ġthe"
  kSpaceMarker,   // UTF-8 with "▁" for the space, as SentencePiece does; other bytes are "<0xXX>"
  kPlain,         // UTF-8 as it is
};

// Where a space is put before text that has none of its own.
enum class SpacePrefix : uint8_t {
  kNever,
  kFirst,  // at the start of the whole text
  kEach,   // at the start of each stretch between added tokens
};

struct NormalizerStep {
  enum class Kind : uint8_t { kPrepend, kReplace, kForm };
  Kind kind = Kind::kForm;
  std::string what;  // kPrepend: the text put before; kReplace: the text replaced
  std::string with;  // kReplace
  NormalForm form = NormalForm::kNfc;
};

// How an added token (control or user-defined) is matched, beyond what its kind says.
struct AddedTokenRule {
  TokenId id = 0;
  bool strip_left = false, strip_right = false;  // takes the white space beside it
  bool single_word = false;                      // not beside a letter, mark, digit or underscore
};

struct VocabularySource {
  std::string file;  // for messages
  Spelling spelling = Spelling::kByteAlphabet;
  std::vector<std::string_view> tokens;  // by id; empty: no token has this id
  std::vector<TokenKind> kinds;          // as many as tokens, or none: all normal
  std::vector<float>
      scores;  // with these merges follow from the scores (SentencePiece), highest first
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // first goes first
  std::vector<AddedTokenRule> added_rules;

  PreTokenizer pre_tokenizer;
  std::string pre_tokenizer_name;
  std::vector<NormalizerStep> normalizer;
  SpacePrefix space_prefix = SpacePrefix::kNever;  // put before the normalizer runs
  bool prefix_only_if_missing = false;             // not where the text begins with a space
  bool ignore_merges = false;  // a word that is a token is that token, however it would merge
  bool byte_fallback = false;  // what no token spells is spelled by byte tokens
  bool fuse_unknown = false;   // neighbouring unknown characters are one unknown token

  std::optional<TokenId> bos, eos, unknown;
  std::vector<TokenId> ends;  // besides eos and the well-known control tokens
  bool adds_bos = false, adds_eos = false;

  std::deque<std::string>
      owned;  // text that tokens and merges refer to, where no mapped file holds it

  static constexpr size_t kTokensMax = 4 << 20;  // sixteen times the largest vocabulary in use
  static constexpr size_t kMergesMax = 8 << 20;
};

// Copies what it needs: the source and the files behind it may go. Errors: duplicate tokens, ids
// outside the vocabulary, a merge of or into an unknown token, more than the limits.
Result<std::unique_ptr<Tokenizer>> make_tokenizer(const VocabularySource& source);

}  // namespace hadal
