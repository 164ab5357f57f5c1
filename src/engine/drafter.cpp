#include "engine/drafter.h"

#include <algorithm>
#include <bit>

#include "engine/random.h"

namespace hadal {

namespace {

constexpr uint32_t kLengths = NgramDrafter::kLongest - NgramDrafter::kShortest + 1;
constexpr size_t kAgreementMost = 8;  // tokens compared to tell the grade

// Tokens before history[end] that also stand before history[place].
size_t agreement(std::span<const TokenId> history, size_t place, size_t end) {
  const size_t most = std::min(place, kAgreementMost);
  size_t count = 0;
  while (count < most && history[place - 1 - count] == history[end - 1 - count]) ++count;
  return count;
}

uint32_t grade_of(size_t agreement) {
  return agreement >= kAgreementMost ? 3 : agreement > 3 ? 2 : agreement > 2 ? 1 : 0;
}

}  // namespace

NgramDrafter::NgramDrafter(uint32_t tokens_max)
    : entries_(std::bit_ceil(std::clamp(tokens_max, 1u, kEntriesMost))),
      tables_(size_t{kLengths} * entries_) {}

Draft NgramDrafter::propose(std::span<const TokenId> history, std::span<TokenId> into) {
  learn(history);
  const size_t end = history.size();
  size_t place = 0, agreed = 0;
  for (uint32_t length = kLongest; length >= kShortest && agreed < length; --length) {
    if (end <= length) continue;
    place = *entry(length, history, end);
    agreed = place == 0 ? 0 : agreement(history, place, end);
    if (agreed < length) agreed = 0;
  }
  if (agreed == 0) return {};
  // A place so near that what followed it runs into the end: the history goes in circles, and so
  // does the guess.
  for (size_t i = 0; i < into.size(); ++i) {
    into[i] = place + i < end ? history[place + i] : into[place + i - end];
  }
  return {.tokens = static_cast<uint32_t>(into.size()), .grade = grade_of(agreed)};
}

// The runs that end before the last token: of these it is known what followed.
void NgramDrafter::learn(std::span<const TokenId> history) {
  for (; learnt_ + 1 < history.size(); ++learnt_) {
    const size_t end = learnt_ + 1;
    for (uint32_t length = kShortest; length <= std::min<size_t>(kLongest, end); ++length) {
      *entry(length, history, end) = static_cast<uint32_t>(end);
    }
  }
}

// Where the table has the run of `length` tokens before history[end].
uint32_t* NgramDrafter::entry(uint32_t length, std::span<const TokenId> history, size_t end) {
  uint64_t hash = 0;
  for (const TokenId token : history.subspan(end - length, length)) {
    hash = mix_bits(hash ^ static_cast<uint32_t>(token));
  }
  return &tables_[size_t{length - kShortest} * entries_ + (hash & (entries_ - 1))];
}

}  // namespace hadal
