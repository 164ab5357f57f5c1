#include "file/file_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "base/utf8.h"

namespace hadal {
namespace {

using namespace std::string_view_literals;

constexpr size_t kSampleBytes = 4096;

struct Signature {
  std::string_view bytes;
  std::string_view sentence;
};

constexpr std::string_view kPickle =
    "is a PyTorch checkpoint (pickle), which can run code when it is read and is not supported; "
    "get "
    "the model as "
    "safetensors or GGUF";
constexpr std::string_view kOldGgml =
    "is a GGML file of the time before GGUF (2023), which is not supported; get the model as GGUF";

constexpr std::array kSignatures = {
    Signature{"\x1f\x8b"sv, "is a gzip archive, not a model; unpack it first (gunzip)"},
    Signature{"\xfd"
              "7zXZ\0"sv,
              "is an xz archive, not a model; unpack it first (xz -d)"},
    Signature{"\x28\xb5\x2f\xfd"sv, "is a zstd archive, not a model; unpack it first (zstd -d)"},
    Signature{"BZh"sv, "is a bzip2 archive, not a model; unpack it first (bunzip2)"},
    Signature{"7z\xbc\xaf\x27\x1c"sv, "is a 7-Zip archive, not a model; unpack it first"},
    Signature{
        "PK\x03\x04"sv,
        "is a zip file: an archive to unpack first, or a PyTorch checkpoint (.bin, .pth), which "
        "can run code when it is "
        "read and is not supported; get the model as safetensors or GGUF"},
    Signature{"\x80\x02"sv, kPickle},
    Signature{"\x80\x03"sv, kPickle},
    Signature{"\x80\x04"sv, kPickle},
    Signature{"\x80\x05"sv, kPickle},
    Signature{"\x89HDF"sv,
              "is an HDF5 file (Keras, TensorFlow), which is not supported; get the model as "
              "safetensors or GGUF"},
    Signature{"\x7f"
              "ELF"sv,
              "is a program (ELF), not a model"},
    Signature{"%PDF"sv, "is a PDF document, not a model"},
    Signature{"lmgg"sv, kOldGgml},
    Signature{"fmgg"sv, kOldGgml},
    Signature{"tjgg"sv, kOldGgml},
    Signature{"algg"sv, kOldGgml},
    Signature{"FUGG"sv,
              "is a GGUF with its bytes in reverse order (big-endian); only little-endian files "
              "are read"},
};

bool starts_with_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char expected, char found) {
           return expected == static_cast<char>(std::tolower(static_cast<unsigned char>(found)));
         });
}

std::string_view skip_space(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

// "size 491400064" in a Git-LFS pointer: the digits.
std::string_view lfs_size(std::string_view text) {
  const size_t line = text.find("\nsize ");
  if (line == std::string_view::npos) return "";
  const std::string_view rest = text.substr(line + 6);
  return rest.substr(0, std::min(rest.find_first_not_of("0123456789"), size_t{20}));
}

bool is_text(std::string_view sample) {
  const bool control = std::any_of(sample.begin(), sample.end(), [](char character) {
    return static_cast<unsigned char>(character) < 0x20 && character != '\n' && character != '\r' &&
           character != '\t' && character != '\f';
  });
  if (control) return false;
  for (size_t cut = 0; cut < 4 && cut < sample.size();
       ++cut) {  // the sample may end inside a character
    if (is_utf8(sample.substr(0, sample.size() - cut))) return true;
  }
  return false;
}

}  // namespace

std::string describe_foreign_file(std::span<const std::byte> bytes) {
  const std::string_view sample(reinterpret_cast<const char*>(bytes.data()),
                                std::min(bytes.size(), kSampleBytes));
  if (sample.empty()) return "is empty; download it again";
  if (sample.starts_with("version https://git-lfs.github.com/spec/")) {
    const std::string_view size = lfs_size(sample);
    return fmt::format(
        "is a Git-LFS pointer, a few lines of text in place of the model{}; run 'git lfs pull' in "
        "its "
        "folder, or download the file "
        "itself",
        size.empty() ? "" : fmt::format(" of {} bytes", size));
  }
  for (const Signature& signature : kSignatures) {
    if (sample.starts_with(signature.bytes)) return std::string(signature.sentence);
  }
  const std::string_view text = skip_space(sample);
  for (const std::string_view tag :
       {"<!doctype html", "<html", "<head", "<?xml", "<!doctype", "<error"}) {
    if (starts_with_ignoring_case(text, tag)) {
      return "is a web page, not a model: the address it came from leads to a page about the file "
             "or "
             "to an error; open it to see, "
             "and download the file itself";
    }
  }
  if (std::all_of(sample.begin(), sample.end(), [](char character) { return character == '\0'; })) {
    return "begins with zeros: a download that reserved its place and never arrived; download it "
           "again";
  }
  if (sample.size() > 8 && sample[8] == '{' && sample.substr(4, 4) == "\0\0\0\0"sv) {
    return "is a safetensors file under another name; name the folder it belongs to, where it ends "
           "in .safetensors and has a "
           "config.json beside it";
  }
  if (is_text(sample)) {
    return text.starts_with("{") || text.starts_with("[")
               ? "is a JSON file, not a model; name the folder it lies in, or a GGUF file"
               : "is a text file, not a model";
  }
  std::string start;
  for (const char character : sample.substr(0, 4)) {
    start +=
        fmt::format("{}{:02x}", start.empty() ? "" : " ", static_cast<unsigned char>(character));
  }
  return fmt::format(
      "is not a model this program knows: it begins with the bytes {}, a GGUF begins with 47 47 55 "
      "46",
      start);
}

}  // namespace hadal
