// Hostile templates: each ends quickly in a sentence, whatever it tries to use up.
#include <gtest/gtest.h>
#include <pthread.h>

#include <ctime>
#include <ostream>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/template/jinja_value.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

std::string repeated(std::string_view part, size_t times) {
  std::string text;
  for (size_t i = 0; i < times; i++) text += part;
  return text;
}

// The error's sentence, or "rendered".
std::string outcome(std::string_view source, const TemplateLimits& limits = {},
                    const TemplateInputs& inputs = {}) {
  const auto chat = ChatTemplate::parse(source, limits);
  if (!chat) return chat.error().message;
  const auto prompt = chat->render(inputs);
  return prompt ? "rendered" : prompt.error().message;
}

struct Attack {
  std::string name;
  std::string source;
  std::string sentence;  // part of the expected error
};

void PrintTo(const Attack& attack, std::ostream* out) {
  *out << attack.name;
}

std::vector<Attack> attacks() {
  const std::string macro_start = "{% macro m(x) %}";
  return {
      {"BracketTower", "{{ " + repeated("(", 100'000) + "1" + repeated(")", 100'000) + " }}",
       "nested too deeply"},
      {"ListTower", "{{ " + repeated("[", 100'000) + repeated("]", 100'000) + " }}",
       "nested too deeply"},
      {"DictTower", "{{ " + repeated("{1:", 50'000) + "1" + repeated("}", 50'000) + " }}",
       "nested too deeply"},
      {"MinusTower", "{{ " + repeated("- ", 100'000) + "1 }}", "nested too deeply"},
      {"PostfixTower", "{{ a" + repeated(".b", 100'000) + " }}", "nested too deeply"},
      {"SubscriptTower", "{{ a" + repeated("[0]", 50'000) + " }}", "nested too deeply"},
      {"CallTower", "{{ a" + repeated("()", 50'000) + " }}", "nested too deeply"},
      {"FilterTower", "{{ a" + repeated("|e", 100'000) + " }}", "nested too deeply"},
      {"TestTower", "{{ a" + repeated(" is not in x", 20'000) + " }}", "nested too deeply"},
      {"ElseTower", "{{ " + repeated("1 if 0 else ", 20'000) + "2 }}", "nested too deeply"},
      {"TargetTower", "{% set " + repeated("(", 100'000) + "x" + repeated(")", 100'000) + "= 1 %}",
       "nested too deeply"},
      {"IfTower", repeated("{% if 1 %}", 20'000), "nested too deeply"},
      {"MacroTower", repeated("{% macro m() %}", 10'000), "nested too deeply"},
      {"LongSource", repeated("x", 300 << 10), "has 307200 bytes (limit: 262144)"},
      {"TextTimesBillion", "{{ 'a' * 10**9 }}", "memory"},
      {"TextTimesOverflow", "{{ 'abc' * 9223372036854775807 }}", "memory"},
      {"ListTimesBillion", "{{ [0] * 10**9 }}", "memory"},
      {"RangeOfBillion", "{{ range(10**9)|list }}", "limit: 100000"},
      {"RangeOfEverything", "{{ range(-9223372036854775807, 9223372036854775807) }}", "limit"},
      {"Doubling",
       "{% set ns = namespace(s='a') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}"
       "{% endfor %}",
       "memory"},
      {"ReplaceDoubling",
       "{% set ns = namespace(s='a') %}{% for i in range(64) %}"
       "{% set ns.s = ns.s|replace('a', 'aa') %}{% endfor %}",
       "limit"},
      {"JoinDoubling",
       "{% set ns = namespace(s='ab') %}{% for i in range(64) %}"
       "{% set ns.s = ns.s.join([ns.s, ns.s]) %}{% endfor %}",
       "memory"},
      {"ListDoubling",
       "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}"
       "{% endfor %}",
       "memory"},
      {"BillionLaughsPrinted",
       "{% set ns = namespace(s='lol') %}{% for i in range(60) %}"
       "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
       "limit"},
      {"BillionLaughsAsJson",
       "{% set ns = namespace(s='lol') %}{% for i in range(60) %}"
       "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
       "limit"},
      {"BillionLaughsCompared",
       "{% set ns = namespace(s='lol', t='lol') %}{% for i in range(60) %}"
       "{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}"
       "{{ ns.s == ns.t }}",
       "too much work"},
      {"ListInListInList",
       "{% set ns = namespace(s=1) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}"
       "{% endfor %}",
       "too deeply"},
      {"LoopInLoopInLoop",
       "{% set ns = namespace(s=[1]) %}{% for i in range(100000) %}{% for x in [ns.s] %}"
       "{% set ns.s = loop %}{% endfor %}{% endfor %}",
       "too deeply"},
      {"MethodOfMethod",
       "{% set ns = namespace(s={}) %}{% for i in range(100000) %}"
       "{% set ns.s = {'a': ns.s.items} %}{% set ns.s = {'b': ns.s} %}{% endfor %}",
       "too deeply"},
      {"NamespaceInItselfPrinted", "{% set ns = namespace() %}{% set ns.s = [ns] %}{{ ns }}",
       "nested too deeply"},
      {"NamespaceFlood",
       "{% for a in range(100000) %}{% for b in range(100000) %}{% set n = namespace(x=1) %}"
       "{% endfor %}{% endfor %}",
       "limit"},
      {"LoopsInLoops",
       "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
       "too much work"},
      {"OutputFlood", "{% set s = 'x' * 1000000 %}{% for a in range(100000) %}{{ s }}{% endfor %}",
       "output is too long"},
      {"BlockFlood",
       "{% set s %}{% for a in range(100000) %}{{ 'x' * 1000000 }}{% endfor %}{% endset %}",
       "limit"},
      {"EndlessMacro", macro_start + "{{ m(x) }}{% endmacro %}{{ m(1) }}", "calls itself"},
      {"EndlessMacroInBlocks",
       macro_start + repeated("{% if 1 %}", 90) + "{{ m(x) }}" + repeated("{% endif %}", 90) +
           "{% endmacro %}{{ m(1) }}",
       "calls itself"},
      {"EndlessMacroInBrackets",
       macro_start + "{{ " + repeated("[", 90) + "m(x)" + repeated("]", 90) +
           " }}{% endmacro %}{{ m(1) }}",
       "calls itself"},
      {"EndlessMacroDefault", "{% macro m(x=m()) %}{% endmacro %}{{ m() }}", "calls itself"},
      {"EndlessCaller",
       "{% macro m() %}{{ caller() }}{% call m() %}x{% endcall %}{% endmacro %}"
       "{% call m() %}y{% endcall %}",
       "calls itself"},
      {"EndlessLoop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "calls itself"},
      {"BranchingMacro",
       "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
       "{{ m(60) }}",
       "too much work"},
      {"WideCall", "{% macro m() %}{{ varargs }}{% endmacro %}{{ m(*range(100000)) }}",
       "too many arguments (limit: 255)"},
      {"WidePadding", "{{ 'a'.center(10**12) }}", "memory"},
      {"WideZeros", "{{ 'a'.zfill(10**12) }}", "memory"},
      {"WideIndent", "{{ 'a\nb'|indent(10**12) }}", "memory"},
      {"IndentOfManyLines", "{{ ('\n' * 1000000)|indent(1000) }}", "memory"},
      {"WideFormat", "{{ '%1000000000d' % 1 }}", "too wide"},
      {"PreciseFormat", "{{ '%.1000000000f' % 1.5 }}", "digits (limit: 60)"},
      {"WideJson", "{{ [1]|tojson(indent=10**9) }}", "limit: 1000"},
      {"ManyParts", "{{ ('a,' * 10000000).split(',') }}", "memory"},
      {"ManyCharacters", "{{ ('a' * 10000000)|list }}", "memory"},
      {"ManySlices", "{{ [1]|slice(10**9)|list }}", "limit"},
      {"WideBatch", "{{ [1]|batch(10**9, 0)|list }}", "memory"},
      {"WidestBatch", "{{ [1]|batch(9223372036854775807, 0)|list }}", "memory"},
      {"SlowStrip",
       "{% set s = 'ab' * 1000000 %}{% for i in range(100000) %}{% set x = s.strip(s) %}"
       "{% endfor %}",
       "too much work"},
      {"SlowIndex",
       "{% set s = '好' * 1000000 %}{% for i in range(100000) %}{% set x = s[999999] %}"
       "{% endfor %}",
       "too much work"},
      {"SlowUnique", "{{ range(100000)|unique|list }}", "too much work"},
      {"SlowIn",
       "{% for i in range(100000) %}{% if i not in range(100000) %}{% endif %}{% endfor %}",
       "too much work"},
      {"JsonTower", "{{ ('[' * 100000 ~ ']' * 100000)|from_json }}", "nested too deeply"},
      {"JsonFlood", "{{ ('[' ~ '0,0,0,0,' * 1000000 ~ '0]')|from_json }}", "memory"},
      {"HugePower", "{{ 9 ** 9 ** 9 }}", "64 bits"},
      {"LongException", "{{ raise_exception('x' * 10000000) }}", "xxx"},
  };
}

// Two at most are usual. The sanitizers' build, which keeps assertions, takes up to thirty times as
// long.
#if defined(NDEBUG)
constexpr double kSecondsMax = 15;
#else
constexpr double kSecondsMax = 100;
#endif

class JinjaLimits : public testing::TestWithParam<Attack> {};

TEST_P(JinjaLimits, EndsInASentenceWithinSeconds) {
  // Time of this process, so that a busy machine does not matter.
  const std::clock_t start = std::clock();
  const std::string sentence = outcome(GetParam().source);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_NE(sentence.find(GetParam().sentence), std::string::npos) << sentence.substr(0, 300);
  EXPECT_LT(sentence.size(), 1500u);
  EXPECT_LT(seconds, kSecondsMax);
}

INSTANTIATE_TEST_SUITE_P(Attacks, JinjaLimits, testing::ValuesIn(attacks()),
                         [](const auto& info) { return info.param.name; });

TEST(JinjaLimits, AreTheOnesThatWereAskedFor) {
  const std::string loop = "{% for i in range(50) %}{{ i }}{% endfor %}";
  EXPECT_EQ(outcome(loop), "rendered");
  EXPECT_NE(outcome(loop, {.steps_max = 100}).find("(limit: 100 steps)"), std::string::npos);
  EXPECT_NE(outcome(loop, {.output_bytes_max = 89}).find("(limit: 89 bytes)"), std::string::npos);
  EXPECT_EQ(outcome(loop, {.output_bytes_max = 90}), "rendered");
  EXPECT_NE(outcome(loop, {.source_bytes_max = loop.size() - 1}).find("(limit: "),
            std::string::npos);
  EXPECT_NE(outcome("{{ [[[1]]] }}", {.value_depth_max = 2}).find("(limit: 2)"), std::string::npos);
  EXPECT_EQ(outcome("{{ [[[1]]] }}", {.value_depth_max = 3}), "rendered");
  EXPECT_NE(outcome("{{ ((((1)))) }}", {.nesting_max = 4}).find("(limit: 4)"), std::string::npos);
  EXPECT_NE(outcome("{{ [[[[1]]]] }}", {.depth_max = 4}).find("(limit: 4)"), std::string::npos);
  EXPECT_NE(outcome("{{ 'a' * 5000 }}", {.memory_bytes_max = 4000}).find("(limit: 4000 bytes"),
            std::string::npos);
}

// Long chains are flat, however many operators they have: real templates build long texts with "+".
TEST(JinjaLimits, DoNotHinderLongChains) {
  EXPECT_EQ(outcome("{{ 1" + repeated(" + 1", 20'000) + " }}"), "rendered");
  EXPECT_EQ(outcome("{{ 1" + repeated(" ~ 1", 20'000) + " }}"), "rendered");
  EXPECT_EQ(outcome("{{ 1" + repeated(" == 1", 20'000) + " }}"), "rendered");
  EXPECT_EQ(outcome("{{ 1" + repeated(" and 1", 20'000) + " }}"), "rendered");
  EXPECT_EQ(outcome("{{ " + repeated("not ", 20'000) + "1 }}"), "rendered");
  EXPECT_EQ(outcome("{% if 0 %}" + repeated("{% elif 0 %}x", 10'000) + "{% endif %}"), "rendered");
  EXPECT_EQ(outcome("{{ " + repeated("'a' ", 20'000) + " }}"), "rendered");
}

TEST(JinjaLimits, HoldForInputs) {
  Json deep = 1;
  for (int i = 0; i < 500; i++) deep = Json::array({std::move(deep)});
  EXPECT_NE(outcome("{{ messages }}", {}, {.messages = &deep}).find("nested too deeply"),
            std::string::npos);
}

// A long conversation is no attack: five hundred turns with tools, through a template that looks at
// all messages for each.
TEST(JinjaLimits, LeaveRoomForLongConversations) {
  Json messages = Json::array();
  for (int i = 0; i < 250; i++) {
    messages.push_back({{"role", "user"}, {"content", repeated("好 ", 1000)}});
    messages.push_back({{"role", "assistant"}, {"content", repeated("long ", 1000)}});
  }
  const std::string source =
      "{% for m in messages %}{% set at = loop.index0 %}"
      "{% for n in messages %}{% if n.role == 'user' and loop.index0 < at %}{% endif %}"
      "{% endfor %}{{ '<|' + m.role + '|>' + m.content.split('</x>')[-1].strip() }}{% endfor %}";
  EXPECT_EQ(outcome(source, {}, {.messages = &messages}), "rendered");
}

// Towers of calls fit the stack of a small thread.
TEST(JinjaLimits, FitASmallStack) {
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  constexpr size_t stack_bytes = 1 << 20;
#else
  constexpr size_t stack_bytes = 8 << 20;  // frames are larger there, and threads have that much
#endif
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  const auto run = [](void*) -> void* {
    for (const Attack& attack : attacks()) {
      const bool tower = attack.name.ends_with("Tower") || attack.name.starts_with("Endless");
      if (!tower) continue;
      EXPECT_NE(outcome(attack.source), "rendered");
    }
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, run, nullptr), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

}  // namespace
}  // namespace hadal
