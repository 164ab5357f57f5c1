#include "hub/transfer/part_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "hub/disk/durable_file.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

using namespace std::chrono_literals;

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class PartFileTest : public testing::Test {
 protected:
  Result<std::unique_ptr<PartFile>> open(PartIdentity identity) {
    return PartFile::open(folder_.path() / "part", folder_.path() / "record", std::move(identity),
                          10ms);
  }
  TempFolder folder_;
  PartIdentity identity_{
      .bytes = 1000, .digest = {DigestKind::kSha256, std::string(64, 'a')}, .validator = ""};
};

TEST_F(PartFileTest, WhatWasNotedIsThereNextTime) {
  const std::string bytes(100, 'x');
  {
    const auto part = open(identity_);
    ASSERT_TRUE(part) << part.error().message;
    ASSERT_TRUE((*part)->write(200, std::as_bytes(std::span(bytes))));
    ByteRanges done;
    done.add({200, 300});
    (*part)->note(done);
  }
  const auto part = open(identity_);
  ASSERT_TRUE(part);
  EXPECT_EQ((*part)->found().ranges(), (std::vector<ByteRange>{{200, 300}}));
  EXPECT_EQ(content(folder_.path() / "part").substr(200, 100), bytes);
}

TEST_F(PartFileTest, ARecordOfOtherBytesIsNotGoneOnWith) {
  const auto note = [&](const PartIdentity& identity) {
    const auto part = open(identity);
    ByteRanges done;
    done.add({0, 10});
    (*part)->note(done);
  };
  PartIdentity other_digest = identity_, other_bytes = identity_, other_validator = identity_;
  other_digest.digest.hex = std::string(64, 'b');
  other_bytes.bytes = 1001;
  other_validator.validator = "etag";
  for (const PartIdentity& other : {other_digest, other_bytes, other_validator}) {
    note(identity_);
    const auto part = open(other);
    ASSERT_TRUE(part);
    EXPECT_EQ((*part)->found().bytes(), 0u);
  }
  EXPECT_EQ((*open(identity_))->found().bytes(), 0u) << "the old record went with the old bytes";
}

TEST_F(PartFileTest, DamagedRecordsAreNotBelieved) {
  ByteRanges done;
  done.add({0, 10});
  done.add({20, 30});
  const auto record = folder_.path() / "record";
  ASSERT_TRUE(write_transfer_record(record, identity_, done));
  const std::string good = content(record);
  ASSERT_TRUE(read_transfer_record(record, identity_));
  for (size_t cut = 0; cut < good.size(); ++cut) {  // half a record is none
    folder_.write("record", good.substr(0, cut));
    EXPECT_FALSE(read_transfer_record(record, identity_)) << cut;
  }
  const std::string head = good.substr(0, good.find("0-10"));
  for (const char* rest :
       {"0-10000\nend\n", "10-0\nend\n", "-1-5\nend\n", "0-5\n0-18446744073709551616\nend\n",
        "x\nend\n", "0-5 end\n", "0-5\nend\nmore"}) {
    folder_.write("record", head + rest);
    EXPECT_FALSE(read_transfer_record(record, identity_)) << rest;
  }
}

TEST_F(PartFileTest, WhatAKilledWriterLeftGoesWithTheRecord) {
  const std::filesystem::path record = folder_.path() / "record";
  ByteRanges done;
  done.add({0, 10});
  ASSERT_TRUE(write_transfer_record(record, identity_, done));
  std::ofstream(record.string() + ".tmp") << "half a rec";
  ASSERT_TRUE(remove_transfer_record(record));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  EXPECT_TRUE(remove_transfer_record(record)) << "none is no error";
}

TEST_F(PartFileTest, APartThatWasCutIsBegunAnew) {
  {
    const auto part = open(identity_);
    ByteRanges done;
    done.add({0, 500});
    (*part)->note(done);
  }
  std::filesystem::resize_file(folder_.path() / "part", 100);
  EXPECT_EQ((*open(identity_))->found().bytes(), 0u);
}

TEST_F(PartFileTest, ALinkIsNotFollowed) {
  const auto target = folder_.write("precious", "precious");
  std::filesystem::create_symlink(target, folder_.path() / "part");
  EXPECT_FALSE(open(identity_));
  EXPECT_EQ(content(target), "precious");
}

TEST_F(PartFileTest, WrongBytesAreThrownAway) {
  {
    const auto part = open(identity_);
    ByteRanges done;
    done.add({0, 1000});
    (*part)->note(done);
    (*part)->discard();
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "part"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "record"));
}

TEST_F(PartFileTest, TheNextRecordsPlaceIsTakenBeforeItIsNeeded) {
  const std::filesystem::path beside = folder_.path() / "record.tmp";
  {
    const auto part = open(identity_);
    ASSERT_TRUE(part);
    EXPECT_GE(std::filesystem::file_size(beside), 4096u);
    ByteRanges done;
    done.add({0, 10});
    (*part)->note(done);
  }
  EXPECT_GE(std::filesystem::file_size(beside), 4096u) << "and again after a record";
  EXPECT_LT(std::filesystem::file_size(folder_.path() / "record"), 400u);
  EXPECT_EQ((*open(identity_))->found().bytes(), 10u);
}

TEST_F(PartFileTest, AFullDiskIsNamed) {
  EXPECT_NE(describe_write_error(ENOSPC, "/x").find("is full"), std::string::npos);
  EXPECT_NE(describe_write_error(EROFS, "/x").find("read-only"), std::string::npos);
  const auto part =
      PartFile::open(folder_.path() / "none/part", folder_.path() / "none/record", identity_, 10ms);
  ASSERT_FALSE(part);
  EXPECT_NE(part.error().message.find("none/part"), std::string::npos);
}

}  // namespace
}  // namespace hadal
