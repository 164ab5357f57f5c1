// What every device promises beside its ops: memory, copies, uploads, errors (device/device.h).
#include "device/device.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/float_types.h"
#include "device/ops.h"
#include "support/test_devices.h"
#include "support/workbench.h"

namespace hadal {
namespace {

class DeviceTest : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Device> device_ = open_test_device(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Devices, DeviceTest, testing::ValuesIn(test_device_names()),
                         [](const auto& info) { return info.param; });

TEST_P(DeviceTest, SaysWhatItIs) {
  const DeviceInfo& info = device_->info();
  EXPECT_FALSE(info.name.empty());
  EXPECT_FALSE(info.description.empty());
  EXPECT_GE(info.threads, 1u);
  EXPECT_GT(info.memory_bytes, uint64_t{1} << 20);
  EXPECT_EQ(info.host_memory, GetParam() != "guarded");
  for (const QuantFormat& format : quant_formats()) EXPECT_TRUE(device_->supports(format.type));
}

TEST_P(DeviceTest, MemoryIsZero) {
  const auto buffer = require(device_->allocate(100'000));
  EXPECT_GE(buffer->bytes(), 100'000u);
  std::vector<float> values(25'000, 1.0f);
  device_->read(buffer->tensor(QuantType::kF32, 100, 250), values.data());
  for (const float value : values) ASSERT_EQ(value, 0.0f);
}

TEST_P(DeviceTest, MemoryIsCommittedAsItIsUsed) {
  // Many times what the machine could give at once to all of these, were it committed.
  const uint64_t bytes = device_->info().memory_bytes / 4;
  std::vector<std::unique_ptr<Buffer>> buffers;
  for (int i = 0; i < 12; ++i) buffers.push_back(require(device_->allocate(bytes)));
  const Tensor last = buffers.back()->tensor(QuantType::kF32, 1, 16, bytes / 128 * 64);
  const std::vector<float> values(16, 3.0f);
  std::vector<float> read(16);
  device_->write(values.data(), last);
  device_->read(last, read.data());
  EXPECT_EQ(read, values);
}

TEST_P(DeviceTest, RefusesMoreThanThereIsWithTheFigures) {
  const size_t wanted = size_t{1} << 55;
  const auto buffer = device_->allocate(wanted);
  ASSERT_FALSE(buffer);
  EXPECT_NE(buffer.error().message.find(std::to_string(wanted)), std::string::npos)
      << buffer.error().message;
  EXPECT_NE(buffer.error().message.find("left"), std::string::npos) << buffer.error().message;
}

TEST_P(DeviceTest, WritesAndReadsRowsWithGaps) {
  Random random(1);
  const Matrix values = random_matrix(random, 5, 7);
  Workbench bench(*device_);
  const auto read = bench.finish(bench.tensor(values, 11));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, values.values);
}

TEST_P(DeviceTest, WhatWriteWasGivenMayChangeAtOnce) {
  const auto buffer = require(device_->allocate(4096));
  const Tensor tensor = buffer->tensor(QuantType::kF32, 1, 8);
  std::vector<float> values(8, 1.0f);
  device_->write(values.data(), tensor);
  std::fill(values.begin(), values.end(), 2.0f);
  std::vector<float> read(8);
  device_->read(tensor, read.data());
  EXPECT_EQ(read, std::vector<float>(8, 1.0f));
}

TEST_P(DeviceTest, CopiesWithinItself) {
  Random random(2);
  const Matrix values = random_matrix(random, 6, 9);
  Workbench bench(*device_);
  const Tensor from = bench.tensor(values, 12), to = bench.blank(6, 9, 10);
  copy(from, to);
  const auto read = bench.finish(to);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, values.values);
}

TEST_P(DeviceTest, CopiesToAndFromEveryOther) {
  Random random(3);
  const Matrix values = random_matrix(random, 37, 70'001 / 37);
  for (const std::string& name : test_device_names()) {
    SCOPED_TRACE(name);
    const auto other = open_test_device(name);
    Workbench here(*device_), there(*other);
    const Tensor first = here.tensor(values, values.columns + 3);
    const Tensor away = there.blank(values.rows, values.columns, values.columns + 1);
    const Tensor back = here.blank(values.rows, values.columns);
    copy(first, away);
    copy(away, back);
    const auto read = here.finish(back);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, values.values);
  }
}

TEST_P(DeviceTest, CopiesBetweenDevicesInSlicesOfManyRows) {
  const auto other = open_test_device("guarded");
  const Matrix values{3000, 1000, std::vector<float>(3'000'000)};  // 12 MB: more than one slice
  Matrix counted = values;
  for (size_t i = 0; i < counted.values.size(); ++i) counted.values[i] = static_cast<float>(i);
  Workbench here(*device_), there(*other);
  const Tensor away = there.blank(counted.rows, counted.columns);
  copy(here.tensor(counted), away);
  const auto read = there.finish(away);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, counted.values);
}

TEST_P(DeviceTest, AnOpSeesItsSpansAsTheyWereAtTheCall) {
  Random random(4);
  const StoredWeight table = random_weight(random, QuantType::kF32, 50, 8);
  Workbench bench(*device_);
  const Weight weight = bench.matrix(table);
  const Tensor out = bench.blank(3, 8);
  std::vector<int32_t> tokens = {4, 49, 0};
  device_->ops().embed({weight, tokens, out});
  std::fill(tokens.begin(), tokens.end(), 7);
  const auto read = bench.finish(out);
  ASSERT_TRUE(read) << read.error().message;
  for (uint32_t i = 0; i < 8; ++i) EXPECT_EQ((*read)[8 + i], table.decoded.at(49, i));
}

// ---- Uploads

struct Upload {
  std::string what;
  std::vector<WeightPiece> pieces;
  WeightUse use = WeightUse::kMatrix;
};

TEST_P(DeviceTest, RefusesPiecesThatDoNotFit) {
  const std::vector<std::byte> data(1 << 16);
  const std::span<const std::byte> bytes = data;
  const std::vector<float> scales(64, 1.0f);
  const auto f32 = [&](uint32_t experts, uint32_t rows, uint32_t columns, size_t size) {
    return WeightPiece{QuantType::kF32, experts, rows, columns, bytes.first(size)};
  };
  WeightPiece scaled = f32(1, 4, 4, 64);
  scaled.scales = {scales.data(), 128, 128};
  WeightPiece no_grid = {QuantType::kF8_E4M3, 1, 4, 4, bytes.first(16), {scales.data(), 0, 128}};
  const Upload uploads[] = {
      {"no pieces", {}},
      {"too few bytes", {f32(1, 4, 4, 63)}},
      {"too many bytes", {f32(1, 4, 4, 65)}},
      {"no rows", {f32(1, 0, 4, 0)}},
      {"no columns", {f32(1, 4, 0, 0)}},
      {"no experts", {f32(0, 4, 4, 0)}},
      {"sizes that overflow", {f32(1u << 31, 1u << 31, 4, 64)}},
      {"pieces of other rows", {f32(1, 4, 4, 64), f32(1, 2, 4, 32)}},
      {"pieces of other columns", {f32(1, 4, 4, 64), f32(1, 4, 2, 32)}},
      {"pieces of other types",
       {f32(1, 4, 4, 64), {QuantType::kF16, 1, 4, 4, bytes.first(32), {}}}},
      {"part of a block", {{QuantType::kQ8_0, 1, 1, 31, bytes.first(34), {}}}},
      {"scales for float32", {scaled}},
      {"a grid of nothing", {no_grid}},
      {"a vector of two rows", {f32(1, 2, 4, 32)}, WeightUse::kVector},
  };
  for (const Upload& upload : uploads) {
    const auto weight =
        device_->upload({.name = "blk.3.name", .use = upload.use, .pieces = upload.pieces});
    ASSERT_FALSE(weight) << upload.what;
    EXPECT_NE(weight.error().message.find("blk.3.name"), std::string::npos)
        << upload.what << ": " << weight.error().message;
  }
}

TEST_P(DeviceTest, StacksPiecesAlongExperts) {
  Random random(5);
  const StoredWeight first = random_weight(random, QuantType::kQ4_0, 6, 32);
  const StoredWeight second = random_weight(random, QuantType::kQ4_0, 3, 32);
  const WeightPiece pieces[] = {{QuantType::kQ4_0, 2, 3, 32, first.bytes, {}},
                                {QuantType::kQ4_0, 1, 3, 32, second.bytes, {}}};
  const auto weight = require(device_->upload({.name = "experts", .pieces = pieces}));
  EXPECT_EQ(weight.view.experts, 3u);
  EXPECT_EQ(weight.view.rows, 3u);
  EXPECT_EQ(weight.view.columns, 32u);
  EXPECT_EQ(weight.view.type, QuantType::kQ4_0);
  EXPECT_EQ(weight.view.device, device_.get());
  EXPECT_TRUE(weight.view);
}

TEST_P(DeviceTest, ReadsDataAtAnyAddress) {
  Random random(6);
  for (const QuantFormat& format : quant_formats()) {
    SCOPED_TRACE(format.name);
    StoredWeight weight = random_weight(random, format.type, 5, 2u * format.block_values);
    const Matrix in = random_matrix(random, 2, weight.decoded.columns);
    const auto product = [&] {
      Workbench bench(*device_);
      const Tensor out = bench.blank(2, 5);
      device_->ops().matmul({bench.tensor(in), {{bench.matrix(weight), {}, out}}});
      return require(bench.finish(out));
    };
    const std::vector<float> aligned = product();
    std::vector<std::byte> shifted(weight.bytes.size() + 1);
    std::copy(weight.bytes.begin(), weight.bytes.end(), shifted.begin() + 1);
    const WeightPiece piece{format.type, 1, 5, weight.decoded.columns,
                            std::span<const std::byte>(shifted).subspan(1)};
    const auto loaded = require(device_->upload({.name = "shifted", .pieces = {&piece, 1}}));
    Workbench bench(*device_);
    const Tensor out = bench.blank(2, 5);
    device_->ops().matmul({bench.tensor(in), {{loaded.view, {}, out}}});
    EXPECT_EQ(require(bench.finish(out)), aligned);
  }
}

TEST_P(DeviceTest, MeasuresItsSpeeds) {
  const DeviceSpeeds speeds = require(device_->measure_speeds());
  EXPECT_GT(speeds.read_bytes_per_s, 1e8);
  EXPECT_LT(speeds.read_bytes_per_s, 1e13);
  for (const ArithmeticSpeed& peak : {speeds.weights, speeds.attention}) {
    EXPECT_GT(peak.multiply_adds_per_s, 1e7);
    EXPECT_LT(peak.multiply_adds_per_s, 1e14);
    EXPECT_FALSE(peak.type.empty());
  }
  EXPECT_GE(speeds.weights.multiply_adds_per_s, speeds.attention.multiply_adds_per_s);
}

}  // namespace
}  // namespace hadal
