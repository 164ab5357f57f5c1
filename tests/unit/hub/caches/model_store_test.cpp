#include "hub/caches/model_store.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace hadal {
namespace {

class ModelStoreTest : public testing::Test {
 protected:
  std::filesystem::path model(const std::string& name, size_t bytes = 4) {
    return folder_.write("models/" + name, std::string(bytes, 'x'));
  }
  std::string said(std::string_view name) {
    const auto path = store_.resolve(name);
    EXPECT_FALSE(path) << name;
    return path ? "" : path.error().message;
  }

  TempFolder folder_;
  ModelStore store_{folder_.path()};
};

TEST_F(ModelStoreTest, AFolderThatIsNotThereHoldsNone) {
  const auto models = store_.list();
  ASSERT_TRUE(models) << models.error().message;
  EXPECT_TRUE(models->empty());
  for (const char* way : {"scripts/demo", "hadal list --available"}) {
    EXPECT_NE(said("nothing").find(way), std::string::npos) << way;
  }
  ASSERT_FALSE(store_.default_model());
}

TEST_F(ModelStoreTest, FilesSplitFilesAndFolders) {
  model("b.gguf", 10);
  model("a-00002-of-00002.gguf", 20);
  model("a-00001-of-00002.gguf", 30);
  model("folder/config.json", 5);
  model("folder/model.safetensors", 7);
  model("no-model/notes.txt");
  model("notes.txt");
  model("half.gguf.part");
  const auto models = store_.list();
  ASSERT_TRUE(models) << models.error().message;
  ASSERT_EQ(models->size(), 3u);
  EXPECT_EQ((*models)[0].name, "a");
  EXPECT_EQ((*models)[0].bytes, 50u);
  EXPECT_EQ((*models)[0].path.filename(), "a-00001-of-00002.gguf");
  EXPECT_EQ((*models)[1].name, "b");
  EXPECT_EQ((*models)[1].bytes, 10u);
  EXPECT_EQ((*models)[2].name, "folder");
  EXPECT_EQ((*models)[2].bytes, 12u);
}

TEST_F(ModelStoreTest, AlmostASplitNameIsAName) {
  for (const char* name : {"x-0001-of-00002", "x-00001-of-0000a", "-00001-of-00002"}) {
    model(std::string(name) + ".gguf");
    EXPECT_TRUE(store_.resolve(name)) << name;
  }
}

TEST_F(ModelStoreTest, ByNameWithoutCareForCaseOrEnding) {
  const auto path = model("DeepSeek-R1.gguf");
  for (const char* name : {"DeepSeek-R1", "deepseek-r1", "deepseek-r1.gguf", "DEEPSEEK-R1.GGUF"}) {
    const auto found = store_.resolve(name);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(*found, path);
  }
  const std::string text = said("deepseek");
  EXPECT_NE(text.find("DeepSeek-R1"), std::string::npos) << text;
  EXPECT_NE(said("").find("empty"), std::string::npos);
}

TEST_F(ModelStoreTest, APathGoesBeforeANameButNotAnyFolder) {
  const auto stored = model("inside.gguf");
  const auto outside = folder_.write("outside.gguf", "x");
  EXPECT_EQ(*store_.resolve(outside.string()), outside);
  const auto before = std::filesystem::current_path();
  folder_.write("here/inside/notes.txt", "x");  // a folder of the model's name, but no model
  std::filesystem::current_path(folder_.path() / "here");
  const auto named = store_.resolve("inside");
  folder_.write("here/inside/config.json", "{}");
  const auto local = store_.resolve("inside");
  const auto other = store_.resolve("..");
  std::filesystem::current_path(before);
  EXPECT_EQ(*named, stored);
  EXPECT_EQ(*local, "inside");
  EXPECT_EQ(*other, "..") << "whoever opens it says that it is no model";
}

TEST_F(ModelStoreTest, TheDemoModelIsTheDefault) {
  model("other.gguf");
  const auto none = store_.default_model();
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("hadal list"), std::string::npos);
  const auto tiny = model("stories260k.gguf");
  EXPECT_EQ(*store_.default_model(), tiny);
  const auto demo = model("SmolLM2-135M-Instruct.gguf");
  EXPECT_EQ(*store_.default_model(), demo);
}

TEST_F(ModelStoreTest, AModelFolderThatIsAFileIsNamed) {
  folder_.write("models", "not a folder");
  const auto models = store_.list();
  ASSERT_FALSE(models);
  EXPECT_NE(models.error().message.find("models"), std::string::npos);
}

}  // namespace
}  // namespace hadal
