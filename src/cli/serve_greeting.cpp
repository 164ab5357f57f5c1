#include "cli/serve_greeting.h"

#include <fmt/format.h>

#include <string_view>

#include "base/json.h"
#include "cli/terminal.h"

namespace hadal {
namespace {

// 'as it stands', for a shell.
std::string for_shell(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

// Brackets of an IPv6 address are patterns to some shells.
std::string as_word(const std::string& url) {
  return url.find('[') == url.npos ? url : for_shell(url);
}

// A name that no client can send, as it is no UTF-8, is left out: the model is the first one, which
// is taken where none is named.
std::string request_body(const std::string& model) {
  nlohmann::ordered_json body = nlohmann::ordered_json::object();
  body["model"] = model;
  body["messages"] = {{{"role", "user"}, {"content", "Hello!"}}};
  const bool plain = without_controls(model) == model;
  try {
    return body.dump(-1, ' ', /*ensure_ascii=*/!plain);
  } catch (const nlohmann::json::exception&) {
    body.erase("model");
    return body.dump();
  }
}

std::string options_of(const Greeting& greeting) {
  std::string options;
  if (greeting.trust == CurlTrust::kFile) {
    options += fmt::format(" --cacert {}", for_shell(greeting.certificate));
  }
  if (greeting.trust == CurlTrust::kUnproven) options += " -k";
  if (greeting.keys) options += " -H \"Authorization: Bearer $HADAL_KEY\"";
  return options;
}

}  // namespace

std::string greeting_line(const Greeting& greeting) {
  return fmt::format(
      "hadal serves at {} {}(Ctrl-C ends): a page for the browser, and the clients of OpenAI "
      "(/v1), Anthropic and Ollama",
      greeting.address,
      greeting.other_machines ? "on this machine, and at its addresses for others " : "");
}

std::string try_lines(const Greeting& greeting) {
  std::string text = "Try";
  if (greeting.keys) {
    text += ", with one of your keys (`hadal key add NAME` makes one) after HADAL_KEY=";
  }
  text += ":\n";
  if (greeting.keys) text += "  HADAL_KEY=hadal-...\n";
  text += fmt::format("  curl{} {} -d {}\n", options_of(greeting),
                      as_word(greeting.address + "/v1/chat/completions"),
                      for_shell(request_body(greeting.model)));
  if (greeting.trust == CurlTrust::kUnproven) {
    text +=
        "  (-k: curl does not check the certificate, which names no address of this machine's own "
        "or was certified by others; elsewhere ask by the name it has)\n";
  }
  return text;
}

}  // namespace hadal
