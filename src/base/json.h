// JSON values: nlohmann's. Included instead of <nlohmann/json.hpp> everywhere (scripts/check-layers
// sees to it), because of two flaws, each of which ends the process where there is no memory. The
// destructor of an array or object allocates (a stack, against deep recursion): so the vectors of
// JSON values, which that stack and arrays are, wait for memory before they give up. And comparing
// a value with a text makes a value of the text, in a function that must not throw: here it does
// not.
#pragma once

#include <chrono>
#include <cstddef>
#include <limits>
#include <new>
#include <nlohmann/json_fwd.hpp>
#include <thread>
#include <type_traits>

namespace hadal {

template <typename T>
struct WaitingAllocator {
  using value_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using propagate_on_container_move_assignment = std::true_type;
  using is_always_equal = std::true_type;

  [[nodiscard]] T* allocate(size_t count) {
    constexpr int kQuickAttempts = 100, kAttempts = 200;  // about half a second
    constexpr std::chrono::milliseconds kPause{5};
    if (count > std::numeric_limits<size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      void* const memory = ::operator new(count * sizeof(T), std::nothrow);
      if (memory != nullptr) return static_cast<T*>(memory);
      if (attempt < kQuickAttempts) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(kPause);
      }
    }
    throw std::bad_alloc();
  }
  void deallocate(T* memory, size_t) { ::operator delete(memory); }
};

}  // namespace hadal

template <>
class std::allocator<nlohmann::ordered_json>
    : public hadal::WaitingAllocator<nlohmann::ordered_json> {
 public:
  constexpr allocator() noexcept = default;
  template <typename Other>
  constexpr allocator(const allocator<Other>&) noexcept {}
  friend constexpr bool operator==(const allocator&, const allocator&) { return true; }
};

template <>
class std::allocator<nlohmann::json> : public hadal::WaitingAllocator<nlohmann::json> {
 public:
  constexpr allocator() noexcept = default;
  template <typename Other>
  constexpr allocator(const allocator<Other>&) noexcept {}
  friend constexpr bool operator==(const allocator&, const allocator&) { return true; }
};

#include <nlohmann/json.hpp>

namespace nlohmann {

inline bool operator==(const ordered_json& value, const char* text) {
  return value.is_string() && value.get_ref<const std::string&>() == text;
}
inline bool operator!=(const ordered_json& value, const char* text) {
  return !(value == text);
}
inline bool operator==(const json& value, const char* text) {
  return value.is_string() && value.get_ref<const std::string&>() == text;
}
inline bool operator!=(const json& value, const char* text) {
  return !(value == text);
}

}  // namespace nlohmann
