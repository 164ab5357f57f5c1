// A tokenizer for tests: every byte is a token of its own number; from 256 on come control tokens.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace hadal {

class ByteTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kBos = 256, kEnd = 257, kThink = 258, kThinkEnd = 259, kOther = 260,
                           kCallsBegin = 261, kCallBegin = 262, kCallSeparator = 263,
                           kCallEnd = 264, kCallsEnd = 265;

  bool wants_bos = true;

  Result<std::vector<TokenId>> encode(std::string_view text, SpecialTokens special) const override {
    const TextPiece piece{std::string(text), special == SpecialTokens::kParsed};
    return encode(std::span(&piece, 1));
  }

  Result<std::vector<TokenId>> encode(std::span<const TextPiece> pieces) const override {
    std::vector<TokenId> ids;
    for (const TextPiece& piece : pieces) {
      std::string_view rest = piece.text;
      while (!rest.empty()) {
        TokenId id = static_cast<unsigned char>(rest[0]);
        for (size_t i = 0; piece.special && i < kSpecial.size(); ++i) {
          if (rest.starts_with(kSpecial[i])) id = 256 + static_cast<TokenId>(i);
        }
        ids.push_back(id);
        rest.remove_prefix(token_bytes(id).size());
      }
    }
    return ids;
  }

  std::string_view token_bytes(TokenId id) const override {
    if (id >= 256) {
      const auto index = static_cast<size_t>(id) - 256;
      return index < kSpecial.size() ? kSpecial[index] : std::string_view();
    }
    return {bytes_.data() + id, 1};
  }

  std::string decode(std::span<const TokenId> ids, SpecialTokens) const override {
    std::string text;
    for (const TokenId id : ids) text += token_bytes(id);
    return text;
  }

  uint32_t vocabulary_size() const override { return 256 + kSpecial.size(); }
  bool is_special(TokenId id) const override { return id >= 256; }
  std::optional<TokenId> find(std::string_view piece) const override {
    for (size_t i = 0; i < kSpecial.size(); ++i) {
      if (kSpecial[i] == piece) return 256 + static_cast<TokenId>(i);
    }
    return piece.size() == 1 ? std::optional<TokenId>(static_cast<unsigned char>(piece[0]))
                             : std::nullopt;
  }
  std::optional<TokenId> bos() const override { return kBos; }
  bool adds_bos() const override { return wants_bos; }
  bool adds_eos() const override { return false; }
  std::span<const TokenId> end_tokens() const override { return end_tokens_; }
  std::string_view kind() const override { return "bytes"; }
  std::string_view pre_tokenizer() const override { return ""; }

 private:
  static constexpr std::array<std::string_view, 10> kSpecial = {"<s>",
                                                                "</s>",
                                                                "<think>",
                                                                "</think>",
                                                                "<|other|>",
                                                                "<｜tool▁calls▁begin｜>",
                                                                "<｜tool▁call▁begin｜>",
                                                                "<｜tool▁sep｜>",
                                                                "<｜tool▁call▁end｜>",
                                                                "<｜tool▁calls▁end｜>"};
  std::vector<TokenId> end_tokens_ = {kEnd};
  std::string bytes_ = [] {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    return bytes;
  }();
};

}  // namespace hadal
