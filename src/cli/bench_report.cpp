#include "cli/bench_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/json.h"
#include "base/sizes.h"

namespace hadal {
namespace {

using Cell = std::string (*)(const BenchRow& row);
struct Column {
  const char* title;   // for people
  const char* name;    // in CSV
  Cell cell;           // "": the row has none
  Cell exact;          // in CSV
  bool names = false;  // says which row it is: stands in each part of a table that is cut
};

bool is_prompt(const BenchRow& row) {
  return row.kind == BenchKind::kPrompt;
}
std::string number(double value) {
  return fmt::format("{:.6g}", value);
}
std::string short_number(double value) {
  return value < 10 ? fmt::format("{:.2f}", value) : fmt::format("{:.1f}", value);
}
std::string milliseconds(double seconds) {
  return short_number(seconds * 1e3);
}
// Of a figure that only answers (prompts) have.
std::string of_decode(const BenchRow& row, std::string text) {
  return is_prompt(row) ? "" : text;
}
std::string of_prompt(const BenchRow& row, std::string text) {
  return is_prompt(row) ? text : "";
}
std::string of_bytes(const BenchRow& row, std::string text) {
  return row.bytes_per_token ? text : "";
}

std::string of_roof(const BenchRow& row) {
  return row.roof_percent > 0 ? fmt::format("{:.0f}%", row.roof_percent) : "";
}

std::string kind_word(const BenchRow& row) {
  return is_prompt(row) ? "prompt" : "decode";
}

constexpr Column kColumns[] = {
    {"", "kind", kind_word, kind_word, true},
    {"tokens", "tokens", [](const BenchRow& r) { return fmt::to_string(r.tokens); },
     [](const BenchRow& r) { return fmt::to_string(r.tokens); }, true},
    {"depth", "depth", [](const BenchRow& r) { return r.depth > 0 ? fmt::to_string(r.depth) : ""; },
     [](const BenchRow& r) { return fmt::to_string(r.depth); }, true},
    {"sequences", "sequences",
     [](const BenchRow& r) { return r.sequences > 1 ? fmt::to_string(r.sequences) : ""; },
     [](const BenchRow& r) { return fmt::to_string(r.sequences); }, true},
    {"tokens/s", "tokens_per_s",
     [](const BenchRow& r) { return fmt::format("{:.1f}", r.tokens_per_s.median); },
     [](const BenchRow& r) { return number(r.tokens_per_s.median); }},
    {"from - to", "tokens_per_s_min",
     [](const BenchRow& r) {
       return fmt::format("{:.1f} - {:.1f}", r.tokens_per_s.least, r.tokens_per_s.most);
     },
     [](const BenchRow& r) { return number(r.tokens_per_s.least); }},
    {nullptr, "tokens_per_s_max", nullptr,
     [](const BenchRow& r) { return number(r.tokens_per_s.most); }},
    {"each", "tokens_per_s_each",
     [](const BenchRow& r) {
       return r.sequences > 1 ? fmt::format("{:.1f}", r.tokens_per_s.median / r.sequences) : "";
     },
     [](const BenchRow& r) { return number(r.tokens_per_s.median / r.sequences); }},
    {"first token ms", "first_token_ms",
     [](const BenchRow& r) { return of_prompt(r, milliseconds(r.time_to_first_token_s.median)); },
     [](const BenchRow& r) { return of_prompt(r, number(r.time_to_first_token_s.median * 1e3)); }},
    {"p50 ms", "between_tokens_p50_ms",
     [](const BenchRow& r) { return of_decode(r, milliseconds(r.between_tokens_s.p50)); },
     [](const BenchRow& r) { return of_decode(r, number(r.between_tokens_s.p50 * 1e3)); }},
    {"p90", "between_tokens_p90_ms",
     [](const BenchRow& r) { return of_decode(r, milliseconds(r.between_tokens_s.p90)); },
     [](const BenchRow& r) { return of_decode(r, number(r.between_tokens_s.p90 * 1e3)); }},
    {"p99", "between_tokens_p99_ms",
     [](const BenchRow& r) { return of_decode(r, milliseconds(r.between_tokens_s.p99)); },
     [](const BenchRow& r) { return of_decode(r, number(r.between_tokens_s.p99 * 1e3)); }},
    {"GB/s", "gigabytes_per_s",
     [](const BenchRow& r) { return of_bytes(r, short_number(r.bytes_per_s / 1e9)); },
     [](const BenchRow& r) { return of_bytes(r, number(r.bytes_per_s / 1e9)); }},
    {"% of read", "bandwidth_percent",
     [](const BenchRow& r) { return of_bytes(r, fmt::format("{:.0f}%", r.bandwidth_percent)); },
     [](const BenchRow& r) { return of_bytes(r, number(r.bandwidth_percent)); }},
    {"GMAC/s", "giga_multiply_adds_per_s",
     [](const BenchRow& r) { return of_prompt(r, short_number(r.multiply_adds_per_s / 1e9)); },
     [](const BenchRow& r) { return of_prompt(r, number(r.multiply_adds_per_s / 1e9)); }},
    {"% of peak", "peak_percent",
     [](const BenchRow& r) { return of_prompt(r, fmt::format("{:.0f}%", r.peak_percent)); },
     [](const BenchRow& r) { return of_prompt(r, number(r.peak_percent)); }},
    {"% of roof", "roof_percent", of_roof,
     [](const BenchRow& r) { return r.roof_percent > 0 ? number(r.roof_percent) : ""; }},
    {"J/token", "joules_per_token",
     [](const BenchRow& r) {
       return r.joules_per_token ? fmt::format("{:.3g}", *r.joules_per_token) : "";
     },
     [](const BenchRow& r) { return r.joules_per_token ? number(*r.joules_per_token) : ""; }},
    {nullptr, "logits_hash", nullptr,
     [](const BenchRow& r) { return r.logits_hash ? hash_text(*r.logits_hash) : ""; }},
};

// Columns in use only: a head, then rows. The first `names` columns say which row it is.
struct Table {
  std::vector<std::vector<std::string>> lines;
  size_t names = 0;
};

// Of one kind's rows; without lines where there are none.
Table table_of(const BenchReport& report, BenchKind kind) {
  std::vector<const BenchRow*> rows;
  for (const BenchRow& row : report.rows) {
    if (row.kind == kind) rows.push_back(&row);
  }
  Table table;
  table.lines.resize(rows.empty() ? 0 : rows.size() + 1);
  for (const Column& column : kColumns) {
    if (column.cell == nullptr || rows.empty()) continue;
    std::vector<std::string> cells;
    for (const BenchRow* row : rows) cells.push_back(column.cell(*row));
    if (std::ranges::all_of(cells, [](const auto& cell) { return cell.empty(); })) continue;
    table.lines[0].push_back(column.title);
    for (size_t i = 0; i < rows.size(); ++i) table.lines[i + 1].push_back(cells[i]);
    table.names += column.names;
  }
  return table;
}

std::vector<size_t> widths_of(const Table& table) {
  std::vector<size_t> widths(table.lines.front().size(), 0);
  for (const auto& line : table.lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  return widths;
}

constexpr size_t kGap = 2;

// Columns that together fit a terminal: the names and as many others as there is room for.
std::vector<std::vector<size_t>> parts_of(const Table& table, const std::vector<size_t>& widths) {
  constexpr size_t kTerminalColumns = 80;
  std::vector<size_t> names;
  size_t names_width = 0;
  for (size_t i = 0; i < table.names; ++i) {
    names.push_back(i);
    names_width += widths[i] + (i > 0 ? kGap : 0);
  }
  std::vector<std::vector<size_t>> parts;
  size_t width = kTerminalColumns;  // full: the first column begins a part
  for (size_t i = table.names; i < widths.size(); ++i) {
    if (width + kGap + widths[i] > kTerminalColumns) {
      parts.push_back(names);
      width = names_width;
    }
    parts.back().push_back(i);
    width += kGap + widths[i];
  }
  return parts;
}

// The first column to the left, figures to the right.
std::string aligned(const Table& table) {
  std::string text;
  const std::vector<size_t> widths = widths_of(table);
  for (const std::vector<size_t>& part : parts_of(table, widths)) {
    if (!text.empty()) text += '\n';
    for (const auto& line : table.lines) {
      text += fmt::format("{:<{}}", line[0], widths[0]);
      for (size_t i = 1; i < part.size(); ++i) {
        text += fmt::format("{:{}}{:>{}}", "", kGap, line[part[i]], widths[part[i]]);
      }
      text += '\n';
    }
  }
  return text;
}

std::string as_markdown(const Table& table) {
  std::string text;
  const std::vector<size_t> widths = widths_of(table);
  for (const auto& line : table.lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      text += fmt::format(fmt::runtime(i == 0 ? "| {:<{}} " : "| {:>{}} "), line[i], widths[i]);
    }
    text += "|\n";
    if (&line != &table.lines.front()) continue;
    for (size_t i = 0; i < widths.size(); ++i) {
      text += fmt::format(fmt::runtime(i == 0 ? "|:{:-<{}}-" : "|-{:-<{}}:"), "", widths[i]);
    }
    text += "|\n";
  }
  return text;
}

struct Line {
  std::string name, text;
};

std::string peak_text(const Spread& peak, std::string_view type) {
  return fmt::format("{:.1f} GMAC/s of {} ({:.1f} - {:.1f})", peak.median / 1e9, type,
                     peak.least / 1e9, peak.most / 1e9);
}

std::vector<Line> lines_of(const BenchReport& report, const BenchSubject& subject) {
  const DeviceInfo& device = subject.device;
  const Spread& read = report.read_bytes_per_s;
  std::vector<Line> lines = {
      {"model", fmt::format("{}, {}, loaded in {:.2f} s", subject.model,
                            format_bytes(subject.info.weight_bytes), subject.info.load_seconds)},
      {"device",
       fmt::format(
           "{}: {}{}", device.name, device.description,
           device.instruction_set.empty() ? "" : fmt::format(" ({})", device.instruction_set))},
      {"its read bandwidth", fmt::format("{:.1f} GB/s ({:.1f} - {:.1f})", read.median / 1e9,
                                         read.least / 1e9, read.most / 1e9)},
      {"its peak, weights", peak_text(report.multiply_adds_per_s, report.multiply_adds_type)},
      {"its peak, attention",
       peak_text(report.attention_multiply_adds_per_s, report.attention_type)},
      {"peak memory", format_bytes(report.peak_memory_bytes)},
      {"repetitions", fmt::to_string(report.repetitions)},
  };
  for (const BenchRow& row : report.rows) {
    if (row.drafted_tokens > 0) {
      lines.push_back(
          {"guesses", fmt::format("{} tokens, {} of them right (decode {} at {})",
                                  row.drafted_tokens, row.accepted_tokens, row.tokens, row.depth)});
    }
    if (row.logits_hash) {
      lines.push_back({fmt::format("logits of {}", row.tokens), hash_text(*row.logits_hash)});
    }
  }
  return lines;
}

constexpr const char* kPromptNote =
    "GMAC/s: billions of multiply-adds in the weights' matrices; % of the weights'\n"
    "peak. Roof: if every product ran at the bandwidth or at the peak.\n";
constexpr const char* kDecodeNote =
    "p50, p90, p99: between two tokens. GB/s: what a step must read; % of the\n"
    "bandwidth. Roof: if every product ran at the bandwidth or at the peak.\n";

nlohmann::json as_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.least}, {"max", spread.most}};
}

nlohmann::json as_json(const BenchRow& row) {
  nlohmann::json result = {{"kind", kind_word(row)},
                           {"tokens", row.tokens},
                           {"depth", row.depth},
                           {"tokens_per_s", as_json(row.tokens_per_s)}};
  if (row.roof_percent > 0) {
    result["roof_tokens_per_s"] = row.roof_tokens_per_s;
    result["roof_percent"] = row.roof_percent;
  }
  if (row.joules_per_token) result["joules_per_token"] = *row.joules_per_token;
  if (is_prompt(row)) {
    result["time_to_first_token_s"] = as_json(row.time_to_first_token_s);
    result["multiply_adds_per_s"] = row.multiply_adds_per_s;
    result["peak_percent"] = row.peak_percent;
    if (row.logits_hash) result["logits_hash"] = hash_text(*row.logits_hash);
    return result;
  }
  result["sequences"] = row.sequences;
  result["tokens_per_s_each"] = row.tokens_per_s.median / row.sequences;
  result["between_tokens_s"] = {{"p50", row.between_tokens_s.p50},
                                {"p90", row.between_tokens_s.p90},
                                {"p99", row.between_tokens_s.p99}};
  result["drafted_tokens"] = row.drafted_tokens;
  result["accepted_tokens"] = row.accepted_tokens;
  if (row.bytes_per_token) {
    result["bytes_per_token"] = *row.bytes_per_token;
    result["bytes_per_s"] = row.bytes_per_s;
    result["bandwidth_percent"] = row.bandwidth_percent;
  }
  return result;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string markdown_field(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\`*_{}[]<>#|").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

}  // namespace

std::string hash_text(uint64_t hash) {
  return fmt::format("{:#018x}", hash);
}

std::string bench_text(const BenchReport& report, const BenchSubject& subject) {
  std::string text;
  for (const Line& line : lines_of(report, subject)) {
    text += fmt::format("{:<22}{}\n", line.name, line.text);
  }
  for (const BenchKind kind : {BenchKind::kPrompt, BenchKind::kDecode}) {
    const Table table = table_of(report, kind);
    if (table.lines.empty()) continue;
    text += "\n" + aligned(table) + (kind == BenchKind::kPrompt ? kPromptNote : kDecodeNote);
  }
  return text;
}

std::string bench_markdown(const BenchReport& report, const BenchSubject& subject) {
  std::string text;
  for (const Line& line : lines_of(report, subject)) {
    text += fmt::format("- {}: {}\n", line.name, markdown_field(line.text));
  }
  for (const BenchKind kind : {BenchKind::kPrompt, BenchKind::kDecode}) {
    const Table table = table_of(report, kind);
    if (table.lines.empty()) continue;
    text +=
        "\n" + as_markdown(table) + "\n" + (kind == BenchKind::kPrompt ? kPromptNote : kDecodeNote);
  }
  return text;
}

std::string bench_csv(const BenchReport& report, const BenchSubject& subject) {
  const std::vector<std::pair<const char*, std::string>> same_in_each = {
      {"model", subject.model},
      {"device", subject.device.name},
      {"instruction_set", subject.device.instruction_set},
      {"threads", fmt::to_string(subject.device.threads)},
      {"repetitions", fmt::to_string(report.repetitions)},
      {"read_gigabytes_per_s", number(report.read_bytes_per_s.median / 1e9)},
      {"peak_giga_multiply_adds_per_s", number(report.multiply_adds_per_s.median / 1e9)},
      {"peak_memory_bytes", fmt::to_string(report.peak_memory_bytes)}};
  std::vector<std::string> fields;
  for (const auto& [name, value] : same_in_each) fields.push_back(name);
  for (const Column& column : kColumns) fields.push_back(column.name);
  std::string text = fmt::format("{}\r\n", fmt::join(fields, ","));
  for (const BenchRow& row : report.rows) {
    fields.clear();
    for (const auto& [name, value] : same_in_each) fields.push_back(csv_field(value));
    for (const Column& column : kColumns) fields.push_back(csv_field(column.exact(row)));
    text += fmt::format("{}\r\n", fmt::join(fields, ","));
  }
  return text;
}

nlohmann::json bench_json(const BenchReport& report, const BenchSubject& subject) {
  nlohmann::json result = {
      {"model", subject.model},
      {"architecture", subject.info.architecture},
      {"weight_bytes", subject.info.weight_bytes},
      {"kv_bytes_per_token", subject.info.kv_bytes_per_token},
      {"load_seconds", subject.info.load_seconds},
      {"device", subject.device.name},
      {"device_description", subject.device.description},
      {"instruction_set", subject.device.instruction_set},
      {"threads", subject.device.threads},
      {"repetitions", report.repetitions},
      {"read_bytes_per_s", as_json(report.read_bytes_per_s)},
      {"peak_multiply_adds_per_s", as_json(report.multiply_adds_per_s)},
      {"peak_multiply_adds_type", report.multiply_adds_type},
      {"attention_peak_multiply_adds_per_s", as_json(report.attention_multiply_adds_per_s)},
      {"attention_peak_multiply_adds_type", report.attention_type},
      {"peak_memory_bytes", report.peak_memory_bytes},
      {"rows", nlohmann::json::array()},
  };
  for (const BenchRow& row : report.rows) {
    result["rows"].push_back(as_json(row));
    if (!result.contains(kind_word(row))) result[kind_word(row)] = result["rows"].back();
  }
  return result;
}

}  // namespace hadal
