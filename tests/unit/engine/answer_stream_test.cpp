#include "engine/answer_stream.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "byte_tokenizer.h"
#include "engine/thinking_mask.h"
#include "text/tool_calls.h"

namespace hadal {
namespace {

constexpr TokenId kThink = ByteTokenizer::kThink, kThinkEnd = ByteTokenizer::kThinkEnd;

// Keeps what it is told; has enough after some pieces.
struct KeepingSink : AnswerSink {
  bool on_delta(const TextDelta& delta) override {
    deltas.push_back(delta);
    return deltas.size() < unwanted_after;
  }
  void on_finish(Answer given, std::string_view) override {
    answer = std::move(given);
    ++ends;
  }
  size_t unwanted_after = SIZE_MAX;
  std::vector<TextDelta> deltas;
  Answer answer;
  int ends = 0;
};

// Feeds tokens as an engine would, forced ones included, until the stream wants no more.
struct Listener {
  ByteTokenizer tokenizer;
  GenerationOptions options;
  bool thinking_open = false;
  size_t unwanted_after = SIZE_MAX;  // pieces
  std::vector<TextDelta> deltas;
  Answer answer;
  size_t used = 0;  // sampled tokens

  void operator()(const std::vector<TokenId>& sampled,
                  FinishReason reason = FinishReason::kEndToken) {
    const auto sink = std::make_shared<KeepingSink>();
    sink->unwanted_after = unwanted_after;
    AnswerStream stream(tokenizer, thinking_open, options, {'\n', kThinkEnd, '\n'}, sink);
    std::vector<TokenId> forced;
    uint32_t count = 0;
    bool stop = false;
    while (!stop && (!forced.empty() || used < sampled.size())) {
      TokenId token;
      if (forced.empty()) {
        token = sampled[used++];
      } else {
        token = forced.front();
        forced.erase(forced.begin());
      }
      const TokenDecision decision = stream.on_token(token);
      ++count;
      stop = decision.stop;
      forced.insert(forced.end(), decision.force.begin(), decision.force.end());
    }
    EXPECT_EQ(sink->ends, 0);
    stream.on_finish(stop ? FinishReason::kStopped : reason, {.answer_tokens = count}, "");
    EXPECT_EQ(sink->ends, 1);
    answer = std::move(sink->answer);
    deltas = std::move(sink->deltas);
  }
};

std::vector<TokenId> bytes(std::string_view text) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

std::vector<TokenId> join(std::initializer_list<std::vector<TokenId>> parts) {
  std::vector<TokenId> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Remembers what it was told; allows one letter.
struct FormMask : TokenMask {
  std::string told;
  void allowed(std::span<uint32_t> bits) override {
    std::ranges::fill(bits, 0u);
    bits['{' / 32] = 1u << ('{' % 32);
  }
  void accept(TokenId token) override { told += static_cast<char>(token); }
  bool may_end() const override { return true; }
};

// As the engine calls them: the mask is told of a token before its reader is.
TEST(ThinkingMask, TheFormBeginsBehindTheThought) {
  const ByteTokenizer tokenizer;
  for (const bool with_budget : {false, true}) {
    GenerationOptions options;
    if (with_budget) options.thinking_budget = 3;
    const auto stream = std::make_shared<AnswerStream>(tokenizer, true, options,
                                                       std::vector<TokenId>{'.', kThinkEnd, '!'},
                                                       std::make_shared<KeepingSink>());
    const auto form = std::make_shared<FormMask>();
    ThinkingMask mask(form, stream);
    std::vector<uint32_t> bits(9);
    std::vector<TokenId> tokens = {'h', 'm', 'm'};
    if (!with_budget) tokens.push_back(kThinkEnd);
    for (size_t i = 0; i < tokens.size(); ++i) {
      mask.allowed(bits);
      EXPECT_EQ(bits[0], UINT32_MAX);
      EXPECT_FALSE(mask.may_end());
      mask.accept(tokens[i]);
      const TokenDecision decision = stream->on_token(tokens[i]);
      tokens.insert(tokens.end(), decision.force.begin(), decision.force.end());
    }
    EXPECT_EQ(tokens.size(), with_budget ? 6u : 4u);
    EXPECT_EQ(form->told, "") << "what closes a thought is no part of the answer";
    mask.allowed(bits);
    EXPECT_EQ(bits[0], 0u);
    EXPECT_TRUE(mask.may_end());
    mask.accept('{');
    stream->on_token('{');
    mask.accept('}');
    EXPECT_EQ(form->told, "{}");
  }
}

TEST(AnswerStream, GathersTextAndUsage) {
  Listener run;
  run(bytes("héllo"));
  EXPECT_EQ(run.answer.text, "héllo");
  EXPECT_EQ(run.answer.thinking, "");
  EXPECT_EQ(run.answer.reason, FinishReason::kEndToken);
  EXPECT_EQ(run.answer.usage.answer_tokens, 6u);
  EXPECT_EQ(run.answer.thinking_tokens, 0u);
  std::string joined;
  for (const TextDelta& delta : run.deltas) joined += delta.answer;
  EXPECT_EQ(joined, "héllo");
}

TEST(AnswerStream, ThinkingIsToldApartAndCounted) {
  Listener run;
  run(join({{kThink}, bytes("hm"), {kThinkEnd}, bytes("yes")}));
  EXPECT_EQ(run.answer.thinking, "hm");
  EXPECT_EQ(run.answer.text, "yes");
  EXPECT_EQ(run.answer.thinking_tokens, 3u);
  Listener open;
  open.thinking_open = true;
  open(bytes("never closed"), FinishReason::kMaxTokens);
  EXPECT_EQ(open.answer.thinking, "never closed");
  EXPECT_EQ(open.answer.text, "");
  EXPECT_EQ(open.answer.thinking_tokens, 12u);
  EXPECT_EQ(open.answer.reason, FinishReason::kMaxTokens);
}

TEST(AnswerStream, ControlTokensAreNoText) {
  Listener run;
  run(join({bytes("a"), {ByteTokenizer::kOther}, bytes("b"), {100000}}));
  EXPECT_EQ(run.answer.text, "ab");
}

// To a GGUF DeepSeek's marks of tool calls are control tokens; without them nobody could read
// calls.
TEST(AnswerStream, TheMarksOfToolCallsAreText) {
  Listener run;
  run(join({bytes("I look."),
            {ByteTokenizer::kCallsBegin, ByteTokenizer::kCallBegin},
            bytes("function"),
            {ByteTokenizer::kCallSeparator},
            bytes("now\n```json\n{\"zone\": \"UTC\"}\n```"),
            {ByteTokenizer::kCallEnd, ByteTokenizer::kCallsEnd, ByteTokenizer::kEnd}}));
  ToolCallStream calls("{{ '<｜tool▁calls▁begin｜>' }}");
  const ToolCallDelta delta = calls.push(run.answer.text);
  EXPECT_EQ(delta.text, "I look.");
  ASSERT_EQ(delta.calls.size(), 1u);
  EXPECT_EQ(delta.calls[0].name, "now");
  EXPECT_EQ(delta.calls[0].arguments, "{\"zone\": \"UTC\"}");
}

TEST(AnswerStream, StopsAtAStopStringAcrossTokens) {
  Listener run;
  run.options.stop = {"User:"};
  run(bytes("yes\nUser: more"));
  EXPECT_EQ(run.answer.text, "yes\n");
  EXPECT_EQ(run.answer.reason, FinishReason::kStopped);
  EXPECT_EQ(run.answer.stop_string, "User:");
  EXPECT_EQ(run.used, 9u);
}

TEST(AnswerStream, AUsedUpBudgetClosesTheThinking) {
  Listener run;
  run.thinking_open = true;
  run.options.thinking_budget = 4;
  run(bytes("abcdANSWER"));
  EXPECT_EQ(run.answer.thinking, "abcd\n");
  EXPECT_EQ(run.answer.text, "ANSWER");
  EXPECT_EQ(run.answer.thinking_tokens, 6u);  // the four, and what closed it
}

TEST(AnswerStream, ABudgetCountsFromWhereTheModelOpens) {
  Listener run;
  run.options.thinking_budget = 0;
  run(join({{kThink}, bytes("answer")}));
  EXPECT_EQ(run.answer.text, "answer");
  EXPECT_EQ(run.answer.thinking, "\n");
  Listener enough;
  enough.options.thinking_budget = 10;
  enough(join({{kThink}, bytes("abc"), {kThinkEnd}, bytes("ok, a long answer")}));
  EXPECT_EQ(enough.answer.thinking, "abc");
  EXPECT_EQ(enough.answer.text, "ok, a long answer");
}

TEST(AnswerStream, ACallerMayHaveEnough) {
  Listener run;
  run.unwanted_after = 2;
  run(bytes("abcdef"));
  EXPECT_EQ(run.used, 2u);
  EXPECT_EQ(run.answer.reason, FinishReason::kCancelled);
  EXPECT_EQ(run.answer.text, "ab");
  EXPECT_EQ(run.deltas.size(), 2u);
}

TEST(AnswerStream, WithoutParsingTagsAreText) {
  Listener run;
  run.options.parse_thinking = false;
  run.options.thinking_budget = 1;
  run(join({{kThink}, bytes("hm"), {kThinkEnd}, bytes("yes")}));
  EXPECT_EQ(run.answer.text, "<think>hm</think>yes");
  EXPECT_EQ(run.answer.thinking_tokens, 0u);
}

}  // namespace
}  // namespace hadal
