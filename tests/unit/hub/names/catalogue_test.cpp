#include "hub/names/catalogue.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace hadal {
namespace {

TEST(CatalogueTest, TheBuiltInOneIsRightAndHasTheNamesPeopleType) {
  const auto catalogue = Catalogue::open({});
  ASSERT_TRUE(catalogue) << catalogue.error().message;
  for (const char* name :
       {"deepseek-r1:1.5b", "deepseek-r1:7b", "deepseek-r1:8b", "deepseek-r1:14b",
        "deepseek-r1:32b", "deepseek-r1:70b", "deepseek-r1:671b", "deepseek-r1-0528:8b",
        "deepseek-v2-lite", "deepseek-v3", "smollm2-135m-instruct"}) {
    const auto found = catalogue->find(name);
    ASSERT_TRUE(found) << name;
    EXPECT_TRUE(found->format.empty());
    EXPECT_FALSE(found->model->licence.empty()) << name;
    EXPECT_GT(found->model->context, 0u) << name;
    EXPECT_GT(found->model->kv_bytes_per_token, 0u) << name;
    EXPECT_TRUE(found->model->temperature) << name;
    // At both hubs, unless nobody has put it there.
    EXPECT_GE(found->model->sources.size(), 2u) << name;
  }
}

TEST(CatalogueTest, FormatsBehindNames) {
  const auto catalogue = Catalogue::open({});
  const auto found = catalogue->find("DeepSeek-R1:1.5B:Q8_0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->model->name, "deepseek-r1:1.5b");
  EXPECT_EQ(found->format, "q8_0");
  EXPECT_EQ(catalogue->find("deepseek-v2-lite:q4_k_m")->format, "q4_k_m");
  EXPECT_FALSE(catalogue->find("deepseek-r1"));
  EXPECT_FALSE(catalogue->find("deepseek-r1:1.5b:"));
  EXPECT_FALSE(catalogue->find(""));
  EXPECT_GE(catalogue->similar("deepseek-r1:3b").size(), 7u);
}

TEST(CatalogueTest, TheUsersGoesBefore) {
  TempFolder folder;
  const auto file = folder.write("catalogue.json", R"({"version": 1, "models": [
    {"name": "DeepSeek-V3", "sources": [{"at": ["hf:my/own"]}]}, {"name": "mine", "sources": [{"format": "bf16", "at": ["ms:my/other"]}]}]})");
  const auto catalogue = Catalogue::open(file);
  ASSERT_TRUE(catalogue) << catalogue.error().message;
  EXPECT_EQ(catalogue->find("deepseek-v3")->model->sources[0].at[0].repository, "my/own");
  EXPECT_EQ(catalogue->find("mine")->model->sources[0].format, "bf16");
  EXPECT_TRUE(Catalogue::open(folder.path() / "none.json"));
}

TEST(CatalogueTest, WhatIsWrongIsNamed) {
  const auto with = [](const std::string& model) {
    return R"({"version": 1, "models": [)" + model + "]}";
  };
  for (const std::string& text :
       {std::string(""), std::string("[]"), std::string(R"({"version": 2, "models": []})"),
        std::string(R"({"version": 1})"), std::string(100000, '['), with("1"), with("{}"),
        with(R"({"name": "../x", "sources": [{"at": ["hf:a/b"]}]})"), with(R"({"name": "x"})"),
        with(R"({"name": "x", "sources": []})"), with(R"({"name": "x", "sources": [{"at": []}]})"),
        with(R"({"name": "x", "sources": [{"at": ["a/b"]}]})"),
        with(R"({"name": "x", "sources": [{"at": ["hf:a/b"], "format": "../y"}]})"),
        with(R"({"name": "x", "context": -1, "sources": [{"at": ["hf:a/b"]}]})"),
        with(
            R"({"name": "x", "sampling": {"temperature": 9}, "sources": [{"at": ["hf:a/b"]}]})")}) {
    Catalogue catalogue;
    const Status status = catalogue.add(text, "FILE");
    ASSERT_FALSE(status) << text.substr(0, 80);
    EXPECT_EQ(status.error().message.rfind("FILE", 0), 0u) << status.error().message;
    EXPECT_TRUE(catalogue.models().empty()) << "a catalogue is taken whole or not at all";
  }
}

}  // namespace
}  // namespace hadal
