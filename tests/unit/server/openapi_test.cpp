// The document says what the server does: every route, every table, and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/json.h"
#include "server/limits.h"
#include "server/openapi/document.h"
#include "server/server.h"

namespace hadal {
namespace {

// The document as the server itself answers with it, and the routes it has.
class OpenApi : public testing::Test {
 protected:
  OpenApi() : server_(Server::open({.http = {.port = 0}}).value()) {}

  const std::vector<Route>& routes() { return server_->http().router().routes(); }
  Json document() {
    const auto route = std::ranges::find(routes(), "/openapi.json", &Route::path);
    auto outbox = std::make_shared<Outbox>(Outbox::Options{}, [] {});
    route->handler({.method = "GET"}, std::make_shared<Exchange>(outbox, WebReply{.status = 500}));
    std::string bytes;
    EXPECT_TRUE(outbox->take(bytes));
    return Json::parse(bytes.substr(bytes.find("\r\n\r\n") + 4));
  }

  std::unique_ptr<Server> server_;
};

std::set<std::string> references(const Json& value) {
  std::set<std::string> found;
  for (const auto& [key, inner] : value.items()) {
    if (key == "$ref") {
      const auto name = inner.get<std::string>();
      found.insert(name.substr(name.rfind('/') + 1));
    } else if (inner.is_structured()) {
      found.merge(references(inner));
    }
  }
  return found;
}

TEST_F(OpenApi, HasEveryRouteAndNoOther) {
  const Json document = this->document();
  std::set<std::string> written, there;
  for (const auto& [path, operations] : document["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      written.insert(method + " " + path.substr(0, path.find('{')));
      EXPECT_EQ(path.find('{') != std::string::npos, operation.contains("parameters")) << path;
      EXPECT_FALSE(operation["summary"].get<std::string>().empty()) << path;
      EXPECT_FALSE(operation["tags"][0].get<std::string>().empty()) << path;
      EXPECT_EQ(method == "post", operation.contains("requestBody")) << path;
      EXPECT_TRUE(operation["responses"].contains("200")) << path;
    }
  }
  for (const Route& route : routes()) {
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    there.insert(method + " " + route.path.substr(0, route.path.find('*')));
  }
  EXPECT_EQ(written, there);
}

TEST_F(OpenApi, AsksForAKeyWhereTheServerDoes) {
  const Json document = this->document();
  for (const Route& route : routes()) {
    if (route.path.ends_with('*')) continue;
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    const Json& operation = document["paths"][route.path][method];
    const bool open = operation.contains("security") && operation["security"].empty();
    EXPECT_EQ(open, route.access == Access::kOpen) << route.path;
    EXPECT_EQ(operation["responses"].contains("401"), !open) << route.path;
  }
}

TEST_F(OpenApi, EveryNameLeadsSomewhereAndNoneIsIdle) {
  const Json document = this->document();
  const Json& schemas = document["components"]["schemas"];
  std::set<std::string> defined;
  for (const auto& [name, schema] : schemas.items()) defined.insert(name);
  EXPECT_EQ(references(document), defined);
}

TEST_F(OpenApi, HasEveryTable) {
  const Json document = this->document();
  const Json& schemas = document["components"]["schemas"];
  for (const FieldForm& form : all_forms()) {
    const Json& schema = schemas[form.name];
    ASSERT_EQ(schema["properties"].size(), form.fields.size()) << form.name;
    EXPECT_EQ(schema["additionalProperties"].dump(), R"({"type":"null"})") << form.name;
    for (const FieldShape& field : form.fields) {
      const Json& value = schema["properties"][field.name];
      if (field.type != FieldType::kNumber && field.type != FieldType::kWhole) continue;
      EXPECT_EQ(value["minimum"].get<double>(), field.least) << form.name << " " << field.name;
      EXPECT_EQ(value["maximum"].get<double>(), field.most) << form.name << " " << field.name;
    }
    for (const std::string& name : form.required) {
      EXPECT_TRUE(schema["properties"].contains(name)) << form.name << " " << name;
    }
  }
  const Json& chat = schemas["OpenAiChatRequest"]["properties"];
  EXPECT_EQ(chat["temperature"].dump(), R"({"type":["number","null"],"minimum":0,"maximum":2})");
  EXPECT_EQ(chat["messages"].dump(), R"({"type":"array","minItems":1,"maxItems":4096,)"
                                     R"("items":{"$ref":"#/components/schemas/OpenAiMessage"}})");
}

TEST_F(OpenApi, EveryStreamSaysWhatItsPiecesAre) {
  const Json document = this->document();
  int streams = 0;
  for (const Route& route : routes()) {
    EXPECT_EQ(route.about.stream_type.empty(), route.about.event.empty()) << route.path;
    if (route.about.event.empty()) continue;
    EXPECT_TRUE(document["components"]["schemas"].contains(route.about.event)) << route.about.event;
    const Json& content = document["paths"][route.path]["post"]["responses"]["200"]["content"];
    EXPECT_EQ(content[route.about.stream_type]["schema"]["$ref"].get<std::string>(),
              "#/components/schemas/" + route.about.event);
    ++streams;
  }
  EXPECT_EQ(streams, 6);
}

TEST_F(OpenApi, WhatIsWrittenByHandHasTheServersLimits) {
  const Json document = this->document();
  const Json& schemas = document["components"]["schemas"];
  constexpr ChatLimits kLimits;
  EXPECT_EQ(schemas["StopString"]["maxLength"], kLimits.stop_string_bytes_max);
  EXPECT_EQ(schemas["StopStrings"]["anyOf"][1]["maxItems"], kLimits.stop_strings_max);
  EXPECT_EQ(schemas["OpenAiPrompt"]["anyOf"][1]["maxItems"], kLimits.prompts_max);
  EXPECT_EQ(schemas["OpenAiResponsesInput"]["anyOf"][1]["maxItems"], kLimits.messages_max);
  EXPECT_EQ(schemas["OpenAiEmbeddingInput"]["anyOf"][1]["maxItems"], EmbeddingLimits().inputs_max);
  EXPECT_EQ(schemas["OllamaEmbedInput"]["anyOf"][1]["maxItems"], EmbeddingLimits().inputs_max);
  EXPECT_EQ(schemas["OpenAiLogitBias"]["maxProperties"], kLimits.logit_biases_max);
}

}  // namespace
}  // namespace hadal
