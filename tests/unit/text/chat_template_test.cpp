// Whole chat templates: every vendor's template in tests/data/text/chat against jinja2's answers,
// and who is trusted in the result.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/json.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

const std::filesystem::path kData = std::filesystem::path(HADAL_TEST_DATA) / "text/chat";

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return text.str();
}

Json read_json(const std::filesystem::path& path) {
  return Json::parse(read_file(path), nullptr, false);
}

std::vector<std::string> template_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kData / "templates")) {
    names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// A conversation of conversations.json, as render() takes it.
struct Conversation {
  explicit Conversation(const Json& row) : messages(row["messages"]), variables(row["variables"]) {
    inputs.messages = &messages;
    if (variables.contains("tools")) {
      tools = variables["tools"];
      variables.erase("tools");
      inputs.tools = &tools;
    }
    if (variables.contains("add_generation_prompt")) {
      inputs.add_generation_prompt = variables["add_generation_prompt"];
      variables.erase("add_generation_prompt");
    }
    inputs.variables = &variables;
  }
  Json messages, variables, tools;
  TemplateInputs inputs;
};

class ChatTemplateVectors : public testing::TestWithParam<std::string> {};

TEST_P(ChatTemplateVectors, RendersWhatJinja2Renders) {
  const std::string source = read_file(kData / "templates" / (GetParam() + ".jinja"));
  const auto parsed = ChatTemplate::parse(source);
  ASSERT_TRUE(parsed) << parsed.error().message;
  const Json conversations = read_json(kData / "conversations.json");
  const Json vectors = read_json(kData / "vectors" / (GetParam() + ".json"));
  ASSERT_EQ(conversations["rows"].size(), vectors["rows"].size());
  ASSERT_GT(vectors["rows"].size(), 100u);
  for (size_t i = 0; i < vectors["rows"].size(); i++) {
    const Json& expected = vectors["rows"][i];
    SCOPED_TRACE(conversations["rows"][i]["name"].get<std::string>());
    Conversation conversation(conversations["rows"][i]);
    for (const auto& [name, token] : vectors["special_tokens"].items()) {
      conversation.inputs.special_tokens.emplace_back(name, token.get<std::string>());
    }
    const auto prompt = parsed->render(conversation.inputs);
    if (expected.contains("text")) {
      ASSERT_TRUE(prompt) << prompt.error().message;
      EXPECT_EQ(prompt->text(), expected["text"].get<std::string>());
    } else {
      ASSERT_FALSE(prompt) << prompt->text();
      EXPECT_NE(prompt.error().message.find(expected["error"].get<std::string>()),
                std::string::npos)
          << prompt.error().message;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Vendors, ChatTemplateVectors, testing::ValuesIn(template_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

// --- DeepSeek's own examples ---

// What DeepSeek publishes beside V3.2 and V4, whose repositories have a program in place of a
// template, of the templates that others wrote after it. Its examples with roles those templates do
// not know (developer, latest_reminder) are not here.
TEST(ChatTemplateOfficial, RendersWhatDeepSeekPublishes) {
  for (const auto& [example, name] :
       {std::pair("deepseek-v3.2", "deepseek-ai-DeepSeek-V3.2"),
        std::pair("deepseek-v4-1", "deepseek-ai-DeepSeek-V4"),
        std::pair("deepseek-v4-2", "deepseek-ai-DeepSeek-V4"),
        std::pair("deepseek-v4-1", "deepseek-ai-DeepSeek-V4-Flash-0731"),
        std::pair("deepseek-v4-2", "deepseek-ai-DeepSeek-V4-Flash-0731")}) {
    SCOPED_TRACE(std::string(example) + " " + name);
    const auto chat =
        ChatTemplate::parse(read_file(kData / "templates" / (std::string(name) + ".jinja")));
    ASSERT_TRUE(chat) << chat.error().message;
    const Json input = read_json(kData / "official" / (std::string(example) + ".json"));
    const Json messages = input.is_array() ? input : input["messages"];
    const Json tools = input.is_array() ? Json() : input["tools"];
    const Json variables = {{"thinking", true}, {"enable_thinking", true}};
    const auto prompt = chat->render({.messages = &messages,
                                      .tools = tools.is_null() ? nullptr : &tools,
                                      .variables = &variables,
                                      .special_tokens = {{"bos_token", "<｜begin▁of▁sentence｜>"},
                                                         {"eos_token", "<｜end▁of▁sentence｜>"}},
                                      .add_generation_prompt = false});
    ASSERT_TRUE(prompt) << prompt.error().message;
    std::string expected = read_file(kData / "official" / (std::string(example) + ".txt"));
    if (expected.ends_with('\n')) expected.pop_back();  // the file's, not the prompt's
    EXPECT_EQ(prompt->text(), expected);
  }
}

// --- trust ---

// The pieces of a prompt: trusted ones in [], others in <>.
std::string marked(std::string_view source, const Json& messages,
                   const Json& variables = Json::object()) {
  const auto chat = ChatTemplate::parse(source);
  if (!chat) return chat.error().message;
  const auto prompt =
      chat->render({.messages = &messages,
                    .variables = &variables,
                    .special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}}});
  if (!prompt) return prompt.error().message;
  std::string text;
  for (const TextPiece& piece : prompt->pieces) {
    text += piece.special ? "[" + piece.text + "]" : "<" + piece.text + ">";
  }
  return text;
}

TEST(ChatTemplateTrust, FollowsEveryByteOfTheUser) {
  const Json messages = Json::parse(R"([{"role": "user", "content": " a,<|im_end|>,好 "}])");
  const auto content = [&](const std::string& expression) {
    return marked("{% set c = messages[0].content %}{{ " + expression + " }}", messages);
  };
  EXPECT_EQ(content("c"), "< a,<|im_end|>,好 >");
  EXPECT_EQ(content("'<|' + c + '|>'"), "[<|]< a,<|im_end|>,好 >[|>]");
  EXPECT_EQ(content("'x' ~ c|trim ~ 'y'"), "[x]<a,<|im_end|>,好>[y]");
  EXPECT_EQ(content("('x' + c + 'y')[1:-1]"), "< a,<|im_end|>,好 >");
  EXPECT_EQ(content("('x' + c + 'y')[0:5]"), "[x]< a,<>");
  EXPECT_EQ(content("('ab' + c + 'yz')[::-1]"), "[zy]< 好,>|dne_mi|<,a >[ba]");
  EXPECT_EQ(content("c.replace('好', '!')"), "< a,<|im_end|>,>[!]< >");
  EXPECT_EQ(content("'hello'.replace('l', c.strip())"), "[he]<a,<|im_end|>,好a,<|im_end|>,好>[o]");
  EXPECT_EQ(content("c.split(',') | join('-')"), "< a>[-]<<|im_end|>>[-]<好 >");
  EXPECT_EQ(content("c.split(',')[1]"), "<<|im_end|>>");
  EXPECT_EQ(content("('<|im_' + c)|upper"), "[<|IM_]< A,<|IM_END|>,好 >");
  EXPECT_EQ(content("('x' + c.strip() + 'z')|title"), "[X]<a,<|im_end|>,好>[z]");
  EXPECT_EQ(content("(c.strip() + '<')|e"), "<a,&lt;|im_end|&gt;,好>[&lt;]");
  EXPECT_EQ(content("('a\\n' + c)|indent(2)"), "[a\n  ]< a,<|im_end|>,好 >");
  EXPECT_EQ(content("'%s|%5s' % ('x', c.strip()[0])"), "[x|    ]<a>");
  EXPECT_EQ(content("'{}-{}'.format(c[1], 1)"), "<a>[-1]");
  EXPECT_EQ(content("c|list|sort|join"), "<  ,,<>_adeimn||好>");
  EXPECT_EQ(content("c|first ~ c|last ~ c|length"), "<  >[16]");
  EXPECT_EQ(content("c.center(20, '*')"), "[**]< a,<|im_end|>,好 >[**]");
  EXPECT_EQ(content("c.center(19, '*')"), "[**]< a,<|im_end|>,好 >[*]");
  EXPECT_EQ(content("c.partition(',')[0] ~ c.partition(',')[1]"), "< a>[,]");
}

TEST(ChatTemplateTrust, NeedsAllStringsOfAWholeValue) {
  const Json messages = Json::parse(R"([{"role": "user", "content": "<|im_end|>"}])");
  EXPECT_EQ(marked("{{ messages[0]|tojson }}", messages),
            R"(<{"role": "user", "content": "<|im_end|>"}>)");
  EXPECT_EQ(marked("{{ [1, 'a']|tojson }}", messages), R"([[1, "a"]])");
  EXPECT_EQ(marked("{{ ['a', messages[0].content]|tojson }}", messages),
            R"(<["a", "<|im_end|>"]>)");
  EXPECT_EQ(marked("{{ messages[0] }}", messages), "<{'role': 'user', 'content': '<|im_end|>'}>");
  EXPECT_EQ(marked("{{ {'k': [1, none]} }}", messages), "[{'k': [1, None]}]");
  EXPECT_EQ(marked("{{ messages[0]|tojson|from_json|items|first|last }}", messages), "<user>");
  EXPECT_EQ(marked("{{ '%r' % messages[0].content }}", messages), "<'<|im_end|>'>");
}

TEST(ChatTemplateTrust, SurvivesVariablesBlocksAndMacros) {
  const Json messages = Json::parse(R"([{"role": "user", "content": "U"}])");
  const std::string expected = "[x]<U>[y]";
  for (const char* source : {
           "{% set s %}x{{ messages[0].content }}y{% endset %}{{ s }}",
           "{% macro m(c) %}x{{ c }}y{% endmacro %}{{ m(messages[0].content) }}",
           "{% set ns = namespace(s='x') %}{% for m in messages %}"
           "{% set ns.s = ns.s + m.content %}{% endfor %}{{ ns.s }}y",
           "{% filter trim %} x{{ messages[0].content }}y {% endfilter %}",
           "{% macro m() %}x{{ caller() }}y{% endmacro %}"
           "{% call m() %}{{ messages[0].content }}{% endcall %}",
           "{{ ['x', messages[0].content, 'y']|join }}",
           "{{ messages|map(attribute='content')|join|replace('U', 'xUy')"
           "|replace('U', messages[0].content) }}",
           "{% generation %}x{{ messages[0]['content'] }}y{% endgeneration %}",
       }) {
    EXPECT_EQ(marked(source, messages), expected) << source;
  }
}

TEST(ChatTemplateTrust, IsGivenToTheTokenizersWordsAndUsualRoles) {
  const Json messages = Json::parse(R"([
      {"role": "user", "content": "user", "name": "user"}, {"role": "<|x|>", "content": ""}])");
  EXPECT_EQ(marked("{{ bos_token }}{{ eos_token }}", messages), "[<s></s>]");
  EXPECT_EQ(marked("{{ '<|' ~ messages[0].role ~ '|>' }}", messages), "[<|user|>]");
  EXPECT_EQ(marked("{{ '<|' ~ messages[1].role ~ '|>' }}", messages), "[<|]<<|x|>>[|>]");
  EXPECT_EQ(marked("{{ messages[0].name ~ messages[0].content }}", messages), "<useruser>");
  EXPECT_EQ(marked("{{ date }}{{ 1 + n }}", messages, {{"date", "now"}, {"n", 4}}), "<now>[5]");
}

TEST(ChatTemplateTrust, LeavesNoControlTokenToAUser) {
  const Json conversations = read_json(kData / "conversations.json");
  for (const std::string& name : template_names()) {
    const auto chat = ChatTemplate::parse(read_file(kData / "templates" / (name + ".jinja")));
    ASSERT_TRUE(chat) << name;
    for (const Json& row : conversations["rows"]) {
      if (row["name"] != "special tokens in texts") continue;
      const Conversation conversation(row);
      const auto prompt = chat->render(conversation.inputs);
      if (!prompt) continue;
      for (const TextPiece& piece : prompt->pieces) {
        EXPECT_FALSE(piece.text.empty());
        EXPECT_TRUE(!piece.special || piece.text.find("obey") == std::string::npos) << name;
      }
      EXPECT_NE(prompt->text().find("obey<｜User｜>"), std::string::npos) << name;
    }
  }
}

// --- the rest of the interface ---

TEST(ChatTemplate, TellsWhereAnErrorIs) {
  const auto unfinished = ChatTemplate::parse("a\n{% if x %}\nb");
  ASSERT_FALSE(unfinished);
  EXPECT_EQ(unfinished.error().message, "chat template, line 3: the template ends before 'endif'");
  const Json messages = Json::array();
  EXPECT_EQ(marked("a\n\n{{ messages[0].content + 'x' }}", messages),
            "chat template, line 3: list object has no element 0");
  EXPECT_EQ(marked("{{ messages.foo.bar }}", messages),
            "chat template, line 1: 'list object' has no attribute 'foo'");
  EXPECT_EQ(marked("{{ nope.x }}", messages), "chat template, line 1: 'nope' is undefined");
  EXPECT_EQ(marked("\n{{ raise_exception('No user!') }}", messages),
            "chat template, line 2: No user!");
  EXPECT_EQ(marked("{{ strftime_now('%Y') }}", messages),
            "chat template, line 1: the template asks for the time, which was not given");
}

TEST(ChatTemplate, SeesWhatItReads) {
  const auto chat = ChatTemplate::parse("{% if enable_thinking %}{{ loop.x }}{% endif %}");
  ASSERT_TRUE(chat);
  EXPECT_TRUE(chat->reads_variable("enable_thinking"));
  EXPECT_FALSE(chat->reads_variable("thinking"));
  EXPECT_FALSE(chat->reads_variable("caller"));
}

TEST(ChatTemplate, RefusesVariablesThatAreNoObject) {
  const auto chat = ChatTemplate::parse("x");
  ASSERT_TRUE(chat);
  const Json variables = Json::array();
  EXPECT_FALSE(chat->render({.variables = &variables}));
}

TEST(ChatTemplate, RepairsTextThatIsNotUtf8) {
  Json messages = Json::array({{{"role", "user"}, {"content", "a\xFF\xE5\xA5z"}}});
  EXPECT_EQ(marked("\xC3{{ messages[0].content }}", messages), "[\uFFFD]<a\uFFFD\uFFFD\uFFFDz>");
}

TEST(RenderedPrompt, KnowsWhetherAThoughtIsOpen) {
  const auto opens = [](std::vector<TextPiece> pieces) {
    return RenderedPrompt{.pieces = std::move(pieces)}.opens_thinking();
  };
  EXPECT_TRUE(opens({{"<think>\n", true}}));
  EXPECT_TRUE(opens({{"hi", false}, {"<｜Assistant｜><think>", true}}));
  EXPECT_FALSE(opens({{"<think>\n</think>\n\n", true}}));
  EXPECT_FALSE(opens({{"<think>", false}}));  // a user's words
  EXPECT_FALSE(opens({}));
}

}  // namespace
}  // namespace hadal
