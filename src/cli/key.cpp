// `hadal key`: who may ask `hadal serve`. The key is shown once, when it is made.
#include "cli/key.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "server/access/key_file.h"

namespace hadal {
namespace {

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Status add(CommandContext& context, const std::string& name, const KeyLimits& limits) {
  if (!is_key_name(name)) {
    return fail("'{}' is no name for a key: 1 to {} letters, digits, '.', '_', '-'", name,
                kKeyNameBytesMax);
  }
  HADAL_TRY(const std::string key, make_key());
  HADAL_TRY_VOID(
      change_keys(key_file(context.environment), [&](std::vector<StoredKey>& keys) -> Status {
        if (std::ranges::find(keys, name, &StoredKey::name) != keys.end()) {
          return fail("there is a key {} already; `hadal key rm {}` takes it away", name, name);
        }
        keys.push_back({.name = name,
                        .digest = digest_of_key(key),
                        .limits = limits,
                        .created_unix_seconds = now_seconds()});
        return {};
      }));
  context.terminal.say("The key, shown this once (hadal keeps its digest alone):");
  context.terminal.write(key + "\n");
  return {};
}

std::string limits_in_words(const KeyLimits& limits) {
  std::string words;
  const auto put = [&words](uint32_t limit, std::string_view what) {
    if (limit > 0) words += fmt::format("{}{} {}", words.empty() ? "" : ", ", limit, what);
  };
  put(limits.requests_per_minute, "requests a minute");
  put(limits.tokens_per_minute, "tokens a minute");
  put(limits.concurrent, "at once");
  return words.empty() ? "no limits" : words;
}

Status list(CommandContext& context) {
  HADAL_TRY(const auto keys, read_keys(key_file(context.environment)));
  if (keys.empty()) {
    context.terminal.say("there are no keys; `hadal key add NAME` makes one");
    return {};
  }
  size_t width = 0;
  for (const StoredKey& key : keys) width = std::max(width, key.name.size());
  for (const StoredKey& key : keys) {
    const std::time_t created = key.created_unix_seconds;
    std::tm day{};
    localtime_r(&created, &day);
    context.terminal.write(fmt::format("{:{}}  {:04}-{:02}-{:02}  {}\n", key.name, width,
                                       day.tm_year + 1900, day.tm_mon + 1, day.tm_mday,
                                       limits_in_words(key.limits)));
  }
  return {};
}

Status remove(CommandContext& context, const std::vector<std::string>& names) {
  HADAL_TRY_VOID(
      change_keys(key_file(context.environment), [&](std::vector<StoredKey>& keys) -> Status {
        for (const std::string& name : names) {
          if (std::erase_if(keys, [&](const StoredKey& key) { return key.name == name; }) == 0) {
            return fail("there is no key {}; `hadal key list` shows those there are", name);
          }
        }
        return {};
      }));
  for (const std::string& name : names) context.terminal.say(name + " opens nothing any more");
  return {};
}

void add_limit(CLI::App& app, const std::string& flag, uint32_t& limit, const std::string& help) {
  app.add_option(flag, limit, help)
      ->check(CLI::Range(1u, 1'000'000'000u).description(""))
      ->type_name("N");
}

}  // namespace

Command add_key(CLI::App& application, CommandContext& context) {
  CLI::App* app =
      application.add_subcommand("key",
                                 "Say who may ask `hadal serve`: with keys, nobody else may\n"
                                 "Example: hadal key add laptop --requests-per-minute 60\n"
                                 "         hadal key list\n"
                                 "         hadal key rm laptop");
  app->require_subcommand(1);
  auto limits = std::make_shared<KeyLimits>();
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* adds = app->add_subcommand("add", "Make a key and show it, this once");
  adds->add_option("name", *names, "What you call it: a person, a machine, a program")
      ->expected(1)
      ->required();
  add_limit(*adds, "--requests-per-minute", limits->requests_per_minute,
            "Requests it may send in a minute (default: any)");
  add_limit(*adds, "--tokens-per-minute", limits->tokens_per_minute,
            "Tokens of prompts and answers it may use in a minute (default: any)");
  add_limit(*adds, "--concurrent", limits->concurrent,
            "Requests it may have under way at once (default: any)");
  CLI::App* lists = app->add_subcommand("list", "The keys' names and limits");
  CLI::App* removes = app->add_subcommand("rm", "Take a key away, at once");
  removes->add_option("name", *names, "A name from `hadal key list`")->required();
  return {app, [&context, adds, lists, limits, names]() -> Status {
            if (adds->parsed()) return add(context, names->front(), *limits);
            if (lists->parsed()) return list(context);
            return remove(context, *names);
          }};
}

}  // namespace hadal
