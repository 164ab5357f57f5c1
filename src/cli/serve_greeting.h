// What `hadal serve` says when it can be asked: its address, and a line that can be pasted into a
// shell as it stands. Pure functions.
#pragma once

#include <string>

namespace hadal {

// Whom the line trusts where the server speaks TLS.
enum class CurlTrust : uint8_t {
  kNoTls,
  kFile,      // the certificate's file is proof enough (--cacert)
  kUnproven,  // it is of another name, or another has certified it: not checked (-k)
};

struct Greeting {
  std::string address;          // as this machine reaches it: "http://127.0.0.1:8080"
  bool other_machines = false;  // it listens at all of this machine's addresses
  std::string model;            // as a client names it
  bool keys = false;            // a key is wanted
  CurlTrust trust = CurlTrust::kNoTls;
  std::string certificate;  // its file's path, for kFile
};

// "hadal serves at ADDRESS ...": one line.
std::string greeting_line(const Greeting& greeting);
// "Try:\n  curl ...\n". A shell (any that quotes as POSIX's) takes the command as it is, whatever
// the model is called; no byte of the name steers the terminal.
std::string try_lines(const Greeting& greeting);

}  // namespace hadal
