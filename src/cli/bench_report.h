// What `hadal bench` measured, in words, as tables and as JSON. One list of columns serves text,
// Markdown and CSV.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "device/device.h"
#include "engine/engine.h"
#include "measure/bench.h"

namespace hadal {

struct BenchSubject {
  std::string model;  // the file's name
  const EngineInfo& info;
  const DeviceInfo& device;
};

// What was measured and where, a line each, then a table of prompts and one of answers; columns
// that no row fills are left out. A note below each says what
// its shares are of.
std::string bench_text(const BenchReport& report, const BenchSubject& subject);
std::string bench_markdown(const BenchReport& report, const BenchSubject& subject);
// One table, always with the same columns; what a row does not have is empty. RFC 4180.
std::string bench_csv(const BenchReport& report, const BenchSubject& subject);
// `rows` in order; `prompt` and `decode` are the first row of each kind again.
nlohmann::json bench_json(const BenchReport& report, const BenchSubject& subject);

// "0x0123456789abcdef"
std::string hash_text(uint64_t hash);

}  // namespace hadal
