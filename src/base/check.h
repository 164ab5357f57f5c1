// CHECK(condition): a programmer's error ends the program with file, line and text. Never fed with
// user data: what a file or a client can send must come back as a Result (base/result.h).
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                          \
  do {                                                                                            \
    if (!(condition)) [[unlikely]] {                                                              \
      std::fprintf(stderr, "hadal: internal error: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                               \
    }                                                                                             \
  } while (false)
