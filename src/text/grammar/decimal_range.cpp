#include "text/grammar/decimal_range.h"

#include <charconv>
#include <map>
#include <tuple>
#include <vector>

#include "base/check.h"

namespace hadal {
namespace {

Decimal of_text(std::string_view text) {
  Decimal decimal;
  decimal.negative = text.starts_with('-');
  if (decimal.negative) text.remove_prefix(1);
  const size_t point = text.find('.');
  decimal.whole = text.substr(0, point);
  if (point != std::string_view::npos) {
    const std::string_view fraction = text.substr(point + 1);
    decimal.fraction = fraction.substr(0, fraction.find_last_not_of('0') + 1);
  }
  if (decimal.is_zero()) decimal.negative = false;
  return decimal;
}

int sign(int value) {
  return (value > 0) - (value < 0);
}

int compare_magnitudes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int whole = a.whole.compare(b.whole)) return sign(whole);
  return sign(a.fraction.compare(b.fraction));
}

// How the digits written so far compare with as many of a bound's.
enum class Order : int8_t { kBelow = -1, kSame = 0, kAbove = 1 };

Order order_of(int difference) {
  return static_cast<Order>(sign(difference));
}

// Magnitudes between two bounds, neither negative: the states of reading one, found as they are
// needed. Digits of the whole part are compared as if both had equally many; how many there are
// decides when the whole part ends.
class MagnitudeReader {
 public:
  MagnitudeReader(ByteNfa& nfa, const DecimalRange& range, uint32_t to)
      : nfa_(nfa), range_(range), to_(to) {}

  void add(uint32_t from) {
    nfa_.add_empty(from, node_of({}));
    while (!pending_.empty()) {
      const Place place = pending_.back();
      pending_.pop_back();
      if (place.in_fraction) {
        add_fraction(place);
      } else {
        add_whole(place);
      }
    }
  }

 private:
  struct Place {
    bool in_fraction = false;
    bool is_zero = false;  // the whole part is "0": no digit may follow
    uint32_t digits = 0;   // of the whole part, or of the fraction
    Order lower = Order::kSame, upper = Order::kSame;
    auto operator<=>(const Place&) const = default;
  };

  uint32_t node_of(const Place& place) {
    const auto [known, is_new] = nodes_.try_emplace(place, 0);
    if (is_new) {
      known->second = nfa_.add_node();
      pending_.push_back(place);
    }
    return known->second;
  }

  static Order step(Order before, const std::string& digits, uint32_t at, char digit) {
    if (before != Order::kSame) return before;
    return order_of(digit - (at < digits.size() ? digits[at] : '0'));
  }

  // Behind the last digit of the whole part.
  static Order ended(Order before, const std::optional<DecimalBound>& bound, uint32_t digits) {
    if (!bound) return Order::kSame;
    const auto of_bound = static_cast<uint32_t>(bound->value.whole.size());
    return digits == of_bound ? before : order_of(digits < of_bound ? -1 : 1);
  }

  // Behind the number's last digit, `digits` of them in the fraction: equal to the bound, if no
  // more of it is left, else below.
  bool may_end(Order lower, Order upper, uint32_t digits) const {
    const auto at_end = [digits](Order order, const DecimalBound& bound) {
      if (order != Order::kSame) return order;
      return digits < bound.value.fraction.size() ? Order::kBelow : Order::kSame;
    };
    if (range_.lower) {
      const Order order = at_end(lower, *range_.lower);
      if (order == Order::kBelow || (order == Order::kSame && range_.lower->exclusive))
        return false;
    }
    if (range_.upper) {
      const Order order = at_end(upper, *range_.upper);
      if (order == Order::kAbove || (order == Order::kSame && range_.upper->exclusive))
        return false;
    }
    return true;
  }

  void add_digit(const Place& from, char digit, const Place& to) {
    const auto byte = static_cast<uint8_t>(digit);
    nfa_.add_range(nodes_.at(from), byte, byte, node_of(to));
  }

  void add_whole(const Place& place) {
    if (place.digits < DecimalRange::kWholeDigitsMax && !place.is_zero) {
      for (char digit = '0'; digit <= '9'; ++digit) {
        Place next = place;
        next.is_zero = place.digits == 0 && digit == '0';
        if (range_.lower)
          next.lower = step(place.lower, range_.lower->value.whole, place.digits, digit);
        if (range_.upper)
          next.upper = step(place.upper, range_.upper->value.whole, place.digits, digit);
        ++next.digits;
        add_digit(place, digit, next);
      }
    }
    if (place.digits == 0) return;
    const Place ended_here = {true, false, 0, ended(place.lower, range_.lower, place.digits),
                              ended(place.upper, range_.upper, place.digits)};
    if (may_end(ended_here.lower, ended_here.upper, 0)) nfa_.add_empty(nodes_.at(place), to_);
    if (!range_.whole_only) add_digit(place, '.', ended_here);
  }

  void add_fraction(const Place& place) {
    if (place.digits > 0 && may_end(place.lower, place.upper, place.digits)) {
      nfa_.add_empty(nodes_.at(place), to_);
    }
    if (place.digits == DecimalRange::kFractionDigitsMax) return;
    for (char digit = '0'; digit <= '9'; ++digit) {
      Place next = place;
      if (range_.lower)
        next.lower = step(place.lower, range_.lower->value.fraction, place.digits, digit);
      if (range_.upper)
        next.upper = step(place.upper, range_.upper->value.fraction, place.digits, digit);
      ++next.digits;
      add_digit(place, digit, next);
    }
  }

  ByteNfa& nfa_;
  const DecimalRange& range_;
  const uint32_t to_;
  std::map<Place, uint32_t> nodes_;
  std::vector<Place> pending_;
};

// What of the range is not negative, mirrored first if asked for: the magnitudes of negative
// numbers, zero left out. None where nothing is left.
std::optional<DecimalRange> magnitudes(const DecimalRange& range, bool of_negative) {
  DecimalRange part = range;
  if (of_negative) {
    std::swap(part.lower, part.upper);
    if (part.lower) part.lower->value.negative = !part.lower->value.negative;
    if (part.upper) part.upper->value.negative = !part.upper->value.negative;
    for (auto* bound : {&part.lower, &part.upper}) {
      if (*bound && (*bound)->value.is_zero()) (*bound)->value.negative = false;
    }
    if (!part.lower || part.lower->value.negative || part.lower->value.is_zero()) {
      part.lower = DecimalBound{.value = {}, .exclusive = true};
    }
  } else if (part.lower && part.lower->value.negative) {
    part.lower.reset();
  }
  if (part.upper && part.upper->value.negative) return std::nullopt;
  return part;
}

// [eE][+-]?[0-9]{1,2}, or nothing.
void add_exponent(ByteNfa& nfa, uint32_t from, uint32_t to) {
  const uint32_t letter = nfa.add_node(), first = nfa.add_node(), second = nfa.add_node();
  nfa.add_empty(from, to);
  nfa.add_range(from, 'e', 'e', letter);
  nfa.add_range(from, 'E', 'E', letter);
  nfa.add_range(letter, '+', '+', first);
  nfa.add_range(letter, '-', '-', first);
  nfa.add_empty(letter, first);
  nfa.add_range(first, '0', '9', second);
  nfa.add_range(second, '0', '9', to);
  nfa.add_empty(second, to);
}

}  // namespace

Decimal Decimal::of(int64_t value) {
  return of_text(std::to_string(value));
}
Decimal Decimal::of(uint64_t value) {
  return of_text(std::to_string(value));
}

Decimal Decimal::of(double value) {
  char text[400];  // a double has at most 309 digits before the point, or about 340 behind it
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed);
  CHECK(end.ec == std::errc());
  return of_text({text, static_cast<size_t>(end.ptr - text)});
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

bool DecimalRange::contains(const Decimal& value) const {
  if (whole_only && !value.fraction.empty()) return false;
  if (lower) {
    const int order = compare(value, lower->value);
    if (order < 0 || (order == 0 && lower->exclusive)) return false;
  }
  if (upper) {
    const int order = compare(value, upper->value);
    if (order > 0 || (order == 0 && upper->exclusive)) return false;
  }
  return true;
}

void add_numbers(ByteNfa& nfa, uint32_t from, const DecimalRange& range, uint32_t to) {
  uint32_t end = to;
  if (!range.lower && !range.upper && !range.whole_only) {
    end = nfa.add_node();
    add_exponent(nfa, end, to);
  }
  if (const auto part = magnitudes(range, /*of_negative=*/false)) {
    MagnitudeReader(nfa, *part, end).add(from);
  }
  if (const auto part = magnitudes(range, /*of_negative=*/true)) {
    const uint32_t minus = nfa.add_node();
    nfa.add_range(from, '-', '-', minus);
    MagnitudeReader(nfa, *part, end).add(minus);
  }
}

}  // namespace hadal
