#include "eval/npy_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

namespace hadal {
namespace {

class NpyWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) / ("npy_writer_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string contents(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  std::filesystem::path folder_;
};

TEST_F(NpyWriterTest, WritesWhatNumpyReads) {
  const auto path = folder_ / "logits.npy";
  {
    auto writer = NpyWriter::create(path, 2, 3);
    ASSERT_TRUE(writer) << writer.error().message;
    const float rows[2][3] = {{1, 2, 3}, {-4, 5.5f, 6}};
    ASSERT_TRUE(writer->write_row(rows[0]));
    ASSERT_TRUE(writer->write_row(rows[1]));
    EXPECT_FALSE(std::filesystem::exists(path));
    ASSERT_TRUE(writer->finish());
  }
  const std::string bytes = contents(path);
  ASSERT_EQ(bytes.size(), 128u + 6 * sizeof(float));
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(bytes.substr(10, 59), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  EXPECT_EQ(bytes[127], '\n');
  float values[6];
  std::memcpy(values, bytes.data() + 128, sizeof values);
  EXPECT_EQ(values[2], 3.0f);
  EXPECT_EQ(values[4], 5.5f);
  EXPECT_EQ(files(), 1u);
}

TEST_F(NpyWriterTest, WhatIsNotFinishedLeavesNothing) {
  {
    auto writer = NpyWriter::create(folder_ / "logits.npy", 2, 1);
    ASSERT_TRUE(writer);
    const float one = 1;
    ASSERT_TRUE(writer->write_row({&one, 1}));
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(NpyWriterTest, AnEarlierFileStaysUntilTheNewOneIsWhole) {
  const auto path = folder_ / "logits.npy";
  std::ofstream(path) << "earlier";
  {
    auto writer = NpyWriter::create(path, 1, 1);
    ASSERT_TRUE(writer);
  }
  EXPECT_EQ(contents(path), "earlier");
}

TEST_F(NpyWriterTest, AFolderThatIsNotThereIsNamed) {
  const auto writer = NpyWriter::create(folder_ / "missing" / "logits.npy", 1, 1);
  ASSERT_FALSE(writer);
  EXPECT_NE(writer.error().message.find("missing/logits.npy"), std::string::npos);
  EXPECT_NE(writer.error().message.find("No such file"), std::string::npos);
}

// A limit on file sizes stands in for a full disk: write() fails in the same place.
TEST_F(NpyWriterTest, AFullDiskIsReportedAndCleared) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 8192;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Status status;
  {
    auto writer = NpyWriter::create(folder_ / "logits.npy", 100, 1000);
    const std::vector<float> row(1000, 1.0f);
    for (int i = 0; i < 100 && writer && status; ++i) status = writer->write_row(row);
    if (writer && status) status = writer->finish();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("logits.npy"), std::string::npos);
  EXPECT_NE(status.error().message.find("too large"), std::string::npos) << status.error().message;
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace hadal
