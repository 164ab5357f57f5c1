#include "engine/block_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace hadal {
namespace {

constexpr uint32_t kTokens = 4;  // a block

std::vector<TokenId> numbers(TokenId first, uint32_t count) {
  std::vector<TokenId> tokens(count);
  for (uint32_t i = 0; i < count; ++i) tokens[i] = first + static_cast<TokenId>(i);
  return tokens;
}

// A sequence of these tokens was computed and has ended.
void remember(BlockAllocator& allocator, std::span<const TokenId> tokens) {
  BlockTable table;
  allocator.match_prefix(tokens, table);
  ASSERT_TRUE(allocator.grow(table, static_cast<uint32_t>(tokens.size())));
  allocator.publish(table, tokens, static_cast<uint32_t>(tokens.size()));
  allocator.release(table);
}

uint32_t matched(BlockAllocator& allocator, std::span<const TokenId> tokens) {
  BlockTable table;
  const uint32_t count = allocator.match_prefix(tokens, table);
  allocator.release(table);
  return count;
}

TEST(BlockAllocator, ShrinksToWhatIsNeeded) {
  BlockAllocator allocator(5, kTokens);
  BlockTable table;
  const auto tokens = numbers(0, 8);
  ASSERT_TRUE(allocator.grow(table, 17));
  allocator.publish(table, tokens, 8);
  allocator.shrink(table, 9);
  EXPECT_EQ(table.blocks, (std::vector<uint32_t>{0, 1, 2}));
  allocator.shrink(table, 12);
  allocator.shrink(table, 17);
  EXPECT_EQ(table.blocks.size(), 3u);
  allocator.shrink(table, 8);
  EXPECT_EQ(table.blocks, (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(allocator.held_blocks(), 2u);
  EXPECT_TRUE(allocator.consistent());
  allocator.release(table);
  EXPECT_EQ(matched(allocator, numbers(0, 9)), 8u);
}

TEST(BlockAllocator, GrowsByWholeBlocksAndTakesThemBack) {
  BlockAllocator allocator(5, kTokens);
  BlockTable table;
  EXPECT_TRUE(allocator.grow(table, 1));
  EXPECT_EQ(table.blocks, (std::vector<uint32_t>{0}));
  EXPECT_TRUE(allocator.grow(table, 4));
  EXPECT_EQ(table.blocks.size(), 1u);
  EXPECT_TRUE(allocator.grow(table, 5));
  EXPECT_EQ(table.blocks, (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(allocator.held_blocks(), 2u);
  allocator.release(table);
  EXPECT_TRUE(table.blocks.empty());
  EXPECT_EQ(allocator.available_blocks(), 5u);
  EXPECT_EQ(allocator.cached_blocks(), 0u);
  EXPECT_TRUE(allocator.consistent());
}

TEST(BlockAllocator, AGrowthThatDoesNotFitChangesNothing) {
  BlockAllocator allocator(3, kTokens);
  BlockTable first, second;
  ASSERT_TRUE(allocator.grow(first, 8));
  EXPECT_FALSE(allocator.grow(second, 5));
  EXPECT_TRUE(second.blocks.empty());
  EXPECT_TRUE(allocator.grow(second, 4));
  EXPECT_FALSE(allocator.grow(second, 5));
  EXPECT_EQ(second.blocks.size(), 1u);
  EXPECT_TRUE(allocator.consistent());
}

TEST(BlockAllocator, FindsTheLongestKnownPrefix) {
  BlockAllocator allocator(8, kTokens);
  remember(allocator, numbers(0, 10));  // two full blocks and a rest
  EXPECT_EQ(allocator.cached_blocks(), 2u);
  EXPECT_EQ(matched(allocator, numbers(0, 12)), 8u);
  EXPECT_EQ(matched(allocator, numbers(0, 7)), 4u);
  EXPECT_EQ(matched(allocator, numbers(1, 12)), 0u);
  auto differs_late = numbers(0, 12);
  differs_late[6] = 99;
  EXPECT_EQ(matched(allocator, differs_late), 4u);
}

TEST(BlockAllocator, TheLastTokenIsAlwaysLeftToCompute) {
  BlockAllocator allocator(8, kTokens);
  remember(allocator, numbers(0, 8));
  EXPECT_EQ(matched(allocator, numbers(0, 8)), 4u);
  EXPECT_EQ(matched(allocator, numbers(0, 9)), 8u);
  EXPECT_EQ(matched(allocator, numbers(0, 4)), 0u);
  EXPECT_EQ(matched(allocator, {}), 0u);
}

TEST(BlockAllocator, ABlockStandsForItsWholePast) {
  BlockAllocator allocator(8, kTokens);
  auto tokens = numbers(0, 8);
  remember(allocator, tokens);
  tokens[0] = 77;  // the same second block behind another first one
  tokens.push_back(8);
  EXPECT_EQ(matched(allocator, tokens), 0u);
}

TEST(BlockAllocator, SharesBlocksThatAreInUse) {
  BlockAllocator allocator(4, kTokens);
  const auto tokens = numbers(0, 9);
  BlockTable first, second;
  ASSERT_TRUE(allocator.grow(first, 9));
  allocator.publish(first, tokens, 9);
  EXPECT_EQ(allocator.match_prefix(tokens, second), 8u);
  EXPECT_TRUE(std::equal(second.blocks.begin(), second.blocks.end(), first.blocks.begin()));
  ASSERT_TRUE(allocator.grow(second, 9));
  EXPECT_NE(second.blocks[2], first.blocks[2]);
  EXPECT_EQ(allocator.held_blocks(), 4u);
  allocator.release(first);
  EXPECT_EQ(allocator.held_blocks(), 3u);  // what the second still shares is not let go
  EXPECT_TRUE(allocator.consistent());
  allocator.release(second);
  EXPECT_EQ(allocator.held_blocks(), 0u);
}

TEST(BlockAllocator, TwoThatComputedTheSameShareOneBlockFromThenOn) {
  BlockAllocator allocator(4, kTokens);
  const auto tokens = numbers(0, 5);
  BlockTable first, second;
  ASSERT_TRUE(allocator.grow(first, 5));
  ASSERT_TRUE(allocator.grow(second, 5));
  allocator.publish(first, tokens, 5);
  allocator.publish(second, tokens, 5);
  EXPECT_EQ(first.blocks[0], second.blocks[0]);
  EXPECT_EQ(allocator.available_blocks(), 1u);
  allocator.release(first);
  allocator.release(second);
  EXPECT_TRUE(allocator.consistent());
  EXPECT_EQ(allocator.cached_blocks(), 1u);
}

TEST(BlockAllocator, OnlyComputedBlocksAreFindable) {
  BlockAllocator allocator(4, kTokens);
  const auto tokens = numbers(0, 12);
  BlockTable table;
  ASSERT_TRUE(allocator.grow(table, 12));
  allocator.publish(table, tokens, 7);
  EXPECT_EQ(table.published, 1u);
  EXPECT_EQ(matched(allocator, tokens), 4u);
  allocator.publish(table, tokens, 12);
  EXPECT_EQ(matched(allocator, tokens), 8u);
}

TEST(BlockAllocator, EvictsWhatWasNotUsedForLongestAndTailsFirst) {
  BlockAllocator allocator(4, kTokens);
  remember(allocator, numbers(0, 8));
  remember(allocator, numbers(100, 8));
  EXPECT_EQ(allocator.cached_blocks(), 4u);
  EXPECT_EQ(matched(allocator, numbers(0, 9)), 8u);  // used again: now the others are older
  BlockTable table;
  ASSERT_TRUE(allocator.grow(table, 4));
  EXPECT_EQ(matched(allocator, numbers(100, 9)), 4u);  // lost its tail, not its head
  EXPECT_EQ(matched(allocator, numbers(0, 9)), 8u);
  ASSERT_TRUE(allocator.grow(table, 16));
  EXPECT_EQ(allocator.cached_blocks(), 0u);
  EXPECT_EQ(matched(allocator, numbers(0, 9)), 0u);
  EXPECT_TRUE(allocator.consistent());
}

TEST(BlockAllocator, FreeBlocksGoBeforeCachedOnes) {
  BlockAllocator allocator(4, kTokens);
  remember(allocator, numbers(0, 4));
  BlockTable table;
  ASSERT_TRUE(allocator.grow(table, 12));
  EXPECT_EQ(allocator.cached_blocks(), 1u);
  EXPECT_EQ(matched(allocator, numbers(0, 5)), 4u);
}

// With another salt the same tokens are unknown, whatever number the salt is (serial numbers of
// blocks are small ones).
TEST(BlockAllocator, PrefixesAreSharedWithinOneSaltOnly) {
  BlockAllocator allocator(40, kTokens);
  const auto tokens = numbers(0, 9);
  const auto matched_with = [&](uint64_t salt) {
    BlockTable table{.salt = salt};
    const uint32_t count = allocator.match_prefix(tokens, table);
    allocator.release(table);
    return count;
  };
  remember(allocator, tokens);
  for (uint64_t salt = 1; salt < 8; ++salt) EXPECT_EQ(matched_with(salt), 0u);
  for (uint64_t salt = 1; salt < 8; ++salt) {
    BlockTable table{.salt = salt};
    ASSERT_TRUE(allocator.grow(table, 9));
    allocator.publish(table, tokens, 9);
    EXPECT_EQ(table.published, 2u);
    allocator.release(table);
  }
  EXPECT_EQ(allocator.cached_blocks(), 16u);  // nobody's was swapped for another's
  for (uint64_t salt = 0; salt < 8; ++salt) EXPECT_EQ(matched_with(salt), 8u);
  EXPECT_TRUE(allocator.consistent());
}

// Many sequences over few different tokens: prefixes meet and part all the time. Beside the
// allocator stands a plain list of what each block holds.
TEST(BlockAllocator, RandomUseNeverMixesContents) {
  std::mt19937 random(7);
  BlockAllocator allocator(24, kTokens);
  // The salt and the prefix up to the end of each block.
  std::vector<std::vector<TokenId>> content(24);
  const auto salted = [](const BlockTable& table, auto begin, auto end) {
    std::vector<TokenId> all = {static_cast<TokenId>(table.salt)};
    all.insert(all.end(), begin, end);
    return all;
  };
  struct Sequence {
    std::vector<TokenId> tokens;
    BlockTable table;
    uint32_t computed = 0;
  };
  std::vector<Sequence> sequences;
  uint64_t hits = 0;
  for (int step = 0; step < 20000; ++step) {
    if (sequences.size() < 6 && random() % 2) {
      Sequence sequence;
      sequence.tokens.resize(1 + random() % 30);
      for (auto& token : sequence.tokens) token = static_cast<TokenId>(random() % 8 == 0);
      sequence.table.salt = random() % 2;
      sequence.computed = allocator.match_prefix(sequence.tokens, sequence.table);
      ASSERT_LT(sequence.computed, sequence.tokens.size());
      hits += sequence.computed;
      for (uint32_t i = 0; i < sequence.table.blocks.size(); ++i) {
        const auto end = sequence.tokens.begin() + (i + 1) * kTokens;
        ASSERT_EQ(content[sequence.table.blocks[i]],
                  salted(sequence.table, sequence.tokens.begin(), end));
      }
      sequences.push_back(std::move(sequence));
    }
    if (sequences.empty()) continue;
    const size_t index = random() % sequences.size();
    Sequence& sequence = sequences[index];
    const auto size = static_cast<uint32_t>(sequence.tokens.size());
    const uint32_t wanted =
        std::min(size, sequence.computed + 1 + static_cast<uint32_t>(random() % 9));
    const bool grown = wanted > sequence.computed && allocator.grow(sequence.table, wanted);
    if (grown) {
      for (uint32_t i = sequence.computed / kTokens; i < allocator.blocks_for(wanted); ++i) {
        const auto end = sequence.tokens.begin() + std::min((i + 1) * kTokens, wanted);
        content[sequence.table.blocks[i]] = salted(sequence.table, sequence.tokens.begin(), end);
      }
      sequence.computed = wanted;
      allocator.publish(sequence.table, sequence.tokens, wanted);
    } else {
      allocator.release(sequence.table);
      sequences.erase(sequences.begin() + static_cast<ptrdiff_t>(index));
    }
    for (const Sequence& s : sequences) {
      for (uint32_t i = 0; i < s.computed / kTokens; ++i) {
        const auto end = s.tokens.begin() + (i + 1) * kTokens;
        ASSERT_EQ(content[s.table.blocks[i]], salted(s.table, s.tokens.begin(), end));
      }
    }
    if (step % 64 == 0) {
      ASSERT_TRUE(allocator.consistent());
    }
  }
  EXPECT_GT(hits, 10000u);
  for (Sequence& sequence : sequences) allocator.release(sequence.table);
  EXPECT_EQ(allocator.available_blocks(), 24u);
  EXPECT_TRUE(allocator.consistent());
}

}  // namespace
}  // namespace hadal
