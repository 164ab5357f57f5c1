#include "text/tokenizer/bpe_merger.h"

#include <algorithm>
#include <functional>

namespace hadal {

void BpeMerger::merge(std::span<const TokenId> symbols, std::vector<TokenId>& tokens) {
  if (symbols.size() <= kShortWord) {
    merge_short(symbols, tokens);
  } else {
    merge_long(symbols, tokens);
  }
}

void BpeMerger::merge_short(std::span<const TokenId> symbols, std::vector<TokenId>& tokens) {
  if (symbols.empty()) return;
  ids_.assign(symbols.begin(), symbols.end());
  possible_.resize(ids_.size());
  for (size_t i = 0; i + 1 < ids_.size(); ++i) possible_[i] = merges_.find(ids_[i], ids_[i + 1]);
  size_t count = ids_.size();
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (possible_[i].rank < possible_[best].rank) best = i;
    }
    if (possible_[best].rank == Merge::kNoMerge) break;
    ids_[best] = possible_[best].token;
    --count;
    std::copy(ids_.begin() + static_cast<ptrdiff_t>(best) + 2,
              ids_.begin() + static_cast<ptrdiff_t>(count) + 1,
              ids_.begin() + static_cast<ptrdiff_t>(best) + 1);
    std::copy(possible_.begin() + static_cast<ptrdiff_t>(best) + 2,
              possible_.begin() + static_cast<ptrdiff_t>(count) + 1,
              possible_.begin() + static_cast<ptrdiff_t>(best) + 1);
    if (best > 0) possible_[best - 1] = merges_.find(ids_[best - 1], ids_[best]);
    if (best + 1 < count) possible_[best] = merges_.find(ids_[best], ids_[best + 1]);
  }
  tokens.insert(tokens.end(), ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(count));
}

// A heap of all possible merges would do, but on a megabyte of one character most of the time goes
// into its cache misses. There are few different ranks, though: each rank has a bucket of places,
// and a bucket is worked off from left to right. Merging at a place can make possible a merge that
// must go before the rest of the bucket (of a lower rank, or of the same rank to the left): those
// few wait in a heap of their own, `urgent_`.
void BpeMerger::merge_long(std::span<const TokenId> symbols, std::vector<TokenId>& tokens) {
  const uint32_t count = static_cast<uint32_t>(symbols.size());
  symbols_.resize(count);
  if (buckets_.empty()) buckets_.assign(merges_.ranks(), {kNowhere, kNowhere});
  places_.clear();
  for (uint32_t i = 0; i < count; ++i) {
    Symbol& symbol = symbols_[i];
    symbol.id = symbols[i];
    symbol.previous = i == 0 ? kNowhere : i - 1;
    symbol.next = i + 1 == count ? kNowhere : i + 1;
    symbol.merge = i + 1 == count ? Merge{} : merges_.find(symbols[i], symbols[i + 1]);
    put(i);
  }
  while (!ranks_.empty()) {
    std::pop_heap(ranks_.begin(), ranks_.end(), std::greater<>());
    const uint32_t rank = ranks_.back();
    ranks_.pop_back();
    gather(rank);
    has_bucket_ = true;
    bucket_rank_ = rank;
    for (const uint32_t symbol : ordered_) {
      drain_urgent(rank, symbol);
      merge_at(symbol, rank);
    }
    drain_urgent(rank, kNowhere);
  }
  has_bucket_ = false;
  for (uint32_t i = 0; i != kNowhere; i = symbols_[i].next) tokens.push_back(symbols_[i].id);
}

// Notes that `symbol` can merge with the one behind it, if it can.
void BpeMerger::put(uint32_t symbol) {
  const uint32_t rank = symbols_[symbol].merge.rank;
  if (rank == Merge::kNoMerge) return;
  if (has_bucket_ && rank <= bucket_rank_) {  // goes before what is left of the bucket at hand
    urgent_.push_back(static_cast<uint64_t>(rank) << 32 | symbol);
    std::push_heap(urgent_.begin(), urgent_.end(), std::greater<>());
    return;
  }
  const uint32_t place = static_cast<uint32_t>(places_.size());
  places_.push_back({symbol, kNowhere});
  Bucket& bucket = buckets_[rank];
  if (bucket.first == kNowhere) {
    bucket.first = place;
    ranks_.push_back(rank);
    std::push_heap(ranks_.begin(), ranks_.end(), std::greater<>());
  } else {
    places_[bucket.last].next = place;
  }
  bucket.last = place;
}

// Empties the bucket of the rank into ordered_.
void BpeMerger::gather(uint32_t rank) {
  ordered_.clear();
  Bucket& bucket = buckets_[rank];
  for (uint32_t place = bucket.first; place != kNowhere; place = places_[place].next) {
    ordered_.push_back(places_[place].symbol);
  }
  bucket = {kNowhere, kNowhere};
  if (!std::is_sorted(ordered_.begin(), ordered_.end())) {
    std::sort(ordered_.begin(), ordered_.end());
  }
}

// Does the merges that go before (rank, symbol).
void BpeMerger::drain_urgent(uint32_t rank, uint32_t symbol) {
  const uint64_t limit = static_cast<uint64_t>(rank) << 32 | symbol;
  while (!urgent_.empty() && urgent_.front() < limit) {
    const uint64_t first = urgent_.front();
    std::pop_heap(urgent_.begin(), urgent_.end(), std::greater<>());
    urgent_.pop_back();
    merge_at(static_cast<uint32_t>(first), static_cast<uint32_t>(first >> 32));
  }
}

// Merges the symbol with the one behind it, if that is still possible at this rank.
void BpeMerger::merge_at(uint32_t symbol, uint32_t rank) {
  Symbol& left = symbols_[symbol];
  if (left.merge.rank != rank) return;  // gone, or become another
  Symbol& right = symbols_[left.next];
  left.id = left.merge.token;
  left.next = right.next;
  right.merge = {};
  left.merge = {};
  if (left.next != kNowhere) {
    symbols_[left.next].previous = symbol;
    left.merge = merges_.find(left.id, symbols_[left.next].id);
    put(symbol);
  }
  if (left.previous != kNowhere) {
    Symbol& before = symbols_[left.previous];
    before.merge = merges_.find(before.id, left.id);
    put(left.previous);
  }
}

}  // namespace hadal
