// What a path can name: a GGUF, a part of a split one, a file that is something else.
#include "file/model_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "file/gguf_model.h"
#include "support/gguf_builder.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

std::string error_of(const fs::path& path, ReadWhat what = ReadWhat::kEverything) {
  const auto model = ModelFile::open(path, what);
  if (model) return "";
  EXPECT_NE(model.error().message.find(path.string()), std::string::npos) << model.error().message;
  return model.error().message;
}

void expect_error(const fs::path& path, std::string_view expected) {
  const std::string error = error_of(path);
  EXPECT_NE(error.find(expected), std::string::npos)
      << path << ": " << (error.empty() ? "no error" : error);
}

GgufBuilder small_model() {
  GgufBuilder file;
  file.set_string("general.architecture", "llama")
      .add_tensor("a", {32, 2}, QuantType::kQ8_0)
      .add_tensor("b", {8}, QuantType::kF32);
  return file;
}

TEST(ModelFile, AGguf) {
  const TempFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  small_model().write(path);
  const auto opened = ModelFile::open(path);
  ASSERT_TRUE(opened) << opened.error().message;
  const ModelFile& model = **opened;
  EXPECT_EQ(model.path(), path);
  EXPECT_EQ(model.dialect(), Dialect::kGguf);
  EXPECT_EQ(model.description(), "GGUF version 3");
  EXPECT_EQ(model.architecture().value(), "llama");
  EXPECT_EQ(model.metadata().file(), path.string());
  EXPECT_EQ(model.tensors().size(), 2u);
  EXPECT_EQ(model.file_bytes(), fs::file_size(path));
  EXPECT_EQ(model.missing_bytes(), 0u);
  ASSERT_EQ(model.files().size(), 1u);
  EXPECT_EQ(model.files()[0], path);
  EXPECT_TRUE(model.warnings().empty());
  EXPECT_EQ(model.side_file("tokenizer.json").value(), std::nullopt);
}

TEST(ModelFile, ARealModel) {
  const auto opened = ModelFile::open(fs::path(HADAL_TEST_DATA) / "models" / "stories260K.gguf");
  ASSERT_TRUE(opened) << opened.error().message;
  const ModelFile& model = **opened;
  EXPECT_EQ(model.architecture().value(), "llama");
  EXPECT_EQ(model.metadata().strings("tokenizer.ggml.tokens").value().size(), 512u);
  const TensorInfo* embedding = model.tensors().find("token_embd.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_EQ(embedding->columns, 64u);
  EXPECT_EQ(embedding->rows, 512u);
}

TEST(ModelFile, TheArchitectureMayBeMissing) {
  const TempFolder folder;
  GgufBuilder().write(folder.path() / "model.gguf");
  const auto model = ModelFile::open(folder.path() / "model.gguf");
  ASSERT_TRUE(model);
  const auto architecture = (*model)->architecture();
  ASSERT_FALSE(architecture);
  EXPECT_NE(architecture.error().message.find("general.architecture"), std::string::npos);
}

TEST(ModelFile, HeaderOnlySaysHowMuchIsMissing) {
  const TempFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  small_model().write(path);
  const uint64_t whole = fs::file_size(path);
  fs::resize_file(path, whole - 20);
  expect_error(path, "20 bytes are missing");
  const auto model = ModelFile::open(path, ReadWhat::kHeaderOnly);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->missing_bytes(), 20u);
  EXPECT_EQ((*model)->file_bytes(), whole - 20);
  EXPECT_FALSE((*model)->tensors().find("a")->data.empty());
  EXPECT_TRUE((*model)->tensors().find("b")->data.empty());
}

TEST(ModelFile, WhatIsNoModelSaysWhatItIs) {
  const TempFolder folder;
  expect_error(folder.path() / "missing.gguf", "no such file");
  expect_error(folder.path() / "missing.gguf" / "below", "no such file");
  expect_error(folder.write("empty.gguf", ""), "empty");
  expect_error(
      folder.write("lfs.gguf",
                   "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 491400064\n"),
      "of 491400064 bytes; run 'git lfs pull'");
  expect_error(folder.write("page.gguf", "\n <!DOCTYPE html>\n<html lang=\"en\">"), "web page");
  expect_error(folder.write("error.gguf", "<?xml version=\"1.0\"?><Error><Code>AccessDenied"),
               "web page");
  expect_error(folder.write("text.gguf", "Entry not found"), "text file");
  expect_error(folder.write("answer.gguf", "{\"error\":\"Repository not found\"}"), "JSON");
  expect_error(folder.write("model.gguf.gz", "\x1f\x8b\x08\x00\x00"s), "gunzip");
  expect_error(folder.write("model.gguf.xz", "\xfd"s + "7zXZ\0\0"s), "xz -d");
  expect_error(folder.write("model.zst", "\x28\xb5\x2f\xfd\x00"s), "zstd -d");
  expect_error(folder.write("pytorch_model.bin", "PK\x03\x04\0\0"s), "PyTorch");
  expect_error(folder.write("consolidated.pth", "\x80\x02}q\x00"s), "can run code");
  expect_error(folder.write("old.bin", "tjgg\3\0\0\0"s), "before GGUF");
  expect_error(folder.write("zeros.gguf", std::string(100, '\0')), "zeros");
  expect_error(folder.write("noise.gguf", "\x01\x02\x03\x04\x05"), "01 02 03 04");
  expect_error(folder.write("weights", "\x08\0\0\0\0\0\0\0{      }"s),
               "safetensors file under another name");
  expect_error(folder.write("model.bin", std::string("\x7f") + "ELF"), "program");
  const fs::path pipe = folder.path() / "pipe.gguf";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_error(pipe, "pipe");
  expect_error("/dev/null", "not a regular file");
  // A short file in the middle of a character is text all the same.
  expect_error(folder.write("chinese.txt", "你好世界，你"s.substr(0, 16)), "text file");
}

// ---- Split models.

std::string part_name(int number, int count) {
  return fmt::format("model-{:05}-of-{:05}.gguf", number, count);
}

GgufBuilder part(uint16_t number, uint16_t count, int32_t tensors) {
  GgufBuilder file;
  if (number == 0) file.set_string("general.architecture", "llama");
  file.set_u16("split.no", number)
      .set_u16("split.count", count)
      .set_i32("split.tensors.count", tensors);
  return file;
}

void write_split(const TempFolder& folder) {
  part(0, 3, 4).write(folder.path() /
                      part_name(1, 3));  // metadata alone, as some splitters write it
  part(1, 3, 4)
      .add_tensor("a", {8}, QuantType::kF32)
      .add_tensor("b", {16}, QuantType::kF32)
      .write(folder.path() / part_name(2, 3));
  part(2, 3, 4)
      .add_tensor("c", {8}, QuantType::kF32)
      .add_tensor("d", {8}, QuantType::kF32)
      .write(folder.path() / part_name(3, 3));
}

TEST(SplitModel, AnyPartMayBeNamed) {
  const TempFolder folder;
  write_split(folder);
  for (int named = 1; named <= 3; ++named) {
    const auto model = ModelFile::open(folder.path() / part_name(named, 3));
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ((*model)->description(), "GGUF version 3, 3 parts");
    EXPECT_EQ((*model)->architecture().value(), "llama");
    EXPECT_EQ((*model)->tensors().size(), 4u);
    EXPECT_EQ((*model)->tensors().find("b")->data.size(), 64u);
    EXPECT_EQ((*model)->tensors().find("c")->file, (folder.path() / part_name(3, 3)).string());
    ASSERT_EQ((*model)->files().size(), 3u);
    EXPECT_EQ((*model)->files()[0].filename(), part_name(1, 3));
    uint64_t bytes = 0;
    for (const fs::path& file : (*model)->files()) bytes += fs::file_size(file);
    EXPECT_EQ((*model)->file_bytes(), bytes);
  }
}

TEST(SplitModel, MissingPartsAreNamed) {
  const TempFolder folder;
  write_split(folder);
  fs::remove(folder.path() / part_name(1, 3));
  expect_error(folder.path() / part_name(2, 3),
               "1 of the 3 parts of this model is not there: " + part_name(1, 3));
  fs::remove(folder.path() / part_name(3, 3));
  expect_error(folder.path() / part_name(2, 3), part_name(1, 3) + ", " + part_name(3, 3));
}

TEST(SplitModel, ATruncatedPartIsCounted) {
  const TempFolder folder;
  write_split(folder);
  const fs::path last = folder.path() / part_name(3, 3);
  fs::resize_file(last, fs::file_size(last) - 7);
  const auto refused = ModelFile::open(folder.path() / part_name(1, 3));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(part_name(3, 3)), std::string::npos)
      << refused.error().message;
  const auto model = ModelFile::open(folder.path() / part_name(1, 3), ReadWhat::kHeaderOnly);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->missing_bytes(), 7u);
}

TEST(SplitModel, APartUnderAnotherNameIsRefused) {
  const TempFolder folder;
  write_split(folder);
  fs::copy(folder.path() / part_name(2, 3), folder.path() / "model.gguf");
  expect_error(folder.path() / "model.gguf", "part 2 of 3");
}

TEST(SplitModel, PartsOfDifferentModelsAreRefused) {
  const TempFolder folder;
  const auto expect_refused = [&](std::string_view expected) {
    const auto model = ModelFile::open(folder.path() / part_name(1, 3));
    ASSERT_FALSE(model);
    EXPECT_NE(model.error().message.find(expected), std::string::npos) << model.error().message;
  };
  write_split(folder);
  part(0, 3, 4).write(folder.path() / part_name(2, 3));  // a copy of the first
  expect_refused("part 1 of 3");
  part(1, 5, 4).write(folder.path() / part_name(2, 3));
  expect_refused("part 2 of 5");
  part(1, 3, 4)
      .add_tensor("c", {8}, QuantType::kF32)
      .write(folder.path() / part_name(2, 3));  // "c" is in the third too
  expect_refused("twice");
  part(1, 3, 4).add_tensor("a", {8}, QuantType::kF32).write(folder.path() / part_name(2, 3));
  expect_refused("hold 3 tensors, its header says 4");
}

TEST(SplitModel, WildPartNumbersAreRefused) {
  const TempFolder folder;
  const fs::path path = folder.path() / part_name(1, 3);
  GgufBuilder().set_u16("split.no", 3).set_u16("split.count", 3).write(path);
  expect_error(path, "split.no");
  GgufBuilder().set_u16("split.no", 0).set_u16("split.count", 65535).write(path);
  expect_error(path, "at most 1024");
  GgufBuilder().set_u16("split.count", 3).write(path);
  expect_error(path, "'split.no' is missing");
  GgufBuilder().set_string("split.count", "3").write(path);
  expect_error(path, "split.count");
  GgufBuilder()
      .set_u16("split.no", 0)
      .set_u16("split.count", 3)
      .set_i32("split.tensors.count", -1)
      .write(path);
  expect_error(path, "split.tensors.count");
  for (const uint16_t count : {0, 1}) {  // not split after all
    GgufBuilder().set_u16("split.no", 0).set_u16("split.count", count).write(path);
    EXPECT_EQ(error_of(path), "");
  }
}

// A vocabulary of the size of Qwen's opens without an allocation a string.
TEST(ModelFile, ALargeVocabularyOpensQuickly) {
  const TempFolder folder;
  std::vector<std::string> tokens, merges;
  for (int i = 0; i < 152'000; ++i) tokens.push_back(fmt::format("Ġtoken{}", i));
  for (int i = 0; i < 151'000; ++i) merges.push_back(fmt::format("Ġto ken{}", i));
  GgufBuilder()
      .set_strings("tokenizer.ggml.tokens", tokens)
      .set_strings("tokenizer.ggml.merges", merges)
      .write(folder.path() / "m.gguf");
  double best_ms = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto model = ModelFile::open(folder.path() / "m.gguf");
    best_ms = std::min(
        best_ms, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
                     .count());
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ((*model)->metadata().strings("tokenizer.ggml.tokens").value()[151'999],
              "Ġtoken151999");
  }
  RecordProperty("best_ms", std::to_string(best_ms));
  EXPECT_LT(best_ms, 500) << "measured: a few ms in a release build, some 50 under sanitizers";
}

}  // namespace
}  // namespace hadal
