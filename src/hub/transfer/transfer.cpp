#include "hub/transfer/transfer.h"

#include <algorithm>
#include <ctime>

#include "base/sizes.h"
#include "file/file_kind.h"
#include "hub/disk/file_digest.h"

namespace hadal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kForeignBytesMax =
    4096;  // of an answer that is not the file: enough to say what it is

double seconds_now() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// One open connection.
struct Connection {
  CurlHandle handle;
  TransferPlan::Lease lease{};
  class Fetch* owner = nullptr;
  std::string url;
  int redirects = 0;
  bool from_resolved = false;  // url is where the source redirected to earlier
  bool looked = false;         // the answer's head was judged
  uint64_t at = 0;             // of the next byte
  std::string foreign;         // the beginning of a body that is not the file's
  std::optional<TransferFailure> refusal;
  std::string why;
};

struct SourceState {
  std::string resolved;  // where it redirected to; signed addresses expire, then it is asked again
  std::string trouble;   // the last one
};

// One pass over a file: until it is whole, or no source is left.
class Fetch {
 public:
  Fetch(Transport& transport, const TransferTarget& target,
        const std::vector<TransferSource>& sources, const TransferOptions& options, PartFile& part)
      : transport_(transport),
        target_(target),
        sources_(sources),
        options_(options),
        part_(part),
        states_(sources.size()),
        plan_(target.identity.bytes, static_cast<uint32_t>(sources.size()), part.found(),
              rules(options), seconds_now()),
        digest_(part.descriptor(), target.identity.bytes, target.identity.digest.kind) {}
  ~Fetch() {
    for (const auto& connection : open_)
      curl_multi_remove_handle(transport_.get(), connection->handle.get());
  }
  Fetch(const Fetch&) = delete;
  Fetch& operator=(const Fetch&) = delete;

  Result<Digest> run();
  uint64_t bytes_fetched() const { return fetched_; }
  bool delivered(uint32_t source) const { return plan_.received_from(source) > 0; }

 private:
  static TransferRules rules(const TransferOptions& options) {
    TransferRules rules = options.rules;
    rules.stall_s = options.network.stall_s;
    rules.failures_max = std::max(1u, options.network.retries);
    if (options.limit_bytes_per_s > 0) rules.connections_max = 1;
    return rules;
  }
  static size_t read_body(char* data, size_t size, size_t count, void* connection);

  void open(const TransferPlan::Lease& lease);
  Status start(Connection& connection);
  void look(Connection& connection);
  void refuse(Connection& connection, TransferFailure failure, std::string why);
  size_t take(Connection& connection, std::span<const std::byte> bytes);
  void ended(Connection& connection, CURLcode code);
  void follow(Connection& connection);
  void settle(Connection& connection, CURLcode code);
  void fail_lease(Connection& connection, TransferFailure failure, const std::string& why,
                  double retry_after_s = 0);
  void close(uint32_t lease);
  void collect();
  void cut();
  void publish();
  void keep_to_limit();
  void report(bool digesting);
  std::string troubles() const;

  Transport& transport_;
  const TransferTarget& target_;
  const std::vector<TransferSource>& sources_;
  const TransferOptions& options_;
  PartFile& part_;
  std::vector<SourceState> states_;
  TransferPlan plan_;
  PrefixDigest digest_;
  std::vector<std::unique_ptr<Connection>> open_, idle_;
  Status disk_;
  uint64_t fetched_ = 0;
  double begin_ = seconds_now();
  std::string from_;
};

Result<Digest> Fetch::run() {
  constexpr double kLongestWait_s = 0.1;  // so often somebody may stop it, and sees how far it is
  while (!plan_.complete()) {
    if (options_.network.stopped()) return fail("{}", kStopped);
    cut();
    while (const auto lease = plan_.next_lease(seconds_now())) open(*lease);
    HADAL_TRY_VOID(disk_);
    if (plan_.hopeless()) return fail("{}: {}", target_.what, troubles());
    const double now = seconds_now();
    const double wait =
        std::min(kLongestWait_s, plan_.wake_time(now).value_or(now + kLongestWait_s) - now);
    curl_multi_poll(transport_.get(), nullptr, 0, static_cast<int>(wait * 1000) + 1, nullptr);
    int running = 0;
    curl_multi_perform(transport_.get(), &running);
    HADAL_TRY_VOID(disk_);
    collect();
    HADAL_TRY_VOID(disk_);
    publish();
    HADAL_TRY_VOID(part_.recording());
  }
  for (const auto& connection : open_)
    curl_multi_remove_handle(transport_.get(), connection->handle.get());
  open_.clear();
  digest_.advance(target_.identity.bytes);
  HADAL_TRY_VOID(part_.finish());  // while the digest is computed
  for (;;) {
    if (auto digest = digest_.poll()) return std::move(*digest);
    if (options_.network.stopped()) return fail("{}", kStopped);
    report(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// What has come, to whoever flushes, digests and looks on.
void Fetch::publish() {
  part_.note(plan_.done());
  digest_.advance(plan_.done().prefix());
  report(false);
}

// Under a limit there is one connection, so what comes too early waits here. (curl's own limit
// reads a hundred buffers before it looks.)
void Fetch::keep_to_limit() {
  const double limit = static_cast<double>(options_.limit_bytes_per_s);
  while (limit > 0 && static_cast<double>(fetched_) / limit > seconds_now() - begin_) {
    if (options_.network.stopped()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    publish();
  }
}

void Fetch::report(bool digesting) {
  if (!options_.progress) return;
  options_.progress({.bytes_done = plan_.done().bytes(),
                     .bytes_fetched = fetched_,
                     .digesting = digesting,
                     .from = from_});
}

std::string Fetch::troubles() const {
  std::string text;
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (states_[i].trouble.empty()) continue;
    text += (text.empty() ? "" : "; ") + states_[i].trouble;
  }
  return text.empty() ? "nobody has it" : text;
}

void Fetch::open(const TransferPlan::Lease& lease) {
  std::unique_ptr<Connection> connection;
  if (idle_.empty()) {
    connection = std::make_unique<Connection>();
  } else {
    connection = std::move(idle_.back());
    idle_.pop_back();
  }
  connection->lease = lease;
  connection->owner = this;
  connection->redirects = 0;
  connection->at = lease.range.begin;
  const std::string& resolved = states_[lease.source].resolved;
  connection->from_resolved = !resolved.empty();
  connection->url = resolved.empty() ? sources_[lease.source].request.url : resolved;
  Connection& opened = *connection;
  open_.push_back(std::move(connection));
  if (const Status started = start(opened); !started) {
    fail_lease(opened, TransferFailure::kRefused, started.error().message);
    close(lease.id);
  }
}

Status Fetch::start(Connection& connection) {
  connection.looked = false;
  connection.foreign.clear();
  connection.refusal.reset();
  connection.why.clear();
  HttpRequest request = sources_[connection.lease.source].request;
  request.url = connection.url;
  request.headers.push_back(fmt::format("Range: bytes={}-{}", connection.lease.range.begin,
                                        connection.lease.range.end - 1));
  HADAL_TRY_VOID(connection.handle.prepare(request, options_.network));
  CURL* easy = connection.handle.get();
  // curl's largest buffer has the fewest calls a byte; a limited rate needs small bites to be kept
  // to.
  constexpr uint64_t kBufferBytes = 512 << 10, kBitesPerSecond = 8, kBufferBytesMin = 1024;
  const uint64_t limit = options_.limit_bytes_per_s;
  const uint64_t buffer = limit == 0
                              ? kBufferBytes
                              : std::clamp(limit / kBitesPerSecond, kBufferBytesMin, kBufferBytes);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, static_cast<long>(buffer));
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Fetch::read_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &connection);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &connection);
  curl_multi_add_handle(transport_.get(), easy);
  return {};
}

void Fetch::refuse(Connection& connection, TransferFailure failure, std::string why) {
  connection.refusal = failure;
  connection.why = std::move(why);
}

// Judges status and headers before a byte is taken.
void Fetch::look(Connection& connection) {
  connection.looked = true;
  const HeaderReader& headers = connection.handle.headers();
  const long status = connection.handle.status();
  const std::string& host = sources_[connection.lease.source].name;
  const uint64_t file_bytes = target_.identity.bytes;
  if (status != 200 && status != 206) return;  // settle() says what it means
  const std::string encoding = headers.get("content-encoding");
  if (!encoding.empty() && encoding != "identity") {
    return refuse(
        connection, TransferFailure::kRefused,
        fmt::format("{} sends it packed ({}), which was not asked for", host, shown(encoding)));
  }
  if (status == 206) {
    const auto range = parse_content_range(headers.get("content-range"));
    if (!range || range->range.begin != connection.lease.range.begin ||
        range->range.end > file_bytes) {
      return refuse(
          connection, TransferFailure::kRefused,
          fmt::format("{} answered with a wrong range ({} where bytes {}-{} were asked for)", host,
                      shown(headers.get("content-range")), connection.lease.range.begin,
                      connection.lease.range.end - 1));
    }
    if (range->total && *range->total != file_bytes) {
      refuse(connection, TransferFailure::kRefused,
             fmt::format("{} has a file of another length: {} bytes where its list says {}", host,
                         *range->total, file_bytes));
    }
    return;
  }
  const std::string length = headers.get("content-length");
  if (!length.empty() && length != std::to_string(file_bytes)) {
    return refuse(connection, TransferFailure::kRefused,
                  fmt::format("{} has a file of another length: {} bytes where its list says {}",
                              host, shown(length), file_bytes));
  }
  if (connection.lease.range != ByteRange{0, file_bytes}) {
    refuse(connection, TransferFailure::kWholeOnly, fmt::format("{} sends only whole files", host));
  }
}

size_t Fetch::read_body(char* data, size_t size, size_t count, void* target) {
  auto* connection = static_cast<Connection*>(target);
  return connection->owner->take(*connection, std::as_bytes(std::span(data, size * count)));
}

size_t Fetch::take(Connection& connection, std::span<const std::byte> bytes) {
  if (!connection.looked) look(connection);
  const long status = connection.handle.status();
  if (connection.refusal || (status != 200 && status != 206)) {
    const size_t kept = std::min(bytes.size(), kForeignBytesMax - connection.foreign.size());
    connection.foreign.append(reinterpret_cast<const char*>(bytes.data()), kept);
    return connection.refusal && connection.foreign.size() == kForeignBytesMax ? 0 : bytes.size();
  }
  if (!disk_) return 0;
  const uint64_t wanted = plan_.received(connection.lease.id, bytes.size(), seconds_now());
  if (Status written = part_.write(connection.at, bytes.first(static_cast<size_t>(wanted)));
      !written) {
    disk_ = std::move(written);
    return 0;
  }
  connection.at += wanted;
  fetched_ += wanted;
  from_ = sources_[connection.lease.source].name;
  keep_to_limit();
  return wanted == bytes.size() ? bytes.size()
                                : 0;  // 0 ends a connection whose rest another one fetches
}

void Fetch::collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(transport_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Connection* connection = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &connection);
    const CURLcode code = message->data.result;
    curl_multi_remove_handle(transport_.get(), connection->handle.get());
    ended(*connection, code);
  }
}

void Fetch::ended(Connection& connection, CURLcode code) {
  if (code == CURLE_OK && is_redirect(connection.handle.status())) return follow(connection);
  if (code == CURLE_OK && !connection.looked) look(connection);  // an answer without a body
  settle(connection, code);
  close(connection.lease.id);
}

void Fetch::follow(Connection& connection) {
  const std::string& host = sources_[connection.lease.source].name;
  auto target = redirect_target(connection.url, connection.handle.headers().get("location"));
  if (target && ++connection.redirects > kRedirectsMax)
    target = fail("{} redirects one after another lead nowhere", kRedirectsMax);
  Status status;
  if (target) {
    connection.url = *target;
    status = start(connection);
  } else {
    status = forward_error(target);
  }
  if (status) return;
  fail_lease(connection, TransferFailure::kRefused,
             fmt::format("{}: {}", host, status.error().message));
  close(connection.lease.id);
}

// What the end of a connection means.
void Fetch::settle(Connection& connection, CURLcode code) {
  SourceState& state = states_[connection.lease.source];
  const std::string& host = sources_[connection.lease.source].name;
  const HeaderReader& headers = connection.handle.headers();
  const long status = connection.handle.status();
  if (connection.refusal) {
    // What came in its place, where that can be told: a login page, a Git-LFS pointer.
    const auto foreign = std::as_bytes(std::span(connection.foreign));
    const bool page = headers.get("content-type").starts_with("text/html");
    const std::string kind = foreign.empty() ? "" : describe_foreign_file(foreign);
    if (*connection.refusal == TransferFailure::kRefused &&
        (page || kind.find("web page") != std::string::npos)) {
      connection.why = fmt::format(
          "{} sent a web page in its place: a login page of this network or of the hub? Open {} in "
          "a browser to see",
          host, shown(sources_[connection.lease.source].request.url));
    } else if (kind.find("Git-LFS") != std::string::npos) {
      connection.why = fmt::format(
          "{} sent a Git-LFS pointer in its place, a few lines of text; this mirror lacks the file "
          "itself",
          host);
    }
    return fail_lease(connection, *connection.refusal, connection.why);
  }
  if (code != CURLE_OK && !plan_.at_end(connection.lease.id)) {
    const bool for_good =
        code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
    state.resolved.clear();  // another server of the store may do better
    return fail_lease(connection, for_good ? TransferFailure::kRefused : TransferFailure::kBroken,
                      connection.handle.describe(code, connection.url));
  }
  if (status == 200 || status == 206) {
    if (connection.redirects > 0) state.resolved = connection.url;
    if (plan_.at_end(connection.lease.id))
      return plan_.finished(connection.lease.id, seconds_now());
    return fail_lease(connection, TransferFailure::kBroken,
                      fmt::format("{} ended the answer early", host));
  }
  const std::string why = describe_status(status, headers.headers(), connection.url, target_.what);
  if (connection.from_resolved && status >= 400 && status < 500 && status != 429) {
    state.resolved.clear();  // the signed address has expired: the hub gives another
    return fail_lease(connection, TransferFailure::kBroken, why);
  }
  const auto wait = parse_retry_after(headers.get("retry-after"), std::time(nullptr));
  if (status == 429 || (status >= 500 && wait))
    return fail_lease(connection, TransferFailure::kBusy, why, wait.value_or(0));
  fail_lease(connection, status >= 500 ? TransferFailure::kBroken : TransferFailure::kRefused, why);
}

void Fetch::fail_lease(Connection& connection, TransferFailure failure, const std::string& why,
                       double retry_after_s) {
  states_[connection.lease.source].trouble = why;
  plan_.failed(connection.lease.id, failure, seconds_now(), retry_after_s);
}

void Fetch::cut() {
  for (const TransferPlan::Cut& cut : plan_.cuts(seconds_now())) {
    const auto found = std::find_if(open_.begin(), open_.end(),
                                    [&](const auto& c) { return c->lease.id == cut.lease; });
    if (found == open_.end()) continue;
    Connection& connection = **found;
    curl_multi_remove_handle(transport_.get(), connection.handle.get());
    if (cut.stalled) {
      states_[connection.lease.source].resolved.clear();
      fail_lease(connection, TransferFailure::kBroken,
                 fmt::format("{} is silent for {:.0f} s", sources_[connection.lease.source].name,
                             options_.network.stall_s));
    } else {
      plan_.finished(connection.lease.id, seconds_now());
    }
    close(cut.lease);
  }
}

void Fetch::close(uint32_t lease) {
  const auto found =
      std::find_if(open_.begin(), open_.end(), [&](const auto& c) { return c->lease.id == lease; });
  if (found == open_.end()) return;
  idle_.push_back(std::move(*found));
  open_.erase(found);
}

}  // namespace

Transport::Transport() {
  prepare_curl();
  multi_.reset(curl_multi_init());
  if (!multi_) throw std::bad_alloc();
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
}

Result<TransferOutcome> transfer_file(Transport& transport, const TransferTarget& target,
                                      const std::vector<TransferSource>& sources,
                                      const TransferOptions& options) {
  TransferOutcome outcome;
  std::vector<TransferSource> asked = sources;
  for (bool again = false;; again = true) {
    HADAL_TRY(const auto part,
              PartFile::open(target.part, target.record, target.identity, options.record_every));
    Fetch fetch(transport, target, asked, options, *part);
    auto digest = fetch.run();
    outcome.bytes_fetched += fetch.bytes_fetched();
    if (!digest) return forward_error(digest);
    outcome.digest = *digest;
    const Digest& expected = target.identity.digest;
    if (expected.kind == DigestKind::kNone || *digest == expected) return outcome;
    part->discard();
    const std::string wrong =
        fmt::format("{} came with wrong bytes (digest {}, expected {}) and was thrown away",
                    target.what, digest->hex, expected.hex);
    std::vector<TransferSource> others;
    std::string blamed;
    for (uint32_t i = 0; i < asked.size(); ++i) {
      if (fetch.delivered(i)) {
        blamed += (blamed.empty() ? "" : ", ") + asked[i].name;
      } else {
        others.push_back(asked[i]);
      }
    }
    if (again) {
      return fail(
          "{}, a second time (from {}). Something on the way or on the hub changes it: try another "
          "network or another "
          "source, e.g. with HF_ENDPOINT",
          wrong, blamed);
    }
    outcome.notes.push_back(fmt::format("{} (from {}); fetching it again", wrong,
                                        blamed.empty() ? "an earlier pull" : blamed));
    if (!others.empty()) asked = std::move(others);
  }
}

}  // namespace hadal
