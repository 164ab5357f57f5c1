#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "base/json.h"
#include "base/sizes.h"
#include "cli/pull_model.h"
#include "file/describe.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

struct ShowOptions {
  std::string model;
  bool json = false, metadata = false, chat_template = false, tensors = false;
};

// A value for a person: strings cut, arrays by their length.
nlohmann::json short_value(const MetadataValue& value) {
  constexpr size_t kShownBytesMax = 120;
  return std::visit(
      [](const auto& v) -> nlohmann::json {
        using Value = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<Value, MetadataArray>) {
          return std::visit(
              [](const auto& array) -> nlohmann::json {
                return fmt::format("[{} value{}]", array.size(), array.size() == 1 ? "" : "s");
              },
              v);
        } else if constexpr (std::is_same_v<Value, std::string_view>) {
          if (v.size() <= kShownBytesMax) return std::string(v);
          return fmt::format("{}... ({} bytes)", v.substr(0, kShownBytesMax), v.size());
        } else {
          return v;
        }
      },
      value);
}

std::string dump(const nlohmann::json& value, int indent = -1) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

// What is known of the model, in the order it is shown. Parts that cannot be read say why: a file
// that hadal cannot run is described all the same.
nlohmann::ordered_json describe(const ModelFile& file) {
  const Metadata& metadata = file.metadata();
  nlohmann::ordered_json d;
  if (const auto name = metadata.string("general.name")) d["name"] = std::string(*name);
  d["path"] = file.path().string();
  d["form"] = file.description();
  const ModelSummary summary = summarize(file);
  d["bytes"] = file.file_bytes();
  if (file.missing_bytes() > 0) d["missing_bytes"] = file.missing_bytes();
  d["tensors"] = summary.tensors;
  d["parameters"] = summary.parameters;
  d["bits_per_weight"] = summary.bits_per_weight;
  for (const TypeSummary& type : summary.types) {
    d["formats"].push_back(
        {{"name", quant_format(type.type).name}, {"tensors", type.tensors}, {"bytes", type.bytes}});
  }
  const auto architecture = file.architecture();
  d["architecture"] = architecture ? *architecture : architecture.error().message;
  if (architecture) {
    const auto known = find_architecture(*architecture);
    auto config = known ? (*known)->read_config(metadata, file.tensors())
                        : Result<std::unique_ptr<ModelConfig>>(forward_error(known));
    if (config) {
      d["layers"] = (*config)->layers;
      d["prediction_layers"] = (*config)->prediction_layers;
      d["width"] = (*config)->width;
      d["vocabulary"] = (*config)->vocabulary;
      d["context"] = (*config)->context_max;
      const KvLayout kv = (*config)->kv_layout();
      d["kv_bytes_per_token"] = kv.bytes_per_token(kv.type);
      for (const std::string& warning : (*config)->warnings) d["warnings"].push_back(warning);
    } else {
      d["cannot_run"] = config.error().message;
    }
  }
  const auto tokenizer = Tokenizer::open(file);
  if (tokenizer) {
    d["tokenizer"] = {{"kind", (*tokenizer)->kind()},
                      {"pre_tokenizer", (*tokenizer)->pre_tokenizer()},
                      {"tokens", (*tokenizer)->vocabulary_size()}};
  } else {
    d["tokenizer"] = tokenizer.error().message;
  }
  const auto chat_template = model_chat_template(file);
  d["chat_template"] = chat_template && chat_template->has_value();
  for (const std::string& warning : file.warnings()) d["warnings"].push_back(warning);
  return d;
}

void print_description(Terminal& terminal, const nlohmann::ordered_json& d) {
  const auto line = [&](std::string_view name, const std::string& text) {
    terminal.write(fmt::format("{:<18}{}\n", name, text));
  };
  const auto text = [](const nlohmann::ordered_json& value) {
    return value.is_string() ? value.get<std::string>() : dump(value);
  };
  if (d.contains("name")) line("name", text(d["name"]));
  line("file", fmt::format("{} ({})", text(d["path"]), text(d["form"])));
  line("size", format_bytes(d["bytes"].get<uint64_t>()));
  if (d.contains("pulled_as")) line("pulled as", text(d["pulled_as"]));
  if (d.contains("source")) line("source", text(d["source"]));
  if (d.contains("licence")) line("licence", text(d["licence"]));
  if (d.contains("shared_with")) {
    line("shared with",
         fmt::format("{}", fmt::join(d["shared_with"].get<std::vector<std::string>>(), ", ")));
  }
  if (d.contains("missing_bytes")) {
    line("missing", fmt::format("{} bytes ({}): the file ends early, fetch it again",
                                d["missing_bytes"].get<uint64_t>(),
                                format_bytes(d["missing_bytes"].get<uint64_t>())));
  }
  line("architecture", text(d["architecture"]));
  const double parameters = d["parameters"].get<double>();
  line("parameters", fmt::format("{:.2f} {} in {} tensors, {:.2f} bits each",
                                 parameters / (parameters < 1e9 ? 1e6 : 1e9),
                                 parameters < 1e9 ? "million" : "billion",
                                 d["tensors"].get<uint64_t>(), d["bits_per_weight"].get<double>()));
  if (d.contains("formats")) {
    for (const auto& format : d["formats"]) {
      line("", fmt::format("{:<8} {:>5} tensors {:>9}", text(format["name"]),
                           format["tensors"].get<uint64_t>(),
                           format_bytes(format["bytes"].get<uint64_t>())));
    }
  }
  if (d.contains("layers")) {
    line("shape", fmt::format("{} layers of width {}, vocabulary {}", d["layers"].get<uint64_t>(),
                              d["width"].get<uint64_t>(), d["vocabulary"].get<uint64_t>()));
    if (d["prediction_layers"] != 0) line("", "and one that guesses ahead: run --speculate mtp");
    line("context", fmt::format("{} tokens, {} of KV cache each", d["context"].get<uint64_t>(),
                                format_bytes(d["kv_bytes_per_token"].get<uint64_t>())));
  }
  if (d.contains("cannot_run")) line("cannot run", text(d["cannot_run"]));
  const auto& tokenizer = d["tokenizer"];
  line("tokenizer",
       tokenizer.is_string()
           ? text(tokenizer)
           : fmt::format("{}{}{}, {} tokens", text(tokenizer["kind"]),
                         text(tokenizer["pre_tokenizer"]).empty() ? "" : " ",
                         text(tokenizer["pre_tokenizer"]), tokenizer["tokens"].get<uint64_t>()));
  line("chat template",
       d["chat_template"].get<bool>() ? "yes (--template prints it)" : "none in the file");
  if (d.contains("warnings")) {
    for (const auto& warning : d["warnings"]) line("warning", text(warning));
  }
}

// Where it came from and who else uses it, if it was pulled or lies in a cache of the hubs.
void add_origin(const CommandContext& context, const std::filesystem::path& path,
                nlohmann::ordered_json& d) {
  const PulledModels records(context.environment.home);
  const auto pulled = records.list();
  if (!pulled) return;
  std::string own;
  if (const auto model = records.find_by_path(path)) {
    own = model->name;
    d["pulled_as"] = model->name;
    d["source"] = model->source + (model->revision.empty() ? "" : " at " + model->revision);
    if (!model->licence.empty()) d["licence"] = model->licence;
  }
  const HubOptions hub = read_hub_environment(context.environment).options;
  for (const std::string& name : sharers(path, own, *pulled, hub)) d["shared_with"].push_back(name);
}

Status show(CommandContext& context, const ShowOptions& options) {
  HADAL_TRY(const auto path, find_model(context, options.model));
  HADAL_TRY(const auto file, ModelFile::open(path, ReadWhat::kHeaderOnly));
  Terminal& terminal = context.terminal;
  if (options.chat_template) {
    HADAL_TRY(const auto chat_template, model_chat_template(*file));
    if (!chat_template) return fail("{} carries no chat template", path.string());
    terminal.write(*chat_template + "\n");
    return {};
  }
  nlohmann::ordered_json description = describe(*file);
  add_origin(context, path, description);
  if (options.metadata) {
    for (const auto& [key, value] : file->metadata().values()) {
      description["metadata"][key] = short_value(value);
    }
  }
  if (options.tensors) {
    for (const auto& [name, tensor] : file->tensors().tensors()) {
      description["tensor_list"].push_back(
          {{"name", name},
           {"format", quant_format(tensor.type).name},
           {"shape", {tensor.experts, tensor.rows, tensor.columns}}});
    }
  }
  if (options.json) {
    terminal.write(dump(description, 2) + "\n");
    return {};
  }
  print_description(terminal, description);
  if (options.metadata) {
    for (const auto& [key, value] : description["metadata"].items()) {
      terminal.write(fmt::format("{} = {}\n", key, dump(value)));
    }
  }
  if (options.tensors) {
    for (const auto& tensor : description["tensor_list"]) {
      terminal.write(fmt::format(
          "{:<8} {:<24} {}\n", tensor["format"].get<std::string>(),
          fmt::format("{}", fmt::join(tensor["shape"].get<std::vector<uint64_t>>(), " x ")),
          dump(tensor["name"])));
    }
  }
  return {};
}

}  // namespace

Command add_show(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "show",
      "Describe a model: shape, formats, size, tokenizer (reads the header alone)\n"
      "Example: hadal show MODEL --metadata");
  auto options = std::make_shared<ShowOptions>();
  app->add_option("model", options->model, "A name from `hadal list`, a .gguf file or a folder")
      ->required();
  app->add_flag("--json", options->json, "As JSON");
  app->add_flag("--metadata", options->metadata, "Every key of the file's metadata");
  app->add_flag("--tensors", options->tensors, "Every tensor");
  app->add_flag("--template", options->chat_template, "Print the chat template and nothing else");
  return {app, [&context, options] { return show(context, *options); }};
}

}  // namespace hadal
