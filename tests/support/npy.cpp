#include "support/npy.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

namespace hadal {

Result<NpyRows> read_npy(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return fail("{}: cannot be opened", path.string());
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  if (bytes.size() < 10 || bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0) {
    return fail("{}: is not an .npy file of format 1.0", path.string());
  }
  const size_t header_bytes =
      static_cast<uint8_t>(bytes[8]) + 256u * static_cast<uint8_t>(bytes[9]);
  const std::string header = bytes.substr(10, header_bytes);
  NpyRows result;
  const size_t shape = header.find("'shape': (");
  if (header.find("'descr': '<f4'") == std::string::npos ||
      header.find("'fortran_order': False") == std::string::npos || shape == std::string::npos ||
      std::sscanf(header.c_str() + shape, "'shape': (%u, %u)", &result.rows, &result.columns) !=
          2) {
    return fail("{}: is not two-dimensional float32: {}", path.string(), header);
  }
  const size_t count = size_t{result.rows} * result.columns;
  if (bytes.size() != 10 + header_bytes + count * sizeof(float)) {
    return fail("{}: {} bytes do not hold {} x {} values", path.string(), bytes.size(), result.rows,
                result.columns);
  }
  result.values.resize(count);
  std::memcpy(result.values.data(), bytes.data() + 10 + header_bytes, count * sizeof(float));
  return result;
}

}  // namespace hadal
