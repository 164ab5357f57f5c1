// What this machine can do, by loops of our own: the figures a bench is compared with.
#pragma once

#include "base/thread_pool.h"
#include "device/cpu/kernels/table.h"
#include "device/device.h"

namespace hadal::cpu {

// All threads of the pool. Reads memory much larger than the caches, less where little is left.
Result<DeviceSpeeds> measure_speeds(Device& device, ThreadPool& pool, const KernelTable& kernels);

}  // namespace hadal::cpu
