#include "device/cpu/arithmetic_loops.h"

#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 sees the "undefined" registers of its own AVX-512 header as mistakes of the caller.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace hadal::cpu {
namespace {

// Chains that do not wait for each other: an instruction takes four cycles or five and two start in
// each; one of bf16 takes six.
constexpr int kChains = 12;
// Products of 8 bits that are summed in 16 before they go to 32, as the kernels without a dot
// product of bytes do.
constexpr int kShortSums = 4;
constexpr uint64_t kBytes256 = 32, kBytes512 = 64, kHalves512 = 32;  // values in a register

// In each, an empty instruction "changes" a factor, so that no round's work can be left out, and
// the counts returned depend on the sums in a way that adds nothing.

__attribute__((target("avx2"))) uint64_t int8_pairs_256(uint64_t rounds) {
  __m256i sums[kChains];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const __m256i weights = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  __m256i values = _mm256_set1_epi8(1);
  for (uint64_t round = 0; round < rounds; ++round) {
    for (__m256i& sum : sums) {
      __asm__ volatile("" : "+x"(values));
      __m256i pairs = _mm256_maddubs_epi16(weights, values);
      for (int i = 1; i < kShortSums; ++i) {
        __asm__ volatile("" : "+x"(values));
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weights, values));
      }
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  }
  __m256i all = sums[0];
  for (int i = 1; i < kChains; ++i) all = _mm256_or_si256(all, sums[i]);
  return rounds * kChains * kShortSums * kBytes256 + (_mm256_testz_si256(all, all) && rounds > 0);
}

__attribute__((target("avx512f,avx512bw"))) uint64_t int8_pairs_512(uint64_t rounds) {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i weights = _mm512_set1_epi8(1), ones = _mm512_set1_epi16(1);
  __m512i values = _mm512_set1_epi8(1);
  for (uint64_t round = 0; round < rounds; ++round) {
    for (__m512i& sum : sums) {
      __asm__ volatile("" : "+v"(values));
      __m512i pairs = _mm512_maddubs_epi16(weights, values);
      for (int i = 1; i < kShortSums; ++i) {
        __asm__ volatile("" : "+v"(values));
        pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(weights, values));
      }
      sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, ones));
    }
  }
  __m512i all = sums[0];
  for (int i = 1; i < kChains; ++i) all = _mm512_or_si512(all, sums[i]);
  const bool nothing = _mm512_test_epi32_mask(all, all) == 0 && rounds > 0;
  return rounds * kChains * kShortSums * kBytes512 + nothing;
}

__attribute__((target("avx512f,avx512vnni"))) uint64_t int8_dots_512(uint64_t rounds) {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i weights = _mm512_set1_epi8(1);
  __m512i values = _mm512_set1_epi8(1);
  for (uint64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+v"(values));
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, weights, values);
  }
  __m512i all = sums[0];
  for (int i = 1; i < kChains; ++i) all = _mm512_or_si512(all, sums[i]);
  const bool nothing = _mm512_test_epi32_mask(all, all) == 0 && rounds > 0;
  return rounds * kChains * kBytes512 + nothing;
}

__attribute__((target("avx2,avxvnni"))) uint64_t int8_dots_256(uint64_t rounds) {
  __m256i sums[kChains];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const __m256i weights = _mm256_set1_epi8(1), values = _mm256_set1_epi8(1);
  for (uint64_t round = 0; round < rounds; ++round) {
    // In place: g++ 12 copies the sums of the intrinsic and stores them, which takes the longer.
    for (__m256i& sum : sums) {
      __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(weights), "x"(values));
    }
  }
  __m256i all = sums[0];
  for (int i = 1; i < kChains; ++i) all = _mm256_or_si256(all, sums[i]);
  return rounds * kChains * kBytes256 + (_mm256_testz_si256(all, all) && rounds > 0);
}

__attribute__((target("avx512f,avx512bf16"))) uint64_t bf16_dots_512(uint64_t rounds) {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  __m512i ones = _mm512_set1_epi16(0x3f80);  // 1.0
  for (uint64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+v"(ones));
    const auto halves = reinterpret_cast<__m512bh>(ones);
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, halves, halves);
  }
  __m512 all = sums[0];
  for (int i = 1; i < kChains; ++i) all = _mm512_add_ps(all, sums[i]);
  const bool nothing = _mm512_reduce_add_ps(all) <= 0 && rounds > 0;
  return rounds * kChains * kHalves512 + nothing;
}

}  // namespace

std::vector<ArithmeticLoop> arithmetic_loops(const CpuFeatures& features,
                                             std::string_view instruction_set) {
  std::vector<ArithmeticLoop> loops;
  const auto add = [&](bool there, ArithmeticLoop loop) {
    if (there) loops.push_back(loop);
  };
  if (instruction_set == "avx2") {
    add(features.avx2, {.type = "int8", .integers = true, .run = int8_pairs_256});
  } else if (instruction_set == "avx_vnni") {
    add(features.avx_vnni, {.type = "int8", .integers = true, .run = int8_dots_256});
  } else if (instruction_set == "avx512") {
    add(features.avx512, {.type = "int8", .integers = true, .run = int8_pairs_512});
  } else if (instruction_set == "avx512_vnni") {
    add(features.avx512_vnni, {.type = "int8", .integers = true, .run = int8_dots_512});
    add(features.avx512_bf16, {.type = "bf16", .run = bf16_dots_512});
  }
  return loops;
}

}  // namespace hadal::cpu
