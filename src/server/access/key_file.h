// keys.json in hadal's home: names, digests and limits of the keys. Readable by its owner alone
// (the home's, where root changes it: a service's), always whole: written beside, flushed, then
// moved into place. Any process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/result.h"
#include "server/access/key.h"

namespace hadal {

inline constexpr uint64_t kKeyFileBytesMax = 1 << 20;
inline constexpr size_t kKeysMax = 1024;

// None where there is no file. Errors: text that is no such file, a file that others may write.
Result<std::vector<StoredKey>> read_keys(const std::filesystem::path& path);

// Changes what is there, under a lock that other processes respect: nothing is lost where two
// change at once. An error of `change` leaves the file as it was.
Status change_keys(const std::filesystem::path& path,
                   const std::function<Status(std::vector<StoredKey>& keys)>& change);

}  // namespace hadal
