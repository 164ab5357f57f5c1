// Which block of the KV cache belongs to which sequence, and which finished blocks hold a prefix
// that a later request can start from. Host bookkeeping only: touches no device, knows no clock;
// the same calls give the same blocks. One thread (the engine's).
//
// A block is one of
//   free     nobody's; its content is nothing
//   held     in the tables of one or more sequences
//   cached   in no table, but full, and findable by its tokens until it is needed for something
//   else
//            (least recently used first)
//
// A published block is identified by its parent block's serial number and its own tokens, so by
// induction it stands for one exact prefix. The hash only finds candidates; parent and tokens are
// compared, so a collision costs time and never a wrong past. Blocks of one content are kept once:
// a sequence that computed what another has published shares the other's block from then on. All
// this holds among tables of one salt: between two salts nothing is found, shared or swapped.
//
// Design after vLLM's block manager (arXiv 2309.06180, section 4) and SGLang's prefix reuse
// (arXiv 2312.07104).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace hadal {

// The blocks of one sequence, in the order of its positions. Changed by the allocator alone.
struct BlockTable {
  uint64_t salt = 0;  // set before the table's first block
  std::vector<uint32_t> blocks;
  uint32_t published = 0;  // how many of them, from the first, are full and findable
};

class BlockAllocator {
 public:
  BlockAllocator(uint32_t blocks, uint32_t block_tokens);

  uint32_t blocks() const { return static_cast<uint32_t>(records_.size()); }
  uint32_t block_tokens() const { return block_tokens_; }
  uint32_t held_blocks() const { return blocks() - available_blocks(); }
  uint32_t cached_blocks() const { return cached_; }
  // That grow() could hand out now: free and cached ones.
  uint32_t available_blocks() const { return static_cast<uint32_t>(free_.size()) + cached_; }
  uint32_t blocks_for(uint32_t tokens) const {
    return (tokens + block_tokens_ - 1) / block_tokens_;
  }

  // Puts the published blocks of the longest prefix of `tokens` known to the table's salt into
  // `table` (empty before) and returns the number of tokens they hold: whole blocks, and always
  // fewer than all tokens, so that something is left to compute logits from.
  uint32_t match_prefix(std::span<const TokenId> tokens, BlockTable& table);

  // Adds blocks until the table has room for `tokens` tokens. False, and nothing changed, when
  // there are not enough.
  bool grow(BlockTable& table, uint32_t tokens);

  // Gives back the blocks behind those that `tokens` tokens need. tokens: at least as many as are
  // published.
  void shrink(BlockTable& table, uint32_t tokens);

  // Makes the full blocks among the first `computed` tokens findable. tokens: of the sequence, at
  // least `computed`. An own block whose content is known already is swapped for the known one.
  void publish(BlockTable& table, std::span<const TokenId> tokens, uint32_t computed);

  // Gives all blocks of the table back; published ones stay findable.
  void release(BlockTable& table);

  // For tests: every block is in exactly one state, counts and links agree.
  bool consistent() const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint64_t kNoParent = 0;  // of a sequence's first block; serials start at 1

  struct Record {
    uint32_t references = 0;
    uint64_t serial = 0;  // of the published content; 0: not published
    uint64_t parent = kNoParent;
    uint64_t salt = 0;
    uint32_t bucket_next = kNone;           // of the hash bucket; published blocks
    uint32_t older = kNone, newer = kNone;  // in the order of use; cached blocks
  };

  uint32_t bucket(uint64_t salt, uint64_t parent, std::span<const TokenId> tokens) const;
  uint32_t find(uint64_t salt, uint64_t parent, std::span<const TokenId> tokens) const;
  std::span<TokenId> block_tokens_of(uint32_t block);
  std::span<const TokenId> block_tokens_of(uint32_t block) const;
  uint64_t parent_serial(const BlockTable& table, uint32_t index) const;
  void hold(uint32_t block);
  void let_go(uint32_t block);
  uint32_t take();
  void unpublish(uint32_t block);
  void link_newest(uint32_t block);
  void unlink(uint32_t block);

  uint32_t block_tokens_;
  std::vector<Record> records_;
  std::vector<TokenId> tokens_;    // [blocks, block_tokens] of published blocks
  std::vector<uint32_t> buckets_;  // heads of the hash chains; a power of two
  std::vector<uint32_t> free_;     // a stack
  uint32_t oldest_ = kNone, newest_ = kNone;
  uint32_t cached_ = 0;
  uint64_t next_serial_ = 1;
};

}  // namespace hadal
