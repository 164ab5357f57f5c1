#include "text/tokenizer/bpe_merges.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/utf8.h"
#include "text/tokenizer/bpe_hash.h"
#include "text/unicode.h"

namespace hadal {

Result<BpeMerges> BpeMerges::create(const VocabularySource& source,
                                    const BpeVocabulary& vocabulary) {
  BpeMerges merges;
  merges.multiplier_ = hash_seed() | 1;
  if (source.scores.empty()) {
    HADAL_TRY_VOID(merges.add_listed(source, vocabulary));
  } else {
    merges.add_scored(source, vocabulary);
  }
  if (source.spelling != Spelling::kByteAlphabet) merges.find_joints(vocabulary);
  return merges;
}

void BpeMerges::reserve(size_t merges) {
  const size_t capacity = std::bit_ceil(std::max<size_t>(16, merges + merges / 2));
  slots_.assign(capacity, Slot{});
  mask_ = capacity - 1;
  shift_ = 64 - std::countr_zero(capacity);
}

void BpeMerges::add(TokenId left, TokenId right, Merge merge) {
  const uint64_t key = make_key(left, right);
  size_t slot = slot_of(key);
  while (slots_[slot].key != kFree) {
    if (slots_[slot].key == key) return;  // of two merges of one pair the first counts
    slot = (slot + 1) & mask_;
  }
  slots_[slot] = {key, merge};
}

Status BpeMerges::add_listed(const VocabularySource& source, const BpeVocabulary& vocabulary) {
  if (source.merges.size() > VocabularySource::kMergesMax) {
    return fail("{}: {} merges, more than the limit of {}", source.file, source.merges.size(),
                VocabularySource::kMergesMax);
  }
  reserve(source.merges.size());
  ranks_ = static_cast<uint32_t>(source.merges.size());
  std::string joined;
  TokenId joined_id = BpeVocabulary::kNone;
  for (uint32_t rank = 0; rank < ranks_; ++rank) {
    const auto& [left, right] = source.merges[rank];
    joined.assign(left);
    joined += right;
    const TokenId left_id = vocabulary.find(left);
    const TokenId right_id = vocabulary.find(right);
    // Training numbers tokens in the order of their merges, so that the next id is nearly always
    // the right one.
    ++joined_id;
    if (!vocabulary.has(joined_id) || vocabulary.spelling(joined_id) != joined) {
      joined_id = vocabulary.find(joined);
    }
    if (left_id < 0 || right_id < 0 || joined_id < 0) {
      const std::string_view missing = left_id < 0 ? left : right_id < 0 ? right : joined;
      return fail("{}: merge {} joins {} and {}, but {} is not in the vocabulary", source.file,
                  rank, quote(left), quote(right), quote(missing));
    }
    add(left_id, right_id, {rank, joined_id});
  }
  return {};
}

void BpeMerges::add_scored(const VocabularySource& source, const BpeVocabulary& vocabulary) {
  const auto mergeable = [&](TokenId id) {
    const TokenKind kind = vocabulary.kind(id);
    return kind == TokenKind::kNormal || kind == TokenKind::kUserDefined ||
           kind == TokenKind::kUnused;
  };
  const auto score = [&](TokenId id) {
    const float value = source.scores[static_cast<size_t>(id)];
    return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
  };
  std::vector<TokenId> order;
  for (TokenId id = 0; id < static_cast<TokenId>(vocabulary.size()); ++id) {
    if (mergeable(id)) order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](TokenId a, TokenId b) { return score(a) > score(b); });

  struct Found {
    TokenId left, right;
    Merge merge;
  };
  std::vector<Found> found;
  for (size_t i = 0; i < order.size(); ++i) {
    const TokenId id = order[i];
    if (i > 0 && score(id) != score(order[i - 1])) ++ranks_;
    const std::string_view text = vocabulary.spelling(id);
    if (text.size() > kScoredTokenBytesMax) continue;
    for (size_t at = 0; at < text.size();) {
      at += decode_code_point(text, at).bytes;
      if (at == text.size()) break;
      const TokenId left = vocabulary.find(text.substr(0, at));
      if (left < 0 || !mergeable(left)) continue;
      const TokenId right = vocabulary.find(text.substr(at));
      if (right < 0 || !mergeable(right)) continue;
      found.push_back({left, right, {ranks_, id}});
    }
  }
  ++ranks_;
  reserve(found.size());
  for (const Found& merge : found) add(merge.left, merge.right, merge.merge);
}

void BpeMerges::find_joints(const BpeVocabulary& vocabulary) {
  const auto first_of = [](std::string_view text) { return decode_code_point(text, 0).value; };
  const auto last_of = [](std::string_view text) {
    size_t at = text.size() - 1;
    while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80) --at;
    return decode_code_point(text, at).value;
  };
  size_t capacity = 16;
  for (const Slot& slot : slots_) capacity += slot.key != kFree;
  capacity = std::bit_ceil(capacity * 2);
  joints_.assign(capacity, kFree);
  joint_mask_ = capacity - 1;
  joint_shift_ = 64 - std::countr_zero(capacity);
  for (const Slot& slot : slots_) {
    if (slot.key == kFree) continue;
    const uint32_t a = last_of(vocabulary.spelling(static_cast<TokenId>(slot.key >> 32)));
    const uint32_t b = first_of(vocabulary.spelling(static_cast<TokenId>(slot.key & 0xffffffff)));
    const uint64_t key = static_cast<uint64_t>(a) << 32 | b;
    size_t at = joint_slot(key);
    while (joints_[at] != kFree && joints_[at] != key) at = (at + 1) & joint_mask_;
    joints_[at] = key;
  }
}

}  // namespace hadal
