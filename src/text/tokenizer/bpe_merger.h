// Merging one word: from its first symbols to its tokens. Scratch memory is kept between words; one
// merger a thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/tokenizer/bpe_merges.h"

namespace hadal {

class BpeMerger {
 public:
  explicit BpeMerger(const BpeMerges& merges) : merges_(merges) {}

  // Appends to `tokens` what the symbols become: as long as any two neighbours merge, the merge of
  // lowest rank is done, of equals the leftmost. O(n log n) for n symbols.
  void merge(std::span<const TokenId> symbols, std::vector<TokenId>& tokens);

  // Words up to this many symbols are merged by searching for the lowest rank each time, longer
  // ones by buckets.
  static constexpr size_t kShortWord = 40;

 private:
  struct Symbol {
    TokenId id;
    Merge merge;  // with the symbol behind it
    uint32_t previous, next;
  };
  struct Place {
    uint32_t symbol, next;
  };
  struct Bucket {  // places where a merge of one rank was seen possible
    uint32_t first, last;
  };
  static constexpr uint32_t kNowhere = 0xffffffff;

  void merge_short(std::span<const TokenId> symbols, std::vector<TokenId>& tokens);
  void merge_long(std::span<const TokenId> symbols, std::vector<TokenId>& tokens);
  void put(uint32_t symbol);
  void gather(uint32_t rank);
  void merge_at(uint32_t symbol, uint32_t rank);
  void drain_urgent(uint32_t rank, uint32_t symbol);

  const BpeMerges& merges_;
  std::vector<TokenId> ids_;       // of a short word
  std::vector<Merge> possible_;    // of a short word: with the right neighbour
  std::vector<Symbol> symbols_;    // of a long word, a linked list
  std::vector<Bucket> buckets_;    // by rank
  std::vector<Place> places_;      // the buckets' lists
  std::vector<uint32_t> ranks_;    // heap of the ranks whose bucket is not empty
  std::vector<uint32_t> ordered_;  // the bucket at hand, in order of the text
  std::vector<uint64_t> urgent_;   // heap of (rank, symbol) that came up behind the place at hand
  uint32_t bucket_rank_ = 0;       // of the bucket at hand
  bool has_bucket_ = false;
};

}  // namespace hadal
