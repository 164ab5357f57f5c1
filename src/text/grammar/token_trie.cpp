#include "text/grammar/token_trie.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/tool_calls.h"

namespace hadal {
namespace {

constexpr char kMarkBegin = '\xFF', kMarkEnd = '\xFE';
constexpr std::string_view kInNoUtf8 = "\xFF\xFE";

struct Entry {
  std::string_view bytes;
  TokenId token;
};

// entries: sorted by their bytes, no two alike.
std::vector<TokenTrie::Node> tree_of(const std::vector<Entry>& entries) {
  std::vector<TokenTrie::Node> nodes;
  std::vector<size_t> path;  // the nodes from the root to the last one
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes[path.back()].skip = static_cast<uint32_t>(nodes.size());
    }
  };
  std::string_view before;
  for (const Entry& entry : entries) {
    const auto differ =
        std::mismatch(before.begin(), before.end(), entry.bytes.begin(), entry.bytes.end());
    close(static_cast<size_t>(differ.first - before.begin()));
    while (path.size() < entry.bytes.size()) {
      const auto byte = static_cast<uint8_t>(entry.bytes[path.size()]);
      path.push_back(nodes.size());
      nodes.push_back({0, TokenTrie::kNoToken, byte, static_cast<uint8_t>(path.size())});
    }
    nodes.back().token = entry.token;
    before = entry.bytes;
  }
  close(0);
  return nodes;
}

bool is_plain(std::string_view bytes) {
  return is_utf8(bytes) && std::none_of(bytes.begin(), bytes.end(), [](char c) {
           return static_cast<uint8_t>(c) < 0x20 || c == '"' || c == '\\';
         });
}

uint32_t characters_of(std::string_view utf8) {
  return static_cast<uint32_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Bytes that occur in UTF-8.
bool is_byte_of_utf8(unsigned byte) {
  return byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
}

}  // namespace

Result<std::shared_ptr<const TokenTrie>> TokenTrie::build(const Tokenizer& tokenizer) {
  auto trie = std::shared_ptr<TokenTrie>(new TokenTrie);
  const uint32_t vocabulary = tokenizer.vocabulary_size();
  std::vector<bool> is_end(vocabulary, false);
  for (const TokenId token : tokenizer.end_tokens()) {
    if (token >= 0 && static_cast<uint32_t>(token) < vocabulary) is_end[token] = true;
  }
  std::vector<bool> is_mark(vocabulary, false);
  for (uint32_t id = 0; id < vocabulary; ++id) {
    trie->begins_.push_back(static_cast<uint32_t>(trie->bytes_.size()));
    const std::string_view bytes = tokenizer.token_bytes(static_cast<TokenId>(id));
    is_mark[id] = ToolCallStream::is_mark(bytes) && !is_end[id];
    if (is_mark[id]) trie->marks_.emplace_back(mark(bytes));
    trie->bytes_ += is_mark[id] ? trie->marks_.back() : bytes;
  }
  trie->begins_.push_back(static_cast<uint32_t>(trie->bytes_.size()));

  trie->is_text_.resize(vocabulary, false);
  std::array<bool, 256> has_byte = {};
  std::vector<Entry> entries;
  for (uint32_t id = 0; id < vocabulary; ++id) {
    const auto token = static_cast<TokenId>(id);
    const std::string_view bytes = trie->bytes(token);
    if (bytes.empty() || bytes.size() > kTokenBytesMax) continue;
    if (is_end[id] || (tokenizer.is_special(token) && !is_mark[id])) continue;
    if (!is_mark[id] && bytes.find_first_of(kInNoUtf8) != bytes.npos) continue;
    entries.push_back({bytes, token});
    if (bytes.size() == 1) has_byte[static_cast<uint8_t>(bytes[0])] = true;
  }
  bool spells_utf8 = true;
  for (unsigned byte = 0x20; byte < 256; ++byte) {
    if (has_byte[byte] || byte == 0x7F || !is_byte_of_utf8(byte)) continue;
    if (byte < 0x80) {
      return fail("the vocabulary has no token for {}, so JSON cannot be asked for",
                  quote(std::string(1, static_cast<char>(byte))));
    }
    spells_utf8 = false;
  }
  if (!spells_utf8) {
    std::erase_if(entries, [&](const Entry& e) { return !is_mark[e.token] && !is_utf8(e.bytes); });
  }

  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.bytes < b.bytes; });
  std::vector<Entry> all, not_plain;
  trie->words_ = (size_t{vocabulary} + 31) / 32;
  trie->plain_.resize((kPlainCharactersMax + 1) * trie->words_, 0);
  for (const Entry& entry : entries) {
    trie->is_text_[entry.token] = true;
    if (!all.empty() && all.back().bytes == entry.bytes) {
      trie->twins_.push_back({all.back().token, entry.token});
      continue;
    }
    all.push_back(entry);
    const uint32_t characters = characters_of(entry.bytes);
    if (is_plain(entry.bytes) && characters <= kPlainCharactersMax) {
      trie->add_plain(entry.token, characters);
    } else {
      not_plain.push_back(entry);
    }
  }
  trie->all_ = tree_of(all);
  trie->not_plain_ = tree_of(not_plain);
  return trie;
}

std::string TokenTrie::mark(std::string_view name) {
  return kMarkBegin + std::string(name) + kMarkEnd;
}

std::string TokenTrie::unmarked(std::string_view text) {
  std::string result;
  std::ranges::copy_if(text, std::back_inserter(result),
                       [](char byte) { return byte != kMarkBegin && byte != kMarkEnd; });
  return result;
}

std::string TokenTrie::spelled(std::string_view text) const {
  std::string result;
  while (!text.empty()) {
    const size_t begin = std::min(text.find(kMarkBegin), text.size());
    result += text.substr(0, begin);
    text.remove_prefix(begin);
    const size_t end = text.find(kMarkEnd);
    if (end == text.npos) break;
    const std::string_view marked = text.substr(0, end + 1);
    const bool is_token = std::ranges::find(marks_, marked) != marks_.end();
    result += is_token ? marked : marked.substr(1, end - 1);
    text.remove_prefix(end + 1);
  }
  return result;
}

void TokenTrie::add_plain(TokenId token, uint32_t characters) {
  for (uint32_t most = characters; most <= kPlainCharactersMax; ++most) {
    plain_[most * words_ + token / 32] |= 1u << (token % 32);
  }
}

std::span<const uint32_t> TokenTrie::plain(uint32_t characters_max) const {
  return {&plain_[std::min(characters_max, kPlainCharactersMax) * words_], words_};
}

std::string_view TokenTrie::bytes(TokenId token) const {
  if (token < 0 || static_cast<size_t>(token) >= vocabulary()) return {};
  return std::string_view(bytes_).substr(begins_[token], begins_[token + 1] - begins_[token]);
}

bool TokenTrie::is_text(TokenId token) const {
  return token >= 0 && static_cast<size_t>(token) < vocabulary() && is_text_[token];
}

}  // namespace hadal
