// The formats, each as a pattern of which every text is of the format. Of email, hostname and uri,
// whose full grammars no two readers agree on, the ordinary ones: ASCII, no quoted local parts, no
// addresses in brackets, http and https.
#include <array>
#include <string>
#include <utility>

#include "text/grammar/pattern.h"

namespace hadal {
namespace {

// RFC 3339, section 5.6: days by month, 29 February in leap years.
#define HADAL_DATE                                        \
  "(?:\\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\\d|2[0-8])" \
  "|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"  \
  "|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])"           \
  "|(?:[02468][048]|[13579][26])00)-02-29)"
#define HADAL_TIME                                       \
  "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?" \
  "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define HADAL_BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define HADAL_IPV4 HADAL_BYTE "(?:\\." HADAL_BYTE "){3}"
#define HADAL_GROUP "[0-9A-Fa-f]{1,4}"
#define HADAL_LAST "(?:" HADAL_GROUP ":" HADAL_GROUP "|" HADAL_IPV4 ")"  // the last 32 bits
// RFC 1123: at most four labels of at most 61 characters, so 253 in all are kept; never two hyphens
// side by side, which only encoded names have (RFC 5891).
#define HADAL_LABEL "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,30}"
#define HADAL_HOST HADAL_LABEL "(?:\\." HADAL_LABEL "){0,3}"
// RFC 5322's dot-atom, at most 62 characters of the 64 that RFC 5321 allows.
#define HADAL_ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"

constexpr std::array<std::pair<std::string_view, const char*>, 11> kFormats = {{
    {"date", "^" HADAL_DATE "$"},
    {"time", "^" HADAL_TIME "$"},
    {"date-time", "^" HADAL_DATE "[Tt]" HADAL_TIME "$"},
    // RFC 3339, appendix A.
    {"duration",
     "^P(?:\\d{1,9}W|(?:\\d{1,9}Y(?:\\d{1,9}M(?:\\d{1,9}D)?)?|\\d{1,9}M(?:\\d{1,9}D)?|\\d{1,9}D)"
     "(?:T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))?"
     "|T(?:\\d{1,9}H(?:\\d{1,9}M(?:\\d{1,9}S)?)?|\\d{1,9}M(?:\\d{1,9}S)?|\\d{1,9}S))$"},
    {"uuid", "^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"},
    {"ipv4", "^" HADAL_IPV4 "$"},
    // RFC 4291, section 2.2, as the grammar of RFC 3986 spells it.
    {"ipv6", "^(?:(?:" HADAL_GROUP ":){6}" HADAL_LAST "|::(?:" HADAL_GROUP ":){5}" HADAL_LAST
             "|(?:" HADAL_GROUP ")?::(?:" HADAL_GROUP ":){4}" HADAL_LAST "|(?:(?:" HADAL_GROUP
             ":){0,1}" HADAL_GROUP ")?::(?:" HADAL_GROUP ":){3}" HADAL_LAST "|(?:(?:" HADAL_GROUP
             ":){0,2}" HADAL_GROUP ")?::(?:" HADAL_GROUP ":){2}" HADAL_LAST "|(?:(?:" HADAL_GROUP
             ":){0,3}" HADAL_GROUP ")?::" HADAL_GROUP ":" HADAL_LAST "|(?:(?:" HADAL_GROUP
             ":){0,4}" HADAL_GROUP ")?::" HADAL_LAST "|(?:(?:" HADAL_GROUP ":){0,5}" HADAL_GROUP
             ")?::" HADAL_GROUP "|(?:(?:" HADAL_GROUP ":){0,6}" HADAL_GROUP ")?::)$"},
    {"hostname", "^" HADAL_HOST "$"},
    {"email", "^" HADAL_ATOM "(?:\\." HADAL_ATOM "){0,2}@" HADAL_HOST "$"},
    // RFC 3986.
    {"uri",
     "^https?://" HADAL_HOST "(?::\\d{1,5})?(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*"
     "(?:\\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
     "(?:#(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$"},
    // RFC 6901.
    {"json-pointer", "^(?:/(?:[^~/]|~[01])*)*$"},
}};

#undef HADAL_DATE
#undef HADAL_TIME
#undef HADAL_BYTE
#undef HADAL_IPV4
#undef HADAL_GROUP
#undef HADAL_LAST
#undef HADAL_LABEL
#undef HADAL_HOST
#undef HADAL_ATOM

}  // namespace

const char* pattern_of_format(std::string_view format) {
  for (const auto& [name, pattern] : kFormats) {
    if (name == format) return pattern;
  }
  return nullptr;
}

std::string_view known_formats() {
  return "date, time, date-time, duration, uuid, ipv4, ipv6, hostname, email, uri, json-pointer";
}

}  // namespace hadal
