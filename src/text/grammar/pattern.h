// Regular expressions of `pattern`: a subset of ECMA 262's (with its u flag) that an automaton can
// decide in one pass. Characters, . and classes ([a-z], [^"], \d \D \w \W \s \S), escapes (\t \n \v
// \f \r \0 \xHH \uHHHH \u{H} and punctuation), groups, |, * + ? {n} {n,} {n,m} (lazy ones too: the
// texts are the same), ^ and $. Refused: back references, looking ahead or behind, \b, \p{...},
// named groups, flags.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/grammar/byte_nfa.h"

namespace hadal {

struct PatternLimits {
  uint32_t bytes_max, repeats_max;
};

// The texts, in UTF-8, in which the pattern is found. Errors say what of the pattern is not
// supported, and where.
Result<Dfa> compile_pattern(std::string_view pattern, const PatternLimits& limits,
                            WorkBudget& budget);

// Texts of a format, as a pattern: all that it matches are as RFC 3339, RFC 4122 and so on have it;
// null: no such format, or one that is not supported. Leap seconds are left out, fractions of
// seconds have at most nine digits; of email, hostname and uri only the ordinary ones.
const char* pattern_of_format(std::string_view format);

// The names of the formats: "date, time, ..."
std::string_view known_formats();

}  // namespace hadal
