#include "cli/sampling_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace hadal {
namespace {

TEST(SamplingOptions, EachNameReachesItsOwnField) {
  GenerationOptions o;
  const auto set = [&](const char* name, const char* value) {
    const Status status = set_generation_option(o, name, value);
    EXPECT_TRUE(status) << status.error().message;
  };
  set("temperature", "0.25");
  set("top-k", "17");
  set("top-p", "0.5");
  set("min-p", "0.125");
  set("repetition-penalty", "1.5");
  set("presence-penalty", "-1");
  set("frequency-penalty", "2");
  set("seed", "9007199254740992");
  set("max-tokens", "99");
  set("thinking-budget", "0");
  EXPECT_EQ(o.sampling.temperature, 0.25f);
  EXPECT_EQ(o.sampling.top_k, 17u);
  EXPECT_EQ(o.sampling.top_p, 0.5f);
  EXPECT_EQ(o.sampling.min_p, 0.125f);
  EXPECT_EQ(o.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(o.sampling.presence_penalty, -1.0f);
  EXPECT_EQ(o.sampling.frequency_penalty, 2.0f);
  EXPECT_EQ(o.sampling.seed, 9007199254740992u);
  EXPECT_EQ(o.max_tokens, 99u);
  EXPECT_EQ(o.thinking_budget, 0u);
}

TEST(SamplingOptions, WhatIsOutOfRangeIsRefusedWithTheRange) {
  const struct {
    const char *name, *value;
  } cases[] = {{"temperature", "-0.1"},
               {"temperature", "101"},
               {"temperature", "nan"},
               {"temperature", "inf"},
               {"temperature", ""},
               {"temperature", "1 "},
               {"temperature", "0,5"},
               {"top-p", "0"},
               {"top-p", "1.01"},
               {"top-k", "2.5"},
               {"top-k", "-1"},
               {"min-p", "1"},
               {"seed", "-1"},
               {"seed", "1e300"},
               {"max-tokens", "16777217"},
               {"presence-penalty", "2.5"}};
  for (const auto& [name, value] : cases) {
    GenerationOptions o;
    const float before = o.sampling.temperature;
    const Status status = set_generation_option(o, name, value);
    ASSERT_FALSE(status) << name << " " << value;
    EXPECT_NE(status.error().message.find(name), std::string::npos) << status.error().message;
    EXPECT_NE(status.error().message.find(" from "), std::string::npos) << status.error().message;
    EXPECT_EQ(o.sampling.temperature, before);
  }
  GenerationOptions o;
  const Status status = set_generation_option(o, "colour", "blue");
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("colour"), std::string::npos);
}

// A command line of its own: the model's defaults stay where nothing was given.
TEST(SamplingOptions, OnlyWhatWasGivenReplacesTheDefaults) {
  CLI::App app;
  GivenOptions given;
  add_generation_options(app, given);
  app.parse("--top-p 0.5 --presence-penalty -1.5", false);
  GenerationOptions o;
  o.sampling.temperature = 0.7f;
  o.sampling.top_p = 0.9f;
  ASSERT_TRUE(apply(given, o));
  EXPECT_EQ(o.sampling.temperature, 0.7f);
  EXPECT_EQ(o.sampling.top_p, 0.5f);
  EXPECT_EQ(o.sampling.presence_penalty, -1.5f);
}

TEST(SamplingOptions, AFlagGoesBeforeTheEnvironment) {
  setenv("HADAL_TOP_K", "5", 1);
  setenv("HADAL_MIN_P", "0.25", 1);
  CLI::App app;
  GivenOptions given;
  add_generation_options(app, given);
  app.parse("--top-k 9", false);
  unsetenv("HADAL_TOP_K");
  unsetenv("HADAL_MIN_P");
  GenerationOptions o;
  ASSERT_TRUE(apply(given, o));
  EXPECT_EQ(o.sampling.top_k, 9u);
  EXPECT_EQ(o.sampling.min_p, 0.25f);
}

TEST(SamplingOptions, ABadValueIsAUsageError) {
  CLI::App app;
  GivenOptions given;
  add_generation_options(app, given);
  EXPECT_THROW(app.parse("--temperature hot", false), CLI::ParseError);
}

}  // namespace
}  // namespace hadal
