#include "cli/sampling_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>

#include "cli/command_line.h"
#include "hub/caches/pulled_models.h"

namespace hadal {
namespace {

struct OptionRow {
  const char* name;
  const char* help;
  double least, most;
  bool whole;
  void (*set)(GenerationOptions&, double);
};

constexpr double kTokensMax = 1u << 24;
constexpr double kSeedMax = 9007199254740992.0;  // 2^53: exact as a double

constexpr OptionRow kOptions[] = {
    {"temperature", "Randomness; 0 takes the likeliest token always", 0, 100, false,
     [](GenerationOptions& o, double v) { o.sampling.temperature = static_cast<float>(v); }},
    {"top-k", "Choose among the k likeliest tokens (0: all)", 0, 1e6, true,
     [](GenerationOptions& o, double v) { o.sampling.top_k = static_cast<uint32_t>(v); }},
    {"top-p", "Choose among the likeliest tokens that together have this probability", 0.0001, 1,
     false, [](GenerationOptions& o, double v) { o.sampling.top_p = static_cast<float>(v); }},
    {"min-p", "Leave out tokens less likely than this share of the likeliest", 0, 0.999, false,
     [](GenerationOptions& o, double v) { o.sampling.min_p = static_cast<float>(v); }},
    {"repetition-penalty", "Above 1: tokens seen before become less likely", 0.01, 100, false,
     [](GenerationOptions& o, double v) { o.sampling.repetition_penalty = static_cast<float>(v); }},
    {"presence-penalty", "Subtracted once from the score of tokens already in the answer", -2, 2,
     false,
     [](GenerationOptions& o, double v) { o.sampling.presence_penalty = static_cast<float>(v); }},
    {"frequency-penalty", "Subtracted for each time a token is already in the answer", -2, 2, false,
     [](GenerationOptions& o, double v) { o.sampling.frequency_penalty = static_cast<float>(v); }},
    {"seed", "The same seed gives the same answer (default: a new one each time)", 0, kSeedMax,
     true, [](GenerationOptions& o, double v) { o.sampling.seed = static_cast<uint64_t>(v); }},
    {"max-tokens", "Longest answer in tokens, thinking included (0: to the end of the context)", 0,
     kTokensMax, true,
     [](GenerationOptions& o, double v) { o.max_tokens = static_cast<uint32_t>(v); }},
    {"thinking-budget", "Tokens of thinking after which the model is made to answer", 0, kTokensMax,
     true, [](GenerationOptions& o, double v) { o.thinking_budget = static_cast<uint32_t>(v); }},
};

std::string environment_twin(std::string name) {
  for (char& c : name)
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "HADAL_" + name;
}

}  // namespace

SamplingOptions advised_sampling(const CommandContext& context, const Generator& generator) {
  const SamplingOptions& sampling = generator.default_sampling();
  const ModelFile& file = generator.file();
  const auto pulled = PulledModels(context.environment.home).find_by_path(file.path());
  if (!pulled) return sampling;
  const bool gguf = file.dialect() == Dialect::kGguf;
  const auto says = [&](const char* in_gguf, const char* in_folder) {
    return file.metadata().number(gguf ? in_gguf : in_folder).has_value();
  };
  SamplingOptions advised = sampling;
  if (pulled->temperature && !says("general.sampling.temp", "generation.temperature")) {
    advised.temperature = static_cast<float>(*pulled->temperature);
  }
  if (pulled->top_p && !says("general.sampling.top_p", "generation.top_p")) {
    advised.top_p = static_cast<float>(*pulled->top_p);
  }
  return advised.validate() ? advised : sampling;
}

Status set_generation_option(GenerationOptions& options, const std::string& name,
                             const std::string& value) {
  for (const OptionRow& row : kOptions) {
    if (name != row.name) continue;
    double number = 0;
    const char* end = value.data() + value.size();
    const auto [stopped, error] = std::from_chars(value.data(), end, number);
    const bool valid = error == std::errc() && stopped == end && number >= row.least &&
                       number <= row.most &&
                       (!row.whole || number == static_cast<double>(static_cast<int64_t>(number)));
    if (!valid) {
      return fail("{} takes a {} from {} to {}, not '{}'", name,
                  row.whole ? "whole number" : "number", row.least, row.most, value);
    }
    row.set(options, number);
    return {};
  }
  return fail("there is no setting '{}'; /? lists them", name);
}

void add_generation_options(CLI::App& command, GivenOptions& given) {
  for (const OptionRow& row : kOptions) {
    const std::string name = row.name;
    command
        .add_option_function<std::string>(
            "--" + name,
            [&given, name](const std::string& value) {
              GenerationOptions probe;
              if (const Status status = set_generation_option(probe, name, value); !status) {
                throw CLI::ValidationError("--" + status.error().message);
              }
              given.values.emplace_back(name, value);
            },
            row.help)
        ->envname(environment_twin(name))
        ->type_name(row.whole ? "N" : "X");
  }
}

Status apply(const GivenOptions& given, GenerationOptions& options) {
  for (const auto& [name, value] : given.values) {
    HADAL_TRY_VOID(set_generation_option(options, name, value));
  }
  return {};
}

}  // namespace hadal
