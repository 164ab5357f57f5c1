#include "measure/roof.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

constexpr MachineSpeeds kMachine{.read_bytes_per_s = 10,
                                 .weights_multiply_adds_per_s = 100,
                                 .attention_multiply_adds_per_s = 50};

// A matrix of 50 bytes and 100 multiply-adds a token: 5 s to read, a second more of work a token.
EngineInfo one_matrix(bool head = false) {
  EngineInfo info;
  info.matrices = {{.bytes = 50, .multiply_adds = 100, .head = head}};
  info.step_tokens_max = 8;
  return info;
}

TEST(Roof, EachMatrixTakesTheLongerOfItsBytesAndItsWork) {
  const EngineInfo info = one_matrix();
  EXPECT_DOUBLE_EQ(roof_seconds(info, kMachine, {.tokens = 1}), 5);
  EXPECT_DOUBLE_EQ(roof_seconds(info, kMachine, {.tokens = 5}), 5);
  EXPECT_DOUBLE_EQ(roof_seconds(info, kMachine, {.tokens = 8}), 8);
  EXPECT_DOUBLE_EQ(roof_seconds(info, kMachine, {.sequences = 4, .tokens = 2}), 8);
  EngineInfo two = info;
  two.matrices.push_back({.bytes = 100, .multiply_adds = 1});
  EXPECT_DOUBLE_EQ(roof_seconds(two, kMachine, {.tokens = 8}), 8 + 10);
}

TEST(Roof, APromptReadsTheWeightsOnceAChunkAndTheHeadOnce) {
  EXPECT_DOUBLE_EQ(prompt_roof_seconds(one_matrix(), kMachine, 20, 0), 8 + 8 + 5);
  EXPECT_DOUBLE_EQ(prompt_roof_seconds(one_matrix(true), kMachine, 20, 0), 5);
  EXPECT_DOUBLE_EQ(decode_roof_seconds(one_matrix(true), kMachine, 7, 100), 7);
}

TEST(Roof, KeysAndValuesAreReadForEachSequence) {
  EngineInfo info;
  info.kv_bytes_per_token = 2;
  EXPECT_DOUBLE_EQ(decode_roof_seconds(info, kMachine, 3, 100), 3 * 100 * 2 / 10.0);
  info.attention.pair = 20;  // more work than bytes: 0.4 s a position
  EXPECT_DOUBLE_EQ(decode_roof_seconds(info, kMachine, 3, 100), 3 * 100 * 20 / 50.0);
  // 4 tokens behind 6: they see 7, 8, 9 and 10.
  EXPECT_DOUBLE_EQ(roof_seconds(info, kMachine, {.tokens = 4, .past = 6}), 34 * 20 / 50.0);
}

TEST(Roof, ALatentCacheTakesTheCheaperForm) {
  EngineInfo info;
  info.attention = {.pair = 100, .expanded_pair = 10, .expanded_position = 300};
  EXPECT_DOUBLE_EQ(decode_roof_seconds(info, kMachine, 1, 10), 10 * 100 / 50.0);
  // 8 tokens behind 8: 8 * 12.5 pairs.
  EXPECT_DOUBLE_EQ(roof_seconds(info, kMachine, {.tokens = 8, .past = 8}),
                   (100 * 10 + 8 * 300) / 50.0);
}

TEST(Roof, OfExpertsThoseThatSomeTokenIsSentTo) {
  const MatrixWork experts{.bytes = 10, .multiply_adds = 1, .experts = 8, .experts_per_token = 2};
  EXPECT_DOUBLE_EQ(experts_touched(experts, 0), 0);
  EXPECT_DOUBLE_EQ(experts_touched(experts, 1), 2);
  EXPECT_DOUBLE_EQ(experts_touched(experts, 2), 8 * (1 - 0.75 * 0.75));
  EXPECT_NEAR(experts_touched(experts, 1000), 8, 1e-9);
  EXPECT_DOUBLE_EQ(experts_touched({}, 5), 1);
  EngineInfo info;
  info.matrices = {experts};
  EXPECT_DOUBLE_EQ(roof_seconds(info, kMachine, {.tokens = 1}), 2 * 10 / 10.0);
}

TEST(Roof, WhatIsNotKnownIsLeftOut) {
  EXPECT_DOUBLE_EQ(roof_seconds(one_matrix(), {.weights_multiply_adds_per_s = 100}, {.tokens = 2}),
                   2);
  EXPECT_DOUBLE_EQ(roof_seconds(one_matrix(), {}, {.tokens = 2}), 0);
}

}  // namespace
}  // namespace hadal
