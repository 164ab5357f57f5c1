// A handler for one operation of Asio's that says so where it is dropped uncalled: an operation
// whose next step finds no memory is gone, and its handler with it, while an exception flies by.
#pragma once

#include <utility>

namespace hadal {

// dropped: must not throw; may be called while its owner goes, with the io_context.
template <typename Work, typename Dropped>
class OwedHandler {
 public:
  OwedHandler(Work work, Dropped dropped)
      : work_(std::move(work)), dropped_(std::move(dropped)), owed_(true) {}
  OwedHandler(OwedHandler&& other) noexcept
      : work_(std::move(other.work_)),
        dropped_(std::move(other.dropped_)),
        owed_(std::exchange(other.owed_, false)) {}
  OwedHandler& operator=(OwedHandler&&) = delete;
  ~OwedHandler() {
    if (owed_) dropped_();
  }

  template <typename... Arguments>
  void operator()(Arguments&&... arguments) {
    owed_ = false;
    work_(std::forward<Arguments>(arguments)...);
  }

 private:
  Work work_;
  Dropped dropped_;
  bool owed_;
};

}  // namespace hadal
