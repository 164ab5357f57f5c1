#include "server/metrics/access_log.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/file_descriptor.h"
#include "base/json.h"

namespace hadal {
namespace {

constexpr size_t kTextBytesMax = 256;  // of an address that a client made up

// A pipe that nobody reads must not hold up the start.
Result<int> open_for_appending(const std::filesystem::path& path) {
  const int file =
      path == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                  : ::open(path.c_str(),
                           O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
  if (file >= 0) return file;
  return fail("the access log {} cannot be opened: {}", path.string(), std::strerror(errno));
}

}  // namespace

struct AccessLog::State {
  State(AccessLogOptions given, int opened) : options(std::move(given)), file(opened) {}

  void run();
  void write(std::string_view lines);
  void open_again();

  const AccessLogOptions options;

  std::mutex mutex;  // guards what follows
  std::condition_variable woken, ended;
  std::string waiting;  // whole lines
  bool reopening = false, ending = false, over = false;

  std::atomic<uint64_t> lost = 0;

  // Of the log's thread.
  std::optional<FileDescriptor> file;
  bool torn = false;     // the last line was written in part
  bool trouble = false;  // said, and not yet over
};

Result<std::shared_ptr<AccessLog>> AccessLog::open(AccessLogOptions options) {
  HADAL_TRY(const int file, open_for_appending(options.path));
  return std::shared_ptr<AccessLog>(
      new AccessLog(std::make_shared<State>(std::move(options), file)));
}

AccessLog::AccessLog(std::shared_ptr<State> state) : state_(std::move(state)) {}

void AccessLog::start() {
  thread_ = std::thread([state = state_] { state->run(); });
}

AccessLog::~AccessLog() {
  if (!thread_.joinable()) return;
  std::unique_lock lock(state_->mutex);
  state_->ending = true;
  state_->woken.notify_one();
  const bool over = state_->ended.wait_for(lock, std::chrono::seconds(state_->options.last_seconds),
                                           [&] { return state_->over; });
  lock.unlock();
  over ? thread_.join() : thread_.detach();  // a disk that never answers does not hold up the end
}

void AccessLog::tell(const RequestRecord& record) noexcept {
  try {
    const std::string line = access_log_line(record);
    std::lock_guard lock(state_->mutex);
    if (state_->waiting.size() + line.size() >= state_->options.waiting_bytes_max) {
      ++state_->lost;
      return;
    }
    state_->waiting += line;
    state_->waiting += '\n';
    state_->woken.notify_one();
  } catch (const std::exception&) {  // out of memory
    ++state_->lost;
  }
}

void AccessLog::reopen() {
  std::lock_guard lock(state_->mutex);
  state_->reopening = true;
  state_->woken.notify_one();
}

uint64_t AccessLog::lost() const {
  return state_->lost;
}

void AccessLog::State::run() {
  std::unique_lock lock(mutex);
  while (true) {
    woken.wait(lock, [&] { return ending || reopening || !waiting.empty(); });
    const bool reopens = std::exchange(reopening, false);
    const std::string lines = std::exchange(waiting, {});
    const bool last = ending;
    lock.unlock();
    write(lines);
    if (reopens) open_again();
    lock.lock();
    if (last && waiting.empty()) break;
  }
  over = true;
  ended.notify_one();
}

void AccessLog::State::write(std::string_view lines) {
  if (lines.empty()) return;
  const std::string text = (torn ? "\n" : "") + std::string(lines);
  size_t written = 0;
  int error = 0;
  while (written < text.size() && error == 0) {
    const ssize_t bytes = ::write(file->number(), text.data() + written, text.size() - written);
    if (bytes > 0) written += static_cast<size_t>(bytes);
    if (bytes <= 0 && errno != EINTR) error = errno;
  }
  if (written > 0) torn = text[written - 1] != '\n';
  const size_t first = text.size() - lines.size();
  lost += static_cast<uint64_t>(std::count(
      text.begin() + static_cast<ptrdiff_t>(std::max(written, first)), text.end(), '\n'));
  if ((error != 0) == trouble) return;
  trouble = error != 0;
  options.on_trouble(
      trouble ? fmt::format("lines of the access log {} are lost: {}", options.path.string(),
                            std::strerror(error))
              : fmt::format("the access log {} is written again", options.path.string()));
}

void AccessLog::State::open_again() {
  if (options.path == "-") return;
  const auto opened = open_for_appending(options.path);
  if (!opened) return options.on_trouble(opened.error().message + "; the old file is kept");
  file.emplace(*opened);
  torn = false;
}

bool has_folder_of_its_own(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const std::string name = path.filename().string();
  for (fs::directory_iterator files(fs::absolute(path).parent_path(), error), end;
       !error && files != end; files.increment(error)) {
    if (!files->path().filename().string().starts_with(name)) return false;
  }
  return !error;
}

std::string access_log_line(const RequestRecord& record) {
  using namespace std::chrono;
  const auto since = record.time.time_since_epoch();
  const auto rest = duration_cast<milliseconds>(since) % 1000;
  const auto quoted = [](std::string_view text) {
    return nlohmann::json(text.substr(0, kTextBytesMax))
        .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  };
  return fmt::format(
      R"({{"time":"{:%Y-%m-%dT%H:%M:%S}.{:03}Z","id":{},"client":{},"key":{},"method":{},"path":{},)"
      R"("status":{},"complete":{},"prompt_tokens":{},"answer_tokens":{},"ms":{:.1f}}})",
      fmt::gmtime(system_clock::to_time_t(record.time)), rest.count(), quoted(record.id),
      quoted(record.client), quoted(record.key), quoted(record.method), quoted(record.path),
      record.status, record.complete, record.prompt_tokens.load(), record.answer_tokens.load(),
      record.seconds * 1e3);
}

}  // namespace hadal
