// Guesses change the time and nothing else: with as many as find room, every answer is the one that
// there is without. On the reference device, where logits are the same bit for bit in steps of any
// length; greedy and drawn, with penalties, forced tokens, stop strings, a thinking budget, alone
// and in company.
#include <gtest/gtest.h>

#include <random>

#include "device/registry.h"
#include "engine/generation.h"

namespace hadal {
namespace {

std::unique_ptr<Generator> open(const char* model, const char* device, EngineOptions options) {
  auto opened = open_device({.name = device, .threads = 2});
  EXPECT_TRUE(opened) << opened.error().message;
  if (!opened) return nullptr;
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(*opened));
  if (options.context_tokens == 0) options.context_tokens = 128;
  auto generator = Generator::open(std::filesystem::path(HADAL_TEST_DATA) / model,
                                   std::move(devices), {.engine = options});
  EXPECT_TRUE(generator) << generator.error().message;
  return generator ? std::move(*generator) : nullptr;
}

struct Told {
  std::vector<TokenId> tokens;
  FinishReason reason{};
  Usage usage;
};

// Forces three tokens behind its 9th, and stops behind its `stop_behind`-th.
struct Reader : TokenSink {
  Told told;
  size_t stop_behind = SIZE_MAX;
  bool forces = false;
  TokenDecision on_token(TokenId token) override {
    told.tokens.push_back(token);
    TokenDecision decision;
    if (forces && told.tokens.size() == 9) decision.force = {4, 5, 6};
    decision.stop = told.tokens.size() == stop_behind;
    return decision;
  }
  void on_finish(FinishReason why, const Usage& used, std::string_view error) override {
    EXPECT_EQ(error, "");
    told.reason = why;
    told.usage = used;
  }
};

struct Case {
  SamplingOptions sampling;
  uint32_t max_tokens = 60;
  size_t stop_behind = SIZE_MAX;
  bool forces = false;
  bool ends = false;  // at some token of the answer itself
};

const Case kCases[] = {
    {.sampling = {.temperature = 0}},
    {.sampling = {.temperature = 0}, .max_tokens = 0, .forces = true},
    {.sampling = {.temperature = 0}, .stop_behind = 31},
    {.sampling = {.temperature = 0}, .ends = true},
    {.sampling = {.temperature = 0.2f, .seed = 3}},
    {.sampling = {.temperature = 1, .top_k = 3, .seed = 4}, .forces = true},
    {.sampling = {.temperature = 0.7f, .top_p = 0.8f, .min_p = 0.1f, .seed = 5}},
    {.sampling = {.temperature = 0.2f, .repetition_penalty = 1.05f, .seed = 6}},
    {.sampling = {.temperature = 0, .presence_penalty = 0.1f, .frequency_penalty = 0.02f}},
};

std::vector<TokenId> circling_prompt(const Engine& engine, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> round(5), prompt;
  for (TokenId& token : round) token = static_cast<TokenId>(random() % engine.info().vocabulary);
  for (int i = 0; i < 5; ++i) prompt.insert(prompt.end(), round.begin(), round.end());
  return prompt;
}

std::shared_ptr<Reader> submit(Engine& engine, const Case& wanted, uint32_t seed,
                               std::vector<TokenId> end_tokens) {
  auto reader = std::make_shared<Reader>();
  reader->stop_behind = wanted.stop_behind;
  reader->forces = wanted.forces;
  const auto id = engine.submit({.prompt = circling_prompt(engine, seed),
                                 .sampling = wanted.sampling,
                                 .max_tokens = wanted.max_tokens,
                                 .end_tokens = std::move(end_tokens),
                                 .sink = reader});
  EXPECT_TRUE(id) << id.error().message;
  return reader;
}

void run(Engine& engine) {
  while (true) {
    const auto worked = engine.step();
    ASSERT_TRUE(worked) << worked.error().message;
    if (!*worked) return;
  }
}

struct Guessing {
  const char* model;
  Speculation speculation = Speculation::kNgramAlways;
};

void PrintTo(const Guessing& guessing, std::ostream* out) {
  *out << guessing.model << (is_mtp(guessing.speculation) ? " mtp" : "");
}

class SpeculationLaws : public testing::TestWithParam<Guessing> {};

TEST_P(SpeculationLaws, GuessesChangeTheTimeAndNothingElse) {
  const auto plain = open(GetParam().model, "reference", {});
  const auto guessing =
      open(GetParam().model, "reference", {.speculation = GetParam().speculation});
  ASSERT_TRUE(plain && guessing);
  uint32_t seed = 0, drafted = 0, accepted = 0;
  for (const Case& wanted : kCases) {
    ++seed;
    std::vector<TokenId> end_tokens;
    if (wanted.ends) {
      const auto first = submit(plain->engine(), wanted, seed, {});
      run(plain->engine());
      end_tokens.push_back(first->told.tokens.at(40));
    }
    const auto without = submit(plain->engine(), wanted, seed, end_tokens);
    run(plain->engine());
    const auto with = submit(guessing->engine(), wanted, seed, end_tokens);
    run(guessing->engine());
    EXPECT_EQ(with->told.tokens, without->told.tokens) << "case " << seed;
    EXPECT_EQ(with->told.reason, without->told.reason) << "case " << seed;
    EXPECT_EQ(with->told.usage.answer_tokens, without->told.usage.answer_tokens);
    EXPECT_EQ(without->told.usage.drafted_tokens, 0u);
    EXPECT_LE(with->told.usage.accepted_tokens, with->told.usage.drafted_tokens);
    drafted += with->told.usage.drafted_tokens;
    accepted += with->told.usage.accepted_tokens;
  }
  EXPECT_GT(accepted, 5u);
  EXPECT_GT(drafted, accepted) << "some must have been wrong";
}

TEST_P(SpeculationLaws, InCompanyToo) {
  std::vector<Told> alone;
  {
    const auto plain = open(GetParam().model, "reference", {});
    ASSERT_TRUE(plain);
    for (uint32_t i = 0; i < std::size(kCases); ++i) {
      const auto reader = submit(plain->engine(), kCases[i], i, {});
      run(plain->engine());
      alone.push_back(reader->told);
    }
  }
  for (const EngineOptions& options : {EngineOptions{.sequences_max = 4, .step_tokens_max = 512},
                                       EngineOptions{.sequences_max = 3, .step_tokens_max = 7}}) {
    EngineOptions with = options;
    with.speculation = GetParam().speculation;
    const auto guessing = open(GetParam().model, "reference", with);
    ASSERT_TRUE(guessing);
    std::vector<std::shared_ptr<Reader>> readers;
    for (uint32_t i = 0; i < std::size(kCases); ++i) {
      readers.push_back(submit(guessing->engine(), kCases[i], i, {}));
      ASSERT_TRUE(guessing->engine().step());
    }
    run(guessing->engine());
    for (uint32_t i = 0; i < readers.size(); ++i) {
      EXPECT_EQ(readers[i]->told.tokens, alone[i].tokens) << "case " << i;
      EXPECT_EQ(readers[i]->told.reason, alone[i].reason) << "case " << i;
    }
  }
}

// A later turn finds as much of the answer in the cache as it does without guesses.
TEST_P(SpeculationLaws, AcceptedGuessesAreAPrefixForLater) {
  std::vector<uint32_t> cached;
  for (const Speculation speculation : {Speculation::kOff, GetParam().speculation}) {
    const auto generator = open(GetParam().model, "reference", {.speculation = speculation});
    ASSERT_TRUE(generator);
    Engine& engine = generator->engine();
    const auto first = submit(engine, kCases[0], 1, {});
    run(engine);
    std::vector<TokenId> turn = circling_prompt(engine, 1);
    turn.insert(turn.end(), first->told.tokens.begin(), first->told.tokens.end());
    turn.push_back(1);
    const auto second = std::make_shared<Reader>();
    ASSERT_TRUE(engine.submit({.prompt = turn, .max_tokens = 1, .sink = second}));
    run(engine);
    cached.push_back(second->told.usage.cached_tokens);
  }
  EXPECT_GT(cached[0], 32u);
  EXPECT_EQ(cached[0], cached[1]);
}

constexpr Guessing kPrediction = {"golden/deepseek-v3-mtp/model.gguf", Speculation::kMtpAlways};

INSTANTIATE_TEST_SUITE_P(All, SpeculationLaws,
                         testing::Values(Guessing{"models/stories260K.gguf"},
                                         Guessing{"golden/llama/model.gguf"},
                                         Guessing{"golden/qwen2/model.gguf"},
                                         Guessing{"golden/qwen3-yarn/model.gguf"}, kPrediction),
                         [](const auto& info) {
                           std::string name = info.param.model;
                           for (char& letter : name) {
                             if (std::isalnum(static_cast<unsigned char>(letter)) == 0) {
                               letter = '_';
                             }
                           }
                           return name;
                         });

// The prediction layer has read the prompt whole, however it was cut into steps or mixed with
// others: the same guesses are right.
TEST(SpeculationByPrediction, PromptsInChunksOrInCompanyGiveTheSameGuesses) {
  const Case greedy = {.sampling = {.temperature = 0}, .max_tokens = 50};
  const auto usage_with = [&](EngineOptions options, uint32_t seed, bool company) {
    options.speculation = Speculation::kMtpAlways;
    const auto generator = open(kPrediction.model, "reference", options);
    if (generator == nullptr) return Usage{};
    Engine& engine = generator->engine();
    std::shared_ptr<Reader> other;
    if (company) other = submit(engine, greedy, seed + 100, {});
    const auto reader = submit(engine, greedy, seed, {});
    run(engine);
    return reader->told.usage;
  };
  uint32_t accepted = 0;
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    const Usage whole = usage_with({.step_tokens_max = 512}, seed, false);
    const Usage chunks = usage_with({.step_tokens_max = 9}, seed, false);
    const Usage company = usage_with({.sequences_max = 2, .step_tokens_max = 512}, seed, true);
    EXPECT_EQ(whole.cached_tokens, 0u);
    for (const Usage& other : {chunks, company}) {
      EXPECT_EQ(other.drafted_tokens, whole.drafted_tokens) << seed;
      EXPECT_EQ(other.accepted_tokens, whole.accepted_tokens) << seed;
    }
    accepted += whole.accepted_tokens;
  }
  EXPECT_GT(accepted, 20u) << "of 300 tokens";
}

TEST(SpeculationByPrediction, ALaterTurnGuessesAsIfItHadReadAllItself) {
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    const auto last_turn = [&](bool first_turns) {
      const auto generator =
          open(kPrediction.model, "reference", {.speculation = Speculation::kMtpAlways});
      if (generator == nullptr) return Usage{};
      Engine& engine = generator->engine();
      const Case greedy = {.sampling = {.temperature = 0}, .max_tokens = 45};
      auto told = std::make_shared<Reader>();
      std::vector<TokenId> turn = circling_prompt(engine, seed);
      if (first_turns) {
        told = submit(engine, greedy, seed, {});
        run(engine);
      } else {  // what it would have said
        const auto plain = open(kPrediction.model, "reference", {});
        told = submit(plain->engine(), greedy, seed, {});
        run(plain->engine());
      }
      turn.insert(turn.end(), told->told.tokens.begin(), told->told.tokens.end());
      turn.push_back(1);
      const auto reader = std::make_shared<Reader>();
      EXPECT_TRUE(engine.submit(
          {.prompt = turn, .sampling = greedy.sampling, .max_tokens = 40, .sink = reader}));
      run(engine);
      return reader->told.usage;
    };
    const Usage alone = last_turn(false), later = last_turn(true);
    EXPECT_EQ(alone.cached_tokens, 0u);
    EXPECT_EQ(later.cached_tokens, 64u);
    EXPECT_EQ(later.drafted_tokens, alone.drafted_tokens) << seed;
    EXPECT_EQ(later.accepted_tokens, alone.accepted_tokens) << seed;
  }
}

TEST(SpeculationByPrediction, OnTheCpuDeviceToo) {
  for (const Speculation speculation : {Speculation::kMtp, Speculation::kMtpAlways}) {
    const auto plain = open(kPrediction.model, "cpu", {});
    const auto guessing = open(kPrediction.model, "cpu", {.speculation = speculation});
    ASSERT_TRUE(plain && guessing);
    for (uint32_t seed = 1; seed <= 6; ++seed) {
      const Case wanted = {.sampling = {.temperature = seed % 2 ? 0.0f : 0.5f, .seed = seed}};
      const auto without = submit(plain->engine(), wanted, seed, {});
      run(plain->engine());
      const auto with = submit(guessing->engine(), wanted, seed, {});
      run(guessing->engine());
      EXPECT_EQ(with->told.tokens, without->told.tokens) << seed;
    }
  }
}

TEST(SpeculationByPrediction, AFileWithoutTheLayerIsRefusedInASentence) {
  auto device = open_device({.name = "reference"});
  ASSERT_TRUE(device);
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(*device));
  const auto generator =
      Generator::open(std::filesystem::path(HADAL_TEST_DATA) / "models/stories260K.gguf",
                      std::move(devices), {.engine = {.speculation = Speculation::kMtp}});
  ASSERT_FALSE(generator);
  EXPECT_NE(generator.error().message.find("no layer that predicts further tokens (MTP)"),
            std::string::npos)
      << generator.error().message;
}

constexpr const char* kStories = "models/stories260K.gguf";
constexpr const char* kRefrain =
    "Once upon a time there was a cat. The cat said: \"I am a cat.\" Once upon a time there was a "
    "cat. The cat said: \"I am a";

std::vector<Answer> answers(const char* device, Speculation speculation,
                            const std::vector<GenerationOptions>& wanted, bool thinking) {
  std::vector<Answer> result;
  const auto generator =
      open(kStories, device, {.context_tokens = 256, .speculation = speculation});
  if (generator == nullptr) return result;
  Prompt prompt = *generator->raw_prompt(kRefrain);
  prompt.thinking_open = thinking;
  for (const GenerationOptions& options : wanted) {
    auto answer = generator->generate(prompt, options, {});
    EXPECT_TRUE(answer) << answer.error().message;
    if (answer) result.push_back(std::move(*answer));
  }
  return result;
}

TEST(SpeculationOfText, StopStringsAndThinkingBudgetsHoldInsideGuesses) {
  for (const bool thinking : {false, true}) {
    std::vector<GenerationOptions> wanted;
    for (const char* stop : {"time", "there was", "a c", "."}) {
      wanted.push_back({.sampling = {.temperature = 0}, .max_tokens = 100, .stop = {stop}});
      if (thinking) wanted.back().thinking_budget = static_cast<uint32_t>(5 + wanted.size());
    }
    wanted.push_back(
        {.sampling = {.temperature = 0.3f, .seed = 8}, .max_tokens = 100, .thinking_budget = 12});
    const auto without = answers("reference", Speculation::kOff, wanted, thinking);
    const auto with = answers("reference", Speculation::kNgramAlways, wanted, thinking);
    ASSERT_EQ(without.size(), wanted.size());
    ASSERT_EQ(with.size(), wanted.size());
    uint32_t accepted = 0, budgets = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_EQ(with[i].text, without[i].text) << i;
      EXPECT_EQ(with[i].thinking, without[i].thinking) << i;
      EXPECT_EQ(with[i].thinking_tokens, without[i].thinking_tokens) << i;
      EXPECT_EQ(with[i].stop_string, without[i].stop_string) << i;
      EXPECT_EQ(with[i].reason, without[i].reason) << i;
      accepted += with[i].usage.accepted_tokens;
      budgets += with[i].thinking_tokens > 0;
    }
    EXPECT_GT(accepted, 10u);
    EXPECT_EQ(budgets > 0, thinking);
  }
}

// The CPU device rounds a step of one token and a step of several differently: answers agree until
// two tokens are nearer than that, which on this model's floats they do not come.
TEST(SpeculationOfText, OnTheCpuDeviceToo) {
  const std::vector<GenerationOptions> wanted = {
      {.sampling = {.temperature = 0}, .max_tokens = 120},
      {.sampling = {.temperature = 0.3f, .seed = 2}, .max_tokens = 120}};
  const auto without = answers("cpu", Speculation::kOff, wanted, false);
  for (const Speculation speculation : {Speculation::kNgram, Speculation::kNgramAlways}) {
    const auto with = answers("cpu", speculation, wanted, false);
    ASSERT_EQ(with.size(), wanted.size());
    ASSERT_EQ(without.size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(with[i].text, without[i].text) << i;
    if (speculation == Speculation::kNgramAlways) {
      EXPECT_GT(with[0].usage.accepted_tokens, 0u);
    }
  }
}

}  // namespace
}  // namespace hadal
