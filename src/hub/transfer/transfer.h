// Fetches one file from one or several sources of the same bytes, over parallel ranges, into a part
// file that a later call goes on with. transfer_plan.h decides what is asked of whom; this is the
// network and the disk under it.
//
// Threads: the caller's drives all connections (one curl_multi), two more flush and digest; all end
// with the call. Callbacks run on the caller's thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/network/curl_handle.h"
#include "hub/transfer/part_file.h"
#include "hub/transfer/transfer_plan.h"

namespace hadal {

struct TransferSource {
  std::string name;  // for messages: the hub's host
  HttpRequest request;
};

struct TransferTarget {
  std::string what;                    // the file, for messages
  std::filesystem::path part, record;  // in a folder that exists
  PartIdentity identity;
};

struct TransferProgress {
  uint64_t bytes_done = 0;     // of the file, what earlier calls fetched included
  uint64_t bytes_fetched = 0;  // by this call
  bool digesting = false;      // all is there, its digest is being computed
  std::string from;            // the source of the newest bytes
};

struct TransferOptions {
  NetworkOptions network;
  TransferRules rules;
  uint64_t limit_bytes_per_s = 0;  // 0 = none; a limit means one connection
  std::chrono::milliseconds record_every{300};
  std::function<void(const TransferProgress&)> progress;
};

struct TransferOutcome {
  uint64_t bytes_fetched = 0;
  Digest digest;                   // as computed
  std::vector<std::string> notes;  // a sentence each: wrong bytes thrown away ...
};

// Keeps connections alive from one file to the next. One thread at a time.
class Transport {
 public:
  Transport();
  CURLM* get() const { return multi_.get(); }

 private:
  std::unique_ptr<CURLM, FreeMulti> multi_;
};

// When it returns a value, `target.part` holds the whole file, flushed, with the digest asked for;
// the caller moves it and deletes the record. Wrong bytes are thrown away and fetched once more,
// from sources that had no part in them if there are any. Errors: every source's last trouble, and
// what to type; "stopped" when options.network.stop said so. What was fetched stays for the next
// call.
Result<TransferOutcome> transfer_file(Transport& transport, const TransferTarget& target,
                                      const std::vector<TransferSource>& sources,
                                      const TransferOptions& options);

inline constexpr const char* kStopped = "stopped";

}  // namespace hadal
