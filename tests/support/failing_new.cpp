#include "support/failing_new.h"

#include <cstdlib>
#include <new>

#include "base/check.h"

namespace hadal {

namespace {

thread_local bool active = false;
thread_local uint64_t calls = 0, failing_call = 0;

void* try_to_allocate(std::size_t bytes) noexcept {
  if (active && calls++ == failing_call) return nullptr;
  return std::malloc(bytes == 0 ? 1 : bytes);
}

void* allocate(std::size_t bytes) {
  void* memory = try_to_allocate(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

FailingNew::FailingNew(uint64_t n) {
  CHECK(!active);
  calls = 0;
  failing_call = n;
  active = true;
}

FailingNew::~FailingNew() {
  active = false;
}

uint64_t FailingNew::allocations() const {
  return calls;
}
bool FailingNew::failed() const {
  return calls > failing_call;
}

}  // namespace hadal

// Every program that links this file allocates through it (the linker takes it from the library
// only where FailingNew is used).
void* operator new(std::size_t bytes) {
  return hadal::allocate(bytes);
}
void* operator new[](std::size_t bytes) {
  return hadal::allocate(bytes);
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return hadal::try_to_allocate(bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return hadal::try_to_allocate(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
