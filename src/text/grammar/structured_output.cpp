#include "text/grammar/structured_output.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace hadal {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n";
constexpr uint32_t kBlanksMax = 2;    // tokens of space between the free text and the form
constexpr size_t kBlankBytesMax = 4;  // of each

class MaskAfter final : public TokenMask {
 public:
  MaskAfter(std::string literal, std::shared_ptr<TokenMask> inner,
            std::shared_ptr<const TokenTrie> trie)
      : literal_(std::move(literal)), inner_(std::move(inner)), trie_(std::move(trie)) {
    begun_.reserve(literal_.size() + TokenTrie::kTokenBytesMax);
    for (size_t id = 0; id < trie_->vocabulary(); ++id) {
      const std::string_view bytes = trie_->bytes(static_cast<TokenId>(id));
      const bool is_blank = bytes.find_first_not_of(kWhiteSpace) == std::string_view::npos;
      if (is_blank && trie_->is_text(static_cast<TokenId>(id)) && bytes.size() <= kBlankBytesMax) {
        blanks_.push_back(static_cast<TokenId>(id));
      }
      const size_t end = bytes.find(literal_.back());
      if (end != std::string_view::npos &&
          bytes.find_first_not_of(kWhiteSpace, end + 1) != std::string_view::npos) {
        may_overshoot_.push_back(static_cast<TokenId>(id));
      }
    }
  }

  void allowed(std::span<uint32_t> bits) override {
    if (is_over_) {
      inner_->allowed(bits);
      if (blanks_left_ == 0) return;
      for (const TokenId token : blanks_) {
        const auto id = static_cast<size_t>(token);
        if (id / 32 < bits.size()) bits[id / 32] |= 1u << (id % 32);
      }
      return;
    }
    std::fill(bits.begin(), bits.end(), ~0u);
    const auto forbid = [bits](size_t id) {
      if (id / 32 < bits.size()) bits[id / 32] &= ~(1u << (id % 32));
    };
    for (const TokenId token : may_overshoot_) {
      const std::string_view bytes = trie_->bytes(token);
      const size_t end = end_of_literal(bytes);
      if (end != std::string_view::npos &&
          bytes.find_first_not_of(kWhiteSpace, end) != std::string_view::npos) {
        forbid(static_cast<size_t>(token));
      }
    }
    for (size_t id = trie_->vocabulary(); id < bits.size() * 32; ++id) forbid(id);
  }

  void accept(TokenId token) override {
    const std::string_view bytes = trie_->bytes(token);
    if (is_over_) {
      if (blanks_left_ > 0 && std::binary_search(blanks_.begin(), blanks_.end(), token)) {
        --blanks_left_;
        return;
      }
      blanks_left_ = 0;
      return inner_->accept(token);
    }
    is_over_ = end_of_literal(bytes) != std::string_view::npos;
    begun_ += bytes;
    // What may still become the literal.
    size_t keep = std::min(begun_.size(), literal_.size() - 1);
    while (!literal_.starts_with(std::string_view(begun_).substr(begun_.size() - keep))) --keep;
    begun_.erase(0, begun_.size() - keep);
  }

  bool may_end() const override { return is_over_ && inner_->may_end(); }

 private:
  // Where in the next token the literal would end.
  size_t end_of_literal(std::string_view bytes) const {
    for (size_t begun = begun_.size(); begun > 0; --begun) {
      const std::string_view tail = std::string_view(begun_).substr(begun_.size() - begun);
      if (literal_.starts_with(tail) &&
          bytes.starts_with(std::string_view(literal_).substr(begun))) {
        return literal_.size() - begun;
      }
    }
    const size_t at = bytes.find(literal_);
    return at == std::string_view::npos ? at : at + literal_.size();
  }

  const std::string literal_;
  const std::shared_ptr<TokenMask> inner_;
  const std::shared_ptr<const TokenTrie> trie_;
  // Tokens that may hold the literal's end and something behind it that is not space. They must not
  // end the free text: the form begins with a token of its own.
  std::vector<TokenId> may_overshoot_;
  std::string begun_;  // of the literal, at the end of the free text
  bool is_over_ = false;
  std::vector<TokenId> blanks_;
  uint32_t blanks_left_ = kBlanksMax;  // that may still come before the form
};

}  // namespace

Result<std::unique_ptr<StructuredOutput>> StructuredOutput::open(const Tokenizer& tokenizer) {
  HADAL_TRY(auto trie, TokenTrie::build(tokenizer));
  return std::unique_ptr<StructuredOutput>(new StructuredOutput(std::move(trie)));
}

Result<std::shared_ptr<TokenMask>> StructuredOutput::mask(const AnswerForm& form) {
  std::string name;
  for (const GrammarPart& part : form.parts) {
    for (const std::string_view text : {part.schema, part.before, part.behind}) {
      name += std::to_string(text.size());
      name += ' ';
      name += text;
    }
  }
  auto masks = find(name);
  if (masks == nullptr) {
    std::vector<GrammarPart> parts = form.parts;
    for (GrammarPart& part : parts) {
      part.before = trie_->spelled(part.before);
      part.behind = trie_->spelled(part.behind);
    }
    HADAL_TRY(auto grammar, Grammar::compile(parts));
    masks = GrammarMasks::make(std::move(grammar), trie_);
    const std::lock_guard lock(mutex_);
    kept_.push_front({std::move(name), masks});
    if (kept_.size() > kGrammarsMax) kept_.pop_back();
  }
  std::shared_ptr<TokenMask> mask = masks->start();
  return form.after.empty() ? mask : mask_after(std::string(form.after), std::move(mask), trie_);
}

std::shared_ptr<GrammarMasks> StructuredOutput::find(std::string_view form) {
  const std::lock_guard lock(mutex_);
  const auto known = std::find_if(kept_.begin(), kept_.end(),
                                  [form](const Kept& kept) { return kept.form == form; });
  if (known == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, known);
  return kept_.front().masks;
}

size_t StructuredOutput::grammars() const {
  const std::lock_guard lock(mutex_);
  return kept_.size();
}

std::shared_ptr<TokenMask> mask_after(std::string literal, std::shared_ptr<TokenMask> inner,
                                      std::shared_ptr<const TokenTrie> trie) {
  return std::make_shared<MaskAfter>(std::move(literal), std::move(inner), std::move(trie));
}

}  // namespace hadal
