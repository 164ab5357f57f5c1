// The guarded device must be able to catch what it is there to catch.
#include "support/guarded_device.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <thread>

#include "device/ops.h"
#include "support/op_cases.h"
#include "support/workbench.h"

namespace hadal {
namespace {

TEST(GuardedDeviceDeathTest, TouchingATensorCrashes) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto device = make_guarded_device();
  const auto buffer = require(device->allocate(4096));
  const Tensor tensor = buffer->tensor(QuantType::kF32, 1, 4);
  EXPECT_DEATH({ *static_cast<volatile float*>(tensor.data) = 1.0f; }, "");
  EXPECT_DEATH(
      {
        const float value = *static_cast<volatile float*>(tensor.data);
        (void)value;
      },
      "");
}

TEST(GuardedDeviceDeathTest, TouchingAWeightCrashes) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  Random random(1);
  const auto device = make_guarded_device();
  Workbench bench(*device);
  const Weight weight = bench.matrix(random_weight(random, QuantType::kF32, 2, 2));
  EXPECT_DEATH(
      {
        const char value = *static_cast<const volatile char*>(weight.data);
        (void)value;
      },
      "");
}

TEST(GuardedDeviceDeathTest, ATensorOfAnotherDeviceIsRefused) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto device = make_guarded_device(), other = make_guarded_device();
  const auto buffer = require(other->allocate(4096));
  const Tensor tensor = buffer->tensor(QuantType::kF32, 1, 4);
  EXPECT_DEATH(device->ops().swiglu({tensor, tensor, tensor}), "internal error");
}

TEST(GuardedDeviceDeathTest, ATensorOfAFreedBufferIsRefused) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto device = make_guarded_device();
  auto buffer = require(device->allocate(4096));
  const Tensor tensor = buffer->tensor(QuantType::kF32, 1, 4);
  buffer.reset();
  EXPECT_DEATH(device->ops().swiglu({tensor, tensor, tensor}), "internal error");
}

TEST(GuardedDeviceDeathTest, AViewBeyondItsBufferIsRefused) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto device = make_guarded_device();
  const auto buffer = require(device->allocate(64));
  Tensor tensor = buffer->tensor(QuantType::kF32, 1, 16);
  tensor.columns = tensor.row_stride = 17;
  EXPECT_DEATH(device->ops().swiglu({tensor, tensor, tensor}), "internal error");
}

// Values that only come out right if the work was done in the order it was asked for, each piece
// with the memory its buffer had when it was asked for.
TEST(GuardedDevice, KeepsItsOrderHoweverLate) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto device = make_guarded_device({.seed = seed});
    auto from = require(device->allocate(4096));
    const auto to = require(device->allocate(4096));
    const Tensor result = to->tensor(QuantType::kF32, 64, 1);
    for (uint32_t i = 0; i < 64; ++i) {
      const Tensor source = from->tensor(QuantType::kF32, 1, 1);
      const float value = static_cast<float>(i);
      device->write(&value, source);
      const uint32_t first_row = 0;
      device->ops().gather_rows({source, {&first_row, 1}, result.row_range(i, 1)});
      if (i % 16 == 7) from = require(device->allocate(4096));  // frees what queued work reads
    }
    std::vector<float> read(64);
    device->read(result, read.data());
    for (uint32_t i = 0; i < 64; ++i) ASSERT_EQ(read[i], static_cast<float>(i));
  }
}

// Work lies still, or runs elsewhere, after the call: a host that reads memory by a way round the
// queue would find it unfinished. Seen as the time the calls take against the time until wait().
TEST(GuardedDevice, RunsLate) {
  const auto device = make_guarded_device({.seed = 3});
  Random random(2);
  Workbench bench(*device);
  const Weight weight = bench.matrix(random_weight(random, QuantType::kF32, 512, 1024));
  const Tensor in = bench.tensor(random_matrix(random, 64, 1024)), out = bench.blank(64, 512);
  ASSERT_TRUE(device->wait());
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) device->ops().matmul({in, {{weight, {}, out}}});
  const auto asked = std::chrono::steady_clock::now();
  ASSERT_TRUE(device->wait());
  const auto done = std::chrono::steady_clock::now();
  EXPECT_LT((asked - start) * 4, done - start);
}

TEST(GuardedDevice, ReportsAFailedOpAtWaitOnce) {
  const auto device = make_guarded_device({.seed = 1, .fail_at_op = 3});
  const auto buffer = require(device->allocate(4096));
  const Tensor tensor = buffer->tensor(QuantType::kF32, 1, 4);
  const std::vector<float> one(4, 1.0f), two(4, 2.0f);
  device->write(one.data(), tensor);               // 1
  device->ops().swiglu({tensor, tensor, tensor});  // 2
  device->ops().swiglu({tensor, tensor, tensor});  // 3: fails
  device->write(two.data(), tensor);               // not done
  std::vector<float> read(4);
  device->read(tensor, read.data());
  EXPECT_TRUE(std::isnan(read[0]));
  const Status status = device->wait();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("3"), std::string::npos) << status.error().message;
  EXPECT_TRUE(device->wait());
  device->read(tensor, read.data());
  EXPECT_NE(read[0], 2.0f);
  EXPECT_FALSE(std::isnan(read[0]));
}

TEST(GuardedDevice, HasAsMuchMemoryAsItWasGiven) {
  const auto device = make_guarded_device({.memory_bytes = 10'000});
  EXPECT_EQ(device->info().memory_bytes, 10'000u);
  auto buffer = require(device->allocate(6'000));
  EXPECT_FALSE(device->allocate(6'000));
  buffer.reset();
  EXPECT_TRUE(device->allocate(6'000));
}

}  // namespace
}  // namespace hadal
