// What a file of options may say, and how it is told what it may not.
#include "cli/json_options.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <fstream>

namespace hadal {
namespace {

namespace fs = std::filesystem;

class JsonOptions : public testing::Test {
 protected:
  JsonOptions() : app_("", "serve") {
    std::string pattern = (fs::temp_directory_path() / "hadal-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    app_.add_option("model", models_);
    app_.add_option("--host", host_)->type_name("ADDRESS");
    app_.add_option("--port", port_)->check(CLI::Range(0, 65535).description(""))->type_name("N");
    app_.add_option("--drain", drain_)->type_name("S");
    app_.add_option("--target-itl-ms", target_)->type_name("MS");
    app_.add_option("--allow-host", hosts_)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->type_name("NAME");
    app_.add_flag("--open", open_);
  }
  ~JsonOptions() override { fs::remove_all(folder_); }

  // "": it was taken.
  std::string trouble(const std::string& text) {
    std::ofstream(folder_ / "serve.json") << text;
    const Status applied = apply_json_options(app_, folder_ / "serve.json");
    return applied ? "" : applied.error().message;
  }

  CLI::App app_;
  fs::path folder_;
  std::vector<std::string> models_, hosts_;
  std::string host_;
  uint16_t port_ = 1;
  uint32_t drain_ = 0;
  double target_ = 0;
  bool open_ = false;
};

TEST_F(JsonOptions, EachOfItsType) {
  EXPECT_EQ(trouble(R"({"model": "a", "host": "::1", "port": 9000, "drain": 0, "open": true,
                        "target-itl-ms": 12.5, "allow-host": ["x.lan", "y.lan"]})"),
            "");
  EXPECT_EQ(models_, std::vector<std::string>{"a"});
  EXPECT_EQ(host_, "::1");
  EXPECT_EQ(port_, 9000);
  EXPECT_EQ(target_, 12.5);
  EXPECT_EQ(hosts_, (std::vector<std::string>{"x.lan", "y.lan"}));
  EXPECT_TRUE(open_);
}

TEST_F(JsonOptions, DepthIsBounded) {
  const auto nested = [](size_t depth) {
    return "{\"port\": " + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  const std::string said = trouble(nested(400'000));
  EXPECT_NE(said.find("serve.json: nests deeper than 8 levels"), said.npos) << said;
  EXPECT_NE(trouble(nested(8)).find("port: a whole number was expected, not [[[[[[[[]]]]]]]]"),
            std::string::npos)
      << trouble(nested(8));
}

TEST_F(JsonOptions, FalseIsNotTrue) {
  EXPECT_EQ(trouble(R"({"open": false})"), "");
  EXPECT_FALSE(open_);
}

TEST_F(JsonOptions, AnotherTypeIsRefusedWithFileOptionTypeAndValue) {
  struct Case {
    const char *text, *field, *expected, *value;
  };
  for (const Case& one :
       std::vector<Case>{{R"({"open": "yes"})", "open", "true or false", "\"yes\""},
                         {R"({"open": 1})", "open", "true or false", "1"},
                         {R"({"port": "18090"})", "port", "a whole number", "\"18090\""},
                         {R"({"port": 80.5})", "port", "a whole number", "80.5"},
                         {R"({"port": true})", "port", "a whole number", "true"},
                         {R"({"port": null})", "port", "a whole number", "null"},
                         {R"({"port": {}})", "port", "a whole number", "{}"},
                         {R"({"drain": "3"})", "drain", "a whole number", "\"3\""},
                         {R"({"target-itl-ms": "3"})", "target-itl-ms", "a number", "\"3\""},
                         {R"({"host": 127})", "host", "a text", "127"},
                         {R"({"host": ["::1"]})", "host", "a text", "[\"::1\"]"},
                         {R"({"allow-host": [1]})", "allow-host", "a list", "[1]"},
                         {R"({"allow-host": [["x"]]})", "allow-host", "a list", "[[\"x\"]]"},
                         {R"({"model": 5})", "model", "a list", "5"}}) {
    const std::string said = trouble(one.text);
    for (const char* word : {"serve.json", one.field, one.expected, one.value}) {
      EXPECT_NE(said.find(word), said.npos) << one.text << ": " << said;
    }
  }
  EXPECT_FALSE(open_);
  EXPECT_EQ(port_, 1);
}

TEST_F(JsonOptions, AValueOutOfRangeIsNamed) {
  const std::string said = trouble(R"({"port": 70000})");
  EXPECT_NE(said.find("port"), said.npos) << said;
  EXPECT_NE(said.find("70000"), said.npos) << said;
}

TEST_F(JsonOptions, ANameThatStandsTwice) {
  const std::string said = trouble(R"({"port": 1, "host": "::1", "port": 2})");
  EXPECT_NE(said.find("\"port\" stands there twice"), said.npos) << said;
}

TEST_F(JsonOptions, WhatIsNoJsonHasAPlace) {
  for (const auto& [text, place] : std::vector<std::pair<std::string, std::string>>{
           {"{", "line 1, column 2"},
           {"{\"port\": 9000,}", "line 1, column 15"},
           {"{\n  \"host\": \"中文\" \"port\"\n}", "line 2, column 21"},
           {"", "line 1, column 1"},
           {std::string(100'000, '['), "line 1, column 100001"}}) {
    const std::string said = trouble(text);
    EXPECT_NE(said.find(place), said.npos) << said;
  }
  EXPECT_NE(trouble("[]").find("no JSON object"), std::string::npos);
  EXPECT_NE(trouble(R"({"port": 1e999})").find("too large"), std::string::npos);
  EXPECT_NE(trouble(R"({"prot": 1})").find("no option 'prot'"), std::string::npos);
}

TEST_F(JsonOptions, TheCommandLineCountsForMore) {
  app_.parse("--port 7");
  EXPECT_EQ(trouble(R"({"port": 9000})"), "");
  EXPECT_EQ(port_, 7);
  EXPECT_NE(trouble(R"({"port": "9000"})"), "");
}

}  // namespace
}  // namespace hadal
