#include "hub/disk/file_digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace hadal {
namespace {

constexpr size_t kBlockBytes = 1 << 20;

// Bytes [at, at + block.size()) of a file; fewer only at its end.
Result<size_t> read_at(int file, std::span<std::byte> block, uint64_t at) {
  size_t done = 0;
  while (done < block.size()) {
    const ssize_t count =
        pread(file, block.data() + done, block.size() - done, static_cast<off_t>(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("what was fetched cannot be read again: {}", std::strerror(errno));
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

}  // namespace

struct DigestStream::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

DigestStream::DigestStream(DigestKind kind, uint64_t bytes)
    : kind_(kind == DigestKind::kNone ? DigestKind::kSha256 : kind),
      state_(std::make_unique<State>()) {
  const EVP_MD* method = kind_ == DigestKind::kSha256 ? EVP_sha256() : EVP_sha1();
  CHECK(state_->context != nullptr && EVP_DigestInit_ex(state_->context, method, nullptr) == 1);
  if (kind_ == DigestKind::kGitSha1) {
    const std::string head = fmt::format("blob {}", bytes);
    EVP_DigestUpdate(state_->context, head.c_str(), head.size() + 1);  // with its final zero
  }
}

DigestStream::~DigestStream() = default;

void DigestStream::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

Digest DigestStream::finish() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, bytes, &size);
  Digest digest{kind_, {}};
  for (unsigned i = 0; i < size; ++i) digest.hex += fmt::format("{:02x}", bytes[i]);
  return digest;
}

Result<Digest> digest_of_file(const std::filesystem::path& path, DigestKind kind,
                              const std::function<bool()>& stop) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail("cannot open {}: {}", path.string(), std::strerror(errno));
  const off_t end = lseek(file, 0, SEEK_END);
  DigestStream stream(kind, static_cast<uint64_t>(std::max<off_t>(end, 0)));
  std::vector<std::byte> block(kBlockBytes);
  Result<Digest> result = fail("stopped");
  for (uint64_t at = 0; !(stop && stop());) {
    const auto count = read_at(file, block, at);
    if (!count) {
      result = forward_error(count);
      break;
    }
    stream.update({block.data(), *count});
    at += *count;
    if (*count < block.size()) {
      result = stream.finish();
      break;
    }
  }
  ::close(file);
  return result;
}

PrefixDigest::PrefixDigest(int file, uint64_t file_bytes, DigestKind kind)
    : file_(file),
      file_bytes_(file_bytes),
      stream_(kind, file_bytes),
      thread_([this] { work(); }) {}

PrefixDigest::~PrefixDigest() {
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PrefixDigest::advance(uint64_t prefix_bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (prefix_bytes <= prefix_) return;
    prefix_ = prefix_bytes;
  }
  changed_.notify_all();
}

uint64_t PrefixDigest::digested() const {
  const std::lock_guard lock(mutex_);
  return digested_;
}

std::optional<Result<Digest>> PrefixDigest::poll() {
  const std::lock_guard lock(mutex_);
  return result_;
}

void PrefixDigest::work() {
  std::vector<std::byte> block(kBlockBytes);
  std::unique_lock lock(mutex_);
  while (!quit_ && digested_ < file_bytes_) {
    changed_.wait(lock, [&] { return quit_ || prefix_ > digested_; });
    if (quit_) return;
    const uint64_t at = digested_;
    const size_t bytes = static_cast<size_t>(std::min<uint64_t>(prefix_ - at, block.size()));
    lock.unlock();
    const auto count = read_at(file_, {block.data(), bytes}, at);
    if (count && *count == bytes) stream_.update({block.data(), bytes});
    lock.lock();
    if (!count || *count != bytes) {
      result_ = count ? Result<Digest>(fail("the file was cut while it was fetched"))
                      : Result<Digest>(forward_error(count));
      return;
    }
    digested_ += bytes;
  }
  if (digested_ == file_bytes_) result_ = stream_.finish();
}

}  // namespace hadal
