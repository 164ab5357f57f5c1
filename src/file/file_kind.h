// What a file is that should be a model and is not: people save a web page, a Git-LFS pointer or an
// archive under a model's name, and "bad magic" helps nobody.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace hadal {

// The rest of a sentence after "FILE: ": what the bytes look like, and what to do. Reads the first
// 4096 bytes at most.
std::string describe_foreign_file(std::span<const std::byte> bytes);

}  // namespace hadal
