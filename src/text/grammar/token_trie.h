// The bytes of a model's tokens as a tree, so that an automaton is asked about a common beginning
// once. Built once a model, immutable, any thread may read it; does not need the tokenizer later.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace hadal {

class TokenTrie {
 public:
  // A node of the tree, parents before children: node i's children, if any, follow it; `skip` is
  // the next node that is not below it.
  struct Node {
    uint32_t skip;
    TokenId token;  // whose bytes end here; kNoToken
    uint8_t byte;
    uint8_t depth;  // of bytes, from 1
  };
  static constexpr TokenId kNoToken = -1;
  static constexpr size_t kTokenBytesMax = 255;        // longer tokens are never allowed
  static constexpr uint32_t kPlainCharactersMax = 64;  // longer ones are not among the plain

  // Errors: a vocabulary that has not every printable ASCII character as a token, so that JSON
  // cannot be spelled in it. One that has not every byte of UTF-8 loses the tokens that are parts
  // of characters. Control and end tokens are not in the tree, but for marks of tool calls.
  static Result<std::shared_ptr<const TokenTrie>> build(const Tokenizer& tokenizer);

  // How the token of this name stands in the tree and in a grammar, if it marks tool calls
  // (tool_calls.h): between bytes that no UTF-8 has, so that no other text can be taken for it.
  static std::string mark(std::string_view name);
  // Text with such tokens as they are shown: by their names.
  static std::string unmarked(std::string_view text);
  // A grammar's text for this vocabulary: marks that are no tokens of it are as their names.
  std::string spelled(std::string_view text) const;

  std::span<const Node> all() const { return all_; }

  // Most tokens are whole characters that may stand in a JSON string as they are. Inside a string
  // all of these are allowed at once, and only the others need a look.
  std::span<const Node> not_plain() const { return not_plain_; }
  // One bit a token: plain ones of at most so many characters.
  std::span<const uint32_t> plain(uint32_t characters_max) const;

  // Tokens with the same bytes as another, which is in the tree.
  struct Twin {
    TokenId in_tree, other;
  };
  std::span<const Twin> twins() const { return twins_; }

  size_t vocabulary() const { return begins_.size() - 1; }
  size_t words() const { return words_; }  // of a mask
  // Of any token of the vocabulary, empty for ids beyond; special ones give their names.
  std::string_view bytes(TokenId token) const;
  bool is_text(TokenId token) const;  // it is in the tree, or has a twin there

 private:
  TokenTrie() = default;
  void add_plain(TokenId token, uint32_t characters);

  std::string bytes_;
  std::vector<uint32_t> begins_;  // [vocabulary + 1] in bytes_
  std::vector<bool> is_text_;     // [vocabulary]
  std::vector<std::string> marks_;
  size_t words_ = 0;
  std::vector<Node> all_, not_plain_;
  std::vector<uint32_t> plain_;  // [kPlainCharactersMax + 1][words]
  std::vector<Twin> twins_;
};

}  // namespace hadal
