// Which neighbouring tokens merge into which, and in what order. Immutable after creation.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/bpe_vocabulary.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal {

struct Merge {
  uint32_t rank = kNoMerge;  // lower goes first; of equal ranks the leftmost
  TokenId token = 0;         // what the two become
  static constexpr uint32_t kNoMerge = 0xffffffff;
};

class BpeMerges {
 public:
  // From the source's list of merges, or from its scores: then every way to write a token as two
  // tokens is a merge, ranked by the token's score (equal scores have equal rank).
  static Result<BpeMerges> create(const VocabularySource& source, const BpeVocabulary& vocabulary);

  Merge find(TokenId left, TokenId right) const {
    const uint64_t key = make_key(left, right);
    for (size_t slot = slot_of(key); slots_[slot].key != kFree; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
    }
    return {};
  }

  uint32_t ranks() const { return ranks_; }  // all ranks are below

  // Whether any merge joins a token that ends with code point a to one that begins with b: where
  // none does, text can be cut between them. Filled only for vocabularies that are not spelled in
  // bytes.
  bool joins(uint32_t a, uint32_t b) const {
    const uint64_t key = static_cast<uint64_t>(a) << 32 | b;
    for (size_t slot = joint_slot(key); joints_[slot] != kFree; slot = (slot + 1) & joint_mask_) {
      if (joints_[slot] == key) return true;
    }
    return false;
  }

  // Longer tokens do not come about by merging scored tokens: the ways to cut a token grow with the
  // square of its length.
  static constexpr size_t kScoredTokenBytesMax = 512;

 private:
  static constexpr uint64_t kFree = 0xffffffffffffffff;
  struct Slot {
    uint64_t key = kFree;
    Merge merge;
  };
  static uint64_t make_key(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const { return (key * multiplier_) >> shift_; }
  size_t joint_slot(uint64_t key) const { return (key * multiplier_) >> joint_shift_; }
  void reserve(size_t merges);
  void add(TokenId left, TokenId right, Merge merge);
  Status add_listed(const VocabularySource& source, const BpeVocabulary& vocabulary);
  void add_scored(const VocabularySource& source, const BpeVocabulary& vocabulary);
  void find_joints(const BpeVocabulary& vocabulary);

  std::vector<Slot> slots_;
  std::vector<uint64_t> joints_;
  size_t mask_ = 0, joint_mask_ = 0;
  int shift_ = 0, joint_shift_ = 0;
  uint64_t multiplier_ = 1;  // odd, random: nobody can prepare pairs that collide
  uint32_t ranks_ = 0;
};

}  // namespace hadal
