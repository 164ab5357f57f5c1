// Masks are what the grammar says, token by token; what they cost; that memory stays bounded.
#include "text/grammar/grammar_masks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <ctime>
#include <map>

#include "base/json.h"
#include "text/grammar/structured_output.h"
#include "text/tool_calls.h"
#include "unit/text/grammar/random_answer.h"
#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal::testing {
namespace {

std::shared_ptr<const TokenTrie> trie_of(const std::string& name) {
  static std::map<std::string, std::shared_ptr<const TokenTrie>> tries;
  auto& trie = tries[name];
  if (trie == nullptr) trie = TokenTrie::build(open_vocabulary(name)).value();
  return trie;
}

const char* const kSmall = "minimind";

constexpr const char* kPerson =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":40},
        "age":{"type":"integer","minimum":0,"maximum":150},
        "email":{"type":"string","pattern":"^[a-z0-9.]+@[a-z0-9]+\\.(com|org)$"},
        "tags":{"type":"array","items":{"enum":["red","green","blue"]},"maxItems":5},
        "born":{"type":"string","format":"date"},
        "address":{"anyOf":[{"type":"null"},{"type":"object","properties":{
            "street":{"type":"string"},"zip":{"type":"string","pattern":"^\\d{5}$"}},
            "required":["street"],"additionalProperties":false}]},
        "notes":{"type":"string"}},
        "required":["name","age","notes"],"additionalProperties":false})";

std::shared_ptr<GrammarMasks> masks_of(const char* schema, const std::string& vocabulary = kSmall) {
  return GrammarMasks::make(Grammar::compile(schema).value(), trie_of(vocabulary));
}

std::vector<uint32_t> allowed(TokenMask& mask, const TokenTrie& trie) {
  std::vector<uint32_t> bits(trie.words() + 1, ~0u);
  mask.allowed(bits);
  EXPECT_EQ(bits.back(), 0u);
  bits.pop_back();
  return bits;
}

bool has(const std::vector<uint32_t>& bits, size_t id) {
  return bits[id / 32] >> (id % 32) & 1;
}

// Along random answers, at each step: a token is allowed if and only if its bytes, one by one, lead
// on in the grammar.
TEST(GrammarMasks, AreWhatTheGrammarSays) {
  const auto trie = trie_of(kSmall);
  std::mt19937 random(3);
  for (const char* schema :
       {kPerson, "true", R"({"type":"string","maxLength":5})",
        R"({"type":"string","minLength":300})", R"({"type":"string","minLength":4,"maxLength":9})",
        R"({"pattern":"a.*b"})", R"({"properties":{"na":{},"né":{}},"additionalProperties":{}})"}) {
    const auto grammar = Grammar::compile(schema).value();
    const auto masks = GrammarMasks::make(grammar, trie);
    for (int answer = 0; answer < 3; ++answer) {
      GrammarWalk walk(grammar->automaton());
      GrammarWalk::Place place = walk.start();
      const auto mask = masks->start();
      for (int step = 0; step < 25; ++step) {
        const auto bits = allowed(*mask, *trie);
        std::vector<TokenId> choice;
        for (size_t id = 0; id < trie->vocabulary(); ++id) {
          const auto token = static_cast<TokenId>(id);
          GrammarWalk::Place behind = trie->is_text(token) ? place : GrammarWalk::kDead;
          for (const char byte : trie->bytes(token)) {
            behind = walk.next(behind, static_cast<uint8_t>(byte));
          }
          ASSERT_EQ(has(bits, id), behind != GrammarWalk::kDead)
              << schema << " step " << step << " token " << trie->bytes(token);
          if (has(bits, id)) choice.push_back(token);
        }
        ASSERT_EQ(mask->may_end(), walk.may_end(place));
        if (choice.empty()) break;
        const TokenId token = choice[random() % choice.size()];
        for (const char byte : trie->bytes(token)) {
          place = walk.next(place, static_cast<uint8_t>(byte));
        }
        mask->accept(token);
      }
    }
  }
}

TEST(GrammarMasks, SpecialTokensAreNeverAllowed) {
  const auto& tokenizer = open_vocabulary("qwen2");
  const auto trie = trie_of("qwen2");
  const auto mask = masks_of(R"({"type":"string"})", "qwen2")->start();
  mask->accept(*tokenizer.find("\""));
  const auto bits = allowed(*mask, *trie);
  size_t specials = 0;
  for (size_t id = 0; id < trie->vocabulary(); ++id) {
    if (!tokenizer.is_special(static_cast<TokenId>(id))) continue;
    ++specials;
    EXPECT_FALSE(has(bits, id)) << id;
  }
  EXPECT_GT(specials, 0u);
  for (const TokenId end : tokenizer.end_tokens()) EXPECT_FALSE(has(bits, end));
}

TEST(GrammarMasks, AForcedTokenThatIsNotAllowedEndsTheAnswer) {
  const auto masks = masks_of(R"({"type":"integer"})");
  const auto trie = trie_of(kSmall);
  const auto mask = masks->start();
  mask->accept(*open_vocabulary(kSmall).find("a"));
  EXPECT_FALSE(mask->may_end());
  const auto bits = allowed(*mask, *trie);
  EXPECT_TRUE(std::all_of(bits.begin(), bits.end(), [](uint32_t word) { return word == 0; }));
  mask->accept(-1);
  mask->accept(1 << 30);
  EXPECT_FALSE(mask->may_end());
}

TEST(GrammarMasks, RandomAnswersNeverStick) {
  for (const std::string vocabulary :
       {"minimind", "gguf/ggml-vocab-llama-spm.gguf", "gguf/ggml-vocab-phi-3.gguf", "llama3"}) {
    const auto trie = trie_of(vocabulary);
    std::mt19937 random(5);
    for (const char* schema :
         {kPerson, "true", R"({"type":"object"})",
          R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"array",
              "items":{"$ref":"#/$defs/n"},"minItems":1},"w":{"type":"null"}},
              "anyOf":[{"required":["v"]},{"required":["w"]}],"additionalProperties":false}}})"}) {
      const auto masks = GrammarMasks::make(Grammar::compile(schema).value(), trie);
      size_t complete = 0;
      for (int i = 0; i < 10; ++i) {
        const RandomAnswer answer = random_answer(*masks, *trie, random, 1000);
        EXPECT_FALSE(answer.is_stuck) << vocabulary << " " << schema << "\n" << answer.text;
        complete += answer.is_complete;
        if (answer.is_complete) {
          EXPECT_TRUE(masks->accepts(answer.text)) << answer.text;
          EXPECT_TRUE(nlohmann::json::accept(answer.text)) << answer.text;
        }
      }
      EXPECT_GT(complete, 5u) << vocabulary << " " << schema;
    }
  }
}

// More places than are kept: all is forgotten but where answers stand, and nothing changes.
TEST(GrammarMasks, ForgettingChangesNothing) {
  const auto trie = trie_of(kSmall);
  // As many states as characters.
  const auto masks = masks_of(R"({"type":"string","pattern":"^[a-z]*$","minLength":9000})");
  const TokenId quote = *open_vocabulary(kSmall).find("\"");
  const TokenId letter = *open_vocabulary(kSmall).find("a");
  const auto first = masks->start(), second = masks->start();
  first->accept(quote);
  const auto before = allowed(*first, *trie);
  second->accept(quote);
  for (int step = 0; step < 9000; ++step) {
    if (step % 100 == 0) {
      EXPECT_FALSE(has(allowed(*second, *trie), quote)) << step;
    }
    second->accept(letter);
  }
  EXPECT_TRUE(has(allowed(*second, *trie), quote));
  EXPECT_EQ(allowed(*first, *trie), before);

  // A string so long that each count of its characters is a place.
  const auto counted = masks_of(R"({"type":"string","minLength":6000,"maxLength":6010})");
  const auto early = counted->start(), late = counted->start();
  early->accept(quote);
  const auto at_quote = allowed(*early, *trie);
  late->accept(quote);
  for (int step = 0; step < 6000; ++step) {
    EXPECT_FALSE(has(allowed(*late, *trie), quote)) << step;
    late->accept(letter);
  }
  EXPECT_TRUE(has(allowed(*late, *trie), quote));
  EXPECT_EQ(allowed(*early, *trie), at_quote);
  late->accept(quote);
  EXPECT_TRUE(late->may_end());
}

TEST(StructuredOutput, KeepsTheLastGrammars) {
  const auto structured = StructuredOutput::open(open_vocabulary(kSmall)).value();
  EXPECT_FALSE(structured->mask({.parts = {{.schema = R"({"not":{}})"}}}));
  EXPECT_EQ(structured->grammars(), 0u);
  for (size_t i = 0; i < 2 * StructuredOutput::kGrammarsMax; ++i) {
    const std::string schema = "{\"const\":" + std::to_string(i) + "}";
    ASSERT_TRUE(structured->mask({.parts = {{.schema = schema}}}));
    ASSERT_TRUE(
        structured->mask({.parts = {{.schema = std::string(StructuredOutput::kAnyObject)}}}));
  }
  EXPECT_EQ(structured->grammars(), StructuredOutput::kGrammarsMax);
}

TEST(StructuredOutput, FreeTextComesFirstWhereAskedFor) {
  const auto& tokenizer = open_vocabulary(kSmall);
  const auto trie = trie_of(kSmall);
  const auto structured = StructuredOutput::open(tokenizer).value();
  const auto write = [&](TokenMask& mask, const std::string& text) {
    const auto tokens = tokenizer.encode(text, SpecialTokens::kAsText).value();
    for (const TokenId token : tokens) {
      EXPECT_TRUE(has(allowed(mask, *trie), token)) << text << ": " << trie->bytes(token);
      mask.accept(token);
    }
  };
  const auto mask =
      structured->mask({.parts = {{.schema = R"({"enum":["x",[1]]})"}}, .after = "</think>"})
          .value();
  write(*mask, "Let me think \"<</thin </");
  EXPECT_FALSE(mask->may_end());
  write(*mask, "</think>\n");
  EXPECT_FALSE(mask->may_end());
  EXPECT_FALSE(has(allowed(*mask, *trie), *tokenizer.find("a")));
  write(*mask, "[1]");
  EXPECT_TRUE(mask->may_end());
}

// A call of one of two functions, each with its own schema, as this template has it.
std::vector<GrammarPart> calls_in(std::string_view chat_template) {
  std::vector<GrammarPart> parts;
  for (const auto& [name, schema] :
       {std::pair{"add", R"({"$ref":"#/$defs/sum","$defs":{"sum":{"type":"object","properties":)"
                         R"({"a":{"type":"integer"}},"required":["a"]}}})"},
        std::pair{"add_up", R"({"type":"object","properties":{"list":{"type":"array","items":)"
                            R"({"$ref":"#/$defs/one"}}},"$defs":{"one":{"const":1}}})"}}) {
    const auto frame = call_frame(chat_template, name).value();
    parts.push_back({.schema = schema, .before = frame.before, .behind = frame.behind});
  }
  return parts;
}

constexpr const char* kFencedCalls = "'<｜tool▁calls▁begin｜>' ... '```json'";
constexpr const char* kBareCalls = "'<｜tool▁calls▁begin｜>' + name";

TEST(StructuredOutput, AToolCallHasItsFrame) {
  struct Case {
    const char *vocabulary, *chat_template, *call;
    bool marks_are_tokens;
  };
  // clang-format off
  const Case cases[] = {
      {"qwen2", "<tool_call>", "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 12}}\n</tool_call>", false},
      {"qwen2", "<tool_call>", "<tool_call>\n{\"name\": \"add_up\", \"arguments\": {\"list\": [1, 1]}}\n</tool_call>", false},
      {"deepseek-v3", kFencedCalls, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 12}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", true},
      {"deepseek-v3", kBareCalls, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add_up<｜tool▁sep｜>{\"list\": [1]}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", true},
      {"qwen2", kBareCalls, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", false},
  };
  // clang-format on
  for (const Case& c : cases) {
    SCOPED_TRACE(c.call);
    const auto& tokenizer = open_vocabulary(c.vocabulary);
    const auto trie = trie_of(c.vocabulary);
    const auto structured = StructuredOutput::open(tokenizer).value();
    const auto mask = structured->mask({.parts = calls_in(c.chat_template)}).value();
    const auto tokens = tokenizer.encode(c.call, SpecialTokens::kParsed).value();
    const auto is_mark = [&](TokenId token) {
      return ToolCallStream::is_mark(tokenizer.token_bytes(token));
    };
    EXPECT_EQ(std::ranges::any_of(tokens, is_mark), c.marks_are_tokens);
    for (const TokenId token : tokens) {
      EXPECT_FALSE(mask->may_end());
      const auto now = allowed(*mask, *trie);
      EXPECT_TRUE(has(now, token)) << trie->bytes(token);
      if (is_mark(token)) {
        uint32_t count = 0;
        for (const uint32_t word : now) count += static_cast<uint32_t>(std::popcount(word));
        EXPECT_EQ(count, 1u) << "a mark comes as its token and not in pieces";
      }
      mask->accept(token);
    }
    EXPECT_TRUE(mask->may_end());
    const auto behind = allowed(*mask, *trie);
    EXPECT_TRUE(std::ranges::all_of(behind, [](uint32_t word) { return word == 0; }));

    // What is handed out of it is the call.
    ToolCallStream stream(c.chat_template);
    ToolCallDelta delta = stream.push(c.call);
    EXPECT_EQ(delta.text, "");
    ASSERT_EQ(delta.calls.size(), 1u);
    EXPECT_TRUE(delta.calls[0].name.starts_with("add"));
  }
}

TEST(StructuredOutput, NoTextIsTakenForAMark) {
  const auto& tokenizer = open_vocabulary("deepseek-v3");
  const auto trie = trie_of("deepseek-v3");
  const auto structured = StructuredOutput::open(tokenizer).value();
  // Neither the name in pieces nor a mark within a string, as far as it is one token.
  const auto mask = structured->mask({.parts = calls_in(kBareCalls)}).value();
  EXPECT_FALSE(has(allowed(*mask, *trie), *tokenizer.find("<")));
  const auto string = structured->mask({.parts = {{.schema = R"({"type":"string"})"}}}).value();
  string->accept(*tokenizer.find("\""));
  EXPECT_FALSE(has(allowed(*string, *trie), *tokenizer.find("<｜tool▁sep｜>")));
  EXPECT_TRUE(has(allowed(*string, *trie), *tokenizer.find("<")));
  // A name with a mark in it is that text.
  EXPECT_EQ(trie->spelled("a<｜tool▁sep｜>b"), "a<｜tool▁sep｜>b");
  EXPECT_EQ(trie->spelled("\xFFno token\xFE"
                          "b"),
            "no tokenb");
  EXPECT_EQ(trie->spelled("a\xFF"), "a");
}

TEST(Grammar, PartsKeepTheirSchemasApart) {
  std::vector<GrammarPart> parts = calls_in(kBareCalls);
  ASSERT_TRUE(Grammar::compile(parts));
  parts[1].schema = R"({"$ref":"#/$defs/sum"})";  // which only the other has
  parts[1].owner = "the parameters of add_up: ";
  const auto wrong = Grammar::compile(parts);
  ASSERT_FALSE(wrong);
  EXPECT_TRUE(wrong.error().message.starts_with("the parameters of add_up: "))
      << wrong.error().message;
  parts[1].schema = R"({"enum":[]})";
  EXPECT_FALSE(Grammar::compile(parts)) << "a part without a value";
  parts[1].schema = "{\"description\":\"" + std::string(100 << 10, 'x') + "\"}";
  EXPECT_TRUE(Grammar::compile(parts));
  parts[0].schema = parts[1].schema;
  EXPECT_FALSE(Grammar::compile(parts)) << "limits are of all together";
}

double thread_ms() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

// Under 1% of a decode step of 20 ms, amortised, on a vocabulary of 152k: shown, and held to with
// room for a slow machine and sanitizers.
TEST(GrammarMasks, CostLittle) {
  struct Work {
    const char *name, *schema, *text;
  };
  const std::string lorem =
      "The quick brown fox said: \\\"jump\\\" over the lazy dog, and then \\n wandered off into "
      "the "
      "deep dark forest where nobody had been before; 你好，世界 and more.";
  const std::string person = R"({"name": "Ada Lovelace", "age": 36, "email": "ada.l@math.org", )"
                             R"("tags": ["red", "blue"], "born": "1815-12-10", "address": )"
                             R"({"street": "St James's Square 12", "zip": "10115"}, "notes": ")" +
                             lorem + "\"}";
  const std::string object =
      R"({"title": "x", "list": [1, 2, {"deep": {"a": [true, null]}}], "text": ")" + lorem + "\"}";
  const Work all[] = {{"person", kPerson, person.c_str()},
                      {"json_object", R"({"type":"object"})", object.c_str()}};
  for (const std::string vocabulary : {"qwen2", "deepseek-v3"}) {
    const auto& tokenizer = open_vocabulary(vocabulary);
    double start = thread_ms();
    const auto trie = TokenTrie::build(tokenizer).value();
    std::printf("%s: tree of %zu tokens %.0f ms, %zu nodes, %zu of them not plain\n",
                vocabulary.c_str(), trie->vocabulary(), thread_ms() - start, trie->all().size(),
                trie->not_plain().size());
    for (const Work& work : all) {
      start = thread_ms();
      const auto grammar = Grammar::compile(work.schema).value();
      const double compiled = thread_ms() - start;
      const auto masks = GrammarMasks::make(grammar, trie);
      const auto tokens = tokenizer.encode(work.text, SpecialTokens::kAsText).value();
      std::vector<uint32_t> bits(trie->words());
      double cold = 0, warm = 0, slowest = 0;
      for (int round = 0; round < 6; ++round) {
        const auto mask = masks->start();
        start = thread_ms();
        for (const TokenId token : tokens) {
          const double before = thread_ms();
          mask->allowed(bits);
          ASSERT_TRUE(has(bits, token)) << trie->bytes(token);
          mask->accept(token);
          slowest = std::max(slowest, thread_ms() - before);
        }
        EXPECT_TRUE(mask->may_end());
        (round == 0 ? cold : warm) += (thread_ms() - start) / static_cast<double>(tokens.size());
      }
      std::printf(
          "  %s: compiled in %.2f ms, %zu states; %zu tokens: %.4f ms a token in the first "
          "answer (slowest %.2f), %.4f in later ones\n",
          work.name, compiled, grammar->automaton().states(), tokens.size(), cold, slowest,
          warm / 5);
      EXPECT_LT(cold, 2.0);
      EXPECT_LT(warm / 5, 0.2);
    }
  }
}

}  // namespace
}  // namespace hadal::testing
