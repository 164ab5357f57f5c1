// The web page in the binary: the files of this folder and the libraries they use, taken in at
// build time (cmake/page.cmake). Immutable; any thread.
#pragma once

#include <span>
#include <string_view>

namespace hadal {

struct PageFile {
  std::string_view path;          // "index.html", "main.js", "fonts/KaTeX_Main-Regular.woff2"
  std::string_view content_type;  // "text/html; charset=utf-8"
  std::string_view etag;          // of the content, weak: it stands for both forms; quotes included
  std::string_view bytes;
  std::string_view gzip;  // the same compressed; "": not worth it
};

std::span<const PageFile> page_files();

}  // namespace hadal
