// `hadal serve`: the server of src/server with what a command line and the environment say.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>

#include "cli/json_options.h"
#include "cli/key.h"
#include "cli/models_here.h"
#include "cli/pull_model.h"
#include "cli/sampling_options.h"
#include "cli/serve_greeting.h"
#include "server/sandbox/sandbox.h"
#include "server/server.h"

namespace hadal {
namespace {

struct ServeCommand {
  CLI::App* app = nullptr;
  ModelOptions model;
  std::vector<std::string> models;
  std::string host = "127.0.0.1", config;
  uint16_t port = 8080;
  uint32_t parallel = 8, queue = 256, drain_seconds = 30;
  double target_itl_ms = 0;
  std::optional<int64_t> keep_alive;
  std::vector<std::string> allowed_hosts, allowed_origins;
  std::string tls_certificate, tls_key, access_log;
  bool open_to_all = false, no_sandbox = false;
};

constexpr int64_t kIdleModelSeconds = 300;

// Thousands of streams need as many descriptors; the usual soft limit is 1024.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// How clients call a model that was given as a path: by its file's name.
std::string served_name(const std::string& model, const std::filesystem::path& path) {
  std::error_code ignored;
  const bool is_path = model.empty() || std::filesystem::exists(model, ignored);
  if (!is_path) return model;
  return path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
}

ModelEntry entry_of(const std::string& name, const std::filesystem::path& path) {
  ModelEntry entry{.name = name, .path = path.string()};
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(path, error);
  if (!error) {
    const auto time = std::chrono::file_clock::to_sys(changed);
    entry.created_unix_seconds =
        std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
  }
  const auto bytes = std::filesystem::file_size(path, error);
  if (!error) entry.bytes = bytes;
  return entry;
}

// The models given; or all that are here, and the one that `hadal run` would take as default.
Result<ModelPoolOptions> find_models(CommandContext& context, const ServeCommand& command) {
  ModelPoolOptions pool;
  for (const std::string& model : command.models) {
    HADAL_TRY(const std::filesystem::path path, find_or_pull(context, model));
    pool.models.push_back(entry_of(served_name(model, path), path));
  }
  HADAL_TRY_VOID(check_model_names(pool.models));
  if (!pool.models.empty()) {
    pool.default_model = pool.models.front().name;
    return pool;
  }
  HADAL_TRY(const std::vector<ModelHere> here, models_here(context));
  for (const ModelHere& model : here) {
    if (!model.complete) continue;
    const auto same = std::ranges::find(pool.models, model.name, &ModelEntry::name);
    if (same == pool.models.end()) {
      pool.models.push_back(entry_of(model.name, model.path));
    } else if (same->path != model.path) {
      context.terminal.warn(fmt::format("{} is not served: {} has the same name, {}", model.path,
                                        same->path, model.name));
    }
  }
  if (pool.models.empty()) {
    return fail(
        "there is no model on this machine yet. `hadal serve deepseek-r1:1.5b` fetches one; "
        "`hadal list --available` shows more names");
  }
  const auto usual = find_model(context, "");
  for (const ModelEntry& model : pool.models) {
    if (pool.models.size() == 1 || (usual && model.path == usual->string())) {
      pool.default_model = model.name;
    }
  }
  return pool;
}

Result<OpenedModel> open_served(CommandContext& context, const ServeCommand& command,
                                const ModelEntry& entry,
                                std::shared_ptr<const std::atomic<bool>> stop) {
  ModelOptions options = command.model;
  options.model = entry.path;
  HADAL_TRY(auto generator, open_model(context, options, {},
                                       {.step_tokens_max = std::max(512u, command.parallel),
                                        .sequences_max = command.parallel,
                                        .waiting_max = command.parallel + command.queue,
                                        .target_itl_ms = command.target_itl_ms,
                                        .embeddings = true,
                                        .stop = std::move(stop)}));
  if (generator->tokenizer() == nullptr) {
    return fail("{} has no tokenizer, so it cannot read or write text", entry.name);
  }
  const EngineInfo& info = generator->engine().info();
  context.terminal.say(
      fmt::format("{} is loaded: {} tokens of context each for up to {} answers at once",
                  without_controls(entry.name), info.context_tokens, info.sequences_max));
  const SamplingOptions sampling = advised_sampling(context, *generator);
  return OpenedModel{.generator = std::move(generator), .sampling = sampling};
}

// What a client does with the server's certificate who asks by the address that greets.
CurlTrust trust_of(const TlsContext& tls, const HttpServer& http) {
  if (!tls) return CurlTrust::kNoTls;
  return proves_itself(tls, http.address_host()) ? CurlTrust::kFile : CurlTrust::kUnproven;
}

Greeting greeting_of(const ServeCommand& command, const HttpServer& http, const TlsContext& tls,
                     bool keys, const std::string& model) {
  Greeting greeting{.address = http.address(),
                    .other_machines = http.at_all_addresses(),
                    .model = model,
                    .keys = keys,
                    .trust = trust_of(tls, http)};
  if (tls) greeting.certificate = std::filesystem::absolute(command.tls_certificate).string();
  return greeting;
}

void greet(CommandContext& context, const Greeting& greeting) {
  context.terminal.say(greeting_line(greeting));
  context.terminal.notice(try_lines(greeting));
}

// What a person should know who lets other machines ask.
void warn_of_others(CommandContext& context, const ServeCommand& command, bool keys) {
  const auto loopback = is_loopback(command.host);
  if (!loopback || *loopback) return;
  if (!keys) {
    context.terminal.warn("there are no keys: everybody who reaches this port may use the server");
  } else if (command.tls_certificate.empty()) {
    context.terminal.warn(
        "other machines reach this server, and keys and answers go to them unencrypted; "
        "--tls-certificate and --tls-key change that");
  }
}

// Null where none is wanted.
Result<TlsContext> read_tls(CommandContext& context, const ServeCommand& command) {
  if (command.tls_certificate.empty() != command.tls_key.empty()) {
    return fail("--tls-certificate and --tls-key go together: a certificate and its key");
  }
  if (command.tls_certificate.empty()) return TlsContext();
  HADAL_TRY(auto identity,
            read_tls_identity({.certificate = command.tls_certificate, .key = command.tls_key}));
  for (const std::string& warning : identity.warnings) context.terminal.warn(warning);
  return std::move(identity.context);
}

// Null where none is wanted.
Result<std::shared_ptr<AccessLog>> open_log(CommandContext& context, const ServeCommand& command) {
  if (command.access_log.empty()) return std::shared_ptr<AccessLog>();
  return AccessLog::open(
      {.path = command.access_log,
       .on_trouble = [&context](const std::string& what) { context.terminal.warn(what); }});
}

// What other programs change while the server runs is read again.
void reload_tls(CommandContext& context, const ServeCommand& command, HttpServer& server) {
  const auto tls = read_tls(context, command);
  if (tls && *tls == nullptr) return;
  if (!tls) {
    return context.terminal.warn("the certificate stays as it was: " + tls.error().message);
  }
  server.use_tls(*tls);
  context.terminal.say("the certificate was read again");
}

// Where a model's files lie in truth: those of Hugging Face's cache are links to elsewhere.
void add_readable(std::vector<std::filesystem::path>& readable,
                  const std::filesystem::path& model) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder =
      fs::is_directory(model, error) ? model : fs::absolute(model).parent_path();
  readable.push_back(folder);
  for (fs::directory_iterator files(folder, error), end; !error && files != end;
       files.increment(error)) {
    std::error_code ignored;
    if (!files->is_symlink(ignored)) continue;
    const fs::path target = fs::canonical(files->path(), ignored).parent_path();
    if (!ignored && readable.back() != target) readable.push_back(target);
  }
}

// A home that cannot be made (there may be no place to write) holds no keys; one that is something
// else than a folder is a mistake, and serving without keys would hide it.
Status make_home(const std::filesystem::path& home) {
  std::error_code error;
  std::filesystem::create_directories(home, error);
  if (error == std::errc::not_a_directory || error == std::errc::file_exists) {
    return fail(
        "hadal's home, {}, is no folder and cannot become one, so there can be neither keys nor "
        "models in it; HADAL_HOME names another one",
        home.string());
  }
  return {};
}

// Before there are threads, which would stay outside of it.
void give_up_what_is_not_needed(CommandContext& context, const ServeCommand& command,
                                const ModelPoolOptions& models) {
  if (command.no_sandbox) return;
  SandboxOptions options{.readable = {context.environment.home}};
  for (const ModelEntry& model : models.models) add_readable(options.readable, model.path);
  for (const std::string& file : {command.tls_certificate, command.tls_key}) {
    if (!file.empty()) add_readable(options.readable, file);  // when they are renewed
  }
  if (!command.access_log.empty() && has_folder_of_its_own(command.access_log)) {
    options.writable.push_back(std::filesystem::absolute(command.access_log).parent_path());
  }
  const Sandbox sandbox = enter_sandbox(options);
  if (!sandbox.missing.empty()) {
    context.terminal.say("the sandbox lacks a part: " + sandbox.missing);
  }
}

Status serve(CommandContext& context, ServeCommand& command) {
  if (!command.config.empty()) {
    HADAL_TRY_VOID(apply_json_options(*command.app, command.config));
  }
  HADAL_TRY_VOID(make_home(context.environment.home));
  raise_descriptor_limit();
  // Whoever read its notes may end, and a file may grow no more; the server goes on.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  ServerOptions options;
  HADAL_TRY(options.models, find_models(context, command));
  options.models.answers_max = command.parallel + command.queue;
  options.models.waiting_max = command.parallel + command.queue;  // as many as it could then do
  options.models.stop = std::make_shared<std::atomic<bool>>(false);
  options.models.open = [&, stop = options.models.stop](const ModelEntry& entry) {
    return open_served(context, command, entry, stop);
  };
  // Who names a model means it to stay.
  const int64_t keep_alive =
      command.keep_alive.value_or(command.models.empty() ? kIdleModelSeconds : -1);
  options.models.keep_alive.reset();
  if (keep_alive >= 0) options.models.keep_alive = std::chrono::seconds(keep_alive);
  options.preload = !command.models.empty();
  options.hosts.names = command.allowed_hosts;
  options.hosts.origins = command.allowed_origins;
  options.keys = key_file(context.environment);
  options.on_keys = [&context](const std::string& what) { context.terminal.warn(what); };
  options.open_to_all = command.open_to_all;
  options.http.host = command.host;
  options.http.port = command.port;
  options.http.drain_seconds = command.drain_seconds;
  options.http.end_signals = {SIGINT, SIGTERM};
  options.http.on_drain = [&] {
    context.terminal.say("ending: answers under way are finished first; again to end at once");
  };
  const std::string shown = options.models.default_model.empty()
                                ? options.models.models.front().name
                                : options.models.default_model;
  HADAL_TRY(const TlsContext tls, read_tls(context, command));
  options.http.tls = tls;
  HADAL_TRY(options.log, open_log(context, command));
  HttpServer* http = nullptr;
  // In a terminal without anything to read again it means what it always did: the terminal is gone.
  if (options.http.tls || options.log || !context.terminal.notices_are_terminal()) {
    options.http.reload_signal = SIGHUP;
  }
  options.http.on_reload = [&, log = options.log] {
    reload_tls(context, command, *http);
    if (log) log->reopen();
  };
  give_up_what_is_not_needed(context, command, options.models);
  Greeting greeting;
  options.on_ready = [&] { greet(context, greeting); };
  const bool loads_first = options.preload;
  HADAL_TRY(const auto server, Server::open(std::move(options)));
  http = &server->http();
  const bool keys = server->keys_needed();
  greeting = greeting_of(command, *http, tls, keys, shown);
  warn_of_others(context, command, keys);
  if (loads_first) {
    context.terminal.say(
        fmt::format("port {} of {} is bound; loading {} (/health tells when it answers)",
                    http->port(), command.host, without_controls(shown)));
  }
  return server->run();
}

}  // namespace

Command add_serve(CLI::App& application, CommandContext& context) {
  CLI::App* app = application.add_subcommand(
      "serve",
      "Serve models to OpenAI's, Anthropic's and Ollama's clients, on this machine alone\n"
      "Example: hadal serve deepseek-r1:1.5b\n"
      "         curl http://127.0.0.1:8080/v1/chat/completions \\\n"
      "           -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello!\"}]}'");
  auto command = std::make_shared<ServeCommand>();
  command->app = app;
  app->add_option("model", command->models,
                  "Names or paths as `hadal run` takes them; the first is loaded at once, the "
                  "others\nwhen they are asked for; of different names. Without any: all models on "
                  "this machine");
  app->add_option("--host", command->host, "The address to listen on")
      ->envname("HADAL_HOST")
      ->type_name("ADDRESS")
      ->capture_default_str();
  app->add_option("--port", command->port, "The port; 0: a free one")
      ->envname("HADAL_PORT")
      ->check(CLI::Range(0, 65535).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_option("--config", command->config,
                  "A JSON file of these options by their long names and of their types, e.g.\n"
                  "{\"port\": 9000, \"open\": true}; flags and environment count for more")
      ->envname("HADAL_CONFIG")
      ->type_name("FILE");
  add_model_options(*app, command->model);
  add_speculation_option(*app, command->model);
  app->add_option("--parallel", command->parallel,
                  "Answers computed at once by a model; each has a --context of its own")
      ->envname("HADAL_PARALLEL")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_option("--target-itl-ms", command->target_itl_ms,
                  "Milliseconds between two tokens of an answer that others' prompts should not\n"
                  "lengthen: prompts are cut into smaller steps, fewer answers run at once\n"
                  "(0: as many tokens a second as can be)")
      ->envname("HADAL_TARGET_ITL_MS")
      ->check(CLI::Range(0.0, 60'000.0).description(""))
      ->type_name("MS")
      ->capture_default_str();
  app->add_option("--queue", command->queue,
                  "Answers that may wait for their turn; more are refused (429)")
      ->envname("HADAL_QUEUE")
      ->check(CLI::Range(0, 65536).description(""))
      ->type_name("N")
      ->capture_default_str();
  app->add_option("--keep-alive", command->keep_alive,
                  "Seconds after which an unused model is unloaded; 0: at once, -1: never\n"
                  "(default: 300, or never for models given on the command line)")
      ->envname("HADAL_KEEP_ALIVE")
      ->check(CLI::Range(-1, 31'536'000).description(""))
      ->type_name("S");
  app->add_option(
         "--drain", command->drain_seconds,
         "Seconds that answers under way may take when the server is ended; then they are cut\n"
         "off, and the exit status is 1")
      ->envname("HADAL_DRAIN")
      ->check(CLI::Range(0, 86'400).description(""))
      ->type_name("S")
      ->capture_default_str();
  app->add_option_function<std::vector<std::string>>(
         "--allow-host",
         [command](const std::vector<std::string>& names) {
           command->allowed_hosts.clear();
           for (const std::string& name : names) {
             auto host = as_host_name(name);
             if (!host) {
               throw CLI::ValidationError(
                   "--allow-host", name + " is no host's name such as box.example, without a port");
             }
             command->allowed_hosts.push_back(std::move(*host));
           }
         },
         "Another name of this server that a Host header may have (repeatable)")
      ->envname("HADAL_ALLOW_HOST")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("NAME");
  app->add_option_function<std::vector<std::string>>(
         "--allow-origin",
         [command](const std::vector<std::string>& origins) {
           for (const std::string& origin : origins) {
             if (!is_origin(origin)) {
               throw CLI::ValidationError("--allow-origin",
                                          origin + " is no origin such as https://chat.example");
             }
           }
           command->allowed_origins = origins;
         },
         "A web page's origin, e.g. https://chat.example, whose scripts may ask (repeatable)")
      ->envname("HADAL_ALLOW_ORIGIN")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("ORIGIN");
  app->add_option("--tls-certificate", command->tls_certificate,
                  "Speak TLS (https) with this certificate, a PEM file; SIGHUP reads it again")
      ->envname("HADAL_TLS_CERTIFICATE")
      ->type_name("FILE");
  app->add_option("--tls-key", command->tls_key, "The certificate's key, a PEM file")
      ->envname("HADAL_TLS_KEY")
      ->type_name("FILE");
  app->add_option("--access-log", command->access_log,
                  "A line of JSON for each request, without what was asked or answered, to this\n"
                  "file (-: standard output); SIGHUP opens it again. A folder of its own, please")
      ->envname("HADAL_ACCESS_LOG")
      ->type_name("FILE");
  app->add_flag("--open", command->open_to_all,
                "Without keys, also let other machines ask: everybody who reaches the port")
      ->envname("HADAL_OPEN");
  app->add_flag("--no-sandbox", command->no_sandbox,
                "Keep what serving does not need: starting programs, writing and reading other\n"
                "files, calling other machines")
      ->envname("HADAL_NO_SANDBOX");
  return {app, [&context, command] { return serve(context, *command); }};
}

}  // namespace hadal
