
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <random>

#include "base/sizes.h"
#include "cli/chat.h"
#include "cli/sampling_options.h"
#include "measure/bench.h"

namespace hadal {
namespace {

struct RunCommand {
  RunOptions options;
  GivenOptions given;
  std::string chat_template_file;
  bool think = false, no_think = false;
};

// 0 where it cannot be measured. The block it is measured on does not count as memory of the model.
double read_speed(CommandContext& context, const Engine& engine) {
  if (context.read_bytes_per_s == 0) {
    const auto speeds = engine.devices().front()->measure_speeds();
    if (speeds) context.read_bytes_per_s = speeds->read_bytes_per_s;
    forget_peak_memory();
  }
  return context.read_bytes_per_s;
}

void print_statistics(CommandContext& context, Generator& generator, const Answer& answer) {
  const Engine& engine = generator.engine();
  const EngineInfo& info = engine.info();
  const Usage& usage = answer.usage;
  const uint32_t computed = usage.prompt_tokens - usage.cached_tokens;
  const uint64_t peak = peak_memory_bytes();
  std::string text = fmt::format(
      "load {:.2f} s, peak memory {}\n"
      "prompt {} tokens ({} from the cache), first token after {:.3f} s, {:.1f} tokens/s\n"
      "answer {} tokens ({} of thinking)",
      info.load_seconds, format_bytes(peak), usage.prompt_tokens, usage.cached_tokens,
      usage.prompt_seconds, usage.prompt_seconds > 0 ? computed / usage.prompt_seconds : 0.0,
      usage.answer_tokens, answer.thinking_tokens);
  if (usage.answer_tokens > 1 && usage.decode_seconds > 0) {
    const double speed = (usage.answer_tokens - 1) / usage.decode_seconds;
    text += fmt::format(", {:.1f} tokens/s", speed);
    if (usage.drafted_tokens > 0) {
      text += fmt::format("; {} tokens guessed, {} of them rightly", usage.drafted_tokens,
                          usage.accepted_tokens);
    }
    // A step reads the weights once, however many guesses it accepts.
    const uint32_t steps = usage.answer_tokens - usage.accepted_tokens;
    const double bytes = (steps - 1) / usage.decode_seconds *
                         decode_bytes(info, usage.prompt_tokens + usage.answer_tokens / 2.0);
    if (const double limit = read_speed(context, engine); limit > 0) {
      text += fmt::format("\nread {:.1f} GB/s, {:.0f}% of this machine's {:.1f} GB/s", bytes / 1e9,
                          100 * bytes / limit, limit / 1e9);
    }
  }
  context.terminal.say(context.terminal.dimmed(text));
}

// A prompt as an argument, standard input, or both (the argument asks, the input is what it asks
// about).
Result<std::string> one_prompt(CommandContext& context, const std::string& argument) {
  if (context.terminal.input_is_terminal()) return argument;
  constexpr int kPatienceMs = 2000;
  pollfd input_ready{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (poll(&input_ready, 1, kPatienceMs) == 0) {
    context.terminal.say("hadal: waiting for standard input (give < /dev/null if it has nothing)");
  }
  HADAL_TRY(std::string input, read_text("-"));
  while (!input.empty() && (input.back() == '\n' || input.back() == '\r')) input.pop_back();
  if (argument.empty()) return input;
  return input.empty() ? argument : argument + "\n\n" + input;
}

Status run(CommandContext& context, RunCommand& command) {
  RunOptions options = command.options;
  std::optional<std::string> chat_template;
  if (!command.chat_template_file.empty()) {
    HADAL_TRY(chat_template, read_text(command.chat_template_file));
  }
  const bool chatting = options.prompt.empty() && context.terminal.input_is_terminal();
  std::string text;
  if (!chatting) {
    HADAL_TRY(text, one_prompt(context, options.prompt));
    if (text.empty()) return fail("the prompt is empty: nothing was given on standard input");
  }
  HADAL_TRY(const auto generator, open_model(context, options.model, std::move(chat_template)));
  if (generator->tokenizer() == nullptr) {
    return fail(
        "{} has no tokenizer, so it cannot read or write text; `hadal eval --token-ids` can run it",
        generator->file().path().string());
  }
  options.generation.sampling = advised_sampling(context, *generator);
  options.generation.sampling.seed = std::random_device{}();
  HADAL_TRY_VOID(apply(command.given, options.generation));
  if (command.think) options.chat.thinking = Thinking::kOn;
  if (command.no_think) options.chat.thinking = Thinking::kOff;
  options.chat.now_seconds = std::chrono::duration_cast<std::chrono::seconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
  if (!options.raw && !generator->has_chat_template()) {
    options.raw = true;
    context.terminal.warn(
        "this model has no chat template; it continues your text instead of answering it");
  }
  if (options.raw) options.generation.parse_thinking = false;
  if (chatting && !options.raw) return Chat(context, *generator, options).run();
  if (chatting) return fail("without a chat template there is no chat: give a prompt to continue");

  nlohmann::json messages = nlohmann::json::array();
  if (options.system) messages.push_back({{"role", "system"}, {"content", *options.system}});
  messages.push_back({{"role", "user"}, {"content", text}});
  HADAL_TRY(const Prompt prompt, options.raw ? generator->raw_prompt(text)
                                             : generator->chat_prompt(messages, options.chat));
  HADAL_TRY([[maybe_unused]] const Answer answer,
            stream_answer(context, *generator, prompt, options));
  return {};
}

}  // namespace

Result<Answer> stream_answer(CommandContext& context, Generator& generator, const Prompt& prompt,
                             const RunOptions& options) {
  WrappingWriter thinking(context.terminal, WrappingWriter::Stream::kThinking);
  WrappingWriter answer(context.terminal, WrappingWriter::Stream::kAnswer);
  bool thought = false, answered = false;
  const auto result = generator.generate(prompt, options.generation, [&](const TextDelta& delta) {
    if (!delta.thinking.empty() && !options.hide_thinking) {
      thinking.write(delta.thinking);
      thought = true;
    }
    if (!delta.answer.empty()) {
      if (thought && !answered) {
        thinking.finish();
        context.terminal.say("");
      }
      answered = true;
      answer.write(delta.answer);
    }
    return !InterruptCatcher::interrupted() && context.terminal.output_status().has_value();
  });
  if (thought && !answered) thinking.finish();
  answer.finish();
  HADAL_TRY_VOID(context.terminal.output_status());
  if (!result) return result;
  switch (result->reason) {
    case FinishReason::kContextFull:
      context.terminal.warn(
          fmt::format("the context of {} tokens is full; /clear, or start with a larger --context",
                      generator.engine().info().context_tokens));
      break;
    case FinishReason::kMaxTokens:
      context.terminal.warn(
          fmt::format("stopped after --max-tokens {}", options.generation.max_tokens));
      break;
    case FinishReason::kCancelled:
      context.terminal.say("(stopped)");
      break;
    default:
      break;
  }
  if (options.verbose && result->usage.answer_tokens > 0)
    print_statistics(context, generator, *result);
  return result;
}

Command add_run(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "run",
      "Chat in the terminal, or answer one prompt; without MODEL the demo model\n"
      "Example: hadal run MODEL \"What is the capital of France?\"\n"
      "         cat letter.txt | hadal run MODEL \"Summarise this:\"");
  auto command = std::make_shared<RunCommand>();
  RunOptions& options = command->options;
  app->add_option(
      "model", options.model.model,
      "A name from `hadal list` or `hadal list --available`, a .gguf file or a folder;\n"
      "what is not here yet is pulled first");
  app->add_option("prompt", options.prompt,
                  "What to answer; without it, a chat (or standard input)");
  add_model_options(*app, options.model);
  add_speculation_option(*app, options.model);
  add_generation_options(*app, command->given);
  app->add_option("--system", options.system, "What the model is told first")
      ->envname("HADAL_SYSTEM");
  app->add_option("--stop", options.generation.stop, "End the answer before this text (repeatable)")
      ->allow_extra_args(false);
  app->add_option("--chat-template", command->chat_template_file,
                  "A Jinja file to use in place of the model's own template")
      ->type_name("FILE");
  auto* think = app->add_flag("--think", command->think, "Have the model think first");
  app->add_flag("--no-think", command->no_think, "Have the model answer without thinking")
      ->excludes(think);
  app->add_flag("--hide-thinking", options.hide_thinking, "Do not show the thinking");
  app->add_flag("--raw", options.raw, "No template: the model continues the prompt");
  app->add_flag("--verbose", options.verbose, "Speed and memory after each answer");
  return {app, [&context, command] { return run(context, *command); }};
}

}  // namespace hadal
