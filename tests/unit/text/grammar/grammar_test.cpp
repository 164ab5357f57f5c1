// What Grammar promises: which texts a schema allows, which schemas are refused and how, and that a
// hostile schema ends at a limit.
#include "text/grammar/grammar.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "text/grammar/grammar_walk.h"

namespace hadal {
namespace {

std::shared_ptr<const Grammar> grammar_of(const std::string& schema) {
  auto grammar = Grammar::compile(schema);
  EXPECT_TRUE(grammar) << schema << ": " << (grammar ? "" : grammar.error().message);
  return grammar ? *grammar : nullptr;
}

bool accepts(const Grammar& grammar, std::string_view text) {
  GrammarWalk walk(grammar.automaton());
  GrammarWalk::Place place = walk.start();
  for (const char byte : text) place = walk.next(place, static_cast<uint8_t>(byte));
  return walk.may_end(place);
}

struct Case {
  const char* schema;
  std::vector<std::string> yes, no;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const auto grammar = grammar_of(c.schema);
    if (!grammar) continue;
    for (const auto& text : c.yes) EXPECT_TRUE(accepts(*grammar, text)) << c.schema << " " << text;
    for (const auto& text : c.no) EXPECT_FALSE(accepts(*grammar, text)) << c.schema << " " << text;
  }
}

std::string refusal(const std::string& schema, const GrammarLimits& limits = {}) {
  const auto grammar = Grammar::compile(schema, limits);
  return grammar ? "taken" : grammar.error().message;
}

TEST(Grammar, AnyObject) {
  const auto grammar = Grammar::any_object();
  ASSERT_TRUE(grammar);
  for (const char* text :
       {"{}", R"({"a":1})", R"({"a": [1, -2.5e+3, "x\n\u00e9", null, {"b": {}}]})",
        R"({"é😀":"\ud83d\ude00"})"}) {
    EXPECT_TRUE(accepts(**grammar, text)) << text;
  }
  for (const char* text : {"",
                           "[]",
                           "{",
                           " {}",
                           "{} ",
                           R"({"a":  1})",
                           R"({"a":01})",
                           R"({"a":1,})",
                           R"({a:1})",
                           R"({"a":"\ud83d"})",
                           R"({"a":"\ude00"})",
                           R"({"a":"\x"})",
                           "{\"a\":\"\n\"}",
                           "{\"a\":\"\xC0\x80\"}",
                           "{\"a\":\"\xED\xA0\x80\"}",
                           "{\"a\":\"\xF5\x80\x80\x80\"}",
                           R"({"a":+1})",
                           R"({"a":.5})",
                           R"({"a":1.})",
                           R"({"a":nul})"}) {
    EXPECT_FALSE(accepts(**grammar, text)) << text;
  }
}

TEST(Grammar, DepthOfTheAnswerIsBounded) {
  const auto grammar = grammar_of("true");
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(accepts(*grammar, nested(Grammar::kAnswerDepthMax)));
  EXPECT_TRUE(accepts(*grammar, nested(Grammar::kAnswerDepthMax + 1)));
  EXPECT_FALSE(accepts(*grammar, nested(Grammar::kAnswerDepthMax + 2)));
}

TEST(Grammar, Objects) {
  check({
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},
          "c":{"type":"null"}},"required":["b"],"additionalProperties":false})",
       {R"({"b":""})", R"({"a": 1, "b": "x"})", R"({"a":1,"b":"x","c":null})",
        R"({"b":"","c":null})"},
       {"{}", R"({"a":1})", R"({"b":"","a":1})", R"({"b":"","d":1})", R"({"b":"",})",
        R"({"b":"","b":""})"}},
      {R"({"properties":{"ab":{"type":"integer"},"é":{}},"additionalProperties":{"type":"null"}})",
       {"{}", R"({"ab":1})", R"({"a":null})", R"({"ab":1,"abc":null,"è":null,"":null})",
        R"({"é":1,"éé":null})"},
       {R"({"ab":null})", R"({"x":null,"ab":1})", R"({"x":1})", R"({"é":null,"é":null})"}},
      {R"({"properties":{"a":{}}})", {"{}", R"({"a":[1]})"}, {R"({"b":1})", "1"}},
      {R"({"type":"object","required":["x"]})", {R"({"x":1})", R"({"x":1,"y":2})"}, {"{}"}},
      {R"({"properties":{"a":false,"b":{}}})", {"{}", R"({"b":1})"}, {R"({"a":1})"}},
      {R"({"properties":{"a\"\n":{"const":1}}})", {R"({"a\"\n":1})"}, {R"({"a":1})"}},
  });
}

TEST(Grammar, Lists) {
  check({
      {R"({"items":{"type":"integer"}})", {"[]", "[1]", "[1, 2,3]"}, {"[1,]", "[\"\"]", "[,1]"}},
      {R"({"items":{"const":1},"minItems":2,"maxItems":3})",
       {"[1,1]", "[1,1,1]"},
       {"[]", "[1]", "[1,1,1,1]"}},
      {R"({"items":{"const":1},"minItems":2})", {"[1,1]", "[1,1,1,1,1]"}, {"[1]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}]})", {"[]", "[1]", "[1,2]"}, {"[2]", "[1,2,3]"}},
      {R"({"prefixItems":[{"const":1}],"items":{"const":0}})", {"[1,0,0]", "[]"}, {"[0]", "[1,1]"}},
      {R"({"prefixItems":[{"const":1}],"minItems":2})", {"[1,{}]"}, {"[1]", "[1,2,3]"}},
      {R"({"items":[{"const":1}],"additionalItems":{"const":0}})", {"[1,0]"}, {"[1,1]"}},
      {R"({"items":false})", {"[]"}, {"[1]"}},
      {R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
  });
}

TEST(Grammar, Numbers) {
  check({
      {R"({"type":"integer"})",
       {"0", "-1", "123456789012345678"},
       {"-0", "00", "1.0", "1e3", "1234567890123456789"}},
      {R"({"type":"number"})", {"0", "0.5", "-0.25", "1e-10", "1.5E+10"}, {"1e100", "1.", ".1"}},
      {R"({"type":"integer","minimum":-12,"maximum":105})",
       {"-12", "-9", "-1", "0", "7", "99", "100", "105"},
       {"-13", "-20", "-100", "106", "110", "200", "1000"}},
      {R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":10})",
       {"1", "9"},
       {"0", "10", "-1"}},
      {R"({"type":"integer","minimum":1.5,"maximum":3.5})", {"2", "3"}, {"1", "4"}},
      {R"({"type":"number","minimum":-1.25,"exclusiveMaximum":2.5})",
       {"-1.25", "-1.250", "-1.2", "-0.1", "0", "2", "2.4999", "2.0"},
       {"-1.26", "-2", "2.5", "2.50", "2.6", "3", "1e0", "10"}},
      {R"({"type":"number","exclusiveMinimum":5})", {"5.01", "6", "10"}, {"5", "5.0", "4.9", "-6"}},
      {R"({"type":"number","maximum":-0.5})", {"-0.5", "-1", "-100"}, {"-0.4", "0", "0.5", "-0"}},
      {R"({"minimum":100})", {"100", "999.5"}, {"99", "\"\"", "-100"}},
  });
}

TEST(Grammar, Strings) {
  check({
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("é\n😀")", R"("\ud83d\ude00a")"},
       {R"("a")", R"("abcd")", R"("\ud83d\ude00")", R"("")"}},
      {R"({"type":"string","minLength":2})", {R"("ab")", R"("abcdefgh")"}, {R"("a")"}},
      {R"({"pattern":"^[a-c]+\\d$"})", {R"("abc1")"}, {R"("1")", R"("abc1 ")", R"("xab1")"}},
      {R"({"pattern":"b"})", {R"("abc")", R"("\"b")"}, {R"("ac")", R"("\u0062")"}},
      {R"({"pattern":"^.\\n?$","maxLength":1})",
       {R"("a")", R"("\"")", R"("\\")", R"("é")"},
       {R"("")", R"("a\n")", R"(""")"}},
      {R"({"pattern":"^a*$","minLength":2,"maxLength":4})",
       {R"("aa")", R"("aaaa")"},
       {R"("a")", R"("aaaaa")", R"("ab")"}},
      {R"({"allOf":[{"pattern":"^a"},{"pattern":"z$"}]})",
       {R"("az")", R"("abz")"},
       {R"("a")", R"("za")"}},
      {R"({"format":"date"})",
       {R"("2024-02-29")", R"("2023-12-31")"},
       {R"("2023-02-29")", R"("2023-04-31")", R"("1900-02-29")", R"("2023-13-01")"}},
      {R"({"format":"uuid"})", {R"("01234567-89ab-cDEF-0123-456789abcdef")"}, {R"("0123")"}},
      {"{\"pattern\":\"^\\u0001$\"}", {R"("\u0001")"}, {"\"\x01\""}},
  });
}

TEST(Grammar, ValuesAndAlternatives) {
  check({
      {R"({"enum":["a",1,null,[1,{"b":2}]]})",
       {R"("a")", "1", "null", R"([1,{"b":2}])"},
       {"2", "\"b\""}},
      {R"({"type":"string","enum":["a",1]})", {R"("a")"}, {"1"}},
      {R"({"enum":[1,5,9],"minimum":2,"allOf":[{"enum":[5.0,9,10]}]})", {"5", "9"}, {"1", "10"}},
      {R"({"type":["integer","null"]})", {"1", "null"}, {"\"\""}},
      {R"({"type":"integer","nullable":true})", {"1", "null"}, {"\"\""}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}],"description":"x"})",
       {"1", "\"a\""},
       {"\"ab\"", "null"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"}},"anyOf":[{"required":["a"]},
          {"properties":{"b":{"const":1}},"required":["b"]}]})",
       {R"({"a":1})", R"({"a":1,"b":1})", R"({"b":1})"},
       {"{}", R"({"b":2})"}},
      {R"({"oneOf":[{"properties":{"k":{"const":"x"},"v":{"type":"integer"}},"required":["k","v"]},
          {"properties":{"k":{"const":"y"},"w":{"type":"null"}},"required":["k","w"]}]})",
       {R"({"k":"x","v":1})", R"({"k":"y","w":null})"},
       {R"({"k":"x","w":null})", R"({"k":"z","v":1})"}},
      {R"({"allOf":[{"properties":{"a":{"type":"number"}}},
          {"properties":{"a":{"minimum":3},"b":{}},"required":["b"]}]})",
       {R"({"a":3,"b":1})", R"({"b":1})"},
       {R"({"a":2,"b":1})", R"({"a":3})"}},
  });
}

TEST(Grammar, References) {
  check({
      {R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{
          "value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},
          "required":["value","next"]}}})",
       {R"({"value":1,"next":null})", R"({"value":1,"next":{"value":2,"next":null}})"},
       {R"({"value":1})", R"({"value":1,"next":1})"}},
      {R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]"}},
      {R"({"$defs":{"a b/~":{"const":7}},"$ref":"#/$defs/a%20b~1~0"})", {"7"}, {"8"}},
      {R"({"properties":{"x":{"$ref":"#/properties/y","maximum":5},"y":{"type":"integer"}}})",
       {R"({"x":5,"y":6})"},
       {R"({"x":6})"}},
  });
}

TEST(Grammar, RefusalsNameKeywordAndPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties":{"a/b":{"not":{}}}})", "#/properties/a~1b: the keyword 'not'"},
      {R"({"items":{"uniqueItems":true}})", "#/items: the keyword 'uniqueItems'"},
      {R"({"type":"object","minProperties":1})", "#: the keyword 'minProperties'"},
      {R"({"patternProperties":{}})", "'patternProperties'"},
      {R"({"multipleOf":3})", "'multipleOf'"},
      {R"({"if":{}})", "'if'"},
      {R"({"optional":true})", "'optional'"},
      {R"({"format":"idn-email"})", "#: the format 'idn-email' is not supported; these are: date"},
      {R"j({"pattern":"(?=a)"})j", "looking ahead"},
      {R"({"pattern":"(a)\\1"})", "\\1"},
      {R"({"pattern":"\\bword"})", "\\b"},
      {R"({"pattern":"\\p{L}"})", "\\p"},
      {R"({"pattern":"a{1000}"})", "repetitions"},
      {R"({"pattern":"("})", "without its )"},
      {R"({"pattern":1})", "pattern must be a string"},
      {R"({"$ref":"http://example.com/x"})", "only \"#\""},
      {R"({"$ref":"#/$defs/none"})", "there is nothing"},
      {R"({"$ref":"#"})", "leads back to itself"},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", "leads back to itself"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "#/oneOf: two branches"},
      {R"({"type":"text"})", "#: type must be"},
      {R"({"type":"string","minLength":-1})", "minLength must be a whole number"},
      {R"({"minimum":"1"})", "minimum must be a number"},
      {R"({"minimum":1e30})", "digits"},
      {R"({"required":"a"})", "required must be a list"},
      {R"({"properties":{"a":1}})", "#/properties/a: a schema is an object"},
      {R"({"enum":1})", "enum must be a list"},
      {R"({"anyOf":[]})", "anyOf must be a list"},
      {"false", "allows no value"},
      {R"({"type":"string","minLength":3,"maxLength":2})", "allows no value"},
      {R"({"type":"integer","minimum":3,"maximum":2})", "allows no value"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "allows no value"},
      {R"({"type":"object","required":["a"],"additionalProperties":false})", "allows no value"},
      {R"({"type":"string","enum":[1]})", "allows no value"},
      {R"({"a":1,"a":2})", "twice"},
      {"{", "not valid JSON"},
      {"", "not valid JSON"},
      {"\xff", "not valid JSON"},
  };
  for (const auto& [schema, message] : cases) {
    EXPECT_NE(refusal(schema).find(message), std::string::npos)
        << schema << ": " << refusal(schema);
  }
}

std::string repeated(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

std::string listed(size_t count, const std::function<std::string(size_t)>& item) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += (i > 0 ? "," : "") + item(i);
  return all;
}

TEST(Grammar, EachLimitHolds) {
  const auto number = [](size_t i) { return std::to_string(i); };
  const std::pair<std::string, const char*> cases[] = {
      {"\"" + std::string(128 << 10, 'x') + "\"", "bytes; the limit"},
      {repeated("{\"items\":", 50) + "{}" + repeated("}", 50), "nested deeper"},
      {"{\"properties\":{" +
           listed(513, [](size_t i) { return "\"p" + std::to_string(i) + "\":{}"; }) + "}}",
       "more than 512 keys"},
      {"{\"enum\":[" + listed(1025, number) + "]}", "enum has 1025 values"},
      {"{\"anyOf\":[" + listed(129, [](size_t) { return "{}"; }) + "]}",
       "more than 128 alternatives, which"},
      {"{\"allOf\":[" +
           listed(8, [](size_t) { return R"({"anyOf":[{"type":"null"},{"minimum":1}]})"; }) + "]}",
       "together give more than 128 alternatives"},
      {"{\"allOf\":[" + listed(65, [](size_t) { return R"({"anyOf":[{}]})"; }) + "]}",
       "more than 64 anyOf and oneOf"},
      {R"({"items":{},"maxItems":1025})", "maxItems is 1025; the limit is 1024"},
      {R"({"minLength":3000000000})", "minLength is 3000000000; the limit"},
      {"{\"pattern\":\"" + std::string(1025, 'x') + "\"}", "1025 bytes"},
      {R"({"pattern":"a{513}"})", "more than 512 repetitions"},
      {"{\"pattern\":\"" + repeated("(", 40) + repeated(")", 40) + "\"}", "groups more than"},
      {R"({"pattern":"((a{512}){512}){512}"})", "limit"},
      {R"({"pattern":"^(.*a.{20}b)$"})", "limit"},
      {"{\"$ref\":\"#/$defs/0\",\"$defs\":{" +
           listed(300,
                  [](size_t i) {
                    return fmt::format("\"{}\":{{\"$ref\":\"#/$defs/{}\"}}", i, i + 1);
                  }) +
           ",\"300\":{}}}",
       "references and alternatives in a row"},
      {"{\"$ref\":\"#/$defs/0\",\"$defs\":{" +
           listed(
               100,
               [](size_t i) {
                 return fmt::format(
                     R"("{}":{{"enum":[{{"a":{{}}}}],"properties":{{"a":{{"$ref":"#/$defs/{}"}}}}}})",
                     i, i + 1);
               }) +
           ",\"100\":{}}}",
       "within each other"},
      {"{\"pattern\":\"^[a-z]{9}$\",\"maxLength\":2000000000,\"minLength\":2000000000}",
       "allows no value"},
  };
  for (const auto& [schema, message] : cases) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string refused = refusal(schema);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_NE(refused.find(message), std::string::npos) << schema.substr(0, 100) << ": " << refused;
    EXPECT_LT(took.count(), 10) << schema.substr(0, 100);
  }
  const std::string schema = R"({"properties":{"a":{"type":"integer"},"b":{"type":"null"}}})";
  EXPECT_EQ(refusal(schema), "taken");
  EXPECT_NE(refusal(schema, {.rules_max = 2}).find("more than 2 different values"),
            std::string::npos);
  EXPECT_NE(refusal(schema, {.states_max = 20}).find("more than 20 states"), std::string::npos);
  EXPECT_NE(refusal(schema, {.work_max = 100}).find("too much work"), std::string::npos);
}

TEST(Grammar, LargeButHonestSchemasAreTaken) {
  EXPECT_EQ(refusal("{\"properties\":{" +
                    listed(200,
                           [](size_t i) {
                             return fmt::format(R"("property_{}":{{"type":"string"}})", i);
                           }) +
                    "},\"additionalProperties\":false}"),
            "taken");
  EXPECT_EQ(refusal("{\"enum\":[" +
                    listed(1000, [](size_t i) { return fmt::format("\"value {}\"", i); }) + "]}"),
            "taken");
  EXPECT_EQ(refusal(R"({"items":{"type":"integer","minimum":0,"maximum":255},"maxItems":1024})"),
            "taken");
}

}  // namespace
}  // namespace hadal
