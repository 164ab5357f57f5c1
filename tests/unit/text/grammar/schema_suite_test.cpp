// The official JSON-Schema-Test-Suite (draft 2020-12). For every schema hadal takes: no invalid
// instance is in the grammar, and every valid one is, but for those listed with their reason in
// policy.tsv (the grammar is narrower than the standard, as grammar.h says); what a model writes at
// random under the mask is valid. Every other schema is refused with the keyword's name.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "text/grammar/grammar_masks.h"
#include "unit/text/grammar/random_answer.h"
#include "unit/text/grammar/schema_validator.h"
#include "unit/text/tokenizer/tokenizer_data.h"

namespace hadal::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

// Keywords and forms that hadal refuses, as its messages name them.
const std::set<std::string> kRefused = {"'contains'",
                                        "'minContains'",
                                        "'maxContains'",
                                        "'dependentRequired'",
                                        "'dependentSchemas'",
                                        "'if'",
                                        "'then'",
                                        "'else'",
                                        "'maxProperties'",
                                        "'minProperties'",
                                        "'multipleOf'",
                                        "'not'",
                                        "'patternProperties'",
                                        "'propertyNames'",
                                        "'uniqueItems'",
                                        "'unevaluatedProperties'",
                                        "'$id'",
                                        "'unevaluatedItems'",
                                        "'$dynamicRef'",
                                        "$ref '",
                                        "this oneOf",
                                        "is not supported: ",
                                        "has more digits",
                                        "allows no value at all",
                                        "'foo'",
                                        "'regex' is not supported"};

struct Group {
  std::string file, description;
  OrderedJson schema;
  Json tests;
};

const std::vector<Group>& groups() {
  static const std::vector<Group> all = [] {
    std::vector<Group> found;
    const fs::path folder = fs::path(HADAL_TEST_DATA) / "text/json-schema/draft2020-12";
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.path().extension() != ".json") continue;
      const OrderedJson file = OrderedJson::parse(std::ifstream(entry.path()));
      for (const auto& group : file) {
        found.push_back({fs::relative(entry.path(), folder), group["description"], group["schema"],
                         Json::parse(group["tests"].dump())});
      }
    }
    std::sort(found.begin(), found.end(), [](const Group& a, const Group& b) {
      return std::tie(a.file, a.description) < std::tie(b.file, b.description);
    });
    return found;
  }();
  return all;
}

std::shared_ptr<const TokenTrie> trie_of(const std::string& name) {
  static std::map<std::string, std::shared_ptr<const TokenTrie>> tries;
  auto& trie = tries[name];
  if (trie == nullptr) trie = TokenTrie::build(open_vocabulary(name)).value();
  return trie;
}

// An instance as text, its properties in every order, up to a bound.
void for_each_text(const Json& value, const std::function<void(const std::string&)>& use) {
  if (value.is_array() && !value.empty()) {
    std::vector<std::string> texts = {"["};
    for (size_t i = 0; i < value.size(); ++i) {
      std::vector<std::string> longer;
      for_each_text(value[i], [&](const std::string& item) {
        for (const auto& text : texts) {
          if (longer.size() < 200) longer.push_back(text + (i > 0 ? "," : "") + item);
        }
      });
      texts = std::move(longer);
    }
    for (const auto& text : texts) use(text + "]");
  } else if (value.is_object() && !value.empty()) {
    std::vector<std::string> keys;
    for (const auto& [key, child] : value.items()) keys.push_back(key);
    int orders = 0;
    do {
      std::vector<std::string> texts = {"{"};
      for (size_t i = 0; i < keys.size(); ++i) {
        std::vector<std::string> longer;
        for_each_text(value[keys[i]], [&](const std::string& child) {
          for (const auto& text : texts) {
            if (longer.size() < 200) {
              longer.push_back(text + (i > 0 ? "," : "") + Json(keys[i]).dump() + ":" + child);
            }
          }
        });
        texts = std::move(longer);
      }
      for (const auto& text : texts) use(text + "}");
    } while (std::next_permutation(keys.begin(), keys.end()) && ++orders < 1000);
  } else {
    use(value.dump());
  }
}

bool is_written(GrammarMasks& masks, const Json& instance) {
  bool is_one = false;
  for_each_text(instance, [&](const std::string& text) { is_one = is_one || masks.accepts(text); });
  return is_one;
}

std::map<std::string, std::string> policy() {
  std::map<std::string, std::string> reasons;  // file, group, test -> reason
  std::ifstream list(fs::path(HADAL_TEST_DATA) / "text/json-schema/policy.tsv");
  for (std::string line; std::getline(list, line);) {
    const size_t tab = line.rfind('\t');
    reasons[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return reasons;
}

TEST(SchemaSuite, SchemasTakenAcceptWhatIsValidAndNothingElse) {
  const auto reasons = policy();
  std::set<std::string> used;
  size_t taken = 0, valid = 0, invalid = 0;
  for (const Group& group : groups()) {
    const auto grammar = Grammar::compile(group.schema.dump());
    if (!grammar) continue;
    ++taken;
    const auto masks = GrammarMasks::make(*grammar, trie_of("gguf/ggml-vocab-gpt-2.gguf"));
    for (const Json& test : group.tests) {
      const std::string name =
          group.file + "\t" + group.description + "\t" + test["description"].get<std::string>();
      const bool is_written_here = is_written(*masks, test["data"]);
      if (!test["valid"]) {
        ++invalid;
        EXPECT_FALSE(is_written_here) << name << ": " << test["data"];
      } else if (reasons.contains(name)) {
        used.insert(name);
        EXPECT_FALSE(is_written_here) << name << ": not an exception any more";
      } else {
        ++valid;
        EXPECT_TRUE(is_written_here) << name << "\t" << test["data"];
      }
    }
  }
  for (const auto& [name, reason] : reasons) EXPECT_TRUE(used.contains(name)) << name;
  std::printf(
      "%zu schemas taken; %zu valid instances accepted, %zu invalid ones rejected, %zu "
      "valid ones outside the policy\n",
      taken, valid, invalid, used.size());
  EXPECT_GT(taken, 100u);
}

TEST(SchemaSuite, OtherSchemasAreRefusedByName) {
  std::map<std::string, size_t> counts;
  for (const Group& group : groups()) {
    const auto grammar = Grammar::compile(group.schema.dump());
    if (grammar) continue;
    const std::string& message = grammar.error().message;
    const auto named = std::find_if(kRefused.begin(), kRefused.end(), [&](const auto& name) {
      return message.find(name) != std::string::npos;
    });
    EXPECT_NE(named, kRefused.end()) << group.file << ", " << group.description << ": " << message;
    if (named != kRefused.end()) ++counts[*named];
  }
  for (const auto& [name, count] : counts) std::printf("%s %zu, ", name.c_str(), count);
  std::printf("refused\n");
}

TEST(SchemaSuite, ValidatorAgreesWithTheSuite) {
  auto reasons = policy();
  for (const Group& group : groups()) {
    if (!Grammar::compile(group.schema.dump())) continue;
    const Json schema = Json::parse(group.schema.dump());
    for (const Json& test : group.tests) {
      // Nor does the validator know more of email, hostname and uri than the ordinary.
      const std::string name =
          group.file + "\t" + group.description + "\t" + test["description"].get<std::string>();
      if (reasons.contains(name) && reasons[name].starts_with("only ordinary")) continue;
      EXPECT_EQ(is_valid(test["data"], schema, schema), test["valid"].get<bool>())
          << group.file << ", " << group.description << ", " << test["description"];
    }
  }
}

TEST(SchemaSuite, RandomAnswersAreValid) {
  const std::string vocabularies_used[] = {"qwen2", "gguf/ggml-vocab-llama-spm.gguf"};
  size_t finished = 0, begun = 0;
  for (const auto& vocabulary : vocabularies_used) {
    const auto trie = trie_of(vocabulary);
    std::mt19937 random(7);
    for (const Group& group : groups()) {
      const auto grammar = Grammar::compile(group.schema.dump());
      if (!grammar) continue;
      const Json schema = Json::parse(group.schema.dump());
      const auto masks = GrammarMasks::make(*grammar, trie);
      for (int i = 0; i < 2; ++i) {
        ++begun;
        const RandomAnswer answer = random_answer(*masks, *trie, random, 300);
        if (!answer.is_complete) continue;
        ++finished;
        const Json value = Json::parse(answer.text, nullptr, /*allow_exceptions=*/false);
        ASSERT_FALSE(value.is_discarded()) << group.schema << "\n" << answer.text;
        ASSERT_TRUE(is_valid(value, schema, schema)) << group.schema << "\n" << answer.text;
      }
    }
  }
  std::printf("%zu of %zu random answers came to an end and are valid\n", finished, begun);
  EXPECT_GT(finished, begun * 95 / 100);
}

}  // namespace
}  // namespace hadal::testing
