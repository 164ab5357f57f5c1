// A test device that behaves like a graphics card, with the arithmetic of the reference device.
//
// - Its memory is its own: Tensor::data and Weight::data are addresses that nothing is mapped
//   readable at, ever. Whoever outside its ops touches them crashes. Weights are copied in.
// - Its queue runs late, on another thread, in bursts and with delays that depend on the seed:
//   until read() or wait() it may have done none of the work, some, or all.
// - What an op or write() is given by span is copied at the call, and spoiled nowhere else.
// - A failed op is reported at wait(), once; ops behind it until then do nothing.
// - A tensor that is not wholly inside a living buffer of this device fails a CHECK at the call.
//
// Results are bit for bit those of the reference device.
#pragma once

#include <cstdint>
#include <memory>

#include "device/device.h"

namespace hadal {

struct GuardedOptions {
  uint64_t seed = 1;
  uint32_t threads = 1;        // of the arithmetic
  uint32_t delay_us_max = 50;  // before an op; 0: none
  uint64_t fail_at_op = 0;     // the n-th queued piece of work fails (1 is the first); 0: none
  uint64_t memory_bytes = 0;   // the card's size; 0: what the host has
};

std::unique_ptr<Device> make_guarded_device(const GuardedOptions& options = {});

}  // namespace hadal
