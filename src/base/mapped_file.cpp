#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/file_descriptor.h"
#include "base/sizes.h"

namespace hadal {
namespace {

// The only global state of the base room: a signal handler gets no context, so what it needs stands
// in a fixed table of lock-free atomics. The largest checkpoints come in a few hundred shards.
constexpr int kMappingsMax = 2048;

struct Slot {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0};  // page-aligned
  std::atomic<uintptr_t> end{0};    // 0: not registered
  std::atomic<bool> damaged{false};
};

constinit std::array<Slot, kMappingsMax> slots;
constinit std::atomic<int> slots_used{
    0};  // slots [0, slots_used) may be taken: the handler looks no further
constinit std::atomic<bool> any_damage{false};
constinit std::atomic<uintptr_t> page_bytes{4096};
static_assert(std::atomic<uintptr_t>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

struct sigaction previous_action;

// What the handler never touches: names, for people, and what is needed to ask for a file's size.
struct OpenFile {
  std::string name;  // empty: the slot is free
  int file = -1;
  size_t size = 0;
};

struct Files {
  std::mutex mutex;
  std::array<OpenFile, kMappingsMax> open;
  std::set<std::string> lost;  // damaged, and closed since
};

Files& files() {
  static auto* instance =
      new Files;  // never destroyed: a mapping with static storage may outlive any other static
  return *instance;
}

bool has_shrunk(int file, size_t size) {
  struct stat status {};
  return fstat(file, &status) != 0 || static_cast<size_t>(status.st_size) < size;
}

// Puts zeros under everything from the faulting page to the end of its mapping. A file that shrank
// has lost all of that anyway; for a single bad sector it gives up more than it must, but the
// result is refused either way, and one step here leaves one memory area where page by page would
// leave as many as there are pages (the kernel allows 65530). Async-signal-safe: atomics and one
// system call. False: the address is in no mapping of ours.
bool replace_lost_pages(uintptr_t address) {
  const int used = slots_used.load(std::memory_order_acquire);
  for (int i = 0; i < used; ++i) {
    Slot& slot = slots[static_cast<size_t>(i)];
    const uintptr_t end = slot.end.load(std::memory_order_acquire);
    const uintptr_t begin = slot.begin.load(std::memory_order_relaxed);
    if (address < begin || address >= end) continue;
    slot.damaged.store(true, std::memory_order_relaxed);
    any_damage.store(true, std::memory_order_release);
    const uintptr_t page = address & ~(page_bytes.load(std::memory_order_relaxed) - 1);
    void* const target = reinterpret_cast<void*>(page);
    return mmap(target, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
           target;
  }
  return false;
}

void handle_bus_error(int signal_number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool ours = replace_lost_pages(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (ours) return;  // the interrupted instruction runs again and reads zeros
  if ((previous_action.sa_flags & SA_SIGINFO) != 0 && previous_action.sa_sigaction != nullptr) {
    previous_action.sa_sigaction(signal_number, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal_number);
  } else {
    signal(signal_number,
           SIG_DFL);  // the instruction runs again and ends the program as it would have without us
    if (info->si_code <= 0)
      raise(signal_number);  // sent by a process, not by an instruction: nothing runs again
  }
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    page_bytes.store(static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)));
    struct sigaction action {};
    action.sa_sigaction = handle_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    // The handler may run as soon as it is installed; it must find the previous action there.
    sigaction(SIGBUS, nullptr, &previous_action);
    sigaction(SIGBUS, &action, nullptr);
  });
}

// -1: all slots are taken.
int register_mapping(const void* data, size_t size, int file, const std::string& name) {
  for (int i = 0; i < kMappingsMax; ++i) {
    Slot& slot = slots[static_cast<size_t>(i)];
    if (slot.taken.exchange(true)) continue;
    slot.damaged.store(false);
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
    slot.begin.store(begin, std::memory_order_relaxed);
    slot.end.store(begin + round_up(size, page_bytes.load()), std::memory_order_release);
    int used = slots_used.load();
    while (used <= i && !slots_used.compare_exchange_weak(used, i + 1)) {
    }
    const std::scoped_lock lock(files().mutex);
    files().open[static_cast<size_t>(i)] = {name, file, size};
    return i;
  }
  return -1;
}

// Marks the files that have become shorter. The caller holds the mutex.
void find_shrunken_files() {
  const size_t used = static_cast<size_t>(slots_used.load());
  for (size_t i = 0; i < used; ++i) {
    const OpenFile& open_file = files().open[i];
    if (open_file.name.empty() || !has_shrunk(open_file.file, open_file.size)) continue;
    slots[i].damaged.store(true);
    any_damage.store(true);
  }
}

// The whole file, at a multiple of a huge page, asking for such pages: where the file system keeps
// large ones in its cache (ext4 from Linux 6.16, XFS from 5.18), a matrix is then read with one
// address translation for 512 pages, and from a cold disk in steps of 2 MB. MAP_FAILED: errno says
// why.
void* map_aligned(size_t size, int file) {
  constexpr size_t kHugePage = 2 << 20;
  if (size < kHugePage) return mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  // Address space with room to choose from; the mapping takes its place, the ends go back.
  const size_t room = round_up(size, page_bytes.load()) + kHugePage;
  void* const start =
      mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return MAP_FAILED;
  auto* const first = static_cast<std::byte*>(start);
  const size_t before =
      round_up(reinterpret_cast<uintptr_t>(start), kHugePage) - reinterpret_cast<uintptr_t>(start);
  void* const data = mmap(first + before, size, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0);
  if (data == MAP_FAILED) {
    const int reason = errno;
    munmap(start, room);
    errno = reason;
    return MAP_FAILED;
  }
  const size_t end = before + round_up(size, page_bytes.load());
  if (before != 0) munmap(first, before);
  if (end != room) munmap(first + end, room - end);
  madvise(data, size, MADV_HUGEPAGE);  // advice: not every kernel takes it for files
  return data;
}

}  // namespace

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  const std::string name = path.string();
  // Non-blocking: opening a pipe nobody writes to would wait for ever.
  FileDescriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.open()) {
    if (errno == ENOENT || errno == ENOTDIR) return fail("{}: no such file", name);
    if (errno == EACCES) return fail("{}: no permission to read this file", name);
    return fail("{}: cannot be opened: {}", name, std::strerror(errno));
  }
  struct stat status {};
  if (fstat(file.number(), &status) != 0) {
    return fail("{}: cannot be examined: {}", name, std::strerror(errno));
  }
  if (S_ISDIR(status.st_mode)) return fail("{}: is a folder, a file was expected", name);
  if (!S_ISREG(status.st_mode)) {
    return fail("{}: is a pipe or a device, not a regular file; a model must lie on a disk", name);
  }
  if (status.st_size <= 0) return fail("{}: the file is empty", name);

  const size_t size = static_cast<size_t>(status.st_size);
  install_handler();
  void* const data = map_aligned(size, file.number());
  if (data == MAP_FAILED) {
    if (errno == ENOMEM) {
      return fail(
          "{}: no address space to map its {}; raise the limit on virtual memory (ulimit -v)", name,
          format_bytes(size));
    }
    return fail("{}: cannot be mapped: {}", name, std::strerror(errno));
  }
  const int slot = register_mapping(data, size, file.number(), name);
  if (slot < 0) {
    munmap(data, size);
    return fail("{}: {} files are mapped already, which is the limit", name, kMappingsMax);
  }
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, static_cast<const std::byte*>(data), size, file.release(), slot));
}

MappedFile::MappedFile(std::filesystem::path path, const std::byte* data, size_t size, int file,
                       int slot)
    : path_(std::move(path)), data_(data), size_(size), file_(file), slot_(slot) {}

MappedFile::~MappedFile() {
  Slot& slot = slots[static_cast<size_t>(slot_)];
  {
    const std::scoped_lock lock(files().mutex);
    OpenFile& open_file = files().open[static_cast<size_t>(slot_)];
    if (slot.damaged.load()) files().lost.insert(open_file.name);
    open_file = OpenFile();
  }
  slot.end.store(0);  // before munmap: the addresses may be given to somebody else at once
  slot.begin.store(0);
  munmap(const_cast<std::byte*>(data_), size_);
  close(file_);
  slot.taken.store(false);
}

bool MappedFile::damaged() const {
  Slot& slot = slots[static_cast<size_t>(slot_)];
  if (!slot.damaged.load(std::memory_order_acquire) && has_shrunk(file_, size_)) {
    slot.damaged.store(true);
    any_damage.store(true);
  }
  return slot.damaged.load();
}

bool MappedFile::any_damaged() {
  if (any_damage.load(std::memory_order_acquire)) return true;
  const std::scoped_lock lock(files().mutex);
  find_shrunken_files();
  return any_damage.load();
}

std::string MappedFile::damage_report() {
  const std::scoped_lock lock(files().mutex);
  find_shrunken_files();
  std::set<std::string> lost = files().lost;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].damaged.load() && !files().open[i].name.empty()) lost.insert(files().open[i].name);
  }
  std::string report;
  for (const std::string& name : lost) {
    if (!report.empty()) report += "\n";
    report += fmt::format(
        "{}: part of the file could not be read; it was cut or replaced while in use, or its disk "
        "failed",
        name);
  }
  return report;
}

}  // namespace hadal
