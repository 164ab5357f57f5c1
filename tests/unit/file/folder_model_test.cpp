// Hugging Face folders: what is read of them, and what is said of those that are incomplete.
#include "file/folder_model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "support/gguf_builder.h"
#include "support/safetensors_builder.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig =
    R"({"model_type": "qwen2", "hidden_size": 8, "rope_scaling": {"factor": 4.0}})";

void expect_error(const fs::path& path, std::string_view expected) {
  const auto model = ModelFile::open(path);
  ASSERT_FALSE(model) << path;
  EXPECT_NE(model.error().message.find(expected), std::string::npos) << model.error().message;
}

// Two shards and their index.
void write_sharded(const TempFolder& folder) {
  folder.write("config.json", kConfig);
  folder.write("model-00001-of-00002.safetensors",
               SafetensorsBuilder().add("a", "F32", {2, 4}).add("b", "BF16", {4}).build());
  folder.write("model-00002-of-00002.safetensors",
               SafetensorsBuilder().add("c", "F16", {4}).build());
  folder.write("model.safetensors.index.json",
               R"({"metadata": {"total_size": 48, "x": [{}]}, "weight_map": {
      "a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
      "c": "model-00002-of-00002.safetensors"}})");
}

TEST(FolderModel, OneFileOfWeights) {
  const TempFolder folder;
  folder.write("config.json", kConfig);
  folder.write("generation_config.json", R"({"temperature": 0.6, "eos_token_id": [1, 2]})");
  folder.write("tokenizer.json", "{\"model\": {}}");
  folder.write("model.safetensors", SafetensorsBuilder().add("a", "F32", {2, 4}).build());
  const auto opened = ModelFile::open(folder.path());
  ASSERT_TRUE(opened) << opened.error().message;
  const ModelFile& model = **opened;
  EXPECT_EQ(model.dialect(), Dialect::kHuggingFace);
  EXPECT_EQ(model.description(), "Hugging Face folder, 1 safetensors");
  EXPECT_EQ(model.architecture().value(), "qwen2");
  EXPECT_EQ(model.metadata().number("rope_scaling.factor").value(), 4.0);
  EXPECT_EQ(model.metadata().number("generation.temperature").value(), 0.6);
  EXPECT_EQ(model.metadata().file(), (folder.path() / "config.json").string());
  EXPECT_EQ(model.tensors().find("a")->rows, 2u);
  EXPECT_EQ(model.file_bytes(), fs::file_size(folder.path() / "model.safetensors"));
  EXPECT_EQ(model.side_file("tokenizer.json").value(), "{\"model\": {}}");
  EXPECT_EQ(model.side_file("vocab.json").value(), std::nullopt);
}

TEST(FolderModel, Shards) {
  const TempFolder folder;
  write_sharded(folder);
  const auto model = ModelFile::open(folder.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->description(), "Hugging Face folder, 2 safetensors");
  EXPECT_EQ((*model)->tensors().size(), 3u);
  EXPECT_EQ((*model)->tensors().find("c")->file,
            (folder.path() / "model-00002-of-00002.safetensors").string());
  EXPECT_EQ((*model)->files().size(), 2u);
  EXPECT_TRUE((*model)->warnings().empty());
}

TEST(FolderModel, AFileInsideStandsForTheFolder) {
  const TempFolder folder;
  write_sharded(folder);
  for (const char* name :
       {"config.json", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}) {
    const auto model = ModelFile::open(folder.path() / name);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ((*model)->path(), folder.path());
    EXPECT_EQ((*model)->tensors().size(), 3u);
  }
  folder.write("adapter.safetensors", SafetensorsBuilder().add("z", "F32", {1}).build());
  expect_error(folder.path() / "adapter.safetensors", "not among the weights");
  expect_error(folder.write("elsewhere/model.safetensors",
                            SafetensorsBuilder().add("z", "F32", {1}).build()),
               "config.json beside it");
  expect_error(folder.write("elsewhere/tokenizer.json", "{}"), "config.json beside it");
}

TEST(FolderModel, AnyNameWillDoForTheOnlyFile) {
  const TempFolder folder;
  folder.write("config.json", kConfig);
  folder.write("weights.safetensors", SafetensorsBuilder().add("a", "F32", {1}).build());
  EXPECT_TRUE(ModelFile::open(folder.path()));
  folder.write("more.safetensors", SafetensorsBuilder().add("b", "F32", {1}).build());
  expect_error(folder.path(), "no model.safetensors.index.json");
}

TEST(FolderModel, IncompleteFoldersSayWhatIsMissing) {
  const TempFolder folder;
  expect_error(folder.path(), "no config.json");
  fs::create_directory(folder.path() / "snapshots");
  expect_error(folder.path(), "snapshots");
  GgufBuilder().write(folder.path() / "model.gguf");
  expect_error(folder.path(), "model.gguf");
  folder.write("config.json", kConfig);
  expect_error(folder.path(), "no weights");
  folder.write("pytorch_model.bin", "PK");
  expect_error(folder.path(), "pytorch_model.bin");
  folder.write("config.json", "{");
  expect_error(folder.path(), "not valid JSON");
  folder.write("config.json",
               "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n");
  expect_error(folder.path(), "Git-LFS");
  fs::remove(folder.path() / "config.json");
  fs::create_directory(folder.path() / "config.json");
  expect_error(folder.path(), "not a regular file");
}

TEST(FolderModel, ABrokenGenerationConfigIsNamed) {
  const TempFolder folder;
  write_sharded(folder);
  folder.write("generation_config.json", "not json");
  expect_error(folder.path(), "generation_config.json: is not valid JSON");
}

TEST(FolderModel, ShardsThatAreMissingOrWrong) {
  const TempFolder folder;
  write_sharded(folder);
  const std::string second = "model-00002-of-00002.safetensors";
  folder.write(second, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5000\n");
  expect_error(folder.path(), second + ": is a Git-LFS pointer");
  folder.write(second, SafetensorsBuilder().add("other", "F16", {4}).build());
  expect_error(folder.path(), "'c' is not in " + second);
  folder.write(second, SafetensorsBuilder()
                           .add("c", "F16", {4})
                           .add("extra", "F16", {4})
                           .add("a", "F16", {4})
                           .build());
  const auto model = ModelFile::open(folder.path());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->tensors().size(), 3u) << "what the index does not place there is left out";
  EXPECT_EQ((*model)->tensors().find("a")->rows, 2u) << "from the first shard";
  ASSERT_EQ((*model)->warnings().size(), 1u);
  EXPECT_NE((*model)->warnings()[0].find("2 tensors"), std::string::npos);
  fs::remove(folder.path() / second);
  expect_error(folder.path(), "1 of its 2 files of weights is not there: " + second);
}

TEST(FolderModel, HeaderOnlySaysHowMuchIsMissing) {
  const TempFolder folder;
  write_sharded(folder);
  const fs::path shard = folder.path() / "model-00001-of-00002.safetensors";
  fs::resize_file(shard, fs::file_size(shard) - 3);
  expect_error(folder.path(), "3 bytes are missing");
  const auto model = ModelFile::open(folder.path(), ReadWhat::kHeaderOnly);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ((*model)->missing_bytes(), 3u);
  EXPECT_TRUE((*model)->tensors().find("b")->data.empty());
  EXPECT_FALSE((*model)->tensors().find("c")->data.empty());
}

TEST(FolderModel, SideFilesHavePlainNames) {
  const TempFolder folder;
  write_sharded(folder);
  folder.write("secret", "outside");
  folder.write("model/config.json", kConfig);
  folder.write("model/model.safetensors", SafetensorsBuilder().add("a", "F32", {1}).build());
  folder.write("model/tokenizer.json",
               "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7000000\n");
  fs::create_symlink("../secret", folder.path() / "model" / "link.json");
  const auto opened = ModelFile::open(folder.path() / "model");
  ASSERT_TRUE(opened) << opened.error().message;
  const ModelFile& model = **opened;
  for (const std::string name : {"../secret", "/etc/passwd", "", ".", "..", "a/b"})
    EXPECT_FALSE(model.side_file(name)) << name;
  EXPECT_FALSE(model.side_file(std::string_view("a\0b", 3)));
  const auto pointer = model.side_file("tokenizer.json");
  ASSERT_FALSE(pointer);
  EXPECT_NE(pointer.error().message.find("git lfs pull"), std::string::npos);
  EXPECT_EQ(model.side_file("link.json").value(), "outside")
      << "the Hugging Face cache is made of links";
}

TEST(FolderModel, SideFilesHaveALimit) {
  const TempFolder folder;
  write_sharded(folder);
  fs::resize_file(folder.write("tokenizer.json", "x"), ModelFile::kSideFileBytesMax + 1);  // sparse
  const auto model = ModelFile::open(folder.path());
  ASSERT_TRUE(model);
  const auto text = (*model)->side_file("tokenizer.json");
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().message.find("at most 268 MB"), std::string::npos) << text.error().message;
}

}  // namespace
}  // namespace hadal
