// How one file is fetched over several connections, from several sources, through whatever a
// network does: which bytes to ask for next and from whom, when a connection is given up, when
// everything is. A state machine without clock, threads, sockets or files: time is an argument
// (seconds, any origin, never going back), so a test runs it through any weather. Not synchronised;
// one owner.
//
// A connection has a *lease*: a range that it alone fetches. What a lease did not bring goes back
// and is leased again. When nothing is left to lease, the rest of the slowest lease is split.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hub/network/byte_ranges.h"

namespace hadal {

struct TransferRules {
  uint32_t connections_max = 4;
  uint64_t piece_bytes =
      16 << 20;  // of a lease: small enough to follow a better source, large enough for speed
  uint64_t split_bytes_min =
      2 << 20;                // half of the smallest rest that is split, unless it would take long
  double stall_s = 20;        // a connection without a byte for so long is replaced
  uint32_t failures_max = 8;  // of a source, one after another without a byte between them
  double backoff_first_s = 0.5;  // after a failure, doubled up to the next
  double backoff_max_s = 30;
  double retry_after_max_s = 600;  // a source that asks for more is left
  double slow_bytes_per_s = 1e6;   // slower than this, another source is tried ...
  double probe_after_s = 5;        // ... after so long
  double switch_factor = 1.5;      // so much faster it must be to be kept
};

// How a connection ended that did not bring its whole lease.
enum class TransferFailure : uint8_t {
  kBroken,     // reset, cut short, stalled, a server's 5xx: worth another try
  kBusy,       // 429 or 503 with Retry-After: another try when the server says so
  kWholeOnly,  // the server sends the whole file where a range was asked for
  kRefused,  // 401, 403, 404, a wrong range or length, a page in place of the file: this source is
             // out
};

class TransferPlan {
 public:
  // `sources` of the same bytes, the preferred one first; `done`: what an earlier transfer left.
  TransferPlan(uint64_t file_bytes, uint32_t sources, ByteRanges done, TransferRules rules,
               double now);

  struct Lease {
    uint32_t id, source;
    ByteRange range;
  };
  // A connection to open now; nullopt: none for now. Call until it says so, after each event and at
  // wake_time().
  std::optional<Lease> next_lease(double now);

  // `bytes` arrived for this lease, in order. Returns how many of them still belong to it: the rest
  // of a lease may have been given to another. Fewer than `bytes`, or at_end(): the connection is
  // done.
  uint64_t received(uint32_t lease, uint64_t bytes, double now);
  bool at_end(uint32_t lease) const;

  void finished(uint32_t lease,
                double now);  // the connection ended; what is missing is leased again
  void failed(uint32_t lease, TransferFailure failure, double now, double retry_after_s = 0);

  // Leases whose connection should be cut now: stalled, or on a source that a better one has
  // replaced. They stay leased until finished() or failed().
  struct Cut {
    uint32_t lease;
    bool stalled;
  };
  std::vector<Cut> cuts(double now) const;

  bool complete() const { return done_.bytes() == file_bytes_; }
  bool hopeless() const;                              // no source is left and nothing is under way
  std::optional<double> wake_time(double now) const;  // when to ask again though nothing happened

  const ByteRanges& done() const { return done_; }
  uint32_t leases() const { return static_cast<uint32_t>(active_.size()); }
  uint64_t received_from(uint32_t source) const { return sources_[source].bytes; }

 private:
  struct Active {
    uint32_t id, source;
    ByteRange range;
    uint64_t at;  // next byte
    double began, last_byte;
  };
  struct Source {
    bool out = false, whole_only = false, tried = false;
    uint32_t failures = 0, connections = 0;
    double not_before = -1e300, failed_at = -1e300;
    uint64_t bytes = 0;
    double busy_s = 0;  // the sum of its ended connections' times
    uint64_t ended_bytes = 0;
  };

  Active* find(uint32_t lease);
  const Active* find(uint32_t lease) const;
  bool usable(uint32_t source, double now) const;
  double speed(uint32_t source, double now) const;  // bytes/s of one connection; 0: not known
  std::optional<uint32_t> choose_source(double now) const;
  std::optional<uint32_t> source_to_try(double now) const;  // where all that are used are slow
  std::optional<ByteRange> choose_range(uint32_t source, double now);
  void remove(uint32_t lease, double now);

  uint64_t file_bytes_;
  TransferRules rules_;
  ByteRanges done_;
  std::vector<Active> active_;
  std::vector<Source> sources_;
  double begin_;
  uint32_t next_id_ = 1;
};

}  // namespace hadal
