// What the server shows of itself to clients that come over TLS: its certificate and its key.
// TLS 1.2 and 1.3, ciphers with forward secrecy, no compression, no renegotiation.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace boost::asio::ssl {
class context;
}

namespace hadal {

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;  // null: plain HTTP

struct TlsFiles {
  std::filesystem::path certificate;  // PEM: the server's own first, then those up to its root
  std::filesystem::path key;          // PEM, not encrypted
};

struct TlsIdentity {
  TlsContext context;
  std::vector<std::string> warnings;  // of what works and should not be so
};

// Errors: a file that is not there or not what it should be, a key that is encrypted or another
// certificate's.
Result<TlsIdentity> read_tls_identity(const TlsFiles& files);

// Whether who trusts the certificate's file (curl --cacert) takes it at this host, an address or a
// name: it names the host, its last one certifies itself, and its time has not run out.
bool proves_itself(const TlsContext& context, const std::string& host);

}  // namespace hadal
