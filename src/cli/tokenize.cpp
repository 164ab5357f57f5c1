#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "base/json.h"
#include "cli/command_line.h"
#include "file/model_file.h"
#include "hub/caches/model_store.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string file = "-";
  bool json = false, pieces = false, bos = false, special = false;
};

Status tokenize(CommandContext& context, const TokenizeOptions& options) {
  HADAL_TRY(const auto path, ModelStore(context.environment.home).resolve(options.model));
  HADAL_TRY(const auto file, ModelFile::open(path, ReadWhat::kHeaderOnly));
  HADAL_TRY(const auto tokenizer, Tokenizer::open(*file));
  HADAL_TRY(const std::string text, read_text(options.file));
  HADAL_TRY(
      std::vector<TokenId> ids,
      tokenizer->encode(text, options.special ? SpecialTokens::kParsed : SpecialTokens::kAsText));
  if (options.bos) {
    const auto bos = tokenizer->bos();
    if (!bos) return fail("{}: this tokenizer has no beginning-of-sequence token", path.string());
    ids.insert(ids.begin(), *bos);
  }
  const auto piece = [&](TokenId id) { return std::string(tokenizer->token_bytes(id)); };
  if (options.json) {
    nlohmann::json result = {{"ids", ids}, {"count", ids.size()}};
    if (options.pieces) {
      for (const TokenId id : ids) result["pieces"].push_back(piece(id));
    }
    context.terminal.write(result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                           "\n");
  } else if (options.pieces) {
    for (const TokenId id : ids) {
      const nlohmann::json quoted = piece(id);
      context.terminal.write(fmt::format(
          "{:>7} {}\n", id, quoted.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    }
  } else {
    context.terminal.write(fmt::format("{}\n", fmt::join(ids, " ")));
    if (context.terminal.output_is_terminal()) {
      context.terminal.say(fmt::format("{} tokens, {} bytes", ids.size(), text.size()));
    }
  }
  return {};
}

}  // namespace

Command add_tokenize(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "tokenize",
      "Text on standard input -> token ids\nExample: echo 你好 | hadal tokenize MODEL --pieces");
  auto options = std::make_shared<TokenizeOptions>();
  app->add_option("model", options->model, "A name from `hadal list`, a .gguf file or a folder")
      ->required();
  app->add_option("--file", options->file, "Read this file instead of standard input");
  app->add_flag("--json", options->json, "As JSON: {\"ids\": [...], \"count\": n}");
  app->add_flag("--pieces", options->pieces, "With each token's text");
  app->add_flag("--bos", options->bos, "Put the beginning-of-sequence token first");
  app->add_flag("--special", options->special, "Read special tokens in the text");
  return {app, [&context, options] { return tokenize(context, *options); }};
}

}  // namespace hadal
