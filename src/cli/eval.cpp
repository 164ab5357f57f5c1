#include <CLI/CLI.hpp>
#include <charconv>

#include "base/json.h"
#include "cli/command_line.h"
#include "eval/perplexity.h"

namespace hadal {
namespace {

struct EvalOptions {
  ModelOptions model;
  std::string perplexity_file, token_ids, logits_file;
  uint32_t chunk_tokens = 512;
  bool json = false;
};

// "1 2 3" or "1,2,3". Whether an id is in the vocabulary is the engine's question.
Result<std::vector<TokenId>> parse_ids(const std::string& text) {
  std::vector<TokenId> ids;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at != end) {
    if (*at == ' ' || *at == ',' || *at == '\n') {
      ++at;
      continue;
    }
    TokenId id = 0;
    const auto [stopped, error] = std::from_chars(at, end, id);
    const bool separated = stopped == end || *stopped == ' ' || *stopped == ',' || *stopped == '\n';
    if (error != std::errc() || !separated || id < 0) {
      return fail(
          "'{}' is no token id",
          std::string(at, std::find_if(at, end, [](char c) { return c == ' ' || c == ','; })));
    }
    ids.push_back(id);
    at = stopped;
  }
  if (ids.empty()) return fail("no token ids given");
  return ids;
}

Status evaluate_perplexity(CommandContext& context, const EvalOptions& options) {
  HADAL_TRY(const std::string text, read_text(options.perplexity_file));
  ModelOptions model = options.model;
  if (model.context_tokens == 0) model.context_tokens = options.chunk_tokens;
  HADAL_TRY(const auto generator, open_model(context, model));
  if (generator->tokenizer() == nullptr) {
    return fail("{} has no tokenizer, so it cannot read a text", generator->file().path().string());
  }
  PerplexityOptions perplexity{.chunk_tokens = options.chunk_tokens, .progress = {}};
  perplexity.progress = [&](const PerplexityProgress& progress) {
    context.terminal.progress(fmt::format("perplexity so far {:.3f}", progress.perplexity),
                              static_cast<double>(progress.chunks_done) / progress.chunks);
  };
  auto measured =
      measure_perplexity(generator->engine(), *generator->tokenizer(), text, perplexity);
  context.terminal.clear_progress();
  HADAL_TRY(const Perplexity result, std::move(measured));
  if (options.json) {
    context.terminal.write(nlohmann::json{{"perplexity", result.perplexity},
                                          {"tokens", result.tokens},
                                          {"chunks", result.chunks},
                                          {"chunk_tokens", options.chunk_tokens},
                                          {"seconds", result.seconds}}
                               .dump() +
                           "\n");
  } else {
    context.terminal.write(fmt::format(
        "perplexity {:.4f} over {} tokens in {} chunks of {}, {:.1f} s\n", result.perplexity,
        result.tokens, result.chunks, options.chunk_tokens, result.seconds));
  }
  return {};
}

Status evaluate_logits(CommandContext& context, const EvalOptions& options) {
  HADAL_TRY(const std::vector<TokenId> ids, parse_ids(options.token_ids));
  ModelOptions model = options.model;
  if (model.context_tokens == 0) model.context_tokens = static_cast<uint32_t>(ids.size());
  HADAL_TRY(const auto generator, open_model(context, model));
  HADAL_TRY_VOID(write_logits(generator->engine(), ids, options.logits_file));
  if (options.json) {
    context.terminal.write(nlohmann::json{{"logits", options.logits_file},
                                          {"tokens", ids.size()},
                                          {"vocabulary", generator->engine().info().vocabulary}}
                               .dump() +
                           "\n");
  } else {
    context.terminal.say(fmt::format("{}: float32 [{}, {}]", options.logits_file, ids.size(),
                                     generator->engine().info().vocabulary));
  }
  return {};
}

}  // namespace

Command add_eval(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "eval",
      "Measure a model: perplexity of a text, or its raw logits\n"
      "Example: hadal eval MODEL --perplexity FILE\n"
      "         hadal eval MODEL --token-ids \"1 2 3\" --logits OUT.npy");
  auto options = std::make_shared<EvalOptions>();
  app->add_option("model", options->model.model,
                  "A name from `hadal list`, a .gguf file or a folder")
      ->required();
  auto* perplexity = app->add_option("--perplexity", options->perplexity_file,
                                     "Perplexity of this text (- for standard input): chunks of "
                                     "--chunk tokens, the second half of each scored")
                         ->type_name("FILE");
  app->add_option("--chunk", options->chunk_tokens, "Tokens a chunk")
      ->check(CLI::Range(4u, 1u << 20).description(""))
      ->type_name("N")
      ->capture_default_str();
  auto* ids = app->add_option("--token-ids", options->token_ids, "Token ids, e.g. \"1 2 3\"")
                  ->check([](const std::string& text) {
                    const auto parsed = parse_ids(text);
                    return parsed ? std::string() : parsed.error().message;
                  });
  auto* logits = app->add_option("--logits", options->logits_file,
                                 "Write their logits here: NumPy, float32 [tokens, vocabulary]")
                     ->type_name("FILE");
  ids->needs(logits)->excludes(perplexity);
  logits->needs(ids);
  app->add_flag("--json", options->json, "As JSON");
  add_model_options(*app, options->model);
  return {app, [&context, options]() -> Status {
            if (!options->perplexity_file.empty()) return evaluate_perplexity(context, *options);
            if (!options->token_ids.empty()) return evaluate_logits(context, *options);
            return fail("nothing to measure: give --perplexity FILE, or --token-ids and --logits");
          }};
}

}  // namespace hadal
