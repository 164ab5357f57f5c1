// The whole way from text to text on a tiny trained model.
#include "engine/generation.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/json.h"
#include "device/registry.h"
#include "support/temp_folder.h"

namespace hadal {
namespace {

std::filesystem::path data(const char* name) {
  return std::filesystem::path(HADAL_TEST_DATA) / name;
}

std::vector<std::unique_ptr<Device>> reference() {
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(*open_device({.name = "reference", .threads = 2})));
  return devices;
}

constexpr const char* kTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}";
constexpr const char* kBeginning =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball.";

class GenerationTest : public testing::Test {
 protected:
  void SetUp() override {
    auto generator =
        Generator::open(data("models/stories260K.gguf"), reference(), {.chat_template = kTemplate});
    ASSERT_TRUE(generator) << generator.error().message;
    generator_ = std::move(*generator);
    greedy_.sampling.temperature = 0;
    greedy_.max_tokens = 60;
  }

  Answer answer(const Prompt& prompt, const GenerationOptions& options) {
    std::string streamed;
    auto result = generator_->generate(prompt, options, [&](const TextDelta& delta) {
      streamed += delta.answer;
      return true;
    });
    EXPECT_TRUE(result) << result.error().message;
    if (!result) return {};
    EXPECT_EQ(streamed, result->text);
    return *result;
  }

  Prompt raw(std::string_view text) {
    auto prompt = generator_->raw_prompt(text);
    EXPECT_TRUE(prompt) << prompt.error().message;
    return prompt.value_or(Prompt());
  }

  std::unique_ptr<Generator> generator_;
  GenerationOptions greedy_;
};

TEST_F(GenerationTest, TellsTheStoryItWasTrainedOn) {
  const Answer story = answer(raw("Once upon a time"), greedy_);
  EXPECT_TRUE(story.text.starts_with(", there was a little girl named Lily. She loved to play"))
      << story.text;
  EXPECT_EQ(story.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(story.usage.answer_tokens, 60u);
  EXPECT_EQ(raw("Once upon a time").tokens.front(), 1);  // BOS
}

TEST_F(GenerationTest, ASecondTurnComputesOnlyWhatIsNew) {
  nlohmann::ordered_json messages = {{{"role", "user"}, {"content", kBeginning}}};
  const auto first = generator_->chat_prompt(messages, {});
  ASSERT_TRUE(first) << first.error().message;
  const Answer told = answer(*first, greedy_);
  EXPECT_EQ(told.usage.cached_tokens, 0u);
  messages.push_back({{"role", "assistant"}, {"content", told.text}});
  messages.push_back({{"role", "user"}, {"content", " Then"}});
  const auto second = generator_->chat_prompt(messages, {});
  ASSERT_TRUE(second);
  const Answer more = answer(*second, greedy_);
  EXPECT_GE(more.usage.cached_tokens, first->tokens.size() / 32 * 32);
  EXPECT_GT(more.usage.cached_tokens, 0u);
}

TEST_F(GenerationTest, TheSameSeedTellsTheSame) {
  GenerationOptions options;
  options.sampling.temperature = 1;
  options.sampling.seed = 5;
  options.max_tokens = 40;
  const Prompt prompt = raw("Once");
  const Answer once = answer(prompt, options), again = answer(prompt, options);
  EXPECT_EQ(once.text, again.text);
  options.sampling.seed = 6;
  EXPECT_NE(answer(prompt, options).text, once.text);
}

TEST_F(GenerationTest, StopsBeforeAStopString) {
  greedy_.stop = {"named Lily. She"};
  const Answer story = answer(raw("Once upon a time"), greedy_);
  EXPECT_EQ(story.text, ", there was a little girl ");
  EXPECT_EQ(story.reason, FinishReason::kStopped);
  EXPECT_EQ(story.stop_string, "named Lily. She");
}

TEST_F(GenerationTest, EndsWhenTheContextIsFull) {
  greedy_.max_tokens = 0;
  const Prompt prompt = raw("Once upon a time");
  const Answer story = answer(prompt, greedy_);
  const uint32_t context = generator_->engine().info().context_tokens;
  if (story.reason == FinishReason::kContextFull) {
    EXPECT_EQ(story.usage.answer_tokens + prompt.tokens.size(), context);
  } else {
    EXPECT_EQ(story.reason, FinishReason::kEndToken);
    EXPECT_LT(story.usage.answer_tokens + prompt.tokens.size(), context);
  }
}

TEST_F(GenerationTest, APromptThatIsTooLongIsRefusedWithBothNumbers) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += kBeginning;
  const Prompt prompt = raw(text);
  const auto result = generator_->generate(prompt, greedy_, nullptr);
  ASSERT_FALSE(result);
  const std::string& message = result.error().message;
  EXPECT_NE(message.find(std::to_string(prompt.tokens.size()) + " tokens"), std::string::npos)
      << message;
  EXPECT_NE(message.find(std::to_string(generator_->engine().info().context_tokens)),
            std::string::npos)
      << message;
  EXPECT_TRUE(generator_->generate(raw("Once"), greedy_, nullptr)) << "and the next one is served";
}

TEST_F(GenerationTest, ABudgetEndsThinkingThatThePromptOpened) {
  Prompt prompt = raw("Once upon a time");
  prompt.thinking_open = true;
  greedy_.thinking_budget = 10;
  const Answer thought = answer(prompt, greedy_);
  EXPECT_TRUE(thought.thinking.starts_with(", there was")) << thought.thinking;
  EXPECT_FALSE(thought.text.empty());
  EXPECT_GE(thought.thinking_tokens, 10u);
  greedy_.thinking_budget = 0;
  const Answer none = answer(prompt, greedy_);
  EXPECT_EQ(none.thinking, "");
  EXPECT_EQ(none.thinking_tokens, 0u);
  EXPECT_FALSE(none.text.empty());
  greedy_.thinking_budget.reset();
  const Answer open = answer(prompt, greedy_);
  EXPECT_EQ(open.text, "");
  EXPECT_FALSE(open.thinking.empty());
}

TEST_F(GenerationTest, ACallerWhoHasEnoughEndsIt) {
  int pieces = 0;
  const auto result = generator_->generate(raw("Once upon a time"), greedy_,
                                           [&](const TextDelta&) { return ++pieces < 3; });
  ASSERT_TRUE(result);
  EXPECT_EQ(result->reason, FinishReason::kCancelled);
  EXPECT_EQ(pieces, 3);
  EXPECT_LT(result->usage.answer_tokens, 10u);
}

// The tiny model with its own template's key misspelt; under this name no template of ours is for
// it.
std::filesystem::path model_without_template(const TempFolder& folder,
                                             std::string_view name = "plain.gguf") {
  std::ifstream file(data("models/stories260K.gguf"), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const size_t key = bytes.find("tokenizer.chat_template");
  EXPECT_NE(key, std::string::npos);
  bytes[key + 10] = 'k';
  return folder.write(name, bytes);
}

TEST(Generator, WithoutATemplateOnlyRawPromptsWork) {
  const TempFolder folder;
  const auto generator = Generator::open(model_without_template(folder), reference(), {});
  ASSERT_TRUE(generator) << generator.error().message;
  EXPECT_FALSE((*generator)->has_chat_template());
  const auto prompt = (*generator)->chat_prompt(nlohmann::ordered_json::array(), {});
  ASSERT_FALSE(prompt);
  EXPECT_NE(prompt.error().message.find("chat template"), std::string::npos);
  EXPECT_TRUE((*generator)->raw_prompt("x"));
}

TEST(Generator, WithoutATemplateTheOneThatFitsItsNameIsOurs) {
  const TempFolder folder;
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "hi"}}};
  const auto end_of_prompt = [&](std::string_view name, Thinking thinking) -> std::string {
    const auto generator = Generator::open(model_without_template(folder, name), reference(), {});
    if (!generator) return generator.error().message;
    const auto prompt = (*generator)->chat_prompt(messages, {.thinking = thinking});
    if (!prompt) return prompt.error().message;
    return prompt->text.substr(prompt->text.find("hi"));
  };
  using enum Thinking;
  EXPECT_EQ(end_of_prompt("DeepSeek-V2-Chat.gguf", kModelDefault), "hi\n\nAssistant:");
  EXPECT_EQ(end_of_prompt("DeepSeek-V2.5.gguf", kModelDefault), "hi<｜Assistant｜>");
  EXPECT_EQ(end_of_prompt("DeepSeek-V3-0324.gguf", kModelDefault), "hi<｜Assistant｜>");
  EXPECT_EQ(end_of_prompt("DeepSeek-R1-0528.gguf", kModelDefault), "hi<｜Assistant｜><think>\n");
  EXPECT_EQ(end_of_prompt("DeepSeek-R1-0528.gguf", kOff),
            "hi<｜Assistant｜><think>\n\n</think>\n\n");
  EXPECT_EQ(end_of_prompt("DeepSeek-V3.1.gguf", kModelDefault), "hi<｜Assistant｜></think>");
  EXPECT_EQ(end_of_prompt("DeepSeek-V3.1.gguf", kOff), "hi<｜Assistant｜></think>");
  EXPECT_EQ(end_of_prompt("DeepSeek-V3.1.gguf", kOn), "hi<｜Assistant｜><think>");
}

TEST(Generator, ABrokenTemplateIsTheErrorOfWhoAsksForIt) {
  const auto generator =
      Generator::open(data("models/stories260K.gguf"), reference(), {.chat_template = "{% if %}"});
  ASSERT_TRUE(generator) << generator.error().message;
  EXPECT_FALSE((*generator)->chat_prompt(nlohmann::ordered_json::array(), {}));
  EXPECT_TRUE((*generator)->raw_prompt("x"));
}

TEST(Generator, AModelWithoutATokenizerStillComputes) {
  const auto generator = Generator::open(data("golden/llama/hf"), reference(), {});
  ASSERT_TRUE(generator) << generator.error().message;
  EXPECT_EQ((*generator)->tokenizer(), nullptr);
  EXPECT_FALSE((*generator)->raw_prompt("x"));
  EXPECT_FALSE((*generator)->generate({.tokens = {1, 2}}, {}, nullptr));
  int rows = 0;
  const std::vector<TokenId> tokens = {1, 2, 3};
  EXPECT_TRUE((*generator)->engine().score(tokens, [&](uint32_t, std::span<const float>) {
    ++rows;
    return true;
  }));
  EXPECT_EQ(rows, 3);
}

TEST(Generator, AMissingFileIsNamed) {
  const auto generator = Generator::open(data("models/nothing.gguf"), reference(), {});
  ASSERT_FALSE(generator);
  EXPECT_NE(generator.error().message.find("nothing.gguf"), std::string::npos);
}

}  // namespace
}  // namespace hadal
