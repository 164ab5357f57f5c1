#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "cli/command_line.h"

namespace hadal {
namespace {

struct OptionWords {
  std::string name, help;  // "--top-p", what it does
  bool takes_value;
};
struct CommandWords {
  std::string name, help;
  std::vector<OptionWords> options;
};

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::vector<CommandWords> command_words(const CLI::App& application) {
  std::vector<CommandWords> commands;
  for (const CLI::App* command :
       application.get_subcommands([](const CLI::App*) { return true; })) {
    CommandWords words{command->get_name(), first_line(command->get_description()), {}};
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        words.options.push_back(
            {"--" + name, option->get_description(), option->get_items_expected_max() > 0});
      }
    }
    commands.push_back(std::move(words));
  }
  return commands;
}

// In single quotes, as all three shells read them: an apostrophe becomes the printer's.
std::string quoted(std::string text) {
  for (size_t at; (at = text.find('\'')) != std::string::npos;) text.replace(at, 1, "’");
  return "'" + text + "'";
}

std::string bash_script(const std::vector<CommandWords>& commands) {
  std::string names, cases;
  for (const CommandWords& command : commands) {
    names += command.name + " ";
    std::string options;
    for (const OptionWords& option : command.options) options += option.name + " ";
    cases += fmt::format("    {}) words={} ;;\n", command.name, quoted(options));
  }
  // bash takes a colon for the end of a word: what is typed is read off the line, and what stands
  // before its last colon is taken off the answers again.
  return fmt::format(
      "_hadal() {{\n"
      "  local line=${{COMP_LINE:0:COMP_POINT}} words= available=\n"
      "  local word=${{line##* }}\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then words={}; else\n"
      "    case ${{COMP_WORDS[1]}} in\n{}    esac\n"
      "    [ \"${{COMP_WORDS[1]}}\" = pull ] && available=--available\n"
      "    if [[ $word != -* ]]; then words=$(hadal list $available 2>/dev/null | awk 'NR > 1 {{ "
      "print "
      "$1 }}'); fi\n"
      "  fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "  if [[ $COMP_WORDBREAKS == *:* && $word == *:* ]]; then "
      "COMPREPLY=(\"${{COMPREPLY[@]#\"${{word%:*}}:\"}}\"); fi\n"
      "}}\n"
      "complete -o default -F _hadal hadal\n",
      quoted(names), cases);
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  std::string names, cases;
  const auto escaped = [](std::string text) {
    for (size_t at = 0; (at = text.find_first_of(":[]", at)) != std::string::npos; at += 2) {
      text.insert(at, "\\");
    }
    return text;
  };
  for (const CommandWords& command : commands) {
    names += fmt::format("    {}\n", quoted(command.name + ":" + escaped(command.help)));
    std::string options;
    for (const OptionWords& option : command.options) {
      options += " " + quoted(fmt::format("{}[{}]{}", option.name, escaped(option.help),
                                          option.takes_value ? ":value:_files" : ""));
    }
    cases += fmt::format("    {}) _arguments{} '*:model or file:{}' ;;\n", command.name, options,
                         command.name == "pull" ? "_hadal_available" : "_hadal_models");
  }
  return fmt::format(
      "#compdef hadal\n"
      "_hadal_models() {{\n"
      "  compadd -- ${{(f)\"$(hadal list 2>/dev/null | awk 'NR > 1 {{ print $1 }}')\"}}\n"
      "  _files\n"
      "}}\n"
      "_hadal_available() {{\n"
      "  compadd -- ${{(f)\"$(hadal list --available 2>/dev/null | awk 'NR > 1 {{ print $1 "
      "}}')\"}}\n"
      "}}\n"
      "_hadal() {{\n"
      "  local -a commands=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
      "  local command=$words[2]\n"
      "  shift words; (( CURRENT-- ))\n"
      "  case $command in\n{}  esac\n"
      "}}\n"
      "compdef _hadal hadal\n",
      names, cases);
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string script =
      "function __hadal_models; hadal list 2>/dev/null | awk 'NR > 1 { print $1 }'; end\n"
      "function __hadal_available; hadal list --available 2>/dev/null | awk 'NR > 1 { print $1 }'; "
      "end\n";
  for (const CommandWords& command : commands) {
    script += fmt::format("complete -c hadal -n __fish_use_subcommand -f -a {} -d {}\n",
                          command.name, quoted(command.help));
    for (const OptionWords& option : command.options) {
      script += fmt::format("complete -c hadal -n '__fish_seen_subcommand_from {}' -l {}{} -d {}\n",
                            command.name, option.name.substr(2), option.takes_value ? " -r" : "",
                            quoted(option.help));
    }
    script +=
        fmt::format("complete -c hadal -n '__fish_seen_subcommand_from {}' -a '({})'\n",
                    command.name, command.name == "pull" ? "__hadal_available" : "__hadal_models");
  }
  return script;
}

}  // namespace

Command add_completion(CLI::App& application, CommandContext& context) {
  CLI::App* app =
      application.add_subcommand("completion",
                                 "Print a script that completes hadal's commands in a shell\n"
                                 "Example: source <(hadal completion bash)");
  auto shell = std::make_shared<std::string>();
  app->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return {app, [&application, &context, shell]() -> Status {
            const auto commands = command_words(application);
            context.terminal.write(*shell == "bash"  ? bash_script(commands)
                                   : *shell == "zsh" ? zsh_script(commands)
                                                     : fish_script(commands));
            return {};
          }};
}

}  // namespace hadal
