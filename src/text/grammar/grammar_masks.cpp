#include "text/grammar/grammar_masks.h"

#include <algorithm>
#include <utility>

namespace hadal {

class GrammarMasks::Mask final : public TokenMask {
 public:
  explicit Mask(std::shared_ptr<GrammarMasks> masks) : masks_(std::move(masks)) {
    masks_->begin(*this);
  }
  ~Mask() override { masks_->end(*this); }

  void allowed(std::span<uint32_t> bits) override {
    const std::lock_guard lock(masks_->mutex_);
    const auto mask = masks_->mask_of(place_);
    const size_t words = std::min(mask.size(), bits.size());
    std::copy_n(mask.begin(), words, bits.begin());
    std::fill(bits.begin() + static_cast<ptrdiff_t>(words), bits.end(), 0);
  }

  void accept(TokenId token) override {
    const std::lock_guard lock(masks_->mutex_);
    masks_->make_room(0);
    const bool is_text = masks_->trie_->is_text(token);
    place_ = is_text ? masks_->step(place_, masks_->trie_->bytes(token)) : GrammarWalk::kDead;
    may_end_ = masks_->walk_.may_end(place_);
  }

  bool may_end() const override { return may_end_; }

 private:
  friend class GrammarMasks;
  const std::shared_ptr<GrammarMasks> masks_;
  Place place_ = GrammarWalk::kDead;
  bool may_end_ = false;
};

GrammarMasks::GrammarMasks(std::shared_ptr<const Grammar> grammar,
                           std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::move(grammar)), trie_(std::move(trie)), walk_(grammar_->automaton()) {
  path_.resize(TokenTrie::kTokenBytesMax + 1);
}

std::shared_ptr<GrammarMasks> GrammarMasks::make(std::shared_ptr<const Grammar> grammar,
                                                 std::shared_ptr<const TokenTrie> trie) {
  return std::shared_ptr<GrammarMasks>(new GrammarMasks(std::move(grammar), std::move(trie)));
}

std::unique_ptr<TokenMask> GrammarMasks::start() {
  return std::make_unique<Mask>(shared_from_this());
}

void GrammarMasks::begin(Mask& mask) {
  const std::lock_guard lock(mutex_);
  make_room(0);
  started_.push_back(&mask);
  mask.place_ = walk_.start();
  mask.may_end_ = walk_.may_end(mask.place_);
}

void GrammarMasks::end(Mask& mask) {
  const std::lock_guard lock(mutex_);
  std::erase(started_, &mask);
}

bool GrammarMasks::accepts(std::string_view text) {
  const std::lock_guard lock(mutex_);
  path_[0] = walk_.start();
  for (const char byte : text) {
    make_room(/*path=*/1);
    path_[0] = walk_.next(path_[0], static_cast<uint8_t>(byte));
  }
  return walk_.may_end(path_[0]);
}

GrammarMasks::Place GrammarMasks::step(Place place, std::string_view bytes) {
  for (const char byte : bytes) place = walk_.next(place, static_cast<uint8_t>(byte));
  return place;
}

// Before places get too many, all are forgotten but where answers stand now, and the first of
// path_.
void GrammarMasks::make_room(size_t path) {
  if (!walk_.is_full()) return;
  std::vector<Place*> kept;
  for (Mask* mask : started_) kept.push_back(&mask->place_);
  for (size_t i = 0; i < path; ++i) kept.push_back(&path_[i]);
  walk_.forget(kept);
  place_slots_.clear();
  slot_places_.clear();
  next_slot_ = 0;
}

std::span<const uint32_t> GrammarMasks::mask_of(const Place& answer) {
  make_room(0);
  path_[0] = walk_.alike(answer, TokenTrie::kTokenBytesMax);
  const size_t words = trie_->words();
  const auto known = [&](Place place) {
    return place < place_slots_.size() ? place_slots_[place] : kNoSlot;
  };
  if (const size_t slot = known(path_[0]); slot != kNoSlot) return {&bits_[slot * words], words};
  if (bits_.empty()) bits_.resize(kMasksMax * words);
  work_.assign(words, 0);
  work_out(work_);
  // The oldest gives way. Places may have got other numbers meanwhile, path_[0] knows its own.
  const size_t slot = next_slot_;
  next_slot_ = (next_slot_ + 1) % kMasksMax;
  if (slot < slot_places_.size()) {
    place_slots_[slot_places_[slot]] = kNoSlot;
  } else {
    slot_places_.resize(slot + 1);
  }
  slot_places_[slot] = path_[0];
  if (place_slots_.size() <= path_[0]) place_slots_.resize(path_[0] + 1, kNoSlot);
  place_slots_[path_[0]] = slot;
  std::copy(work_.begin(), work_.end(), bits_.begin() + static_cast<ptrdiff_t>(slot * words));
  return {&bits_[slot * words], words};
}

// The tokens allowed at path_[0].
void GrammarMasks::work_out(std::span<uint32_t> bits) {
  uint32_t characters = walk_.characters_left(path_[0]);
  if (characters == GrammarWalk::kUncounted) {
    characters = goes_on_with_any_character(path_[0]) ? TokenTrie::kPlainCharactersMax : 0;
    if (characters == 0) {
      add_tokens(trie_->all(), bits);
      return add_twins(bits);
    }
  }
  const auto plain = trie_->plain(characters);
  std::copy(plain.begin(), plain.end(), bits.begin());
  add_tokens(trie_->not_plain(), bits);
  add_twins(bits);
}

void GrammarMasks::add_tokens(std::span<const TokenTrie::Node> tree, std::span<uint32_t> bits) {
  for (size_t i = 0; i < tree.size();) {
    const TokenTrie::Node& node = tree[i];
    const Place place = walk_.next(path_[node.depth - 1], node.byte);
    if (place == GrammarWalk::kDead) {
      i = node.skip;
      continue;
    }
    path_[node.depth] = place;
    if (node.token != TokenTrie::kNoToken) bits[node.token / 32] |= 1u << (node.token % 32);
    if (walk_.is_full()) make_room(node.depth + size_t{1});
    ++i;
  }
}

void GrammarMasks::add_twins(std::span<uint32_t> bits) const {
  for (const auto& [in_tree, other] : trie_->twins()) {
    if (bits[in_tree / 32] >> (in_tree % 32) & 1) bits[other / 32] |= 1u << (other % 32);
  }
}

// Inside a string that may hold anything: every character that needs no escape leads back to where
// it began. Tried for each byte that may begin or end one.
bool GrammarMasks::goes_on_with_any_character(Place place) {
  struct Bytes {
    uint8_t first, last, next_first, next_last, more;  // more: bytes behind these two
  };
  constexpr Bytes kLonger[] = {{0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1},
                               {0xE1, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1},
                               {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
                               {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2}};
  if (place == GrammarWalk::kDead) return false;
  for (unsigned byte = 0x20; byte < 0x80; ++byte) {
    if (byte == '\\') continue;
    if (walk_.next(place, static_cast<uint8_t>(byte)) != place) return false;
  }
  const auto all_lead = [&](Place from, unsigned first, unsigned last, uint8_t more,
                            const auto& self) -> bool {
    for (unsigned byte = first; byte <= last; ++byte) {
      const Place to = walk_.next(from, static_cast<uint8_t>(byte));
      if (more == 0 ? to != place : !self(to, 0x80, 0xBF, static_cast<uint8_t>(more - 1), self)) {
        return false;
      }
    }
    return true;
  };
  for (const Bytes& bytes : kLonger) {
    for (unsigned byte = bytes.first; byte <= bytes.last; ++byte) {
      const Place second = walk_.next(place, static_cast<uint8_t>(byte));
      if (!all_lead(second, bytes.next_first, bytes.next_last, bytes.more, all_lead)) return false;
    }
  }
  return true;
}

}  // namespace hadal
