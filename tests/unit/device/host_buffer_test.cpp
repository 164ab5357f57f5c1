#include "device/host_buffer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "base/memory_limits.h"
#include "device/reference/reference_device.h"

namespace hadal {
namespace {

constexpr size_t kMiB = 1 << 20;

TEST(HostBuffer, IsZeroAlignedAndHoldsWhatWasAskedFor) {
  const auto device = make_reference_device({.threads = 1});
  const auto buffer = HostBuffer::create(*device, 1000);
  ASSERT_TRUE(buffer) << buffer.error().message;
  EXPECT_EQ((*buffer)->bytes(), 1000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*buffer)->data()) % 64, 0u);
  for (size_t i = 0; i < 1000; ++i) ASSERT_EQ((*buffer)->data()[i], std::byte{0});
  const Tensor tensor = (*buffer)->tensor(QuantType::kF16, 4, 10, 128);
  EXPECT_EQ(tensor.device, device.get());
  EXPECT_EQ(tensor.row_stride, 10u);
  EXPECT_EQ(tensor.data, (*buffer)->data() + 128);
}

TEST(HostBuffer, OfNothingIsABuffer) {
  const auto device = make_reference_device({.threads = 1});
  const auto buffer = HostBuffer::create(*device, 0);
  ASSERT_TRUE(buffer) << buffer.error().message;
  EXPECT_EQ((*buffer)->bytes(), 0u);
}

TEST(HostBuffer, RefusesWhatTheLimitOnAddressSpaceDoesNotLeave) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own address space is beyond any limit";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer's own address space is beyond any limit";
#endif
#endif
  const auto device = make_reference_device({.threads = 1});
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &old), 0);
  rlimit tight = old;
  tight.rlim_cur = 256 * kMiB;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  const auto fits = HostBuffer::create(*device, 32 * kMiB);
  const auto beyond = HostBuffer::create(*device, 300 * kMiB);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &old), 0);
  EXPECT_TRUE(fits) << fits.error().message;
  ASSERT_FALSE(beyond);
  const std::string& message = beyond.error().message;
  EXPECT_NE(message.find("device reference"), std::string::npos) << message;
  EXPECT_NE(message.find(std::to_string(300 * kMiB)), std::string::npos) << message;
  EXPECT_NE(message.find("left"), std::string::npos) << message;
}

TEST(HostBufferDeathTest, ATensorMustFit) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto device = make_reference_device({.threads = 1});
  const auto buffer = HostBuffer::create(*device, 4096);
  ASSERT_TRUE(buffer);
  EXPECT_DEATH((*buffer)->tensor(QuantType::kF32, 32, 33), "internal error");
  EXPECT_DEATH((*buffer)->tensor(QuantType::kF32, 1, 1, 4), "internal error");
  EXPECT_DEATH((*buffer)->tensor(QuantType::kF32, 1, 1, 8192), "internal error");
}

}  // namespace
}  // namespace hadal
