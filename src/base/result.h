// Operating errors as values. Every function that can fail for a reason outside the program (a
// file, a request, memory) returns Result<T>; the message is one or more plain sentences that name
// the file, tensor, field or value, what was expected, and what to do. Programmer errors are CHECKs
// (base/check.h).
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace hadal {

struct Error {
  std::string message;  // for a person; no trailing newline
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// return fail("{}: tensor {} has {} rows, expected {}", file, name, rows, expected);
template <typename... Args>
tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{fmt::format(format, std::forward<Args>(args)...)});
}

// Passes an error on unchanged: if (!result) return forward_error(result);
template <typename T>
tl::unexpected<Error> forward_error(const Result<T>& result) {
  return tl::unexpected<Error>(result.error());
}

}  // namespace hadal

// HADAL_TRY(auto file, MappedFile::open(path)); returns the error of the expression, or binds its
// value.
#define HADAL_CONCAT_INNER(a, b) a##b
#define HADAL_CONCAT(a, b) HADAL_CONCAT_INNER(a, b)
#define HADAL_TRY(declaration, expression) \
  HADAL_TRY_INNER(HADAL_CONCAT(hadal_result_, __LINE__), declaration, expression)
#define HADAL_TRY_INNER(temporary, declaration, expression)                              \
  auto temporary = (expression);                                                         \
  if (!temporary) return ::tl::unexpected<::hadal::Error>(std::move(temporary.error())); \
  declaration = std::move(*temporary)

// HADAL_TRY_VOID(write(...)); for a Status whose value is void.
#define HADAL_TRY_VOID(expression)                                                               \
  do {                                                                                           \
    auto hadal_status = (expression);                                                            \
    if (!hadal_status) return ::tl::unexpected<::hadal::Error>(std::move(hadal_status.error())); \
  } while (false)
