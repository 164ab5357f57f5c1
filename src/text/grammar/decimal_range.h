// JSON numbers between two bounds, as an automaton over their digits: exact, without rounding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "text/grammar/byte_nfa.h"

namespace hadal {

// A finite decimal number: digits of the whole part without leading zeros ("0" for zero) and of the
// fraction without trailing ones.
struct Decimal {
  bool negative = false;  // never of zero
  std::string whole = "0", fraction;

  static Decimal of(int64_t value);
  static Decimal of(uint64_t value);
  static Decimal of(double value);  // finite; the shortest digits that read as this value

  bool is_zero() const { return whole == "0" && fraction.empty(); }
};

// -1, 0, 1: a below, at, above b.
int compare(const Decimal& a, const Decimal& b);

struct DecimalBound {
  Decimal value;
  bool exclusive = false;
};

struct DecimalRange {
  std::optional<DecimalBound> lower, upper;
  bool whole_only = false;

  static constexpr uint32_t kWholeDigitsMax = 18;     // of a number that is written
  static constexpr uint32_t kFractionDigitsMax = 16;  // likewise
  static constexpr uint32_t kBoundFractionMax = 15;   // of a bound: between two lies a number

  bool contains(const Decimal& value) const;
};

// Adds the numbers of the range: without exponent where there is a bound; never "-0".
void add_numbers(ByteNfa& nfa, uint32_t from, const DecimalRange& range, uint32_t to);

}  // namespace hadal
