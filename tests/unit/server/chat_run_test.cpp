// The pool, an engine thread and a ChatRun together, on a tiny real model.
#include "server/chat/chat_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>

#include "device/registry.h"

namespace hadal {
namespace {

constexpr const char* kModel = HADAL_TEST_DATA "/models/stories260K.gguf";

Result<OpenedModel> open_tiny(const ModelEntry& entry) {
  HADAL_TRY(auto device, open_device({.threads = 1}));
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::move(device));
  GeneratorOptions options;
  options.engine = {.context_tokens = 256, .sequences_max = 4};
  HADAL_TRY(auto generator, Generator::open(entry.path, std::move(devices), options));
  return OpenedModel{.generator = std::move(generator), .sampling = {.temperature = 0}};
}

ModelPoolOptions tiny_pool() {
  ModelPoolOptions options;
  options.models = {{.name = "tiny", .path = kModel}, {.name = "gone", .path = "/no/such.gguf"}};
  options.default_model = "tiny";
  options.open = open_tiny;
  options.answers_max = 6;
  return options;
}

// Keeps what it is told; wait() for the end.
class KeepingReader : public ChatReader {
 public:
  explicit KeepingReader(size_t wanted_pieces = SIZE_MAX) : wanted_pieces_(wanted_pieces) {}

  void on_start(const ChatStart& start) override {
    echoed = start.echoed;
    add("start " + start.model);
  }
  bool on_delta(uint32_t choice, const ChatDelta& delta) override {
    std::lock_guard lock(mutex_);
    if (texts.size() <= choice) texts.resize(choice + 1);
    texts[choice] += delta.text;
    logprobs += delta.logprobs.size();
    prompt_logprobs.resize(texts.size());
    auto& of_prompt = prompt_logprobs[choice];
    of_prompt.insert(of_prompt.end(), delta.prompt_logprobs.begin(), delta.prompt_logprobs.end());
    ++pieces_;
    changed_.notify_all();
    return pieces_ < wanted_pieces_;
  }
  void on_finish(uint32_t choice, ChatFinish finish, const std::string&) override {
    add(fmt::format("finish {} {}", choice, static_cast<int>(finish)));
  }
  void on_end(const ChatUsage& given) override {
    usage = given;
    add("end");
    end();
  }
  void on_error(const RequestError& given) override {
    error = given;
    add("error");
    end();
  }

  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [this] { return ended_; });
  }
  bool wait_for_pieces(size_t pieces) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60),
                             [&] { return pieces_ >= pieces || ended_; });
  }

  std::vector<std::string> calls, texts;
  std::vector<std::vector<ChatTokenLogprobs>> prompt_logprobs;
  std::vector<std::string> echoed;
  size_t logprobs = 0;
  ChatUsage usage;
  RequestError error;

 private:
  void add(std::string call) {
    std::lock_guard lock(mutex_);
    calls.push_back(std::move(call));
  }
  void end() {
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  const size_t wanted_pieces_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t pieces_ = 0;
  bool ended_ = false;
};

ChatJob job(const std::string& prompt, uint32_t max_tokens = 8) {
  ChatJob result;
  result.prompts = {prompt};
  result.max_tokens = max_tokens;
  result.parse_thinking = false;
  return result;
}

bool becomes_idle(const ModelPool& pool) {
  for (int i = 0; i < 6000; ++i) {
    if (pool.find("tiny")->answers == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// stories260K has no template, and its vocabulary no <think>.
TEST(ChatRun, ThinkingIsRefusedOfAModelThatDoesNot) {
  ModelPool pool(tiny_pool());
  for (const Thinking thinking : {Thinking::kOn, Thinking::kOff, Thinking::kModelDefault}) {
    const auto reader = std::make_shared<KeepingReader>();
    ChatJob asked = job("Once upon a time", 2);
    asked.messages = nlohmann::ordered_json::array();
    asked.messages->push_back({{"role", "user"}, {"content", "Once upon a time"}});
    asked.thinking = thinking;
    asked.thinking_field = "think";
    ChatRun::start(pool, std::move(asked), reader);
    ASSERT_TRUE(reader->wait());
    if (thinking != Thinking::kOn) {
      EXPECT_EQ(reader->calls.back(), "end") << reader->error.message;
      continue;
    }
    EXPECT_EQ(reader->error.kind, ErrorKind::kUnsupported);
    EXPECT_EQ(reader->error.field, "think");
    EXPECT_NE(reader->error.message.find("tiny does not think"), std::string::npos)
        << reader->error.message;
  }
}

TEST(ChatRun, AFarTooLongPromptIsRefusedUnread) {
  ModelPool pool(tiny_pool());
  const auto reader = std::make_shared<KeepingReader>();
  ChatRun::start(pool, job(std::string(8 << 20, 'a')), reader);
  ASSERT_TRUE(reader->wait());
  EXPECT_EQ(reader->error.kind, ErrorKind::kTooLong);
  EXPECT_NE(reader->error.message.find("has at least"), std::string::npos) << reader->error.message;
  EXPECT_GT(reader->error.prompt_tokens, 100'000u);
  EXPECT_EQ(reader->error.context_tokens, 256u);

  const auto counted = std::make_shared<KeepingReader>();
  ChatRun::start(pool, job(std::string(800, 'a')), counted);
  ASSERT_TRUE(counted->wait());
  EXPECT_EQ(counted->error.kind, ErrorKind::kTooLong);
  EXPECT_NE(counted->error.message.find("has 801 tokens"), std::string::npos)
      << counted->error.message;
}

TEST(ChatRun, TellsInOrder) {
  ModelPool pool(tiny_pool());
  const auto reader = std::make_shared<KeepingReader>();
  ChatJob two = job("Once upon a time");
  two.choices = 2;
  two.top_logprobs = 1;
  ChatRun::start(pool, two, reader);
  ASSERT_TRUE(reader->wait());
  EXPECT_EQ(reader->calls.front(), "start tiny");
  EXPECT_EQ(reader->calls.back(), "end");
  ASSERT_EQ(reader->calls.size(), 4u);
  ASSERT_EQ(reader->texts.size(), 2u);
  EXPECT_EQ(reader->texts[0], reader->texts[1]);
  EXPECT_NE(reader->texts[0], "");
  EXPECT_EQ(reader->logprobs, 16u);
  EXPECT_EQ(reader->usage.answer_tokens, 16u);
  EXPECT_TRUE(becomes_idle(pool));
}

// Those of the logits that eval measures perplexity by; as text and as tokens, alone and together.
TEST(ChatRun, LogProbabilitiesOfPrompts) {
  const auto opened = open_tiny({.name = "tiny", .path = kModel});
  ASSERT_TRUE(opened) << opened.error().message;
  const Tokenizer& tokenizer = *opened->generator->tokenizer();
  const std::vector<std::string> texts = {
      "Once upon a time, there was a little girl named Lily. 深", "Lily"};
  std::vector<std::vector<TokenId>> tokens;
  std::vector<std::vector<double>> expected;
  for (const std::string& text : texts) {
    tokens.push_back(opened->generator->raw_prompt(text)->tokens);
    const auto take = [&](uint32_t position, std::span<const float> logits) {
      if (position + 1 == tokens.back().size()) return false;
      double total = 0;
      for (const float logit : logits) total += std::exp(double{logit});
      const auto next = static_cast<size_t>(tokens.back()[position + 1]);
      expected.back().push_back(double{logits[next]} - std::log(total));
      return true;
    };
    expected.emplace_back();
    ASSERT_TRUE(opened->generator->engine().score(tokens.back(), take));
  }
  ModelPool pool(tiny_pool());
  for (const bool only : {true, false}) {
    for (const bool as_tokens : {true, false}) {
      ChatJob scored = job("", only ? 0 : 3);
      scored.prompts.clear();
      for (size_t i = 0; i < texts.size(); ++i) {
        if (as_tokens) scored.prompts.emplace_back(tokens[i]);
        if (!as_tokens) scored.prompts.emplace_back(texts[i]);
      }
      scored.echo = true;
      scored.prompt_only = only;
      scored.top_logprobs = 2;
      const auto reader = std::make_shared<KeepingReader>();
      ChatRun::start(pool, scored, reader);
      ASSERT_TRUE(reader->wait());
      ASSERT_EQ(reader->calls.back(), "end") << reader->error.message;
      ASSERT_EQ(reader->prompt_logprobs.size(), 2u);
      for (size_t i = 0; i < texts.size(); ++i) {
        const auto& given = reader->prompt_logprobs[i];
        ASSERT_EQ(given.size(), tokens[i].size());
        EXPECT_FALSE(given[0].foretold);
        size_t characters = 0;
        for (size_t k = 0; k < given.size(); ++k) {
          EXPECT_EQ(given[k].chosen.bytes, tokenizer.token_bytes(tokens[i][k]));
          characters += given[k].characters;
          if (k == 0) continue;
          EXPECT_TRUE(given[k].foretold);
          EXPECT_EQ(given[k].top.size(), 2u);
          EXPECT_NEAR(given[k].chosen.log_probability, expected[i][k - 1], 0.02) << i << ", " << k;
        }
        EXPECT_EQ(characters, characters_in(reader->echoed[i]));
        if (!as_tokens) {
          EXPECT_EQ(reader->echoed[i], texts[i]);
        }
        EXPECT_EQ(reader->texts[i].empty(), only);
      }
      EXPECT_EQ(reader->usage.answer_tokens, only ? 0u : 6u);
      EXPECT_EQ(reader->usage.cached_tokens, 0u);
      EXPECT_EQ(std::ranges::count(reader->calls, "finish 0 2"), 1) << "its length ends it";
    }
  }

  ModelPoolOptions wide = tiny_pool();
  wide.answers_max = 512;
  ModelPool wide_pool(wide);
  ChatJob many = job("", 0);
  many.prompts.assign(128, std::vector<TokenId>(200, 5));
  many.choices = 3;
  many.echo = many.prompt_only = true;
  many.top_logprobs = 0;
  const auto reader = std::make_shared<KeepingReader>();
  ChatRun::start(wide_pool, many, reader);
  ASSERT_TRUE(reader->wait());
  EXPECT_EQ(reader->error.field, "logprobs") << reader->error.message;
}

// Each prompt's answers are those it gets alone, one prompt's behind the other's.
TEST(ChatRun, SeveralPrompts) {
  ModelPool pool(tiny_pool());
  const std::vector<std::string> prompts = {"Once upon a time", "The dog", "Lily"};
  ChatJob several = job("");
  several.prompts = {prompts[0], prompts[1], prompts[2]};
  several.choices = 2;
  const auto together = std::make_shared<KeepingReader>();
  ChatRun::start(pool, several, together);
  ASSERT_TRUE(together->wait());
  EXPECT_EQ(together->calls.back(), "end");
  ASSERT_EQ(together->texts.size(), 6u);
  ASSERT_TRUE(becomes_idle(pool)) << "all places were taken";
  uint32_t tokens = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto alone = std::make_shared<KeepingReader>();
    ChatRun::start(pool, job(prompts[i]), alone);
    ASSERT_TRUE(alone->wait());
    ASSERT_EQ(alone->texts.size(), 1u);
    EXPECT_EQ(together->texts[2 * i], alone->texts[0]);
    EXPECT_EQ(together->texts[2 * i + 1], alone->texts[0]);
    tokens += alone->usage.prompt_tokens;
  }
  EXPECT_EQ(together->usage.prompt_tokens, tokens);
  EXPECT_EQ(together->usage.answer_tokens, 48u);
  EXPECT_TRUE(becomes_idle(pool));
}

TEST(ChatRun, ErrorsHaveTheirKind) {
  ModelPool pool(tiny_pool());
  const auto ask = [&](ChatJob wanted) {
    const auto reader = std::make_shared<KeepingReader>();
    ChatRun::start(pool, std::move(wanted), reader);
    EXPECT_TRUE(reader->wait());
    EXPECT_EQ(reader->calls, std::vector<std::string>{"error"});
    return reader->error;
  };
  ChatJob other = job("x");
  other.model = "other";
  EXPECT_EQ(ask(other).kind, ErrorKind::kNotFound);
  other.model = "gone";
  EXPECT_EQ(ask(other).kind, ErrorKind::kUnavailable);
  std::string words;
  for (int i = 0; i < 400; ++i) words += "word ";
  const RequestError long_prompt = ask(job(words));
  EXPECT_EQ(long_prompt.kind, ErrorKind::kTooLong);
  EXPECT_EQ(long_prompt.context_tokens, 256u);
  EXPECT_GE(long_prompt.prompt_tokens, 400u);
  ChatJob many = job("x");
  many.choices = 7;
  EXPECT_EQ(ask(many).kind, ErrorKind::kInvalid) << "that will never be possible";
  ASSERT_TRUE(becomes_idle(pool));
  const auto long_answer = std::make_shared<KeepingReader>();
  ChatJob others = job("Once", 200);
  others.choices = 5;
  auto run = ChatRun::start(pool, others, long_answer);
  many.choices = 2;
  const RequestError full = ask(many);
  EXPECT_EQ(full.kind, ErrorKind::kOverloaded);
  EXPECT_GT(full.retry_after_seconds, 0u);
  run->cancel();
  run.reset();
  ChatJob tools = job("x");
  tools.tools = nlohmann::ordered_json::parse(R"([{"function": {"name": "f"}}])");
  EXPECT_EQ(ask(tools).field, "tools");
  ChatJob tokens = job("");
  tokens.prompts = {std::vector<TokenId>{1, 1 << 30}};
  EXPECT_EQ(ask(tokens).field, "prompt");
  ChatJob biased = job("x");
  biased.logit_bias = {{.token = 1 << 30, .bias = 1}};
  EXPECT_EQ(ask(biased).field, "logit_bias");
  EXPECT_TRUE(becomes_idle(pool));
}

TEST(ChatRun, WhoLeavesFreesTheirPlaces) {
  ModelPool pool(tiny_pool());
  for (int i = 0; i < 20; ++i) {
    const auto reader = std::make_shared<KeepingReader>();
    ChatJob wanted = job("Once", 200);
    wanted.choices = 1 + i % 3;
    const auto run = ChatRun::start(pool, wanted, reader);
    if (i % 2 == 0) {
      ASSERT_TRUE(reader->wait_for_pieces(i));
    }
    run->cancel();
  }
  EXPECT_TRUE(becomes_idle(pool));
  const auto enough = std::make_shared<KeepingReader>(3);
  ChatRun::start(pool, job("Once", 200), enough);
  EXPECT_TRUE(enough->wait_for_pieces(3));
  EXPECT_TRUE(becomes_idle(pool));
}

TEST(ModelPool, EndsWhileAnswersRun) {
  const auto reader = std::make_shared<KeepingReader>();
  {
    ModelPool pool(tiny_pool());
    ChatRun::start(pool, job("Once", 250), reader);
    ASSERT_TRUE(reader->wait_for_pieces(2));
  }
  EXPECT_TRUE(reader->wait());
}

TEST(ModelPool, UnloadsWhatNobodyUses) {
  ModelPoolOptions options = tiny_pool();
  options.keep_alive = std::chrono::seconds(0);
  ModelPool pool(std::move(options));
  EXPECT_TRUE(pool.ready());
  for (int round = 0; round < 2; ++round) {
    const auto reader = std::make_shared<KeepingReader>();
    ChatRun::start(pool, job("Once"), reader);
    ASSERT_TRUE(reader->wait());
    EXPECT_EQ(reader->calls.back(), "end");
    for (int i = 0; i < 1000 && pool.find("tiny")->state != ModelState::kNotLoaded; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(pool.find("tiny")->state, ModelState::kNotLoaded);
  }
}

TEST(ModelPool, AKeepAliveOfZeroUnloadsOnce) {
  ModelPoolOptions options = tiny_pool();
  options.keep_alive = std::nullopt;
  ModelPool pool(std::move(options));
  const auto ask = [&pool] {
    const auto reader = std::make_shared<KeepingReader>();
    ChatRun::start(pool, job("Once"), reader);
    ASSERT_TRUE(reader->wait());
  };
  ask();
  EXPECT_FALSE(pool.find("tiny")->unloads_in) << "it stays";
  pool.set_keep_alive("tiny", std::chrono::seconds(0));
  for (int i = 0; i < 1000 && pool.find("tiny")->state != ModelState::kNotLoaded; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(pool.find("tiny")->state, ModelState::kNotLoaded);
  ask();
  EXPECT_EQ(pool.find("tiny")->state, ModelState::kLoaded);
  EXPECT_FALSE(pool.find("tiny")->unloads_in) << "as before";
}

TEST(ChatRun, WhatIsCutOffIsTold) {
  ModelPoolOptions options = tiny_pool();
  options.stop = std::make_shared<std::atomic<bool>>(false);
  options.open = [stop = options.stop](const ModelEntry&) -> Result<OpenedModel> {
    while (!*stop) std::this_thread::yield();
    return fail("no longer wanted");
  };
  ModelPool pool(std::move(options));
  const auto reader = std::make_shared<KeepingReader>();
  ChatRun::start(pool, job("Once"), reader)->cut_off();
  ASSERT_TRUE(reader->wait());
  pool.stop_loading();
  EXPECT_EQ(reader->calls, std::vector<std::string>{"error"});
  EXPECT_EQ(reader->error.kind, ErrorKind::kUnavailable);
  EXPECT_GT(reader->error.retry_after_seconds, 0u);
  EXPECT_NE(reader->error.message.find("cut off"), std::string::npos);
}

TEST(ModelPool, NobodyWaitsForALoadWhereThePoolEnds) {
  ModelPoolOptions options = tiny_pool();
  options.stop = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> begun = false;
  options.open = [&, stop = options.stop](const ModelEntry&) -> Result<OpenedModel> {
    begun = true;
    while (!*stop) std::this_thread::yield();
    return fail("no longer wanted");
  };
  ModelPool pool(std::move(options));
  pool.preload([](bool) {});
  while (!begun) std::this_thread::yield();
}

TEST(ModelPool, TwoModelsOfOneNameAreRefused) {
  EXPECT_TRUE(check_model_names({{.name = "m", .path = "a/m.gguf"}, {.name = "n", .path = "b"}}));
  const Status both =
      check_model_names({{.name = "m", .path = "a/m.gguf"}, {.name = "m", .path = "b/m.gguf"}});
  ASSERT_FALSE(both);
  for (const char* word : {"a/m.gguf", "b/m.gguf", "'m'", "another file name"}) {
    EXPECT_NE(both.error().message.find(word), std::string::npos) << both.error().message;
  }
  const Status twice =
      check_model_names({{.name = "m", .path = "a/m.gguf"}, {.name = "m", .path = "a/m.gguf"}});
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("twice"), std::string::npos);
}

TEST(ModelPool, APreloadThatFailsIsTold) {
  ModelPoolOptions options = tiny_pool();
  options.default_model = "gone";
  ModelPool pool(std::move(options));
  std::mutex mutex;
  std::condition_variable changed;
  bool failed = false;
  pool.preload([&](bool loaded) {
    std::lock_guard lock(mutex);
    failed = !loaded;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return failed; }));
  EXPECT_FALSE(pool.ready());
  EXPECT_NE(pool.load_error(), "");
}

}  // namespace
}  // namespace hadal
