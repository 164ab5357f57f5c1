#include "engine/block_allocator.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "engine/random.h"

namespace hadal {

BlockAllocator::BlockAllocator(uint32_t blocks, uint32_t block_tokens)
    : block_tokens_(block_tokens),
      records_(blocks),
      tokens_(size_t{blocks} * block_tokens),
      buckets_(std::bit_ceil(size_t{blocks} + 1), kNone),
      free_(blocks) {
  CHECK(block_tokens > 0);
  // The lowest numbers go out first: memory is committed as blocks are first used.
  for (uint32_t i = 0; i < blocks; ++i) free_[i] = blocks - 1 - i;
}

uint32_t BlockAllocator::match_prefix(std::span<const TokenId> tokens, BlockTable& table) {
  CHECK(table.blocks.empty());
  if (tokens.empty()) return 0;
  const size_t full_blocks = (tokens.size() - 1) / block_tokens_;
  uint64_t parent = kNoParent;
  for (size_t i = 0; i < full_blocks; ++i) {
    const uint32_t block =
        find(table.salt, parent, tokens.subspan(i * block_tokens_, block_tokens_));
    if (block == kNone) break;
    hold(block);
    table.blocks.push_back(block);
    parent = records_[block].serial;
  }
  table.published = static_cast<uint32_t>(table.blocks.size());
  return table.published * block_tokens_;
}

bool BlockAllocator::grow(BlockTable& table, uint32_t tokens) {
  const size_t wanted = blocks_for(tokens);
  if (wanted <= table.blocks.size()) return true;
  if (wanted - table.blocks.size() > available_blocks()) return false;
  while (table.blocks.size() < wanted) table.blocks.push_back(take());
  return true;
}

void BlockAllocator::shrink(BlockTable& table, uint32_t tokens) {
  CHECK(blocks_for(tokens) >= table.published);
  while (table.blocks.size() > blocks_for(tokens)) {
    let_go(table.blocks.back());
    table.blocks.pop_back();
  }
}

void BlockAllocator::publish(BlockTable& table, std::span<const TokenId> tokens,
                             uint32_t computed) {
  CHECK(computed <= tokens.size() && blocks_for(computed) <= table.blocks.size());
  for (uint32_t i = table.published; i < computed / block_tokens_; ++i) {
    const auto content = tokens.subspan(size_t{i} * block_tokens_, block_tokens_);
    const uint64_t parent = parent_serial(table, i);
    const uint32_t own = table.blocks[i];
    const uint32_t known = find(table.salt, parent, content);
    if (known != kNone) {
      hold(known);
      let_go(own);
      table.blocks[i] = known;
    } else {
      std::copy(content.begin(), content.end(), block_tokens_of(own).begin());
      Record& record = records_[own];
      record.serial = next_serial_++;
      record.parent = parent;
      record.salt = table.salt;
      uint32_t& head = buckets_[bucket(table.salt, parent, content)];
      record.bucket_next = head;
      head = own;
    }
    table.published = i + 1;
  }
}

void BlockAllocator::release(BlockTable& table) {
  // From the end: a block is always older than the blocks it continues, so eviction takes the tail
  // of a prefix first and no findable block ever loses its parent.
  for (size_t i = table.blocks.size(); i-- > 0;) let_go(table.blocks[i]);
  table.blocks.clear();
  table.published = 0;
}

uint32_t BlockAllocator::bucket(uint64_t salt, uint64_t parent,
                                std::span<const TokenId> tokens) const {
  uint64_t hash = mix_bits(mix_bits(salt) ^ parent);
  for (const TokenId token : tokens) hash = mix_bits(hash ^ static_cast<uint32_t>(token));
  return static_cast<uint32_t>(hash & (buckets_.size() - 1));
}

uint32_t BlockAllocator::find(uint64_t salt, uint64_t parent,
                              std::span<const TokenId> tokens) const {
  uint32_t block = buckets_[bucket(salt, parent, tokens)];
  while (block != kNone) {
    const Record& record = records_[block];
    if (record.parent == parent && record.salt == salt &&
        std::ranges::equal(block_tokens_of(block), tokens)) {
      return block;
    }
    block = record.bucket_next;
  }
  return kNone;
}

std::span<TokenId> BlockAllocator::block_tokens_of(uint32_t block) {
  return std::span(tokens_).subspan(size_t{block} * block_tokens_, block_tokens_);
}

std::span<const TokenId> BlockAllocator::block_tokens_of(uint32_t block) const {
  return std::span(tokens_).subspan(size_t{block} * block_tokens_, block_tokens_);
}

uint64_t BlockAllocator::parent_serial(const BlockTable& table, uint32_t index) const {
  return index == 0 ? kNoParent : records_[table.blocks[index - 1]].serial;
}

void BlockAllocator::hold(uint32_t block) {
  if (records_[block].references++ == 0) {
    unlink(block);
    --cached_;
  }
}

void BlockAllocator::let_go(uint32_t block) {
  Record& record = records_[block];
  CHECK(record.references > 0);
  if (--record.references > 0) return;
  if (record.serial == 0) {
    free_.push_back(block);
    return;
  }
  link_newest(block);
  ++cached_;
}

// A block for new content: a free one, or else the cached one that was not used for longest.
uint32_t BlockAllocator::take() {
  uint32_t block;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else {
    block = oldest_;
    CHECK(block != kNone);
    unlink(block);
    --cached_;
    unpublish(block);
  }
  records_[block].references = 1;
  return block;
}

void BlockAllocator::unpublish(uint32_t block) {
  Record& record = records_[block];
  uint32_t* link = &buckets_[bucket(record.salt, record.parent, block_tokens_of(block))];
  while (*link != block) link = &records_[*link].bucket_next;
  *link = record.bucket_next;
  record.bucket_next = kNone;
  record.serial = 0;
  record.parent = kNoParent;
}

void BlockAllocator::link_newest(uint32_t block) {
  Record& record = records_[block];
  record.older = newest_;
  record.newer = kNone;
  (newest_ == kNone ? oldest_ : records_[newest_].newer) = block;
  newest_ = block;
}

void BlockAllocator::unlink(uint32_t block) {
  Record& record = records_[block];
  (record.older == kNone ? oldest_ : records_[record.older].newer) = record.newer;
  (record.newer == kNone ? newest_ : records_[record.newer].older) = record.older;
  record.older = record.newer = kNone;
}

bool BlockAllocator::consistent() const {
  std::vector<uint8_t> seen(records_.size(), 0);
  for (const uint32_t block : free_) {
    if (seen[block]++ || records_[block].references != 0 || records_[block].serial != 0) {
      return false;
    }
  }
  uint32_t cached = 0;
  uint32_t previous = kNone;
  for (uint32_t block = oldest_; block != kNone; block = records_[block].newer) {
    const Record& record = records_[block];
    if (seen[block]++ || record.references != 0 || record.serial == 0) return false;
    if (record.older != previous) return false;
    previous = block;
    ++cached;
  }
  if (cached != cached_ || previous != newest_) return false;
  for (uint32_t block = 0; block < records_.size(); ++block) {
    const Record& record = records_[block];
    if ((seen[block] == 0) != (record.references > 0)) return false;
    if (record.serial != 0 && find(record.salt, record.parent, block_tokens_of(block)) != block) {
      return false;
    }
  }
  return true;
}

}  // namespace hadal
