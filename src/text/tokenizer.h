// Text to token ids and back. Byte-level BPE (GPT-2 family, every DeepSeek model) and SentencePiece
// BPE (Llama 1/2 family). Built from a GGUF's metadata or from the files of a Hugging Face folder:
// tokenizer.json, or vocab.json + merges.txt, or encoder.json + vocab.bpe. Immutable after open;
// any thread may use it.
//
// Special tokens (control tokens: GGUF type 3, `special: true`) are matched only in text that is
// marked special (a template's own text, or `--special`); user-defined tokens (type 4, added with
// `special: false`) are matched everywhere, but in a conversation's pieces those that are spelled
// like control tokens (<｜...｜>, <|...|>) are held to the special ones as well.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/text_piece.h"

namespace hadal {

class ModelFile;

using TokenId = int32_t;

enum class SpecialTokens : uint8_t { kAsText, kParsed };

class Tokenizer {
 public:
  // Errors name the file and key: no tokenizer in it, unknown pre-tokenizer, a merge of unknown
  // tokens, duplicate ids ...
  static Result<std::unique_ptr<Tokenizer>> open(const ModelFile& file);
  // From a folder that need not hold a model: a tokenizer.json alone will do.
  static Result<std::unique_ptr<Tokenizer>> open_folder(const std::filesystem::path& folder);
  virtual ~Tokenizer() = default;

  // The ids of text; no BOS is added. Invalid UTF-8 is tokenized byte for byte. Errors: text longer
  // than kTextBytesMax, or a byte the vocabulary cannot spell and no unknown token.
  virtual Result<std::vector<TokenId>> encode(std::string_view text,
                                              SpecialTokens special) const = 0;

  // A prompt whose pieces differ in trust: special tokens are matched only where they lie wholly in
  // special pieces; all else is tokenized as the joined text.
  virtual Result<std::vector<TokenId>> encode(std::span<const TextPiece> pieces) const = 0;

  // Tokens that every text of so many bytes has at least, as far as that is known without reading
  // it: so that far too long ones can be refused at once. 0: nothing is known.
  virtual uint64_t least_tokens(uint64_t /*bytes*/) const { return 0; }

  // The bytes of one token, as they stand in running text (SentencePiece: "▁the" is " the").
  // Special tokens give their name. May be part of a UTF-8 character: join first, then cut with
  // TextStream. Unknown ids give an empty view.
  virtual std::string_view token_bytes(TokenId id) const = 0;

  // Bytes of all tokens. skip_special leaves control tokens out; a SentencePiece tokenizer drops
  // the space that its encode put before the first word.
  virtual std::string decode(std::span<const TokenId> ids, SpecialTokens special) const = 0;

  virtual uint32_t vocabulary_size() const = 0;
  virtual bool is_special(TokenId id) const = 0;  // control tokens
  virtual std::optional<TokenId> find(
      std::string_view piece) const = 0;  // by its spelling in the vocabulary, specials too

  virtual std::optional<TokenId> bos() const = 0;  // beginning of sequence
  virtual bool adds_bos() const = 0;  // the model was trained with it before every text
  virtual bool adds_eos() const = 0;
  virtual std::span<const TokenId> end_tokens()
      const = 0;  // any of these ends an answer (EOS, EOT, <|im_end|> ...)

  virtual std::string_view kind() const = 0;  // "byte-level BPE", "SentencePiece BPE": for show
  virtual std::string_view pre_tokenizer() const = 0;  // "deepseek-v3", ...; "" for SentencePiece

  static constexpr uint64_t kTextBytesMax = 256ull << 20;
};

// The chat template the model carries (tokenizer.chat_template; tokenizer_config.json;
// chat_template.jinja), if any.
Result<std::optional<std::string>> model_chat_template(const ModelFile& file);

}  // namespace hadal
