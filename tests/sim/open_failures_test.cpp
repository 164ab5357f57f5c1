// A model is opened while memory runs out: the n-th thing asked of the device is refused, for every
// n, and every time the answer is a sentence and nothing is left behind. Then the same for the
// host's own allocations.
#include <gtest/gtest.h>

#include "device/registry.h"
#include "engine/engine.h"
#include "support/failing_new.h"

namespace hadal {
namespace {

struct Ration {
  int left = 0;   // requests granted
  int alive = 0;  // buffers
  int asked = 0;
};

class CountedBuffer : public Buffer {
 public:
  CountedBuffer(std::unique_ptr<Buffer> inner, Ration& ration)
      : inner_(std::move(inner)), ration_(ration) {
    ++ration_.alive;
  }
  ~CountedBuffer() override { --ration_.alive; }
  size_t bytes() const override { return inner_->bytes(); }
  Tensor tensor(QuantType type, uint32_t rows, uint32_t columns, size_t offset) override {
    return inner_->tensor(type, rows, columns, offset);
  }

 private:
  std::unique_ptr<Buffer> inner_;
  Ration& ration_;
};

class RationedDevice : public Device {
 public:
  RationedDevice(std::unique_ptr<Device> inner, Ration& ration)
      : inner_(std::move(inner)), ration_(ration) {}

  const DeviceInfo& info() const override { return inner_->info(); }
  Result<DeviceSpeeds> measure_speeds() override { return inner_->measure_speeds(); }
  bool supports(QuantType type) const override { return inner_->supports(type); }
  Result<std::unique_ptr<Buffer>> allocate(size_t bytes) override {
    if (!granted()) return fail("no memory left for {} bytes", bytes);
    HADAL_TRY(auto buffer, inner_->allocate(bytes));
    return std::make_unique<CountedBuffer>(std::move(buffer), ration_);
  }
  Result<LoadedWeight> upload(const WeightSource& source) override {
    if (!granted()) return fail("no memory left for {}", source.name);
    HADAL_TRY(LoadedWeight weight, inner_->upload(source));
    if (weight.memory) {
      weight.memory = std::make_unique<CountedBuffer>(std::move(weight.memory), ration_);
    }
    return weight;
  }
  Ops& ops() override { return inner_->ops(); }
  void copy(const Tensor& from, const Tensor& to) override { inner_->copy(from, to); }
  void read(const Tensor& from, void* host) override { inner_->read(from, host); }
  void write(const void* host, const Tensor& to) override { inner_->write(host, to); }
  Status wait() override { return inner_->wait(); }

 private:
  bool granted() {
    ++ration_.asked;
    return ration_.left-- > 0;
  }
  std::unique_ptr<Device> inner_;
  Ration& ration_;
};

std::shared_ptr<const ModelFile> model_file() {
  auto file = ModelFile::open(std::filesystem::path(HADAL_TEST_DATA) / "golden/qwen2/model.gguf");
  EXPECT_TRUE(file) << file.error().message;
  return file ? std::move(*file) : nullptr;
}

std::vector<std::unique_ptr<Device>> devices(Ration& ration) {
  std::vector<std::unique_ptr<Device>> result;
  result.push_back(
      std::make_unique<RationedDevice>(std::move(*open_device({.name = "reference"})), ration));
  return result;
}

TEST(OpenFailures, AnyRequestToTheDeviceMayBeRefused) {
  const auto file = model_file();
  ASSERT_NE(file, nullptr);
  int refused = 0;
  for (int n = 0; n < 1000; ++n) {
    Ration ration{.left = n};
    {
      const auto engine = Engine::open(file, devices(ration), {.context_tokens = 64});
      if (engine) break;
      EXPECT_FALSE(engine.error().message.empty());
      ++refused;
    }
    ASSERT_EQ(ration.alive, 0) << "refusal " << n << " leaves memory behind";
    ASSERT_EQ(ration.asked, n + 1) << "it went on after refusal " << n;
  }
  EXPECT_GT(refused, 30);  // every tensor, the cache's layers, scratch, logits
  EXPECT_LT(refused, 999);
}

TEST(OpenFailures, AnyAllocationOfTheHostMayFail) {
  const auto file = model_file();
  ASSERT_NE(file, nullptr);
  uint64_t failures = 0;
  // Openings make thousands of small allocations: the first ones each, then in growing strides.
  for (uint64_t n = 0; n < 1'000'000; n += 1 + n / 64) {
    Ration ration{.left = INT32_MAX};
    bool opened = false, failed = false;
    std::string message;
    {
      auto given = devices(ration);
      FailingNew failing(n);
      const auto engine = Engine::open(file, std::move(given), {.context_tokens = 64});
      opened = engine.has_value();
      failed = failing.failed();
    }
    ASSERT_EQ(ration.alive, 0) << "allocation " << n;
    if (!failed) {
      ASSERT_TRUE(opened);
      break;
    }
    ++failures;
  }
  EXPECT_GT(failures, 100u);
}

}  // namespace
}  // namespace hadal
