// Every op on every device means the same: one list of cases (support/op_cases.h). The reference
// device is held to the cases' own arithmetic, every other device to the reference device.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "device/device.h"
#include "device/reference/reference_device.h"
#include "support/op_cases.h"
#include "support/test_devices.h"

namespace hadal {
namespace {

OpExpectation as_expectation(const std::vector<float>& values, std::vector<double> scales) {
  return {{values.begin(), values.end()}, std::move(scales), {}, {}};
}

// What kernels with VNNI do to weights that many tokens meet (src/device/cpu/kernels/byte_tile.h).
bool rounds_weights(const std::string& device) {
  return device == "cpu_avx512_vnni" || device == "cpu_avx_vnni";
}

class OpTest : public testing::TestWithParam<std::tuple<std::string, std::string_view>> {};

TEST_P(OpTest, MeansTheSame) {
  const auto& [name, op] = GetParam();
  const std::unique_ptr<Device> device = open_test_device(name);
  ASSERT_NE(device, nullptr);
  const auto reference = make_reference_device({.threads = 1});
  const std::vector<OpCase> cases = op_cases(op);
  ASSERT_FALSE(cases.empty());
  for (const OpCase& one : cases) {
    SCOPED_TRACE(one.name);
    const auto got = one.run(*device);
    ASSERT_TRUE(got) << got.error().message;
    OpExpectation expected = one.expect();
    if (name == "reference") {
      EXPECT_EQ(judge(expected, *got, op_bound(one, Arithmetic::kReference)), "");
      continue;
    }
    const auto of_reference = one.run(*reference);
    ASSERT_TRUE(of_reference) << of_reference.error().message;
    if (name == "guarded") {
      EXPECT_EQ(*got, *of_reference);  // the same arithmetic: bit for bit
      continue;
    }
    std::vector<double>& rounded =
        rounds_weights(name) ? expected.rounded_weights : expected.rounded;
    expected =
        as_expectation(*of_reference, std::move(rounded.empty() ? expected.scales : rounded));
    EXPECT_EQ(judge(expected, *got, op_bound(one, Arithmetic::kFloat32)), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, OpTest,
                         testing::Combine(testing::ValuesIn(test_device_names()),
                                          testing::ValuesIn(op_names().begin(), op_names().end())),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" +
                                  std::string(std::get<1>(info.param));
                         });

// The judge itself must be able to say no.
TEST(Judge, RefusesWhatIsBeyondTheBound) {
  const OpExpectation expected{{1.0, 2.0}, {1.0, 1.0}};
  const OpBound bound{1e-3, 2e-3};
  EXPECT_EQ(judge(expected, std::vector<float>{1.0f, 2.0f}, bound), "");
  EXPECT_NE(judge(expected, std::vector<float>{1.0f, 2.01f}, bound), "");
  EXPECT_NE(judge(expected, std::vector<float>{1.0015f, 2.0015f}, bound), "");
  EXPECT_NE(judge(expected, std::vector<float>{1.0f}, bound), "");
  EXPECT_NE(judge(expected, std::vector<float>{1.0f, NAN}, bound), "");
  EXPECT_NE(judge(expected, std::vector<float>{1.0f, INFINITY}, bound), "");
  EXPECT_NE(judge({{0.0}, {0.0}}, std::vector<float>{1e-30f}, bound), "");
}

}  // namespace
}  // namespace hadal
