// Setters that the field tables of the dialects share. A Request has a ChatJob `job`.
#pragma once

#include <string_view>

#include "server/chat/chat_job.h"
#include "server/chat/fields.h"

namespace hadal {

inline constexpr double kTokensFieldMost = 1 << 24;
inline constexpr double kSeedFieldMost = 9007199254740991.0;  // below 2^53: exact as a double
inline constexpr double kEmbeddingWidthFieldMost = 1 << 20;
inline constexpr double kTextFieldMost = 1ull << 40;  // the body's limit is the real one

template <typename Request>
struct JobFields {
  template <auto Member>
  static RequestResult<void> number(Request& request, const Json& value) {
    request.job.*Member = value.get<double>();
    return {};
  }
  template <auto Member>
  static RequestResult<void> whole(Request& request, const Json& value) {
    request.job.*Member = static_cast<uint32_t>(value.get<double>());
    return {};
  }
  static RequestResult<void> seed(Request& request, const Json& value) {
    request.job.seed = static_cast<uint64_t>(static_cast<int64_t>(value.get<double>()));
    return {};
  }
  static RequestResult<void> model(Request& request, const Json& value) {
    request.job.model = value.get<std::string>();
    return {};
  }
  // Of the request itself.
  template <auto Member>
  static RequestResult<void> flag(Request& request, const Json& value) {
    request.*Member = value.get<bool>();
    return {};
  }
  template <auto Member>
  static RequestResult<void> text(Request& request, const Json& value) {
    request.*Member = value.get<std::string>();
    return {};
  }
  // For what can only be read when the other fields are known. The request's JSON outlives it.
  template <auto Member>
  static RequestResult<void> later(Request& request, const Json& value) {
    request.*Member = &value;
    return {};
  }
};

// A list of strings; or one string, where `single`.
RequestResult<void> read_stop_strings(const Json& value, std::string_view field, bool single,
                                      ChatJob& job);
// "low", "high" ...: an effort is a budget of thinking. False: there is no such effort.
bool read_effort(std::string_view effort, ChatJob& job);

}  // namespace hadal
