#include "support/failing_new.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace hadal {

namespace {

std::atomic<bool> active = false;
std::atomic<FailingNew::Threads> whose;
std::atomic<uint64_t> calls = 0;
std::atomic<uint64_t> first_failing = 0, failing_count = 0;
thread_local bool maker = false;  // this thread made the FailingNew

bool fails() {
  if (!active.load(std::memory_order_acquire)) return false;
  if (maker != (whose == FailingNew::Threads::kThis)) return false;
  const uint64_t call = calls++;
  return call >= first_failing && call - first_failing < failing_count;
}

void* try_to_allocate(std::size_t bytes) noexcept {
  return fails() ? nullptr : std::malloc(bytes == 0 ? 1 : bytes);
}

void* allocate(std::size_t bytes) {
  void* memory = try_to_allocate(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

FailingNew::FailingNew(uint64_t first, Threads threads, uint64_t count) {
  CHECK(!active);
  calls = 0;
  first_failing = first;
  failing_count = count;
  whose = threads;
  maker = true;
  active.store(true, std::memory_order_release);
}

FailingNew::~FailingNew() {
  active = false;
  maker = false;
}

void* FailingNew::malloc(size_t bytes) {
  return try_to_allocate(bytes);
}
void* FailingNew::realloc(void* old, size_t bytes) {
  return fails() ? nullptr : std::realloc(old, bytes);
}

uint64_t FailingNew::allocations() const {
  return calls;
}
bool FailingNew::failed() const {
  return calls > first_failing;
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
