#include "server/http/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <boost/asio/ssl/context.hpp>

#include "file/text_file.h"

namespace hadal {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr uint64_t kPemBytesMax = 1 << 20;
constexpr const char* kTls12Ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

Result<std::string> read_pem(const std::filesystem::path& path) {
  HADAL_TRY(auto text, read_text_file(path, kPemBytesMax));
  if (!text) return fail("{} is not there", path.string());
  return std::move(*text);
}

// error: of reading the key. A key of another kind than the certificate's is read without one.
bool is_of_another_certificate(const error_code& error, asio::ssl::context& context) {
  const int reason = ERR_GET_REASON(static_cast<unsigned long>(error.value()));
  return reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH ||
         (!error && SSL_CTX_check_private_key(context.native_handle()) != 1);
}

void harden(asio::ssl::context& context) {
  SSL_CTX* const handle = context.native_handle();
  SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(handle, kTls12Ciphers);
  SSL_CTX_set_options(handle, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_session_cache_mode(handle, SSL_SESS_CACHE_OFF);  // tickets need no memory here
  SSL_CTX_set_mode(handle, SSL_MODE_RELEASE_BUFFERS);          // of idle connections
}

std::vector<std::string> warnings_of(asio::ssl::context& context, const TlsFiles& files) {
  std::vector<std::string> warnings;
  struct stat status {};
  if (::stat(files.key.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0) {
    warnings.push_back(fmt::format("everybody on this machine can read the key {}; `chmod 600 {}`",
                                   files.key.string(), files.key.string()));
  }
  const X509* const certificate = SSL_CTX_get0_certificate(context.native_handle());
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    warnings.push_back(fmt::format("the certificate {} has expired; clients refuse it",
                                   files.certificate.string()));
  }
  return warnings;
}

}  // namespace

Result<TlsIdentity> read_tls_identity(const TlsFiles& files) {
  HADAL_TRY(const std::string certificate, read_pem(files.certificate));
  HADAL_TRY(const std::string key, read_pem(files.key));
  TlsIdentity identity{
      .context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server),
      .warnings = {}};
  asio::ssl::context& context = *identity.context;
  harden(context);
  error_code error;
  context.use_certificate_chain(asio::buffer(certificate), error);
  if (error) {
    return fail("{} has no certificate in PEM form that can be used: {}",
                files.certificate.string(), error.message());
  }
  bool encrypted = false;
  context.set_password_callback(
      [&encrypted](size_t, asio::ssl::context::password_purpose) {
        encrypted = true;
        return std::string();
      },
      error);
  context.use_private_key(asio::buffer(key), asio::ssl::context::pem, error);
  if (encrypted) {
    return fail(
        "the key {} is encrypted, and nobody can be asked for its password here; `openssl "
        "pkey -in {} -out FILE` writes it without",
        files.key.string(), files.key.string());
  }
  if (is_of_another_certificate(error, context)) {
    return fail("the key {} is not that of the certificate {}", files.key.string(),
                files.certificate.string());
  }
  if (error) {
    return fail("{} has no private key in PEM form that can be used: {}", files.key.string(),
                error.message());
  }
  context.set_password_callback(
      [](size_t, asio::ssl::context::password_purpose) { return std::string(); }, error);
  identity.warnings = warnings_of(context, files);
  return identity;
}

bool proves_itself(const TlsContext& context, const std::string& host) {
  SSL_CTX* const handle = context->native_handle();
  X509* const own = SSL_CTX_get0_certificate(handle);
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(handle, &chain);
  const int above = sk_X509_num(chain);  // -1: there is none
  X509* const last = above > 0 ? sk_X509_value(chain, above - 1) : own;
  return X509_check_issued(last, last) == X509_V_OK &&
         X509_cmp_current_time(X509_get0_notAfter(own)) > 0 &&
         (X509_check_ip_asc(own, host.c_str(), 0) == 1 ||
          X509_check_host(own, host.data(), host.size(), 0, nullptr) == 1);
}

}  // namespace hadal
